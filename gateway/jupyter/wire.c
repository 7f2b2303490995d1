/* See wire.h.
 *
 * The key lives in one place: the keyed MAC, which is zeroed when it is freed.  Remembered digests
 * are a ring in order of arrival with a hash index over it, so that the oldest
 * makes room for the newest in constant time.
 */
#include "gateway/jupyter/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include <openssl/crypto.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/mac.h"

#define DELIMITER "<IDS|MSG>"
#define SCHEME_DEFAULT "hmac-sha256"
#define DIGEST_LEN 32 /* bytes of a signature that are remembered */
#define SEEN_START 256u

/* After the delimiter. */
enum { SIGNATURE, HEADER, PARENT, METADATA, CONTENT, FIXED_FRAMES };

struct digest {
    uint8_t bytes[DIGEST_LEN];
};

/* The digests that were seen: `ring` holds them in order of arrival, `slots`
 * (open addressing, twice as many) holds positions in the ring plus one. */
struct seen {
    struct digest *ring; /* owned */
    uint32_t *slots;     /* owned */
    uint32_t cap, n, oldest;
};

struct rf_wire {
    struct rf_mac *keyed; /* owned; NULL: no signatures */
    size_t mac_len;
    struct seen seen;
    uint64_t n_sent;
    size_t max_message;
    struct rf_buf before_id; /* `{"msg_id":"<session>_` */
    struct rf_buf after_date; /* `","username":...}` */
};

const char *rf_wire_drop_name(enum rf_wire_drop drop)
{
    static const char *const names[RF_WIRE_DROPS] = {
        [RF_WIRE_OK] = "ok",
        [RF_WIRE_TOO_LARGE] = "too large",
        [RF_WIRE_FRAMES] = "wrong frames",
        [RF_WIRE_UNSIGNED] = "unsigned",
        [RF_WIRE_SIGNATURE] = "wrong signature",
        [RF_WIRE_REPLAY] = "signature seen before",
        [RF_WIRE_JSON] = "not JSON",
        [RF_WIRE_DEPTH] = "nested too deeply",
        [RF_WIRE_SCHEMA] = "not a Jupyter message",
    };
    return (unsigned)drop < RF_WIRE_DROPS ? names[drop] : "unknown";
}

/* Remembered digests. */

static uint32_t slot_mask(const struct seen *seen)
{
    return seen->cap * 2 - 1;
}

/* A digest is as good as random: its first bytes are its hash. */
static uint32_t home_slot(const struct seen *seen, const struct digest *digest)
{
    uint32_t hash;
    memcpy(&hash, digest->bytes, sizeof(hash));
    return hash & slot_mask(seen);
}

/* The slot that holds `digest`, or the free one where it belongs. */
static uint32_t find_slot(const struct seen *seen, const struct digest *digest)
{
    uint32_t slot = home_slot(seen, digest);
    while (seen->slots[slot] &&
           memcmp(&seen->ring[seen->slots[slot] - 1], digest, sizeof(*digest)) != 0)
        slot = (slot + 1) & slot_mask(seen);
    return slot;
}

/* Frees a slot and moves up what had to pass it by. */
static void clear_slot(struct seen *seen, uint32_t slot)
{
    uint32_t mask = slot_mask(seen), at = slot;
    for (;;) {
        at = (at + 1) & mask;
        if (!seen->slots[at])
            break;
        uint32_t home = home_slot(seen, &seen->ring[seen->slots[at] - 1]);
        if (((at - home) & mask) < ((at - slot) & mask))
            continue;
        seen->slots[slot] = seen->slots[at];
        slot = at;
    }
    seen->slots[slot] = 0;
}

static void seen_deinit(struct seen *seen)
{
    free(seen->ring);
    free(seen->slots);
    *seen = (struct seen){0};
}

