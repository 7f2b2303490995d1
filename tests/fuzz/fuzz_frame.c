/* Any packets, fed to a reader; what it makes of them is sent again and must
 * come out the same.
 */
#include "tests/fuzz/fuzz.h"

#include <endian.h>
#include <errno.h>

#include "common/cleanup.h"
#include "common/frame.h"

static uint32_t sum(const struct rf_frame *frame)
{
    uint32_t n = 0;
    for (size_t i = 0; i < frame->n_parts; i++)
        for (size_t k = 0; k < frame->parts[i].len; k++)
            n = n * 31 + frame->parts[i].data[k]; /* reads every byte */
    return n;
}

static void send_again(const struct rf_frame *frame)
{
    RF_AUTO(rf_frame_writer_deinit) struct rf_frame_writer writer = {0};
    RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
    RF_AUTO(rf_buf_deinit) struct rf_buf packet = {0};
    MUST(rf_frame_writer_init(&writer, frame->type, frame->request_id, frame->parts,
                              frame->n_parts) == 0);
    writer.header.flags = htole16(RF_PACKET_FIRST | RF_PACKET_LAST);
    rf_buf_add(&packet, &writer.header, sizeof(writer.header));
    rf_buf_add_bytes(&packet, rf_buf_bytes(&writer.body));
    struct rf_frame again;
    MUST(rf_frame_reader_packet(&reader, rf_buf_bytes(&packet), NULL, 0, &again) == 1);
    MUST(again.type == frame->type && again.request_id == frame->request_id);
    MUST(again.n_parts == frame->n_parts && sum(&again) == sum(frame));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    RF_AUTO(rf_frame_reader_deinit) struct rf_frame_reader reader = {0};
    struct rf_bytes rest = {data, size}, packet;
    struct rf_frame frame;
    while (next_piece(&rest, &packet)) {
        int r = rf_frame_reader_packet(&reader, packet, NULL, 0, &frame);
        MUST(r == 0 || r == 1 || r == -EPROTO);
        if (r < 0)
            break;
        if (r == 1)
            send_again(&frame);
    }
    return 0;
}
