/* Forking a worker so that its twin is the keeper's child, not its own.
 *
 * Checkpoints and resumed workers are siblings of the worker: user code that
 * waits for "any child" never meets them, and they outlive the worker.  Also
 * the page that tells a worker from a child which user code forked.
 */
#ifndef RINGFENCE_KERNEL_FORK_H
#define RINGFENCE_KERNEL_FORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Like fork(): 0 in the twin, its pid in the caller, -errno.  With one task it
 * is clone(CLONE_PARENT), thread id included; else glibc's fork twice, so that
 * atfork handlers run, and the twin is reparented to the keeper. */
pid_t rf_fork_sibling(void);

/* How many tasks (threads) this process has; 0 if /proc does not tell. */
unsigned rf_count_tasks(void);

/* Declares this process to be the worker of `generation`.  A page that the
 * kernel wipes on fork holds it, so any child, however it was made, is none. */
int rf_generation_set(uint64_t generation);
/* 0 in a process that is no worker. */
uint64_t rf_generation(void);

#endif
