/* See keeper.h. */
#include "gateway/supervise/keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct rf_keeper {
    const struct rf_keeper_events *events; /* borrowed */
    void *ctx;
    uv_poll_t poll;
    int fd; /* owned */
    int pid; /* 0: not known yet */
    bool silent, closing;
};

static void on_closed(uv_handle_t *handle)
{
    struct rf_keeper *keeper = handle->data;
    close(keeper->fd);
    free(keeper);
}

static void close_now(struct rf_keeper *keeper)
{
    keeper->closing = true;
    uv_close((uv_handle_t *)&keeper->poll, on_closed);
}

/* One message, and who sent it. */
static ssize_t receive(struct rf_keeper *keeper, struct rf_keeper_msg *ret)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {ret, sizeof(*ret)};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(keeper->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *found = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    struct ucred sender;
    if (found && found->cmsg_type == SCM_CREDENTIALS) {
        memcpy(&sender, CMSG_DATA(found), sizeof(sender));
        keeper->pid = sender.pid;
    }
    return n;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct rf_keeper *keeper = poll->data;
    while (!keeper->closing) {
        struct rf_keeper_msg msg;
        ssize_t n = receive(keeper, &msg);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n != (ssize_t)sizeof(msg)) {
            close_now(keeper);
            if (!keeper->silent)
                keeper->events->on_gone(keeper->ctx);
            return;
        }
        msg.text[sizeof(msg.text) - 1] = '\0';
        if (!keeper->silent)
            keeper->events->on_message(keeper->ctx, &msg);
    }
}

struct rf_keeper *rf_keeper_new(uv_loop_t *loop, int *ret_far,
                                const struct rf_keeper_events *events, void *ctx)
{
    int pair[2];
    struct rf_keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        free(keeper);
        return NULL;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
    *keeper = (struct rf_keeper){.events = events, .ctx = ctx, .fd = pair[0]};
    keeper->poll.data = keeper;
    int r = uv_poll_init(loop, &keeper->poll, keeper->fd);
    if (r) {
        close(pair[0]);
        close(pair[1]);
        free(keeper);
        errno = -r;
        return NULL;
    }
    uv_poll_start(&keeper->poll, UV_READABLE, on_ready);
    *ret_far = pair[1];
    return keeper;
}

int rf_keeper_pid(const struct rf_keeper *keeper)
{
    return keeper->pid;
}

void rf_keeper_order(struct rf_keeper *keeper, enum rf_keeper_op op, uint64_t id, int pid, int value)
{
    struct rf_keeper_msg msg = {.op = op, .pid = pid, .id = id, .value = value};
    if (keeper && !keeper->closing)
        (void)!send(keeper->fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void rf_keeper_close(struct rf_keeper *keeper, bool await_end)
{
    if (!keeper || keeper->closing)
        return;
    if (await_end) {
        shutdown(keeper->fd, SHUT_WR); /* the keeper reads end of file, ends, and so do we */
        return;
    }
    keeper->silent = true;
    close_now(keeper);
}
