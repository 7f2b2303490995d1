/* See streams.h. */
#include "gateway/jupyter/streams.h"

#include <ringfence/limits.h>

#include "common/json.h"

#define PIECE_MAX (1u << 20) /* of text in one message, before bad bytes grow to U+FFFD */

const char *const rf_stream_names[RF_STREAMS] = {"stdout", "stderr"};

void rf_streams_init(struct rf_streams *streams, rf_stream_fn *on_text, void *ctx)
{
    *streams = (struct rf_streams){.on_text = on_text, .ctx = ctx};
}

void rf_streams_deinit(struct rf_streams *streams)
{
    rf_buf_deinit(&streams->text);
}

void rf_streams_flush(struct rf_streams *streams)
{
    if (streams->text.len)
        streams->on_text(streams->ctx, streams->stream, streams->parent,
                         rf_buf_bytes(&streams->text));
    if (streams->text.len)
        streams->flushed_us = streams->now_us;
    streams->text.len = 0;
    if (streams->text.failed || streams->text.cap > 2 * RF_STREAM_BATCH_MAX)
        rf_buf_deinit(&streams->text);
}

/* Holds text for (stream, parent).  Returns how many bytes at the end wait
 * for the rest of their sequence (0 if `last`). */
static size_t hold(struct rf_streams *streams, struct rf_bytes text, bool last, int64_t now_us)
{
    for (;;) {
        size_t n = text.len < PIECE_MAX ? text.len : PIECE_MAX;
        bool ends = n == text.len;
        streams->now_us = now_us;
        if (!streams->text.len)
            streams->since_us = now_us;
        size_t left = rf_utf8_clean((struct rf_bytes){text.data, n}, ends && last, &streams->text);
        if (streams->text.failed || streams->text.len >= RF_STREAM_BATCH_MAX)
            rf_streams_flush(streams);
        if (ends)
            return left;
        text.data += n - left;
        text.len -= n - left;
    }
}

static void turn_to(struct rf_streams *streams, enum rf_stream stream, uint64_t parent)
{
    if (streams->stream != stream || streams->parent != parent)
        rf_streams_flush(streams);
    streams->stream = stream;
    streams->parent = parent;
}

void rf_streams_text(struct rf_streams *streams, enum rf_stream stream, uint64_t parent,
                     struct rf_bytes text, int64_t now_us)
{
    if (!text.len)
        return;
    turn_to(streams, stream, parent);
    hold(streams, text, true, now_us);
}

void rf_streams_pipe(struct rf_streams *streams, enum rf_stream stream, uint64_t parent,
                     struct rf_bytes bytes, int64_t now_us)
{
    if (!bytes.len)
        return;
    struct rf_stream_tail *tail = &streams->tails[stream];
    struct rf_buf joined = {0};
    if (tail->n) {
        rf_buf_add(&joined, tail->bytes, tail->n);
        rf_buf_add_bytes(&joined, bytes);
        if (rf_buf_ok(&joined))
            bytes = rf_buf_bytes(&joined);
        tail->n = 0;
    }
    turn_to(streams, stream, parent);
    size_t left = hold(streams, bytes, false, now_us);
    memcpy(tail->bytes, bytes.data + bytes.len - left, left);
    tail->n = left;
    tail->parent = parent;
    rf_buf_deinit(&joined);
}

void rf_streams_finish(struct rf_streams *streams)
{
    for (int i = 0; i < RF_STREAMS; i++) {
        struct rf_stream_tail *tail = &streams->tails[i];
        size_t n = tail->n;
        tail->n = 0;
        rf_streams_text(streams, (enum rf_stream)i, tail->parent,
                        (struct rf_bytes){tail->bytes, n}, streams->since_us);
    }
    rf_streams_flush(streams);
}

int64_t rf_streams_deadline(const struct rf_streams *streams)
{
    if (!streams->text.len)
        return INT64_MAX;
    int64_t full_us = (int64_t)RF_STREAM_DELAY_MS * 1000;
    bool quiet = streams->since_us - streams->flushed_us >= full_us;
    return streams->since_us + (quiet ? full_us / 10 : full_us); /* the first lines soon */
}
