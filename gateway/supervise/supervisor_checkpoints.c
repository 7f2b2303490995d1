/* The supervisor's checkpoints: taken, resumed, and ordered by the user.
 *
 * A rollback makes the new worker first and ends the old one when the new one
 * has said HELLO.  So whatever fails, there is the old state or the new.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "gateway/supervise/supervisor_impl.h"

#define COST_MAX_US 10000000   /* a hostile worker may claim any cost */
#define ORDER_TIMEOUT_MS 10000 /* for a worker that rests to make a checkpoint */
#define AHEAD_MS 10            /* a cell that takes less is not worth a look */
#define AHEAD_NS 1000          /* for each page, of the checkpoint's time and the worker's */
#define PAGE 4096
#define KEPT_PAGES_MAX 25600 /* that a cell changed, 100 MB: more is not kept for %undo */

static int64_t epoch_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t bounded(uint64_t cost_us)
{
    return cost_us < COST_MAX_US ? (int64_t)cost_us : COST_MAX_US;
}

/* --- telling --- */

static void add_entry(struct rf_buf *to, const struct rf_checkpoint_entry *entry, bool current,
                      struct rf_bytes branch)
{
    const struct rf_checkpoint_note *note = &entry->note;
    rf_buf_printf(to, "{\"number\":%" PRIu64 ",\"name\":", entry->number);
    if (note->name[0])
        rf_json_encode(rf_bytes_str(note->name), to);
    else
        rf_buf_add_str(to, "null");
    rf_buf_printf(to, ",\"automatic\":%s,\"class\":\"%s\",\"reason\":",
                  note->ordered ? "false" : "true", rf_checkpoint_class_name(note->class));
    rf_json_encode(rf_bytes_str(note->reason), to);
    rf_buf_printf(to, ",\"execution_count\":%" PRIu64 ",\"taken_us\":%" PRId64 ",\"current\":%s",
                  note->mark.count, note->taken_us, current ? "true" : "false");
    if (branch.len)
        rf_buf_add_str(to, ",\"branch\":");
    rf_buf_add_bytes(to, branch);
    rf_buf_add_str(to, "}");
}

void rf_supervisor_list_checkpoints(const struct rf_supervisor *s, struct rf_buf *to)
{
    rf_buf_add_str(to, "[");
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct rf_checkpoint_entry *entry = &s->checkpoints.entries[i];
        rf_buf_add_str(to, i ? "," : "");
        add_entry(to, entry, entry->number == s->checkpoints.current, (struct rf_bytes){0});
    }
    rf_buf_add_str(to, "]");
}

void rf_supervisor_refuse(struct rf_supervisor *s, const struct rf_error *err)
{
    uv_timer_stop(&s->timers[ORDER]);
    rf_kernel_on_ordered(s->kernel, err, (struct rf_bytes){0}, rf_supervisor_now_us());
}

void rf_supervisor_confirm(struct rf_supervisor *s, const struct rf_checkpoint_entry *entry,
                           struct rf_bytes branch)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    uv_timer_stop(&s->timers[ORDER]);
    if (entry)
        add_entry(&text, entry, entry->number == s->checkpoints.current, branch);
    else
        rf_buf_add_str(&text, "null");
    rf_kernel_on_ordered(s->kernel, NULL, rf_buf_bytes(&text), rf_supervisor_now_us());
}

/* --- taking --- */

/* One automatic checkpoint is kept beside the newest, for %undo: that of before the last
 * cell, unless the cell changed so much that keeping it costs memory. */
static void drop_automatic(struct rf_supervisor *s, bool costs_memory)
{
    uint64_t keep = 0;
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct rf_checkpoint_entry *entry = &s->checkpoints.entries[i];
        if (!entry->note.ordered && entry->note.class == RF_CHECKPOINT_FULL &&
            !costs_memory && rf_kernel_undone(s->kernel, &entry->note.mark) > 0)
            keep = entry->number;
    }
    rf_checkpoints_keep_automatic(&s->checkpoints, keep);
}

