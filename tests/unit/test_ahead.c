/* kernel/ahead: a checkpoint sees what its worker rewrites, copies it, and both keep their own;
 * what is only touched it leaves alone.  What a worker has copied in small pages it puts together. */
#include "tests/unit/check.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/ahead.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PIECE ((size_t)2 << 20)
#define PIECES 32
#define REWRITTEN 8

/* Of the mapping that has most. */
static size_t bytes_in_huge_pages(void)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    size_t kb, most = 0;
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "AnonHugePages: %zu", &kb) == 1 && kb > most)
            most = kb;
    if (maps)
        fclose(maps);
    return most * 1024;
}

/* On a border of pieces, so many of them present; NULL where the machine has no huge pages
 * and they are wanted. */
static uint8_t *new_memory(bool huge, size_t present)
{
    uint8_t *all = mmap(NULL, (PIECES + 1) * PIECE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    uint8_t *memory = (uint8_t *)(((uintptr_t)all + PIECE - 1) / PIECE * PIECE);
    int r = madvise(memory, PIECES * PIECE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(memory, 1, present * PIECE);
    return !huge || (!r && bytes_in_huge_pages() == present * PIECE) ? memory : NULL;
}

static bool holds(const uint8_t *from, const uint8_t *to, uint8_t value)
{
    return *from == value && !memcmp(from, from + 1, (size_t)(to - from) - 1);
}

static void rewrite(uint8_t *memory)
{
    memset(memory, 2, REWRITTEN * PIECE);
}

/* As counts of references are. */
static void touch(uint8_t *memory)
{
    for (size_t at = 0; at < REWRITTEN * PIECE; at += 8 * 4096)
        memory[at] = 1;
}

static void touch_here_and_there(uint8_t *memory)
{
    for (size_t piece = 0; piece < PIECES; piece += 2)
        memory[piece * PIECE] = 1;
}

static void leave(uint8_t *memory)
{
}

static bool rewritten(const uint8_t *memory, int socket)
{
    char byte = 0;
    size_t shared = rf_ahead_look(socket);
    if (shared != (PIECES - REWRITTEN) * PIECE)
        return false;
    rf_ahead_copy(socket);
    return rf_ahead_look(socket) <= shared && holds(memory, memory + PIECES * PIECE, 1) &&
           write(socket, &byte, 1) == 1 && poll(&(struct pollfd){socket, POLLIN, 0}, 1, -1) == 1 &&
           !rf_ahead_look(socket); /* an order has come */
}

static bool untouched(const uint8_t *memory, int socket)
{
    char byte = 0;
    return !rf_ahead_look(socket) && write(socket, &byte, 1) == 1;
}

/* What a worker does, and whether that is what its checkpoint sees. */
static const struct job {
    bool huge;
    size_t present;
    void (*act)(uint8_t *memory);
    bool (*is_seen)(const uint8_t *memory, int socket);
} jobs[] = {
    {true, PIECES, rewrite, rewritten},
    {false, PIECES, rewrite, rewritten},
    {false, PIECES, touch, untouched},
    {true, PIECES, touch_here_and_there, untouched},
    {true, PIECES - REWRITTEN, leave, untouched},
};

static bool be_checkpoint(const struct job *job, const uint8_t *memory, int socket)
{
    char byte = 0;
    rf_ahead_forget();
    return !rf_ahead_look(socket) && write(socket, &byte, 1) == 1 && read(socket, &byte, 1) == 1 &&
           job->is_seen(memory, socket);
}

/* False: no huge pages. */
static bool try_job(const struct job *job)
{
    uint8_t *memory = new_memory(job->huge, job->present);
    int pair[2], status = -1;
    char byte;
    if (!memory)
        return false;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t child = fork();
    if (!child)
        _exit(!be_checkpoint(job, memory, pair[1]));
    close(pair[1]);
    if (read(pair[0], &byte, 1) == 1) {
        job->act(memory);
        assert_int_equal(write(pair[0], &byte, 1), 1);
        if (read(pair[0], &byte, 1) == 1)
            send(pair[0], &byte, 1, MSG_NOSIGNAL); /* it may have ended */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(pair[0]);
    bool whole = holds(memory + REWRITTEN * PIECE, memory + job->present * PIECE, 1) &&
                 holds(memory, memory + REWRITTEN * PIECE, job->act == rewrite ? 2 : 1);
    assert_true(whole);
    munmap(memory, PIECES * PIECE);
    return true;
}

static void test_copies_what_is_rewritten(void **state)
{
    for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
        if (!try_job(&jobs[i]))
            skip();
}

static void rewrite_all(uint8_t *memory)
{
    pid_t child = fork();
    if (!child) {
        pause();
        _exit(0);
    }
    memset(memory, 3, PIECES * PIECE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void test_puts_together_what_was_copied(void **state)
{
    uint8_t *memory = new_memory(true, PIECES), byte = 0;
    int pair[2];
    if (!memory)
        skip();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    rewrite_all(memory);
    if (bytes_in_huge_pages() || madvise(memory, PIECE, MADV_COLLAPSE))
        skip(); /* no Linux that splits, or none that puts together */
    assert_int_equal(madvise(memory + 3 * PIECE, 4096, MADV_DONTNEED), 0);
    assert_int_equal(write(pair[1], &byte, 1), 1);
    rf_ahead_gather(pair[0], 60000);
    assert_int_equal(bytes_in_huge_pages(), PIECE); /* somebody waits */
    assert_int_equal(read(pair[0], &byte, 1), 1);
    rf_ahead_gather(pair[0], 0);
    assert_int_equal(bytes_in_huge_pages(), PIECE);
    rf_ahead_gather(pair[0], 60000);
    size_t gathered = bytes_in_huge_pages();
    assert_true(gathered > PIECES / 2 * PIECE && gathered < PIECES * PIECE); /* but the hole */
    assert_true(holds(memory, memory + 3 * PIECE, 3));
    assert_true(holds(memory + 3 * PIECE + 4096, memory + PIECES * PIECE, 3));
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_what_is_rewritten),
        cmocka_unit_test(test_puts_together_what_was_copied)};
    return TESTS(tests);
}
