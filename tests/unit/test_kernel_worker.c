/* gateway/jupyter/kernel: what the worker may do, its output and its death. */
#include "tests/unit/kernel_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "gateway/jupyter/comms.h"
#include "gateway/jupyter/losses.h"

static struct rig *rig_running(const char *more)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", more);
    rig_clear(rig);
    return rig;
}

/* ---- streams ---- */

static void text_waits_at_most_50_ms(void **state)
{
    struct rig *rig = rig_running("");
    assert_true(rf_kernel_deadline(rig->kernel) == INT64_MAX);
    rig_stream(rig, 1, "stdout", "one ");
    rig->now += 2000;
    rig_stream(rig, 1, "stdout", "two");
    rig_expect(rig, "");
    assert_int_equal(rf_kernel_deadline(rig->kernel), 1005000); /* soon, after a pause */
    rf_kernel_on_time(rig->kernel, 1004999);
    rig_expect(rig, "");
    rf_kernel_on_time(rig->kernel, 1005000);
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"one two\"}\n");
    assert_true(rf_kernel_deadline(rig->kernel) == INT64_MAX);
    rig->now += 10000;
    rig_stream(rig, 1, "stdout", "three ");
    rig->now += 20000; /* the first byte counts */
    rig_stream(rig, 1, "stdout", "four");
    assert_int_equal(rf_kernel_deadline(rig->kernel), 1012000 + 50000);
    rf_kernel_on_time(rig->kernel, 1061999);
    rig_expect(rig, "");
    rf_kernel_on_time(rig->kernel, 1062000);
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"three four\"}\n");
    rig_free(rig);
}

static void other_output_comes_after_the_text(void **state)
{
    struct rig *rig = rig_running(",\"allow_stdin\":true");
    struct rf_bytes content = RF_BYTES("{\"prompt\":\"\"}");
    rig_stream(rig, 1, "stdout", "1");
    rig_stream(rig, 1, "stderr", "2");
    rig_stream(rig, 1, "stdout", "3");
    rig_publish(rig, 1, "display_data", "{}");
    rig_stream(rig, 1, "stdout", "4");
    rig_publish(rig, 1, "clear_output", "{\"wait\":false}");
    rig_pipe(rig, 2, "5");
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 1, 1, &content), 0);
    rig_pipe(rig, 1, "6");
    rig_reply(rig, 1, RIG_OK);
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"1\"}\n"
                    "stream m1 {\"name\":\"stderr\",\"text\":\"2\"}\n"
                    "stream m1 {\"name\":\"stdout\",\"text\":\"3\"}\n"
                    "display_data m1 {}\n"
                    "stream m1 {\"name\":\"stdout\",\"text\":\"4\"}\n"
                    "clear_output m1 {\"wait\":false}\n"
                    "stream m1 {\"name\":\"stderr\",\"text\":\"5\"}\n"
                    "stdin input_request m1 c1 {\"prompt\":\"\"}\n"
                    "stream m1 {\"name\":\"stdout\",\"text\":\"6\"}\n"
                    "shell execute_reply m1 c1 " RIG_OK "\nidle m1\nrested 0 0\n");
    rig_free(rig);
}

static void pipe_bytes_become_characters(void **state)
{
    struct rig *rig = rig_running("");
    rig_pipe(rig, 2, "\xe2\x82"); /* each pipe has its own end */
    rig_pipe(rig, 1, "caf\xc3");
    rig_pipe(rig, 1, "\xa9!\xf0\x9f");
    rig_pipe(rig, 2, "\xac");
    rf_kernel_on_time(rig->kernel, rig->now + 50000);
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"caf\xc3\xa9!\"}\n"
                    "stream m1 {\"name\":\"stderr\",\"text\":\"\xe2\x82\xac\"}\n");
    rig_reply(rig, 1, RIG_OK); /* the rest never came */
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"\xef\xbf\xbd\"}\n"
                    "shell execute_reply m1 c1 " RIG_OK "\nidle m1\nrested 0 0\n");
    rig_free(rig);
}

/* A plain loop: strstr() from each hit on is slow under ASan. */
static size_t count_of(const char *text, const char *what)
{
    size_t n = 0, len = strlen(what);
    for (; *text; text++)
        n += *text == *what && !strncmp(text, what, len);
    return n;
}

