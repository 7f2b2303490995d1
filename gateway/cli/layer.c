/* See layer.h. */
#include "gateway/cli/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int rf_data_folder(char ret[PATH_MAX], struct rf_error *err)
{
    const char *base = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    bool given = base && base[0] == '/';
    if (!given && (!home || home[0] != '/'))
        return rf_error_set(err, -ENOENT, "HOME is not set, so there is no folder for packages");
    int n = snprintf(ret, PATH_MAX, "%s%s/ringfence", given ? base : home, given ? "" : "/.local/share");
    return n < PATH_MAX ? 0 : rf_error_errno(err, -ENAMETOOLONG, "cannot use %.200s", ret);
}

int rf_layer_path(const char *workspace, char ret[PATH_MAX], struct rf_error *err)
{
    unsigned char digest[crypto_generichash_BYTES_MIN];
    char hex[2 * sizeof(digest) + 1];
    int r = sodium_init() < 0 ? rf_error_errno(err, -EIO, "libsodium does not start")
                              : rf_data_folder(ret, err);
    if (r)
        return r;
    crypto_generichash(digest, sizeof(digest), (const unsigned char *)workspace, strlen(workspace),
                       NULL, 0);
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    size_t n = strlen(ret);
    if (snprintf(ret + n, PATH_MAX - n, "/layers/%s", hex) >= (int)(PATH_MAX - n))
        return rf_error_errno(err, -ENAMETOOLONG, "cannot use %.200s", ret);
    return 0;
}

/* --- emptying --- */

struct emptying {
    int top;        /* the folder; borrowed */
    uint64_t names; /* of folders that were moved up to it */
    uint64_t removed;
};

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* A cell can make a folder that its owner may not read, change or move. */
static void unlock(int in, const char *name)
{
    (void)fchmodat(in, name, 0700, AT_SYMLINK_NOFOLLOW);
}

/* A folder in a folder is moved up to the top and has its turn there: so two
 * levels are ever open, however deep they lie. */
static int remove_inner(struct emptying *e, int in, const char *name)
{
    char moved[40];
    if (!unlinkat(in, name, 0) || !unlinkat(in, name, AT_REMOVEDIR)) {
        e->removed++;
        return 0;
    }
    do
        snprintf(moved, sizeof(moved), ".ringfence-removes-%llu", (unsigned long long)e->names++);
    while (!faccessat(e->top, moved, F_OK, AT_SYMLINK_NOFOLLOW));
    unlock(in, name);
    return renameat(in, name, e->top, moved) ? -errno : 0;
}

static int remove_content(struct emptying *e, const char *name)
{
    unlock(e->top, name);
    int fd = openat(e->top, name, OPEN_FOLDER);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -ENOMEM;
    }
    int r = 0;
    for (struct dirent *entry; !r && (entry = readdir(dir));)
        if (!is_dots(entry->d_name))
            r = remove_inner(e, fd, entry->d_name);
    closedir(dir);
    return r;
}

static int remove_outer(struct emptying *e, const char *name)
{
    int r = 0;
    if (unlinkat(e->top, name, 0) && errno != ENOENT) {
        r = unlinkat(e->top, name, AT_REMOVEDIR) ? remove_content(e, name) : 0;
        if (!r && unlinkat(e->top, name, AT_REMOVEDIR) && errno != ENOENT && errno != ENOTEMPTY)
            r = -errno;
    }
    e->removed += !r;
    return r;
}

/* 1: there was something. */
static int one_round(struct emptying *e)
{
    int fd = openat(e->top, ".", OPEN_FOLDER);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        rf_closep(&fd);
        return -errno;
    }
    int r = 0;
    bool found = false;
    for (struct dirent *entry; !r && (entry = readdir(dir));) {
        if (is_dots(entry->d_name))
            continue;
        found = true;
        r = remove_outer(e, entry->d_name);
    }
    closedir(dir);
    return r ? r : found;
}

int rf_folder_empty(const char *folder, uint64_t *ret_removed, struct rf_error *err)
{
    RF_AUTO(rf_closep) int top = open(folder, OPEN_FOLDER);
    struct emptying e = {.top = top};
    *ret_removed = 0;
    if (top < 0 && errno == ENOENT)
        return 0;
    int r = top < 0 ? -errno : 1;
    while (r == 1)
        r = one_round(&e);
    *ret_removed = e.removed;
    return r ? rf_error_errno(err, r, "cannot empty %.300s", folder) : 0;
}
