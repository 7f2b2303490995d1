/* See session.h. */
#include "gateway/cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "gateway/cli/branches.h"

enum { INTERRUPT, TERMINATE, CHILD, SIGNALS };

struct session {
    uv_loop_t *loop;
    struct rf_session_options *options; /* borrowed */
    struct rf_served *kernel;           /* NULL once it has ended */
    struct rf_branches *branches;       /* owned */
    uv_timer_t detach;
    uv_signal_t signals[SIGNALS];
    uv_poll_t parent; /* a pidfd of the process that started us */
    int parent_fd;
    struct rf_error error;
};

static void stop(struct session *s)
{
    if (s->kernel)
        rf_served_stop(s->kernel);
    rf_branches_stop(s->branches);
}

/* --- the loop's other events --- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *s = handle->data;
    if (number == SIGINT && s->kernel)
        rf_served_interrupt(s->kernel);
    else if (number == SIGTERM)
        stop(s);
    else
        while (waitpid(-1, NULL, WNOHANG) > 0) /* zygotes that we started */
            ;
}

static void on_parent_end(uv_poll_t *poll, int status, int events)
{
    struct session *s = poll->data;
    uv_poll_stop(poll);
    rf_log(RF_LOG_WARN, "session", "the process that started this kernel has ended");
    stop(s);
}

/* Clients put their pid into JPY_PARENT_PID so that a kernel ends with them. */
static void watch_parent(struct session *s)
{
    const char *text = getenv("JPY_PARENT_PID");
    char *end = NULL;
    long pid = text ? strtol(text, &end, 10) : 0;
    s->parent_fd = -1;
    if (pid <= 1 || *end || pid != getppid())
        return;
    s->parent_fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (s->parent_fd >= 0 && !uv_poll_init(s->loop, &s->parent, s->parent_fd)) {
        s->parent.data = s;
        uv_poll_start(&s->parent, UV_READABLE, on_parent_end);
    }
}

static void start_handles(struct session *s)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGCHLD};
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(s->loop, &s->detach);
    s->detach.data = s;
    watch_parent(s);
}

static void close_handles(struct session *s)
{
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->detach, NULL);
    if (s->parent_fd >= 0 && !uv_is_closing((uv_handle_t *)&s->parent))
        uv_close((uv_handle_t *)&s->parent, NULL);
}

/* --- its kernels --- */

static void on_failed(void *ctx, const struct rf_error *why)
{
    struct session *s = ctx;
    rf_error_set(&s->error, why->code ? why->code : -EIO, "%s", why->text);
}

/* The client that has shut the kernel down waits for this process to end, and kills it after
 * a few seconds.  So the branches go on in a child, which has all that this one has. */
static void on_detach(uv_timer_t *timer)
{
    struct session *s = timer->data;
    int ready[2] = {-1, -1}; /* closed by the child as the heir: until then the cgroups are ours */
    char none;
    pid_t child = pipe2(ready, O_CLOEXEC) ? -1 : fork();
    if (child > 0) {
        close(ready[1]);
        while (read(ready[0], &none, 1) < 0 && errno == EINTR)
            ;
        _exit(0);
    }
    if (child < 0 || uv_loop_fork(s->loop)) {
        rf_log(RF_LOG_ERROR, "session", "the branches could not be kept: %s", strerror(errno));
        rf_closep(&ready[0]);
        rf_closep(&ready[1]);
        stop(s);
        return;
    }
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    close(null);
    rf_branches_inherit(s->branches);
    close(ready[0]);
    close(ready[1]);
}

static void keep_branches(struct session *s)
{
    if (s->parent_fd >= 0)
        uv_close((uv_handle_t *)&s->parent, NULL);
    rf_branches_orphan(s->branches);
    uv_timer_start(&s->detach, on_detach, 0, 0);
}

static void on_ended(void *ctx, struct rf_served *served)
{
    struct session *s = ctx;
    s->kernel = NULL;
    if (rf_branches_count(s->branches))
        keep_branches(s);
    else
        close_handles(s);
}

static void on_no_branches(void *ctx)
{
    struct session *s = ctx;
    if (!s->kernel)
        close_handles(s);
}

static struct rf_served *on_branch(void *ctx, uint64_t count, struct rf_buf *to,
                                   struct rf_error *err)
{
    struct session *s = ctx;
    return rf_branches_open(s->branches, count, to, err);
}

static const char *on_parting(void *ctx)
{
    struct session *s = ctx;
    const char *words = rf_branches_list(s->branches);
    if (words)
        rf_log(RF_LOG_INFO, "session", "%s", words);
    return words;
}

static const struct rf_served_events served_events = {on_failed, on_ended, on_branch, on_parting};

static int run(struct session *s, struct rf_error *err)
{
    struct rf_served_options options = {.session = s->options,
                                        .connection = &s->options->connection,
                                        .connection_file = s->options->connection_file};
    s->kernel = rf_served_new(s->loop, &options, &served_events, s);
    s->branches = rf_branches_new(s->loop, s->options, on_no_branches, s);
    if (!s->kernel || !s->branches)
        return rf_error_errno(err, -ENOMEM, "cannot make the kernel");
    start_handles(s);
    rf_log(RF_LOG_DEBUG, "session", "starting");
    rf_served_start(s->kernel, err);
    rf_log(RF_LOG_DEBUG, "session", "the sockets are bound");
    uv_run(s->loop, UV_RUN_DEFAULT);
    if (s->error.code)
        rf_error_set(err, s->error.code, "%s", s->error.text);
    return err->code;
}

int rf_session_run(struct rf_session_options *options, struct rf_error *err)
{
    uv_loop_t loop;
    struct session s = {.loop = &loop, .options = options, .parent_fd = -1};
    signal(SIGPIPE, SIG_IGN);
    options->limits.since_us = (int64_t)(uv_hrtime() / 1000);
    if (sodium_init() < 0 || uv_loop_init(&loop)) {
        rf_error_set(err, -EIO, "the event loop or the random number generator does not start");
        return 1;
    }
    int r = run(&s, err);
    uv_loop_close(&loop);
    rf_branches_free(s.branches);
    if (s.parent_fd >= 0)
        close(s.parent_fd);
    return r ? 1 : 0;
}
