/* Steps: what of the new root depends on the request. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/steps.h"

#define READ_ONLY (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define READ_WRITE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define MASK_SIZE "64k"
#define LINKS_MAX 16

/* --- folders in memory --- */

static int attach_memory(struct rf_sandbox *sandbox, const char *path, const char *mode)
{
    const struct rf_sandbox_policy *policy = sandbox->policy;
    uint64_t bytes = policy->disk ? policy->disk : policy->memory;
    char size[24], inodes[24], uid[16], gid[16];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
    snprintf(inodes, sizeof(inodes), "%llu", (unsigned long long)policy->inodes);
    snprintf(uid, sizeof(uid), "%u", sandbox->uid);
    snprintf(gid, sizeof(gid), "%u", sandbox->gid);
    struct rf_mount_option options[6] = {{"mode", mode}, {"uid", uid}, {"gid", gid}};
    size_t n = 3;
    if (bytes)
        options[n++] = (struct rf_mount_option){"size", size};
    if (policy->inodes)
        options[n++] = (struct rf_mount_option){"nr_inodes", inodes};
    return rf_mount_attach(rf_mount_new("tmpfs", options, READ_WRITE), &sandbox->root, path, false);
}

int rf_step_memory(struct rf_sandbox *sandbox)
{
    static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm"};
    int r = 0;
    for (size_t i = 0; !r && i < sizeof(folders) / sizeof(*folders); i++)
        r = attach_memory(sandbox, folders[i], "1777");
    return r;
}

/* --- places --- */

static int attach_mask(struct rf_sandbox *sandbox, const struct rf_place *place)
{
    static const struct rf_mount_option options[] = {
        {"mode", "0755"}, {"size", MASK_SIZE}, {NULL, NULL}};
    struct stat st;
    bool file = !stat(place->path, &st) && !S_ISDIR(st.st_mode);
    if (place->parent) /* other places will stand in it; it is frozen after them */
        return rf_mount_attach(rf_mount_new("tmpfs", options, READ_WRITE), &sandbox->root,
                               place->path, false);
    int tree = open_tree(sandbox->root.fd, file ? RF_EMPTY_FILE : RF_EMPTY_FOLDER,
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return -errno;
    struct mount_attr change = {.attr_set = READ_ONLY};
    int r = mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof(change)) ? -errno : 0;
    int attached = rf_mount_attach(tree, &sandbox->root, place->path, file);
    return r ? r : attached;
}

/* Nothing is there yet, and what a cell would put there would be imported outside. */
static int attach_nothing(struct rf_sandbox *sandbox, const struct rf_place *place)
{
    int r = rf_mount_make_folder(&sandbox->root, place->path);
    return r ? r : attach_mask(sandbox, place);
}

/* With the ids of the owner as the kernel's, where the file system can. */
static int attach_files(struct rf_sandbox *sandbox, const struct rf_place *place)
{
    bool write = place->kind == RF_PLACE_WRITE;
    bool device = !strncmp(place->path, "/dev/", 5);
    uint64_t attributes = !write ? READ_ONLY : device ? MOUNT_ATTR_NOSUID : READ_WRITE;
    struct stat st;
    if (stat(place->path, &st))
        return -errno;
    int mount = rf_mount_copy(place->path, attributes, device ? -1 : sandbox->owner_map);
    if (mount == -EINVAL && sandbox->owner_map >= 0 && !device) {
        if (write)
            rf_sandbox_lose(sandbox, "owner");
        mount = rf_mount_copy(place->path, attributes, -1);
    }
    return rf_mount_attach(mount, &sandbox->root, place->path, !S_ISDIR(st.st_mode));
}

static int attach_place(struct rf_sandbox *sandbox, const struct rf_place *place)
{
    if (place->kind == RF_PLACE_MEMORY)
        return attach_memory(sandbox, place->path, "0700");
    if (place->kind == RF_PLACE_MASK)
        return attach_mask(sandbox, place);
    return place->absent ? attach_nothing(sandbox, place)
                         : attach_files(sandbox, place);
}

/* The length of the shortest part of `path` that is a symbolic link of the machine,
 * with what it says; 0: there is none. */
static size_t find_link(const char *path, char target[PATH_MAX])
{
    char at[PATH_MAX];
    for (size_t len = 1; path[len - 1]; len++) {
        len += strcspn(path + len, "/");
        snprintf(at, sizeof(at), "%.*s", (int)len, path);
        ssize_t n = readlink(at, target, PATH_MAX - 1);
        target[n > 0 ? n : 0] = '\0';
        if (n > 0 || !path[len])
            return n > 0 ? len : 0;
    }
    return 0;
}

/* Where the path that was given leads through symbolic links, those that are in
 * none of the mounts are made in the new root, so that the name works inside. */
static void mirror_links(struct rf_sandbox *sandbox, const char *name)
{
    char path[PATH_MAX], target[PATH_MAX], next[2 * PATH_MAX];
    snprintf(path, sizeof(path), "%s", name);
    for (int links = 0; links < LINKS_MAX; links++) {
        size_t len = find_link(path, target);
        if (!len || strstr(target, "..") || rf_path_is_system(path))
            return;
        size_t parent = len;
        while (path[parent - 1] != '/')
            parent--;
        snprintf(next, sizeof(next), "%.*s%s%s", target[0] == '/' ? 0 : (int)parent, path, target,
                 path + len);
        path[len] = '\0';
        (void)rf_mount_make_link(&sandbox->root, path, target); /* it may be there, or covered */
        if (snprintf(path, sizeof(path), "%.*s", PATH_MAX - 1, next) >= PATH_MAX - 1)
            return;
    }
}

static int attach_plan(struct rf_sandbox *sandbox, const struct rf_plan *plan)
{
    int r = 0;
    for (size_t i = 0; !r && i < plan->n; i++) {
        const struct rf_place *place = &plan->places[i];
        r = attach_place(sandbox, place);
        if (r)
            rf_error_errno(&sandbox->error, r, "places: %s cannot be mounted", place->path);
        else if (strcmp(place->name, place->path) != 0)
            mirror_links(sandbox, place->name);
    }
    for (size_t i = 0; !r && i < plan->n; i++)
        if (plan->places[i].kind == RF_PLACE_MASK && plan->places[i].parent)
            r = rf_mount_restrict(&sandbox->root, plan->places[i].path, READ_ONLY);
    return r;
}

int rf_step_places(struct rf_sandbox *sandbox)
{
    struct rf_plan plan;
    int r = rf_plan_make(&plan, sandbox->policy, sandbox->base->imports, sandbox->base->n_imports,
                         &sandbox->error);
    if (rf_sandbox_maps_owner(sandbox->policy) && sandbox->owner_map < 0)
        rf_sandbox_lose(sandbox, "owner");
    r = r ? r : attach_plan(sandbox, &plan);
    if (!r && plan.held)
        snprintf(sandbox->note, sizeof(sandbox->note),
                 "%.200s is read-only in here, since this interpreter imports from %.200s", plan.held,
                 plan.held_by);
    rf_plan_deinit(&plan);
    return r;
}

/* --- the change of roots --- */

/* Both processes stood in the old root, so both are in the new one from here on.
 * The old one lies over it for a moment, and is then let go with all its mounts. */
int rf_step_pivot(struct rf_sandbox *sandbox)
{
    int r = rf_mount_restrict(&sandbox->root, "/", MOUNT_ATTR_RDONLY);
    if (r)
        return r;
    if (fchdir(sandbox->root.fd) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) ||
        chdir("/"))
        return -errno;
    close(sandbox->root.fd);
    sandbox->root.fd = -1;
    return 0;
}
