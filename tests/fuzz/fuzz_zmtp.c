/* Any bytes as a stream of ZMTP: what is found lies within it, and encoded
 * again it is found again.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "common/cleanup.h"
#include "gateway/zmq/zmtp.h"

#define FRAMES 8
#define MESSAGE_MAX 4096

static void encode_again(const struct rf_zmtp_scan *found)
{
    RF_AUTO(rf_buf_deinit) struct rf_buf text = {0};
    uint8_t header[RF_ZMTP_HEADER_MAX];
    struct rf_bytes frames[FRAMES];
    struct rf_zmtp_scan again = {.frames = frames, .frames_max = FRAMES,
                                 .message_max = MESSAGE_MAX};
    for (size_t i = 0; i < found->n; i++) {
        rf_buf_add(&text, header, rf_zmtp_header(found->frames[i].len, i + 1 < found->n, header));
        rf_buf_add_bytes(&text, found->frames[i]);
    }
    MUST(rf_zmtp_scan(rf_buf_bytes(&text), &again) == RF_ZMTP_MESSAGE && again.n == found->n);
    for (size_t i = 0; i < found->n; i++)
        MUST(rf_bytes_eq(frames[i], found->frames[i]));
}

static void read_command(struct rf_bytes command)
{
    struct rf_bytes type, identity;
    if (rf_zmtp_read_ready(command, &type, &identity) == 0)
        MUST(type.len + identity.len <= command.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned minor;
    if (size >= RF_ZMTP_GREETING_LEN && rf_zmtp_read_greeting(data, &minor) == 0) {
        data += RF_ZMTP_GREETING_LEN;
        size -= RF_ZMTP_GREETING_LEN;
    }
    for (size_t at = 0; at < size;) {
        struct rf_bytes frames[FRAMES];
        struct rf_zmtp_scan scan = {.frames = frames, .frames_max = FRAMES,
                                    .message_max = MESSAGE_MAX};
        int r = rf_zmtp_scan((struct rf_bytes){data + at, size - at}, &scan);
        MUST(r >= 0 || r == -EPROTO || r == -EMSGSIZE);
        if (r <= 0)
            break;
        MUST(scan.len && scan.at + scan.len <= size - at);
        if (r == RF_ZMTP_MESSAGE)
            encode_again(&scan);
        else
            read_command(frames[0]);
        at += scan.at + scan.len;
    }
    return 0;
}
