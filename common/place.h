/* Where a process runs: its cgroups, namespaces and root, the processors it may
 * use, its priorities, its groups, its powers and what limits them.
 *
 * A kernel inherits these from the zygote that forks it, not from the client
 * that asked.  So both compare the text of their place, and a client in
 * another place gets a zygote of its own: no job escapes its limits.
 */
#ifndef RINGFENCE_COMMON_PLACE_H
#define RINGFENCE_COMMON_PLACE_H

#include "common/bytes.h"

/* Appends the place of the calling process.  0 or -errno. */
int rf_place_read(struct rf_buf *to);

/* Appends "resource soft hard\n" for every resource limit (-1: none). */
void rf_rlimits_read(struct rf_buf *to);
/* Applies that text.  With `check` only asks whether the hard limits could be
 * set by this process.  0, -EPERM or -EPROTO (not such text). */
int rf_rlimits_apply(struct rf_bytes text, bool check);

#endif
