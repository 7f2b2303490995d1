/* common/frame: fragments, every way to break the protocol, descriptors. */
#include "tests/unit/check.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/frame.h"

#define HEADER_LEN sizeof(struct rf_packet_header)
#define FIRST RF_PACKET_FIRST
#define LAST RF_PACKET_LAST

/* A packet to be fed; `total` as it claims to be. */
struct packet {
    uint8_t protocol, type;
    uint16_t flags;
    uint32_t total;
    uint64_t request_id;
    struct rf_bytes fragment;
};

/* In an allocation of its exact size, so that a sanitizer sees a read beyond. */
static int feed_bytes(struct rf_frame_reader *reader, struct rf_bytes bytes, struct rf_frame *ret)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    int r = rf_frame_reader_packet(reader, (struct rf_bytes){copy, bytes.len}, NULL, 0, ret);
    free(copy);
    return r;
}

static int feed(struct rf_frame_reader *reader, const struct packet *packet, struct rf_frame *ret)
{
    struct rf_packet_header header = {
        .protocol = packet->protocol ? packet->protocol : RF_WORKER_PROTOCOL,
        .type = packet->type,
        .flags = htole16(packet->flags),
        .total = htole32(packet->total),
        .request_id = htole64(packet->request_id),
    };
    RF_AUTO(rf_buf_deinit) struct rf_buf bytes = {0};
    rf_buf_add(&bytes, &header, sizeof(header));
    rf_buf_add_bytes(&bytes, packet->fragment);
    return feed_bytes(reader, rf_buf_bytes(&bytes), ret);
}

/* A body with two parts, "ab" and "". */
#define BODY LITERAL("\2\0\0\0\2\0\0\0\0\0\0\0ab")
#define BODY_LEN 14

static void test_one_packet(void **state)
{
    RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
    for (uint64_t i = 0; i < 3; i++) {
        struct rf_frame frame;
        struct packet packet = {.type = 9, .flags = FIRST | LAST, .total = BODY_LEN,
                                .request_id = UINT64_MAX - i, .fragment = BODY};
        assert_int_equal(feed(&reader, &packet, &frame), 1);
        assert_int_equal(frame.type, 9);
        assert_true(frame.request_id == UINT64_MAX - i);
        assert_int_equal(frame.n_parts, 2);
        check_text(frame.parts[0], "ab", "part 0");
        check_text(frame.parts[1], "", "part 1");
        assert_int_equal(frame.n_fds, 0);
    }
}

static void test_no_parts(void **state)
{
    RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
    struct packet packet = {.flags = FIRST | LAST, .total = 4, .fragment = LITERAL("\0\0\0\0")};
    struct rf_frame frame;
    assert_int_equal(feed(&reader, &packet, &frame), 1);
    assert_int_equal(frame.n_parts, 0);
}

/* One byte in each packet. */
static void test_fragments(void **state)
{
    RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
    const struct rf_bytes body = BODY;
    struct rf_frame frame;
    for (size_t i = 0; i < body.len; i++) {
        struct packet packet = {
            .total = BODY_LEN,
            .flags = (uint16_t)((i == 0 ? FIRST : 0) | (i == body.len - 1 ? LAST : 0)),
            .fragment = {body.data + i, 1},
        };
        assert_int_equal(feed(&reader, &packet, &frame), i == body.len - 1);
    }
    check_text(frame.parts[0], "ab", "part 0");
}

