/* See history.h.
 *
 * A ring of cells with ascending numbers, bounded in cells and in bytes.  The
 * three kinds of request walk it from the newest cell back and differ only in
 * which cells they want.  One kernel is one session, number 1, also known as
 * session 0 ("the current one"); others do not exist.
 */
#include "gateway/jupyter/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <ringfence/limits.h>

#include "common/cleanup.h"
#include "common/json.h"

#define SESSION 1
#define TAIL_DEFAULT 10
#define HISTORY_BYTES_MAX ((size_t)64 << 20) /* of all texts together */
#define WORKER_TEXT_MAX (HISTORY_BYTES_MAX / 16) /* of one text that the worker tells */
#define SEARCH_STEPS_MAX 100000000u          /* work of one search, some tenths of a second */
#define HASHED_PREFIX 1024u

struct text {
    uint8_t *data; /* owned */
    size_t len;
};

struct cell {
    uint64_t count;
    struct text raw;    /* as it was typed, decoded */
    struct text source; /* after IPython's transformations; empty: not told */
    struct text output; /* empty: none */
};

struct rf_history {
    struct cell *cells; /* owned; a ring */
    size_t cap, first, n;
    size_t bytes; /* of all texts */
};

/* One history_request. */
struct query {
    const struct access *access;
    bool raw, output, unique;
    int64_t session, start, stop; /* [start, stop) in cell numbers */
    size_t limit;
    bool has_pattern;
    struct rf_buf pattern; /* owned; decoded */
    size_t steps_left;
    uint32_t *slots; /* owned; index of the sources that were picked, NULL unless unique */
    size_t slot_mask;
};

struct access {
    const char *name;
    /* Checks what this kind needs; NULL or what is wrong. */
    const char *(*prepare)(const struct rf_history *history, struct query *query);
    bool (*wants)(const struct rf_history *history, struct query *query, size_t at);
};

static struct cell *cell_at(const struct rf_history *history, size_t at)
{
    return &history->cells[(history->first + at) % history->cap];
}

static struct rf_bytes bytes_of(const struct text *text)
{
    return (struct rf_bytes){text->data, text->len};
}

/* Life cycle. */

struct rf_history *rf_history_new(size_t max_cells)
{
    struct rf_history *history = calloc(1, sizeof(*history));
    if (!history)
        return NULL;
    history->cap = max_cells ? max_cells : RF_HISTORY_CELLS_MAX;
    history->cells = calloc(history->cap, sizeof(*history->cells));
    return history->cells ? history : rf_history_free(history);
}

static void forget_text(struct rf_history *history, struct text *text)
{
    history->bytes -= text->len;
    free(text->data);
    *text = (struct text){0};
}

static void forget_cell(struct rf_history *history, struct cell *cell)
{
    forget_text(history, &cell->raw);
    forget_text(history, &cell->source);
    forget_text(history, &cell->output);
}

static void forget_oldest(struct rf_history *history)
{
    forget_cell(history, cell_at(history, 0));
    history->first = (history->first + 1) % history->cap;
    history->n--;
}

struct rf_history *rf_history_free(struct rf_history *history)
{
    if (!history)
        return NULL;
    while (history->n)
        forget_oldest(history);
    free(history->cells);
    free(history);
    return NULL;
}

struct rf_bytes rf_history_source(const struct rf_history *history, uint64_t count)
{
    for (size_t at = history->n; at--;)
        if (cell_at(history, at)->count == count)
            return bytes_of(&cell_at(history, at)->raw);
    return (struct rf_bytes){0};
}

/* Recording. */

/* What a worker tells is left out when it is so long that it would push out
 * much of what the client typed. */
static struct rf_bytes bounded(struct rf_bytes told)
{
    return told.len <= WORKER_TEXT_MAX ? told : (struct rf_bytes){0};
}

/* Puts a copy of `from`, without the newlines at its end, in the place of
 * `text`. */
static int remember_text(struct rf_history *history, struct text *text, struct rf_bytes from)
{
    while (from.len && from.data[from.len - 1] == '\n')
        from.len--;
    uint8_t *copy = malloc(from.len ? from.len : 1);
    if (!copy)
        return -ENOMEM;
    if (from.len)
        memcpy(copy, from.data, from.len);
    forget_text(history, text);
    *text = (struct text){copy, from.len};
    history->bytes += from.len;
    return 0;
}

