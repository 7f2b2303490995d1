/* The kernel state machine: what a client sees of a kernel.
 *
 * Pure: bytes and events in, bytes and orders out through `ops`; no socket,
 * clock, random number or global.  Guarantees, for every request, whatever
 * happens to the worker: busy, (execute_input,) outputs, exactly one reply
 * (where the type has one), idle.  execution_count never goes back.  The
 * worker is hostile: its ids, types and JSON are checked here.
 *
 * One object per kernel; its owner (the supervisor) tells it of messages,
 * output, deaths and time.  Serves "Messages on the shell / iopub / stdin /
 * control channel" of the messaging spec, 5.3 to 5.5.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_KERNEL_H
#define RINGFENCE_GATEWAY_JUPYTER_KERNEL_H

#include "common/frame.h"
#include "gateway/jupyter/limit.h"
#include "gateway/jupyter/wire.h"

struct rf_kernel;

/* What a user can order about checkpoints. */
enum rf_order {
    RF_ORDER_CHECKPOINT, /* make one of this name ("": without) */
    RF_ORDER_ROLLBACK,   /* go back to it ("": the newest that was ordered) */
    RF_ORDER_UNDO,       /* go back to before the last cell */
    RF_ORDER_DROP,
    RF_ORDER_BRANCH,     /* another kernel that goes on from it ("": from here) */
};

/* A cell is at risk from its start until a checkpoint is made after it. */
struct rf_kernel_ops {
    /* To a client.  Slices are borrowed for the call. */
    void (*send)(void *ctx, const struct rf_wire_out *out);
    /* To the worker. */
    void (*worker)(void *ctx, uint8_t type, uint64_t request_id, const struct rf_bytes *parts,
                   size_t n_parts);
    /* SIGINT to the worker's process group.  Only called while a request runs. */
    void (*interrupt)(void *ctx);
    /* The shutdown_reply is out, or a cell asked to exit: end.  Once, and the
     * kernel's last act in that call: the owner may free it.  Everything that
     * ran or waited is answered by then. */
    void (*shutdown)(void *ctx, bool restart);
    /* A request was answered and the worker is free.  `run_us`: what the cell
     * took (0 if it was no cell); `waiting`: requests that could run next. */
    void (*rested)(void *ctx, int64_t run_us, size_t waiting);
    /* What was sent is waited for, and there is more to do in this turn: write
     * it now.  Never called while a client's message is being read. */
    void (*flush)(void *ctx);
    /* End the worker: its cell did not heed the interrupt.  `why`: the limit, for
     * the message of its death.  NULL where there are no limits. */
    void (*kill)(void *ctx, const char *why);
    /* Before a cell's reply: what is to be told of it on stderr (a limit that it
     * ran into), valid for the call, or NULL.  May be NULL. */
    const char *(*notice)(void *ctx);
    /* At its end: what outlives the kernel, to be told on stderr, valid for the call, or
     * NULL.  May be NULL. */
    const char *(*parting)(void *ctx);
    /* An order, of the cell that runs or (not `in_cell`) while the worker rests;
     * answered by rf_kernel_on_ordered() or rf_kernel_on_rolled_back(), maybe within
     * the call.  `name` is borrowed for the call.  NULL: there are no checkpoints. */
    void (*order)(void *ctx, enum rf_order order, struct rf_bytes name, bool in_cell);
    /* Appends a JSON array of the checkpoints that there are. */
    void (*checkpoints)(void *ctx, struct rf_buf *to);
    /* A request (parts as in RF_MSG_REQUEST) that came while a cell runs: has a checkpoint
     * answer it; rf_kernel_on_answer() follows, maybe within the call.  False: nobody can.
     * NULL: never. */
    bool (*answer)(void *ctx, uint64_t id, const struct rf_bytes *parts, size_t n_parts);
    /* Appends the content of a usage_reply, a JSON object.  NULL: none is known. */
    void (*usage)(void *ctx, struct rf_buf *to);
};

#define RF_ANSWER_PATIENCE_US 20000 /* in which the cell may end, and the worker answer itself */

struct rf_kernel_options {
    const char *kernel_id;    /* in iopub topics */
    const char *implementation_version;
    const char *banner_note;  /* added to the worker's banner: which layers hold */
    size_t history_cells;     /* 0: RF_HISTORY_CELLS_MAX */
    struct { int shell, iopub, stdin_, control, hb; } ports; /* for connect_request */
    struct rf_limits limits;
    uint64_t count; /* execution_count of the newest cell that its state holds; 0: none */
};

/* Copies the options; `ops` and `ctx` are borrowed until free. */
struct rf_kernel *rf_kernel_new(const struct rf_kernel_options *options,
                                const struct rf_kernel_ops *ops, void *ctx);
struct rf_kernel *rf_kernel_free(struct rf_kernel *kernel);

/* Publishes status "starting"; once, after the sockets are bound. */
void rf_kernel_start(struct rf_kernel *kernel);

