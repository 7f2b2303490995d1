/* Orders about checkpoints: of a cell (RF_MSG_ORDER) or of a client
 * (ringfence_checkpoint_request); see docs/checkpoints.md.
 *
 * Both are the running request until they are answered.  A cell hears by
 * RF_MSG_ORDERED, but for a rollback that succeeds: the worker that ran it is
 * gone then, and the gateway replies in its place.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/kernel_impl.h"

#define OPERATION_MAX 32u
#define ARGUMENT_MAX 256u
#define RECOVERED_MAX (1u << 20) /* bytes of source */

struct operation {
    const char *name;
    enum rf_order order;
    void (*answer)(struct rf_kernel *kernel, struct rf_buf *to); /* without the owner */
};

/* ---- what the kernel itself knows ---- */

static void add_checkpoints(struct rf_kernel *kernel, struct rf_buf *to)
{
    rf_buf_add_str(to, ",\"checkpoints\":");
    if (kernel->ops->checkpoints)
        kernel->ops->checkpoints(kernel->ctx, to);
    else
        rf_buf_add_str(to, "[]");
}

/* The newest sources that fit. */
static void add_undone(struct rf_kernel *kernel, struct rf_buf *to)
{
    const struct rf_losses *losses = &kernel->losses;
    size_t first = losses->n_undone, size = 0;
    while (first > 0) {
        size += rf_history_source(kernel->history, losses->undone[first - 1]).len;
        if (size > RECOVERED_MAX)
            break;
        first--;
    }
    rf_buf_printf(to, ",\"left_out\":%zu,\"cells\":[", first);
    for (size_t i = first; i < losses->n_undone; i++) {
        struct rf_bytes source = rf_history_source(kernel->history, losses->undone[i]);
        rf_buf_printf(to, "%s{\"execution_count\":%" PRIu64 ",\"source\":", i > first ? "," : "",
                      losses->undone[i]);
        rf_json_encode(source, to); /* "": it is not known any more */
        rf_buf_add_str(to, "}");
    }
    rf_buf_add_str(to, "]");
}

static const struct operation operations[] = {
    {"list", 0, add_checkpoints},
    {"recover", 0, add_undone},
    {"checkpoint", RF_ORDER_CHECKPOINT, NULL},
    {"rollback", RF_ORDER_ROLLBACK, NULL},
    {"undo", RF_ORDER_UNDO, NULL},
    {"drop", RF_ORDER_DROP, NULL},
    {"branch", RF_ORDER_BRANCH, NULL},
};

static const struct operation *find_operation(struct rf_bytes name)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
        if (rf_bytes_is(name, operations[i].name))
            return &operations[i];
    return NULL;
}

/* ---- answers ---- */

/* The worker's cell goes on; a client's request is over. */
static void answer(struct rf_kernel *kernel, const struct rf_buf *content, int64_t now_us)
{
    kernel->ordering = NULL;
    struct rf_bytes part = rf_reply_content(content);
    if (!kernel->running->type->turn) {
        kernel->ops->worker(kernel->ctx, RF_MSG_ORDERED, kernel->running->id, &part, 1);
        return;
    }
    struct rf_request *request = rf_steal(&kernel->running);
    rf_kernel_send(kernel, request, request->channel,
                   (struct rf_wire_out){.msg_type = request->type->reply, .content = part});
    rf_kernel_publish_idle(kernel, request);
    rf_request_free(request);
    kernel->ops->rested(kernel->ctx, 0, kernel->queue.n);
    rf_kernel_dispatch(kernel, now_us);
}

static void refuse(struct rf_kernel *kernel, const char *ename, const char *text, int64_t now_us)
{
    struct rf_bytes words = rf_bytes_str(text);
    struct rf_trouble trouble = {.ename = ename, .evalue = words, .traceback = words};
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
    rf_reply_error(&content, &trouble, NULL);
    answer(kernel, &content, now_us);
}

static void obey(struct rf_kernel *kernel, struct rf_bytes name, struct rf_bytes argument,
                 int64_t now_us)
{
    const struct operation *operation = find_operation(name);
    if (!operation) {
        refuse(kernel, "ValueError",
               "unknown operation: use list, checkpoint, rollback, undo, drop, branch or recover", now_us);
    } else if (operation->answer) {
        RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
        rf_buf_printf(&content, "{\"status\":\"ok\",\"operation\":\"%s\"", operation->name);
        operation->answer(kernel, &content);
        rf_buf_add_str(&content, "}");
        answer(kernel, &content, now_us);
    } else if (!kernel->ops->order) {
        refuse(kernel, "CheckpointError", "this kernel makes no checkpoints", now_us);
    } else {
        kernel->ordering = operation->name;
        kernel->ops->order(kernel->ctx, operation->order, argument,
                           !kernel->running->type->turn);
    }
}

static void begin_ok(struct rf_buf *to, const char *operation, struct rf_bytes checkpoint)
{
    rf_buf_printf(to, "{\"status\":\"ok\",\"operation\":\"%s\",\"checkpoint\":", operation);
    rf_buf_add_bytes(to, checkpoint);
}

