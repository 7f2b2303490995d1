/* See frame.h. */
#include "common/frame.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(struct rf_packet_header) == 16, "the packet header has no padding");

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define FRAGMENT_MAX (RF_PACKET_MAX - sizeof(struct rf_packet_header))
#define PACKETS_A_CALL 1024 /* a peer that sends a byte a packet must not keep us for ever */

static void close_fds(int *fds, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *n = 0;
}

void rf_frame_reader_deinit(struct rf_frame_reader *reader)
{
    close_fds(reader->fds, &reader->n_fds);
    rf_buf_deinit(&reader->body);
    free(reader->parts);
    *reader = (struct rf_frame_reader){0};
}

static uint32_t read_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

/* The body is complete: cut it into parts that fill it exactly. */
static int split_parts(struct rf_frame_reader *reader, struct rf_frame *ret)
{
    struct rf_bytes body = rf_buf_bytes(&reader->body);
    if (body.len < 4)
        return -EPROTO;
    uint32_t n = read_u32(body.data);
    if (n > RF_WORKER_PARTS_MAX || body.len < 4 + 4 * (size_t)n)
        return -EPROTO;
    struct rf_bytes *parts = realloc(reader->parts, (n ? n : 1) * sizeof(*parts));
    if (!parts)
        return -ENOMEM;
    reader->parts = parts;
    size_t at = 4 + 4 * (size_t)n;
    for (uint32_t i = 0; i < n; i++) {
        size_t len = read_u32(body.data + 4 + 4 * (size_t)i);
        if (len > body.len - at)
            return -EPROTO;
        parts[i] = (struct rf_bytes){body.data + at, len};
        at += len;
    }
    if (at != body.len)
        return -EPROTO;
    *ret = (struct rf_frame){
        .type = reader->first.type,
        .request_id = le64toh(reader->first.request_id),
        .parts = parts,
        .n_parts = n,
    };
    memcpy(ret->fds, reader->fds, sizeof(ret->fds));
    ret->n_fds = reader->n_fds;
    reader->n_fds = 0; /* the frame owns them now */
    return 1;
}

static int take_header(struct rf_frame_reader *reader, const struct rf_packet_header *header,
                       size_t fragment)
{
    uint16_t flags = le16toh(header->flags);
    if (header->protocol != RF_WORKER_PROTOCOL || (flags & ~(RF_PACKET_FIRST | RF_PACKET_LAST)))
        return -EPROTO;
    if (reader->open == !!(flags & RF_PACKET_FIRST))
        return -EPROTO;
    if (flags & RF_PACKET_FIRST) {
        if (le32toh(header->total) > RF_WORKER_MESSAGE_MAX)
            return -EPROTO;
        reader->first = *header;
        reader->open = true;
        reader->body.len = 0;
    }
    if (header->type != reader->first.type || header->total != reader->first.total ||
        header->request_id != reader->first.request_id)
        return -EPROTO;
    size_t left = le32toh(header->total) - reader->body.len;
    if (fragment > left || (fragment == left) != !!(flags & RF_PACKET_LAST))
        return -EPROTO;
    if (!fragment && !(flags & RF_PACKET_LAST))
        return -EPROTO;
    return 0;
}

int rf_frame_reader_packet(struct rf_frame_reader *reader, struct rf_bytes packet, const int *fds,
                           size_t n_fds, struct rf_frame *ret)
{
    struct rf_packet_header header;
    int r = 0;
    if (n_fds) { /* only with the first packet; more than announced are nobody's */
        close_fds(reader->fds, &reader->n_fds);
        memcpy(reader->fds, fds, n_fds * sizeof(*fds));
        reader->n_fds = n_fds;
        r = reader->open ? -EPROTO : 0;
    }
    if (!r && packet.len < sizeof(header))
        r = -EPROTO;
    if (!r) {
        memcpy(&header, packet.data, sizeof(header));
        r = take_header(reader, &header, packet.len - sizeof(header));
    }
    if (!r) {
        rf_buf_add(&reader->body, packet.data + sizeof(header), packet.len - sizeof(header));
        r = rf_buf_ok(&reader->body) ? 0 : -ENOMEM;
    }
    if (!r && (le16toh(header.flags) & RF_PACKET_LAST)) {
        reader->open = false;
        r = split_parts(reader, ret);
    }
    if (r < 0)
        close_fds(reader->fds, &reader->n_fds);
    return r;
}

