/* The five sockets against real ZeroMQ clients on the loopback: one thread
 * runs the loop and the clients by turns.
 */
#include "gateway/zmq/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "common/log.h"

struct fixture {
    uv_loop_t loop;
    struct rf_connection conn;
    struct rf_sockets_options options;
    struct rf_sockets *sockets;
    void *clients; /* their context */
    void *open[8]; /* their sockets */
    int n_open;
    int cuts, subscribed, messages;
    enum rf_channel cut_channel;
    char topic[32];
    bool close_on_message;
    char folder[64];
};

/* Echoes, as a kernel that answers every message with itself. */
static void on_message(void *ctx, enum rf_channel channel, const struct rf_bytes *frames, size_t n)
{
    struct fixture *f = ctx;
    f->messages++;
    if (f->close_on_message) {
        rf_sockets_close(f->sockets, 100);
        f->sockets = NULL;
    } else {
        rf_sockets_send(f->sockets, channel, frames, 1, frames + 1, n - 1, true);
    }
}

static void on_subscribe(void *ctx, struct rf_bytes topic)
{
    struct fixture *f = ctx;
    f->subscribed++;
    snprintf(f->topic, sizeof(f->topic), "%.*s", (int)topic.len, (const char *)topic.data);
}

static void on_cut(void *ctx, enum rf_channel channel, const char *why)
{
    struct fixture *f = ctx;
    f->cuts++;
    f->cut_channel = channel;
}

static const struct rf_sockets_events events = {on_message, on_subscribe, on_cut};

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

/* Runs the loop until the condition holds; fails after `ms`. */
#define WAIT(f, ms, condition)                                                         \
    for (int64_t until_ = now_ms() + (ms); !(condition); turn(f))                      \
        if (now_ms() > until_)                                                         \
            fail_msg("not within %d ms: %s", (ms), #condition)

static struct rf_sockets_stats stats(struct fixture *f)
{
    struct rf_sockets_stats s;
    rf_sockets_stats(f->sockets, &s);
    return s;
}

static void open_sockets(struct fixture *f)
{
    struct rf_error err = {0};
    f->sockets = rf_sockets_new(&f->loop, &f->conn, &f->options, &events, f, &err);
    if (!f->sockets)
        fail_msg("%s", err.text);
}

static void close_sockets(struct fixture *f, int linger_ms)
{
    rf_sockets_close(f->sockets, linger_ms);
    f->sockets = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rf_log_init(-1, RF_LOG_ERROR);
    snprintf(f->conn.transport, sizeof(f->conn.transport), "%s", "tcp");
    snprintf(f->conn.ip, sizeof(f->conn.ip), "%s", "127.0.0.1");
    snprintf(f->folder, sizeof(f->folder), "/tmp/rf-sockets-XXXXXX");
    f->clients = zmq_ctx_new();
    *state = f;
    return mkdtemp(f->folder) ? uv_loop_init(&f->loop) : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->sockets)
        close_sockets(f, 0);
    for (int i = 0; i < f->n_open; i++)
        if (f->open[i])
            zmq_close(f->open[i]);
    zmq_ctx_term(f->clients);
    int r = uv_loop_close(&f->loop) || rmdir(f->folder);
    free(f);
    return r;
}

static void set(void *socket, int option, int value)
{
    assert_int_equal(zmq_setsockopt(socket, option, &value, sizeof(value)), 0);
}

/* A socket that teardown closes. */
static void *new_socket(struct fixture *f, int type)
{
    void *socket = zmq_socket(f->clients, type);
    assert_true(socket && f->n_open < 8);
    set(socket, ZMQ_LINGER, 0);
    return f->open[f->n_open++] = socket;
}

static void drop(struct fixture *f, void *socket)
{
    for (int i = 0; i < f->n_open; i++)
        if (f->open[i] == socket)
            f->open[i] = NULL;
    zmq_close(socket);
}

