/* gateway/supervise/policy: when the automatic checkpoint is due. */
#include "tests/unit/check.h"

#include "gateway/supervise/policy.h"

#define SECOND 1000000

static void test_nothing_ran(void **state)
{
    struct rf_policy policy = {0};
    assert_false(rf_policy_due(&policy, SECOND));
    rf_policy_taken(&policy, 1000, false);
    assert_false(rf_policy_due(&policy, 100 * SECOND));
}

static void test_first_cells_are_covered_at_once(void **state)
{
    struct rf_policy policy = {0};
    int64_t now = 5;
    for (int i = 0; i < 5; i++, now += 100 + RF_POLICY_PAUSE_US) {
        rf_policy_ran(&policy, 100, now);
        assert_true(rf_policy_due(&policy, now));
        rf_policy_taken(&policy, 3000, false);
        assert_false(rf_policy_due(&policy, now)); /* nothing ran since */
    }
}

static void test_cells_of_a_person_are_covered(void **state)
{
    struct rf_policy policy = {0};
    int64_t now = 1;
    for (int i = 0; i < 200; i++, now += SECOND) {
        rf_policy_ran(&policy, 1000, now);
        assert_true(rf_policy_due(&policy, now));
        rf_policy_taken(&policy, 5000, false);
    }
}

/* Cells of one size, a pause before each: what part of the time goes to checkpoints? */
static int64_t cost_of_loop(int64_t cell_us, int64_t pause_us, int64_t cost_us, int64_t for_us)
{
    struct rf_policy policy = {0};
    int64_t now = 1, spent = 0, late_us = 0; /* a cell waits for the checkpoint before it */
    while (now < for_us) {
        now += pause_us + cell_us + late_us;
        rf_policy_ran(&policy, cell_us + late_us, now);
        bool due = rf_policy_due(&policy, now);
        late_us = due ? cost_us : 0;
        spent += late_us;
        if (due)
            rf_policy_taken(&policy, cost_us, false);
    }
    return spent;
}

static void test_a_loop_loses_a_small_share(void **state)
{
    static const int64_t cells[] = {50, 300, 1000, 10000, 200000, 2 * SECOND};
    static const int64_t costs[] = {1, 500, 2000, 30000, 400000, 2 * SECOND};
    int64_t time = 300 * SECOND;
    for (size_t i = 0; i < COUNT_OF(cells); i++)
        for (size_t j = 0; j < COUNT_OF(costs); j++) {
            int64_t spent = cost_of_loop(cells[i], RF_POLICY_PAUSE_US, costs[j], time);
            int64_t most = RF_POLICY_BURST_US + time / RF_POLICY_SHARE + time / RF_POLICY_RISK +
                           2 * costs[j];
            if (spent > most)
                fail_msg(
                    "cells of %lld us, checkpoints of %lld us: %lld us were spent, at most %lld",
                    (long long)cells[i], (long long)costs[j], (long long)spent, (long long)most);
        }
}

/* A program's loop may be short: no burst is spent on it. */
static void test_a_short_loop_without_pauses(void **state)
{
    for (int64_t cell = 50; cell <= 5000; cell *= 10)
        for (int64_t cost = 100; cost <= RF_POLICY_BURST_US; cost *= 4) {
            int64_t time = 1000 * cell, spent = cost_of_loop(cell, 0, cost, time);
            if (spent > RF_POLICY_ROW * cost + time / RF_POLICY_RISK)
                fail_msg("1,000 cells of %lld us, checkpoints of %lld us: %lld us were spent",
                         (long long)cell, (long long)cost, (long long)spent);
        }
}

/* What only gives back memory waits in a crowd, but not for ever; what holds the state does not. */
static void test_a_crowd_is_given_way(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1, SECOND);
    assert_false(rf_policy_may_wait(&policy, SECOND + RF_POLICY_IDLE_US));
    rf_policy_taken(&policy, 700, false);
    assert_true(rf_policy_may_wait(&policy, SECOND + RF_POLICY_IDLE_US));
    assert_false(rf_policy_may_wait(&policy, SECOND + RF_POLICY_CROWD_US));
}

/* A hasty one is followed by another when there is time. */
static void test_settles(void **state)
{
    struct rf_policy policy = {0};
    assert_false(rf_policy_wants_idle(&policy));
    rf_policy_ran(&policy, 1, 1000);
    assert_true(rf_policy_wants_idle(&policy));
    rf_policy_taken(&policy, 700, false);
    assert_true(rf_policy_wants_idle(&policy));
    assert_false(rf_policy_due(&policy, 2000));
    rf_policy_taken(&policy, 700, true);
    assert_false(rf_policy_wants_idle(&policy));
}

