/* See kernel_rig.h. */
#include "tests/unit/kernel_rig.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/json.h"

#define LONG_PART 120u

static void log_parent(struct rig *rig, struct rf_bytes parent)
{
    struct rf_json_member id = {"msg_id", {0}};
    rf_buf_add_str(&rig->log, " ");
    if (!parent.len || rf_json_object(parent, &id, 1) || !rf_json_decode(id.value, &rig->log))
        rf_buf_add_str(&rig->log, "-");
}

static bool log_status(struct rig *rig, const struct rf_wire_out *out)
{
    struct rf_json_member state = {"execution_state", {0}};
    if (strcmp(out->msg_type, "status") != 0)
        return false;
    assert_int_equal(rf_json_object(out->content, &state, 1), RF_JSON_OK);
    assert_true(rf_json_decode(state.value, &rig->log));
    log_parent(rig, out->parent);
    rf_buf_add_str(&rig->log, "\n");
    return true;
}

static void on_send(void *ctx, const struct rf_wire_out *out)
{
    static const char *const channels[RF_CHANNELS] = {"shell ", "control ", "stdin ", ""};
    struct rig *rig = ctx;
    if (rig->with_topics && out->channel == RF_IOPUB)
        rf_buf_printf(&rig->log, "[%.*s] ", (int)out->identities[0].len,
                      (const char *)out->identities[0].data);
    if (log_status(rig, out))
        return;
    rf_buf_printf(&rig->log, "%s%s", channels[out->channel], out->msg_type);
    log_parent(rig, out->parent);
    for (size_t i = 0; out->channel != RF_IOPUB && i < out->n_identities; i++) {
        rf_buf_add_str(&rig->log, " ");
        rf_buf_add_bytes(&rig->log, out->identities[i]);
    }
    rf_buf_add_str(&rig->log, " ");
    rf_buf_add_bytes(&rig->log, out->content);
    if (rig->with_metadata)
        rf_buf_printf(&rig->log, " %.*s %zu", (int)out->metadata.len,
                      out->metadata.len ? (const char *)out->metadata.data : "", out->n_buffers);
    rf_buf_add_str(&rig->log, "\n");
    assert_int_equal(rf_json_object(out->content, NULL, 0), RF_JSON_OK);
}

static void on_worker(void *ctx, uint8_t type, uint64_t id, const struct rf_bytes *parts, size_t n)
{
    struct rig *rig = ctx;
    rf_buf_printf(&rig->log, "worker %u %" PRIu64, type, id);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > LONG_PART || (type == RF_MSG_REQUEST && i == 2))
            continue;
        rf_buf_add_str(&rig->log, " ");
        rf_buf_add_bytes(&rig->log, parts[i]);
    }
    rf_buf_add_str(&rig->log, "\n");
}

static void on_interrupt(void *ctx)
{
    struct rig *rig = ctx;
    rf_buf_add_str(&rig->log, "interrupt\n");
}

static void on_shutdown(void *ctx, bool restart)
{
    struct rig *rig = ctx;
    rf_buf_printf(&rig->log, "shutdown %d\n", restart);
}

static void on_rested(void *ctx, int64_t run_us, size_t waiting)
{
    struct rig *rig = ctx;
    rf_buf_printf(&rig->log, "rested %" PRId64 " %zu\n", run_us, waiting);
}

static void on_flush(void *ctx)
{
}

static void on_kill(void *ctx, const char *why)
{
    struct rig *rig = ctx;
    rf_buf_printf(&rig->log, "kill %s\n", why);
}

static void on_order(void *ctx, enum rf_order order, struct rf_bytes name, bool in_cell)
{
    struct rig *rig = ctx;
    rf_buf_printf(&rig->log, "order %d %.*s%s\n", order, (int)name.len, (const char *)name.data,
                  in_cell ? " in cell" : "");
}

static bool on_answer(void *ctx, uint64_t id, const struct rf_bytes *parts, size_t n)
{
    struct rig *rig = ctx;
    assert_int_equal(n, 5);
    rf_buf_printf(&rig->log, "answer %" PRIu64 " ", id);
    rf_buf_add_bytes(&rig->log, parts[0]);
    rf_buf_add_str(&rig->log, " ");
    rf_buf_add_bytes(&rig->log, parts[4]);
    rf_buf_add_str(&rig->log, "\n");
    return rig->answers;
}

static void on_usage(void *ctx, struct rf_buf *to)
{
    rf_buf_add_str(to, "{\"pid\":7}");
}

static const struct rf_kernel_ops ops = {
    .answer = on_answer,
    .send = on_send,
    .worker = on_worker,
    .interrupt = on_interrupt,
    .shutdown = on_shutdown,
    .rested = on_rested,
    .flush = on_flush,
    .kill = on_kill,
    .order = on_order,
    .usage = on_usage,
};

struct rig *rig_new(void)
{
    return rig_new_limited(&(struct rf_limits){0});
}

