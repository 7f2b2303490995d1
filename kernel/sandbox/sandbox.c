/* See sandbox.h. */
#include "kernel/sandbox/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/sandbox/table.h"

#define NEW_ROOT (CLONE_NEWNS | RF_HAVE_MOUNTS | RF_HAVE_ROOT)

/* In order; a step's place is part of what it does. */
const struct rf_step rf_steps[] = {
    /* --- the clone --- */
    /* Gives an ordinary user the right to all others.  Root needs none here: it makes
     * the mounts with its own powers, so that those inside are nobody's to change. */
    {"user", RF_CLONE, CLONE_NEWUSER, 0, NULL, 0},
    {"pid", RF_CLONE, CLONE_NEWPID, 0, NULL, 0},
    {"mount", RF_CLONE, CLONE_NEWNS, 0, NULL, 0},
    {"ipc", RF_CLONE, CLONE_NEWIPC, 0, NULL, 0},
    {"uts", RF_CLONE, CLONE_NEWUTS, 0, NULL, 0},
    {"net", RF_CLONE, CLONE_NEWNET, 0, NULL, 0},
    {"cgroup", RF_CLONE, CLONE_NEWCGROUP, 0, NULL, 0},

    /* --- the keeper-to-be, before anybody asked --- */
    /* First: without mapped ids nothing below has an owner. */
    {"map_ids", RF_ENTER, CLONE_NEWUSER, 0, rf_step_map_ids, RF_FATAL},
    /* A network of one's own has a loopback that is down. */
    {"loopback", RF_ENTER, CLONE_NEWNET, 0, rf_step_loopback, 0},
    /* Before any mount, so that none shows outside. */
    {"private_mounts", RF_ENTER, CLONE_NEWNS, RF_HAVE_MOUNTS, rf_step_private_mounts, 0},
    {"root", RF_ENTER, CLONE_NEWNS | RF_HAVE_MOUNTS, RF_HAVE_ROOT, rf_step_new_root, RF_LAYER},
    {"system", RF_ENTER, NEW_ROOT, 0, rf_step_system, RF_FATAL},
    {"devices", RF_ENTER, NEW_ROOT, 0, rf_step_devices, RF_FATAL},
    /* In the new pid namespace, so that it shows that and nothing else, and while the
     * old /proc is still seen: where parts of that are masked (a container), the
     * machine refuses. */
    {"proc", RF_ENTER, NEW_ROOT | CLONE_NEWPID, RF_HAVE_PROC, rf_step_proc, RF_LAYER},
    {"outer_proc", RF_ENTER, NEW_ROOT, 0, rf_step_outer_proc, RF_FATAL},
    {"mask_proc", RF_ENTER, NEW_ROOT, 0, rf_step_mask_proc, RF_LAYER},

    /* --- the keeper-to-be, with the policy --- */
    {"memory", RF_FINISH, NEW_ROOT, 0, rf_step_memory, RF_FATAL},
    /* After /tmp, in which the workspace may lie; parents before what lies in them. */
    {"places", RF_FINISH, NEW_ROOT, 0, rf_step_places, RF_FATAL},
    /* When nothing of the old root is needed any more. */
    {"pivot_root", RF_FINISH, NEW_ROOT, 0, rf_step_pivot, RF_FATAL},

    /* --- the worker, on itself, while the keeper-to-be does the above --- */
    /* Lowers what the client's limits left.  This and the score trusted code has, too. */
    {"limits", RF_LOWER, 0, 0, rf_step_limits, RF_FATAL | RF_ALWAYS},
    /* While there is a power to do it with. */
    {"bounds", RF_LOWER, 0, 0, rf_step_drop_bounds, RF_FATAL},
    /* Root ends here; nothing goes on as root where this fails. */
    {"change_user", RF_LOWER, 0, 0, rf_step_change_user, RF_FATAL},

    /* --- the worker, when the walls around both are up --- */
    /* One below that which owns the mounts: powers gained in here would not reach them.
     * After the change of roots, since a process with another root than its namespace
     * gets none, and before the filter, which refuses it. */
    {"own_user", RF_CONFINE, 0, RF_HAVE_SCREEN, rf_step_own_user_namespace, RF_LAYER},
    /* Those of the new namespace. */
    {"capabilities", RF_CONFINE, 0, 0, rf_step_drop_capabilities, RF_FATAL},
    /* Without powers, so that it may lower the score again in a checkpoint. */
    {"oom_score", RF_CONFINE, 0, 0, rf_step_oom, RF_ALWAYS},
    /* Landlock and filters ask for it where there are no powers. */
    {"no_new_privs", RF_CONFINE, 0, RF_HAVE_NO_NEW_PRIVS, rf_step_no_new_privs, RF_FATAL},
    /* In the new root, whose folders it names. */
    {"landlock", RF_CONFINE, RF_HAVE_NO_NEW_PRIVS, RF_HAVE_SCREEN, rf_step_landlock, RF_LAYER},
    /* Last: it refuses most of what was called above. */
    {"seccomp", RF_CONFINE, RF_HAVE_NO_NEW_PRIVS, 0, rf_step_filter, RF_LAYER},

    /* --- the keeper-to-be, while the worker does the above --- */
    /* While there is a power to do it with. */
    {"keeper_bounds", RF_KEEP, 0, 0, rf_step_drop_bounds, RF_FATAL},
    {"keeper_user", RF_KEEP, 0, 0, rf_step_change_user, RF_FATAL},
    {"keeper_capabilities", RF_KEEP, 0, 0, rf_step_drop_capabilities, RF_FATAL},
    {"keeper_no_new_privs", RF_KEEP, 0, RF_HAVE_NO_NEW_PRIVS, rf_step_no_new_privs, RF_FATAL},
    {"keeper_seccomp", RF_KEEP, RF_HAVE_NO_NEW_PRIVS, 0, rf_step_keeper_filter, RF_LAYER},
};

