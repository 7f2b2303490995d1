/* gateway/cli: profiles and their mistakes, the policy that comes of them, the layer. */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/cli/layer.h"
#include "gateway/cli/profile.h"
#include "gateway/cli/sandbox_policy.h"

/* --- profiles --- */

static const struct {
    const char *text, *says;
} mistakes[] = {
    {"[]", "\"profiles\" must be an object"},
    {"{\"a b\": {}}", "profiles: \"a b\" cannot name a profile"},
    {"{\"strict\": {}}", "profiles.strict: that profile is built in"},
    {"{\"a\": 1}", "profiles.a must be an object"},
    {"{\"a\": {\"memroy\": 1}}", "profiles.a: there is no key \"memroy\" (known: base, memory, cpu"},
    {"{\"a\": {\"memory\": \"4X\"}}", "profiles.a.memory must be a number of bytes"},
    {"{\"a\": {\"memory\": -1}}", "profiles.a.memory must be"},
    {"{\"a\": {\"memory\": \"101%\"}}", "profiles.a.memory must be"},
    {"{\"a\": {\"memory\": \"99999999999999999999G\"}}", "profiles.a.memory must be"},
    {"{\"a\": {\"memory\": \"9999999999999999G\"}}", "profiles.a.memory must be"},
    {"{\"a\": {\"output_bytes\": \"50%\"}}", "profiles.a.output_bytes must be"},
    {"{\"a\": {\"processes\": \"10\"}}", "profiles.a.processes must be a whole number"},
    {"{\"a\": {\"cpu\": \"2\"}}", "profiles.a.cpu must be a number of processors"},
    {"{\"a\": {\"cpu\": 0.001}}", "profiles.a.cpu must be"},
    {"{\"a\": {\"cell_time\": \"1w\"}}", "profiles.a.cell_time must be seconds"},
    {"{\"a\": {\"cell_time\": 1.5}}", "profiles.a.cell_time must be seconds"},
    {"{\"a\": {\"read_only\": \"/x\"}}", "profiles.a.read_only must be a list"},
    {"{\"a\": {\"read_only\": [\"x\"]}}", "profiles.a.read_only must be a list of absolute paths"},
    {"{\"a\": {\"read_write\": [\"/x/../y\"]}}", "profiles.a.read_write must be"},
    {"{\"a\": {\"devices\": [\"/etc/x\"]}}", "profiles.a.devices must be a list of paths below /dev"},
    {"{\"a\": {\"env\": [\"A=B\"]}}", "profiles.a.env must be a list of names"},
    {"{\"a\": {\"env\": [\"A*B\"]}}", "profiles.a.env must be a list of names"},
    {"{\"a\": {\"network\": \"yes\"}}", "profiles.a.network must be \"off\", \"on\" or \"host\""},
    {"{\"a\": {\"network_fallback\": \"on\"}}", "profiles.a.network_fallback must be \"off\" or \"host\""},
    {"{\"a\": {\"sandbox\": true}}", "profiles.a.sandbox must be \"auto\" or \"require\""},
    {"{\"a\": {\"base\": \"b\"}}", "there is no profile \"b\" (known: workspace, offline, strict, off, a)"},
    {"{\"a\": {\"base\": 1}}", "profiles.a.base must be the name of a profile"},
    {"{\"a\": {\"base\": \"b\"}, \"b\": {\"base\": \"a\"}}", "profiles.a.base: the bases go in a circle"},
    {"{\"a\": {\"base\": \"off\", \"network\": \"off\"}}", "profiles.a.network must be \"host\""},
};

static void test_mistakes(void **state)
{
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        struct rf_error err = {0};
        json_t *root = json_loads(mistakes[i].text, 0, NULL);
        assert_non_null(root);
        int r = rf_profile_check_all(root, "/home/me", &err);
        json_decref(root);
        if (r != -EINVAL || !strstr(err.text, mistakes[i].says))
            fail_msg("%s: got %d \"%s\", want \"%s\"", mistakes[i].text, r, err.text,
                     mistakes[i].says);
    }
}

static void find(const char *name, const char *text, struct rf_profile *ret)
{
    struct rf_error err = {0};
    json_t *root = json_loads(text, 0, NULL);
    if (rf_profile_find(name, root, "/home/me", ret, &err))
        fail_msg("%s: %s", name, err.text);
    json_decref(root);
}

