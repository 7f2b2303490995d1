/* gateway/jupyter: limits of output and time, and what a request says of its own. */
#include "tests/unit/kernel_rig.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/jupyter/run_options.h"

static const struct {
    const char *metadata;
    int64_t timeout_us;
    const char *wrong; /* a part of it; NULL: nothing is */
} cases[] = {
    {"{}", 0, NULL},
    {"{\"ringfence\":null}", 0, NULL},
    {"{\"ringfence\":{}}", 0, NULL},
    {"{\"ringfence\":[]}", 0, "must be an object"},
    {"{\"ringfence\":{\"timeout_s\":2}}", 2000000, NULL},
    {"{\"ringfence\":{\"timeout_s\": 0.25 , \"env\" : { } }}", 250000, NULL},
    {"{\"ringfence\":{\"timeout_s\":1e3}}", 1000000000, NULL},
    {"{\"ringfence\":{\"timeout_s\":0}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"timeout_s\":-1}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"timeout_s\":NaN}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"timeout_s\":1e99}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"timeout_s\":\"1\"}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"timeout_s\":true}}", 0, "timeout_s"},
    {"{\"ringfence\":{\"env\":{\"A\":\"b\",\"C\" : \"\"}}}", 0, NULL},
    {"{\"ringfence\":{\"env\":{\"A\":\"\\\"}{,\",\"C\":\"d\"}}}", 0, NULL},
    {"{\"ringfence\":{\"env\":{\"A\":\"b\",\"C\":[\"d\"]}}}", 0, "env must be an object"},
    {"{\"ringfence\":{\"env\":{\"A\":null}}}", 0, "env must be an object"},
    {"{\"ringfence\":{\"env\":\"A\"}}", 0, "env must be an object"},
    {"{\"ringfence\":{\"env\":{\"\":\"b\"}}}", 0, "empty"},
    {"{\"ringfence\":{\"env\":{\"A\\u003dB\":\"b\"}}}", 0, "empty or holds"},
    {"{\"ringfence\":{\"env\":{\"A\":\"b\\u0000\"}}}", 0, "NUL"},
};

static void test_run_options(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rf_run_options got;
        const char *wrong = rf_run_options_read(rf_bytes_str(cases[i].metadata), &got);
        if (!wrong != !cases[i].wrong || (wrong && !strstr(wrong, cases[i].wrong)))
            fail_msg("%s: got %s, want %s", cases[i].metadata, wrong, cases[i].wrong);
        if (!wrong && got.timeout_us != cases[i].timeout_us)
            fail_msg("%s: got %lld us", cases[i].metadata, (long long)got.timeout_us);
    }
}

static struct rig *rig_with(struct rf_limits limits)
{
    limits.profile = "tight";
    limits.born_us = 1000000; /* a rig's clock starts there */
    limits.since_us += limits.born_us;
    struct rig *rig = rig_new_limited(&limits);
    rig_hello(rig);
    rig_clear(rig);
    return rig;
}

static void pass(struct rig *rig, int64_t us)
{
    rig->now += us;
    rf_kernel_on_time(rig->kernel, rig->now);
}

static bool said(struct rig *rig, const char *text)
{
    bool found = strstr(rig_log(rig), text) != NULL;
    if (!found)
        print_message("not \"%s\" in: %s", text, rig_log(rig));
    return found;
}

