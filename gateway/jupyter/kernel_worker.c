/* The worker's side of the kernel: its messages, its output, its death.
 *
 * Nothing in here trusts what it is given: a type, number, id or JSON text
 * that breaks a rule is -EPROTO, and the owner ends that worker.  See
 * kernel.h and include/ringfence/worker.h.
 */
#include <errno.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/kernel_impl.h"

#define INFO_MAX (1u << 20)       /* HELLO's JSON */
#define WORKER_TOPIC_MAX 255u     /* a topic of the worker's own choice */
#define PID_MAX_VALUE 0x7fffffffu

/* ---- output ---- */

void rf_kernel_send_stream(void *ctx, enum rf_stream stream, uint64_t parent, struct rf_bytes text)
{
    static const char *const topics[RF_STREAMS] = {"stream.stdout", "stream.stderr"};
    struct rf_kernel *kernel = ctx;
    struct rf_buf content = {0};
    rf_reply_stream(&content, rf_stream_names[stream], text);
    rf_kernel_publish(kernel, rf_bytes_str(topics[stream]),
                      (struct rf_wire_out){
                          .msg_type = "stream",
                          .parent = rf_parents_header(&kernel->parents, parent),
                          .content = rf_reply_content(&content),
                      });
    rf_buf_deinit(&content);
}

void rf_kernel_on_pipe(struct rf_kernel *kernel, int fd, struct rf_bytes bytes, int64_t now_us)
{
    uint64_t parent = rf_parents_resolve(&kernel->parents, 0);
    bytes.len = rf_kernel_output_room(kernel, parent, bytes.len, false);
    rf_streams_pipe(&kernel->streams, fd == 2 ? RF_STDERR : RF_STDOUT, parent, bytes, now_us);
    rf_kernel_output_done(kernel);
}

static int on_stream(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    for (int i = 0; i < RF_STREAMS; i++)
        if (rf_bytes_is(frame->parts[0], rf_stream_names[i])) {
            uint64_t parent = rf_parents_resolve(&kernel->parents, frame->request_id);
            struct rf_bytes text = frame->parts[1];
            size_t n = rf_kernel_output_room(kernel, parent, text.len, false);
            while (n < text.len && n && (text.data[n] & 0xc0) == 0x80)
                n--; /* not inside a character */
            text.len = n;
            rf_streams_text(&kernel->streams, (enum rf_stream)i, parent, text, now_us);
            rf_kernel_output_done(kernel);
            return 0;
        }
    return -EPROTO;
}

/* What a worker may publish.  stream and status have their own ways. */
struct publish_type {
    const char *name;
    const char *topic; /* NULL: kernel.<id>.<name> */
    void (*on_comm)(struct rf_comms *comms, struct rf_bytes id);
    bool is_comm; /* its topic is comm-<id> */
    bool is_output; /* counts to output_bytes; what clients keep a state by never does */
};

static const struct publish_type publish_types[] = {
    {"display_data", "display_data", NULL, false, true},
    {"update_display_data", "display_data", NULL, false, true},
    {"execute_result", NULL, NULL, false, true},
    {"error", NULL, NULL, false, false},
    {"clear_output", NULL, NULL, false, false},
    {"debug_event", NULL, NULL, false, false},
    {"comm_open", NULL, rf_comms_open, true, false},
    {"comm_msg", NULL, NULL, true, true},
    {"comm_close", NULL, rf_comms_close, true, false},
};

static const struct publish_type *find_publish_type(struct rf_bytes name)
{
    for (size_t i = 0; i < sizeof(publish_types) / sizeof(*publish_types); i++)
        if (rf_bytes_is(name, publish_types[i].name))
            return &publish_types[i];
    return NULL;
}

