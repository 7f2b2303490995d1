/* See session.h. */
#include "gateway/cli/session.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ringfence/version.h>

#include "common/json.h"
#include "common/log.h"
#include "gateway/zmq/sockets.h"

#define LINGER_MS 1000
#define FAREWELL_MS 1000 /* after exit() in a cell: clients look whether we live before they read */
#define REGISTRATION_TIMEOUT_MS 10000

enum { INTERRUPT, TERMINATE, CHILD, SIGNALS };

struct session {
    uv_loop_t *loop;
    struct rf_session_options *options; /* borrowed */
    struct rf_wire *wire;
    struct rf_wire_frames frames;
    struct rf_sockets *sockets;
    struct rf_kernel *kernel;
    struct rf_supervisor *supervisor;
    uv_signal_t signals[SIGNALS];
    uv_timer_t deadline, farewell;
    uv_prepare_t prepare;
    uv_poll_t parent; /* a pidfd of the process that started us */
    int parent_fd;
    bool cut; /* output is being left out, and the reader was told */
    bool shutdown_asked; /* by a client; else a cell called exit() */
    bool stopping;
    uint64_t dropped[RF_WIRE_DROPS];
    struct rf_error error;
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

static int deliver(struct session *s, const struct rf_wire_out *out, bool essential)
{
    int r = rf_wire_encode(s->wire, out, realtime_us(), &s->frames);
    if (r) {
        rf_log(RF_LOG_ERROR, "session", "a %s message could not be made: %s", out->msg_type,
               strerror(-r));
        return 0;
    }
    size_t before = out->n_identities; /* they come first in the frames */
    return rf_sockets_send(s->sockets, out->channel, s->frames.frames, before,
                           s->frames.frames + before, s->frames.n - before, essential);
}

static void tell_of_cut(struct session *s, const struct rf_wire_out *left_out)
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
    rf_log(RF_LOG_WARN, "session", "output is left out: the spool is full (--spool-max)");
    deliver(s, &notice, true);
}

static void on_send(void *ctx, const struct rf_wire_out *out)
{
    struct session *s = ctx;
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
    struct session *s = ctx;
    rf_supervisor_worker(s->supervisor, type, request_id, parts, n_parts);
}

static void on_interrupt(void *ctx)
{
    struct session *s = ctx;
    rf_supervisor_interrupt(s->supervisor);
}

static void stop(struct session *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    rf_supervisor_stop(s->supervisor);
}

static void on_farewell(uv_timer_t *timer)
{
    stop(timer->data);
}

/* For a restart, too: the client starts a new process. */
static void on_shutdown(void *ctx, bool restart)
{
    struct session *s = ctx;
    if (s->shutdown_asked)
        stop(s);
    else
        uv_timer_start(&s->farewell, on_farewell, FAREWELL_MS, 0);
}

static void on_flush(void *ctx)
{
    struct session *s = ctx;
    rf_sockets_flush(s->sockets);
}

static void on_rested(void *ctx, int64_t run_us, size_t waiting)
{
    struct session *s = ctx;
    rf_supervisor_rested(s->supervisor, run_us, waiting);
}

static void on_kill(void *ctx, const char *why)
{
    struct session *s = ctx;
    rf_supervisor_kill(s->supervisor, why);
}

static const char *on_notice(void *ctx)
{
    struct session *s = ctx;
    return rf_supervisor_notice(s->supervisor);
}

static void on_order(void *ctx, enum rf_order order, struct rf_bytes name, bool in_cell)
{
    struct session *s = ctx;
    rf_supervisor_order(s->supervisor, order, name, in_cell);
}

static void on_checkpoints(void *ctx, struct rf_buf *to)
{
    struct session *s = ctx;
    rf_supervisor_list_checkpoints(s->supervisor, to);
}

static bool on_answer(void *ctx, uint64_t id, const struct rf_bytes *parts, size_t n_parts)
{
    struct session *s = ctx;
    return rf_supervisor_answer(s->supervisor, id, parts, n_parts);
}

static const struct rf_kernel_ops kernel_ops = {on_send,  on_worker, on_interrupt, on_shutdown,
                                                on_rested, on_flush, on_kill,      on_notice,
                                                on_order, on_checkpoints,
                                                on_answer};

/* --- incoming --- */

static void on_message(void *ctx, enum rf_channel channel, const struct rf_bytes *frames, size_t n)
{
    struct session *s = ctx;
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
    if (s->shutdown_asked && uv_is_active((uv_handle_t *)&s->farewell))
        stop(s);
}

static void on_subscribe(void *ctx, struct rf_bytes topic)
{
    struct session *s = ctx;
    if (s->kernel)
        rf_kernel_on_subscribe(s->kernel, topic);
}

