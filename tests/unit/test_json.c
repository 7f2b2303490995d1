/* common/json: what is JSON, what is sliced out of it, strings both ways. */
#include "tests/unit/check.h"

#include <stdlib.h>

#include <ringfence/limits.h>

#include "common/cleanup.h"
#include "common/json.h"

static void test_check(void **state)
{
    static const struct {
        struct rf_bytes text;
        enum rf_json_error want;
    } cases[] = {
        {LITERAL("{}"), RF_JSON_OK},
        {LITERAL(" \t\r\n[ ] \n"), RF_JSON_OK},
        {LITERAL("0"), RF_JSON_OK},
        {LITERAL("-0"), RF_JSON_OK},
        {LITERAL("-12.5e-7"), RF_JSON_OK},
        {LITERAL("1E+400"), RF_JSON_OK}, /* huge numbers are the reader's business */
        {LITERAL("123456789012345678901234567890"), RF_JSON_OK},
        {LITERAL("NaN"), RF_JSON_OK},
        {LITERAL("[Infinity,-Infinity]"), RF_JSON_OK},
        {LITERAL("[true,false,null]"), RF_JSON_OK},
        {LITERAL("\"\""), RF_JSON_OK},
        {LITERAL("\"\\ud83d\""), RF_JSON_OK}, /* lone halves of a pair */
        {LITERAL("\"\\ude00 \\ud83d\\n\""), RF_JSON_OK},
        {LITERAL("\"\\u0000\""), RF_JSON_OK},
        {LITERAL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), RF_JSON_OK},
        {LITERAL("\"\xff\xc3\""), RF_JSON_OK}, /* not UTF-8 */
        {LITERAL("\"\x7f\""), RF_JSON_OK},
        {LITERAL("{\"a\":1,\"a\":2}"), RF_JSON_OK},
        {LITERAL("{\"a\" : [ {\"b\":[[],{}]} , 1 ] , \"\":\"\"}"), RF_JSON_OK},
        /* cut short */
        {LITERAL(""), RF_JSON_SYNTAX},
        {LITERAL("  "), RF_JSON_SYNTAX},
        {LITERAL("{"), RF_JSON_SYNTAX},
        {LITERAL("{\"a\""), RF_JSON_SYNTAX},
        {LITERAL("{\"a\":"), RF_JSON_SYNTAX},
        {LITERAL("{\"a\":1"), RF_JSON_SYNTAX},
        {LITERAL("{\"a\":1,"), RF_JSON_SYNTAX},
        {LITERAL("[1,"), RF_JSON_SYNTAX},
        {LITERAL("\"abcdefghijklmnop"), RF_JSON_SYNTAX},
        {LITERAL("\"\\"), RF_JSON_SYNTAX},
        {LITERAL("\"\\u12"), RF_JSON_SYNTAX},
        {LITERAL("tru"), RF_JSON_SYNTAX},
        {LITERAL("-"), RF_JSON_SYNTAX},
        {LITERAL("1."), RF_JSON_SYNTAX},
        {LITERAL("1e"), RF_JSON_SYNTAX},
        {LITERAL("1e+"), RF_JSON_SYNTAX},
        /* bytes after the value */
        {LITERAL("{} x"), RF_JSON_SYNTAX},
        {LITERAL("{}{}"), RF_JSON_SYNTAX},
        {LITERAL("1 2"), RF_JSON_SYNTAX},
        {LITERAL("[]]"), RF_JSON_SYNTAX},
        {LITERAL("{}\0"), RF_JSON_SYNTAX},
        /* other nonsense */
        {LITERAL("\xef\xbb\xbf{}"), RF_JSON_SYNTAX},
        {LITERAL("{]"), RF_JSON_SYNTAX},
        {LITERAL("[}"), RF_JSON_SYNTAX},
        {LITERAL("[1,]"), RF_JSON_SYNTAX},
        {LITERAL("[,1]"), RF_JSON_SYNTAX},
        {LITERAL("[1 2]"), RF_JSON_SYNTAX},
        {LITERAL("{\"a\":1,}"), RF_JSON_SYNTAX},
        {LITERAL("{,}"), RF_JSON_SYNTAX},
        {LITERAL("{a:1}"), RF_JSON_SYNTAX},
        {LITERAL("{1:1}"), RF_JSON_SYNTAX},
        {LITERAL("{\"a\" 1}"), RF_JSON_SYNTAX},
        {LITERAL("'a'"), RF_JSON_SYNTAX},
        {LITERAL("\"\n\""), RF_JSON_SYNTAX},
        {LITERAL("\"12345678\0\""), RF_JSON_SYNTAX},
        {LITERAL("\"\\x41\""), RF_JSON_SYNTAX},
        {LITERAL("\"\\u12g4\""), RF_JSON_SYNTAX},
        {LITERAL("01"), RF_JSON_SYNTAX},
        {LITERAL("+1"), RF_JSON_SYNTAX},
        {LITERAL(".5"), RF_JSON_SYNTAX},
        {LITERAL("-NaN"), RF_JSON_SYNTAX},
        {LITERAL("nullx"), RF_JSON_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum rf_json_error got = rf_json_check(cases[i].text);
        if (got != cases[i].want)
            fail_msg("case %zu, \"%.*s\": got %d, want %d", i, (int)cases[i].text.len,
                     (const char *)cases[i].text.data, got, cases[i].want);
    }
    assert_int_equal(rf_json_check((struct rf_bytes){0}), RF_JSON_SYNTAX);
}

