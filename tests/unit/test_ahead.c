/* kernel/ahead: a checkpoint sees what its worker rewrites, copies it, and both keep their own. */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/ahead.h"

#define PIECE ((size_t)2 << 20)
#define PIECES 32
#define REWRITTEN 8

/* On a border of pieces; NULL where the machine has no huge pages. */
static uint8_t *huge_memory(void)
{
    uint8_t *all = mmap(NULL, (PIECES + 1) * PIECE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    uint8_t *memory = (uint8_t *)(((uintptr_t)all + PIECE - 1) / PIECE * PIECE);
    int r = madvise(memory, PIECES * PIECE, MADV_HUGEPAGE);
    memset(memory, 1, PIECES * PIECE);
    FILE *maps = r ? NULL : fopen("/proc/self/smaps", "re");
    char line[512];
    unsigned long kb, most = 0;
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "AnonHugePages: %lu", &kb) == 1 && kb > most)
            most = kb;
    if (maps)
        fclose(maps);
    return most * 1024 == PIECES * PIECE ? memory : NULL;
}

static bool holds(const uint8_t *from, const uint8_t *to, uint8_t value)
{
    return *from == value && !memcmp(from, from + 1, (size_t)(to - from) - 1);
}

/* The exit status of the checkpoint, 0 when all is well. */
static int look_and_copy(const uint8_t *memory, int socket)
{
    char byte = 0;
    rf_ahead_forget();
    if (rf_ahead_look())
        return 1; /* nothing was rewritten yet */
    if (write(socket, &byte, 1) != 1 || read(socket, &byte, 1) != 1)
        return 2;
    size_t shared = rf_ahead_look();
    if (shared != (PIECES - REWRITTEN) * PIECE)
        return 3;
    rf_ahead_copy(socket);
    if (rf_ahead_look() > shared)
        return 4;
    return holds(memory, memory + PIECES * PIECE, 1) ? 0 : 5;
}

static void test_copies_what_is_rewritten(void **state)
{
    uint8_t *memory = huge_memory(), *begun = memory + REWRITTEN * PIECE;
    int pair[2], status = -1;
    char byte;
    if (!memory)
        skip();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t child = fork();
    if (!child)
        _exit(look_and_copy(memory, pair[1]));
    close(pair[1]);
    if (read(pair[0], &byte, 1) == 1) {
        memset(memory, 2, REWRITTEN * PIECE);
        assert_int_equal(write(pair[0], &byte, 1), 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(holds(memory, begun, 2));
    assert_true(holds(begun, memory + PIECES * PIECE, 1));
    close(pair[0]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies_what_is_rewritten)};
    return TESTS(tests);
}
