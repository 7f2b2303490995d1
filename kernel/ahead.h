/* A checkpoint copies in the worker's stead what the worker has begun to rewrite, and a worker
 * that rests puts together again what it has copied page by page.
 *
 * Memory of huge pages is split at the first write after a fork and then copied page by page,
 * at 2 us each: rewriting 1 GB takes 0.5 s longer.  Copied in pieces of 2 MB it takes 0.12 s,
 * and on another processor.  A page is the worker's again, without a copy, once the
 * checkpoint has its own.  So the checkpoint looks while a cell runs (RF_MSG_AHEAD) whether the
 * worker has left the first pieces of a large mapping, and then copies the rest of it, from its
 * end on, as most go through their memory from its beginning.  What nobody rewrites is not
 * copied; where others share it too, nothing is seen, and the worker copies by itself.
 *
 * It needs Linux 6.1; before, nothing is copied or put together.
 */
#ifndef RINGFENCE_KERNEL_AHEAD_H
#define RINGFENCE_KERNEL_AHEAD_H

#include <stddef.h>

/* Of this process; 0 when /proc does not tell. */
long rf_resident_pages(void);
/* Those that another process has, too; mappings that are hardly used are left out.  Looks at
 * each page, 36 ns for a small one; 0 once there is something to read on `socket`. */
long rf_shared_pages(int socket);

/* In a checkpoint that begins: nothing is known yet. */
void rf_ahead_forget(void);
/* Bytes that are to be copied; 0: the worker has begun nothing large, or there is something to
 * read on `socket`. */
size_t rf_ahead_look(int socket);
/* Copies what the last look found, until there is something to read on `socket`. */
void rf_ahead_copy(int socket);

/* In a worker that rests: of large mappings, what is its own and was copied in small pages
 * becomes huge ones again, in the same memory and at 0.4 s for a gigabyte: a fork or an end of
 * small pages takes 17 ms to 50 ms for each, every time.  Stops when there is something to read on
 * `socket`.  Whoever runs beside it waits for a piece at most. */
void rf_ahead_gather(int socket, int most_ms);

#endif