static const struct rf_checkpoint_entry *keep_checkpoint(struct rf_supervisor *s,
                                                         struct rf_checkpoint *made, int class,
                                                         struct rf_bytes reason)
{
    struct rf_checkpoint_note note = {.ordered = s->making.ordered && !s->making.branch,
                                      .class = (enum rf_checkpoint_class)class,
                                      .mark = rf_kernel_on_checkpoint(s->kernel, s->making.in_cell),
                                      .taken_us = epoch_us()};
    RF_AUTO(rf_buf_deinit) struct rf_buf clean = {0};
    rf_utf8_clean(reason, true, &clean);
    snprintf(note.reason, sizeof(note.reason), "%.*s", (int)clean.len, (const char *)clean.data);
    memcpy(note.name, s->making.name, sizeof(note.name));
    return rf_checkpoints_add(&s->checkpoints, made, &note);
}

static void tell_failed(struct rf_supervisor *s, struct rf_bytes reason)
{
    struct rf_error err = {0};
    rf_log(RF_LOG_WARN, "supervisor", "no checkpoint: %.*s", (int)reason.len, reason.data);
    rf_error_set(&err, -EIO, "no checkpoint could be made: %.*s", (int)reason.len,
                 (const char *)reason.data);
    if (s->making.ordered)
        rf_supervisor_refuse(s, &err);
}

static void finish_automatic(struct rf_supervisor *s, const struct rf_checkpoint_entry *entry,
                             bool costs_memory)
{
    if (s->making.branch)
        rf_supervisor_branch_from(s, entry);
    drop_automatic(s, costs_memory);
}

static const struct rf_checkpoint_events checkpoint_events;

static void order_checkpoint(struct rf_supervisor *s, int64_t most_us)
{
    int far = -1;
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRId64, most_us);
    struct rf_bytes part = {(uint8_t *)text, (size_t)n};
    s->making.gone = false;
    s->making.most_us = most_us;
    s->making.process = rf_checkpoint_new(s->loop, s->next_id++, &far, &checkpoint_events, s);
    if (s->making.process)
        rf_link_send(s->link, RF_MSG_CHECKPOINT, rf_checkpoint_id(s->making.process), &part, 1, far);
}

/* None was made, since the cells that it would follow rewrite much memory.  If a user came in
 * between with an order, one is made for that, at any cost. */
static int on_too_dear(struct rf_supervisor *s, uint64_t cost)
{
    if (cost <= (uint64_t)s->making.most_us)
        return -EPROTO;
    rf_policy_learned(&s->policy, bounded(cost));
    if (s->making.ordered)
        order_checkpoint(s, INT64_MAX);
    return 0;
}

int rf_supervisor_on_checkpointed(struct rf_supervisor *s, const struct rf_frame *frame)
{
    uint64_t pid, cost, pages;
    struct rf_supervisor_making *making = &s->making;
    int class = frame->n_parts == 5 ? rf_checkpoint_class_of(frame->parts[3]) : -1;
    if (!making->process || frame->request_id != rf_checkpoint_id(making->process) ||
        frame->n_parts != 5 || !rf_bytes_u64(frame->parts[0], &pid) ||
        !rf_bytes_u64(frame->parts[1], &cost) || !rf_bytes_u64(frame->parts[2], &pages) ||
        pid > INT32_MAX || (pid && class < 0))
        return -EPROTO;
    struct rf_checkpoint *made = rf_steal(&making->process);
    int64_t cost_us = bounded(cost);
    const struct rf_checkpoint_entry *entry = NULL;
    if (!pid && rf_bytes_is(frame->parts[3], "dear")) {
        rf_checkpoint_close(made);
        return on_too_dear(s, cost);
    }
    uint64_t ahead = (uint64_t)s->policy.copied_us * 1000 / AHEAD_NS;
    bool costs_memory = pages > KEPT_PAGES_MAX || pages + ahead > KEPT_PAGES_MAX;
    rf_policy_taken(&s->policy, cost_us, making->was_idle);
    if (!pid || making->gone) { /* those that there are, are better than none */
        rf_checkpoint_close(made);
        tell_failed(s, pid ? RF_BYTES("its process ended") : frame->parts[4]);
        return 0;
    }
    rf_keeper_order(s->keeper, RF_KEEPER_ADOPT, rf_checkpoint_id(made), (int)pid, 0);
    entry = keep_checkpoint(s, made, class, frame->parts[4]);
    if (!entry)
        tell_failed(s, RF_BYTES("there are too many"));
    else if (making->ordered && !making->branch)
        rf_supervisor_confirm(s, entry, (struct rf_bytes){0});
    else
        finish_automatic(s, entry, costs_memory);
    return 0;
}

