/* What every fuzz target offers, to libFuzzer or to replay.c, and how the
 * targets cut their input into pieces.
 */
#ifndef RINGFENCE_TESTS_FUZZ_H
#define RINGFENCE_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant that holds whatever the input; not assert(), which NDEBUG
 * would take away. */
#define MUST(condition)                                                          \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                             \
        }                                                                        \
    } while (0)

/* Takes a piece off the front of *rest: two bytes of length (little endian),
 * then the bytes, as many as there are.  False when nothing is left. */
static inline bool next_piece(struct rf_bytes *rest, struct rf_bytes *ret)
{
    if (rest->len < 2)
        return false;
    size_t len = rest->data[0] | (size_t)rest->data[1] << 8;
    size_t left = rest->len - 2;
    len = len < left ? len : left;
    *ret = (struct rf_bytes){rest->data + 2, len};
    *rest = (struct rf_bytes){rest->data + 2 + len, left - len};
    return true;
}

#endif