static void large_text_goes_at_once_in_pieces(void **state)
{
    struct rig *rig = rig_running("");
    size_t n = (5u << 20) / 2; /* 2.5 MB of two-byte characters, cut at an odd place */
    char *text = malloc(n + 2);
    text[0] = 'x';
    for (size_t i = 0; i < n; i++)
        text[1 + i] = (char)(i % 2 ? 0xa9 : 0xc3);
    text[n + 1] = 0;
    rig_stream(rig, 1, "stdout", text);
    rig_reply(rig, 1, RIG_OK);
    const char *log = rig_log(rig);
    assert_int_equal(count_of(log, "stream m1 "), 3);
    assert_int_equal(count_of(log, "\xc3\xa9"), n / 2);
    assert_int_equal(count_of(log, "\xef\xbf\xbd"), 0);
    text[RF_STREAM_BATCH_MAX] = 0;
    rig_clear(rig);
    rig_pipe(rig, 1, text);
    rig_pipe(rig, 1, text);
    assert_int_equal(count_of(rig_log(rig), "stream m1 "), 1);
    free(text);
    rig_free(rig);
}

static void output_finds_its_parent(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_stream(rig, 0, "stdout", "none");
    rig_publish(rig, 77, "display_data", "{}");
    rig_expect(rig, "stream - {\"name\":\"stdout\",\"text\":\"none\"}\ndisplay_data - {}\n");
    rig_execute(rig, 1, "a", "");
    rig_reply(rig, 1, RIG_OK);
    rig_execute(rig, 2, "b", "");
    rig_reply(rig, 2, RIG_OK);
    rig_send(rig, RF_SHELL, 3, "complete_request", "{}");
    rig_clear(rig);
    rig_stream(rig, 1, "stdout", "late");
    rig_stream(rig, 3, "stdout", "completer");
    rig_stream(rig, 0, "stdout", "thread");
    rig_pipe(rig, 1, " and fd"); /* of the newest cell, not of the completion */
    rig_publish(rig, 99, "display_data", "{}");
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"late\"}\n"
                    "stream m3 {\"name\":\"stdout\",\"text\":\"completer\"}\n"
                    "stream m2 {\"name\":\"stdout\",\"text\":\"thread and fd\"}\n"
                    "display_data m2 {}\n");
    rig_free(rig);
}

static void parents_are_kept_for_a_while(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_reply(rig, 1, RIG_OK);
    for (uint64_t id = 2; id <= RF_PARENTS_MAX + 1; id++) {
        rig_send(rig, RF_SHELL, (int)id, "inspect_request", "{}");
        assert_int_equal(rig_reply(rig, id, "{\"status\":\"ok\"}"), 0);
    }
    rig_clear(rig);
    rig_publish(rig, 2, "display_data", "{}");
    rig_publish(rig, 1, "display_data", "{}"); /* out of the ring, but the newest cell */
    rig_expect(rig, "display_data m2 {}\ndisplay_data m1 {}\n");
    rig_free(rig);
}

/* ---- publish ---- */

static void topics(void **state)
{
    struct rig *rig = rig_new_ready();
    rig->with_topics = rig->with_metadata = true;
    rig_execute(rig, 1, "a", "");
    rig_publish(rig, 1, "display_data", "{}");
    rig_publish(rig, 1, "execute_result", "{}");
    rig_publish(rig, 1, "comm_msg", "{\"comm_id\":\"c\\u0031\"}");
    rig_publish(rig, 1, "comm_msg", "{}");
    struct rf_bytes parts[] = {RF_BYTES("comm_open"), RF_BYTES("own"), RF_BYTES("{\"v\":2}"),
                               RF_BYTES("{}"), RF_BYTES("b1"), RF_BYTES("b2")};
    rig_worker(rig, RF_MSG_PUBLISH, 1, 6, parts);
    rig_stream(rig, 1, "stderr", "e");
    rig_reply(rig, 1, RIG_OK);
    rig_expect(rig, "worker 1 1 execute_request 1 {} {\"code\":\"a\"}\n"
                    "[kernel.k.status] busy m1\n"
                    "[kernel.k.execute_input] execute_input m1 "
                    "{\"code\":\"a\",\"execution_count\":1}  0\n"
                    "[display_data] display_data m1 {} {} 0\n"
                    "[kernel.k.execute_result] execute_result m1 {} {} 0\n"
                    "[comm-c1] comm_msg m1 {\"comm_id\":\"c\\u0031\"} {} 0\n"
                    "[kernel.k.comm_msg] comm_msg m1 {} {} 0\n"
                    "[own] comm_open m1 {} {\"v\":2} 2\n"
                    "[stream.stderr] stream m1 {\"name\":\"stderr\",\"text\":\"e\"}  0\n"
                    "shell execute_reply m1 c1 " RIG_OK " {\"started\":\"now\"} 0\n"
                    "[kernel.k.status] idle m1\nrested 0 0\n");
    rig_free(rig);
}

