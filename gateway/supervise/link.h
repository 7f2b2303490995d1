/* The gateway's end of one worker incarnation: socket, pipes, fence, crash text.
 *
 * Made and owned by the supervisor, on its loop.  The peer is hostile: a
 * packet that breaks the protocol ends the link (on_broken) and nothing else.
 *
 * Order.  The worker fences before each message (see RF_MSG_FENCE), so what
 * was in a pipe when it was sampled precedes every message that is sent
 * later; and all messages read after the sample and before EAGAIN precede the
 * bytes that come into the pipe after it.  Therefore: sample, read the socket
 * dry, then read as many bytes as were sampled.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_LINK_H
#define RINGFENCE_GATEWAY_SUPERVISE_LINK_H

#include <uv.h>

#include "common/frame.h"

#define RF_CRASH_TEXT_MAX 65536 /* bytes of faulthandler's text that there is room for */

struct rf_link;

struct rf_link_events {
    void (*on_frame)(void *ctx, const struct rf_frame *frame); /* never RF_MSG_FENCE */
    void (*on_pipe)(void *ctx, int fd, struct rf_bytes bytes); /* fd 1 or 2 */
    /* The peer closed its socket, as it does when it ends (`closed`), or broke
     * the protocol; called once.  The link reads no more. */
    void (*on_broken)(void *ctx, bool closed);
};

/* Makes all descriptors; the far ends go to *ret_far (enum rf_worker_fd) and
 * are the caller's.  NULL when out of descriptors or memory, errno set. */
struct rf_link *rf_link_new(uv_loop_t *loop, uint64_t generation, int ret_far[RF_FD_COUNT],
                            const struct rf_link_events *events, void *ctx);

/* From now on `events` hears of it. */
void rf_link_listen(struct rf_link *link, const struct rf_link_events *events);

/* Queues a message; `fd` (or -1) goes with it and is closed when it is out. */
int rf_link_send(struct rf_link *link, uint8_t type, uint64_t request_id,
                 const struct rf_bytes *parts, size_t n_parts, int fd);

/* Does something wait that the worker has not taken yet? */
bool rf_link_is_behind(const struct rf_link *link);

/* The worker broke a rule that its reader found: no more is read or sent. */
void rf_link_break(struct rf_link *link);

/* The worker is dead: passes on all that it left in socket and pipes. */
void rf_link_drain(struct rf_link *link);

/* Appends what faulthandler wrote, at most `max` bytes. */
void rf_link_crash_text(struct rf_link *link, struct rf_buf *to, size_t max);

uint64_t rf_link_generation(const struct rf_link *link);

/* Closes; the memory goes on a later turn of the loop.  No event follows. */
void rf_link_close(struct rf_link *link);

#endif
