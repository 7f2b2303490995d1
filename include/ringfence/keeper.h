/* The keeper protocol: the gateway's orders to pid 1 of a sandbox, its answers.
 *
 * One AF_UNIX SOCK_SEQPACKET pair; every message is one struct rf_keeper_msg,
 * host byte order (same machine, same build).  The keeper alone answers for
 * processes: it knows each by the number that the gateway gave it (`id`: the
 * generation of a worker or the id of a checkpoint, one space of numbers).
 * When the gateway's end closes, the keeper ends, and with it the pid
 * namespace.
 */
#ifndef RINGFENCE_KEEPER_H
#define RINGFENCE_KEEPER_H

#include <stdint.h>

#define RF_KEEPER_TEXT_MAX 480 /* bytes, NUL included */

enum rf_keeper_op {
    /* gateway to keeper */
    RF_KEEPER_ADOPT = 1,  /* id, pid: this child is that worker or checkpoint; says DIED if it
                             is none or already ended */
    RF_KEEPER_SIGNAL = 2, /* id, value (signal number): to its process group */
    RF_KEEPER_KILL = 3,   /* id: SIGKILL to the process and to everything in its session */
    RF_KEEPER_WATCH = 4,  /* id, value (1 or 0): say DYING if it does */
    /* keeper to gateway */
    RF_KEEPER_READY = 16, /* id, pid: the first worker was made; text: the layers of the sandbox
                             that this machine denied, comma-separated */
    RF_KEEPER_DIED = 17,  /* id, pid, value (wait status): reaped, its session killed */
    RF_KEEPER_DYING = 19, /* id, pid, value (wait status): runs no more, its session killed; its
                             memory is being taken down, and DIED follows */
    RF_KEEPER_FAILED = 18, /* value (errno), text (the step, and why): the sandbox could not be made; the
                              keeper ends */
};

struct rf_keeper_msg {
    uint32_t op; /* enum rf_keeper_op */
    int32_t pid; /* in the sandbox's pid namespace */
    uint64_t id;
    int32_t value;
    char text[RF_KEEPER_TEXT_MAX]; /* NUL-terminated */
};

#endif
