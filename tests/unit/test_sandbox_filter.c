/* kernel/sandbox/filter: which calls a confined process may make, and what it is told. */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/sandbox/filter.h"

static struct rf_filters *filters;

struct call {
    const char *what;
    long number;
    long arguments[6];
    int want; /* errno; 0: it goes through, whatever the machine then says */
};

/* Exit status: the errno, 0 for success. */
static int make_call(const struct call *call, bool keeper)
{
    pid_t pid = fork();
    if (!pid) {
        const long *a = call->arguments;
        int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        r = r ? r : keeper ? rf_filters_load_keeper(filters) : rf_filters_load_worker(filters, 0);
        if (r)
            _exit(255);
        long result = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        syscall(SYS_exit_group, result < 0 ? errno : 0); /* a sanitizer's _exit() calls more */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("%s: wait status %#x", call->what, (unsigned)status);
    return WEXITSTATUS(status);
}

static void check_calls(const struct call *calls, size_t n, bool keeper)
{
    for (size_t i = 0; i < n; i++) {
        int got = make_call(&calls[i], keeper);
        bool bad = calls[i].want ? got != calls[i].want
                                 : got == EPERM || got == ENOSYS || got == EAFNOSUPPORT;
        if (bad)
            fail_msg("%s: got %s, want %s", calls[i].what, strerrorname_np(got),
                     calls[i].want ? strerrorname_np(calls[i].want) : "that it goes through");
    }
}

#define REFUSED(name, ...) {#name, SYS_##name, {__VA_ARGS__}, EPERM}
#define UNKNOWN(name, ...) {#name, SYS_##name, {__VA_ARGS__}, ENOSYS}
#define THROUGH(name, ...) {#name, SYS_##name, {__VA_ARGS__}, 0}
#define HIGH (1L << 40)

static void test_refused(void **state)
{
    static const struct call calls[] = {
        REFUSED(mount, 0), REFUSED(umount2, 0), REFUSED(pivot_root, 0), REFUSED(chroot, 0),
        REFUSED(unshare, CLONE_NEWUSER), REFUSED(unshare, 0), REFUSED(setns, 0),
        REFUSED(open_tree, 0), REFUSED(move_mount, 0), REFUSED(fsopen, 0), REFUSED(fsmount, 0),
        REFUSED(fsconfig, 0), REFUSED(fspick, 0), REFUSED(mount_setattr, 0),
        REFUSED(open_by_handle_at, 0), REFUSED(ptrace, 0), REFUSED(process_vm_readv, 0),
        REFUSED(process_vm_writev, 0), REFUSED(kcmp, 0), REFUSED(pidfd_getfd, 0), REFUSED(bpf, 0),
        REFUSED(perf_event_open, 0), REFUSED(userfaultfd, 0), REFUSED(keyctl, 0), REFUSED(add_key, 0),
        REFUSED(request_key, 0), REFUSED(kexec_load, 0), REFUSED(init_module, 0),
        REFUSED(finit_module, 0), REFUSED(delete_module, 0), REFUSED(quotactl, 0), REFUSED(swapon, 0),
        REFUSED(swapoff, 0), REFUSED(reboot, 0), REFUSED(settimeofday, 0), REFUSED(clock_settime, 0),
        REFUSED(adjtimex, 0), REFUSED(sethostname, 0), REFUSED(syslog, 0), REFUSED(acct, 0),
        REFUSED(vhangup, 0), REFUSED(fanotify_init, 0), REFUSED(move_pages, 0),
#if defined(__x86_64__)
        REFUSED(iopl, 0), REFUSED(ioperm, 0), REFUSED(modify_ldt, 0), REFUSED(lookup_dcookie, 0),
        REFUSED(uselib, 0),
#endif
    };
    check_calls(calls, COUNT_OF(calls), false);
}

/* A library that tries these falls back to older ones. */
static void test_unknown(void **state)
{
    static const struct call calls[] = {
        UNKNOWN(clone3, 0),
        UNKNOWN(io_uring_setup, 0),
        UNKNOWN(io_uring_enter, 0),
        UNKNOWN(io_uring_register, 0),
        UNKNOWN(personality, 0x0040000), /* ADDR_NO_RANDOMIZE */
        {"a call to come", 600, {0}, ENOSYS},
        {"a call that is none", 100000, {0}, ENOSYS},
    };
    check_calls(calls, COUNT_OF(calls), false);
}

static void test_arguments(void **state)
{
    static const struct call calls[] = {
        REFUSED(clone, CLONE_NEWUSER | SIGCHLD),
        REFUSED(clone, CLONE_NEWNS | SIGCHLD),
        REFUSED(clone, CLONE_NEWPID | SIGCHLD),
        REFUSED(clone, CLONE_NEWNET | CLONE_FS | SIGCHLD),
        REFUSED(clone, CLONE_NEWIPC | SIGCHLD),
        REFUSED(clone, CLONE_NEWUTS | SIGCHLD),
        REFUSED(clone, CLONE_NEWCGROUP | SIGCHLD),
        REFUSED(ioctl, 0, TIOCSTI),
        REFUSED(ioctl, 0, TIOCSTI | HIGH), /* the machine looks at the low half */
        REFUSED(ioctl, 0, 0x541C),
        THROUGH(ioctl, -1, FIONREAD),
        THROUGH(personality, 0xffffffff),
        THROUGH(personality, 0),
    };
    check_calls(calls, COUNT_OF(calls), false);
}

static void test_sockets(void **state)
{
    static const struct {
        long domain, type, protocol;
        int want;
    } rows[] = {
        {AF_UNIX, SOCK_STREAM, 0, 0},
        {AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0},
        {AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, 0},
        {AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0},
        {AF_INET, SOCK_STREAM, IPPROTO_TCP, 0},
        {AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0},
        {AF_NETLINK, SOCK_RAW, 0, 0},
        {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0, 0},
        {AF_INET, SOCK_RAW, IPPROTO_ICMP, EPERM},
        {AF_INET, SOCK_RAW | SOCK_CLOEXEC, 255, EPERM},
        {AF_INET6, SOCK_RAW, 58, EPERM},
        {AF_INET, SOCK_STREAM, 132, EPERM}, /* SCTP */
        {AF_INET, SOCK_SEQPACKET, 132, EPERM},
        {AF_INET, SOCK_DCCP, 33, EPERM},
        {AF_INET, SOCK_STREAM, 262, EPERM}, /* MPTCP */
        {AF_NETLINK, SOCK_RAW, 9, EPERM},   /* audit */
        {AF_NETLINK, SOCK_RAW, 15, EPERM},  /* uevents */
        {AF_PACKET, SOCK_RAW, 0, EAFNOSUPPORT},
        {AF_VSOCK, SOCK_STREAM, 0, EAFNOSUPPORT},
        {AF_ALG, SOCK_SEQPACKET, 0, EAFNOSUPPORT},
        {AF_XDP, SOCK_RAW, 0, EAFNOSUPPORT},
        {AF_BLUETOOTH, SOCK_RAW, 3, EAFNOSUPPORT},
        {AF_CAN, SOCK_RAW, 1, EAFNOSUPPORT},
        {AF_TIPC, SOCK_STREAM, 0, EAFNOSUPPORT},
        {AF_KEY, SOCK_RAW, 2, EAFNOSUPPORT},
        {AF_RDS, SOCK_SEQPACKET, 0, EAFNOSUPPORT},
        {AF_UNSPEC, SOCK_STREAM, 0, EAFNOSUPPORT},
        {AF_APPLETALK, SOCK_DGRAM, 0, EAFNOSUPPORT},
        {AF_PACKET | HIGH, SOCK_RAW, 0, EAFNOSUPPORT},
        {AF_INET | HIGH, SOCK_RAW, 1, EAFNOSUPPORT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char what[64];
        snprintf(what, sizeof(what), "socket(%ld, %ld, %ld)", rows[i].domain, rows[i].type,
                 rows[i].protocol);
        struct call call = {what, SYS_socket, {rows[i].domain, rows[i].type, rows[i].protocol},
                            rows[i].want};
        check_calls(&call, 1, false);
    }
}

#if defined(__x86_64__)
static int call_i386(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return (int)-result;
}

static void test_other_abis(void **state)
{
    struct call x32 = {"x32 getpid", 0x40000000 + SYS_getpid, {0}, ENOSYS};
    struct call x32_ptrace = {"x32 ptrace", 0x40000000 + 521, {0}, ENOSYS};
    check_calls(&x32, 1, false);
    check_calls(&x32_ptrace, 1, false);
    pid_t pid = fork();
    if (!pid) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || rf_filters_load_worker(filters, 0))
            _exit(255);
        _exit(call_i386());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* SIGSEGV: a machine without that ABI */
    bool refused = WIFEXITED(status) ? WEXITSTATUS(status) == ENOSYS : WTERMSIG(status) == SIGSEGV;
    if (!refused)
        fail_msg("int $0x80: wait status %#x", (unsigned)status);
}
#endif

static void test_no_internet(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        pid_t pid = fork();
        if (!pid) {
            if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || rf_filters_load_worker(filters, RF_FILTER_INTERNET))
                _exit(255);
            if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
                _exit(254);
            _exit(socket(families[i], SOCK_STREAM, 0) < 0 ? errno : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), EAFNOSUPPORT);
    }
}

