/* The five ZeroMQ sockets of a kernel on the gateway's loop.
 *
 * Owned by one kernel; on the uv loop.  They are ROUTERs and an XPUB as
 * ZeroMQ's RFCs 28 and 29 have them, on ZMTP (see peer.h).
 *
 * iopub: every subscription is told (XPUB_VERBOSE).  Nothing that was handed to
 * rf_sockets_send() is dropped for a subscriber that goes on reading; one that
 * takes nothing for `stall_ms` is disconnected and counted, without harm to
 * the others; what waits for slow ones is bounded by `spool_max`.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_SOCKETS_H
#define RINGFENCE_GATEWAY_ZMQ_SOCKETS_H

#include <uv.h>

#include "gateway/jupyter/wire.h"
#include "gateway/zmq/connection.h"

struct rf_sockets;

struct rf_sockets_options {
    size_t max_message; /* bytes; 0: RF_MESSAGE_MAX_DEFAULT.  Over it the peer is closed. */
    size_t spool_max;   /* bytes that may wait for slow subscribers; 0: the default */
    int stall_ms;       /* 0: 30000 */
    int heartbeat_s;    /* ZMTP PING after so long a silence, and the peer is cut after three times
                           that; only for peers of ZMTP 3.1, since zmq.rs (3.0) does not survive
                           one; 0: none.  At most 2000. */
};

struct rf_sockets_events {
    /* One multipart message; frames are borrowed for the call. */
    void (*on_message)(void *ctx, enum rf_channel channel, const struct rf_bytes *frames, size_t n);
    /* A subscription (not an unsubscription) on iopub. */
    void (*on_subscribe)(void *ctx, struct rf_bytes topic);
    /* A message over max_message, or a subscriber, was cut off. */
    void (*on_cut)(void *ctx, enum rf_channel channel, const char *why);
};

/* Binds all five; ports that are 0 in *conn are chosen and written into it.
 * NULL with *err filled (naming the port) when one cannot be bound.  `events`
 * and `ctx` are borrowed until close. */
struct rf_sockets *rf_sockets_new(uv_loop_t *loop, struct rf_connection *conn,
                                  const struct rf_sockets_options *options,
                                  const struct rf_sockets_events *events, void *ctx,
                                  struct rf_error *err);

/* Sends identities + frames.  Shell, control, stdin: to that peer, dropped
 * when the peer is gone (ROUTER).  iopub: to every subscriber; `essential`
 * messages (status, replies) pass also when the spool is full, others are
 * then left out and one visible notice is sent in their place by the caller:
 * returns -ENOBUFS for those.  0 otherwise. */
int rf_sockets_send(struct rf_sockets *sockets, enum rf_channel channel,
                    const struct rf_bytes *identities, size_t n_identities,
                    const struct rf_bytes *frames, size_t n, bool essential);

/* Writes what was sent now, and not when the loop comes to sleep: for what others
 * wait for while there is more to do here. */
void rf_sockets_flush(struct rf_sockets *sockets);

/* Lets what was sent go out (at most linger_ms), then closes.  Asynchronous
 * parts finish on the loop; `sockets` is freed by then. */
void rf_sockets_close(struct rf_sockets *sockets, int linger_ms);

struct rf_sockets_stats {
    uint64_t received, sent, cut_slow, cut_large, spool_bytes;
};
void rf_sockets_stats(const struct rf_sockets *sockets, struct rf_sockets_stats *ret);

/* JEP 66: connects to the launcher of a registration file, sends the ports
 * signed, waits at most timeout_ms for the signed answer.  Blocking. */
int rf_register(const struct rf_connection *conn, struct rf_wire *wire, int timeout_ms,
                struct rf_error *err);

#endif