static void test_output_is_cut_once(void **state)
{
    struct rig *rig = rig_with((struct rf_limits){.output_bytes = 6});
    rig_execute(rig, 1, "a", "");
    rig_pipe(rig, 1, "abcd");
    rig_publish(rig, 1, "display_data", "{\"data\":{}}"); /* more than is left: all of it goes */
    rig_pipe(rig, 1, "ef");
    rig_clear(rig);
    rig_stream(rig, 1, "stderr", "later");
    rig_publish(rig, 1, "error", "{}");
    rig_reply(rig, 1, RIG_OK);
    assert_null(strstr(rig_log(rig), "later"));
    assert_true(said(rig, "error m1 {}"));
    rig_clear(rig);
    rig_execute(rig, 2, "b", "");
    rig_pipe(rig, 1, "ab\xc3"); /* the next cell has its own; a character is not cut in two */
    rig_pipe(rig, 1, "\xa4");
    rig_stream(rig, 2, "stdout", "c\xc3\xa4");
    rig_reply(rig, 2, RIG_OK);
    assert_true(said(rig, "\"text\":\"abäc\""));
    assert_true(said(rig, "output is cut here by the limit output_bytes (6 bytes) of the profile tight"));
    rig_free(rig);
}

static void test_a_cell_that_takes_too_long(void **state)
{
    struct rig *rig = rig_with((struct rf_limits){.cell_us = 1000000});
    assert_true(rf_kernel_deadline(rig->kernel) == INT64_MAX);
    rig_execute(rig, 1, "a", "");
    assert_true(rf_kernel_deadline(rig->kernel) == rig->now + 1000000);
    rig_clear(rig);
    pass(rig, 999999);
    rig_expect(rig, "");
    pass(rig, 1);
    assert_true(said(rig, "interrupted by the limit cell_time (1 s)") && said(rig, "interrupt\n"));
    rig_clear(rig);
    pass(rig, RF_CELL_GRACE_US - 1);
    rig_expect(rig, "");
    pass(rig, 1);
    assert_true(said(rig, "kill the limit cell_time (1 s)"));
    rig_clear(rig);
    pass(rig, 100000000);
    rig_expect(rig, ""); /* once */
    rig_free(rig);
}

static void test_the_end_of_an_idle_kernel(void **state)
{
    struct rig *rig = rig_with((struct rf_limits){.idle_us = 1000000});
    rig_execute(rig, 1, "a", "");
    pass(rig, 5000000);
    rig_reply(rig, 1, RIG_OK);
    assert_true(rf_kernel_deadline(rig->kernel) == rig->now + 1000000);
    pass(rig, 900000);
    rig_send(rig, RF_SHELL, 2, "kernel_info_request", "{}");
    rig_clear(rig);
    pass(rig, 900000);
    rig_expect(rig, "");
    pass(rig, 100000);
    assert_true(said(rig, "the limit idle_time (1 s)") && said(rig, "shutdown 0\n"));
    assert_true(said(rig, "shutdown_reply"));
    assert_true(rf_kernel_deadline(rig->kernel) == INT64_MAX);
    rig_free(rig);
}

static void test_the_end_of_a_life(void **state)
{
    struct rig *rig = rig_with((struct rf_limits){.life_us = 3000000});
    rig_execute(rig, 1, "a", "");
    rig_execute(rig, 2, "b", "");
    rig_clear(rig);
    pass(rig, 3000000);
    assert_true(said(rig, "KernelShutdown") && said(rig, "ended by the limit lifetime (3 s)"));
    assert_true(said(rig, "shell execute_reply m2"));
    assert_true(said(rig, "shutdown 0\n"));
    rig_free(rig);
}

/* It was born two seconds after the sandbox in which it lives. */
static void test_the_end_of_a_branchs_life(void **state)
{
    struct rig *rig = rig_with((struct rf_limits){.life_us = 3000000, .since_us = -2000000});
    pass(rig, 900000);
    rig_expect(rig, "");
    pass(rig, 100000);
    assert_true(said(rig, "the limit lifetime (3 s)") && said(rig, "shutdown 0\n"));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_options),
        cmocka_unit_test(test_output_is_cut_once),
        cmocka_unit_test(test_a_cell_that_takes_too_long),
        cmocka_unit_test(test_the_end_of_an_idle_kernel),
        cmocka_unit_test(test_the_end_of_a_life),
        cmocka_unit_test(test_the_end_of_a_branchs_life),
    };
    return TESTS(tests);
}
