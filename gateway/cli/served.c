/* See served.h. */
#include "gateway/cli/served.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ringfence/version.h>

#include "common/json.h"
#include "common/log.h"
#include "gateway/supervise/usage.h"
#include "gateway/zmq/sockets.h"

#define LINGER_MS 1000
#define FAREWELL_MS 1000 /* after exit() in a cell: clients look whether we live before they read */
#define REGISTRATION_TIMEOUT_MS 10000

enum { DEADLINE, FAREWELL, TIMERS };

struct rf_served {
    uv_loop_t *loop;
    struct rf_served_options options; /* `connection` is borrowed */
    const struct rf_served_events *events; /* borrowed */
    void *ctx;
    struct rf_wire *wire;
    struct rf_sockets *sockets;
    struct rf_kernel *kernel;
    struct rf_supervisor *supervisor;
    struct rf_usage usage;
    uv_timer_t timers[TIMERS];
    uv_prepare_t prepare;
    int open_handles;
    bool cut; /* output is being left out, and the reader was told */
    bool shutdown_asked; /* by a client; else a cell called exit() */
    bool stopping;
    uint64_t dropped[RF_WIRE_DROPS];
    struct rf_wire_frames frames;
};

static int64_t monotonic_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

static int64_t realtime_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- outgoing --- */

/* Output may be cut when readers are too slow; what a client waits for never is. */
static bool is_output(const char *msg_type)
{
    static const char *const types[] = {"stream",         "display_data", "update_display_data",
                                        "execute_result", "comm_msg",     NULL};
    for (size_t i = 0; types[i]; i++)
        if (!strcmp(types[i], msg_type))
            return true;
    return false;
}

static int deliver(struct rf_served *s, const struct rf_wire_out *out, bool essential)
{
    int r = rf_wire_encode(s->wire, out, realtime_us(), &s->frames);
    if (r) {
        rf_log(RF_LOG_ERROR, "served", "a %s message could not be made: %s", out->msg_type,
               strerror(-r));
        return 0;
    }
    size_t before = out->n_identities; /* they come first in the frames */
    return rf_sockets_send(s->sockets, out->channel, s->frames.frames, before,
                           s->frames.frames + before, s->frames.n - before, essential);
}

static void tell_of_cut(struct rf_served *s, const struct rf_wire_out *left_out)
{
    struct rf_bytes topic = RF_BYTES("stream.stderr");
    struct rf_wire_out notice = {
        .channel = RF_IOPUB,
        .identities = &topic,
        .n_identities = 1,
        .msg_type = "stream",
        .parent = left_out->parent,
        .content = RF_BYTES("{\"name\":\"stderr\",\"text\":\"\\n[ringfence] output is left out "
                            "here: more waits for slow clients than --spool-max allows\\n\"}"),
    };
    s->cut = true;
    rf_log(RF_LOG_WARN, "served", "output is left out: the spool is full (--spool-max)");
    deliver(s, &notice, true);
}

static void on_send(void *ctx, const struct rf_wire_out *out)
{
    struct rf_served *s = ctx;
    bool essential = out->channel != RF_IOPUB || !is_output(out->msg_type);
    int r = deliver(s, out, essential);
    if (r == -ENOBUFS && !s->cut)
        tell_of_cut(s, out);
    else if (!r && !essential)
        s->cut = false;
}

static void on_worker(void *ctx, uint8_t type, uint64_t request_id, const struct rf_bytes *parts,
                      size_t n_parts)
{
    struct rf_served *s = ctx;
    rf_supervisor_worker(s->supervisor, type, request_id, parts, n_parts);
}

static void on_interrupt(void *ctx)
{
    struct rf_served *s = ctx;
    rf_supervisor_interrupt(s->supervisor);
}

void rf_served_stop(struct rf_served *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    rf_supervisor_stop(s->supervisor);
}

static void on_farewell(uv_timer_t *timer)
{
    rf_served_stop(timer->data);
}

/* For a restart, too: the client starts a new process. */
static void on_shutdown(void *ctx, bool restart)
{
    struct rf_served *s = ctx;
    if (s->shutdown_asked)
        rf_served_stop(s);
    else
        uv_timer_start(&s->timers[FAREWELL], on_farewell, FAREWELL_MS, 0);
}