void rf_supervisor_take_checkpoint(struct rf_supervisor *s, bool idle)
{
    if (s->making.process || s->state != RUNNING || rf_kernel_is_busy(s->kernel))
        return;
    s->making = (struct rf_supervisor_making){.was_idle = idle};
    if (idle)
        s->large = rf_enclosure_is_large(s->enclosure);
    order_checkpoint(s, idle ? INT64_MAX : rf_policy_affords(&s->policy));
}

static void on_ahead(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    const struct rf_checkpoint_entry *newest = rf_checkpoints_newest(&s->checkpoints);
    if (newest)
        rf_checkpoint_ahead(newest->process);
    s->large = rf_enclosure_is_large(s->enclosure);
    rf_supervisor_watch(s, s->large);
    uv_timer_start(timer, on_ahead, 2 * uv_timer_get_repeat(timer), 2 * uv_timer_get_repeat(timer));
}

void rf_supervisor_look_ahead(struct rf_supervisor *s)
{
    uv_timer_start(&s->timers[AHEAD], on_ahead, AHEAD_MS, AHEAD_MS);
}

static void on_copied(void *ctx, struct rf_checkpoint *checkpoint, uint64_t bytes)
{
    struct rf_supervisor *s = ctx;
    if (bytes)
        uv_timer_stop(&s->timers[AHEAD]); /* another order would stop it */
    uint64_t us = bytes / PAGE * AHEAD_NS / 1000;
    rf_policy_copied(&s->policy, bounded(us));
}

void rf_supervisor_drop_making(struct rf_supervisor *s)
{
    rf_checkpoint_close(rf_steal(&s->making.process));
    uv_timer_stop(&s->timers[ORDER]);
}

/* --- rollback --- */

static void drop_arrival(struct rf_supervisor *s)
{
    if (s->arrival.adopted && s->keeper)
        rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->arrival.link), 0, 0);
    rf_link_close(rf_steal(&s->arrival.link));
    uv_timer_stop(&s->timers[ORDER]);
}

void rf_supervisor_forget_orders(struct rf_supervisor *s)
{
    if (s->arrival.link)
        drop_arrival(s);
    s->making.ordered = s->making.branch = false;
}

static void abandon_rollback(struct rf_supervisor *s, const char *why)
{
    struct rf_error err = {0};
    rf_error_set(&err, -EIO,
                 "checkpoint %" PRIu64 " could not go on (%s): nothing has changed, the state is "
                 "the old one", s->arrival.from.number, why);
    rf_log(RF_LOG_WARN, "supervisor", "%s", err.text);
    drop_arrival(s);
    rf_supervisor_refuse(s, &err);
}

