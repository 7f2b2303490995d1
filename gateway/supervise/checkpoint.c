/* See checkpoint.h. */
#include "gateway/supervise/checkpoint.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

struct rf_checkpoint {
    uint64_t id;
    const struct rf_checkpoint_events *events; /* borrowed */
    void *ctx;
    uv_poll_t poll;
    int fd; /* owned */
    struct rf_frame_reader reader;
    unsigned owed; /* orders without a RESUMED yet: what comes beyond is a flood for the keeper */
    unsigned turn; /* as it was told last */
    bool looks;    /* it was told of a cell, and has not answered */
    bool closing;
    uint8_t packet[RF_PACKET_MAX]; /* last, and never zeroed: that would cost more than the rest */
};

static void on_closed(uv_handle_t *handle)
{
    struct rf_checkpoint *checkpoint = handle->data;
    close(checkpoint->fd);
    rf_frame_reader_deinit(&checkpoint->reader);
    free(checkpoint);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct rf_checkpoint *checkpoint = poll->data;
    struct rf_frame frame;
    int r = rf_frame_recv(checkpoint->fd, MSG_DONTWAIT, &checkpoint->reader, checkpoint->packet,
                          &frame);
    if (r == -EAGAIN || r == -EINTR)
        return;
    uint64_t pid = 0, bytes = 0;
    for (size_t i = 0; r == 1 && i < frame.n_fds; i++)
        close(frame.fds[i]);
    if (r == 1 && frame.type == RF_MSG_RESUMED && frame.n_parts == 1 && checkpoint->owed &&
        rf_bytes_u64(frame.parts[0], &pid) && pid <= INT_MAX) {
        checkpoint->owed--;
        checkpoint->events->on_resumed(checkpoint->ctx, checkpoint, frame.request_id, (int)pid);
        return;
    }
    if (r == 1 && frame.type == RF_MSG_COPIED && frame.n_parts == 1 && checkpoint->looks &&
        rf_bytes_u64(frame.parts[0], &bytes)) {
        checkpoint->looks = false;
        checkpoint->events->on_copied(checkpoint->ctx, checkpoint, bytes);
        return;
    }
    uv_poll_stop(poll);
    checkpoint->events->on_gone(checkpoint->ctx, checkpoint);
}

struct rf_checkpoint *rf_checkpoint_new(uv_loop_t *loop, uint64_t id, int *ret_far,
                                        const struct rf_checkpoint_events *events, void *ctx)
{
    int pair[2];
    struct rf_checkpoint *checkpoint = malloc(sizeof(*checkpoint));
    if (!checkpoint)
        return NULL;
    memset(checkpoint, 0, offsetof(struct rf_checkpoint, packet));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        free(checkpoint);
        return NULL;
    }
    checkpoint->id = id;
    checkpoint->events = events;
    checkpoint->ctx = ctx;
    checkpoint->fd = pair[0];
    rf_frame_refuse_fds(checkpoint->fd);
    checkpoint->poll.data = checkpoint;
    int r = uv_poll_init(loop, &checkpoint->poll, checkpoint->fd);
    if (r) {
        close(pair[0]);
        close(pair[1]);
        free(checkpoint);
        return NULL;
    }
    uv_poll_start(&checkpoint->poll, UV_READABLE, on_ready);
    *ret_far = pair[1];
    return checkpoint;
}

int rf_checkpoint_resume(struct rf_checkpoint *checkpoint, uint64_t generation,
                         const int fds[RF_FD_COUNT])
{
    int r = rf_frame_send(checkpoint->fd, RF_MSG_RESUME, generation, NULL, 0, fds, RF_FD_COUNT);
    checkpoint->owed += !r;
    return r;
}

/* Whole or not at all: it may be a hostile peer that never reads. */
int rf_checkpoint_ask(struct rf_checkpoint *checkpoint, uint64_t id, const struct rf_bytes *parts,
                      size_t n_parts, int fd)
{
    RF_AUTO(rf_frame_writer_deinit) struct rf_frame_writer writer = {0};
    int r = rf_frame_writer_init(&writer, RF_MSG_ANSWER, id, parts, n_parts);
    if (!r && writer.body.len > RF_PACKET_MAX - sizeof(struct rf_packet_header))
        r = -EMSGSIZE;
    if (r)
        return r;
    writer.fds[0] = fd;
    writer.n_fds = 1;
    do
        r = rf_frame_writer_send(&writer, checkpoint->fd, MSG_DONTWAIT);
    while (r == -EINTR);
    checkpoint->owed += !r;
    return r;
}

/* It may be a peer that never reads. */
static bool tell(struct rf_checkpoint *checkpoint, uint8_t type, uint64_t about)
{
    RF_AUTO(rf_frame_writer_deinit) struct rf_frame_writer writer = {0};
    return !rf_frame_writer_init(&writer, type, about, NULL, 0) &&
           !rf_frame_writer_send(&writer, checkpoint->fd, MSG_DONTWAIT);
}

void rf_checkpoint_yield(struct rf_checkpoint *checkpoint, unsigned turn)
{
    if (turn != checkpoint->turn && tell(checkpoint, RF_MSG_YIELD, turn))
        checkpoint->turn = turn;
}

void rf_checkpoint_ahead(struct rf_checkpoint *checkpoint)
{
    checkpoint->looks = checkpoint->looks || tell(checkpoint, RF_MSG_AHEAD, 0);
}

uint64_t rf_checkpoint_id(const struct rf_checkpoint *checkpoint)
{
    return checkpoint->id;
}

void rf_checkpoint_close(struct rf_checkpoint *checkpoint)
{
    if (!checkpoint || checkpoint->closing)
        return;
    checkpoint->closing = true;
    uv_close((uv_handle_t *)&checkpoint->poll, on_closed);
}