static void bad_reply_metadata_is_left_out(void **state)
{
    struct rig *rig = rig_running("");
    rig->with_metadata = true;
    struct rf_bytes parts[] = {RF_BYTES(RIG_OK), RF_BYTES("[1"), {0}, {0}, RF_BYTES("buffer")};
    assert_int_equal(rig_worker(rig, RF_MSG_REPLY, 1, 5, parts), 0);
    rig_expect(rig, "shell execute_reply m1 c1 " RIG_OK "  1\nidle m1\nrested 0 0\n");
    rig_free(rig);
}

struct breach {
    const char *what;
    uint8_t type;
    uint64_t id;
    size_t n;
    const char *parts[5];
};

static const struct breach breaches[] = {
    {"no such type", 99, 1, 0, {0}},
    {"a type of the gateway", RF_MSG_REQUEST, 1, 4, {"{}", "{}", "", ""}},
    {"the owner's", RF_MSG_FENCE, 0, 0, {0}},
    {"a second HELLO", RF_MSG_HELLO, 1, 2, {"2", RIG_INFO}},
    {"reply to another", RF_MSG_REPLY, 2, 4, {RIG_OK, "{}", "", ""}},
    {"reply to none", RF_MSG_REPLY, 0, 4, {RIG_OK, "{}", "", ""}},
    {"too few parts", RF_MSG_REPLY, 1, 3, {RIG_OK, "{}", ""}},
    {"no object", RF_MSG_REPLY, 1, 4, {"[]", "{}", "", ""}},
    {"no JSON", RF_MSG_REPLY, 1, 4, {"{\"status\":", "{}", "", ""}},
    {"no status", RF_MSG_REPLY, 1, 4, {"{}", "{}", "", ""}},
    {"status is no string", RF_MSG_REPLY, 1, 4, {"{\"status\":1}", "{}", "", ""}},
    {"status", RF_MSG_PUBLISH, 1, 4, {"status", "", "{}", "{\"execution_state\":\"idle\"}"}},
    {"stream", RF_MSG_PUBLISH, 1, 4, {"stream", "", "{}", "{}"}},
    {"execute_reply", RF_MSG_PUBLISH, 1, 4, {"execute_reply", "", "{}", "{}"}},
    {"no type", RF_MSG_PUBLISH, 1, 4, {"", "", "{}", "{}"}},
    {"empty metadata", RF_MSG_PUBLISH, 1, 4, {"error", "", "", "{}"}},
    {"metadata no object", RF_MSG_PUBLISH, 1, 4, {"error", "", "[]", "{}"}},
    {"content no object", RF_MSG_PUBLISH, 1, 4, {"error", "", "{}", "1"}},
    {"two values", RF_MSG_PUBLISH, 1, 4, {"error", "", "{}", "{}{}"}},
    {"publish of three", RF_MSG_PUBLISH, 1, 3, {"error", "", "{}"}},
    {"stream of another name", RF_MSG_STREAM, 1, 2, {"stdin", "x"}},
    {"stream of three", RF_MSG_STREAM, 1, 3, {"stdout", "x", "y"}},
    {"input not allowed", RF_MSG_INPUT_REQUEST, 1, 1, {"{\"prompt\":\"\"}"}},
};

static int send_breach(struct rig *rig, const struct breach *breach)
{
    struct rf_bytes parts[5];
    for (size_t i = 0; i < breach->n; i++)
        parts[i] = rf_bytes_str(breach->parts[i]);
    return rig_worker(rig, breach->type, breach->id, breach->n, parts);
}

