/* The branches of a session's kernel: each a kernel on sockets of its own, with a connection
 * file in Jupyter's runtime folder, which goes when it ends.
 *
 * Owned by the session, on its loop.
 */
#ifndef RINGFENCE_GATEWAY_CLI_BRANCHES_H
#define RINGFENCE_GATEWAY_CLI_BRANCHES_H

#include "gateway/cli/served.h"

struct rf_branches;

/* `on_empty`: the last one has ended.  `session` and the connection are borrowed until free. */
struct rf_branches *rf_branches_new(uv_loop_t *loop, const struct rf_session_options *session,
                                    void (*on_empty)(void *ctx), void *ctx);

/* Opens a branch that goes on from that execution_count, and appends {"number": N,
 * "connection_file": PATH}.  NULL: *err says why. */
struct rf_served *rf_branches_open(struct rf_branches *branches, uint64_t count, struct rf_buf *to,
                                   struct rf_error *err);

size_t rf_branches_count(const struct rf_branches *branches);
/* Words for people that list them, or NULL when there are none; valid until the next call. */
const char *rf_branches_list(struct rf_branches *branches);
/* Their kernel has ended: each ends when it was not used for RF_BRANCH_IDLE_S. */
void rf_branches_orphan(struct rf_branches *branches);
/* In a child that was forked to go on with them: what the old process owned is its own. */
void rf_branches_inherit(struct rf_branches *branches);
/* All of them. */
void rf_branches_stop(struct rf_branches *branches);
/* When there are none. */
void rf_branches_free(struct rf_branches *branches);

#endif
