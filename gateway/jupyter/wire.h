/* The Jupyter wire protocol: frames in, frames out, signed.
 *
 * Bytes only: no socket, clock or random number in here (they come as
 * arguments).  Order on receipt: size limit, number of frames, signature over
 * the raw bytes (constant time), replay, then JSON, then schema.  Serves "The
 * wire protocol" and "General message format" of the jupyter_client docs.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_WIRE_H
#define RINGFENCE_GATEWAY_JUPYTER_WIRE_H

#include <ringfence/limits.h>

#include "common/bytes.h"
#include "common/error.h"

enum rf_channel {
    RF_SHELL,
    RF_CONTROL,
    RF_STDIN,
    RF_IOPUB,
    RF_HEARTBEAT,
    RF_CHANNELS,
};

/* Why a message was dropped; each is counted. */
enum rf_wire_drop {
    RF_WIRE_OK = 0,
    RF_WIRE_TOO_LARGE, /* over max_message */
    RF_WIRE_FRAMES,    /* no delimiter, or too few or too many frames */
    RF_WIRE_UNSIGNED,  /* a key is set and the signature is empty */
    RF_WIRE_SIGNATURE, /* the signature is not right */
    RF_WIRE_REPLAY,    /* the signature was seen before */
    RF_WIRE_JSON,      /* a JSON frame is not JSON */
    RF_WIRE_DEPTH,     /* nested deeper than RF_JSON_DEPTH_MAX */
    RF_WIRE_SCHEMA,    /* no object, or a header without msg_id or msg_type */
    RF_WIRE_DROPS,
};

const char *rf_wire_drop_name(enum rf_wire_drop drop);

/* A message that came in.  All slices are borrowed from the caller's frames. */
struct rf_wire_in {
    const struct rf_bytes *identities;
    size_t n_identities;
    struct rf_bytes header, parent, metadata, content; /* raw JSON objects */
    const struct rf_bytes *buffers;
    size_t n_buffers;
    /* Raw JSON values out of the header; data NULL where absent. */
    struct rf_bytes msg_id, msg_type, session, subshell_id;
};

/* A message that goes out.  All slices are borrowed for the call. */
struct rf_wire_out {
    enum rf_channel channel;
    const struct rf_bytes *identities; /* iopub: the one topic frame */
    size_t n_identities;
    const char *msg_type;
    struct rf_bytes parent;   /* raw JSON header of the request; empty: {} */
    struct rf_bytes metadata; /* raw JSON object; empty: {} */
    struct rf_bytes content;  /* raw JSON object; empty: {} */
    const struct rf_bytes *buffers;
    size_t n_buffers;
};

struct rf_wire_options {
    struct rf_bytes key;    /* as in the connection file; empty: no signatures */
    const char *scheme;     /* "hmac-sha256"; see mac.h for others */
    const char *session;    /* header session, constant for the kernel's life */
    const char *username;
    size_t max_message;     /* 0: RF_MESSAGE_MAX_DEFAULT */
};

struct rf_wire; /* key context, replay memory, msg_id counter */

/* NULL with *err filled when the scheme is unknown or memory is out.  The
 * options are copied; the key's copy is zeroed by free. */
struct rf_wire *rf_wire_new(const struct rf_wire_options *options, struct rf_error *err);
struct rf_wire *rf_wire_free(struct rf_wire *wire);

/* Judges and parses one multipart message.  The signature is remembered only
 * once it has been found right. */
enum rf_wire_drop rf_wire_decode(struct rf_wire *wire, const struct rf_bytes *frames, size_t n,
                                 struct rf_wire_in *ret);

/* The frames of an outgoing message: identities are the caller's own; the
 * rest is delimiter, signature, header, parent, metadata, content, buffers. */
struct rf_wire_frames {
    size_t n;
    struct rf_buf text; /* owned: header and signature; reused from call to call */
    struct rf_bytes frames[RF_FRAMES_MAX]; /* borrowed from `out`, `text` or constants */
};
void rf_wire_frames_deinit(struct rf_wire_frames *frames);

/* Builds and signs.  `now_us`: microseconds since the epoch, for the header's
 * date.  0, -EMSGSIZE (too many buffers) or -ENOMEM. */
int rf_wire_encode(struct rf_wire *wire, const struct rf_wire_out *out, int64_t now_us,
                   struct rf_wire_frames *ret);

/* Hex HMAC over the slices, for the registration handshake (JEP 66).
 * `ret_hex` gets at most 128 digits and a NUL. */
void rf_wire_sign(struct rf_wire *wire, const struct rf_bytes *slices, size_t n, char ret_hex[129]);

/* JSON value -> ISO 8601 text with microseconds and Z, as in headers. */
void rf_wire_date(int64_t now_us, char ret[28]);

#endif
