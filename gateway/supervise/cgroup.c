/* See cgroup.h. */
#include "gateway/supervise/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/supervise/sweep.h"

#define PERIOD_US 100000
#define TEXT_MAX 65536

static ssize_t read_file(const char *folder, const char *name, char *ret, size_t size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s%s%s", folder, name ? "/" : "", name ? name : "") >= PATH_MAX)
        return -ENAMETOOLONG;
    RF_AUTO(rf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && n < size - 1)
        if ((got = read(fd, ret + n, size - 1 - n)) > 0)
            n += (size_t)got;
    ret[n] = '\0';
    return got < 0 ? -errno : (ssize_t)n;
}

static int write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX)
        return -ENAMETOOLONG;
    RF_AUTO(rf_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* --- limits --- */

/* In order.  What a kernel without swap accounting lacks is optional. */
static const struct control {
    enum rf_cgroup_kind kind;
    bool v2, optional;
    const char *file;
    const char *format; /* of the limit; cpu: of microseconds in a period */
} controls[] = {
    {RF_CGROUP_MEMORY, false, false, "memory.limit_in_bytes", "%" PRId64},
    {RF_CGROUP_MEMORY, false, true, "memory.memsw.limit_in_bytes", "%" PRId64},
    {RF_CGROUP_MEMORY, true, false, "memory.max", "%" PRId64},
    {RF_CGROUP_MEMORY, true, true, "memory.swap.max", "0"},
    /* One process at a time: the keeper and the checkpoints outlive the cell. */
    {RF_CGROUP_MEMORY, true, true, "memory.oom.group", "0"},
    {RF_CGROUP_PIDS, false, false, "pids.max", "%" PRId64},
    {RF_CGROUP_PIDS, true, false, "pids.max", "%" PRId64},
    {RF_CGROUP_CPU, false, false, "cpu.cfs_period_us", "100000"},
    {RF_CGROUP_CPU, false, false, "cpu.cfs_quota_us", "%" PRId64},
    {RF_CGROUP_CPU, true, false, "cpu.max", "%" PRId64 " 100000"},
};

static int64_t value_of(const struct rf_cgroup_limits *limits, int kind)
{
    switch (kind) {
    case RF_CGROUP_MEMORY:
        return limits->memory;
    case RF_CGROUP_PIDS:
        return limits->processes;
    default:
        return limits->cpu * (PERIOD_US / 1000);
    }
}

static int limit(const char *folder, int kind, bool v2, int64_t value)
{
    for (size_t i = 0; i < sizeof(controls) / sizeof(*controls); i++) {
        const struct control *control = &controls[i];
        char text[48];
        if ((int)control->kind != kind || control->v2 != v2)
            continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), control->format, value);
#pragma GCC diagnostic pop
        int r = write_file(folder, control->file, text);
        if (r && !control->optional)
            return r;
    }
    return 0;
}

/* --- making --- */

static void lack(struct rf_cgroup *cgroup, const char *what, const char *folder, int code)
{
    if (!cgroup->why[0])
        snprintf(cgroup->why, sizeof(cgroup->why), "%s %.90s: %s", what, folder, strerror(-code));
}

/* The folder `parent`/`name`, made and added; NULL: it cannot be. */
static const char *add_folder(struct rf_cgroup *cgroup, const char *parent, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= PATH_MAX)
        return NULL;
    if (mkdir(path, 0755) && errno != EEXIST) {
        lack(cgroup, "cannot make a cgroup in", parent, -errno);
        return NULL;
    }
    char *copy = strdup(path);
    if (copy)
        cgroup->folders[cgroup->n++] = copy;
    else
        rmdir(path);
    return copy;
}