static void *client(struct fixture *f, int type, int port)
{
    char address[160];
    bool ipc = strcmp(f->conn.transport, "ipc") == 0, v6 = strchr(f->conn.ip, ':');
    snprintf(address, sizeof(address), v6 ? "%s://[%s]%c%d" : "%s://%s%c%d", f->conn.transport,
             f->conn.ip, ipc ? '-' : ':', port);
    void *socket = new_socket(f, type);
    set(socket, ZMQ_IPV6, v6);
    if (type == ZMQ_SUB) {
        set(socket, ZMQ_RCVHWM, 0);
        assert_int_equal(zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0), 0);
    }
    assert_int_equal(zmq_connect(socket, address), 0);
    return socket;
}

static int try_receive(void *socket, char *ret, size_t size)
{
    int n = zmq_recv(socket, ret, size - 1, ZMQ_DONTWAIT);
    ret[n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1] = '\0';
    return n;
}

/* One message there and back. */
static void check_echo(struct fixture *f, void *socket, const char *text)
{
    char back[64] = "";
    assert_true(zmq_send(socket, "", 0, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(socket, text, strlen(text), 0) >= 0);
    WAIT(f, 3000, try_receive(socket, back, sizeof(back)) == 0);
    WAIT(f, 3000, try_receive(socket, back, sizeof(back)) > 0);
    assert_string_equal(back, text);
}

static void publish(struct fixture *f, const char *text)
{
    struct rf_bytes topic = RF_BYTES("topic"), body = rf_bytes_str(text);
    assert_int_equal(rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &body, 1, false), 0);
}

static void test_requests_are_answered(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    const int ports[] = {f->conn.shell_port, f->conn.control_port, f->conn.stdin_port};
    for (int i = 0; i < 3; i++) {
        void *dealer = client(f, ZMQ_DEALER, ports[i]);
        check_echo(f, dealer, "hello");
        check_echo(f, dealer, "again");
        drop(f, dealer);
    }
    assert_int_equal(stats(f).received, 6);
    assert_int_equal(stats(f).sent, 6);
}

/* More at once than one round of the loop takes. */
static void test_bursts_are_drained(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    void *dealer = client(f, ZMQ_DEALER, f->conn.shell_port);
    char back[8];
    int n = 0;
    for (int i = 0; i < 900; i++)
        assert_true(zmq_send(dealer, "x", 1, ZMQ_DONTWAIT) == 1);
    WAIT(f, 5000, (n += try_receive(dealer, back, sizeof(back)) > 0) >= 900);
    assert_int_equal(f->messages, 900);
}

static void test_heartbeat_echoes(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    void *req = client(f, ZMQ_REQ, f->conn.hb_port);
    char back[16];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(zmq_send(req, "ping", 4, 0), 4);
        WAIT(f, 3000, try_receive(req, back, sizeof(back)) == 4);
        assert_string_equal(back, "ping");
    }
}

static void test_each_subscription_is_told(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    char back[16];
    void *one = client(f, ZMQ_SUB, f->conn.iopub_port);
    WAIT(f, 3000, f->subscribed == 1);
    void *two = client(f, ZMQ_SUB, f->conn.iopub_port);
    WAIT(f, 3000, f->subscribed == 2);
    assert_int_equal(zmq_setsockopt(two, ZMQ_SUBSCRIBE, "abc", 3), 0);
    WAIT(f, 3000, f->subscribed == 3);
    assert_string_equal(f->topic, "abc");
    publish(f, "body");
    WAIT(f, 3000, try_receive(one, back, sizeof(back)) == 5);
    assert_string_equal(back, "topic");
    WAIT(f, 3000, try_receive(two, back, sizeof(back)) == 5);
    WAIT(f, 3000, stats(f).spool_bytes == 0);
}

