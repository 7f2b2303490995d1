/* The requests that checkpoints answer while the worker is busy.
 *
 * Each is one process that a checkpoint forks for it alone, and one socket on which that
 * process says its reply.  At most RF_ANSWERS_MAX live at a time: a newer one ends the
 * oldest, whose client has most likely typed on.  Each ends after RF_ANSWER_TIMEOUT_MS.
 * Hostile like the worker: a message that breaks a rule is no answer.
 *
 * Owned by the supervisor, on its loop.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_ANSWERS_H
#define RINGFENCE_GATEWAY_SUPERVISE_ANSWERS_H

#include "gateway/supervise/checkpoint.h"

#define RF_ANSWERS_FIRST_ID (1ull << 63) /* of their processes; those of workers are below it */

struct rf_answers;

struct rf_answers_events {
    /* Once for each request; NULL: there is no answer.  `process`: the id of the process, which
     * is to be killed by now. */
    void (*on_answer)(void *ctx, uint64_t process, uint64_t request, const struct rf_frame *reply);
};

struct rf_answers *rf_answers_new(uv_loop_t *loop, const struct rf_answers_events *events, void *ctx);

/* Has `checkpoint` fork the process of that id for the request.  False: it cannot, and nothing
 * follows. */
bool rf_answers_ask(struct rf_answers *answers, struct rf_checkpoint *checkpoint, uint64_t process,
                    uint64_t request, const struct rf_bytes *parts, size_t n_parts);

/* Is that process one of ours whose answer is waited for? */
bool rf_answers_awaits(const struct rf_answers *answers, uint64_t process);

/* Ends all; no event follows.  The memory goes on later turns of the loop. */
void rf_answers_free(struct rf_answers *answers);

#endif
