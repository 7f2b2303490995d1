/* Where the connection file of a branch goes: into Jupyter's runtime folder, where
 * `jupyter console --existing` finds it. */
#ifndef RINGFENCE_GATEWAY_CLI_BRANCH_FILE_H
#define RINGFENCE_GATEWAY_CLI_BRANCH_FILE_H

#include <limits.h>

#include "common/error.h"

/* $JUPYTER_RUNTIME_DIR, else runtime in $JUPYTER_DATA_DIR, $XDG_DATA_HOME/jupyter or
 * ~/.local/share/jupyter, as jupyter_core has it; made where it is not there. */
int rf_jupyter_runtime(char ret[PATH_MAX], struct rf_error *err);

/* kernel-ID-branch-NUMBER.json there, ID that of the connection file of its kernel. */
int rf_branch_file(const char *connection_file, unsigned number, char ret[PATH_MAX],
                   struct rf_error *err);

#endif
