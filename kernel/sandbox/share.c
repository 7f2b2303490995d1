/* See share.h. */
#include "kernel/sandbox/share.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <sched.h>
#include <signal.h>

#define STACK_SIZE (256 << 10)

/* What runs there does not return, so a sanitizer would take its frames, and those around
 * the stack, for ones in use. */
__attribute__((no_sanitize_address)) pid_t rf_share_memory(int flags, int (*run)(void *), void *arg)
{
    char stack[STACK_SIZE] __attribute__((aligned(16)));
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* a handler would run on both's memory */
    pid_t pid = clone(run, stack + STACK_SIZE, flags | CLONE_VM | CLONE_VFORK | SIGCHLD, arg);
    int code = pid < 0 ? -errno : 0;
    ASAN_UNPOISON_MEMORY_REGION(stack, STACK_SIZE);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return code ? code : pid;
}
