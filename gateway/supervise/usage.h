/* What a kernel uses of the machine, for usage_request (jupyter-resource-usage).
 *
 * Percentages are of the time since the last question; the first answer has none.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_USAGE_H
#define RINGFENCE_GATEWAY_SUPERVISE_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/bytes.h"

struct rf_usage {
    int64_t asked_us; /* of the last question, monotonic; 0: none yet */
    uint64_t ticks, host_busy, host_total;
};

/* Appends a JSON object about the processes at and below `root` (0: none) and about the
 * machine. */
void rf_usage_tell(struct rf_usage *usage, pid_t root, int64_t now_us, struct rf_buf *to);

/* Does far more want to run right now than there are processors: many kernels that start, say? */
bool rf_usage_is_crowded(void);

#endif
