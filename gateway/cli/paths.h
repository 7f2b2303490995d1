/* Where the parts of this installation lie.
 *
 * Everything is found from the real path of the running program, which is
 * PREFIX/bin/ringfence; nothing is compiled in, so an installed tree can be
 * moved.  Owned by the subcommand that asked.
 */
#ifndef RINGFENCE_GATEWAY_CLI_PATHS_H
#define RINGFENCE_GATEWAY_CLI_PATHS_H

#include "common/error.h"

struct rf_paths {           /* all absolute and owned */
    char *prefix;           /* PREFIX */
    char *program;          /* bin/ringfence */
    char *kernel_program;   /* libexec/ringfence/ringfence-kernel */
    char *keeper_program;   /* libexec/ringfence/ringfence-keeper */
    char *sweeper_program;  /* libexec/ringfence/ringfence-sweeper */
    char *start_script;     /* lib/ringfence/zygote_start.py */
    char *module;           /* lib/ringfence/_ringfence.abi3.so */
    char *kernelspec;       /* share/ringfence/kernelspec: the logos */
    char *manifest;         /* share/ringfence/manifest: what was installed */
    char *kernelspecs_list; /* share/ringfence/kernelspecs.list: kernelspecs that were written */
};

/* 0, or -errno with *err filled: the program does not lie in a folder bin, or
 * a part that the kernel needs is missing. */
int rf_paths_find(struct rf_paths *ret, struct rf_error *err);

void rf_paths_deinit(struct rf_paths *paths);

#endif
