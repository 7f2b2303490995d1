/* See watch.h. */
#include "kernel/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct look {
    char *path; /* owned */
    bool there;
    mode_t type;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct rf_watch {
    size_t n;
    bool late; /* something changed while it was being read */
    struct look looks[];
};

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

struct rf_watch *rf_watch_new(const char *const *paths, size_t n, struct timespec since)
{
    struct rf_watch *watch = calloc(1, sizeof(*watch) + n * sizeof(struct look));
    struct timespec now;
    if (!watch)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < n; i++) {
        struct look *look = &watch->looks[watch->n];
        struct timespec changed;
        look->path = strdup(paths[i]);
        if (!look->path)
            return rf_watch_free(watch);
        watch->n++;
        take_look(look, &changed);
        if (look->there && look->type == S_IFREG && after(changed, since) && !after(changed, now))
            watch->late = true; /* a date in the future (a clock that was wrong) tells nothing */
    }
    return watch;
}

struct rf_watch *rf_watch_free(struct rf_watch *watch)
{
    for (size_t i = 0; watch && i < watch->n; i++)
        free(watch->looks[i].path);
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

const char *rf_watch_changed(const struct rf_watch *watch)
{
    if (watch->late && watch->n)
        return watch->looks[0].path;
    for (size_t i = 0; i < watch->n; i++) {
        struct look now = {.path = watch->looks[i].path};
        struct timespec changed;
        take_look(&now, &changed);
        if (!same(&now, &watch->looks[i]))
            return now.path;
    }
    return NULL;
}
