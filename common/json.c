/* See json.h.
 *
 * One loop walks the text; the only state is a bit per open level that tells
 * objects from arrays.  Long runs inside strings (source, base64 of plots) are
 * passed eight bytes at a time.
 */
#include "common/json.h"

#include <ringfence/limits.h>

#define LEVEL_WORDS ((RF_JSON_DEPTH_MAX + 63) / 64)
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

struct scanner {
    const uint8_t *p, *end;
    unsigned depth;
    uint64_t objects[LEVEL_WORDS]; /* bit of a level: it is an object */
    struct rf_json_member *members;
    size_t n_members;
    struct rf_json_member *found; /* the top-level value that is being passed is wanted here */
    const uint8_t *found_at;
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The first byte from p on that is a quote, a backslash or a control
 * character, or `end`. */
static const uint8_t *plain_end(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        uint64_t quote = word ^ (ones * '"');
        uint64_t slash = word ^ (ones * '\\');
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
                       ((word - ones * 0x20) & ~word);
        if (hit & highs)
            break;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20)
        p++;
    return p;
}

/* The value of four hexadecimal digits, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* What follows a backslash, one character each; 'u' is apart. */
static int simple_escape(uint8_t c)
{
    static const char meant[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    return meant[c] ? meant[c] : -1;
}

/* Passes the string that starts at p (its quote); NULL if it is none. */
static const uint8_t *string_end(const uint8_t *p, const uint8_t *end)
{
    if (p == end || *p != '"')
        return NULL;
    for (p = plain_end(p + 1, end); p < end; p = plain_end(p, end)) {
        if (*p == '"')
            return p + 1;
        if (*p != '\\' || end - p < 2)
            return NULL;
        if (p[1] == 'u' && hex4(p + 2, end) >= 0)
            p += 6;
        else if (simple_escape(p[1]) >= 0)
            p += 2;
        else
            return NULL;
    }
    return NULL;
}

static const uint8_t *digits_end(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* NULL if no number starts at p. */
static const uint8_t *number_end(const uint8_t *p, const uint8_t *end)
{
    if (p < end && *p == '-')
        p++;
    if (p == end || !is_digit(*p))
        return NULL;
    p = *p == '0' ? p + 1 : digits_end(p, end);
    if (p < end && *p == '.') {
        if (end - p < 2 || !is_digit(p[1]))
            return NULL;
        p = digits_end(p + 1, end);
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        if (p == end || !is_digit(*p))
            return NULL;
        p = digits_end(p, end);
    }
    return p;
}

static bool scan_scalar(struct scanner *s)
{
    static const char *const words[] = {"true", "false", "null", "NaN", "Infinity", "-Infinity"};
    const uint8_t *to = *s->p == '"' ? string_end(s->p, s->end) : number_end(s->p, s->end);
    if (to) {
        s->p = to;
        return true;
    }
    size_t left = (size_t)(s->end - s->p);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t len = strlen(words[i]);
        if (len <= left && memcmp(s->p, words[i], len) == 0) {
            s->p += len;
            return true;
        }
    }
    return false;
}

/* True if a byte is left after white space. */
static bool skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end;
}

static bool in_object(const struct scanner *s)
{
    unsigned level = s->depth - 1;
    return s->objects[level / 64] >> (level % 64) & 1;
}

static struct rf_json_member *member_of(struct scanner *s, struct rf_bytes key)
{
    for (size_t i = 0; i < s->n_members; i++)
        if (rf_json_string_is(key, s->members[i].name))
            return &s->members[i];
    return NULL;
}

/* Passes `"key" :` up to the value. */
static bool scan_key(struct scanner *s)
{
    if (!skip_space(s))
        return false;
    const uint8_t *key = s->p, *to = string_end(key, s->end);
    if (!to)
        return false;
    s->p = to;
    if (!skip_space(s) || *s->p++ != ':' || !skip_space(s))
        return false;
    if (s->depth == 1 && s->n_members) {
        s->found = member_of(s, (struct rf_bytes){key, (size_t)(to - key)});
        s->found_at = s->p;
    }
    return true;
}

static void close_level(struct scanner *s)
{
    s->p++;
    s->depth--;
}

/* At a bracket.  Goes to the first value inside, or past the end of an empty
 * object or array, which *ret_empty then tells. */
