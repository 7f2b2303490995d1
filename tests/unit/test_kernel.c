/* gateway/jupyter/kernel: requests, their order, and the gateway's answers. */
#include "tests/unit/kernel_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/cleanup.h"

static void starts_once(void **state)
{
    struct rig *rig = rig_new();
    rf_kernel_start(rig->kernel);
    rf_kernel_start(rig->kernel);
    rig_expect(rig, "starting -\n");
    rig_free(rig);
}

static void runs_a_cell(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "1+1", "");
    rig_expect(rig, "worker 1 1 execute_request 1 {} {\"code\":\"1+1\"}\n"
                    "busy m1\n"
                    "execute_input m1 {\"code\":\"1+1\",\"execution_count\":1}\n");
    assert_true(rf_kernel_is_busy(rig->kernel));
    assert_int_equal(rig_publish(rig, 1, "execute_result", "{\"data\":{}}"), 0);
    rig->now += 1500;
    assert_int_equal(rig_reply(rig, 1, RIG_OK), 0);
    rig_expect(rig, "execute_result m1 {\"data\":{}}\n"
                    "shell execute_reply m1 c1 " RIG_OK "\n"
                    "idle m1\n"
                    "rested 1500 0\n");
    assert_false(rf_kernel_is_busy(rig->kernel));
    rig_free(rig);
}

static void counts_what_is_stored(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", ",\"silent\":true,\"store_history\":true");
    rig_expect(rig, "worker 1 1 execute_request 0 {} "
                    "{\"code\":\"a\",\"silent\":true,\"store_history\":true}\nbusy m1\n");
    rig_reply(rig, 1, RIG_OK);
    rig_clear(rig);
    rig_execute(rig, 2, "b", "");
    rig_reply(rig, 2, RIG_OK);
    assert_non_null(strstr(rig_log(rig), "{\"code\":\"b\",\"execution_count\":1}"));
    rig_clear(rig);
    rig_execute(rig, 3, "c", ",\"store_history\":false");
    rig_reply(rig, 3, RIG_OK);
    assert_non_null(strstr(rig_log(rig), "{\"code\":\"c\",\"execution_count\":1}"));
    rig_clear(rig);
    rig_execute(rig, 4, "d", "");
    assert_non_null(strstr(rig_log(rig), "{\"code\":\"d\",\"execution_count\":2}"));
    rig_free(rig);
}

static void one_request_at_a_time_in_order(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_send(rig, RF_SHELL, 2, "complete_request", "{\"code\":\"x\"}");
    rig_send(rig, RF_CONTROL, 3, "execute_request", "{\"code\":\"b\"}");
    rig_clear(rig);
    rig_reply(rig, 1, RIG_OK);
    rig_expect(rig, "shell execute_reply m1 c1 " RIG_OK "\nidle m1\nrested 0 2\n"
                    "worker 1 2 complete_request 1 {} {\"code\":\"x\"}\nbusy m2\n");
    rig->now += 10;
    rig_reply(rig, 2, "{\"status\":\"ok\"}");
    rig_expect(rig, "shell complete_reply m2 c2 {\"status\":\"ok\"}\nidle m2\nrested 0 1\n"
                    "worker 1 3 execute_request 2 {} {\"code\":\"b\"}\n"
                    "busy m3\nexecute_input m3 {\"code\":\"b\",\"execution_count\":2}\n");
    rig_reply(rig, 3, RIG_OK);
    rig_expect(rig, "control execute_reply m3 c3 " RIG_OK "\nidle m3\nrested 0 0\n");
    rig_free(rig);
}

static void comm_messages_have_no_reply(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_send(rig, RF_SHELL, 1, "comm_msg", "{\"comm_id\":\"x\"}");
    rig_expect(rig, "worker 1 1 comm_msg 0 {} {\"comm_id\":\"x\"}\nbusy m1\n");
    assert_int_equal(rig_reply(rig, 1, "{\"status\":\"ok\"}"), 0);
    rig_expect(rig, "idle m1\nrested 0 0\n");
    rig_free(rig);
}