static void keep_in_bounds(struct rf_history *history)
{
    while (history->n && history->bytes > HISTORY_BYTES_MAX)
        forget_oldest(history);
}

static struct cell *find_cell(const struct rf_history *history, uint64_t count)
{
    size_t low = 0, high = history->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cell_at(history, middle)->count < count)
            low = middle + 1;
        else
            high = middle;
    }
    struct cell *cell = low < history->n ? cell_at(history, low) : NULL;
    return cell && cell->count == count ? cell : NULL;
}

/* The cell of that number, empty; NULL if it is older than all that is kept. */
static struct cell *claim_cell(struct rf_history *history, uint64_t count)
{
    struct cell *cell = find_cell(history, count);
    if (cell) {
        forget_cell(history, cell);
        return cell;
    }
    if (history->n && cell_at(history, history->n - 1)->count > count)
        return NULL;
    if (history->n == history->cap)
        forget_oldest(history);
    cell = cell_at(history, history->n++);
    *cell = (struct cell){.count = count};
    return cell;
}

int rf_history_input(struct rf_history *history, uint64_t count, struct rf_bytes code)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf decoded = {0};
    if (!rf_json_decode(code, &decoded))
        return 0; /* no string: not a cell */
    if (!rf_buf_ok(&decoded))
        return -ENOMEM;
    if (decoded.len > HISTORY_BYTES_MAX)
        return 0; /* would push out all others, and itself */
    struct cell *cell = claim_cell(history, count);
    int r = cell ? remember_text(history, &cell->raw, rf_buf_bytes(&decoded)) : 0;
    keep_in_bounds(history);
    return r;
}

int rf_history_output(struct rf_history *history, uint64_t count, struct rf_bytes source,
                      struct rf_bytes output)
{
    struct cell *cell = find_cell(history, count);
    if (!cell)
        return 0;
    int r = remember_text(history, &cell->source, bounded(source));
    if (!r)
        r = remember_text(history, &cell->output, bounded(output));
    keep_in_bounds(history);
    return r;
}

/* Patterns, as SQLite's GLOB has them: * ? and sets such as [a-z] and [^0-9]. */

static int32_t next_char(const uint8_t **p, const uint8_t *end)
{
    if (*p == end)
        return -1;
    int32_t c = *(*p)++;
    if (c >= 0xc0)
        c &= c >= 0xf0 ? 0x07 : c >= 0xe0 ? 0x0f : 0x1f;
    else
        return c;
    while (*p < end && (**p & 0xc0) == 0x80)
        c = c << 6 | (*(*p)++ & 0x3f);
    return c;
}

static void take_steps(size_t *left, size_t n)
{
    *left -= n < *left ? n : *left;
}

/* After `[`: passes the set.  False also if it is not closed. */
static bool set_has(const uint8_t **p, const uint8_t *end, int32_t c, size_t *steps_left)
{
    const uint8_t *start = *p;
    bool found = false, inverted = false;
    int32_t before = -1, now = next_char(p, end);
    if (now == '^') {
        inverted = true;
        now = next_char(p, end);
    }
    if (now == ']') { /* first in the set: itself */
        found = c == ']';
        now = next_char(p, end);
    }
    for (; now >= 0 && now != ']'; now = next_char(p, end)) {
        if (now == '-' && before >= 0 && *p < end && **p != ']') {
            now = next_char(p, end);
            found = found || (c >= before && c <= now);
            before = -1;
        } else {
            found = found || c == now;
            before = now;
        }
    }
    take_steps(steps_left, (size_t)(*p - start));
    return now == ']' && found != inverted;
}

/* Matches one character and passes it in both. */
static bool match_one(const uint8_t **p, const uint8_t *p_end, const uint8_t **t,
                      const uint8_t *t_end, size_t *steps_left)
{
    int32_t want = next_char(p, p_end), c = next_char(t, t_end);
    if (want == '[')
        return set_has(p, p_end, c, steps_left);
    return want == '?' || want == c;
}

/* Goes back to the latest star only, which is enough, since what an earlier one
 * took can be given to the later one. */
