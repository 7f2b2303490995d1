/* gateway/jupyter/kernel: random scripts of clients, workers, deaths and time.
 *
 * A model follows what goes in and judges what comes out: each request gets
 * busy first, then its one reply on its channel, then idle; only late output
 * comes after idle; parents are right; text comes out complete and before
 * what follows it; execution_count never goes back; the worker has one
 * request at a time, in order; cells are aborted exactly after an error.
 * RF_TEST_SEED and RF_TEST_ROUNDS choose other scripts.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/json.h"
#include "gateway/jupyter/kernel.h"

#define REQUESTS_MAX 400
#define ACTIONS 150

enum answerer { WORKER, NOBODY };

static const struct kind {
    const char *type, *reply;
    bool owns_output;
} kinds[] = {
    {"execute_request", "execute_reply", true}, /* twice: the most frequent */
    {"execute_request", "execute_reply", true},
    {"complete_request", "complete_reply", false},
    {"inspect_request", "inspect_reply", false},
    {"comm_open", NULL, true},
    {"comm_msg", NULL, true},
    {"comm_close", NULL, true},
    {"kernel_info_request", "kernel_info_reply", false},
    {"history_request", "history_reply", false},
    {"connect_request", "connect_reply", false},
    {"usage_request", "usage_reply", false},
    {"nonsense", NULL, false},
    {"shutdown_request", "shutdown_reply", false},
};

struct asked {
    const struct kind *kind;
    enum rf_channel channel;
    bool silent, stores, stops, asks_input, malformed;
    bool busy, input, replied, idle, to_worker, must_abort;
    uint64_t id;
};

struct model {
    struct rf_kernel *kernel;
    struct asked asked[REQUESTS_MAX];
    int n;
    int running;  /* index, -1: none */
    int newest;   /* owner of stray output, -1: none */
    int last_run; /* the worker gets them in order */
    uint64_t last_id, count;
    int64_t now;
    struct rf_kernel_mark mark; /* of the newest checkpoint */
    bool ready, ended, failed;
    bool shows_busy; /* the last status, whoever's */
    int shutdowns;
    uint64_t asking[REQUESTS_MAX]; /* what checkpoints are to answer */
    int n_asking;
    size_t fed, emitted; /* pieces of text */
    uint32_t seed;
};

static uint32_t next(struct model *m)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 17;
    m->seed ^= m->seed << 5;
    return m->seed;
}

static bool one_in(struct model *m, uint32_t n)
{
    return next(m) % n == 0;
}

/* ---- what comes out ---- */

static int parent_of(struct rf_bytes header)
{
    struct rf_json_member id = {"msg_id", {0}};
    uint64_t n;
    if (!header.len)
        return -1;
    assert_int_equal(rf_json_object(header, &id, 1), RF_JSON_OK);
    assert_true(id.value.len > 3 && id.value.data[1] == 'm');
    assert_true(rf_bytes_u64((struct rf_bytes){id.value.data + 2, id.value.len - 3}, &n));
    return (int)n;
}

static struct asked *asked_of(struct model *m, const struct rf_wire_out *out)
{
    int parent = parent_of(out->parent);
    assert_in_range(parent, 0, m->n - 1);
    return &m->asked[parent];
}

static void all_text_is_out(struct model *m)
{
    assert_int_equal(m->emitted, m->fed);
}

static bool is_cell(const struct asked *asked)
{
    return !strcmp(asked->kind->type, "execute_request");
}

static void see_status(struct model *m, const struct rf_wire_out *out)
{
    struct rf_json_member state = {"execution_state", {0}};
    assert_int_equal(rf_json_object(out->content, &state, 1), RF_JSON_OK);
    if (rf_json_string_is(state.value, "starting")) {
        assert_int_equal(out->parent.len, 0);
        return;
    }
    struct asked *asked = asked_of(m, out);
    assert_false(asked->idle);
    if (rf_json_string_is(state.value, "busy")) {
        /* Again only for the running one, after another was answered. */
        assert_true(!asked->busy || asked == &m->asked[m->running]);
        asked->busy = m->shows_busy = true;
        return;
    }
    assert_true(rf_json_string_is(state.value, "idle"));
    m->shows_busy = false;
    assert_true(asked->busy);
    assert_int_equal(asked->replied, asked->kind->reply != NULL);
    asked->idle = true;
    if (asked->to_worker)
        all_text_is_out(m);
    if (m->running >= 0 && asked == &m->asked[m->running])
        m->running = -1;
}

