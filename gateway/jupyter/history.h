/* The history ring of one kernel: the cells that were run, oldest out.
 *
 * Owned by the kernel; answers history_request ("History" in the messaging
 * spec) without asking the worker.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_HISTORY_H
#define RINGFENCE_GATEWAY_JUPYTER_HISTORY_H

#include "common/bytes.h"

struct rf_history;

struct rf_history *rf_history_new(size_t max_cells);
struct rf_history *rf_history_free(struct rf_history *history);

/* Remembers a cell when it starts: `code` is its source as a raw JSON string,
 * copied.  Replaces an entry of the same number. */
int rf_history_input(struct rf_history *history, uint64_t count, struct rf_bytes code);
/* Adds what its reply told: the source after IPython's transformations and
 * the text of its result (UTF-8, either may be empty), copied. */
int rf_history_output(struct rf_history *history, uint64_t count, struct rf_bytes source,
                      struct rf_bytes output);

/* The source of that cell, UTF-8; empty: not known (any more).  Valid until
 * the next call that is not const. */
struct rf_bytes rf_history_source(const struct rf_history *history, uint64_t count);

/* Appends the content of the history_reply for the content of a
 * history_request; a malformed request gives an error reply.  0 or -ENOMEM. */
int rf_history_reply(const struct rf_history *history, struct rf_bytes request, struct rf_buf *to);

#endif
