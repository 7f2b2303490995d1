/* See kernel.h.
 *
 * A request is a view while it is judged, a copy while it waits, and
 * `running` while the worker has it; it ends in exactly one of answer_*(),
 * which publish busy, send the one reply and publish idle.  kernel_worker.c
 * has the other half: what comes from the worker.
 */
#include "gateway/jupyter/kernel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "gateway/jupyter/kernel_impl.h"

#define QUEUE_SIZE_MAX (512u << 20) /* bytes of all waiting requests, beside the first */
#define TOPIC_MAX 512u
#define SUBSCRIPTION_MAX 1024u

static void answer_kernel_info(struct rf_kernel *kernel, const struct rf_request *request);
static void answer_history(struct rf_kernel *kernel, const struct rf_request *request);
static void answer_connect(struct rf_kernel *kernel, const struct rf_request *request);
static void answer_usage(struct rf_kernel *kernel, const struct rf_request *request);
static void answer_interrupt(struct rf_kernel *kernel, const struct rf_request *request);
static void answer_shutdown(struct rf_kernel *kernel, const struct rf_request *request);

#define ON_BOTH ((1u << RF_SHELL) | (1u << RF_CONTROL))
#define ON_CONTROL (1u << RF_CONTROL)

static const struct rf_request_type request_types[] = {
    /* name, reply, channels, is_cell, owns_output, on_comm, answer, turn */
    {"execute_request", "execute_reply", ON_BOTH, true, true, NULL, NULL, NULL},
    {"complete_request", "complete_reply", ON_BOTH, false, false, NULL, NULL, NULL},
    {"inspect_request", "inspect_reply", ON_BOTH, false, false, NULL, NULL, NULL},
    {"is_complete_request", "is_complete_reply", ON_BOTH, false, false, NULL, NULL, NULL},
    {"comm_info_request", "comm_info_reply", ON_BOTH, false, false, NULL, NULL, NULL},
    {"comm_open", NULL, ON_BOTH, false, true, rf_comms_open, NULL, NULL},
    {"comm_msg", NULL, ON_BOTH, false, true, NULL, NULL, NULL},
    {"comm_close", NULL, ON_BOTH, false, true, rf_comms_close, NULL, NULL},
    {"kernel_info_request", "kernel_info_reply", ON_BOTH, false, false, NULL, answer_kernel_info, NULL},
    {"history_request", "history_reply", ON_BOTH, false, false, NULL, answer_history, NULL},
    {"connect_request", "connect_reply", ON_BOTH, false, false, NULL, answer_connect, NULL},
    {"usage_request", "usage_reply", ON_BOTH, false, false, NULL, answer_usage, NULL},
    {"interrupt_request", "interrupt_reply", ON_CONTROL, false, false, NULL, answer_interrupt, NULL},
    {"shutdown_request", "shutdown_reply", ON_BOTH, false, false, NULL, answer_shutdown, NULL},
    {"ringfence_checkpoint_request", "ringfence_checkpoint_reply", ON_BOTH, false, true, NULL, NULL,
     rf_kernel_take_order},
    {"ringfence_checkpoints_request", "ringfence_checkpoints_reply", ON_BOTH, false, false, NULL,
     rf_kernel_answer_checkpoints, NULL},
};

#define N_REQUEST_TYPES (sizeof(request_types) / sizeof(*request_types))

/* ---- life ---- */

static bool copy_string(const char **to, const char *from)
{
    *to = strdup(from ? from : "");
    return *to != NULL;
}

static bool copy_options(struct rf_kernel_options *to, const struct rf_kernel_options *from)
{
    *to = *from;
    to->kernel_id = to->implementation_version = to->banner_note = to->limits.profile = NULL;
    return copy_string(&to->kernel_id, from->kernel_id) &&
           copy_string(&to->implementation_version, from->implementation_version) &&
           copy_string(&to->banner_note, from->banner_note) &&
           copy_string(&to->limits.profile, from->limits.profile);
}

