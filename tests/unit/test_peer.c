/* Connections by hand, byte by byte: what no ZeroMQ library would send. */
#include "gateway/zmq/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "gateway/zmq/zmtp.h"

struct fixture {
    uv_loop_t loop;
    struct rf_connection conn;
    struct rf_sockets *sockets;
    int messages, subscribed;
    size_t n_frames;
    char last[64]; /* the last frame of the last message */
};

static void on_message(void *ctx, enum rf_channel channel, const struct rf_bytes *frames, size_t n)
{
    struct fixture *f = ctx;
    f->messages++;
    f->n_frames = n;
    snprintf(f->last, sizeof(f->last), "%.*s", (int)frames[n - 1].len,
             (const char *)frames[n - 1].data);
    rf_sockets_send(f->sockets, channel, frames, 1, frames + 1, n - 1, true);
}

static void on_subscribe(void *ctx, struct rf_bytes topic)
{
    struct fixture *f = ctx;
    f->subscribed++;
}

static const struct rf_sockets_events events = {on_message, on_subscribe, NULL};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct rf_sockets_options options = {.heartbeat_s = 1};
    struct rf_error err = {0};
    rf_log_init(-1, RF_LOG_ERROR);
    snprintf(f->conn.transport, sizeof(f->conn.transport), "tcp");
    snprintf(f->conn.ip, sizeof(f->conn.ip), "127.0.0.1");
    uv_loop_init(&f->loop);
    f->sockets = rf_sockets_new(&f->loop, &f->conn, &options, &events, f, &err);
    *state = f;
    return f->sockets ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rf_sockets_close(f->sockets, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&f->loop);
    free(f);
    return r;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void turn(struct fixture *f)
{
    struct timespec little = {0, 1000000};
    uv_run(&f->loop, UV_RUN_NOWAIT);
    nanosleep(&little, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

#define WAIT(f, ms, condition)                                                         \
    for (int64_t until_ = now_ms() + (ms); !(condition); turn(f))                      \
        if (now_ms() > until_)                                                         \
            fail_msg("not within %d ms: %s", (ms), #condition)

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_all(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static size_t waiting(int fd)
{
    char data[4096];
    ssize_t n = recv(fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

static bool is_closed(int fd)
{
    char data[4096];
    ssize_t n;
    while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

/* A peer of ZMTP 3.<minor> whose handshake is done. */
static int join(struct fixture *f, int port, const char *type, uint8_t minor)
{
    uint8_t greeting[RF_ZMTP_GREETING_LEN], ready[RF_ZMTP_READY_MAX], theirs[4096];
    int fd = connect_to(port);
    memcpy(greeting, rf_zmtp_greeting, sizeof(greeting));
    greeting[11] = minor;
    send_all(fd, greeting, sizeof(greeting));
    send_all(fd, ready, rf_zmtp_ready(type, ready));
    WAIT(f, 3000, waiting(fd) > RF_ZMTP_GREETING_LEN);
    recv(fd, theirs, sizeof(theirs), 0);
    return fd;
}

static void test_one_byte_at_a_time(void **state)
{
    struct fixture *f = *state;
    uint8_t ready[RF_ZMTP_READY_MAX];
    size_t len = rf_zmtp_ready("DEALER", ready);
    int fd = connect_to(f->conn.shell_port);
    for (size_t i = 0; i < RF_ZMTP_GREETING_LEN; i++, turn(f))
        send_all(fd, rf_zmtp_greeting + i, 1);
    for (size_t i = 0; i < len; i++, turn(f))
        send_all(fd, ready + i, 1);
    static const char message[] = "\1\0\1\3one\2\0\0\0\0\0\0\0\3two";
    for (size_t i = 0; i < sizeof(message) - 1; i++, turn(f)) {
        assert_int_equal(f->messages, 0);
        send_all(fd, message + i, 1);
    }
    WAIT(f, 3000, f->messages == 1);
    assert_int_equal(f->n_frames, 4); /* with the identity that it was given */
    assert_string_equal(f->last, "two");
    close(fd);
}

static void test_ping_within_a_message(void **state)
{
    struct fixture *f = *state;
    int fd = join(f, f->conn.shell_port, "DEALER", 1);
    static const char message[] = "\1\3one\4\11\4PING\0\0hi\0\3two\0\4more";
    send_all(fd, message, sizeof(message) - 1);
    WAIT(f, 3000, f->messages == 2);
    assert_string_equal(f->last, "more");
    static const char want[] = "\4\7\4PONGhi\1\3one\0\3two\0\4more";
    char got[sizeof(want)];
    WAIT(f, 3000, waiting(fd) == sizeof(want) - 1);
    assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(want) - 1);
    assert_memory_equal(got, want, sizeof(want) - 1);
    close(fd);
}

static void test_strangers_are_closed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *data;
        size_t len;
    } strangers[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\xff\0\0\0\0\0\0\0\1\x7f\1\0", 12}, /* ZMTP 2, its greeting made up below */
    };
    for (int i = 0; i < 2; i++) {
        char data[64] = {0};
        memcpy(data, strangers[i].data, strangers[i].len);
        int fd = connect_to(f->conn.shell_port);
        send_all(fd, data, sizeof(data));
        WAIT(f, 3000, is_closed(fd));
        close(fd);
    }
    static const char *const types[] = {"SUB", "PUB", "REP", "XYZ", ""};
    for (int i = 0; i < 5; i++) {
        uint8_t ready[RF_ZMTP_READY_MAX];
        int fd = connect_to(f->conn.shell_port);
        send_all(fd, rf_zmtp_greeting, RF_ZMTP_GREETING_LEN);
        send_all(fd, ready, rf_zmtp_ready(types[i], ready));
        WAIT(f, 3000, is_closed(fd));
        close(fd);
    }
    assert_int_equal(f->messages, 0);
}

static void test_subscriptions_of_both_versions(void **state)
{
    struct fixture *f = *state;
    static const char old[] = "\0\2\1a", command[] = "\4\13\11SUBSCRIBEa", gone[] = "\0\2\0a",
                      cancel[] = "\4\10\6CANCELa";
    struct rf_bytes topic = RF_BYTES("abc"), body = RF_BYTES("x");
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = join(f, f->conn.iopub_port, "SUB", (uint8_t)i);
        send_all(fds[i], i ? command : old, i ? sizeof(command) - 1 : sizeof(old) - 1);
        WAIT(f, 3000, f->subscribed == i + 1);
    }
    rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &body, 1, false);
    for (int i = 0; i < 2; i++) {
        char data[64];
        WAIT(f, 3000, waiting(fds[i]) == 8);
        recv(fds[i], data, sizeof(data), 0);
        assert_memory_equal(data, "\1\3abc\0\1x", 8);
        send_all(fds[i], i ? cancel : gone, i ? sizeof(cancel) - 1 : sizeof(gone) - 1);
    }
    for (int i = 0; i < 20; i++)
        turn(f);
    rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &body, 1, false);
    for (int i = 0; i < 20; i++)
        turn(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waiting(fds[i]), 0);
        close(fds[i]);
    }
}

