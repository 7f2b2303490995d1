/* The keeper's first work: the walls around itself and the worker.
 */
#ifndef RINGFENCE_KERNEL_KEEPER_WALLS_H
#define RINGFENCE_KERNEL_KEEPER_WALLS_H

#include <stdint.h>
#include <sys/types.h>

/* What stands when they do. */
struct rf_walls {
    int gateway; /* its socket, where the keeper has said READY; owned */
    uint64_t generation;
    pid_t worker;
};

/* Makes them, from the arguments of enum rf_keeper_arg; no other descriptor but the standard
 * ones is open after it.  Does not return where that fails, which it tells the gateway, or
 * where nobody asks for a kernel before the zygote ends. */
void rf_walls_make(char **argv, struct rf_walls *ret);

#endif