static void test_values(void **state)
{
    static const char text[] =
        "{\"big\": {\"base\": \"strict\", \"memory\": \"4G\", \"cpu\": 2.5, \"cell_time\": \"10m\","
        " \"idle_time\": 0, \"lifetime\": \"2d\", \"output_bytes\": 1000, \"processes\": 9,"
        " \"read_only\": [\"~/data/\", \"/srv\"], \"env\": [\"MY_*\", \"OTHER\"],"
        " \"network\": \"on\", \"network_fallback\": \"host\", \"sandbox\": \"require\"},"
        " \"bigger\": {\"base\": \"big\", \"memory\": \"1T\", \"read_only\": [\"/opt/x\"]}}";
    struct rf_profile p;
    find("bigger", text, &p);
    assert_string_equal(p.name, "bigger");
    assert_true(p.walls && p.own_workspace && p.require);
    assert_int_equal(p.memory, 1LL << 40);
    assert_int_equal(p.cpu, 2500);
    assert_int_equal(p.cell_time, 600000);
    assert_int_equal(p.idle_time, 0);
    assert_int_equal(p.lifetime, 2 * 86400000LL);
    assert_int_equal(p.output_bytes, 1000);
    assert_int_equal(p.processes, 9);
    assert_int_equal(p.inodes, 16384); /* of strict */
    assert_int_equal(p.network, RF_NETWORK_ON);
    assert_int_equal(p.network_fallback, RF_NETWORK_HOST);
    check_bytes(rf_buf_bytes(&p.read_only), (struct rf_bytes)LITERAL("/home/me/data\0/srv\0/opt/x\0"),
                "read_only");
    rf_profile_deinit(&p);
    find("workspace", "{}", &p);
    assert_true(p.memory > 1 << 20 && p.disk > 1 << 20);
    rf_profile_deinit(&p);
}

static void test_environment(void **state)
{
    struct rf_profile p;
    find("workspace", "{}", &p);
    static const char *const in[] = {"PATH=/bin", "LC_ALL=C", "PYTHONPATH=x", "LANG=C", "MPLBACKEND=x"};
    static const char *const out[] = {"JUPYTER_TOKEN=x",    "AWS_SECRET_ACCESS_KEY=x",
                                      "SSH_AUTH_SOCK=/x",   "PATHS=x",
                                      "JUPYTERHUB_API_TOKEN=x", "LANGX=1", "GITHUB_TOKEN=x"};
    for (size_t i = 0; i < COUNT_OF(in); i++)
        assert_true(rf_profile_passes(&p, in[i]));
    for (size_t i = 0; i < COUNT_OF(out); i++)
        assert_false(rf_profile_passes(&p, out[i]));
    rf_profile_deinit(&p);
    find("a", "{\"a\": {\"env\": [\"MY_*\"]}}", &p);
    assert_true(rf_profile_passes(&p, "MY_X=1") && rf_profile_passes(&p, "PATH=1"));
    assert_false(rf_profile_passes(&p, "M=1"));
    rf_profile_deinit(&p);
    find("off", "{}", &p);
    assert_true(rf_profile_passes(&p, "JUPYTER_TOKEN=x"));
    rf_profile_deinit(&p);
}

/* --- the policy --- */

static char home[64];

static void make_home(void)
{
    static const char *const folders[] = {".ssh", ".jupyter", ".local", ".ipython", "work", "data"};
    char path[128];
    snprintf(home, sizeof(home), "/tmp/rfhome-XXXXXX");
    assert_non_null(mkdtemp(home));
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", home, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
}

static void remove_home(void)
{
    uint64_t removed;
    assert_int_equal(rf_folder_empty(home, &removed, NULL), 0);
    assert_int_equal(rmdir(home), 0);
}

struct made {
    struct rf_buf policy, note;
};

static struct made make(const char *name, const char *profiles, const struct rf_facts *facts)
{
    struct rf_profile p;
    struct rf_error err = {0};
    struct made made = {{0}, {0}};
    find(name, profiles, &p);
    if (rf_sandbox_policy(&p, facts, &made.policy, &made.note, &err))
        fail_msg("%s", err.text);
    rf_profile_deinit(&p);
    return made;
}

static bool has(const struct made *made, const char *entry)
{
    const char *at = (const char *)made->policy.data, *end = at + made->policy.len;
    for (; at < end; at += strlen(at) + 1)
        if (!strcmp(at, entry))
            return true;
    return false;
}

static bool has_at_home(const struct made *made, const char *key, const char *name)
{
    char entry[200];
    snprintf(entry, sizeof(entry), "%s=%s%s", key, home, name);
    return has(made, entry);
}

static void drop(struct made *made)
{
    rf_buf_deinit(&made->policy);
    rf_buf_deinit(&made->note);
}

static const char *at_home(const char *name)
{
    static char paths[8][200];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s%s", home, name);
    return path;
}

static void test_an_ordinary_folder(void **state)
{
    make_home();
    struct rf_facts facts = {.workspace = at_home("/work"), .home = home, .layer = "/l", .uid = 1000,
                             .owner = 1000,
                             .secrets = {at_home("/.local/c.json"), at_home("/work/c.json")}};
    struct made made = make("workspace", "{}", &facts);
    assert_true(has(&made, "profile=workspace") && has(&made, "walls=on") && has(&made, "network=on"));
    assert_true(has(&made, "sandbox=auto") && has(&made, "layer=/l"));
    assert_true(has_at_home(&made, "workspace", "/work") && has_at_home(&made, "home", ""));
    assert_true(has_at_home(&made, "mask", "/work/c.json")); /* though it is not there yet */
    assert_false(has_at_home(&made, "mask", "/.local/c.json") || has_at_home(&made, "mask", "/.ssh"));
    assert_false(has(&made, "uid=1000"));
    assert_int_equal(made.note.len, 0);
    drop(&made);
    made = make("off", "{}", &facts);
    assert_true(has(&made, "walls=off") && has(&made, "network=host"));
    assert_false(has_at_home(&made, "workspace", "/work"));
    drop(&made);
    remove_home();
}

