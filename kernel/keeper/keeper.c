/* ringfence-keeper: pid 1 of a sandbox.
 *
 * A small static program that the zygote's child executes once the first
 * worker is forked; so it holds none of Python's memory.  It makes the walls around
 * both (walls.h).  Then it reaps everything in its pid namespace, answers for the processes that the gateway named (see
 * ringfence/keeper.h), and ends with all of them when the gateway closes its
 * socket.  Without a pid namespace it is the subreaper of its descendants and
 * kills those instead.
 *
 * Linux takes down a process's memory before it tells the parent of its end, which takes
 * 60 ms and more for a gigabyte of small pages.  So while a large worker runs a cell, this
 * process looks whether it is on its way out.  (A robust futex would tell at once, but its
 * list would lie in memory that others in the sandbox can write to.)
 *
 * Single-threaded, and when the walls stand without allocation and not dumpable.  It
 * trusts the gateway, and nothing that runs in the sandbox.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringfence/keeper.h>

#include "kernel/keeper/start.h"
#include "kernel/keeper/walls.h"

#define NAMED_MAX 4096 /* workers, checkpoints and answers alive at one time, of all branches */
#define ENDED_MAX 64  /* children that ended before the gateway named them */
#define WATCH_MS 5
#define PF_EXITING 0x4u /* of the flags in /proc/PID/stat */
#define SWEEPS_MAX 50 /* rounds of killing a session that goes on forking */

struct named {
    uint64_t id;
    pid_t pid;
    bool watched;
};

struct ended {
    pid_t pid;
    int status;
};

static struct named named[NAMED_MAX];
static size_t n_named;
static struct ended ended[ENDED_MAX]; /* a ring */
static size_t n_ended;
static unsigned n_watched;
static int gateway = -1;

static void say(uint32_t op, uint64_t id, pid_t pid, int value, const char *text)
{
    struct rf_keeper_msg msg = {.op = op, .pid = pid, .id = id, .value = value};
    if (text)
        snprintf(msg.text, sizeof(msg.text), "%s", text);
    while (send(gateway, &msg, sizeof(msg), MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static struct named *by_id(uint64_t id)
{
    for (size_t i = 0; i < n_named; i++)
        if (named[i].id == id)
            return &named[i];
    return NULL;
}

static struct named *by_pid(pid_t pid)
{
    for (size_t i = 0; i < n_named; i++)
        if (named[i].pid == pid)
            return &named[i];
    return NULL;
}

/* The fields of /proc/PID/stat by their numbers in proc(5). */
enum { STATE = 3, PARENT = 4, SESSION = 6, FLAGS = 9, THREADS = 20, EXIT_CODE = 52, FIELDS };

/* Of a process, or of a thread: PID/task/TID.  The name in parentheses is the process's own
 * choice, so the last ')' counts. */
static bool read_stat(const char *of, long long ret[FIELDS])
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%s/stat", of);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *at = strrchr(text, ')');
    if (!at || strlen(at) < 4)
        return false;
    ret[STATE] = at[2];
    at += 3;
    for (int field = PARENT; field < FIELDS; field++)
        ret[field] = strtoll(at, &at, 10);
    return true;
}

/* One round of SIGKILL to all of a session but its leader, or, with session 0,
 * to all children of this process.  Returns how many it found. */
static size_t sweep(pid_t session)
{
    size_t found = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        long long its[FIELDS];
        if (*end || pid <= 1 || pid == getpid() || !read_stat(e->d_name, its) || its[STATE] == 'Z')
            continue;
        bool hit = session ? its[SESSION] == session && pid != session : its[PARENT] == getpid();
        if (hit && !kill((pid_t)pid, SIGKILL))
            found++;
    }
    closedir(dir);
    return found;
}

/* Where the machine refused a new /proc, this is another's, whose numbers mean
 * other processes here. */
static bool proc_is_ours(void)
{
    char text[16] = "";
    return readlink("/proc/self", text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) == getpid();
}

static void sweep_all(pid_t session)
{
    kill(-session, SIGKILL); /* its own group, at once and without /proc */
    if (!proc_is_ours())
        return;
    for (int i = 0; i < SWEEPS_MAX && sweep(session); i++)
        ;
}

static void watch(struct named *worker, bool on)
{
    n_watched += (unsigned)on - (unsigned)worker->watched;
    worker->watched = on;
}

/* Not the first thread alone, which may end before the others. */
static bool all_threads_exit(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    bool all = dir;
    for (struct dirent *e; all && (e = readdir(dir));) {
        long long its[FIELDS];
        snprintf(path, sizeof(path), "%d/task/%.20s", pid, e->d_name);
        if (e->d_name[0] != '.' && read_stat(path, its))
            all = its[FLAGS] & PF_EXITING;
    }
    if (dir)
        closedir(dir);
    return all;
}

static void look_at(struct named *worker)
{
    long long its[FIELDS];
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", worker->pid);
    /* A code of 0 may be one that is not known yet, or not to be known. */
    if (!read_stat(pid, its) || !(its[FLAGS] & PF_EXITING) || !its[EXIT_CODE] ||
        (its[THREADS] > 1 && !all_threads_exit(worker->pid)))
        return;
    watch(worker, false);
    sweep_all(worker->pid);
    say(RF_KEEPER_DYING, worker->id, worker->pid, (int)its[EXIT_CODE], NULL);
}

static void reap_one(pid_t pid)
{
    struct named *worker = by_pid(pid);
    int status = 0;
    if (worker) /* before the reaping: until then its pid names its session and nobody else */
        sweep_all(pid);
    if (waitpid(pid, &status, WNOHANG) != pid)
        return;
    if (!worker) {
        ended[n_ended++ % ENDED_MAX] = (struct ended){pid, status};
        return;
    }
    uint64_t id = worker->id;
    watch(worker, false);
    *worker = named[--n_named];
    say(RF_KEEPER_DIED, id, pid, status, NULL);
}

static void reap(void)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
            return;
        reap_one(info.si_pid);
    }
}