/* The new worker is there: the old one goes. */
static void finish_rollback(struct rf_supervisor *s, const struct rf_frame *hello)
{
    uint64_t before = 0;
    for (size_t i = 0; i < s->checkpoints.n; i++)
        if (s->checkpoints.entries[i].note.class == RF_CHECKPOINT_FULL &&
            !rf_kernel_undone(s->kernel, &s->checkpoints.entries[i].note.mark))
            before = s->checkpoints.entries[i].number;
    rf_keeper_order(s->keeper, RF_KEEPER_KILL, rf_link_generation(s->link), 0, 0);
    rf_link_close(s->link);
    uv_timer_stop(&s->timers[CLOSED]);
    s->broken[0] = '\0'; /* whatever was wrong with the old worker goes with it */
    s->over_memory = false;
    rf_supervisor_drop_making(s); /* an automatic one may have been under way */
    rf_supervisor_promote_arrival(s);
    s->before_rollback = before;
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    add_entry(&text, &s->resumed, true, (struct rf_bytes){0});
    rf_policy_reset(&s->policy);
    rf_kernel_on_rolled_back(s->kernel, &s->resumed.note.mark, rf_buf_bytes(&text),
                             rf_supervisor_now_us());
    rf_supervisor_pass_frame(s, hello);
}

static void on_arrival_frame(void *ctx, const struct rf_frame *frame)
{
    struct rf_supervisor *s = ctx;
    if (frame->type == RF_MSG_STREAM)
        return; /* no cell of its own yet */
    uint64_t generation = rf_link_generation(s->arrival.link), pid = 0;
    if (frame->type != RF_MSG_HELLO || frame->request_id != generation || frame->n_parts != 2 ||
        !rf_bytes_u64(frame->parts[0], &pid) || pid > INT32_MAX) {
        abandon_rollback(s, "it broke the worker protocol");
        return;
    }
    finish_rollback(s, frame);
}

static void on_arrival_pipe(void *ctx, int fd, struct rf_bytes bytes)
{
    (void)ctx; /* nothing is its own to say before HELLO */
}

static void on_arrival_broken(void *ctx, bool closed)
{
    abandon_rollback(ctx, "its worker ended");
}

static const struct rf_link_events arrival_events = {on_arrival_frame, on_arrival_pipe,
                                                     on_arrival_broken};

static void on_order_late(uv_timer_t *timer)
{
    struct rf_supervisor *s = timer->data;
    struct rf_error err = {0};
    if (s->arrival.link) {
        abandon_rollback(s, "its worker did not come in time");
    } else if (s->making.process && s->making.ordered) {
        s->making.ordered = s->making.branch = false; /* it may come yet, as an automatic one */
        s->making.name[0] = '\0';
        rf_error_set(&err, -ETIME, "no checkpoint could be made: the worker did not answer within "
                                   "%d s", ORDER_TIMEOUT_MS / 1000);
        rf_supervisor_refuse(s, &err);
    }
}

struct rf_link *rf_supervisor_make_worker(struct rf_supervisor *s,
                                          const struct rf_checkpoint_entry *from,
                                          const struct rf_link_events *events)
{
    int far[RF_FD_COUNT];
    struct rf_link *link = rf_link_new(s->loop, s->next_id++, far, events, s);
    if (!link)
        return NULL;
    int r = rf_checkpoint_resume(from->process, rf_link_generation(link), far);
    for (int i = 0; i < RF_FD_COUNT; i++)
        rf_closep(&far[i]);
    if (r)
        rf_link_close(rf_steal(&link));
    return link;
}

static void start_rollback(struct rf_supervisor *s, const struct rf_checkpoint_entry *to)
{
    s->arrival = (struct rf_supervisor_arrival){.from = *to};
    s->arrival.link = rf_supervisor_make_worker(s, to, &arrival_events);
    if (s->arrival.link)
        uv_timer_start(&s->timers[ORDER], on_order_late, RF_RESUME_TIMEOUT_MS, 0);
    else
        abandon_rollback(s, "its process ended, or the gateway is out of descriptors");
}

/* --- what a user orders --- */