/* ---- from worker and client ---- */

int rf_kernel_on_order(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    enum { OPERATION, ARGUMENT, ALONE };
    struct rf_request *running = kernel->running;
    if (kernel->ended)
        return 0; /* its request was answered at shutdown */
    if (!running || running->id != frame->request_id || !running->type->is_cell ||
        kernel->ordering || frame->parts[OPERATION].len > OPERATION_MAX ||
        frame->parts[ARGUMENT].len > ARGUMENT_MAX)
        return -EPROTO;
    if (frame->parts[ALONE].len)
        running->in_state = true;
    obey(kernel, frame->parts[OPERATION], frame->parts[ARGUMENT], now_us);
    return 0;
}

void rf_kernel_take_order(struct rf_kernel *kernel, const struct rf_request *request)
{
    enum { OPERATION, NAME, MEMBERS };
    struct rf_json_member members[MEMBERS] = {{"operation", {0}}, {"name", {0}}};
    RF_AUTO(rf_buf_deinit) struct rf_buf operation = {0};
    RF_AUTO(rf_buf_deinit) struct rf_buf name = {0};
    rf_json_object(request->content, members, MEMBERS);
    rf_json_decode(members[OPERATION].value, &operation);
    bool named = rf_json_is_null(members[NAME].value) || rf_json_decode(members[NAME].value, &name);
    if (!named || name.len > ARGUMENT_MAX)
        refuse(kernel, "ValueError", "name must be a string of at most 256 bytes, or absent",
               request->started_us);
    else
        obey(kernel, rf_buf_bytes(&operation), rf_buf_bytes(&name), request->started_us);
}

void rf_kernel_answer_checkpoints(struct rf_kernel *kernel, const struct rf_request *request)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
    rf_buf_add_str(&content, "{\"status\":\"ok\"");
    add_checkpoints(kernel, &content);
    rf_buf_add_str(&content, "}");
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
}

/* ---- from the owner ---- */

void rf_kernel_on_ordered(struct rf_kernel *kernel, const struct rf_error *err,
                          struct rf_bytes checkpoint, int64_t now_us)
{
    if (!kernel->running)
        return; /* it was answered at shutdown */
    if (err) {
        refuse(kernel, "CheckpointError", err->text, now_us);
        return;
    }
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
    begin_ok(&content, kernel->ordering ? kernel->ordering : "checkpoint", checkpoint);
    rf_buf_add_str(&content, "}");
    answer(kernel, &content, now_us);
}

static void reply_rolled_back(struct rf_kernel *kernel, const struct rf_request *request,
                              const char *operation, struct rf_bytes checkpoint,
                              struct rf_bytes text)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0};
    begin_ok(&content, operation, checkpoint);
    rf_buf_add_str(&content, ",\"text\":");
    rf_json_encode(text, &content);
    if (request->type->is_cell)
        rf_buf_printf(&content, ",\"execution_count\":%" PRIu64 ",\"user_expressions\":{},"
                                "\"payload\":[]", request->cell.count);
    rf_buf_add_str(&content, "}");
    rf_kernel_send(kernel, request, request->channel,
                   (struct rf_wire_out){.msg_type = request->type->reply,
                                        .content = rf_reply_content(&content)});
    rf_kernel_publish_idle(kernel, request);
}

static void add_title(struct rf_buf *to, struct rf_bytes checkpoint, uint64_t count)
{
    struct rf_json_member members[] = {{"number", {0}}, {"name", {0}}};
    rf_json_object(checkpoint, members, 2);
    rf_buf_add_str(to, "Rolled back to checkpoint ");
    rf_buf_add_bytes(to, members[0].value);
    if (rf_json_is_string(members[1].value)) {
        rf_buf_add_str(to, " '");
        rf_json_decode(members[1].value, to);
        rf_buf_add_str(to, "'");
    }
    rf_buf_printf(to, ", made after In [%" PRIu64 "].\n", count);
}

void rf_kernel_on_rolled_back(struct rf_kernel *kernel, const struct rf_kernel_mark *mark,
                              struct rf_bytes checkpoint, int64_t now_us)
{
    const char *operation = kernel->ordering ? kernel->ordering : "rollback";
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    rf_streams_finish(&kernel->streams);
    kernel->ready = false;
    kernel->ordering = NULL;
    add_title(&text, checkpoint, mark->count);
    rf_losses_rollback(&kernel->losses, mark, &text);
    rf_losses_go_back(&kernel->losses, mark, NULL);
    if (kernel->ended || !kernel->running)
        return;
    rf_kernel_limits_ended(kernel);
    struct rf_request *request = rf_steal(&kernel->running);
    kernel->watch.active_us = now_us;
    rf_kernel_close_comms(kernel, mark->comms, request->header);
    rf_kernel_send_stream(kernel, RF_STDOUT, request->id, rf_buf_bytes(&text));
    reply_rolled_back(kernel, request, operation, checkpoint, rf_buf_bytes(&text));
    rf_request_free(request);
}