/* Follows the comm and makes its topic, empty if there is no short one. */
static void note_comm(struct rf_kernel *kernel, const struct publish_type *type,
                      struct rf_bytes comm_id, struct rf_buf *topic)
{
    rf_buf_add_str(topic, "comm-");
    bool named = rf_json_decode(comm_id, topic) && rf_buf_ok(topic);
    if (named && type->on_comm)
        type->on_comm(&kernel->comms, (struct rf_bytes){topic->data + 5, topic->len - 5});
    if (!named || topic->len > WORKER_TOPIC_MAX)
        topic->len = 0;
}

static size_t size_of(const struct rf_frame *frame)
{
    size_t size = 0;
    for (size_t i = 0; i < frame->n_parts; i++)
        size += frame->parts[i].len;
    return size;
}

static int on_publish(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    enum { TYPE, TOPIC, METADATA, CONTENT, BUFFERS };
    const struct publish_type *type = find_publish_type(frame->parts[TYPE]);
    struct rf_json_member comm_id = {"comm_id", {0}};
    RF_AUTO(rf_buf_deinit) struct rf_buf comm_topic = {0};
    if (!type || rf_json_object(frame->parts[METADATA], NULL, 0) ||
        rf_json_object(frame->parts[CONTENT], &comm_id, 1))
        return -EPROTO;
    if (type->is_comm)
        note_comm(kernel, type, comm_id.value, &comm_topic);
    struct rf_bytes topic = frame->parts[TOPIC];
    if (!topic.len || topic.len > WORKER_TOPIC_MAX)
        topic = type->is_comm ? rf_buf_bytes(&comm_topic) : rf_bytes_str(type->topic);
    rf_streams_flush(&kernel->streams);
    uint64_t parent = rf_parents_resolve(&kernel->parents, frame->request_id);
    size_t size = size_of(frame);
    if (type->is_output && rf_kernel_output_room(kernel, parent, size, true) != size) {
        rf_kernel_output_done(kernel);
        return 0;
    }
    rf_kernel_publish(kernel, topic,
                      (struct rf_wire_out){
                          .msg_type = type->name,
                          .parent = rf_parents_header(&kernel->parents, parent),
                          .metadata = frame->parts[METADATA],
                          .content = frame->parts[CONTENT],
                          .buffers = frame->parts + BUFFERS,
                          .n_buffers = frame->n_parts - BUFFERS,
                      });
    return 0;
}

/* ---- requests ---- */

static int on_input_request(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    struct rf_request *running = kernel->running;
    if (kernel->ended)
        return 0; /* its request was answered at shutdown */
    if (!running || running->id != frame->request_id || !running->type->is_cell ||
        !running->cell.allow_stdin || rf_json_object(frame->parts[0], NULL, 0))
        return -EPROTO;
    rf_streams_flush(&kernel->streams);
    running->asking = true;
    rf_kernel_send(kernel, running, RF_STDIN,
                   (struct rf_wire_out){.msg_type = "input_request", .content = frame->parts[0]});
    return 0;
}

/* Remembers what a cell did, for the history and for a death. */
static void note_answered(struct rf_kernel *kernel, const struct rf_request *request,
                          struct rf_bytes source, struct rf_bytes output)
{
    if (!request->type->is_cell)
        return;
    if (!request->in_state)
        rf_losses_answered(&kernel->losses, &request->cell);
    if (request->cell.store_history) /* best effort: without memory the cell has no output */
        rf_history_output(kernel->history, request->cell.count, source, output);
}

static bool aborts_others(const struct rf_request *request)
{
    return request->type->is_cell && !request->cell.silent && request->cell.stop_on_error;
}

