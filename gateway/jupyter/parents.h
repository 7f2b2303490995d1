/* The headers of recent requests, for output that comes late.
 *
 * Output carries the number of its request; its parent_header is that
 * request's header.  A ring keeps the last RF_PARENTS_MAX; output of an older
 * or of no request belongs to the newest request that may have output of its
 * own (a cell or a comm message, not a completion), which is always kept.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_PARENTS_H
#define RINGFENCE_GATEWAY_JUPYTER_PARENTS_H

#include "common/bytes.h"

#define RF_PARENT_HEADER_MAX 16384u /* bytes of a request's header */

struct rf_parent; /* one request in the ring */

struct rf_parents {
    struct rf_parent *ring; /* owned */
    size_t used;            /* its first so many were written */
    struct rf_buf newest;   /* header of newest_id */
    uint64_t newest_id;     /* 0: none yet */
};

/* 0 or -ENOMEM. */
int rf_parents_init(struct rf_parents *parents);
void rf_parents_deinit(struct rf_parents *parents);

/* Remembers a request that starts; `id` is above all before it and `header`
 * at most RF_PARENT_HEADER_MAX bytes, copied.  0 or -ENOMEM. */
int rf_parents_add(struct rf_parents *parents, uint64_t id, struct rf_bytes header,
                   bool owns_output);

/* The request that output with this number belongs to; 0: none. */
uint64_t rf_parents_resolve(const struct rf_parents *parents, uint64_t id);

/* The header of a resolved request, valid until the next add; empty for 0 and
 * for one that left the ring since. */
struct rf_bytes rf_parents_header(const struct rf_parents *parents, uint64_t id);

#endif
