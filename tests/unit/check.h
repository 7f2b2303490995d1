/* What the unit tests share: cmocka with the headers that it needs, and a
 * comparison of byte slices that prints both when they differ.
 */
#ifndef RINGFENCE_TESTS_UNIT_CHECK_H
#define RINGFENCE_TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/bytes.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))
#define TESTS(table) cmocka_run_group_tests(table, NULL, NULL)

/* The bytes of a literal that may hold NUL. */
#define LITERAL(s) {(const uint8_t *)(s), sizeof(s) - 1}

static inline void check_bytes(struct rf_bytes got, struct rf_bytes want, const char *what)
{
    if (!rf_bytes_eq(got, want))
        fail_msg("%s: got \"%.*s\" (%zu bytes), want \"%.*s\" (%zu bytes)", what, (int)got.len,
                 got.len ? (const char *)got.data : "", got.len, (int)want.len,
                 want.len ? (const char *)want.data : "", want.len);
}

static inline void check_text(struct rf_bytes got, const char *want, const char *what)
{
    check_bytes(got, rf_bytes_str(want), what);
}

#endif