static int on_reply(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    enum { CONTENT, METADATA, SOURCE, OUTPUT, BUFFERS };
    enum { STATUS, PAYLOAD, MEMBERS };
    struct rf_json_member members[MEMBERS] = {[STATUS] = {"status", {0}},
                                              [PAYLOAD] = {"payload", {0}}};
    if (kernel->ended)
        return 0; /* it was answered at shutdown */
    if (!kernel->running || frame->request_id != kernel->running->id || kernel->ordering ||
        kernel->running->type->turn || rf_json_object(frame->parts[CONTENT], members, MEMBERS) ||
        !rf_json_is_string(members[STATUS].value))
        return -EPROTO;
    rf_kernel_limits_ended(kernel);
    struct rf_request *request = rf_steal(&kernel->running);
    kernel->watch.active_us = now_us;
    rf_streams_finish(&kernel->streams);
    bool valid = !rf_json_object(frame->parts[METADATA], NULL, 0);
    if (request->type->reply)
        rf_kernel_send(kernel, request, request->channel,
                       (struct rf_wire_out){
                           .msg_type = request->type->reply,
                           .metadata = valid ? frame->parts[METADATA] : (struct rf_bytes){0},
                           .content = frame->parts[CONTENT],
                           .buffers = frame->parts + BUFFERS,
                           .n_buffers = frame->n_parts - BUFFERS,
                       });
    kernel->ops->flush(kernel->ctx);
    note_answered(kernel, request, frame->parts[SOURCE], frame->parts[OUTPUT]);
    rf_kernel_publish_idle(kernel, request);
    if (aborts_others(request) && rf_json_string_is(members[STATUS].value, "error"))
        rf_kernel_abort_cells(kernel);
    bool is_cell = request->type->is_cell;
    bool at_risk = is_cell && !request->in_state;
    int64_t run_us = at_risk && now_us > request->started_us ? now_us - request->started_us : 0;
    rf_request_free(request);
    if (is_cell && rf_reply_asks_exit(members[PAYLOAD].value) && rf_kernel_end(kernel)) {
        kernel->ops->shutdown(kernel->ctx, false); /* the owner may free the kernel */
        return 0;
    }
    kernel->ops->flush(kernel->ctx);
    kernel->ops->rested(kernel->ctx, run_us, kernel->queue.n);
    rf_kernel_dispatch(kernel, now_us);
    return 0;
}

/* ---- life and death of a worker ---- */

static int on_hello(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    uint64_t pid;
    struct rf_bytes json = frame->parts[1];
    if (kernel->ready || !rf_bytes_u64(frame->parts[0], &pid) || !pid || pid > PID_MAX_VALUE ||
        json.len > INFO_MAX || rf_json_object(json, NULL, 0))
        return -EPROTO;
    struct rf_buf info = {0};
    rf_buf_add_bytes(&info, json);
    if (!rf_buf_ok(&info))
        return -ENOMEM;
    rf_buf_deinit(&kernel->info);
    kernel->info = info;
    kernel->ready = true;
    kernel->answers.ready_us = now_us;
    kernel->failed = false;
    rf_kernel_answer_infos(kernel);
    if (!kernel->ended)
        rf_kernel_dispatch(kernel, now_us);
    return 0;
}

struct worker_message {
    uint8_t type;
    size_t least, most; /* parts */
    bool early;         /* allowed before HELLO */
    int (*on)(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us);
};

static const struct worker_message worker_messages[] = {
    {RF_MSG_HELLO, 2, 2, true, on_hello},
    {RF_MSG_REPLY, 4, RF_WORKER_PARTS_MAX, false, on_reply},
    {RF_MSG_PUBLISH, 4, RF_WORKER_PARTS_MAX, false, on_publish},
    {RF_MSG_STREAM, 2, 2, true, on_stream},
    {RF_MSG_INPUT_REQUEST, 1, 1, false, on_input_request},
    {RF_MSG_ORDER, 3, 3, false, rf_kernel_on_order},
};

int rf_kernel_on_worker(struct rf_kernel *kernel, const struct rf_frame *frame, int64_t now_us)
{
    for (size_t i = 0; i < sizeof(worker_messages) / sizeof(*worker_messages); i++) {
        const struct worker_message *message = &worker_messages[i];
        if (message->type != frame->type)
            continue;
        if (frame->n_parts < message->least || frame->n_parts > message->most ||
            (!kernel->ready && !message->early))
            return -EPROTO;
        return message->on(kernel, frame, now_us);
    }
    return -EPROTO;
}

