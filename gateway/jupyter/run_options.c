/* See run_options.h. */
#include "gateway/jupyter/run_options.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"

#define TIMEOUT_MAX_S 1e9 /* beyond it is no limit at all */
#define ENV_NAMES_MAX 1000

/* --- the members of an object that is known to be JSON --- */

static size_t blanks(struct rf_bytes at)
{
    size_t n = 0;
    while (n < at.len && strchr(" \t\r\n", at.data[n]))
        n++;
    return n;
}

static void skip(struct rf_bytes *at, size_t n)
{
    at->data += n;
    at->len -= n;
}

/* The string at the front; all of `at` if it does not end. */
static struct rf_bytes take_string(struct rf_bytes *at)
{
    size_t n = 1;
    while (n < at->len && at->data[n] != '"')
        n += at->data[n] == '\\' ? 2 : 1;
    n = n < at->len ? n + 1 : at->len;
    struct rf_bytes string = {at->data, n};
    skip(at, n);
    return string;
}

static const char *check_variable(struct rf_bytes name, struct rf_bytes value)
{
    struct rf_buf text = {0}, content = {0};
    rf_json_decode(name, &text);
    rf_json_decode(value, &content);
    bool good = rf_buf_ok(&text) && text.len && !memchr(text.data, '=', text.len) &&
                !memchr(text.data, 0, text.len) &&
                (!content.len || !memchr(content.data, 0, content.len));
    rf_buf_deinit(&text);
    rf_buf_deinit(&content);
    return good ? NULL
                : "metadata.ringfence.env: a name is empty or holds \"=\", or a name or value "
                  "holds NUL";
}

static const char *check_env(struct rf_bytes object)
{
    static const char wrong[] =
        "metadata.ringfence.env must be an object of at most 1000 texts: {\"NAME\": \"value\"}";
    if (!object.len || object.data[0] != '{')
        return wrong;
    skip(&object, 1);
    for (int n = 0; n <= ENV_NAMES_MAX; n++) {
        skip(&object, blanks(object));
        if (!object.len || object.data[0] == '}')
            return NULL;
        if (object.data[0] == ',') {
            skip(&object, 1);
            skip(&object, blanks(object));
        }
        struct rf_bytes name = take_string(&object);
        skip(&object, blanks(object));
        skip(&object, object.len ? 1 : 0); /* the colon */
        skip(&object, blanks(object));
        if (!object.len || object.data[0] != '"')
            return wrong;
        const char *why = check_variable(name, take_string(&object));
        if (why)
            return why;
    }
    return wrong;
}

static const char *check_timeout(struct rf_bytes value, int64_t *ret)
{
    char text[64], *end = text;
    double seconds = 0;
    if (value.len < sizeof(text)) {
        snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
        seconds = strtod(text, &end);
    }
    if (end == text || *end || !(seconds >= 0.001) || seconds > TIMEOUT_MAX_S)
        return "metadata.ringfence.timeout_s must be a number of seconds from 0.001 to 1e9";
    *ret = (int64_t)(seconds * 1e6);
    return NULL;
}

const char *rf_run_options_read(struct rf_bytes metadata, struct rf_run_options *ret)
{
    struct rf_json_member ours = {"ringfence", {0}};
    struct rf_json_member members[] = {{"timeout_s", {0}}, {"env", {0}}};
    *ret = (struct rf_run_options){0};
    if (rf_json_object(metadata, &ours, 1) || rf_json_is_null(ours.value))
        return NULL;
    if (rf_json_object(ours.value, members, 2))
        return "metadata.ringfence must be an object";
    const char *wrong = NULL;
    if (!rf_json_is_null(members[0].value))
        wrong = check_timeout(members[0].value, &ret->timeout_us);
    if (!wrong && !rf_json_is_null(members[1].value))
        wrong = check_env(members[1].value);
    return wrong;
}
