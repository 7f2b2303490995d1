/* What kernel.c (clients, queue, owner), kernel_worker.c (worker) and the smaller
 * kernel_*.c share.
 *
 * Private to these files.  The object is in kernel.h.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_KERNEL_IMPL_H
#define RINGFENCE_GATEWAY_JUPYTER_KERNEL_IMPL_H

#include "gateway/jupyter/comms.h"
#include "gateway/jupyter/history.h"
#include "gateway/jupyter/kernel.h"
#include "gateway/jupyter/limit.h"
#include "gateway/jupyter/losses.h"
#include "gateway/jupyter/parents.h"
#include "gateway/jupyter/replies.h"
#include "gateway/jupyter/request.h"
#include "gateway/jupyter/streams.h"

#define RF_KERNEL_REQUEST_PARTS 5u /* of RF_MSG_REQUEST, before the buffers */

/* The newest cell, as its limits see it, and when a client was last heard. */
struct rf_kernel_watch {
    uint64_t output; /* bytes so far */
    bool cut;        /* there was more than allowed */
    bool tell_cut;   /* and that is to be told yet, to readers of ... */
    uint64_t cut_at; /* ... this request */
    int64_t allowed_us, deadline_us;
    bool by_request; /* allowed_us is the request's own, not the profile's */
    bool interrupted;
    int64_t active_us;
};

/* What is answered while a cell runs; kernel_answers.c. */
struct rf_kernel_answers {
    struct rf_request_queue asked; /* with the owner; their ids are of another count */
    uint64_t last_id;
    int64_t due_us;   /* the first that waits has waited for long enough; 0: none ever waited */
    int64_t ready_us; /* when the worker said HELLO */
};

struct rf_kernel {
    const struct rf_kernel_ops *ops; /* borrowed until free */
    void *ctx;
    struct rf_kernel_options options; /* its strings are owned */
    struct rf_history *history;
    struct rf_request_queue queue;      /* wait for the worker */
    struct rf_request_queue info_queue; /* kernel_info_requests that wait for the first HELLO */
    struct rf_request *running;         /* owned; with the worker */
    struct rf_parents parents;
    struct rf_streams streams;
    struct rf_comms comms;
    struct rf_losses losses;
    struct rf_buf info; /* the newest HELLO's; empty before the first */
    struct rf_error failure;
    const char *ordering; /* the operation that the owner is at, for the running request; or NULL */
    bool dispatching;
    uint64_t last_id; /* of a request that went to a worker */
    uint64_t count;   /* execution_count of the newest stored cell */
    bool started;     /* "starting" was published */
    bool ready;       /* the worker said HELLO and lives */
    bool failed;      /* no worker can be had */
    bool ended;       /* shutdown was asked for */
    struct rf_kernel_watch watch;
    struct rf_kernel_answers answers;
    char end_reason[RF_LIMIT_WORDS_MAX + 32]; /* why it ended, if not by a shutdown */
};

/* Publishes on iopub; an empty topic is the kernel's own for the type. */
void rf_kernel_publish(struct rf_kernel *kernel, struct rf_bytes topic, struct rf_wire_out out);
/* Sends to the client of `request`, with its header as parent. */
void rf_kernel_send(struct rf_kernel *kernel, const struct rf_request *request,
                    enum rf_channel channel, struct rf_wire_out out);
/* The error of a request: published if it is a cell, and its reply. */
void rf_kernel_send_error(struct rf_kernel *kernel, const struct rf_request *request,
                          const struct rf_trouble *trouble);
void rf_kernel_publish_idle(struct rf_kernel *kernel, const struct rf_request *request);
/* Busy, a reply with this content, idle. */
void rf_kernel_answer_with(struct rf_kernel *kernel, const struct rf_request *request,
                           struct rf_bytes content);

/* Answers all cells that wait as aborted. */
void rf_kernel_abort_cells(struct rf_kernel *kernel);
/* Answers the kernel_info_requests that waited for HELLO. */
void rf_kernel_answer_infos(struct rf_kernel *kernel);
/* Gives the next request to the worker if it is free. */
void rf_kernel_dispatch(struct rf_kernel *kernel, int64_t now_us);
/* Answers everything that runs or waits; false if that was done before.  The
 * caller then calls ops->shutdown as its last act. */
bool rf_kernel_end(struct rf_kernel *kernel);

rf_stream_fn rf_kernel_send_stream; /* ctx: the kernel */

/* Closes, for the clients, the comms that were opened after `mark`. */
void rf_kernel_close_comms(struct rf_kernel *kernel, uint64_t mark, struct rf_bytes parent);

/* --- kernel_orders.c --- */

/* RF_MSG_ORDER. */
int rf_kernel_on_order(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us);
/* ringfence_checkpoint_request in its turn; ringfence_checkpoints_request at once. */
void rf_kernel_take_order(struct rf_kernel *kernel, const struct rf_request *request);
void rf_kernel_answer_checkpoints(struct rf_kernel *kernel, const struct rf_request *request);
/* --- kernel_answers.c --- */

/* `request` is in the queue. */
void rf_kernel_answers_wait(struct rf_kernel *kernel, struct rf_request *request);
int64_t rf_kernel_answers_deadline(const struct rf_kernel *kernel);
void rf_kernel_answers_on_time(struct rf_kernel *kernel, int64_t now_us);

/* --- kernel_limits.c --- */

/* A cell begins: its limits count from here. */
void rf_kernel_limits_begin(struct rf_kernel *kernel, const struct rf_request *request);
/* How many of n bytes of output for `parent` may go out, counted; with `whole`
 * all or none.  After what may has gone, rf_kernel_output_done() tells of a cut. */
size_t rf_kernel_output_room(struct rf_kernel *kernel, uint64_t parent, size_t n, bool whole);
void rf_kernel_output_done(struct rf_kernel *kernel);
int64_t rf_kernel_limits_deadline(const struct rf_kernel *kernel);
/* May end the kernel: the caller's last act. */
void rf_kernel_limits_on_time(struct rf_kernel *kernel, int64_t now_us);
/* The running cell has ended: tells what the owner has to say of it. */
void rf_kernel_limits_ended(struct rf_kernel *kernel);

#endif
