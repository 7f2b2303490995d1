/* The sandbox around one kernel: an ordered table of named steps.
 *
 * The zygote makes the keeper with rf_sandbox_clone(); the new process then
 * runs rf_sandbox_enter() before it forks the worker, and the worker runs
 * rf_sandbox_confine() before any Python.  Children only: async-signal-safe
 * calls.  Today's steps are namespaces and capabilities; a layer that the
 * machine denies is named, never passed over in silence.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_H
#define RINGFENCE_KERNEL_SANDBOX_H

#include <sys/types.h>

struct rf_sandbox {
    uid_t uid; /* the caller's, mapped to itself */
    gid_t gid;
    int namespaces;  /* CLONE_NEW* that hold */
    char lost[44];   /* denied layers, comma-separated */
    const char *failed; /* the step that failed; static */
};

/* Fills in who calls. */
void rf_sandbox_init(struct rf_sandbox *sandbox);

/* clone(2) into the namespaces that this machine grants; like fork: 0 in the
 * child, its pid in the caller's namespace in the parent, -errno. */
pid_t rf_sandbox_clone(struct rf_sandbox *sandbox);

/* In the new process, pid 1 inside: the rest of the walls.  0 or -errno with
 * sandbox->failed set. */
int rf_sandbox_enter(struct rf_sandbox *sandbox);

/* In the worker: gives up what it must not have.  0 or -errno as above. */
int rf_sandbox_confine(struct rf_sandbox *sandbox);

#endif
