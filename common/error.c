/* See error.h. */
#include "common/error.h"

#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static size_t fill(struct rf_error *err, int code, const char *format, va_list args)
{
    err->code = code;
    int n = vsnprintf(err->text, sizeof(err->text), format, args);
    return n < 0 ? 0 : (size_t)n;
}

int rf_error_set(struct rf_error *err, int code, const char *format, ...)
{
    if (!err || err->code)
        return code;
    va_list args;
    va_start(args, format);
    fill(err, code, format, args);
    va_end(args);
    return code;
}

int rf_error_errno(struct rf_error *err, int code, const char *format, ...)
{
    if (!err || err->code)
        return code;
    va_list args;
    va_start(args, format);
    size_t n = fill(err, code, format, args);
    va_end(args);
    if (n < sizeof(err->text))
        snprintf(err->text + n, sizeof(err->text) - n, ": %s", strerror(-code));
    return code;
}
