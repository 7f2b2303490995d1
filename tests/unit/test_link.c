/* gateway/supervise/link against a peer in this test: order, broken packets,
 * what a dead worker leaves, large messages, closing from within.
 */
#include "tests/unit/link_rig.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- messages ---- */

static void test_messages(void **state)
{
    struct rig *rig = *state;
    struct rf_frame frame;
    assert_int_equal(rf_link_generation(rig->link), GENERATION);
    say(rig, RF_MSG_HELLO, GENERATION, "1");
    say(rig, RF_MSG_STREAM, 2, "text");
    expect(rig, "frame 16 7 1;frame 19 2 text;");
    struct rf_bytes parts[2] = {RF_BYTES("one"), RF_BYTES("")};
    assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, 3, parts, 2, -1), 0);
    assert_int_equal(rf_link_send(rig->link, RF_MSG_EXIT, 0, NULL, 0, -1), 0);
    receive(rig, &frame);
    assert_int_equal(frame.type, RF_MSG_REQUEST);
    assert_int_equal(frame.n_parts, 2);
    check_text(frame.parts[0], "one", "part");
    receive(rig, &frame);
    assert_int_equal(frame.type, RF_MSG_EXIT);
}

static void test_descriptor_goes_along(void **state)
{
    struct rig *rig = *state;
    struct rf_frame frame;
    int ends[2], before = open_descriptors();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(rf_link_send(rig->link, RF_MSG_CHECKPOINT, 5, NULL, 0, ends[1]), 0);
    receive(rig, &frame);
    assert_int_equal(frame.n_fds, 1);
    assert_int_equal(write(frame.fds[0], "x", 1), 1);
    close(frame.fds[0]);
    close(ends[0]);
    assert_int_equal(open_descriptors(), before); /* the link closed its copy */
}

static void test_too_large(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = {(const uint8_t *)"", (size_t)RF_WORKER_MESSAGE_MAX + 1};
    int before = open_descriptors(), fd = dup(0);
    assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, 1, &part, 1, fd), -EMSGSIZE);
    assert_int_equal(open_descriptors(), before);
    say(rig, RF_MSG_STREAM, 1, "still");
    expect(rig, "frame 19 1 still;");
}

static void test_large_to_the_worker(void **state)
{
    struct rig *rig = *state;
    struct rf_frame frame;
    struct rf_bytes part = {calloc(1, 20 * MB), 20 * MB};
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, id, &part, 1, -1), 0);
    assert_int_equal(rf_link_send(rig->link, RF_MSG_EXIT, 4, NULL, 0, -1), 0);
    for (uint64_t id = 1; id <= 4; id++) {
        receive(rig, &frame);
        assert_int_equal(frame.request_id, id);
        if (id < 4)
            check_bytes(frame.parts[0], part, "part");
    }
    free((void *)part.data);
}

static void test_large_to_the_gateway(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = {calloc(1, 20 * MB), 20 * MB};
    struct rf_frame_writer writer;
    rf_frame_writer_init(&writer, RF_MSG_PUBLISH, 1, &part, 1);
    while (rf_frame_writer_send(&writer, rig->far[RF_FD_SOCKET], MSG_DONTWAIT) == -EAGAIN)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    rf_frame_writer_deinit(&writer);
    free((void *)part.data);
    expect(rig, "frame 18 1 ;");
    assert_int_equal(rig->largest, 20 * MB);
}

/* Both at once, and each waits for the other: nothing may block. */
static void test_echo(void **state)
{
    struct rig *rig = *state;
    struct rf_frame frame;
    struct rf_bytes part = {calloc(1, 3 * MB), 3 * MB};
    rig->act = SEND_ON_FRAME;
    rig->terse = true;
    for (uint64_t id = 1; id <= 5; id++) {
        struct rf_frame_writer writer;
        rf_frame_writer_init(&writer, RF_MSG_PUBLISH, id, &part, 1);
        while (rf_frame_writer_send(&writer, rig->far[RF_FD_SOCKET], MSG_DONTWAIT) == -EAGAIN)
            uv_run(&rig->loop, UV_RUN_NOWAIT);
        rf_frame_writer_deinit(&writer);
    }
    for (uint64_t id = 1; id <= 5; id++) {
        receive(rig, &frame);
        assert_int_equal(frame.request_id, id);
        assert_int_equal(frame.parts[0].len, part.len);
    }
    free((void *)part.data);
}

