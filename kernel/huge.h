/* Huge pages for what a large session holds.
 *
 * What takes time with gigabytes of state is the work for each page: a fork copies an entry of
 * the page tables for each, and the end of a process takes them down before anybody hears of
 * it, 17 ms per gigabyte each and more where the pages go, too.  A huge page stands for 512.
 * So the memory that grows large is asked for in huge ones, as numpy does for its arrays:
 * Python's arenas beyond the first 64 MB, and large blocks of malloc.  Blocks from 32 MB on are
 * mappings of our own: when malloc's grow (a list that is appended to) they move to where no
 * huge page can be, and end as small ones.  A write after a fork
 * copies a small page, as ever.  A machine without huge pages (or without free ones) gives
 * small pages, and all is slower.
 *
 * In the process that calls it; arenas with the GIL held, blocks from any thread.
 */
#ifndef RINGFENCE_KERNEL_HUGE_H
#define RINGFENCE_KERNEL_HUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE /* glibc 2.37 */
#define MADV_COLLAPSE 25
#endif

#define RF_HUGE_BLOCK (4u << 20)  /* a block of malloc from here on is large, as for numpy */
#define RF_HUGE_LARGE (32u << 20) /* malloc itself keeps no freed block from here on */

/* Memory of zeros, or NULL. */
void *rf_huge_arena_new(size_t size);
void rf_huge_arena_free(void *arena, size_t size);

/* What of a block can be huge pages, will be when it is touched. */
void rf_huge_block(void *start, size_t len);

/* Blocks of whole huge pages.  Zeros, or NULL. */
void *rf_huge_large_new(size_t size);
/* Is it one of these?  For any block of any allocator. */
bool rf_huge_is_large(const void *block);
/* Keeps its content and moves it where it has to; NULL: it is as it was. */
void *rf_huge_large_resize(void *block, size_t size);
void rf_huge_large_free(void *block);

#endif
