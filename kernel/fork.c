/* See fork.h. */
#include "kernel/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

unsigned rf_count_tasks(void)
{
    struct stat st; /* a directory has one link per sub-directory, and two of its own */
    if (stat("/proc/self/task", &st) || st.st_nlink < 3)
        return 0;
    return (unsigned)st.st_nlink - 2;
}

/* glibc keeps the thread id in the thread's descriptor and tells the kernel
 * the address; fork() refreshes it, and so must whoever calls clone(). */
static int *tid_address(void)
{
    int *address = NULL;
    return prctl(PR_GET_TID_ADDRESS, &address) ? NULL : address;
}

static pid_t clone_sibling(int *tid)
{
    long flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
#if defined(__x86_64__)
    long pid = syscall(SYS_clone, flags, 0L, 0L, tid, 0L);
#else /* CONFIG_CLONE_BACKWARDS: aarch64, arm, riscv ... */
    long pid = syscall(SYS_clone, flags, 0L, 0L, 0L, tid);
#endif
    return pid < 0 ? (pid_t)-errno : (pid_t)pid;
}

static pid_t fork_twice(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    pid_t middle = fork();
    if (middle < 0) {
        int r = -errno;
        close(ends[0]);
        close(ends[1]);
        return r;
    }
    if (!middle) {
        pid_t twin = fork();
        if (!twin) {
            close(ends[0]);
            close(ends[1]);
            return 0;
        }
        pid_t result = twin < 0 ? -errno : twin;
        (void)!write(ends[1], &result, sizeof(result));
        _exit(0);
    }
    close(ends[1]);
    pid_t result = -EIO;
    ssize_t n;
    do
        n = read(ends[0], &result, sizeof(result));
    while (n < 0 && errno == EINTR);
    if (n != sizeof(result))
        result = -EIO;
    close(ends[0]);
    while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
        ;
    return result;
}

pid_t rf_fork_sibling(void)
{
    int *tid = tid_address();
    if (tid && rf_count_tasks() == 1)
        return clone_sibling(tid);
    return fork_twice();
}

static uint64_t *generation_page;

int rf_generation_set(uint64_t generation)
{
    if (!generation_page) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            return -errno;
        if (madvise(page, 4096, MADV_WIPEONFORK)) {
            int r = -errno;
            munmap(page, 4096);
            return r;
        }
        generation_page = page;
    }
    *generation_page = generation;
    return 0;
}

uint64_t rf_generation(void)
{
    return generation_page ? *generation_page : 0;
}
