/* rf_register(): tells the launcher which ports were chosen (JEP 66).
 *
 * The message is the delimiter, the HMAC of its one content frame, and that
 * frame; the answer has the same form and any content.  Runs before the loop
 * does, in a context of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <jansson.h>
#include <sodium.h>
#include <zmq.h>

#include "common/cleanup.h"
#include "gateway/zmq/endpoint.h"
#include "gateway/zmq/sockets.h"

#define DELIMITER "<IDS|MSG>"
#define FRAME_MAX 4096
#define SIGNATURE_MAX 129

struct launcher {
    void *context, *socket; /* owned */
};

static void launcher_deinit(struct launcher *launcher)
{
    if (launcher->socket)
        zmq_close(launcher->socket);
    if (launcher->context)
        while (zmq_ctx_term(launcher->context) && zmq_errno() == EINTR)
            ;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int connect_launcher(struct launcher *launcher, const char *transport, const char *ip,
                            int port)
{
    char address[160];
    int none = 0;
    int64_t most = FRAME_MAX;
    launcher->context = zmq_ctx_new();
    launcher->socket = launcher->context ? zmq_socket(launcher->context, ZMQ_DEALER) : NULL;
    if (!launcher->socket)
        return -zmq_errno();
    int r = rf_endpoint_address(launcher->socket, transport, ip, port, address);
    if (r)
        return r;
    if (zmq_setsockopt(launcher->socket, ZMQ_LINGER, &none, sizeof(none)) ||
        zmq_setsockopt(launcher->socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)) ||
        zmq_connect(launcher->socket, address))
        return -zmq_errno();
    return 0;
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

static int send_ports(struct launcher *launcher, const struct rf_connection *conn,
                      struct rf_wire *wire)
{
    RF_AUTO(rf_freep) char *content = make_content(conn);
    char signature[SIGNATURE_MAX] = "";
    if (!content)
        return -ENOMEM;
    struct rf_bytes slice = rf_bytes_str(content);
    int r = rf_wire_sign(wire, &slice, 1, signature);
    if (r)
        return r;
    if (zmq_send(launcher->socket, DELIMITER, sizeof(DELIMITER) - 1, ZMQ_SNDMORE) < 0 ||
        zmq_send(launcher->socket, signature, strlen(signature), ZMQ_SNDMORE) < 0 ||
        zmq_send(launcher->socket, content, slice.len, 0) < 0)
        return -zmq_errno();
    return 0;
}

/* The answer's frames, of which the first three matter. */
struct answer {
    uint8_t data[3][FRAME_MAX];
    size_t len[3];
    size_t n;
};

static int receive_answer(struct launcher *launcher, struct answer *ret)
{
    int more = 1;
    size_t len = sizeof(more);
    for (ret->n = 0; more; ret->n++) {
        uint8_t rest[1];
        bool kept = ret->n < 3;
        int n = kept ? zmq_recv(launcher->socket, ret->data[ret->n], FRAME_MAX, ZMQ_DONTWAIT)
                     : zmq_recv(launcher->socket, rest, sizeof(rest), ZMQ_DONTWAIT);
        if (n < 0)
            return -zmq_errno();
        if (kept)
            ret->len[ret->n] = (size_t)n;
        if (zmq_getsockopt(launcher->socket, ZMQ_RCVMORE, &more, &len))
            return -zmq_errno();
    }
    return 0;
}

static bool is_signed(const struct answer *answer, struct rf_wire *wire)
{
    char right[SIGNATURE_MAX] = "";
    struct rf_bytes content = {answer->data[2], answer->len[2]};
    if (answer->n != 3 ||
        !rf_bytes_is((struct rf_bytes){answer->data[0], answer->len[0]}, DELIMITER) ||
        rf_wire_sign(wire, &content, 1, right))
        return false;
    return !right[0] || (answer->len[1] == strlen(right) &&
                         sodium_memcmp(answer->data[1], right, strlen(right)) == 0);
}

/* -ETIMEDOUT: nothing came; -EBADMSG: what came had no right signature. */
static int wait_answer(struct launcher *launcher, struct rf_wire *wire, int timeout_ms)
{
    RF_AUTO(rf_freep) struct answer *answer = malloc(sizeof(*answer));
    if (!answer)
        return -ENOMEM;
    int r = -ETIMEDOUT;
    for (int64_t until = now_ms() + timeout_ms, left; (left = until - now_ms()) > 0;) {
        zmq_pollitem_t item = {.socket = launcher->socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, (long)left) < 0 && zmq_errno() != EINTR)
            return -zmq_errno();
        if (!(item.revents & ZMQ_POLLIN) || receive_answer(launcher, answer))
            continue;
        if (is_signed(answer, wire))
            return 0;
        r = -EBADMSG;
    }
    return r;
}

int rf_register(const struct rf_connection *conn, struct rf_wire *wire, int timeout_ms,
                struct rf_error *err)
{
    RF_AUTO(launcher_deinit) struct launcher launcher = {0};
    int r = connect_launcher(&launcher, conn->transport, conn->registration_ip,
                             conn->registration_port);
    if (!r)
        r = send_ports(&launcher, conn, wire);
    if (!r)
        r = wait_answer(&launcher, wire, timeout_ms);
    if (!r)
        return 0;
    const char *why = r == -ETIMEDOUT ? "no answer came in time"
                      : r == -EBADMSG ? "its answer is not signed with the key of the file"
                                      : zmq_strerror(-r);
    return rf_error_set(err, r, "cannot register with the launcher at %s://%s port %d: %s",
                        conn->transport, conn->registration_ip, conn->registration_port, why);
}
