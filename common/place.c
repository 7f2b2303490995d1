/* See place.h. */
#include "common/place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

/* A program started with `ip netns exec`, in a container or a chroot. */
static void read_namespaces(struct rf_buf *to)
{
    static const char *const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[32], text[64];
        snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
        ssize_t n = readlink(path, text, sizeof(text));
        rf_buf_add(to, text, n > 0 ? (size_t)n : 0);
        rf_buf_add_str(to, "\n");
    }
    struct stat root;
    if (!stat("/", &root))
        rf_buf_printf(to, "root %llu %llu\n", (unsigned long long)root.st_dev,
                      (unsigned long long)root.st_ino);
}

/* Who it is and what it may do, beyond the user id that both have. */
static int read_powers(struct rf_buf *to)
{
    static const char *const names[] = {"Gid:", "Groups:", "CapEff:", "CapBnd:", "NoNewPrivs:",
                                        "Seccomp:"};
    struct rf_buf status = {0};
    int r = read_all("/proc/self/status", &status);
    rf_buf_add(&status, "", 1);
    r = r ? r : rf_buf_ok(&status) ? 0 : -ENOMEM;
    char *rest = (char *)status.data;
    for (char *line; !r && (line = strsep(&rest, "\n"));)
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (!strncmp(line, names[i], strlen(names[i])))
                rf_buf_printf(to, "%s\n", line);
    rf_buf_deinit(&status);
    return r;
}

static int read_priorities(struct rf_buf *to)
{
    errno = 0;
    int nice_value = getpriority(PRIO_PROCESS, 0);
    if (errno)
        return -errno;
    rf_buf_printf(to, "nice %d\nscheduler %d\noom_score_adj ", nice_value, sched_getscheduler(0));
    return read_all("/proc/self/oom_score_adj", to);
}

int rf_place_read(struct rf_buf *to)
{
    int r = read_all("/proc/self/cgroup", to);
    read_namespaces(to);
    if (!r || r == -ENOENT)
        r = read_powers(to);
    if (!r)
        r = read_priorities(to);
    if (r)
        return r;
    rf_buf_add_str(to, "cpus ");
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
    if (want->rlim_max > have.rlim_max) /* root, too: a worker has none of root's powers */
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
