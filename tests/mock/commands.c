/* See mock.h: the commands of a script. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/frame.h"
#include "common/json.h"
#include "kernel/worker.h"
#include "tests/mock/mock.h"

#define FIRST RF_PACKET_FIRST
#define LAST RF_PACKET_LAST
#define MB (1u << 20)
#define FLOODERS 4

typedef enum rf_mock_outcome command_fn(struct rf_mock *mock, const char *argument);

static long number(const char *argument, long if_none)
{
    return *argument ? strtol(argument, NULL, 10) : if_none;
}

static struct rf_mock_packet text_packet(uint64_t request, uint16_t flags)
{
    static const char body[] = "\2\0\0\0\6\0\0\0\4\0\0\0stdoutraw\n";
    return (struct rf_mock_packet){.type = RF_MSG_STREAM,
                                   .flags = flags,
                                   .request_id = request,
                                   .total = sizeof(body) - 1,
                                   .fragment = RF_BYTES(body)};
}

static enum rf_mock_outcome send_raw(struct rf_mock_packet packet)
{
    rf_mock_send(RF_WORKER_SOCKET, &packet);
    return RF_MOCK_OK;
}

/* --- what an honest worker does --- */

static enum rf_mock_outcome print_on(struct rf_mock *mock, int fd, const char *argument)
{
    struct rf_buf line = {0};
    rf_buf_printf(&line, "%s\n", argument);
    rf_worker_stream(fd, mock->request, rf_buf_bytes(&line));
    rf_buf_deinit(&line);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_print(struct rf_mock *mock, const char *argument)
{
    return print_on(mock, 1, argument);
}

static enum rf_mock_outcome do_eprint(struct rf_mock *mock, const char *argument)
{
    return print_on(mock, 2, argument);
}

static void say(uint64_t request, const char *text)
{
    struct rf_bytes parts[2] = {RF_BYTES("stdout"), rf_bytes_str(text)};
    rf_worker_send(RF_MSG_STREAM, request, parts, 2);
}

static enum rf_mock_outcome do_say(struct rf_mock *mock, const char *argument)
{
    say(mock->request, argument);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_raw(struct rf_mock *mock, const char *argument)
{
    dprintf(1, "%s\n", argument);
    return RF_MOCK_OK;
}

static void publish(struct rf_mock *mock, const char *type, struct rf_bytes content)
{
    struct rf_bytes parts[4] = {rf_bytes_str(type), RF_BYTES(""), RF_BYTES("{}"), content};
    rf_worker_send(RF_MSG_PUBLISH, mock->request, parts, 4);
}

static enum rf_mock_outcome show(struct rf_mock *mock, struct rf_bytes text)
{
    struct rf_buf content = {0};
    rf_buf_add_str(&content, "{\"data\":{\"text/plain\":");
    rf_json_encode(text, &content);
    rf_buf_printf(&content, "},\"metadata\":{},\"execution_count\":%s}", mock->count);
    publish(mock, "execute_result", rf_buf_bytes(&content));
    rf_buf_deinit(&content);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_result(struct rf_mock *mock, const char *argument)
{
    return show(mock, rf_bytes_str(argument));
}

static enum rf_mock_outcome do_keep(struct rf_mock *mock, const char *argument)
{
    mock->kept.len = 0;
    rf_buf_add_str(&mock->kept, argument);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_recall(struct rf_mock *mock, const char *argument)
{
    return show(mock, rf_buf_bytes(&mock->kept));
}

static enum rf_mock_outcome do_error(struct rf_mock *mock, const char *argument)
{
    return RF_MOCK_ERROR;
}

static enum rf_mock_outcome do_sleep(struct rf_mock *mock, const char *argument)
{
    long ms = number(argument, 1000);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    return nanosleep(&time, NULL) ? RF_MOCK_ERROR : RF_MOCK_OK; /* interrupted */
}

static enum rf_mock_outcome do_input(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes content = RF_BYTES("{\"prompt\":\"?\",\"password\":false}");
    struct rf_json_member value = {"value", {0}};
    struct rf_buf text = {0};
    rf_worker_send(RF_MSG_INPUT_REQUEST, mock->request, &content, 1);
    if (rf_json_object(rf_mock_await_input(), &value, 1) || !rf_json_decode(value.value, &text))
        return RF_MOCK_ERROR;
    show(mock, rf_buf_bytes(&text));
    rf_buf_deinit(&text);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_flood(struct rf_mock *mock, const char *argument)
{
    for (long i = 0; i < number(argument, 1000); i++)
        say(mock->request, "x");
    return RF_MOCK_OK;
}

/* A message of so many MB. */
static enum rf_mock_outcome do_big(struct rf_mock *mock, const char *argument)
{
    size_t n = (size_t)number(argument, 1) * MB;
    char *text = malloc(n + 1);
    if (!text)
        return RF_MOCK_ERROR;
    memset(text, 'b', n);
    text[n] = '\0';
    show(mock, (struct rf_bytes){(uint8_t *)text, n});
    free(text);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_fill_pipes(struct rf_mock *mock, const char *argument)
{
    static char piece[64 << 10];
    memset(piece, 'p', sizeof(piece));
    size_t rounds = (size_t)number(argument, 8) * MB / sizeof(piece);
    for (size_t i = 0; i < rounds; i++)
        if (write(1 + (int)(i % 2), piece, sizeof(piece)) < 0)
            return RF_MOCK_ERROR;
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_crash_text(struct rf_mock *mock, const char *argument)
{
    for (long i = 0; i < number(argument, 1); i++)
        dprintf(RF_WORKER_CRASH, "crash text, line %ld\n", i);
    return RF_MOCK_OK;
}

/* --- ends --- */

static enum rf_mock_outcome do_exit(struct rf_mock *mock, const char *argument)
{
    _exit((int)number(argument, 1));
}

static enum rf_mock_outcome do_kill(struct rf_mock *mock, const char *argument)
{
    int signal_number = (int)number(argument, SIGKILL);
    signal(signal_number, SIG_DFL);
    kill(getpid(), signal_number);
    pause();
    return RF_MOCK_OK;
}

static _Noreturn void stay(void)
{
    for (;;)
        pause();
}

static enum rf_mock_outcome do_close(struct rf_mock *mock, const char *argument)
{
    close(RF_WORKER_SOCKET);
    stay();
}

static enum rf_mock_outcome do_ignore_exit(struct rf_mock *mock, const char *argument)
{
    mock->ignores_exit = true;
    return RF_MOCK_OK;
}

static _Noreturn void hold(const char *how, struct rf_mock_packet packet)
{
    setsid();
    while (!strcmp(how, "pipe"))
        (void)!write(1, "from the child\n", 15);
    while (!strcmp(how, "socket") || !strcmp(how, "slivers"))
        rf_mock_send(RF_WORKER_SOCKET, &packet);
    stay();
}

/* Children that have left the session and hold all descriptors when the worker
 * dies; `argument` is what they do with them. */
static enum rf_mock_outcome do_fork_hold(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST | LAST);
    if (!strcmp(argument, "slivers")) { /* pieces of one message, a byte each */
        packet.fragment.len = 1;
        packet.total = RF_WORKER_MESSAGE_MAX;
        packet.flags = FIRST;
        send_raw(packet);
        packet.flags = 0;
    }
    for (int i = *argument ? FLOODERS : 1; i; i--) {
        pid_t child = fork();
        if (!child)
            hold(argument, packet);
        while (child > 0 && getsid(child) == getsid(0)) /* its session is killed with us */
            usleep(1000);
    }
    return RF_MOCK_OK;
}

/* --- packets that break the protocol --- */

static enum rf_mock_outcome do_garbage(struct rf_mock *mock, const char *argument)
{
    uint8_t bytes[4096];
    size_t n = (size_t)number(argument, 64) % sizeof(bytes);
    if (getrandom(bytes, n, 0) < 0)
        return RF_MOCK_ERROR;
    if (n)
        bytes[0] = RF_WORKER_PROTOCOL + 1;
    (void)!send(RF_WORKER_SOCKET, bytes, n, MSG_NOSIGNAL);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_protocol(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST | LAST);
    packet.protocol = 2;
    return send_raw(packet);
}

static enum rf_mock_outcome do_half(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST);
    packet.total += 100;
    return send_raw(packet);
}

static enum rf_mock_outcome do_huge(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST);
    packet.total = UINT32_MAX;
    return send_raw(packet);
}

static enum rf_mock_outcome do_parts(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST | LAST);
    packet.fragment = RF_BYTES("\2\0\0\0\6\0\0\0\xff\xff\xff\xffstdoutraw\n");
    return send_raw(packet);
}

static enum rf_mock_outcome do_many_parts(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST | LAST);
    packet.fragment = RF_BYTES("\xff\xff\xff\xff\6\0\0\0\4\0\0\0stdoutraw\n");
    return send_raw(packet);
}

/* One message of so many KB, a byte in each packet. */
static enum rf_mock_outcome do_slivers(struct rf_mock *mock, const char *argument)
{
    struct rf_frame_writer whole;
    struct rf_buf text = {0};
    for (long i = 0; i < number(argument, 1) * 1024; i++)
        rf_buf_add(&text, "s", 1);
    struct rf_bytes parts[2] = {RF_BYTES("stdout"), rf_buf_bytes(&text)};
    rf_frame_writer_init(&whole, RF_MSG_STREAM, mock->request, parts, 2);
    struct rf_mock_packet packet = {
        .type = RF_MSG_STREAM, .request_id = mock->request, .total = (uint32_t)whole.body.len};
    for (size_t i = 0; i < whole.body.len; i++) {
        packet.flags = (i ? 0 : FIRST) | (i + 1 < whole.body.len ? 0 : LAST);
        packet.fragment = (struct rf_bytes){whole.body.data + i, 1};
        send_raw(packet);
    }
    rf_frame_writer_deinit(&whole);
    rf_buf_deinit(&text);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_fence_flood(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = {
        .type = RF_MSG_FENCE, .flags = FIRST | LAST, .total = 4, .fragment = RF_BYTES("\0\0\0\0")};
    for (long i = 0; i < number(argument, 1000); i++)
        send_raw(packet);
    return RF_MOCK_OK;
}

/* Makes the answer to a fence block, if that is in this side's power. */
static enum rf_mock_outcome do_fence_block(struct rf_mock *mock, const char *argument)
{
    uint64_t most = UINT64_MAX - 1;
    (void)!write(RF_WORKER_FENCE, &most, sizeof(most));
    fcntl(RF_WORKER_FENCE, F_SETFL, 0);
    return do_fence_flood(mock, argument);
}

/* --- descriptors --- */

static enum rf_mock_outcome send_fds(struct rf_mock *mock, uint16_t flags, size_t n)
{
    int fds[64];
    for (size_t i = 0; i < n; i++)
        fds[i] = 0;
    struct rf_mock_packet packet = text_packet(mock->request, flags);
    packet.fds = fds;
    packet.n_fds = n;
    return send_raw(packet);
}

static enum rf_mock_outcome do_fds(struct rf_mock *mock, const char *argument)
{
    for (long i = 0; i < number(argument, 1); i++)
        send_fds(mock, FIRST | LAST, RF_PASSED_FDS_MAX);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_many_fds(struct rf_mock *mock, const char *argument)
{
    return send_fds(mock, FIRST | LAST, 64);
}

static enum rf_mock_outcome do_fds_half(struct rf_mock *mock, const char *argument)
{
    struct rf_mock_packet packet = text_packet(mock->request, FIRST);
    int fds[2] = {0, 0};
    packet.total += 100;
    packet.fds = fds;
    packet.n_fds = 2;
    return send_raw(packet);
}

static enum rf_mock_outcome do_fds_late(struct rf_mock *mock, const char *argument)
{
    do_half(mock, argument);
    return send_fds(mock, 0, 2);
}

/* Hands over a connection whose closing waits for a peer that does not read. */
static enum rf_mock_outcome do_fds_linger(struct rf_mock *mock, const char *argument)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    struct linger linger = {1, (int)number(argument, 60)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&addr, &len) ||
        connect(fd, (struct sockaddr *)&addr, len))
        return RF_MOCK_ERROR;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static char piece[64 << 10];
    while (write(fd, piece, sizeof(piece)) > 0)
        ;
    struct rf_mock_packet packet = text_packet(mock->request, FIRST | LAST);
    packet.fds = &fd;
    packet.n_fds = 1;
    if (rf_mock_send(RF_WORKER_SOCKET, &packet)) { /* refused: we must not wait ourselves */
        linger.l_onoff = 0;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(fd);
    close(listener);
    return RF_MOCK_OK;
}

/* --- messages that are well formed and lie --- */

static enum rf_mock_outcome do_forge_reply(struct rf_mock *mock, const char *argument)
{
    rf_mock_reply(mock, mock->request + (uint64_t)number(argument, 1), true);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_two_replies(struct rf_mock *mock, const char *argument)
{
    rf_mock_reply(mock, mock->request, true);
    rf_mock_reply(mock, mock->request, true);
    return RF_MOCK_REPLIED;
}

static enum rf_mock_outcome do_no_reply(struct rf_mock *mock, const char *argument)
{
    return RF_MOCK_REPLIED;
}

/* publish TYPE [CONTENT] */
static enum rf_mock_outcome do_publish(struct rf_mock *mock, const char *argument)
{
    char type[64];
    size_t n = strcspn(argument, " ");
    snprintf(type, sizeof(type), "%.*s", (int)n, argument);
    publish(mock, type, argument[n] ? rf_bytes_str(argument + n + 1) : RF_BYTES("{}"));
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_publish_status(struct rf_mock *mock, const char *argument)
{
    publish(mock, "status", RF_BYTES("{\"execution_state\":\"idle\"}"));
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_bad_json(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes parts[4] = {RF_BYTES("{\"status\":\"ok\""), RF_BYTES("{}")};
    rf_worker_send(RF_MSG_REPLY, mock->request, parts, 4);
    return RF_MOCK_REPLIED;
}

/* message TYPE: no parts */
static enum rf_mock_outcome do_message(struct rf_mock *mock, const char *argument)
{
    rf_worker_send((uint8_t)number(argument, 0), mock->request, NULL, 0);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_hello_again(struct rf_mock *mock, const char *argument)
{
    rf_mock_hello(mock, mock->generation, "2", "{}");
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_input_forged(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes content = RF_BYTES("{\"prompt\":\"password\",\"password\":true}");
    rf_worker_send(RF_MSG_INPUT_REQUEST, mock->request + 1, &content, 1);
    return RF_MOCK_OK;
}

/* order OPERATION NAME: does not wait for the answer */
static enum rf_mock_outcome do_order(struct rf_mock *mock, const char *argument)
{
    size_t n = strcspn(argument, " ");
    struct rf_bytes parts[3] = {{(const uint8_t *)argument, n},
                                rf_bytes_str(argument + n + (argument[n] ? 1 : 0)), {0}};
    rf_worker_send(RF_MSG_ORDER, mock->request, parts, 3);
    return RF_MOCK_OK;
}

/* order-flood: reads no answer */
static enum rf_mock_outcome do_order_flood(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes parts[3] = {RF_BYTES("recover"), {0}, {0}};
    while (!rf_worker_send(RF_MSG_ORDER, mock->request, parts, 3))
        ;
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_order_forged(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes parts[3] = {RF_BYTES("list"), {0}, {0}};
    rf_worker_send(RF_MSG_ORDER, mock->request + 1, parts, 3);
    return RF_MOCK_OK;
}

static enum rf_mock_outcome do_checkpoints(struct rf_mock *mock, const char *argument)
{
    return rf_mock_choose_lie(mock, argument) ? RF_MOCK_OK : RF_MOCK_ERROR;
}

static enum rf_mock_outcome do_checkpoint_unasked(struct rf_mock *mock, const char *argument)
{
    struct rf_bytes parts[5] = {RF_BYTES("5"), RF_BYTES("1"), RF_BYTES("0"), RF_BYTES("full"),
                                RF_BYTES("")};
    rf_worker_send(RF_MSG_CHECKPOINTED, (uint64_t)number(argument, 2), parts, 5);
    return RF_MOCK_OK;
}

/* --- the script --- */

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    {"bad-json", do_bad_json},
    {"big", do_big},
    {"checkpoint-unasked", do_checkpoint_unasked},
    {"checkpoints", do_checkpoints},
    {"close", do_close},
    {"crash-text", do_crash_text},
    {"eprint", do_eprint},
    {"error", do_error},
    {"exit", do_exit},
    {"fds", do_fds},
    {"fds-half", do_fds_half},
    {"fds-late", do_fds_late},
    {"fds-linger", do_fds_linger},
    {"fds-many", do_many_fds},
    {"fence-block", do_fence_block},
    {"fence-flood", do_fence_flood},
    {"fill-pipes", do_fill_pipes},
    {"flood", do_flood},
    {"forge-reply", do_forge_reply},
    {"fork-hold", do_fork_hold},
    {"garbage", do_garbage},
    {"half", do_half},
    {"hello-again", do_hello_again},
    {"huge", do_huge},
    {"ignore-exit", do_ignore_exit},
    {"input", do_input},
    {"input-forged", do_input_forged},
    {"keep", do_keep},
    {"kill", do_kill},
    {"message", do_message},
    {"no-reply", do_no_reply},
    {"order", do_order},
    {"order-flood", do_order_flood},
    {"order-forged", do_order_forged},
    {"parts", do_parts},
    {"parts-many", do_many_parts},
    {"print", do_print},
    {"protocol", do_protocol},
    {"publish", do_publish},
    {"publish-status", do_publish_status},
    {"raw", do_raw},
    {"recall", do_recall},
    {"result", do_result},
    {"say", do_say},
    {"sleep", do_sleep},
    {"slivers", do_slivers},
    {"two-replies", do_two_replies},
};

static enum rf_mock_outcome run_line(struct rf_mock *mock, char *line)
{
    size_t n = strcspn(line, " ");
    char *argument = line[n] ? line + n + 1 : line + n;
    line[n] = '\0';
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (!strcmp(line, commands[i].name))
            return commands[i].run(mock, argument);
    return *line ? RF_MOCK_ERROR : RF_MOCK_OK;
}

enum rf_mock_outcome rf_mock_run(struct rf_mock *mock, char *script)
{
    enum rf_mock_outcome outcome = RF_MOCK_OK;
    while (*script && outcome == RF_MOCK_OK) {
        size_t n = strcspn(script, "\n");
        char *next = script[n] ? script + n + 1 : script + n;
        script[n] = '\0';
        outcome = run_line(mock, script);
        script = next;
    }
    return outcome;
}