static void set_limits(struct rf_cgroup *cgroup, const char *folder, unsigned kinds, bool v2,
                       const struct rf_cgroup_limits *limits)
{
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++) {
        if (!(kinds & 1u << kind))
            continue;
        int r = limit(folder, kind, v2, value_of(limits, kind));
        if (r) {
            lack(cgroup, "cannot set limits in", folder, r);
            continue;
        }
        cgroup->holds |= 1u << kind;
        cgroup->version = v2 ? 2 : 1;
        if (kind == RF_CGROUP_PIDS)
            cgroup->pids = folder;
        if (kind == RF_CGROUP_MEMORY) {
            cgroup->memory = folder;
            cgroup->memory_v2 = v2;
        }
    }
}

static void make_v1(struct rf_cgroup *cgroup, const struct rf_cgroup_place *place,
                    const struct rf_cgroup_limits *limits, const char *name)
{
    unsigned done = 0;
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++) {
        unsigned same = 0; /* controllers on one mount share the folder */
        if (!place->v1[kind][0] || !(cgroup->wanted & 1u << kind) || (done & 1u << kind))
            continue;
        for (int other = kind; other < RF_CGROUP_KINDS; other++)
            if (!strcmp(place->v1[kind], place->v1[other]))
                same |= cgroup->wanted & 1u << other;
        done |= same;
        const char *folder = add_folder(cgroup, place->v1[kind], name);
        if (folder)
            set_limits(cgroup, folder, same, false, limits);
    }
}

/* --- v2 --- */

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' ' || at[n] == '\n'))
            return true;
    return false;
}

/* Which of `kinds` stand in this file of the folder. */
static unsigned kinds_in(const char *folder, const char *file, unsigned kinds)
{
    char text[512];
    unsigned found = 0;
    if (read_file(folder, file, text, sizeof(text)) < 0)
        return 0;
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++)
        if ((kinds & 1u << kind) && has_word(text, rf_cgroup_names[kind]))
            found |= 1u << kind;
    return found;
}

/* Where kernels' cgroups go: our own, or its parent if ours is the leaf. */
static void v2_parent(const struct rf_cgroup_place *place, char ret[PATH_MAX])
{
    static const char leaf[] = "/" RF_CGROUP_LEAF;
    snprintf(ret, PATH_MAX, "%s", place->v2);
    size_t n = strlen(ret), cut = sizeof(leaf) - 1;
    if (n > cut && !strcmp(ret + n - cut, leaf))
        ret[n - cut] = '\0';
}

/* To us, and not to whoever divides the rest of the tree. */
static bool is_delegated(const char *folder)
{
    struct stat st;
    char mark[2] = "";
    if (geteuid())
        return !stat(folder, &st) && st.st_uid == geteuid();
    return (getxattr(folder, "trusted.delegate", mark, 1) == 1 && mark[0] == '1') ||
           (getxattr(folder, "user.delegate", mark, 1) == 1 && mark[0] == '1');
}

static int enable(const char *parent, unsigned kinds)
{
    int r = 0;
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++) {
        char text[16];
        snprintf(text, sizeof(text), "+%s", rf_cgroup_names[kind]);
        if ((kinds & 1u << kind) && (r = write_file(parent, "cgroup.subtree_control", text)))
            break;
    }
    return r;
}

/* Moves the processes of `parent` into its leaf, until none is left there. */
static int move_to_leaf(const char *parent)
{
    char leaf[PATH_MAX];
    RF_AUTO(rf_freep) char *text = malloc(TEXT_MAX);
    if (snprintf(leaf, sizeof(leaf), "%s/" RF_CGROUP_LEAF, parent) >= PATH_MAX || !text)
        return -ENOMEM;
    if (mkdir(leaf, 0755) && errno != EEXIST)
        return -errno;
    for (int round = 0; round < 16 && read_file(parent, "cgroup.procs", text, TEXT_MAX) > 0; round++) {
        char *rest = text;
        for (char *pid; (pid = strsep(&rest, "\n"));) {
            int r = *pid ? write_file(leaf, "cgroup.procs", pid) : 0;
            if (r && r != -ESRCH)
                return r;
        }
    }
    return 0;
}

