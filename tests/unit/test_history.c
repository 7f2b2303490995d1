/* gateway/jupyter/history: the ring, and the three kinds of history_request. */
#include "tests/unit/check.h"

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/history.h"

static void freep(struct rf_history **history)
{
    rf_history_free(*history);
}

static void input(struct rf_history *history, uint64_t count, const char *code)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf json = {0};
    rf_json_encode(rf_bytes_str(code), &json);
    assert_int_equal(rf_history_input(history, count, rf_buf_bytes(&json)), 0);
}

static void output(struct rf_history *history, uint64_t count, const char *source, const char *text)
{
    assert_int_equal(
        rf_history_output(history, count, rf_bytes_str(source), rf_bytes_str(text)), 0);
}

/* Five cells: one transformed, two with results, one twice. */
static struct rf_history *five_cells(void)
{
    struct rf_history *history = rf_history_new(0);
    assert_non_null(history);
    input(history, 1, "1+1\n");
    output(history, 1, "1+1\n", "2");
    input(history, 2, "%time x\n\n");
    output(history, 2, "get_ipython().run_line_magic('time', 'x')\n", "");
    input(history, 3, "a = 'caf\xc3\xa9'");
    output(history, 3, "a = 'caf\xc3\xa9'\n", "");
    input(history, 4, "1+1");
    output(history, 4, "1+1\n", "2");
    input(history, 5, "[x]"); /* runs still: no output known */
    return history;
}

/* `request` is the content without its braces; `want` the list. */
static void check_reply(const struct rf_history *history, const char *request, const char *want)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf content = {0}, got = {0}, whole = {0};
    rf_buf_printf(&content, "{%s}", request);
    rf_buf_printf(&whole, "{\"status\":\"ok\",\"history\":[%s]}", want);
    assert_int_equal(rf_history_reply(history, rf_buf_bytes(&content), &got), 0);
    check_bytes(rf_buf_bytes(&got), rf_buf_bytes(&whole), request);
    assert_int_equal(rf_json_check(rf_buf_bytes(&got)), RF_JSON_OK);
}

struct reply_case {
    const char *request, *want;
};

static void check_replies(const struct reply_case *cases, size_t n)
{
    RF_AUTO(freep) struct rf_history *history = five_cells();
    for (size_t i = 0; i < n; i++)
        check_reply(history, cases[i].request, cases[i].want);
}

#define TAIL "\"hist_access_type\":\"tail\""
#define RANGE "\"hist_access_type\":\"range\""
#define SEARCH "\"hist_access_type\":\"search\""
#define MAGIC "get_ipython().run_line_magic('time', 'x')"

static void test_tail(void **state)
{
    static const struct reply_case cases[] = {
        {TAIL ",\"n\":2", "[1,4,\"1+1\"],[1,5,\"[x]\"]"},
        {TAIL ",\"n\":0", ""},
        {TAIL ",\"n\":1,\"output\":true", "[1,5,[\"[x]\",null]]"},
        {TAIL ",\"n\":2,\"output\":true,\"raw\":false",
         "[1,4,[\"1+1\",\"2\"]],[1,5,[\"[x]\",null]]"},
        {TAIL ",\"n\":4,\"raw\":false",
         "[1,2,\"" MAGIC "\"],[1,3,\"a = 'caf\xc3\xa9'\"],[1,4,\"1+1\"],[1,5,\"[x]\"]"},
        {TAIL ",\"n\":null,\"session\":7,\"pattern\":null",
         "[1,1,\"1+1\"],[1,2,\"%time x\"],[1,3,\"a = 'caf\xc3\xa9'\"],[1,4,\"1+1\"],[1,5,\"[x]\"]"},
    };
    check_replies(cases, COUNT_OF(cases));
}

static void test_range(void **state)
{
    static const struct reply_case cases[] = {
        {RANGE ",\"session\":0,\"start\":4", "[0,4,\"1+1\"],[0,5,\"[x]\"]"},
        {RANGE ",\"session\":1,\"start\":4,\"stop\":5", "[1,4,\"1+1\"]"},
        {RANGE ",\"start\":1,\"stop\":2,\"output\":true", "[0,1,[\"1+1\",\"2\"]]"},
        {RANGE ",\"start\":2,\"stop\":3,\"raw\":false", "[0,2,\"" MAGIC "\"]"},
        {RANGE ",\"stop\":2", "[0,1,\"1+1\"]"},
        {RANGE ",\"start\":-1", "[0,5,\"[x]\"]"},
        {RANGE ",\"start\":-3,\"stop\":-1", "[0,3,\"a = 'caf\xc3\xa9'\"],[0,4,\"1+1\"]"},
        {RANGE ",\"start\":-100,\"stop\":2", "[0,1,\"1+1\"]"},
        {RANGE ",\"start\":5,\"stop\":null", "[0,5,\"[x]\"]"},
        {RANGE ",\"start\":5,\"stop\":0", "[0,5,\"[x]\"]"},
        {RANGE ",\"start\":5,\"stop\":1000000", "[0,5,\"[x]\"]"},
        {RANGE ",\"start\":3,\"stop\":3", ""},
        {RANGE ",\"start\":6", ""},
        {RANGE ",\"stop\":-100", ""},
        {RANGE ",\"session\":-1", ""}, /* there was no session before */
        {RANGE ",\"session\":2", ""},
        {RANGE ",\"start\":-9223372036854775808,\"stop\":-9223372036854775808", ""},
    };
    check_replies(cases, COUNT_OF(cases));
}

