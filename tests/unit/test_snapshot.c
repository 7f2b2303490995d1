/* kernel/snapshot: which copied pages are given back, and that nothing is lost with them. */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/snapshot.h"
#include "kernel/worker.h"

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

static uint64_t entry_of(const volatile uint8_t *page)
{
    uint64_t entry = 0;
    int pagemap = open("/proc/self/pagemap", O_RDONLY);
    off_t offset = (off_t)((uintptr_t)page / PAGE * sizeof(entry));
    bool known = pread(pagemap, &entry, sizeof(entry), offset) == (ssize_t)sizeof(entry);
    close(pagemap);
    return known ? entry : 0;
}

static bool is_mapped(const volatile uint8_t *page)
{
    return entry_of(page) >> 63;
}

static bool is_copy(const volatile uint8_t *page)
{
    return is_mapped(page) && !(entry_of(page) >> 61 & 1);
}

/* As the gateway does; the checkpoint ends at once, since nobody holds its socket. */
static int make_checkpoint(int gateway, const char *most_us)
{
    int pair[2];
    struct rf_frame order;
    struct rf_bytes part = rf_bytes_str(most_us);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ||
        rf_frame_send(gateway, RF_MSG_CHECKPOINT, 9, &part, 1, &pair[1], 1))
        return -1;
    close(pair[0]);
    close(pair[1]);
    if (rf_worker_recv(0, &order) != 1)
        return -1;
    int r = rf_worker_checkpoint(9, rf_worker_take_fd(), "", 0, &order);
    if (r == 1)
        _exit(0);
    return r;
}

/* Both orders are read long after the reply; one of them because the machine is slow. */
static int be_ordered(volatile uint8_t *arena)
{
    int sockets[2], fence[2], null = open("/dev/null", O_RDWR);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fence))
        return 1;
    int gateway = fcntl(sockets[0], F_DUPFD_CLOEXEC, 100);
    int fds[RF_FD_COUNT] = {sockets[1], dup(null), dup(null), fence[1], dup(null)};
    arena[EQUAL * PAGE]++;
    arena[EQUAL * PAGE]--;
    if (rf_worker_install(fds, 7) || rf_worker_send(RF_MSG_REPLY, 1, NULL, 0))
        return 2;
    usleep(50000);
    if (make_checkpoint(gateway, "40000") || !is_copy(arena + EQUAL * PAGE))
        return 3;
    if (make_checkpoint(gateway, "9223372036854775807") || is_copy(arena + EQUAL * PAGE))
        return 4;
    return arena[EQUAL * PAGE] == EQUAL + 1 ? 0 : 5;
}

static int status_of(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
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
    arena[EQUAL * PAGE]++;
    arena[EQUAL * PAGE]--;
    assert_int_equal(arena[ASIDE * PAGE], ASIDE + 1);
    rf_snapshot_unmap();
    assert_false(is_mapped(arena + ASIDE * PAGE) || is_mapped(arena + EQUAL * PAGE));
    pid_t child = fork();
    if (!child)
        _exit(use_and_give_back(arena, freed));
    assert_int_equal(status_of(child), 0);
    child = fork();
    if (!child)
        _exit(be_ordered(arena));
    assert_int_equal(status_of(child), 0);
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