static void make_v2(struct rf_cgroup *cgroup, const struct rf_cgroup_place *place,
                    const struct rf_cgroup_limits *limits, const char *name)
{
    char parent[PATH_MAX];
    unsigned kinds = cgroup->wanted & ~cgroup->holds;
    v2_parent(place, parent);
    kinds = kinds_in(parent, "cgroup.controllers", kinds);
    if (!kinds)
        return;
    int r = enable(parent, kinds & ~kinds_in(parent, "cgroup.subtree_control", kinds));
    if (r == -EBUSY && is_delegated(parent)) {
        r = move_to_leaf(parent);
        r = r ? r : enable(parent, kinds);
    }
    if (r) {
        lack(cgroup, r == -EBUSY ? "not delegated to Ringfence:" : "cannot divide the cgroup", parent, r);
        return;
    }
    const char *folder = add_folder(cgroup, parent, name);
    if (folder)
        set_limits(cgroup, folder, kinds, true, limits);
}

int rf_cgroup_make(const struct rf_cgroup_place *place, const struct rf_cgroup_limits *limits,
                   const char *name, struct rf_cgroup *ret)
{
    *ret = (struct rf_cgroup){0};
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++)
        if (value_of(limits, kind))
            ret->wanted |= 1u << kind;
    make_v1(ret, place, limits, name);
    if (place->v2[0] && (ret->wanted & ~ret->holds))
        make_v2(ret, place, limits, name);
    if (!ret->why[0] && (ret->wanted & ~ret->holds))
        snprintf(ret->why, sizeof(ret->why), "no such controller is mounted, or given to this cgroup");
    return 0;
}

void rf_cgroup_find_own(struct rf_cgroup_place *ret)
{
    char cgroup[16384];
    memset(ret, 0, sizeof(*ret));
    RF_AUTO(rf_freep) char *mounts = malloc(TEXT_MAX * 4);
    ssize_t n = read_file("/proc/self/cgroup", NULL, cgroup, sizeof(cgroup));
    ssize_t m = mounts ? read_file("/proc/self/mountinfo", NULL, mounts, TEXT_MAX * 4) : -1;
    if (n > 0 && m > 0)
        rf_cgroup_find((struct rf_bytes){(uint8_t *)cgroup, (size_t)n},
                       (struct rf_bytes){(uint8_t *)mounts, (size_t)m}, ret);
}

int rf_cgroup_make_own(const struct rf_cgroup_limits *limits, struct rf_cgroup *ret)
{
    char name[RF_SWEEP_NAME_MAX];
    RF_AUTO(rf_freep) struct rf_cgroup_place *place = calloc(1, sizeof(*place));
    *ret = (struct rf_cgroup){0};
    if (!place)
        return -ENOMEM;
    if (!rf_sweep_name(name)) /* without a name that can be swept none is made */
        rf_cgroup_find_own(place);
    return rf_cgroup_make(place, limits, name, ret);
}

static void close_counter(struct rf_cgroup_counter *counter)
{
    if (counter->fd > 0)
        close(counter->fd);
}

void rf_cgroup_deinit(struct rf_cgroup *cgroup)
{
    for (size_t i = 0; i < cgroup->n; i++)
        free(cgroup->folders[i]);
    close_counter(&cgroup->oom_kills);
    close_counter(&cgroup->refused_forks);
    *cgroup = (struct rf_cgroup){0};
}

/* The number after this name at the beginning of a line; false: there is none. */
static bool find_number(const char *text, const char *name, uint64_t *ret)
{
    size_t n = strlen(name);
    while (text && (strncmp(text, name, n) || text[n] != ' '))
        text = (text = strchr(text, '\n')) ? text + 1 : NULL;
    if (text)
        *ret = strtoull(text + n, NULL, 10);
    return text;
}

