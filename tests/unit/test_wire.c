/* gateway/jupyter/wire: what is dropped and why, what goes out, signatures. */
#include "tests/unit/check.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/wire.h"

#define KEY "a0436f6c-1916-498b-8eb9-e81ab9368e84"
#define HEADER_TEXT "{\"msg_id\":\"m1\",\"msg_type\":\"x_request\",\"session\":\"s\"}"
#define NOW_US INT64_C(1700000000123456)

static void freep(struct rf_wire **wire)
{
    rf_wire_free(*wire);
}

static struct rf_wire *new_wire(const char *key, size_t max_message)
{
    struct rf_error err = {0};
    struct rf_wire *wire = rf_wire_new(
        &(struct rf_wire_options){
            .key = rf_bytes_str(key),
            .scheme = "hmac-sha256",
            .session = "kernel-session",
            .username = "ann",
            .max_message = max_message,
        },
        &err);
    if (!wire)
        fail_msg("rf_wire_new: %s", err.text);
    return wire;
}

/* A message as frames, that tests take apart. */
struct message {
    struct rf_bytes frames[16];
    size_t n;
    char hex[129];
};

enum { IDENTITY, DELIMITER, SIGNATURE, HEADER, PARENT, METADATA, CONTENT, BUFFER };

static void sign(struct rf_wire *wire, struct message *message)
{
    rf_wire_sign(wire, message->frames + HEADER, 4, message->hex);
    message->frames[SIGNATURE] = rf_bytes_str(message->hex);
}

/* Same frames, signed; `message` must stay where it is. */
static void make_message(struct rf_wire *wire, struct message *message)
{
    *message = (struct message){
        .frames = {RF_BYTES("peer"), RF_BYTES("<IDS|MSG>"), RF_BYTES(""), RF_BYTES(HEADER_TEXT),
                   RF_BYTES("{}"), RF_BYTES("{\"m\":1}"), RF_BYTES("{\"code\":\"1\"}"),
                   RF_BYTES("\0\xff")},
        .n = 8,
    };
    sign(wire, message);
}

static void expect(struct rf_wire *wire, const struct message *message, enum rf_wire_drop want,
                   const char *what)
{
    struct rf_wire_in in = {.n_identities = 99};
    enum rf_wire_drop got = rf_wire_decode(wire, message->frames, message->n, &in);
    if (got != want)
        fail_msg("%s: got \"%s\", want \"%s\"", what, rf_wire_drop_name(got),
                 rf_wire_drop_name(want));
    if (got)
        assert_int_equal(in.n_identities, 99); /* left alone */
}

static void test_decode(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    struct message m;
    make_message(wire, &m);
    struct rf_wire_in in;
    assert_int_equal(rf_wire_decode(wire, m.frames, m.n, &in), RF_WIRE_OK);
    assert_int_equal(in.n_identities, 1);
    check_text(in.identities[0], "peer", "identity");
    check_text(in.header, HEADER_TEXT, "header");
    check_text(in.parent, "{}", "parent");
    check_text(in.metadata, "{\"m\":1}", "metadata");
    check_text(in.content, "{\"code\":\"1\"}", "content");
    assert_int_equal(in.n_buffers, 1);
    check_bytes(in.buffers[0], RF_BYTES("\0\xff"), "buffer");
    check_text(in.msg_id, "\"m1\"", "msg_id");
    check_text(in.msg_type, "\"x_request\"", "msg_type");
    check_text(in.session, "\"s\"", "session");
    assert_null(in.subshell_id.data);
}

