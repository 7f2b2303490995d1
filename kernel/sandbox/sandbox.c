/* See sandbox.h. */
#include "kernel/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum when { ENTER, CONFINE };

struct step {
    const char *name;
    enum when when;
    int needs;       /* CLONE_NEW* without which there is nothing to do */
    int (*run)(struct rf_sandbox *);
    const char *layer; /* what is lost when the machine denies it; NULL: failing is fatal */
};

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int map_ids(struct rf_sandbox *sandbox)
{
    char text[64];
    int r = write_file("/proc/self/setgroups", "deny");
    if (r && r != -ENOENT)
        return r;
    snprintf(text, sizeof(text), "%u %u 1", sandbox->uid, sandbox->uid);
    r = write_file("/proc/self/uid_map", text);
    if (r)
        return r;
    snprintf(text, sizeof(text), "%u %u 1", sandbox->gid, sandbox->gid);
    return write_file("/proc/self/gid_map", text);
}

static int private_mounts(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0;
}

static int mount_proc(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ? -errno : 0;
}

static int no_new_privileges(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

static int drop_capabilities(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
            return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &header, none) ? -errno : 0;
}

/* In order; a step's place is part of what it does. */
static const struct step steps[] = {
    /* First: without mapped ids nothing below has a name, and files made would
     * belong to nobody. */
    {"map_ids", ENTER, CLONE_NEWUSER, map_ids, NULL},
    /* Before any mount, so that none shows outside. */
    {"private_mounts", ENTER, CLONE_NEWNS, private_mounts, NULL},
    /* In the new pid namespace, so that /proc shows it and nothing else.  Where
     * the machine masks parts of /proc (a container), the kernel refuses. */
    {"mount_proc", ENTER, CLONE_NEWPID, mount_proc, "proc"},
    /* Worker only: the keeper needs its capabilities to see and signal all. */
    {"drop_capabilities", CONFINE, CLONE_NEWUSER, drop_capabilities, NULL},
    {"no_new_privileges", CONFINE, CLONE_NEWUSER, no_new_privileges, NULL},
};

void rf_sandbox_init(struct rf_sandbox *sandbox)
{
    *sandbox = (struct rf_sandbox){.uid = geteuid(), .gid = getegid()};
}

static void lose(struct rf_sandbox *sandbox, const char *layer)
{
    size_t n = strlen(sandbox->lost);
    snprintf(sandbox->lost + n, sizeof(sandbox->lost) - n, "%s%s", n ? "," : "", layer);
}

/* The raw call: like fork, the child goes on on a copy of this stack. */
static pid_t raw_clone(int flags)
{
    long pid = syscall(SYS_clone, (long)(flags | SIGCHLD), 0L, 0L, 0L, 0L);
    return pid < 0 ? (pid_t)-errno : (pid_t)pid;
}

pid_t rf_sandbox_clone(struct rf_sandbox *sandbox)
{
    sandbox->namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS;
    pid_t pid = raw_clone(sandbox->namespaces);
    if (pid != -EPERM && pid != -ENOSPC && pid != -EINVAL && pid != -ENOSYS && pid != -EUSERS)
        return pid;
    sandbox->namespaces = 0;
    lose(sandbox, "user,pid,mount,proc");
    return raw_clone(0);
}

static int run_steps(struct rf_sandbox *sandbox, enum when when)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        const struct step *step = &steps[i];
        if (step->when != when || (step->needs & ~sandbox->namespaces))
            continue;
        int r = step->run(sandbox);
        if (r && step->layer) {
            lose(sandbox, step->layer);
        } else if (r) {
            sandbox->failed = step->name;
            return r;
        }
    }
    return 0;
}

int rf_sandbox_enter(struct rf_sandbox *sandbox)
{
    return run_steps(sandbox, ENTER);
}

int rf_sandbox_confine(struct rf_sandbox *sandbox)
{
    return run_steps(sandbox, CONFINE);
}
