/* See watch.h. */
#include "kernel/watch.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

#define MOVES (IN_MOVE_SELF | IN_DELETE_SELF)
#define CHANGES (MOVES | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

struct look {
    const char *path; /* in the block of the watch */
    bool told;        /* of a change of it there will be an event */
    bool there;
    mode_t type;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct rf_watch {
    size_t n;
    bool late;  /* something changed while it was being read */
    bool stirred; /* there were events since the last time that everything was looked at */
    int events; /* owned: inotify; -1: this machine gives none */
    int mounts; /* owned: the table of mounts, of whose changes inotify says nothing */
    struct look looks[];
};

/* --- events --- */

/* Elsewhere (NFS, FUSE and their like) files change without an event. */
static bool is_local(const char *path)
{
    static const unsigned long local[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                          TMPFS_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
                                          SQUASHFS_MAGIC, RAMFS_MAGIC, 0x2fc12fc1 /* ZFS */};
    struct statfs fs;
    if (statfs(path, &fs))
        return false;
    for (size_t i = 0; i < sizeof(local) / sizeof(*local); i++)
        if ((unsigned long)fs.f_type == local[i])
            return true;
    return false;
}

/* The folders that it lies in, any of which may be moved with all that is in it. */
static bool watch_above(int events, const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", path);
    for (char *end; (end = strrchr(folder, '/')) && end != folder;) {
        *end = '\0';
        if (inotify_add_watch(events, folder, MOVES | IN_ONLYDIR | IN_MASK_ADD) < 0)
            return false;
    }
    return true;
}

/* A path through a symbolic link may come to mean another file without an event. */
static bool watch_path(int events, const char *path)
{
    char real[PATH_MAX];
    return events >= 0 && realpath(path, real) && !strcmp(path, real) && is_local(path) &&
           inotify_add_watch(events, path, CHANGES | IN_MASK_ADD) >= 0 &&
           watch_above(events, path);
}

static void open_events(struct rf_watch *watch)
{
    watch->mounts = rf_move_high(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    watch->events = watch->mounts < 0 ? -1 : rf_move_high(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

/* Takes the events out of the queue. */
static bool has_stirred(const struct rf_watch *watch)
{
    char buffer[16384];
    struct pollfd mounts = {watch->mounts, POLLPRI, 0};
    bool stirred = watch->events >= 0 && poll(&mounts, 1, 0) != 0;
    while (watch->events >= 0 && read(watch->events, buffer, sizeof(buffer)) > 0)
        stirred = true;
    return stirred;
}

/* --- looks --- */

static bool after(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void take_look(struct look *look, struct timespec *ret_changed)
{
    struct stat st;
    look->there = !stat(look->path, &st);
    *ret_changed = (struct timespec){0};
    if (!look->there)
        return;
    look->type = st.st_mode & S_IFMT;
    look->inode = st.st_ino;
    look->size = S_ISDIR(st.st_mode) ? 0 : st.st_size;
    look->modified = st.st_mtim;
    *ret_changed = st.st_ctim;
}

/* One block with all paths behind it: a worker, too, lets go of it, and each of many small
 * ones that it frees would be a write to a page of the zygote's. */
static struct rf_watch *make_room(const char *const *paths, size_t n, char **ret_texts)
{
    size_t size = sizeof(struct rf_watch) + n * sizeof(struct look), texts = 0;
    for (size_t i = 0; i < n; i++)
        texts += strlen(paths[i]) + 1;
    struct rf_watch *watch = calloc(1, size + texts);
    *ret_texts = (char *)watch + size;
    return watch;
}

struct rf_watch *rf_watch_new(const char *const *paths, size_t n, struct timespec since)
{
    char *text;
    struct rf_watch *watch = make_room(paths, n, &text);
    struct timespec now;
    if (!watch)
        return NULL;
    open_events(watch);
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < n; i++) {
        struct look *look = &watch->looks[watch->n];
        struct timespec changed;
        look->path = text;
        text = stpcpy(text, paths[i]) + 1;
        watch->n++;
        look->told = watch_path(watch->events, look->path);
        take_look(look, &changed);
        if (look->there && look->type == S_IFREG && after(changed, since) && !after(changed, now))
            watch->late = true; /* a date in the future (a clock that was wrong) tells nothing */
    }
    return watch;
}

struct rf_watch *rf_watch_free(struct rf_watch *watch)
{
    if (watch) {
        rf_closep(&watch->events);
        rf_closep(&watch->mounts);
    }
    free(watch);
    return NULL;
}

static bool same(const struct look *a, const struct look *b)
{
    if (a->there != b->there)
        return false;
    return !a->there || (a->type == b->type && a->inode == b->inode && a->size == b->size &&
                         !memcmp(&a->modified, &b->modified, sizeof(a->modified)));
}

const char *rf_watch_changed(struct rf_watch *watch)
{
    if (watch->late && watch->n)
        return watch->looks[0].path;
    watch->stirred |= has_stirred(watch);
    for (size_t i = 0; i < watch->n; i++) {
        struct look now = {.path = watch->looks[i].path};
        struct timespec changed;
        if (watch->looks[i].told && !watch->stirred)
            continue;
        take_look(&now, &changed);
        if (!same(&now, &watch->looks[i]))
            return now.path;
    }
    watch->stirred = false;
    return NULL;
}
