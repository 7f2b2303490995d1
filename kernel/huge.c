/* See huge.h. */
#include "kernel/huge.h"

#include <stdint.h>
#include <string.h>
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

/* --- large blocks --- */

#define HEAD 64u
#define MARK 0x52696e6766656e63u

/* Before a block, at the start of its mapping. */
struct head {
    uintptr_t mark; /* MARK and the address: nothing else looks so by accident */
    size_t mapped;
};

static struct head *head_of(const void *block)
{
    return (struct head *)((uintptr_t)block - HEAD);
}

/* What it reads lies in the page of the block itself, and may be another's. */
__attribute__((no_sanitize_address)) bool rf_huge_is_large(const void *block)
{
    return (uintptr_t)block % HUGE == HEAD &&
           head_of(block)->mark == (MARK ^ (uintptr_t)head_of(block));
}

/* As many whole huge pages at such a border, not to be touched yet. */
static uint8_t *reserve(size_t len)
{
    uint8_t *all = mmap(NULL, len + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return MAP_FAILED;
    size_t before = -(uintptr_t)all % HUGE;
    if (before)
        munmap(all, before);
    munmap(all + before + len, HUGE - before);
    return all + before;
}

static void *begin(uint8_t *start, size_t mapped)
{
    *(struct head *)start = (struct head){MARK ^ (uintptr_t)start, mapped};
    return start + HEAD;
}

/* 0: larger than memory can be. */
static size_t whole_pages(size_t size)
{
    return size < SIZE_MAX / 2 ? (HEAD + size + HUGE - 1) / HUGE * HUGE : 0;
}

void *rf_huge_large_new(size_t size)
{
    size_t len = whole_pages(size);
    uint8_t *start = len ? reserve(len) : MAP_FAILED;
    if (start == MAP_FAILED)
        return NULL;
    if (mmap(start, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED) {
        munmap(start, len);
        return NULL;
    }
    madvise(start, len, MADV_HUGEPAGE);
    return begin(start, len);
}

/* The pages themselves move, as long as they come to lie on borders again. */
static void *move(struct head *head, size_t len)
{
    uint8_t *to = reserve(len);
    if (to == MAP_FAILED)
        return NULL;
    if (mremap(head, head->mapped, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
        munmap(to, len);
        return NULL;
    }
    return begin(to, len);
}

void *rf_huge_large_resize(void *block, size_t size)
{
    struct head *head = head_of(block);
    size_t len = whole_pages(size);
    if (!len)
        return NULL;
    if (len == head->mapped || mremap(head, head->mapped, len, 0) != MAP_FAILED)
        return begin((uint8_t *)head, len);
    return move(head, len);
}

void rf_huge_large_free(void *block)
{
    munmap(head_of(block), head_of(block)->mapped);
}
