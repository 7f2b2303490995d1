/* Steps: the new root as far as it is the same for every kernel of a zygote. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringfence/policy.h>

#include "common/cleanup.h"
#include "kernel/sandbox/steps.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define RESOLVER "/etc/resolv.conf"
#define READ_ONLY (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* What libraries read to learn of processors and memory nodes. */
static const char *const sys[] = {"/sys/devices/system/cpu", "/sys/devices/system/node",
                                  "/sys/kernel/mm/transparent_hugepage"};

static const char *const devices[] = {"/dev/null",    "/dev/zero",   "/dev/full",
                                      "/dev/random",  "/dev/urandom", "/dev/tty"};

static const struct {
    const char *path, *target;
} links[] = {
    {"dev/fd", "/proc/self/fd"},       {"dev/stdin", "/proc/self/fd/0"},
    {"dev/stdout", "/proc/self/fd/1"}, {"dev/stderr", "/proc/self/fd/2"},
    {"dev/ptmx", "pts/ptmx"},          {"dev/core", "/proc/kcore"},
    {"var/run", "../run"},
};

static const char *const folders[] = {"usr", "etc", "dev", "dev/pts", "dev/shm", "proc", "sys",
                                      "tmp", "run", "var", "var/tmp", "home", RF_EMPTY_FOLDER};

int rf_step_private_mounts(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0;
}

static int make_folders(int root)
{
    for (size_t i = 0; i < COUNT(folders); i++)
        if (mkdirat(root, folders[i], 0755))
            return -errno;
    if (fchmodat(root, RF_EMPTY_FOLDER, 0555, 0))
        return -errno;
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlinkat(links[i].target, root, links[i].path))
            return -errno;
    return mknodat(root, RF_EMPTY_FILE, S_IFREG | 0444, 0) ? -errno : 0;
}

/* It lies over the old one, which stays the root of this process: paths mean the
 * machine's, the descriptor the sandbox's, until both change places. */