/* Up to two packets; the last of them must be refused. */
static const struct {
    const char *name;
    struct packet packets[2];
    size_t n;
} broken[] = {
    {"another protocol",
     {{.protocol = 2, .flags = FIRST | LAST, .total = 14, .fragment = BODY}}, 1},
    {"an unknown flag", {{.flags = FIRST | LAST | 4, .total = 14, .fragment = BODY}}, 1},
    {"no first packet", {{.flags = LAST, .total = 14, .fragment = BODY}}, 1},
    {"neither first nor last", {{.flags = 0, .total = 14, .fragment = BODY}}, 1},
    {"over the limit",
     {{.flags = FIRST, .total = RF_WORKER_MESSAGE_MAX + 1, .fragment = LITERAL("x")}}, 1},
    {"total of 4 GB", {{.flags = FIRST, .total = UINT32_MAX, .fragment = LITERAL("x")}}, 1},
    {"more than total", {{.flags = FIRST | LAST, .total = 13, .fragment = BODY}}, 1},
    {"less than total, but last", {{.flags = FIRST | LAST, .total = 15, .fragment = BODY}}, 1},
    {"all of it, but not last", {{.flags = FIRST, .total = 14, .fragment = BODY}}, 1},
    {"an empty fragment", {{.flags = FIRST, .total = 14}}, 1},
    {"no body", {{.flags = FIRST | LAST, .total = 0}}, 1},
    {"a body of 3 bytes", {{.flags = FIRST | LAST, .total = 3, .fragment = LITERAL("\0\0\0")}}, 1},
    {"no lengths", {{.flags = FIRST | LAST, .total = 4, .fragment = LITERAL("\1\0\0\0")}}, 1},
    {"too many parts",
     {{.flags = FIRST | LAST, .total = 8, .fragment = LITERAL("\1\4\0\0\0\0\0\0")}}, 1},
    {"4 G parts",
     {{.flags = FIRST | LAST, .total = 8, .fragment = LITERAL("\xff\xff\xff\xff\0\0\0\0")}}, 1},
    {"a part beyond the end",
     {{.flags = FIRST | LAST, .total = 9, .fragment = LITERAL("\1\0\0\0\2\0\0\0a")}}, 1},
    {"a part of 4 GB",
     {{.flags = FIRST | LAST, .total = 9, .fragment = LITERAL("\1\0\0\0\xff\xff\xff\xff" "a")}}, 1},
    {"bytes after the parts",
     {{.flags = FIRST | LAST, .total = 10, .fragment = LITERAL("\1\0\0\0\1\0\0\0ab")}}, 1},
    {"a first packet in the middle",
     {{.flags = FIRST, .total = 14, .fragment = LITERAL("\1\0")},
      {.flags = FIRST, .total = 14, .fragment = LITERAL("\1\0")}}, 2},
    {"another type", {{.type = 1, .flags = FIRST, .total = 5, .fragment = LITERAL("\1\0\0\0")},
                      {.type = 2, .flags = LAST, .total = 5, .fragment = LITERAL("\0")}}, 2},
    {"another total", {{.flags = FIRST, .total = 5, .fragment = LITERAL("\1\0\0\0")},
                       {.flags = LAST, .total = 6, .fragment = LITERAL("\0\0")}}, 2},
    {"another request", {{.flags = FIRST, .total = 5, .fragment = LITERAL("\1\0\0\0")},
                         {.request_id = 1, .flags = LAST, .total = 5,
                          .fragment = LITERAL("\0")}}, 2},
    {"too much in the second", {{.flags = FIRST, .total = 5, .fragment = LITERAL("\1\0\0\0")},
                                {.flags = LAST, .total = 5, .fragment = LITERAL("\0\0")}}, 2},
};

static void test_broken(void **state)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
        struct rf_frame frame;
        int r = 0;
        for (size_t k = 0; k < broken[i].n; k++) {
            if (r)
                fail_msg("%s: packet %zu: got %d", broken[i].name, k, r);
            r = feed(&reader, &broken[i].packets[k], &frame);
        }
        if (r != -EPROTO)
            fail_msg("%s: got %d, want %d", broken[i].name, r, -EPROTO);
    }
}

