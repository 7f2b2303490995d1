/* ringfence-sweeper: what remains of a gateway that is gone.
 *
 * Holds the far end of a socket.  While the gateway lives it moves processes
 * into the kernel's cgroups when told to (the first such move in a while waits for
 * a grace period of Linux, some 15 ms, which must not stop the gateway's loop).
 * When the socket closes, in whatever way the gateway ended, it kills the
 * network helper and all that is in the cgroups, removes them, and ends.  It
 * also removes what dead gateways left beside them.
 *
 * Usage: ringfence-sweeper SOCKET_FD CGROUP...
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/supervise/sweep.h"
#include "gateway/supervise/sweeper_order.h"

#define END_MS 30000    /* a process in the kernel's own wait may take long to die */
#define LEFT_OVER_MS 50 /* for each that dead gateways left: the next start finds it again */
#define QUIET_MS 3000   /* after the last order, before looking for those */
#define HELPERS_MAX 8

static int helpers[HELPERS_MAX]; /* pidfds */
static int n_helpers;

static void with_parents(char **folders, void (*act)(const char *parent))
{
    for (; *folders; folders++) {
        char *slash = strrchr(*folders, '/');
        *slash = '\0';
        act(*folders);
        *slash = '/';
    }
}

static void sweep(const char *parent)
{
    rf_sweep_parent(parent, LEFT_OVER_MS);
}

/* Looks at every kernel there is, so it waits until those that start with this one have: low
 * priority would not do, which counts within a session of its own only (autogroups). */
static void sweep_when_quiet(int gateway, char **folders)
{
    struct pollfd wait = {gateway, POLLIN, 0};
    if (!poll(&wait, 1, QUIET_MS))
        with_parents(folders, sweep);
}

static void keep_helper(int fd)
{
    if (n_helpers < HELPERS_MAX)
        helpers[n_helpers++] = fd;
}

/* One order, with its descriptor if it has one; false at the end. */
static bool read_order(int gateway, struct rf_sweeper_order *ret, int *ret_fd)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {ret, sizeof(*ret)};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t n;
    *ret_fd = -1;
    do
        n = recvmsg(gateway, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *found = CMSG_FIRSTHDR(&msg);
    if (n > 0 && found && found->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(found), sizeof(int));
    return n == (ssize_t)sizeof(*ret);
}

static void serve(int gateway, char **folders)
{
    struct rf_sweeper_order order;
    int fd;
    for (;;) {
        sweep_when_quiet(gateway, folders);
        if (!read_order(gateway, &order, &fd))
            return;
        if (order.op == RF_SWEEPER_HELPER && fd >= 0) {
            keep_helper(fd);
            continue;
        }
        order.result = rf_sweep_attach(folders, order.pid);
        while (send(gateway, &order, sizeof(order), MSG_NOSIGNAL) < 0 && errno == EINTR)
            ;
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "ringfence-sweeper is started by the gateway, not by hand\n");
        return 2;
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* only the gateway's end is ours */
    int gateway = (int)strtol(argv[1], NULL, 10);
    serve(gateway, argv + 2);
    for (int i = 0; i < n_helpers; i++)
        syscall(SYS_pidfd_send_signal, helpers[i], SIGKILL, NULL, 0);
    for (char **folder = argv + 2; *folder; folder++)
        rf_sweep_kill(*folder);
    for (char **folder = argv + 2; *folder; folder++)
        rf_sweep_remove(*folder, END_MS);
    with_parents(argv + 2, sweep); /* this gateway may have been too short-lived for it */
    return 0;
}
