/* See sweep.h. */
#include "gateway/supervise/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 5
#define HEIR "heir."
#define ATTACH_DEPTH_MAX 64 /* generations of descendants */
#define ATTACH_ROUNDS_MAX 50

static unsigned long long pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) ? 0 : (unsigned long long)st.st_ino;
}

/* Field 22 of /proc/PID/stat; 0: there is no such process. */
static unsigned long long start_time(pid_t pid)
{
    char path[40], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name is the process's own choice */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

int rf_sweep_name(char ret[RF_SWEEP_NAME_MAX])
{
    static unsigned made;
    unsigned long long start = start_time(getpid());
    snprintf(ret, RF_SWEEP_NAME_MAX, "ringfence-%llx.%d.%llu.%u", pid_namespace(), getpid(), start,
             ++made);
    return start ? 0 : -ENOENT; /* /proc is not mounted */
}

bool rf_sweep_is_left_over(const char *name)
{
    unsigned long long space, start;
    unsigned number;
    int pid, end = 0;
    static bool sees; /* /proc is mounted */
    sees = sees || start_time(getpid());
    return sscanf(name, "ringfence-%llx.%d.%llu.%u%n", &space, &pid, &start, &number, &end) == 4 &&
           !name[end] && space == pid_namespace() && sees && start_time(pid) != start;
}

/* --- heirs --- */

void rf_sweep_inherit(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" HEIR "%d.%llu", folder, getpid(), start_time(getpid())) <
        PATH_MAX)
        mkdir(path, 0755);
}

/* Does one of them live?  With `remove` they are removed. */
static bool look_for_heirs(const char *folder, bool remove)
{
    bool lives = false;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int pid;
        unsigned long long start;
        if (sscanf(e->d_name, HEIR "%d.%llu", &pid, &start) != 2)
            continue;
        lives |= start_time(pid) == start;
        if (remove)
            unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
    }
    if (dir)
        closedir(dir);
    return lives;
}

static bool write_to(const char *folder, const char *file, const char *text, int *ret_errno)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= PATH_MAX)
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) >= 0;
    *ret_errno = errno;
    if (fd >= 0)
        close(fd);
    return ok;
}

static void kill_each(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    FILE *file = fopen(path, "re");
    int pid;
    while (file && fscanf(file, "%d", &pid) == 1)
        if (pid > 1 && pid != getpid()) /* 0: of a pid namespace that is not ours */
            kill(pid, SIGKILL);
    if (file)
        fclose(file);
}

void rf_sweep_kill(const char *folder)
{
    int code;
    if (!write_to(folder, "cgroup.kill", "1", &code))
        kill_each(folder);
}

int rf_sweep_remove(const char *folder, int wait_ms)
{
    static const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    look_for_heirs(folder, true);
    for (int waited = 0;; waited += STEP_MS) {
        if (!rmdir(folder) || errno == ENOENT)
            return 0;
        if (errno != EBUSY || waited >= wait_ms)
            return -errno;
        rf_sweep_kill(folder);
        nanosleep(&step, NULL);
    }
}

int rf_sweep_parent(const char *parent, int wait_ms)
{
    int removed = 0;
    DIR *dir = opendir(parent);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[PATH_MAX];
        if (rf_sweep_is_left_over(e->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", parent, e->d_name) < PATH_MAX &&
            !look_for_heirs(path, false))
            removed += !rf_sweep_remove(path, wait_ms);
    }
    closedir(dir);
    return removed;
}

static int attach_one(const char *folder, pid_t pid)
{
    char text[16];
    int code = 0;
    snprintf(text, sizeof(text), "%d", pid);
    if (write_to(folder, "cgroup.procs", text, &code) || code == ESRCH)
        return 0;
    return -code;
}

/* What it forks from now on is inside; what it forked before is found here. */
static int attach_tree(const char *folder, pid_t pid, int depth, unsigned *seen)
{
    char path[64];
    int r = attach_one(folder, pid), child;
    ++*seen;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = r || depth == ATTACH_DEPTH_MAX ? NULL : opendir(path);
    for (struct dirent *e; tasks && !r && (e = readdir(tasks));) {
        char children[128];
        if (e->d_name[0] == '.')
            continue;
        snprintf(children, sizeof(children), "/proc/%d/task/%.20s/children", pid, e->d_name);
        FILE *file = fopen(children, "re");
        while (file && !r && fscanf(file, "%d", &child) == 1)
            r = attach_tree(folder, child, depth + 1, seen);
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return r;
}

int rf_sweep_attach(const char *folder, pid_t pid)
{
    unsigned before, seen = 0;
    int r, rounds = 0;
    /* Until nothing new is found: what forks meanwhile has moved already or is found in
     * the next round, and one that was orphaned hangs elsewhere in the tree then. */
    do {
        before = seen;
        seen = 0;
        r = attach_tree(folder, pid, 0, &seen);
    } while (!r && ++rounds < ATTACH_ROUNDS_MAX && (rounds < 2 || seen != before));
    return r;
}
