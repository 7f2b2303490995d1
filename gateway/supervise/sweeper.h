/* The gateway's end of its sweeper (sweeper_main.c): who moves the kernel's
 * processes into its cgroups, and clears up after a gateway that was killed.
 *
 * Owned by the supervisor, on its loop.  Closing it ends and removes all that
 * the sweeper was told of.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SWEEPER_H
#define RINGFENCE_GATEWAY_SUPERVISE_SWEEPER_H

#include <uv.h>

#include "common/error.h"
#include "gateway/supervise/cgroup.h"

struct rf_sweeper;

/* The process is in the cgroups (0), or why not (-errno; pid 0: the sweeper is gone). */
typedef void (*rf_sweeper_attached)(void *ctx, int pid, int code);

/* Starts `program` for these cgroups (copied).  NULL with *err filled. */
struct rf_sweeper *rf_sweeper_new(uv_loop_t *loop, const char *program,
                                  const struct rf_cgroup *cgroup, rf_sweeper_attached attached,
                                  void *ctx, struct rf_error *err);
/* Has the process and its descendants moved; `attached` follows. */
void rf_sweeper_attach(struct rf_sweeper *sweeper, int pid);
/* A child of ours that must not outlive us. */
void rf_sweeper_guard(struct rf_sweeper *sweeper, int pid);
/* The memory goes later; `attached` is not called any more. */
void rf_sweeper_close(struct rf_sweeper *sweeper);

#endif
