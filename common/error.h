/* One error of an operation, for a person to read.
 *
 * Caller-owned, no allocation.  The first writer wins, since the deepest
 * place knows most.  Text says what was tried, on what, and what to do.
 */
#ifndef RINGFENCE_COMMON_ERROR_H
#define RINGFENCE_COMMON_ERROR_H

#include <stdarg.h>

struct rf_error {
    int code; /* 0: no error so far; else as returned */
    char text[480];
};

/* Fills `err` unless it is NULL or holds an error already.  Returns `code`. */
int rf_error_set(struct rf_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As above with ": <strerror>" added; `code` is -errno. */
int rf_error_errno(struct rf_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
