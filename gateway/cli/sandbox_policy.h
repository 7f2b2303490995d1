/* From a profile and what is found on this machine to the policy of one kernel.
 *
 * The text is the part RF_SPAWN_POLICY of a spawn request (ringfence/policy.h).
 * The facts are gathered first, so that the decisions can be tested: who the
 * kernel runs as, what of the mounted folders it must not see.
 */
#ifndef RINGFENCE_GATEWAY_CLI_SANDBOX_POLICY_H
#define RINGFENCE_GATEWAY_CLI_SANDBOX_POLICY_H

#include <sys/types.h>

#include "gateway/cli/profile.h"

/* Where a root gateway takes a kernel's uid from when the workspace is root's
 * own: the first of a range that neither distributions nor systemd give out,
 * plus the gateway's pid (at most 2^22).  In a user namespace that does not
 * know these, RF_UID_SMALL_FIRST plus the pid in RF_UID_SMALL_COUNT: two
 * kernels can then meet in one uid. */
#define RF_UID_FIRST 1900000000u
#define RF_UID_COUNT (1u << 22)
#define RF_UID_SMALL_FIRST 61184u
#define RF_UID_SMALL_COUNT 4336u

#define RF_SECRETS_MAX 12

/* All paths absolute and without links; NULL where there is none. */
struct rf_facts {
    const char *workspace, *home, *layer;
    const char *ipython; /* IPython's folder, shown read-only */
    const char *secrets[RF_SECRETS_MAX + 1]; /* what no kernel sees, there now or soon; ends with NULL */
    uid_t uid;         /* who the gateway is */
    pid_t pid;
    uid_t owner;       /* of the workspace */
    gid_t owner_group; /* the owner's own group */
    bool large_uids;   /* RF_UID_FIRST can be used here */
};

/* Appends the policy.  The part of the banner that the user has to know of is
 * appended to `note` ("" for none).  0, or -errno with *err filled. */
int rf_sandbox_policy(const struct rf_profile *profile, const struct rf_facts *facts,
                      struct rf_buf *to, struct rf_buf *note, struct rf_error *err);

#endif
