/* See filter.h. */
#include "kernel/sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/sandbox/steps.h"

static int load(const struct sock_fprog *program)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) ? -errno : 0;
}

int rf_filters_load_worker(const struct rf_filters *filters, unsigned without)
{
    int r = without & RF_FILTER_INTERNET ? load(&filters->internet) : 0;
    r = r || !(without & RF_FILTER_UNSEEN) ? r : load(&filters->unseen);
    r = r ? r : load(&filters->arguments);
    return r ? r : load(&filters->calls);
}

int rf_filters_load_keeper(const struct rf_filters *filters)
{
    return load(&filters->keeper);
}

int rf_step_filter(struct rf_sandbox *sandbox)
{
    bool internet = sandbox->policy->network == RF_NETWORK_HOST || sandbox->have & CLONE_NEWNET;
    if (!sandbox->base->filters)
        return -EINVAL;
    unsigned without = (internet ? 0 : RF_FILTER_INTERNET) |
                       (sandbox->policy->rlimits ? RF_FILTER_UNSEEN : 0);
    return rf_filters_load_worker(sandbox->base->filters, without);
}

int rf_step_keeper_filter(struct rf_sandbox *sandbox)
{
    return sandbox->base->filters ? rf_filters_load_keeper(sandbox->base->filters) : -EINVAL;
}
