/* kernel/sandbox/sandbox: the table's order, and places of a plan. */
#include "tests/unit/check.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/sandbox/table.h"

static size_t place_of(const char *name)
{
    for (size_t i = 0; i < rf_n_steps; i++)
        if (!strcmp(rf_steps[i].name, name))
            return i;
    fail_msg("there is no step %s", name);
    return 0;
}

static void test_order(void **state)
{
    static const char *const rows[][2] = {
        {"map_ids", "private_mounts"},  {"private_mounts", "root"},
        {"root", "proc"},               {"proc", "mask_proc"},
        {"memory", "places"},           {"places", "pivot_root"},
        {"bounds", "change_user"},      {"change_user", "own_user"},
        {"own_user", "capabilities"},   {"capabilities", "oom_score"},
        {"no_new_privs", "landlock"},   {"landlock", "seccomp"},
        {"own_user", "seccomp"},        {"keeper_bounds", "keeper_user"},
        {"keeper_user", "keeper_seccomp"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (place_of(rows[i][0]) >= place_of(rows[i][1]))
            fail_msg("%s must stand before %s", rows[i][0], rows[i][1]);
}

static void test_phases_follow_each_other(void **state)
{
    for (size_t i = 1; i < rf_n_steps; i++)
        assert_true(rf_steps[i - 1].phase <= rf_steps[i].phase);
}

static void test_names_are_unique(void **state)
{
    for (size_t i = 0; i < rf_n_steps; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rf_steps[i].name, rf_steps[j].name);
}

/* What a step needs is given by the clone or by a step before it. */
static void test_needs_are_given(void **state)
{
    int given = 0;
    for (size_t i = 0; i < rf_n_steps; i++) {
        const struct rf_step *step = &rf_steps[i];
        if (step->phase == RF_CLONE)
            given |= step->needs;
        if (step->needs & ~given)
            fail_msg("%s needs what nothing before it gives", step->name);
        given |= step->gives;
        assert_true(!step->run == (step->phase == RF_CLONE));
    }
}

static void test_a_long_list_of_losses(void **state)
{
    struct rf_sandbox sandbox = {.lost = ""};
    for (int i = 0; i < 200; i++)
        rf_sandbox_lose(&sandbox, "layer");
    assert_in_range(strlen(sandbox.lost), 400, sizeof(sandbox.lost) - 1);
    assert_string_equal(sandbox.lost + strlen(sandbox.lost) - 6, ",layer");
}

/* --- plans --- */

static char folder[64];

static const char *in(const char *name)
{
    static char paths[16][128];
    static size_t next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void make_folder(const char *name)
{
    if (mkdir(in(name), 0700))
        fail_msg("cannot make %s", name);
}

static int setup(void **state)
{
    char made[] = "/tmp/rf-plan-XXXXXX";
    assert_non_null(mkdtemp(made));
    snprintf(folder, sizeof(folder), "%s", made);
    static const char *const names[] = {"w", "w/venv", "w/venv/lib", "w/venv/nb", "home", "home/x",
                                        "home/.cfg"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        make_folder(names[i]);
    return symlink("w", in("link"));
}

static int teardown(void **state)
{
    static const char *const names[] = {"home/.cfg", "home/x", "home", "w/venv/nb", "w/venv/lib",
                                        "w/venv", "w"};
    unlink(in("link"));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        rmdir(in(names[i]));
    return rmdir(folder);
}

/* Kind and path of each place, in order. */
static void check_plan(const struct rf_sandbox_policy *policy, const char *const *imports,
                       size_t n_imports, const char *want)
{
    static const char letters[] = "mwrx";
    struct rf_plan plan;
    struct rf_error err = {0};
    char got[1024] = "";
    size_t at = 0;
    if (rf_plan_make(&plan, policy, imports, n_imports, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < plan.n; i++) {
        const char *path = plan.places[i].path;
        bool ours = !strncmp(path, folder, strlen(folder));
        at += (size_t)snprintf(got + at, sizeof(got) - at, "%c%s:%s ", letters[plan.places[i].kind],
                               plan.places[i].absent ? "-" : "",
                               ours ? path + strlen(folder) + 1 : path);
    }
    rf_plan_deinit(&plan);
    if (strcmp(got, want) != 0)
        fail_msg("got  %s\nwant %s", got, want);
}

static void test_plan_of_a_venv_in_the_workspace(void **state)
{
    const char *imports[] = {in("w/venv"), "/usr/lib", in("w/venv/lib"), in("w/absent"),
                             in("elsewhere")};
    struct rf_sandbox_policy policy = {.workspace = in("w"), .home = in("home")};
    check_plan(&policy, imports, COUNT_OF(imports), "m:home w:w r-:w/absent r:w/venv ");
}

static void test_plan_of_a_workspace_in_what_is_imported(void **state)
{
    const char *imports[] = {in("w/venv")};
    struct rf_sandbox_policy policy = {.workspace = in("w/venv/nb")};
    struct rf_plan plan;
    assert_int_equal(rf_plan_make(&plan, &policy, imports, 1, NULL), 0);
    assert_string_equal(plan.held, policy.workspace);
    assert_string_equal(plan.held_by, imports[0]);
    for (size_t i = 0; i < plan.n; i++)
        assert_int_not_equal(plan.places[i].kind, RF_PLACE_WRITE);
    rf_plan_deinit(&plan);
}

static void test_plan_of_the_home_folder(void **state)
{
    const char *masks[] = {in("home/.cfg"), in("home/.absent"), in("w")};
    const char *imports[] = {in("home"), in("home/.cfg/lib"), in("home/x")};
    struct rf_sandbox_policy policy = {.workspace = in("w/venv"), .home = in("home"),
                                       .masks = {masks, COUNT_OF(masks)}};
    /* All of the home folder is not shown, only since something is imported from it. */
    check_plan(&policy, imports, COUNT_OF(imports), "m:home r:home/x w:w/venv ");
    policy.workspace = in("home");
    check_plan(&policy, imports + 1, 2, "m:home w:home x:home/.cfg r:home/x ");
}

static void test_plan_without_a_workspace(void **state)
{
    struct rf_sandbox_policy policy = {.home = in("home")};
    check_plan(&policy, NULL, 0, "m:home m:" RF_OWN_WORKSPACE " ");
}

static void test_plan_resolves_links(void **state)
{
    struct rf_sandbox_policy policy = {.workspace = in("link")};
    check_plan(&policy, NULL, 0, "w:w ");
}

static void test_plan_of_what_is_not_there(void **state)
{
    struct rf_plan plan;
    struct rf_error err = {0};
    struct rf_sandbox_policy policy = {.workspace = in("none")};
    assert_int_equal(rf_plan_make(&plan, &policy, NULL, 0, &err), -ENOENT);
    assert_non_null(strstr(err.text, "none"));
    rf_plan_deinit(&plan);
}

static void test_paths(void **state)
{
    assert_true(rf_path_is_in("/a/b", "/a"));
    assert_true(rf_path_is_in("/a", "/a"));
    assert_true(rf_path_is_in("/a", "/"));
    assert_false(rf_path_is_in("/ab", "/a"));
    assert_false(rf_path_is_in("/a", "/a/b"));
    assert_true(rf_path_is_system("/usr/lib/x"));
    assert_false(rf_path_is_system("/usrx"));
}

#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_phases_follow_each_other),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_needs_are_given),
        cmocka_unit_test(test_a_long_list_of_losses),
        cmocka_unit_test(test_paths),
        PLAN_TEST(test_plan_of_a_venv_in_the_workspace),
        PLAN_TEST(test_plan_of_a_workspace_in_what_is_imported),
        PLAN_TEST(test_plan_of_the_home_folder),
        PLAN_TEST(test_plan_without_a_workspace),
        PLAN_TEST(test_plan_resolves_links),
        PLAN_TEST(test_plan_of_what_is_not_there),
    };
    return TESTS(tests);
}