static enum rf_json_error open_level(struct scanner *s, bool *ret_empty)
{
    bool object = *s->p++ == '{';
    if (s->depth == RF_JSON_DEPTH_MAX)
        return RF_JSON_DEPTH;
    uint64_t bit = UINT64_C(1) << (s->depth % 64), *word = &s->objects[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    if (!skip_space(s))
        return RF_JSON_SYNTAX;
    *ret_empty = *s->p == (object ? '}' : ']');
    if (*ret_empty)
        close_level(s);
    else if (object && !scan_key(s))
        return RF_JSON_SYNTAX;
    return RF_JSON_OK;
}

/* After a value: past the brackets that close here, up to the next value.
 * *ret_done: the outermost value ended. */
static bool to_next_value(struct scanner *s, bool *ret_done)
{
    for (;;) {
        if (s->depth == 1 && s->found) {
            s->found->value = (struct rf_bytes){s->found_at, (size_t)(s->p - s->found_at)};
            s->found = NULL;
        }
        bool more = skip_space(s);
        *ret_done = s->depth == 0;
        if (*ret_done)
            return !more;
        if (!more)
            return false;
        bool object = in_object(s);
        if (*s->p == ',') {
            s->p++;
            return object ? scan_key(s) : skip_space(s);
        }
        if (*s->p != (object ? '}' : ']'))
            return false;
        close_level(s);
    }
}

static enum rf_json_error scan(struct scanner *s)
{
    bool done = false;
    if (!skip_space(s))
        return RF_JSON_SYNTAX;
    while (!done) {
        if (*s->p == '{' || *s->p == '[') {
            bool empty = false;
            enum rf_json_error e = open_level(s, &empty);
            if (e)
                return e;
            if (!empty)
                continue;
        } else if (!scan_scalar(s)) {
            return RF_JSON_SYNTAX;
        }
        if (!to_next_value(s, &done))
            return RF_JSON_SYNTAX;
    }
    return RF_JSON_OK;
}

static bool starts_object(struct rf_bytes text)
{
    struct scanner s = {.p = text.data, .end = text.data + text.len};
    return skip_space(&s) && *s.p == '{';
}

enum rf_json_error rf_json_check(struct rf_bytes text)
{
    if (!text.len)
        return RF_JSON_SYNTAX;
    struct scanner s = {.p = text.data, .end = text.data + text.len};
    return scan(&s);
}

enum rf_json_error rf_json_object(struct rf_bytes text, struct rf_json_member *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        members[i].value = (struct rf_bytes){0};
    if (!text.len)
        return RF_JSON_SYNTAX;
    struct scanner s = {.p = text.data, .end = text.data + text.len};
    bool object = starts_object(text);
    if (object) { /* else the keys at depth 1 are not those of `text` */
        s.members = members;
        s.n_members = n;
    }
    enum rf_json_error e = scan(&s);
    for (size_t i = 0; e && i < n; i++)
        members[i].value = (struct rf_bytes){0};
    if (!e && !object)
        e = RF_JSON_TYPE;
    return e;
}

bool rf_json_is_string(struct rf_bytes value)
{
    return value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
}

bool rf_json_is_true(struct rf_bytes value)
{
    return rf_bytes_is(value, "true");
}

bool rf_json_is_false(struct rf_bytes value)
{
    return rf_bytes_is(value, "false");
}

bool rf_json_is_null(struct rf_bytes value)
{
    return !value.data || rf_bytes_is(value, "null");
}

bool rf_json_i64(struct rf_bytes value, int64_t *ret)
{
    size_t at = 0;
    int64_t n = 0;
    bool negative = value.len && value.data[0] == '-';
    if (negative)
        at++;
    if (at == value.len)
        return false;
    for (; at < value.len; at++) {
        if (!is_digit(value.data[at]))
            return false;
        int digit = value.data[at] - '0';
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, negative ? -digit : digit, &n))
            return false;
    }
    *ret = n;
    return true;
}

/* Writes `c` as UTF-8; returns its length. */
static size_t put_utf8(uint32_t c, uint8_t to[4])
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        to[i] = (uint8_t)(0x80 | (c & 0x3f));
    to[0] = (uint8_t)(lead[len] | c);
    return len;
}

/* Decodes the escape at *p (checked by string_end) and passes it: a surrogate
 * pair is one character, a lone half becomes U+FFFD. */
static size_t decode_escape(const uint8_t **p, const uint8_t *end, uint8_t to[4])
{
    const uint8_t *at = *p;
    if (at[1] != 'u') {
        *p = at + 2;
        to[0] = (uint8_t)simple_escape(at[1]);
        return 1;
    }
    int32_t c = hex4(at + 2, end);
    *p = at + 6;
    if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && at[6] == '\\' && at[7] == 'u') {
        int32_t low = hex4(at + 8, end);
        if (low >= 0xdc00 && low < 0xe000) {
            *p = at + 12;
            return put_utf8(0x10000u + ((uint32_t)(c - 0xd800) << 10) + (uint32_t)(low - 0xdc00),
                            to);
        }
    }
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    return put_utf8((uint32_t)c, to);
}

