/* The sandbox around one kernel: one ordered table of named steps.
 *
 * The zygote makes the keeper-to-be with rf_sandbox_clone(), in the shape that it
 * expects to be asked for.  That process forks the worker and executes the keeper's
 * program, which runs rf_sandbox_enter(): all that needs no policy.  With the request's
 * policy it runs rf_sandbox_finish(), while the worker runs rf_sandbox_lower() on itself;
 * then the worker runs rf_sandbox_confine(), while the keeper runs rf_sandbox_keep().
 * Each has one thread.  A layer that the machine denies is named in
 * `lost`; where the policy requires all of them it is an error that names the step.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_H
#define RINGFENCE_KERNEL_SANDBOX_H

#include <stdio.h>
#include <sys/types.h>

#include <ringfence/keeper.h>

#include "kernel/sandbox/mounts.h"
#include "kernel/sandbox/plan.h"
#include "kernel/sandbox/policy.h"

struct rf_filters;

/* What must be known before the clone. */
struct rf_sandbox_shape {
    bool walls;
    bool own_net;
    bool ids; /* the gateway is root, the kernel another user */
};

/* What the zygote has ready for all its sandboxes. */
struct rf_sandbox_base {
    const char *const *imports; /* paths that it imports from; borrowed */
    size_t n_imports;
    struct rf_filters *filters; /* owned; NULL: they could not be made */
    int granted;                /* CLONE_NEW* that this machine grants; -1: not asked yet */
    char why[160];              /* why some are not granted */
};

struct rf_sandbox {
    struct rf_sandbox_base *base;           /* borrowed */
    const struct rf_sandbox_policy *policy; /* borrowed; NULL before it is known */
    struct rf_sandbox_shape shape;
    uid_t uid; /* who runs inside */
    gid_t gid;
    int have; /* CLONE_NEW* and enum rf_sandbox_fact that hold */
    struct rf_mount_root root;
    int owner_map; /* as of rf_sandbox_owner_map(); borrowed from the handing over on */
    char lost[RF_KEEPER_TEXT_MAX]; /* denied layers, comma-separated */
    char note[RF_KEEPER_TEXT_MAX]; /* what the user has to know of; "" for nothing */
    struct rf_error error;         /* of the step that failed */
};

int rf_sandbox_base_init(struct rf_sandbox_base *base, const char *const *imports,
                         size_t n_imports);
void rf_sandbox_base_deinit(struct rf_sandbox_base *base);
/* The part of it that a keeper-to-be needs, for another program: a sealed file, to be closed
 * by the caller, or -errno. */
int rf_sandbox_base_write(const struct rf_sandbox_base *base);
/* That part, for as long as the process lives.  0 or -errno. */
int rf_sandbox_base_read(int fd, struct rf_sandbox_base *ret);

struct rf_sandbox_shape rf_sandbox_shape_of(const struct rf_sandbox_policy *policy);
/* What a zygote expects that has not been asked yet. */
struct rf_sandbox_shape rf_sandbox_shape_guess(void);
/* NULL, or why no kernel can be made with this policy by this user. */
const char *rf_sandbox_refuses(const struct rf_sandbox_policy *policy);

/* Are files of the policy's owner to appear as the kernel's? */
bool rf_sandbox_maps_owner(const struct rf_sandbox_policy *policy);
struct rf_owner_map {
    uint64_t owner, uid, gid;
    int fd; /* owned; negative: none */
};
/* In the zygote, for sandbox->owner_map: a descriptor, which stays in *last for the
 * next policy of the same ids, or -errno. */
int rf_sandbox_owner_map(const struct rf_sandbox_policy *policy, struct rf_owner_map *last);

void rf_sandbox_init(struct rf_sandbox *sandbox, struct rf_sandbox_base *base,
                     struct rf_sandbox_shape shape);

/* clone(2) into the namespaces that this machine grants; its pid in the caller's namespace,
 * or -errno.  Without `run` like fork: 0 in the child.  Else the child runs that, on this
 * process's memory (kernel/sandbox/share.h). */
pid_t rf_sandbox_clone(struct rf_sandbox *sandbox, int (*run)(void *), void *arg);
/* Before an exec in the child, which would take away its powers over what it made: those
 * of a user namespace whose ids are not mapped to root's.  0 or -errno. */
int rf_sandbox_keep_powers(const struct rf_sandbox *sandbox);

/* The phases; 0, or -errno with sandbox->error set. */
int rf_sandbox_enter(struct rf_sandbox *sandbox);
int rf_sandbox_finish(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy);
int rf_sandbox_lower(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy);
int rf_sandbox_confine(struct rf_sandbox *sandbox);
int rf_sandbox_keep(struct rf_sandbox *sandbox);

/* In a confined worker: is the keeper out of its sight, even one that can be traced? */
bool rf_sandbox_is_screened(const struct rf_sandbox *sandbox);

/* Adds a layer, or several with commas between, to what is lost. */
void rf_sandbox_lose(struct rf_sandbox *sandbox, const char *layer);

/* Runs every step in a throw-away child and prints {"step": {"works": bool, "why":
 * text}, ...} as JSON.  0, or 1 where a step does not work. */
int rf_sandbox_probe(FILE *to);

/* How likely the machine is to end this process when memory is short: a worker
 * before a checkpoint, and both before a keeper, which keeps the client's score.
 * Thousandths of the way from that to the most.  The machine adds what a process has in
 * memory, in thousandths of the limit; so those that are to go first must stand above a
 * worker by more than the worker may be larger. */
enum rf_oom { RF_OOM_CHECKPOINT = 50, RF_OOM_WORKER = 200, RF_OOM_FIRST = 1000, RF_OOM_TURN = 5 };
void rf_sandbox_oom(int score);

#endif