static void breaches_are_told(void **state)
{
    for (size_t i = 0; i < COUNT_OF(breaches); i++) {
        struct rig *rig = rig_running("");
        int r = send_breach(rig, &breaches[i]);
        if (r != -EPROTO || rig->log.len)
            fail_msg("%s: %d, %s", breaches[i].what, r, rig_log(rig));
        rig_reply(rig, 1, RIG_OK); /* and nothing has changed */
        rig_expect(rig, "shell execute_reply m1 c1 " RIG_OK "\nidle m1\nrested 0 0\n");
        assert_int_equal(rig_reply(rig, 1, RIG_OK), -EPROTO);
        rig_free(rig);
    }
}

/* Between a death and the next HELLO nothing is handed out. */
static void requests_wait_for_the_next_worker(void **state)
{
    struct rig *rig = rig_new_ready();
    rf_kernel_on_lost(rig->kernel);
    rig_clear(rig);
    rig_execute(rig, 1, "a", "");
    rig_expect(rig, "");
    rig_die(rig, 9, true);
    assert_null(strstr(rig_log(rig), "m1"));
    rig_clear(rig);
    rig_hello(rig);
    assert_non_null(strstr(rig_log(rig), "worker 1 1 execute_request"));
    rig_reply(rig, 1, RIG_OK);
    assert_non_null(strstr(rig_log(rig), "shell execute_reply m1 c1 " RIG_OK));
    rig_free(rig);
}

static void hello_comes_first(void **state)
{
    static const struct breach hellos[] = {
        {"pid empty", RF_MSG_HELLO, 1, 2, {"", "{}"}},
        {"pid 0", RF_MSG_HELLO, 1, 2, {"0", "{}"}},
        {"pid too large", RF_MSG_HELLO, 1, 2, {"4294967297", "{}"}},
        {"pid no number", RF_MSG_HELLO, 1, 2, {"-1", "{}"}},
        {"info no object", RF_MSG_HELLO, 1, 2, {"1", "[]"}},
        {"no info", RF_MSG_HELLO, 1, 1, {"1"}},
        {"publish", RF_MSG_PUBLISH, 0, 4, {"display_data", "", "{}", "{}"}},
        {"reply", RF_MSG_REPLY, 0, 4, {RIG_OK, "{}", "", ""}},
        {"input", RF_MSG_INPUT_REQUEST, 0, 1, {"{}"}},
    };
    struct rig *rig = rig_new();
    rig_execute(rig, 1, "a", "");
    for (size_t i = 0; i < COUNT_OF(hellos); i++)
        if (send_breach(rig, &hellos[i]) != -EPROTO)
            fail_msg("%s was accepted", hellos[i].what);
    assert_int_equal(rig_stream(rig, 0, "stderr", "warning at start"), 0);
    rig_expect(rig, "");
    assert_int_equal(rig_hello(rig), 0);
    assert_non_null(strstr(rig_log(rig), "stream - {\"name\":\"stderr\",\"text\":\"warning at "
                                         "start\"}\nworker 1 1 "));
    rig_free(rig);
}

/* ---- stdin ---- */

static void input_goes_there_and_back(void **state)
{
    struct rig *rig = rig_running(",\"allow_stdin\":true");
    struct rf_bytes content = RF_BYTES("{\"prompt\":\"?\",\"password\":false}");
    rig_send(rig, RF_STDIN, 2, "input_reply", "{\"value\":\"unasked\"}");
    rig_expect(rig, "");
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 2, 1, &content), -EPROTO);
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 1, 1, &content), 0);
    rig_send(rig, RF_STDIN, 3, "other", "{}");
    rig_send(rig, RF_STDIN, 4, "input_reply", "{\"value\":\"yes\"}");
    rig_send(rig, RF_STDIN, 5, "input_reply", "{\"value\":\"twice\"}");
    rig_expect(rig, "stdin input_request m1 c1 {\"prompt\":\"?\",\"password\":false}\n"
                    "worker 2 1 {\"value\":\"yes\"}\n");
    rig_worker(rig, RF_MSG_INPUT_REQUEST, 1, 1, &content);
    rig_reply(rig, 1, RIG_OK); /* interrupted while it asked */
    rig_clear(rig);
    rig_send(rig, RF_STDIN, 6, "input_reply", "{\"value\":\"late\"}");
    rig_expect(rig, "");
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 1, 1, &content), -EPROTO);
    rig_send(rig, RF_SHELL, 7, "comm_msg", "{\"allow_stdin\":true}");
    assert_int_equal(rig_worker(rig, RF_MSG_INPUT_REQUEST, 2, 1, &content), -EPROTO);
    rig_free(rig);
}

