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

#include "kernel/spare.h"

struct rf_zygote_options {
    int fd;                  /* listening, or with `direct` connected */
    bool direct;
    const char *keeper_path; /* the ringfence-keeper program */
    int idle_s;              /* ends after so many seconds without a request; 0: never */
    int renew_s;             /* starts anew when it is so old; 0: never */
    const char *preload;     /* for the status */
    const char *const *watch; /* files and folders that were loaded, borrowed */
    size_t n_watch;
    const char *const *imports; /* folders and files that a cell must not change, borrowed */
    size_t n_imports;
    struct timespec since; /* when loading began (CLOCK_REALTIME) */
    struct rf_fork_hooks hooks;
};

/* Serves.  Returns 1 in each worker-to-be, which goes on with rf_spare_await();
 * 0 in the zygote when it is to end; -errno. */
int rf_zygote_serve(const struct rf_zygote_options *options);

#endif