/* The children that live are asked first: a number among the ended may have
 * come round again. */
static void adopt(uint64_t id, pid_t pid)
{
    siginfo_t info = {0};
    bool child = pid > 1 && !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    for (size_t i = 0; !child && i < ENDED_MAX; i++) {
        if (ended[i].pid == pid && pid > 0) {
            say(RF_KEEPER_DIED, id, pid, ended[i].status, NULL);
            ended[i].pid = 0;
            return;
        }
    }
    if (!child || by_pid(pid) || n_named == NAMED_MAX) {
        say(RF_KEEPER_DIED, id, pid, SIGKILL, "no such child");
        return;
    }
    named[n_named++] = (struct named){id, pid, false};
    reap(); /* it may have ended already, and its SIGCHLD was taken before */
}

static void obey(const struct rf_keeper_msg *msg)
{
    struct named *worker = by_id(msg->id);
    switch (msg->op) {
    case RF_KEEPER_ADOPT:
        adopt(msg->id, msg->pid);
        break;
    case RF_KEEPER_SIGNAL:
        if (worker)
            kill(-worker->pid, msg->value);
        break;
    case RF_KEEPER_KILL:
        if (worker)
            kill(worker->pid, SIGKILL);
        break;
    case RF_KEEPER_WATCH:
        if (worker)
            watch(worker, msg->value && proc_is_ours());
        break;
    default: /* a later gateway's order: the build is the same, so this cannot come */
        break;
    }
}

static void end(void)
{
    if (getpid() == 1) {
        kill(-1, SIGKILL);
    } else {
        for (size_t i = 0; i < n_named; i++) {
            sweep_all(named[i].pid);
            kill(named[i].pid, SIGKILL);
        }
        for (int i = 0; i < SWEEPS_MAX && sweep(0); i++)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
    }
    _exit(0);
}

static void read_orders(void)
{
    for (;;) {
        struct rf_keeper_msg msg;
        ssize_t n = recv(gateway, &msg, sizeof(msg), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(msg))
            obey(&msg);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else
            end();
    }
}

int main(int argc, char **argv)
{
    struct rf_walls walls;
    if (argc != RF_KEEPER_ARGS) {
        fprintf(stderr, "ringfence-keeper is started by the zygote, not by hand\n");
        return 2;
    }
    rf_walls_make(argv, &walls);
    prctl(PR_SET_NAME, "ringfence-keepr");
    if (getpid() != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    gateway = walls.gateway;
    named[n_named++] = (struct named){walls.generation, walls.worker, false};

    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    for (;;) {
        reap();
        struct pollfd wait[2] = {{gateway, POLLIN, 0}, {signals, POLLIN, 0}};
        int ready = poll(wait, 2, n_watched ? WATCH_MS : -1);
        if (ready < 0 && errno != EINTR)
            end();
        for (size_t i = 0; n_watched && !ready && i < n_named; i++)
            if (named[i].watched)
                look_at(&named[i]);
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof(info)) > 0)
            ;
        if (wait[0].revents)
            read_orders();
    }
}
