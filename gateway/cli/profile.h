/* Profiles: what a kernel may have, as data.
 *
 * Four are built in (one const table in profile.c); the configuration may name
 * more, each a base and what differs from it.  docs/profiles.md has every key
 * with its unit and defaults.  A profile says what is wanted; sandbox_policy.h
 * makes of it what one kernel on this machine gets.
 */
#ifndef RINGFENCE_GATEWAY_CLI_PROFILE_H
#define RINGFENCE_GATEWAY_CLI_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/error.h"

struct json_t; /* of jansson */

enum rf_network { RF_NETWORK_OFF, RF_NETWORK_ON, RF_NETWORK_HOST };

#define RF_PROFILE_NAME_MAX 64

struct rf_profile {
    char name[RF_PROFILE_NAME_MAX + 1];
    bool walls;         /* false: limits only */
    bool own_workspace; /* true: an empty folder in memory; false: the client's */
    /* 0: no limit */
    int64_t memory, disk; /* bytes; in the table also -N: N % of the machine's memory */
    int64_t cpu;          /* thousandths of a processor */
    int64_t processes, inodes, open_files, output_bytes;
    int64_t cell_time, idle_time, lifetime; /* milliseconds */
    enum rf_network network, network_fallback;
    bool require; /* sandbox: every layer, or no kernel */
    /* NUL-terminated words, one after the other; owned */
    struct rf_buf read_only, read_write, devices, env;
};

/* A profile by its name.  `configured` is the configuration's object "profiles"
 * or NULL, `home` stands for a leading ~ in paths.  0, or -EINVAL with *err
 * filled, which names the place: "profiles.big.memory: ...". */
int rf_profile_find(const char *name, const struct json_t *configured, const char *home,
                    struct rf_profile *ret, struct rf_error *err);
void rf_profile_deinit(struct rf_profile *profile);

/* Checks all of the object "profiles", so that a mistake shows before its
 * profile is used. */
int rf_profile_check_all(const struct json_t *configured, const char *home, struct rf_error *err);

/* The words of a list, one after the other: the first after NULL; NULL at the end. */
const char *rf_word_next(const struct rf_buf *words, const char *word);

/* May a variable of the environment come into the kernel?  "NAME=value". */
bool rf_profile_passes(const struct rf_profile *profile, const char *variable);

#endif
