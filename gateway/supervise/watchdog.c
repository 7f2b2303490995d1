/* See watchdog.h. */
#include "gateway/supervise/watchdog.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"

#define TREE_MAX 4096 /* processes that are counted */
#define MOUNTS_MAX 64 /* likewise tmpfs mounts */

struct tree {
    pid_t pids[TREE_MAX];
    size_t n;
};

static void add_children(struct tree *tree, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        char children[128];
        int child;
        if (e->d_name[0] == '.')
            continue;
        snprintf(children, sizeof(children), "/proc/%d/task/%.20s/children", pid, e->d_name);
        FILE *file = fopen(children, "re");
        while (file && tree->n < TREE_MAX && fscanf(file, "%d", &child) == 1)
            tree->pids[tree->n++] = child;
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
}

struct resident {
    uint64_t all, anonymous;
};

static struct resident resident(pid_t pid)
{
    char path[64];
    unsigned long size = 0, pages = 0, of_files = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%lu %lu %lu", &size, &pages, &of_files) != 3)
        pages = of_files = 0;
    if (file)
        fclose(file);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (struct resident){pages * page, pages > of_files ? (pages - of_files) * page : 0};
}

struct proportional {
    uint64_t all, anonymous;
    uint64_t shared; /* of all: mapped shared, or from a file in memory */
};

/* Of one that we may not look into, the resident size. */
static struct proportional proportional(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kb = 0, anonymous = 0, shared = 0;
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        found |= sscanf(line, "Pss: %llu kB", &kb) == 1;
        (void)(sscanf(line, "Pss_Anon: %llu kB", &anonymous) == 1 ||
               sscanf(line, "Pss_Shmem: %llu kB", &shared) == 1);
    }
    if (file)
        fclose(file);
    return (struct proportional){found ? (uint64_t)kb * 1024 : resident(pid).all,
                                 (uint64_t)anonymous * 1024, (uint64_t)shared * 1024};
}

/* --- files --- */

struct mounts {
    struct mount {
        char device[16], path[PATH_MAX];
    } *mounts; /* owned */
    size_t n;
};

static bool has(const struct mounts *mounts, const char *device)
{
    for (size_t i = 0; i < mounts->n; i++)
        if (!strcmp(mounts->mounts[i].device, device))
            return true;
    return false;
}

/* The tmpfs mounts of `process`, each device once, but for those in `without`. */
static void read_mounts(const char *process, const struct mounts *without, struct mounts *ret)
{
    char path[64];
    RF_AUTO(rf_freep) char *line = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "/proc/%s/mountinfo", process);
    FILE *file = fopen(path, "re");
    while (file && ret->n < MOUNTS_MAX && getline(&line, &size, file) > 0) {
        struct mount *mount = &ret->mounts[ret->n];
        if (strstr(line, " - tmpfs ") &&
            sscanf(line, "%*d %*d %15s %*s %4095s", mount->device, mount->path) == 2 &&
            !has(without, mount->device) && !has(ret, mount->device))
            ret->n++;
    }
    if (file)
        fclose(file);
}

/* 0 where another mount lies over it (a workspace over the home folder): what is seen
 * there is that one's. */
static uint64_t used(const char *process, const struct mount *mount)
{
    char inside[PATH_MAX + 32], device[32];
    struct stat there;
    struct statvfs st;
    snprintf(inside, sizeof(inside), "/proc/%s/root%s", process, mount->path);
    if (stat(inside, &there))
        return 0;
    snprintf(device, sizeof(device), "%u:%u", major(there.st_dev), minor(there.st_dev));
    if (strcmp(device, mount->device) != 0 || statvfs(inside, &st))
        return 0;
    return (uint64_t)(st.f_blocks - st.f_bfree) * st.f_frsize;
}

static bool shares_our_mounts(const char *process)
{
    char path[64];
    struct stat ours, theirs;
    snprintf(path, sizeof(path), "/proc/%s/ns/mnt", process);
    return stat(path, &theirs) || stat("/proc/self/ns/mnt", &ours) || ours.st_ino == theirs.st_ino;
}

uint64_t rf_tree_files(pid_t pid)
{
    char process[16];
    snprintf(process, sizeof(process), "%d", pid);
    if (shares_our_mounts(process))
        return 0;
    RF_AUTO(rf_freep) struct mount *memory = malloc(2 * MOUNTS_MAX * sizeof(*memory));
    struct mounts none = {0}, ours = {memory, 0}, theirs = {memory + MOUNTS_MAX, 0};
    uint64_t sum = 0;
    if (!memory)
        return 0;
    read_mounts("self", &none, &ours);
    read_mounts(process, &ours, &theirs);
    for (size_t i = 0; i < theirs.n; i++)
        sum += used(process, &theirs.mounts[i]);
    return sum;
}

static const struct tree *tree_of(pid_t root)
{
    static struct tree tree; /* too large for a stack; one thread asks */
    tree.n = 1;
    tree.pids[0] = root;
    for (size_t i = 0; i < tree.n; i++)
        add_children(&tree, tree.pids[i]);
    return &tree;
}

uint64_t rf_tree_ticks(pid_t root)
{
    const struct tree *tree = tree_of(root);
    uint64_t sum = 0;
    for (size_t i = 0; i < tree->n; i++) {
        char path[64], line[512];
        unsigned long user = 0, kernel = 0;
        snprintf(path, sizeof(path), "/proc/%d/stat", tree->pids[i]);
        FILE *file = fopen(path, "re");
        const char *rest = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
        if (rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                           &kernel) == 2)
            sum += user + kernel;
        if (file)
            fclose(file);
    }
    return sum;
}

uint64_t rf_tree_memory(pid_t root, uint64_t enough)
{
    const struct tree *tree = tree_of(root);
    uint64_t files = rf_tree_files(root), sum = files, shared = 0;
    for (size_t i = 0; i < tree->n; i++)
        sum += resident(tree->pids[i]).all;
    if (sum <= enough)
        return sum;
    sum = 0;
    for (size_t i = 0; i < tree->n; i++) {
        struct proportional part = proportional(tree->pids[i]);
        sum += part.all;
        shared += part.shared;
    }
    return files > shared ? sum - shared + files : sum;
}

/* It gave itself the name, and so may whatever else wants to be ended like one. */
static bool is_checkpoint(pid_t pid)
{
    char path[64], name[20] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    bool is = file && fgets(name, sizeof(name), file) && !strcmp(name, "ringfence-ckpt\n");
    if (file)
        fclose(file);
    return is;
}

uint64_t rf_tree_kept(pid_t root, uint64_t anonymous)
{
    const struct tree *tree = tree_of(root);
    uint64_t others = 0, sum = anonymous;
    for (size_t i = 0; i < tree->n; i++) {
        if (!anonymous)
            sum += proportional(tree->pids[i]).anonymous;
        if (!is_checkpoint(tree->pids[i]))
            others += resident(tree->pids[i]).anonymous;
    }
    return sum > others ? sum - others : 0;
}
