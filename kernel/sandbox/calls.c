/* See calls.h. */
#include "kernel/sandbox/calls.h"

const char rf_calls_allowed[] =
    /* files */
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown "
    "fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr "
    "fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd "
    "getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
    "ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr _llseek lremovexattr lseek "
    "lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat _newselect "
    "open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink "
    "readlinkat readv removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr "
    "splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range "
    "sync_file_range2 syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat "
    "utimensat_time64 utimes vmsplice write writev "
    /* waiting, pipes, sockets, events */
    "accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait "
    "epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 getpeername getsockname getsockopt "
    "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit listen pipe pipe2 poll ppoll "
    "ppoll_time64 pselect6 pselect6_time64 recv recvfrom recvmmsg recvmmsg_time64 recvmsg select "
    "send sendmmsg sendmsg sendto setsockopt shutdown signalfd signalfd4 socket socketcall "
    "socketpair timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64 "
    /* memory */
    "brk get_mempolicy madvise mbind membarrier memfd_create mincore mlock mlock2 mlockall mmap "
    "mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect "
    "remap_file_pages set_mempolicy "
    /* System V and POSIX IPC: of the sandbox's own namespace */
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget "
    "msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget "
    /* processes, threads, signals */
    "alarm arch_prctl capget capset clone execve execveat exit exit_group fork futex futex_time64 "
    "futex_waitv get_robust_list get_thread_area getegid getegid32 geteuid geteuid32 getgid "
    "getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid getppid getpriority getresgid "
    "getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 "
    "ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self "
    "nanosleep pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq "
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max "
    "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
    "sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area "
    "set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups "
    "setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid "
    "setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaction sigaltstack signal "
    "sigpending sigprocmask sigreturn sigsuspend tgkill timer_create timer_delete timer_getoverrun "
    "timer_gettime timer_gettime64 timer_settime timer_settime64 tkill ugetrlimit vfork wait4 waitid "
    "waitpid "
    /* the rest */
    "cacheflush clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
    "clock_nanosleep_time64 getcpu getrandom gettimeofday riscv_flush_icache sysinfo time times "
    "uname";

const char rf_calls_refused[] =
    /* other roots, mounts and namespaces */
    "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_by_handle_at "
    "open_tree pivot_root setns umount umount2 unshare "
    /* other processes */
    "kcmp migrate_pages move_pages pidfd_getfd process_madvise process_mrelease process_vm_readv "
    "process_vm_writev ptrace "
    /* the machine */
    "acct adjtimex bpf clock_adjtime clock_adjtime64 clock_settime clock_settime64 create_module "
    "delete_module fanotify_init fanotify_mark finit_module get_kernel_syms init_module ioperm iopl "
    "kexec_file_load kexec_load lookup_dcookie modify_ldt nfsservctl perf_event_open query_module "
    "quotactl quotactl_fd reboot setdomainname sethostname settimeofday stime swapoff swapon sysfs "
    "syslog uselib userfaultfd ustat vhangup "
    /* keys */
    "add_key keyctl request_key";

/* Memory that is in no process and on no mount while nobody maps it. */
const char rf_calls_unseen[] = "memfd_create memfd_secret shmget";

const char rf_calls_keeper[] =
    "brk close exit exit_group fcntl fstat futex getdents64 getpid getrandom kill lseek madvise mmap "
    "mprotect munmap newfstatat openat poll ppoll prctl read readlink readlinkat recvfrom "
    "rt_sigprocmask rt_sigreturn sendto signalfd4 wait4 waitid write fstatat64 fstat64 "
    "restart_syscall recv send";

const int rf_calls_newer[] = {
    451, /* cachestat */
    452, /* fchmodat2 */
    454, /* futex_wake */
    455, /* futex_wait */
    456, /* futex_requeue */
    462, /* mseal */
    463, /* setxattrat */
    464, /* getxattrat */
    465, /* listxattrat */
    466, /* removexattrat */
    0,
};
