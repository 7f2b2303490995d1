/* See enclosure.h. */
#include "gateway/supervise/enclosure.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "gateway/jupyter/limit.h"
#include "gateway/supervise/sweep.h"
#include "gateway/supervise/sweeper.h"
#include "gateway/supervise/watchdog.h"

#define WATCH_MS 250       /* between two looks at the memory, at the least */
#define KEPT_MS 20         /* likewise where cgroups count it */
#define WATCH_SHARE 50     /* and so many times what a look costs */
#define LARGE (128u << 20) /* of memory: to take that down takes up to 10 ms */
#define WATCH_MOST_MS 1000 /* but no more: processes that map and unmap make a look dear */
#define NO_NETWORK "network (there is none)"
/* What takes a processor from the kernel's own start comes after it. */
#define MOVE_DELAY_MS 5
#define NETWORK_DELAY_MS 20

struct rf_enclosure {
    uv_loop_t *loop;
    struct rf_enclosure_options options;
    const struct rf_enclosure_events *events; /* borrowed */
    void *ctx;
    struct rf_cgroup cgroup;
    struct rf_sweeper *sweeper; /* owned; NULL: not needed yet */
    struct rf_network_tool tool;
    bool has_tool;
    uv_timer_t watchdog, move, network;
    int open_timers;
    int keeper; /* pid; 0: none */
    struct rf_network_helper helper;
    uv_poll_t *helper_end; /* owned; NULL without a helper */
    char lost[320], words[RF_LIMIT_WORDS_MAX + 112];
};

static void lose(struct rf_enclosure *e, const char *layer, const char *why)
{
    size_t n = strlen(e->lost);
    snprintf(e->lost + n, sizeof(e->lost) - n, "%s%s", n ? ", " : "", layer);
    rf_log(e->options.walls ? RF_LOG_WARN : RF_LOG_INFO, "sandbox", "no %s: %s", layer, why);
}

const char *rf_enclosure_memory_words(struct rf_enclosure *e, const char *before)
{
    char value[32], words[RF_LIMIT_WORDS_MAX];
    rf_limit_bytes(value, sizeof(value), (uint64_t)e->options.limits.memory);
    rf_limit_words(words, "memory", value, e->options.profile);
    snprintf(e->words, sizeof(e->words), "%.110s%s", before, words);
    return e->words;
}

/* --- making --- */

static void on_attached(void *ctx, int pid, int code);

static void note_cgroup(struct rf_enclosure *e)
{
    struct rf_buf missing = {0};
    rf_cgroup_missing(&e->cgroup, &missing);
    rf_buf_add(&missing, "", 1);
    if (rf_buf_ok(&missing) && missing.len > 1)
        lose(e, (const char *)missing.data, e->cgroup.why);
    rf_buf_deinit(&missing);
}

static int start_sweeper(struct rf_enclosure *e, struct rf_error *err)
{
    if (!e->sweeper)
        e->sweeper = rf_sweeper_new(e->loop, e->options.sweeper_program, &e->cgroup, on_attached, e,
                                    err);
    return e->sweeper ? 0 : -EIO;
}

static int make(struct rf_enclosure *e, struct rf_error *err)
{
    struct rf_error why = {0};
    int r = rf_cgroup_make_own(&e->options.limits, &e->cgroup);
    if (r)
        return rf_error_errno(err, r, "cannot make the kernel's cgroups");
    note_cgroup(e);
    if (e->options.network) {
        e->has_tool = !rf_network_find(&e->tool, &why);
        if (!e->has_tool)
            lose(e, e->options.network_host ? "network (the host's is shared)" : NO_NETWORK,
                 why.text);
    }
    if (e->options.require && e->lost[0])
        return rf_error_set(err, -EPERM,
                            "this machine denies layers of the sandbox that --sandbox=require asks "
                            "for: %s (ringfence doctor says what to do)",
                            e->lost);
    return 0;
}

struct rf_enclosure *rf_enclosure_new(uv_loop_t *loop, const struct rf_enclosure_options *options,
                                      const struct rf_enclosure_events *events, void *ctx,
                                      struct rf_error *err)
{
    struct rf_enclosure *e = calloc(1, sizeof(*e));
    if (!e) {
        rf_error_errno(err, -ENOMEM, "cannot make the kernel's enclosure");
        return NULL;
    }
    *e = (struct rf_enclosure){.loop = loop, .options = *options, .events = events, .ctx = ctx};
    uv_timer_init(loop, &e->watchdog);
    uv_timer_init(loop, &e->move);
    uv_timer_init(loop, &e->network);
    e->watchdog.data = e->move.data = e->network.data = e;
    e->open_timers = 3;
    if (!make(e, err))
        return e;
    rf_enclosure_close(e);
    return NULL;
}

static bool counts(const struct rf_enclosure *e, enum rf_cgroup_kind kind)
{
    return !(e->cgroup.wanted & ~e->cgroup.holds & 1u << kind);
}

