/* See supervisor.h. */
#include "gateway/supervise/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "gateway/supervise/supervisor_impl.h"
#include "gateway/supervise/usage.h"

#define CLOSED_GRACE_MS 1000       /* a worker that closed its socket has so long to die by itself */
#define NUDGE_MS 100               /* after an interrupt that has not ended the cell */
#define STEADY_MS 5000             /* a worker that lived for so long did not fail to start */
#define FULL \
    "; files in memory (/tmp, /dev/shm) or shared segments take up most of it, so the sandbox is made " \
    "anew"

static void start_fresh(struct rf_supervisor *s);
static void worker_died(struct rf_supervisor *s, int wait_status, const char *reason);
static void on_watchdog(uv_timer_t *timer);
static void on_closed_long(uv_timer_t *timer);

void rf_supervisor_fail(struct rf_supervisor *s, const struct rf_error *why)
{
    if (s->state == FAILED || s->state >= STOPPING)
        return;
    s->state = FAILED;
    rf_kernel_on_failed(s->kernel, why, rf_supervisor_now_us());
    s->events->on_failed(s->ctx, why);
}

/* --- the link's events --- */

static void stop_timer(struct rf_supervisor *s, int which)
{
    uv_timer_stop(&s->timers[which]);
}

static void report_death(struct rf_supervisor *s, bool resumed)
{
    if (!s->death.pending)
        return;
    s->death.pending = false;
    struct rf_death death = {.wait_status = s->death.wait_status,
                             .reason = s->death.reason[0] ? s->death.reason : NULL,
                             .traceback = rf_buf_bytes(&s->death.text),
                             .resumed = resumed,
                             .mark = s->resumed.note.mark,
                             .not_carried = s->resumed.note.reason};
    rf_kernel_on_dead(s->kernel, &death, rf_supervisor_now_us());
    rf_buf_deinit(&s->death.text);
}

static void kill_worker(struct rf_supervisor *s, const char *why)
{
    snprintf(s->broken, sizeof(s->broken), "%s", why);
    rf_link_break(s->link);
    rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->link), 0, 0);
    rf_log(RF_LOG_WARN, "supervisor", "worker %llu is killed: %s",
           (unsigned long long)rf_link_generation(s->link), why);
}

/* Whoever tells first of a resumed worker, it or its checkpoint, names it to
 * the keeper; without that nobody could interrupt it or hear of its death. */
void rf_supervisor_adopt(struct rf_supervisor *s, int pid)
{
    if (s->adopted)
        return;
    s->adopted = true;
    rf_keeper_order(s->keeper, RF_KEEPER_ADOPT, rf_link_generation(s->link), pid, 0);
    if (s->broken[0]) /* the order to kill it came when it had no name yet */
        rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->link), 0, 0);
}

static void became_ready(struct rf_supervisor *s)
{
    bool resumed = s->state == RESUMING;
    rf_log(RF_LOG_DEBUG, "supervisor", "worker %llu is ready",
           (unsigned long long)rf_link_generation(s->link));
    stop_timer(s, WATCHDOG);
    if (s->state != STOPPING)
        s->state = RUNNING;
    s->ready_ms = uv_now(s->loop);
    report_death(s, resumed);
    if (s->home && !s->checkpoints.n) /* a branch: until then it could not go on after a crash */
        rf_supervisor_take_checkpoint(s, true);
}

/* HELLO comes first, once and with the link's generation; only text may precede it. */
static bool is_in_turn(const struct rf_supervisor *s, const struct rf_frame *frame)
{
    bool waiting = s->state == STARTING || s->state == RESUMING;
    if (frame->type == RF_MSG_HELLO)
        return waiting && frame->request_id == rf_link_generation(s->link);
    return !waiting || frame->type == RF_MSG_STREAM;
}

/* No cell may run before its worker is in the enclosure, so nobody hears of the
 * worker before. */
static void keep_hello(struct rf_supervisor *s, const struct rf_frame *frame)
{
    if (s->hello_waits || frame->n_parts != 2) {
        kill_worker(s, "it broke the worker protocol (order)");
        return;
    }
    s->hello_waits = true;
    for (int i = 0; i < 2; i++)
        rf_buf_add_bytes(&s->hello[i], frame->parts[i]);
}