static int open_files(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static void test_port_in_use_is_told(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    struct rf_connection second = f->conn;
    second.shell_port = second.control_port = second.stdin_port = second.hb_port = 0;
    struct rf_error err = {0};
    char number[16];
    int files = open_files();
    snprintf(number, sizeof(number), ":%d:", f->conn.iopub_port);
    assert_null(rf_sockets_new(&f->loop, &second, NULL, &events, f, &err));
    assert_int_equal(err.code, -EADDRINUSE);
    assert_non_null(strstr(err.text, "iopub"));
    assert_non_null(strstr(err.text, number));
    assert_non_null(strstr(err.text, "port 0"));
    assert_int_equal(open_files(), files);
    assert_int_equal(second.shell_port, 0);
    snprintf(second.ip, sizeof(second.ip), "%s", "198.51.100.7");
    err.code = 0;
    assert_null(rf_sockets_new(&f->loop, &second, NULL, &events, f, &err));
    assert_non_null(strstr(err.text, "address of this machine"));
}

static void test_chosen_ports_are_written_back(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    const int ports[] = {f->conn.shell_port, f->conn.control_port, f->conn.stdin_port,
                         f->conn.iopub_port, f->conn.hb_port};
    for (int i = 0; i < 5; i++)
        for (int j = i; j < 5; j++)
            assert_true(ports[i] > 0 && (i == j || ports[i] != ports[j]));
    close_sockets(f, 0);
    open_sockets(f); /* the same ones again, now given */
    assert_int_equal(f->conn.shell_port, ports[0]);
    assert_int_equal(f->conn.hb_port, ports[4]);
}

static void test_ipv6(void **state)
{
    struct fixture *f = *state;
    struct rf_error err = {0};
    snprintf(f->conn.ip, sizeof(f->conn.ip), "%s", "::1");
    f->sockets = rf_sockets_new(&f->loop, &f->conn, NULL, &events, f, &err);
    if (!f->sockets)
        skip(); /* a machine without IPv6 */
    void *dealer = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, dealer, "six");
}

static void use_ipc(struct fixture *f)
{
    snprintf(f->conn.transport, sizeof(f->conn.transport), "%s", "ipc");
    snprintf(f->conn.ip, sizeof(f->conn.ip), "%s/k", f->folder);
}

static void test_ipc_files(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct stat st;
    use_ipc(f);
    snprintf(path, sizeof(path), "%s/k-2", f->folder);
    FILE *taken = fopen(path, "w"); /* not ours: stays as it is */
    fclose(taken);
    umask(0);
    open_sockets(f);
    umask(022);
    assert_int_equal(f->conn.shell_port, 1);
    assert_int_equal(f->conn.control_port, 3);
    snprintf(path, sizeof(path), "%s/k-1", f->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    void *dealer = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, dealer, "hello");
    drop(f, dealer);
    struct rf_connection second = f->conn;
    struct rf_error err = {0};
    assert_null(rf_sockets_new(&f->loop, &second, NULL, &events, f, &err));
    assert_int_equal(err.code, -EADDRINUSE);
    assert_non_null(strstr(err.text, "shell"));
    assert_int_equal(stat(path, &st), 0); /* the first one's is still there */
    close_sockets(f, 0);
    assert_int_equal(stat(path, &st), -1);
    snprintf(path, sizeof(path), "%s/k-2", f->folder);
    assert_int_equal(unlink(path), 0);
}

static void test_ipc_takes_over_a_dead_socket_file(void **state)
{
    struct fixture *f = *state;
    use_ipc(f);
    open_sockets(f);
    char from[128], to[128];
    snprintf(from, sizeof(from), "%s/k-1", f->folder);
    snprintf(to, sizeof(to), "%s/dead", f->folder);
    assert_int_equal(link(from, to), 0);
    close_sockets(f, 0);
    assert_int_equal(rename(to, from), 0); /* as if the process had been killed */
    open_sockets(f);
    void *dealer = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, dealer, "alive");
}

