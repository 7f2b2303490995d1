/* ringfence-keeper: what it says of the end of a worker. */
#include "tests/unit/check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringfence/keeper.h>

#include "common/frame.h"
#include "kernel/keeper/start.h"
#include "kernel/sandbox/sandbox.h"

#define WORKER 7 /* its generation */
#define LARGE (512u << 20)
#define LONG_MS 20000
#define QUIET_MS 300 /* many times the keeper looks */

static const char *program;

struct sandbox {
    int keeper, worker; /* sockets */
    pid_t pid;
};

static void *live_on(void *none)
{
    for (;;)
        pause();
    return none;
}

/* Small pages, so that they take long to be taken down. */
static void fill(int gateway)
{
    uint8_t *at = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        _exit(9);
    madvise(at, LARGE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < LARGE; i += 4096)
        at[i] = 1;
}

static void leave_the_rest(int gateway)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, live_on, NULL))
        _exit(9);
    (void)!write(gateway, "", 1);
    pthread_exit(NULL);
}

static void do_nothing(int gateway)
{
}

/* The worker as its first thread, which says when it is done with `work`; then it exits with 3 when
 * it is told something. */
static void be_worker(int gateway, void (*work)(int))
{
    char byte = 0;
    setsid();
    work(gateway);
    (void)!write(gateway, "", 1);
    (void)!read(gateway, &byte, 1);
    _exit(3);
}

/* The keeper's program in a sandbox without walls, with this worker. */
static void execute(int orders, int between, pid_t worker)
{
    char texts[RF_KEEPER_ARGS][16], *argv[RF_KEEPER_ARGS + 1] = {NULL};
    struct rf_sandbox_base none = {0};
    int numbers[RF_KEEPER_LOST] = {0, dup(orders), dup(between), dup(rf_sandbox_base_write(&none)),
                                   worker};
    for (int i = 0; i < RF_KEEPER_ARGS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%d", i < RF_KEEPER_LOST ? numbers[i] : 0);
        argv[i] = texts[i];
    }
    argv[RF_KEEPER_PROGRAM] = (char *)program;
    argv[RF_KEEPER_LOST] = (char *)"";
    execv(program, argv);
    _exit(1);
}

static struct sandbox start(void (*work)(int))
{
    struct sandbox s;
    struct rf_verdict verdict;
    struct rf_keeper_msg ready;
    const struct rf_bytes policy = {(const uint8_t *)"walls=off", sizeof("walls=off")};
    int keeper[2], worker[2], orders[2], between[2];
    char byte;
    int *pairs[] = {keeper, worker, orders, between};
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]), 0);
    s.pid = fork();
    if (!s.pid) {
        pid_t pid = fork();
        if (!pid) {
            close(between[1]);
            be_worker(worker[1], work);
        }
        execute(orders[1], between[1], pid);
    }
    assert_int_equal(rf_frame_send(orders[0], RF_ZYGOTE_SPAWN, WORKER, &policy, 1, &keeper[1], 1), 0);
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        close(pairs[i][1]);
    assert_true(rf_verdict_hear(between[0], &verdict));
    assert_int_equal(verdict.code, 0);
    rf_verdict_say(between[0], 0, 0, "");
    assert_int_equal(read(between[0], &byte, 1), 0); /* nobody can look into it */
    close(between[0]);
    close(orders[0]);
    assert_int_equal(read(worker[0], &byte, 1), 1);
    s.keeper = keeper[0];
    s.worker = worker[0];
    assert_int_equal(recv(s.keeper, &ready, sizeof(ready), 0), sizeof(ready));
    assert_int_equal(ready.op, RF_KEEPER_READY);
    assert_int_equal(ready.id, WORKER);
    return s;
}

static void order(const struct sandbox *s, uint32_t op, int value)
{
    struct rf_keeper_msg msg = {.op = op, .id = WORKER, .value = value};
    assert_int_equal(send(s->keeper, &msg, sizeof(msg), 0), sizeof(msg));
}

/* The op of its next message within so many milliseconds, else 0. */
static uint32_t hear(const struct sandbox *s, int ms, int *ret_status)
{
    struct rf_keeper_msg msg;
    struct pollfd wait = {s->keeper, POLLIN, 0};
    if (poll(&wait, 1, ms) <= 0)
        return 0;
    assert_int_equal(recv(s->keeper, &msg, sizeof(msg), 0), sizeof(msg));
    assert_int_equal(msg.id, WORKER);
    *ret_status = msg.value;
    return msg.op;
}

static void finish(const struct sandbox *s)
{
    close(s->keeper);
    close(s->worker);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* How it ends, once; true: there was word of it before it was over. */
static bool ends(bool watched, bool killed)
{
    int status = 0, expected = killed ? SIGKILL : 3 << 8;
    struct sandbox s = start(fill);
    order(&s, RF_KEEPER_WATCH, watched);
    if (killed)
        order(&s, RF_KEEPER_KILL, 0);
    else
        assert_int_equal(write(s.worker, "", 1), 1);
    uint32_t first = hear(&s, LONG_MS, &status);
    assert_int_equal(status, expected);
    bool early = first == RF_KEEPER_DYING;
    if (early)
        first = hear(&s, LONG_MS, &status);
    assert_int_equal(first, RF_KEEPER_DIED);
    assert_int_equal(status, expected);
    assert_int_equal(hear(&s, 0, &status), 0);
    finish(&s);
    return early;
}

/* On a busy machine the keeper may come too late now and then. */
static void test_word_of_a_large_ones_end_comes_early(void **state)
{
    for (int killed = 0; killed < 2; killed++) {
        int tries = 1;
        while (!ends(true, killed) && tries < 10)
            tries++;
        assert_true(tries < 10);
    }
    assert_false(ends(false, true));
}

static void test_the_first_thread_is_not_all(void **state)
{
    int status = 0;
    struct sandbox s = start(leave_the_rest);
    order(&s, RF_KEEPER_WATCH, 1);
    assert_int_equal(hear(&s, QUIET_MS, &status), 0);
    order(&s, RF_KEEPER_KILL, 0);
    uint32_t first = hear(&s, LONG_MS, &status);
    assert_int_equal(first == RF_KEEPER_DYING ? hear(&s, LONG_MS, &status) : first, RF_KEEPER_DIED);
    finish(&s);
}

static void test_one_that_lives_is_not_dying(void **state)
{
    int status = 0;
    struct sandbox s = start(do_nothing);
    order(&s, RF_KEEPER_WATCH, 1);
    order(&s, RF_KEEPER_SIGNAL, SIGSTOP);
    assert_int_equal(hear(&s, QUIET_MS, &status), 0);
    order(&s, RF_KEEPER_SIGNAL, SIGCONT);
    assert_int_equal(write(s.worker, "", 1), 1);
    uint32_t first = hear(&s, LONG_MS, &status);
    assert_int_equal(first == RF_KEEPER_DYING ? hear(&s, LONG_MS, &status) : first, RF_KEEPER_DIED);
    assert_int_equal(status, 3 << 8);
    finish(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word_of_a_large_ones_end_comes_early),
        cmocka_unit_test(test_the_first_thread_is_not_all),
        cmocka_unit_test(test_one_that_lives_is_not_dying),
    };
    program = argc > 1 ? argv[1] : "ringfence-keeper";
    return TESTS(tests);
}
