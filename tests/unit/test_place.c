/* common/place: the text of a place, and limits as text. */
#include "tests/unit/check.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/place.h"

/* Runs in a child, whose place and limits may change: 0 is success. */
static void in_child(int (*act)(void), const char *what)
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(act());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("%s: wait status %#x", what, (unsigned)status);
}

/* 1 when the place reads the same before and after `move`, 0 when it differs,
 * 2 when it cannot be read. */
static int is_same_after(int (*move)(void))
{
    struct rf_buf before = {0}, after = {0};
    int r = rf_place_read(&before);
    if (r || move())
        return 2;
    r = rf_place_read(&after);
    int same = rf_bytes_eq(rf_buf_bytes(&before), rf_buf_bytes(&after));
    rf_buf_deinit(&before);
    rf_buf_deinit(&after);
    return r ? 2 : same;
}

static int stay(void)
{
    return 0;
}
static int be_nicer(void)
{
    return setpriority(PRIO_PROCESS, 0, 19);
}
static int lose_powers(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int use_one_cpu(void)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(sched_getcpu(), &cpus);
    return sched_setaffinity(0, sizeof(cpus), &cpus);
}

static int change_folder(void)
{
    return chdir("/tmp") || setenv("RF_TEST", "1", 1);
}

static int check_stays(void)
{
    return is_same_after(stay) != 1;
}
static int check_folder(void)
{
    return is_same_after(change_folder) != 1;
}
static int check_nice(void)
{
    return is_same_after(be_nicer);
}
static int check_powers(void)
{
    return is_same_after(lose_powers);
}
static int check_cpus(void)
{
    return is_same_after(use_one_cpu);
}

static void test_place(void **state)
{
    in_child(check_stays, "the same place twice");
    in_child(check_folder, "folder and environment are no place");
    in_child(check_nice, "nice value");
    in_child(check_powers, "no_new_privs");
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        in_child(check_cpus, "processors");
}

/* ---- limits ---- */

static int apply(const char *text, bool check)
{
    return rf_rlimits_apply(rf_bytes_str(text), check);
}

static int round_trip(void)
{
    struct rf_buf before = {0}, after = {0};
    rf_rlimits_read(&before);
    if (!before.len || rf_rlimits_apply(rf_buf_bytes(&before), true) ||
        rf_rlimits_apply(rf_buf_bytes(&before), false))
        return 1;
    rf_rlimits_read(&after);
    int same = rf_bytes_eq(rf_buf_bytes(&before), rf_buf_bytes(&after));
    rf_buf_deinit(&before);
    rf_buf_deinit(&after);
    return !same;
}

static int lower(void)
{
    struct rlimit limit;
    char text[64];
    snprintf(text, sizeof(text), "%d 20 30\n%d 0 0\n", RLIMIT_NOFILE, RLIMIT_CORE);
    if (apply(text, true) || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == 20)
        return 1; /* to check changes nothing */
    if (apply(text, false) || getrlimit(RLIMIT_NOFILE, &limit))
        return 2;
    return limit.rlim_cur != 20 || limit.rlim_max != 30;
}

static int raise_above(void)
{
    char text[64];
    snprintf(text, sizeof(text), "%d 20 31\n", RLIMIT_NOFILE);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 30}))
        return 1;
    if (apply(text, true) != -EPERM || apply(text, false) != -EPERM)
        return 2;
    snprintf(text, sizeof(text), "%d 20 -1\n", RLIMIT_NOFILE);
    return apply(text, true) == -EPERM ? 0 : 3;
}

static int unlimited(void)
{
    char text[64];
    struct rlimit limit;
    if (getrlimit(RLIMIT_CPU, &limit))
        return 1;
    if (limit.rlim_max != RLIM_INFINITY)
        return 0;
    snprintf(text, sizeof(text), "%d 1000 -1\n", RLIMIT_CPU);
    if (apply(text, false) || getrlimit(RLIMIT_CPU, &limit))
        return 2;
    return limit.rlim_cur != 1000 || limit.rlim_max != RLIM_INFINITY;
}

static void test_limits(void **state)
{
    in_child(round_trip, "what was read can be applied");
    in_child(lower, "lower limits");
    in_child(raise_above, "limits above the hard ones");
    in_child(unlimited, "no limit");
}

static void test_limits_that_are_none(void **state)
{
    char longest[256];
    snprintf(longest, sizeof(longest), "%200s\n", "7 20 30");
    const char *const bad[] = {
        "\n", "x\n", "1\n", "1 2\n", "7 20 30", "-1 0 0\n", "1 x 3\n", longest,
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int r = apply(bad[i], true);
        if (r != -EPROTO)
            fail_msg("\"%s\": got %d", bad[i], r);
    }
    assert_int_equal(apply("", false), 0);
    assert_int_equal(apply("99 1 1\n", false), 0); /* of a later system */
    assert_int_equal(rf_rlimits_apply((struct rf_bytes)LITERAL("7\0 20 30\n"), true), -EPROTO);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_that_are_none),
    };
    return TESTS(tests);
}
