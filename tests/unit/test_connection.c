/* The connection file: defaults, what is refused and how it is told, saving. */
#include "gateway/zmq/connection.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    char path[96];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/rf-connection-XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    snprintf(f->path, sizeof(f->path), "%s/kernel.json", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    int r = rmdir(f->folder); /* fails if a temporary file was left behind */
    free(f);
    return r;
}

static void put(const struct fixture *f, const char *text)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(f->path, 0600), 0);
}

static void get(const struct fixture *f, char *ret, size_t size)
{
    FILE *file = fopen(f->path, "r");
    assert_non_null(file);
    size_t n = fread(ret, 1, size - 1, file);
    ret[n] = '\0';
    fclose(file);
}

static void test_missing_file_gives_defaults(void **state)
{
    struct fixture *f = *state;
    struct rf_connection a, b;
    struct rf_error err = {0};
    assert_int_equal(rf_connection_load(f->path, &a, &err), -ENOENT);
    assert_int_equal(rf_connection_load(f->path, &b, &err), -ENOENT);
    assert_int_equal(err.code, 0);
    assert_string_equal(a.transport, "tcp");
    assert_string_equal(a.ip, "127.0.0.1");
    assert_string_equal(a.signature_scheme, "hmac-sha256");
    assert_int_equal(a.shell_port + a.iopub_port + a.stdin_port + a.control_port + a.hb_port, 0);
    assert_int_equal(strlen(a.key), 64);
    assert_string_not_equal(a.key, b.key);
    assert_false(a.registration);
}

static void test_reads_what_a_launcher_writes(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    struct rf_error err = {0};
    put(f, "{\"shell_port\": 1, \"iopub_port\": 2, \"stdin_port\": 3, \"control_port\": 4,"
           " \"hb_port\": 65535, \"ip\": \"::1\", \"key\": \"\", \"transport\": \"tcp\","
           " \"signature_scheme\": \"hmac-sha512\", \"kernel_name\": \"rf\", \"jupyter_session\":"
           " \"/x/y.ipynb\"}");
    assert_int_equal(rf_connection_load(f->path, &conn, &err), 0);
    assert_int_equal(conn.shell_port, 1);
    assert_int_equal(conn.iopub_port, 2);
    assert_int_equal(conn.stdin_port, 3);
    assert_int_equal(conn.control_port, 4);
    assert_int_equal(conn.hb_port, 65535);
    assert_string_equal(conn.ip, "::1");
    assert_string_equal(conn.key, ""); /* an empty key is a choice: no signatures */
    assert_string_equal(conn.signature_scheme, "hmac-sha512");
    assert_string_equal(conn.kernel_name, "rf");
}

static void test_absent_key_is_made(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    put(f, "{\"shell_port\": 0}");
    assert_int_equal(rf_connection_load(f->path, &conn, NULL), 0);
    assert_int_equal(strlen(conn.key), 64);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "empty"},
        {"{\"ip\":\n  nonsense}", "line 2"},
        {"[]", "one JSON object"},
        {"{\"shell_port\": \"5000\"}", "\"shell_port\" must be an integer"},
        {"{\"hb_port\": 65536}", "\"hb_port\" must be an integer"},
        {"{\"stdin_port\": -1}", "\"stdin_port\" must be"},
        {"{\"iopub_port\": 1.5}", "\"iopub_port\" must be"},
        {"{\"control_port\": null}", "\"control_port\" must be"},
        {"{\"transport\": \"udp\"}", "\"transport\" must be \"tcp\" or \"ipc\""},
        {"{\"ip\": 5}", "\"ip\" must be"},
        {"{\"ip\": \"\"}", "\"ip\" must be"},
        {"{\"ip\": \"1.2.3.4;tcp://5\"}", "\"ip\" must be"},
        {"{\"ip\": \"a\\u0000b\"}", "line 1"},
        {"{\"transport\": \"ipc\"}", "\"ip\" must be the start of a path"},
        {"{\"transport\": \"ipc\", \"ip\": \"/tmp/a\\nb\"}", "\"ip\" must be"},
        {"{\"key\": 7}", "\"key\" must be"},
        {"{\"key\": \"\xc3\xa9\"}", "\"key\" must be"},
        {"{\"signature_scheme\": \"sha256\"}", "\"signature_scheme\" must be"},
        {"{\"signature_scheme\": \"\"}", "\"signature_scheme\" must be"},
        {"{\"registration_ip\": \"127.0.0.1\"}", "\"registration_port\" must be"},
        {"{\"registration_port\": 5}", "\"registration_ip\" must be"},
        {"{\"registration_port\": 5, \"registration_ip\": \"127.0.0.1\"}", "\"key\" must be"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rf_connection conn;
        struct rf_error err = {0};
        put(f, cases[i].text);
        int r = rf_connection_load(f->path, &conn, &err);
        if (r >= 0 || r == -ENOENT || !strstr(err.text, cases[i].word) ||
            !strstr(err.text, f->path))
            fail_msg("%s: %d, %s (wanted: %s)", cases[i].text, r, err.text, cases[i].word);
    }
}

