/* Limits of a kernel as its clients see them: output and time.
 *
 * Times are checked when the owner calls rf_kernel_on_time(); output where it
 * comes from the worker (kernel_worker.c).  See limit.h.
 */
#include <stdio.h>

#include "gateway/jupyter/kernel_impl.h"

static void tell(struct rf_kernel *kernel, uint64_t parent, const char *what, const char *words)
{
    char text[RF_LIMIT_WORDS_MAX + 128];
    snprintf(text, sizeof(text), "\n[ringfence] %s %s\n", what, words);
    rf_streams_flush(&kernel->streams);
    rf_kernel_send_stream(kernel, RF_STDERR, parent, rf_bytes_str(text));
}

static void tell_notice(struct rf_kernel *kernel, const char *notice)
{
    tell(kernel, kernel->running->id, "", notice);
}

/* --- output --- */

void rf_kernel_limits_begin(struct rf_kernel *kernel, const struct rf_request *request)
{
    const struct rf_limits *limits = &kernel->options.limits;
    struct rf_kernel_watch *watch = &kernel->watch;
    int64_t own = request->cell.timeout_us;
    bool by_request = own && (!limits->cell_us || own < limits->cell_us);
    watch->output = 0;
    watch->cut = watch->interrupted = false;
    watch->by_request = by_request;
    watch->allowed_us = by_request ? own : limits->cell_us;
    watch->deadline_us = watch->allowed_us ? request->started_us + watch->allowed_us : INT64_MAX;
}

static void tell_cut(struct rf_kernel *kernel, uint64_t parent)
{
    char value[32], words[RF_LIMIT_WORDS_MAX];
    rf_limit_bytes(value, sizeof(value), kernel->options.limits.output_bytes);
    rf_limit_words(words, "output_bytes", value, kernel->options.limits.profile);
    tell(kernel, parent, "output is cut here by", words);
}

size_t rf_kernel_output_room(struct rf_kernel *kernel, uint64_t parent, size_t n, bool whole)
{
    struct rf_kernel_watch *watch = &kernel->watch;
    uint64_t most = kernel->options.limits.output_bytes;
    if (!most)
        return n;
    uint64_t left = watch->cut ? 0 : most - watch->output;
    if (n <= left) {
        watch->output += n;
        return n;
    }
    size_t part = whole ? 0 : (size_t)left;
    watch->cut_at = watch->cut ? watch->cut_at : parent;
    watch->tell_cut = !watch->cut;
    watch->cut = true;
    return part;
}

void rf_kernel_output_done(struct rf_kernel *kernel)
{
    if (!kernel->watch.tell_cut)
        return;
    kernel->watch.tell_cut = false;
    tell_cut(kernel, kernel->watch.cut_at);
}

/* --- time --- */

static void words_for_time(const struct rf_kernel *kernel, char words[RF_LIMIT_WORDS_MAX])
{
    char value[32];
    rf_limit_time(value, sizeof(value), kernel->watch.allowed_us);
    if (kernel->watch.by_request)
        snprintf(words, RF_LIMIT_WORDS_MAX, "timeout_s (%s) of the request's metadata", value);
    else
        rf_limit_words(words, "cell_time", value, kernel->options.limits.profile);
}

static bool cell_runs(const struct rf_kernel *kernel)
{
    return kernel->running && kernel->running->type->is_cell;
}

static void end_cell(struct rf_kernel *kernel, int64_t now_us)
{
    struct rf_kernel_watch *watch = &kernel->watch;
    char words[RF_LIMIT_WORDS_MAX];
    words_for_time(kernel, words);
    if (!watch->interrupted) {
        tell(kernel, kernel->running->id, "the cell is interrupted by", words);
        watch->interrupted = true;
        watch->deadline_us = now_us + RF_CELL_GRACE_US;
        kernel->ops->interrupt(kernel->ctx);
    } else {
        watch->deadline_us = INT64_MAX;
        kernel->ops->kill(kernel->ctx, words);
    }
}

static int64_t idle_deadline(const struct rf_kernel *kernel)
{
    int64_t most = kernel->options.limits.idle_us;
    if (!most || kernel->running || kernel->queue.n)
        return INT64_MAX;
    return most + (kernel->watch.active_us ? kernel->watch.active_us
                                           : kernel->options.limits.born_us);
}

static int64_t life_deadline(const struct rf_kernel *kernel)
{
    const struct rf_limits *limits = &kernel->options.limits;
    return limits->life_us ? limits->since_us + limits->life_us : INT64_MAX;
}

int64_t rf_kernel_limits_deadline(const struct rf_kernel *kernel)
{
    if (kernel->ended)
        return INT64_MAX;
    int64_t first = cell_runs(kernel) ? kernel->watch.deadline_us : INT64_MAX;
    int64_t idle = idle_deadline(kernel), life = life_deadline(kernel);
    first = idle < first ? idle : first;
    return life < first ? life : first;
}

/* The kernel ends as if it had been shut down; the owner may free it then. */
static void end_kernel(struct rf_kernel *kernel, const char *key, int64_t us)
{
    char value[32], words[RF_LIMIT_WORDS_MAX];
    rf_limit_time(value, sizeof(value), us);
    rf_limit_words(words, key, value, kernel->options.limits.profile);
    tell(kernel, rf_parents_resolve(&kernel->parents, 0), "this kernel ends by", words);
    snprintf(kernel->end_reason, sizeof(kernel->end_reason), "the kernel was ended by %s", words);
    if (!rf_kernel_end(kernel))
        return;
    rf_kernel_publish(kernel, (struct rf_bytes){0},
                      (struct rf_wire_out){
                          .msg_type = "shutdown_reply",
                          .content = RF_BYTES("{\"status\":\"ok\",\"restart\":false}"),
                      });
    kernel->ops->shutdown(kernel->ctx, false);
}

void rf_kernel_limits_on_time(struct rf_kernel *kernel, int64_t now_us)
{
    const struct rf_limits *limits = &kernel->options.limits;
    if (kernel->ended)
        return;
    if (now_us >= life_deadline(kernel))
        end_kernel(kernel, "lifetime", limits->life_us);
    else if (now_us >= idle_deadline(kernel))
        end_kernel(kernel, "idle_time", limits->idle_us);
    else if (cell_runs(kernel) && now_us >= kernel->watch.deadline_us)
        end_cell(kernel, now_us);
}

/* --- what only the owner can know --- */

void rf_kernel_limits_ended(struct rf_kernel *kernel)
{
    const char *notice = kernel->ops->notice ? kernel->ops->notice(kernel->ctx) : NULL;
    if (notice && cell_runs(kernel))
        tell_notice(kernel, notice);
}

void rf_kernel_limit_idle(struct rf_kernel *kernel, int64_t idle_us, int64_t now_us)
{
    int64_t *limit = &kernel->options.limits.idle_us;
    if (!*limit || idle_us < *limit)
        *limit = idle_us;
    kernel->watch.active_us = now_us;
}
