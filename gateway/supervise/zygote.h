/* The gateway's side of the zygote protocol: find or start a zygote, ask it
 * for a kernel.
 *
 * A zygote serves one user and one key: the namespace, the interpreter, the preload
 * list, the build, and the environment that decides what an import gives.  It is started
 * on first use, in a session of its own and with none of our descriptors, and
 * outlives us.  In direct mode it is ours alone and forks once.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_ZYGOTE_H
#define RINGFENCE_GATEWAY_SUPERVISE_ZYGOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ringfence/worker.h>

#include "common/bytes.h"
#include "common/error.h"

#define RF_ZYGOTE_IDLE_S 3600 /* --zygote-idle: a zygote without requests ends after this */
#define RF_ZYGOTE_RENEW_S 86400 /* --zygote-renew: one that is older starts anew, with another
                                   layout of its memory and hash seed */

struct rf_zygote_spec {
    const char *kernel_program; /* ringfence-kernel; borrowed, as all below */
    const char *keeper_program; /* ringfence-keeper */
    const char *start_script;   /* lib/ringfence/zygote_start.py */
    const char *python;         /* another interpreter, absolute; NULL: ringfence-kernel */
    const char *preload;        /* module names with commas; "" for none */
    const char *namespace;      /* whose kernels share it; "" for the user's own */
    int idle_s;                 /* 0: RF_ZYGOTE_IDLE_S */
    int renew_s;                /* 0: RF_ZYGOTE_RENEW_S */
    bool direct;                /* a zygote of our own */
};

/* A connection to the zygote of `spec`, which is started if need be.  The
 * descriptor (the caller's), or -errno with *err filled. */
int rf_zygote_connect(const struct rf_zygote_spec *spec, struct rf_error *err);

/* The parts of a spawn request that are not this process's own; borrowed. */
struct rf_zygote_request {
    struct rf_bytes argv, environ, policy; /* as enum rf_spawn_part */
};

/* Sends a spawn request: this process's folder, umask and limits travel with
 * it.  `fds`: the keeper's socket, then enum rf_worker_fd; they stay the
 * caller's. */
int rf_zygote_spawn(int fd, uint64_t generation, const struct rf_zygote_request *request,
                    const int fds[1 + RF_FD_COUNT]);

enum rf_zygote_answer {
    RF_ZYGOTE_OK = 1,
    RF_ZYGOTE_ELSEWHERE = 2, /* refused: this place needs direct mode */
};
/* Reads the answer without waiting: enum rf_zygote_answer, -EAGAIN, or -errno
 * with *err filled (-ECONNRESET: the zygote ended; try again). */
int rf_zygote_answer(int fd, struct rf_error *err);

/* The newest lines of the zygote's log, for a message; "" if there is none. */
void rf_zygote_log_tail(const struct rf_zygote_spec *spec, char *ret, size_t size);

/* Ends all of this user's zygotes; kernels go on.  How many, or -errno. */
int rf_zygote_stop_all(struct rf_error *err);
/* Prints a line for each of this user's zygotes.  How many, or -errno. */
int rf_zygote_status(FILE *to, struct rf_error *err);

#endif