/* `n` levels of arrays and objects in turn; owned by the caller. */
static struct rf_buf nested(size_t n)
{
    struct rf_buf text = {0};
    for (size_t i = 0; i < n; i++)
        rf_buf_add_str(&text, i % 2 ? "{\"a\":" : "[");
    rf_buf_add_str(&text, "1");
    for (size_t i = n; i-- > 0;)
        rf_buf_add_str(&text, i % 2 ? "}" : "]");
    return text;
}

static void test_depth(void **state)
{
    static const struct {
        size_t levels;
        enum rf_json_error want;
    } cases[] = {
        {1, RF_JSON_OK},
        {64, RF_JSON_OK},
        {65, RF_JSON_OK},
        {RF_JSON_DEPTH_MAX, RF_JSON_OK},
        {RF_JSON_DEPTH_MAX + 1, RF_JSON_DEPTH},
        {1000000, RF_JSON_DEPTH},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        RF_AUTO(rf_buf_deinit) struct rf_buf text = nested(cases[i].levels);
        assert_int_equal(rf_json_check(rf_buf_bytes(&text)), cases[i].want);
    }
}

static void test_cut_anywhere(void **state)
{
    static const char text[] = "{\"a\":[1,-2.5e3,\"\\u00e9\\n\",{\"b\":null}],\"c\":true}";
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        /* an allocation of that size, so that a sanitizer sees a read beyond it */
        RF_AUTO(rf_freep) uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        assert_int_equal(rf_json_check((struct rf_bytes){copy, n}), RF_JSON_SYNTAX);
    }
    assert_int_equal(rf_json_check(RF_BYTES(text)), RF_JSON_OK);
}

static void test_object(void **state)
{
    static const struct {
        const char *text, *a, *b; /* NULL: absent */
        enum rf_json_error want;
    } cases[] = {
        {"{}", NULL, NULL, RF_JSON_OK},
        {"{\"a\": 1 ,\"b\":\"x\" }", "1", "\"x\"", RF_JSON_OK},
        {" {\"b\":{\"a\":5},\"c\":[{\"a\":6}]}", NULL, "{\"a\":5}", RF_JSON_OK},
        {"{\"a\":[1, {\"b\" : 2}]\n,\"b\":{}}", "[1, {\"b\" : 2}]", "{}", RF_JSON_OK},
        {"{\"a\":1,\"a\":[2],\"b\":null}", "[2]", "null", RF_JSON_OK},
        {"{\"a\":1,\"\\u0061\":3}", "3", NULL, RF_JSON_OK},
        {"{\"aa\":1,\"\":2,\"a\\u0000\":3}", NULL, NULL, RF_JSON_OK},
        {"{\"a\":NaN,\"b\":-1e999}", "NaN", "-1e999", RF_JSON_OK},
        {"[{\"a\":1}]", NULL, NULL, RF_JSON_TYPE},
        {"\"a\"", NULL, NULL, RF_JSON_TYPE},
        {"null", NULL, NULL, RF_JSON_TYPE},
        {"{\"a\":1,\"b\":2", NULL, NULL, RF_JSON_SYNTAX},
        {"{\"a\":1}}", NULL, NULL, RF_JSON_SYNTAX},
        {"", NULL, NULL, RF_JSON_SYNTAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rf_json_member members[] = {{.name = "a", .value = RF_BYTES("stale")},
                                           {.name = "b"}};
        enum rf_json_error got = rf_json_object(rf_bytes_str(cases[i].text), members, 2);
        assert_int_equal(got, cases[i].want);
        assert_int_equal(members[0].value.data != NULL, cases[i].a != NULL);
        assert_int_equal(members[1].value.data != NULL, cases[i].b != NULL);
        check_text(members[0].value, cases[i].a, cases[i].text);
        check_text(members[1].value, cases[i].b, cases[i].text);
    }
}

static void test_values(void **state)
{
    assert_true(rf_json_is_string(RF_BYTES("\"\"")));
    assert_false(rf_json_is_string(RF_BYTES("\"")));
    assert_false(rf_json_is_string(RF_BYTES("1")));
    assert_false(rf_json_is_string((struct rf_bytes){0}));
    assert_true(rf_json_is_true(RF_BYTES("true")));
    assert_false(rf_json_is_true(RF_BYTES("1")));
    assert_false(rf_json_is_true((struct rf_bytes){0}));
    assert_true(rf_json_is_false(RF_BYTES("false")));
    assert_false(rf_json_is_false((struct rf_bytes){0}));
    assert_true(rf_json_is_null(RF_BYTES("null")));
    assert_true(rf_json_is_null((struct rf_bytes){0}));
    assert_false(rf_json_is_null(RF_BYTES("0")));
}

static void test_i64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"-7", true, -7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"-", false, 0},
        {"", false, 0},
        {"\"1\"", false, 0},
        {"NaN", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t got = 0;
        if (rf_json_i64(rf_bytes_str(cases[i].text), &got) != cases[i].ok || got != cases[i].want)
            fail_msg("%s: got %lld", cases[i].text, (long long)got);
    }
}

