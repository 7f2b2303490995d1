/* The cgroups of kernels by their names: whose they are, ending and removing them.
 *
 * ringfence-PIDNS.PID.START.N: the pid namespace, pid and start time of the
 * gateway that made it.  So whoever finds one can tell whether its gateway
 * lives, or has an heir that does; one of another pid namespace is left alone, since nobody here can.
 * libc only: the sweeper is a small static program.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SWEEP_H
#define RINGFENCE_GATEWAY_SUPERVISE_SWEEP_H

#include <stdbool.h>
#include <sys/types.h>

#define RF_SWEEP_NAME_MAX 96
#define RF_SWEEP_FOLDERS_MAX 4 /* one for each kind of limit, and one to spare */

/* A name for a new cgroup of this process.  0 or -errno. */
int rf_sweep_name(char ret[RF_SWEEP_NAME_MAX]);
/* Is it the name of a cgroup whose gateway is dead for certain? */
bool rf_sweep_is_left_over(const char *name);

/* Notes in the folder that this process has taken it over from its gateway, as the name can
 * only tell who made it: an empty cgroup heir.PID.START in it. */
void rf_sweep_inherit(const char *folder);

/* Sends SIGKILL to all that is in it: by cgroup.kill, or process by process. */
void rf_sweep_kill(const char *folder);
/* Kills and removes, for at most `wait_ms`.  0, -EBUSY or another -errno. */
int rf_sweep_remove(const char *folder, int wait_ms);
/* Removes the left-over cgroups in `parent`.  How many it removed. */
int rf_sweep_parent(const char *parent, int wait_ms);

/* Moves a process and all its descendants into these cgroups (up to NULL).  0 or -errno. */
int rf_sweep_attach(char *const *folders, pid_t pid);

#endif