static void on_cut(void *ctx, enum rf_channel channel, const char *why)
{
    static const char *const names[RF_CHANNELS] = {"shell", "control", "stdin", "iopub", "hb"};
    rf_log(RF_LOG_WARN, "zmq", "a client of %s was cut off: %s", names[channel], why);
}

static const struct rf_sockets_events socket_events = {on_message, on_subscribe, on_cut};

/* --- the loop's other events --- */

static void on_failed(void *ctx, const struct rf_error *why)
{
    struct session *s = ctx;
    rf_error_set(&s->error, why->code ? why->code : -EIO, "%s", why->text);
    stop(s);
}

/* What the banner says of the sandbox, once it is known. */
static void on_made(void *ctx)
{
    struct session *s = ctx;
    const char *profile = s->options->limits.profile, *note = s->options->note;
    struct rf_buf text = {0}, lost = {0};
    rf_supervisor_lost_layers(s->supervisor, &lost);
    rf_buf_add(&lost, "", 1);
    rf_buf_printf(&text, "Ringfence " RF_VERSION ", sandbox: profile %s%s%s%s%s", profile,
                  lost.len > 1 ? "; this machine denies: " : "", lost.len > 1 ? (char *)lost.data : "",
                  note[0] ? "; " : "", note);
    rf_buf_add(&text, "", 1);
    if (rf_buf_ok(&text) && rf_buf_ok(&lost)) {
        rf_kernel_set_note(s->kernel, (const char *)text.data);
        rf_log(RF_LOG_INFO, "session", "%s", (const char *)text.data);
    }
    rf_buf_deinit(&lost);
    rf_buf_deinit(&text);
}

static void close_handles(struct session *s)
{
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
    uv_close((uv_handle_t *)&s->farewell, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
    if (s->parent_fd >= 0)
        uv_close((uv_handle_t *)&s->parent, NULL);
}

static void on_stopped(void *ctx)
{
    struct session *s = ctx;
    if (s->sockets)
        rf_sockets_close(s->sockets, LINGER_MS);
    rf_supervisor_free(s->supervisor);
    close_handles(s);
}

static const struct rf_supervisor_events supervisor_events = {on_made, on_failed, on_stopped};

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *s = handle->data;
    if (number == SIGINT && s->kernel)
        rf_kernel_interrupt(s->kernel);
    else if (number == SIGTERM)
        stop(s);
    else
        while (waitpid(-1, NULL, WNOHANG) > 0) /* zygotes that we started */
            ;
}

static void on_parent_end(uv_poll_t *poll, int status, int events)
{
    struct session *s = poll->data;
    uv_poll_stop(poll);
    rf_log(RF_LOG_WARN, "session", "the process that started this kernel has ended");
    stop(s);
}

static void on_deadline(uv_timer_t *timer)
{
    struct session *s = timer->data;
    rf_kernel_on_time(s->kernel, monotonic_us());
}

/* Before the loop waits: until when at the longest? */
static void on_prepare(uv_prepare_t *prepare)
{
    struct session *s = prepare->data;
    int64_t deadline = s->kernel ? rf_kernel_deadline(s->kernel) : INT64_MAX;
    if (deadline == INT64_MAX || s->stopping) {
        uv_timer_stop(&s->deadline);
        return;
    }
    int64_t left = deadline - monotonic_us();
    uv_update_time(s->loop);
    uv_timer_start(&s->deadline, on_deadline, left > 0 ? (uint64_t)(left + 999) / 1000 : 0, 0);
}

/* Clients put their pid into JPY_PARENT_PID so that a kernel ends with them. */
static void watch_parent(struct session *s)
{
    const char *text = getenv("JPY_PARENT_PID");
    char *end = NULL;
    long pid = text ? strtol(text, &end, 10) : 0;
    s->parent_fd = -1;
    if (pid <= 1 || *end || pid != getppid())
        return;
    s->parent_fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (s->parent_fd >= 0 && !uv_poll_init(s->loop, &s->parent, s->parent_fd)) {
        s->parent.data = s;
        uv_poll_start(&s->parent, UV_READABLE, on_parent_end);
    }
}

static void start_handles(struct session *s)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGCHLD};
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(s->loop, &s->deadline);
    s->deadline.data = s;
    uv_timer_init(s->loop, &s->farewell);
    s->farewell.data = s;
    uv_prepare_init(s->loop, &s->prepare);
    s->prepare.data = s;
    uv_prepare_start(&s->prepare, on_prepare);
    watch_parent(s);
}

/* --- making it --- */