/* ---- order ---- */

static void test_fence_puts_pipes_first(void **state)
{
    struct rig *rig = *state;
    print(rig, 1, "a");
    print(rig, 2, "b");
    fence(rig);
    say(rig, RF_MSG_PUBLISH, 1, "c");
    expect(rig, "pipe 1 a;pipe 2 b;frame 18 1 c;");
    assert_int_equal(take_answers(rig), 1);
}

static void test_messages_precede_later_bytes(void **state)
{
    struct rig *rig = *state;
    say(rig, RF_MSG_PUBLISH, 1, "a");
    say(rig, RF_MSG_PUBLISH, 2, "b");
    print(rig, 1, "c");
    expect(rig, "frame 18 1 a;frame 18 2 b;pipe 1 c;");
}

#define EXCHANGES 4000

/* A worker at its own pace: a byte, a fence if need be, a message. */
static void *honest_worker(void *arg)
{
    struct rig *rig = arg;
    int answer = rig->far[RF_FD_FENCE];
    fcntl(answer, F_SETFL, 0);
    for (int i = 0; i < EXCHANGES; i++) {
        char byte;
        int unread = 1;
        print(rig, 1 + i / 3 % 2, "x");
        for (int t = 0; i % 32 == 0 && t < 100 && unread; t++) { /* it needs no fence then */
            ioctl(rig->far[i / 3 % 2 ? RF_FD_STDERR : RF_FD_STDOUT], FIONREAD, &unread);
            usleep(50);
        }
        if (unread) {
            fence(rig);
            if (recv(answer, &byte, 1, 0) != 1)
                return NULL;
        }
        say(rig, RF_MSG_PUBLISH, (uint64_t)i, "y");
    }
    return NULL;
}

static void test_order_under_load(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, honest_worker, rig), 0);
    struct rf_buf want = {0};
    for (int i = 0; i < EXCHANGES; i++)
        rf_buf_printf(&want, "pipe %d x;frame 18 %d y;", 1 + i / 3 % 2, i);
    alarm(20);
    while (rig->log.len < want.len)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    alarm(0);
    pthread_join(thread, NULL);
    check_bytes(rf_buf_bytes(&rig->log), rf_buf_bytes(&want), "order");
    rf_buf_deinit(&want);
}

static void test_bytes_without_messages_arrive(void **state)
{
    struct rig *rig = *state;
    print(rig, 1, "first");
    expect(rig, "pipe 1 first;");
    print(rig, 1, "second"); /* while the pipes are not watched for a moment */
    print(rig, 2, "third");
    expect(rig, "pipe 1 second;pipe 2 third;");
}