/* ---- death ---- */

static void a_crash_is_an_error_of_the_cell(void **state)
{
    struct rig *rig = rig_running("");
    rig_execute(rig, 2, "b", "");
    rig_stream(rig, 1, "stdout", "before");
    rig_die(rig, RIG_SIGSEGV, false);
#define CRASH                                                                                    \
    "\"ename\":\"WorkerDied\",\"evalue\":\"killed by signal 11 (SIGSEGV): a fresh worker "      \
    "starts, nothing else was lost\",\"traceback\":[\"The worker of this kernel died: killed "  \
    "by signal 11 (SIGSEGV).\",\"Cells that are lost:\",\"  In [1]: a\",\"Nothing had been run " \
    "before, so nothing else was lost; a fresh worker starts.\"]"
    rig_expect(rig, "stream m1 {\"name\":\"stdout\",\"text\":\"before\"}\n"
                    "error m1 {" CRASH "}\n"
                    "shell execute_reply m1 c1 {\"status\":\"error\"," CRASH
                    ",\"execution_count\":1,\"user_expressions\":{},\"payload\":[]}\nidle m1\n"
                    "busy m2\nshell execute_reply m2 c2 {\"status\":\"aborted\","
                    "\"execution_count\":1,\"user_expressions\":{},\"payload\":[]}\nidle m2\n");
    rig_execute(rig, 3, "c", "");
    rig_expect(rig, ""); /* waits for the new worker */
    assert_int_equal(rig_hello(rig), 0);
    rig_expect(rig, "worker 1 2 execute_request 2 {} {\"code\":\"c\"}\n"
                    "busy m3\nexecute_input m3 {\"code\":\"c\",\"execution_count\":2}\n");
    rig_free(rig);
}

static void a_crash_lists_what_is_rolled_back(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "saved", "");
    rig_reply(rig, 1, RIG_OK);
    rig_checkpoint(rig);
    rig_execute(rig, 2, "\\n  # first\\nsecond", "");
    rig_reply(rig, 2, RIG_OK);
    rig_execute(rig, 3, "hidden\\u0007", ",\"silent\":true");
    rig_reply(rig, 3, RIG_OK);
    rig_execute(rig, 4, "crash()", ",\"stop_on_error\":false");
    rig_execute(rig, 5, "next", "");
    rig_clear(rig);
    struct rf_death death = {.wait_status = 9,
                             .reason = "memory limit of 1 GB",
                             .traceback = RF_BYTES("Fatal \xff\n  File \"x\", line 1"),
                             .resumed = true,
                             .mark = rig->mark};
    rf_kernel_on_dead(rig->kernel, &death, rig->now);
    const char *log = rig_log(rig);
    assert_non_null(strstr(
        log, "\"evalue\":\"killed by signal 9 (SIGKILL), memory limit of 1 GB: state rolled back "
             "to the newest checkpoint, 2 earlier cells are undone\",\"traceback\":[\"The worker "
             "of this kernel died: killed by signal 9 (SIGKILL), memory limit of 1 GB.\","
             "\"Fatal \xef\xbf\xbd\",\"  File \\\"x\\\", line 1\",\"Cells that are rolled back:\","
             "\"  In [2]: # first\",\"  In [ ]: hidden \",\"  In [3]: crash()\",\"Variables are"));
    assert_null(strstr(log, "saved"));
    assert_null(strstr(log, "aborted"));
    rig_clear(rig);
    rig_hello(rig); /* the cell that waited runs, with the next number */
    assert_non_null(
        strstr(rig_log(rig), "execute_input m5 {\"code\":\"next\",\"execution_count\":4"));
    rig_clear(rig);
    rig_die(rig, 0x0300, true); /* what was rolled back once is not listed again */
    assert_non_null(strstr(rig_log(rig), "exited with code 3: state rolled back to the checkpoint "
                                         "before this cell"));
    assert_null(strstr(rig_log(rig), "# first"));
    rig_free(rig);
}

