/* Where this process's cgroups are: /proc/self/cgroup and the mounts, read.
 *
 * Pure text.  A controller is on a v1 mount of its own, or (as all that are on
 * none) on the unified hierarchy of v2; both can be mounted side by side.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_CGROUP_PLACE_H
#define RINGFENCE_GATEWAY_SUPERVISE_CGROUP_PLACE_H

#include <limits.h>

#include "common/bytes.h"

enum rf_cgroup_kind { RF_CGROUP_MEMORY, RF_CGROUP_PIDS, RF_CGROUP_CPU, RF_CGROUP_KINDS };

extern const char *const rf_cgroup_names[RF_CGROUP_KINDS]; /* as the kernel calls them */

struct rf_cgroup_place {
    char v1[RF_CGROUP_KINDS][PATH_MAX]; /* folder of our own cgroup; "": not on a v1 mount */
    char v2[PATH_MAX];                  /* likewise on the unified hierarchy; "": not mounted */
};

/* A cgroup that the mount does not show (another namespace's) counts as none. */
void rf_cgroup_find(struct rf_bytes proc_cgroup, struct rf_bytes mountinfo,
                    struct rf_cgroup_place *ret);

#endif