const size_t rf_n_steps = sizeof(rf_steps) / sizeof(*rf_steps);

struct rf_sandbox_shape rf_sandbox_shape_of(const struct rf_sandbox_policy *policy)
{
    return (struct rf_sandbox_shape){
        .walls = policy->walls,
        .own_net = policy->walls && policy->network != RF_NETWORK_HOST,
        .ids = policy->walls && policy->uid != RF_NO_ID,
    };
}

bool rf_sandbox_maps_owner(const struct rf_sandbox_policy *policy)
{
    return policy->walls && policy->uid != RF_NO_ID && policy->owner != RF_NO_ID &&
           policy->owner != policy->uid;
}

void rf_sandbox_init(struct rf_sandbox *sandbox, struct rf_sandbox_base *base,
                     struct rf_sandbox_shape shape)
{
    *sandbox = (struct rf_sandbox){.base = base, .shape = shape, .uid = geteuid(),
                                   .gid = getegid(), .root.fd = -1, .owner_map = -1};
}

void rf_sandbox_lose(struct rf_sandbox *sandbox, const char *layer)
{
    size_t n = strlen(sandbox->lost);
    if (n + strlen(layer) + 2 < sizeof(sandbox->lost))
        snprintf(sandbox->lost + n, sizeof(sandbox->lost) - n, "%s%s", n ? "," : "", layer);
}

int rf_sandbox_wanted(const struct rf_sandbox *sandbox)
{
    int flags = 0;
    for (size_t i = 0; i < rf_n_steps; i++)
        if (rf_steps[i].phase == RF_CLONE)
            flags |= rf_steps[i].needs;
    if (!sandbox->shape.own_net)
        flags &= ~CLONE_NEWNET;
    if (sandbox->shape.ids)
        flags &= ~CLONE_NEWUSER;
    return sandbox->shape.walls ? flags : 0;
}

/* All layers are asked for, and these are not there. */
static int refuse_without(struct rf_sandbox *sandbox, const char *layers, int code)
{
    return rf_error_set(&sandbox->error, code,
                        "this machine denies: %s (%s); `ringfence doctor` tells what to do, and "
                        "--sandbox=auto does without",
                        layers, strerror(-code));
}

/* Namespaces that root does without, or that were not asked for, are no loss. */
bool rf_sandbox_applies(const struct rf_sandbox *sandbox, const struct rf_step *step)
{
    int not_wanted = (CLONE_NEWUSER | CLONE_NEWNET) & ~rf_sandbox_wanted(sandbox);
    return !(step->needs & not_wanted);
}

int rf_sandbox_run_step(struct rf_sandbox *sandbox, const struct rf_step *step)
{
    int r = step->run(sandbox);
    if (!r)
        sandbox->have |= step->gives;
    return r;
}

static int take_step(struct rf_sandbox *sandbox, const struct rf_step *step)
{
    bool missing = step->needs & ~sandbox->have;
    if (missing && !(step->flags & RF_LAYER))
        return 0; /* it is about a layer that was lost, and named */
    int r = missing ? -EOPNOTSUPP : rf_sandbox_run_step(sandbox, step);
    if (r && step->flags & RF_FATAL)
        return rf_error_errno(&sandbox->error, r, "step %s", step->name);
    if (r && sandbox->policy && sandbox->policy->require)
        return refuse_without(sandbox, step->name, r);
    if (r)
        rf_sandbox_lose(sandbox, step->name);
    return 0;
}

static int run_steps(struct rf_sandbox *sandbox, enum rf_phase phase)
{
    int r = 0;
    for (size_t i = 0; !r && i < rf_n_steps; i++) {
        const struct rf_step *step = &rf_steps[i];
        bool wanted_now = sandbox->shape.walls || step->flags & RF_ALWAYS;
        if (step->phase == phase && wanted_now && rf_sandbox_applies(sandbox, step))
            r = take_step(sandbox, step);
    }
    return r;
}

void rf_sandbox_know(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy)
{
    sandbox->policy = policy;
    if (sandbox->shape.ids) {
        sandbox->uid = (uid_t)policy->uid;
        sandbox->gid = (gid_t)policy->gid;
    }
    sandbox->root.uid = sandbox->uid;
    sandbox->root.gid = sandbox->gid;
}

int rf_sandbox_enter(struct rf_sandbox *sandbox)
{
    umask(0022);
    return run_steps(sandbox, RF_ENTER);
}

int rf_sandbox_finish(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy)
{
    rf_sandbox_know(sandbox, policy);
    if (policy->require && sandbox->lost[0])
        return refuse_without(sandbox, sandbox->lost, -EPERM);
    return run_steps(sandbox, RF_FINISH);
}

bool rf_sandbox_is_screened(const struct rf_sandbox *sandbox)
{
    return !sandbox->shape.walls || sandbox->have & RF_HAVE_SCREEN;
}

int rf_sandbox_lower(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy)
{
    rf_sandbox_know(sandbox, policy);
    return run_steps(sandbox, RF_LOWER);
}

int rf_sandbox_confine(struct rf_sandbox *sandbox)
{
    return run_steps(sandbox, RF_CONFINE);
}

int rf_sandbox_keep(struct rf_sandbox *sandbox)
{
    return run_steps(sandbox, RF_KEEP);
}
