/* See sockets.h.
 *
 * Nine ZeroMQ sockets are read on the loop: the five channels and the monitors
 * of four of them (heartbeats need none).  Each is a `source`: a uv_poll on
 * its ZMQ_FD and a function that takes one message.  The descriptor is edge
 * triggered and sending eats the edge, so a source that may hold more is
 * `pending` and read again before the loop sleeps.
 *
 * Closing: handles and sockets are closed at once; the context ends in a
 * thread of libuv's pool, since it waits for what is still on its way.
 */
#include "gateway/zmq/sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <zmq.h>

#include "common/log.h"
#include "gateway/zmq/endpoint.h"
#include "gateway/zmq/iopub.h"
#include "gateway/zmq/peers.h"

#define DRAIN_BUDGET 64
#define FRAMES_MAX (RF_FRAMES_MAX + 16)
#define TICK_MS 1000
#define PRESSED_TICK_MS 250
#define PRESSED_STALL_MS 1000
#define PRESSED_LEAST_RATE (64u << 10) /* bytes per second */
#define FLOOD_MARGIN (1u << 20)        /* framing and the start of the next message */
#define SMALL_MESSAGE_MAX (1 << 20) /* heartbeats and subscriptions */

struct source {
    struct rf_sockets *owner;
    enum rf_channel channel;
    void *socket; /* borrowed from channels[] */
    void (*take)(struct source *source);
    uv_poll_t poll;
    bool pending;
};

struct channel {
    void *socket; /* owned */
    struct rf_endpoint endpoint;
    struct rf_peers *peers; /* owned; NULL: heartbeat */
};

struct rf_sockets {
    uv_loop_t *loop;
    void *context; /* owned */
    struct channel channels[RF_CHANNELS];
    struct source sources[2 * RF_CHANNELS];
    size_t n_sources;
    struct rf_iopub *iopub; /* owned */
    const struct rf_sockets_events *events;
    void *ctx;
    struct rf_sockets_options options;
    struct rf_sockets_stats stats;
    uv_prepare_t prepare; /* reads pending sources */
    uv_idle_t idle;       /* keeps the loop awake while there are any */
    uv_timer_t timer;
    uint64_t ticked_at, tick_ms;
    bool closing;
    unsigned open_parts; /* handles and the end of the context */
    uv_work_t end;
    zmq_msg_t parts[FRAMES_MAX];        /* scratch: of the message being received */
    struct rf_bytes frames[FRAMES_MAX]; /* scratch */
};

/* What the channels are.  A full queue of a ROUTER drops what would go to
 * that peer; the bounds are messages per peer. */
static const struct channel_kind {
    const char *name;
    int type, send_hwm, recv_hwm;
    bool is_watched; /* has peers */
    bool is_small;   /* messages of at most SMALL_MESSAGE_MAX bytes come in */
} kinds[RF_CHANNELS] = {
    [RF_SHELL] = {"shell", ZMQ_ROUTER, 1000, 100, true, false},
    [RF_CONTROL] = {"control", ZMQ_ROUTER, 1000, 100, true, false},
    [RF_STDIN] = {"stdin", ZMQ_ROUTER, 1000, 100, true, false},
    [RF_IOPUB] = {"iopub", ZMQ_XPUB, 0, 1000, true, true},
    [RF_HEARTBEAT] = {"hb", ZMQ_ROUTER, 16, 16, false, true},
};

static size_t max_message(const struct rf_sockets *sockets)
{
    return sockets->options.max_message;
}

static void report_cut(struct rf_sockets *sockets, enum rf_channel channel, const char *why)
{
    rf_log(RF_LOG_WARN, "zmq", "%s: %s", kinds[channel].name, why);
    if (sockets->events->on_cut && !sockets->closing)
        sockets->events->on_cut(sockets->ctx, channel, why);
}

static void report_large(struct rf_sockets *sockets, enum rf_channel channel)
{
    char why[128];
    sockets->stats.cut_large++;
    snprintf(why, sizeof(why), "a message over %zu bytes: its sender was disconnected",
             kinds[channel].is_small ? (size_t)SMALL_MESSAGE_MAX : max_message(sockets));
    report_cut(sockets, channel, why);
}

