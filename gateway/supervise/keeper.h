/* The gateway's end of a keeper's socket (ringfence/keeper.h).
 *
 * As long as it is open, the sandbox lives.  Owned by the supervisor.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_KEEPER_H
#define RINGFENCE_GATEWAY_SUPERVISE_KEEPER_H

#include <ringfence/keeper.h>
#include <stdbool.h>
#include <uv.h>

struct rf_keeper;

struct rf_keeper_events {
    void (*on_message)(void *ctx, const struct rf_keeper_msg *msg); /* text is terminated */
    void (*on_gone)(void *ctx); /* the keeper, and so every process of the sandbox, ended */
};

/* Makes the pair; the far end is the caller's.  NULL: errno. */
struct rf_keeper *rf_keeper_new(uv_loop_t *loop, int *ret_far,
                                const struct rf_keeper_events *events, void *ctx);
/* Its pid out here, once it has said something: 0 before.  The kernel of the
 * machine vouches for it (SCM_CREDENTIALS). */
int rf_keeper_pid(const struct rf_keeper *keeper);
void rf_keeper_order(struct rf_keeper *keeper, enum rf_keeper_op op, uint64_t id, int pid,
                     int value);
/* Closes: the keeper ends its sandbox.  With `await_end` on_gone still comes
 * when it has; else no event follows.  The memory goes later. */
void rf_keeper_close(struct rf_keeper *keeper, bool await_end);

#endif