struct rf_kernel *rf_kernel_new(const struct rf_kernel_options *options,
                                const struct rf_kernel_ops *ops, void *ctx)
{
    struct rf_kernel *kernel = calloc(1, sizeof(*kernel));
    if (!kernel)
        return NULL;
    kernel->ops = ops;
    kernel->ctx = ctx;
    kernel->count = options->count;
    rf_streams_init(&kernel->streams, rf_kernel_send_stream, kernel);
    size_t cells = options->history_cells ? options->history_cells : RF_HISTORY_CELLS_MAX;
    kernel->history = rf_history_new(cells);
    if (!kernel->history || rf_parents_init(&kernel->parents) ||
        !copy_options(&kernel->options, options))
        return rf_kernel_free(kernel);
    return kernel;
}

struct rf_kernel *rf_kernel_free(struct rf_kernel *kernel)
{
    if (!kernel)
        return NULL;
    rf_request_free(kernel->running);
    rf_request_queue_deinit(&kernel->queue);
    rf_request_queue_deinit(&kernel->info_queue);
    rf_request_queue_deinit(&kernel->answers.asked);
    rf_history_free(kernel->history);
    rf_parents_deinit(&kernel->parents);
    rf_streams_deinit(&kernel->streams);
    rf_comms_deinit(&kernel->comms);
    rf_losses_deinit(&kernel->losses);
    rf_buf_deinit(&kernel->info);
    free((char *)kernel->options.kernel_id);
    free((char *)kernel->options.implementation_version);
    free((char *)kernel->options.banner_note);
    free((char *)kernel->options.limits.profile);
    free(kernel);
    return NULL;
}

void rf_kernel_set_note(struct rf_kernel *kernel, const char *note)
{
    const char *copy;
    if (!copy_string(&copy, note))
        return;
    free((char *)kernel->options.banner_note);
    kernel->options.banner_note = copy;
}

void rf_kernel_start(struct rf_kernel *kernel)
{
    if (kernel->started)
        return;
    kernel->started = true;
    rf_kernel_publish(kernel, (struct rf_bytes){0},
                      (struct rf_wire_out){
                          .msg_type = "status",
                          .content = RF_BYTES("{\"execution_state\":\"starting\"}"),
                      });
}

/* ---- to clients ---- */

/* All that goes out passes here: a worker's and a client's JSON may hold
 * bytes that are not UTF-8. */
static void emit(struct rf_kernel *kernel, struct rf_wire_out out)
{
    struct rf_buf parent = {0}, metadata = {0}, content = {0};
    out.parent = rf_reply_clean(out.parent, &parent);
    out.metadata = rf_reply_clean(out.metadata, &metadata);
    out.content = rf_reply_clean(out.content, &content);
    if (!rf_buf_ok(&content)) /* a reply without status would be none */
        out.content = rf_reply_content(&content);
    /* identities, delimiter, signature and four JSON frames go with them */
    if (out.n_buffers + out.n_identities + 6 > RF_FRAMES_MAX)
        out.n_buffers = 0;
    kernel->ops->send(kernel->ctx, &out);
    rf_buf_deinit(&parent);
    rf_buf_deinit(&metadata);
    rf_buf_deinit(&content);
}

void rf_kernel_publish(struct rf_kernel *kernel, struct rf_bytes topic, struct rf_wire_out out)
{
    char text[TOPIC_MAX];
    if (!topic.len) {
        snprintf(text, sizeof(text), "kernel.%s.%s", kernel->options.kernel_id, out.msg_type);
        topic = rf_bytes_str(text);
    }
    out.channel = RF_IOPUB;
    out.identities = &topic;
    out.n_identities = 1;
    emit(kernel, out);
}

void rf_kernel_send(struct rf_kernel *kernel, const struct rf_request *request,
                    enum rf_channel channel, struct rf_wire_out out)
{
    out.channel = channel;
    out.identities = request->identities;
    out.n_identities = request->n_identities;
    out.parent = request->header;
    emit(kernel, out);
}

static void reply(struct rf_kernel *kernel, const struct rf_request *request,
                  struct rf_bytes content)
{
    rf_kernel_send(kernel, request, request->channel,
                   (struct rf_wire_out){.msg_type = request->type->reply, .content = content});
}

static void publish_status(struct rf_kernel *kernel, struct rf_bytes content,
                           const struct rf_request *request)
{
    rf_kernel_publish(kernel, (struct rf_bytes){0},
                      (struct rf_wire_out){
                          .msg_type = "status",
                          .parent = request->header,
                          .content = content,
                      });
}

static void publish_busy(struct rf_kernel *kernel, const struct rf_request *request)
{
    publish_status(kernel, RF_BYTES("{\"execution_state\":\"busy\"}"), request);
}

