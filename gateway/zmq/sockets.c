/* See sockets.h.
 *
 * Five listening sockets, each with its peers.  What is sent goes to outboxes
 * and leaves before the loop sleeps (`prepare`) or is flushed, so that what belongs
 * together leaves in one system call: replies first, then what is published.
 *
 * Closing: listeners at once, peers when what waits for them is sent or the
 * time is over.
 */
#include "gateway/zmq/sockets.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "gateway/zmq/endpoint.h"
#include "gateway/zmq/peer.h"

#define FRAMES_MAX (RF_FRAMES_MAX + 16)
#define SCRATCH_SIZE 65536
#define BACKLOG 100
#define TICK_MS 1000
#define PRESSED_TICK_MS 250
#define PRESSED_STALL_MS 1000
#define PRESSED_LEAST_RATE (64u << 10) /* bytes per second */
#define SMALL_MESSAGE_MAX (1u << 20)   /* heartbeats and subscriptions */

struct channel {
    struct rf_sockets *owner;
    enum rf_channel name;
    struct rf_endpoint endpoint;
    union {
        uv_stream_t listener;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct rf_peer_options options;
    struct rf_peer **peers; /* owned table; a peer frees itself */
    size_t n, room;
    bool is_dirty; /* something may wait to be sent */
};

struct rf_sockets {
    uv_loop_t *loop;
    struct channel channels[RF_CHANNELS];
    struct rf_outbox *published; /* owned */
    const struct rf_sockets_events *events;
    void *ctx;
    struct rf_sockets_options options;
    struct rf_sockets_stats stats;
    uv_prepare_t prepare;
    uv_timer_t timer; /* the tick; when closing, the end of the time */
    uint64_t ticked_at, tick_ms;
    uint32_t named; /* peers that were given an identity */
    bool closing;
    unsigned open_parts; /* handles and peers */
    char scratch[SCRATCH_SIZE]; /* from here on nothing is zeroed: it is written before it is read */
    struct rf_bytes frames[FRAMES_MAX];
};

static const char *const names[RF_CHANNELS] = {
    [RF_SHELL] = "shell", [RF_CONTROL] = "control", [RF_STDIN] = "stdin",
    [RF_IOPUB] = "iopub", [RF_HEARTBEAT] = "hb",
};

static bool is_small(enum rf_channel channel)
{
    return channel == RF_IOPUB || channel == RF_HEARTBEAT;
}

/* --- sending --- */

void rf_sockets_flush(struct rf_sockets *sockets)
{
    uv_prepare_stop(&sockets->prepare);
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *channel = &sockets->channels[i];
        if (!channel->is_dirty)
            continue;
        channel->is_dirty = false;
        for (size_t at = channel->n; at-- > 0;)
            if (at < channel->n) /* one may have ended */
                rf_peer_pump(channel->peers[at]);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    rf_sockets_flush(prepare->data);
}

static void set_dirty(struct channel *channel)
{
    channel->is_dirty = true;
    if (!uv_is_active((uv_handle_t *)&channel->owner->prepare))
        uv_prepare_start(&channel->owner->prepare, on_prepare);
}

static struct rf_peer *find_peer(const struct channel *channel, struct rf_bytes identity)
{
    for (size_t i = 0; i < channel->n; i++)
        if (rf_bytes_eq(rf_peer_identity(channel->peers[i]), identity))
            return channel->peers[i];
    return NULL;
}

/* To the peer of the first identity; to nobody when it is gone. */
static int route(struct channel *channel, const struct rf_bytes *identities, size_t n_identities,
                 const struct rf_bytes *frames, size_t n)
{
    struct rf_peer *peer = n_identities ? find_peer(channel, identities[0]) : NULL;
    return peer ? rf_peer_send(peer, identities + 1, n_identities - 1, frames, n) : 0;
}

static void schedule_tick(struct rf_sockets *sockets, uint64_t tick_ms);

int rf_sockets_send(struct rf_sockets *sockets, enum rf_channel channel,
                    const struct rf_bytes *identities, size_t n_identities,
                    const struct rf_bytes *frames, size_t n, bool essential)
{
    if (sockets->closing)
        return 0;
    struct channel *c = &sockets->channels[channel];
    int r = channel == RF_IOPUB ? rf_outbox_add(sockets->published, identities, n_identities,
                                                frames, n, essential)
                                : route(c, identities, n_identities, frames, n);
    if (!r)
        sockets->stats.sent++;
    else if (r == -ENOBUFS && channel == RF_IOPUB && sockets->tick_ms != PRESSED_TICK_MS)
        schedule_tick(sockets, PRESSED_TICK_MS);
    set_dirty(c);
    return channel == RF_IOPUB ? r : 0;
}

void rf_sockets_stats(const struct rf_sockets *sockets, struct rf_sockets_stats *ret)
{
    *ret = sockets->stats;
    ret->spool_bytes = rf_outbox_waiting(sockets->published);
}

/* --- peers --- */

/* A new peer with the identity of another takes its place (ROUTER_HANDOVER). */
static bool on_ready(void *ctx, struct rf_peer *peer)
{
    struct channel *channel = ctx;
    struct rf_bytes identity = rf_peer_identity(peer);
    if (channel->name == RF_IOPUB)
        return true;
    if (!identity.len) { /* RFC 28: five bytes that begin with 0 */
        uint32_t number = ++channel->owner->named;
        uint8_t made[5] = {0, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
                           (uint8_t)(number >> 8), (uint8_t)number};
        return !rf_peer_set_identity(peer, (struct rf_bytes){made, sizeof(made)});
    }
    for (size_t i = 0; i < channel->n; i++) {
        struct rf_peer *other = channel->peers[i];
        if (other != peer && rf_bytes_eq(rf_peer_identity(other), identity)) {
            rf_peer_end(other, RF_PEER_CLOSED);
            break;
        }
    }
    return true;
}

static void on_message(void *ctx, struct rf_peer *peer, const struct rf_bytes *frames, size_t n)
{
    struct channel *channel = ctx;
    struct rf_sockets *sockets = channel->owner;
    struct rf_bytes with_identity[FRAMES_MAX + 1];
    if (sockets->closing)
        return;
    with_identity[0] = rf_peer_identity(peer);
    memcpy(with_identity + 1, frames, n * sizeof(*frames));
    if (channel->name == RF_HEARTBEAT) {
        rf_peer_send(peer, NULL, 0, frames, n);
        set_dirty(channel);
        return;
    }
    sockets->stats.received++;
    sockets->events->on_message(sockets->ctx, channel->name, with_identity, n + 1);
}

static void on_subscribe(void *ctx, struct rf_peer *peer, struct rf_bytes topic)
{
    struct channel *channel = ctx;
    struct rf_sockets *sockets = channel->owner;
    if (!sockets->closing && sockets->events->on_subscribe)
        sockets->events->on_subscribe(sockets->ctx, topic);
}

static void report_cut(struct channel *channel, enum rf_peer_end why)
{
    struct rf_sockets *sockets = channel->owner;
    char text[128] = "a subscriber that does not read was disconnected";
    if (why == RF_PEER_SLOW)
        sockets->stats.cut_slow++;
    else
        sockets->stats.cut_large++;
    if (why == RF_PEER_LARGE)
        snprintf(text, sizeof(text), "a message over %zu bytes: its sender was disconnected",
                 channel->options.message_max);
    else if (channel->name != RF_IOPUB)
        snprintf(text, sizeof(text), "a client that does not read was disconnected");
    rf_log(RF_LOG_WARN, "zmq", "%s: %s", names[channel->name], text);
    if (sockets->events->on_cut && !sockets->closing)
        sockets->events->on_cut(sockets->ctx, channel->name, text);
}

static void on_end(void *ctx, struct rf_peer *peer, enum rf_peer_end why)
{
    struct channel *channel = ctx;
    for (size_t i = 0; i < channel->n; i++) {
        if (channel->peers[i] == peer) {
            channel->peers[i] = channel->peers[--channel->n];
            break;
        }
    }
    if (why == RF_PEER_LARGE || why == RF_PEER_SLOW)
        report_cut(channel, why);
    else if (why == RF_PEER_BROKE || why == RF_PEER_SILENT)
        rf_log(RF_LOG_INFO, "zmq", "%s: a connection was closed: %s", names[channel->name],
               why == RF_PEER_BROKE ? "no ZMTP 3 of a fitting socket" : "nothing comes from it");
}

static void part_closed(struct rf_sockets *sockets)
{
    if (--sockets->open_parts)
        return;
    for (int i = 0; i < RF_CHANNELS; i++)
        free(sockets->channels[i].peers);
    rf_outbox_free(sockets->published);
    free(sockets);
}

static bool has_peers(const struct rf_sockets *sockets)
{
    for (int i = 0; i < RF_CHANNELS; i++)
        if (sockets->channels[i].n)
            return true;
    return false;
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

/* Closing: the time need not run to its end when nobody is left. */
static void end_early(struct rf_sockets *sockets)
{
    if (sockets->closing && !has_peers(sockets) && !uv_is_closing((uv_handle_t *)&sockets->timer))
        uv_close((uv_handle_t *)&sockets->timer, on_handle_closed);
}

static void on_freed(void *ctx)
{
    struct rf_sockets *sockets = ((struct channel *)ctx)->owner;
    end_early(sockets);
    part_closed(sockets);
}

static const struct rf_peer_events peer_events = {on_ready, on_message, on_subscribe, on_end,
                                                  on_freed};

static bool make_room(struct channel *channel)
{
    if (channel->n < channel->room)
        return true;
    size_t room = channel->room ? 2 * channel->room : 4;
    struct rf_peer **peers = realloc(channel->peers, room * sizeof(struct rf_peer *));
    if (!peers)
        return false;
    channel->peers = peers;
    channel->room = room;
    return true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct channel *channel = listener->data;
    struct rf_sockets *sockets = channel->owner;
    struct rf_peer *peer;
    if (status || sockets->closing || !make_room(channel))
        return;
    sockets->open_parts++;
    if (rf_peer_accept(listener, &channel->options, &peer))
        return; /* what was made of it goes by itself */
    channel->peers[channel->n++] = peer;
    rf_peer_pump(peer);
    if (!sockets->tick_ms)
        schedule_tick(sockets, TICK_MS);
}

/* --- watching --- */

static void check_peers(struct rf_sockets *sockets, int elapsed_ms, bool pressed)
{
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *channel = &sockets->channels[i];
        struct rf_peer_rule rule = {.elapsed_ms = elapsed_ms,
                                    .stall_ms = sockets->options.stall_ms};
        if (pressed && i == RF_IOPUB) {
            rule.least_rate = PRESSED_LEAST_RATE;
            if (rule.stall_ms > PRESSED_STALL_MS)
                rule.stall_ms = PRESSED_STALL_MS;
        }
        for (size_t at = channel->n; at-- > 0 && !sockets->closing;)
            if (at < channel->n)
                rf_peer_check(channel->peers[at], &rule);
    }
}

/* Runs while someone is connected: nothing else tells of one who does nothing. */
static void on_tick(uv_timer_t *timer)
{
    struct rf_sockets *sockets = timer->data;
    uint64_t now = uv_now(sockets->loop), elapsed = now - sockets->ticked_at;
    sockets->ticked_at = now;
    /* after a stop (SIGSTOP, a loaded machine) nobody had that time to read */
    if (elapsed > 2 * sockets->tick_ms)
        elapsed = 2 * sockets->tick_ms;
    bool pressed = rf_outbox_is_pressed(sockets->published);
    check_peers(sockets, (int)elapsed, pressed);
    if (sockets->closing)
        return;
    if (!has_peers(sockets))
        schedule_tick(sockets, 0);
    else if (!pressed && sockets->tick_ms != TICK_MS)
        schedule_tick(sockets, TICK_MS);
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

/* --- opening --- */

static int *port_of(struct rf_connection *conn, enum rf_channel channel)
{
    int *const ports[RF_CHANNELS] = {
        [RF_SHELL] = &conn->shell_port, [RF_CONTROL] = &conn->control_port,
        [RF_STDIN] = &conn->stdin_port, [RF_IOPUB] = &conn->iopub_port,
        [RF_HEARTBEAT] = &conn->hb_port,
    };
    return ports[channel];
}

/* Takes over `fd`. */
static int listen_on(struct channel *channel, int fd)
{
    struct rf_sockets *sockets = channel->owner;
    bool ipc = channel->options.is_ipc;
    int r = ipc ? uv_pipe_init(sockets->loop, &channel->pipe, 0)
                : uv_tcp_init(sockets->loop, &channel->tcp);
    if (r) {
        close(fd);
        return r;
    }
    channel->listener.data = channel;
    sockets->open_parts++;
    r = ipc ? uv_pipe_open(&channel->pipe, fd) : uv_tcp_open(&channel->tcp, fd);
    if (r)
        close(fd);
    return r ? r : uv_listen(&channel->listener, BACKLOG, on_connection);
}

static int open_channel(struct channel *channel, struct rf_connection *conn, struct rf_error *err)
{
    channel->endpoint.channel = names[channel->name];
    channel->endpoint.port = *port_of(conn, channel->name);
    int fd = rf_endpoint_bind(&channel->endpoint, conn, err);
    if (fd < 0)
        return fd;
    int r = listen_on(channel, fd);
    return r ? rf_error_set(err, r, "cannot listen on the %s channel: %s", names[channel->name],
                            uv_strerror(r))
             : 0;
}

/* Given ports first: a chosen one could be one of them. */
static int open_all(struct rf_sockets *sockets, struct rf_connection *conn, struct rf_error *err)
{
    for (int given = 1; given >= 0; given--) {
        for (int i = 0; i < RF_CHANNELS; i++) {
            if ((*port_of(conn, i) != 0) != given)
                continue;
            int r = open_channel(&sockets->channels[i], conn, err);
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

static void init_channels(struct rf_sockets *sockets, bool is_ipc)
{
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *channel = &sockets->channels[i];
        channel->owner = sockets;
        channel->name = i;
        channel->options = (struct rf_peer_options){
            .loop = sockets->loop, .is_publisher = i == RF_IOPUB, .is_ipc = is_ipc,
            .message_max = is_small(i) ? SMALL_MESSAGE_MAX : sockets->options.max_message,
            .heartbeat_ms = sockets->options.heartbeat_s * 1000,
            .outbox = i == RF_IOPUB ? sockets->published : NULL,
            .scratch = uv_buf_init(sockets->scratch, SCRATCH_SIZE),
            .frames = sockets->frames, .frames_max = FRAMES_MAX,
            .events = &peer_events, .ctx = channel,
        };
    }
}

static struct rf_sockets *allocate(uv_loop_t *loop, const struct rf_sockets_options *options,
                                   const struct rf_sockets_events *events, void *ctx)
{
    struct rf_sockets *sockets = malloc(sizeof(*sockets));
    if (!sockets)
        return NULL;
    memset(sockets, 0, offsetof(struct rf_sockets, scratch));
    sockets->loop = loop;
    sockets->events = events;
    sockets->ctx = ctx;
    if (options)
        sockets->options = *options;
    if (!sockets->options.max_message)
        sockets->options.max_message = RF_MESSAGE_MAX_DEFAULT;
    if (sockets->options.stall_ms <= 0)
        sockets->options.stall_ms = RF_SUBSCRIBER_STALL_MS;
    sockets->published = rf_outbox_new(sockets->options.spool_max);
    if (!sockets->published) {
        free(sockets);
        return NULL;
    }
    uv_prepare_init(loop, &sockets->prepare);
    uv_timer_init(loop, &sockets->timer);
    sockets->prepare.data = sockets->timer.data = sockets;
    sockets->open_parts = 2;
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
    init_channels(sockets, strcmp(conn->transport, "ipc") == 0);
    if (open_all(sockets, conn, err)) {
        rf_sockets_close(sockets, 0);
        return NULL;
    }
    return sockets;
}

/* --- closing --- */

static void on_listener_closed(uv_handle_t *handle)
{
    part_closed(((struct channel *)handle->data)->owner);
}

static void end_peers(struct rf_sockets *sockets, bool now)
{
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *channel = &sockets->channels[i];
        for (size_t at = channel->n; at-- > 0;) {
            if (at >= channel->n)
                continue;
            if (now)
                rf_peer_end(channel->peers[at], RF_PEER_CLOSED);
            else
                rf_peer_finish(channel->peers[at]);
        }
    }
}

static void on_time_is_over(uv_timer_t *timer)
{
    end_peers(timer->data, true);
    end_early(timer->data);
}

void rf_sockets_close(struct rf_sockets *sockets, int linger_ms)
{
    if (!sockets || sockets->closing)
        return;
    sockets->closing = true;
    for (int i = 0; i < RF_CHANNELS; i++) {
        struct channel *channel = &sockets->channels[i];
        rf_endpoint_unlink(&channel->endpoint);
        if (channel->listener.data)
            uv_close((uv_handle_t *)&channel->listener, on_listener_closed);
    }
    uv_close((uv_handle_t *)&sockets->prepare, on_handle_closed);
    end_peers(sockets, linger_ms <= 0);
    uv_timer_start(&sockets->timer, on_time_is_over, linger_ms > 0 ? (uint64_t)linger_ms : 0, 0);
    end_early(sockets);
}
