/* See mock.h: packets as no codec would make them. */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <ringfence/worker.h>

#include "tests/mock/mock.h"

int rf_mock_send(int fd, const struct rf_mock_packet *packet)
{
    struct rf_packet_header header = {
        .protocol = packet->protocol ? packet->protocol : RF_WORKER_PROTOCOL,
        .type = packet->type,
        .flags = htole16(packet->flags),
        .total = htole32(packet->total),
        .request_id = htole64(packet->request_id),
    };
    struct iovec iov[2] = {{&header, sizeof(header)},
                           {(void *)packet->fragment.data, packet->fragment.len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control = {0};
    if (packet->n_fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * packet->n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * packet->n_fds);
        memcpy(CMSG_DATA(c), packet->fds, sizeof(int) * packet->n_fds);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}