/* One frame changed before signing: schema and JSON. */
static void test_drops_signed(void **state)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf deep = {0};
    for (int i = 0; i < 1001; i++)
        rf_buf_add_str(&deep, "[");
    const struct {
        size_t frame;
        const char *text;
        enum rf_wire_drop want;
    } cases[] = {
        {HEADER, "", RF_WIRE_JSON},
        {HEADER, "{", RF_WIRE_JSON},
        {HEADER, "{} ", RF_WIRE_SCHEMA},
        {HEADER, "[]", RF_WIRE_SCHEMA},
        {HEADER, "{\"msg_id\":\"a\"}", RF_WIRE_SCHEMA},
        {HEADER, "{\"msg_type\":\"a\"}", RF_WIRE_SCHEMA},
        {HEADER, "{\"msg_id\":1,\"msg_type\":\"a\"}", RF_WIRE_SCHEMA},
        {HEADER, "{\"msg_id\":\"a\",\"msg_type\":null}", RF_WIRE_SCHEMA},
        {HEADER, "{\"msg_id\":\"a\",\"msg_type\":\"b\",\"subshell_id\":null}", RF_WIRE_OK},
        {PARENT, "null", RF_WIRE_SCHEMA},
        {PARENT, "", RF_WIRE_JSON},
        {METADATA, "1", RF_WIRE_SCHEMA},
        {METADATA, "{\"a\"}", RF_WIRE_JSON},
        {CONTENT, "\"a\"", RF_WIRE_SCHEMA},
        {CONTENT, "{}{}", RF_WIRE_JSON},
        {CONTENT, "{\"code\":\"\\ud83d\\u0000\",\"n\":NaN}", RF_WIRE_OK},
    };
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    struct message m;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        make_message(wire, &m);
        m.frames[cases[i].frame] = rf_bytes_str(cases[i].text);
        sign(wire, &m);
        expect(wire, &m, cases[i].want, cases[i].text);
    }
    make_message(wire, &m);
    m.frames[CONTENT] = rf_buf_bytes(&deep);
    sign(wire, &m);
    expect(wire, &m, RF_WIRE_DEPTH, "1001 brackets");
}

/* Signatures that are not right; JSON is never looked at. */
static void test_drops_signature(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    RF_AUTO(freep) struct rf_wire *other = new_wire("another key", 0);
    struct message m, wrong;
    make_message(wire, &m);

    m.frames[SIGNATURE] = RF_BYTES("");
    expect(wire, &m, RF_WIRE_UNSIGNED, "empty signature");
    make_message(other, &wrong);
    expect(wire, &wrong, RF_WIRE_SIGNATURE, "another key");
    make_message(wire, &wrong);
    wrong.frames[CONTENT] = RF_BYTES("{\"code\":\"2\"");
    expect(wire, &wrong, RF_WIRE_SIGNATURE, "another content");
    make_message(wire, &wrong);
    wrong.frames[SIGNATURE].len--;
    expect(wire, &wrong, RF_WIRE_SIGNATURE, "a digit less");
    make_message(wire, &wrong);
    for (char *c = wrong.hex; *c; c++)
        *c = *c >= 'a' ? (char)(*c - 32) : *c;
    expect(wire, &wrong, RF_WIRE_SIGNATURE, "upper case");
    for (size_t i = 0; i < 64; i++) {
        make_message(wire, &wrong);
        wrong.hex[i] = wrong.hex[i] == '0' ? '1' : '0';
        expect(wire, &wrong, RF_WIRE_SIGNATURE, "a wrong digit");
    }
    make_message(wire, &m); /* none of the above is remembered */
    expect(wire, &m, RF_WIRE_OK, "the right one");
    expect(wire, &m, RF_WIRE_REPLAY, "again");
    m.frames[IDENTITY] = RF_BYTES("someone else");
    m.frames[BUFFER] = RF_BYTES("other");
    expect(wire, &m, RF_WIRE_REPLAY, "again with what is not signed changed");
}

static void test_drops_frames(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    struct message m;
    make_message(wire, &m);
    for (size_t n = 0; n <= CONTENT; n++) {
        m.n = n;
        expect(wire, &m, RF_WIRE_FRAMES, "too few");
    }
    make_message(wire, &m);
    m.frames[DELIMITER] = RF_BYTES("<IDS|MSG");
    expect(wire, &m, RF_WIRE_FRAMES, "no delimiter");

    make_message(wire, &m);
    static struct rf_bytes many[RF_FRAMES_MAX + 1];
    memcpy(many, m.frames, sizeof(m.frames));
    struct rf_wire_in in;
    assert_int_equal(rf_wire_decode(wire, many, RF_FRAMES_MAX + 1, &in), RF_WIRE_FRAMES);
    assert_int_equal(rf_wire_decode(wire, many, RF_FRAMES_MAX, &in), RF_WIRE_OK);
    assert_int_equal(in.n_buffers, RF_FRAMES_MAX - BUFFER);
}

static void test_no_identity(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    struct message m;
    make_message(wire, &m);
    struct rf_wire_in in;
    assert_int_equal(rf_wire_decode(wire, m.frames + 1, 6, &in), RF_WIRE_OK);
    assert_int_equal(in.n_identities, 0);
    assert_int_equal(in.n_buffers, 0);
}

