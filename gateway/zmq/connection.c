/* See connection.h.
 *
 * The file comes from a launcher and is checked member by member; what is
 * wrong is told with the file's name and the member's.  Texts never quote the
 * file, since it holds the key.
 */
#include "gateway/zmq/connection.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <sodium.h>

#include "common/cleanup.h"

#define FILE_MAX 65536
#define KEY_BYTES 32
#define SCHEME_DEFAULT "hmac-sha256"
#define CANNOT_READ "cannot read connection file %s"

static const struct port_member {
    const char *name;
    size_t offset;
} ports[] = {
    {"shell_port", offsetof(struct rf_connection, shell_port)},
    {"iopub_port", offsetof(struct rf_connection, iopub_port)},
    {"stdin_port", offsetof(struct rf_connection, stdin_port)},
    {"control_port", offsetof(struct rf_connection, control_port)},
    {"hb_port", offsetof(struct rf_connection, hb_port)},
};
#define N_PORTS (sizeof(ports) / sizeof(*ports))

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* Reading the file. */

struct content {
    char data[FILE_MAX + 1];
    size_t len;
};

/* The bytes of the file, key included: zeroed when done. */
static void content_freep(struct content **content)
{
    if (*content)
        sodium_memzero((*content)->data, (*content)->len);
    free(*content);
}

