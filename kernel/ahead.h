/* A checkpoint copies in the worker's stead what the worker has begun to rewrite.
 *
 * Memory of huge pages is split at the first write after a fork and then copied page by page,
 * at 2 us each: rewriting 1 GB takes 0.5 s longer.  Copied in pieces of 2 MB it takes 0.12 s,
 * and on another processor.  A page is the worker's again, without a copy, once the
 * checkpoint has its own.  So the checkpoint looks while a cell runs (RF_MSG_AHEAD) whether the
 * worker has left the first pieces of a large mapping, and then copies the rest of it, from its
 * end on, as most go through their memory from its beginning.  What nobody rewrites is not
 * copied; where others share it too, nothing is seen, and the worker copies by itself.
 *
 * In the checkpoint's only thread.  It needs Linux 6.1; before, nothing is copied.
 */
#ifndef RINGFENCE_KERNEL_AHEAD_H
#define RINGFENCE_KERNEL_AHEAD_H

#include <stddef.h>

/* In a checkpoint that begins: nothing is known yet. */
void rf_ahead_forget(void);
/* Bytes that are to be copied; 0: the worker has begun nothing large, or there is something to
 * read on `socket`. */
size_t rf_ahead_look(int socket);
/* Copies what the last look found, until there is something to read on `socket`. */
void rf_ahead_copy(int socket);

#endif
