/* gateway/supervise/network: attached to a namespace of this test's own, with what is refused. */
#include "tests/unit/check.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gateway/supervise/network.h"

/* A process in a user and network namespace of its own; 0: not on this machine. */
static pid_t start_target(void)
{
    int ends[2];
    char ready = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        ready = !unshare(CLONE_NEWUSER | CLONE_NEWNET);
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

static void test_attach(void **state)
{
    struct rf_network_tool tool;
    struct rf_error err = {0};
    char text[8192];
    if (rf_network_find(&tool, &err)) {
        print_message("absent layer: %s\n", err.text);
        return;
    }
    pid_t target = start_target();
    if (!target) {
        print_message("absent layer: no user and network namespace\n");
        return;
    }
    pid_t helper = rf_network_attach(&tool, target, &err);
    if (helper < 0)
        fail_msg("%s", err.text);
    /* The routes were set before the tool ran: 169.254.0.0/16, unreachable ('!' is RTF_REJECT, with RTF_UP). */
    read_of(target, "route", text, sizeof(text));
    const char *local = strstr(text, "\t0000FEA9\t");
    const char *line_end = local ? strchr(local, '\n') : NULL;
    assert_non_null(line_end);
    assert_true(strstr(local, "\t0201\t") && strstr(local, "\t0201\t") < line_end);
    assert_true(comes(target, "route", "\t0202000A\t", text, sizeof(text))); /* by way of 10.0.2.2 */
    assert_int_equal(waitpid(helper, NULL, WNOHANG), 0);
    kill(helper, SIGKILL);
    waitpid(helper, NULL, 0);
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
}

static void test_no_namespace_of_its_own(void **state)
{
    struct rf_network_tool tool = {.program = "/bin/false"};
    struct rf_error err = {0};
    assert_int_equal(rf_network_attach(&tool, getpid(), &err), -EXDEV);
}

static void test_a_tool_that_cannot_be_run(void **state)
{
    struct rf_network_tool tool = {.program = "/nowhere/pasta"};
    struct rf_error err = {0};
    pid_t target = start_target();
    if (!target)
        return;
    assert_int_equal(rf_network_attach(&tool, target, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/pasta"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* the target alone is left */
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_no_namespace_of_its_own),
        cmocka_unit_test(test_a_tool_that_cannot_be_run),
    };
    return TESTS(tests);
}