/* A client's message that rf_wire_decode() has accepted.  `now_us` here and
 * below: monotonic microseconds. */
void rf_kernel_on_message(struct rf_kernel *kernel, enum rf_channel channel,
                          const struct rf_wire_in *in, int64_t now_us);

/* A subscription came in on iopub: answers with iopub_welcome (JEP 65). */
void rf_kernel_on_subscribe(struct rf_kernel *kernel, struct rf_bytes topic);

/* A message of the current worker, HELLO first.  0, or -EPROTO when it breaks
 * the protocol (-ENOMEM: no memory for its HELLO): the owner then kills that
 * worker.  RF_MSG_FENCE and RF_MSG_CHECKPOINTED are the owner's and not passed
 * on. */
int rf_kernel_on_worker(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us);

/* What ops->answer found for that id: the parts of RF_MSG_REPLY, not trusted; NULL: nothing. */
void rf_kernel_on_answer(struct rf_kernel *kernel, uint64_t id, const struct rf_frame *frame);

/* Bytes of the pipe of fd 1 or 2; they belong to the newest request that is a
 * cell or a comm message. */
void rf_kernel_on_pipe(struct rf_kernel *kernel, int fd, struct rf_bytes bytes, int64_t now_us);

/* A state of the worker, as the kernel knows it again.  All 0: a fresh worker's. */
struct rf_kernel_mark {
    uint64_t cell;            /* the newest cell that it holds */
    uint64_t cells, numbered; /* how many it holds; those of them with an execution_count */
    uint64_t count;           /* execution_count of the newest */
    uint64_t comms;           /* opened so far */
};

/* A checkpoint was made: of the state after the newest answered request or, with
 * `in_cell`, after the cell that runs. */
struct rf_kernel_mark rf_kernel_on_checkpoint(struct rf_kernel *kernel, bool in_cell);

/* How many numbered cells going back to `mark` would undo; -1: the state does not
 * come of it. */
int64_t rf_kernel_undone(const struct rf_kernel *kernel, const struct rf_kernel_mark *mark);

/* What became of the order of the running request: `err`, and nothing changed, or
 * the checkpoint that it was about, a JSON object.  A cell that ordered a checkpoint
 * hears twice: that it will be made, and how it was made. */
void rf_kernel_on_ordered(struct rf_kernel *kernel, const struct rf_error *err,
                          struct rf_bytes checkpoint, int64_t now_us);
/* The old worker is gone and a new one goes on from `mark`, its HELLO is next: answers
 * the request that ordered it. */
void rf_kernel_on_rolled_back(struct rf_kernel *kernel, const struct rf_kernel_mark *mark,
                              struct rf_bytes checkpoint, int64_t now_us);

struct rf_death {
    int wait_status;            /* of waitpid(); -1: unknown (protocol broken, keeper gone) */
    const char *reason;         /* words for wait_status -1; borrowed */
    struct rf_bytes traceback;  /* faulthandler's text, may be empty */
    bool resumed;               /* a checkpoint goes on; else a fresh worker starts */
    struct rf_kernel_mark mark; /* resumed: which state */
    const char *not_carried;    /* resumed: what the checkpoint could not hold; may be NULL */
};

/* The worker is dead, and rf_kernel_on_dead() follows when it is known what goes on:
 * requests that come meanwhile wait, for the next worker. */
void rf_kernel_on_lost(struct rf_kernel *kernel);

/* The worker is dead and all that it sent was passed on.  Answers the running
 * request with an error that names the signal or exit code and lists every
 * cell that is rolled back (source line and number), closes comms that the
 * new worker does not have, and waits for HELLO. */
void rf_kernel_on_dead(struct rf_kernel *kernel, const struct rf_death *death, int64_t now_us);

/* No worker can be had any more (the zygote does not start): every waiting
 * and coming request is answered with this error, until a HELLO comes after
 * all. */
void rf_kernel_on_failed(struct rf_kernel *kernel, const struct rf_error *why, int64_t now_us);

/* Another banner_note, before the first HELLO (copied; best effort). */
void rf_kernel_set_note(struct rf_kernel *kernel, const char *note);

/* From now on it ends after so long without a request (us), or sooner if a limit says so. */
void rf_kernel_limit_idle(struct rf_kernel *kernel, int64_t idle_us, int64_t now_us);

/* SIGINT to the gateway (interrupt_mode signal). */
void rf_kernel_interrupt(struct rf_kernel *kernel);

/* True while a request is with the worker. */
bool rf_kernel_is_busy(const struct rf_kernel *kernel);

/* When rf_kernel_on_time() wants to be called (monotonic us), INT64_MAX: never.
 * It may call ops->shutdown as its last act. */
int64_t rf_kernel_deadline(const struct rf_kernel *kernel);
void rf_kernel_on_time(struct rf_kernel *kernel, int64_t now_us);

#endif