static void test_fences_that_nobody_awaits(void **state)
{
    struct rig *rig = *state;
    fcntl(rig->far[RF_FD_FENCE], F_SETFL, 0); /* must not reach our end */
    rig->terse = true;
    for (int i = 0; i < 20000; i++) {
        fence(rig);
        if (i % 64 == 0)
            uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
    rest(rig);
    rig->terse = false;
    say(rig, RF_MSG_STREAM, 1, "on");
    expect(rig, "frame 19 1 on;");
}

/* A worker that closed its stdout and lives on does not keep the loop busy. */
static void test_closed_pipes_are_quiet(void **state)
{
    struct rig *rig = *state;
    print(rig, 1, "last");
    close(rig->far[RF_FD_STDOUT]);
    close(rig->far[RF_FD_STDERR]);
    rig->far[RF_FD_STDOUT] = rig->far[RF_FD_STDERR] = -1;
    expect(rig, "pipe 1 last;");
    for (int i = 0; i < 20; i++)
        rest(rig);
    struct pollfd wait = {uv_backend_fd(&rig->loop), POLLIN, 0};
    assert_int_equal(poll(&wait, 1, 0), 0); /* epoll has nothing to tell */
    say(rig, RF_MSG_STREAM, 1, "still");
    expect(rig, "frame 19 1 still;");
}

static void test_large_pipe(void **state)
{
    struct rig *rig = *state;
    static char piece[60000];
    int fd = rig->far[RF_FD_STDOUT];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    rig->terse = true;
    size_t sent = 0;
    while (sent < 8 * MB) {
        ssize_t n = write(fd, piece, sizeof(piece));
        sent += n > 0 ? (size_t)n : 0;
        if (n < 0)
            uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < WAIT_MS * 5 && rig->piped < sent; i++)
        turn(rig);
    assert_int_equal(rig->piped, sent);
}

/* ---- broken ---- */

static void test_broken_packets(void **state)
{
    struct rig *rig = *state;
    struct rf_packet_header header = {.type = RF_MSG_STREAM, .total = 100, .flags = RF_PACKET_LAST};
    print(rig, 1, "before");
    fence(rig);
    say(rig, RF_MSG_STREAM, 1, "good");
    send_raw(rig, header, RF_BYTES("x"));
    say(rig, RF_MSG_STREAM, 2, "too late");
    expect(rig, "pipe 1 before;frame 19 1 good;broken;");
    print(rig, 1, "never read");
    expect(rig, "");
    struct rf_bytes part = RF_BYTES("x");
    int before = open_descriptors();
    assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, 1, &part, 1, dup(0)), 0);
    assert_int_equal(open_descriptors(), before);
}

static void test_every_kind_of_broken_packet(void **state)
{
    static const struct {
        struct rf_packet_header header;
        struct rf_bytes fragment;
    } packets[] = {
        {{.flags = 3, .total = UINT32_MAX}, LITERAL("x")},
        {{.flags = 3, .total = 4, .protocol = 9}, LITERAL("\0\0\0\0")},
        {{.flags = 4, .total = 4}, LITERAL("\0\0\0\0")},
        {{.flags = 3, .total = 4}, LITERAL("\xff\xff\xff\xff")},
        {{.flags = 3, .total = 8}, LITERAL("\1\0\0\0\xff\xff\xff\xff")},
        {{.flags = 3, .total = 9}, LITERAL("\1\0\0\0\0\0\0\0x")},
        {{.flags = 1, .total = 4}, LITERAL("")},
        {{.flags = 2, .total = 4}, LITERAL("\0\0\0\0")},
    };
    for (size_t i = 0; i < COUNT_OF(packets); i++) {
        void *own;
        link_setup(&own);
        send_raw(own, packets[i].header, packets[i].fragment);
        expect(own, "broken;");
        link_teardown(&own);
    }
}

static void test_closed(void **state)
{
    struct rig *rig = *state;
    print(rig, 1, "last words");
    say(rig, RF_MSG_STREAM, 1, "good");
    hang_up(rig);
    expect(rig, "frame 19 1 good;closed;pipe 1 last words;");
}

static void test_half_a_message(void **state)
{
    struct rig *rig = *state;
    struct rf_packet_header header = {
        .type = RF_MSG_STREAM, .total = 100, .flags = RF_PACKET_FIRST};
    send_raw(rig, header, RF_BYTES("half"));
    expect(rig, "");
    hang_up(rig);
    expect(rig, "closed;");
}

/* Mail that the worker never read makes its end an error, and not the end of
 * what it has sent. */
static void test_closed_with_mail_unread(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = RF_BYTES("unread");
    assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, 1, &part, 1, -1), 0);
    say(rig, RF_MSG_STREAM, 1, "good");
    say(rig, RF_MSG_REPLY, 1, "better");
    hang_up(rig);
    expect(rig, "frame 19 1 good;frame 17 1 better;closed;");
}

