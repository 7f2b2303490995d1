/* See place.h. */
#include "common/place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"

static int read_all(const char *path, struct rf_buf *to)
{
    RF_AUTO(rf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        uint8_t *at = rf_buf_reserve(to, 4096);
        if (!at)
            return -ENOMEM;
        ssize_t n = read(fd, at, 4096);
        if (n < 0)
            return -errno;
        if (!n)
            return 0;
        to->len += (size_t)n;
    }
}

int rf_place_read(struct rf_buf *to)
{
    int r = read_all("/proc/self/cgroup", to);
    if (r && r != -ENOENT)
        return r;
    errno = 0;
    int nice_value = getpriority(PRIO_PROCESS, 0);
    if (errno)
        return -errno;
    rf_buf_printf(to, "nice %d\ncpus ", nice_value);
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus))
        return -errno;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &cpus))
            rf_buf_printf(to, "%d,", i);
    return rf_buf_ok(to) ? 0 : -ENOMEM;
}

static long long limit_number(rlim_t limit)
{
    return limit == RLIM_INFINITY ? -1 : (long long)limit;
}

void rf_rlimits_read(struct rf_buf *to)
{
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        struct rlimit limit;
        if (!getrlimit((__rlimit_resource_t)i, &limit))
            rf_buf_printf(to, "%d %lld %lld\n", i, limit_number(limit.rlim_cur),
                          limit_number(limit.rlim_max));
    }
}

static int apply_one(int resource, const struct rlimit *want, bool check)
{
    struct rlimit have;
    if (getrlimit((__rlimit_resource_t)resource, &have))
        return 0; /* a resource that this kernel does not know */
    if (want->rlim_max > have.rlim_max && geteuid() != 0)
        return -EPERM;
    if (check || (have.rlim_cur == want->rlim_cur && have.rlim_max == want->rlim_max))
        return 0;
    return setrlimit((__rlimit_resource_t)resource, want) ? -errno : 0;
}

int rf_rlimits_apply(struct rf_bytes text, bool check)
{
    char line[128];
    while (text.len) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t n = end ? (size_t)(end - text.data) : text.len;
        if (!end || n >= sizeof(line))
            return -EPROTO;
        memcpy(line, text.data, n);
        line[n] = '\0';
        int resource;
        long long soft, hard;
        if (sscanf(line, "%d %lld %lld", &resource, &soft, &hard) != 3 || resource < 0)
            return -EPROTO;
        struct rlimit want = {soft < 0 ? RLIM_INFINITY : (rlim_t)soft,
                              hard < 0 ? RLIM_INFINITY : (rlim_t)hard};
        int r = resource < RLIMIT_NLIMITS ? apply_one(resource, &want, check) : 0;
        if (r)
            return r;
        text.data += n + 1;
        text.len -= n + 1;
    }
    return 0;
}
