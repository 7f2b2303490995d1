/* See zmtp.h. */
#include "gateway/zmq/zmtp.h"

#include <errno.h>
#include <strings.h>

enum flags { MORE = 1, LONG = 2, COMMAND = 4 };

#define MAJOR_AT 10
#define MINOR_AT 11
#define MECHANISM_AT 12
#define MECHANISM_LEN 20

const uint8_t rf_zmtp_greeting[RF_ZMTP_GREETING_LEN] = {
    0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1, 'N', 'U', 'L', 'L',
};

int rf_zmtp_read_greeting(const uint8_t greeting[RF_ZMTP_GREETING_LEN], unsigned *ret_minor)
{
    if (greeting[0] != 0xff || !(greeting[9] & 1))
        return -EPROTO;
    if (greeting[MAJOR_AT] < 3)
        return -EPROTONOSUPPORT;
    if (memcmp(greeting + MECHANISM_AT, rf_zmtp_greeting + MECHANISM_AT, MECHANISM_LEN) != 0)
        return -EPROTO;
    *ret_minor = greeting[MAJOR_AT] > 3 ? 1 : greeting[MINOR_AT];
    return 0;
}

static void put_number(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *from, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | from[i];
    return number;
}

static size_t header(uint8_t flags, size_t len, uint8_t *ret)
{
    ret[0] = flags | (len > 255 ? LONG : 0);
    put_number(ret + 1, len, len > 255 ? 8 : 1);
    return len > 255 ? 9 : 2;
}

size_t rf_zmtp_header(size_t len, bool more, uint8_t ret[RF_ZMTP_HEADER_MAX])
{
    return header(more ? MORE : 0, len, ret);
}

size_t rf_zmtp_command_header(size_t len, uint8_t ret[RF_ZMTP_HEADER_MAX])
{
    return header(COMMAND, len, ret);
}

static size_t put_property(uint8_t *to, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    to[0] = (uint8_t)name_len;
    memcpy(to + 1, name, name_len);
    put_number(to + 1 + name_len, value_len, 4);
    memcpy(to + 5 + name_len, value, value_len);
    return 5 + name_len + value_len;
}

size_t rf_zmtp_ready(const char *socket_type, uint8_t ret[RF_ZMTP_READY_MAX])
{
    uint8_t body[256] = "\x05READY";
    size_t len = 6;
    len += put_property(body + len, "Socket-Type", socket_type);
    len += put_property(body + len, "Identity", "");
    size_t at = header(COMMAND, len, ret);
    memcpy(ret + at, body, len);
    return at + len;
}

bool rf_zmtp_is_command(struct rf_bytes command, const char *name, struct rf_bytes *ret_data)
{
    size_t len = strlen(name);
    if (command.len < 1 + len || command.data[0] != len || memcmp(command.data + 1, name, len) != 0)
        return false;
    *ret_data = (struct rf_bytes){command.data + 1 + len, command.len - 1 - len};
    return true;
}

/* Takes one property from the front.  False when it is cut short. */
static bool take_property(struct rf_bytes *from, struct rf_bytes *ret_name,
                          struct rf_bytes *ret_value)
{
    size_t name_len = from->data[0];
    if (from->len < 5 + name_len)
        return false;
    uint64_t value_len = get_number(from->data + 1 + name_len, 4);
    if (from->len - 5 - name_len < value_len)
        return false;
    *ret_name = (struct rf_bytes){from->data + 1, name_len};
    *ret_value = (struct rf_bytes){from->data + 5 + name_len, (size_t)value_len};
    size_t taken = 5 + name_len + (size_t)value_len;
    *from = (struct rf_bytes){from->data + taken, from->len - taken};
    return true;
}

/* Names of properties are matched without regard to case (RFC 23). */
static bool is_named(struct rf_bytes name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp((const char *)name.data, wanted, name.len) == 0;
}

int rf_zmtp_read_ready(struct rf_bytes command, struct rf_bytes *ret_socket_type,
                       struct rf_bytes *ret_identity)
{
    struct rf_bytes rest, name, value;
    *ret_socket_type = *ret_identity = (struct rf_bytes){NULL, 0};
    if (!rf_zmtp_is_command(command, "READY", &rest))
        return -EPROTO;
    while (rest.len) {
        if (!take_property(&rest, &name, &value))
            return -EPROTO;
        if (is_named(name, "Socket-Type"))
            *ret_socket_type = value;
        else if (is_named(name, "Identity"))
            *ret_identity = value;
    }
    return 0;
}

int rf_zmtp_scan(struct rf_bytes bytes, struct rf_zmtp_scan *scan)
{
    size_t total = 0;
    scan->n = 0;
    for (size_t at = 0;;) {
        if (bytes.len - at < 2)
            return RF_ZMTP_PARTIAL;
        uint8_t flags = bytes.data[at];
        bool is_long = flags & LONG, is_command = flags & COMMAND;
        if ((flags & ~(MORE | LONG | COMMAND)) || (is_command && (flags & MORE)))
            return -EPROTO;
        size_t head = is_long ? 9 : 2;
        if (bytes.len - at < head)
            return RF_ZMTP_PARTIAL;
        uint64_t len = get_number(bytes.data + at + 1, is_long ? 8 : 1);
        if (len > scan->message_max - (is_command ? 0 : total) || scan->n == scan->frames_max)
            return -EMSGSIZE;
        if (bytes.len - at - head < len)
            return RF_ZMTP_PARTIAL;
        struct rf_bytes frame = {bytes.data + at + head, (size_t)len};
        if (is_command) {
            scan->frames[0] = frame;
            scan->at = at;
            scan->len = head + frame.len;
            return RF_ZMTP_COMMAND;
        }
        scan->frames[scan->n++] = frame;
        total += frame.len;
        at += head + frame.len;
        if (!(flags & MORE)) {
            scan->at = 0;
            scan->len = at;
            return RF_ZMTP_MESSAGE;
        }
    }
}
