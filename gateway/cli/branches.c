/* See branches.h. */
#include "gateway/cli/branches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "gateway/cli/branch_file.h"

#define IDLE_US ((int64_t)RF_BRANCH_IDLE_S * 1000000)

struct branch {
    struct branch *next; /* an older one */
    struct rf_branches *branches;
    unsigned number;
    struct rf_served *served;
    struct rf_connection connection;
    char file[PATH_MAX];
};

struct rf_branches {
    uv_loop_t *loop;
    const struct rf_session_options *session; /* borrowed */
    void (*on_empty)(void *ctx);
    void *ctx;
    struct branch *newest; /* owned */
    size_t n;
    unsigned last_number;
    bool orphaned; /* their kernel has ended */
    struct rf_buf words;
};

struct rf_branches *rf_branches_new(uv_loop_t *loop, const struct rf_session_options *session,
                                    void (*on_empty)(void *ctx), void *ctx)
{
    struct rf_branches *branches = calloc(1, sizeof(*branches));
    if (branches)
        *branches = (struct rf_branches){.loop = loop, .session = session, .on_empty = on_empty,
                                         .ctx = ctx};
    return branches;
}

/* --- events of one --- */

static void on_failed(void *ctx, const struct rf_error *why)
{
    struct branch *branch = ctx;
    rf_log(RF_LOG_ERROR, "branch", "branch %u ends: %s", branch->number, why->text);
}

static void on_ended(void *ctx, struct rf_served *served)
{
    struct branch *branch = ctx;
    struct rf_branches *branches = branch->branches;
    struct branch **at = &branches->newest;
    while (*at != branch)
        at = &(*at)->next;
    *at = branch->next;
    branches->n--;
    unlink(branch->file);
    free(branch);
    if (!branches->n)
        branches->on_empty(branches->ctx);
}

static struct rf_served *on_branch(void *ctx, uint64_t count, struct rf_buf *to,
                                   struct rf_error *err)
{
    struct branch *branch = ctx;
    return rf_branches_open(branch->branches, count, to, err);
}

static const char *on_parting(void *ctx)
{
    return NULL; /* its own branches are its kernel's */
}

static const struct rf_served_events events = {on_failed, on_ended, on_branch, on_parting};

/* --- opening one --- */

/* Each takes some fifteen descriptors; a hundred are more than the usual soft limit. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A number whose file is nobody's: branches may live of a kernel that was restarted with the
 * same connection file, or of another one whose file has the same name. */
static int choose_file(struct branch *branch, struct rf_error *err)
{
    struct rf_branches *branches = branch->branches;
    for (;;) {
        branch->number = ++branches->last_number;
        int r = rf_branch_file(branches->session->connection_file, branch->number, branch->file, err);
        if (r)
            return r;
        int fd = open(branch->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)!write(fd, "{}", 2); /* else loading says what is wrong with it */
            return close(fd);
        }
        if (errno != EEXIST)
            return rf_error_errno(err, -errno, "cannot make %.200s", branch->file);
    }
}

/* Where the kernel's own sockets are, with a key of its own. */
static int choose_connection(struct branch *branch, struct rf_error *err)
{
    const struct rf_connection *kernel = &branch->branches->session->connection;
    struct rf_connection *c = &branch->connection;
    int r = choose_file(branch, err);
    if (!r)
        r = rf_connection_load(branch->file, c, err); /* all defaults */
    if (r)
        return r;
    snprintf(c->transport, sizeof(c->transport), "%s", kernel->transport);
    snprintf(c->kernel_name, sizeof(c->kernel_name), "%s", kernel->kernel_name);
    int n = snprintf(c->ip, sizeof(c->ip), "%s", kernel->ip);
    if (!strcmp(c->transport, "ipc"))
        n += snprintf(c->ip + n, sizeof(c->ip) - (size_t)n, "-branch-%u", branch->number);
    return n < (int)sizeof(c->ip) ? 0 : rf_error_errno(err, -ENAMETOOLONG, "cannot use %.90s", c->ip);
}

static int open_branch(struct branch *branch, uint64_t count, struct rf_error *err)
{
    struct rf_served_options options = {.session = branch->branches->session,
                                        .connection = &branch->connection,
                                        .connection_file = branch->file,
                                        .count = count};
    int r = choose_connection(branch, err);
    if (r)
        return r;
    branch->served = rf_served_new(branch->branches->loop, &options, &events, branch);
    return branch->served ? 0 : rf_error_errno(err, -ENOMEM, "cannot make a branch");
}

static void describe(const struct branch *branch, struct rf_buf *to)
{
    rf_buf_printf(to, "{\"number\":%u,\"connection_file\":", branch->number);
    rf_json_encode(rf_bytes_str(branch->file), to);
    rf_buf_add_str(to, "}");
}

struct rf_served *rf_branches_open(struct rf_branches *branches, uint64_t count, struct rf_buf *to,
                                   struct rf_error *err)
{
    if (branches->n >= RF_BRANCHES_MAX) {
        rf_error_set(err, -ENOSPC, "there are %u branches, and no more are kept: shut one down",
                     RF_BRANCHES_MAX);
        return NULL;
    }
    struct branch *branch = calloc(1, sizeof(*branch));
    if (!branch) {
        rf_error_errno(err, -ENOMEM, "cannot make a branch");
        return NULL;
    }
    branch->branches = branches;
    raise_descriptors();
    if (open_branch(branch, count, err)) {
        if (branch->file[0])
            unlink(branch->file);
        free(branch);
        return NULL;
    }
    branch->next = branches->newest;
    branches->newest = branch;
    branches->n++;
    struct rf_served *served = branch->served;
    if (rf_served_open(served, err)) /* it is stopping, and may be gone */
        return NULL;
    if (branches->orphaned)
        rf_served_limit_idle(served, IDLE_US);
    describe(branch, to);
    return served;
}

/* --- all of them --- */

size_t rf_branches_count(const struct rf_branches *branches)
{
    return branches->n;
}

const char *rf_branches_list(struct rf_branches *branches)
{
    struct rf_buf *words = &branches->words;
    words->len = 0;
    if (!branches->n)
        return NULL;
    rf_buf_printf(words, "[ringfence] %zu branch%s of this kernel go%s on until shut down, or unused "
                         "for %d minutes:\n", branches->n, branches->n > 1 ? "es" : "",
                  branches->n > 1 ? "" : "es", RF_BRANCH_IDLE_S / 60);
    for (const struct branch *branch = branches->newest; branch; branch = branch->next)
        rf_buf_printf(words, "  jupyter console --existing %s\n", branch->file);
    rf_buf_add(words, "", 1);
    return rf_buf_ok(words) ? (const char *)words->data : NULL;
}

void rf_branches_orphan(struct rf_branches *branches)
{
    branches->orphaned = true;
    for (struct branch *branch = branches->newest; branch; branch = branch->next)
        rf_served_limit_idle(branch->served, IDLE_US);
}

void rf_branches_inherit(struct rf_branches *branches)
{
    if (branches->newest)
        rf_served_inherit(branches->newest->served);
}

void rf_branches_stop(struct rf_branches *branches)
{
    for (struct branch *branch = branches->newest, *next; branch; branch = next) {
        next = branch->next;
        rf_served_stop(branch->served);
    }
}

void rf_branches_free(struct rf_branches *branches)
{
    if (branches)
        rf_buf_deinit(&branches->words);
    free(branches);
}
