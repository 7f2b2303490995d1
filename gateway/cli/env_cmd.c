/* ringfence env reset: forgets the packages that %pip installed for a workspace. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/commands.h"
#include "gateway/cli/layer.h"
#include "gateway/cli/options.h"

struct env {
    const char *workspace;
};

static const struct rf_option options[] = {
    {"workspace", 0, "FOLDER", RF_OPTION_TEXT, offsetof(struct env, workspace),
     "the folder in which the notebooks run (the current one)"},
};

static const struct rf_options table = {
    .usage = "ringfence env reset [--workspace FOLDER]",
    .about = "Removes the packages that %pip installed for the kernels of a workspace.  Restart\n"
             "the kernels that run there.",
    .options = options,
    .n = sizeof(options) / sizeof(*options),
    .max_words = 1,
};

static int reset(const char *workspace, struct rf_error *err)
{
    char real[PATH_MAX], layer[PATH_MAX];
    uint64_t removed;
    if (!realpath(workspace, real))
        return rf_error_errno(err, -errno, "cannot find the workspace %.200s", workspace);
    int r = rf_layer_path(real, layer, err);
    if (!r)
        r = rf_folder_empty(layer, &removed, err);
    if (!r)
        printf("removed %" PRIu64 " files and folders: packages of %s (in %s)\n", removed, real, layer);
    return r;
}

int rf_cmd_env(int argc, char **argv)
{
    struct env env = {.workspace = "."};
    struct rf_error err = {0};
    size_t n_words;
    int status;
    if (!rf_options_begin(&table, argc, argv, &env, &n_words, &status))
        return status;
    if (n_words != 1 || strcmp(argv[1], "reset") != 0) {
        fprintf(stderr, "ringfence env: say reset\n");
        return RF_EXIT_USAGE;
    }
    if (!reset(env.workspace, &err))
        return RF_EXIT_OK;
    fprintf(stderr, "ringfence env: %s\n", err.text);
    return RF_EXIT_FAILED;
}