static void a_death_without_checkpoint_loses_all(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "one", "");
    rig_reply(rig, 1, RIG_OK);
    rig_checkpoint(rig);
    rig_execute(rig, 2, "two", "");
    rig_reply(rig, 2, RIG_OK);
    rig_clear(rig);
    struct rf_death death = {.wait_status = -1, .reason = "the worker broke the protocol"};
    rf_kernel_on_dead(rig->kernel, &death, rig->now); /* while idle */
    rig_expect(rig, "stream m2 {\"name\":\"stderr\",\"text\":\"The worker of this kernel died: the "
                    "worker broke the protocol.\\nCells that are lost:\\n  1 older cell\\n  In "
                    "[2]: two\\nNo checkpoint could go on: a fresh worker starts without "
                    "variables; run the cells again (%recover puts their source back).\\n\"}\n");
    rig_die(rig, 0x0100, false); /* the fresh one has nothing to lose */
    assert_null(strstr(rig_log(rig), "Cells"));
    rig_free(rig);
}

static void other_requests_die_too(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_reply(rig, 1, RIG_OK);
    rig_send(rig, RF_SHELL, 2, "complete_request", "{}");
    rig_execute(rig, 3, "b", "");
    rig_clear(rig);
    rig_die(rig, RIG_SIGSEGV, true);
    const char *log = rig_log(rig);
    assert_ptr_equal(strstr(log, "stream m1 {\"name\":\"stderr\""), log);
    assert_non_null(strstr(log, "shell complete_reply m2 c2 {\"status\":\"error\",\"ename\":"
                                "\"WorkerDied\",\"evalue\":\"killed by signal 11 (SIGSEGV): state "
                                "rolled back to the newest checkpoint, 1 cell is undone\""));
    assert_null(strstr(log, "execution_count"));
    assert_non_null(strstr(log, "idle m2\n"));
    assert_null(strstr(log, "m3")); /* it waits */
    rig_clear(rig);
    rig_hello(rig);
    assert_non_null(strstr(rig_log(rig), "busy m3\n"));
    rig_free(rig);
}

static void many_cells_at_risk_are_counted(void **state)
{
    struct rig *rig = rig_new_ready();
    int n = (int)RF_CELLS_AT_RISK_MAX + 5;
    for (int i = 1; i <= n; i++) {
        rig_execute(rig, i, "cell", "");
        rig_reply(rig, (uint64_t)i, RIG_OK);
    }
    rig_execute(rig, n + 1, "bang", "");
    rig_clear(rig);
    rig_die(rig, RIG_SIGSEGV, true);
    const char *log = rig_log(rig);
    assert_non_null(strstr(log, "1005 earlier cells are undone"));
    assert_non_null(strstr(log, "\"  5 older cells\",\"  In [6]: cell\","));
    rig_free(rig);
}

static void long_source_lines_are_cut_at_a_character(void **state)
{
    struct rig *rig = rig_new_ready();
    char code[256] = "x";
    for (size_t i = 1; i < 201; i += 2) {
        code[i] = (char)0xc3;
        code[i + 1] = (char)0xa9;
    }
    rig_execute(rig, 1, code, "");
    rig_clear(rig);
    rig_die(rig, RIG_SIGSEGV, true);
    const char *line = strstr(rig_log(rig), "In [1]: x\xc3\xa9");
    assert_non_null(line);
    assert_int_equal(strcspn(line, "\""), 8 + 99);
    assert_null(strstr(rig_log(rig), "\xef\xbf\xbd"));
    rig_free(rig);
}

/* ---- comms ---- */

