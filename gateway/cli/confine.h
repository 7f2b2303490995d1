/* What the kernel that is about to start is confined to.
 *
 * Joins the profile that was asked for with what this machine, this user and
 * this folder are.  Owned by the command that starts the kernel.
 */
#ifndef RINGFENCE_GATEWAY_CLI_CONFINE_H
#define RINGFENCE_GATEWAY_CLI_CONFINE_H

#include "gateway/cli/config.h"
#include "gateway/cli/profile.h"

struct rf_confined {
    struct rf_profile profile;
    struct rf_buf policy;  /* RF_SPAWN_POLICY */
    struct rf_buf environ; /* RF_SPAWN_ENVIRON: what of our environment comes in */
    struct rf_buf note;    /* for the banner; ends with NUL; may be empty text */
    bool masks_connection; /* the connection file is masked, so it must be there before the kernel */
};

struct rf_confine_options {
    const char *profile; /* NULL: the configuration's, or "workspace" */
    const char *sandbox; /* "auto", "require" or NULL: the profile's */
    const char *connection_file;
    const struct rf_config *config;
};

int rf_confine(const struct rf_confine_options *options, struct rf_confined *ret,
               struct rf_error *err);
void rf_confined_deinit(struct rf_confined *confined);

#endif
