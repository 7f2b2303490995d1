/* The codec against vectors.json, which jupyter_client wrote (make_vectors.py):
 * it takes the same messages, finds the same parts, makes the same signatures,
 * and refuses what jupyter_client refuses.
 */
#include "tests/unit/check.h"

#include <jansson.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/wire.h"

#define FRAMES_MAX 32

struct vector {
    const char *name, *key, *scheme, *drop; /* borrowed from the JSON */
    json_t *json;
    struct rf_buf bytes; /* owned; of all frames */
    struct rf_bytes frames[FRAMES_MAX];
    size_t n;
};

static void free_vector(struct vector *vector)
{
    rf_buf_deinit(&vector->bytes);
}

static void add_hex(struct rf_buf *to, const char *hex)
{
    for (; *hex; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        rf_buf_add(to, &(uint8_t){(uint8_t)byte}, 1);
    }
}

static const char *text_of(json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    if (!text)
        fail_msg("a vector without \"%s\"", name);
    return text;
}

static struct vector read_vector(json_t *json)
{
    struct vector v = {.name = text_of(json, "name"),
                       .key = text_of(json, "key"),
                       .scheme = text_of(json, "scheme"),
                       .drop = text_of(json, "drop"),
                       .json = json};
    json_t *frames = json_object_get(json, "frames");
    v.n = json_array_size(frames);
    assert_in_range(v.n, 1, FRAMES_MAX);
    size_t total = 0;
    for (size_t i = 0; i < v.n; i++)
        total += strlen(json_string_value(json_array_get(frames, i))) / 2;
    rf_buf_reserve(&v.bytes, total + 1); /* so that it stays where it is */
    for (size_t i = 0; i < v.n; i++) {
        size_t at = v.bytes.len;
        add_hex(&v.bytes, json_string_value(json_array_get(frames, i)));
        v.frames[i] = (struct rf_bytes){v.bytes.data + at, v.bytes.len - at};
    }
    return v;
}

static void check_header_text(const struct vector *v, struct rf_bytes value, const char *name)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    assert_true(rf_json_decode(value, &text));
    check_text(rf_buf_bytes(&text), text_of(v->json, name), v->name);
}

static void check_parts(const struct vector *v, const struct rf_wire_in *in)
{
    size_t identities = (size_t)json_integer_value(json_object_get(v->json, "identities"));
    size_t buffers = (size_t)json_integer_value(json_object_get(v->json, "buffers"));
    const struct rf_bytes *fixed = v->frames + identities + 1;
    assert_int_equal(in->n_identities, identities);
    for (size_t i = 0; i < identities; i++)
        check_bytes(in->identities[i], v->frames[i], v->name);
    check_bytes(in->header, fixed[1], v->name);
    check_bytes(in->parent, fixed[2], v->name);
    check_bytes(in->metadata, fixed[3], v->name);
    check_bytes(in->content, fixed[4], v->name);
    assert_int_equal(in->n_buffers, buffers);
    for (size_t i = 0; i < buffers; i++)
        check_bytes(in->buffers[i], fixed[5 + i], v->name);
    check_header_text(v, in->msg_id, "msg_id");
    check_header_text(v, in->msg_type, "msg_type");
}

static void check_vector(json_t *json)
{
    RF_AUTO(free_vector) struct vector v = read_vector(json);
    struct rf_error err = {0};
    struct rf_wire *wire = rf_wire_new(
        &(struct rf_wire_options){
            .key = rf_bytes_str(v.key), .scheme = v.scheme, .session = "s", .username = "u"},
        &err);
    if (!wire)
        fail_msg("%s: %s", v.name, err.text);
    struct rf_wire_in in;
    const char *drop = rf_wire_drop_name(rf_wire_decode(wire, v.frames, v.n, &in));
    if (strcmp(drop, v.drop) != 0)
        fail_msg("%s: got \"%s\", want \"%s\"", v.name, drop, v.drop);
    if (strcmp(v.drop, "ok") == 0) {
        check_parts(&v, &in);
        char hex[129];
        rf_wire_sign(wire, v.frames + in.n_identities + 2, 4, hex);
        check_text(v.frames[in.n_identities + 1], hex, v.name);
    }
    rf_wire_free(wire);
}

static const char *path;

static void test_vectors(void **state)
{
    json_error_t err;
    json_t *vectors = json_load_file(path, 0, &err);
    if (!vectors)
        fail_msg("%s:%d: %s", path, err.line, err.text);
    assert_true(json_array_size(vectors) > 50);
    size_t i;
    json_t *vector;
    json_array_foreach(vectors, i, vector)
        check_vector(vector);
    json_decref(vectors);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    path = argc > 1 ? argv[1] : "vectors.json";
    return TESTS(tests);
}
