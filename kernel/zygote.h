/* The zygote: a warm interpreter that forks kernels on request.
 *
 * Owned by nobody: it serves one user on a listening socket until it has been
 * idle for long, or (direct mode) one request on a connected socket.  Single
 * thread.  The interpreter's fork hooks come as function pointers, so that no
 * Python is known here.
 */
#ifndef RINGFENCE_KERNEL_ZYGOTE_H
#define RINGFENCE_KERNEL_ZYGOTE_H

#include <time.h>

#include "common/bytes.h"

struct rf_zygote_options {
    int fd;                  /* listening, or with `direct` connected */
    bool direct;
    const char *keeper_path; /* the ringfence-keeper program */
    int idle_s;              /* ends after so many seconds without a request; 0: never */
    const char *preload;     /* for the status */
    const char *const *watch; /* files and folders that were loaded, borrowed */
    size_t n_watch;
    struct timespec since; /* when loading began (CLOCK_REALTIME) */
    void (*before_fork)(void);
    void (*after_fork_parent)(void);
    void (*after_fork_child)(void);
};

/* What a new worker is to run with. */
struct rf_spawn {
    uint64_t generation;
    struct rf_buf environ, cwd, argv; /* as in enum rf_spawn_part; owned */
};
void rf_spawn_deinit(struct rf_spawn *spawn);

/* Serves.  Returns 1 in each new worker, inside its sandbox and with its
 * descriptors in place; 0 in the zygote when it is to end; -errno. */
int rf_zygote_serve(const struct rf_zygote_options *options, struct rf_spawn *ret);

#endif