/* Makes room for `cap` (a power of two) while the ring has never wrapped. */
static bool seen_grow(struct seen *seen, uint32_t cap)
{
    uint32_t *slots = calloc((size_t)cap * 2, sizeof(*slots));
    struct digest *ring = slots ? realloc(seen->ring, cap * sizeof(*ring)) : NULL;
    if (!ring) {
        free(slots);
        return false;
    }
    free(seen->slots);
    seen->slots = slots;
    seen->ring = ring;
    seen->cap = cap;
    for (uint32_t i = 0; i < seen->n; i++)
        seen->slots[find_slot(seen, &ring[i])] = i + 1;
    return true;
}

/* False if it was there already.  Without memory for more the oldest go out
 * earlier than they would. */
static bool seen_add(struct seen *seen, const struct digest *digest)
{
    if (seen->slots[find_slot(seen, digest)])
        return false;
    bool full = seen->n == seen->cap;
    if (full && !seen->oldest && seen->cap < RF_DIGEST_HISTORY)
        full = !seen_grow(seen, seen->cap * 2);
    uint32_t at = seen->n;
    if (full) {
        at = seen->oldest;
        clear_slot(seen, find_slot(seen, &seen->ring[at]));
        seen->oldest = (at + 1) % seen->cap;
    } else {
        seen->n++;
    }
    seen->ring[at] = *digest;
    seen->slots[find_slot(seen, digest)] = at + 1;
    return true;
}

/* Signatures. */

static int set_key(struct rf_wire *wire, const struct rf_wire_options *options,
                   struct rf_error *err)
{
    const char *scheme = options->scheme && *options->scheme ? options->scheme : SCHEME_DEFAULT;
    bool is_hmac = strncmp(scheme, "hmac-", 5) == 0;
    struct rf_mac *mac = is_hmac ? rf_mac_new(scheme + 5, options->key) : NULL;
    if (!mac && is_hmac && errno == ENOMEM)
        return rf_error_errno(err, -ENOMEM, "cannot keep the key");
    if (!mac)
        return rf_error_set(err, -EINVAL,
                            "signature scheme \"%s\" is not known: use \"" SCHEME_DEFAULT
                            "\" (or hmac-sha224, -sha384, -sha512, -sha1, -md5)",
                            scheme);
    wire->mac_len = rf_mac_len(mac);
    wire->keyed = options->key.len ? mac : rf_mac_free(mac);
    return 0;
}

static void to_hex(const uint8_t *bytes, size_t n, char *to)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    *to = '\0';
}

void rf_wire_sign(struct rf_wire *wire, const struct rf_bytes *slices, size_t n, char ret_hex[129])
{
    uint8_t mac[RF_MAC_MAX];
    ret_hex[0] = '\0';
    if (!wire->keyed)
        return;
    rf_mac_compute(wire->keyed, slices, n, mac);
    to_hex(mac, wire->mac_len, ret_hex);
}

/* `fixed`: the five frames after the delimiter. */
static enum rf_wire_drop check_signature(struct rf_wire *wire, const struct rf_bytes *fixed)
{
    if (!wire->keyed)
        return RF_WIRE_OK;
    struct rf_bytes given = fixed[SIGNATURE];
    if (!given.len)
        return RF_WIRE_UNSIGNED;
    if (given.len != wire->mac_len * 2)
        return RF_WIRE_SIGNATURE;
    uint8_t mac[RF_MAC_MAX] = {0};
    char hex[2 * RF_MAC_MAX + 1];
    enum rf_wire_drop drop = RF_WIRE_SIGNATURE;
    rf_mac_compute(wire->keyed, fixed + HEADER, FIXED_FRAMES - HEADER, mac);
    to_hex(mac, wire->mac_len, hex);
    if (CRYPTO_memcmp(hex, given.data, given.len) == 0)
        drop = RF_WIRE_OK;
    if (!drop) {
        struct digest digest;
        memcpy(digest.bytes, mac, sizeof(digest.bytes));
        if (!seen_add(&wire->seen, &digest))
            drop = RF_WIRE_REPLAY;
    }
    /* What the right signature of a refused message would be is nobody's business. */
    OPENSSL_cleanse(mac, sizeof(mac));
    OPENSSL_cleanse(hex, sizeof(hex));
    return drop;
}

/* Life cycle. */