void rf_enclosure_policy(const struct rf_enclosure *e, struct rf_bytes policy, struct rf_buf *to)
{
    static const char on[] = "network=on", off[] = "network=off", host[] = "network=host";
    bool instead = e->options.network && !e->has_tool;
    while (policy.len) {
        size_t n = strnlen((const char *)policy.data, policy.len);
        if (instead && n == sizeof(on) - 1 && !memcmp(policy.data, on, n))
            rf_buf_add_str(to, e->options.network_host ? host : off);
        else
            rf_buf_add(to, policy.data, n);
        rf_buf_add(to, "", 1);
        n += n < policy.len;
        policy.data += n;
        policy.len -= n;
    }
    bool cgroups = counts(e, RF_CGROUP_MEMORY) && counts(e, RF_CGROUP_PIDS);
    rf_buf_printf(to, "rlimits=%d", !cgroups);
    rf_buf_add(to, "", 1);
}

/* --- the kernel comes and goes --- */

static void watch_again(struct rf_enclosure *e, uv_timer_cb look, uint64_t began, uint64_t least)
{
    uint64_t next = (uv_hrtime() - began) / 1000000 * WATCH_SHARE;
    next = next > WATCH_MOST_MS ? WATCH_MOST_MS : next;
    uv_timer_start(&e->watchdog, look, next > least ? next : least, 0);
}

static void on_watch(uv_timer_t *timer)
{
    struct rf_enclosure *e = timer->data;
    uint64_t most = (uint64_t)e->options.limits.memory, began = uv_hrtime();
    if (rf_tree_memory(e->keeper, most) > most)
        e->events->on_over_memory(e->ctx, rf_enclosure_memory_words(e, "out of memory: "),
                                  rf_tree_kept(e->keeper, 0), most);
    watch_again(e, on_watch, began, WATCH_MS);
}

static void on_look(uv_timer_t *timer)
{
    struct rf_enclosure *e = timer->data;
    uint64_t most = (uint64_t)e->options.limits.memory, began = uv_hrtime();
    bool matters = rf_cgroup_usage(&e->cgroup) > most / 2;
    uint64_t anonymous = matters ? rf_cgroup_anonymous(&e->cgroup) : 0;
    if (e->events->on_kept(e->ctx, anonymous ? rf_tree_kept(e->keeper, anonymous) : 0, most))
        watch_again(e, on_look, began, KEPT_MS);
}

