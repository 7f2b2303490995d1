/* See mounts.h. */
#include "kernel/sandbox/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

static int open_plainly(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC, .resolve = resolve};
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

int rf_mount_new(const char *type, const struct rf_mount_option *options, uint64_t attributes)
{
    RF_AUTO(rf_closep) int context = fsopen(type, FSOPEN_CLOEXEC);
    if (context < 0)
        return -errno;
    for (; options && options->name; options++)
        if (fsconfig(context, FSCONFIG_SET_STRING, options->name, options->value, 0))
            return -errno;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        return -errno;
    int mount = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)attributes);
    return mount < 0 ? -errno : mount;
}

static int copy(int source, uint64_t attributes, int owner_map)
{
    if (source < 0)
        return source;
    RF_AUTO(rf_closep) int tree = open_tree(
        source, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return -errno;
    struct mount_attr change = {.attr_set = attributes, .propagation = MS_PRIVATE};
    if (owner_map >= 0) {
        change.attr_set |= MOUNT_ATTR_IDMAP;
        change.userns_fd = (uint64_t)owner_map;
    }
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof(change)))
        return -errno;
    return rf_steal_fd(&tree);
}

int rf_mount_copy(const char *path, uint64_t attributes, int owner_map)
{
    RF_AUTO(rf_closep) int source =
        open_plainly(AT_FDCWD, path, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    return copy(source, attributes, owner_map);
}

int rf_mount_copy_system(const char *path, uint64_t attributes)
{
    RF_AUTO(rf_closep) int source = open_plainly(AT_FDCWD, path, 0, RESOLVE_NO_MAGICLINKS);
    return copy(source, attributes, -1);
}

static int open_below(const struct rf_mount_root *root, const char *path)
{
    return open_plainly(root->fd, path[1] ? path + 1 : ".", 0,
                        RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH);
}

static int make_one(int dir, const char *name, bool file)
{
    return (file ? mknodat(dir, name, S_IFREG | 0644, 0) : mkdirat(dir, name, 0755)) ? -errno : 0;
}

/* Below an id-mapped mount root is nobody, so there the user makes it. */
static int make_in(const struct rf_mount_root *root, int dir, const char *name, bool file)
{
    int r = make_one(dir, name, file);
    if (!r && root->uid != geteuid())
        return fchownat(dir, name, root->uid, root->gid, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
    if (r == -EOVERFLOW || r == -EACCES) {
        uid_t uid = (uid_t)setfsuid(root->uid);
        gid_t gid = (gid_t)setfsgid(root->gid);
        r = make_one(dir, name, file);
        setfsuid(uid);
        setfsgid(gid);
    }
    return r == -EEXIST ? 0 : r;
}

static int make_below(const struct rf_mount_root *root, const char *path, bool file);

/* The folder that `path` lies in, made if it is missing, and the path's last part. */
static int open_parent(const struct rf_mount_root *root, const char *path, const char **ret_name)
{
    char parent[PATH_MAX];
    *ret_name = strrchr(path, '/') + 1;
    size_t len = (size_t)(*ret_name - path) - 1;
    if (snprintf(parent, sizeof(parent), "%.*s", len ? (int)len : 1, path) >= PATH_MAX)
        return -ENAMETOOLONG;
    int dir = open_below(root, parent);
    if (dir != -ENOENT)
        return dir;
    int r = make_below(root, parent, false);
    return r ? r : open_below(root, parent);
}

static int make_below(const struct rf_mount_root *root, const char *path, bool file)
{
    const char *name;
    RF_AUTO(rf_closep) int dir = open_parent(root, path, &name);
    return dir < 0 ? dir : make_in(root, dir, name, file);
}

int rf_mount_make_link(const struct rf_mount_root *root, const char *path, const char *target)
{
    const char *name;
    RF_AUTO(rf_closep) int dir = open_parent(root, path, &name);
    return dir < 0 ? dir : symlinkat(target, dir, name) ? -errno : 0;
}

int rf_mount_make_folder(const struct rf_mount_root *root, const char *path)
{
    RF_AUTO(rf_closep) int there = open_below(root, path);
    return there == -ENOENT ? make_below(root, path, false) : there < 0 ? there : 0;
}

int rf_mount_attach(int mount, const struct rf_mount_root *root, const char *path, bool file)
{
    RF_AUTO(rf_closep) int taken = mount;
    if (taken < 0)
        return taken;
    RF_AUTO(rf_closep) int target = open_below(root, path);
    if (target == -ENOENT) {
        int r = make_below(root, path, file);
        if (r)
            return r;
        target = open_below(root, path);
    }
    if (target < 0)
        return target;
    if (move_mount(taken, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
        return -errno;
    return 0;
}

int rf_mount_attach_first(int mount, const struct rf_mount_root *root, const char *path, bool file)
{
    RF_AUTO(rf_closep) int taken = mount;
    if (taken < 0)
        return taken;
    for (int tries = 0; move_mount(taken, "", root->fd, path + 1, MOVE_MOUNT_F_EMPTY_PATH); tries++) {
        if (errno != ENOENT || tries)
            return -errno;
        int r = make_one(root->fd, path + 1, file);
        r = r == -ENOENT ? make_below(root, path, file) : r;
        if (r)
            return r;
    }
    return 0;
}

int rf_mount_restrict(const struct rf_mount_root *root, const char *path, uint64_t attributes)
{
    RF_AUTO(rf_closep) int target = open_below(root, path);
    if (target < 0)
        return target;
    struct mount_attr change = {.attr_set = attributes};
    return mount_setattr(target, "", AT_EMPTY_PATH, &change, sizeof(change)) ? -errno : 0;
}

/* --- id maps --- */

static int be_there(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return 0;
}

static int write_map(int proc, const char *name, unsigned from, unsigned to)
{
    char text[48];
    int len = snprintf(text, sizeof(text), "%u %u 1", from, to);
    RF_AUTO(rf_closep) int fd = openat(proc, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, (size_t)len) == len ? 0 : -errno;
}

static int map_of(pid_t pid, unsigned from, unsigned uid, unsigned gid)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d", pid);
    RF_AUTO(rf_closep) int proc = open(path, O_PATH | O_CLOEXEC);
    if (proc < 0)
        return -errno;
    int r = write_map(proc, "uid_map", from, uid);
    r = r ? r : write_map(proc, "gid_map", from, gid);
    if (r)
        return r;
    int fd = openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A namespace cannot be without a process until a descriptor holds it.  This one
 * shares our memory, so that no page table is copied for it. */
int rf_mount_owner_map(unsigned from, unsigned uid, unsigned gid)
{
    static char stack[16384] __attribute__((aligned(16)));
    pid_t pid = clone(be_there, stack + sizeof(stack), CLONE_VM | CLONE_NEWUSER | SIGCHLD, NULL);
    if (pid < 0)
        return -errno;
    int fd = map_of(pid, from, uid, gid);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return fd;
}