static void see_count(struct model *m, struct rf_bytes value)
{
    int64_t count;
    if (!value.len)
        return;
    assert_true(rf_json_i64(value, &count));
    assert_true((uint64_t)count >= m->count);
    m->count = (uint64_t)count;
}

static void see_reply(struct model *m, const struct rf_wire_out *out)
{
    struct rf_json_member members[] = {{"status", {0}}, {"execution_count", {0}}};
    struct asked *asked = asked_of(m, out);
    char identity[16];
    snprintf(identity, sizeof(identity), "c%d", parent_of(out->parent));
    assert_int_equal(out->n_identities, 1);
    check_text(out->identities[0], identity, "identity");
    assert_int_equal(out->channel, asked->channel);
    assert_non_null(asked->kind->reply);
    assert_string_equal(out->msg_type, asked->kind->reply);
    assert_true(asked->busy && !asked->replied && !asked->idle);
    assert_int_equal(rf_json_object(out->content, members, 2), RF_JSON_OK);
    assert_true(rf_json_is_string(members[0].value));
    bool aborted = rf_json_string_is(members[0].value, "aborted");
    if (aborted != asked->must_abort && !(asked->must_abort && m->ended))
        fail_msg("m%d: aborted %d, should be %d", parent_of(out->parent), aborted,
                 asked->must_abort);
    see_count(m, members[1].value);
    if (is_cell(asked))
        assert_true(members[1].value.len);
    if (asked->to_worker) {
        all_text_is_out(m);
        assert_int_equal(asked->input, is_cell(asked) && !asked->silent);
    }
    asked->replied = true;
}

static void see_execute_input(struct model *m, const struct rf_wire_out *out)
{
    struct rf_json_member count = {"execution_count", {0}};
    struct asked *asked = asked_of(m, out);
    int64_t n;
    assert_true(is_cell(asked) && !asked->silent && !asked->must_abort);
    assert_true(asked->busy && !asked->input && !asked->replied && asked->to_worker);
    assert_int_equal(rf_json_object(out->content, &count, 1), RF_JSON_OK);
    assert_true(rf_json_i64(count.value, &n));
    assert_int_equal((uint64_t)n, m->count);
    asked->input = true;
}

/* Text pieces are "<parent>;". */
static void see_stream(struct model *m, const struct rf_wire_out *out)
{
    struct rf_json_member text = {"text", {0}};
    struct rf_buf decoded = {0};
    char piece[16];
    assert_int_equal(rf_json_object(out->content, &text, 1), RF_JSON_OK);
    assert_true(rf_json_decode(text.value, &decoded));
    if (decoded.len > 4 && !memcmp(decoded.data, "The ", 4)) { /* of a death */
        rf_buf_deinit(&decoded);
        return;
    }
    int n = snprintf(piece, sizeof(piece), "%d;", parent_of(out->parent));
    assert_int_equal(decoded.len % (size_t)n, 0);
    for (size_t i = 0; i < decoded.len; i += (size_t)n)
        assert_memory_equal(decoded.data + i, piece, (size_t)n);
    m->emitted += decoded.len / (size_t)n;
    rf_buf_deinit(&decoded);
}

static void see_output(struct model *m, const struct rf_wire_out *out)
{
    struct rf_json_member parent = {"parent", {0}};
    int64_t want;
    all_text_is_out(m);
    assert_int_equal(rf_json_object(out->content, &parent, 1), RF_JSON_OK);
    if (rf_json_i64(parent.value, &want))
        assert_int_equal(parent_of(out->parent), want);
    if (parent_of(out->parent) >= 0)
        assert_true(asked_of(m, out)->busy);
}

