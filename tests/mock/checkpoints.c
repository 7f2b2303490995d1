/* See mock.h: honest checkpoints, and every way to lie about one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/json.h"
#include "kernel/fork.h"
#include "kernel/worker.h"
#include "tests/mock/mock.h"

#define NOBODY 99999

struct orders {
    int control;
    struct rf_frame_reader reader;
    struct rf_frame order;
};

struct rf_mock_lie {
    const char *name;
    /* Said instead of making one; NULL: a checkpoint is forked. */
    void (*answer)(uint64_t id);
    /* The checkpoint, told to go on.  The new generation in a new worker, else 0. */
    uint64_t (*go_on)(struct rf_mock *mock, struct orders *orders);
    bool early; /* go_on is called once without an order */
    const char *pages;
};

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* --- what the worker says --- */

static void say_all(uint64_t id, const char *pid, const char *cost, const char *pages,
                    const char *class, const char *reason)
{
    struct rf_bytes parts[5] = {rf_bytes_str(pid), rf_bytes_str(cost), rf_bytes_str(pages),
                                rf_bytes_str(class), rf_bytes_str(reason)};
    rf_worker_send(RF_MSG_CHECKPOINTED, id, parts, 5);
}

static void say(uint64_t id, const char *pid, const char *cost)
{
    say_all(id, pid, cost, "0", "full", "");
}

static void say_none(uint64_t id)
{
    say_all(id, "0", "1", "0", "none", "this worker makes none");
}

static void say_nothing(uint64_t id)
{
    (void)id;
}
static void say_wrong_id(uint64_t id)
{
    say(id + 1, "5", "1");
}
static void say_pid_1(uint64_t id)
{
    say(id, "1", "1");
}
static void say_nobody(uint64_t id)
{
    say(id, "99999", "1");
}
static void say_no_number(uint64_t id)
{
    say(id, "many", "1");
}
static void say_large_number(uint64_t id)
{
    say(id, "4294967297", "1");
}
static void say_cost(uint64_t id)
{
    say(id, "0", "18446744073709551615");
}

static void say_no_pages(uint64_t id)
{
    say_all(id, "5", "1", "many", "full", "");
}

static void say_self(uint64_t id)
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", getpid());
    say(id, pid, "1");
}

static void say_twice(uint64_t id)
{
    say_none(id);
    say_none(id);
}

/* Also to an order that sets no bound. */
static void say_dear(uint64_t id)
{
    say_all(id, "0", "9000000", "0", "dear", "");
}

/* More than nothing, and less than any bound. */
static void say_cheap_is_dear(uint64_t id)
{
    say_all(id, "0", "0", "0", "dear", "");
}

static void say_little(uint64_t id)
{
    rf_worker_send(RF_MSG_CHECKPOINTED, id, NULL, 0);
}

/* --- what the checkpoint does --- */

static void tell_resumed(const struct orders *orders, uint64_t generation, int pid)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", pid);
    struct rf_bytes part = {(uint8_t *)text, (size_t)n};
    rf_frame_send(orders->control, RF_MSG_RESUMED, generation, &part, 1, NULL, 0);
}

/* A twin that becomes the worker; its pid in the checkpoint, 0 in itself. */
static pid_t twin(struct orders *orders)
{
    pid_t pid = rf_fork_sibling();
    if (!pid && rf_worker_install(orders->order.fds, orders->order.request_id))
        _exit(1);
    return pid;
}

static uint64_t go_on_late(struct rf_mock *mock, struct orders *orders)
{
    pid_t pid = twin(orders);
    if (!pid)
        return orders->order.request_id;
    pause_ms(200); /* the new worker has said HELLO by now */
    tell_resumed(orders, orders->order.request_id, pid);
    return 0;
}

static uint64_t go_on_unnamed(struct rf_mock *mock, struct orders *orders)
{
    return twin(orders) ? 0 : orders->order.request_id;
}

static uint64_t go_on_dying(struct rf_mock *mock, struct orders *orders)
{
    pid_t pid = twin(orders);
    if (!pid)
        _exit(7);
    tell_resumed(orders, orders->order.request_id, pid);
    return 0;
}

static uint64_t go_on_talking(struct rf_mock *mock, struct orders *orders)
{
    pid_t pid = twin(orders);
    if (!pid) { /* answers the cell that has died */
        rf_mock_reply(mock, mock->request + 1, true);
        rf_mock_reply(mock, mock->request, true);
        return orders->order.request_id;
    }
    tell_resumed(orders, orders->order.request_id, pid);
    return 0;
}

