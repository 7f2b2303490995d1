/* The codec and the blocking or non-blocking transport of the worker protocol.
 *
 * rf_frame_reader reassembles messages from packets and is the place where
 * hostile bytes are judged; it does no I/O, so it can be fuzzed.  One reader
 * per socket and direction.  include/ringfence/worker.h has the format.
 */
#ifndef RINGFENCE_COMMON_FRAME_H
#define RINGFENCE_COMMON_FRAME_H

#include <ringfence/worker.h>

#include "common/bytes.h"

struct rf_frame {
    uint8_t type;
    uint64_t request_id;
    const struct rf_bytes *parts; /* borrowed from the reader until its next call */
    size_t n_parts;
    int fds[RF_PASSED_FDS_MAX]; /* the reader's until taken (set to -1) */
    size_t n_fds;
};

struct rf_frame_reader {
    struct rf_buf body;
    struct rf_bytes *parts; /* owned */
    struct rf_packet_header first;
    int fds[RF_PASSED_FDS_MAX];
    size_t n_fds;
    bool open; /* a message has begun */
};

void rf_frame_reader_deinit(struct rf_frame_reader *reader);

/* Takes one packet (and the descriptors that came with it, which it owns from
 * here on).  Returns 1 and fills *ret when a message is complete, 0 when more
 * packets are needed, -EPROTO when the packet breaks the protocol (the reader
 * is then of no more use), -ENOMEM. */
int rf_frame_reader_packet(struct rf_frame_reader *reader, struct rf_bytes packet, const int *fds,
                           size_t n_fds, struct rf_frame *ret);

/* Receives packets until a message is complete.  `buffer` has RF_PACKET_MAX
 * bytes.  Returns 1 with *ret, 0 on end of file, -EAGAIN (non-blocking socket
 * or MSG_DONTWAIT in flags), -EINTR (also after many packets, so that a call
 * ends), -EPROTO or another -errno.  A message that was begun goes on at the
 * next call. */
int rf_frame_recv(int fd, int flags, struct rf_frame_reader *reader, uint8_t *buffer,
                  struct rf_frame *ret);

/* The peer of `fd` can pass no descriptors from here on, where the system knows
 * how to refuse them (Linux 6.16).  To close a descriptor of a hostile peer may
 * take as long as it likes: a connection that lingers, a file of its own FUSE. */
void rf_frame_refuse_fds(int fd);

/* What remains to be sent of one message; `body` is built once. */
struct rf_frame_writer {
    struct rf_packet_header header;
    struct rf_buf body;
    size_t sent;
    int fds[RF_PASSED_FDS_MAX]; /* borrowed from the caller until sent */
    size_t n_fds;
};

void rf_frame_writer_deinit(struct rf_frame_writer *writer);

/* Builds the message.  -EMSGSIZE when it is over RF_WORKER_MESSAGE_MAX or has
 * too many parts, -ENOMEM. */
int rf_frame_writer_init(struct rf_frame_writer *writer, uint8_t type, uint64_t request_id,
                         const struct rf_bytes *parts, size_t n_parts);

/* Sends packets until all are out (0) or the socket takes no more (-EAGAIN,
 * -EINTR: call again to go on) or fails (-errno). */
int rf_frame_writer_send(struct rf_frame_writer *writer, int fd, int flags);

/* Builds and sends one message on a blocking socket, going on after EINTR. */
int rf_frame_send(int fd, uint8_t type, uint64_t request_id, const struct rf_bytes *parts,
                  size_t n_parts, const int *fds, size_t n_fds);

#endif
