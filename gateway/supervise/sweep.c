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

static bool write_to(const char *folder, const char *file, const char *text)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= PATH_MAX)
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) >= 0;
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
    if (!write_to(folder, "cgroup.kill", "1"))
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

/* --- moving --- */

struct moving {
    int files[RF_SWEEP_FOLDERS_MAX]; /* cgroup.procs of each folder */
    size_t n_files;
    pid_t *pids; /* owned; those that have moved */
    size_t n, room;
};

static bool has_moved(const struct moving *m, pid_t pid)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->pids[i] == pid)
            return true;
    return false;
}

static int note_moved(struct moving *m, pid_t pid)
{
    if (m->n == m->room) {
        size_t room = m->room ? 2 * m->room : 64;
        pid_t *pids = reallocarray(m->pids, room, sizeof(*pids));
        if (!pids)
            return -ENOMEM;
        m->pids = pids;
        m->room = room;
    }
    m->pids[m->n++] = pid;
    return 0;
}

static int move_one(struct moving *m, pid_t pid)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", pid);
    if (has_moved(m, pid))
        return 0;
    for (size_t i = 0; i < m->n_files; i++)
        if (write(m->files[i], text, (size_t)n) < 0 && errno != ESRCH)
            return -errno;
    return note_moved(m, pid);
}

static int move_tree(struct moving *m, pid_t pid, int depth);

static int move_children(struct moving *m, pid_t pid, const char *thread, int depth)
{
    char path[128];
    int r = 0, child;
    snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, thread);
    FILE *file = fopen(path, "re");
    while (file && !r && fscanf(file, "%d", &child) == 1)
        r = move_tree(m, child, depth + 1);
    if (file)
        fclose(file);
    return r;
}

/* What it forks from now on is inside; what it forked before is found here. */
static int move_tree(struct moving *m, pid_t pid, int depth)
{
    char path[64], thread[16];
    struct stat st;
    int r = move_one(m, pid);
    if (r || depth == ATTACH_DEPTH_MAX)
        return r;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    snprintf(thread, sizeof(thread), "%d", pid);
    if (!stat(path, &st) && st.st_nlink == 3) /* two, and one for each thread */
        return move_children(m, pid, thread, depth);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && !r && (e = readdir(tasks));)
        if (e->d_name[0] != '.')
            r = move_children(m, pid, e->d_name, depth);
    if (tasks)
        closedir(tasks);
    return r;
}

static int open_files(struct moving *m, char *const *folders)
{
    for (; *folders; folders++) {
        char path[PATH_MAX];
        if (m->n_files == RF_SWEEP_FOLDERS_MAX ||
            snprintf(path, sizeof(path), "%s/cgroup.procs", *folders) >= PATH_MAX)
            return -E2BIG;
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        m->files[m->n_files++] = fd;
    }
    return 0;
}

int rf_sweep_attach(char *const *folders, pid_t pid)
{
    struct moving m = {0};
    int r = open_files(&m, folders);
    size_t before;
    /* Until nothing new is found: what forks meanwhile has moved already or is found in
     * the next round, and one that was orphaned hangs elsewhere in the tree then. */
    for (int rounds = 0; !r && rounds < ATTACH_ROUNDS_MAX; rounds++) {
        before = m.n;
        r = move_tree(&m, pid, 0);
        if (m.n == before)
            break;
    }
    while (m.n_files)
        close(m.files[--m.n_files]);
    free(m.pids);
    return r;
}