static void test_memory_that_nobody_sees(void **state)
{
    static const struct {
        unsigned without;
        int want;
    } cases[] = {{0, 0}, {RF_FILTER_UNSEEN, ENOSYS}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int status;
        pid_t pid = fork();
        if (!pid) {
            if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
                rf_filters_load_worker(filters, cases[i].without))
                _exit(255);
            int memfd = memfd_create("x", MFD_CLOEXEC) < 0 ? errno : 0;
            int segment = syscall(SYS_shmget, IPC_PRIVATE, 4096, 0600 | IPC_CREAT) < 0 ? errno : 0;
            _exit(memfd == segment ? memfd : 254);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), cases[i].want);
    }
}

static void test_keeper(void **state)
{
    static const struct call calls[] = {
        THROUGH(kill, 0, 0),
        THROUGH(getpid, 0),
        THROUGH(wait4, -1, 0, WNOHANG),
        REFUSED(socket, AF_UNIX, SOCK_STREAM),
        REFUSED(clone, SIGCHLD),
        REFUSED(ptrace, 0),
        REFUSED(mount, 0),
        REFUSED(unlinkat, 0),
        REFUSED(connect, 0),
        REFUSED(io_uring_setup, 0),
    };
    check_calls(calls, COUNT_OF(calls), true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory_that_nobody_sees),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_sockets),
#if defined(__x86_64__)
        cmocka_unit_test(test_other_abis),
#endif
        cmocka_unit_test(test_no_internet),
        cmocka_unit_test(test_keeper),
    };
    int r;
    filters = rf_filters_new(&r);
    if (!filters) {
        fprintf(stderr, "the filters cannot be made: %s\n", strerror(-r));
        return 1;
    }
    int failed = TESTS(tests);
    filters = rf_filters_free(filters);
    return failed;
}