/* Has the counter of this name gone up?  `one`: only the next step of it is seen. */
static bool has_risen(const char *folder, const char *file, const char *name,
                      struct rf_cgroup_counter *counter, bool one)
{
    char text[4096];
    uint64_t now = 0;
    if (!folder)
        return false;
    if (!counter->fd) {
        snprintf(text, sizeof(text), "%s/%s", folder, file);
        counter->fd = rf_move_high(open(text, O_RDONLY | O_CLOEXEC));
    }
    ssize_t n = counter->fd < 0 ? -1 : pread(counter->fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (!find_number(text, name, &now) || now <= counter->seen)
        return false;
    counter->seen = one ? counter->seen + 1 : now;
    return true;
}

static uint64_t memory_stat(const struct rf_cgroup *cgroup, const char *name)
{
    uint64_t bytes = 0;
    char text[4096];
    if (cgroup->memory && read_file(cgroup->memory, "memory.stat", text, sizeof(text)) > 0)
        find_number(text, name, &bytes);
    return bytes;
}

uint64_t rf_cgroup_shared(const struct rf_cgroup *cgroup)
{
    return memory_stat(cgroup, "shmem");
}

uint64_t rf_cgroup_anonymous(const struct rf_cgroup *cgroup)
{
    return memory_stat(cgroup, cgroup->memory_v2 ? "anon" : "rss");
}

uint64_t rf_cgroup_usage(const struct rf_cgroup *cgroup)
{
    const char *file = cgroup->memory_v2 ? "memory.current" : "memory.usage_in_bytes";
    char text[32];
    return cgroup->memory && read_file(cgroup->memory, file, text, sizeof(text)) > 0
               ? strtoull(text, NULL, 10)
               : 0;
}

bool rf_cgroup_was_oom(struct rf_cgroup *cgroup, bool one)
{
    const char *file = cgroup->memory_v2 ? "memory.events" : "memory.oom_control";
    return has_risen(cgroup->memory, file, "oom_kill", &cgroup->oom_kills, one);
}

bool rf_cgroup_refused_forks(struct rf_cgroup *cgroup)
{
    return has_risen(cgroup->pids, "pids.events", "max", &cgroup->refused_forks, false);
}

void rf_cgroup_missing(const struct rf_cgroup *cgroup, struct rf_buf *to)
{
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++)
        if (cgroup->wanted & ~cgroup->holds & 1u << kind)
            rf_buf_printf(to, "%scgroup %s", to->len ? ", " : "", rf_cgroup_names[kind]);
}

/* --- doctor --- */

static bool describe_v1(const struct rf_cgroup_place *place, char *ret, size_t size)
{
    char missing[64] = "";
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++)
        if (!place->v1[kind][0] || access(place->v1[kind], W_OK))
            snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%s%s",
                     missing[0] ? ", " : "", rf_cgroup_names[kind]);
    if (!missing[0])
        snprintf(ret, size, "v1, memory, pids and cpu are ours to divide");
    else
        snprintf(ret, size, "v1, not delegated to this user: %s", missing);
    return !missing[0];
}

bool rf_cgroup_describe(const struct rf_cgroup_place *place, char *ret, size_t size)
{
    char parent[PATH_MAX];
    unsigned all = (1u << RF_CGROUP_KINDS) - 1;
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++)
        if (place->v1[kind][0])
            return describe_v1(place, ret, size);
    if (!place->v2[0]) {
        snprintf(ret, size, "not mounted");
        return false;
    }
    v2_parent(place, parent);
    if (kinds_in(parent, "cgroup.controllers", all) != all) {
        snprintf(ret, size, "v2, this cgroup is not given memory, pids and cpu");
        return false;
    }
    bool ours = !access(parent, W_OK) &&
                (is_delegated(parent) || kinds_in(parent, "cgroup.subtree_control", all) == all);
    snprintf(ret, size, ours ? "v2, delegated to this user" : "v2, not delegated to this user");
    return ours;
}
