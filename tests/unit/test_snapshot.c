/* kernel/snapshot: which copied pages are given back, and that nothing is lost with them. */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/snapshot.h"

#define PAGE 4096
#define ARENA (64 * PAGE)

enum { ASIDE, EQUAL, CHANGED };

/* In a fork of the one that took the snapshot; its exit status, 0 when all is well. */
static int use_and_give_back(volatile uint8_t *arena, uint8_t *freed)
{
    for (int page = EQUAL; page <= CHANGED; page++)
        arena[page * PAGE]++;
    arena[EQUAL * PAGE]--;
    rf_snapshot_arena_free(NULL, freed, ARENA);
    if (mmap(freed, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        MAP_FAILED)
        return 1; /* its address can be had again */
    if (rf_snapshot_give_back() < 1)
        return 2;
    if (rf_snapshot_give_back())
        return 3; /* it does so all the time */
    for (int page = ASIDE; page <= CHANGED; page++)
        for (int i = 0; i < PAGE; i++)
            if (arena[page * PAGE + i] != page + 1 + (page == CHANGED && !i))
                return 4;
    arena[EQUAL * PAGE] = 77;
    return arena[EQUAL * PAGE] == 77 ? 0 : 5;
}

static void test_copies(void **state)
{
    uint8_t *arena = rf_snapshot_arena_new(NULL, ARENA);
    uint8_t *freed = rf_snapshot_arena_new(NULL, ARENA);
    uint8_t *before = rf_snapshot_arena_new(NULL, ARENA);
    assert_true(arena && freed && before);
    rf_snapshot_arena_free(NULL, before, ARENA);
    for (int page = ASIDE; page <= CHANGED; page++)
        memset(arena + page * PAGE, page + 1, PAGE);
    char *text = strdup("of malloc");
    assert_int_equal(rf_snapshot_give_back(), 0);
    assert_int_equal(rf_snapshot_take(), 0);
    pid_t child = fork();
    if (!child)
        _exit(use_and_give_back(arena, freed));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(arena[EQUAL * PAGE], EQUAL + 1);
    assert_int_equal(arena[CHANGED * PAGE], CHANGED + 1);
    assert_string_equal(text, "of malloc");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies)};
    return TESTS(tests);
}
