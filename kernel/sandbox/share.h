/* A process that shares the caller's memory until it executes a program or ends.
 *
 * No page table is copied for it and none taken down at its exec, which for an
 * interpreter with its modules takes longer than all that such a process does.  It has
 * descriptors, folders, ids and namespaces of its own.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_SHARE_H
#define RINGFENCE_KERNEL_SANDBOX_SHARE_H

#include <sys/types.h>

/* clone(2) with `flags` (CLONE_NEW*), where `run(arg)` runs on a part of this stack with
 * signals blocked, while the caller, which must have one thread, waits.  Its pid once it
 * has let go of the memory, or -errno. */
pid_t rf_share_memory(int flags, int (*run)(void *), void *arg);

#endif