static void unknown_types_get_busy_and_idle(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_send(rig, RF_SHELL, 1, "launch_request", "{}");
    rig_send(rig, RF_SHELL, 2, "interrupt_request", "{}"); /* only on control */
    rig_send(rig, RF_CONTROL, 3, "debug_request", "{}");
    rig_send(rig, RF_SHELL, 4, "input_reply", "{}");
    rig_expect(rig, "busy m1\nidle m1\nbusy m2\nidle m2\nbusy m3\nidle m3\nbusy m4\nidle m4\n");
    rig_send(rig, RF_IOPUB, 5, "execute_request", "{\"code\":\"\"}");
    rig_send(rig, RF_STDIN, 6, "execute_request", "{\"code\":\"\"}");
    rig_expect(rig, "");
    rig_free(rig);
}

static void wait_for_cell(struct rig *rig, int64_t us)
{
    rig->now += us;
    rf_kernel_on_time(rig->kernel, rig->now);
}

/* The kernel is shown as busy again after each. */
static void checkpoint_answers_while_a_cell_runs(void **state)
{
    struct rig *rig = rig_new_ready();
    rig->answers = true;
    rig_execute(rig, 1, "a", "");
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 2, "complete_request", "{\"code\":\"x\"}");
    rig_send(rig, RF_SHELL, 3, "comm_info_request", "{}"); /* only the worker knows */
    wait_for_cell(rig, RF_ANSWER_PATIENCE_US - 1);
    assert_int_equal(rf_kernel_deadline(rig->kernel), rig->now + 1);
    rig_expect(rig, "");
    wait_for_cell(rig, 1);
    rig_expect(rig, "answer 1 complete_request {\"code\":\"x\"}\n");
    rig_send(rig, RF_SHELL, 4, "inspect_request", "{\"code\":\"y\"}"); /* no wait any more */
    wait_for_cell(rig, 0);
    rig_expect(rig, "answer 2 inspect_request {\"code\":\"y\"}\n");
    assert_int_equal(rf_kernel_deadline(rig->kernel), INT64_MAX);
    rig_answer(rig, 2, "{\"status\":\"ok\",\"found\":true}");
    rig_expect(rig, "busy m4\nshell inspect_reply m4 c4 {\"status\":\"ok\",\"found\":true}\n"
                    "idle m4\nbusy m1\n");
    rig_reply(rig, 1, RIG_OK);
    rig_reply(rig, 2, "{\"status\":\"ok\"}");
    rig_clear(rig);
    rig_answer(rig, 1, "{\"status\":\"ok\"}"); /* the cell has ended meanwhile */
    rig_expect(rig, "busy m2\nshell complete_reply m2 c2 {\"status\":\"ok\"}\nidle m2\n");
    rig_answer(rig, 1, "{\"status\":\"ok\"}");
    rig_answer(rig, 7, "{\"status\":\"ok\"}");
    rig_expect(rig, "");
    rig_free(rig);
}

static void short_cells_leave_it_to_the_worker(void **state)
{
    struct rig *rig = rig_new();
    rig->answers = true;
    rig_execute(rig, 1, "a", ""); /* before the worker is ready */
    rig_send(rig, RF_SHELL, 2, "is_complete_request", "{}");
    rig->now += 1000000;
    rig_hello(rig);
    rig_clear(rig);
    wait_for_cell(rig, RF_ANSWER_PATIENCE_US / 2);
    rig_reply(rig, 1, RIG_OK);
    rig_expect(rig, "shell execute_reply m1 c1 " RIG_OK "\nidle m1\nrested 10000 1\n"
                    "worker 1 2 is_complete_request 1 {} {}\nbusy m2\n");
    rig_send(rig, RF_SHELL, 3, "complete_request", "{}"); /* no cell is before it */
    wait_for_cell(rig, 10 * RF_ANSWER_PATIENCE_US);
    rig_reply(rig, 2, "{\"status\":\"ok\"}");
    assert_non_null(strstr(rig_log(rig), "worker 1 3 complete_request"));
    rig_reply(rig, 3, "{\"status\":\"ok\"}");
    rig_clear(rig);
    rig_execute(rig, 4, "b", "");
    rig_execute(rig, 5, "c", "");
    rig_send(rig, RF_SHELL, 6, "complete_request", "{}"); /* behind many cells it waits no longer */
    rig_clear(rig);
    wait_for_cell(rig, RF_ANSWER_PATIENCE_US - 1);
    rig_reply(rig, 4, RIG_OK);
    rig_clear(rig);
    wait_for_cell(rig, 1);
    rig_expect(rig, "answer 1 complete_request {}\n");
    rig_free(rig);
}