static void test_short_packets(void **state)
{
    static const uint8_t header[HEADER_LEN] = {RF_WORKER_PROTOCOL, 0, FIRST | LAST};
    for (size_t n = 0; n < HEADER_LEN; n++) {
        RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
        struct rf_frame frame;
        assert_int_equal(feed_bytes(&reader, (struct rf_bytes){header, n}, &frame), -EPROTO);
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void make_pipe(int fds[2])
{
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
}

/* Whatever happens to a packet, its descriptors have an owner. */
static void test_fds_of_broken_packets(void **state)
{
    static const struct packet first = {.flags = FIRST, .total = 5,
                                        .fragment = LITERAL("\1\0\0\0")};
    struct rf_frame_reader reader = {0};
    struct rf_frame frame;
    int fds[2];

    make_pipe(fds); /* with a packet that is too short */
    assert_int_equal(rf_frame_reader_packet(&reader, RF_BYTES("x"), fds, 2, &frame), -EPROTO);
    assert_false(is_open(fds[0]) || is_open(fds[1]));

    make_pipe(fds); /* with a packet that is not the first */
    assert_int_equal(feed(&reader, &first, &frame), 0);
    assert_int_equal(rf_frame_reader_packet(&reader, RF_BYTES("x"), fds, 2, &frame), -EPROTO);
    assert_false(is_open(fds[0]) || is_open(fds[1]));
    rf_frame_reader_deinit(&reader);

    make_pipe(fds); /* with a message that never ends */
    struct rf_packet_header header = {.protocol = RF_WORKER_PROTOCOL, .flags = htole16(FIRST),
                                      .total = htole32(5)};
    uint8_t packet[HEADER_LEN + 1] = {0};
    memcpy(packet, &header, HEADER_LEN);
    assert_int_equal(rf_frame_reader_packet(
                         &reader, (struct rf_bytes){packet, sizeof(packet)}, fds, 2, &frame), 0);
    assert_true(is_open(fds[0]) && is_open(fds[1]));
    rf_frame_reader_deinit(&reader);
    assert_false(is_open(fds[0]) || is_open(fds[1]));
}

struct pair {
    int fds[2];
    struct rf_frame_reader reader;
    uint8_t *buffer; /* owned */
};

static struct pair make_pair(void)
{
    struct pair pair = {.buffer = malloc(RF_PACKET_MAX)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.fds), 0);
    return pair;
}

static void drop_pair(struct pair *pair)
{
    rf_closep(&pair->fds[0]);
    rf_closep(&pair->fds[1]);
    rf_frame_reader_deinit(&pair->reader);
    free(pair->buffer);
}

static int receive(struct pair *pair, struct rf_frame *ret)
{
    return rf_frame_recv(pair->fds[1], MSG_DONTWAIT, &pair->reader, pair->buffer, ret);
}

static ino_t inode(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

static void test_socket_fds(void **state)
{
    RF_AUTO(drop_pair) struct pair pair = make_pair();
    int sent[RF_PASSED_FDS_MAX];
    for (size_t i = 0; i < RF_PASSED_FDS_MAX; i += 2)
        make_pipe(sent + i);
    struct rf_bytes part = RF_BYTES("hello");
    struct rf_frame frame;
    assert_int_equal(receive(&pair, &frame), -EAGAIN);
    assert_int_equal(rf_frame_send(pair.fds[0], 64, 5, &part, 1, sent, RF_PASSED_FDS_MAX), 0);
    assert_int_equal(receive(&pair, &frame), 1);
    assert_int_equal(frame.type, 64);
    assert_int_equal(frame.request_id, 5);
    check_text(frame.parts[0], "hello", "part");
    assert_int_equal(frame.n_fds, RF_PASSED_FDS_MAX);
    for (size_t i = 0; i < RF_PASSED_FDS_MAX; i++) {
        assert_int_equal(inode(frame.fds[i]), inode(sent[i]));
        assert_int_equal(fcntl(frame.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(frame.fds[i]);
        close(sent[i]);
    }
    rf_closep(&pair.fds[0]);
    assert_int_equal(receive(&pair, &frame), 0); /* end of file */
}

/* A message of many packets, written as the socket takes them, read in turn. */
static void test_socket_large(void **state)
{
    RF_AUTO(drop_pair) struct pair pair = make_pair();
    RF_AUTO(rf_buf_deinit) struct rf_buf big = {0};
    for (unsigned i = 0; i < 1000000; i++)
        rf_buf_add(&big, &i, sizeof(i));
    struct rf_bytes parts[] = {RF_BYTES("a"), rf_buf_bytes(&big), {0}, RF_BYTES("z")};
    RF_AUTO(rf_frame_writer_deinit) struct rf_frame_writer writer = {0};
    assert_int_equal(rf_frame_writer_init(&writer, 18, 7, parts, COUNT_OF(parts)), 0);
    int fds[2];
    make_pipe(fds);
    writer.fds[0] = fds[0];
    writer.n_fds = 1;
    struct rf_frame frame;
    int sent, got, waits = 0;
    do {
        sent = rf_frame_writer_send(&writer, pair.fds[0], MSG_DONTWAIT);
        assert_true(sent == 0 || sent == -EAGAIN);
        waits += sent == -EAGAIN;
        got = receive(&pair, &frame);
        assert_true(got == 1 || got == -EAGAIN);
    } while (got != 1);
    assert_true(waits > 1);
    assert_int_equal(sent, 0);
    assert_int_equal(frame.n_parts, COUNT_OF(parts));
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        assert_true(rf_bytes_eq(frame.parts[i], parts[i]));
    assert_int_equal(frame.n_fds, 1); /* they came once, with the first packet */
    close(frame.fds[0]);
    close(fds[0]);
    close(fds[1]);
}

/* More descriptors, or more bytes, than a packet may have. */
static void test_socket_truncated(void **state)
{
    RF_AUTO(drop_pair) struct pair pair = make_pair();
    RF_AUTO(rf_freep) uint8_t *large = calloc(1, RF_PACKET_MAX + 1);
    struct rf_packet_header header = {.protocol = RF_WORKER_PROTOCOL, .flags = htole16(FIRST),
                                      .total = htole32(RF_PACKET_MAX + 1)};
    memcpy(large, &header, sizeof(header));
    struct rf_frame frame;
    assert_int_equal(send(pair.fds[0], large, RF_PACKET_MAX + 1, 0), RF_PACKET_MAX + 1);
    assert_int_equal(receive(&pair, &frame), -EPROTO);
}

static void test_socket_many_fds(void **state)
{
    enum { MANY = RF_PASSED_FDS_MAX + 4 };
    RF_AUTO(drop_pair) struct pair pair = make_pair();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), next = dup(null);
    close(next);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MANY)];
    } control = {0};
    struct rf_packet_header header = {.protocol = RF_WORKER_PROTOCOL, .flags = htole16(FIRST),
                                      .total = htole32(4)};
    uint8_t packet[HEADER_LEN + 1] = {0};
    memcpy(packet, &header, HEADER_LEN);
    struct iovec iov = {packet, sizeof(packet)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * MANY);
    for (int i = 0; i < MANY; i++)
        memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &null, sizeof(int));
    assert_int_equal(sendmsg(pair.fds[0], &msg, 0), sizeof(packet));
    struct rf_frame frame;
    assert_int_equal(receive(&pair, &frame), -EPROTO);
    rf_frame_reader_deinit(&pair.reader); /* closes what did come */
    int after = dup(null);
    assert_int_equal(after, next); /* none was left open */
    close(after);
    close(null);
}