static void report_slow(struct rf_sockets *sockets, size_t n)
{
    for (; n && !sockets->closing; n--) {
        sockets->stats.cut_slow++;
        report_cut(sockets, RF_IOPUB, "a subscriber that does not read was disconnected");
    }
}

/* Reading. */

static void on_idle(uv_idle_t *idle)
{
}

static void on_prepare(uv_prepare_t *prepare);

static void set_pending(struct source *source)
{
    struct rf_sockets *sockets = source->owner;
    source->pending = true;
    if (!sockets->closing && !uv_is_active((uv_handle_t *)&sockets->prepare))
        uv_prepare_start(&sockets->prepare, on_prepare);
}

static bool is_readable(void *socket)
{
    int events = 0;
    size_t len = sizeof(events);
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len) == 0 && (events & ZMQ_POLLIN);
}

static void drain(struct source *source)
{
    source->pending = false;
    for (int budget = DRAIN_BUDGET; !source->owner->closing && is_readable(source->socket);) {
        if (budget-- == 0) {
            set_pending(source);
            return;
        }
        source->take(source);
    }
}

static bool has_pending(const struct rf_sockets *sockets)
{
    for (size_t i = 0; i < sockets->n_sources; i++)
        if (sockets->sources[i].pending)
            return true;
    return false;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct rf_sockets *sockets = prepare->data;
    for (size_t i = 0; i < sockets->n_sources; i++)
        if (sockets->sources[i].pending)
            drain(&sockets->sources[i]);
    if (sockets->closing)
        return;
    if (has_pending(sockets)) { /* a budget ran out, or an answer was sent */
        uv_idle_start(&sockets->idle, on_idle);
    } else {
        uv_idle_stop(&sockets->idle);
        uv_prepare_stop(&sockets->prepare);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    drain(poll->data);
}

/* Receives one message into the scratch tables.  Returns the number of its
 * frames, 0 if it was over a limit (then it is dropped) or none is there. */
static size_t receive(struct rf_sockets *sockets, struct source *source, bool *ret_too_large,
                      int *ret_fd)
{
    size_t n = 0, total = 0;
    bool more = true, keep = true;
    *ret_fd = -1;
    while (more) {
        zmq_msg_t *part = &sockets->parts[n];
        zmq_msg_init(part);
        if (zmq_msg_recv(part, source->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(part);
            keep = false;
            break;
        }
        more = zmq_msg_more(part);
        if (*ret_fd < 0)
            *ret_fd = zmq_msg_get(part, ZMQ_SRCFD);
        struct rf_bytes frame = {zmq_msg_data(part), zmq_msg_size(part)};
        total += frame.len;
        if (total > max_message(sockets) || n == FRAMES_MAX - 1) {
            *ret_too_large = true;
            keep = false;
        }
        if (keep)
            sockets->frames[n++] = frame;
        else
            zmq_msg_close(part);
    }
    if (keep)
        return n;
    while (n-- > 0)
        zmq_msg_close(&sockets->parts[n]);
    return 0;
}

static void take_request(struct source *source)
{
    struct rf_sockets *sockets = source->owner;
    struct rf_peers *peers = sockets->channels[source->channel].peers;
    bool too_large = false;
    int fd;
    size_t n = receive(sockets, source, &too_large, &fd);
    if (fd >= 0)
        rf_peers_spoke(peers, fd);
    if (too_large) {
        rf_peers_cut(peers, fd);
        report_large(sockets, source->channel);
    }
    if (!n)
        return;
    sockets->stats.received++;
    sockets->events->on_message(sockets->ctx, source->channel, sockets->frames, n);
    for (size_t i = 0; i < n; i++)
        zmq_msg_close(&sockets->parts[i]);
}

static void take_subscription(struct source *source)
{
    struct rf_sockets *sockets = source->owner;
    bool too_large = false;
    int fd;
    size_t n = receive(sockets, source, &too_large, &fd);
    const struct rf_bytes *frame = sockets->frames;
    if (n == 1 && frame->len && frame->data[0] == 1 && sockets->events->on_subscribe)
        sockets->events->on_subscribe(sockets->ctx,
                                      (struct rf_bytes){frame->data + 1, frame->len - 1});
    for (size_t i = 0; i < n; i++)
        zmq_msg_close(&sockets->parts[i]);
}

/* Echoes what came, identity and all. */
static void take_heartbeat(struct source *source)
{
    struct rf_sockets *sockets = source->owner;
    bool too_large = false;
    int fd;
    size_t n = receive(sockets, source, &too_large, &fd);
    for (size_t i = 0; i < n; i++)
        if (zmq_msg_send(&sockets->parts[i], source->socket,
                         ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0)) < 0)
            zmq_msg_close(&sockets->parts[i]);
}

static void schedule_tick(struct rf_sockets *sockets, uint64_t tick_ms);

static void take_news(struct source *source)
{
    struct rf_sockets *sockets = source->owner;
    switch (rf_peers_take(sockets->channels[source->channel].peers)) {
    case RF_PEERS_JOINED:
        if (!sockets->tick_ms)
            schedule_tick(sockets, TICK_MS);
        break;
    case RF_PEERS_BROKE:
        report_large(sockets, source->channel);
        break;
    case RF_PEERS_NONE:
    case RF_PEERS_LEFT:
        break;
    }
}

/* Watching. */

static void watch_subscribers(struct rf_sockets *sockets, int elapsed_ms, bool pressed)
{
    struct rf_peers *peers = sockets->channels[RF_IOPUB].peers;
    rf_iopub_trim(sockets->iopub);
    if (!rf_iopub_waiting(sockets->iopub)) {
        rf_peers_all_moved(peers);
        return;
    }
    struct rf_peers_rule rule = {.elapsed_ms = elapsed_ms, .stall_ms = sockets->options.stall_ms};
    if (pressed) {
        rule.least_rate = PRESSED_LEAST_RATE;
        if (rule.stall_ms > PRESSED_STALL_MS)
            rule.stall_ms = PRESSED_STALL_MS;
    }
    report_slow(sockets, rf_peers_cut_stalled(peers, &rule));
}

static void watch_floods(struct rf_sockets *sockets)
{
    for (int i = 0; i < RF_CHANNELS && !sockets->closing; i++) {
        if (i == RF_IOPUB || !sockets->channels[i].peers)
            continue;
        size_t n = rf_peers_cut_floods(sockets->channels[i].peers,
                                       (uint64_t)max_message(sockets) + FLOOD_MARGIN);
        for (; n && !sockets->closing; n--)
            report_large(sockets, i);
    }
}

static bool has_peers(struct rf_sockets *sockets)
{
    for (int i = 0; i < RF_CHANNELS; i++)
        if (sockets->channels[i].peers && rf_peers_count(sockets->channels[i].peers))
            return true;
    return false;
}

/* Runs while someone is connected: nothing else tells of one who does
 * nothing, or who sends a message without an end. */
static void on_tick(uv_timer_t *timer)
{
    struct rf_sockets *sockets = timer->data;
    uint64_t now = uv_now(sockets->loop), elapsed = now - sockets->ticked_at;
    sockets->ticked_at = now;
    /* after a stop (SIGSTOP, a loaded machine) nobody had that time to read */
    if (elapsed > 2 * sockets->tick_ms)
        elapsed = 2 * sockets->tick_ms;
    bool pressed = rf_iopub_is_pressed(sockets->iopub);
    for (int i = 0; i < RF_CHANNELS; i++)
        if (sockets->channels[i].peers)
            rf_peers_sweep(sockets->channels[i].peers);
    watch_subscribers(sockets, (int)elapsed, pressed);
    watch_floods(sockets);
    if (sockets->closing)
        return;
    if (!has_peers(sockets) && !rf_iopub_waiting(sockets->iopub)) {
        rf_iopub_trim(sockets->iopub);
        schedule_tick(sockets, 0);
    } else if (!pressed && sockets->tick_ms != TICK_MS) {
        schedule_tick(sockets, TICK_MS);
    }
}

static void schedule_tick(struct rf_sockets *sockets, uint64_t tick_ms)
{
    if (sockets->closing)
        return;
    uint64_t most = (uint64_t)sockets->options.stall_ms / 4 + 1;
    sockets->tick_ms = tick_ms;
    sockets->ticked_at = uv_now(sockets->loop);
    if (tick_ms) {
        uint64_t period = tick_ms < most ? tick_ms : most;
        uv_timer_start(&sockets->timer, on_tick, period, period);
    } else {
        uv_timer_stop(&sockets->timer);
    }
}

/* Sending. */

static void send_frame(void *socket, struct rf_bytes frame, bool more)
{
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, frame.len))
        return; /* out of memory: the peer gets a message with a hole, and drops it */
    if (frame.len)
        memcpy(zmq_msg_data(&part), frame.data, frame.len);
    if (zmq_msg_send(&part, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0)
        zmq_msg_close(&part);
}

