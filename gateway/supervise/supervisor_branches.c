/* Branches: kernels that live in the sandbox of another one, their home.
 *
 * The home is the supervisor that asked the zygote for the sandbox; its keeper and
 * enclosure serve all of them, and go when the last has ended, also after the home's own
 * kernel.  Ids are told apart by their upper half, the serial number of the supervisor.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "gateway/supervise/supervisor_impl.h"

#define SERIAL_SHIFT 32

static struct rf_supervisor *home_of(const struct rf_supervisor *s)
{
    return s->home ? s->home : (struct rf_supervisor *)s;
}

/* --- who lives there --- */

bool rf_supervisor_is_alone(const struct rf_supervisor *s)
{
    const struct rf_supervisor *home = home_of(s);
    for (const struct rf_supervisor *branch = home->branches; branch; branch = branch->next_branch)
        if (branch != s && branch->state != STOPPED)
            return false;
    return home == s || home->state == STOPPED;
}

struct rf_supervisor *rf_supervisor_owner(struct rf_supervisor *s, uint64_t id)
{
    uint64_t serial = (id & ~RF_ANSWERS_FIRST_ID) >> SERIAL_SHIFT;
    struct rf_supervisor *owner = home_of(s);
    for (owner = serial ? owner->branches : owner; owner && owner->serial != serial;)
        owner = owner->next_branch;
    return owner;
}

static bool may_be_it(const struct rf_supervisor *s)
{
    return s->state == RUNNING && s->link && s->kernel && !s->broken[0];
}

struct rf_supervisor *rf_supervisor_largest(struct rf_supervisor *home)
{
    struct rf_supervisor *found = may_be_it(home) ? home : NULL;
    for (struct rf_supervisor *s = home->branches; s; s = s->next_branch)
        if (may_be_it(s) && (!found || (rf_kernel_is_busy(s->kernel) &&
                                        !rf_kernel_is_busy(found->kernel))))
            found = s; /* what grows is a cell */
    return found;
}

void rf_supervisor_each_branch(struct rf_supervisor *home, void (*act)(struct rf_supervisor *branch))
{
    for (struct rf_supervisor *branch = home->branches, *next; branch; branch = next) {
        next = branch->next_branch; /* it may go */
        act(branch);
    }
}

/* --- coming --- */

static int join(struct rf_supervisor *branch, struct rf_supervisor *from,
                const struct rf_checkpoint_entry *entry)
{
    struct rf_supervisor *home = home_of(from);
    branch->home = home;
    branch->next_branch = home->branches;
    home->branches = branch;
    branch->serial = ++home->last_serial;
    branch->next_id = (branch->serial << SERIAL_SHIFT) + 1;
    branch->keeper = home->keeper;
    branch->enclosure = home->enclosure;
    branch->entered = true;
    memcpy(branch->lost, home->lost, sizeof(branch->lost));
    branch->events->on_made(branch->ctx);
    branch->link = rf_supervisor_make_worker(branch, entry, &rf_supervisor_link_events);
    if (!branch->link)
        return -EIO;
    branch->state = RESUMING;
    rf_supervisor_await_ready(branch);
    return 0;
}

static void make_branch(struct rf_supervisor *s, const struct rf_checkpoint_entry *from,
                        struct rf_buf *text, struct rf_error *err)
{
    if (from->note.class == RF_CHECKPOINT_CRASH_ONLY) {
        rf_error_set(err, -EPERM, "no branch can be made of checkpoint %" PRIu64 " (%s): end what "
                                  "it names and try again", from->number, from->note.reason);
        return;
    }
    struct rf_supervisor *branch =
        s->events->on_branch(s->ctx, &from->note.mark, text, err);
    if (!branch || !join(branch, s, from))
        return;
    rf_error_set(err, -EIO, "checkpoint %" PRIu64 " could not make a worker", from->number);
    rf_supervisor_fail(branch, err);
}

void rf_supervisor_branch_from(struct rf_supervisor *s, const struct rf_checkpoint_entry *from)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    struct rf_error err = {0};
    make_branch(s, from, &text, &err);
    if (err.code)
        rf_supervisor_refuse(s, &err);
    else
        rf_supervisor_confirm(s, from, rf_buf_bytes(&text));
}

/* --- going --- */

static void leave_home(struct rf_supervisor *s)
{
    struct rf_supervisor **at = &s->home->branches, *home = s->home;
    while (*at != s)
        at = &(*at)->next_branch;
    *at = s->next_branch;
    s->home = NULL;
    if (home->orphaned)
        rf_supervisor_free(home);
}

static void hear_nothing(void *ctx)
{
    (void)ctx;
}

static void hear_no_failure(void *ctx, const struct rf_error *why)
{
    (void)ctx;
    (void)why;
}

static const struct rf_supervisor_events nobody = {
    .on_made = hear_nothing, .on_failed = hear_no_failure, .on_stopped = hear_nothing};

/* The home stays for its branches, without a kernel. */
static bool stay(struct rf_supervisor *home)
{
    if (!home->branches)
        return false;
    home->orphaned = true;
    home->events = &nobody;
    home->kernel = NULL;
    return true;
}

bool rf_supervisor_part(struct rf_supervisor *s)
{
    if (!s->home)
        return !stay(s);
    leave_home(s);
    return true;
}
