/* kernel/sandbox/policy: the text of a policy, and what is refused. */
#include "tests/unit/check.h"

#include <errno.h>

#include "kernel/sandbox/policy.h"

static const char all[] = "profile=mine\0walls=off\0sandbox=require\0network=host\0workspace=/w/s\0"
                          "read_only=/a\0read_only=/b/c\0read_write=/d\0device=/dev/fuse\0mask=/w/s/.x\0"
                          "layer=/l\0home=/home/u\0uid=7\0gid=8\0owner=0\0memory=1000\0disk=2000\0"
                          "inodes=30\0processes=4\0open_files=5\0rlimits=1\0mask=/m";

static void test_all_keys(void **state)
{
    struct rf_sandbox_policy policy;
    struct rf_error err = {0};
    assert_int_equal(rf_sandbox_policy_decode((struct rf_bytes)LITERAL(all), &policy, &err), -EINVAL);
    err = (struct rf_error){0}; /* a text is whole only with the last entry's end */
    rf_sandbox_policy_deinit(&policy);
    struct rf_bytes whole = {(const uint8_t *)all, sizeof(all)};
    if (rf_sandbox_policy_decode(whole, &policy, &err))
        fail_msg("%s", err.text);
    assert_string_equal(policy.profile, "mine");
    assert_false(policy.walls);
    assert_true(policy.require);
    assert_int_equal(policy.network, RF_NETWORK_HOST);
    assert_string_equal(policy.workspace, "/w/s");
    assert_int_equal(policy.read_only.n, 2);
    assert_string_equal(policy.read_only.paths[1], "/b/c");
    assert_string_equal(policy.read_write.paths[0], "/d");
    assert_string_equal(policy.devices.paths[0], "/dev/fuse");
    assert_int_equal(policy.masks.n, 2);
    assert_string_equal(policy.masks.paths[1], "/m");
    assert_string_equal(policy.layer, "/l");
    assert_string_equal(policy.home, "/home/u");
    assert_int_equal(policy.uid, 7);
    assert_int_equal(policy.gid, 8);
    assert_int_equal(policy.owner, 0);
    assert_int_equal(policy.memory, 1000);
    assert_int_equal(policy.disk, 2000);
    assert_int_equal(policy.inodes, 30);
    assert_int_equal(policy.processes, 4);
    assert_int_equal(policy.open_files, 5);
    assert_true(policy.rlimits);
    rf_sandbox_policy_deinit(&policy);
}

/* What is not said is the stricter. */
static void test_nothing(void **state)
{
    struct rf_sandbox_policy policy;
    assert_int_equal(rf_sandbox_policy_decode((struct rf_bytes){0}, &policy, NULL), 0);
    assert_true(policy.walls);
    assert_int_equal(policy.network, RF_NETWORK_OFF);
    assert_null(policy.workspace);
    assert_true(policy.uid == RF_NO_ID && policy.owner == RF_NO_ID);
    rf_sandbox_policy_deinit(&policy);
}

static void test_refused(void **state)
{
    static const struct {
        struct rf_bytes text;
        const char *says;
    } rows[] = {
        {LITERAL("colour=red\0"), "colour=red"},
        {LITERAL("walls\0"), "walls"},
        {LITERAL("\0"), "does not know"},
        {LITERAL("=on\0"), "does not know"},
        {LITERAL("walls=maybe\0"), "on or off"},
        {LITERAL("sandbox=on\0"), "auto or require"},
        {LITERAL("network=\0"), "off, on or host"},
        {LITERAL("rlimits=2\0"), "0 or 1"},
        {LITERAL("workspace=here\0"), "absolute path"},
        {LITERAL("workspace=\0"), "absolute path"},
        {LITERAL("mask=/a/../b\0"), "absolute path"},
        {LITERAL("mask=/a//b\0"), "absolute path"},
        {LITERAL("mask=/a/.\0"), "absolute path"},
        {LITERAL("mask=/a/\0"), "absolute path"},
        {LITERAL("memory=-1\0"), "decimal number"},
        {LITERAL("memory=1e9\0"), "decimal number"},
        {LITERAL("memory=99999999999999999999\0"), "decimal number"},
        {LITERAL("uid=0\0gid=1\0"), "not root's"},
        {LITERAL("uid=4294967295\0gid=1\0"), "not root's"},
        {LITERAL("uid=5\0"), "one of uid and gid"},
        {LITERAL("walls=on\0walls=off\0"), "twice"},
        {LITERAL("walls=on"), "cut"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rf_sandbox_policy policy;
        struct rf_error err = {0};
        int r = rf_sandbox_policy_decode(rows[i].text, &policy, &err);
        if (r != -EINVAL || !strstr(err.text, rows[i].says))
            fail_msg("row %zu: %d \"%s\", want \"%s\"", i, r, err.text, rows[i].says);
        rf_sandbox_policy_deinit(&policy);
    }
}

static void test_root_is_a_path(void **state)
{
    struct rf_sandbox_policy policy;
    assert_int_equal(
        rf_sandbox_policy_decode((struct rf_bytes)LITERAL("workspace=/\0"), &policy, NULL), 0);
    assert_string_equal(policy.workspace, "/");
    rf_sandbox_policy_deinit(&policy);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_root_is_a_path),
    };
    return TESTS(tests);
}