static void test_search(void **state)
{
    static const struct reply_case cases[] = {
        {SEARCH ",\"pattern\":\"1*\"", "[1,1,\"1+1\"],[1,4,\"1+1\"]"},
        {SEARCH ",\"pattern\":\"1*\",\"unique\":true", "[1,4,\"1+1\"]"},
        {SEARCH ",\"pattern\":\"1*\",\"n\":1", "[1,4,\"1+1\"]"},
        {SEARCH ",\"pattern\":\"*\",\"n\":2,\"unique\":true", "[1,4,\"1+1\"],[1,5,\"[x]\"]"},
        {SEARCH ",\"pattern\":\"?+?\",\"n\":1,\"output\":true", "[1,4,[\"1+1\",\"2\"]]"},
        {SEARCH ",\"pattern\":\"*time*\",\"raw\":false", "[1,2,\"" MAGIC "\"]"},
        {SEARCH ",\"pattern\":\"*magic*\",\"raw\":false", ""}, /* what was typed is searched */
        {SEARCH ",\"pattern\":\"*caf?'\"", "[1,3,\"a = 'caf\xc3\xa9'\"]"},
        {SEARCH ",\"pattern\":\"*\\u00e9*\"", "[1,3,\"a = 'caf\xc3\xa9'\"]"},
        {SEARCH ",\"pattern\":\"[[]x]\"", "[1,5,\"[x]\"]"},
        {SEARCH ",\"pattern\":\"1\"", ""},
        {SEARCH ",\"pattern\":\"\"", ""},
    };
    check_replies(cases, COUNT_OF(cases));
}

/* Against what SQLite answers for `SELECT text GLOB pattern`. */
static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool want;
    } cases[] = {
        {"*", "", true},          {"", "", true},           {"", "a", false},
        {"?", "", false},         {"a", "A", false},        {"a*", "a", true},
        {"*a", "banana", true},   {"*an*an*", "banana", true}, {"*an*an*an*", "banana", false},
        {"b*n?", "banana", true}, {"**?**", "a", true},     {"?", "\xf0\x9f\x98\x80", true},
        {"??", "\xc3\xa9", false}, {"[a-c]", "b", true},    {"[a-c]", "d", false},
        {"[^a-c]", "d", true},    {"[^a-c]", "b", false},   {"[^a-c]", "", false},
        {"[]]", "]", true},       {"[^]]", "]", false},     {"[]a]", "a", true},
        {"[a-]", "-", true},      {"[-a]", "-", true},      {"[abc", "a", false},
        {"[", "[", false},        {"[]", "]", false},       {"[*]", "*", true},
        {"[?]x", "?x", true},     {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
        {"x[0-9]*y", "x1\n2y", true}, {"*[0-9]", "ab12", true}, {"\\*", "\\z", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        RF_AUTO(freep) struct rf_history *history = rf_history_new(1);
        RF_AUTO(rf_buf_deinit) struct rf_buf request = {0}, want = {0};
        input(history, 1, cases[i].text);
        rf_buf_add_str(&request, SEARCH ",\"pattern\":");
        rf_json_encode(rf_bytes_str(cases[i].pattern), &request);
        rf_buf_add(&request, "", 1);
        if (cases[i].want) {
            rf_buf_add_str(&want, "[1,1,");
            rf_json_encode(rf_bytes_str(cases[i].text), &want);
            rf_buf_add_str(&want, "]");
        }
        rf_buf_add(&want, "", 1);
        check_reply(history, (const char *)request.data, (const char *)want.data);
    }
}

static void check_refused(const struct rf_history *history, struct rf_bytes request)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf got = {0};
    assert_int_equal(rf_history_reply(history, request, &got), 0);
    struct rf_json_member m[] = {
        {.name = "status"}, {.name = "ename"}, {.name = "evalue"}, {.name = "traceback"}};
    assert_int_equal(rf_json_object(rf_buf_bytes(&got), m, COUNT_OF(m)), RF_JSON_OK);
    check_text(m[0].value, "\"error\"", (const char *)request.data);
    assert_true(rf_json_is_string(m[1].value));
    assert_true(rf_json_is_string(m[2].value));
    check_text(m[3].value, "[]", "traceback");
}

