/* The comms that are open between clients and the worker.
 *
 * Both sides open and close them; the kernel keeps their ids so that it can
 * close, for the clients, those that a worker's death took away: the ones
 * opened after the checkpoint that goes on, or all.  Bounded: beyond
 * RF_COMMS_MAX the oldest is forgotten.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_COMMS_H
#define RINGFENCE_GATEWAY_JUPYTER_COMMS_H

#include "common/bytes.h"

#define RF_COMMS_MAX 4096u
#define RF_COMM_ID_MAX 256u /* longer ids are not followed */

struct rf_comm;

struct rf_comms {
    struct rf_comm *items; /* owned; in the order in which they were opened */
    size_t n, cap;
    uint64_t opened; /* so far; a mark is a value of it */
};

void rf_comms_deinit(struct rf_comms *comms);

/* `id` is text (decoded), copied.  Without memory the comm is not followed. */
void rf_comms_open(struct rf_comms *comms, struct rf_bytes id);
void rf_comms_close(struct rf_comms *comms, struct rf_bytes id);

/* Takes out the newest comm opened after `mark`: appends its id to `ret_id`
 * and returns true; false when there is none. */
bool rf_comms_take(struct rf_comms *comms, uint64_t mark, struct rf_buf *ret_id);

#endif
