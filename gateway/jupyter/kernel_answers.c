/* What a client may ask while a cell runs: complete, inspect, is_complete.
 *
 * A checkpoint answers in the worker's place, in a process that is thrown away; the
 * owner knows how (ops->answer).  A cell gets RF_ANSWER_PATIENCE_US first: if it ends within
 * that time, the worker itself answers, in order and from the newest state.  Where nobody
 * can be asked, or does not answer, nothing was found.
 */
#include "common/json.h"
#include "gateway/jupyter/kernel_impl.h"

static void add_no_matches(const struct rf_request *request, struct rf_buf *to)
{
    struct rf_json_member cursor = {"cursor_pos", {0}};
    int64_t at;
    if (rf_json_object(request->content, &cursor, 1) || !rf_json_i64(cursor.value, &at) || at < 0)
        at = 0;
    rf_buf_printf(to,
                  "{\"status\":\"ok\",\"matches\":[],\"cursor_start\":%lld,\"cursor_end\":%lld,"
                  "\"metadata\":{}}",
                  (long long)at, (long long)at);
}

static void add_not_found(const struct rf_request *request, struct rf_buf *to)
{
    (void)request;
    rf_buf_add_str(to, "{\"status\":\"ok\",\"found\":false,\"data\":{},\"metadata\":{}}");
}

static void add_unknown(const struct rf_request *request, struct rf_buf *to)
{
    (void)request;
    rf_buf_add_str(to, "{\"status\":\"unknown\"}");
}

static const struct answerable {
    const char *type;
    void (*add_nothing)(const struct rf_request *request, struct rf_buf *to);
} answerables[] = {
    {"complete_request", add_no_matches},
    {"inspect_request", add_not_found},
    {"is_complete_request", add_unknown},
};

/* NULL: it waits for the worker. */
static const struct answerable *find_answerable(const struct rf_request *request)
{
    for (size_t i = 0; i < sizeof(answerables) / sizeof(*answerables); i++)
        if (!strcmp(request->type->name, answerables[i].type))
            return &answerables[i];
    return NULL;
}

static void answer_nothing(struct rf_kernel *kernel, const struct rf_request *request)
{
    struct rf_buf content = {0};
    find_answerable(request)->add_nothing(request, &content);
    rf_kernel_answer_with(kernel, request, rf_reply_content(&content));
    rf_buf_deinit(&content);
}

/* --- to the checkpoint --- */

static bool is_behind_cell(const struct rf_kernel *kernel)
{
    return kernel->running && kernel->running->type->owns_output;
}

/* At once behind a cell that has run for so long already. */
static int64_t due(const struct rf_kernel *kernel, const struct rf_request *request)
{
    if (!find_answerable(request))
        return INT64_MAX;
    int64_t ready = kernel->answers.ready_us;
    int64_t came = request->came_us > ready ? request->came_us : ready;
    int64_t started = kernel->running ? kernel->running->started_us : came;
    int64_t end = (started < came ? started : came) + RF_ANSWER_PATIENCE_US;
    return end > came ? end : came;
}

static void ask(struct rf_kernel *kernel, struct rf_request *request)
{
    struct rf_bytes parts[RF_KERNEL_REQUEST_PARTS] = {rf_bytes_str(request->type->name),
                                                      RF_BYTES("0"), request->header,
                                                      request->metadata, request->content};
    request->id = ++kernel->answers.last_id;
    rf_request_queue_push(&kernel->answers.asked, request);
    if (!kernel->ops->answer ||
        !kernel->ops->answer(kernel->ctx, request->id, parts, RF_KERNEL_REQUEST_PARTS))
        rf_kernel_on_answer(kernel, request->id, NULL);
}

void rf_kernel_answers_wait(struct rf_kernel *kernel, struct rf_request *request)
{
    int64_t when = due(kernel, request);
    if (when < kernel->answers.due_us || !kernel->answers.due_us)
        kernel->answers.due_us = when;
}

int64_t rf_kernel_answers_deadline(const struct rf_kernel *kernel)
{
    return is_behind_cell(kernel) && kernel->answers.due_us ? kernel->answers.due_us : INT64_MAX;
}

void rf_kernel_answers_on_time(struct rf_kernel *kernel, int64_t now_us)
{
    struct rf_request_queue waiting = kernel->queue, asking = {0};
    if (now_us < rf_kernel_answers_deadline(kernel))
        return;
    kernel->queue = (struct rf_request_queue){0};
    kernel->answers.due_us = INT64_MAX;
    for (struct rf_request *request; (request = rf_request_queue_pop(&waiting));) {
        if (due(kernel, request) <= now_us) {
            rf_request_queue_push(&asking, request);
            continue;
        }
        rf_kernel_answers_wait(kernel, request);
        rf_request_queue_push(&kernel->queue, request);
    }
    for (struct rf_request *request; (request = rf_request_queue_pop(&asking));) {
        if (asking.n < RF_ANSWERS_MAX) {
            ask(kernel, request);
            continue;
        }
        answer_nothing(kernel, request); /* the newer ones would end it at once */
        rf_request_free(request);
    }
}

/* --- from it --- */

static struct rf_request *take_asked(struct rf_kernel *kernel, uint64_t id)
{
    struct rf_request_queue rest = {0};
    struct rf_request *found = NULL;
    for (struct rf_request *request; (request = rf_request_queue_pop(&kernel->answers.asked));)
        if (request->id == id)
            found = request;
        else
            rf_request_queue_push(&rest, request);
    kernel->answers.asked = rest;
    return found;
}

static bool is_answer(const struct rf_frame *frame)
{
    struct rf_json_member status = {"status", {0}};
    return frame && frame->n_parts && !rf_json_object(frame->parts[0], &status, 1) &&
           rf_json_is_string(status.value);
}

void rf_kernel_on_answer(struct rf_kernel *kernel, uint64_t id, const struct rf_frame *frame)
{
    struct rf_request *request = take_asked(kernel, id);
    if (!request)
        return; /* it was answered when the kernel ended */
    if (is_answer(frame))
        rf_kernel_answer_with(kernel, request, frame->parts[0]);
    else
        answer_nothing(kernel, request);
    rf_request_free(request);
}
