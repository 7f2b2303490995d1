/* A spare: a sandbox with a worker in it that belongs to no kernel yet.
 *
 * The zygote keeps one ready, so that a kernel starts in the time that it takes
 * to hand over descriptors; without one at hand it makes one on the spot, so
 * there is one way to make a kernel.  Two processes: the keeper-to-be, pid 1
 * inside, and the worker-to-be; each waits on a socket of its own.  They end
 * when the zygote does.
 */
#ifndef RINGFENCE_KERNEL_SPARE_H
#define RINGFENCE_KERNEL_SPARE_H

#include "common/frame.h"
#include "kernel/sandbox/sandbox.h"

/* The interpreter's fork hooks. */
struct rf_fork_hooks {
    void (*before)(void);
    void (*parent)(void);
    void (*child)(void);
};

struct rf_spare {
    int keeper; /* socket to the keeper-to-be, owned; -1: there is no spare */
    int worker; /* likewise to the worker-to-be */
    struct rf_sandbox_shape shape;
};

/* What all spares of a zygote are made of; borrowed. */
struct rf_spare_base {
    int keeper_program;
    int keeper_base; /* of rf_sandbox_base_write() */
    int listening; /* the zygote's socket, closed in the worker */
    struct rf_sandbox_base *sandbox;
    const struct rf_fork_hooks *hooks;
};

/* What a worker is to run with. */
struct rf_spawn {
    uint64_t generation;
    struct rf_buf environ, argv; /* as in enum rf_spawn_part; owned */
};
void rf_spawn_deinit(struct rf_spawn *spawn);

/* Forks one; `at_once`: a kernel waits for it.  Returns 1 in its worker-to-be (after the
 * child hook), 0 in the zygote, -errno when the machine has no room. */
int rf_spare_make(struct rf_spare *spare, const struct rf_spare_base *base,
                  struct rf_sandbox_shape shape, bool at_once);
bool rf_spare_is_there(const struct rf_spare *spare);
/* Gives it the request's descriptors and parts, and `owner_map` (or -1; see
 * kernel/sandbox/sandbox.h); it is the zygote's no more.  -errno when it is dead. */
int rf_spare_hand_over(struct rf_spare *spare, const struct rf_frame *request, int owner_map);
/* Ends it. */
void rf_spare_drop(struct rf_spare *spare);

/* In the worker-to-be: has a request come, or is it about to? */
bool rf_spare_is_asked(void);
/* Waits for it, then takes descriptors, umask and limits.  1 with *ret, 0 when the
 * zygote is gone, -errno. */
int rf_spare_await(struct rf_spawn *ret);
/* After it, and before anything of the user's is read or run: waits for the walls and
 * enters the folder.  0, or -errno: this worker has to end. */
int rf_spare_confine(void);

#endif