static void test_descriptors_of_the_worker(void **state)
{
    struct rig *rig = *state;
    int before = open_descriptors(), fds[RF_PASSED_FDS_MAX] = {0};
    for (uint64_t i = 0; i < 20; i++) /* refused where the system can */
        rf_frame_send(rig->far[RF_FD_SOCKET], RF_MSG_STREAM, i, NULL, 0, fds, RF_PASSED_FDS_MAX);
    say(rig, RF_MSG_STREAM, 99, "good");
    rest(rig);
    assert_non_null(strstr((char *)rig->log.data, "frame 19 99 good;"));
    assert_int_equal(open_descriptors(), before);
}

/* ---- what a dead worker leaves ---- */

static void test_drain(void **state)
{
    struct rig *rig = *state;
    print(rig, 1, "a");
    say(rig, RF_MSG_STREAM, 1, "b");
    say(rig, RF_MSG_STREAM, 2, "c");
    print(rig, 2, "d");
    rf_link_drain(rig->link); /* others hold the far ends still */
    check_text(rf_buf_bytes(&rig->log), "frame 19 1 b;frame 19 2 c;pipe 1 a;pipe 2 d;", "log");
    rig->log.len = 0;
    say(rig, RF_MSG_STREAM, 3, "not the worker's");
    print(rig, 1, "nor this");
    rest(rig);
    assert_int_equal(rf_link_send(rig->link, RF_MSG_EXIT, 0, NULL, 0, -1), 0);
    check_text(rf_buf_bytes(&rig->log), "", "log after the drain");
}

static void test_drain_of_many(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = RF_BYTES("x");
    struct rf_frame_writer writer;
    int size = 4 * MB, n = 0;
    setsockopt(rig->far[RF_FD_SOCKET], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    for (;; n++) {
        rf_frame_writer_init(&writer, RF_MSG_STREAM, (uint64_t)n, &part, 1);
        int r = rf_frame_writer_send(&writer, rig->far[RF_FD_SOCKET], MSG_DONTWAIT);
        rf_frame_writer_deinit(&writer);
        if (r)
            break;
    }
    hang_up(rig);
    rf_link_drain(rig->link);
    size_t got = 0;
    for (size_t i = 0; i < rig->log.len; i++)
        got += rig->log.data[i] == ';';
    assert_int_equal(got, n + 1); /* and "closed;" */
}

struct flood {
    struct rig *rig;
    atomic_bool stop;
    void (*act)(struct flood *flood);
};

static void flood_with(struct flood *flood, struct rf_packet_header header,
                       struct rf_bytes fragment)
{
    uint8_t packet[sizeof(header) + 8];
    header.protocol = RF_WORKER_PROTOCOL;
    memcpy(packet, &header, sizeof(header));
    memcpy(packet + sizeof(header), fragment.data, fragment.len);
    for (int i = 0; i < 1000 && !flood->stop; i++)
        (void)!send(flood->rig->far[RF_FD_SOCKET], packet, sizeof(header) + fragment.len,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void flood_fences(struct flood *flood)
{
    struct rf_packet_header header = {.type = RF_MSG_FENCE,
                                      .total = htole32(4),
                                      .flags = htole16(RF_PACKET_FIRST | RF_PACKET_LAST)};
    flood_with(flood, header, RF_BYTES("\0\0\0\0"));
}

/* Pieces of one message, a byte each. */
static void flood_slivers(struct flood *flood)
{
    struct rf_packet_header header = {.type = RF_MSG_STREAM,
                                      .total = htole32(RF_WORKER_MESSAGE_MAX)};
    flood_with(flood, header, RF_BYTES("x"));
}

static void flood_pipe(struct flood *flood)
{
    static const char piece[32768];
    (void)!write(flood->rig->far[RF_FD_STDOUT], piece, sizeof(piece));
}

/* A child of the dead worker that goes on with its descriptors. */
static void *flooder(void *arg)
{
    struct flood *flood = arg;
    while (!flood->stop)
        flood->act(flood);
    return NULL;
}

static void drain_under_flood(struct rig *rig, void (*act)(struct flood *flood))
{
    struct flood flood = {.rig = rig, .act = act};
    struct rf_packet_header first = {
        .type = RF_MSG_STREAM, .total = RF_WORKER_MESSAGE_MAX, .flags = RF_PACKET_FIRST};
    pthread_t threads[6];
    rig->terse = true;
    if (act == flood_slivers)
        send_raw(rig, first, RF_BYTES("x"));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flooder, &flood), 0);
    for (int i = 0; i < 50; i++)
        turn(rig); /* each turn of the loop ends, too */
    alarm(20);
    rf_link_drain(rig->link);
    alarm(0);
    flood.stop = true;
    close_link(rig); /* sends and writes that wait fail then */
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
}

static void test_drain_ends_under_flood(void **state)
{
    drain_under_flood(*state, flood_fences);
}

static void test_drain_ends_under_slivers(void **state)
{
    drain_under_flood(*state, flood_slivers);
}

static void test_drain_ends_under_text(void **state)
{
    drain_under_flood(*state, flood_pipe);
}

static void test_crash_text(void **state)
{
    struct rig *rig = *state;
    struct rf_buf text = {0};
    rf_link_crash_text(rig->link, &text, 100);
    assert_int_equal(text.len, 0);
    assert_int_equal(write(rig->far[RF_FD_CRASH], "Fatal Python error", 18), 18);
    assert_int_equal(lseek(rig->far[RF_FD_CRASH], 3, SEEK_SET), 3);
    hang_up(rig);
    rf_buf_add_str(&text, "> ");
    rf_link_crash_text(rig->link, &text, 5);
    rf_link_crash_text(rig->link, &text, 1000);
    check_text(rf_buf_bytes(&text), "> FatalFatal Python error", "crash text");
    rf_buf_deinit(&text);
}

static void test_crash_text_of_a_liar(void **state)
{
    struct rig *rig = *state;
    struct rf_buf text = {0};
    int fd = rig->far[RF_FD_CRASH];
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), -1);
    for (int i = 0; i < RF_CRASH_TEXT_MAX; i++)
        assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(write(fd, "x", 1), -1);
    rf_link_crash_text(rig->link, &text, 2 * RF_CRASH_TEXT_MAX);
    assert_int_equal(text.len, RF_CRASH_TEXT_MAX);
    rf_buf_deinit(&text);
}

