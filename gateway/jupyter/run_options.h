/* metadata.ringfence of an execute_request: what holds for this run alone.
 *
 * timeout_s: the cell is interrupted after so many seconds, as by the limit
 * cell_time, whichever is shorter.  env: {"NAME": "value"} for this run; the
 * worker sets it and takes it back (docs/worker-protocol.md).  Checked here, so
 * that a mistake is an error and not a run without them.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_RUN_OPTIONS_H
#define RINGFENCE_GATEWAY_JUPYTER_RUN_OPTIONS_H

#include "common/bytes.h"

struct rf_run_options {
    int64_t timeout_us; /* 0: none */
};

/* `metadata` is a checked JSON object.  NULL, or what is wrong. */
const char *rf_run_options_read(struct rf_bytes metadata, struct rf_run_options *ret);

#endif