static void test_the_home_folder(void **state)
{
    make_home();
    struct rf_facts facts = {.workspace = home, .home = home, .uid = 1000, .owner = 1000,
                             .ipython = at_home("/.ipython"),
                             .secrets = {at_home("/.local/share/x.json"), at_home("/run"),
                                         at_home("/.ipython/secret")}};
    struct made made = make("a", "{\"a\": {\"read_only\": [\"/nowhere\"]}}", &facts);
    assert_true(has_at_home(&made, "mask", "/.ssh") && has_at_home(&made, "mask", "/.local"));
    assert_true(has_at_home(&made, "mask", "/run"));
    assert_true(has_at_home(&made, "mask", "/.ipython/secret"));
    assert_false(has_at_home(&made, "mask", "/.local/share/x.json")); /* in one that is masked */
    assert_false(has_at_home(&made, "mask", "/.ipython") || has_at_home(&made, "mask", "/data"));
    assert_true(has_at_home(&made, "read_only", "/.ipython"));
    rf_buf_add(&made.note, "", 1);
    assert_non_null(strstr((char *)made.note.data, "is your home folder: hidden files"));
    drop(&made);
    facts.workspace = "/";
    made = make("workspace", "{}", &facts);
    assert_true(has(&made, "workspace=/") && has_at_home(&made, "mask", "/.ssh"));
    rf_buf_add(&made.note, "", 1);
    assert_non_null(strstr((char *)made.note.data, "holds your home folder"));
    drop(&made);
    facts.workspace = "/tm"; /* only begins alike */
    made = make("workspace", "{}", &facts);
    assert_false(has_at_home(&made, "mask", "/.ssh"));
    drop(&made);
    remove_home();
}

static void test_what_is_named_is_seen(void **state)
{
    make_home();
    char text[256];
    struct rf_facts facts = {.workspace = home, .home = home, .uid = 1000, .owner = 1000,
                             .secrets = {at_home("/.local/share/run")}};
    snprintf(text, sizeof(text), "{\"a\": {\"read_only\": [\"%s/.ssh\", \"%s/.local/share\"]}}", home,
             home);
    struct made made = make("a", text, &facts);
    assert_false(has_at_home(&made, "mask", "/.ssh"));
    assert_true(has_at_home(&made, "mask", "/.local"));
    assert_true(has_at_home(&made, "mask", "/.local/share/run")); /* it would show through */
    drop(&made);
    remove_home();
}

static void test_root_is_never_root(void **state)
{
    struct rf_facts facts = {.workspace = "/w", .uid = 0, .pid = 77, .owner = 1001,
                             .owner_group = 100, .large_uids = true};
    struct made made = make("workspace", "{}", &facts);
    assert_true(has(&made, "uid=1001") && has(&made, "gid=100"));
    assert_false(has(&made, "owner=0"));
    drop(&made);
    facts.owner = facts.owner_group = 0;
    made = make("workspace", "{}", &facts);
    assert_true(has(&made, "uid=1900000077") && has(&made, "gid=1900000077") && has(&made, "owner=0"));
    drop(&made);
    made = make("strict", "{}", &facts);
    assert_true(has(&made, "uid=1900000077"));
    assert_false(has(&made, "owner=0") || has(&made, "workspace=/w"));
    drop(&made);
    facts.large_uids = false;
    made = make("workspace", "{}", &facts);
    assert_true(has(&made, "uid=61261"));
    drop(&made);
}

/* --- the layer --- */

static void test_emptying(void **state)
{
    char top[64], path[128], outside[64];
    uint64_t removed = 0;
    snprintf(top, sizeof(top), "/tmp/rflayer-XXXXXX");
    snprintf(outside, sizeof(outside), "/tmp/rfother-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_non_null(mkdtemp(outside));
    snprintf(path, sizeof(path), "%s/keep", outside);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlinkat(outside, at, "link"), 0);
    for (int i = 0; i < 2000; i++) { /* far deeper than a path can name */
        assert_int_equal(mkdirat(at, "deeper", 0700), 0);
        assert_int_equal(symlinkat(outside, at, "link2"), 0);
        int next = openat(at, "deeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(at);
        at = next;
    }
    close(at);
    assert_int_equal(rf_folder_empty(top, &removed, NULL), 0);
    assert_true(removed >= 4001);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(top), 0);
    assert_int_equal(rf_folder_empty(top, &removed, NULL), 0); /* there is none */
    assert_int_equal(rf_folder_empty(outside, &removed, NULL), 0);
    rmdir(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_an_ordinary_folder),
        cmocka_unit_test(test_the_home_folder),
        cmocka_unit_test(test_what_is_named_is_seen),
        cmocka_unit_test(test_root_is_never_root),
        cmocka_unit_test(test_emptying),
    };
    return TESTS(tests);
}
