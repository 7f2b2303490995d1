/* Steps: who a process is, and what it may do as that. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/steps.h"

#define INOTIFY_INSTANCES "32" /* of the user's 128 */

int rf_write_file(const char *path, const char *text)
{
    RF_AUTO(rf_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int rf_map_self(uid_t uid, gid_t gid)
{
    char text[64];
    int r = rf_write_file("/proc/self/setgroups", "deny");
    if (r && r != -ENOENT)
        return r;
    snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    r = rf_write_file("/proc/self/uid_map", text);
    if (r)
        return r;
    snprintf(text, sizeof(text), "%u %u 1", gid, gid);
    return rf_write_file("/proc/self/gid_map", text);
}

int rf_step_map_ids(struct rf_sandbox *sandbox)
{
    int r = rf_map_self(sandbox->uid, sandbox->gid);
    if (!r) /* the machine counts them for the user, outside too; a machine that denies it goes on */
        (void)rf_write_file("/proc/sys/user/max_inotify_instances", INOTIFY_INSTANCES);
    return r;
}

int rf_step_loopback(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    RF_AUTO(rf_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) ? -errno : 0;
}

/* The change of ids takes the capabilities along.  It also makes a process
 * undumpable, which the worker must not be: it reads its own /proc. */
int rf_step_change_user(struct rf_sandbox *sandbox)
{
    if (!sandbox->shape.ids)
        return 0;
    if (setgroups(0, NULL) || setresgid(sandbox->gid, sandbox->gid, sandbox->gid) ||
        setresuid(sandbox->uid, sandbox->uid, sandbox->uid))
        return -errno;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ? -errno : 0;
}

int rf_step_own_user_namespace(struct rf_sandbox *sandbox)
{
    if (unshare(CLONE_NEWUSER))
        return -errno;
    return rf_map_self(sandbox->uid, sandbox->gid);
}

int rf_step_drop_bounds(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)) /* EPERM: there is nothing to drop it with */
            return errno == EINVAL || errno == EPERM ? 0 : -errno; /* EINVAL: beyond the last */
    return 0;
}

int rf_sandbox_keep_powers(const struct rf_sandbox *sandbox)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct powers[2];
    if (!(sandbox->have & CLONE_NEWUSER))
        return 0;
    if (syscall(SYS_capget, &header, powers))
        return -errno;
    for (int i = 0; i < 2; i++)
        powers[i].inheritable = powers[i].permitted;
    if (syscall(SYS_capset, &header, powers))
        return -errno;
    for (int cap = 0; cap < 64; cap++)
        if (powers[cap / 32].permitted >> cap % 32 & 1 &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0))
            return -errno;
    return 0;
}

int rf_step_drop_capabilities(struct rf_sandbox *sandbox)
{
    int r = rf_step_drop_bounds(sandbox);
    if (r)
        return r;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
        return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &header, none) ? -errno : 0;
}

int rf_step_no_new_privs(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}
