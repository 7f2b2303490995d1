/* The zygote's part: what it has ready for its sandboxes, and the clone that begins one. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/filter.h"
#include "kernel/sandbox/share.h"
#include "kernel/sandbox/table.h"

int rf_sandbox_base_init(struct rf_sandbox_base *base, const char *const *imports, size_t n_imports)
{
    int r;
    *base = (struct rf_sandbox_base){.imports = imports, .n_imports = n_imports, .granted = -1};
    base->filters = rf_filters_new(&r);
    return r;
}

void rf_sandbox_base_deinit(struct rf_sandbox_base *base)
{
    base->filters = rf_filters_free(base->filters);
}

struct rf_sandbox_shape rf_sandbox_shape_guess(void)
{
    return (struct rf_sandbox_shape){.walls = true, .own_net = true, .ids = !geteuid()};
}

const char *rf_sandbox_refuses(const struct rf_sandbox_policy *policy)
{
    bool ids = policy->uid != RF_NO_ID;
    if (policy->walls && !geteuid() && !ids)
        return "the sandbox policy of a gateway of root must name the uid and gid of the kernel";
    if (ids && geteuid())
        return "the sandbox policy names a uid, and this is no gateway of root";
    return NULL;
}

int rf_sandbox_owner_map(const struct rf_sandbox_policy *policy, struct rf_owner_map *last)
{
    struct rf_owner_map now = {policy->owner, policy->uid, policy->gid, -1};
    if (last->fd >= 0 && last->owner == now.owner && last->uid == now.uid && last->gid == now.gid)
        return last->fd;
    now.fd = rf_move_high(
        rf_mount_owner_map((unsigned)now.owner, (unsigned)now.uid, (unsigned)now.gid));
    rf_closep(&last->fd);
    *last = now;
    return now.fd;
}

/* The raw call: like fork, the child goes on on a copy of this stack. */
static pid_t raw_clone(int flags)
{
    long pid = syscall(SYS_clone, (long)((unsigned)flags | SIGCHLD), 0L, 0L, 0L, 0L);
    return pid < 0 ? (pid_t)-errno : (pid_t)pid;
}

static void lose_namespaces(struct rf_sandbox *sandbox, int flags)
{
    for (size_t i = 0; i < rf_n_steps; i++)
        if (rf_steps[i].phase == RF_CLONE && rf_steps[i].needs & flags)
            rf_sandbox_lose(sandbox, rf_steps[i].name);
}

pid_t rf_sandbox_clone(struct rf_sandbox *sandbox, int (*run)(void *), void *arg)
{
    struct rf_sandbox_base *base = sandbox->base;
    int flags = rf_sandbox_wanted(sandbox);
    if (flags && base->granted < 0)
        base->granted = rf_sandbox_ask_namespaces(base);
    for (int tries = 0;; tries++) {
        sandbox->have = flags & base->granted;
        sandbox->lost[0] = '\0';
        lose_namespaces(sandbox, flags & ~base->granted);
        pid_t pid = run ? rf_share_memory(sandbox->have, run, arg) : raw_clone(sandbox->have);
        if (pid >= 0 || tries || !flags || pid == -EAGAIN || pid == -ENOMEM)
            return pid;
        base->granted = rf_sandbox_ask_namespaces(base); /* a limit was lowered since */
    }
}