static void drop_hello(struct rf_supervisor *s)
{
    s->hello_waits = false;
    for (int i = 0; i < 2; i++)
        rf_buf_deinit(&s->hello[i]);
}

void rf_supervisor_pass_frame(struct rf_supervisor *s, const struct rf_frame *frame)
{
    if (!is_in_turn(s, frame)) {
        kill_worker(s, "it broke the worker protocol (order)");
        return;
    }
    if (frame->type == RF_MSG_CHECKPOINTED) {
        if (rf_supervisor_on_checkpointed(s, frame))
            kill_worker(s, "it broke the worker protocol (checkpoint)");
        return;
    }
    if (frame->type == RF_MSG_ORDER && rf_link_is_behind(s->link)) { /* answers would pile up */
        kill_worker(s, "it broke the worker protocol (orders)");
        return;
    }
    uint64_t pid;
    if (frame->type == RF_MSG_HELLO && !s->entered) {
        keep_hello(s, frame);
        return;
    }
    if (frame->type == RF_MSG_HELLO) {
        if (frame->n_parts && rf_bytes_u64(frame->parts[0], &pid) && pid <= INT32_MAX)
            rf_supervisor_adopt(s, (int)pid);
        became_ready(s);
    }
    if (rf_kernel_on_worker(s->kernel, frame, rf_supervisor_now_us()))
        kill_worker(s, "it broke the worker protocol");
}

static void on_frame(void *ctx, const struct rf_frame *frame)
{
    rf_supervisor_pass_frame(ctx, frame);
}

static void on_pipe(void *ctx, int fd, struct rf_bytes bytes)
{
    struct rf_supervisor *s = ctx;
    rf_kernel_on_pipe(s->kernel, fd, bytes, rf_supervisor_now_us());
}

static void on_broken(void *ctx, bool closed)
{
    struct rf_supervisor *s = ctx;
    if (closed) /* most likely it is dead, and its keeper will tell how it died */
        uv_timer_start(&s->timers[CLOSED], on_closed_long, CLOSED_GRACE_MS, 0);
    else
        kill_worker(s, "it broke the worker protocol (packets)");
}

const struct rf_link_events rf_supervisor_link_events = {on_frame, on_pipe, on_broken};

/* --- the keeper's events --- */

static void finish_stop(struct rf_supervisor *s)
{
    if (s->state == STOPPED)
        return;
    s->state = STOPPED;
    for (int i = 0; i < TIMERS; i++)
        stop_timer(s, i);
    rf_supervisor_close_checkpoints(s);
    rf_answers_free(s->answers);
    s->answers = NULL;
    rf_link_close(s->link);
    s->link = NULL;
    if (rf_supervisor_is_alone(s))
        rf_enclosure_close(s->enclosure);
    if (s->home || rf_supervisor_is_alone(s))
        s->enclosure = NULL;
    s->events->on_stopped(s->ctx);
}

/* Others live on in its sandbox. */
static void move_out(struct rf_supervisor *s)
{
    if (s->link)
        rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->link), 0, 0);
    finish_stop(s);
}

/* Orders the keeper to end and waits for it; at the second call no longer. */
static void end_sandbox(struct rf_supervisor *s)
{
    if (!rf_supervisor_is_alone(s)) {
        move_out(s);
        return;
    }
    rf_keeper_close(s->keeper, !s->ending);
    if (s->ending) {
        finish_stop(s);
        return;
    }
    s->ending = true;
    uv_timer_start(&s->timers[WATCHDOG], on_watchdog, RF_EXIT_GRACE_MS, 0);
}

/* --- the enclosure's events --- */

static void on_entered(void *ctx, int code)
{
    struct rf_supervisor *s = ctx;
    if (s->entered) { /* a layer less than was told */
        s->events->on_made(s->ctx);
        return;
    }
    if (s->state != STARTING)
        return;
    if (code) {
        struct rf_error why = {0};
        rf_error_errno(&why, code, "the kernel could not be moved into its cgroups, and "
                                   "--sandbox=require asks for them");
        rf_supervisor_fail(s, &why);
        return;
    }
    s->entered = true;
    s->events->on_made(s->ctx);
    if (!s->hello_waits || !s->link)
        return;
    struct rf_bytes parts[2] = {rf_buf_bytes(&s->hello[0]), rf_buf_bytes(&s->hello[1])};
    struct rf_frame hello = {.type = RF_MSG_HELLO, .request_id = rf_link_generation(s->link),
                             .parts = parts, .n_parts = 2};
    if (rf_buf_ok(&s->hello[0]) && rf_buf_ok(&s->hello[1]))
        rf_supervisor_pass_frame(s, &hello);
    else
        kill_worker(s, "the gateway is out of memory");
    drop_hello(s);
}

