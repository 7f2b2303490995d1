/* gateway/jupyter/kernel_orders and losses: orders about checkpoints, and what is undone. */
#include <errno.h>

#include "gateway/jupyter/losses.h"
#include "tests/unit/kernel_rig.h"

#define DETAILS "{\"number\":7,\"name\":\"here\"}"

static int say_order(struct rig *rig, uint64_t id, const char *operation, const char *argument,
                     const char *alone)
{
    struct rf_bytes parts[] = {rf_bytes_str(operation), rf_bytes_str(argument),
                               rf_bytes_str(alone)};
    return rig_worker(rig, RF_MSG_ORDER, id, 3, parts);
}

static void run_cell(struct rig *rig, int number, const char *code)
{
    rig_execute(rig, number, code, "");
    rig_reply(rig, (uint64_t)number, RIG_OK);
}

static void roll_back(struct rig *rig, const struct rf_kernel_mark *mark)
{
    rf_kernel_on_rolled_back(rig->kernel, mark, RF_BYTES(DETAILS), rig->now);
}

static void a_cell_orders(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "%checkpoint here", "");
    rig_clear(rig);
    assert_int_equal(say_order(rig, 1, "checkpoint", "here", "1"), 0);
    rig_expect(rig, "order 0 here in cell\n");
    assert_int_equal(say_order(rig, 1, "list", "", ""), -EPROTO); /* one at a time */
    assert_int_equal(rig_reply(rig, 1, RIG_OK), -EPROTO);         /* the answer comes first */
    rf_kernel_on_ordered(rig->kernel, NULL, RF_BYTES("null"), rig->now);
    rf_kernel_on_ordered(rig->kernel, NULL, RF_BYTES("{}"), rig->now);
    rig_expect(rig, "worker 5 1 {\"status\":\"ok\",\"operation\":\"checkpoint\",\"checkpoint\":null}\n"
                    "worker 5 1 {\"status\":\"ok\",\"operation\":\"checkpoint\",\"checkpoint\":{}}\n");
    assert_int_equal(say_order(rig, 1, "list", "", ""), 0);
    rig_expect(rig, "worker 5 1 {\"status\":\"ok\",\"operation\":\"list\",\"checkpoints\":[]}\n");
    assert_int_equal(say_order(rig, 1, "fly", "", ""), 0);
    rig_expect(rig, "worker 5 1\n"); /* too long for the log: the error that says what to use */
    assert_int_equal(rig_reply(rig, 1, RIG_OK), 0);
    assert_non_null(strstr(rig_log(rig), "rested 0 0")); /* it changed nothing */
    rig_clear(rig);
    rf_kernel_on_ordered(rig->kernel, NULL, RF_BYTES(DETAILS), rig->now); /* too late */
    rig_expect(rig, "");
    rig_free(rig);
}

static void breaches(void **state)
{
    struct rig *rig = rig_new_ready();
    char text[258];
    memset(text, 'x', sizeof(text) - 1);
    text[257] = 0;
    assert_int_equal(say_order(rig, 1, "list", "", ""), -EPROTO); /* no cell runs */
    rig_execute(rig, 1, "a", "");
    assert_int_equal(say_order(rig, 2, "list", "", ""), -EPROTO);
    assert_int_equal(say_order(rig, 1, text, "", ""), -EPROTO);
    assert_int_equal(say_order(rig, 1, "drop", text, ""), -EPROTO);
    rig_reply(rig, 1, RIG_OK);
    rig_send(rig, RF_SHELL, 2, "complete_request", "{}");
    assert_int_equal(say_order(rig, 2, "list", "", ""), -EPROTO);
    rig_free(rig);
}

static void a_client_orders(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    rig_clear(rig);
    rig_send(rig, RF_CONTROL, 2, "ringfence_checkpoint_request",
             "{\"operation\":\"rollback\",\"name\":\"here\"}");
    rig_send(rig, RF_CONTROL, 3, "ringfence_checkpoints_request", "{}");
    rig_expect(rig, "busy m3\ncontrol ringfence_checkpoints_reply m3 c3 "
                    "{\"status\":\"ok\",\"checkpoints\":[]}\nidle m3\nbusy m1\n");
    rig_reply(rig, 1, RIG_OK);
    assert_non_null(strstr(rig_log(rig), "busy m2\norder 1 here\n"));
    rig_clear(rig);
    assert_int_equal(rig_reply(rig, 2, RIG_OK), -EPROTO); /* none of the worker's */
    struct rf_error err = {.code = -ENOENT, .text = "no such"};
    rf_kernel_on_ordered(rig->kernel, &err, (struct rf_bytes){0}, rig->now);
    rig_expect(rig, "control ringfence_checkpoint_reply m2 c2 {\"status\":\"error\",\"ename\":"
                    "\"CheckpointError\",\"evalue\":\"no such\",\"traceback\":[\"no such\"]}\n"
                    "idle m2\nrested 0 0\n");
    rig_send(rig, RF_SHELL, 4, "ringfence_checkpoint_request", "{\"operation\":\"undo\"}");
    rig_die(rig, RIG_SIGSEGV, true);
    assert_non_null(strstr(rig_log(rig), "ringfence_checkpoint_reply m4 c4 {\"status\":\"error\""));
    rig_hello(rig);
    rig_send(rig, RF_SHELL, 9, "ringfence_checkpoint_request", "{\"operation\":\"fly\"}");
    assert_non_null(strstr(rig_log(rig), "use list, checkpoint, rollback"));
    rig_clear(rig);
    for (int i = 5; i < 5005; i++) /* answered within the call: no recursion */
        rig_send(rig, RF_SHELL, i, "ringfence_checkpoint_request", "{\"operation\":\"list\"}");
    assert_non_null(strstr(rig_log(rig), "idle m5004\n"));
    rig_free(rig);
}

