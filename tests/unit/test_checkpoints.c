/* gateway/supervise/checkpoints: names, numbers, which one is next. */
#include <unistd.h>

#include "tests/unit/check.h"

#include "gateway/supervise/checkpoints.h"

static void on_resumed(void *ctx, struct rf_checkpoint *checkpoint, uint64_t generation, int pid)
{
}

static void on_copied(void *ctx, struct rf_checkpoint *checkpoint, uint64_t bytes)
{
}

static void on_gone(void *ctx, struct rf_checkpoint *checkpoint)
{
}

static const struct rf_checkpoint_events events = {on_resumed, on_copied, on_gone};

static uv_loop_t loop;
static struct rf_checkpoints list;

static const struct rf_checkpoint_entry *add(uint64_t id, const char *name, bool ordered)
{
    int far = -1;
    struct rf_checkpoint_note note = {.ordered = ordered};
    snprintf(note.name, sizeof(note.name), "%s", name);
    struct rf_checkpoint *process = rf_checkpoint_new(&loop, id, &far, &events, NULL);
    assert_non_null(process);
    close(far);
    return rf_checkpoints_add(&list, process, &note);
}

static uint64_t number_of(const char *text)
{
    const struct rf_checkpoint_entry *found = rf_checkpoints_find(&list, rf_bytes_str(text));
    return found ? found->number : 0;
}

static uint64_t newest(void)
{
    const struct rf_checkpoint_entry *found = rf_checkpoints_newest(&list);
    return found ? found->number : 0;
}

static int setup(void **state)
{
    list = (struct rf_checkpoints){0};
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    rf_checkpoints_clear(&list);
    assert_int_equal(list.n, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void names(void **state)
{
    static const char *const good[] = {"a", "_", "before-step.2", "A_1"};
    static const char *const bad[] = {"", "1", "-a", "a b", "a/b", "\xc3\xa9", "a\n", "%a"};
    struct rf_error err = {0};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(rf_checkpoint_check_name(rf_bytes_str(good[i]), &err), 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (!rf_checkpoint_check_name(rf_bytes_str(bad[i]), &err))
            fail_msg("'%s' passes", bad[i]);
    char text[RF_CHECKPOINT_NAME_MAX + 2];
    memset(text, 'x', sizeof(text));
    assert_int_equal(rf_checkpoint_check_name(
                         (struct rf_bytes){(uint8_t *)text, RF_CHECKPOINT_NAME_MAX}, &err), 0);
    assert_int_not_equal(rf_checkpoint_check_name(
                             (struct rf_bytes){(uint8_t *)text, RF_CHECKPOINT_NAME_MAX + 1}, &err),
                         0);
    assert_non_null(strstr(err.text, "letter"));
    assert_int_equal(rf_checkpoint_class_of(RF_BYTES("full")), RF_CHECKPOINT_FULL);
    assert_int_equal(rf_checkpoint_class_of(RF_BYTES("crash-only")), RF_CHECKPOINT_CRASH_ONLY);
    assert_int_equal(rf_checkpoint_class_of(RF_BYTES("none")), -1);
}

static void names_move_and_numbers_do_not(void **state)
{
    add(11, "a", true);
    add(12, "", false);
    add(13, "a", true);
    assert_int_equal(list.n, 2);
    assert_int_equal(number_of("a"), 3);
    assert_int_equal(number_of("1"), 0);
    assert_int_equal(number_of("2"), 2);
    assert_int_equal(number_of(""), 0);
    assert_int_equal(number_of("0"), 0);
    assert_int_equal(rf_checkpoints_by_id(&list, 12)->number, 2);
    assert_null(rf_checkpoints_by_id(&list, 11));
    assert_int_equal(rf_checkpoints_ordered(&list), 1);
    rf_checkpoints_drop(&list, 3);
    rf_checkpoints_drop(&list, 3);
    add(14, "", true);
    assert_int_equal(newest(), 4);
}

static void the_current_one_is_next(void **state)
{
    assert_int_equal(newest(), 0);
    add(11, "a", true);
    add(12, "", false);
    add(13, "", false);
    assert_int_equal(newest(), 3);
    rf_checkpoints_went_back(&list, 1);
    assert_int_equal(newest(), 1);
    rf_checkpoints_find(&list, RF_BYTES("a"))->distrusted = true;
    assert_int_equal(newest(), 3);
    rf_checkpoints_drop(&list, 3);
    assert_int_equal(newest(), 2);
    rf_checkpoints_find(&list, RF_BYTES("2"))->distrusted = true;
    assert_int_equal(newest(), 0);
}

static void automatic_ones_go(void **state)
{
    add(11, "", false);
    add(12, "a", true);
    add(13, "", false);
    add(14, "", false);
    add(15, "", false);
    rf_checkpoints_keep_automatic(&list, 3);
    assert_int_equal(list.n, 3); /* the user's, number 3, and the current one */
    assert_int_equal(number_of("3"), 3);
    assert_int_equal(number_of("5"), 5);
    rf_checkpoints_keep_automatic(&list, 0);
    assert_int_equal(list.n, 2);
}

static void there_is_an_end(void **state)
{
    for (uint64_t i = 0; i < RF_CHECKPOINTS_MAX; i++)
        assert_non_null(add(i + 1, "", true));
    assert_null(add(99, "", true));
    assert_int_equal(list.n, RF_CHECKPOINTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names, setup, teardown),
        cmocka_unit_test_setup_teardown(names_move_and_numbers_do_not, setup, teardown),
        cmocka_unit_test_setup_teardown(the_current_one_is_next, setup, teardown),
        cmocka_unit_test_setup_teardown(automatic_ones_go, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_an_end, setup, teardown),
    };
    return TESTS(tests);
}
