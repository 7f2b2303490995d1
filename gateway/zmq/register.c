/* rf_register(): tells the launcher which ports were chosen (JEP 66).
 *
 * The message is the delimiter, the HMAC of its one content frame, and that
 * frame; the answer has the same form and any content.  Runs before the loop
 * does, so it waits.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <sodium.h>

#include "common/cleanup.h"
#include "gateway/zmq/endpoint.h"
#include "gateway/zmq/sockets.h"
#include "gateway/zmq/zmtp.h"

#define DELIMITER "<IDS|MSG>"
#define ANSWER_MAX 65536 /* bytes that the launcher may say in all */
#define FRAMES_MAX 16
#define SIGNATURE_MAX 129

struct launcher {
    int fd; /* owned */
    int64_t until_ms;
    uint8_t data[ANSWER_MAX]; /* what came and was not taken */
    size_t len;
};

static void launcher_freep(struct launcher **launcher)
{
    if (*launcher && (*launcher)->fd >= 0)
        close((*launcher)->fd);
    free(*launcher);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the socket is ready for `events`, no longer than allowed. */
static int wait_for(const struct launcher *launcher, short events)
{
    struct pollfd wait = {launcher->fd, events, 0};
    int64_t left = launcher->until_ms - now_ms();
    int n = left > 0 ? poll(&wait, 1, (int)left) : 0;
    return n > 0 ? 0 : n < 0 && errno != EINTR ? -errno : n < 0 ? wait_for(launcher, events)
                                                                : -ETIMEDOUT;
}

static int launcher_address(const struct rf_connection *conn, struct rf_address *ret)
{
    if (strcmp(conn->transport, "ipc") != 0)
        return rf_endpoint_address(conn->registration_ip, conn->registration_port, ret);
    struct sockaddr_un *address = (struct sockaddr_un *)&ret->storage;
    *ret = (struct rf_address){.len = sizeof(*address)};
    address->sun_family = AF_UNIX;
    return rf_endpoint_path(conn->registration_ip, conn->registration_port, address->sun_path);
}

static int connect_launcher(struct launcher *launcher, const struct rf_connection *conn)
{
    struct rf_address address;
    int r = launcher_address(conn, &address);
    if (r)
        return r;
    launcher->fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (launcher->fd < 0)
        return -errno;
    if (!connect(launcher->fd, (struct sockaddr *)&address.storage, address.len))
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    int error = 0;
    socklen_t len = sizeof(error);
    r = wait_for(launcher, POLLOUT);
    if (!r && getsockopt(launcher->fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    return r ? r : -error;
}

static int send_bytes(struct launcher *launcher, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(launcher->fd, (const uint8_t *)data + at, len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        int r = n < 0 ? wait_for(launcher, POLLOUT) : 0;
        if (r)
            return r;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int receive_some(struct launcher *launcher)
{
    if (launcher->len == ANSWER_MAX)
        return -EMSGSIZE;
    int r = wait_for(launcher, POLLIN);
    if (r)
        return r;
    ssize_t n = recv(launcher->fd, launcher->data + launcher->len, ANSWER_MAX - launcher->len, 0);
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    launcher->len += (size_t)n;
    return 0;
}

static void take(struct launcher *launcher, size_t n)
{
    launcher->len -= n;
    memmove(launcher->data, launcher->data + n, launcher->len);
}

/* The next item of the stream; its frames lie in launcher->data, to be taken. */
static int receive_item(struct launcher *launcher, struct rf_zmtp_scan *scan)
{
    for (;;) {
        int r = rf_zmtp_scan((struct rf_bytes){launcher->data, launcher->len}, scan);
        if (r == RF_ZMTP_COMMAND && scan->at) /* within a message, which closes over it */
            r = -EPROTO;
        if (r)
            return r;
        r = receive_some(launcher);
        if (r)
            return r;
    }
}

static int shake_hands(struct launcher *launcher)
{
    uint8_t ready[RF_ZMTP_READY_MAX];
    struct rf_bytes frames[FRAMES_MAX], type, identity;
    struct rf_zmtp_scan scan = {
        .frames = frames, .frames_max = FRAMES_MAX, .message_max = RF_ZMTP_COMMAND_MAX};
    unsigned minor;
    int r = send_bytes(launcher, rf_zmtp_greeting, RF_ZMTP_GREETING_LEN);
    while (!r && launcher->len < RF_ZMTP_GREETING_LEN)
        r = receive_some(launcher);
    if (!r)
        r = rf_zmtp_read_greeting(launcher->data, &minor);
    if (r)
        return r;
    take(launcher, RF_ZMTP_GREETING_LEN);
    r = send_bytes(launcher, ready, rf_zmtp_ready("DEALER", ready));
    if (!r)
        r = receive_item(launcher, &scan);
    if (r < 0)
        return r;
    r = r == RF_ZMTP_COMMAND ? rf_zmtp_read_ready(frames[0], &type, &identity) : -EPROTO;
    take(launcher, scan.len);
    return r;
}

/* {"kernel_id": ..., "<channel>_port": "<number as text>", ...} */
static char *make_content(const struct rf_connection *conn)
{
    const struct {
        const char *name;
        int port;
    } ports[] = {
        {"shell_port", conn->shell_port}, {"control_port", conn->control_port},
        {"stdin_port", conn->stdin_port}, {"iopub_port", conn->iopub_port},
        {"hb_port", conn->hb_port},
    };
    json_t *root = json_pack("{s:s}", "kernel_id", conn->kernel_id);
    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", ports[i].port);
        json_object_set_new(root, ports[i].name, json_string(number));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static int send_frame(struct launcher *launcher, const char *text, bool more)
{
    uint8_t header[RF_ZMTP_HEADER_MAX];
    size_t len = strlen(text);
    int r = send_bytes(launcher, header, rf_zmtp_header(len, more, header));
    return r ? r : send_bytes(launcher, text, len);
}

static int send_ports(struct launcher *launcher, const struct rf_connection *conn,
                      struct rf_wire *wire)
{
    RF_AUTO(rf_freep) char *content = make_content(conn);
    char signature[SIGNATURE_MAX] = "";
    if (!content)
        return -ENOMEM;
    struct rf_bytes slice = rf_bytes_str(content);
    rf_wire_sign(wire, &slice, 1, signature);
    int r = send_frame(launcher, DELIMITER, true);
    if (!r)
        r = send_frame(launcher, signature, true);
    return r ? r : send_frame(launcher, content, false);
}

static bool is_signed(const struct rf_bytes *frames, size_t n, struct rf_wire *wire)
{
    char right[SIGNATURE_MAX] = "";
    if (n != 3 || !rf_bytes_is(frames[0], DELIMITER))
        return false;
    rf_wire_sign(wire, &frames[2], 1, right);
    return !right[0] || (frames[1].len == strlen(right) &&
                         sodium_memcmp(frames[1].data, right, strlen(right)) == 0);
}

/* -ETIMEDOUT: nothing came; -EBADMSG: what came had no right signature. */
static int wait_answer(struct launcher *launcher, struct rf_wire *wire)
{
    struct rf_bytes frames[FRAMES_MAX];
    struct rf_zmtp_scan scan = {
        .frames = frames, .frames_max = FRAMES_MAX, .message_max = ANSWER_MAX / 2};
    int r, otherwise = -ETIMEDOUT;
    while ((r = receive_item(launcher, &scan)) > 0) {
        if (r == RF_ZMTP_MESSAGE) {
            if (is_signed(frames, scan.n, wire))
                return 0;
            otherwise = -EBADMSG;
        }
        take(launcher, scan.len);
    }
    return r == -ETIMEDOUT ? otherwise : r;
}

int rf_register(const struct rf_connection *conn, struct rf_wire *wire, int timeout_ms,
                struct rf_error *err)
{
    RF_AUTO(launcher_freep) struct launcher *launcher = calloc(1, sizeof(*launcher));
    int r = launcher ? 0 : -ENOMEM;
    if (!r) {
        launcher->fd = -1;
        launcher->until_ms = now_ms() + timeout_ms;
        r = connect_launcher(launcher, conn);
    }
    if (!r)
        r = shake_hands(launcher);
    if (!r)
        r = send_ports(launcher, conn, wire);
    if (!r)
        r = wait_answer(launcher, wire);
    if (!r)
        return 0;
    const char *why = r == -ETIMEDOUT ? "no answer came in time"
                      : r == -EBADMSG ? "its answer is not signed with the key of the file"
                                      : strerror(-r);
    return rf_error_set(err, r, "cannot register with the launcher at %s://%s port %d: %s",
                        conn->transport, conn->registration_ip, conn->registration_port, why);
}
