/* See peer.h.
 *
 * Writing: one at a time.  What the system takes at once goes by
 * uv_try_write(); the rest of those messages by one uv_write(), after which
 * the next are looked at.  So the bytes stay where they are, in the outbox, and
 * commands go between two messages.
 */
#include "gateway/zmq/peer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "gateway/zmq/subscriptions.h"
#include "gateway/zmq/zmtp.h"

#define BATCH 32
#define KEEPALIVE_S 30
#define READ_MAX (1u << 20)

enum stage { GREETING, HANDSHAKE, READY, FINISHING, ENDED };

struct rf_peer {
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    const struct rf_peer_options *options;
    enum stage stage;
    unsigned minor;          /* of its ZMTP version */
    struct rf_buf identity;  /* owned */
    struct rf_buf in;        /* the beginning of a message whose end has not come */
    struct rf_subscriptions subscriptions;
    /* Out: */
    struct rf_outbox *outbox;     /* owned, or that of all */
    struct rf_outbox_item *place; /* a reader of it; NULL: not yet */
    size_t offset;                /* bytes of the message there that went */
    size_t queued;                /* messages in its own outbox */
    struct rf_buf control;        /* commands that wait */
    struct rf_buf control_out;    /* commands being sent */
    uv_write_t write;
    size_t writing; /* bytes given to uv_write(); 0: none under way */
    uint64_t went;  /* bytes before those */
    /* Watch: */
    uint64_t taken_before;
    int age_ms, stalled_ms, silent_ms;
    bool pinged;
};

static bool has_ended(const struct rf_peer *peer)
{
    return peer->stage == ENDED;
}

/* --- the end --- */

static void on_closed(uv_handle_t *handle)
{
    struct rf_peer *peer = handle->data;
    const struct rf_peer_options *options = peer->options;
    rf_buf_deinit(&peer->identity);
    rf_buf_deinit(&peer->in);
    rf_buf_deinit(&peer->control);
    rf_buf_deinit(&peer->control_out);
    rf_subscriptions_deinit(&peer->subscriptions);
    if (peer->place)
        rf_outbox_leave(peer->outbox, peer->place);
    if (peer->outbox != options->outbox)
        rf_outbox_free(peer->outbox);
    free(peer);
    options->events->on_freed(options->ctx);
}

void rf_peer_end(struct rf_peer *peer, enum rf_peer_end why)
{
    if (has_ended(peer))
        return;
    peer->stage = ENDED;
    uv_close((uv_handle_t *)&peer->stream, on_closed);
    peer->options->events->on_end(peer->options->ctx, peer, why);
}

/* --- out --- */

static bool is_wanted(const struct rf_peer *peer, const struct rf_outbox_item *item)
{
    return !peer->options->is_publisher ||
           rf_subscriptions_match(&peer->subscriptions, rf_outbox_topic(item));
}

static void step(struct rf_peer *peer)
{
    peer->place = rf_outbox_next(peer->outbox, peer->place);
    peer->offset = 0;
    if (peer->queued)
        peer->queued--;
}

static void skip_unwanted(struct rf_peer *peer)
{
    while (!peer->offset && !rf_outbox_is_end(peer->place) && !is_wanted(peer, peer->place))
        step(peer);
}

/* What goes next: commands, if no message is half sent, then messages that
 * follow one another in the outbox. */
static unsigned gather(struct rf_peer *peer, uv_buf_t bufs[BATCH])
{
    unsigned n = 0;
    if (!peer->offset && !peer->control_out.len) {
        struct rf_buf empty = peer->control_out;
        peer->control_out = peer->control;
        peer->control = empty;
    }
    if (peer->control_out.len)
        bufs[n++] = uv_buf_init((char *)peer->control_out.data, (unsigned)peer->control_out.len);
    if (!peer->place || (peer->stage != READY && peer->stage != FINISHING))
        return n;
    skip_unwanted(peer);
    size_t offset = peer->offset;
    for (const struct rf_outbox_item *item = peer->place;
         n < BATCH && !rf_outbox_is_end(item) && (item == peer->place || is_wanted(peer, item));
         item = rf_outbox_peek(item)) {
        struct rf_bytes bytes = rf_outbox_bytes(item);
        bufs[n++] = uv_buf_init((char *)(uintptr_t)bytes.data + offset,
                                (unsigned)(bytes.len - offset));
        offset = 0;
    }
    return n;
}