static void many_wait(void **state)
{
    struct rig *rig = rig_new_ready();
    rig_execute(rig, 1, "a", "");
    for (int i = 2; i < 5000; i++)
        rig_send(rig, RF_SHELL, i, "ringfence_checkpoint_request", "{\"operation\":\"list\"}");
    rig_clear(rig);
    rig_reply(rig, 1, RIG_OK);
    assert_non_null(strstr(rig_log(rig), "idle m4999\n"));
    rig_free(rig);
}

static void a_rollback_answers_the_cell(void **state)
{
    struct rig *rig = rig_new_ready();
    run_cell(rig, 1, "one");
    rig_checkpoint(rig);
    struct rf_kernel_mark mark = rig->mark;
    assert_int_equal(mark.count, 1);
    run_cell(rig, 2, "two");
    rig_execute(rig, 3, "%rollback", "");
    rig_execute(rig, 4, "next", "");
    say_order(rig, 3, "rollback", "", "1");
    rig_clear(rig);
    roll_back(rig, &mark);
#define TEXT                                                                                       \
    "Rolled back to checkpoint 7 'here', made after In [1].\\nCells that are rolled back "        \
    "(%recover puts their source back):\\n  In [2]: two\\nVariables are as they were then; "      \
    "files that were written since stay as they are.\\n"
    rig_expect(rig, "stream m3 {\"name\":\"stdout\",\"text\":\"" TEXT "\"}\n"
                    "shell execute_reply m3 c3 {\"status\":\"ok\",\"operation\":\"rollback\","
                    "\"checkpoint\":" DETAILS ",\"text\":\"" TEXT "\",\"execution_count\":3,"
                    "\"user_expressions\":{},\"payload\":[]}\nidle m3\n");
    rig_hello(rig);
    assert_non_null(strstr(rig_log(rig), "worker 1 4 execute_request 4")); /* counts go on */
    rig_clear(rig);
    say_order(rig, 4, "recover", "", "1");
    rig_expect(rig, "worker 5 4 {\"status\":\"ok\",\"operation\":\"recover\",\"left_out\":0,"
                    "\"cells\":[{\"execution_count\":2,\"source\":\"two\"}]}\n");
    rig_free(rig);
}

/* 1 - 2 - 3, back to 1, 4: two branches of a tree. */
static void what_is_undone(void **state)
{
    struct rig *rig = rig_new_ready();
    struct rf_kernel_mark marks[5] = {{0}};
    for (int i = 1; i <= 3; i++) {
        run_cell(rig, i, "cell");
        marks[i] = rf_kernel_on_checkpoint(rig->kernel, false);
    }
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[3]), 0);
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[1]), 2);
    roll_back(rig, &marks[1]);
    rig_hello(rig);
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[1]), 0);
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[2]), -1);
    run_cell(rig, 4, "four");
    rig_execute(rig, 5, "hidden", ",\"silent\":true");
    rig_reply(rig, 5, RIG_OK);
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[1]), 1); /* silent ones have no number */
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[0]), 2);
    rig_clear(rig);
    struct rf_death death = {.wait_status = 9, .resumed = true, .mark = marks[3]};
    rig_execute(rig, 6, "bang", ""); /* to the other branch: only what is ours is lost */
    rf_kernel_on_dead(rig->kernel, &death, rig->now);
    assert_non_null(strstr(rig_log(rig), "\"  In [4]: four\",\"  In [ ]: hidden\",\"  In [5]: bang\""));
    assert_int_equal(rf_kernel_undone(rig->kernel, &marks[1]), 2);
    rig_free(rig);
}

static void a_checkpoint_at_the_end_of_a_cell_holds_it(void **state)
{
    struct rig *rig = rig_new_ready();
    run_cell(rig, 1, "one");
    rig_execute(rig, 2, "x = 1", "");
    rig_publish(rig, 2, "comm_open", "{\"comm_id\":\"mine\"}");
    struct rf_kernel_mark mark = rf_kernel_on_checkpoint(rig->kernel, true);
    assert_int_equal(mark.count, 2);
    assert_int_equal(mark.cells, 2);
    assert_int_equal(mark.comms, 1);
    rig_reply(rig, 2, RIG_OK);
    assert_int_equal(rf_kernel_undone(rig->kernel, &mark), 0); /* not counted twice */
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cell_orders),
        cmocka_unit_test(breaches),
        cmocka_unit_test(a_client_orders),
        cmocka_unit_test(many_wait),
        cmocka_unit_test(a_rollback_answers_the_cell),
        cmocka_unit_test(what_is_undone),
        cmocka_unit_test(a_checkpoint_at_the_end_of_a_cell_holds_it),
    };
    return TESTS(tests);
}