static void test_refuses_long_values_and_odd_files(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    struct rf_error err = {0};
    char text[70000];
    int n = snprintf(text, sizeof(text), "{\"key\": \"");
    memset(text + n, 'k', 256);
    snprintf(text + n + 256, sizeof(text) - (size_t)n - 256, "\"}");
    put(f, text);
    assert_int_equal(rf_connection_load(f->path, &conn, &err), -EINVAL);
    assert_null(strstr(err.text, "kkkk")); /* never the key */
    memset(text, ' ', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    put(f, text);
    err.code = 0;
    assert_int_equal(rf_connection_load(f->path, &conn, &err), -EFBIG);
    err.code = 0;
    assert_int_equal(rf_connection_load(f->folder, &conn, &err), -EINVAL);
    assert_non_null(strstr(err.text, "regular file"));
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    err.code = 0;
    assert_int_equal(rf_connection_load(f->path, &conn, &err), -EINVAL);
}

static void test_registration_file(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    put(f, "{\"transport\": \"tcp\", \"registration_ip\": \"127.0.0.2\", \"registration_port\": 77,"
           " \"kernel_id\": \"abc\", \"key\": \"k\", \"signature_scheme\": \"hmac-sha256\"}");
    assert_int_equal(rf_connection_load(f->path, &conn, NULL), 0);
    assert_true(conn.registration);
    assert_string_equal(conn.registration_ip, "127.0.0.2");
    assert_string_equal(conn.ip, "127.0.0.2");
    assert_int_equal(conn.registration_port, 77);
    assert_string_equal(conn.kernel_id, "abc");
    assert_int_equal(conn.shell_port, 0);
}

static void test_save_makes_a_private_file(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn, back;
    struct stat st;
    assert_int_equal(rf_connection_load(f->path, &conn, NULL), -ENOENT);
    conn.shell_port = 50001;
    conn.hb_port = 50005;
    umask(0);
    assert_int_equal(rf_connection_save(f->path, &conn, NULL), 0);
    umask(022);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(rf_connection_load(f->path, &back, NULL), 0);
    assert_int_equal(back.shell_port, 50001);
    assert_int_equal(back.hb_port, 50005);
    assert_string_equal(back.key, conn.key);
}

static void test_save_keeps_unknown_members_and_writes_only_changes(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    struct stat before, after;
    char text[4096];
    put(f, "{\"shell_port\": 0, \"iopub_port\": 0, \"key\": \"k\", \"mine\": [1, {\"a\": null}]}");
    assert_int_equal(rf_connection_load(f->path, &conn, NULL), 0);
    conn.shell_port = 4242;
    assert_int_equal(rf_connection_save(f->path, &conn, NULL), 0);
    get(f, text, sizeof(text));
    assert_non_null(strstr(text, "\"mine\""));
    assert_non_null(strstr(text, "4242"));
    assert_int_equal(stat(f->path, &before), 0);
    assert_int_equal(rf_connection_save(f->path, &conn, NULL), 0);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* nothing changed: not written */
    assert_int_equal(chmod(f->path, 0644), 0);
    assert_int_equal(rf_connection_save(f->path, &conn, NULL), 0);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0600); /* but never left readable */
}

static void test_save_tells_where_it_failed(void **state)
{
    struct fixture *f = *state;
    struct rf_connection conn;
    struct rf_error err = {0};
    char path[160];
    snprintf(path, sizeof(path), "%s/none/kernel.json", f->folder);
    assert_int_equal(rf_connection_load(path, &conn, NULL), -ENOENT);
    assert_int_equal(rf_connection_save(path, &conn, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(missing_file_gives_defaults),
        TEST(reads_what_a_launcher_writes),
        TEST(absent_key_is_made),
        TEST(refuses),
        TEST(refuses_long_values_and_odd_files),
        TEST(registration_file),
        TEST(save_makes_a_private_file),
        TEST(save_keeps_unknown_members_and_writes_only_changes),
        TEST(save_tells_where_it_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
