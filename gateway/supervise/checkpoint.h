/* The gateway's end of one checkpoint: a frozen fork of the worker.
 *
 * Owned by the supervisor.  It lives until its socket is closed, and can be
 * resumed any number of times.  Hostile like the worker it was.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_CHECKPOINT_H
#define RINGFENCE_GATEWAY_SUPERVISE_CHECKPOINT_H

#include <uv.h>

#include "common/frame.h"

struct rf_checkpoint;

struct rf_checkpoint_events {
    /* The new process was forked: its generation or id, its pid in the sandbox (0: it
     * could not be made). */
    void (*on_resumed)(void *ctx, struct rf_checkpoint *checkpoint, uint64_t generation, int pid);
    /* After rf_checkpoint_ahead(): it copies so many bytes, which may be none. */
    void (*on_copied)(void *ctx, struct rf_checkpoint *checkpoint, uint64_t bytes);
    /* It ended or broke the protocol; it is of no more use, close it. */
    void (*on_gone)(void *ctx, struct rf_checkpoint *checkpoint);
};

/* Makes the control socket; the far end, for RF_MSG_CHECKPOINT, is the caller's. */
struct rf_checkpoint *rf_checkpoint_new(uv_loop_t *loop, uint64_t id, int *ret_far,
                                        const struct rf_checkpoint_events *events, void *ctx);
/* resume(checkpoint, generation, descriptors); the descriptors stay the caller's. */
int rf_checkpoint_resume(struct rf_checkpoint *checkpoint, uint64_t generation,
                         const int fds[RF_FD_COUNT]);
/* Has it fork the process `id` for a request (RF_MSG_ANSWER); `fd` stays the caller's.
 * -EMSGSIZE: the request does not fit into one packet; -EAGAIN: it does not read. */
int rf_checkpoint_ask(struct rf_checkpoint *checkpoint, uint64_t id, const struct rf_bytes *parts,
                      size_t n_parts, int fd);
/* Its turn to go where memory is short; 0: not before the worker.  (RF_MSG_YIELD) */
void rf_checkpoint_yield(struct rf_checkpoint *checkpoint, unsigned turn);
/* A cell runs: has it copy ahead what that has begun to rewrite.  (RF_MSG_AHEAD) */
void rf_checkpoint_ahead(struct rf_checkpoint *checkpoint);
uint64_t rf_checkpoint_id(const struct rf_checkpoint *checkpoint);
/* The checkpoint process ends; no event follows; the memory goes later. */
void rf_checkpoint_close(struct rf_checkpoint *checkpoint);

#endif
