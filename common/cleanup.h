/* Cleanup vocabulary: RF_AUTO(fn) runs fn(&variable) when the scope ends;
 * rf_steal() hands a pointer or descriptor over and leaves nothing behind.
 */
#ifndef RINGFENCE_COMMON_CLEANUP_H
#define RINGFENCE_COMMON_CLEANUP_H

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RF_AUTO(fn) __attribute__((cleanup(fn)))

static inline void rf_freep(void *p)
{
    free(*(void **)p);
}

/* Closes *fd unless it is negative; leaves -1.  Keeps errno. */
void rf_closep(int *fd);

/* Out of the way of the numbers that a worker has; not too high for a low limit. */
#define RF_HIGH_FD 16

/* The same open file under a number from RF_HIGH_FD on; closes `fd`.  Negative as it came. */
static inline int rf_move_high(int fd)
{
    int high = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, RF_HIGH_FD);
    rf_closep(&fd);
    return high;
}

static inline int rf_steal_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define rf_steal(p)               \
    ({                            \
        __typeof__(*(p)) _t = *(p); \
        *(p) = NULL;              \
        _t;                       \
    })

#endif
