/* See mock.h: the program, its zygote and the main loop of its workers.
 *
 * Settings come with the client's environment: RINGFENCE_MOCK_HELLO (see
 * hellos) and RINGFENCE_MOCK_CHECKPOINTS (see checkpoints.c).
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "kernel/worker.h"
#include "kernel/zygote.h"
#include "tests/mock/mock.h"

#define INFO                                                                                     \
    "{\"implementation\":\"mock\",\"implementation_version\":\"1\",\"language_info\":{\"name\":" \
    "\"mock\",\"version\":\"1\",\"mimetype\":\"text/plain\",\"file_extension\":\".txt\"},"       \
    "\"banner\":\"mock\",\"help_links\":[]}"

static void nothing(void)
{
}

static void on_interrupt(int number)
{
    (void)number;
}

/* --- what goes out --- */

void rf_mock_hello(struct rf_mock *mock, uint64_t generation, const char *pid, const char *info)
{
    struct rf_bytes parts[2] = {rf_bytes_str(pid), rf_bytes_str(info)};
    rf_worker_send(RF_MSG_HELLO, generation, parts, 2);
}

static void hello(struct rf_mock *mock)
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", getpid());
    rf_mock_hello(mock, mock->generation, pid, INFO);
}

static void reply_with(uint64_t request, const char *content)
{
    struct rf_bytes parts[4] = {rf_bytes_str(content), RF_BYTES("{}")};
    rf_worker_send(RF_MSG_REPLY, request, parts, 4);
}

void rf_mock_reply(struct rf_mock *mock, uint64_t request, bool ok)
{
    char content[256];
    snprintf(
        content, sizeof(content),
        ok ? "{\"status\":\"ok\",\"execution_count\":%s,\"user_expressions\":{},\"payload\":[]}"
           : "{\"status\":\"error\",\"execution_count\":%s,\"ename\":\"MockError\","
             "\"evalue\":\"asked for\",\"traceback\":[\"MockError: asked for\"]}",
        mock->count);
    reply_with(request, content);
}

/* --- how a worker begins --- */

static void hello_never(struct rf_mock *mock)
{
}
static void hello_other(struct rf_mock *mock)
{
    rf_mock_hello(mock, mock->generation + 1, "2", INFO);
}
static void hello_bad_json(struct rf_mock *mock)
{
    rf_mock_hello(mock, mock->generation, "2", "{");
}
static void hello_bad_pid(struct rf_mock *mock)
{
    rf_mock_hello(mock, mock->generation, "0", INFO);
}
static void hello_after_reply(struct rf_mock *mock)
{
    rf_mock_reply(mock, 1, true);
    hello(mock);
}
static void hello_dies(struct rf_mock *mock)
{
    _exit(3);
}
static void hello_then_dies(struct rf_mock *mock)
{
    hello(mock);
    _exit(3);
}

static const struct {
    const char *name;
    void (*say)(struct rf_mock *mock);
} hellos[] = {
    {"", hello},
    {"never", hello_never},
    {"other", hello_other},
    {"bad-json", hello_bad_json},
    {"bad-pid", hello_bad_pid},
    {"after-reply", hello_after_reply},
    {"dies", hello_dies},
    {"then-dies", hello_then_dies},
};

/* The value of a variable of the client's environment, or "". */
static const char *setting(const struct rf_buf *variables, const char *name)
{
    size_t n = strlen(name);
    const char *end = (const char *)variables->data + variables->len;
    for (const char *at = (const char *)variables->data; at < end; at += strlen(at) + 1)
        if (!strncmp(at, name, n) && at[n] == '=')
            return at + n + 1;
    return "";
}

static void begin(struct rf_mock *mock, const struct rf_buf *variables)
{
    const char *lie = setting(variables, "RINGFENCE_MOCK_CHECKPOINTS");
    const char *how = setting(variables, "RINGFENCE_MOCK_HELLO");
    if (*lie && !rf_mock_choose_lie(mock, lie))
        _exit(2);
    for (size_t i = 0; i < sizeof(hellos) / sizeof(*hellos); i++) {
        if (!strcmp(how, hellos[i].name)) {
            hellos[i].say(mock);
            return;
        }
    }
    _exit(2);
}

/* --- requests --- */

