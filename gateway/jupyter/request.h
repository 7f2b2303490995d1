/* One request of a client, and the queue of those that wait.
 *
 * A view borrows everything from the message that came in and lives as long
 * as the call; a copy owns one block of memory with all its frames.  The
 * kernel answers views at once and queues copies.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_REQUEST_H
#define RINGFENCE_GATEWAY_JUPYTER_REQUEST_H

#include "gateway/jupyter/wire.h"

struct rf_comms;
struct rf_kernel;
struct rf_request;

/* What the kernel knows of a message type; one const table in kernel.c. */
struct rf_request_type {
    const char *name;
    const char *reply; /* NULL: the type has none */
    unsigned channels; /* bits 1u << enum rf_channel */
    bool is_cell;      /* execute_request: counted, aborted after an error */
    bool owns_output;  /* output of no known request belongs to the newest of these */
    /* What it does to a comm of this id (text), or NULL. */
    void (*on_comm)(struct rf_comms *comms, struct rf_bytes id);
    /* How the gateway answers at once; NULL: the worker answers. */
    void (*answer)(struct rf_kernel *kernel, const struct rf_request *request);
    /* How the gateway answers in the request's turn, in the place of the worker. */
    void (*turn)(struct rf_kernel *kernel, const struct rf_request *request);
};

/* What an execute_request asks for. */
struct rf_cell {
    struct rf_bytes code; /* raw JSON string, borrowed from the request's content */
    bool silent, store_history, allow_stdin, stop_on_error;
    uint64_t count; /* its execution_count, once started */
    int64_t timeout_us; /* of its metadata; 0: none */
};

struct rf_request {
    struct rf_request *next;            /* in its queue */
    const struct rf_request_type *type; /* borrowed, constant; NULL: unknown */
    enum rf_channel channel;
    const struct rf_bytes *identities;
    size_t n_identities;
    struct rf_bytes header, metadata, content; /* raw JSON objects */
    const struct rf_bytes *buffers;
    size_t n_buffers;
    int64_t came_us; /* when it began to wait */

    /* Once it is with the worker. */
    uint64_t id;
    int64_t started_us;
    uint64_t comms_mark; /* comms opened after this are its own or later */
    bool asking;         /* an input_request waits for its input_reply */
    bool in_state;       /* a checkpoint holds it, or it changes nothing: no loss when it ends */
    struct rf_cell cell;
};

/* A view of `in`; nothing is copied. */
struct rf_request rf_request_view(const struct rf_request_type *type, enum rf_channel channel,
                                  const struct rf_wire_in *in);
/* Bytes of all frames. */
size_t rf_request_size(const struct rf_request *request);
/* A copy that owns its frames; NULL without memory. */
struct rf_request *rf_request_copy(const struct rf_request *view);
struct rf_request *rf_request_free(struct rf_request *request);

/* Fills `cell` from content and metadata.  NULL, or what is wrong with it. */
const char *rf_request_read_cell(struct rf_request *request);

/* First in, first out; owns its requests. */
struct rf_request_queue {
    struct rf_request *head, *tail;
    size_t n;
    size_t size; /* bytes of all frames */
};

void rf_request_queue_deinit(struct rf_request_queue *queue);
void rf_request_queue_push(struct rf_request_queue *queue, struct rf_request *request);
/* The oldest, now the caller's; NULL when empty. */
struct rf_request *rf_request_queue_pop(struct rf_request_queue *queue);
/* Takes all cells out, in their order; the caller's. */
struct rf_request_queue rf_request_queue_take_cells(struct rf_request_queue *queue);

#endif