static void test_size(void **state)
{
    size_t total = 0;
    struct message m;
    RF_AUTO(freep) struct rf_wire *signer = new_wire(KEY, 0);
    make_message(signer, &m);
    for (size_t i = 0; i < m.n; i++)
        total += m.frames[i].len;
    RF_AUTO(freep) struct rf_wire *exact = new_wire(KEY, total);
    RF_AUTO(freep) struct rf_wire *less = new_wire(KEY, total - 1);
    expect(exact, &m, RF_WIRE_OK, "exactly the limit");
    expect(less, &m, RF_WIRE_TOO_LARGE, "a byte over");
    m.frames[BUFFER].len = SIZE_MAX; /* never read: the sum would overflow */
    expect(exact, &m, RF_WIRE_TOO_LARGE, "a sum that overflows");
}

static void test_empty_key(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire("", 0);
    struct message m;
    make_message(wire, &m);
    assert_int_equal(m.frames[SIGNATURE].len, 0);
    expect(wire, &m, RF_WIRE_OK, "no signature");
    expect(wire, &m, RF_WIRE_OK, "no memory of it either");
    m.frames[SIGNATURE] = RF_BYTES("anything");
    expect(wire, &m, RF_WIRE_OK, "any signature");
    m.frames[CONTENT] = RF_BYTES("{");
    expect(wire, &m, RF_WIRE_JSON, "JSON is checked all the same");
}

/* The message number `i`. */
static enum rf_wire_drop receive_numbered(struct rf_wire *wire, unsigned i)
{
    char content[32];
    snprintf(content, sizeof(content), "{\"i\":%u}", i);
    struct message m;
    make_message(wire, &m);
    m.frames[CONTENT] = rf_bytes_str(content);
    sign(wire, &m);
    struct rf_wire_in in;
    return rf_wire_decode(wire, m.frames, m.n, &in);
}

static void test_replay_memory(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    const unsigned extra = 500;
    for (unsigned i = 0; i < RF_DIGEST_HISTORY + extra; i++)
        assert_int_equal(receive_numbered(wire, i), RF_WIRE_OK);
    for (unsigned i = extra; i < RF_DIGEST_HISTORY + extra; i += 97)
        assert_int_equal(receive_numbered(wire, i), RF_WIRE_REPLAY);
    for (unsigned i = 0; i < extra; i++) /* the oldest are forgotten */
        assert_int_equal(receive_numbered(wire, i), RF_WIRE_OK);
    assert_int_equal(receive_numbered(wire, extra), RF_WIRE_OK);
    assert_int_equal(receive_numbered(wire, 2 * extra + 2), RF_WIRE_REPLAY);
}

static void test_encode(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire(KEY, 0);
    RF_AUTO(freep) struct rf_wire *client = new_wire(KEY, 0);
    RF_AUTO(rf_wire_frames_deinit) struct rf_wire_frames frames = {0};
    struct rf_bytes identities[] = {RF_BYTES("a"), RF_BYTES("b")}, buffer = RF_BYTES("buf");
    for (int i = 0; i < 3; i++) {
        struct rf_wire_out out = {
            .channel = RF_SHELL,
            .identities = identities,
            .n_identities = 2,
            .msg_type = "odd\"type",
            .parent = i ? RF_BYTES(HEADER_TEXT) : (struct rf_bytes){0},
            .content = RF_BYTES("{\"status\":\"ok\"}"),
            .buffers = &buffer,
            .n_buffers = (size_t)i % 2,
        };
        assert_int_equal(rf_wire_encode(wire, &out, NOW_US, &frames), 0);
        struct rf_wire_in in;
        assert_int_equal(rf_wire_decode(client, frames.frames, frames.n, &in), RF_WIRE_OK);
        char want[300];
        snprintf(want, sizeof(want),
                 "{\"msg_id\":\"kernel-session_%d\",\"msg_type\":\"odd\\\"type\",\"date\":"
                 "\"2023-11-14T22:13:20.123456Z\",\"username\":\"ann\",\"session\":"
                 "\"kernel-session\",\"version\":\"5.4\"}",
                 i);
        check_text(in.header, want, "header");
        check_text(in.parent, i ? HEADER_TEXT : "{}", "parent");
        check_text(in.metadata, "{}", "metadata");
        check_text(in.content, "{\"status\":\"ok\"}", "content");
        assert_int_equal(in.n_identities, 2);
        check_text(in.identities[1], "b", "identity");
        assert_int_equal(in.n_buffers, i % 2);
    }
}