static void on_over_memory(void *ctx, const char *why, uint64_t kept, uint64_t most)
{
    bool relieved = rf_supervisor_relieve(ctx, kept, most);
    struct rf_supervisor *s = relieved ? NULL : rf_supervisor_largest(ctx);
    if (!s)
        return;
    s->over_memory = true;
    kill_worker(s, why);
}

static const struct rf_enclosure_events enclosure_events = {on_entered, on_over_memory,
                                                            rf_supervisor_on_kept};

static void on_keeper_failed(struct rf_supervisor *s, const struct rf_keeper_msg *msg)
{
    struct rf_error why = {0};
    rf_error_set(&why, -EIO, "the sandbox could not be made: %s", msg->text);
    rf_supervisor_fail(s, &why);
}

/* While a cell runs, where the end of the worker would be heard of late. */
void rf_supervisor_watch(struct rf_supervisor *s, bool on)
{
    if (s->watched == on || !s->link)
        return;
    s->watched = on;
    rf_keeper_order(s->keeper, RF_KEEPER_WATCH, rf_link_generation(s->link), 0, on);
}

static const char *why_died(struct rf_supervisor *s, int wait_status)
{
    bool killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
    const char *why = killed ? rf_enclosure_killed(s->enclosure) : NULL;
    s->over_memory |= why != NULL;
    return why ? why : "";
}

static void on_died(struct rf_supervisor *s, const struct rf_keeper_msg *msg)
{
    if (s->link && msg->id == rf_link_generation(s->link)) {
        if (s->state == STOPPING && !s->ending)
            end_sandbox(s);
        else if (s->state != STOPPING)
            worker_died(s, msg->value, why_died(s, msg->value));
    } else {
        rf_supervisor_other_died(s, msg->id);
    }
}

/* What fills the memory may be the worker's own shared segments, which go with it: then its
 * end is waited for. */
static void on_dying(struct rf_supervisor *s, const struct rf_keeper_msg *msg)
{
    if (s->link && msg->id == rf_link_generation(s->link) && s->state == RUNNING &&
        !rf_enclosure_is_full(s->enclosure))
        worker_died(s, msg->value, why_died(s, msg->value));
}

static void on_keeper_message(void *ctx, const struct rf_keeper_msg *msg)
{
    struct rf_supervisor *s = ctx;
    switch (msg->op) {
    case RF_KEEPER_READY:
        memcpy(s->lost, msg->text, sizeof(s->lost));
        if (s->lost[0])
            rf_log(RF_LOG_WARN, "sandbox", "this machine denies layers of the sandbox: %s", s->lost);
        rf_enclosure_enter(s->enclosure, rf_keeper_pid(s->keeper));
        break;
    case RF_KEEPER_DIED:
    case RF_KEEPER_DYING:
        s = rf_supervisor_owner(s, msg->id);
        if (s)
            (msg->op == RF_KEEPER_DIED ? on_died : on_dying)(s, msg);
        break;
    case RF_KEEPER_FAILED:
        on_keeper_failed(s, msg);
        break;
    default:
        break;
    }
}

static void lose_sandbox(struct rf_supervisor *s)
{
    s->keeper = NULL;
    if (s->state == STOPPED)
        return;
    if (s->state == STOPPING) {
        finish_stop(s);
        return;
    }
    rf_supervisor_close_checkpoints(s);
    const char *why = rf_enclosure_killed(s->enclosure);
    if (s->link && s->state != FAILED)
        worker_died(s, -1, why ? why : "its sandbox ended");
}

static void on_keeper_gone(void *ctx)
{
    struct rf_supervisor *s = ctx;
    rf_enclosure_leave(s->enclosure);
    rf_supervisor_each_branch(s, lose_sandbox);
    lose_sandbox(s);
}

static const struct rf_keeper_events keeper_events = {on_keeper_message, on_keeper_gone};

/* --- life and death of workers --- */

