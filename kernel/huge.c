/* See huge.h. */
#include "kernel/huge.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#define HUGE (2ul << 20)
#define SMALL_FIRST (64ul << 20) /* of arenas: a small session has no page that it does not use */

static size_t in_use; /* bytes of arenas */
static uint8_t *rest; /* of the newest piece, not given out yet */
static size_t rest_len;

static void *map(uint8_t *hint, size_t len)
{
    return mmap(hint, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* As large as a huge page, and where one can be. */
static uint8_t *map_piece(void)
{
    static uint8_t *last; /* neighbours become one mapping */
    uint8_t *piece = map(last ? last - HUGE : NULL, HUGE);
    size_t off = (uintptr_t)piece % HUGE;
    if (piece != MAP_FAILED && off) {
        munmap(piece, HUGE);
        piece = map(NULL, 2 * HUGE);
        if (piece == MAP_FAILED)
            return MAP_FAILED;
        off = -(uintptr_t)piece % HUGE;
        if (off)
            munmap(piece, off);
        piece += off;
        munmap(piece + HUGE, HUGE - off);
    }
    if (piece == MAP_FAILED)
        return piece;
    last = piece;
    madvise(piece, HUGE, MADV_HUGEPAGE);
    return piece;
}

static uint8_t *cut_piece(size_t size)
{
    if (rest_len < size) { /* of arenas of one size nothing is left over */
        rest = map_piece();
        rest_len = rest == MAP_FAILED ? 0 : HUGE;
    }
    if (!rest_len)
        return MAP_FAILED;
    uint8_t *arena = rest;
    rest += size;
    rest_len -= size;
    return arena;
}

void *rf_huge_arena_new(size_t size)
{
    bool small = in_use + size <= SMALL_FIRST || HUGE % size;
    void *arena = small ? map(NULL, size) : cut_piece(size);
    if (arena == MAP_FAILED)
        return NULL;
    in_use += size;
    return arena;
}

void rf_huge_arena_free(void *arena, size_t size)
{
    munmap(arena, size);
    in_use -= size < in_use ? size : in_use; /* one of before the snapshot was not counted */
}

void rf_huge_block(void *start, size_t len)
{
    uintptr_t first = ((uintptr_t)start + HUGE - 1) / HUGE * HUGE;
    uintptr_t end = ((uintptr_t)start + len) / HUGE * HUGE;
    if (first < end)
        madvise((void *)first, end - first, MADV_HUGEPAGE);
}
