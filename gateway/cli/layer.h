/* The package layer of a workspace: where %pip installs to.
 *
 * $XDG_DATA_HOME/ringfence/layers/HASH (by default below ~/.local/share), HASH
 * being that of the workspace's path.  Only kernels of that workspace import
 * from it: no zygote, and nothing outside a sandbox.  Its content is a cell's
 * and as hostile as that.
 */
#ifndef RINGFENCE_GATEWAY_CLI_LAYER_H
#define RINGFENCE_GATEWAY_CLI_LAYER_H

#include <limits.h>
#include <stdint.h>

#include "common/error.h"

/* $XDG_DATA_HOME/ringfence, or below ~/.local/share.  -ENOENT without a home. */
int rf_data_folder(char ret[PATH_MAX], struct rf_error *err);

/* `workspace`: absolute, without links. */
int rf_layer_path(const char *workspace, char ret[PATH_MAX], struct rf_error *err);

/* Removes all that is in `folder`, and stays below it whatever a process that
 * runs there does meanwhile: no link is followed, no depth is too deep.
 * *ret_removed: files and folders.  0, also where there is no such folder. */
int rf_folder_empty(const char *folder, uint64_t *ret_removed, struct rf_error *err);

#endif
