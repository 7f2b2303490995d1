/* What of the machine's files one kernel sees beside the system: a list of
 * places in the order in which they are mounted.
 *
 * Made from a policy and the folders that the zygote imports from, by the
 * keeper (to mount) and by the worker (for Landlock).  Looks at the file system,
 * changes nothing.  Parents stand before what lies in them, so a later place
 * lies over an earlier one; of one path the less powerful comes last.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_PLAN_H
#define RINGFENCE_KERNEL_SANDBOX_PLAN_H

#include "kernel/sandbox/policy.h"

/* In the order in which places of one path are mounted. */
enum rf_place_kind {
    RF_PLACE_MEMORY, /* an empty folder of the kernel's own */
    RF_PLACE_WRITE,  /* the machine's, read-write */
    RF_PLACE_READ,   /* the machine's, read-only */
    RF_PLACE_MASK,   /* something empty lies over it */
};

struct rf_place {
    enum rf_place_kind kind;
    const char *name; /* as it was given; borrowed */
    char *path;       /* owned: without symbolic links */
    bool import;      /* the zygote imports from it */
    bool absent;      /* not there yet, and a cell must not make it */
    bool required;    /* an error where it cannot be had */
    bool parent;      /* another place lies in it */
};

struct rf_plan {
    struct rf_place *places; /* owned */
    size_t n;
    const char *held;     /* a read-write path of the policy that is read-only, since ... */
    const char *held_by;  /* ... the zygote imports from here; both borrowed, or NULL */
};

/* Where the kernel has its workspace when the policy names none. */
#define RF_OWN_WORKSPACE "/workspace"

/* `imports`: absolute paths, borrowed while the plan lives, as is the policy.
 * 0, -ENOMEM, or -errno with *err: a path that must be there is not.  *ret needs
 * deinit in each case. */
int rf_plan_make(struct rf_plan *ret, const struct rf_sandbox_policy *policy,
                 const char *const *imports, size_t n_imports, struct rf_error *err);
void rf_plan_deinit(struct rf_plan *plan);

/* Does `path` lie in what every sandbox has of the system, read-only? */
bool rf_path_is_system(const char *path);
/* The folders of the system; ended by NULL. */
extern const char *const rf_system_folders[];

#endif