static void order_making(struct rf_supervisor *s, struct rf_bytes name, bool in_cell, bool branch)
{
    if (!s->making.process) { /* else the automatic one that is being made is of this very state */
        s->making = (struct rf_supervisor_making){.was_idle = true}; /* the user's, not the policy's */
        order_checkpoint(s, INT64_MAX);
    }
    s->making.ordered = true;
    s->making.branch = branch;
    s->making.in_cell = in_cell;
    snprintf(s->making.name, sizeof(s->making.name), "%.*s", (int)name.len,
             (const char *)name.data);
    if (!s->making.process)
        tell_failed(s, RF_BYTES("the gateway is out of descriptors or memory"));
    else if (in_cell)
        rf_supervisor_confirm(s, NULL, (struct rf_bytes){0});
    else
        uv_timer_start(&s->timers[ORDER], on_order_late, ORDER_TIMEOUT_MS, 0);
}

/* Whether the worker can be told to make one now. */
static bool can_make(struct rf_supervisor *s, bool in_cell, struct rf_error *err)
{
    if (s->making.process && in_cell)
        rf_error_set(err, -EBUSY, "one checkpoint is made at the end of this cell already: order "
                                  "the next one in the next cell");
    return !err->code;
}

static void order_new(struct rf_supervisor *s, struct rf_bytes name, bool in_cell)
{
    struct rf_error err = {0};
    bool again = name.len && rf_checkpoints_find(&s->checkpoints, name);
    if (name.len)
        rf_checkpoint_check_name(name, &err);
    if (can_make(s, in_cell, &err) && !again && rf_checkpoints_ordered(&s->checkpoints) >= RF_CHECKPOINTS_ORDERED_MAX)
        rf_error_set(&err, -ENOSPC, "there are %u checkpoints, and no more are kept: drop one "
                                    "(%%checkpoint --drop NAME) or use its name again",
                     RF_CHECKPOINTS_ORDERED_MAX);
    if (err.code)
        rf_supervisor_refuse(s, &err);
    else
        order_making(s, name, in_cell, false);
}

static struct rf_checkpoint_entry *find_named(struct rf_supervisor *s, struct rf_bytes name,
                                              struct rf_error *err)
{
    struct rf_checkpoint_entry *entry = rf_checkpoints_find(&s->checkpoints, name);
    if (!entry)
        rf_error_set(err, -ENOENT, "there is no checkpoint %s%.*s%s: %%checkpoints lists those that "
                                   "there are", name.len ? "'" : "of no name", (int)name.len,
                     (const char *)name.data, name.len ? "'" : "");
    return entry;
}

/* Without a name, of the state after the cell. */
static void order_branch(struct rf_supervisor *s, struct rf_bytes name, bool in_cell)
{
    struct rf_error err = {0};
    const struct rf_checkpoint_entry *from = name.len ? find_named(s, name, &err) : NULL;
    if (!s->events->on_branch)
        rf_error_set(&err, -ENOTSUP, "this kernel makes no branches");
    if (!from && !err.code)
        can_make(s, in_cell, &err);
    if (err.code)
        rf_supervisor_refuse(s, &err);
    else if (from)
        rf_supervisor_branch_from(s, from);
    else
        order_making(s, name, in_cell, true);
}

static void order_rollback(struct rf_supervisor *s, struct rf_bytes name, bool in_cell)
{
    struct rf_error err = {0};
    struct rf_checkpoint_entry *to = NULL;
    for (size_t i = 0; !name.len && i < s->checkpoints.n; i++)
        if (s->checkpoints.entries[i].note.ordered)
            to = &s->checkpoints.entries[i];
    if (name.len)
        to = find_named(s, name, &err);
    else if (!to)
        rf_error_set(&err, -ENOENT, "there is no checkpoint of yours: %%checkpoint makes one, "
                                    "%%undo goes back to before the last cell");
    if (to && to->note.class == RF_CHECKPOINT_CRASH_ONLY)
        rf_error_set(&err, -EPERM, "checkpoint %" PRIu64 " serves after a crash only (%s): end what "
                                   "it names, make a new checkpoint and go back to that",
                     to->number, to->note.reason);
    if (err.code)
        rf_supervisor_refuse(s, &err);
    else
        start_rollback(s, to);
}