static void on_send(void *ctx, const struct rf_wire_out *out)
{
    struct model *m = ctx;
    static const struct {
        const char *type;
        void (*see)(struct model *m, const struct rf_wire_out *out);
    } seers[] = {
        {"status", see_status},
        {"stream", see_stream},
        {"execute_input", see_execute_input},
    };
    if (out->channel == RF_SHELL || out->channel == RF_CONTROL) {
        see_reply(m, out);
        return;
    }
    if (out->channel == RF_STDIN) {
        assert_true(m->running >= 0 && m->asked[m->running].asks_input);
        assert_int_equal(parent_of(out->parent), m->running);
        return;
    }
    assert_int_equal(out->n_identities, 1);
    for (size_t i = 0; i < COUNT_OF(seers); i++)
        if (!strcmp(out->msg_type, seers[i].type)) {
            seers[i].see(m, out);
            return;
        }
    if (strcmp(out->msg_type, "iopub_welcome") != 0)
        see_output(m, out);
}

static void on_worker(void *ctx, uint8_t type, uint64_t id, const struct rf_bytes *parts, size_t n)
{
    struct model *m = ctx;
    assert_true(m->ready);
    if (type == RF_MSG_INPUT_REPLY) {
        assert_true(m->running >= 0 && m->asked[m->running].id == id);
        return;
    }
    assert_int_equal(type, RF_MSG_REQUEST);
    assert_int_equal(n, 5);
    int index = parent_of(parts[2]);
    struct asked *asked = &m->asked[index];
    uint64_t count;
    assert_int_equal(m->running, -1);
    assert_true(!m->ended && !m->failed);
    assert_true(index > m->last_run && !asked->busy && !asked->malformed && !asked->must_abort);
    check_text(parts[0], asked->kind->type, "type");
    assert_true(rf_bytes_u64(parts[1], &count));
    m->count += is_cell(asked) && asked->stores ? 1 : 0;
    assert_int_equal(count, m->count);
    assert_true(id > m->last_id);
    m->last_id = asked->id = id;
    m->last_run = m->running = index;
    asked->to_worker = true;
    if (asked->kind->owns_output)
        m->newest = index;
}

static void on_interrupt(void *ctx)
{
    struct model *m = ctx;
    assert_true(m->running >= 0);
}

static void on_shutdown(void *ctx, bool restart)
{
    struct model *m = ctx;
    m->shutdowns++;
}

static void on_rested(void *ctx, int64_t run_us, size_t waiting)
{
    struct model *m = ctx;
    assert_int_equal(m->running, -1);
    assert_true(run_us >= 0);
}

static void on_flush(void *ctx)
{
}

static bool on_answer(void *ctx, uint64_t id, const struct rf_bytes *parts, size_t n)
{
    struct model *m = ctx;
    assert_int_equal(n, 5);
    int index = parent_of(parts[2]);
    const struct asked *asked = &m->asked[index];
    assert_true(m->running >= 0 && m->asked[m->running].kind->owns_output && index > m->last_run);
    assert_true(!asked->busy && !asked->to_worker && !is_cell(asked));
    check_text(parts[0], asked->kind->type, "type");
    if (one_in(m, 3))
        return false;
    m->asking[m->n_asking++] = id;
    return true;
}

static const struct rf_kernel_ops ops = {
    .answer = on_answer,
    .send = on_send,
    .worker = on_worker,
    .interrupt = on_interrupt,
    .shutdown = on_shutdown,
    .rested = on_rested,
    .flush = on_flush,
};

/* ---- what goes in ---- */

static size_t make_content(struct asked *asked, char *text, size_t size)
{
    if (!is_cell(asked))
        return (size_t)snprintf(text, size, "{\"comm_id\":\"x\",\"hist_access_type\":\"tail\"}");
    return (size_t)snprintf(
        text, size,
        "{\"code\":%s,\"silent\":%s,\"store_history\":%s,\"stop_on_error\":%s,\"allow_stdin\":%s}",
        asked->malformed ? "[]" : "\"1\\n2\"", asked->silent ? "true" : "false",
        asked->stores ? "true" : "false", asked->stops ? "true" : "false",
        asked->asks_input ? "true" : "false");
}

static void send_number(struct model *m, int index)
{
    struct asked *asked = &m->asked[index];
    char header[96], type[48], identity[16], content[160];
    snprintf(header, sizeof(header), "{\"msg_id\":\"m%d\"}", index);
    snprintf(type, sizeof(type), "\"%s\"", asked->kind->type);
    snprintf(identity, sizeof(identity), "c%d", index);
    struct rf_bytes identities[] = {rf_bytes_str(identity)};
    struct rf_wire_in in = {
        .identities = identities,
        .n_identities = 1,
        .header = rf_bytes_str(header),
        .metadata = RF_BYTES("{}"),
        .content = {(const uint8_t *)content, make_content(asked, content, sizeof(content))},
        .msg_type = rf_bytes_str(type),
    };
    rf_kernel_on_message(m->kernel, asked->channel, &in, m->now);
}