static uint64_t go_on_well(struct rf_mock *mock, struct orders *orders)
{
    pid_t pid = twin(orders);
    if (!pid)
        return orders->order.request_id;
    tell_resumed(orders, orders->order.request_id, pid);
    return 0;
}

static uint64_t go_on_twice(struct rf_mock *mock, struct orders *orders)
{
    pid_t pid = twin(orders);
    if (!pid)
        return orders->order.request_id;
    tell_resumed(orders, orders->order.request_id, pid);
    tell_resumed(orders, orders->order.request_id, pid);
    tell_resumed(orders, orders->order.request_id, 0);
    return 0;
}

static uint64_t say_resumed_zero(struct rf_mock *mock, struct orders *orders)
{
    tell_resumed(orders, orders->order.request_id, 0);
    return 0;
}

static uint64_t say_resumed_nobody(struct rf_mock *mock, struct orders *orders)
{
    tell_resumed(orders, orders->order.request_id, NOBODY);
    return 0;
}

static uint64_t say_wrong_generation(struct rf_mock *mock, struct orders *orders)
{
    tell_resumed(orders, orders->order.request_id + 1, NOBODY);
    return 0;
}

static uint64_t say_garbage(struct rf_mock *mock, struct orders *orders)
{
    (void)!send(orders->control, "garbage", 7, MSG_NOSIGNAL);
    return 0;
}

static uint64_t do_nothing(struct rf_mock *mock, struct orders *orders)
{
    return 0;
}

static uint64_t leave(struct rf_mock *mock, struct orders *orders)
{
    _exit(0);
}

static const struct rf_mock_lie lies[] = {
    {"none", say_none, NULL, false, NULL},
    {"silent", say_nothing, NULL, false, NULL},
    {"wrong-id", say_wrong_id, NULL, false, NULL},
    {"pid-1", say_pid_1, NULL, false, NULL},
    {"pid-nobody", say_nobody, NULL, false, NULL},
    {"pid-self", say_self, NULL, false, NULL},
    {"pid-text", say_no_number, NULL, false, NULL},
    {"pid-large", say_large_number, NULL, false, NULL},
    {"cost", say_cost, NULL, false, NULL},
    {"pages-text", say_no_pages, NULL, false, NULL},
    {"dear", say_dear, NULL, false, NULL},
    {"dear-cheap", say_cheap_is_dear, NULL, false, NULL},
    {"said-twice", say_twice, NULL, false, NULL},
    {"few-parts", say_little, NULL, false, NULL},
    {"slow-fork", NULL, go_on_well, false, "25000"},
    {"many-pages", NULL, go_on_well, false, "26000"},
    {"all-pages", NULL, go_on_well, false, "18446744073709551615"},
    {"resumed-late", NULL, go_on_late, false, NULL},
    {"resumed-unnamed", NULL, go_on_unnamed, false, NULL},
    {"resumed-dies", NULL, go_on_dying, false, NULL},
    {"resumed-talks", NULL, go_on_talking, false, NULL},
    {"resumed-twice", NULL, go_on_twice, false, NULL},
    {"resumed-zero", NULL, say_resumed_zero, false, NULL},
    {"resumed-nobody", NULL, say_resumed_nobody, false, NULL},
    {"resumed-other", NULL, say_wrong_generation, false, NULL},
    {"resumed-garbage", NULL, say_garbage, false, NULL},
    {"resumed-never", NULL, do_nothing, false, NULL},
    {"resumed-ends", NULL, leave, false, NULL},
    {"resumed-early", NULL, say_resumed_zero, true, NULL},
};

bool rf_mock_choose_lie(struct rf_mock *mock, const char *name)
{
    mock->lie = NULL;
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++)
        if (!strcmp(name, lies[i].name))
            mock->lie = &lies[i];
    return mock->lie || !strcmp(name, "honest");
}