static int publish(struct rf_sockets *sockets, const struct rf_iopub_message *message)
{
    int r = rf_iopub_send(sockets->iopub, message);
    if (r == -ENOBUFS && sockets->tick_ms != PRESSED_TICK_MS)
        schedule_tick(sockets, PRESSED_TICK_MS);
    return r;
}

int rf_sockets_send(struct rf_sockets *sockets, enum rf_channel channel,
                    const struct rf_bytes *identities, size_t n_identities,
                    const struct rf_bytes *frames, size_t n, bool essential)
{
    if (sockets->closing)
        return 0;
    int r = 0;
    if (channel == RF_IOPUB) {
        struct rf_iopub_message message = {
            .topics = identities, .n_topics = n_identities, .frames = frames, .n = n,
            .essential = essential,
            .subscribers = rf_peers_count(sockets->channels[RF_IOPUB].peers),
        };
        r = publish(sockets, &message);
    } else {
        void *socket = sockets->channels[channel].socket;
        for (size_t i = 0; i < n_identities; i++)
            send_frame(socket, identities[i], i + 1 < n_identities || n);
        for (size_t i = 0; i < n; i++)
            send_frame(socket, frames[i], i + 1 < n);
    }
    if (!r)
        sockets->stats.sent++;
    set_pending(&sockets->sources[channel]);
    return r;
}