static const char *kernel_id(const struct rf_session_options *options, char ret[64])
{
    const char *name = strrchr(options->connection_file, '/');
    name = name ? name + 1 : options->connection_file;
    if (!strncmp(name, "kernel-", 7))
        name += 7;
    int n = (int)strcspn(name, ".");
    snprintf(ret, 64, "%.*s", n < 63 ? n : 63, name);
    return options->connection.kernel_id[0] ? options->connection.kernel_id : ret;
}

static int make_wire(struct session *s, struct rf_error *err)
{
    unsigned char random[16];
    char session_id[33];
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(session_id, sizeof(session_id), random, sizeof(random));
    const struct rf_connection *c = &s->options->connection;
    struct rf_wire_options options = {.key = rf_bytes_str(c->key),
                                      .scheme = c->signature_scheme,
                                      .session = session_id,
                                      .username = "ringfence",
                                      .max_message = s->options->max_message};
    s->wire = rf_wire_new(&options, err);
    return s->wire ? 0 : err->code;
}

static int make_sockets(struct session *s, struct rf_error *err)
{
    struct rf_connection *c = &s->options->connection;
    struct rf_sockets_options options = {.max_message = s->options->max_message,
                                         .spool_max = s->options->spool_max,
                                         .heartbeat_s = s->options->heartbeat_s};
    s->sockets = rf_sockets_new(s->loop, c, &options, &socket_events, s, err);
    return s->sockets ? 0 : err->code;
}

/* Tells the launcher or the connection file which ports were chosen. */
static int announce(struct session *s, struct rf_error *err)
{
    struct rf_connection *c = &s->options->connection;
    if (c->registration)
        return rf_register(c, s->wire, REGISTRATION_TIMEOUT_MS, err);
    return rf_connection_save(s->options->connection_file, c, err);
}

static int make_kernel(struct session *s, struct rf_error *err)
{
    char id[64];
    const struct rf_connection *c = &s->options->connection;
    struct rf_kernel_options options = {
        .kernel_id = kernel_id(s->options, id),
        .implementation_version = RF_VERSION,
        .banner_note = "Ringfence " RF_VERSION,
        .limits = s->options->limits,
        .history_cells = s->options->history_cells,
        .ports = {c->shell_port, c->iopub_port, c->stdin_port, c->control_port, c->hb_port}};
    options.limits.born_us = monotonic_us();
    s->kernel = rf_kernel_new(&options, &kernel_ops, s);
    return s->kernel ? 0 : rf_error_errno(err, -ENOMEM, "cannot make the kernel");
}

/* What others can work on meanwhile comes first: the worker is forked while the
 * sockets are bound, and clients connect while the rest is made.  But a
 * connection file that is to be masked must not be replaced under its mask. */
static int make_all(struct session *s, struct rf_error *err)
{
    bool later = s->options->connection_first &&
                 !rf_connection_is_saved(s->options->connection_file, &s->options->connection);
    int r = later ? 0 : rf_supervisor_start(s->supervisor, err);
    if (!r)
        r = make_sockets(s, err);
    if (!r)
        r = make_wire(s, err);
    if (!r)
        r = announce(s, err);
    if (!r && later)
        r = rf_supervisor_start(s->supervisor, err);
    if (!r)
        r = make_kernel(s, err);
    if (!r)
        rf_supervisor_attach(s->supervisor, s->kernel);
    return r;
}

static int run(struct session *s, struct rf_error *err)
{
    s->supervisor = rf_supervisor_new(s->loop, &s->options->supervisor, &supervisor_events, s);
    if (!s->supervisor)
        return rf_error_errno(err, -ENOMEM, "cannot make the supervisor");
    start_handles(s);
    rf_log(RF_LOG_DEBUG, "session", "starting");
    int r = make_all(s, err);
    if (r)
        stop(s);
    else
        rf_kernel_start(s->kernel);
    rf_log(RF_LOG_DEBUG, "session", "the sockets are bound");
    uv_run(s->loop, UV_RUN_DEFAULT);
    if (s->error.code)
        rf_error_set(err, s->error.code, "%s", s->error.text);
    return err->code;
}

int rf_session_run(struct rf_session_options *options, struct rf_error *err)
{
    uv_loop_t loop;
    struct session s = {.loop = &loop, .options = options, .parent_fd = -1};
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0 || uv_loop_init(&loop)) {
        rf_error_set(err, -EIO, "the event loop or the random number generator does not start");
        return 1;
    }
    int r = run(&s, err);
    uv_loop_close(&loop);
    rf_kernel_free(s.kernel);
    rf_wire_frames_deinit(&s.frames);
    rf_wire_free(s.wire);
    if (s.parent_fd >= 0)
        close(s.parent_fd);
    return r ? 1 : 0;
}