struct rf_wire *rf_wire_free(struct rf_wire *wire)
{
    if (!wire)
        return NULL;
    rf_mac_free(wire->keyed);
    seen_deinit(&wire->seen);
    rf_buf_deinit(&wire->before_id);
    rf_buf_deinit(&wire->after_date);
    free(wire);
    return NULL;
}

/* The parts of a header that never change. */
static bool build_header_parts(struct rf_wire *wire, const struct rf_wire_options *options)
{
    struct rf_buf *before = &wire->before_id, *after = &wire->after_date;
    rf_buf_add_str(before, "{\"msg_id\":");
    rf_json_encode(rf_bytes_str(options->session), before);
    if (rf_buf_ok(before))
        before->len--; /* the quote: the number follows */
    rf_buf_add_str(before, "_");
    rf_buf_add_str(after, "\",\"username\":");
    rf_json_encode(rf_bytes_str(options->username), after);
    rf_buf_add_str(after, ",\"session\":");
    rf_json_encode(rf_bytes_str(options->session), after);
    rf_buf_add_str(after, ",\"version\":\"5.4\"}");
    return rf_buf_ok(before) && rf_buf_ok(after);
}

struct rf_wire *rf_wire_new(const struct rf_wire_options *options, struct rf_error *err)
{
    struct rf_wire *wire = calloc(1, sizeof(*wire));
    if (!wire) {
        rf_error_errno(err, -ENOMEM, "a wire codec could not be made");
        return NULL;
    }
    wire->max_message = options->max_message ? options->max_message : RF_MESSAGE_MAX_DEFAULT;
    if (set_key(wire, options, err))
        return rf_wire_free(wire);
    if (!build_header_parts(wire, options) ||
        (wire->keyed && !seen_grow(&wire->seen, SEEN_START))) {
        rf_error_errno(err, -ENOMEM, "a wire codec could not be made");
        return rf_wire_free(wire);
    }
    return wire;
}

/* Receipt. */

/* The frame after the delimiter, when all is there; NULL if not. */
static const struct rf_bytes *after_delimiter(const struct rf_bytes *frames, size_t n)
{
    size_t at = 0;
    while (at < n && !rf_bytes_eq(frames[at], RF_BYTES(DELIMITER)))
        at++;
    return n - at > FIXED_FRAMES ? frames + at + 1 : NULL;
}

static bool is_too_large(const struct rf_wire *wire, const struct rf_bytes *frames, size_t n)
{
    size_t left = wire->max_message;
    for (size_t i = 0; i < n; i++) {
        if (frames[i].len > left)
            return true;
        left -= frames[i].len;
    }
    return false;
}

/* The four JSON frames, then what a header must have. */
static enum rf_wire_drop check_json(const struct rf_bytes *fixed, struct rf_json_member *header,
                                    size_t n)
{
    enum rf_wire_drop drop = RF_WIRE_OK;
    for (size_t i = HEADER; i < FIXED_FRAMES; i++) {
        switch (rf_json_object(fixed[i], header, i == HEADER ? n : 0)) {
        case RF_JSON_OK:
            break;
        case RF_JSON_SYNTAX:
            return RF_WIRE_JSON;
        case RF_JSON_DEPTH:
            return RF_WIRE_DEPTH;
        case RF_JSON_TYPE:
            drop = RF_WIRE_SCHEMA;
            break;
        }
    }
    return drop;
}

