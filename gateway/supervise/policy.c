/* See policy.h. */
#include "gateway/supervise/policy.h"

int64_t rf_policy_expected(const struct rf_policy *policy)
{
    int64_t known = policy->cost_us ? policy->cost_us : RF_POLICY_FIRST_US;
    return known > policy->copied_us ? known : policy->copied_us;
}

static void refill(struct rf_policy *policy, int64_t now_us)
{
    if (!policy->refilled_us)
        policy->budget_us = RF_POLICY_BURST_US;
    else if (now_us > policy->refilled_us)
        policy->budget_us += (now_us - policy->refilled_us) / RF_POLICY_SHARE;
    if (policy->budget_us > RF_POLICY_BURST_US)
        policy->budget_us = RF_POLICY_BURST_US;
    policy->refilled_us = now_us;
}

void rf_policy_ran(struct rf_policy *policy, int64_t run_us, int64_t now_us)
{
    refill(policy, now_us);
    policy->row = now_us - run_us - policy->ended_us < RF_POLICY_PAUSE_US ? policy->row + 1 : 0;
    policy->ended_us = now_us;
    policy->risk_us += run_us;
    policy->dirty = policy->unsettled = true;
}

bool rf_policy_due(struct rf_policy *policy, int64_t now_us)
{
    if (!policy->dirty)
        return false;
    refill(policy, now_us);
    return rf_policy_affords(policy) >= rf_policy_expected(policy);
}

int64_t rf_policy_affords(const struct rf_policy *policy)
{
    int64_t at_risk = policy->risk_us / RF_POLICY_RISK;
    return policy->row < RF_POLICY_ROW && policy->budget_us > at_risk ? policy->budget_us : at_risk;
}

void rf_policy_learned(struct rf_policy *policy, int64_t cost_us)
{
    if (policy->cost_us < cost_us)
        policy->cost_us = cost_us;
}

void rf_policy_copied(struct rf_policy *policy, int64_t cost_us)
{
    policy->copied_us += cost_us;
}

bool rf_policy_may_wait(const struct rf_policy *policy, int64_t now_us)
{
    return !policy->dirty && now_us - policy->ended_us < RF_POLICY_CROWD_US;
}

void rf_policy_taken(struct rf_policy *policy, int64_t cost_us, bool idle)
{
    cost_us += policy->copied_us;
    policy->copied_us = 0;
    /* Up at once, since a cell that rewrites all memory may come again and again; down slowly. */
    policy->cost_us = cost_us < policy->cost_us ? (3 * policy->cost_us + cost_us) / 4 : cost_us;
    if (policy->cost_us < 1)
        policy->cost_us = 1;
    if (!idle)
        policy->budget_us -= cost_us;
    policy->risk_us = 0;
    policy->dirty = false;
    policy->unsettled &= !idle;
}

void rf_policy_reset(struct rf_policy *policy)
{
    policy->risk_us = policy->copied_us = 0;
    policy->dirty = policy->unsettled = false;
}