static void act_send(struct model *m)
{
    if (m->n == REQUESTS_MAX)
        return;
    /* the last kind, shutdown, is rare */
    size_t n = COUNT_OF(kinds) - (one_in(m, 60) ? 0 : 1);
    struct asked asked = {
        .kind = &kinds[next(m) % n],
        .channel = one_in(m, 4) ? RF_CONTROL : RF_SHELL,
        .silent = one_in(m, 6),
        .stops = !one_in(m, 3),
        .asks_input = one_in(m, 2),
    };
    asked.stores = !asked.silent && !one_in(m, 5);
    asked.malformed = is_cell(&asked) && one_in(m, 10);
    m->asked[m->n++] = asked;
    if (!strcmp(asked.kind->type, "shutdown_request"))
        m->ended = true; /* whatever waits gets an error, not an abort */
    send_number(m, m->n - 1);
}

static int worker_says(struct model *m, uint8_t type, uint64_t id, size_t n,
                       const struct rf_bytes *parts)
{
    struct rf_frame frame = {.type = type, .request_id = id, .parts = parts, .n_parts = n};
    return rf_kernel_on_worker(m->kernel, &frame, m->now);
}

static void act_hello(struct model *m)
{
    struct rf_bytes parts[] = {RF_BYTES("5"), RF_BYTES("{\"banner\":\"b\"}")};
    bool was_ready = m->ready;
    m->ready = true;
    m->failed = false;
    assert_int_equal(worker_says(m, RF_MSG_HELLO, 1, 2, parts), was_ready ? -EPROTO : 0);
}

/* Output's parent by the number that the worker gives. */
static int expected_parent(struct model *m, uint64_t id)
{
    if (id && id <= m->last_id && id + RF_PARENTS_MAX > m->last_id)
        for (int i = 0; i < m->n; i++)
            if (m->asked[i].id == id)
                return i;
    return m->newest;
}

static uint64_t random_id(struct model *m)
{
    if (m->running >= 0 && !one_in(m, 3))
        return m->asked[m->running].id;
    return one_in(m, 3) ? next(m) : next(m) % (m->last_id + 2);
}

static void act_stream(struct model *m)
{
    uint64_t id = random_id(m);
    char text[16];
    snprintf(text, sizeof(text), "%d;", expected_parent(m, id));
    struct rf_bytes parts[] = {one_in(m, 2) ? RF_BYTES("stdout") : RF_BYTES("stderr"),
                               rf_bytes_str(text)};
    m->fed++;
    assert_int_equal(worker_says(m, RF_MSG_STREAM, id, 2, parts), 0);
}

static void act_pipe(struct model *m)
{
    char text[16];
    snprintf(text, sizeof(text), "%d;", m->newest);
    m->fed++;
    rf_kernel_on_pipe(m->kernel, one_in(m, 2) ? 1 : 2, rf_bytes_str(text), m->now);
}

static void act_publish(struct model *m)
{
    static const char *const types[] = {"display_data", "execute_result", "error", "comm_open",
                                        "comm_msg", "comm_close", "clear_output"};
    uint64_t id = random_id(m);
    char content[64];
    snprintf(content, sizeof(content), "{\"comm_id\":\"%u\",\"parent\":%d}", next(m) % 4,
             expected_parent(m, id));
    struct rf_bytes parts[] = {rf_bytes_str(types[next(m) % COUNT_OF(types)]), {0},
                               RF_BYTES("{}"), rf_bytes_str(content)};
    assert_int_equal(worker_says(m, RF_MSG_PUBLISH, id, 4, parts), m->ready ? 0 : -EPROTO);
}

static void expect_aborts(struct model *m)
{
    for (int i = 0; i < m->n; i++)
        if (is_cell(&m->asked[i]) && !m->asked[i].busy)
            m->asked[i].must_abort = true;
}

static bool aborts_others(const struct asked *asked)
{
    return is_cell(asked) && !asked->silent && asked->stops;
}

