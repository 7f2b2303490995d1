/* Mounts as descriptors: made or copied detached, given their attributes, and
 * only then attached below a root that is a descriptor, too.
 *
 * No path is looked up through a symbolic link that a cell could have put
 * there: sources are opened without following any, targets below the new root
 * likewise.  Each function returns -errno; the descriptors are the caller's.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_MOUNTS_H
#define RINGFENCE_KERNEL_SANDBOX_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* A file system of our own; options end with a NULL name. */
struct rf_mount_option {
    const char *name, *value;
};
int rf_mount_new(const char *type, const struct rf_mount_option *options, uint64_t attributes);

/* A copy of the machine's mount at `path` with all below it.  `attributes`
 * (MOUNT_ATTR_*) are added to what it has. `owner_map`: an id-mapped mount with the
 * ids of this user namespace; -1: none. */
int rf_mount_copy(const char *path, uint64_t attributes, int owner_map);
/* As above with the path's symbolic links followed: for the system's own. */
int rf_mount_copy_system(const char *path, uint64_t attributes);

/* The root of a sandbox that is being made: what is made below it for a mount to
 * stand on belongs to uid and gid. */
struct rf_mount_root {
    int fd; /* owned by the sandbox */
    unsigned uid, gid;
};

/* Attaches `mount` (taken over) at `path` below `root`.  What is missing of the
 * path is made, as a folder or with `file` as an empty file at its end. */
int rf_mount_attach(int mount, const struct rf_mount_root *root, const char *path, bool file);
/* The same in fewer calls, before anything of the policy's is mounted: what the root then
 * holds is the system's, and no symbolic link of anybody's stands in the path. */
int rf_mount_attach_first(int mount, const struct rf_mount_root *root, const char *path, bool file);
/* Makes what is missing of the folder `path` below `root`. */
int rf_mount_make_folder(const struct rf_mount_root *root, const char *path);
/* Makes a symbolic link there. */
int rf_mount_make_link(const struct rf_mount_root *root, const char *path, const char *target);
/* Adds attributes to what is mounted at `path` below `root`, this mount alone. */
int rf_mount_restrict(const struct rf_mount_root *root, const char *path, uint64_t attributes);

/* A user namespace in which the ids `from` of the disk are `uid` and `gid`, for
 * owner_map.  Not from within a root that another one lies over, as that of a
 * sandbox that is being made: the machine takes it for a chroot and refuses. */
int rf_mount_owner_map(unsigned from, unsigned uid, unsigned gid);

#endif
