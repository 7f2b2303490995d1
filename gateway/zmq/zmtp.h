/* ZMTP 3.1, the protocol between ZeroMQ sockets: bytes in, bytes out.
 *
 * Pure: no socket, clock or memory of its own.  Serves ZeroMQ RFC 37 (ZMTP
 * 3.1) and 23 (3.0) with the NULL mechanism; older versions are refused.  All
 * that is read comes from a peer that nobody vouches for yet.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_ZMTP_H
#define RINGFENCE_GATEWAY_ZMQ_ZMTP_H

#include "common/bytes.h"

#define RF_ZMTP_GREETING_LEN 64
#define RF_ZMTP_HEADER_MAX 9 /* flags and length of one frame */
#define RF_ZMTP_READY_MAX 320
#define RF_ZMTP_COMMAND_MAX 4096 /* bytes of a command that is no subscription */

/* Ours: version 3.1, NULL. */
extern const uint8_t rf_zmtp_greeting[RF_ZMTP_GREETING_LEN];

/* Judges a peer's greeting.  0 with its minor version, -EPROTO when it speaks
 * no ZMTP or another mechanism, -EPROTONOSUPPORT when it is older than 3.0. */
int rf_zmtp_read_greeting(const uint8_t greeting[RF_ZMTP_GREETING_LEN], unsigned *ret_minor);

/* Our READY command, framed; the number of its bytes. */
size_t rf_zmtp_ready(const char *socket_type, uint8_t ret[RF_ZMTP_READY_MAX]);
/* The properties of a peer's READY command that matter; slices of `command`,
 * empty where absent.  -EPROTO when it is none. */
int rf_zmtp_read_ready(struct rf_bytes command, struct rf_bytes *ret_socket_type,
                       struct rf_bytes *ret_identity);

/* The header of a frame of `len` bytes; its own number of bytes. */
size_t rf_zmtp_header(size_t len, bool more, uint8_t ret[RF_ZMTP_HEADER_MAX]);
/* The header of a command of `len` bytes, its name included. */
size_t rf_zmtp_command_header(size_t len, uint8_t ret[RF_ZMTP_HEADER_MAX]);

/* True for a command of that name; *ret_data is what follows the name. */
bool rf_zmtp_is_command(struct rf_bytes command, const char *name, struct rf_bytes *ret_data);

enum rf_zmtp_item {
    RF_ZMTP_PARTIAL = 0, /* more bytes are needed */
    RF_ZMTP_MESSAGE = 1, /* frames[0..n-1] */
    RF_ZMTP_COMMAND = 2, /* frames[0]; it may stand between two frames of a message, as libzmq
                            sends its PINGs */
};

struct rf_zmtp_scan {
    struct rf_bytes *frames; /* caller's table; slices of the bytes scanned */
    size_t frames_max;
    size_t message_max; /* bytes of all frames of one message */
    size_t n;           /* out: frames */
    size_t at, len;     /* out: where the item lies, headers included */
};

/* Finds the first whole item of a stream that begins at a message.  Returns
 * enum rf_zmtp_item, -EMSGSIZE when a limit is passed (already by what a header
 * announces), -EPROTO when the framing is broken. */
int rf_zmtp_scan(struct rf_bytes bytes, struct rf_zmtp_scan *scan);

#endif
