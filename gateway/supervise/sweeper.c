/* See sweeper.h. */
#include "gateway/supervise/sweeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/supervise/sweeper_order.h"

#define SOCKET_FD 3 /* the socket's number in the sweeper */

struct rf_sweeper {
    rf_sweeper_attached attached;
    void *ctx;
    uv_poll_t poll;
    int fd; /* owned */
    bool closing;
};

static void on_closed(uv_handle_t *handle)
{
    struct rf_sweeper *sweeper = handle->data;
    close(sweeper->fd);
    free(sweeper);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct rf_sweeper *sweeper = poll->data;
    struct rf_sweeper_order answer = {0};
    ssize_t n = recv(sweeper->fd, &answer, sizeof(answer), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t)sizeof(answer)) { /* it was killed */
        uv_poll_stop(poll);
        answer.pid = 0;
        answer.result = -ECONNRESET;
    }
    sweeper->attached(sweeper->ctx, answer.pid, answer.result);
}

/* In a session of its own, with nothing of ours but the socket. */
static int run(const char *program, const struct rf_cgroup *cgroup, int socket)
{
    char number[8], *argv[3 + RF_CGROUP_KINDS] = {(char *)"ringfence-sweeper", number};
    char *none[] = {NULL};
    snprintf(number, sizeof(number), "%d", SOCKET_FD);
    memcpy(argv + 2, cgroup->folders, cgroup->n * sizeof(*argv));
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    for (int fd = 0; fd < SOCKET_FD; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, socket, SOCKET_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, SOCKET_FD + 1);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t pid;
    int r = -posix_spawn(&pid, program, &actions, &attributes, argv, none);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r;
}

struct rf_sweeper *rf_sweeper_new(uv_loop_t *loop, const char *program,
                                  const struct rf_cgroup *cgroup, rf_sweeper_attached attached,
                                  void *ctx, struct rf_error *err)
{
    int pair[2] = {-1, -1};
    struct rf_sweeper *sweeper = calloc(1, sizeof(*sweeper));
    int r = sweeper ? 0 : -ENOMEM;
    if (!r && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        r = -errno;
    RF_AUTO(rf_closep) int far = r ? -1 : fcntl(pair[1], F_DUPFD_CLOEXEC, SOCKET_FD + 1);
    rf_closep(&pair[1]);
    if (!r && far < 0)
        r = -errno;
    if (!r)
        r = run(program, cgroup, far);
    if (!r)
        r = uv_poll_init(loop, &sweeper->poll, pair[0]);
    if (r) {
        rf_closep(&pair[0]);
        free(sweeper);
        rf_error_errno(err, r, "cannot run %s", program);
        return NULL;
    }
    sweeper->attached = attached;
    sweeper->ctx = ctx;
    sweeper->fd = pair[0];
    sweeper->poll.data = sweeper;
    uv_poll_start(&sweeper->poll, UV_READABLE, on_ready);
    return sweeper;
}

static void order(struct rf_sweeper *sweeper, enum rf_sweeper_op op, int pid, int fd)
{
    struct rf_sweeper_order what = {.op = op, .pid = pid};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {&what, sizeof(what)};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
    }
    (void)!sendmsg(sweeper->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL); /* its end is seen by on_ready */
}

void rf_sweeper_attach(struct rf_sweeper *sweeper, int pid)
{
    order(sweeper, RF_SWEEPER_ATTACH, pid, -1);
}

void rf_sweeper_guard(struct rf_sweeper *sweeper, int pid)
{
    RF_AUTO(rf_closep) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0)
        order(sweeper, RF_SWEEPER_HELPER, 0, fd);
}

void rf_sweeper_close(struct rf_sweeper *sweeper)
{
    if (!sweeper || sweeper->closing)
        return;
    sweeper->closing = true;
    uv_close((uv_handle_t *)&sweeper->poll, on_closed);
}
