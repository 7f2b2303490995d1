/* Prints messages of the codec for test_wire_python.py: one line per message,
 * its frames in hex with blanks between.  Arguments: key, scheme.
 */
#include <stdio.h>

#include "gateway/jupyter/wire.h"

#define PARENT "{\"msg_id\":\"p\",\"msg_type\":\"execute_request\",\"session\":\"c\"}"

static const struct rf_bytes identities[] = {RF_BYTES("peer"), RF_BYTES("\0\xff")};
static const struct rf_bytes buffers[] = {RF_BYTES("\0\1\xff"), RF_BYTES("")};

static const struct rf_wire_out messages[] = {
    {.msg_type = "status", .identities = identities, .n_identities = 1},
    {.msg_type = "execute_reply",
     .identities = identities,
     .n_identities = 2,
     .parent = RF_BYTES(PARENT),
     .metadata = RF_BYTES("{\"a\":\"\xc3\xa9\"}"),
     .content = RF_BYTES("{\"status\":\"ok\",\"execution_count\":1}")},
    {.msg_type = "display_data",
     .content = RF_BYTES("{\"data\":{},\"metadata\":{}}"),
     .buffers = buffers,
     .n_buffers = 2},
};

static void print_frames(const struct rf_wire_frames *frames)
{
    for (size_t i = 0; i < frames->n; i++) {
        for (size_t k = 0; k < frames->frames[i].len; k++)
            printf("%02x", frames->frames[i].data[k]);
        putchar(i + 1 < frames->n ? ' ' : '\n');
    }
}

int main(int argc, char **argv)
{
    struct rf_error err = {0};
    struct rf_wire_frames frames = {0};
    struct rf_wire *wire = argc < 3 ? NULL
                                    : rf_wire_new(
                                          &(struct rf_wire_options){
                                              .key = rf_bytes_str(argv[1]),
                                              .scheme = argv[2],
                                              .session = "s\"\xc3\xa9",
                                              .username = "ann\xff"},
                                          &err);
    int r = wire ? 0 : 1;
    for (size_t i = 0; !r && i < sizeof(messages) / sizeof(*messages); i++) {
        r = rf_wire_encode(wire, &messages[i], INT64_C(1700000000123456), &frames);
        if (!r)
            print_frames(&frames);
    }
    rf_wire_frames_deinit(&frames);
    rf_wire_free(wire);
    return r ? 1 : 0;
}