static void on_flush(void *ctx)
{
    struct rf_served *s = ctx;
    rf_sockets_flush(s->sockets);
}

static void on_rested(void *ctx, int64_t run_us, size_t waiting)
{
    struct rf_served *s = ctx;
    rf_supervisor_rested(s->supervisor, run_us, waiting);
}

static void on_kill(void *ctx, const char *why)
{
    struct rf_served *s = ctx;
    rf_supervisor_kill(s->supervisor, why);
}

static const char *on_notice(void *ctx)
{
    struct rf_served *s = ctx;
    return rf_supervisor_notice(s->supervisor);
}

static bool on_answer(void *ctx, uint64_t id, const struct rf_bytes *parts, size_t n_parts)
{
    struct rf_served *s = ctx;
    return rf_supervisor_answer(s->supervisor, id, parts, n_parts);
}

static void on_order(void *ctx, enum rf_order order, struct rf_bytes name, bool in_cell)
{
    struct rf_served *s = ctx;
    rf_supervisor_order(s->supervisor, order, name, in_cell);
}

static void on_checkpoints(void *ctx, struct rf_buf *to)
{
    struct rf_served *s = ctx;
    rf_supervisor_list_checkpoints(s->supervisor, to);
}

static const char *on_parting(void *ctx)
{
    struct rf_served *s = ctx;
    return s->events->on_parting(s->ctx);
}

static void on_usage(void *ctx, struct rf_buf *to)
{
    struct rf_served *s = ctx;
    rf_usage_tell(&s->usage, rf_supervisor_root(s->supervisor), monotonic_us(), to);
}

static const struct rf_kernel_ops kernel_ops = {
    .send = on_send,
    .worker = on_worker,
    .interrupt = on_interrupt,
    .shutdown = on_shutdown,
    .rested = on_rested,
    .flush = on_flush,
    .kill = on_kill,
    .notice = on_notice,
    .usage = on_usage,
    .parting = on_parting,
    .order = on_order,
    .checkpoints = on_checkpoints,
    .answer = on_answer,
};

/* --- incoming --- */

static void on_message(void *ctx, enum rf_channel channel, const struct rf_bytes *frames, size_t n)
{
    struct rf_served *s = ctx;
    struct rf_wire_in in;
    enum rf_wire_drop drop = rf_wire_decode(s->wire, frames, n, &in);
    if (drop) {
        rf_log(RF_LOG_WARN, "wire", "a message was dropped: %s (%llu of that kind so far)",
               rf_wire_drop_name(drop), (unsigned long long)++s->dropped[drop]);
        return;
    }
    if (rf_json_string_is(in.msg_type, "shutdown_request"))
        s->shutdown_asked = true;
    if (s->kernel && !s->stopping)
        rf_kernel_on_message(s->kernel, channel, &in, monotonic_us());
    if (s->shutdown_asked && uv_is_active((uv_handle_t *)&s->timers[FAREWELL]))
        rf_served_stop(s);
}

static void on_subscribe(void *ctx, struct rf_bytes topic)
{
    struct rf_served *s = ctx;
    if (s->kernel)
        rf_kernel_on_subscribe(s->kernel, topic);
}

static void on_cut(void *ctx, enum rf_channel channel, const char *why)
{
    static const char *const names[RF_CHANNELS] = {"shell", "control", "stdin", "iopub", "hb"};
    rf_log(RF_LOG_WARN, "zmq", "a client of %s was cut off: %s", names[channel], why);
}

static const struct rf_sockets_events socket_events = {on_message, on_subscribe, on_cut};

/* --- the supervisor's events --- */

