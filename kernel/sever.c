/* See sever.h. */
#include "kernel/sever.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TTY_AUX_MAJOR 5 /* minor 2 is ptmx; UNIX98 terminals have the next eight */
#define PTMX_MINOR 2
#define PTS_MAJOR 136
#define PTS_MAJORS 8

static bool has_peer(const struct stat *st)
{
    if (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode))
        return true;
    unsigned number = S_ISCHR(st->st_mode) ? major(st->st_rdev) : 0;
    return (number == TTY_AUX_MAJOR && minor(st->st_rdev) == PTMX_MINOR) ||
           (number >= PTS_MAJOR && number < PTS_MAJOR + PTS_MAJORS);
}

/* A lock of the open file itself (flock, F_OFD_SETLK) goes with the copy. */
static bool is_locked(int fd)
{
    char path[40], text[1024];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
    if (info >= 0)
        close(info);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return strstr(text, "\nlock:") != NULL;
}

/* The same file with a lock and a position of its own; -1 if that cannot be. */
static int open_anew(int fd, int flags)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int anew = open(path, flags | O_CLOEXEC);
    if (anew >= 0)
        lseek(anew, lseek(fd, 0, SEEK_CUR), SEEK_SET);
    return anew;
}

static void replace(int fd, int with)
{
    int flags = fcntl(fd, F_GETFD);
    dup3(with, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

static void reopen(int fd, int flags, int dead)
{
    int anew = open_anew(fd, flags);
    replace(fd, anew < 0 ? dead : anew);
    if (anew >= 0)
        close(anew);
}

static void sever(int fd, int dead)
{
    struct stat st;
    if (fstat(fd, &st))
        return;
    if (has_peer(&st))
        replace(fd, dead);
    else if (S_ISREG(st.st_mode) && is_locked(fd))
        reopen(fd, fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), dead);
}

static void sever_file(int fd, int dead)
{
    struct stat st;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        reopen(fd, O_RDONLY, dead);
}

static void each_descriptor(int from, void (*act)(int fd, int dead))
{
    int pair[2];
    DIR *dir = opendir("/proc/self/fd");
    if (!dir || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        if (dir)
            closedir(dir);
        return;
    }
    close(pair[1]);
    for (struct dirent *e; (e = readdir(dir));) {
        int fd = (int)strtol(e->d_name, NULL, 10);
        if (fd >= from && fd != pair[0] && fd != dirfd(dir))
            act(fd, pair[0]);
    }
    close(pair[0]);
    closedir(dir);
}

void rf_sever_descriptors(int from)
{
    each_descriptor(from, sever);
}

void rf_sever_files(int from)
{
    each_descriptor(from, sever_file);
}
