/* See branch_file.h. */
#include "gateway/cli/branch_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/cli/files.h"

#define ID_MAX 100

int rf_jupyter_runtime(char ret[PATH_MAX], struct rf_error *err)
{
    static const struct {
        const char *variable, *rest;
    } places[] = {{"JUPYTER_RUNTIME_DIR", ""},
                  {"JUPYTER_DATA_DIR", "/runtime"},
                  {"XDG_DATA_HOME", "/jupyter/runtime"},
                  {"HOME", "/.local/share/jupyter/runtime"}};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        const char *base = getenv(places[i].variable);
        if (!base || !*base)
            continue;
        if (snprintf(ret, PATH_MAX, "%s%s", base, places[i].rest) >= PATH_MAX)
            return rf_error_errno(err, -ENAMETOOLONG, "cannot use %.200s", base);
        struct stat st;
        if (!stat(ret, &st))
            return 0;
        int r = rf_folder_make(ret, err);
        if (!r && chmod(ret, 0700)) /* as jupyter_core makes it */
            r = rf_error_errno(err, -errno, "cannot make %.200s private", ret);
        return r;
    }
    return rf_error_set(err, -ENOENT, "there is no folder for the connection file of a branch: set "
                                      "JUPYTER_RUNTIME_DIR or HOME");
}

int rf_branch_file(const char *connection_file, unsigned number, char ret[PATH_MAX],
                   struct rf_error *err)
{
    char folder[PATH_MAX];
    int r = rf_jupyter_runtime(folder, err);
    if (r)
        return r;
    const char *id = strrchr(connection_file, '/');
    id = id ? id + 1 : connection_file;
    if (!strncmp(id, "kernel-", 7))
        id += 7;
    int n = (int)strcspn(id, ".");
    if (snprintf(ret, PATH_MAX, "%s/kernel-%.*s-branch-%u.json", folder, n < ID_MAX ? n : ID_MAX, id,
                 number) >= PATH_MAX)
        return rf_error_errno(err, -ENAMETOOLONG, "cannot write into %.200s", folder);
    return 0;
}
