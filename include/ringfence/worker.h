/* The worker protocol: what gateway, worker and checkpoint say to each other.
 *
 * One AF_UNIX SOCK_SEQPACKET pair per worker incarnation (generation) and one
 * per checkpoint.  A message has a type, a request id and up to
 * RF_WORKER_PARTS_MAX parts of bytes; it travels as one or more packets of at
 * most RF_PACKET_MAX bytes, in order, never interleaved with another message
 * of the same direction.  All integers are little endian.
 *
 * packet  = struct rf_packet_header, then a fragment of the body
 * body    = u32 n_parts, u32 length[n_parts], the parts' bytes
 *
 * The gateway trusts none of it: a packet or message that breaks a rule is
 * treated as the death of that worker.  Specified in docs/worker-protocol.md.
 */
#ifndef RINGFENCE_WORKER_H
#define RINGFENCE_WORKER_H

#include <signal.h>
#include <stdint.h>

#include <ringfence/limits.h>

#define RF_WORKER_PROTOCOL 1u

/* Sent some time after a SIGINT that has not ended the cell: ends a system call that Python has
 * gone into without having seen that one.  Children that do not know it ignore it. */
#define RF_WORKER_NUDGE SIGURG

enum rf_packet_flag {
    RF_PACKET_FIRST = 1u, /* the body starts here; descriptors come with this packet only */
    RF_PACKET_LAST = 2u,  /* the body ends here */
};

struct rf_packet_header {
    uint8_t protocol; /* RF_WORKER_PROTOCOL */
    uint8_t type;     /* enum rf_worker_msg */
    uint16_t flags;   /* enum rf_packet_flag */
    uint32_t total;   /* bytes of the whole body, the same in every packet of a message */
    uint64_t request_id;
};

/* JSON parts are UTF-8 text of one JSON value.  "request" is the number that
 * the gateway gave to a client's request; output that belongs to no request
 * carries 0. */
enum rf_worker_msg {
    /* gateway to worker */
    RF_MSG_REQUEST = 1,     /* request; [msg_type, execution_count (decimal), header, metadata,
                               content, buffers...]: a client's request, its JSON as it came */
    RF_MSG_INPUT_REPLY = 2, /* request; [content of the input_reply] */
    RF_MSG_CHECKPOINT = 3,  /* checkpoint id; [] or [microseconds (decimal): make none if pages
                               worth more were copied since the last one; INT64_MAX: at any cost,
                               and there is time to give back memory]; 1 descriptor: the
                               checkpoint's control socket.  While a cell runs: to be made at its
                               end, before its reply */
    RF_MSG_EXIT = 4,        /* 0; []: run exit handlers and end */
    RF_MSG_ORDERED = 5,      /* request; [JSON object with "status"]: what became of an RF_MSG_ORDER */

    /* gateway to checkpoint */
    RF_MSG_RESUME = 8, /* generation of the new worker; []; descriptors as enum rf_worker_fd */
    RF_MSG_ANSWER = 10, /* an id like a generation; parts as of REQUEST, in one packet; 1
                           descriptor: a SEQPACKET socket on which a child that lives for this
                           alone says REPLY, with that id */
    RF_MSG_YIELD = 11, /* turn; []: where memory is short, go before the worker does, those with
                          a lower turn first; 0: not before it */
    RF_MSG_AHEAD = 12, /* 0; []: a cell runs; copy ahead of it what it has begun to rewrite */

    /* checkpoint to gateway */
    RF_MSG_RESUMED = 9, /* generation, or id of ANSWER; [pid in the sandbox of the new process
                           (decimal), "0" if none could be made] */
    RF_MSG_COPIED = 13, /* 0; [bytes (decimal)]: answers AHEAD; so many are being copied */

    /* worker to gateway */
    RF_MSG_HELLO = 16,   /* generation; [pid in the sandbox (decimal), info JSON object]: ready.
                            info: implementation, implementation_version, language_info, banner,
                            help_links as in kernel_info_reply */
    RF_MSG_REPLY = 17,   /* request; [content, metadata, transformed source, text of the result,
                            buffers...]: the reply; content has "status"; parts 2 and 3 are for
                            the history and empty for anything but execute_request */
    RF_MSG_PUBLISH = 18, /* request; [msg_type, topic, metadata, content, buffers...]: for iopub */
    RF_MSG_STREAM = 19,  /* request; ["stdout" or "stderr", UTF-8 text] */
    RF_MSG_INPUT_REQUEST = 20, /* request; [content: {"prompt": str, "password": bool}] */
    RF_MSG_FENCE = 21,         /* 0; []: read the pipes of fd 1 and 2 up to what is in them now,
                                  then send one byte on the fence socket */
    RF_MSG_CHECKPOINTED = 22,  /* checkpoint id; [pid in the sandbox (decimal), "0" if none was
                                  made; cost in microseconds (decimal): the fork, and the
                                  pages copied since the last one; pages changed (decimal);
                                  class: "full", "crash-only", "none" or "dear"; reason
                                  (UTF-8, may be empty)] */
    RF_MSG_ORDER = 23, /* request (a cell that runs); [operation, argument, "1" if the cell is
                          nothing but this order, else ""]: of the user, about checkpoints;
                          answered by RF_MSG_ORDERED, or by the end of this worker */
};

/* Descriptors of a worker, in this order wherever they are passed. */
enum rf_worker_fd {
    RF_FD_SOCKET, /* worker protocol */
    RF_FD_STDOUT, /* write end of the pipe of fd 1 */
    RF_FD_STDERR, /* write end of the pipe of fd 2 */
    RF_FD_FENCE,  /* SEQPACKET socket, non-blocking: a packet of one byte answers RF_MSG_FENCE */
    RF_FD_CRASH,  /* memfd into which faulthandler writes the traceback of a crash */
    RF_FD_COUNT,
};

/* The zygote protocol uses the same packets on the zygote's listening socket.
 * A connection carries one RF_ZYGOTE_SPAWN and its answer. */
enum rf_zygote_msg {
    RF_ZYGOTE_SPAWN = 64,   /* generation; parts as enum rf_spawn_part; descriptors: the keeper's
                               socket, then those of enum rf_worker_fd */
    RF_ZYGOTE_SPAWNED = 65, /* generation; []: the keeper was made and speaks for itself */
    RF_ZYGOTE_REFUSED = 66, /* generation; [code: "place" (other cgroup, cpus, nice or limits:
                               start a zygote of your own) or "error"; text] */
    RF_ZYGOTE_STATUS = 67,  /* 0; []: asks */
    RF_ZYGOTE_STATE = 68,   /* 0; [pid, spawned count, seconds idle, preload list] */
    RF_ZYGOTE_STOP = 69,    /* 0; []: end; kernels go on; answered by RF_ZYGOTE_STATE */
};

enum rf_spawn_part {
    RF_SPAWN_CWD,     /* absolute path */
    RF_SPAWN_ENVIRON, /* NAME=value, each ended by NUL */
    RF_SPAWN_UMASK,   /* octal */
    RF_SPAWN_RLIMITS, /* "resource soft hard\n" each, decimal, -1 for no limit */
    RF_SPAWN_PLACE,   /* what must equal the zygote's own: see rf_place_read() */
    RF_SPAWN_ARGV,    /* arguments for IPython's configuration, each ended by NUL */
    RF_SPAWN_POLICY,  /* see policy.h */
    RF_SPAWN_PARTS,
};

#endif
