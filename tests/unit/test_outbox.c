/* The list of waiting messages, and the topics that pick from it. */
#include "gateway/zmq/outbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#include <ringfence/limits.h>

#include "common/log.h"
#include "gateway/zmq/subscriptions.h"

static int add(struct rf_outbox *outbox, const char *topic, struct rf_bytes body, bool essential)
{
    struct rf_bytes first = rf_bytes_str(topic);
    return rf_outbox_add(outbox, &first, 1, &body, 1, essential);
}

static int add_text(struct rf_outbox *outbox, const char *topic, const char *text)
{
    return add(outbox, topic, rf_bytes_str(text), false);
}

static void test_readers_go_at_their_own_pace(void **state)
{
    struct rf_outbox *outbox = rf_outbox_new(0);
    assert_int_equal(add_text(outbox, "t", "for nobody"), 0);
    assert_int_equal(rf_outbox_waiting(outbox), 0);
    struct rf_outbox_item *fast = rf_outbox_end(outbox), *slow = rf_outbox_end(outbox);
    assert_true(rf_outbox_is_end(fast));
    assert_int_equal(add_text(outbox, "a", "one"), 0);
    assert_int_equal(add_text(outbox, "b", "two"), 0);
    size_t both = rf_outbox_waiting(outbox);
    assert_true(rf_bytes_eq(rf_outbox_bytes(fast), RF_BYTES("\1\1a\0\3one")));
    assert_true(rf_bytes_is(rf_outbox_topic(fast), "a"));
    fast = rf_outbox_next(outbox, fast);
    assert_true(rf_bytes_eq(rf_outbox_bytes(fast), RF_BYTES("\1\1b\0\3two")));
    fast = rf_outbox_next(outbox, fast);
    assert_true(rf_outbox_is_end(fast));
    assert_int_equal(rf_outbox_waiting(outbox), both); /* the slow one has read nothing */
    assert_true(rf_bytes_is(rf_outbox_topic(rf_outbox_peek(slow)), "b"));
    slow = rf_outbox_next(outbox, slow);
    assert_int_equal(rf_outbox_waiting(outbox), both / 2);
    assert_null(rf_outbox_leave(outbox, slow));
    assert_int_equal(rf_outbox_waiting(outbox), 0);
    assert_int_equal(add_text(outbox, "c", "three"), 0);
    assert_true(rf_bytes_is(rf_outbox_topic(fast), "c"));
    rf_outbox_leave(outbox, fast);
    rf_outbox_free(outbox);
}

static void test_much_waits_on_disk(void **state)
{
    size_t size = 8u << 20, n = 24; /* 192 MB: 64 on the heap */
    struct rf_outbox *outbox = rf_outbox_new(n * size - 1);
    struct rf_outbox_item *reader = rf_outbox_end(outbox);
    uint8_t *data = malloc(size);
    size_t added = 0;
    for (int r = 0; !r && added < n; added += !r) {
        memset(data, 'a' + (int)added, size);
        r = add(outbox, "t", (struct rf_bytes){data, size}, false);
        assert_true(r == 0 || r == -ENOBUFS);
    }
    assert_int_equal(added, n - 1);
    assert_true(rf_outbox_is_pressed(outbox));
    assert_int_equal(add(outbox, "t", RF_BYTES("idle"), true), 0);
    for (size_t i = 0; i < added; i++) {
        struct rf_bytes got = rf_outbox_bytes(reader);
        memset(data, 'a' + (int)i, size);
        assert_int_equal(got.len, 3 + 9 + size);
        assert_memory_equal(got.data + 12, data, size);
        reader = rf_outbox_next(outbox, reader);
    }
    assert_true(rf_bytes_eq(rf_outbox_bytes(reader), RF_BYTES("\1\1t\0\4idle")));
    assert_false(rf_outbox_is_pressed(outbox));
    reader = rf_outbox_next(outbox, reader);
    assert_int_equal(rf_outbox_waiting(outbox), 0);
    rf_outbox_leave(outbox, reader);
    rf_outbox_free(outbox);
    free(data);
}

/* No place to spool to: what is not essential is left out, and nothing is lost of the rest. */
static void test_disk_that_is_missing(void **state)
{
    struct rf_outbox *outbox = rf_outbox_new(0);
    struct rf_outbox_item *reader = rf_outbox_end(outbox);
    size_t size = RF_IOPUB_MEMORY_MAX;
    uint8_t *data = calloc(1, size);
    assert_int_equal(add(outbox, "t", (struct rf_bytes){data, size - 1000}, false), 0);
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    struct rlimit none = {0, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int refused = add(outbox, "t", (struct rf_bytes){data, 5000}, false);
    int essential = add(outbox, "t", (struct rf_bytes){data, 5000}, true);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(refused, -ENOBUFS);
    assert_int_equal(essential, 0);
    assert_int_equal(add(outbox, "t", (struct rf_bytes){data, 6000}, false), 0);
    static const size_t want[] = {RF_IOPUB_MEMORY_MAX - 1000, 5000, 6000};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rf_outbox_bytes(reader).len, 3 + 9 + want[i]);
        reader = rf_outbox_next(outbox, reader);
    }
    rf_outbox_leave(outbox, reader);
    rf_outbox_free(outbox);
    free(data);
}

static void test_subscriptions(void **state)
{
    struct rf_subscriptions topics = {0};
    assert_false(rf_subscriptions_match(&topics, RF_BYTES("kernel.1.stream")));
    assert_int_equal(rf_subscriptions_add(&topics, RF_BYTES("kernel.1")), 0);
    assert_int_equal(rf_subscriptions_add(&topics, RF_BYTES("kernel.1")), 0);
    assert_true(rf_subscriptions_match(&topics, RF_BYTES("kernel.1.stream")));
    assert_false(rf_subscriptions_match(&topics, RF_BYTES("kernel.")));
    rf_subscriptions_remove(&topics, RF_BYTES("kernel.1"));
    rf_subscriptions_remove(&topics, RF_BYTES("unknown"));
    assert_true(rf_subscriptions_match(&topics, RF_BYTES("kernel.1"))); /* asked for twice */
    rf_subscriptions_remove(&topics, RF_BYTES("kernel.1"));
    assert_false(rf_subscriptions_match(&topics, RF_BYTES("kernel.1")));
    assert_int_equal(rf_subscriptions_add(&topics, RF_BYTES("")), 0);
    assert_true(rf_subscriptions_match(&topics, RF_BYTES("")));
    char name[16];
    for (unsigned i = 1; i < RF_SUBSCRIPTIONS_MAX; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(rf_subscriptions_add(&topics, rf_bytes_str(name)), 0);
    }
    assert_int_equal(rf_subscriptions_add(&topics, RF_BYTES("more")), -EMSGSIZE);
    rf_subscriptions_deinit(&topics);
    uint8_t *large = calloc(1, RF_SUBSCRIPTION_BYTES_MAX + 1);
    assert_int_equal(rf_subscriptions_add(&topics, (struct rf_bytes){
        large, RF_SUBSCRIPTION_BYTES_MAX + 1}), -EMSGSIZE);
    free(large);
    rf_subscriptions_deinit(&topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_go_at_their_own_pace),
        cmocka_unit_test(test_much_waits_on_disk),
        cmocka_unit_test(test_disk_that_is_missing),
        cmocka_unit_test(test_subscriptions),
    };
    rf_log_init(-1, RF_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
