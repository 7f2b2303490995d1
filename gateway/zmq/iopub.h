/* The publisher: hands messages to the XPUB socket and knows what still waits.
 *
 * libzmq queues for each subscriber without a bound (SNDHWM 0), so that none
 * holds another back; the bound is here.  Bodies are given to libzmq by
 * reference, one block per message, and its free callback (any thread: atomic
 * counters and free() only) tells when the last subscriber has it.  The first
 * RF_IOPUB_MEMORY_MAX bytes wait on the heap, more in segments of unlinked
 * temporary files that are mapped read-only.
 *
 * Owned by rf_sockets; all functions on its loop.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_IOPUB_H
#define RINGFENCE_GATEWAY_ZMQ_IOPUB_H

#include <stdbool.h>

#include "common/bytes.h"

struct rf_iopub;

/* `socket`: the XPUB, borrowed until free.  `spool_max` 0: the default. */
struct rf_iopub *rf_iopub_new(void *socket, size_t spool_max);
/* After zmq_ctx_term(): no callback may come any more. */
struct rf_iopub *rf_iopub_free(struct rf_iopub *iopub);

struct rf_iopub_message {
    const struct rf_bytes *topics; /* frames at the front */
    size_t n_topics;
    const struct rf_bytes *frames;
    size_t n;
    bool essential;     /* passes also when the spool is full */
    size_t subscribers; /* for the account of libzmq's queues */
};

/* 0; -ENOBUFS: full, nothing was sent; -EMSGSIZE: too many frames; -ENOMEM. */
int rf_iopub_send(struct rf_iopub *iopub, const struct rf_iopub_message *message);

/* Bytes that wait for a subscriber, libzmq's overhead included. */
size_t rf_iopub_waiting(const struct rf_iopub *iopub);
/* True from a refused message, or when over three quarters are taken, until
 * less than half is: slow subscribers then have less time. */
bool rf_iopub_is_pressed(struct rf_iopub *iopub);
/* Gives the space of finished segments back. */
void rf_iopub_trim(struct rf_iopub *iopub);

#endif
