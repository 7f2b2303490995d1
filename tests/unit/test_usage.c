/* gateway/supervise/usage: what a client hears of a kernel's use of the machine. */
#include "tests/unit/check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "gateway/supervise/usage.h"

static double number(const struct rf_buf *text, const char *name)
{
    struct rf_json_member member = {name, {0}};
    assert_int_equal(rf_json_object(rf_buf_bytes(text), &member, 1), RF_JSON_OK);
    char digits[32] = "";
    if (!member.value.data || member.value.len >= sizeof(digits))
        return -1;
    memcpy(digits, member.value.data, member.value.len);
    return strtod(digits, NULL);
}

static void burn(clock_t ticks)
{
    for (clock_t begun = clock(); clock() - begun < ticks;)
        ;
}

static void this_process(void **state)
{
    struct rf_usage usage = {0};
    struct rf_buf first = {0}, second = {0};
    rf_usage_tell(&usage, getpid(), 1000000, &first);
    assert_true(number(&first, "pid") == getpid() && number(&first, "cpu_count") >= 1);
    assert_true(number(&first, "kernel_memory") > 1 << 16);
    assert_true(number(&first, "kernel_cpu") == 0 && number(&first, "host_cpu_percent") == -1);
    burn(CLOCKS_PER_SEC / 10);
    rf_usage_tell(&usage, getpid(), 2000000, &second);
    assert_true(number(&second, "kernel_cpu") > 0 && number(&second, "host_cpu_percent") > 0);
    rf_buf_deinit(&first);
    rf_buf_deinit(&second);
}

static void no_process(void **state)
{
    struct rf_usage usage = {0};
    struct rf_buf text = {0};
    rf_usage_tell(&usage, 0, 1, &text);
    assert_true(number(&text, "kernel_memory") == 0 && number(&text, "kernel_cpu") == 0);
    rf_buf_deinit(&text);
}

static void a_crowd(void **state)
{
    long n = 3 * sysconf(_SC_NPROCESSORS_ONLN) + 1;
    pid_t *runners = calloc((size_t)n, sizeof(*runners));
    for (long i = 0; i < n; i++) {
        runners[i] = fork();
        assert_true(runners[i] >= 0);
        if (!runners[i])
            alarm(60); /* not for ever, whatever becomes of the test */
        while (!runners[i])
            ;
    }
    while (!rf_usage_is_crowded())
        usleep(1000);
    for (long i = 0; i < n; i++) {
        kill(runners[i], SIGKILL);
        waitpid(runners[i], NULL, 0);
    }
    free(runners);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_process),
        cmocka_unit_test(no_process),
        cmocka_unit_test(a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