static void test_string_is(void **state)
{
    static const struct {
        const char *value, *text;
        bool want;
    } cases[] = {
        {"\"abc\"", "abc", true},
        {"\"\"", "", true},
        {"\"a\\u0062c\"", "abc", true},
        {"\"a\\u0062\"", "abc", false},
        {"\"abc\"", "ab", false},
        {"\"a\\n\"", "a\n", true},
        {"\"\\u00e9\"", "\xc3\xa9", true},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", true},
        {"\"\\u0000\"", "", false},
        {"\"\\u0000a\"", "", false},
        {"abc", "abc", false},
        {"1", "1", false},
        {"\"\\\"", "\\", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (rf_json_string_is(rf_bytes_str(cases[i].value), cases[i].text) != cases[i].want)
            fail_msg("%s is \"%s\": want %d", cases[i].value, cases[i].text, cases[i].want);
}

static void test_decode(void **state)
{
    static const struct {
        struct rf_bytes value, want;
    } cases[] = {
        {LITERAL("\"\""), LITERAL("")},
        {LITERAL("\"plain text, longer than a word\""), LITERAL("plain text, longer than a word")},
        {LITERAL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), LITERAL("\"\\/\b\f\n\r\t")},
        {LITERAL("\"\\u0041\\u00e9\\u20AC\""), LITERAL("A\xc3\xa9\xe2\x82\xac")},
        {LITERAL("\"a\\u0000b\""), LITERAL("a\0b")},
        {LITERAL("\"\\ud83d\\ude00\""), LITERAL("\xf0\x9f\x98\x80")},
        {LITERAL("\"\\udbff\\udfff\""), LITERAL("\xf4\x8f\xbf\xbf")},
        {LITERAL("\"\\ud83d\""), LITERAL("\xef\xbf\xbd")},
        {LITERAL("\"\\ude00\\ud83d\""), LITERAL("\xef\xbf\xbd\xef\xbf\xbd")},
        {LITERAL("\"\\ud83d\\ud83d\\ude00\""), LITERAL("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {LITERAL("\"\\ud83d\\u0041\\ud83dx\""), LITERAL("\xef\xbf\xbd" "A\xef\xbf\xbdx")},
        {LITERAL("\"a\xff\\n\xe2\x82\""), LITERAL("a\xef\xbf\xbd\n\xef\xbf\xbd")},
        {LITERAL("\"\xed\xa0\xbd\""), LITERAL("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        RF_AUTO(rf_buf_deinit) struct rf_buf got = {0};
        assert_true(rf_json_decode(cases[i].value, &got));
        check_bytes(rf_buf_bytes(&got), cases[i].want, (const char *)cases[i].value.data);
    }
    static const char *const no_strings[] = {"", "1", "\"", "\"a", "a\"", "\"a\"b\"", "\"\\\"",
                                             "\"\\q\"", "\"a\n\"", "\"a\" ", "null"};
    for (size_t i = 0; i < COUNT_OF(no_strings); i++) {
        RF_AUTO(rf_buf_deinit) struct rf_buf got = {0};
        assert_false(rf_json_decode(rf_bytes_str(no_strings[i]), &got));
        assert_int_equal(got.len, 0);
    }
}

static void test_encode(void **state)
{
    static const struct {
        struct rf_bytes text, want;
    } cases[] = {
        {LITERAL(""), LITERAL("\"\"")},
        {LITERAL("plain"), LITERAL("\"plain\"")},
        {LITERAL("a\"\\/\b\f\n\r\tz"), LITERAL("\"a\\\"\\\\/\\b\\f\\n\\r\\tz\"")},
        {LITERAL("\0\x1b[0m\x7f"), LITERAL("\"\\u0000\\u001b[0m\x7f\"")},
        {LITERAL("\xc3\xa9\xf0\x9f\x98\x80"), LITERAL("\"\xc3\xa9\xf0\x9f\x98\x80\"")},
        {LITERAL("\xff\xc3\n\x80"), LITERAL("\"\xef\xbf\xbd\xef\xbf\xbd\\n\xef\xbf\xbd\"")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        RF_AUTO(rf_buf_deinit) struct rf_buf got = {0};
        rf_json_encode(cases[i].text, &got);
        check_bytes(rf_buf_bytes(&got), cases[i].want, "encoded");
        assert_int_equal(rf_json_check(rf_buf_bytes(&got)), RF_JSON_OK);
    }
    RF_AUTO(rf_buf_deinit) struct rf_buf none = {0};
    rf_json_encode((struct rf_bytes){0}, &none);
    check_text(rf_buf_bytes(&none), "\"\"", "no bytes");
}

static void test_utf8_clean(void **state)
{
    static const struct {
        struct rf_bytes text, want;
        size_t left; /* not taken when more may come; at the end it becomes one U+FFFD */
    } cases[] = {
        {LITERAL(""), LITERAL(""), 0},
        {LITERAL("0123456789abcdef"), LITERAL("0123456789abcdef"), 0},
        {LITERAL("\xc3\xa9\xe2\x82\xac\xf4\x8f\xbf\xbf"),
         LITERAL("\xc3\xa9\xe2\x82\xac\xf4\x8f\xbf\xbf"), 0},
        {LITERAL("a\xc3"), LITERAL("a"), 1},
        {LITERAL("a\xe2\x82"), LITERAL("a"), 2},
        {LITERAL("a\xf0\x9f\x98"), LITERAL("a"), 3},
        {LITERAL("\xc0\xaf"), LITERAL("\xef\xbf\xbd\xef\xbf\xbd"), 0},
        {LITERAL("\xe0\x80"), LITERAL("\xef\xbf\xbd\xef\xbf\xbd"), 0},
        {LITERAL("\xf4\x90\x80\x80"), LITERAL("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
         0},
        {LITERAL("\xf5"), LITERAL("\xef\xbf\xbd"), 0},
        {LITERAL("\x80z"), LITERAL("\xef\xbf\xbdz"), 0},
        {LITERAL("\xf0\x9f\x98z"), LITERAL("\xef\xbf\xbdz"), 0},
        {LITERAL("\xe2\x82\xe2\x82\xac"), LITERAL("\xef\xbf\xbd\xe2\x82\xac"), 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        RF_AUTO(rf_buf_deinit) struct rf_buf more = {0};
        assert_int_equal(rf_utf8_clean(cases[i].text, false, &more), cases[i].left);
        check_bytes(rf_buf_bytes(&more), cases[i].want, "cleaned");
        RF_AUTO(rf_buf_deinit) struct rf_buf last = {0};
        assert_int_equal(rf_utf8_clean(cases[i].text, true, &last), 0);
        if (cases[i].left)
            rf_buf_add_str(&more, "\xef\xbf\xbd");
        check_bytes(rf_buf_bytes(&last), rf_buf_bytes(&more), "cleaned to the end");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_object),
        cmocka_unit_test(test_values),      cmocka_unit_test(test_i64),
        cmocka_unit_test(test_string_is),   cmocka_unit_test(test_decode),
        cmocka_unit_test(test_encode),      cmocka_unit_test(test_utf8_clean),
    };
    return TESTS(tests);
}
