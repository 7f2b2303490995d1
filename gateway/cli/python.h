/* Questions to a Python interpreter that the user named or that was found.
 *
 * The interpreter is run with a few lines of code; its answer is text from
 * outside and judged as such.
 */
#ifndef RINGFENCE_GATEWAY_CLI_PYTHON_H
#define RINGFENCE_GATEWAY_CLI_PYTHON_H

#include <limits.h>

#include "common/bytes.h"
#include "common/error.h"

struct rf_python {
    int major, minor;
    char ipython[32];          /* its version; "" if it cannot be imported */
    char executable[PATH_MAX]; /* what it calls itself; "" if it does not know */
};

/* Runs `program -c code` and appends what it prints.  0, or -errno with *err
 * filled (-ENOEXEC: it ended with an error or printed too much). */
int rf_python_run(const char *program, const char *code, struct rf_buf *to, struct rf_error *err);

/* Runs a program and appends what it prints, however it ends.  0, or -errno with
 * *err filled where it cannot be run. */
int rf_program_ask(char *const *argv, struct rf_buf *to, struct rf_error *err);

/* What this interpreter is. */
int rf_python_ask(const char *program, struct rf_python *ret, struct rf_error *err);

/* Can a kernel run on it?  0, or -ENOTSUP with *err saying what to do. */
int rf_python_check(const char *program, const struct rf_python *python, struct rf_error *err);

/* Makes `name` absolute: looked for on PATH when it has no slash (the program
 * found may be a script that starts the interpreter).  Links are not followed,
 * since a virtual environment is known by its link. */
int rf_python_find(const char *name, char ret[PATH_MAX], struct rf_error *err);

#endif
