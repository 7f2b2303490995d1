/* A user-mode network for a kernel's own network namespace: pasta or
 * slirp4netns, as a child of the gateway, IPv4.
 *
 * Inside: address 10.0.2.100/24, gateway 10.0.2.2, name server 10.0.2.3.
 * Refused are the host's loopback (by the tool's options), and by unreachable
 * routes that are set in the namespace before the tool starts: link-local and
 * metadata addresses and the host's own.  User code has no powers to take them
 * away.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_NETWORK_H
#define RINGFENCE_GATEWAY_SUPERVISE_NETWORK_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

struct rf_network_tool {
    char program[PATH_MAX];
    bool slirp; /* slirp4netns; else pasta */
};

/* Which tool this machine has; -ENOENT or another -errno with what to do in *err. */
int rf_network_find(struct rf_network_tool *ret, struct rf_error *err);

/* Starts it for the network namespace of `pid`.  Its pid (a child of ours, that
 * ends only when it is killed), or -errno: -EXDEV when that process has no
 * network namespace of its own. */
pid_t rf_network_attach(const struct rf_network_tool *tool, pid_t pid, struct rf_error *err);

#endif
