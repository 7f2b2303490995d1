/* The supervisor of one kernel: its sandbox, its workers, its checkpoints.
 * A branch is a kernel in the sandbox of another, with a supervisor of its own.
 *
 * Knows processes and nothing of Jupyter: it starts a worker through a zygote,
 * passes messages between it and the kernel state machine, takes checkpoints
 * when the policy or the user says so, goes back to one when the user says so, and
 * when the worker dies resumes the newest one or starts afresh.  Single-threaded, on the loop.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SUPERVISOR_H
#define RINGFENCE_GATEWAY_SUPERVISE_SUPERVISOR_H

#include <uv.h>

#include "gateway/jupyter/kernel.h"
#include "gateway/supervise/enclosure.h"
#include "gateway/supervise/zygote.h"

#define RF_STARTS_MAX 3          /* workers in a row that die before they are given work */
#define RF_RESUME_TIMEOUT_MS 3000 /* from the order to resume to the new worker's HELLO */
#define RF_EXIT_GRACE_MS 2000     /* for exit handlers at shutdown */

struct rf_supervisor;

struct rf_supervisor_options {
    struct rf_zygote_spec zygote; /* its strings are borrowed until free */
    struct rf_zygote_request request; /* borrowed likewise */
    struct rf_enclosure_options enclosure;
};

struct rf_supervisor_events {
    /* The first sandbox stands; rf_supervisor_lost_layers() is complete. */
    void (*on_made)(void *ctx);
    /* No worker can be had; the kernel was told. */
    void (*on_failed)(void *ctx, const struct rf_error *why);
    /* After rf_supervisor_stop(): every process is gone. */
    void (*on_stopped)(void *ctx);
    /* Asks for a supervisor that was not started, for a branch of the state `mark`; adds what
     * a client is to know of it, a JSON object.  NULL: *err says why.  NULL where there
     * are no branches. */
    struct rf_supervisor *(*on_branch)(void *ctx, const struct rf_kernel_mark *mark,
                                       struct rf_buf *to, struct rf_error *err);
};

struct rf_supervisor *rf_supervisor_new(uv_loop_t *loop, const struct rf_supervisor_options *options,
                                        const struct rf_supervisor_events *events, void *ctx);

/* Asks a zygote for the first worker.  0, or -errno with *err filled. */
int rf_supervisor_start(struct rf_supervisor *supervisor, struct rf_error *err);

/* Before the loop runs: who gets what the worker says.  Borrowed until on_stopped. */
void rf_supervisor_attach(struct rf_supervisor *supervisor, struct rf_kernel *kernel);

/* The state machine's orders (see struct rf_kernel_ops). */
void rf_supervisor_worker(struct rf_supervisor *supervisor, uint8_t type, uint64_t request_id,
                          const struct rf_bytes *parts, size_t n_parts);
void rf_supervisor_interrupt(struct rf_supervisor *supervisor);
void rf_supervisor_rested(struct rf_supervisor *supervisor, int64_t run_us, size_t waiting);
void rf_supervisor_order(struct rf_supervisor *supervisor, enum rf_order order,
                         struct rf_bytes name, bool in_cell);
void rf_supervisor_list_checkpoints(const struct rf_supervisor *supervisor, struct rf_buf *to);

/* Has the newest checkpoint answer a request (kernel.h: ops->answer). */
bool rf_supervisor_answer(struct rf_supervisor *supervisor, uint64_t id,
                          const struct rf_bytes *parts, size_t n_parts);

/* Its cell does not heed an interrupt: ends the worker, for this reason. */
void rf_supervisor_kill(struct rf_supervisor *supervisor, const char *why);
/* What a cell is to be told on its end (a limit that it ran into), or NULL. */
const char *rf_supervisor_notice(struct rf_supervisor *supervisor);

/* The process below which all of the kernel's are; 0: there is none. */
pid_t rf_supervisor_root(const struct rf_supervisor *supervisor);

/* Appends the layers of the sandbox that this machine denied, comma-separated;
 * nothing for none or not known yet. */
void rf_supervisor_lost_layers(const struct rf_supervisor *supervisor, struct rf_buf *to);

/* This process was forked from the one that made the sandbox, which is about to end. */
void rf_supervisor_inherit(struct rf_supervisor *supervisor);

/* Lets the worker run its exit handlers for RF_EXIT_GRACE_MS, then ends every
 * process of the kernel; on_stopped follows. */
void rf_supervisor_stop(struct rf_supervisor *supervisor);

/* After on_stopped.  The memory goes on a later turn of the loop, and that of one in whose
 * sandbox branches live when the last of them was freed. */
void rf_supervisor_free(struct rf_supervisor *supervisor);

#endif