void rf_sockets_stats(const struct rf_sockets *sockets, struct rf_sockets_stats *ret)
{
    *ret = sockets->stats;
    ret->spool_bytes = rf_iopub_waiting(sockets->iopub);
}

/* Opening. */

struct option {
    int name, value;
};

static int set_options(void *socket, const struct option *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)))
            return -zmq_errno();
    return 0;
}

static int configure(struct rf_sockets *sockets, enum rf_channel channel)
{
    const struct channel_kind *kind = &kinds[channel];
    void *socket = sockets->channels[channel].socket;
    /* LINGER 0 until the end: libzmq keeps the queue of a lost peer for so
     * long.  Keep-alives find peers whose machine went away; ZMTP's own
     * heartbeats only where they are asked for, since a PING ends the
     * connection of clients that are built on zmq.rs. */
    const struct option common[] = {
        {ZMQ_LINGER, 0},         {ZMQ_SNDHWM, kind->send_hwm},   {ZMQ_RCVHWM, kind->recv_hwm},
        {ZMQ_TCP_KEEPALIVE, 1},  {ZMQ_TCP_KEEPALIVE_IDLE, 30},   {ZMQ_TCP_KEEPALIVE_INTVL, 10},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
    };
    const struct option router[] = {{ZMQ_ROUTER_HANDOVER, 1}};
    const struct option xpub[] = {{ZMQ_XPUB_VERBOSE, 1}, {ZMQ_XPUB_NODROP, 1}};
    int beat_ms = sockets->options.heartbeat_s * 1000;
    const struct option heartbeat[] = {{ZMQ_HEARTBEAT_IVL, beat_ms},
                                       {ZMQ_HEARTBEAT_TIMEOUT, 3 * beat_ms},
                                       {ZMQ_HEARTBEAT_TTL, 3 * beat_ms}};
    int64_t most = kind->is_small ? SMALL_MESSAGE_MAX : (int64_t)max_message(sockets);
    int r = set_options(socket, common, sizeof(common) / sizeof(*common));
    if (!r && zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)))
        r = -zmq_errno();
    if (!r && beat_ms)
        r = set_options(socket, heartbeat, 3);
    if (!r && kind->type == ZMQ_ROUTER)
        r = set_options(socket, router, 1);
    if (!r && kind->type == ZMQ_XPUB)
        r = set_options(socket, xpub, 2);
    return r;
}

