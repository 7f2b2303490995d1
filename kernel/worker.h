/* The worker's end of the worker protocol, and checkpoints of this process.
 *
 * One per process, in the process that runs the cells; see
 * ringfence/worker.h.  The descriptors have fixed numbers, so that a resumed
 * worker finds its new ones where the old ones were.  Sending is safe from any
 * thread; receiving belongs to the main thread.  In a child that user code
 * forked everything here is inert.
 */
#ifndef RINGFENCE_KERNEL_WORKER_H
#define RINGFENCE_KERNEL_WORKER_H

#include "common/frame.h"

enum {
    RF_WORKER_SOCKET = 3, /* where rf_worker_install() puts them; 1 and 2 are the pipes */
    RF_WORKER_FENCE = 4,
    RF_WORKER_CRASH = 5,
    RF_WORKER_TEXT = 6, /* 6 and 7: the pipes again, for text, whatever user code puts on 1 and 2 */
};

/* Puts the descriptors in their places (the given numbers are closed), makes
 * this process a session leader and the worker of `generation`. */
int rf_worker_install(const int fds[RF_FD_COUNT], uint64_t generation);

/* Sends one message.  Output that belongs before it (C's stdout and stderr,
 * bytes in the pipes of fd 1 and 2) goes before it where the type is one that
 * a reader sees.  0 or -errno; -ECHILD in a process that is no worker. */
int rf_worker_send(uint8_t type, uint64_t request_id, const struct rf_bytes *parts, size_t n_parts);

/* Text for sys.stdout (1) or sys.stderr (2), in program order with what the
 * process writes to the descriptors themselves.  Text of the request that runs
 * goes through the same pipe; text of an earlier one (a task that it left)
 * goes as a message that names it.  In a process that is no worker it is
 * written to the descriptor. */
int rf_worker_stream(int fd, uint64_t request_id, struct rf_bytes text);

/* Waits for a message: 1, 0 at end of file, -ETIME, -EINTR, -EPROTO.
 * timeout_ms < 0: for ever.  The frame is borrowed until the next call. */
int rf_worker_recv(int timeout_ms, struct rf_frame *ret);

/* The newest descriptor that came with a message, or -1; the caller's. */
int rf_worker_take_fd(void);

/* Before a checkpoint: where cells have rewritten much since the last one and nothing waits, puts
 * that together in huge pages (kernel/ahead.h), for two seconds at most. */
void rf_worker_gather(void);

/* Makes a checkpoint of this process that listens on `control` (taken over; -1
 * when user code left no number for it: none is made).  `reason`: why it is
 * crash-only; "": it is not.  `spared`: so many threads beside the main one can
 * be left out; more make it crash-only.
 * Returns 0 in the worker, which has told the gateway; 1 in a process that was
 * forked from the checkpoint by *ret_order: the worker of that generation
 * (RF_MSG_RESUME), whose descriptors are in place, or one that is to answer a
 * request (RF_MSG_ANSWER; its parts stay valid) with rf_worker_answer(), and is
 * no worker otherwise.  -errno when none was made (the gateway was told that, too). */
int rf_worker_checkpoint(uint64_t id, int control, const char *reason, unsigned spared,
                         struct rf_frame *ret_order);

/* Sends the parts of RF_MSG_REPLY as the answer with that id. */
int rf_worker_answer(uint64_t id, const struct rf_bytes *parts, size_t n_parts);

#endif