static void open_and_save_comms(struct rig *rig)
{
    rig_send(rig, RF_SHELL, 1, "comm_open", "{\"comm_id\":\"client\"}");
    rig_reply(rig, 1, RIG_OK);
    rig_execute(rig, 2, "a", "");
    rig_publish(rig, 2, "comm_open", "{\"comm_id\":\"saved\"}");
    rig_reply(rig, 2, RIG_OK);
    rig_checkpoint(rig);
    rig_execute(rig, 3, "b", "");
    rig_publish(rig, 3, "comm_open", "{\"comm_id\":\"new\\\"\"}");
    rig_publish(rig, 3, "comm_open", "{\"comm_id\":\"gone\"}");
    rig_publish(rig, 3, "comm_close", "{\"comm_id\":\"gone\"}");
    rig_clear(rig);
}

static void lost_comms_are_closed(void **state)
{
    struct rig *rig = rig_new_ready();
    rig->with_topics = true;
    open_and_save_comms(rig);
    rig_die(rig, RIG_SIGSEGV, true);
    const char *log = rig_log(rig);
    const char *want = "[comm-new\"] comm_close m3 {\"comm_id\":\"new\\\"\",\"data\":{}}\n";
    assert_ptr_equal(strstr(log, want), log);
    assert_int_equal(count_of(log, "comm_close"), 1);
    rig_clear(rig);
    rig_hello(rig);
    rig_clear(rig);
    rig_send(rig, RF_SHELL, 4, "comm_close", "{\"comm_id\":\"client\"}");
    rig_reply(rig, 4, RIG_OK);
    rig_clear(rig);
    rig_die(rig, RIG_SIGSEGV, false);
    log = rig_log(rig);
    assert_int_equal(count_of(log, "comm_close"), 1);
    assert_non_null(strstr(log, "comm_close m4 {\"comm_id\":\"saved\",\"data\":{}}\n"));
    rig_free(rig);
}

static void a_checkpoint_during_a_cell_saves_what_was_before(void **state)
{
    struct rig *rig = rig_running("");
    rig_publish(rig, 1, "comm_open", "{\"comm_id\":\"mine\"}");
    rig_checkpoint(rig);
    rig_die(rig, RIG_SIGSEGV, true);
    assert_int_equal(count_of(rig_log(rig), "comm_close"), 1);
    rig_free(rig);
}

static void comms_are_bounded(void **state)
{
    struct rf_comms comms = {0};
    char id[32];
    for (unsigned i = 0; i < RF_COMMS_MAX + 3; i++) {
        snprintf(id, sizeof(id), "%u", i);
        rf_comms_open(&comms, rf_bytes_str(id));
        rf_comms_open(&comms, rf_bytes_str(id));
    }
    assert_int_equal(comms.n, RF_COMMS_MAX);
    char large[RF_COMM_ID_MAX + 2];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    rf_comms_open(&comms, rf_bytes_str(large));
    RF_AUTO(rf_buf_deinit) struct rf_buf newest = {0};
    assert_true(rf_comms_take(&comms, 0, &newest));
    check_text(rf_buf_bytes(&newest), "4098", "newest");
    assert_false(rf_comms_take(&comms, comms.opened, &newest));
    rf_comms_deinit(&comms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_waits_at_most_50_ms),
        cmocka_unit_test(other_output_comes_after_the_text),
        cmocka_unit_test(pipe_bytes_become_characters),
        cmocka_unit_test(large_text_goes_at_once_in_pieces),
        cmocka_unit_test(output_finds_its_parent),
        cmocka_unit_test(parents_are_kept_for_a_while),
        cmocka_unit_test(topics),
        cmocka_unit_test(bad_reply_metadata_is_left_out),
        cmocka_unit_test(breaches_are_told),
        cmocka_unit_test(requests_wait_for_the_next_worker),
        cmocka_unit_test(hello_comes_first),
        cmocka_unit_test(input_goes_there_and_back),
        cmocka_unit_test(a_crash_is_an_error_of_the_cell),
        cmocka_unit_test(a_crash_lists_what_is_rolled_back),
        cmocka_unit_test(a_death_without_checkpoint_loses_all),
        cmocka_unit_test(other_requests_die_too),
        cmocka_unit_test(many_cells_at_risk_are_counted),
        cmocka_unit_test(long_source_lines_are_cut_at_a_character),
        cmocka_unit_test(lost_comms_are_closed),
        cmocka_unit_test(a_checkpoint_during_a_cell_saves_what_was_before),
        cmocka_unit_test(comms_are_bounded),
    };
    return TESTS(tests);
}
