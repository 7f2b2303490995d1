/* See paths.h. */
#include "gateway/cli/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where each part lies below the prefix, and whether a kernel needs it. */
static const struct part {
    size_t offset;
    const char *path;
    bool needed;
} parts[] = {
    {offsetof(struct rf_paths, program), "bin/ringfence", true},
    {offsetof(struct rf_paths, kernel_program), "libexec/ringfence/ringfence-kernel", true},
    {offsetof(struct rf_paths, keeper_program), "libexec/ringfence/ringfence-keeper", true},
    {offsetof(struct rf_paths, sweeper_program), "libexec/ringfence/ringfence-sweeper", true},
    {offsetof(struct rf_paths, start_script), "lib/ringfence/zygote_start.py", true},
    {offsetof(struct rf_paths, module), "lib/ringfence/_ringfence.abi3.so", true},
    {offsetof(struct rf_paths, kernelspec), "share/ringfence/kernelspec", false},
    {offsetof(struct rf_paths, manifest), "share/ringfence/manifest", false},
    {offsetof(struct rf_paths, kernelspecs_list), "share/ringfence/kernelspecs.list", false},
};

static char **field(struct rf_paths *paths, const struct part *part)
{
    return (char **)(void *)((char *)paths + part->offset);
}

void rf_paths_deinit(struct rf_paths *paths)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        free(*field(paths, &parts[i]));
    free(paths->prefix);
    *paths = (struct rf_paths){0};
}

/* Cuts "/bin/ringfence" off the path of the program. */
static int find_prefix(char ret[PATH_MAX], struct rf_error *err)
{
    static const char tail[] = "/bin/ringfence";
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
    if (n < 0)
        return rf_error_errno(err, -errno, "cannot read /proc/self/exe");
    ret[n] = '\0';
    size_t cut = (size_t)n - (sizeof(tail) - 1);
    if ((size_t)n < sizeof(tail) || strcmp(ret + cut, tail) != 0)
        return rf_error_set(err, -ENOENT,
                            "%.300s is not installed: a program named bin/ringfence is expected "
                            "(./quickstart installs it)",
                            ret);
    ret[cut] = '\0';
    return 0;
}

static int find_parts(struct rf_paths *paths, struct rf_error *err)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        char **to = field(paths, &parts[i]);
        if (asprintf(to, "%s/%s", paths->prefix, parts[i].path) < 0) {
            *to = NULL;
            return rf_error_errno(err, -ENOMEM, "cannot find this installation");
        }
        if (parts[i].needed && access(*to, F_OK))
            return rf_error_errno(err, -errno,
                                  "this installation is incomplete, install it again "
                                  "(./quickstart): %.200s",
                                  *to);
    }
    return 0;
}

int rf_paths_find(struct rf_paths *ret, struct rf_error *err)
{
    char prefix[PATH_MAX];
    struct rf_paths paths = {0};
    int r = find_prefix(prefix, err);
    if (r)
        return r;
    paths.prefix = strdup(prefix);
    r = paths.prefix ? find_parts(&paths, err) : -ENOMEM;
    if (r) {
        rf_paths_deinit(&paths);
        return rf_error_errno(err, r, "cannot find this installation");
    }
    *ret = paths;
    return 0;
}