int rf_step_new_root(struct rf_sandbox *sandbox)
{
    static const struct rf_mount_option options[] = {
        {"mode", "0755"}, {"size", "4m"}, {"nr_inodes", "4096"}, {NULL, NULL}};
    struct mount_attr change = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    RF_AUTO(rf_closep) int root = rf_mount_new("tmpfs", options, 0);
    int r = root < 0 ? root : make_folders(root);
    /* Asked for here, since without it (before Linux 5.12) no step below can be done. */
    if (!r && mount_setattr(root, "", AT_EMPTY_PATH, &change, sizeof(change)))
        r = -errno;
    if (!r && move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
        r = -errno;
    if (!r)
        sandbox->root = (struct rf_mount_root){rf_steal_fd(&root), sandbox->uid, sandbox->gid};
    return r;
}

static int attach_copy(struct rf_sandbox *sandbox, const char *path, uint64_t attributes)
{
    struct stat st;
    if (stat(path, &st))
        return errno == ENOENT || errno == EACCES ? 0 : -errno; /* this machine has none */
    return rf_mount_attach_first(rf_mount_copy_system(path, attributes), &sandbox->root, path,
                                 !S_ISDIR(st.st_mode));
}

static int attach_all(struct rf_sandbox *sandbox, const char *const *paths, size_t n,
                      uint64_t attributes)
{
    int r = 0;
    for (size_t i = 0; !r && i < n; i++)
        r = attach_copy(sandbox, paths[i], attributes);
    return r;
}

/* /bin and its like are links into /usr on a merged system, and stay so. */
static int attach_system_folder(struct rf_sandbox *sandbox, const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return attach_copy(sandbox, path, READ_ONLY);
    target[n] = '\0';
    return symlinkat(target, sandbox->root.fd, path + 1) ? -errno : 0;
}

/* In a network of its own the machine's name server is out of reach. */
static int write_resolver(const struct rf_sandbox *sandbox)
{
    static const char text[] = "nameserver " RF_NETWORK_DNS "\n";
    RF_AUTO(rf_closep) int fd = openat(sandbox->root.fd, &RESOLVER[1],
                                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0 || fchmod(fd, 0444))
        return -errno;
    return write(fd, text, sizeof(text) - 1) < 0 ? -errno : 0;
}

static int attach_etc(void *ctx, const char *path)
{
    struct rf_sandbox *sandbox = ctx;
    if (sandbox->have & CLONE_NEWNET && !strcmp(path, RESOLVER))
        return write_resolver(sandbox);
    return attach_copy(sandbox, path, READ_ONLY | MOUNT_ATTR_NOEXEC);
}

int rf_step_system(struct rf_sandbox *sandbox)
{
    int r = 0;
    for (size_t i = 0; !r && rf_system_folders[i]; i++)
        r = attach_system_folder(sandbox, rf_system_folders[i]);
    r = r ? r : rf_each_etc(attach_etc, sandbox);
    return r ? r : attach_all(sandbox, sys, COUNT(sys), READ_ONLY | MOUNT_ATTR_NOEXEC);
}

int rf_step_devices(struct rf_sandbox *sandbox)
{
    static const struct rf_mount_option options[] = {
        {"ptmxmode", "0666"}, {"mode", "0620"}, {NULL, NULL}};
    int r = attach_all(sandbox, devices, COUNT(devices),
                       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (r)
        return r;
    int pts = rf_mount_new("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    return rf_mount_attach_first(pts, &sandbox->root, "/dev/pts", false);
}

int rf_step_proc(struct rf_sandbox *sandbox)
{
    int proc = rf_mount_new("proc", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    return rf_mount_attach_first(proc, &sandbox->root, "/proc", false);
}

/* Better than none: Python, the keeper and much else read /proc/self. */
int rf_step_outer_proc(struct rf_sandbox *sandbox)
{
    if (sandbox->have & RF_HAVE_PROC)
        return 0;
    return attach_copy(sandbox, "/proc", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* Parts of /proc that are about the machine and not about processes. */
static const struct {
    const char *path;
    enum { HIDE, FREEZE } how;
} parts[] = {
    {"/proc/sys", FREEZE},         {"/proc/irq", FREEZE},          {"/proc/bus", FREEZE},
    {"/proc/fs", FREEZE},          {"/proc/mtrr", FREEZE},         {"/proc/sysrq-trigger", HIDE},
    {"/proc/kcore", HIDE},         {"/proc/kallsyms", HIDE},       {"/proc/keys", HIDE},
    {"/proc/key-users", HIDE},     {"/proc/kmsg", HIDE},           {"/proc/timer_list", HIDE},
    {"/proc/sched_debug", HIDE},   {"/proc/latency_stats", HIDE},  {"/proc/kpagecount", HIDE},
    {"/proc/kpageflags", HIDE},    {"/proc/kpagecgroup", HIDE},    {"/proc/scsi", HIDE},
    {"/proc/acpi", HIDE},          {"/proc/asound", HIDE},         {"/proc/dynamic_debug", HIDE},
    {"/proc/vmallocinfo", HIDE},   {"/proc/slabinfo", HIDE},       {"/proc/pagetypeinfo", HIDE},
    {"/proc/modules", HIDE},       {"/proc/iomem", HIDE},          {"/proc/ioports", HIDE},
    {"/proc/sys/fs/binfmt_misc", HIDE}, {"/proc/sys/kernel/core_pattern", HIDE},
    {"/proc/pressure", FREEZE},
};

/* What lies over a part is a copy out of the new root, whose paths are not the
 * process's yet. */
static int copy_inside(struct rf_sandbox *sandbox, const char *name, uint64_t attributes)
{
    int tree = open_tree(sandbox->root.fd, name,
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
    if (tree < 0)
        return -errno;
    struct mount_attr change = {.attr_set = attributes};
    if (!mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof(change)))
        return tree;
    int r = -errno;
    close(tree);
    return r;
}

static int close_part(struct rf_sandbox *sandbox, const char *path, bool hide)
{
    struct stat st;
    if (fstatat(sandbox->root.fd, path + 1, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    bool file = !S_ISDIR(st.st_mode);
    const char *over = !hide ? path + 1 : file ? RF_EMPTY_FILE : RF_EMPTY_FOLDER;
    int tree = copy_inside(sandbox, over, READ_ONLY | MOUNT_ATTR_NOEXEC);
    return rf_mount_attach_first(tree, &sandbox->root, path, file);
}

int rf_step_mask_proc(struct rf_sandbox *sandbox)
{
    int r = 0;
    for (size_t i = 0; !r && i < COUNT(parts); i++)
        r = close_part(sandbox, parts[i].path, parts[i].how == HIDE);
    return r;
}