/* What the banner says of the sandbox, once it is known. */
static void on_made(void *ctx)
{
    struct rf_served *s = ctx;
    const char *profile = s->options.session->limits.profile, *note = s->options.session->note;
    struct rf_buf text = {0}, lost = {0};
    rf_supervisor_lost_layers(s->supervisor, &lost);
    rf_buf_add(&lost, "", 1);
    rf_buf_printf(&text, "Ringfence " RF_VERSION ", sandbox: profile %s%s%s%s%s", profile,
                  lost.len > 1 ? "; this machine denies: " : "", lost.len > 1 ? (char *)lost.data : "",
                  note[0] ? "; " : "", note);
    rf_buf_add(&text, "", 1);
    if (rf_buf_ok(&text) && rf_buf_ok(&lost)) {
        rf_kernel_set_note(s->kernel, (const char *)text.data);
        rf_log(RF_LOG_INFO, "served", "%s", (const char *)text.data);
    }
    rf_buf_deinit(&lost);
    rf_buf_deinit(&text);
}

static void on_failed(void *ctx, const struct rf_error *why)
{
    struct rf_served *s = ctx;
    s->events->on_failed(s->ctx, why);
    rf_served_stop(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct rf_served *s = handle->data;
    if (--s->open_handles)
        return;
    rf_kernel_free(s->kernel);
    rf_wire_frames_deinit(&s->frames);
    rf_wire_free(s->wire);
    free(s);
}

static void on_stopped(void *ctx)
{
    struct rf_served *s = ctx;
    if (s->sockets)
        rf_sockets_close(s->sockets, LINGER_MS);
    rf_supervisor_free(s->supervisor);
    s->sockets = NULL;
    s->events->on_ended(s->ctx, s);
    for (int i = 0; i < TIMERS; i++)
        uv_close((uv_handle_t *)&s->timers[i], on_closed);
    uv_close((uv_handle_t *)&s->prepare, on_closed);
}

static struct rf_supervisor *on_branch(void *ctx, const struct rf_kernel_mark *mark,
                                       struct rf_buf *to, struct rf_error *err)
{
    struct rf_served *s = ctx;
    struct rf_served *branch = s->events->on_branch(s->ctx, mark->count, to, err);
    return branch ? branch->supervisor : NULL;
}

static const struct rf_supervisor_events supervisor_events = {on_made, on_failed, on_stopped,
                                                              on_branch};

/* --- time --- */

static void on_deadline(uv_timer_t *timer)
{
    struct rf_served *s = timer->data;
    rf_kernel_on_time(s->kernel, monotonic_us());
}

/* Before the loop waits: until when at the longest? */
static void on_prepare(uv_prepare_t *prepare)
{
    struct rf_served *s = prepare->data;
    int64_t deadline = s->kernel ? rf_kernel_deadline(s->kernel) : INT64_MAX;
    if (deadline == INT64_MAX || s->stopping) {
        uv_timer_stop(&s->timers[DEADLINE]);
        return;
    }
    int64_t left = deadline - monotonic_us();
    uv_update_time(s->loop);
    uv_timer_start(&s->timers[DEADLINE], on_deadline, left > 0 ? (uint64_t)(left + 999) / 1000 : 0,
                   0);
}

/* --- making it --- */

static const char *kernel_id(const struct rf_served_options *options, char ret[64])
{
    const char *name = strrchr(options->connection_file, '/');
    name = name ? name + 1 : options->connection_file;
    if (!strncmp(name, "kernel-", 7))
        name += 7;
    int n = (int)strcspn(name, ".");
    snprintf(ret, 64, "%.*s", n < 63 ? n : 63, name);
    return options->connection->kernel_id[0] ? options->connection->kernel_id : ret;
}

static int make_wire(struct rf_served *s, struct rf_error *err)
{
    unsigned char random[16];
    char session_id[33];
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(session_id, sizeof(session_id), random, sizeof(random));
    const struct rf_connection *c = s->options.connection;
    struct rf_wire_options options = {.key = rf_bytes_str(c->key),
                                      .scheme = c->signature_scheme,
                                      .session = session_id,
                                      .username = "ringfence",
                                      .max_message = s->options.session->max_message};
    s->wire = rf_wire_new(&options, err);
    return s->wire ? 0 : err->code;
}

static int make_sockets(struct rf_served *s, struct rf_error *err)
{
    struct rf_connection *c = s->options.connection;
    struct rf_sockets_options options = {.max_message = s->options.session->max_message,
                                         .spool_max = s->options.session->spool_max,
                                         .heartbeat_s = s->options.session->heartbeat_s};
    s->sockets = rf_sockets_new(s->loop, c, &options, &socket_events, s, err);
    return s->sockets ? 0 : err->code;
}

/* Tells the launcher or the connection file which ports were chosen. */
static int announce(struct rf_served *s, struct rf_error *err)
{
    struct rf_connection *c = s->options.connection;
    if (c->registration)
        return rf_register(c, s->wire, REGISTRATION_TIMEOUT_MS, err);
    return rf_connection_save(s->options.connection_file, c, err);
}

static int make_kernel(struct rf_served *s, struct rf_error *err)
{
    char id[64];
    const struct rf_connection *c = s->options.connection;
    struct rf_kernel_options options = {
        .kernel_id = kernel_id(&s->options, id),
        .implementation_version = RF_VERSION,
        .banner_note = "Ringfence " RF_VERSION,
        .limits = s->options.session->limits,
        .history_cells = s->options.session->history_cells,
        .count = s->options.count,
        .ports = {c->shell_port, c->iopub_port, c->stdin_port, c->control_port, c->hb_port}};
    options.limits.born_us = monotonic_us();
    s->kernel = rf_kernel_new(&options, &kernel_ops, s);
    return s->kernel ? 0 : rf_error_errno(err, -ENOMEM, "cannot make the kernel");
}

static int open_all(struct rf_served *s, struct rf_error *err)
{
    int r = make_sockets(s, err);
    if (!r)
        r = make_wire(s, err);
    return r ? r : announce(s, err);
}

static int make_and_attach(struct rf_served *s, struct rf_error *err)
{
    int r = make_kernel(s, err);
    if (!r)
        rf_supervisor_attach(s->supervisor, s->kernel);
    return r;
}

/* What others can work on meanwhile comes first: the worker is forked while the
 * sockets are bound, and clients connect while the rest is made.  But a
 * connection file that is to be masked must not be replaced under its mask. */
static int make_all(struct rf_served *s, struct rf_error *err)
{
    bool later = s->options.session->connection_first &&
                 !rf_connection_is_saved(s->options.connection_file, s->options.connection);
    int r = later ? 0 : rf_supervisor_start(s->supervisor, err);
    if (!r)
        r = open_all(s, err);
    if (!r && later)
        r = rf_supervisor_start(s->supervisor, err);
    return r ? r : make_and_attach(s, err);
}

struct rf_served *rf_served_new(uv_loop_t *loop, const struct rf_served_options *options,
                                const struct rf_served_events *events, void *ctx)
{
    struct rf_served *s = malloc(sizeof(*s));
    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct rf_served, frames.frames)); /* these are written first */
    s->loop = loop;
    s->options = *options;
    s->events = events;
    s->ctx = ctx;
    s->open_handles = TIMERS + 1;
    s->supervisor = rf_supervisor_new(loop, &options->session->supervisor, &supervisor_events, s);
    if (!s->supervisor) {
        free(s);
        return NULL;
    }
    for (int i = 0; i < TIMERS; i++) {
        uv_timer_init(loop, &s->timers[i]);
        s->timers[i].data = s;
    }
    uv_prepare_init(loop, &s->prepare);
    s->prepare.data = s;
    uv_prepare_start(&s->prepare, on_prepare);
    return s;
}

static int begin(struct rf_served *s, int r)
{
    if (r)
        rf_served_stop(s);
    else
        rf_kernel_start(s->kernel);
    return r;
}

int rf_served_open(struct rf_served *s, struct rf_error *err)
{
    int r = open_all(s, err);
    return begin(s, r ? r : make_and_attach(s, err));
}

int rf_served_start(struct rf_served *s, struct rf_error *err)
{
    return begin(s, make_all(s, err));
}

void rf_served_limit_idle(struct rf_served *s, int64_t idle_us)
{
    if (s->kernel && !s->stopping)
        rf_kernel_limit_idle(s->kernel, idle_us, monotonic_us());
}

void rf_served_inherit(struct rf_served *s)
{
    rf_supervisor_inherit(s->supervisor);
}

void rf_served_interrupt(struct rf_served *s)
{
    if (s->kernel)
        rf_kernel_interrupt(s->kernel);
}
