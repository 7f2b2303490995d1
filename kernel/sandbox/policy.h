/* The decoded form of a policy text (ringfence/policy.h).
 *
 * Bytes in, struct out: the zygote decodes a request's policy to see which
 * shape of sandbox it wants and to refuse what it does not know; keeper and
 * worker of that request decode it again.  Owned by whoever decoded it.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_POLICY_H
#define RINGFENCE_KERNEL_SANDBOX_POLICY_H

#include <sys/types.h>

#include "common/bytes.h"
#include "common/error.h"

enum rf_network { RF_NETWORK_OFF, RF_NETWORK_ON, RF_NETWORK_HOST };

struct rf_path_list {
    const char **paths; /* owned; the texts are the policy's */
    size_t n;
};

struct rf_sandbox_policy {
    char *text; /* owned: what all pointers below point into */
    const char *profile, *workspace, *layer, *home; /* NULL: not given */
    struct rf_path_list read_only, read_write, devices, masks;
    uint64_t walls, require, rlimits; /* truth values */
    uint64_t network;                 /* enum rf_network */
    uint64_t uid, gid, owner;         /* RF_NO_ID: not given */
    uint64_t memory, disk, inodes, processes, open_files; /* 0: no limit */
};

#define RF_NO_ID UINT64_MAX

/* 0 with *ret; -EINVAL (and *err says which entry and why), -ENOMEM.  *ret needs
 * deinit in each case. */
int rf_sandbox_policy_decode(struct rf_bytes text, struct rf_sandbox_policy *ret,
                             struct rf_error *err);
void rf_sandbox_policy_deinit(struct rf_sandbox_policy *policy);

#endif