struct rig *rig_new_limited(const struct rf_limits *limits)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    struct rf_kernel_options options = {
        .kernel_id = "k",
        .implementation_version = "0.1",
        .banner_note = "sandbox: all layers hold",
        .limits = *limits,
        .ports = {.shell = 1, .iopub = 2, .stdin_ = 3, .control = 4, .hb = 5},
    };
    rig->now = 1000000;
    rig->kernel = rf_kernel_new(&options, &ops, rig);
    assert_non_null(rig->kernel);
    return rig;
}

struct rig *rig_new_ready(void)
{
    struct rig *rig = rig_new();
    assert_int_equal(rig_hello(rig), 0);
    rig_clear(rig);
    return rig;
}

void rig_free(struct rig *rig)
{
    rf_kernel_free(rig->kernel);
    rf_buf_deinit(&rig->log);
    free(rig);
}

const char *rig_log(struct rig *rig)
{
    rf_buf_add(&rig->log, "", 1);
    assert_true(rf_buf_ok(&rig->log));
    rig->log.len--;
    return (const char *)rig->log.data;
}

void rig_clear(struct rig *rig)
{
    rig->log.len = 0;
}

void rig_expect(struct rig *rig, const char *want)
{
    assert_string_equal(rig_log(rig), want);
    rig_clear(rig);
}

void rig_send(struct rig *rig, enum rf_channel channel, int number, const char *type,
              const char *content)
{
    char id[32], quoted_type[80], header[160], identity[16];
    snprintf(id, sizeof(id), "\"m%d\"", number);
    snprintf(identity, sizeof(identity), "c%d", number);
    snprintf(quoted_type, sizeof(quoted_type), "\"%s\"", type);
    snprintf(header, sizeof(header), "{\"msg_id\":%s,\"msg_type\":%s}", id, quoted_type);
    struct rf_bytes identities[] = {rf_bytes_str(identity)};
    struct rf_wire_in in = {
        .identities = identities,
        .n_identities = 1,
        .header = rf_bytes_str(header),
        .parent = RF_BYTES("{}"),
        .metadata = RF_BYTES("{}"),
        .content = rf_bytes_str(content),
        .msg_id = rf_bytes_str(id),
        .msg_type = rf_bytes_str(quoted_type),
    };
    rf_kernel_on_message(rig->kernel, channel, &in, rig->now);
}

void rig_execute(struct rig *rig, int number, const char *code, const char *more)
{
    char content[512];
    snprintf(content, sizeof(content), "{\"code\":\"%s\"%s}", code, more);
    rig_send(rig, RF_SHELL, number, "execute_request", content);
}

int rig_worker(struct rig *rig, uint8_t type, uint64_t id, size_t n, const struct rf_bytes *parts)
{
    struct rf_frame frame = {.type = type, .request_id = id, .parts = parts, .n_parts = n};
    return rf_kernel_on_worker(rig->kernel, &frame, rig->now);
}

int rig_hello(struct rig *rig)
{
    struct rf_bytes parts[] = {RF_BYTES("2"), RF_BYTES(RIG_INFO)};
    return rig_worker(rig, RF_MSG_HELLO, 1, 2, parts);
}

int rig_reply(struct rig *rig, uint64_t id, const char *content)
{
    struct rf_bytes parts[] = {rf_bytes_str(content), RF_BYTES("{\"started\":\"now\"}"), {0}, {0}};
    return rig_worker(rig, RF_MSG_REPLY, id, 4, parts);
}

int rig_publish(struct rig *rig, uint64_t id, const char *type, const char *content)
{
    struct rf_bytes parts[] = {rf_bytes_str(type), {0}, RF_BYTES("{}"), rf_bytes_str(content)};
    return rig_worker(rig, RF_MSG_PUBLISH, id, 4, parts);
}

int rig_stream(struct rig *rig, uint64_t id, const char *name, const char *text)
{
    struct rf_bytes parts[] = {rf_bytes_str(name), rf_bytes_str(text)};
    return rig_worker(rig, RF_MSG_STREAM, id, 2, parts);
}

void rig_pipe(struct rig *rig, int fd, const char *bytes)
{
    rf_kernel_on_pipe(rig->kernel, fd, rf_bytes_str(bytes), rig->now);
}

void rig_checkpoint(struct rig *rig)
{
    rig->mark = rf_kernel_on_checkpoint(rig->kernel, false);
}

void rig_die(struct rig *rig, int wait_status, bool resumed)
{
    struct rf_death death = {.wait_status = wait_status, .resumed = resumed, .mark = rig->mark};
    rf_kernel_on_dead(rig->kernel, &death, rig->now);
}

void rig_answer(struct rig *rig, uint64_t id, const char *content)
{
    struct rf_bytes parts[] = {rf_bytes_str(content), RF_BYTES("{}"), {0}, {0}};
    struct rf_frame frame = {.type = RF_MSG_REPLY, .parts = parts, .n_parts = 4};
    rf_kernel_on_answer(rig->kernel, id, content ? &frame : NULL);
}
