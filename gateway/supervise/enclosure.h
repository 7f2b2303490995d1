/* The walls of a kernel that stand outside of it: cgroups, the watchdog where
 * there are none, the network helper, and the sweeper that clears them away.
 *
 * Owned by the supervisor, on its loop.  The kernel program builds the inner
 * walls from the policy; this object says in that policy what it could not do
 * itself (rlimits=1), and keeps the list of the layers that are lost out here.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_ENCLOSURE_H
#define RINGFENCE_GATEWAY_SUPERVISE_ENCLOSURE_H

#include <uv.h>

#include "gateway/supervise/cgroup.h"
#include "gateway/supervise/network.h"

struct rf_enclosure;

struct rf_enclosure_options {
    const char *sweeper_program; /* borrowed until closed, as is `profile` */
    const char *profile;         /* for messages */
    struct rf_cgroup_limits limits;
    bool walls, require;
    bool network;       /* network=on is asked for */
    bool network_host;  /* where that cannot be, the host's may be shared */
};

struct rf_enclosure_events {
    /* Cells may run in the process tree given to rf_enclosure_enter(): it is inside,
     * or, without `require`, on its way.  -errno, maybe later: it could not be moved;
     * the cgroups are given up, and the watchdog looks after the memory. */
    void (*on_entered)(void *ctx, int code);
    /* The watchdog: the kernel is over its memory.  `why` names the limit; checkpoints alone
     * hold `kept` of `most` bytes. */
    void (*on_over_memory)(void *ctx, const char *why, uint64_t kept, uint64_t most);
    /* Likewise with cgroups, whose memory is watched: false: no longer. */
    bool (*on_kept)(void *ctx, uint64_t kept, uint64_t most);
};

/* Makes the cgroups and starts the sweeper.  NULL with *err filled: no memory,
 * or a layer is missing that `require` asks for. */
struct rf_enclosure *rf_enclosure_new(uv_loop_t *loop, const struct rf_enclosure_options *options,
                                      const struct rf_enclosure_events *events, void *ctx,
                                      struct rf_error *err);

/* Appends `policy` with what follows from here: rlimits, and network where it
 * cannot be as asked. */
void rf_enclosure_policy(const struct rf_enclosure *enclosure, struct rf_bytes policy,
                         struct rf_buf *to);

/* The sandbox was made; `keeper` is its first process.  on_entered follows,
 * maybe within the call. */
void rf_enclosure_enter(struct rf_enclosure *enclosure, int keeper);
/* It is gone, or about to be. */
void rf_enclosure_leave(struct rf_enclosure *enclosure);

/* A cell begins (or `now`: a checkpoint went): looks at the memory, some times a second,
 * as long as on_kept wants to know.  Without cgroups the watchdog does so anyway. */
void rf_enclosure_watch(struct rf_enclosure *enclosure, bool now);

/* Why the memory limit killed a process since the last call; NULL: it did not.
 * Valid until the next call. */
const char *rf_enclosure_killed(struct rf_enclosure *enclosure);
/* Whether it killed one, which is then not told by the above. */
bool rf_enclosure_killed_one(struct rf_enclosure *enclosure);
/* `before` (at most 110 bytes), then the words for the memory limit; valid likewise. */
const char *rf_enclosure_memory_words(struct rf_enclosure *enclosure, const char *before);
/* Whether its memory is so much that the end of a process may take long; true where nobody
 * counts it. */
bool rf_enclosure_is_large(const struct rf_enclosure *enclosure);
/* Whether files in memory and shared segments fill it so much that no worker could go on
 * in it; only a new sandbox frees them. */
bool rf_enclosure_is_full(const struct rf_enclosure *enclosure);
/* What a cell is to be told on its end: the limit that it ran into, or NULL. */
const char *rf_enclosure_notice(struct rf_enclosure *enclosure);

/* Layers that are lost out here, with commas; "" for none. */
const char *rf_enclosure_lost(const struct rf_enclosure *enclosure);

/* This process was forked from the one that made it: its cgroups are ours from here on. */
void rf_enclosure_inherit(struct rf_enclosure *enclosure);

/* Kills and removes all of it, in the background.  The memory goes later. */
void rf_enclosure_close(struct rf_enclosure *enclosure);

#endif
