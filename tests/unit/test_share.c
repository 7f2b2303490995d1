/* kernel/sandbox/share: a process on its caller's memory. */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/sandbox/share.h"

static int at, fd;
static sigjmp_buf here;

static int write_here(void *number)
{
    at = *(int *)number;
    close(fd);
    return chdir("/") ? 1 : 7;
}

/* Memory is shared, descriptors and folders are not; and it has ended. */
static void runs_on_our_memory(void **state)
{
    (void)state;
    char before[4096], after[4096];
    int number = 42, status;
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && !chdir("/tmp") && getcwd(before, sizeof(before)));
    pid_t pid = rf_share_memory(0, write_here, &number);
    assert_true(pid > 0);
    assert_int_equal(at, 42);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_string_equal(getcwd(after, sizeof(after)), before);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    close(fd);
}

static int execute(void *unused)
{
    (void)unused;
    execl("/bin/sleep", "sleep", "1000", (char *)NULL);
    return 1;
}

static void goes_on_at_the_exec(void **state)
{
    (void)state;
    int status;
    pid_t pid = rf_share_memory(0, execute, NULL);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static int fork_back(void *of)
{
    pid_t *child = of;
    *child = fork();
    if (!*child)
        siglongjmp(here, 1);
    int status;
    return waitpid(*child, &status, 0) != *child || !WIFEXITED(status) || WEXITSTATUS(status) != 9;
}

/* As the worker does. */
static void a_fork_of_it_goes_back_on_its_copy(void **state)
{
    (void)state;
    static pid_t child;
    sigset_t mask;
    int status;
    if (sigsetjmp(here, 1)) {
        sigprocmask(SIG_SETMASK, NULL, &mask);
        _exit(!child && !sigismember(&mask, SIGTERM) ? 9 : 1);
    }
    pid_t pid = rf_share_memory(0, fork_back, &child);
    assert_true(pid > 0 && child > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

static int do_nothing(void *unused)
{
    (void)unused;
    return 0;
}

static void leaves_signals_as_they_were(void **state)
{
    (void)state;
    sigset_t before, after;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, NULL);
    pid_t pid = rf_share_memory(0, do_nothing, NULL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    sigprocmask(SIG_SETMASK, NULL, &after);
    assert_true(sigismember(&after, SIGUSR1) && !sigismember(&after, SIGTERM));
    sigemptyset(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void says_why_not(void **state)
{
    (void)state;
    assert_int_equal(rf_share_memory(CLONE_THREAD, do_nothing, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_on_our_memory),
        cmocka_unit_test(goes_on_at_the_exec),
        cmocka_unit_test(a_fork_of_it_goes_back_on_its_copy),
        cmocka_unit_test(leaves_signals_as_they_were),
        cmocka_unit_test(says_why_not),
    };
    return TESTS(tests);
}
