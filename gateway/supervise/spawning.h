/* One request for a kernel, from the connection to the zygote to its answer.
 *
 * Asynchronous: a zygote that is just starting imports for a second.  A client
 * in another place (cgroup, processors, nice value, limits) is refused and then
 * gets a zygote of its own; a zygote that ends under us is asked again.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SPAWNING_H
#define RINGFENCE_GATEWAY_SUPERVISE_SPAWNING_H

#include <uv.h>

#include "gateway/supervise/zygote.h"

#define RF_SPAWN_TRIES 4

struct rf_spawning;

/* code 0, or -errno with *err filled; the object is gone after it. */
typedef void (*rf_spawning_done)(void *ctx, int code, const struct rf_error *err);

struct rf_spawning_options {
    const struct rf_zygote_spec *zygote; /* borrowed until done */
    uint64_t generation;
    struct rf_zygote_request request; /* its bytes are borrowed until done */
};

/* Takes over `fds` (the keeper's socket, then enum rf_worker_fd) in any case.
 * NULL with *err filled when it fails at once (`done` is not called then). */
struct rf_spawning *rf_spawning_new(uv_loop_t *loop, const struct rf_spawning_options *options,
                                    int fds[1 + RF_FD_COUNT], rf_spawning_done done, void *ctx,
                                    struct rf_error *err);

/* Gives up; `done` is not called. */
void rf_spawning_cancel(struct rf_spawning *spawning);

#endif
