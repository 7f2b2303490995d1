/* What the gateway and its sweeper say to each other: one struct a packet. */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SWEEPER_ORDER_H
#define RINGFENCE_GATEWAY_SUPERVISE_SWEEPER_ORDER_H

#include <stdint.h>

enum rf_sweeper_op {
    RF_SWEEPER_ATTACH = 1, /* pid and its descendants: into the cgroups; answered with result */
    RF_SWEEPER_HELPER = 2, /* a pidfd comes with it: SIGKILL when the gateway is gone */
};

struct rf_sweeper_order {
    uint32_t op;
    int32_t pid;
    int32_t result; /* 0 or -errno; in an answer */
};

#endif