static void test_encode_limits(void **state)
{
    RF_AUTO(freep) struct rf_wire *wire = new_wire("", 0);
    RF_AUTO(rf_wire_frames_deinit) struct rf_wire_frames frames = {0};
    static struct rf_bytes buffers[RF_FRAMES_MAX];
    struct rf_wire_out out = {.msg_type = "x", .buffers = buffers, .n_buffers = RF_FRAMES_MAX - 6};
    assert_int_equal(rf_wire_encode(wire, &out, 0, &frames), 0);
    assert_int_equal(frames.n, RF_FRAMES_MAX);
    check_text(frames.frames[1], "", "signature without a key");
    out.n_buffers++;
    assert_int_equal(rf_wire_encode(wire, &out, 0, &frames), -EMSGSIZE);
    out.n_buffers = SIZE_MAX;
    assert_int_equal(rf_wire_encode(wire, &out, 0, &frames), -EMSGSIZE);
}

/* RFC 4231, test case 2, and RFC 2202. */
static void test_sign(void **state)
{
    static const struct {
        const char *scheme, *want;
    } cases[] = {
        {"hmac-sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"hmac-sha512", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
        {"hmac-md5", "750c783e6ab0b503eaa86e310a5db738"},
    };
    const struct rf_bytes slices[] = {RF_BYTES("what do ya want "), {0}, RF_BYTES("for nothing?")};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rf_error err = {0};
        RF_AUTO(freep) struct rf_wire *wire = rf_wire_new(
            &(struct rf_wire_options){.key = RF_BYTES("Jefe"), .scheme = cases[i].scheme,
                                      .session = "s", .username = "u"},
            &err);
        assert_non_null(wire);
        for (int again = 0; again < 2; again++) {
            char hex[129];
            rf_wire_sign(wire, slices, 3, hex);
            assert_string_equal(hex, cases[i].want);
        }
    }
}

static void test_scheme(void **state)
{
    static const struct {
        const char *scheme;
        bool known;
    } cases[] = {
        {"hmac-sha1", true},    {"hmac-sha384", true},   {"hmac-sha3_256", false},
        {"hmac-SHA224", true},  {"hmac-blake2b", false},  {"hmac-sha256 ", false},
        {"hmac-", false},       {"sha256", false},       {"hmac-shake_128", false},
        {"hmac-nothing", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int keyed = 0; keyed < 2; keyed++) {
            struct rf_error err = {0};
            RF_AUTO(freep) struct rf_wire *wire = rf_wire_new(
                &(struct rf_wire_options){.key = rf_bytes_str(keyed ? KEY : ""),
                                          .scheme = cases[i].scheme,
                                          .session = "s",
                                          .username = "u"},
                &err);
            if ((wire != NULL) != cases[i].known || (err.code != 0) == cases[i].known)
                fail_msg("%s: %s", cases[i].scheme, err.text);
        }
}

static void test_date(void **state)
{
    static const struct {
        int64_t us;
        const char *want;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {NOW_US, "2023-11-14T22:13:20.123456Z"},
        {INT64_C(1709210096000007), "2024-02-29T12:34:56.000007Z"},
        {-5, "1970-01-01T00:00:00.000000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char got[28];
        rf_wire_date(cases[i].us, got);
        assert_string_equal(got, cases[i].want);
    }
}

static void test_names(void **state)
{
    for (int i = 0; i < RF_WIRE_DROPS; i++)
        assert_non_null(rf_wire_drop_name((enum rf_wire_drop)i));
    assert_string_equal(rf_wire_drop_name(RF_WIRE_DROPS), "unknown");
    assert_null(rf_wire_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_drops_signed),
        cmocka_unit_test(test_drops_signature),
        cmocka_unit_test(test_drops_frames),
        cmocka_unit_test(test_no_identity),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_empty_key),
        cmocka_unit_test(test_replay_memory),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_encode_limits),
        cmocka_unit_test(test_sign),
        cmocka_unit_test(test_scheme),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_names),
    };
    return TESTS(tests);
}
