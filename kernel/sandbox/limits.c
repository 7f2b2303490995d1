/* Steps: limits that a process sets for itself and hands on to its children. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/steps.h"

#define OOM_SCORE "/proc/self/oom_score_adj"
#define OOM_MOST 1000
#define RESERVED (160ull << 20) /* addresses, for each processor */

/* Never above what is allowed already. */
static int limit(int resource, uint64_t most)
{
    struct rlimit have;
    if (getrlimit((__rlimit_resource_t)resource, &have))
        return -errno;
    if (have.rlim_max != RLIM_INFINITY && have.rlim_max < most)
        most = have.rlim_max;
    struct rlimit want = {most, most};
    if (have.rlim_cur < most)
        want.rlim_cur = have.rlim_cur;
    return setrlimit((__rlimit_resource_t)resource, &want) ? -errno : 0;
}

/* RLIMIT_DATA counts addresses, and OpenBLAS takes 128 MB of them for each thread
 * and tries for ever where it does not get them.  What is really used the watchdog sees. */
static uint64_t most_data(uint64_t memory)
{
    cpu_set_t cpus;
    int n = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : CPU_COUNT(&cpus);
    return memory + (uint64_t)n * RESERVED;
}

int rf_step_limits(struct rf_sandbox *sandbox)
{
    const struct rf_sandbox_policy *policy = sandbox->policy;
    const struct {
        int resource;
        bool set;
        uint64_t most;
    } limits[] = {
        {RLIMIT_CORE, policy->walls, 0}, /* a dump would be written outside, by the machine */
        {RLIMIT_NOFILE, policy->open_files, policy->open_files},
        {RLIMIT_NPROC, policy->rlimits && policy->processes, policy->processes},
        {RLIMIT_DATA, policy->rlimits && policy->memory, most_data(policy->memory)},
    };
    int r = 0;
    for (size_t i = 0; !r && i < sizeof(limits) / sizeof(*limits); i++)
        if (limits[i].set)
            r = limit(limits[i].resource, limits[i].most);
    return r;
}

/* The client's own score stays the least. */
static int oom_base(void)
{
    static int base;
    static bool known;
    char text[16] = "";
    RF_AUTO(rf_closep) int fd = known ? -1 : open(OOM_SCORE, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
        base = (int)strtol(text, NULL, 10);
    known = true;
    return base;
}

void rf_sandbox_oom(int score)
{
    char text[16];
    int base = oom_base();
    snprintf(text, sizeof(text), "%d", base + (OOM_MOST - base) * score / OOM_MOST);
    (void)rf_write_file(OOM_SCORE, text);
}

int rf_step_oom(struct rf_sandbox *sandbox)
{
    (void)sandbox;
    rf_sandbox_oom(RF_OOM_WORKER);
    return 0;
}