static bool is_whole_string(struct rf_bytes value)
{
    return value.len && string_end(value.data, value.data + value.len) == value.data + value.len;
}

bool rf_json_decode(struct rf_bytes value, struct rf_buf *to)
{
    if (!is_whole_string(value))
        return false;
    const uint8_t *p = value.data + 1, *end = value.data + value.len - 1;
    rf_buf_reserve(to, value.len);
    while (p < end) {
        const uint8_t *run = p;
        p = plain_end(p, end);
        rf_utf8_clean((struct rf_bytes){run, (size_t)(p - run)}, true, to);
        if (p < end) {
            uint8_t c[4];
            size_t n = decode_escape(&p, end, c);
            rf_buf_add(to, c, n);
        }
    }
    return true;
}

bool rf_json_string_is(struct rf_bytes value, const char *s)
{
    if (!rf_json_is_string(value))
        return false;
    struct rf_bytes inner = {value.data + 1, value.len - 2};
    const uint8_t *p = inner.data, *end = p + inner.len;
    if (!inner.len || !memchr(p, '\\', inner.len))
        return rf_bytes_is(inner, s);
    if (!is_whole_string(value))
        return false;
    size_t left = strlen(s);
    while (p < end) {
        uint8_t c[4] = {*p};
        size_t n = 1;
        if (*p == '\\')
            n = decode_escape(&p, end, c);
        else
            p++;
        if (n > left || memcmp(s, c, n) != 0)
            return false;
        s += n;
        left -= n;
    }
    return left == 0;
}

static void encode_special(uint8_t c, struct rf_buf *to)
{
    static const char from[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    static const char hex[] = "0123456789abcdef";
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        rf_buf_add(to, (const char[]){'\\', letter[at - from]}, 2);
    else
        rf_buf_add(to, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void rf_json_encode(struct rf_bytes text, struct rf_buf *to)
{
    const uint8_t *p = text.data, *end = text.len ? p + text.len : p;
    rf_buf_reserve(to, text.len + 2);
    rf_buf_add(to, "\"", 1);
    while (p < end) {
        const uint8_t *run = p;
        p = plain_end(p, end);
        rf_utf8_clean((struct rf_bytes){run, (size_t)(p - run)}, true, to);
        if (p < end)
            encode_special(*p++, to);
    }
    rf_buf_add(to, "\"", 1);
}

struct sequence {
    size_t len;  /* bytes of the sequence, or of the part of it that could begin one (1 to 3) */
    bool valid;
    bool cut; /* not valid, but only since the text ends here */
};

/* Looks at the sequence at p (not ASCII), after Unicode's table 3-7. */
static struct sequence look_utf8(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t lead_first, lead_last, second_first, second_last;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    size_t form = 0, n = sizeof(forms) / sizeof(*forms);
    while (form < n && (p[0] < forms[form].lead_first || p[0] > forms[form].lead_last))
        form++;
    if (form == n)
        return (struct sequence){.len = 1};
    for (size_t i = 1; i < forms[form].len; i++) {
        if (i == left)
            return (struct sequence){.len = i, .cut = true};
        uint8_t first = i == 1 ? forms[form].second_first : 0x80;
        uint8_t last = i == 1 ? forms[form].second_last : 0xbf;
        if (p[i] < first || p[i] > last)
            return (struct sequence){.len = i};
    }
    return (struct sequence){.len = forms[form].len, .valid = true};
}

static const uint8_t *ascii_end(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            break;
        p += 8;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

size_t rf_utf8_clean(struct rf_bytes text, bool last, struct rf_buf *to)
{
    if (!text.len)
        return 0;
    const uint8_t *p = text.data, *end = p + text.len, *good = p;
    while ((p = ascii_end(p, end)) < end) {
        struct sequence seq = look_utf8(p, (size_t)(end - p));
        if (!seq.valid) {
            rf_buf_add(to, good, (size_t)(p - good));
            if (seq.cut && !last)
                return seq.len;
            rf_buf_add_str(to, REPLACEMENT);
            good = p + seq.len;
        }
        p += seq.len;
    }
    rf_buf_add(to, good, (size_t)(end - good));
    return 0;
}
