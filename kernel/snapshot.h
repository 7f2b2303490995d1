/* What the zygote's heap held, so that workers can give back pages that they copied.
 *
 * After a fork a page is copied at the first write to it.  Most of the writes that a cell
 * makes to the zygote's objects are reference counts that go up and down again: the page
 * then holds what the zygote's does, once more for each worker and each checkpoint.  So the
 * zygote puts its heap (malloc's, and the arenas of Python's allocator) into a sealed
 * memfd and maps that in the heap's place, privately.  A worker that finds a copied page
 * equal to the file's drops the copy; the next access finds the file's page.
 *
 * One per process, inherited by forks.  Where the machine has no memfd, nothing is taken
 * and nothing given back.
 */
#ifndef RINGFENCE_KERNEL_SNAPSHOT_H
#define RINGFENCE_KERNEL_SNAPSHOT_H

#include <stddef.h>

/* Arenas for PyObject_SetArenaAllocator(); NULL when there is no memory. */
void *rf_snapshot_arena_new(void *unused, size_t size);
void rf_snapshot_arena_free(void *unused, void *arena, size_t size);

/* In the zygote, once, with one thread.  0 or -errno: nothing has changed then. */
int rf_snapshot_take(void);

/* In the zygote, before its first fork: unmaps what it has looked at since, as each fork
 * would copy its page table. */
void rf_snapshot_unmap(void);

/* Drops the copies that are equal to what was taken, and the first time unmaps what is no
 * copy, as each fork would copy its page table; some 4 ms, at most a 25th part of the
 * time: sooner it does nothing.  Only while the process has one thread, as another could
 * write between the comparison and the drop.  Returns how many pages were dropped; 0 where
 * /proc cannot be read. */
size_t rf_snapshot_give_back(void);

#endif
