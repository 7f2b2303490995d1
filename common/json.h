/* A scanner for JSON that passes through as bytes.
 *
 * The gateway does not build trees of what it only hands on: it checks the
 * syntax once, without recursion and without allocation, and slices out the
 * few top-level members it needs.  It is lenient where the reference client
 * (Python's json) is: NaN and Infinity, lone surrogates, \u0000, huge
 * numbers, duplicate keys (the last wins).  Bytes that are not UTF-8 are left
 * alone inside strings; rf_json_decode and rf_utf8_clean mend them.
 */
#ifndef RINGFENCE_COMMON_JSON_H
#define RINGFENCE_COMMON_JSON_H

#include "common/bytes.h"

enum rf_json_error {
    RF_JSON_OK = 0,
    RF_JSON_SYNTAX = 1, /* not JSON, or bytes after the value */
    RF_JSON_DEPTH = 2,  /* more than RF_JSON_DEPTH_MAX levels */
    RF_JSON_TYPE = 3,   /* a value, but not an object */
};

/* One member to find: name in; value out (raw JSON text, data NULL if absent). */
struct rf_json_member {
    const char *name;
    struct rf_bytes value; /* borrowed from the text */
};

/* Checks that `text` is one JSON value. */
enum rf_json_error rf_json_check(struct rf_bytes text);

/* Checks that `text` is one JSON object and fills the values of `members`. */
enum rf_json_error rf_json_object(struct rf_bytes text, struct rf_json_member *members, size_t n);

bool rf_json_is_string(struct rf_bytes value);
bool rf_json_is_true(struct rf_bytes value);
bool rf_json_is_false(struct rf_bytes value);
bool rf_json_is_null(struct rf_bytes value); /* absent or null */
bool rf_json_i64(struct rf_bytes value, int64_t *ret);
/* True if `value` is a string that decodes to `s`. */
bool rf_json_string_is(struct rf_bytes value, const char *s);

/* Appends what the JSON string `value` stands for, as valid UTF-8 (lone
 * surrogates and bad bytes become U+FFFD).  False if it is no string. */
bool rf_json_decode(struct rf_bytes value, struct rf_buf *to);
/* Appends `text` as a JSON string with its quotes; bad UTF-8 becomes U+FFFD. */
void rf_json_encode(struct rf_bytes text, struct rf_buf *to);

/* Appends `text`, which is `n` bytes of what should be UTF-8, with bad bytes
 * replaced by U+FFFD.  Returns how many bytes at the end were not taken since
 * they begin a sequence that is not complete yet (0 to 3; always 0 if `last`). */
size_t rf_utf8_clean(struct rf_bytes text, bool last, struct rf_buf *to);

#endif