static void test_risk(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 10, 1000);
    rf_policy_taken(&policy, SECOND, false); /* the budget is gone for long */
    int64_t now = 1000;
    for (int64_t risk = SECOND; risk < RF_POLICY_RISK * SECOND; risk += SECOND) {
        now += 1;
        rf_policy_ran(&policy, SECOND, now);
        assert_false(rf_policy_due(&policy, now));
    }
    rf_policy_ran(&policy, SECOND, now);
    assert_true(rf_policy_due(&policy, now));
}

static void test_idle_is_free(void **state)
{
    struct rf_policy policy = {0};
    for (int64_t now = 1000; now < 100000; now += RF_POLICY_PAUSE_US) {
        rf_policy_ran(&policy, 0, now);
        assert_true(rf_policy_due(&policy, now));
        rf_policy_taken(&policy, RF_POLICY_BURST_US / 2, true);
    }
}

static void test_cost_is_learned(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1, 1000);
    rf_policy_taken(&policy, 1000, true);
    assert_int_equal(policy.cost_us, 1000);
    rf_policy_taken(&policy, 9000, true);
    assert_int_equal(policy.cost_us, 9000); /* up at once */
    rf_policy_taken(&policy, 1000, true);
    assert_int_equal(policy.cost_us, 7000); /* down slowly */
    for (int i = 0; i < 100; i++)
        rf_policy_taken(&policy, 0, true);
    assert_int_equal(policy.cost_us, 1); /* known, and never zero */
}

/* Pages that were copied since the last one are a cost, before the next is taken. */
static void test_a_cell_that_rewrites_much(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1000, SECOND);
    rf_policy_taken(&policy, 3000, true);
    rf_policy_copied(&policy, SECOND / 4);
    int64_t now = 2 * SECOND, cells = 0;
    for (; cells < 1000; cells++, now += 50000) {
        rf_policy_ran(&policy, 50000, now);
        if (rf_policy_due(&policy, now))
            break;
    }
    assert_int_equal(cells + 1, RF_POLICY_RISK * (SECOND / 4) / 50000);
    rf_policy_taken(&policy, 4000, false);
    assert_int_equal(policy.cost_us, 4000 + SECOND / 4);
    assert_int_equal(policy.copied_us, 0);
}

/* The worker knew better what the next one would cost: it waits until that is worth it. */
static void test_one_that_is_too_dear(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1000, SECOND);
    assert_true(rf_policy_due(&policy, SECOND));
    assert_int_equal(rf_policy_affords(&policy), RF_POLICY_BURST_US);
    rf_policy_learned(&policy, SECOND);
    assert_false(rf_policy_due(&policy, SECOND));
    assert_true(rf_policy_wants_idle(&policy));
    rf_policy_ran(&policy, RF_POLICY_RISK * SECOND - 2000, 30 * SECOND);
    assert_false(rf_policy_due(&policy, 30 * SECOND));
    rf_policy_ran(&policy, 1000, 31 * SECOND);
    assert_true(rf_policy_due(&policy, 31 * SECOND));
    assert_int_equal(rf_policy_affords(&policy), SECOND);
    rf_policy_learned(&policy, 1000); /* less than is known says nothing */
    assert_int_equal(policy.cost_us, SECOND);
}

static void test_budget_has_an_upper_bound(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1, 1);
    rf_policy_ran(&policy, 1, 100000000LL * SECOND);
    assert_int_equal(policy.budget_us, RF_POLICY_BURST_US);
}

static void test_a_clock_that_stands(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 1, 5000);
    rf_policy_taken(&policy, 1000, false);
    int64_t budget = policy.budget_us;
    rf_policy_ran(&policy, 1, 5000);
    rf_policy_ran(&policy, 1, 4000);
    assert_int_equal(policy.budget_us, budget);
}

static void test_reset(void **state)
{
    struct rf_policy policy = {0};
    rf_policy_ran(&policy, 100 * SECOND, 1000);
    rf_policy_taken(&policy, 700, false);
    rf_policy_ran(&policy, 100 * SECOND, 2000);
    rf_policy_reset(&policy);
    assert_false(rf_policy_due(&policy, 3000));
    assert_int_equal(policy.risk_us, 0);
    assert_int_equal(policy.cost_us, 700); /* the next worker will cost the same */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_ran),
        cmocka_unit_test(test_first_cells_are_covered_at_once),
        cmocka_unit_test(test_cells_of_a_person_are_covered),
        cmocka_unit_test(test_a_loop_loses_a_small_share),
        cmocka_unit_test(test_a_short_loop_without_pauses),
        cmocka_unit_test(test_settles),
        cmocka_unit_test(test_a_crowd_is_given_way),
        cmocka_unit_test(test_risk),
        cmocka_unit_test(test_idle_is_free),
        cmocka_unit_test(test_cost_is_learned),
        cmocka_unit_test(test_a_cell_that_rewrites_much),
        cmocka_unit_test(test_one_that_is_too_dear),
        cmocka_unit_test(test_budget_has_an_upper_bound),
        cmocka_unit_test(test_a_clock_that_stands),
        cmocka_unit_test(test_reset),
    };
    return TESTS(tests);
}
