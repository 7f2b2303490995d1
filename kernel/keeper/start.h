/* How a keeper begins: what the zygote's child gives its program, and what keeper and
 * worker tell each other while the walls around both go up.
 */
#ifndef RINGFENCE_KERNEL_KEEPER_START_H
#define RINGFENCE_KERNEL_KEEPER_START_H

#include <stdbool.h>

#include <ringfence/keeper.h>

/* Its arguments, numbers in decimal. */
enum rf_keeper_arg {
    RF_KEEPER_PROGRAM,
    RF_KEEPER_ORDERS,  /* socket: a frame with the gateway's socket (and perhaps the map of the
                          owner; kernel/sandbox/sandbox.h), the generation and the policy */
    RF_KEEPER_BETWEEN, /* socket to the worker */
    RF_KEEPER_BASE,    /* file of rf_sandbox_base_write() */
    RF_KEEPER_WORKER,  /* its pid, or -errno of its fork */
    RF_KEEPER_SHAPE,   /* enum rf_keeper_shape */
    RF_KEEPER_HAVE,    /* the namespaces that it is in: CLONE_NEW* */
    RF_KEEPER_UID,     /* the zygote's; what this process's is called before it is mapped says nothing */
    RF_KEEPER_GID,
    RF_KEEPER_LOST,    /* layers that the machine denied so far, comma-separated */
    RF_KEEPER_ARGS,
};

/* struct rf_sandbox_shape, as bits. */
enum rf_keeper_shape { RF_KEEPER_WALLS = 1, RF_KEEPER_OWN_NET = 2, RF_KEEPER_IDS = 4 };

/* How it went so far, on the socket between the two: a packet. */
struct rf_verdict {
    int code; /* 0 or -errno */
    int have; /* as in struct rf_sandbox, from the keeper */
    char text[RF_KEEPER_TEXT_MAX]; /* of an error; a note from the keeper, what it lost from the worker */
};

void rf_verdict_say(int to, int code, int have, const char *text);
/* False when the other side has ended. */
bool rf_verdict_hear(int from, struct rf_verdict *ret);

#endif
