/* The limits of a kernel that show as messages, and the words for them.
 *
 * Whoever finds that a limit was hit says so with rf_limit_words(), so that
 * each message names the limit and how to raise it.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_LIMIT_H
#define RINGFENCE_GATEWAY_JUPYTER_LIMIT_H

#include <stddef.h>
#include <stdint.h>

#define RF_LIMIT_WORDS_MAX 240
#define RF_CELL_GRACE_US 5000000 /* from the interrupt of a cell that ran for too long to its end */

/* 0: no limit. */
struct rf_limits {
    const char *profile;   /* its name, for messages; NULL: "" */
    uint64_t output_bytes; /* of one cell */
    int64_t cell_us;       /* run time of one cell */
    int64_t idle_us;       /* without a request */
    int64_t life_us;       /* of the sandbox, from since_us on */
    int64_t since_us;      /* monotonic */
    int64_t born_us;       /* likewise: of this kernel, which may be a branch */
};

/* the limit KEY (VALUE) of the profile PROFILE; to raise it: ... */
void rf_limit_words(char ret[RF_LIMIT_WORDS_MAX], const char *key, const char *value,
                    const char *profile);
/* "512 MB", "1.5 s": for VALUE. */
void rf_limit_bytes(char *ret, size_t size, uint64_t bytes);
void rf_limit_time(char *ret, size_t size, int64_t us);

#endif