static void keep_death(struct rf_supervisor *s, int wait_status, const char *reason, bool full)
{
    rf_buf_deinit(&s->death.text);
    s->death = (struct rf_supervisor_death){.pending = true, .wait_status = wait_status};
    if (s->broken[0]) {
        s->death.wait_status = -1;
        reason = s->broken;
    }
    snprintf(s->death.reason, sizeof(s->death.reason), "%.310s%s", reason, full ? FULL : "");
    rf_link_crash_text(s->link, &s->death.text, RF_CRASH_TEXT_MAX);
    s->broken[0] = '\0';
}

/* The old worker is dead: has a checkpoint make the next one.  False: none can. */
static bool go_on(struct rf_supervisor *s)
{
    bool deadly = s->starts >= RF_STARTS_MAX - 1; /* what it holds kills every worker */
    if (deadly)
        rf_supervisor_distrust(s);
    if (!rf_supervisor_promote_arrival(s) && !rf_supervisor_resume(s))
        return false;
    s->starts = deadly ? 1 : s->starts + 1;
    rf_supervisor_await_ready(s);
    return true;
}

void rf_supervisor_await_ready(struct rf_supervisor *s)
{
    uv_timer_start(&s->timers[WATCHDOG], on_watchdog, RF_RESUME_TIMEOUT_MS, 0);
}

void rf_supervisor_give_up_resume(struct rf_supervisor *s)
{
    rf_log(RF_LOG_WARN, "supervisor", "checkpoint %llu could not be resumed",
           (unsigned long long)s->resumed.number);
    if (s->link && s->adopted)
        rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->link), 0, 0);
    rf_link_close(rf_steal(&s->link));
    stop_timer(s, CLOSED);
    s->broken[0] = '\0'; /* that was of this worker */
    rf_supervisor_distrust(s);
    if (go_on(s))
        return;
    report_death(s, false);
    start_fresh(s);
}

static void worker_died(struct rf_supervisor *s, int wait_status, const char *reason)
{
    rf_log(RF_LOG_DEBUG, "supervisor", "worker %llu died: at risk were cells of %lld us, a "
           "checkpoint costs %lld us", (unsigned long long)rf_link_generation(s->link),
           (long long)s->policy.risk_us, (long long)rf_policy_expected(&s->policy));
    rf_link_drain(s->link); /* may yet say HELLO, ask to exit, or start a timer */
    enum rf_supervisor_state was = s->state;
    bool full = s->over_memory && rf_enclosure_is_full(s->enclosure);
    s->over_memory = false;
    for (int i = 0; was < STOPPING && i < TIMERS; i++)
        stop_timer(s, i);
    if (was == RUNNING) {
        if (rf_kernel_is_busy(s->kernel) || uv_now(s->loop) - s->ready_ms > STEADY_MS)
            s->starts = 0;
        keep_death(s, wait_status, reason, full);
        rf_kernel_on_lost(s->kernel); /* else the next worker would get requests before its HELLO */
    }
    s->broken[0] = '\0';
    s->watched = false;
    rf_link_close(s->link);
    s->link = NULL;
    rf_supervisor_drop_making(s);
    rf_policy_reset(&s->policy);
    if (was == RESUMING) {
        rf_supervisor_give_up_resume(s);
    } else if (was == RUNNING && (full || !go_on(s))) {
        report_death(s, false);
        start_fresh(s);
    } else if (was == STARTING) {
        start_fresh(s);
    } else if (was == STOPPING && !s->ending) {
        end_sandbox(s);
    }
}

static void on_spawned(void *ctx, int code, const struct rf_error *err)
{
    struct rf_supervisor *s = ctx;
    s->spawning = NULL;
    rf_log(RF_LOG_DEBUG, "supervisor", "the zygote answered: %d", code);
    if (code)
        rf_supervisor_fail(s, err);
}

static int ask_for_worker(struct rf_supervisor *s, struct rf_error *err)
{
    int fds[1 + RF_FD_COUNT];
    s->link = rf_link_new(s->loop, s->next_id++, fds + 1, &rf_supervisor_link_events, s);
    if (!s->link)
        return rf_error_errno(err, -errno, "cannot make the descriptors of a worker");
    s->keeper = rf_keeper_new(s->loop, &fds[0], &keeper_events, s);
    if (!s->keeper) {
        int r = rf_error_errno(err, -errno, "cannot make the keeper's socket");
        for (int i = 0; i < RF_FD_COUNT; i++)
            rf_closep(&fds[1 + i]);
        return r;
    }
    rf_buf_deinit(&s->policy_text);
    rf_enclosure_policy(s->enclosure, s->options.request.policy, &s->policy_text);
    struct rf_spawning_options options = {.zygote = &s->options.zygote,
                                          .generation = rf_link_generation(s->link),
                                          .request = s->options.request};
    options.request.policy = rf_buf_bytes(&s->policy_text);
    s->spawning = rf_spawning_new(s->loop, &options, fds, on_spawned, s, err);
    return s->spawning ? 0 : err->code;
}

