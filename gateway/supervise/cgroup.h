/* The cgroups of one kernel: made, limited, asked why something died.
 *
 * One folder on v2, one for each controller on v1, below our own cgroup: so no
 * kernel escapes the limits of the job that its gateway runs in.  Made before
 * the kernel's processes; the sweeper moves those in and removes it all
 * (sweep.h).  A controller that this machine or this user does not have is
 * missing in `holds` and named in the reason; never an error by itself.
 *
 * On v2 only a cgroup without processes of its own can divide its controllers.
 * So in one that was delegated to this user the processes that are in it are
 * moved to its child RF_CGROUP_LEAF first.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_CGROUP_H
#define RINGFENCE_GATEWAY_SUPERVISE_CGROUP_H

#include "common/error.h"
#include "gateway/supervise/cgroup_place.h"

#define RF_CGROUP_LEAF "ringfence-gateways"

struct rf_cgroup_limits {
    int64_t memory;    /* bytes; 0 here and below: no limit, and no such controller is needed */
    int64_t processes;
    int64_t cpu;       /* thousandths of a processor */
};

/* Read after each cell, so its file stays open. */
struct rf_cgroup_counter {
    uint64_t seen;
    int fd; /* owned; 0: not opened yet */
};

struct rf_cgroup {
    char *folders[RF_CGROUP_KINDS]; /* owned; distinct, n of them */
    size_t n;
    unsigned wanted, holds; /* bits 1 << enum rf_cgroup_kind */
    int version;            /* 1, 2; 0: none holds */
    const char *memory;     /* the folder of the memory controller; NULL: none */
    bool memory_v2;
    const char *pids;       /* likewise of the pids controller */
    struct rf_cgroup_counter oom_kills, refused_forks;
    char why[160];          /* why something that is wanted does not hold */
};

/* Makes and limits them.  0, or -ENOMEM; *ret needs deinit in each case. */
int rf_cgroup_make(const struct rf_cgroup_place *place, const struct rf_cgroup_limits *limits,
                   const char *name, struct rf_cgroup *ret);
/* As above for this process: its own place, a name of its own. */
int rf_cgroup_make_own(const struct rf_cgroup_limits *limits, struct rf_cgroup *ret);
void rf_cgroup_deinit(struct rf_cgroup *cgroup);

/* Whether the memory limit has killed something since the last time; `one`: the other kills
 * are left for later calls. */
bool rf_cgroup_was_oom(struct rf_cgroup *cgroup, bool one);

/* Bytes that count to the limit; of those the ones of processes' own pages.  0: not known. */
uint64_t rf_cgroup_usage(const struct rf_cgroup *cgroup);
uint64_t rf_cgroup_anonymous(const struct rf_cgroup *cgroup);

/* Bytes of files in memory and shared segments: what the death of a process need not
 * free.  0: not known. */
uint64_t rf_cgroup_shared(const struct rf_cgroup *cgroup);

/* Likewise whether the limit of processes has refused a fork. */
bool rf_cgroup_refused_forks(struct rf_cgroup *cgroup);

/* Appends the names of what is wanted and does not hold, with commas. */
void rf_cgroup_missing(const struct rf_cgroup *cgroup, struct rf_buf *to);

/* For `ringfence doctor`: what this user could have here, without making it.
 * Fills the sentence; true: all of it. */
bool rf_cgroup_describe(const struct rf_cgroup_place *place, char *ret, size_t size);
void rf_cgroup_find_own(struct rf_cgroup_place *ret);

#endif
