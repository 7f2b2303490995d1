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

struct rf_network_helper {
    pid_t pid; /* a child of ours; 0: none */
    int pidfd; /* owned; readable once it has ended */
    int words; /* owned; what it complains of */
};

/* Which tool this machine has, one without set-user-ID; -ENOENT or another -errno
 * with what to do in *err. */
int rf_network_find(struct rf_network_tool *ret, struct rf_error *err);

/* Starts it for the network namespace of `pid`.  0, or -errno: -EXDEV when that
 * process has no network namespace of its own.  It can still end by itself, where
 * the machine has no network that it could pass on. */
int rf_network_attach(const struct rf_network_tool *tool, pid_t pid, struct rf_network_helper *ret,
                      struct rf_error *err);
/* What a helper that has ended said, as one line. */
void rf_network_words(const struct rf_network_helper *helper, char *ret, size_t size);
/* Ends it; the caller's SIGCHLD follows.  Nothing for none. */
void rf_network_detach(struct rf_network_helper *helper);

#endif