/* ---- closing from within ---- */

static void test_close_in_a_callback(void **state)
{
    static const struct {
        enum act act;
        const char *want;
    } cases[] = {{CLOSE_ON_FRAME, "frame 19 1 b;"},
                 {CLOSE_ON_PIPE, "frame 19 1 b;closed;pipe 1 a;"},
                 {CLOSE_ON_BROKEN, "frame 19 1 b;closed;"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        void *own;
        link_setup(&own);
        struct rig *rig = own;
        rig->act = cases[i].act;
        print(rig, 1, "a");
        print(rig, 2, "c");
        say(rig, RF_MSG_STREAM, 1, "b");
        hang_up(rig);
        expect(rig, cases[i].want);
        link_teardown(&own);
    }
}

static void test_close_at_a_fence(void **state)
{
    struct rig *rig = *state;
    rig->act = CLOSE_ON_PIPE;
    print(rig, 1, "a");
    print(rig, 2, "b");
    fence(rig);
    say(rig, RF_MSG_STREAM, 1, "c");
    expect(rig, "pipe 1 a;");
}

static void test_close_while_draining(void **state)
{
    static const enum act acts[] = {CLOSE_ON_FRAME, CLOSE_ON_PIPE, CLOSE_ON_BROKEN};
    for (size_t i = 0; i < COUNT_OF(acts); i++) {
        void *own;
        link_setup(&own);
        struct rig *rig = own;
        rig->act = acts[i];
        if (acts[i] != CLOSE_ON_BROKEN)
            say(rig, RF_MSG_STREAM, 1, "a");
        print(rig, 1, "b");
        print(rig, 2, "c");
        hang_up(rig);
        rf_link_drain(rig->link);
        assert_null(rig->link);
        rest(rig);
        link_teardown(&own);
    }
}

static void test_break_in_on_frame(void **state)
{
    struct rig *rig = *state;
    rig->act = BREAK_ON_FRAME;
    say(rig, RF_MSG_STREAM, 1, "b");
    say(rig, RF_MSG_STREAM, 2, "c");
    expect(rig, "frame 19 1 b;");
    rf_link_drain(rig->link);
    expect(rig, "");
}

static void test_close_with_messages_queued(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = {calloc(1, 5 * MB), 5 * MB};
    int before = open_descriptors();
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, id, &part, 1, dup(0)), 0);
    free((void *)part.data);
    close_link(rig);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    struct rf_frame frame;
    while (rf_frame_recv(rig->far[RF_FD_SOCKET], MSG_DONTWAIT, &rig->reader, rig->packet, &frame) ==
           1)
        ;
    rf_frame_reader_deinit(&rig->reader);
    assert_true(open_descriptors() < before);
}