static void test_malformed(void **state)
{
    static const char *const requests[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"hist_access_type\":1}",
        "{\"hist_access_type\":\"all\"}",
        "{" TAIL ",\"n\":\"1\"}",
        "{" TAIL ",\"n\":1.5}",
        "{" RANGE ",\"start\":{}}",
        "{" RANGE ",\"stop\":1e3}",
        "{" RANGE ",\"session\":true}",
        "{" SEARCH "}",
        "{" SEARCH ",\"pattern\":null}",
        "{" SEARCH ",\"pattern\":7}",
    };
    RF_AUTO(freep) struct rf_history *history = five_cells();
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        check_refused(history, rf_bytes_str(requests[i]));
}

/* A pattern that costs pattern times text is given up, not waited for. */
static void test_search_bounded(void **state)
{
    RF_AUTO(freep) struct rf_history *history = rf_history_new(0);
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0}, request = {0};
    for (int i = 0; i < 100000; i++)
        rf_buf_add_str(&text, "a");
    rf_buf_add_str(&request, "{" SEARCH ",\"pattern\":\"*");
    rf_buf_add(&request, text.data, 50000);
    rf_buf_add_str(&request, "b\"}");
    rf_buf_add(&text, "", 1);
    input(history, 1, (const char *)text.data);
    check_refused(history, rf_buf_bytes(&request));
}

static void test_ring(void **state)
{
    RF_AUTO(freep) struct rf_history *history = rf_history_new(3);
    check_reply(history, TAIL, "");
    check_reply(history, RANGE, "");
    check_reply(history, SEARCH ",\"pattern\":\"*\",\"unique\":true", "");
    for (uint64_t i = 1; i <= 7; i++) {
        input(history, i, "x");
        output(history, i, "x", "old");
    }
    check_reply(history, TAIL ",\"n\":9", "[1,5,\"x\"],[1,6,\"x\"],[1,7,\"x\"]");
    input(history, 6, "new"); /* in the place of the old one, its output too */
    check_reply(history, RANGE ",\"output\":true",
                "[0,5,[\"x\",\"old\"]],[0,6,[\"new\",null]],[0,7,[\"x\",\"old\"]]");
    input(history, 2, "too old");
    output(history, 2, "", "gone");
    output(history, 100, "", "not there yet");
    check_reply(history, RANGE ",\"start\":7", "[0,7,\"x\"]");
    assert_int_equal(rf_history_input(history, 8, RF_BYTES("17")), 0); /* no string */
    check_reply(history, RANGE ",\"start\":7", "[0,7,\"x\"]");
    input(history, 20, "a\"b\n\x1b"); /* numbers may leave gaps */
    check_reply(history, RANGE ",\"start\":7", "[0,7,\"x\"],[0,20,\"a\\\"b\\n\\u001b\"]");
    assert_null(rf_history_free(NULL));
}

/* All texts together are bounded, whatever the number of cells. */
static void test_bytes_bounded(void **state)
{
    RF_AUTO(freep) struct rf_history *history = rf_history_new(0);
    RF_AUTO(rf_buf_deinit) struct rf_buf big = {0}, got = {0};
    rf_buf_add_str(&big, "\"");
    for (int i = 0; i < 1 << 20; i++)
        rf_buf_add_str(&big, "0123456789abcdef");
    rf_buf_add_str(&big, "\"");
    input(history, 1, "first");
    for (uint64_t i = 2; i < 8; i++) /* 16 MB each */
        assert_int_equal(rf_history_input(history, i, rf_buf_bytes(&big)), 0);
    check_reply(history, RANGE ",\"stop\":4", ""); /* 4 to 7 are left */
    input(history, 8, "y");
    assert_int_equal(rf_history_output(history, 8, (struct rf_bytes){0}, rf_buf_bytes(&big)), 0);
    check_reply(history, TAIL ",\"n\":1,\"output\":true", "[1,8,[\"y\",null]]");
    assert_int_equal(rf_history_reply(history, RF_BYTES("{" RANGE ",\"start\":5}"), &got), 0);
    assert_in_range(got.len, 48u << 20, (48u << 20) + 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),      cmocka_unit_test(test_range),
        cmocka_unit_test(test_search),    cmocka_unit_test(test_glob),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_search_bounded),
        cmocka_unit_test(test_ring),      cmocka_unit_test(test_bytes_bounded),
    };
    return TESTS(tests);
}