static int open_channel(struct rf_sockets *sockets, enum rf_channel channel)
{
    struct channel *c = &sockets->channels[channel];
    c->endpoint.channel = kinds[channel].name;
    c->socket = zmq_socket(sockets->context, kinds[channel].type);
    if (!c->socket)
        return -zmq_errno();
    if (kinds[channel].is_watched) {
        c->peers = rf_peers_new(sockets->context, c->socket, kinds[channel].name);
        if (!c->peers)
            return -errno;
    }
    return configure(sockets, channel);
}

static int *port_of(struct rf_connection *conn, enum rf_channel channel)
{
    int *const ports[RF_CHANNELS] = {
        [RF_SHELL] = &conn->shell_port, [RF_CONTROL] = &conn->control_port,
        [RF_STDIN] = &conn->stdin_port, [RF_IOPUB] = &conn->iopub_port,
        [RF_HEARTBEAT] = &conn->hb_port,
    };
    return ports[channel];
}

/* Given ports first: a chosen one could be one of them. */
static int bind_all(struct rf_sockets *sockets, struct rf_connection *conn, struct rf_error *err)
{
    for (int given = 1; given >= 0; given--) {
        for (int i = 0; i < RF_CHANNELS; i++) {
            struct channel *c = &sockets->channels[i];
            if ((*port_of(conn, i) != 0) != given)
                continue;
            c->endpoint.port = *port_of(conn, i);
            int r = rf_endpoint_bind(&c->endpoint, c->socket, conn, err);
            if (r)
                return r;
        }
    }
    for (int i = 0; i < RF_CHANNELS; i++)
        *port_of(conn, i) = sockets->channels[i].endpoint.port;
    if (!rf_endpoint_is_local(conn))
        rf_log(RF_LOG_WARN, "zmq", "the kernel listens on %s, which other machines may reach; "
               "messages are signed but not encrypted", conn->ip);
    return 0;
}

static int open_all(struct rf_sockets *sockets, struct rf_connection *conn, struct rf_error *err)
{
    sockets->context = zmq_ctx_new();
    if (!sockets->context)
        return rf_error_errno(err, -zmq_errno(), "cannot start ZeroMQ");
    zmq_ctx_set(sockets->context, ZMQ_IO_THREADS, 1);
    for (int i = 0; i < RF_CHANNELS; i++) {
        int r = open_channel(sockets, i);
        if (r)
            return rf_error_set(err, r, "cannot make the %s socket: %s", kinds[i].name,
                                zmq_strerror(-r));
    }
    sockets->iopub = rf_iopub_new(sockets->channels[RF_IOPUB].socket, sockets->options.spool_max);
    if (!sockets->iopub)
        return rf_error_errno(err, -ENOMEM, "cannot make the iopub spool");
    return bind_all(sockets, conn, err);
}

static int add_source(struct rf_sockets *sockets, enum rf_channel channel, void *socket,
                      void (*take)(struct source *))
{
    int fd;
    size_t len = sizeof(fd);
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &len))
        return -zmq_errno();
    struct source *source = &sockets->sources[sockets->n_sources];
    *source = (struct source){
        .owner = sockets, .channel = channel, .socket = socket, .take = take};
    int r = uv_poll_init(sockets->loop, &source->poll, fd);
    if (r)
        return r;
    source->poll.data = source;
    sockets->n_sources++;
    sockets->open_parts++;
    set_pending(source); /* what came before the first wait made no edge */
    return uv_poll_start(&source->poll, UV_READABLE, on_poll);
}

