/* The user's configuration: $XDG_CONFIG_HOME/ringfence/config.json, by default
 * ~/.config/ringfence/config.json.
 *
 * One JSON object; the command line goes before it.  Keys: "preload" (list of
 * module names), "zygote" ("auto" or "off"), "zygote_idle", "zygote_renew"
 * (seconds), "max_message", "spool_max" (bytes), "history_size" (cells), "profile" (a
 * name), "sandbox" ("auto" or "require"), "profiles" (see profile.h).  Another
 * key, or a value of another kind, is an error that names it.
 */
#ifndef RINGFENCE_GATEWAY_CLI_CONFIG_H
#define RINGFENCE_GATEWAY_CLI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct json_t; /* of jansson */

struct rf_config {
    char *preload; /* owned; module names with commas; NULL: not set */
    bool zygote_off;
    int64_t zygote_idle, zygote_renew, max_message, spool_max, history_size; /* 0: not set */
    char *profile, *sandbox;                                   /* owned; NULL: not set */
    struct json_t *profiles;                                   /* owned; NULL: none */
};

/* A file that does not exist is an empty configuration. */
int rf_config_load(struct rf_config *ret, struct rf_error *err);
/* As above from a given file. */
int rf_config_read(const char *path, struct rf_config *ret, struct rf_error *err);
void rf_config_deinit(struct rf_config *config);

#endif