void rf_kernel_publish_idle(struct rf_kernel *kernel, const struct rf_request *request)
{
    publish_status(kernel, RF_BYTES("{\"execution_state\":\"idle\"}"), request);
    if (kernel->running) /* displays follow the last status, whoever's it is */
        publish_busy(kernel, kernel->running);
}

void rf_kernel_send_error(struct rf_kernel *kernel, const struct rf_request *request,
                          const struct rf_trouble *trouble)
{
    if (!request->type->reply)
        return; /* comm messages have none */
    struct rf_buf content = {0}, output = {0};
    if (request->type->is_cell) {
        uint64_t count = request->id ? request->cell.count : kernel->count;
        rf_streams_flush(&kernel->streams);
        rf_reply_error_output(&output, trouble);
        rf_kernel_publish(kernel, (struct rf_bytes){0},
                          (struct rf_wire_out){
                              .msg_type = "error",
                              .parent = request->header,
                              .content = rf_reply_content(&output),
                          });
        rf_reply_error(&content, trouble, &count);
    } else {
        rf_reply_error(&content, trouble, NULL);
    }
    reply(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&output);
    rf_buf_deinit(&content);
}

/* ---- answers to requests that never reach the worker ---- */

void rf_kernel_answer_with(struct rf_kernel *kernel, const struct rf_request *request,
                           struct rf_bytes content)
{
    publish_busy(kernel, request);
    reply(kernel, request, content);
    rf_kernel_publish_idle(kernel, request);
}

static void answer_error(struct rf_kernel *kernel, const struct rf_request *request,
                         const char *ename, const char *text)
{
    struct rf_bytes words = rf_bytes_str(text);
    struct rf_trouble trouble = {.ename = ename, .evalue = words, .traceback = words};
    publish_busy(kernel, request);
    rf_kernel_send_error(kernel, request, &trouble);
    rf_kernel_publish_idle(kernel, request);
}

/* Why what waits or runs now has no answer of its own. */
static const char *why_over(const struct rf_kernel *kernel, const char *shutdown)
{
    if (!kernel->ended)
        return kernel->failure.text;
    return kernel->end_reason[0] ? kernel->end_reason : shutdown;
}

static void answer_failed(struct rf_kernel *kernel, const struct rf_request *request)
{
    answer_error(kernel, request, kernel->ended ? "KernelShutdown" : "KernelFailed",
                 why_over(kernel, "the kernel was shut down"));
}

