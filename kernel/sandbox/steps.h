/* The steps of the sandbox's table (sandbox.c), as far as they are functions.
 *
 * Each runs in the process and phase that the table names, and does what its
 * name says or returns -errno.  One that can say more fills sandbox->error.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_STEPS_H
#define RINGFENCE_KERNEL_SANDBOX_STEPS_H

#include "kernel/sandbox/sandbox.h"

enum rf_sandbox_fact { /* beside CLONE_NEW*, whose bits are higher */
    RF_HAVE_MOUNTS = 1 << 0, /* mounts made here stay here */
    RF_HAVE_ROOT = 1 << 1,   /* a new root is being made, or is in place */
    RF_HAVE_PROC = 1 << 2,
    RF_HAVE_NO_NEW_PRIVS = 1 << 3,
    RF_HAVE_SCREEN = 1 << 4, /* no process outside of this one's own walls can be looked into */
};

/* Names of empty things in the new root, of which a copy lies over what is hidden. */
#define RF_EMPTY_FOLDER ".empty"
#define RF_EMPTY_FILE ".none"

/* ids.c */
int rf_step_map_ids(struct rf_sandbox *sandbox);
int rf_step_loopback(struct rf_sandbox *sandbox);
int rf_step_change_user(struct rf_sandbox *sandbox);
int rf_step_own_user_namespace(struct rf_sandbox *sandbox);
int rf_step_drop_bounds(struct rf_sandbox *sandbox);
int rf_step_drop_capabilities(struct rf_sandbox *sandbox);
int rf_step_no_new_privs(struct rf_sandbox *sandbox);
int rf_write_file(const char *path, const char *text);
/* Maps the caller's ids to themselves in the user namespace that it is in. */
int rf_map_self(uid_t uid, gid_t gid);

/* root.c */
int rf_step_private_mounts(struct rf_sandbox *sandbox);
int rf_step_new_root(struct rf_sandbox *sandbox);
int rf_step_system(struct rf_sandbox *sandbox);
int rf_step_devices(struct rf_sandbox *sandbox);
int rf_step_proc(struct rf_sandbox *sandbox);
int rf_step_outer_proc(struct rf_sandbox *sandbox);
int rf_step_mask_proc(struct rf_sandbox *sandbox);

/* etc.c: takes each path of /etc that a sandbox has, there or not, until one fails. */
int rf_each_etc(int (*take)(void *ctx, const char *path), void *ctx);

/* places.c */
int rf_step_memory(struct rf_sandbox *sandbox);
int rf_step_places(struct rf_sandbox *sandbox);
int rf_step_pivot(struct rf_sandbox *sandbox);

/* limits.c */
int rf_step_limits(struct rf_sandbox *sandbox);
int rf_step_oom(struct rf_sandbox *sandbox);

/* landlock.c */
int rf_step_landlock(struct rf_sandbox *sandbox);

/* filter.c */
int rf_step_filter(struct rf_sandbox *sandbox);
int rf_step_keeper_filter(struct rf_sandbox *sandbox);

#endif
