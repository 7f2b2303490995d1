/* The messages of a ZeroMQ socket that wait to be sent: one list, and each
 * connection reads from it at its own pace.
 *
 * A message is framed once and its bytes are shared by all who read them.  It
 * goes when the last reader has passed it; with no reader none is kept.  The
 * first RF_IOPUB_MEMORY_MAX bytes wait on the heap, more in segments of
 * unlinked temporary files that are mapped read-only.  Single-threaded.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_OUTBOX_H
#define RINGFENCE_GATEWAY_ZMQ_OUTBOX_H

#include "common/bytes.h"

struct rf_outbox;

/* A place in the list: a message, or its end, where the next one will be. */
struct rf_outbox_item;

/* `bytes_max`: what may wait; 0: RF_IOPUB_SPOOL_MAX. */
struct rf_outbox *rf_outbox_new(size_t bytes_max);
/* After the last reader. */
struct rf_outbox *rf_outbox_free(struct rf_outbox *outbox);

/* One message: `first` frames and then `n` more.  `essential` ones find a place
 * while there is memory at all.  0; -ENOBUFS: full, it was not taken;
 * -EMSGSIZE; -ENOMEM. */
int rf_outbox_add(struct rf_outbox *outbox, const struct rf_bytes *first, size_t n_first,
                  const struct rf_bytes *frames, size_t n, bool essential);

/* A reader begins: what is added from now on.  It owns the place. */
struct rf_outbox_item *rf_outbox_end(struct rf_outbox *outbox);
/* It goes to the next message; the place it had is no longer its own. */
struct rf_outbox_item *rf_outbox_next(struct rf_outbox *outbox, struct rf_outbox_item *item);
/* It stops reading.  Returns NULL. */
struct rf_outbox_item *rf_outbox_leave(struct rf_outbox *outbox, struct rf_outbox_item *item);

bool rf_outbox_is_end(const struct rf_outbox_item *item);
/* A look at what follows a message, without going there. */
const struct rf_outbox_item *rf_outbox_peek(const struct rf_outbox_item *item);
/* The framed bytes, for as long as a reader is at or before the item. */
struct rf_bytes rf_outbox_bytes(const struct rf_outbox_item *item);
/* The first frame, to be matched against subscriptions. */
struct rf_bytes rf_outbox_topic(const struct rf_outbox_item *item);

size_t rf_outbox_waiting(const struct rf_outbox *outbox);
/* True from a refused message, or when over three quarters are taken, until
 * less than half is: slow readers then have less time. */
bool rf_outbox_is_pressed(struct rf_outbox *outbox);

#endif
