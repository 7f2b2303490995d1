/* See watchdog.h. */
#include "gateway/supervise/watchdog.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TREE_MAX 4096 /* processes that are counted */

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

static uint64_t resident(pid_t pid)
{
    char path[64];
    unsigned long size = 0, pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of one that we may not look into, the resident size. */
static uint64_t proportional(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kb = 0;
    int found = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file))
        found = sscanf(line, "Pss: %llu kB", &kb) == 1;
    if (file)
        fclose(file);
    return found ? (uint64_t)kb * 1024 : resident(pid);
}

uint64_t rf_tree_memory(pid_t root, uint64_t enough)
{
    static struct tree tree; /* too large for a stack; one thread asks */
    uint64_t sum = 0;
    tree.n = 1;
    tree.pids[0] = root;
    for (size_t i = 0; i < tree.n; i++)
        add_children(&tree, tree.pids[i]);
    for (size_t i = 0; i < tree.n; i++)
        sum += resident(tree.pids[i]);
    if (sum <= enough)
        return sum;
    sum = 0;
    for (size_t i = 0; i < tree.n; i++)
        sum += proportional(tree.pids[i]);
    return sum;
}
