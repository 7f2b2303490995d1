/* See runtime.h. */
#include "gateway/supervise/runtime.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_ours(const char *path, mode_t denied)
{
    struct stat st;
    return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & denied);
}

int rf_runtime_dir(char ret[RF_RUNTIME_PATH_MAX], struct rf_error *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    int n = RF_RUNTIME_PATH_MAX;
    if (base && base[0] == '/' && is_ours(base, S_IWGRP | S_IWOTH))
        n = snprintf(ret, RF_RUNTIME_PATH_MAX, "%s/ringfence", base);
    if (n >= RF_RUNTIME_PATH_MAX)
        snprintf(ret, RF_RUNTIME_PATH_MAX, "/tmp/ringfence-%u", geteuid());
    if (mkdir(ret, 0700) && errno != EEXIST)
        return rf_error_errno(err, -errno,
                              "cannot make the runtime folder %s (set XDG_RUNTIME_DIR to a folder "
                              "that you own)",
                              ret);
    if (!is_ours(ret, S_IRWXG | S_IRWXO))
        return rf_error_set(err, -EPERM,
                            "the runtime folder %s is not a folder of yours with mode 0700: remove "
                            "it, or set XDG_RUNTIME_DIR to a folder that you own",
                            ret);
    return 0;
}
