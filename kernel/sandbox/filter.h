/* The seccomp filters of worker and keeper, compiled once per zygote.
 *
 * Two for a worker: the list of calls that it may make, and a list of arguments
 * that it may not give to some of them.  What is refused gets an errno: EPERM
 * what we know and refuse, ENOSYS what we do not know, so that a library that
 * tries a newer call falls back to an older one.  Nothing is killed.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_FILTER_H
#define RINGFENCE_KERNEL_SANDBOX_FILTER_H

#include <linux/filter.h>

struct rf_filters {
    struct sock_fprog calls, arguments, internet, unseen, keeper; /* code owned */
};

/* NULL and *ret_code = -errno when they cannot be made. */
struct rf_filters *rf_filters_new(int *ret_code);
struct rf_filters *rf_filters_free(struct rf_filters *filters);

/* What a worker may not have, beside the lists. */
enum {
    RF_FILTER_INTERNET = 1, /* sockets of AF_INET and AF_INET6 */
    RF_FILTER_UNSEEN = 2,   /* memory that belongs to no process and no mount */
};

/* For the calling process, which has no_new_privs.  0 or -errno.  `without`: the sum of
 * the above. */
int rf_filters_load_worker(const struct rf_filters *filters, unsigned without);
int rf_filters_load_keeper(const struct rf_filters *filters);

#endif
