/* Kernelspecs on disk: writing one, the record of those written, removing one.
 *
 * A kernelspec is a folder .../kernels/NAME with kernel.json and logos.  Each
 * file is replaced in one step and kernel.json comes last, so Jupyter never
 * sees half of it.  The record (share/ringfence/kernelspecs.list, a path per
 * line) is how uninstall finds them.
 */
#ifndef RINGFENCE_GATEWAY_CLI_KERNELSPEC_H
#define RINGFENCE_GATEWAY_CLI_KERNELSPEC_H

#include <limits.h>
#include <stdbool.h>

#include "common/bytes.h"
#include "common/error.h"
#include "gateway/cli/paths.h"

struct rf_kernelspec {
    const char *kernels; /* folder that holds the kernelspecs; absolute; borrowed, as all below */
    const char *name;
    const char *display_name;
    const char *python;  /* absolute; NULL: the built-in one */
    const char *preload; /* NULL: none */
    const char *profile; /* NULL: the configuration's */
};

/* Letters, digits, dot, dash and underscore, and not only dots. */
bool rf_kernelspec_name_ok(const char *name);

/* Writes it, with folders that are missing.  0, or -errno with *err filled
 * (-EEXIST: a kernelspec of that name is there and is not Ringfence's). */
int rf_kernelspec_write(const struct rf_paths *paths, const struct rf_kernelspec *spec,
                        char ret_folder[PATH_MAX], struct rf_error *err);

/* Is there a kernel.json in `folder` that starts a Ringfence? */
bool rf_kernelspec_is_ours(const char *folder);

/* Removes the files that rf_kernelspec_write() makes, and the folder if it is
 * then empty.  A folder that is not there, or not Ringfence's any more, is
 * left as it is: *ret_removed says which.  0, or -errno with *err filled. */
int rf_kernelspec_remove(const char *folder, bool *ret_removed, struct rf_error *err);

/* The record: appends its text (nothing if there is none); adds a folder
 * once; takes one away. */
int rf_kernelspec_list(const struct rf_paths *paths, struct rf_buf *to, struct rf_error *err);
int rf_kernelspec_record(const struct rf_paths *paths, const char *folder, struct rf_error *err);
int rf_kernelspec_forget(const struct rf_paths *paths, const char *folder, struct rf_error *err);

#endif