static void execute(struct rf_mock *mock, const struct rf_frame *frame)
{
    struct rf_json_member code = {"code", {0}};
    struct rf_buf script = {0};
    snprintf(mock->count, sizeof(mock->count), "%.*s", (int)frame->parts[1].len,
             frame->parts[1].data);
    mock->request = frame->request_id;
    if (!rf_json_object(frame->parts[4], &code, 1))
        rf_json_decode(code.value, &script);
    rf_buf_add(&script, "", 1);
    enum rf_mock_outcome outcome = rf_mock_run(mock, (char *)script.data);
    if (outcome != RF_MOCK_REPLIED)
        rf_mock_reply(mock, mock->request, outcome == RF_MOCK_OK);
    rf_buf_deinit(&script);
}

static void on_request(struct rf_mock *mock, const struct rf_frame *frame)
{
    static const struct {
        const char *type, *content;
    } others[] = {
        {"complete_request",
         "{\"status\":\"ok\",\"matches\":[],\"cursor_start\":0,\"cursor_end\":0,"
         "\"metadata\":{}}"},
        {"inspect_request", "{\"status\":\"ok\",\"found\":false,\"data\":{},\"metadata\":{}}"},
        {"is_complete_request", "{\"status\":\"complete\"}"},
        {"comm_info_request", "{\"status\":\"ok\",\"comms\":{}}"},
    };
    if (rf_bytes_is(frame->parts[0], "execute_request")) {
        execute(mock, frame);
        return;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (rf_bytes_is(frame->parts[0], others[i].type))
            reply_with(frame->request_id, others[i].content);
}

struct rf_bytes rf_mock_await_input(void)
{
    struct rf_frame frame;
    int r = rf_worker_recv(-1, &frame);
    if (r != 1 || frame.type != RF_MSG_INPUT_REPLY || !frame.n_parts)
        return (struct rf_bytes){0};
    return frame.parts[0];
}

static void serve(struct rf_mock *mock)
{
    for (;;) {
        struct rf_frame frame;
        int r = rf_worker_recv(-1, &frame);
        if (r == -EINTR)
            continue;
        if (r != 1 || (frame.type == RF_MSG_EXIT && !mock->ignores_exit))
            return;
        if (frame.type == RF_MSG_REQUEST)
            on_request(mock, &frame);
        if (frame.type != RF_MSG_CHECKPOINT)
            continue;
        uint64_t generation = rf_mock_checkpoint(mock, frame.request_id, rf_worker_take_fd());
        if (generation) {
            mock->generation = generation;
            hello(mock);
        }
    }
}

/* --- the zygote --- */

static struct rf_zygote_options read_options(int argc, char **argv)
{
    enum { LISTEN = 1, KEEPER, PRELOAD, IDLE, DIRECT };
    static const struct option words[] = {
        {"listen-fd", required_argument, NULL, LISTEN}, {"keeper", required_argument, NULL, KEEPER},
        {"preload", required_argument, NULL, PRELOAD},  {"idle", required_argument, NULL, IDLE},
        {"direct", no_argument, NULL, DIRECT},          {0},
    };
    struct rf_zygote_options options = {
        .fd = -1, .preload = "", .hooks = {nothing, nothing, nothing}};
    for (int c; (c = getopt_long(argc, argv, "P", words, NULL)) != -1;) {
        if (c == LISTEN)
            options.fd = (int)strtol(optarg, NULL, 10);
        else if (c == KEEPER)
            options.keeper_path = optarg;
        else if (c == PRELOAD)
            options.preload = optarg;
        else if (c == IDLE)
            options.idle_s = (int)strtol(optarg, NULL, 10);
        else if (c == DIRECT)
            options.direct = true;
    }
    clock_gettime(CLOCK_REALTIME, &options.since);
    return options;
}

int main(int argc, char **argv)
{
    struct rf_zygote_options options = read_options(argc, argv);
    struct rf_spawn spawn = {0};
    if (options.fd < 0 || !options.keeper_path) {
        fprintf(stderr, "the mock kernel is started by ringfence, not by hand\n");
        return 2;
    }
    int r = rf_zygote_serve(&options);
    if (r != 1)
        return r ? 1 : 0;
    if (rf_spare_await(&spawn) != 1 || rf_spare_confine())
        _exit(0);
    struct rf_mock mock = {.generation = spawn.generation, .count = "0"};
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: `sleep` ends */
    sigaction(SIGINT, &action, NULL);
    begin(&mock, &spawn.environ);
    serve(&mock);
    _exit(0);
}