static void test_peer_gone_with_messages_queued(void **state)
{
    struct rig *rig = *state;
    struct rf_bytes part = {calloc(1, 5 * MB), 5 * MB};
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, id, &part, 1, -1), 0);
    say(rig, RF_MSG_STREAM, 1, "bye");
    hang_up(rig);
    expect(rig, "frame 19 1 bye;closed;");
    assert_int_equal(rf_link_send(rig->link, RF_MSG_REQUEST, 9, &part, 1, -1), 0);
    free((void *)part.data);
}

/* ---- no room ---- */

static void test_out_of_descriptors(void **state)
{
    struct rig *rig = *state;
    struct rlimit old, low;
    int far[RF_FD_COUNT], before = open_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = dup(0);
    close(lowest);
    for (int room = 0; room < 10; room++) {
        low = (struct rlimit){(rlim_t)(lowest + room), old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        struct rf_link *link = rf_link_new(&rig->loop, 1, far, &link_events, rig);
        int error = errno;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (link)
            fail_msg("a link out of %d descriptors", room);
        assert_int_equal(error, EMFILE);
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        assert_int_equal(open_descriptors(), before);
    }
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, link_setup, link_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG_TEST(test_messages),
        RIG_TEST(test_descriptor_goes_along),
        RIG_TEST(test_too_large),
        RIG_TEST(test_large_to_the_worker),
        RIG_TEST(test_large_to_the_gateway),
        RIG_TEST(test_echo),
        RIG_TEST(test_fence_puts_pipes_first),
        RIG_TEST(test_messages_precede_later_bytes),
        RIG_TEST(test_order_under_load),
        RIG_TEST(test_bytes_without_messages_arrive),
        RIG_TEST(test_fences_that_nobody_awaits),
        RIG_TEST(test_closed_pipes_are_quiet),
        RIG_TEST(test_large_pipe),
        RIG_TEST(test_broken_packets),
        cmocka_unit_test(test_every_kind_of_broken_packet),
        RIG_TEST(test_closed),
        RIG_TEST(test_half_a_message),
        RIG_TEST(test_closed_with_mail_unread),
        RIG_TEST(test_descriptors_of_the_worker),
        RIG_TEST(test_drain),
        RIG_TEST(test_drain_of_many),
        RIG_TEST(test_drain_ends_under_flood),
        RIG_TEST(test_drain_ends_under_slivers),
        RIG_TEST(test_drain_ends_under_text),
        RIG_TEST(test_crash_text),
        RIG_TEST(test_crash_text_of_a_liar),
        cmocka_unit_test(test_close_in_a_callback),
        RIG_TEST(test_close_at_a_fence),
        cmocka_unit_test(test_close_while_draining),
        RIG_TEST(test_break_in_on_frame),
        RIG_TEST(test_close_with_messages_queued),
        RIG_TEST(test_peer_gone_with_messages_queued),
        RIG_TEST(test_out_of_descriptors),
    };
    return TESTS(tests);
}