void rf_enclosure_watch(struct rf_enclosure *e, bool now)
{
    if (e && e->keeper && e->cgroup.memory && (now || !uv_is_active((uv_handle_t *)&e->watchdog)))
        uv_timer_start(&e->watchdog, on_look, now ? 0 : KEPT_MS, 0);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void end_helper(struct rf_enclosure *e)
{
    if (e->helper_end)
        uv_close((uv_handle_t *)e->helper_end, on_poll_closed);
    e->helper_end = NULL;
    rf_network_detach(&e->helper);
}

/* It could not do its work: the machine itself has no network, say. */
static void on_helper_end(uv_poll_t *poll, int status, int events)
{
    struct rf_enclosure *e = poll->data;
    char words[160];
    rf_network_words(&e->helper, words, sizeof(words));
    end_helper(e);
    lose(e, NO_NETWORK, words);
    e->events->on_entered(e->ctx, 0);
}

static int attach_helper(struct rf_enclosure *e, struct rf_error *err)
{
    uv_poll_t *poll = calloc(1, sizeof(*poll));
    if (!poll)
        return rf_error_errno(err, -ENOMEM, "cannot start %.200s", e->tool.program);
    int r = rf_network_attach(&e->tool, e->keeper, &e->helper, err);
    if (r || uv_poll_init(e->loop, poll, e->helper.pidfd)) {
        free(poll);
        rf_network_detach(&e->helper);
        return r ? r : rf_error_set(err, -EIO, "cannot watch %.200s", e->tool.program);
    }
    poll->data = e;
    e->helper_end = poll;
    uv_poll_start(poll, UV_READABLE, on_helper_end);
    return 0;
}

static void attach_network(uv_timer_t *timer)
{
    struct rf_enclosure *e = timer->data;
    struct rf_error err = {0};
    int r = attach_helper(e, &err);
    if (r == -EXDEV) /* the kernel program names that layer itself */
        return;
    if (r) {
        lose(e, NO_NETWORK, err.text);
        e->events->on_entered(e->ctx, 0);
    } else if (!start_sweeper(e, &err)) {
        rf_sweeper_guard(e->sweeper, e->helper.pid);
    }
}

static void entered(struct rf_enclosure *e)
{
    if (!counts(e, RF_CGROUP_MEMORY))
        uv_timer_start(&e->watchdog, on_watch, WATCH_MS, 0);
    e->events->on_entered(e->ctx, 0);
    if (e->has_tool && e->keeper)
        uv_timer_start(&e->network, attach_network, NETWORK_DELAY_MS, 0);
}

/* Without them it is the rlimits' and the watchdog's turn. */
static void give_up_cgroups(struct rf_enclosure *e, int code)
{
    rf_sweeper_close(e->sweeper); /* which removes them */
    e->sweeper = NULL;
    e->cgroup.holds = 0;
    e->cgroup.memory = NULL;
    snprintf(e->cgroup.why, sizeof(e->cgroup.why), "the kernel's processes could not be moved there: %s",
             strerror(-code));
    note_cgroup(e);
}

static void moved(struct rf_enclosure *e, int code)
{
    if (code) {
        give_up_cgroups(e, code);
        uv_timer_start(&e->watchdog, on_watch, WATCH_MS, 0);
        e->events->on_entered(e->ctx, code);
    } else if (e->options.require) {
        entered(e);
    }
}

static void on_attached(void *ctx, int pid, int code)
{
    struct rf_enclosure *e = ctx;
    if (e->keeper && (!pid || pid == e->keeper)) /* else of a sandbox that is gone */
        moved(e, code);
}

static void move(uv_timer_t *timer)
{
    struct rf_enclosure *e = timer->data;
    struct rf_error err = {0};
    int r = start_sweeper(e, &err);
    if (r)
        moved(e, r);
    else
        rf_sweeper_attach(e->sweeper, e->keeper);
}

/* The move waits for a grace period of the system, up to 15 ms.  Cells need not wait
 * for it: all processes that there are by then are moved, and what they allocated
 * in that time is all that is not counted. */
void rf_enclosure_enter(struct rf_enclosure *e, int keeper)
{
    e->keeper = keeper;
    if (!e->cgroup.holds || !e->options.require)
        entered(e);
    if (e->cgroup.holds && e->keeper)
        uv_timer_start(&e->move, move, e->options.require ? 0 : MOVE_DELAY_MS, 0);
}

void rf_enclosure_leave(struct rf_enclosure *e)
{
    end_helper(e);
    e->keeper = 0;
    uv_timer_stop(&e->watchdog);
    uv_timer_stop(&e->move);
    uv_timer_stop(&e->network);
}

/* --- what was hit --- */

const char *rf_enclosure_killed(struct rf_enclosure *e)
{
    return rf_cgroup_was_oom(&e->cgroup, false) ? rf_enclosure_memory_words(e, "out of memory: ")
                                                : NULL;
}

bool rf_enclosure_killed_one(struct rf_enclosure *e)
{
    return rf_cgroup_was_oom(&e->cgroup, true);
}

bool rf_enclosure_is_full(const struct rf_enclosure *e)
{
    uint64_t most = (uint64_t)e->options.limits.memory;
    uint64_t shared = counts(e, RF_CGROUP_MEMORY) ? rf_cgroup_shared(&e->cgroup)
                                                  : rf_tree_files(e->keeper);
    return most && shared > most / 4 * 3;
}

bool rf_enclosure_is_large(const struct rf_enclosure *e)
{
    return !e->cgroup.memory || rf_cgroup_usage(&e->cgroup) > LARGE;
}

const char *rf_enclosure_notice(struct rf_enclosure *e)
{
    char value[32];
    if (rf_cgroup_refused_forks(&e->cgroup)) {
        snprintf(value, sizeof(value), "%lld processes and threads",
                 (long long)e->options.limits.processes);
        rf_limit_words(e->words, "processes", value, e->options.profile);
        return e->words;
    }
    return rf_cgroup_was_oom(&e->cgroup, false)
               ? rf_enclosure_memory_words(e, "a process of this cell was killed by ")
               : NULL;
}

const char *rf_enclosure_lost(const struct rf_enclosure *e)
{
    return e->lost;
}

void rf_enclosure_inherit(struct rf_enclosure *e)
{
    for (size_t i = 0; e && i < e->cgroup.n; i++)
        rf_sweep_inherit(e->cgroup.folders[i]);
}

static void on_closed(uv_handle_t *handle)
{
    struct rf_enclosure *e = handle->data;
    if (--e->open_timers)
        return;
    rf_cgroup_deinit(&e->cgroup);
    free(e);
}

void rf_enclosure_close(struct rf_enclosure *e)
{
    if (!e)
        return;
    rf_enclosure_leave(e);
    for (size_t i = 0; i < e->cgroup.n && !e->sweeper; i++)
        rf_sweep_remove(e->cgroup.folders[i], 0);
    rf_sweeper_close(e->sweeper);
    e->sweeper = NULL;
    uv_close((uv_handle_t *)&e->watchdog, on_closed);
    uv_close((uv_handle_t *)&e->move, on_closed);
    uv_close((uv_handle_t *)&e->network, on_closed);
}
