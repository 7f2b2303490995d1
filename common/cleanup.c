/* See cleanup.h. */
#include "common/cleanup.h"

#include <errno.h>

void rf_closep(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}
