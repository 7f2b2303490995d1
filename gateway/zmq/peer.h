/* One connection to a ZeroMQ socket of ours: the ZMTP handshake, messages in,
 * messages out of an outbox, heartbeats.
 *
 * On the owner's loop.  A peer is hostile until its messages are signed: what it
 * may make us hold is bounded, and it has a time for everything.  It frees
 * itself: after on_end it is nobody's, after on_freed it is gone.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_PEER_H
#define RINGFENCE_GATEWAY_ZMQ_PEER_H

#include <uv.h>

#include "gateway/zmq/outbox.h"

#define RF_ZMTP_HANDSHAKE_MS 30000    /* from the connection to READY */
#define RF_ZMTP_CONTROL_MAX (64u << 10) /* bytes of commands that wait for a peer */
#define RF_PEER_QUEUE_MAX 1000u       /* messages that wait for one client of a ROUTER */

struct rf_peer;

enum rf_peer_end {
    RF_PEER_LEFT,   /* it went away */
    RF_PEER_CLOSED, /* by us, in good order */
    RF_PEER_BROKE,  /* no ZMTP, another mechanism or socket type, broken framing */
    RF_PEER_LARGE,  /* a message over the limit */
    RF_PEER_SLOW,   /* it takes nothing */
    RF_PEER_SILENT, /* no handshake, or no answer to heartbeats */
    RF_PEER_ENDS,
};

struct rf_peer_events {
    /* Handshake done; false refuses it.  May give it an identity. */
    bool (*on_ready)(void *ctx, struct rf_peer *peer);
    /* Frames are borrowed for the call. */
    void (*on_message)(void *ctx, struct rf_peer *peer, const struct rf_bytes *frames, size_t n);
    void (*on_subscribe)(void *ctx, struct rf_peer *peer, struct rf_bytes topic);
    void (*on_end)(void *ctx, struct rf_peer *peer, enum rf_peer_end why);
    void (*on_freed)(void *ctx);
};

/* What all peers of a socket share; borrowed for their lives. */
struct rf_peer_options {
    uv_loop_t *loop;
    bool is_publisher;        /* XPUB, else ROUTER */
    bool is_ipc;
    size_t message_max;       /* bytes of one message that comes in */
    int heartbeat_ms;         /* PING after so long a silence, the end after three times that; only
                                 for peers of ZMTP 3.1 and later; 0: none */
    struct rf_outbox *outbox; /* XPUB: of all; ROUTER: NULL, each has its own */
    uv_buf_t scratch;         /* into which all read by turns */
    struct rf_bytes *frames;  /* scratch: of the message being read */
    size_t frames_max;
    const struct rf_peer_events *events;
    void *ctx;
};

/* Accepts the next connection of `listener`; rf_peer_pump() then greets it.  0 or
 * a uv error, after which on_freed is all that comes. */
int rf_peer_accept(uv_stream_t *listener, const struct rf_peer_options *options,
                   struct rf_peer **ret);

/* Borrowed until its end. */
struct rf_bytes rf_peer_identity(const struct rf_peer *peer);
int rf_peer_set_identity(struct rf_peer *peer, struct rf_bytes identity);

/* Queues a message for a ROUTER's peer; rf_peer_pump() sends it.  0; -ENOBUFS:
 * its queue is full and the message dropped; -EMSGSIZE; -ENOMEM. */
int rf_peer_send(struct rf_peer *peer, const struct rf_bytes *first, size_t n_first,
                 const struct rf_bytes *frames, size_t n);
/* Sends what waits, as far as the peer takes it; the rest follows by itself. */
void rf_peer_pump(struct rf_peer *peer);

struct rf_peer_rule {
    int elapsed_ms;      /* since the last check */
    int stall_ms;        /* the end for one that took nothing for so long while bytes wait */
    uint64_t least_rate; /* bytes per second that count as taking; 0: any */
};
/* To be called about once a second. */
void rf_peer_check(struct rf_peer *peer, const struct rf_peer_rule *rule);

/* Ends it at once. */
void rf_peer_end(struct rf_peer *peer, enum rf_peer_end why);
/* Ends it when all that waits is sent. */
void rf_peer_finish(struct rf_peer *peer);

#endif
