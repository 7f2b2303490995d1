/* When to take the automatic checkpoint.  Pure: time comes as an argument.
 *
 * A checkpoint costs a fork and, in the next cell, the copying of the pages
 * that both share.  One is taken right after a cell as long as a small budget
 * lasts (a share of the time that passes, with a burst for the first few
 * cells), unless the cells follow each other without a pause, as a program sends
 * them; or when the cells since the last one took RF_POLICY_RISK times its cost.
 * When the kernel has been idle for RF_POLICY_IDLE_US one is taken at no charge, in
 * the place of a hasty one too: then there is time to give back memory before it.
 * So the cells that a person runs are each covered at once, and a loop of small
 * cells loses no more than that share.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_POLICY_H
#define RINGFENCE_GATEWAY_SUPERVISE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define RF_POLICY_IDLE_US 50000
#define RF_POLICY_CROWD_US 2000000 /* and so long at the most where others want the processors */
#define RF_POLICY_RISK 20
#define RF_POLICY_SHARE 33        /* one part in so many of the time that passes */
#define RF_POLICY_BURST_US 40000  /* the budget's upper bound */
#define RF_POLICY_FIRST_US 4000   /* what the first checkpoint is thought to cost */
#define RF_POLICY_PAUSE_US 10000  /* between two cells: a busy program may take so long, too */
#define RF_POLICY_ROW 2           /* so many cells without a pause are no loop yet */

struct rf_policy {
    int64_t cost_us;   /* expected; 0: not known yet */
    int64_t copied_us; /* since the last one, in the worker's stead */
    int64_t budget_us;
    int64_t refilled_us; /* when the budget was last counted up; 0: never */
    int64_t risk_us;     /* run time of the cells since the last checkpoint */
    int64_t ended_us;    /* when the last cell ended */
    int row;             /* cells that followed each other without a pause */
    bool dirty;          /* there were cells since then */
    bool unsettled;      /* there were cells since the last one that was taken when idle */
};

/* A request that may have changed the state ended at now_us after run_us. */
void rf_policy_ran(struct rf_policy *policy, int64_t run_us, int64_t now_us);
/* Should one be taken now, right after a cell? */
bool rf_policy_due(struct rf_policy *policy, int64_t now_us);
/* What the next one is thought to cost.  The cells that a crash takes with the one that
 * crashes ran for less than RF_POLICY_RISK times this in all. */
int64_t rf_policy_expected(const struct rf_policy *policy);
/* Is one to be taken when the kernel has been idle? */
static inline bool rf_policy_wants_idle(const struct rf_policy *policy)
{
    return policy->unsettled;
}
/* May that wait, since it is about memory only and a hasty one holds the state? */
bool rf_policy_may_wait(const struct rf_policy *policy, int64_t now_us);
/* One was taken and cost so much; `idle`: nobody waited. */
void rf_policy_taken(struct rf_policy *policy, int64_t cost_us, bool idle);
/* What one that may be taken now, right after a cell, may cost at most. */
int64_t rf_policy_affords(const struct rf_policy *policy);
/* None was taken, since it had cost so much. */
void rf_policy_learned(struct rf_policy *policy, int64_t cost_us);
/* The newest one copies pages of this worth in the worker's stead. */
void rf_policy_copied(struct rf_policy *policy, int64_t cost_us);
/* The worker was replaced: what was at risk is lost. */
void rf_policy_reset(struct rf_policy *policy);

#endif