static void check_large(struct fixture *f)
{
    static char big[150000];
    f->options.max_message = 100000;
    open_sockets(f);
    void *good = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, good, "before");
    void *one = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, one, "hello");
    assert_int_equal(zmq_send(one, big, sizeof(big), 0), sizeof(big));
    WAIT(f, 3000, stats(f).cut_large == 1);
    assert_int_equal(f->cuts, 1);
    void *sum = client(f, ZMQ_DEALER, f->conn.control_port);
    check_echo(f, sum, "hello");
    for (int i = 0; i < 4; i++)
        assert_true(zmq_send(sum, big, 30000, i < 3 ? ZMQ_SNDMORE : 0) > 0);
    WAIT(f, 3000, stats(f).cut_large == 2);
    assert_int_equal(f->cut_channel, RF_CONTROL);
    check_echo(f, good, "after");
    check_echo(f, one, "back"); /* it has connected again */
    assert_int_equal(f->messages, 5);
    drop(f, good);
    drop(f, one);
    drop(f, sum);
    for (int i = 0; i < 50; i++)
        turn(f);
    assert_int_equal(stats(f).cut_large, 2); /* an ordinary end is none */
}

static void test_large_messages_are_cut(void **state)
{
    check_large(*state);
}

static void test_large_messages_are_cut_on_ipc(void **state)
{
    use_ipc(*state);
    check_large(*state);
}

/* A ZMTP 3.0 peer by hand: libzmq would not send a message before its end. */
static int raw_dealer(struct fixture *f, int port)
{
    static const char ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06" "DEALER";
    char greeting[64] = "\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, greeting, sizeof(greeting), 0), sizeof(greeting));
    assert_int_equal(send(fd, ready, sizeof(ready) - 1, 0), sizeof(ready) - 1);
    char theirs[sizeof(greeting) + 2]; /* nothing more may be sent before their READY */
    WAIT(f, 3000, recv(fd, theirs, sizeof(theirs), MSG_PEEK | MSG_DONTWAIT) == sizeof(theirs));
    return fd;
}

static void test_message_without_end_is_cut(void **state)
{
    struct fixture *f = *state;
    static char part[9 + 60000] = "\x03\0\0\0\0\0\0\xea\x60"; /* long, more to come */
    f->options.max_message = 100000;
    open_sockets(f);
    void *good = client(f, ZMQ_DEALER, f->conn.shell_port);
    check_echo(f, good, "before");
    int fd = raw_dealer(f, f->conn.shell_port);
    for (size_t at = 0; f->cuts == 0; turn(f)) {
        ssize_t n = send(fd, part + at, sizeof(part) - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        at = n > 0 ? (at + (size_t)n) % sizeof(part) : at;
    }
    assert_int_equal(stats(f).cut_large, 1);
    check_echo(f, good, "after");
    assert_int_equal(f->messages, 2);
    close(fd);
}

/* A subscriber whose application never reads. */
static void *stuck_client(struct fixture *f)
{
    int before = f->subscribed;
    void *stuck = new_socket(f, ZMQ_SUB);
    char address[160];
    bool ipc = strcmp(f->conn.transport, "ipc") == 0;
    snprintf(address, sizeof(address), "%s://%s%c%d", f->conn.transport, f->conn.ip,
             ipc ? '-' : ':', f->conn.iopub_port);
    set(stuck, ZMQ_RCVHWM, 1);
    set(stuck, ZMQ_RCVBUF, 4096);
    set(stuck, ZMQ_RECONNECT_IVL, -1);
    assert_int_equal(zmq_setsockopt(stuck, ZMQ_SUBSCRIBE, "", 0), 0);
    assert_int_equal(zmq_connect(stuck, address), 0);
    WAIT(f, 3000, f->subscribed > before);
    return stuck;
}

/* Takes what is there; checks that the numbers come in order. */
static void take_numbers(void *sub, int *next)
{
    char body[2048];
    while (try_receive(sub, body, sizeof(body)) >= 0) {
        assert_true(try_receive(sub, body, sizeof(body)) >= 0);
        assert_int_equal(strtol(body, NULL, 10), *next);
        (*next)++;
    }
}

static void check_stuck_beside_healthy(struct fixture *f, int count)
{
    f->options.stall_ms = 1000;
    open_sockets(f);
    void *healthy = client(f, ZMQ_SUB, f->conn.iopub_port);
    WAIT(f, 3000, f->subscribed == 1);
    stuck_client(f);
    char text[1025];
    memset(text, ' ', sizeof(text));
    text[1024] = '\0';
    int next = 0;
    for (int i = 0; i < count; i++) {
        int n = snprintf(text, sizeof(text), "%d", i);
        text[n] = ' ';
        publish(f, text);
        if (i % 500 == 0) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
            take_numbers(healthy, &next);
        }
    }
    WAIT(f, 8000, (take_numbers(healthy, &next), next == count));
    WAIT(f, 8000, stats(f).cut_slow == 1);
    WAIT(f, 3000, stats(f).spool_bytes == 0);
    assert_int_equal(f->cuts, 1);
    assert_int_equal(f->cut_channel, RF_IOPUB);
    snprintf(text, sizeof(text), "%d", count); /* and it goes on */
    publish(f, text);
    WAIT(f, 3000, (take_numbers(healthy, &next), next == count + 1));
}