/* A branch without its state is none. */
static void lose_branch(struct rf_supervisor *s)
{
    struct rf_error err = {0};
    stop_timer(s, CLOSED);
    rf_link_close(rf_steal(&s->link));
    rf_error_set(&err, -EIO, "this branch has lost its state and no checkpoint of it can go on: "
                             "make another one with %%branch");
    rf_supervisor_fail(s, &err);
}

static void start_fresh(struct rf_supervisor *s)
{
    struct rf_error err = {0};
    if (s->home) {
        lose_branch(s);
        return;
    }
    rf_supervisor_each_branch(s, lose_sandbox); /* a new one is made */
    s->state = STARTING;
    s->broken[0] = '\0';
    s->adopted = true; /* the keeper makes it */
    rf_spawning_cancel(s->spawning); /* the worker died before the zygote's answer was read */
    s->spawning = NULL;
    stop_timer(s, CLOSED);
    rf_link_close(s->link);
    rf_keeper_close(s->keeper, false);
    rf_enclosure_leave(s->enclosure);
    s->link = NULL;
    s->keeper = NULL;
    s->entered = false;
    drop_hello(s);
    rf_supervisor_close_checkpoints(s);
    if (s->starts++ >= RF_STARTS_MAX)
        rf_error_set(&err, -EIO, "%d workers in a row died before they did anything", RF_STARTS_MAX);
    else
        ask_for_worker(s, &err);
    if (err.code)
        rf_supervisor_fail(s, &err);
}

/* --- timers --- */

static void on_idle(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    bool waits = rf_policy_may_wait(&s->policy, rf_supervisor_now_us()) && rf_usage_is_crowded();
    if (waits || s->making.process) /* one that follows the cell may prove too dear */
        uv_timer_start(timer, on_idle, RF_POLICY_CROWD_US / 8000, 0);
    else
        rf_supervisor_take_checkpoint(s, true);
}

static void on_watchdog(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    if (s->state == RESUMING)
        rf_supervisor_give_up_resume(s);
    else if (s->state == STOPPING)
        end_sandbox(s);
}

/* Python looks for signals and then makes a call that waits: one that comes in between is not
 * seen until that is over.  Another signal, of no meaning, ends the call. */
static void on_nudge(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    if (s->link && s->state == RUNNING && rf_kernel_is_busy(s->kernel))
        rf_keeper_order(s->keeper, RF_KEEPER_SIGNAL, rf_link_generation(s->link), 0,
                        RF_WORKER_NUDGE);
}

static void on_closed_long(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    if (s->link)
        kill_worker(s, "it closed its socket");
}

/* --- the public face --- */

struct rf_supervisor *rf_supervisor_new(uv_loop_t *loop, const struct rf_supervisor_options *options,
                                        const struct rf_supervisor_events *events, void *ctx)
{
    struct rf_supervisor *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct rf_supervisor){.loop = loop, .options = *options, .events = events, .ctx = ctx,
                                .next_id = 1, .open_timers = TIMERS,
                                .answers = rf_answers_new(loop, &rf_supervisor_answers_events, s)};
    if (!s->answers) {
        free(s);
        return NULL;
    }
    for (int i = 0; i < TIMERS; i++) {
        uv_timer_init(loop, &s->timers[i]);
        s->timers[i].data = s;
    }
    return s;
}

void rf_supervisor_attach(struct rf_supervisor *s, struct rf_kernel *kernel)
{
    s->kernel = kernel;
}

int rf_supervisor_start(struct rf_supervisor *s, struct rf_error *err)
{
    s->state = STARTING;
    s->adopted = true;
    s->starts = 1;
    s->enclosure = rf_enclosure_new(s->loop, &s->options.enclosure, &enclosure_events, s, err);
    return s->enclosure ? ask_for_worker(s, err) : err->code;
}

