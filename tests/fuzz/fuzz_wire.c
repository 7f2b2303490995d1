/* Any frames, decoded; the content of what is accepted is also tried as a
 * history_request, the one content that the protocol code reads itself.
 *
 * The first byte chooses: bit 0 a key, bit 1 the right signature (which no
 * fuzzer would guess), bit 2 the delimiter before the first frame.
 */
#include "tests/fuzz/fuzz.h"

#include "common/cleanup.h"
#include "common/json.h"
#include "gateway/jupyter/history.h"
#include "gateway/jupyter/wire.h"

enum { KEYED = 1, SIGNED = 2, DELIMITED = 4 };

struct message {
    struct rf_bytes frames[RF_FRAMES_MAX + 2];
    size_t n;
    char hex[129];
};

static struct rf_wire *new_wire(bool keyed)
{
    struct rf_wire *wire = rf_wire_new(
        &(struct rf_wire_options){.key = rf_bytes_str(keyed ? "key" : ""),
                                  .scheme = "hmac-sha256",
                                  .session = "s",
                                  .username = "u",
                                  .max_message = 1u << 20},
        NULL);
    MUST(wire);
    return wire;
}

static void cut(struct rf_bytes rest, unsigned choice, struct message *m)
{
    m->n = 0;
    if (choice & DELIMITED)
        m->frames[m->n++] = RF_BYTES("<IDS|MSG>");
    while (m->n < RF_FRAMES_MAX + 2 && next_piece(&rest, &m->frames[m->n]))
        m->n++;
}

static void put_signature(struct rf_wire *wire, struct message *m)
{
    for (size_t i = 0; i + 5 < m->n; i++)
        if (rf_bytes_is(m->frames[i], "<IDS|MSG>")) {
            rf_wire_sign(wire, m->frames + i + 2, 4, m->hex);
            m->frames[i + 1] = rf_bytes_str(m->hex);
            return;
        }
}

static void use(const struct rf_wire_in *in)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    MUST(rf_json_decode(in->msg_id, &text) && rf_json_decode(in->msg_type, &text));
    const struct rf_bytes objects[] = {in->header, in->parent, in->metadata, in->content};
    for (size_t i = 0; i < 4; i++)
        MUST(rf_json_object(objects[i], NULL, 0) == RF_JSON_OK);
    struct rf_history *history = rf_history_new(2);
    MUST(history);
    for (uint64_t i = 1; i < 4; i++) {
        rf_history_input(history, i, in->msg_id);
        rf_history_output(history, i, in->header, in->metadata);
    }
    RF_AUTO(rf_buf_deinit) struct rf_buf reply = {0};
    MUST(rf_history_reply(history, in->content, &reply) == 0);
    MUST(rf_json_object(rf_buf_bytes(&reply), NULL, 0) == RF_JSON_OK);
    rf_history_free(history);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message m; /* large */
    if (!size)
        return 0;
    unsigned choice = data[0];
    struct rf_wire *wire = new_wire(choice & KEYED);
    cut((struct rf_bytes){data + 1, size - 1}, choice, &m);
    if (choice & SIGNED)
        put_signature(wire, &m);
    struct rf_wire_in in;
    if (rf_wire_decode(wire, m.frames, m.n, &in) == RF_WIRE_OK) {
        use(&in);
        if (choice & KEYED)
            MUST(rf_wire_decode(wire, m.frames, m.n, &in) == RF_WIRE_REPLAY);
    }
    rf_wire_free(wire);
    return 0;
}