/* A silent peer is asked after a second and cut after three; of ZMTP 3.0 neither. */
static void test_heartbeats_are_for_who_knows_them(void **state)
{
    struct fixture *f = *state;
    int old = join(f, f->conn.shell_port, "DEALER", 0);
    int mute = join(f, f->conn.shell_port, "DEALER", 1);
    int alive = join(f, f->conn.shell_port, "DEALER", 1);
    char data[64];
    int pings = 0;
    for (int64_t until = now_ms() + 6000; now_ms() < until; turn(f)) {
        if (waiting(alive) != 9)
            continue;
        recv(alive, data, sizeof(data), 0);
        assert_memory_equal(data, "\4\7\4PING\0\0", 9);
        send_all(alive, "\4\5\4PONG", 7);
        pings++;
    }
    assert_in_range(pings, 2, 6);
    assert_int_equal(waiting(mute), 9);
    assert_true(is_closed(mute));
    assert_int_equal(waiting(old), 0);
    static const char message[] = "\0\5hello";
    send_all(old, message, sizeof(message) - 1);
    send_all(alive, message, sizeof(message) - 1);
    WAIT(f, 3000, f->messages == 2);
    close(old);
    close(mute);
    close(alive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_byte_at_a_time),
        TEST(ping_within_a_message),
        TEST(strangers_are_closed),
        TEST(subscriptions_of_both_versions),
        TEST(heartbeats_are_for_who_knows_them),
    };
    signal(SIGPIPE, SIG_IGN); /* as the gateway */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
