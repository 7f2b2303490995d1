/* See link.h. */
#include "gateway/supervise/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

#define FRAMES_A_ROUND 512            /* then other sources get their turn */
#define PIPE_SIZE (1 << 20)           /* asked for; the system's default where it is denied */
#define PIPE_PACE_MS 4                 /* between reads of a pipe that trickles */
#define PIPE_PACE_BYTES (32u << 10)   /* more than this at once is no trickle */
#define DRAIN_BYTES_MAX (64u << 20)   /* of a dead worker's pipe, whose writers may live on */
#define DRAIN_ROUNDS_MAX 64           /* likewise of its socket, which holds fewer frames */

enum { SOCKET, OUT, ERR, POLLS };

struct outgoing {
    struct rf_frame_writer writer;
    int fd; /* owned, or -1 */
    struct outgoing *next;
};

struct rf_link {
    uint64_t generation;
    const struct rf_link_events *events; /* borrowed */
    void *ctx;
    uv_poll_t polls[POLLS];
    uv_timer_t pace; /* runs while the pipes are not watched */
    int fds[POLLS]; /* owned */
    int fence, crash; /* owned */
    struct rf_frame_reader reader;
    uint8_t *packet; /* owned */
    struct outgoing *first, **last; /* owned */
    bool broken, closed;
    bool is_full; /* the socket took no more: room in it is waited for */
    bool fenced; /* the pipes were read in this round: the sample is stale */
    int open_handles;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void drop_outgoing(struct rf_link *link)
{
    struct outgoing *out = link->first;
    link->first = out->next;
    if (!link->first)
        link->last = &link->first;
    rf_frame_writer_deinit(&out->writer);
    rf_closep(&out->fd);
    free(out);
}

static void release(struct rf_link *link)
{
    while (link->first)
        drop_outgoing(link);
    for (int i = 0; i < POLLS; i++)
        rf_closep(&link->fds[i]);
    rf_closep(&link->fence);
    rf_closep(&link->crash);
    rf_frame_reader_deinit(&link->reader);
    free(link->packet);
    free(link);
}

static void on_closed(uv_handle_t *handle)
{
    struct rf_link *link = handle->data;
    if (!--link->open_handles)
        release(link);
}

static int make_pipe(int *ret_near, int *ret_far)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
    *ret_near = ends[0];
    *ret_far = ends[1];
    return 0;
}

