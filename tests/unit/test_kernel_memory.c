/* gateway/jupyter/kernel: without memory it still answers.
 *
 * One script is run again and again, and each time one allocation more is let
 * through before one, or all from there on, fail.  Every request still gets
 * busy, its reply and idle.  Linked with malloc, calloc and realloc wrapped.
 */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdlib.h>

#include "gateway/jupyter/kernel.h"

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);

static long allocations_left = -1; /* -1: no limit */
static bool all_fail;              /* from the first failure on */
static bool has_failed;

static bool fails(void)
{
    if (allocations_left < 0)
        return false;
    if (allocations_left > 0) {
        allocations_left--;
        return false;
    }
    has_failed = true;
    if (!all_fail)
        allocations_left = -1;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

struct seen {
    int busy, idle, replies;
    uint64_t with_worker; /* 0: nothing */
};

static bool contains(struct rf_bytes bytes, const char *text)
{
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

static void on_send(void *ctx, const struct rf_wire_out *out)
{
    struct seen *seen = ctx;
    assert_true(out->content.len >= 2);
    if (out->channel == RF_SHELL)
        seen->replies++;
    else if (!strcmp(out->msg_type, "status") && contains(out->content, "busy"))
        seen->busy++;
    else if (!strcmp(out->msg_type, "status") && contains(out->content, "idle"))
        seen->idle++;
    if (out->channel == RF_SHELL)
        assert_true(contains(out->content, "\"status\":\""));
}

static void on_worker(void *ctx, uint8_t type, uint64_t id, const struct rf_bytes *parts, size_t n)
{
    struct seen *seen = ctx;
    seen->with_worker = id;
}

static void on_interrupt(void *ctx)
{
}

static void on_shutdown(void *ctx, bool restart)
{
}

static void on_rested(void *ctx, int64_t run_us, size_t waiting)
{
}

static void on_flush(void *ctx)
{
}

static const struct rf_kernel_ops ops = {
    .send = on_send,
    .worker = on_worker,
    .interrupt = on_interrupt,
    .shutdown = on_shutdown,
    .rested = on_rested,
    .flush = on_flush,
};

static void ask(struct rf_kernel *kernel, const char *type, const char *content)
{
    struct rf_wire_in in = {
        .header = RF_BYTES("{\"msg_id\":\"1\"}"),
        .metadata = RF_BYTES("{}"),
        .content = rf_bytes_str(content),
        .msg_type = rf_bytes_str(type),
    };
    rf_kernel_on_message(kernel, RF_SHELL, &in, 1);
}

static int say(struct rf_kernel *kernel, uint8_t type, uint64_t id, const char *const texts[4],
               size_t n)
{
    struct rf_bytes parts[4];
    for (size_t i = 0; i < n; i++)
        parts[i] = rf_bytes_str(texts[i]);
    struct rf_frame frame = {.type = type, .request_id = id, .parts = parts, .n_parts = n};
    return rf_kernel_on_worker(kernel, &frame, 2);
}

static void reply(struct rf_kernel *kernel, struct seen *seen, const char *content)
{
    uint64_t id = seen->with_worker;
    seen->with_worker = 0;
    if (id)
        say(kernel, RF_MSG_REPLY, id, (const char *const[]){content, "{}", "s", "o"}, 4);
}

#define EXECUTE "\"execute_request\""
#define REQUESTS 9

static void script(struct rf_kernel *kernel, struct seen *seen)
{
    struct rf_death death = {.wait_status = 11, .traceback = RF_BYTES("Fatal \xff\n")};
    const struct rf_error why = {-EIO, "out of memory"};
    const char *const hello[4] = {"2", "{\"banner\":\"caf\xc3\xa9\"}"};
    const char *const open[4] = {"comm_open", "", "{}", "{\"comm_id\":\"x\xc3\xa9\"}"};
    ask(kernel, "\"kernel_info_request\"", "{}");
    say(kernel, RF_MSG_HELLO, 1, hello, 2);
    rf_kernel_on_subscribe(kernel, RF_BYTES("topic"));
    ask(kernel, EXECUTE, "{\"code\":\"caf\xc3\xa9\\n\"}");
    say(kernel, RF_MSG_STREAM, 1, (const char *const[4]){"stdout", "text \xff"}, 2);
    say(kernel, RF_MSG_PUBLISH, 1, open, 4);
    rf_kernel_on_pipe(kernel, 1, RF_BYTES("half \xc3"), 2);
    rf_kernel_on_pipe(kernel, 1, RF_BYTES("\xa9 whole"), 2);
    ask(kernel, "\"history_request\"", "{\"hist_access_type\":\"tail\",\"n\":3}");
    reply(kernel, seen, "{\"status\":\"ok\"}");
    ask(kernel, EXECUTE, "{\"code\":\"b\"}");
    ask(kernel, EXECUTE, "{\"code\":\"c\"}");
    ask(kernel, "\"connect_request\"", "{}");
    ask(kernel, "\"usage_request\"", "{}");
    rf_kernel_on_dead(kernel, &death, 3);
    seen->with_worker = 0;
    say(kernel, RF_MSG_HELLO, 2, hello, 2);
    ask(kernel, EXECUTE, "{\"code\":7}");
    ask(kernel, "\"complete_request\"", "{}");
    rf_kernel_on_failed(kernel, &why, 4);
}

static bool run(long allocations)
{
    struct seen seen = {0};
    struct rf_kernel_options options = {.kernel_id = "k", .history_cells = 4};
    has_failed = false;
    allocations_left = allocations;
    struct rf_kernel *kernel = rf_kernel_new(&options, &ops, &seen);
    if (kernel)
        script(kernel, &seen);
    allocations_left = -1;
    if (kernel && (seen.replies != REQUESTS || seen.idle != REQUESTS || seen.busy < REQUESTS))
        fail_msg("after %ld allocations: %d busy, %d replies, %d idle", allocations, seen.busy,
                 seen.replies, seen.idle);
    rf_kernel_free(kernel);
    return has_failed;
}

static void one_allocation_fails(void **state)
{
    long n = 0;
    all_fail = false;
    while (run(n))
        n++;
    assert_true(n > 30);
}

static void all_allocations_fail(void **state)
{
    long n = 0;
    all_fail = true;
    while (run(n))
        n++;
    assert_true(n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_allocation_fails),
        cmocka_unit_test(all_allocations_fail),
    };
    return TESTS(tests);
}