/* Returns in a new worker with its generation. */
static uint64_t be_checkpoint(struct rf_mock *mock, int control)
{
    static uint8_t packet[RF_PACKET_MAX];
    struct orders orders = {.control = fcntl(control, F_DUPFD_CLOEXEC, 64)};
    close_range(0, 63, 0);
    setsid();
    if (mock->lie->early)
        mock->lie->go_on(mock, &orders);
    for (;;) {
        int r = rf_frame_recv(orders.control, 0, &orders.reader, packet, &orders.order);
        if (r == -EINTR)
            continue;
        if (r != 1)
            _exit(0);
        uint64_t generation = mock->lie->go_on(mock, &orders);
        if (generation) {
            close(orders.control);
            rf_frame_reader_deinit(&orders.reader);
            return generation;
        }
        for (size_t i = 0; i < orders.order.n_fds; i++)
            close(orders.order.fds[i]);
    }
}

/* --- what the process says that is to answer a request --- */

static void answer_ok(const struct rf_mock *mock, uint64_t id)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
    rf_buf_add_str(&content, "{\"status\":\"ok\",\"cursor_start\":0,\"cursor_end\":0,"
                             "\"metadata\":{},\"matches\":[");
    rf_json_encode(rf_buf_bytes(&mock->kept), &content);
    rf_buf_add_str(&content, "]}");
    struct rf_bytes parts[4] = {rf_buf_bytes(&content), RF_BYTES("{}")};
    rf_worker_answer(id, parts, 4);
}

static void answer_other(const struct rf_mock *mock, uint64_t id)
{
    answer_ok(mock, id + 1);
}

static void answer_no_json(const struct rf_mock *mock, uint64_t id)
{
    struct rf_bytes parts[4] = {RF_BYTES("[1"), RF_BYTES("{")};
    rf_worker_answer(id, parts, 4);
}

static void answer_no_parts(const struct rf_mock *mock, uint64_t id)
{
    rf_worker_answer(id, NULL, 0);
}

static void answer_wrong_type(const struct rf_mock *mock, uint64_t id)
{
    struct rf_bytes parts[4] = {RF_BYTES("stream"), {0}, RF_BYTES("{}"), RF_BYTES("{}")};
    rf_frame_send(RF_WORKER_SOCKET, RF_MSG_PUBLISH, id, parts, 4, NULL, 0);
}

static void answer_garbage(const struct rf_mock *mock, uint64_t id)
{
    (void)!send(RF_WORKER_SOCKET, "garbage", 7, MSG_NOSIGNAL);
}

static void answer_never(const struct rf_mock *mock, uint64_t id)
{
    (void)!fork(); /* what it leaves goes with it */
    pause_ms(3600000);
}

static void answer_huge(const struct rf_mock *mock, uint64_t id)
{
    RF_AUTO(rf_freep) uint8_t *bytes = calloc(1, RF_ANSWER_MESSAGE_MAX + 1);
    struct rf_bytes parts[1] = {{bytes, RF_ANSWER_MESSAGE_MAX + 1}};
    rf_worker_answer(id, parts, 1);
}

static void answer_nothing(const struct rf_mock *mock, uint64_t id)
{
}

static const struct {
    const char *code;
    void (*say)(const struct rf_mock *mock, uint64_t id);
} answers[] = {
    {"ok", answer_ok},           {"other", answer_other},     {"no-json", answer_no_json},
    {"no-parts", answer_no_parts}, {"type", answer_wrong_type}, {"garbage", answer_garbage},
    {"never", answer_never},     {"huge", answer_huge},       {"nothing", answer_nothing},
};

static void answer(const struct rf_mock *mock, const struct rf_frame *order)
{
    struct rf_json_member code = {"code", {0}};
    if (order->n_parts < 5 || rf_json_object(order->parts[4], &code, 1))
        _exit(1);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
        if (rf_json_string_is(code.value, answers[i].code))
            answers[i].say(mock, order->request_id);
    _exit(0);
}

uint64_t rf_mock_checkpoint(struct rf_mock *mock, uint64_t id, int control)
{
    if (!mock->lie) {
        struct rf_frame order;
        if (rf_worker_checkpoint(id, control, "", 0, &order) != 1)
            return 0;
        if (order.type == RF_MSG_ANSWER)
            answer(mock, &order);
        return order.request_id;
    }
    if (mock->lie->answer) {
        close(control);
        mock->lie->answer(id);
        return 0;
    }
    pid_t pid = rf_fork_sibling();
    if (!pid)
        return be_checkpoint(mock, control);
    close(control);
    char text[16];
    snprintf(text, sizeof(text), "%d", pid);
    say_all(id, text, mock->lie->pages ? "200000" : "100",
            mock->lie->pages ? mock->lie->pages : "0", "full", "");
    return 0;
}