static int make_descriptors(struct rf_link *link, int far[RF_FD_COUNT])
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    link->fds[SOCKET] = pair[0];
    far[RF_FD_SOCKET] = pair[1];
    int r = make_pipe(&link->fds[OUT], &far[RF_FD_STDOUT]);
    if (!r)
        r = make_pipe(&link->fds[ERR], &far[RF_FD_STDERR]);
    if (r)
        return r;
    /* No eventfd: its flags are shared, and the worker could make our write block. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return -errno;
    link->fence = pair[0];
    far[RF_FD_FENCE] = pair[1];
    rf_frame_refuse_fds(link->fds[SOCKET]);
    rf_frame_refuse_fds(link->fence);
    /* Sealed in its size: what a cell writes to it is counted to nobody. */
    link->crash = memfd_create("ringfence-crash", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (link->crash < 0 || ftruncate(link->crash, RF_CRASH_TEXT_MAX) ||
        fcntl(link->crash, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
        return -errno;
    far[RF_FD_CRASH] = fcntl(link->crash, F_DUPFD_CLOEXEC, 0);
    return far[RF_FD_CRASH] < 0 ? -errno : 0;
}

struct rf_link *rf_link_new(uv_loop_t *loop, uint64_t generation, int ret_far[RF_FD_COUNT],
                            const struct rf_link_events *events, void *ctx)
{
    struct rf_link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    *link = (struct rf_link){.generation = generation, .events = events, .ctx = ctx,
                             .fds = {-1, -1, -1}, .fence = -1, .crash = -1};
    link->last = &link->first;
    link->packet = malloc(RF_PACKET_MAX);
    for (int i = 0; i < RF_FD_COUNT; i++)
        ret_far[i] = -1;
    int r = link->packet ? make_descriptors(link, ret_far) : -ENOMEM;
    if (!r) {
        uv_timer_init(loop, &link->pace);
        link->pace.data = link;
        link->open_handles++;
    }
    for (int i = 0; !r && i < POLLS; i++) {
        link->polls[i].data = link;
        r = uv_poll_init(loop, &link->polls[i], link->fds[i]);
        if (!r) {
            link->open_handles++;
            uv_poll_start(&link->polls[i], UV_READABLE, on_ready);
        }
    }
    if (!r)
        return link;
    for (int i = 0; i < RF_FD_COUNT; i++)
        rf_closep(&ret_far[i]);
    if (link->open_handles)
        rf_link_close(link);
    else
        release(link);
    errno = -r;
    return NULL;
}

void rf_link_listen(struct rf_link *link, const struct rf_link_events *events)
{
    link->events = events;
}

void rf_link_break(struct rf_link *link)
{
    link->broken = true;
    for (int i = 0; i < POLLS; i++)
        uv_poll_stop(&link->polls[i]);
    uv_timer_stop(&link->pace);
}

static void break_off(struct rf_link *link, bool closed)
{
    rf_link_break(link);
    link->events->on_broken(link->ctx, closed);
}

static size_t bytes_in(int fd)
{
    int n = 0;
    return !ioctl(fd, FIONREAD, &n) && n > 0 ? (size_t)n : 0;
}

/* Reads n bytes of a pipe and passes them on. */
static void read_pipe(struct rf_link *link, int which, size_t n)
{
    while (n && !link->closed) {
        size_t want = n < RF_PACKET_MAX ? n : RF_PACKET_MAX;
        ssize_t got = read(link->fds[which], link->packet, want);
        if (got <= 0)
            return;
        n -= (size_t)got;
        link->events->on_pipe(link->ctx, which == ERR ? 2 : 1,
                              (struct rf_bytes){link->packet, (size_t)got});
    }
}

static void answer_fence(struct rf_link *link)
{
    read_pipe(link, OUT, bytes_in(link->fds[OUT]));
    read_pipe(link, ERR, bytes_in(link->fds[ERR]));
    link->fenced = true;
    if (link->fence >= 0)
        (void)!send(link->fence, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Nobody holds the other end any more: no byte will come, and polling would tell
 * so again and again. */
static bool has_hung_up(int fd)
{
    struct pollfd look = {fd, 0, 0};
    return poll(&look, 1, 0) > 0 && (look.revents & POLLHUP) && !bytes_in(fd);
}

/* Passes on up to `max` messages, of as many packets as one call takes.  True
 * when the socket is empty. */
static bool read_frames(struct rf_link *link, size_t max)
{
    for (size_t i = 0; i < max && !link->broken && !link->closed; i++) {
        struct rf_frame frame;
        int r = rf_frame_recv(link->fds[SOCKET], MSG_DONTWAIT, &link->reader, link->packet, &frame);
        if (r == -EAGAIN)
            return true;
        if (r == -EINTR) /* many packets, and no message yet */
            return false;
        if (r == -ECONNRESET) /* it ended with mail unread; its own is still here */
            continue;
        if (r != 1) {
            break_off(link, r == 0);
            return true;
        }
        for (size_t f = 0; f < frame.n_fds; f++)
            close(frame.fds[f]); /* nothing is expected from that side */
        if (frame.type == RF_MSG_FENCE)
            answer_fence(link);
        else
            link->events->on_frame(link->ctx, &frame);
    }
    return link->broken || link->closed;
}

static void watch_socket(struct rf_link *link, bool is_full)
{
    link->is_full = is_full;
    if (!link->broken)
        uv_poll_start(&link->polls[SOCKET], UV_READABLE | (is_full ? UV_WRITABLE : 0), on_ready);
}

static void write_frames(struct rf_link *link)
{
    while (link->first) {
        int r = rf_frame_writer_send(&link->first->writer, link->fds[SOCKET], MSG_DONTWAIT);
        if (r == -EAGAIN || r == -EINTR)
            break;
        if (r) { /* the end of the worker is told by its keeper */
            while (link->first)
                drop_outgoing(link);
            break;
        }
        drop_outgoing(link);
    }
    bool is_full = link->first;
    if (is_full != link->is_full) /* each start is two system calls */
        watch_socket(link, is_full);
}

static void watch_pipes(struct rf_link *link)
{
    for (int which = OUT; which <= ERR && !link->broken; which++)
        if (!has_hung_up(link->fds[which]))
            uv_poll_start(&link->polls[which], UV_READABLE, on_ready);
}

static void on_pace(uv_timer_t *timer)
{
    watch_pipes(timer->data);
}

/* A process that prints line by line would wake us for each: look again in a
 * while.  What must not wait that long comes with a fence. */
static void pace_pipes(struct rf_link *link)
{
    for (int which = OUT; which <= ERR; which++)
        uv_poll_stop(&link->polls[which]);
    uv_timer_start(&link->pace, on_pace, PIPE_PACE_MS, 0);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct rf_link *link = poll->data;
    if (link->broken || link->closed)
        return;
    if (poll != &link->polls[SOCKET] && has_hung_up(link->fds[poll - link->polls])) {
        uv_poll_stop(poll);
        return;
    }
    if (status < 0) /* libuv stops the poll after an error */
        watch_socket(link, link->is_full);
    if ((events & UV_WRITABLE) || status < 0)
        write_frames(link);
    size_t out = bytes_in(link->fds[OUT]), err = bytes_in(link->fds[ERR]);
    link->fenced = false;
    if (read_frames(link, FRAMES_A_ROUND) && !link->closed && !link->fenced) {
        read_pipe(link, OUT, out);
        read_pipe(link, ERR, err);
        if (out + err && out + err < PIPE_PACE_BYTES && !link->closed && !link->broken)
            pace_pipes(link);
    }
}

int rf_link_send(struct rf_link *link, uint8_t type, uint64_t request_id,
                 const struct rf_bytes *parts, size_t n_parts, int fd)
{
    struct outgoing *out = calloc(1, sizeof(*out));
    int r = out ? rf_frame_writer_init(&out->writer, type, request_id, parts, n_parts) : -ENOMEM;
    if (r || link->broken) {
        if (out)
            rf_frame_writer_deinit(&out->writer);
        free(out);
        rf_closep(&fd);
        return r;
    }
    out->fd = fd;
    if (fd >= 0) {
        out->writer.fds[0] = fd;
        out->writer.n_fds = 1;
    }
    *link->last = out;
    link->last = &out->next;
    write_frames(link);
    return 0;
}

bool rf_link_is_behind(const struct rf_link *link)
{
    return link->first != NULL;
}

void rf_link_drain(struct rf_link *link)
{
    for (int i = 0; i < DRAIN_ROUNDS_MAX && !read_frames(link, FRAMES_A_ROUND); i++)
        ;
    link->broken = true;
    for (int which = OUT; which <= ERR; which++) {
        size_t left = DRAIN_BYTES_MAX, n;
        while (left && !link->closed && (n = bytes_in(link->fds[which]))) {
            n = n < left ? n : left;
            read_pipe(link, which, n);
            left -= n;
        }
    }
}

void rf_link_crash_text(struct rf_link *link, struct rf_buf *to, size_t max)
{
    uint8_t *at = rf_buf_reserve(to, max);
    ssize_t n = at ? pread(link->crash, at, max, 0) : 0;
    while (n > 0 && !at[n - 1])
        n--;
    if (n > 0)
        to->len += (size_t)n;
}

uint64_t rf_link_generation(const struct rf_link *link)
{
    return link->generation;
}

void rf_link_close(struct rf_link *link)
{
    if (!link || link->closed)
        return;
    link->closed = true;
    int polls = link->open_handles - 1;
    uv_close((uv_handle_t *)&link->pace, on_closed);
    for (int i = 0; i < polls; i++)
        uv_close((uv_handle_t *)&link->polls[i], on_closed);
}