static int open_file(const char *path, struct rf_error *err)
{
    /* O_NONBLOCK: opening a named pipe would wait for a writer */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : rf_error_errno(err, -errno, CANNOT_READ, path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return rf_error_set(err, -EINVAL, "connection file %s is not a regular file", path);
}

static int read_file(const char *path, struct content *ret, struct rf_error *err)
{
    RF_AUTO(rf_closep) int fd = open_file(path, err);
    if (fd < 0)
        return fd;
    while (ret->len < sizeof(ret->data)) {
        ssize_t n = read(fd, ret->data + ret->len, sizeof(ret->data) - ret->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rf_error_errno(err, -errno, CANNOT_READ, path);
        if (n == 0)
            break;
        ret->len += (size_t)n;
    }
    if (ret->len > FILE_MAX)
        return rf_error_set(err, -EFBIG, "connection file %s is over %d bytes long", path,
                            FILE_MAX);
    if (ret->len == 0)
        return rf_error_set(err, -EINVAL,
                            "connection file %s is empty; give one with content, or none to have "
                            "it made", path);
    return 0;
}

/* 0 and an object that the caller owns, -ENOENT without a text, or another
 * -errno with *err filled. */
static int read_object(const char *path, json_t **ret, struct rf_error *err)
{
    RF_AUTO(content_freep) struct content *content = malloc(sizeof(*content));
    if (!content)
        return rf_error_errno(err, -ENOMEM, CANNOT_READ, path);
    content->len = 0;
    int r = read_file(path, content, err);
    if (r)
        return r;
    json_error_t where;
    RF_AUTO(json_freep) json_t *root = json_loadb(content->data, content->len, 0, &where);
    if (!root)
        return rf_error_set(err, -EINVAL, "connection file %s is not JSON: line %d, column %d",
                            path, where.line, where.column);
    if (!json_is_object(root))
        return rf_error_set(err, -EINVAL, "connection file %s must hold one JSON object", path);
    *ret = rf_steal(&root);
    return 0;
}

/* Checking its members.  The reader keeps the first error and goes on. */

struct reader {
    const char *path;
    const json_t *root;
    struct rf_error *err;
    int code;
};

static void wrong(struct reader *reader, const char *member, const char *expected)
{
    if (!reader->code)
        reader->code = rf_error_set(reader->err, -EINVAL, "connection file %s: \"%s\" must be %s",
                                    reader->path, member, expected);
}

typedef bool (*is_fine)(const char *text);

struct string_member {
    const char *name;
    char *to; /* as it was when the member is absent */
    size_t size;
    is_fine check;
    const char *expected;
};

/* True if the member is there and right. */
static bool read_string(struct reader *reader, const struct string_member *member)
{
    const json_t *value = json_object_get(reader->root, member->name);
    if (!value)
        return false;
    const char *text = json_string_value(value);
    size_t len = text ? json_string_length(value) : 0;
    if (!text || len >= member->size || strlen(text) != len || !member->check(text)) {
        wrong(reader, member->name, member->expected);
        return false;
    }
    memcpy(member->to, text, len + 1);
    return true;
}

static void read_port(struct reader *reader, const char *name, bool ipc, int *to)
{
    const json_t *value = json_object_get(reader->root, name);
    if (!value)
        return;
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    if (n < 0 || n > (ipc ? INT_MAX : 65535))
        wrong(reader, name, ipc ? "an integer from 0 (to have one chosen) on"
                                : "an integer from 0 (to have one chosen) to 65535");
    else
        *to = (int)n;
}

static bool is_transport(const char *text)
{
    return strcmp(text, "tcp") == 0 || strcmp(text, "ipc") == 0;
}

static bool is_address(const char *text)
{
    return *text && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789.:[]%*_-")] == '\0';
}

static bool is_path(const char *text)
{
    if (!*text || strcmp(text, "*") == 0)
        return false;
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return false;
    return true;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static bool is_scheme(const char *text)
{
    return strncmp(text, "hmac-", 5) == 0 && text[5] && is_address(text + 5);
}

static bool is_name(const char *text)
{
    return *text == '\0' || is_path(text);
}

static int make_key(struct rf_connection *conn, struct rf_error *err)
{
    uint8_t random[KEY_BYTES];
    if (sodium_init() < 0)
        return rf_error_set(err, -EIO, "cannot make a key: libsodium does not start");
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(conn->key, sizeof(conn->key), random, sizeof(random));
    sodium_memzero(random, sizeof(random));
    return 0;
}

static const char address_expected[] = "an IP address of this machine, such as \"127.0.0.1\"";
static const char path_expected[] =
    "the start of a path, under 96 bytes, without control characters";

static void read_address(struct reader *reader, struct rf_connection *conn, bool ipc)
{
    is_fine check = ipc ? is_path : is_address;
    const char *expected = ipc ? path_expected : address_expected;
    const struct string_member ip = {"ip", conn->ip, sizeof(conn->ip), check, expected};
    const struct string_member registration_ip = {
        "registration_ip", conn->registration_ip, sizeof(conn->registration_ip), check, expected};
    bool has_ip = read_string(reader, &ip);
    if (!conn->registration) {
        if (ipc && !has_ip)
            wrong(reader, "ip", path_expected);
        return;
    }
    if (!read_string(reader, &registration_ip))
        wrong(reader, "registration_ip", expected);
    else if (!has_ip) /* the launcher looks for us where it is itself */
        memcpy(conn->ip, conn->registration_ip, sizeof(conn->ip));
}

static void read_members(struct reader *reader, struct rf_connection *conn, bool *ret_has_key)
{
    const struct string_member transport = {"transport", conn->transport, sizeof(conn->transport),
                                            is_transport, "\"tcp\" or \"ipc\""};
    const struct string_member key = {"key", conn->key, sizeof(conn->key), is_ascii,
                                      "a string of under 256 ASCII characters"};
    const struct string_member scheme = {
        "signature_scheme", conn->signature_scheme, sizeof(conn->signature_scheme), is_scheme,
        "\"hmac-\" and the name of a digest, such as \"hmac-sha256\""};
    const struct string_member name = {"kernel_name", conn->kernel_name, sizeof(conn->kernel_name),
                                       is_name, "a string of under 128 bytes"};
    read_string(reader, &transport);
    bool ipc = strcmp(conn->transport, "ipc") == 0;
    read_address(reader, conn, ipc);
    for (size_t i = 0; i < N_PORTS; i++)
        read_port(reader, ports[i].name, ipc, (int *)((char *)conn + ports[i].offset));
    *ret_has_key = read_string(reader, &key);
    read_string(reader, &scheme);
    read_string(reader, &name);
}

static void read_registration(struct reader *reader, struct rf_connection *conn, bool has_key)
{
    bool ipc = strcmp(conn->transport, "ipc") == 0;
    const struct string_member id = {"kernel_id", conn->kernel_id, sizeof(conn->kernel_id), is_name,
                                     "a string of under 64 bytes"};
    read_string(reader, &id);
    read_port(reader, "registration_port", ipc, &conn->registration_port);
    if (!conn->registration_port)
        wrong(reader, "registration_port", "the port that the launcher listens on");
    if (!has_key) /* a key of our own would be one that the launcher does not know */
        wrong(reader, "key", "there, as a string, in a registration file");
}

int rf_connection_load(const char *path, struct rf_connection *ret, struct rf_error *err)
{
    struct rf_connection conn = {
        .transport = "tcp", .ip = "127.0.0.1", .signature_scheme = SCHEME_DEFAULT};
    RF_AUTO(json_freep) json_t *root = NULL;
    int r = read_object(path, &root, err);
    if (r && r != -ENOENT)
        return r;
    bool has_key = false;
    if (root) {
        struct reader reader = {.path = path, .root = root, .err = err};
        conn.registration = !json_object_get(root, "shell_port") &&
                            (json_object_get(root, "registration_port") ||
                             json_object_get(root, "registration_ip"));
        read_members(&reader, &conn, &has_key);
        if (conn.registration)
            read_registration(&reader, &conn, has_key);
        if (reader.code)
            return reader.code;
    }
    if (!has_key) {
        int failed = make_key(&conn, err);
        if (failed)
            return failed;
    }
    *ret = conn;
    sodium_memzero(conn.key, sizeof(conn.key));
    return r;
}

/* Writing it. */

static int set_members(json_t *root, const struct rf_connection *conn)
{
    int failed = 0;
    failed |= json_object_set_new(root, "transport", json_string(conn->transport));
    failed |= json_object_set_new(root, "ip", json_string(conn->ip));
    for (size_t i = 0; i < N_PORTS; i++) {
        int port = *(const int *)((const char *)conn + ports[i].offset);
        failed |= json_object_set_new(root, ports[i].name, json_integer(port));
    }
    failed |= json_object_set_new(root, "key", json_string(conn->key));
    failed |= json_object_set_new(root, "signature_scheme", json_string(conn->signature_scheme));
    if (conn->kernel_name[0] || !json_object_get(root, "kernel_name"))
        failed |= json_object_set_new(root, "kernel_name", json_string(conn->kernel_name));
    return failed ? -ENOMEM : 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A temporary file beside it, then rename(): nobody reads half a file. */
static int replace(const char *path, const char *text)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return -ENAMETOOLONG;
    RF_AUTO(rf_closep) int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return -errno;
    int r = write_all(fd, text, strlen(text));
    if (!r && fsync(fd))
        r = -errno;
    if (!r && rename(temporary, path))
        r = -errno;
    if (r)
        unlink(temporary);
    return r;
}

/* 0 with what the file has to hold (owned by the caller) and whether it does, or -errno. */
static int compare(const char *path, const struct rf_connection *conn, json_t **ret_after,
                   bool *ret_saved, struct rf_error *err)
{
    RF_AUTO(json_freep) json_t *before = NULL;
    struct stat st;
    int r = read_object(path, &before, err);
    if (r && r != -ENOENT)
        return r;
    RF_AUTO(json_freep) json_t *after = before ? json_copy(before) : json_object();
    if (!after || set_members(after, conn))
        return rf_error_errno(err, -ENOMEM, "cannot write connection file %s", path);
    *ret_saved = before && json_equal(before, after) && stat(path, &st) == 0 && !(st.st_mode & 077);
    *ret_after = rf_steal(&after);
    return 0;
}

bool rf_connection_is_saved(const char *path, const struct rf_connection *conn)
{
    RF_AUTO(json_freep) json_t *after = NULL;
    bool saved = false;
    struct rf_error err = {0};
    return !compare(path, conn, &after, &saved, &err) && saved;
}

int rf_connection_save(const char *path, const struct rf_connection *conn, struct rf_error *err)
{
    RF_AUTO(json_freep) json_t *after = NULL;
    bool saved = false;
    int r = compare(path, conn, &after, &saved, err);
    if (r || saved) /* then no start waits for a disk */
        return r;
    char *text = json_dumps(after, JSON_INDENT(2));
    r = text ? replace(path, text) : -ENOMEM;
    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
    return r ? rf_error_errno(err, r, "cannot write connection file %s", path) : 0;
}
