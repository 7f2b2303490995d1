/* kernel/huge: which memory is asked for in huge pages, and that every arena is one's own. */
#include "tests/unit/check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/huge.h"

#define ARENA (1ul << 20)
#define HUGE (2ul << 20)
#define SMALL 64 /* arenas that come first, in small pages */
#define ARENAS 72

/* Of the mapping in which it lies. */
struct mapping {
    bool marked; /* never on a machine without huge pages */
    unsigned long huge_kb;
};

static struct mapping look_at(const void *address)
{
    char line[512];
    uintptr_t start = 0, end = 0;
    bool within = false;
    struct mapping found = {0};
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
            within = start <= (uintptr_t)address && (uintptr_t)address < end;
        else if (within && !strncmp(line, "VmFlags:", 8))
            found.marked = strstr(line, " hg") != NULL;
        else if (within)
            sscanf(line, "AnonHugePages: %lu", &found.huge_kb);
    }
    fclose(maps);
    return found;
}

static bool is_huge(const void *address)
{
    return look_at(address).marked;
}

static bool machine_has_them(void)
{
    uint8_t *probe = mmap(NULL, HUGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = !madvise(probe, HUGE, MADV_HUGEPAGE) && is_huge(probe);
    munmap(probe, HUGE);
    return has;
}

static uint8_t *new_arena(int mark)
{
    uint8_t *arena = rf_huge_arena_new(ARENA);
    assert_non_null(arena);
    assert_int_equal(arena[0] | arena[ARENA - 1], 0);
    arena[0] = arena[ARENA - 1] = (uint8_t)mark;
    return arena;
}

static void test_arenas(void **state)
{
    uint8_t *arenas[ARENAS];
    bool huge = machine_has_them();
    for (int i = 0; i < ARENAS; i++)
        arenas[i] = new_arena(i + 1);
    assert_false(is_huge(arenas[SMALL - 1]));
    for (int i = SMALL; i < ARENAS; i++)
        assert_int_equal(is_huge(arenas[i]), huge);
    for (int i = SMALL; i < ARENAS; i += 2) /* two to a page */
        assert_int_equal((uintptr_t)arenas[i] / HUGE, (uintptr_t)arenas[i + 1] / HUGE);
    for (int i = 1; i < ARENAS; i += 2) {
        rf_huge_arena_free(arenas[i], ARENA);
        arenas[i] = NULL;
    }
    uint8_t *again = new_arena(200); /* there are few now */
    assert_false(is_huge(again));
    for (int i = 0; i < ARENAS; i += 2)
        assert_true(arenas[i][0] == i + 1 && arenas[i][ARENA - 1] == i + 1);
    rf_huge_arena_free(again, ARENA);
    for (int i = 0; i < ARENAS; i += 2)
        rf_huge_arena_free(arenas[i], ARENA);
}

static void test_blocks(void **state)
{
    size_t len = 4 * HUGE;
    uint8_t *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    uint8_t *aligned = map + (HUGE - (uintptr_t)map % HUGE) % HUGE;
    rf_huge_block(aligned + 100, HUGE); /* no whole one in it */
    assert_false(is_huge(aligned) || is_huge(aligned + HUGE));
    rf_huge_block(aligned + 100, 2 * HUGE);
    assert_int_equal(is_huge(aligned + HUGE), machine_has_them());
    assert_false(is_huge(aligned) || is_huge(aligned + 2 * HUGE));
    munmap(map, len);
}

static bool holds(const uint8_t *from, const uint8_t *to, uint8_t value)
{
    return *from == value && !memcmp(from, from + 1, (size_t)(to - from) - 1);
}

/* Whether as much would be huge pages now. */
static bool are_free(size_t len)
{
    uint8_t *block = rf_huge_large_new(len);
    assert_non_null(block);
    memset(block, 1, len);
    bool huge = look_at(block).huge_kb * 1024 >= len;
    rf_huge_large_free(block);
    return huge;
}

/* As a list that is appended to, which cannot stay where it is. */
static void test_a_large_block_grows(void **state)
{
    size_t len = 16 * HUGE, before;
    uint8_t *block = rf_huge_large_new(len), *barrier;
    assert_true(block && rf_huge_is_large(block) && (uintptr_t)block % 16 == 0);
    assert_true(holds(block, block + len, 0));
    memset(block, 7, len);
    for (int step = 0; step < 12; step++, len = before + before / 8 + 1) {
        block = rf_huge_large_resize(block, len);
        assert_true(block && rf_huge_is_large(block));
        barrier = rf_huge_large_new(len);
        memset(block, 7, len);
        assert_true(holds(block, block + len, 7));
        assert_true(holds(barrier, barrier + 100, 0));
        rf_huge_large_free(barrier);
        before = len;
    }
    if (are_free(before))
        assert_true(look_at(block).huge_kb * 1024 > before / 2);
    block = rf_huge_large_resize(block, 20 * HUGE);
    assert_true(block && holds(block, block + 20 * HUGE, 7));
    assert_null(rf_huge_large_resize(block, SIZE_MAX - 10));
    assert_null(rf_huge_large_new(SIZE_MAX / 4));
    assert_true(holds(block, block + 20 * HUGE, 7));
    rf_huge_large_free(block);
}

static void test_other_blocks_are_not_large(void **state)
{
    uint8_t *map = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    uint8_t *aligned = map + (HUGE - (uintptr_t)map % HUGE) % HUGE;
    assert_false(rf_huge_is_large(NULL) || rf_huge_is_large(aligned + 64) ||
                 rf_huge_is_large(aligned + 16));
    uint8_t *block = rf_huge_large_new(HUGE);
    assert_non_null(block);
    memcpy(aligned, block - 64, 128); /* what one looks like, elsewhere */
    assert_false(rf_huge_is_large(aligned + 64));
    rf_huge_large_free(block);
    munmap(map, 2 * HUGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arenas), cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_a_large_block_grows),
                                       cmocka_unit_test(test_other_blocks_are_not_large)};
    return TESTS(tests);
}