/* The newest state before the last numbered cell; right after a rollback, that of before
 * the rollback. */
static const struct rf_checkpoint_entry *find_undo(struct rf_supervisor *s)
{
    const struct rf_checkpoint_entry *found = NULL;
    int64_t fewest = INT64_MAX;
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct rf_checkpoint_entry *entry = &s->checkpoints.entries[i];
        if (entry->number == s->before_rollback)
            return entry;
        int64_t undone = rf_kernel_undone(s->kernel, &entry->note.mark);
        if (entry->note.class == RF_CHECKPOINT_FULL && undone > 0 && undone <= fewest) {
            found = entry;
            fewest = undone;
        }
    }
    return found;
}

static void order_undo(struct rf_supervisor *s, struct rf_bytes name, bool in_cell)
{
    struct rf_error err = {0};
    if (rf_kernel_undone(s->kernel, &s->resumed.note.mark))
        s->before_rollback = 0;
    const struct rf_checkpoint_entry *to = find_undo(s);
    if (to) {
        start_rollback(s, to);
        return;
    }
    rf_error_set(&err, -ENOENT, "nothing to undo: no checkpoint holds the state before the last "
                                "cell (%%checkpoints lists those that there are)");
    rf_supervisor_refuse(s, &err);
}

static void order_drop(struct rf_supervisor *s, struct rf_bytes name, bool in_cell)
{
    struct rf_error err = {0};
    struct rf_checkpoint_entry *entry = find_named(s, name, &err);
    if (!entry) {
        rf_supervisor_refuse(s, &err);
        return;
    }
    struct rf_checkpoint_entry dropped = *entry; /* for the words */
    rf_checkpoints_drop(&s->checkpoints, entry->number);
    rf_supervisor_confirm(s, &dropped, (struct rf_bytes){0});
}

void rf_supervisor_order(struct rf_supervisor *s, enum rf_order order, struct rf_bytes name,
                         bool in_cell)
{
    static void (*const orders[])(struct rf_supervisor *, struct rf_bytes, bool) = {
        [RF_ORDER_CHECKPOINT] = order_new,
        [RF_ORDER_ROLLBACK] = order_rollback,
        [RF_ORDER_UNDO] = order_undo,
        [RF_ORDER_DROP] = order_drop,
        [RF_ORDER_BRANCH] = order_branch,
    };
    struct rf_error err = {0};
    if (s->state == RUNNING) {
        orders[order](s, name, in_cell);
        return;
    }
    rf_error_set(&err, -EAGAIN, "this kernel is ending, or its worker is not ready");
    rf_supervisor_refuse(s, &err);
}

/* --- after a death --- */

bool rf_supervisor_promote_arrival(struct rf_supervisor *s)
{
    if (!s->arrival.link)
        return false;
    s->link = rf_steal(&s->arrival.link);
    s->watched = false;
    rf_link_listen(s->link, &rf_supervisor_link_events);
    s->adopted = s->arrival.adopted;
    s->resumed = s->arrival.from;
    s->state = RESUMING;
    rf_checkpoints_went_back(&s->checkpoints, s->resumed.number);
    uv_timer_stop(&s->timers[ORDER]);
    return true;
}

bool rf_supervisor_resume(struct rf_supervisor *s)
{
    struct rf_checkpoint_entry *from;
    while (s->keeper && (from = rf_checkpoints_newest(&s->checkpoints))) {
        s->resumed = *from;
        s->link = rf_supervisor_make_worker(s, from, &rf_supervisor_link_events);
        if (s->link) {
            s->state = RESUMING;
            s->adopted = false;
            rf_checkpoints_went_back(&s->checkpoints, from->number);
            return true;
        }
        rf_supervisor_distrust(s);
    }
    return false;
}

