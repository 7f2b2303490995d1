/* What supervisor.c (life and death of workers) and supervisor_checkpoints.c share.
 *
 * Private to these two files.  The object is in supervisor.h.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_SUPERVISOR_IMPL_H
#define RINGFENCE_GATEWAY_SUPERVISE_SUPERVISOR_IMPL_H

#include "gateway/supervise/answers.h"
#include "gateway/supervise/checkpoints.h"
#include "gateway/supervise/keeper.h"
#include "gateway/supervise/link.h"
#include "gateway/supervise/policy.h"
#include "gateway/supervise/spawning.h"
#include "gateway/supervise/supervisor.h"

#define RF_SUPERVISOR_REASON_MAX 420

enum rf_supervisor_state {
    STARTING, /* a fresh worker was asked for */
    RESUMING, /* a checkpoint was told to go on; the death is not reported yet */
    RUNNING,
    FAILED,
    STOPPING,
    STOPPED,
};

enum { IDLE, WATCHDOG, CLOSED, ORDER, AHEAD, NUDGE, TIMERS };

/* A death between its notice and its report, which says what became of it. */
struct rf_supervisor_death {
    bool pending;
    int wait_status;
    char reason[RF_SUPERVISOR_REASON_MAX];
    struct rf_buf text;
};

/* A worker on its way out of a checkpoint while the old one still stands: a rollback is
 * done when it says HELLO, and until then nothing has happened. */
struct rf_supervisor_arrival {
    struct rf_link *link; /* owned; NULL: none is on its way */
    struct rf_checkpoint_entry from; /* a copy; its process may be gone */
    bool adopted;
};

/* An order to make a checkpoint that is not answered yet. */
struct rf_supervisor_making {
    struct rf_checkpoint *process; /* owned; NULL: none is being made */
    int64_t most_us; /* what the copies since the last one may have cost, else none is made */
    bool gone;      /* that process ended already; the worker's word of it is to come */
    bool was_idle;  /* when it was ordered: at no charge */
    bool ordered;   /* by the user, who waits for an answer */
    bool in_cell;   /* likewise, at the end of the cell that runs */
    bool branch;    /* and then to make a branch of it; it counts as automatic */
    char name[RF_CHECKPOINT_NAME_MAX + 1];
};

struct rf_supervisor {
    uv_loop_t *loop;
    struct rf_supervisor_options options;
    const struct rf_supervisor_events *events; /* borrowed */
    void *ctx;
    struct rf_kernel *kernel; /* borrowed */
    enum rf_supervisor_state state;
    uint64_t next_id; /* generations and checkpoints */
    int starts;       /* workers since one was given work, or lived for long */
    uint64_t ready_ms; /* when the current worker said HELLO */
    struct rf_spawning *spawning;
    struct rf_keeper *keeper;
    struct rf_link *link;
    struct rf_checkpoints checkpoints;
    struct rf_supervisor_making making;
    struct rf_answers *answers; /* owned */
    struct rf_supervisor_arrival arrival;
    struct rf_checkpoint_entry resumed; /* likewise, of which the worker comes; number 0: none */
    uint64_t before_rollback; /* of the one that holds the state before the last rollback; 0: none */
    bool adopted;     /* the keeper knows the current worker */
    struct rf_policy policy;
    struct rf_supervisor_death death;
    struct rf_enclosure *enclosure;
    struct rf_buf policy_text; /* of the request that is under way */
    bool entered;           /* the sandbox is in its enclosure: cells may run */
    bool hello_waits;       /* until then HELLO, the worker's first message, is kept here */
    struct rf_buf hello[2];
    bool large;   /* what the sandbox held when it was last looked at */
    bool watched; /* by the keeper, so that the end of the current worker is heard of early */
    bool over_memory;        /* the current worker's end was the memory limit's */
    char broken[RF_SUPERVISOR_REASON_MAX]; /* why the worker was killed by us; empty: it was not */
    char lost[RF_KEEPER_TEXT_MAX];
    uv_timer_t timers[TIMERS];
    int open_timers;
    bool ending; /* the keeper was told to end */
    /* supervisor_branches.c; a branch borrows keeper and enclosure of its home */
    struct rf_supervisor *home; /* of a branch: whose sandbox it lives in; NULL: its own */
    struct rf_supervisor *branches, *next_branch; /* borrowed: those that live in this one's */
    uint64_t serial, last_serial;                 /* upper half of all ids; 0: of the home */
    bool orphaned; /* freed, but for what the branches need */
    /* supervisor_memory.c */
    char gone[64]; /* which checkpoints went for want of memory, and nobody was told yet */
};

