/* One kernel over ZeroMQ, whole: sockets, wire, state machine, supervisor.
 *
 * It joins the parts and holds nothing of their knowledge: bytes from the sockets are
 * judged by the wire codec, handed to the state machine, and its orders carried out.
 * A session (session.h) has one for its kernel and one for each branch of it.
 */
#ifndef RINGFENCE_GATEWAY_CLI_SERVED_H
#define RINGFENCE_GATEWAY_CLI_SERVED_H

#include "gateway/cli/session.h"

struct rf_served;

struct rf_served_options {
    const struct rf_session_options *session; /* limits and sizes; borrowed until it has ended */
    struct rf_connection *connection; /* borrowed likewise; chosen ports are written into it */
    const char *connection_file;      /* borrowed likewise */
    uint64_t count; /* execution_count that it goes on from */
};

struct rf_served_events {
    /* It cannot go on, and was told to stop. */
    void (*on_failed)(void *ctx, const struct rf_error *why);
    /* After rf_served_stop(), a shutdown or a failure: its processes are gone and its sockets
     * closing.  The object goes on a later turn of the loop. */
    void (*on_ended)(void *ctx, struct rf_served *served);
    /* A branch is wanted: opens one, and adds a JSON object that describes it.  NULL: *err. */
    struct rf_served *(*on_branch)(void *ctx, uint64_t count, struct rf_buf *to,
                                   struct rf_error *err);
    /* A client shuts it down: what to tell (see struct rf_kernel_ops), or NULL. */
    const char *(*on_parting)(void *ctx);
};

/* NULL: no memory. */
struct rf_served *rf_served_new(uv_loop_t *loop, const struct rf_served_options *options,
                                const struct rf_served_events *events, void *ctx);

/* A branch: binds the sockets (0 ports are chosen) and writes the connection file.  The worker
 * comes of a checkpoint.  0, or -errno with *err filled, and it is stopping. */
int rf_served_open(struct rf_served *served, struct rf_error *err);
/* As open, and asks the zygote for a worker. */
int rf_served_start(struct rf_served *served, struct rf_error *err);

/* From now on it ends when nobody used it for so long, or sooner if its profile says so. */
void rf_served_limit_idle(struct rf_served *served, int64_t idle_us);

/* This process was forked to go on with it: its sandbox is ours. */
void rf_served_inherit(struct rf_served *served);

void rf_served_interrupt(struct rf_served *served);
/* on_ended follows. */
void rf_served_stop(struct rf_served *served);

#endif