static bool glob(struct rf_bytes pattern, struct rf_bytes text, size_t *steps_left)
{
    const uint8_t *p = pattern.data, *p_end = p + pattern.len;
    const uint8_t *t = text.data, *t_end = t + text.len;
    const uint8_t *star = NULL, *star_t = NULL;
    for (; *steps_left; take_steps(steps_left, 1)) {
        if (p < p_end && *p == '*') {
            star = ++p;
            star_t = t;
            if (p == p_end)
                return true;
        } else if (t == t_end) {
            return p == p_end;
        } else if (p == p_end || !match_one(&p, p_end, &t, t_end, steps_left)) {
            if (!star)
                return false;
            p = star;
            next_char(&star_t, t_end);
            t = star_t;
        }
    }
    return false;
}

/* Requests. */

static size_t hash_text(const struct text *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ text->len;
    for (size_t i = 0; i < text->len && i < HASHED_PREFIX; i++)
        hash = (hash ^ text->data[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32);
}

/* True if no newer cell with the same source was picked. */
static bool is_new_source(const struct rf_history *history, struct query *query, size_t at)
{
    const struct text *raw = &cell_at(history, at)->raw;
    size_t slot = hash_text(raw) & query->slot_mask;
    for (; query->slots[slot]; slot = (slot + 1) & query->slot_mask) {
        const struct cell *other = cell_at(history, query->slots[slot] - 1);
        if (rf_bytes_eq(bytes_of(raw), bytes_of(&other->raw)))
            return false;
    }
    query->slots[slot] = (uint32_t)at + 1;
    return true;
}

static const char *prepare_range(const struct rf_history *history, struct query *query)
{
    uint64_t newest = history->n ? cell_at(history, history->n - 1)->count : 0;
    int64_t next = newest < INT64_MAX ? (int64_t)newest + 1 : INT64_MAX;
    if (query->start < 0)
        query->start += next;
    if (!query->stop || query->stop > next)
        query->stop = next;
    else if (query->stop < 0)
        query->stop += next;
    query->limit = query->session == 0 || query->session == SESSION ? history->n : 0;
    return NULL;
}

static bool range_wants(const struct rf_history *history, struct query *query, size_t at)
{
    uint64_t count = cell_at(history, at)->count;
    return (query->start < 0 || count >= (uint64_t)query->start) && query->stop > 0 &&
           count < (uint64_t)query->stop;
}

static const char *prepare_tail(const struct rf_history *history, struct query *query)
{
    query->session = SESSION;
    if (query->limit == SIZE_MAX)
        query->limit = TAIL_DEFAULT;
    return NULL;
}

static bool tail_wants(const struct rf_history *history, struct query *query, size_t at)
{
    return true;
}

static const char *prepare_search(const struct rf_history *history, struct query *query)
{
    query->session = SESSION;
    query->steps_left = SEARCH_STEPS_MAX;
    if (!query->has_pattern)
        return "a search needs \"pattern\", a string";
    if (!query->unique)
        return NULL;
    size_t slots = 2;
    while (slots < 2 * history->n)
        slots *= 2;
    query->slot_mask = slots - 1;
    query->slots = calloc(slots, sizeof(*query->slots));
    return query->slots ? NULL : "there is no memory for this search";
}

static bool search_wants(const struct rf_history *history, struct query *query, size_t at)
{
    return glob(rf_buf_bytes(&query->pattern), bytes_of(&cell_at(history, at)->raw),
                &query->steps_left) &&
           (!query->unique || is_new_source(history, query, at));
}

static const struct access accesses[] = {
    {"range", prepare_range, range_wants},
    {"tail", prepare_tail, tail_wants},
    {"search", prepare_search, search_wants},
};

enum { TYPE, SESSION_NUMBER, START, STOP, COUNT, PATTERN, UNIQUE, RAW, OUTPUT, MEMBERS };

/* A whole number, or `absent` where there is none; false if it is another thing. */
static bool read_number(struct rf_bytes value, int64_t absent, int64_t *ret)
{
    *ret = absent;
    return rf_json_is_null(value) || rf_json_i64(value, ret);
}

/* Reads the request; NULL or what is wrong with it. */
static const char *read_query(struct rf_bytes request, struct query *query)
{
    struct rf_json_member m[MEMBERS] = {
        [TYPE] = {.name = "hist_access_type"},
        [SESSION_NUMBER] = {.name = "session"},
        [START] = {.name = "start"},
        [STOP] = {.name = "stop"},
        [COUNT] = {.name = "n"},
        [PATTERN] = {.name = "pattern"},
        [UNIQUE] = {.name = "unique"},
        [RAW] = {.name = "raw"},
        [OUTPUT] = {.name = "output"},
    };
    if (rf_json_object(request, m, MEMBERS))
        return "the content of a history_request is a JSON object";
    for (size_t i = 0; i < sizeof(accesses) / sizeof(*accesses); i++)
        if (rf_json_string_is(m[TYPE].value, accesses[i].name))
            query->access = &accesses[i];
    if (!query->access)
        return "\"hist_access_type\" is \"range\", \"tail\" or \"search\"";
    int64_t n;
    if (!read_number(m[SESSION_NUMBER].value, 0, &query->session) ||
        !read_number(m[START].value, 0, &query->start) ||
        !read_number(m[STOP].value, 0, &query->stop) || !read_number(m[COUNT].value, -1, &n))
        return "\"session\", \"start\", \"stop\" and \"n\" are whole numbers";
    query->limit = n < 0 ? SIZE_MAX : (size_t)n;
    query->raw = !rf_json_is_false(m[RAW].value);
    query->output = rf_json_is_true(m[OUTPUT].value);
    query->unique = rf_json_is_true(m[UNIQUE].value);
    query->has_pattern = rf_json_decode(m[PATTERN].value, &query->pattern);
    return rf_buf_ok(&query->pattern) ? NULL : "there is no memory for this pattern";
}

static void add_cell(const struct query *query, const struct cell *cell, struct rf_buf *to)
{
    const struct text *input = !query->raw && cell->source.len ? &cell->source : &cell->raw;
    rf_buf_printf(to, "[%" PRId64 ",%" PRIu64 ",%s", query->session, cell->count,
                  query->output ? "[" : "");
    rf_json_encode(bytes_of(input), to);
    if (query->output) {
        rf_buf_add_str(to, ",");
        if (cell->output.len)
            rf_json_encode(bytes_of(&cell->output), to);
        else
            rf_buf_add_str(to, "null");
        rf_buf_add_str(to, "]");
    }
    rf_buf_add_str(to, "]");
}

/* Fills `picked` (room for history->n) from its end, newest first; returns
 * where it begins. */
static size_t pick(const struct rf_history *history, struct query *query, size_t *picked)
{
    size_t begin = history->n;
    for (size_t at = history->n; at > 0 && history->n - begin < query->limit; at--)
        if (query->access->wants(history, query, at - 1))
            picked[--begin] = at - 1;
    return begin;
}

/* Appends the answer; NULL, or what is wrong (then nothing was appended). */
static const char *answer(const struct rf_history *history, struct query *query,
                          struct rf_buf *to)
{
    const char *wrong = query->access->prepare(history, query);
    if (wrong)
        return wrong;
    RF_AUTO(rf_freep) size_t *picked = calloc(history->n + 1, sizeof(*picked));
    if (!picked)
        return "there is no memory for this request";
    size_t begin = pick(history, query, picked);
    if (query->access->wants == search_wants && !query->steps_left)
        return "the search was given up since it takes too long: use a simpler pattern";
    rf_buf_add_str(to, "{\"status\":\"ok\",\"history\":[");
    for (size_t i = begin; i < history->n; i++) {
        if (i > begin)
            rf_buf_add_str(to, ",");
        add_cell(query, cell_at(history, picked[i]), to);
    }
    rf_buf_add_str(to, "]}");
    return NULL;
}

static void add_error(const char *wrong, struct rf_buf *to)
{
    rf_buf_add_str(to, "{\"status\":\"error\",\"ename\":\"ValueError\",\"evalue\":");
    rf_json_encode(rf_bytes_str(wrong), to);
    rf_buf_add_str(to, ",\"traceback\":[],\"history\":[]}");
}

int rf_history_reply(const struct rf_history *history, struct rf_bytes request, struct rf_buf *to)
{
    struct query query = {0};
    const char *wrong = read_query(request, &query);
    if (!wrong)
        wrong = answer(history, &query, to);
    if (wrong)
        add_error(wrong, to);
    rf_buf_deinit(&query.pattern);
    free(query.slots);
    return rf_buf_ok(to) ? 0 : -ENOMEM;
}