/* sources[channel] is the channel's own; the monitors follow. */
static int start_loop(struct rf_sockets *sockets)
{
    static void (*const take[RF_CHANNELS])(struct source *) = {
        [RF_SHELL] = take_request,       [RF_CONTROL] = take_request, [RF_STDIN] = take_request,
        [RF_IOPUB] = take_subscription, [RF_HEARTBEAT] = take_heartbeat,
    };
    uv_prepare_init(sockets->loop, &sockets->prepare);
    uv_idle_init(sockets->loop, &sockets->idle);
    uv_timer_init(sockets->loop, &sockets->timer);
    sockets->prepare.data = sockets->idle.data = sockets->timer.data = sockets;
    sockets->open_parts = 3;
    int r = 0;
    for (int i = 0; !r && i < RF_CHANNELS; i++)
        r = add_source(sockets, i, sockets->channels[i].socket, take[i]);
    for (int i = 0; !r && i < RF_CHANNELS; i++)
        if (sockets->channels[i].peers)
            r = add_source(sockets, i, rf_peers_monitor(sockets->channels[i].peers), take_news);
    return r;
}

/* Closing. */

static void close_zmq_sockets(struct rf_sockets *sockets, int linger_ms)
{
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *c = &sockets->channels[i];
        rf_endpoint_unlink(&c->endpoint);
        c->peers = rf_peers_free(c->peers);
        if (!c->socket)
            continue;
        zmq_setsockopt(c->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
        zmq_close(c->socket);
        c->socket = NULL;
    }
}

static void end_context(struct rf_sockets *sockets)
{
    if (sockets->context)
        while (zmq_ctx_term(sockets->context) && zmq_errno() == EINTR)
            ;
}

static void free_all(struct rf_sockets *sockets)
{
    rf_iopub_free(sockets->iopub);
    free(sockets);
}

static void part_closed(struct rf_sockets *sockets)
{
    if (--sockets->open_parts == 0)
        free_all(sockets);
}

static void on_source_closed(uv_handle_t *handle)
{
    part_closed(((struct source *)handle->data)->owner);
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void end_in_thread(uv_work_t *work)
{
    end_context(work->data);
}

static void on_ended(uv_work_t *work, int status)
{
    part_closed(work->data);
}

void rf_sockets_close(struct rf_sockets *sockets, int linger_ms)
{
    if (!sockets || sockets->closing)
        return;
    sockets->closing = true;
    for (size_t i = 0; i < sockets->n_sources; i++)
        uv_close((uv_handle_t *)&sockets->sources[i].poll, on_source_closed);
    uv_close((uv_handle_t *)&sockets->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&sockets->idle, on_handle_closed);
    uv_close((uv_handle_t *)&sockets->timer, on_handle_closed);
    close_zmq_sockets(sockets, linger_ms < 0 ? 0 : linger_ms);
    sockets->open_parts++;
    sockets->end.data = sockets;
    uv_queue_work(sockets->loop, &sockets->end, end_in_thread, on_ended);
}

static struct rf_sockets *allocate(uv_loop_t *loop, const struct rf_sockets_options *options,
                                   const struct rf_sockets_events *events, void *ctx)
{
    struct rf_sockets *sockets = calloc(1, sizeof(*sockets));
    if (!sockets)
        return NULL;
    sockets->loop = loop;
    sockets->events = events;
    sockets->ctx = ctx;
    if (options)
        sockets->options = *options;
    if (!sockets->options.max_message)
        sockets->options.max_message = RF_MESSAGE_MAX_DEFAULT;
    if (sockets->options.stall_ms <= 0)
        sockets->options.stall_ms = RF_SUBSCRIBER_STALL_MS;
    return sockets;
}

struct rf_sockets *rf_sockets_new(uv_loop_t *loop, struct rf_connection *conn,
                                  const struct rf_sockets_options *options,
                                  const struct rf_sockets_events *events, void *ctx,
                                  struct rf_error *err)
{
    struct rf_sockets *sockets = allocate(loop, options, events, ctx);
    if (!sockets) {
        rf_error_errno(err, -ENOMEM, "cannot make the kernel's sockets");
        return NULL;
    }
    if (open_all(sockets, conn, err)) {
        close_zmq_sockets(sockets, 0);
        end_context(sockets);
        free_all(sockets);
        return NULL;
    }
    int r = start_loop(sockets);
    if (r) {
        rf_error_errno(err, r, "cannot watch the kernel's sockets");
        rf_sockets_close(sockets, 0);
        return NULL;
    }
    return sockets;
}