/* `n` bytes of what was gathered are gone. */
static void advance(struct rf_peer *peer, size_t n)
{
    size_t of_control = n < peer->control_out.len ? n : peer->control_out.len;
    rf_buf_consume(&peer->control_out, of_control);
    n -= of_control;
    while (n) {
        size_t left = rf_outbox_bytes(peer->place).len - peer->offset;
        if (n < left) {
            peer->offset += n;
            break;
        }
        n -= left;
        step(peer);
    }
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
    rf_peer_end(shutdown->handle->data, RF_PEER_CLOSED);
    free(shutdown);
}

static void shut_down(struct rf_peer *peer)
{
    uv_shutdown_t *shutdown = malloc(sizeof(*shutdown));
    if (!shutdown || uv_shutdown(shutdown, &peer->stream, on_shut_down)) {
        free(shutdown);
        rf_peer_end(peer, RF_PEER_CLOSED);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct rf_peer *peer = write->handle->data;
    size_t n = peer->writing;
    peer->writing = 0;
    if (has_ended(peer))
        return;
    if (status) {
        rf_peer_end(peer, RF_PEER_LEFT);
        return;
    }
    peer->went += n;
    advance(peer, n);
    rf_peer_pump(peer);
}

static size_t total(const uv_buf_t *bufs, unsigned n)
{
    size_t len = 0;
    for (unsigned i = 0; i < n; i++)
        len += bufs[i].len;
    return len;
}

/* What was not taken at once: the rest of those messages, or more. */
static int write_rest(struct rf_peer *peer)
{
    uv_buf_t bufs[BATCH];
    unsigned n = gather(peer, bufs);
    peer->writing = total(bufs, n);
    return uv_write(&peer->write, &peer->stream, bufs, n, on_written);
}

void rf_peer_pump(struct rf_peer *peer)
{
    uv_buf_t bufs[BATCH];
    while (!has_ended(peer) && !peer->writing) {
        unsigned n = gather(peer, bufs);
        if (!n) {
            if (peer->stage == FINISHING)
                shut_down(peer);
            return;
        }
        size_t wanted = total(bufs, n);
        int went = uv_try_write(&peer->stream, bufs, n);
        if (went < 0 && went != UV_EAGAIN) {
            rf_peer_end(peer, RF_PEER_LEFT);
            return;
        }
        went = went < 0 ? 0 : went;
        peer->went += (size_t)went;
        advance(peer, (size_t)went);
        if ((size_t)went < wanted && write_rest(peer))
            rf_peer_end(peer, RF_PEER_LEFT);
    }
}

int rf_peer_send(struct rf_peer *peer, const struct rf_bytes *first, size_t n_first,
                 const struct rf_bytes *frames, size_t n)
{
    if (peer->queued == RF_PEER_QUEUE_MAX)
        return -ENOBUFS;
    int r = rf_outbox_add(peer->outbox, first, n_first, frames, n, true);
    if (!r)
        peer->queued++;
    return r;
}

static void send_command(struct rf_peer *peer, const char *name, struct rf_bytes data)
{
    uint8_t head[RF_ZMTP_HEADER_MAX], name_len = (uint8_t)strlen(name);
    if (peer->control.len + data.len > RF_ZMTP_CONTROL_MAX) {
        rf_peer_end(peer, RF_PEER_SLOW);
        return;
    }
    rf_buf_add(&peer->control, head, rf_zmtp_command_header(1 + name_len + data.len, head));
    rf_buf_add(&peer->control, &name_len, 1);
    rf_buf_add(&peer->control, name, name_len);
    rf_buf_add_bytes(&peer->control, data);
    rf_peer_pump(peer);
}

void rf_peer_finish(struct rf_peer *peer)
{
    if (has_ended(peer))
        return;
    if (peer->stage != READY) {
        rf_peer_end(peer, RF_PEER_CLOSED);
        return;
    }
    peer->stage = FINISHING;
    rf_peer_pump(peer);
}

/* --- in --- */

struct rf_bytes rf_peer_identity(const struct rf_peer *peer)
{
    return rf_buf_bytes(&peer->identity);
}

int rf_peer_set_identity(struct rf_peer *peer, struct rf_bytes identity)
{
    peer->identity.len = 0;
    rf_buf_add_bytes(&peer->identity, identity);
    return rf_buf_ok(&peer->identity) ? 0 : -ENOMEM;
}

/* RFC 28 and 29: who may talk to whom. */
static bool is_partner(const struct rf_peer *peer, struct rf_bytes type)
{
    if (peer->options->is_publisher)
        return rf_bytes_is(type, "SUB") || rf_bytes_is(type, "XSUB");
    return rf_bytes_is(type, "DEALER") || rf_bytes_is(type, "REQ") || rf_bytes_is(type, "ROUTER");
}

static void take_greeting(struct rf_peer *peer, const uint8_t *greeting)
{
    uint8_t ready[RF_ZMTP_READY_MAX];
    if (rf_zmtp_read_greeting(greeting, &peer->minor)) {
        rf_peer_end(peer, RF_PEER_BROKE);
        return;
    }
    peer->stage = HANDSHAKE;
    rf_buf_add(&peer->control, ready,
               rf_zmtp_ready(peer->options->is_publisher ? "XPUB" : "ROUTER", ready));
    rf_peer_pump(peer);
}

static void take_ready(struct rf_peer *peer, struct rf_bytes command)
{
    const struct rf_peer_options *options = peer->options;
    struct rf_bytes type, identity;
    if (rf_zmtp_read_ready(command, &type, &identity) || !is_partner(peer, type) ||
        identity.len > 255) {
        rf_peer_end(peer, RF_PEER_BROKE);
        return;
    }
    peer->stage = READY;
    if (!peer->place && !options->is_publisher)
        peer->place = rf_outbox_end(peer->outbox);
    if (rf_peer_set_identity(peer, identity) || !options->events->on_ready(options->ctx, peer))
        rf_peer_end(peer, RF_PEER_BROKE);
}

static void subscribe(struct rf_peer *peer, struct rf_bytes topic, bool on)
{
    const struct rf_peer_options *options = peer->options;
    if (!options->is_publisher)
        return;
    if (!on) {
        rf_subscriptions_remove(&peer->subscriptions, topic);
        return;
    }
    if (rf_subscriptions_add(&peer->subscriptions, topic)) {
        rf_peer_end(peer, RF_PEER_LARGE);
        return;
    }
    if (!peer->place) /* nothing from before it asked */
        peer->place = rf_outbox_end(peer->outbox);
    options->events->on_subscribe(options->ctx, peer, topic);
}

static void take_command(struct rf_peer *peer, struct rf_bytes command)
{
    struct rf_bytes data;
    if (rf_zmtp_is_command(command, "SUBSCRIBE", &data)) {
        subscribe(peer, data, true);
    } else if (rf_zmtp_is_command(command, "CANCEL", &data)) {
        subscribe(peer, data, false);
    } else if (rf_zmtp_is_command(command, "PING", &data) && data.len >= 2) {
        size_t context = data.len - 2 < 16 ? data.len - 2 : 16;
        send_command(peer, "PONG", (struct rf_bytes){data.data + 2, context});
    } /* PONG, and what later versions bring: that it came is all that counts */
}

static void take_message(struct rf_peer *peer, const struct rf_bytes *frames, size_t n)
{
    const struct rf_peer_options *options = peer->options;
    if (!options->is_publisher)
        options->events->on_message(options->ctx, peer, frames, n);
    else if (n == 1 && frames->len && frames->data[0] <= 1) /* RFC 23: subscriptions of 3.0 */
        subscribe(peer, (struct rf_bytes){frames->data + 1, frames->len - 1}, frames->data[0]);
}

/* One item of the stream.  True: look for the next. */
static bool take_item(struct rf_peer *peer, uint8_t *data, size_t *at, size_t *len)
{
    if (peer->stage == GREETING) {
        if (*len - *at < RF_ZMTP_GREETING_LEN) {
            if (*len > *at && data[*at] != 0xff)
                rf_peer_end(peer, RF_PEER_BROKE);
            return false;
        }
        take_greeting(peer, data + *at);
        *at += RF_ZMTP_GREETING_LEN;
        return true;
    }
    struct rf_zmtp_scan scan = {
        .frames = peer->options->frames, .frames_max = peer->options->frames_max,
        .message_max = peer->stage == HANDSHAKE ? RF_ZMTP_COMMAND_MAX : peer->options->message_max};
    int r = rf_zmtp_scan((struct rf_bytes){data + *at, *len - *at}, &scan);
    if (r == RF_ZMTP_PARTIAL)
        return false;
    if (r < 0 || (peer->stage == HANDSHAKE && r != RF_ZMTP_COMMAND)) {
        rf_peer_end(peer, r == -EMSGSIZE ? RF_PEER_LARGE : RF_PEER_BROKE);
        return false;
    }
    if (r == RF_ZMTP_MESSAGE)
        take_message(peer, scan.frames, scan.n);
    else if (peer->stage == HANDSHAKE)
        take_ready(peer, scan.frames[0]);
    else
        take_command(peer, scan.frames[0]);
    if (scan.at) { /* a command within a message: the message closes over it */
        uint8_t *hole = data + *at + scan.at;
        memmove(hole, hole + scan.len, *len - *at - scan.at - scan.len);
        *len -= scan.len;
    } else {
        *at += scan.len;
    }
    return true;
}

/* Returns how many bytes of data at its end belong to what has not ended. */
static size_t take_items(struct rf_peer *peer, uint8_t *data, size_t len, size_t *ret_at)
{
    size_t at = 0;
    while (!has_ended(peer) && take_item(peer, data, &at, &len))
        ;
    *ret_at = at;
    return len - at;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct rf_peer *peer = handle->data;
    *ret = peer->options->scratch;
    if (!peer->in.len)
        return;
    size_t room = peer->in.len < ret->len ? ret->len : peer->in.len < READ_MAX ? peer->in.len
                                                                               : READ_MAX;
    uint8_t *space = rf_buf_reserve(&peer->in, room);
    *ret = uv_buf_init((char *)space, space ? (unsigned)room : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct rf_peer *peer = stream->data;
    size_t at;
    if (n < 0)
        rf_peer_end(peer, RF_PEER_LEFT);
    if (n <= 0 || has_ended(peer) || peer->stage == FINISHING)
        return;
    peer->silent_ms = 0;
    peer->pinged = false;
    if (peer->in.len) {
        peer->in.len += (size_t)n;
        size_t left = take_items(peer, peer->in.data, peer->in.len, &at);
        peer->in.len = at + left;
        rf_buf_consume(&peer->in, at);
        if (!left)
            rf_buf_deinit(&peer->in);
    } else {
        uint8_t *data = (uint8_t *)buf->base;
        size_t left = take_items(peer, data, (size_t)n, &at);
        if (!has_ended(peer))
            rf_buf_add(&peer->in, data + at, left);
    }
    if (!rf_buf_ok(&peer->in))
        rf_peer_end(peer, RF_PEER_LARGE);
}

/* --- watching --- */

/* Bytes that the peer's side has taken: not ours any more, nor the system's. */
static uint64_t taken(const struct rf_peer *peer)
{
    int fd, unsent = 0;
    uint64_t under_way = peer->writing ? peer->writing -
                             uv_stream_get_write_queue_size(&peer->stream) : 0;
    if (uv_fileno((const uv_handle_t *)&peer->stream, &fd) || ioctl(fd, SIOCOUTQ, &unsent))
        unsent = 0;
    return peer->went + under_way - (uint64_t)unsent;
}

static bool has_bytes_waiting(const struct rf_peer *peer)
{
    return peer->writing || taken(peer) != peer->went;
}

static void check_stall(struct rf_peer *peer, const struct rf_peer_rule *rule)
{
    uint64_t now = taken(peer), least = rule->least_rate * (uint64_t)rule->elapsed_ms / 1000;
    /* signed: a Unix socket counts its own overhead as unsent, so it can go back */
    bool moves = (int64_t)(now - peer->taken_before) > (int64_t)least;
    peer->taken_before = now;
    if (moves || !has_bytes_waiting(peer)) {
        peer->stalled_ms = 0;
        return;
    }
    peer->stalled_ms += rule->elapsed_ms;
    if (peer->stalled_ms >= rule->stall_ms)
        rf_peer_end(peer, RF_PEER_SLOW);
}

static void check_heartbeat(struct rf_peer *peer)
{
    int interval = peer->options->heartbeat_ms;
    if (!interval || peer->minor < 1 || peer->silent_ms < interval)
        return;
    if (peer->silent_ms >= 3 * interval) {
        rf_peer_end(peer, RF_PEER_SILENT);
    } else if (!peer->pinged) {
        peer->pinged = true;
        send_command(peer, "PING", (struct rf_bytes){(const uint8_t *)"\0\0", 2});
    }
}

void rf_peer_check(struct rf_peer *peer, const struct rf_peer_rule *rule)
{
    if (has_ended(peer))
        return;
    peer->silent_ms += rule->elapsed_ms;
    if (peer->stage < READY) {
        peer->age_ms += rule->elapsed_ms;
        if (peer->age_ms >= RF_ZMTP_HANDSHAKE_MS)
            rf_peer_end(peer, RF_PEER_SILENT);
        return;
    }
    check_stall(peer, rule);
    if (!has_ended(peer))
        check_heartbeat(peer);
}

/* --- the beginning --- */

static int open_stream(struct rf_peer *peer, uv_stream_t *listener)
{
    int r = peer->options->is_ipc ? uv_pipe_init(peer->options->loop, &peer->pipe, 0)
                                  : uv_tcp_init(peer->options->loop, &peer->tcp);
    if (r)
        return r;
    peer->stream.data = peer;
    r = uv_accept(listener, &peer->stream);
    if (r || peer->options->is_ipc)
        return r;
    uv_tcp_nodelay(&peer->tcp, 1);
    uv_tcp_keepalive(&peer->tcp, 1, KEEPALIVE_S); /* finds machines that went away */
    return 0;
}

int rf_peer_accept(uv_stream_t *listener, const struct rf_peer_options *options,
                   struct rf_peer **ret)
{
    struct rf_peer *peer = calloc(1, sizeof(*peer));
    struct rf_outbox *outbox = options->outbox ? options->outbox : rf_outbox_new(0);
    if (!peer || !outbox) {
        free(peer);
        if (outbox != options->outbox)
            rf_outbox_free(outbox);
        options->events->on_freed(options->ctx);
        return UV_ENOMEM;
    }
    peer->options = options;
    peer->outbox = outbox;
    int r = open_stream(peer, listener);
    if (!r)
        r = uv_read_start(&peer->stream, on_alloc, on_read);
    if (r) { /* the handle is closed by on_closed() alone */
        peer->stage = ENDED;
        uv_close((uv_handle_t *)&peer->stream, on_closed);
        return r;
    }
    rf_buf_add(&peer->control, rf_zmtp_greeting, RF_ZMTP_GREETING_LEN);
    *ret = peer;
    return 0;
}