static void act_reply(struct model *m)
{
    if (m->running < 0)
        return;
    struct asked *asked = &m->asked[m->running];
    bool error = one_in(m, 4);
    char content[96];
    snprintf(content, sizeof(content), "{\"status\":\"%s\"%s%" PRIu64 "}", error ? "error" : "ok",
             is_cell(asked) ? ",\"execution_count\":" : ",\"x\":", m->count);
    struct rf_bytes parts[] = {rf_bytes_str(content), RF_BYTES("{}"), RF_BYTES("1\n2"),
                               RF_BYTES("2")};
    if (error && aborts_others(asked))
        expect_aborts(m);
    assert_int_equal(worker_says(m, RF_MSG_REPLY, asked->id, 4, parts), 0);
}

static void act_input(struct model *m)
{
    struct rf_bytes content = RF_BYTES("{\"prompt\":\"\"}");
    uint64_t id = random_id(m);
    struct asked *asked = m->running >= 0 ? &m->asked[m->running] : NULL;
    bool allowed = m->ready && asked && asked->id == id && is_cell(asked) && asked->asks_input;
    int want = allowed || (m->ready && m->ended) ? 0 : -EPROTO;
    assert_int_equal(worker_says(m, RF_MSG_INPUT_REQUEST, id, 1, &content), want);
}

static void act_input_reply(struct model *m)
{
    struct rf_wire_in in = {.header = RF_BYTES("{\"msg_id\":\"m0\"}"),
                            .content = RF_BYTES("{\"value\":\"v\"}"),
                            .msg_type = RF_BYTES("\"input_reply\"")};
    rf_kernel_on_message(m->kernel, RF_STDIN, &in, m->now);
}

static void act_die(struct model *m)
{
    struct rf_death death = {
        .wait_status = (int)(next(m) % 3 ? next(m) % 65536 : UINT32_MAX),
        .reason = one_in(m, 2) ? "some reason" : NULL,
        .traceback = one_in(m, 2) ? RF_BYTES("Fatal\n\n  x\xff\n") : RF_BYTES(""),
        .resumed = one_in(m, 2),
        .mark = m->mark,
    };
    if (m->running >= 0 && aborts_others(&m->asked[m->running]))
        expect_aborts(m);
    m->ready = false;
    rf_kernel_on_dead(m->kernel, &death, m->now);
    assert_int_equal(m->running, -1);
    all_text_is_out(m);
}

/* Bytes that mean nothing: must be refused, and then that worker dies. */
static void act_garbage(struct model *m)
{
    static const struct rf_bytes words[] = {
        LITERAL("{}"),      LITERAL("{\"status\":"), LITERAL(""),       LITERAL("[]"),
        LITERAL("display"), LITERAL("stdin"),        LITERAL("\xff{}"), LITERAL("{\"status\":0}"),
        LITERAL("status"),  LITERAL("stream"),       LITERAL("\0\0"),
    };
    struct rf_bytes parts[6];
    size_t n = next(m) % 6;
    for (size_t i = 0; i < n; i++)
        parts[i] = words[next(m) % COUNT_OF(words)];
    uint8_t type = (uint8_t)(one_in(m, 2) ? next(m) : RF_MSG_REPLY + next(m) % 3);
    if (type == RF_MSG_HELLO || type == RF_MSG_INPUT_REQUEST)
        return;
    int r = worker_says(m, type, random_id(m), n, parts);
    if (r == 0)
        assert_true(m->ended && type == RF_MSG_REPLY && m->ready);
    else
        act_die(m);
}

static void act_time(struct model *m)
{
    int64_t deadline = rf_kernel_deadline(m->kernel);
    m->now += next(m) % 30000;
    if (m->fed != m->emitted)
        assert_true(deadline <= m->now + 50000);
    else if (m->running < 0)
        assert_int_equal(deadline, INT64_MAX);
    rf_kernel_on_time(m->kernel, m->now);
    assert_true(rf_kernel_deadline(m->kernel) > m->now);
}

static void act_answer(struct model *m)
{
    static const struct rf_bytes contents[] = {LITERAL("{\"status\":\"ok\"}"), LITERAL("{}"),
                                               LITERAL("{\"status\":0}"), LITERAL("[")};
    struct rf_bytes parts[] = {contents[next(m) % COUNT_OF(contents)], RF_BYTES("{"), {0}, {0}};
    struct rf_frame frame = {.parts = parts, .n_parts = next(m) % 5};
    if (!m->n_asking)
        return;
    int which = (int)(next(m) % (uint32_t)m->n_asking);
    uint64_t id = m->asking[which];
    m->asking[which] = m->asking[--m->n_asking];
    rf_kernel_on_answer(m->kernel, id, one_in(m, 3) ? NULL : &frame);
}