static void test_stuck_subscriber_harms_nobody(void **state)
{
    check_stuck_beside_healthy(*state, 60000);
}

static void test_stuck_subscriber_harms_nobody_on_ipc(void **state)
{
    use_ipc(*state);
    check_stuck_beside_healthy(*state, 10000);
}

/* Slow, a message in a millisecond, but it reads: it is not cut, and gets everything. */
static void test_slow_reader_is_kept(void **state)
{
    struct fixture *f = *state;
    f->options.stall_ms = 1000;
    open_sockets(f);
    void *slow = stuck_client(f);
    char text[1025];
    memset(text, ' ', sizeof(text));
    text[1024] = '\0';
    int next = 0;
    for (int i = 0; i < 5000; i++) {
        int n = snprintf(text, sizeof(text), "%d", i);
        text[n] = ' ';
        publish(f, text);
    }
    for (int64_t began = now_ms(), ms; (ms = now_ms() - began) < 3000; turn(f)) {
        char body[2048];
        while (next < ms && try_receive(slow, body, sizeof(body)) >= 0) {
            assert_true(try_receive(slow, body, sizeof(body)) >= 0);
            assert_int_equal(strtol(body, NULL, 10), next++);
        }
    }
    assert_true(next < 5000);
    WAIT(f, 8000, (take_numbers(slow, &next), next == 5000));
    assert_int_equal(stats(f).cut_slow, 0);
}

/* 64 KB messages until none is taken any more: heap first, then disk. */
static size_t fill(struct fixture *f, size_t limit, const char *text)
{
    struct rf_bytes topic = RF_BYTES("t"), body = rf_bytes_str(text);
    size_t n = 0;
    while (n < limit && !rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &body, 1, false))
        n++;
    return n;
}

static void test_spool_is_bounded(void **state)
{
    struct fixture *f = *state;
    f->options.spool_max = 150u << 20;
    open_sockets(f);
    stuck_client(f);
    char *text = malloc(65537);
    memset(text, 'x', 65536);
    text[65536] = '\0';
    size_t n = fill(f, 100000, text);
    assert_in_range(n, 2300, 2600); /* 150 MB and what the system's buffers hold */
    assert_in_range(stats(f).spool_bytes, 148u << 20, 150u << 20);
    struct rf_bytes topic = RF_BYTES("t"), idle = RF_BYTES("idle");
    assert_int_equal(rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &idle, 1, true), 0);
    /* full: who took nothing for a second is cut early, then there is room */
    WAIT(f, 5000, stats(f).cut_slow == 1);
    WAIT(f, 3000, stats(f).spool_bytes == 0);
    assert_int_equal(fill(f, 1, text), 1);
    free(text);
}

