/* Any bytes as JSON, as a JSON string and as text. */
#include "tests/fuzz/fuzz.h"

#include "common/cleanup.h"
#include "common/json.h"

static bool is_inside(struct rf_bytes part, struct rf_bytes whole)
{
    return !part.data ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void try_object(struct rf_bytes text)
{
    struct rf_json_member members[] = {{.name = "a"}, {.name = "code"}, {.name = ""}};
    enum rf_json_error e = rf_json_object(text, members, 3), plain = rf_json_check(text);
    MUST(e == plain || (e == RF_JSON_TYPE && plain == RF_JSON_OK));
    for (size_t i = 0; i < 3; i++) {
        struct rf_bytes value = members[i].value;
        MUST(!e || !value.data);
        MUST(is_inside(value, text));
        if (!value.data)
            continue;
        MUST(rf_json_check(value) == RF_JSON_OK);
        RF_AUTO(rf_buf_deinit) struct rf_buf decoded = {0};
        MUST(rf_json_decode(value, &decoded) == rf_json_is_string(value));
        int64_t n;
        rf_json_i64(value, &n);
        rf_json_string_is(value, "text");
    }
}

/* What was decoded comes back when it is encoded and decoded again. */
static void try_string(struct rf_bytes value)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0}, json = {0}, again = {0};
    rf_json_string_is(value, "abc");
    if (!rf_json_decode(value, &text))
        return;
    MUST(rf_json_check(value) == RF_JSON_OK);
    rf_json_encode(rf_buf_bytes(&text), &json);
    MUST(rf_json_check(rf_buf_bytes(&json)) == RF_JSON_OK);
    MUST(rf_json_decode(rf_buf_bytes(&json), &again));
    MUST(rf_bytes_eq(rf_buf_bytes(&text), rf_buf_bytes(&again)));
}

/* Cleaning is final, and the same in two pieces as in one. */
static void try_text(struct rf_bytes text)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf whole = {0}, twice = {0}, parts = {0}, json = {0};
    MUST(rf_utf8_clean(text, true, &whole) == 0);
    MUST(rf_utf8_clean(rf_buf_bytes(&whole), false, &twice) == 0);
    MUST(rf_bytes_eq(rf_buf_bytes(&whole), rf_buf_bytes(&twice)));
    size_t cut = text.len ? text.data[0] % text.len : 0;
    size_t left = rf_utf8_clean((struct rf_bytes){text.data, cut}, false, &parts);
    MUST(left <= 3 && left <= cut);
    size_t from = cut - left;
    rf_utf8_clean((struct rf_bytes){text.data + from, text.len - from}, true, &parts);
    MUST(rf_bytes_eq(rf_buf_bytes(&whole), rf_buf_bytes(&parts)));
    rf_json_encode(text, &json);
    MUST(rf_json_check(rf_buf_bytes(&json)) == RF_JSON_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rf_bytes input = {data, size};
    try_object(input);
    try_string(input);
    try_text(input);
    return 0;
}