static void act_checkpoint(struct model *m)
{
    m->mark = rf_kernel_on_checkpoint(m->kernel, one_in(m, 2));
}

static void act_interrupt(struct model *m)
{
    rf_kernel_interrupt(m->kernel);
    rf_kernel_on_subscribe(m->kernel, RF_BYTES(""));
}

static void act_fail(struct model *m)
{
    struct rf_error why = {-EIO, "gone"};
    if (!one_in(m, 40))
        return;
    m->failed = true;
    m->ready = false;
    rf_kernel_on_failed(m->kernel, &why, m->now);
}

static void (*const actions[])(struct model *m) = {
    act_send,     act_send,    act_send,        act_send,    act_stream,    act_stream,
    act_pipe,     act_publish, act_publish,     act_reply,   act_reply,     act_reply,
    act_reply,    act_time,    act_checkpoint, act_interrupt, act_hello,
    act_hello,    act_input,   act_input_reply, act_die,     act_garbage,   act_fail,
    act_answer,
};

static bool is_rare(void (*action)(struct model *m))
{
    return action == act_die || action == act_garbage || action == act_input;
}

static void step(struct model *m)
{
    void (*action)(struct model *) = actions[next(m) % COUNT_OF(actions)];
    if (is_rare(action) && !one_in(m, 3))
        return;
    bool was_ready = m->ready;
    action(m);
    /* A worker that broke the protocol is ended by its owner. */
    if (was_ready && action == act_hello)
        act_die(m);
    assert_int_equal(m->shows_busy, m->running >= 0);
    assert_int_equal(rf_kernel_is_busy(m->kernel), m->running >= 0);
}

/* In the end everything that was asked is answered. */
static void finish(struct model *m)
{
    struct rf_error why = {-EIO, "the script is over"};
    if (one_in(m, 2) && !m->ended) {
        if (!m->ready)
            act_hello(m);
        for (int i = 0; i < 4 * m->n; i++) {
            act_reply(m);
        }
    } else {
        m->failed = true;
        rf_kernel_on_failed(m->kernel, &why, m->now);
    }
    rf_kernel_on_time(m->kernel, m->now + 1000000);
    while (m->n_asking)
        act_answer(m);
    all_text_is_out(m);
    assert_int_equal(m->shutdowns, m->ended);
    assert_false(rf_kernel_is_busy(m->kernel));
    for (int i = 0; i < m->n; i++) {
        const struct asked *asked = &m->asked[i];
        if (!asked->busy || !asked->idle || asked->replied != !!asked->kind->reply)
            fail_msg("m%d %s: busy %d, replied %d, idle %d", i, asked->kind->type, asked->busy,
                     asked->replied, asked->idle);
    }
}

static void script(uint32_t seed)
{
    struct model *m = calloc(1, sizeof(*m));
    struct rf_kernel_options options = {.kernel_id = "k", .history_cells = 50};
    assert_non_null(m);
    m->seed = seed * 2654435761u | 1;
    m->running = m->newest = m->last_run = -1;
    m->kernel = rf_kernel_new(&options, &ops, m);
    assert_non_null(m->kernel);
    rf_kernel_start(m->kernel);
    for (int i = 0; i < ACTIONS; i++)
        step(m);
    finish(m);
    rf_kernel_free(m->kernel);
    free(m);
}

static uint32_t from_environment(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static uint32_t failing_seed; /* 0: none */

static void random_scripts(void **state)
{
    uint32_t first = from_environment("RF_TEST_SEED", 1);
    uint32_t rounds = from_environment("RF_TEST_ROUNDS", 1000);
    for (uint32_t seed = first; seed < first + rounds; seed++) {
        failing_seed = seed;
        script(seed);
    }
    failing_seed = 0;
}

static int tell_seed(void **state)
{
    if (failing_seed)
        print_error("RF_TEST_SEED=%u shows it\n", failing_seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(random_scripts, tell_seed)};
    return TESTS(tests);
}
