/* gateway/supervise/network: attached to a namespace of this test's own, with what is refused. */
#include "tests/unit/check.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gateway/supervise/network.h"

/* A process in a network namespace of its own: as the kernel of an ordinary user, in
 * a user namespace, too, or as root's, of another user; 0: not on this machine. */
static pid_t start_target(bool of_root)
{
    int ends[2];
    char ready = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        ready = !unshare(CLONE_NEWNET | (of_root ? 0 : CLONE_NEWUSER)) &&
                (!of_root || !setresuid(1900000000, 1900000000, 1900000000));
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
        (void)!write(ends[1], &ready, 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    close(ends[0]);
    close(ends[1]);
    if (ready)
        return pid;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}

static void read_of(pid_t pid, const char *name, char *ret, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, name);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(ret, 1, size - 1, file) : 0;
    ret[n] = '\0';
    if (file)
        fclose(file);
}

static bool comes(pid_t pid, const char *name, const char *text, char *ret, size_t size)
{
    static const struct timespec step = {.tv_nsec = 20000000};
    for (int i = 0; i < 500; i++) {
        read_of(pid, name, ret, size);
        if (strstr(ret, text))
            return true;
        nanosleep(&step, NULL);
    }
    return false;
}

static void attach(bool of_root)
{
    struct rf_network_tool tool;
    struct rf_network_helper helper = {0};
    struct rf_error err = {0};
    char text[8192];
    if (rf_network_find(&tool, &err)) {
        print_message("absent layer: %s\n", err.text);
        return;
    }
    pid_t target = start_target(of_root);
    if (!target) {
        print_message("absent layer: no user and network namespace\n");
        return;
    }
    if (rf_network_attach(&tool, target, &helper, &err))
        fail_msg("%s", err.text);
    /* The routes were set before the tool ran: 169.254.0.0/16, unreachable ('!' is RTF_REJECT, with RTF_UP). */
    read_of(target, "route", text, sizeof(text));
    const char *local = strstr(text, "\t0000FEA9\t");
    const char *line_end = local ? strchr(local, '\n') : NULL;
    assert_non_null(line_end);
    assert_true(strstr(local, "\t0201\t") && strstr(local, "\t0201\t") < line_end);
    bool came = comes(target, "route", "\t0202000A\t", text, sizeof(text)); /* by way of 10.0.2.2 */
    rf_network_words(&helper, text, sizeof(text));
    if (!came)
        fail_msg("%s says: %s", tool.program, text);
    assert_int_equal(waitpid(helper.pid, NULL, WNOHANG), 0);
    pid_t pid = helper.pid;
    rf_network_detach(&helper);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
}

static void test_attach(void **state)
{
    attach(false);
}

static void test_attach_as_root(void **state)
{
    if (!geteuid())
        attach(true);
}

static void test_its_end_is_told(void **state)
{
    struct rf_network_tool tool = {.program = "/bin/sh", .slirp = true}; /* sh: no option --configure */
    struct rf_network_helper helper = {0};
    struct rf_error err = {0};
    char text[200];
    pid_t target = start_target(false);
    if (!target)
        return;
    assert_int_equal(rf_network_attach(&tool, target, &helper, &err), 0);
    struct pollfd end = {.fd = helper.pidfd, .events = POLLIN};
    assert_int_equal(poll(&end, 1, 10000), 1);
    rf_network_words(&helper, text, sizeof(text));
    assert_non_null(strstr(text, "option"));
    assert_true(waitpid(helper.pid, NULL, 0) == helper.pid);
    rf_network_detach(&helper);
    assert_int_equal(helper.pid, 0);
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
}

static void test_no_namespace_of_its_own(void **state)
{
    struct rf_network_tool tool = {.program = "/bin/false"};
    struct rf_network_helper helper = {0};
    struct rf_error err = {0};
    assert_int_equal(rf_network_attach(&tool, getpid(), &helper, &err), -EXDEV);
}

static void test_a_tool_that_cannot_be_run(void **state)
{
    struct rf_network_tool tool = {.program = "/nowhere/pasta"};
    struct rf_network_helper helper = {0};
    struct rf_error err = {0};
    pid_t target = start_target(false);
    if (!target)
        return;
    assert_int_equal(rf_network_attach(&tool, target, &helper, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/pasta"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* the target alone is left */
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the gateway */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_attach_as_root),
        cmocka_unit_test(test_its_end_is_told),
        cmocka_unit_test(test_no_namespace_of_its_own),
        cmocka_unit_test(test_a_tool_that_cannot_be_run),
    };
    return TESTS(tests);
}