static size_t passed_fds(struct msghdr *msg, int *fds)
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (n < RF_PASSED_FDS_MAX)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

int rf_frame_recv(int fd, int flags, struct rf_frame_reader *reader, uint8_t *buffer,
                  struct rf_frame *ret)
{
    for (int packets = 0; packets < PACKETS_A_CALL; packets++) {
        int fds[RF_PASSED_FDS_MAX];
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * RF_PASSED_FDS_MAX)];
        } control;
        struct iovec iov = {buffer, RF_PACKET_MAX};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
        if (n < 0)
            return -errno;
        size_t n_fds = passed_fds(&msg, fds);
        if (n == 0 && !n_fds)
            return 0;
        int r = rf_frame_reader_packet(reader, (struct rf_bytes){buffer, (size_t)n}, fds, n_fds, ret);
        if (!r && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
            r = -EPROTO;
        if (r)
            return r;
    }
    return -EINTR;
}

void rf_frame_refuse_fds(int fd)
{
    int no = 0;
    setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
}

void rf_frame_writer_deinit(struct rf_frame_writer *writer)
{
    rf_buf_deinit(&writer->body);
    *writer = (struct rf_frame_writer){0};
}

int rf_frame_writer_init(struct rf_frame_writer *writer, uint8_t type, uint64_t request_id,
                         const struct rf_bytes *parts, size_t n_parts)
{
    size_t total = 4 + 4 * n_parts;
    if (n_parts > RF_WORKER_PARTS_MAX)
        return -EMSGSIZE;
    for (size_t i = 0; i < n_parts; i++)
        if (__builtin_add_overflow(total, parts[i].len, &total) || total > RF_WORKER_MESSAGE_MAX)
            return -EMSGSIZE;
    *writer = (struct rf_frame_writer){
        .header = {.protocol = RF_WORKER_PROTOCOL,
                   .type = type,
                   .total = htole32((uint32_t)total),
                   .request_id = htole64(request_id)},
    };
    if (!rf_buf_reserve(&writer->body, total))
        return -ENOMEM;
    uint32_t word = htole32((uint32_t)n_parts);
    rf_buf_add(&writer->body, &word, sizeof(word));
    for (size_t i = 0; i < n_parts; i++) {
        word = htole32((uint32_t)parts[i].len);
        rf_buf_add(&writer->body, &word, sizeof(word));
    }
    for (size_t i = 0; i < n_parts; i++)
        rf_buf_add_bytes(&writer->body, parts[i]);
    return 0;
}

static int send_packet(struct rf_frame_writer *writer, int fd, int flags)
{
    size_t left = writer->body.len - writer->sent;
    size_t n = left < FRAGMENT_MAX ? left : FRAGMENT_MAX;
    uint16_t packet_flags = 0;
    if (!writer->sent)
        packet_flags |= RF_PACKET_FIRST;
    if (n == left)
        packet_flags |= RF_PACKET_LAST;
    writer->header.flags = htole16(packet_flags);
    struct iovec iov[2] = {{&writer->header, sizeof(writer->header)},
                           {writer->body.data + writer->sent, n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * RF_PASSED_FDS_MAX)];
    } control = {0};
    if (writer->n_fds && !writer->sent) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * writer->n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * writer->n_fds);
        memcpy(CMSG_DATA(c), writer->fds, sizeof(int) * writer->n_fds);
    }
    if (sendmsg(fd, &msg, flags | MSG_NOSIGNAL) < 0)
        return -errno;
    writer->sent += n;
    return 0;
}

int rf_frame_writer_send(struct rf_frame_writer *writer, int fd, int flags)
{
    while (writer->sent < writer->body.len) {
        int r = send_packet(writer, fd, flags);
        if (r)
            return r;
    }
    return 0;
}

int rf_frame_send(int fd, uint8_t type, uint64_t request_id, const struct rf_bytes *parts,
                  size_t n_parts, const int *fds, size_t n_fds)
{
    struct rf_frame_writer writer;
    int r = rf_frame_writer_init(&writer, type, request_id, parts, n_parts);
    if (!r) {
        writer.n_fds = n_fds;
        if (n_fds)
            memcpy(writer.fds, fds, n_fds * sizeof(*fds));
        do
            r = rf_frame_writer_send(&writer, fd, 0);
        while (r == -EINTR);
    }
    rf_frame_writer_deinit(&writer);
    return r;
}