static void nothing_is_found_without_a_checkpoint(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig->now += RF_ANSWER_PATIENCE_US;
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 2, "complete_request", "{\"cursor_pos\":3}");
    wait_for_cell(rig, 0);
    rig_expect(rig, "answer 1 complete_request {\"cursor_pos\":3}\nbusy m2\n"
                    "shell complete_reply m2 c2 {\"status\":\"ok\",\"matches\":[],"
                    "\"cursor_start\":3,\"cursor_end\":3,\"metadata\":{}}\nidle m2\nbusy m1\n");
    rig->answers = true;
    rig_send(rig, RF_SHELL, 3, "is_complete_request", "{}");
    rig_send(rig, RF_CONTROL, 4, "inspect_request", "{}");
    wait_for_cell(rig, 0);
    rig_clear(rig);
    rig_answer(rig, 2, NULL);
    rig_answer(rig, 3, "{\"status\":0}");
    rig_expect(rig, "busy m3\nshell is_complete_reply m3 c3 {\"status\":\"unknown\"}\nidle m3\n"
                    "busy m1\nbusy m4\ncontrol inspect_reply m4 c4 {\"status\":\"ok\","
                    "\"found\":false,\"data\":{},\"metadata\":{}}\nidle m4\nbusy m1\n");
    rig_send(rig, RF_SHELL, 5, "complete_request", "{}");
    wait_for_cell(rig, 0);
    rig_clear(rig);
    rig_send(rig, RF_CONTROL, 6, "shutdown_request", "{}"); /* answers what is asked, too */
    assert_non_null(strstr(rig_log(rig), "shell complete_reply m5 c5 {\"status\":\"error\""));
    rig_clear(rig);
    rig_answer(rig, 4, "{\"status\":\"ok\"}");
    rig_expect(rig, "");
    rig_free(rig);
}

/* Of a flood only the newest are worth a process. */
static void a_flood_is_not_asked(void **state)
{
    struct rig *rig = rig_new_ready();
    rig->answers = true;
    rig_execute(rig, 1, "a", "");
    for (int i = 0; i < (int)RF_ANSWERS_MAX + 2; i++)
        rig_send(rig, RF_SHELL, 2 + i, "is_complete_request", "{}");
    rig_clear(rig);
    wait_for_cell(rig, RF_ANSWER_PATIENCE_US);
    assert_non_null(strstr(rig_log(rig), "shell is_complete_reply m3 c3 {\"status\":\"unknown\"}"));
    assert_null(strstr(rig_log(rig), "busy m4"));
    assert_non_null(strstr(rig_log(rig), "answer 8 is_complete_request"));
    assert_null(strstr(rig_log(rig), "answer 9 "));
    rig_free(rig);
}

static void answers_while_a_cell_runs(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_clear(rig);
    rig_send(rig, RF_CONTROL, 2, "interrupt_request", "{}");
    rig_expect(rig, "interrupt\nbusy m2\ncontrol interrupt_reply m2 c2 {\"status\":\"ok\"}\n"
                    "idle m2\nbusy m1\n");
    rig_send(rig, RF_SHELL, 3, "connect_request", "{}");
    rig_expect(rig, "busy m3\nshell connect_reply m3 c3 {\"status\":\"ok\",\"shell_port\":1,"
                    "\"iopub_port\":2,\"stdin_port\":3,\"control_port\":4,\"hb_port\":5}\n"
                    "idle m3\nbusy m1\n");
    rig_send(rig, RF_CONTROL, 5, "usage_request", "{}");
    rig_expect(rig, "busy m5\ncontrol usage_reply m5 c5 {\"pid\":7}\nidle m5\nbusy m1\n");
    rig_reply(rig, 1, RIG_OK);
    rig_clear(rig);
    rig_send(rig, RF_CONTROL, 4, "interrupt_request", "{}"); /* nothing runs */
    rig_expect(rig, "busy m4\ncontrol interrupt_reply m4 c4 {\"status\":\"ok\"}\nidle m4\n");
    rf_kernel_interrupt(rig->kernel);
    rig_expect(rig, "");
    rig_free(rig);
}

#define INFO_REPLY                                                                             \
    "{\"status\":\"ok\",\"protocol_version\":\"5.5\",\"implementation\":\"ipython\","         \
    "\"implementation_version\":\"8.5\",\"language_info\":{\"name\":\"python\",\"version\":" \
    "\"3.11\"},\"banner\":\"Python\\nsandbox: all layers hold\",\"help_links\":[],"          \
    "\"supported_features\":[],\"debugger\":false}"

