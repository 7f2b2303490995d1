/* Where memory is short, checkpoints go before the worker does.
 *
 * First the automatic one that is kept for %undo, then those that were ordered, the oldest
 * first, and last the one that a crash would resume; and only as long as what checkpoints
 * alone hold is a good part of the limit, since else the worker would get nothing by it.
 * Where cgroups count, the machine ends the process at the very moment at which a page
 * cannot be had; so the checkpoints whose turn it is are told ahead to be the first (RF_MSG_YIELD).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "gateway/supervise/supervisor_impl.h"

#define SHARE 8      /* of the limit: less is not worth a checkpoint */
#define LAST_SHARE 4 /* likewise that of which a crash goes on */

struct turn {
    struct rf_supervisor *s; /* NULL: nobody's */
    const struct rf_checkpoint_entry *entry;
    int rank;
};

static int rank_of(const struct rf_supervisor *s, const struct rf_checkpoint_entry *entry)
{
    return entry->number == s->checkpoints.current ? 2 : entry->note.ordered;
}

static bool may_go(const struct rf_supervisor *s, const struct rf_checkpoint_entry *entry,
                   uint64_t kept, uint64_t most)
{
    bool last = rank_of(s, entry) == 2;
    return kept >= most / (last ? LAST_SHARE : SHARE) &&
           (!last || (s->state == RUNNING && !s->arrival.link));
}

static void consider(struct turn *turn, struct rf_supervisor *s, uint64_t kept, uint64_t most)
{
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct rf_checkpoint_entry *entry = &s->checkpoints.entries[i];
        int rank = rank_of(s, entry);
        if (may_go(s, entry, kept, most) &&
            (!turn->s || rank < turn->rank ||
             (rank == turn->rank && entry->note.taken_us < turn->entry->note.taken_us)))
            *turn = (struct turn){s, entry, rank};
    }
}

static struct turn whose_turn(struct rf_supervisor *home, uint64_t kept, uint64_t most)
{
    struct turn turn = {0};
    consider(&turn, home, kept, most);
    for (struct rf_supervisor *s = home->branches; s; s = s->next_branch)
        consider(&turn, s, kept, most);
    return turn;
}

/* --- telling --- */

static void note_gone(struct rf_supervisor *s, const struct rf_checkpoint_entry *entry)
{
    size_t n = strlen(s->gone);
    int rank = rank_of(s, entry);
    rf_log(RF_LOG_WARN, "supervisor", "checkpoint %" PRIu64 " was dropped for want of memory",
           entry->number);
    if (rank == 0) /* %undo says by itself that there is nothing left */
        return;
    snprintf(s->gone + n, sizeof(s->gone) - n, "%s%" PRIu64 " %.20s", n ? ", " : "", entry->number,
             entry->note.name[0] ? entry->note.name : "(the newest)");
}

const char *rf_supervisor_gone_words(struct rf_supervisor *s)
{
    char before[110];
    if (!s->gone[0])
        return NULL;
    snprintf(before, sizeof(before), "dropped checkpoint %s to stay within ", s->gone);
    s->gone[0] = '\0';
    return rf_enclosure_memory_words(s->enclosure, before);
}

/* --- going --- */

bool rf_supervisor_relieve(struct rf_supervisor *home, uint64_t kept, uint64_t most)
{
    struct turn turn = whose_turn(home, kept, most);
    if (!turn.s)
        return false;
    note_gone(turn.s, turn.entry);
    rf_checkpoints_drop(&turn.s->checkpoints, turn.entry->number);
    return true;
}

void rf_supervisor_lose_checkpoint(struct rf_supervisor *s,
                                   const struct rf_checkpoint_entry *entry)
{
    if (s->enclosure && rf_enclosure_killed_one(s->enclosure))
        note_gone(s, entry);
    rf_checkpoints_drop(&s->checkpoints, entry->number);
    rf_enclosure_watch(s->enclosure, true);
}

/* One that went may free nothing, since the next one shares its pages; so those that may go
 * are told all at once. */
static void tell_turns(struct rf_supervisor *s, uint64_t kept, uint64_t most)
{
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct rf_checkpoint_entry *entry = &s->checkpoints.entries[i];
        unsigned turn = 1 + (unsigned)rank_of(s, entry) * RF_CHECKPOINTS_MAX + (unsigned)i;
        rf_checkpoint_yield(entry->process, may_go(s, entry, kept, most) ? turn : 0);
    }
}

static bool is_at_work(const struct rf_supervisor *s)
{
    return s->kernel && s->state == RUNNING && rf_kernel_is_busy(s->kernel);
}

bool rf_supervisor_on_kept(void *ctx, uint64_t kept, uint64_t most)
{
    struct rf_supervisor *home = ctx;
    bool work = is_at_work(home);
    tell_turns(home, kept, most);
    for (struct rf_supervisor *s = home->branches; s; s = s->next_branch) {
        tell_turns(s, kept, most);
        work |= is_at_work(s);
    }
    return work;
}