static void test_spooled_bytes_are_right(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    void *sub = client(f, ZMQ_SUB, f->conn.iopub_port);
    set(sub, ZMQ_RCVHWM, 1);
    drop(f, sub);
    sub = stuck_client(f);
    char *text = malloc(1u << 20), *back = malloc(1u << 20);
    struct rf_bytes body = {(const uint8_t *)text, 1u << 20}, topic = RF_BYTES("t");
    for (int i = 0; i < 100; i++) {
        memset(text, 'a' + i % 26, 1u << 20);
        assert_int_equal(rf_sockets_send(f->sockets, RF_IOPUB, &topic, 1, &body, 1, false), 0);
    }
    for (int i = 0; i < 100; i++) {
        WAIT(f, 3000, zmq_recv(sub, back, 1u << 20, ZMQ_DONTWAIT) == 1);
        WAIT(f, 3000, zmq_recv(sub, back, 1u << 20, ZMQ_DONTWAIT) == 1 << 20);
        memset(text, 'a' + i % 26, 1u << 20);
        assert_memory_equal(back, text, 1u << 20);
    }
    WAIT(f, 3000, stats(f).spool_bytes == 0);
    free(text);
    free(back);
}

static void test_close_lets_messages_out(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    void *sub = client(f, ZMQ_SUB, f->conn.iopub_port);
    WAIT(f, 3000, f->subscribed == 1);
    for (int i = 0; i < 1000; i++)
        publish(f, "the last words");
    close_sockets(f, 2000);
    char back[64];
    int n = 0;
    for (int64_t until = now_ms() + 2000; n < 2000 && now_ms() < until;)
        n += try_receive(sub, back, sizeof(back)) >= 0;
    assert_int_equal(n, 2000);
}

static void test_close_waits_no_longer_than_told(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    stuck_client(f);
    char *text = malloc(65537);
    memset(text, 'x', 65536);
    text[65536] = '\0';
    fill(f, 500, text);
    int64_t before = now_ms();
    close_sockets(f, 300);
    assert_in_range(now_ms() - before, 200, 1500);
    free(text);
}

static void test_close_from_a_callback(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    f->close_on_message = true;
    void *dealer = client(f, ZMQ_DEALER, f->conn.shell_port);
    for (int i = 0; i < 10; i++)
        zmq_send(dealer, "x", 1, 0);
    WAIT(f, 3000, f->messages == 1);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->messages, 1);
}

static void test_taken_over_identity_gets_the_answers(void **state)
{
    struct fixture *f = *state;
    open_sockets(f);
    void *first = new_socket(f, ZMQ_DEALER), *second = new_socket(f, ZMQ_DEALER);
    char address[64];
    snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", f->conn.shell_port);
    void *const both[] = {first, second};
    for (int i = 0; i < 2; i++) {
        set(both[i], ZMQ_RECONNECT_IVL, -1);
        assert_int_equal(zmq_setsockopt(both[i], ZMQ_ROUTING_ID, "same", 4), 0);
        assert_int_equal(zmq_connect(both[i], address), 0);
        check_echo(f, both[i], "hello");
    }
    assert_int_equal(stats(f).cut_large, 0);
}

/* A launcher in JEP 66's sense, in a thread. */
struct launcher {
    void *socket;
    const char *answer_key;
    char content[512];
    char signature[129];
};

static struct rf_wire *wire_with(const char *key)
{
    struct rf_wire_options options = {
        .key = rf_bytes_str(key), .scheme = "hmac-sha256", .session = "s", .username = "u"};
    struct rf_wire *wire = rf_wire_new(&options, NULL);
    assert_non_null(wire);
    return wire;
}