static void kernel_info_waits_for_the_first_hello(void **state)
{
    struct rig *rig = rig_new();
    rig_send(rig, RF_SHELL, 1, "kernel_info_request", "{}");
    rig_send(rig, RF_CONTROL, 2, "kernel_info_request", "{}");
    rig_expect(rig, "");
    assert_int_equal(rig_hello(rig), 0);
    rig_expect(rig, "busy m1\nshell kernel_info_reply m1 c1 " INFO_REPLY "\nidle m1\n"
                    "busy m2\ncontrol kernel_info_reply m2 c2 " INFO_REPLY "\nidle m2\n");
    rig_execute(rig, 3, "a", "");
    rig_die(rig, RIG_SIGSEGV, true);
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 4, "kernel_info_request", "{}"); /* no worker, but known */
    rig_expect(rig, "busy m4\nshell kernel_info_reply m4 c4 " INFO_REPLY "\nidle m4\n");
    rig_free(rig);
}

static void kernel_info_fills_what_the_worker_lacks(void **state)
{
    struct rig *rig = rig_new();
    struct rf_bytes parts[] = {RF_BYTES("7"), RF_BYTES("{\"implementation\":7,\"help_links\":{}}")};
    assert_int_equal(rig_worker(rig, RF_MSG_HELLO, 1, 2, parts), 0);
    rig_send(rig, RF_SHELL, 1, "kernel_info_request", "{}");
    rig_expect(rig,
               "busy m1\nshell kernel_info_reply m1 c1 {\"status\":\"ok\",\"protocol_version\":"
               "\"5.5\",\"implementation\":\"ringfence\",\"implementation_version\":\"0.1\","
               "\"language_info\":{\"name\":\"unknown\",\"version\":\"\",\"mimetype\":"
               "\"text/plain\",\"file_extension\":\".txt\"},\"banner\":\"sandbox: all layers "
               "hold\",\"help_links\":[],\"supported_features\":[],\"debugger\":false}\nidle m1\n");
    rig_free(rig);
}

static void history_is_answered_here(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "secret", ",\"silent\":true");
    rig_reply(rig, 1, RIG_OK);
    rig_execute(rig, 2, "6*7", "");
    struct rf_bytes parts[] = {RF_BYTES(RIG_OK), {0}, RF_BYTES("six*seven"), RF_BYTES("42")};
    assert_int_equal(rig_worker(rig, RF_MSG_REPLY, 2, 4, parts), 0);
    rig_execute(rig, 6, "unstored", ",\"store_history\":false"); /* has cell 2's number */
    struct rf_bytes other[] = {RF_BYTES(RIG_OK), {0}, RF_BYTES("secret"), RF_BYTES("secret")};
    assert_int_equal(rig_worker(rig, RF_MSG_REPLY, 3, 4, other), 0);
    rig_execute(rig, 3, "sleep", "");
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 4, "history_request",
             "{\"hist_access_type\":\"tail\",\"n\":1,\"output\":true,\"raw\":false}");
    rig_send(rig, RF_SHELL, 5, "history_request",
             "{\"hist_access_type\":\"tail\",\"n\":9,\"output\":true,\"raw\":true}");
    const char *log = rig_log(rig);
    assert_non_null(strstr(log, "busy m5\nshell history_reply m5 c5 "));
    assert_non_null(strstr(log, "[\"6*7\",\"42\"]"));
    assert_null(strstr(log, "secret"));
    assert_non_null(strstr(log, "idle m5\nbusy m3\n"));
    rig_free(rig);
}

static void malformed_cells_are_refused(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_send(rig, RF_SHELL, 1, "execute_request", "{\"code\":7}");
    const char *log = rig_log(rig);
    assert_non_null(strstr(log, "busy m1\nerror m1 {\"ename\":\"ValueError\",\"evalue\":\"the"));
    assert_non_null(strstr(log, "shell execute_reply m1 c1 {\"status\":\"error\",\"ename\":"
                                "\"ValueError\""));
    assert_non_null(strstr(log, "\"execution_count\":0,\"user_expressions\":{},\"payload\":[]}\n"
                                "idle m1\n"));
    assert_null(strstr(log, "worker"));
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 2, "execute_request", "{}");
    assert_non_null(strstr(rig_log(rig), "execute_reply m2 c2 {\"status\":\"error\""));
    rig_clear(rig);
    rig_execute(rig, 3, "a", ""); /* goes on, and no number was used up */
    assert_non_null(strstr(rig_log(rig), "\"execution_count\":1}"));
    rig_free(rig);
}