static void answer_aborted(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_buf content = {0};
    rf_reply_aborted(&content, kernel->count);
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

void rf_kernel_abort_cells(struct rf_kernel *kernel)
{
    struct rf_request_queue cells = rf_request_queue_take_cells(&kernel->queue);
    for (struct rf_request *cell; (cell = rf_request_queue_pop(&cells));) {
        answer_aborted(kernel, cell);
        rf_request_free(cell);
    }
}

static void fail_queue(struct rf_kernel *kernel, struct rf_request_queue *queue)
{
    for (struct rf_request *request; (request = rf_request_queue_pop(queue));) {
        answer_failed(kernel, request);
        rf_request_free(request);
    }
}

static bool has_room(const struct rf_request_queue *queue, const struct rf_request *request)
{
    return !queue->n || (queue->n < RF_QUEUE_MAX &&
                         queue->size + rf_request_size(request) <= QUEUE_SIZE_MAX);
}

static bool enqueue(struct rf_kernel *kernel, struct rf_request_queue *queue,
                    const struct rf_request *view)
{
    char text[160];
    if (!has_room(queue, view)) {
        snprintf(text, sizeof(text),
                 "too many requests wait for this kernel (the limits are %u requests and %u MB)",
                 RF_QUEUE_MAX, QUEUE_SIZE_MAX >> 20);
        answer_error(kernel, view, "QueueFull", text);
        return false;
    }
    struct rf_request *request = rf_request_copy(view);
    if (!request) {
        answer_error(kernel, view, "MemoryError", "the gateway is out of memory");
        return false;
    }
    request->came_us = kernel->watch.active_us;
    rf_request_queue_push(queue, request);
    rf_kernel_answers_wait(kernel, request);
    return true;
}

/* ---- requests that the gateway answers ---- */

static void answer_kernel_info(struct rf_kernel *kernel, const struct rf_request *request)
{
    if (!kernel->info.len) {
        if (kernel->failed || kernel->ended)
            answer_failed(kernel, request);
        else
            enqueue(kernel, &kernel->info_queue, request);
        return;
    }
    struct rf_buf content = {0};
    rf_reply_kernel_info(&content, rf_buf_bytes(&kernel->info), &kernel->options);
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

static void answer_history(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_buf content = {0};
    if (rf_history_reply(kernel->history, request->content, &content))
        content.failed = true;
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

static void answer_connect(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_buf content = {0};
    rf_reply_connect(&content, &kernel->options);
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

static void answer_usage(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_buf content = {0};
    if (kernel->ops->usage)
        kernel->ops->usage(kernel->ctx, &content);
    else
        rf_buf_add_str(&content, "{\"status\":\"ok\"}");
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

static void answer_interrupt(struct rf_kernel *kernel, const struct rf_request *request)
{
    rf_kernel_interrupt(kernel);
    rf_kernel_answer_with(kernel, request, RF_BYTES("{\"status\":\"ok\"}"));
}

static void answer_shutdown(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_json_member restart = {"restart", {0}};
    rf_json_object(request->content, &restart, 1);
    bool again = rf_json_is_true(restart.value);
    bool first = rf_kernel_end(kernel);
    rf_streams_flush(&kernel->streams);
    struct rf_bytes content = again ? RF_BYTES("{\"status\":\"ok\",\"restart\":true}")
                                    : RF_BYTES("{\"status\":\"ok\",\"restart\":false}");
    publish_busy(kernel, request);
    reply(kernel, request, content);
    rf_kernel_publish(kernel, (struct rf_bytes){0},
                      (struct rf_wire_out){
                          .msg_type = "shutdown_reply",
                          .parent = request->header,
                          .content = content,
                      });
    rf_kernel_publish_idle(kernel, request);
    if (first) /* the last act: the owner may free the kernel */
        kernel->ops->shutdown(kernel->ctx, again);
}

/* ---- the worker's turn ---- */

static size_t worker_size(const struct rf_request *request)
{
    size_t size = 128 + request->header.len + request->metadata.len + request->content.len;
    for (size_t i = 0; i < request->n_buffers; i++)
        size += request->buffers[i].len;
    return size + 4 * request->n_buffers;
}

/* NULL, or why the worker cannot have it.  Reads the cell. */
static const char *check(struct rf_request *request)
{
    if (request->n_buffers + RF_KERNEL_REQUEST_PARTS > RF_WORKER_PARTS_MAX)
        return "the request has too many buffers";
    if (worker_size(request) > RF_WORKER_MESSAGE_MAX)
        return "the request is larger than a worker's message may be (256 MB)";
    return request->type->is_cell ? rf_request_read_cell(request) : NULL;
}

static void send_to_worker(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_bytes parts[RF_WORKER_PARTS_MAX];
    char count[24];
    snprintf(count, sizeof(count), "%" PRIu64, kernel->count);
    size_t n = 0;
    parts[n++] = rf_bytes_str(request->type->name);
    parts[n++] = rf_bytes_str(count);
    parts[n++] = request->header;
    parts[n++] = request->metadata;
    parts[n++] = request->content;
    for (size_t i = 0; i < request->n_buffers; i++)
        parts[n++] = request->buffers[i];
    kernel->ops->worker(kernel->ctx, RF_MSG_REQUEST, request->id, parts, n);
}

static void count_cell(struct rf_kernel *kernel, struct rf_cell *cell)
{
    if (cell->store_history)
        kernel->count++;
    cell->count = kernel->count;
}

static void show_cell(struct rf_kernel *kernel, const struct rf_request *request)
{
    const struct rf_cell *cell = &request->cell;
    struct rf_buf clean = {0}, content = {0};
    struct rf_bytes code = rf_reply_clean(cell->code, &clean);
    if (cell->store_history && code.len && rf_history_input(kernel->history, cell->count, code))
        rf_log(RF_LOG_WARN, "kernel", "no memory: cell %" PRIu64 " is not in the history",
               cell->count);
    if (!cell->silent) {
        rf_reply_execute_input(&content, code.len ? code : RF_BYTES("\"\""), cell->count);
        rf_kernel_publish(kernel, (struct rf_bytes){0},
                          (struct rf_wire_out){
                              .msg_type = "execute_input",
                              .parent = request->header,
                              .content = rf_reply_content(&content),
                          });
    }
    rf_buf_deinit(&clean);
    rf_buf_deinit(&content);
}

/* Follows the comms that the client opens and closes. */
static void note_comm(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_json_member id = {"comm_id", {0}};
    struct rf_buf text = {0};
    if (!request->type->on_comm)
        return;
    if (!rf_json_object(request->content, &id, 1) && rf_json_decode(id.value, &text) &&
        rf_buf_ok(&text))
        request->type->on_comm(&kernel->comms, rf_buf_bytes(&text));
    rf_buf_deinit(&text);
}

/* Hands the request to the worker, or answers what is wrong with it; takes it. */
static void run(struct rf_kernel *kernel, struct rf_request *request, int64_t now_us)
{
    rf_streams_flush(&kernel->streams);
    const char *wrong = check(request);
    if (wrong) {
        answer_error(kernel, request, "ValueError", wrong);
        rf_request_free(request);
        return;
    }
    uint64_t id = ++kernel->last_id;
    if (rf_parents_add(&kernel->parents, id, request->header, request->type->owns_output)) {
        answer_error(kernel, request, "MemoryError", "the gateway is out of memory");
        rf_request_free(request);
        return;
    }
    request->id = id;
    request->started_us = now_us;
    request->comms_mark = kernel->comms.opened;
    kernel->running = request;
    if (request->type->is_cell)
        count_cell(kernel, &request->cell);
    if (!request->type->turn)
        send_to_worker(kernel, request); /* first: it wakes up while the rest is made */
    publish_busy(kernel, request);
    if (request->type->is_cell) {
        rf_kernel_limits_begin(kernel, request);
        show_cell(kernel, request);
    }
    note_comm(kernel, request);
    if (request->type->turn) /* last: it may have been answered after that */
        request->type->turn(kernel, request);
}

void rf_kernel_dispatch(struct rf_kernel *kernel, int64_t now_us)
{
    if (kernel->dispatching) /* a turn that was over within the call */
        return;
    kernel->dispatching = true;
    while (kernel->ready && !kernel->running && kernel->queue.n)
        run(kernel, rf_request_queue_pop(&kernel->queue), now_us);
    kernel->dispatching = false;
}

/* ---- messages ---- */

/* A type that is not served on this channel is as unknown as any other. */
static const struct rf_request_type *find_type(struct rf_bytes msg_type, enum rf_channel channel)
{
    for (size_t i = 0; i < N_REQUEST_TYPES; i++)
        if ((request_types[i].channels & (1u << channel)) &&
            rf_json_string_is(msg_type, request_types[i].name))
            return &request_types[i];
    return NULL;
}

static void on_stdin(struct rf_kernel *kernel, const struct rf_wire_in *in)
{
    struct rf_request *running = kernel->running;
    if (!running || !running->asking || !rf_json_string_is(in->msg_type, "input_reply")) {
        rf_log(RF_LOG_DEBUG, "kernel", "dropped a message on stdin that nothing asked for");
        return;
    }
    running->asking = false;
    kernel->ops->worker(kernel->ctx, RF_MSG_INPUT_REPLY, running->id, &in->content, 1);
}

void rf_kernel_on_message(struct rf_kernel *kernel, enum rf_channel channel,
                          const struct rf_wire_in *in, int64_t now_us)
{
    if (channel == RF_STDIN) {
        on_stdin(kernel, in);
        return;
    }
    kernel->watch.active_us = now_us;
    if (channel != RF_SHELL && channel != RF_CONTROL)
        return;
    const struct rf_request_type *type = find_type(in->msg_type, channel);
    struct rf_request request = rf_request_view(type, channel, in);
    if (!type) {
        publish_busy(kernel, &request);
        rf_kernel_publish_idle(kernel, &request);
    } else if (in->header.len > RF_PARENT_HEADER_MAX) {
        answer_error(kernel, &request, "ValueError", "the request's header is over 16 KB");
    } else if (type->answer) {
        type->answer(kernel, &request);
    } else if (kernel->failed || kernel->ended) {
        answer_failed(kernel, &request);
    } else if (enqueue(kernel, &kernel->queue, &request)) {
        rf_kernel_dispatch(kernel, now_us);
    }
}

static bool is_utf8(struct rf_bytes text)
{
    struct rf_buf clean = {0};
    rf_utf8_clean(text, true, &clean);
    bool same = rf_buf_ok(&clean) && rf_bytes_eq(rf_buf_bytes(&clean), text);
    rf_buf_deinit(&clean);
    return same;
}

void rf_kernel_on_subscribe(struct rf_kernel *kernel, struct rf_bytes topic)
{
    if (topic.len > SUBSCRIPTION_MAX || (topic.len && !is_utf8(topic)))
        return;
    struct rf_buf content = {0};
    rf_buf_add_str(&content, "{\"subscription\":");
    rf_json_encode(topic, &content);
    rf_buf_add_str(&content, "}");
    if (rf_buf_ok(&content))
        emit(kernel, (struct rf_wire_out){
                         .channel = RF_IOPUB,
                         .identities = &topic,
                         .n_identities = 1,
                         .msg_type = "iopub_welcome",
                         .content = rf_buf_bytes(&content),
                     });
    rf_buf_deinit(&content);
}

/* ---- the owner's events ---- */

void rf_kernel_answer_infos(struct rf_kernel *kernel)
{
    struct rf_request_queue waiting = kernel->info_queue;
    kernel->info_queue = (struct rf_request_queue){0};
    for (struct rf_request *request; (request = rf_request_queue_pop(&waiting));) {
        answer_kernel_info(kernel, request);
        rf_request_free(request);
    }
}

/* The running request gets its error, as do all that wait. */
static void fail_all(struct rf_kernel *kernel)
{
    rf_streams_finish(&kernel->streams);
    struct rf_request *running = rf_steal(&kernel->running);
    kernel->ordering = NULL;
    if (running) {
        struct rf_bytes words =
            rf_bytes_str(why_over(kernel, "the kernel was shut down while this ran"));
        struct rf_trouble trouble = {
            .ename = kernel->ended ? "KernelShutdown" : "KernelFailed",
            .evalue = words,
            .traceback = words,
        };
        rf_kernel_send_error(kernel, running, &trouble);
        rf_kernel_publish_idle(kernel, running);
        rf_request_free(running);
    }
    rf_kernel_answer_infos(kernel);
    fail_queue(kernel, &kernel->queue);
    fail_queue(kernel, &kernel->answers.asked);
}

bool rf_kernel_end(struct rf_kernel *kernel)
{
    if (kernel->ended)
        return false;
    rf_kernel_interrupt(kernel); /* so that the worker comes to read RF_MSG_EXIT */
    kernel->ended = true;
    fail_all(kernel);
    const char *parting = kernel->ops->parting ? kernel->ops->parting(kernel->ctx) : NULL;
    if (parting)
        rf_kernel_send_stream(kernel, RF_STDERR, rf_parents_resolve(&kernel->parents, 0),
                              rf_bytes_str(parting));
    return true;
}

void rf_kernel_on_failed(struct rf_kernel *kernel, const struct rf_error *why, int64_t now_us)
{
    kernel->failed = true;
    kernel->ready = false;
    kernel->failure = *why;
    if (!why->text[0]) {
        kernel->failure.code = 0;
        rf_error_set(&kernel->failure, -EIO, "no worker could be started");
    }
    fail_all(kernel);
}

void rf_kernel_interrupt(struct rf_kernel *kernel)
{
    if (kernel->running)
        kernel->ops->interrupt(kernel->ctx);
}

bool rf_kernel_is_busy(const struct rf_kernel *kernel)
{
    return kernel->running != NULL;
}

int64_t rf_kernel_deadline(const struct rf_kernel *kernel)
{
    int64_t text = rf_streams_deadline(&kernel->streams);
    int64_t limit = rf_kernel_limits_deadline(kernel);
    int64_t answer = rf_kernel_answers_deadline(kernel);
    int64_t first = text < limit ? text : limit;
    return first < answer ? first : answer;
}

void rf_kernel_on_time(struct rf_kernel *kernel, int64_t now_us)
{
    if (now_us >= rf_streams_deadline(&kernel->streams))
        rf_streams_flush(&kernel->streams);
    rf_kernel_answers_on_time(kernel, now_us);
    rf_kernel_limits_on_time(kernel, now_us);
}