static void run_launcher(void *arg)
{
    struct launcher *launcher = arg;
    char identity[64], delimiter[16];
    int id_len = zmq_recv(launcher->socket, identity, sizeof(identity), 0);
    if (id_len < 0)
        return;
    zmq_recv(launcher->socket, delimiter, sizeof(delimiter), 0);
    int n = zmq_recv(launcher->socket, launcher->signature, sizeof(launcher->signature) - 1, 0);
    launcher->signature[n < 0 ? 0 : n] = '\0';
    n = zmq_recv(launcher->socket, launcher->content, sizeof(launcher->content) - 1, 0);
    launcher->content[n < 0 ? 0 : n] = '\0';
    if (!launcher->answer_key)
        return;
    struct rf_wire *wire = wire_with(launcher->answer_key);
    struct rf_bytes ack = RF_BYTES("ACK");
    char hex[129];
    rf_wire_sign(wire, &ack, 1, hex);
    rf_wire_free(wire);
    zmq_send(launcher->socket, identity, (size_t)id_len, ZMQ_SNDMORE);
    zmq_send(launcher->socket, delimiter, 9, ZMQ_SNDMORE);
    zmq_send(launcher->socket, hex, strlen(hex), ZMQ_SNDMORE);
    zmq_send(launcher->socket, "ACK", 3, 0);
}

static int try_register(struct fixture *f, struct launcher *launcher, struct rf_error *err)
{
    struct rf_connection conn = {.transport = "tcp", .shell_port = 11, .hb_port = 55,
                                 .kernel_id = "id-1", .registration_ip = "127.0.0.1"};
    char address[64];
    size_t len = sizeof(address);
    launcher->socket = new_socket(f, ZMQ_ROUTER);
    set(launcher->socket, ZMQ_LINGER, 500);
    set(launcher->socket, ZMQ_RCVTIMEO, 2000);
    assert_int_equal(zmq_bind(launcher->socket, "tcp://127.0.0.1:*"), 0);
    zmq_getsockopt(launcher->socket, ZMQ_LAST_ENDPOINT, address, &len);
    conn.registration_port = (int)strtol(strrchr(address, ':') + 1, NULL, 10);
    uv_thread_t thread;
    struct rf_wire *wire = wire_with("secret");
    assert_int_equal(uv_thread_create(&thread, run_launcher, launcher), 0);
    int r = rf_register(&conn, wire, 700, err);
    uv_thread_join(&thread);
    struct rf_bytes content = rf_bytes_str(launcher->content);
    char hex[129];
    rf_wire_sign(wire, &content, 1, hex);
    assert_string_equal(launcher->signature, hex);
    rf_wire_free(wire);
    drop(f, launcher->socket);
    return r;
}

static void test_registers_with_the_launcher(void **state)
{
    struct launcher good = {.answer_key = "secret"}, forged = {.answer_key = "other"}, mute = {0};
    struct rf_error err = {0};
    assert_int_equal(try_register(*state, &good, &err), 0);
    assert_non_null(strstr(good.content, "\"kernel_id\":\"id-1\""));
    assert_non_null(strstr(good.content, "\"shell_port\":\"11\""));
    assert_non_null(strstr(good.content, "\"hb_port\":\"55\""));
    assert_int_equal(try_register(*state, &forged, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "not signed"));
    err.code = 0;
    assert_int_equal(try_register(*state, &mute, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "no answer"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered),
        TEST(bursts_are_drained),
        TEST(heartbeat_echoes),
        TEST(each_subscription_is_told),
        TEST(port_in_use_is_told),
        TEST(chosen_ports_are_written_back),
        TEST(ipv6),
        TEST(ipc_files),
        TEST(ipc_takes_over_a_dead_socket_file),
        TEST(large_messages_are_cut),
        TEST(large_messages_are_cut_on_ipc),
        TEST(message_without_end_is_cut),
        TEST(stuck_subscriber_harms_nobody),
        TEST(stuck_subscriber_harms_nobody_on_ipc),
        TEST(slow_reader_is_kept),
        TEST(spool_is_bounded),
        TEST(spooled_bytes_are_right),
        TEST(close_lets_messages_out),
        TEST(close_waits_no_longer_than_told),
        TEST(close_from_a_callback),
        TEST(taken_over_identity_gets_the_answers),
        TEST(registers_with_the_launcher),
    };
    signal(SIGPIPE, SIG_IGN); /* as the gateway */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