static void test_writer_limits(void **state)
{
    static struct rf_bytes parts[RF_WORKER_PARTS_MAX + 1];
    struct rf_frame_writer writer = {0};
    assert_int_equal(rf_frame_writer_init(&writer, 1, 1, parts, RF_WORKER_PARTS_MAX), 0);
    rf_frame_writer_deinit(&writer);
    assert_int_equal(rf_frame_writer_init(&writer, 1, 1, parts, RF_WORKER_PARTS_MAX + 1),
                     -EMSGSIZE);
    assert_int_equal(rf_frame_writer_init(&writer, 1, 1, parts, SIZE_MAX / 4), -EMSGSIZE);
    parts[0].len = RF_WORKER_MESSAGE_MAX - 7; /* with the two words one byte over */
    assert_int_equal(rf_frame_writer_init(&writer, 1, 1, parts, 1), -EMSGSIZE);
    parts[0].len = parts[1].len = SIZE_MAX / 2 + 1; /* the sum would overflow */
    assert_int_equal(rf_frame_writer_init(&writer, 1, 1, parts, 2), -EMSGSIZE);
    rf_frame_writer_deinit(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_packet),
        cmocka_unit_test(test_no_parts),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_short_packets),
        cmocka_unit_test(test_fds_of_broken_packets),
        cmocka_unit_test(test_socket_fds),
        cmocka_unit_test(test_socket_large),
        cmocka_unit_test(test_socket_truncated),
        cmocka_unit_test(test_socket_many_fds),
        cmocka_unit_test(test_writer_limits),
    };
    return TESTS(tests);
}