static inline int64_t rf_supervisor_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* --- supervisor.c --- */

extern const struct rf_link_events rf_supervisor_link_events;

/* Names a resumed worker to the keeper, unless that was done. */
void rf_supervisor_adopt(struct rf_supervisor *s, int pid);
void rf_supervisor_watch(struct rf_supervisor *s, bool on);
/* The resumed worker did not come: another checkpoint, or a fresh worker. */
void rf_supervisor_give_up_resume(struct rf_supervisor *s);
/* What a link passes on, of the current worker. */
void rf_supervisor_pass_frame(struct rf_supervisor *s, const struct rf_frame *frame);

/* No worker can be had. */
void rf_supervisor_fail(struct rf_supervisor *s, const struct rf_error *why);
/* A checkpoint was told to make a worker: it has so long to say HELLO. */
void rf_supervisor_await_ready(struct rf_supervisor *s);

/* --- supervisor_branches.c --- */

/* Makes a branch of it, and answers the order. */
void rf_supervisor_branch_from(struct rf_supervisor *s, const struct rf_checkpoint_entry *from);
/* Does nobody else live in its sandbox? */
bool rf_supervisor_is_alone(const struct rf_supervisor *s);
/* Whose worker, checkpoint or answer has this id; NULL: nobody's that is left. */
struct rf_supervisor *rf_supervisor_owner(struct rf_supervisor *s, uint64_t id);
/* Whose worker is to go where the memory of all is too much; NULL: nobody's. */
struct rf_supervisor *rf_supervisor_largest(struct rf_supervisor *home);
void rf_supervisor_each_branch(struct rf_supervisor *home,
                               void (*act)(struct rf_supervisor *branch));
/* It is freed: out of its home.  False: it has to stay, since it is the home of others. */
bool rf_supervisor_part(struct rf_supervisor *s);

/* --- supervisor_memory.c --- */

/* Checkpoints alone hold `kept` bytes of the `most` that there may be.  True: one was dropped. */
bool rf_supervisor_relieve(struct rf_supervisor *home, uint64_t kept, uint64_t most);
/* As the enclosure's event: says which are to go first when the machine ends a process. */
bool rf_supervisor_on_kept(void *home, uint64_t kept, uint64_t most);
/* Its process ended by itself: drops it, and keeps what there is to tell. */
void rf_supervisor_lose_checkpoint(struct rf_supervisor *s,
                                   const struct rf_checkpoint_entry *entry);
/* What a cell is to be told of those that went, once; NULL: nothing. */
const char *rf_supervisor_gone_words(struct rf_supervisor *s);

/* --- supervisor_checkpoints.c --- */

/* Has `from` make a worker with a link of its own; NULL when it cannot. */
struct rf_link *rf_supervisor_make_worker(struct rf_supervisor *s,
                                          const struct rf_checkpoint_entry *from,
                                          const struct rf_link_events *events);
/* What became of an order; `branch`: a JSON object, or empty. */
void rf_supervisor_refuse(struct rf_supervisor *s, const struct rf_error *err);
void rf_supervisor_confirm(struct rf_supervisor *s, const struct rf_checkpoint_entry *entry,
                           struct rf_bytes branch);

/* The automatic one.  The order needs no pause: the worker takes it before any later
 * request. */
void rf_supervisor_take_checkpoint(struct rf_supervisor *s, bool idle);
/* A request was given to the worker: the newest checkpoint looks now and then, until it is
 * done, what there is to be copied ahead. */
void rf_supervisor_look_ahead(struct rf_supervisor *s);
/* RF_MSG_CHECKPOINTED; -EPROTO when it breaks the protocol. */
int rf_supervisor_on_checkpointed(struct rf_supervisor *s, const struct rf_frame *frame);
/* Has the newest checkpoint that can go on make the next worker; false: there is none. */
bool rf_supervisor_resume(struct rf_supervisor *s);
/* The checkpoint that was resumed last does not make a worker that lives. */
void rf_supervisor_distrust(struct rf_supervisor *s);
extern const struct rf_answers_events rf_supervisor_answers_events;
/* The keeper's word of a death that was not the worker's. */
void rf_supervisor_other_died(struct rf_supervisor *s, uint64_t id);
/* The kernel ends: no rollback comes about any more, and no branch. */
void rf_supervisor_forget_orders(struct rf_supervisor *s);
/* A worker on its way takes the place of the one that has died; false: none is. */
bool rf_supervisor_promote_arrival(struct rf_supervisor *s);
/* The worker is gone, and with it what it was making. */
void rf_supervisor_drop_making(struct rf_supervisor *s);
void rf_supervisor_close_checkpoints(struct rf_supervisor *s);

#endif