static void an_error_aborts_the_cells_that_wait(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_execute(rig, 2, "b", "");
    rig_send(rig, RF_SHELL, 3, "complete_request", "{}");
    rig_execute(rig, 4, "c", ",\"stop_on_error\":false");
    rig_clear(rig);
    rig_reply(rig, 1, RIG_ERROR);
#define ABORTED                                                                               \
    "{\"status\":\"aborted\",\"execution_count\":1,\"user_expressions\":{},\"payload\":[]}\n"
    rig_expect(rig, "shell execute_reply m1 c1 " RIG_ERROR "\nidle m1\n"
                    "busy m2\nshell execute_reply m2 c2 " ABORTED "idle m2\n"
                    "busy m4\nshell execute_reply m4 c4 " ABORTED "idle m4\n"
                    "rested 0 1\nworker 1 2 complete_request 1 {} {}\nbusy m3\n");
    rig_free(rig);
}

static void some_errors_abort_nothing(void **state)
{
    static const char *const mores[] = {",\"stop_on_error\":false", ",\"silent\":true"};
    for (size_t i = 0; i < COUNT_OF(mores); i++) {
        struct rig *rig = rig_new_ready();
        rig_execute(rig, 1, "a", mores[i]);
        rig_execute(rig, 2, "b", "");
        rig_clear(rig);
        rig_reply(rig, 1, RIG_ERROR);
        assert_null(strstr(rig_log(rig), "aborted"));
        assert_non_null(strstr(rig_log(rig), "worker 1 2 execute_request"));
        rig_free(rig);
    }
}

static void the_queue_is_bounded(void **state)
{
    struct rig *rig = rig_new();
    for (unsigned i = 0; i < RF_QUEUE_MAX; i++)
        rig_send(rig, RF_SHELL, (int)i, "complete_request", "{}");
    rig_expect(rig, "");
    rig_execute(rig, 70000, "a", "");
    const char *log = rig_log(rig);
    assert_non_null(strstr(log, "busy m70000\nerror m70000 {\"ename\":\"QueueFull\""));
    assert_non_null(strstr(log, "10000 requests"));
    assert_non_null(strstr(log, "idle m70000\n"));
    rig_free(rig);
}

static void shuts_down(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_send(rig, RF_CONTROL, 1, "shutdown_request", "{\"restart\":true}");
    rig_expect(rig, "busy m1\ncontrol shutdown_reply m1 c1 {\"status\":\"ok\",\"restart\":true}\n"
                    "shutdown_reply m1 {\"status\":\"ok\",\"restart\":true}\nidle m1\n"
                    "shutdown 1\n");
    rig_send(rig, RF_SHELL, 2, "shutdown_request", "{}"); /* answered, but ends only once */
    rig_expect(rig, "busy m2\nshell shutdown_reply m2 c2 {\"status\":\"ok\",\"restart\":false}\n"
                    "shutdown_reply m2 {\"status\":\"ok\",\"restart\":false}\nidle m2\n");
    rig_execute(rig, 3, "a", "");
    assert_non_null(strstr(rig_log(rig), "execute_reply m3 c3 {\"status\":\"error\",\"ename\":"
                                         "\"KernelShutdown\""));
    rig_clear(rig);
    rig_die(rig, 0, false); /* as was asked: nothing to say */
    rig_expect(rig, "");
    rig_free(rig);
}

static void shutdown_answers_all_that_wait(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", ",\"allow_stdin\":true");
    rig_execute(rig, 2, "b", "");
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 3, "shutdown_request", "{}");
    const char *log = rig_log(rig);
    const char *first = strstr(log, "shell execute_reply m1 c1 {\"status\":\"error\"");
    const char *second = strstr(log, "idle m1\nbusy m2\n");
    const char *third = strstr(log, "idle m2\nbusy m3\nshell shutdown_reply m3");
    assert_ptr_equal(strstr(log, "interrupt\n"), log);
    assert_true(first && second && third && first < second && second < third);
    assert_non_null(strstr(third, "idle m3\nshutdown 0\n"));
    rig_clear(rig);
    assert_int_equal(rig_publish(rig, 1, "display_data", "{}"), 0); /* exit handlers print */
    struct rf_bytes content = RF_BYTES("{}");
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 1, 1, &content), 0);
    assert_int_equal(rig_reply(rig, 1, RIG_ERROR), 0); /* late, and was answered */
    rig_expect(rig, "display_data m1 {}\n");
    rig_free(rig);
}

