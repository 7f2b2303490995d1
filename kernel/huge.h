/* Huge pages for what a large session holds.
 *
 * What takes time with gigabytes of state is the work for each page: a fork copies an entry of
 * the page tables for each, and the end of a process takes them down before anybody hears of
 * it, 17 ms per gigabyte each and more where the pages go, too.  A huge page stands for 512.
 * So the memory that grows large is asked for in huge ones, as numpy does for its arrays:
 * Python's arenas beyond the first 64 MB, and large blocks of malloc.  A write after a fork
 * copies a small page, as ever.  A machine without huge pages (or without free ones) gives
 * small pages, and all is slower.
 *
 * In the process that calls it; arenas with the GIL held, blocks from any thread.
 */
#ifndef RINGFENCE_KERNEL_HUGE_H
#define RINGFENCE_KERNEL_HUGE_H

#include <stddef.h>

#define RF_HUGE_BLOCK (4u << 20) /* a block of malloc from here on is large, as for numpy */

/* Memory of zeros, or NULL. */
void *rf_huge_arena_new(size_t size);
void rf_huge_arena_free(void *arena, size_t size);

/* What of a block can be huge pages, will be when it is touched. */
void rf_huge_block(void *start, size_t len);

#endif
