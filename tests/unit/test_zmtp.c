/* The ZMTP codec: what libzmq sends, and what nobody should. */
#include "gateway/zmq/zmtp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAMES 4

static int scan(const char *data, size_t len, struct rf_zmtp_scan *ret, struct rf_bytes *frames)
{
    *ret = (struct rf_zmtp_scan){.frames = frames, .frames_max = FRAMES, .message_max = 300};
    return rf_zmtp_scan((struct rf_bytes){(const uint8_t *)data, len}, ret);
}

static void test_items(void **state)
{
    static const char large[9 + 300] = "\x02\0\0\0\0\0\0\x01\x2c";
    static const struct {
        const char *data;
        size_t len;
        int want;
        size_t n, at, taken;
    } cases[] = {
        {"", 0, RF_ZMTP_PARTIAL, 0, 0, 0},
        {"\0", 1, RF_ZMTP_PARTIAL, 0, 0, 0},
        {"\0\0", 2, RF_ZMTP_MESSAGE, 1, 0, 2},
        {"\0\3abc\0", 6, RF_ZMTP_MESSAGE, 1, 0, 5},
        {"\0\3ab", 4, RF_ZMTP_PARTIAL, 0, 0, 0},
        {"\1\1a\0\1b", 6, RF_ZMTP_MESSAGE, 2, 0, 6},
        {"\1\1a", 3, RF_ZMTP_PARTIAL, 0, 0, 0},
        {large, sizeof(large), RF_ZMTP_MESSAGE, 1, 0, sizeof(large)},
        {large, 8, RF_ZMTP_PARTIAL, 0, 0, 0},
        {"\2\0\0\0\0\0\0\1\x2d", 9, -EMSGSIZE, 0, 0, 0}, /* 301, before they come */
        {"\2\xff\xff\xff\xff\xff\xff\xff\xff", 9, -EMSGSIZE, 0, 0, 0},
        {"\1\0\1\0\1\0\1\0\0\0", 10, -EMSGSIZE, 0, 0, 0}, /* five frames */
        {"\4\5\4PING", 7, RF_ZMTP_COMMAND, 0, 0, 7},
        {"\1\1a\4\5\4PING\0\1b", 13, RF_ZMTP_COMMAND, 0, 3, 7}, /* within a message */
        {"\5\1a", 3, -EPROTO, 0, 0, 0}, /* a command with more to come */
        {"\x08\1a", 3, -EPROTO, 0, 0, 0},
        {"GET / HTTP/1.1", 14, -EPROTO, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rf_bytes frames[FRAMES];
        struct rf_zmtp_scan s;
        int got = scan(cases[i].data, cases[i].len, &s, frames);
        if (got != cases[i].want)
            fail_msg("case %zu: %d, not %d", i, got, cases[i].want);
        if (got == RF_ZMTP_MESSAGE)
            assert_int_equal(s.n, cases[i].n);
        if (got > 0) {
            assert_int_equal(s.at, cases[i].at);
            assert_int_equal(s.len, cases[i].taken);
        }
    }
}

static void test_headers_are_read_back(void **state)
{
    static const size_t lengths[] = {0, 1, 255, 256, 300};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        uint8_t data[RF_ZMTP_HEADER_MAX + 300] = {0};
        struct rf_bytes frames[FRAMES];
        struct rf_zmtp_scan s;
        size_t head = rf_zmtp_header(lengths[i], false, data);
        assert_int_equal(head, lengths[i] > 255 ? 9 : 2);
        assert_int_equal(scan((char *)data, head + lengths[i], &s, frames), RF_ZMTP_MESSAGE);
        assert_int_equal(frames[0].len, lengths[i]);
        assert_int_equal(s.len, head + lengths[i]);
        rf_zmtp_header(lengths[i], true, data);
        assert_int_equal(scan((char *)data, head + lengths[i], &s, frames), RF_ZMTP_PARTIAL);
        rf_zmtp_command_header(lengths[i], data);
        assert_int_equal(scan((char *)data, head + lengths[i], &s, frames), RF_ZMTP_COMMAND);
    }
}

static void test_greetings(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        int want;
        unsigned minor;
    } cases[] = {
        {11, 1, 0, 1},
        {11, 0, 0, 0},
        {10, 4, 0, 1}, /* a later version talks as we do */
        {10, 1, -EPROTONOSUPPORT, 0},
        {0, 'G', -EPROTO, 0},
        {9, 0, -EPROTO, 0},
        {12, 'P', -EPROTO, 0}, /* PLAIN */
        {16, 'X', -EPROTO, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint8_t greeting[RF_ZMTP_GREETING_LEN];
        unsigned minor = 0;
        memcpy(greeting, rf_zmtp_greeting, sizeof(greeting));
        greeting[cases[i].at] = cases[i].value;
        assert_int_equal(rf_zmtp_read_greeting(greeting, &minor), cases[i].want);
        assert_int_equal(minor, cases[i].minor);
    }
}

static void test_ready(void **state)
{
    uint8_t data[RF_ZMTP_READY_MAX];
    struct rf_bytes frames[FRAMES], type, identity;
    struct rf_zmtp_scan s;
    size_t len = rf_zmtp_ready("ROUTER", data);
    assert_int_equal(scan((char *)data, len, &s, frames), RF_ZMTP_COMMAND);
    assert_int_equal(s.len, len);
    assert_int_equal(rf_zmtp_read_ready(frames[0], &type, &identity), 0);
    assert_true(rf_bytes_is(type, "ROUTER"));
    assert_int_equal(identity.len, 0);

    struct rf_bytes odd = RF_BYTES("\5READY\x08identity\0\0\0\3abc\1x\0\0\0\0"
                                   "\x0bSOCKET-TYPE\0\0\0\3SUB");
    assert_int_equal(rf_zmtp_read_ready(odd, &type, &identity), 0);
    assert_true(rf_bytes_is(type, "SUB"));
    assert_true(rf_bytes_is(identity, "abc"));
    static const struct rf_bytes broken[] = {
        {(const uint8_t *)"\5ERROR", 6},
        {(const uint8_t *)"\5READ", 5},
        {(const uint8_t *)"\5READY\4Sock", 11},
        {(const uint8_t *)"\5READY\1a\0\0\0\2b", 13},
        {(const uint8_t *)"\5READY\1a\xff\xff\xff\xff", 12},
        {NULL, 0},
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
        assert_int_equal(rf_zmtp_read_ready(broken[i], &type, &identity), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_headers_are_read_back),
        cmocka_unit_test(test_greetings),
        cmocka_unit_test(test_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