struct rf_kernel_mark rf_kernel_on_checkpoint(struct rf_kernel *kernel, bool in_cell)
{
    struct rf_request *running = kernel->running;
    if (in_cell && running && running->type->is_cell && !running->in_state) {
        running->in_state = true;
        rf_losses_answered(&kernel->losses, &running->cell);
    }
    struct rf_losses *losses = &kernel->losses;
    losses->at.count = kernel->count;
    if (running && running->type->is_cell && !in_cell && running->cell.store_history)
        losses->at.count--;
    losses->at.comms = running && !in_cell ? running->comms_mark : kernel->comms.opened;
    rf_losses_saved(losses);
    return losses->at;
}

int64_t rf_kernel_undone(const struct rf_kernel *kernel, const struct rf_kernel_mark *mark)
{
    return rf_losses_undone(&kernel->losses, mark);
}

void rf_kernel_close_comms(struct rf_kernel *kernel, uint64_t mark, struct rf_bytes parent)
{
    struct rf_buf id = {0}, content = {0}, topic = {0};
    while (id.len = content.len = topic.len = 0, rf_comms_take(&kernel->comms, mark, &id)) {
        rf_buf_add_str(&topic, "comm-");
        rf_buf_add_bytes(&topic, rf_buf_bytes(&id));
        rf_reply_comm_close(&content, rf_buf_bytes(&id));
        if (!rf_buf_ok(&id) || !rf_buf_ok(&topic) || !rf_buf_ok(&content))
            break; /* no memory: the clients find out when they use the comm */
        rf_kernel_publish(kernel, rf_buf_bytes(&topic),
                          (struct rf_wire_out){
                              .msg_type = "comm_close",
                              .parent = parent,
                              .content = rf_buf_bytes(&content),
                          });
    }
    rf_buf_deinit(&id);
    rf_buf_deinit(&content);
    rf_buf_deinit(&topic);
}

/* The request that the death hit gets its error and its idle. */
static void answer_dead(struct rf_kernel *kernel, const struct rf_request *request,
                        const struct rf_report *report)
{
    struct rf_trouble trouble = {
        .ename = "WorkerDied",
        .evalue = rf_buf_bytes(&report->headline),
        .traceback = rf_buf_bytes(&report->lines),
    };
    rf_kernel_send_error(kernel, request, &trouble);
    rf_kernel_publish_idle(kernel, request);
}

static void tell_death(struct rf_kernel *kernel, const struct rf_death *death,
                       const struct rf_request *request)
{
    uint64_t newest = rf_parents_resolve(&kernel->parents, 0);
    struct rf_bytes parent =
        request ? request->header : rf_parents_header(&kernel->parents, newest);
    struct rf_report report;
    rf_losses_report(&kernel->losses, death, request, &report);
    rf_kernel_close_comms(kernel, death->resumed ? death->mark.comms : 0, parent);
    if (!request || !request->type->is_cell) /* no cell's error shows it */
        rf_kernel_send_stream(kernel, RF_STDERR, newest, rf_buf_bytes(&report.lines));
    if (request)
        answer_dead(kernel, request, &report);
    rf_report_deinit(&report);
}

void rf_kernel_on_lost(struct rf_kernel *kernel)
{
    kernel->ready = false;
}

void rf_kernel_on_dead(struct rf_kernel *kernel, const struct rf_death *death, int64_t now_us)
{
    rf_streams_finish(&kernel->streams);
    kernel->ready = false;
    kernel->ordering = NULL;
    if (kernel->ended)
        return;
    struct rf_request *request = rf_steal(&kernel->running);
    tell_death(kernel, death, request);
    rf_losses_go_back(&kernel->losses, death->resumed ? &death->mark : NULL, request);
    if (request && aborts_others(request))
        rf_kernel_abort_cells(kernel);
    rf_request_free(request);
}