static void exit_in_a_cell_ends_the_kernel(void **state)
{
    static const struct {
        const char *payload;
        bool ends;
    } cases[] = {
        {"[{\"source\":\"ask_exit\",\"keepkernel\":false}]", true},
        {"[{\"source\":\"page\",\"data\":[\"]},{\"]}, {\"source\":\"ask_exit\"} ]", true},
        {"[{\"source\":\"ask_exit\",\"keepkernel\":true}]", false},
        {"[{\"source\":\"page\",\"x\":\"ask_exit\"},[],7]", false},
        {"[]", false},
        {"{\"source\":\"ask_exit\"}", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *rig = rig_new_ready();
        char content[256];
        snprintf(content, sizeof(content), "{\"status\":\"ok\",\"payload\":%s}", cases[i].payload);
        rig_execute(rig, 1, "exit()", "");
        rig_reply(rig, 1, content);
        if (!!strstr(rig_log(rig), "idle m1\nshutdown 0\n") != cases[i].ends)
            fail_msg("%s: %s", cases[i].payload, rig_log(rig));
        rig_free(rig);
    }
}

static void fails_for_good(void **state)
{
    struct rig *rig = rig_new();
    struct rf_error why = {-ENOENT, "no zygote"};
    rig_send(rig, RF_SHELL, 1, "kernel_info_request", "{}");
    rig_execute(rig, 2, "a", "");
    rf_kernel_on_failed(rig->kernel, &why, rig->now);
#define FAILED "\"ename\":\"KernelFailed\",\"evalue\":\"no zygote\",\"traceback\":[\"no zygote\"]"
    rig_expect(rig, "busy m1\nshell kernel_info_reply m1 c1 {\"status\":\"error\"," FAILED
                    "}\nidle m1\nbusy m2\nerror m2 {" FAILED "}\n"
                    "shell execute_reply m2 c2 {\"status\":\"error\"," FAILED
                    ",\"execution_count\":0,\"user_expressions\":{},\"payload\":[]}\nidle m2\n");
    rig_send(rig, RF_SHELL, 3, "complete_request", "{}");
    rig_send(rig, RF_SHELL, 4, "comm_msg", "{}");
    rig_expect(rig, "busy m3\nshell complete_reply m3 c3 {\"status\":\"error\"," FAILED
                    "}\nidle m3\nbusy m4\nidle m4\n");
    rig_free(rig);
}

static void a_failure_while_a_cell_runs(void **state)
{
    struct rig *rig = rig_new_ready();
    struct rf_error why = {0};
    rig_execute(rig, 1, "a", "");
    rig_clear(rig);
    rf_kernel_on_failed(rig->kernel, &why, rig->now);
    assert_non_null(strstr(rig_log(rig), "\"evalue\":\"no worker could be started"));
    assert_non_null(strstr(rig_log(rig), "\"execution_count\":1,\"user_expressions\":{},"
                                         "\"payload\":[]}\nidle m1\n"));
    assert_false(rf_kernel_is_busy(rig->kernel));
    rig_free(rig);
}

static void large_headers_are_refused(void **state)
{
    struct rig *rig = rig_new_ready();
    struct rf_buf header = {0};
    rf_buf_add_str(&header, "{\"msg_id\":\"big\",\"x\":\"");
    for (int i = 0; i < 20000; i++)
        rf_buf_add_str(&header, "x");
    rf_buf_add_str(&header, "\"}");
    struct rf_wire_in in = {.header = rf_buf_bytes(&header),
                            .metadata = RF_BYTES("{}"),
                            .content = RF_BYTES("{}"),
                            .msg_type = RF_BYTES("\"complete_request\"")};
    rf_kernel_on_message(rig->kernel, RF_SHELL, &in, rig->now);
    assert_non_null(strstr(rig_log(rig), "busy big\nshell complete_reply big {\"status\":\"error"));
    assert_non_null(strstr(rig_log(rig), "idle big\n"));
    rf_buf_deinit(&header);
    rig_free(rig);
}

static void welcomes_subscribers(void **state)
{
    struct rig *rig = rig_new();
    rig->with_topics = true;
    rf_kernel_on_subscribe(rig->kernel, RF_BYTES(""));
    rf_kernel_on_subscribe(rig->kernel, RF_BYTES("kernel.\""));
    rf_kernel_on_subscribe(rig->kernel, RF_BYTES("\xff"));
    rf_kernel_on_subscribe(rig->kernel, RF_BYTES("\xc3"));
    rf_kernel_on_subscribe(rig->kernel, RF_BYTES("\xc3\xa9"));
    rig_expect(rig, "[] iopub_welcome - {\"subscription\":\"\"}\n"
                    "[kernel.\"] iopub_welcome - {\"subscription\":\"kernel.\\\"\"}\n"
                    "[\xc3\xa9] iopub_welcome - {\"subscription\":\"\xc3\xa9\"}\n");
    rig_free(rig);
}

static void buffers_go_with_a_request(void **state)
{
    struct rig *rig = rig_new_ready();
    struct rf_bytes buffers[RF_WORKER_PARTS_MAX] = {RF_BYTES("one"), RF_BYTES("two")};
    struct rf_wire_in in = {.header = RF_BYTES("{\"msg_id\":\"m1\"}"),
                            .metadata = RF_BYTES("{\"a\":1}"),
                            .content = RF_BYTES("{}"),
                            .buffers = buffers,
                            .n_buffers = 2,
                            .msg_type = RF_BYTES("\"comm_msg\"")};
    rf_kernel_on_message(rig->kernel, RF_SHELL, &in, rig->now);
    rig_expect(rig, "worker 1 1 comm_msg 0 {\"a\":1} {} one two\nbusy m1\n");
    rig_reply(rig, 1, RIG_OK);
    rig_clear(rig);
    in.n_buffers = COUNT_OF(buffers); /* the worker could not take them */
    rf_kernel_on_message(rig->kernel, RF_SHELL, &in, rig->now);
    rig_expect(rig, "busy m1\nidle m1\n");
    rig_free(rig);
}

static void bad_utf8_is_mended(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a\xff", "");
    rig_expect(rig, "worker 1 1 execute_request 1 {} {\"code\":\"a\xff\"}\n"
                    "busy m1\nexecute_input m1 {\"code\":\"a\xef\xbf\xbd\",\"execution_count\":1}\n");
    rig_publish(rig, 1, "display_data", "{\"data\":{\"text/plain\":\"\xc3(\xc3\xa9\"}}");
    rig_expect(rig, "display_data m1 {\"data\":{\"text/plain\":\"\xef\xbf\xbd(\xc3\xa9\"}}\n");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_once),
        cmocka_unit_test(runs_a_cell),
        cmocka_unit_test(counts_what_is_stored),
        cmocka_unit_test(one_request_at_a_time_in_order),
        cmocka_unit_test(comm_messages_have_no_reply),
        cmocka_unit_test(unknown_types_get_busy_and_idle),
        cmocka_unit_test(a_flood_is_not_asked),
        cmocka_unit_test(answers_while_a_cell_runs),
        cmocka_unit_test(checkpoint_answers_while_a_cell_runs),
        cmocka_unit_test(short_cells_leave_it_to_the_worker),
        cmocka_unit_test(nothing_is_found_without_a_checkpoint),
        cmocka_unit_test(kernel_info_waits_for_the_first_hello),
        cmocka_unit_test(kernel_info_fills_what_the_worker_lacks),
        cmocka_unit_test(history_is_answered_here),
        cmocka_unit_test(malformed_cells_are_refused),
        cmocka_unit_test(an_error_aborts_the_cells_that_wait),
        cmocka_unit_test(some_errors_abort_nothing),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(shuts_down),
        cmocka_unit_test(shutdown_answers_all_that_wait),
        cmocka_unit_test(exit_in_a_cell_ends_the_kernel),
        cmocka_unit_test(fails_for_good),
        cmocka_unit_test(a_failure_while_a_cell_runs),
        cmocka_unit_test(large_headers_are_refused),
        cmocka_unit_test(welcomes_subscribers),
        cmocka_unit_test(buffers_go_with_a_request),
        cmocka_unit_test(bad_utf8_is_mended),
    };
    return TESTS(tests);
}