void rf_supervisor_worker(struct rf_supervisor *s, uint8_t type, uint64_t request_id,
                          const struct rf_bytes *parts, size_t n_parts)
{
    stop_timer(s, IDLE);
    rf_enclosure_watch(s->enclosure, false);
    if (type == RF_MSG_REQUEST) {
        rf_supervisor_watch(s, s->large);
        rf_supervisor_look_ahead(s);
    }
    if (!s->link || rf_link_send(s->link, type, request_id, parts, n_parts, -1))
        rf_log(RF_LOG_ERROR, "supervisor", "a message of type %u could not be sent", type);
}

void rf_supervisor_interrupt(struct rf_supervisor *s)
{
    if (s->link)
        rf_keeper_order(s->keeper, RF_KEEPER_SIGNAL, rf_link_generation(s->link), 0, SIGINT);
    uv_timer_start(&s->timers[NUDGE], on_nudge, NUDGE_MS, 0);
}

void rf_supervisor_rested(struct rf_supervisor *s, int64_t run_us, size_t waiting)
{
    s->starts = 0;
    stop_timer(s, AHEAD);
    stop_timer(s, NUDGE);
    rf_supervisor_watch(s, false);
    if (s->making.process && s->making.in_cell) { /* its answer would be taken for another cell's */
        kill_worker(s, "it broke the worker protocol (a reply before the checkpoint)");
        return;
    }
    if (run_us > 0)
        rf_policy_ran(&s->policy, run_us, rf_supervisor_now_us());
    if (rf_policy_due(&s->policy, rf_supervisor_now_us()))
        rf_supervisor_take_checkpoint(s, false);
    if (rf_policy_wants_idle(&s->policy))
        uv_timer_start(&s->timers[IDLE], on_idle, RF_POLICY_IDLE_US / 1000, 0);
}

void rf_supervisor_kill(struct rf_supervisor *s, const char *why)
{
    if (s->link && s->state == RUNNING)
        kill_worker(s, why);
}

const char *rf_supervisor_notice(struct rf_supervisor *s)
{
    const char *gone = s->enclosure ? rf_supervisor_gone_words(s) : NULL;
    return gone || !s->enclosure ? gone : rf_enclosure_notice(s->enclosure);
}

void rf_supervisor_lost_layers(const struct rf_supervisor *s, struct rf_buf *to)
{
    const char *outside = s->enclosure ? rf_enclosure_lost(s->enclosure) : "";
    rf_buf_printf(to, "%s%s%s", s->lost, s->lost[0] && outside[0] ? ", " : "", outside);
}

void rf_supervisor_inherit(struct rf_supervisor *s)
{
    rf_enclosure_inherit(s->enclosure);
}

pid_t rf_supervisor_root(const struct rf_supervisor *s)
{
    return s->keeper ? rf_keeper_pid(s->keeper) : 0;
}

void rf_supervisor_stop(struct rf_supervisor *s)
{
    if (s->state >= STOPPING)
        return;
    bool running = s->state == RUNNING;
    s->state = STOPPING;
    stop_timer(s, IDLE);
    rf_supervisor_forget_orders(s); /* a worker that arrived now would not be told to end */
    rf_spawning_cancel(s->spawning);
    s->spawning = NULL;
    if (!s->kernel && s->link) /* stopped before it began: nobody takes what a worker says */
        rf_link_break(s->link);
    if (!s->keeper) {
        finish_stop(s);
    } else if (running) {
        if (rf_kernel_is_busy(s->kernel))
            rf_supervisor_interrupt(s);
        rf_link_send(s->link, RF_MSG_EXIT, 0, NULL, 0, -1);
        uv_timer_start(&s->timers[WATCHDOG], on_watchdog, RF_EXIT_GRACE_MS, 0);
    } else {
        end_sandbox(s);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct rf_supervisor *s = handle->data;
    if (--s->open_timers)
        return;
    rf_buf_deinit(&s->death.text);
    rf_buf_deinit(&s->policy_text);
    drop_hello(s);
    free(s);
}

void rf_supervisor_free(struct rf_supervisor *s)
{
    if (!s || !rf_supervisor_part(s))
        return;
    for (int i = 0; i < TIMERS; i++)
        uv_close((uv_handle_t *)&s->timers[i], on_timer_closed);
}