enum rf_wire_drop rf_wire_decode(struct rf_wire *wire, const struct rf_bytes *frames, size_t n,
                                 struct rf_wire_in *ret)
{
    if (is_too_large(wire, frames, n))
        return RF_WIRE_TOO_LARGE;
    const struct rf_bytes *fixed = n <= RF_FRAMES_MAX ? after_delimiter(frames, n) : NULL;
    if (!fixed)
        return RF_WIRE_FRAMES;
    enum rf_wire_drop drop = check_signature(wire, fixed);
    if (drop)
        return drop;
    struct rf_json_member header[] = {{.name = "msg_id"},
                                      {.name = "msg_type"},
                                      {.name = "session"},
                                      {.name = "subshell_id"}};
    drop = check_json(fixed, header, sizeof(header) / sizeof(*header));
    if (drop)
        return drop;
    if (!rf_json_is_string(header[0].value) || !rf_json_is_string(header[1].value))
        return RF_WIRE_SCHEMA;
    size_t before = (size_t)(fixed - frames); /* identities and delimiter */
    *ret = (struct rf_wire_in){
        .identities = frames,
        .n_identities = before - 1,
        .header = fixed[HEADER],
        .parent = fixed[PARENT],
        .metadata = fixed[METADATA],
        .content = fixed[CONTENT],
        .buffers = fixed + FIXED_FRAMES,
        .n_buffers = n - before - FIXED_FRAMES,
        .msg_id = header[0].value,
        .msg_type = header[1].value,
        .session = header[2].value,
        .subshell_id = header[3].value,
    };
    return RF_WIRE_OK;
}

/* Sending. */

void rf_wire_date(int64_t now_us, char ret[28])
{
    static const int64_t us = 1000000, year_10000 = INT64_C(253402300800);
    if (now_us < 0)
        now_us = 0;
    if (now_us >= year_10000 * us)
        now_us = year_10000 * us - 1;
    time_t seconds = (time_t)(now_us / us);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    /* The remainders change nothing; they show the compiler that it fits. */
    snprintf(ret, 28, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)(tm.tm_year + 1900) % 10000u,
             (unsigned)(tm.tm_mon + 1) % 100u, (unsigned)tm.tm_mday % 100u,
             (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u,
             (unsigned)(now_us % us) % 1000000u);
}

static void add_header(struct rf_wire *wire, const char *msg_type, int64_t now_us,
                       struct rf_buf *to)
{
    char date[28];
    rf_wire_date(now_us, date);
    rf_buf_add_bytes(to, rf_buf_bytes(&wire->before_id));
    rf_buf_printf(to, "%llu\",\"msg_type\":", (unsigned long long)wire->n_sent++);
    rf_json_encode(rf_bytes_str(msg_type), to);
    rf_buf_printf(to, ",\"date\":\"%s", date);
    rf_buf_add_bytes(to, rf_buf_bytes(&wire->after_date));
}

static struct rf_bytes or_empty_object(struct rf_bytes json)
{
    return json.len ? json : RF_BYTES("{}");
}

static void add_frames(struct rf_wire_frames *to, const struct rf_bytes *frames, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to->frames[to->n++] = frames[i];
}

void rf_wire_frames_deinit(struct rf_wire_frames *frames)
{
    rf_buf_deinit(&frames->text);
    frames->n = 0;
}

int rf_wire_encode(struct rf_wire *wire, const struct rf_wire_out *out, int64_t now_us,
                   struct rf_wire_frames *ret)
{
    size_t limit = RF_FRAMES_MAX - 1 - FIXED_FRAMES;
    if (out->n_identities > limit || out->n_buffers > limit - out->n_identities)
        return -EMSGSIZE;
    struct rf_buf *text = &ret->text;
    text->len = 0;
    text->failed = false; /* of an earlier call */
    add_header(wire, out->msg_type, now_us, text);
    size_t header_len = text->len;
    rf_buf_reserve(text, 2 * RF_MAC_MAX + 1);
    if (!rf_buf_ok(text))
        return -ENOMEM;
    struct rf_bytes fixed[FIXED_FRAMES] = {
        [HEADER] = {text->data, header_len},
        [PARENT] = or_empty_object(out->parent),
        [METADATA] = or_empty_object(out->metadata),
        [CONTENT] = or_empty_object(out->content),
    };
    char *hex = (char *)text->data + header_len;
    rf_wire_sign(wire, fixed + HEADER, FIXED_FRAMES - HEADER, hex);
    fixed[SIGNATURE] = rf_bytes_str(hex);
    text->len += fixed[SIGNATURE].len;
    ret->n = 0;
    add_frames(ret, out->identities, out->n_identities);
    add_frames(ret, &RF_BYTES(DELIMITER), 1);
    add_frames(ret, fixed, FIXED_FRAMES);
    add_frames(ret, out->buffers, out->n_buffers);
    return 0;
}