void rf_supervisor_distrust(struct rf_supervisor *s)
{
    for (size_t i = 0; i < s->checkpoints.n; i++)
        if (s->checkpoints.entries[i].number == s->resumed.number)
            s->checkpoints.entries[i].distrusted = true;
}

/* --- answers --- */

static void on_answer(void *ctx, uint64_t process, uint64_t request, const struct rf_frame *reply)
{
    struct rf_supervisor *s = ctx;
    rf_keeper_order(s->keeper, RF_KEEPER_KILL, process, 0, 0);
    rf_kernel_on_answer(s->kernel, request, reply);
}

const struct rf_answers_events rf_supervisor_answers_events = {on_answer};

bool rf_supervisor_answer(struct rf_supervisor *s, uint64_t id, const struct rf_bytes *parts,
                          size_t n_parts)
{
    const struct rf_checkpoint_entry *from = rf_checkpoints_newest(&s->checkpoints);
    return from && s->state == RUNNING &&
           rf_answers_ask(s->answers, from->process, RF_ANSWERS_FIRST_ID + s->next_id++, id, parts,
                          n_parts);
}

/* So that its keeper can end it, with all that it may fork; if that is over, at once. */
static void answer_started(struct rf_supervisor *s, uint64_t process, int pid)
{
    if (pid)
        rf_keeper_order(s->keeper, RF_KEEPER_ADOPT, process, pid, 0);
    if (pid && !rf_answers_awaits(s->answers, process))
        rf_keeper_order(s->keeper, RF_KEEPER_KILL, process, 0, 0);
}

/* --- the checkpoints' own events --- */

static void on_resumed(void *ctx, struct rf_checkpoint *checkpoint, uint64_t generation, int pid)
{
    struct rf_supervisor *s = ctx;
    struct rf_supervisor_arrival *arrival = &s->arrival;
    if (generation >= RF_ANSWERS_FIRST_ID) {
        answer_started(s, generation, pid);
        return;
    }
    if (arrival->link && generation == rf_link_generation(arrival->link)) {
        if (!pid) {
            abandon_rollback(s, "it could not fork");
        } else if (!arrival->adopted) {
            arrival->adopted = true;
            rf_keeper_order(s->keeper, RF_KEEPER_ADOPT, generation, pid, 0);
        }
        return;
    }
    s = rf_supervisor_owner(s, generation); /* a branch of it */
    if (!s || !s->link || generation != rf_link_generation(s->link))
        return; /* too late, or a lie: the watchdog decides */
    if (pid)
        rf_supervisor_adopt(s, pid);
    else if (s->state == RESUMING)
        rf_supervisor_give_up_resume(s);
}

static void on_checkpoint_gone(void *ctx, struct rf_checkpoint *checkpoint)
{
    struct rf_supervisor *s = ctx;
    struct rf_checkpoint_entry *entry =
        rf_checkpoints_by_id(&s->checkpoints, rf_checkpoint_id(checkpoint));
    if (entry)
        rf_supervisor_lose_checkpoint(s, entry);
    else if (checkpoint == s->making.process) /* the worker does not know, and will tell of it */
        s->making.gone = true;
}

static const struct rf_checkpoint_events checkpoint_events = {on_resumed, on_copied,
                                                              on_checkpoint_gone};

void rf_supervisor_other_died(struct rf_supervisor *s, uint64_t id)
{
    struct rf_checkpoint_entry *gone = rf_checkpoints_by_id(&s->checkpoints, id);
    if (gone)
        rf_supervisor_lose_checkpoint(s, gone);
    else if (s->arrival.link && id == rf_link_generation(s->arrival.link))
        abandon_rollback(s, "its worker died");
}

void rf_supervisor_close_checkpoints(struct rf_supervisor *s)
{
    if (s->arrival.link)
        drop_arrival(s);
    rf_checkpoints_clear(&s->checkpoints);
    rf_supervisor_drop_making(s);
    s->resumed = (struct rf_checkpoint_entry){0};
    s->before_rollback = 0;
}
