/* stdout and stderr text on its way to iopub: decoded and batched.
 *
 * Text of one stream and one request is held until it is large, old
 * (RF_STREAM_DELAY_MS after its first byte) or something else must go out
 * after it, so that a cell with a thousand short prints makes few messages
 * and a short cell makes one.  Holds at most RF_STREAM_BATCH_MAX and one
 * piece.  Bytes of a pipe that end inside a UTF-8 sequence wait for the rest.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_STREAMS_H
#define RINGFENCE_GATEWAY_JUPYTER_STREAMS_H

#include "common/bytes.h"

enum rf_stream { RF_STDOUT, RF_STDERR, RF_STREAMS };

extern const char *const rf_stream_names[RF_STREAMS];

/* Text that goes out: valid UTF-8, borrowed for the call. */
typedef void rf_stream_fn(void *ctx, enum rf_stream stream, uint64_t parent, struct rf_bytes text);

struct rf_streams {
    rf_stream_fn *on_text;
    void *ctx;
    struct rf_buf text; /* held; of one stream and one parent */
    enum rf_stream stream;
    uint64_t parent;
    int64_t since_us;   /* when the first byte of `text` came */
    int64_t now_us;     /* when the newest byte came */
    int64_t flushed_us; /* that of the newest byte that went out */
    struct rf_stream_tail {
        uint8_t bytes[4];
        size_t n;
        uint64_t parent;
    } tails[RF_STREAMS]; /* ends of pipe bytes that are no whole character yet */
};

void rf_streams_init(struct rf_streams *streams, rf_stream_fn *on_text, void *ctx);
void rf_streams_deinit(struct rf_streams *streams);

/* Text that is whole; bytes that are not UTF-8 become U+FFFD. */
void rf_streams_text(struct rf_streams *streams, enum rf_stream stream, uint64_t parent,
                     struct rf_bytes text, int64_t now_us);
/* Bytes of a pipe, cut anywhere. */
void rf_streams_pipe(struct rf_streams *streams, enum rf_stream stream, uint64_t parent,
                     struct rf_bytes bytes, int64_t now_us);

/* Sends what is held. */
void rf_streams_flush(struct rf_streams *streams);
/* And sequences that will not be completed, as U+FFFD. */
void rf_streams_finish(struct rf_streams *streams);

/* When the held text must go out (monotonic us); INT64_MAX: none is held.  After
 * a pause that is soon, then every RF_STREAM_DELAY_MS. */
int64_t rf_streams_deadline(const struct rf_streams *streams);

#endif
