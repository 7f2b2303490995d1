/* See network.h. */
#include "gateway/supervise/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringfence/policy.h>

#include "common/cleanup.h"

#define REFUSED_MAX 64

struct refused {
    uint32_t address; /* network order */
    uint8_t bits;
};

struct refused_list {
    struct refused items[REFUSED_MAX];
    size_t n;
};

static void refuse(struct refused_list *list, const char *address, uint8_t bits)
{
    struct in_addr in;
    if (list->n < REFUSED_MAX && inet_pton(AF_INET, address, &in) == 1)
        list->items[list->n++] = (struct refused){in.s_addr, bits};
}

/* What no kernel reaches, whatever its network allows otherwise. */
static void list_refused(struct refused_list *list)
{
    refuse(list, "169.254.0.0", 16);    /* link-local, and there most clouds' metadata */
    refuse(list, "100.100.100.200", 32); /* metadata, Alibaba */
    refuse(list, "192.0.0.192", 32);     /* Oracle */
    refuse(list, "168.63.129.16", 32);   /* Azure's host */
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all))
        return;
    for (struct ifaddrs *each = all; each; each = each->ifa_next) {
        if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET ||
            (each->ifa_flags & IFF_LOOPBACK))
            continue;
        struct sockaddr_in in;
        memcpy(&in, each->ifa_addr, sizeof(in));
        if (list->n < REFUSED_MAX)
            list->items[list->n++] = (struct refused){in.sin_addr.s_addr, 32};
    }
    freeifaddrs(all);
}

int rf_network_find(struct rf_network_tool *ret, struct rf_error *err)
{
    static const char *const names[] = {"slirp4netns", "pasta"}; /* 1 MB a kernel; 19 */
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/bin"};
    if (access("/dev/net/tun", R_OK | W_OK))
        return rf_error_errno(err, -errno, "/dev/net/tun cannot be opened (in a container: give it "
                                           "that device; else: chmod 666 /dev/net/tun)");
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++) {
            struct stat st;
            snprintf(ret->program, sizeof(ret->program), "%s/%s", folders[j], names[i]);
            ret->slirp = i == 0;
            if (!stat(ret->program, &st) && !(st.st_mode & (S_ISUID | S_ISGID)) &&
                !access(ret->program, X_OK))
                return 0;
        }
    return rf_error_set(err, -ENOENT, "neither slirp4netns nor pasta is installed (apt install slirp4netns)");
}

/* --- in a child: async-signal-safe calls only --- */

struct route_request {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr attribute;
    uint32_t address;
};

static int add_unreachable(int netlink, const struct refused *refused)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    struct route_request request = {
        .header = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_NEWROUTE,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
        .route = {.rtm_family = AF_INET, .rtm_dst_len = refused->bits, .rtm_table = RT_TABLE_MAIN,
                  .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNREACHABLE},
        .attribute = {.rta_len = RTA_LENGTH(4), .rta_type = RTA_DST},
        .address = refused->address,
    };
    if (send(netlink, &request, sizeof(request), 0) < 0)
        return -errno;
    ssize_t n = recv(netlink, &answer, sizeof(answer), 0);
    if (n < (ssize_t)(sizeof(answer.header) + sizeof(int)))
        return -EIO;
    return answer.error.error == -EEXIST ? 0 : answer.error.error;
}

/* What the child works by.  Pasta of root gives up the power to look at other users'
 * processes before it opens the namespace of one: the door is a process of its own
 * user, without powers, that is in there. */
struct job {
    const struct rf_network_tool *tool;
    const struct refused_list *list;
    pid_t target;
    int user, net; /* its namespaces; user -1: the gateway's own */
    bool door;
};

static int enter_and_refuse(const struct job *job)
{
    if ((job->user >= 0 && setns(job->user, CLONE_NEWUSER)) || setns(job->net, CLONE_NEWNET))
        return -errno;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int r = netlink < 0 ? -errno : 0;
    for (size_t i = 0; !r && i < job->list->n; i++)
        r = add_unreachable(netlink, &job->list->items[i]);
    return r;
}

/* Tells of the first interface that comes. */
static int watch_interfaces(void)
{
    struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return bind(netlink, (struct sockaddr *)&links, sizeof(links)) ? -errno : netlink;
}

/* For a door, which stays until the tool is in, or has ended. */
static int stay(pid_t tool)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    int links = watch_interfaces();
    if (links < 0)
        return links;
    if (syscall(SYS_capset, &header, none) || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != tool)
        return -errno;
    return links;
}

/* The routes are set by a process of its own, since joining cannot be undone. */
static void join(const struct job *job, pid_t tool, int report)
{
    char message[4096];
    int code = enter_and_refuse(job), links = -1;
    if (!code && job->door) {
        links = stay(tool);
        code = links < 0 ? links : 0;
    }
    (void)!write(report, &code, sizeof(code));
    if (links >= 0)
        (void)!recv(links, message, sizeof(message), 0);
    _exit(0);
}

static void execute(const struct job *job, pid_t door)
{
    char target[48];
    char *none[] = {NULL};
    const char *program = job->tool->program;
    snprintf(target, sizeof(target), door ? "--netns=/proc/%d/ns/net" : "%d",
             door ? door : job->target);
    const char *slirp[] = {program, "--configure", "--mtu=65520", "--disable-host-loopback",
                           "--enable-seccomp", target, "tap0",
                           geteuid() ? NULL : "--enable-sandbox", NULL}; /* as uid 0 of the target */
    const char *pasta[] = {program, "-q", "-f", "--config-net", "--no-map-gw", "-4",
                           "-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2",
                           "--dns-forward", RF_NETWORK_DNS, "-t", "none", "-u", "none",
                           "-T", "none", "-U", "none", target, "--no-netns-quit",
                           geteuid() ? NULL : "--runas", "0", NULL}; /* root: else it changes */
    execve(program, (char *const *)(job->tool->slirp ? slirp : pasta), none);
}

static void run_tool(const struct job *job, int report)
{
    int ends[2], code = 0;
    sigset_t signals;
    sigemptyset(&signals);
    sigprocmask(SIG_SETMASK, &signals, NULL);
    signal(SIGPIPE, SIG_DFL); /* pasta of 2023 takes another handler than this for an error */
    pid_t self = getpid(), pid = pipe2(ends, O_CLOEXEC) ? -1 : fork();
    if (!pid)
        join(job, self, ends[1]);
    if (pid > 0)
        close(ends[1]);
    if (pid < 0)
        code = -errno;
    else if (read(ends[0], &code, sizeof(code)) != (ssize_t)sizeof(code))
        code = -EIO;
    if (!job->door)
        while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    if (!code) {
        setsid();
        execute(job, job->door ? pid : 0);
        code = -errno;
    }
    (void)!write(report, &code, sizeof(code));
    _exit(1);
}

/* --- in the gateway --- */

static bool is_same_file(int fd, const char *path)
{
    struct stat a, b;
    return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int open_namespace(pid_t pid, const char *kind)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Its output goes nowhere, its complaints to `words`. */
static void start(const struct job *job, int words, int report)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(fd < 2 ? null : words, fd);
    run_tool(job, report);
}

static int start_child(const struct job *job, struct rf_network_helper *ret, struct rf_error *err)
{
    int ends[2], words[2], code = 0;
    if (pipe2(words, O_CLOEXEC | O_NONBLOCK))
        return rf_error_errno(err, -errno, "cannot start %s", job->tool->program);
    RF_AUTO(rf_closep) int to_read = words[0];
    RF_AUTO(rf_closep) int to_write = words[1];
    if (pipe2(ends, O_CLOEXEC))
        return rf_error_errno(err, -errno, "cannot start %s", job->tool->program);
    pid_t child = fork();
    if (!child)
        start(job, to_write, ends[1]);
    close(ends[1]);
    RF_AUTO(rf_closep) int report = ends[0];
    RF_AUTO(rf_closep) int pidfd = child < 0 ? -1 : (int)syscall(SYS_pidfd_open, child, 0);
    if (pidfd < 0)
        code = -errno;
    /* End of file: it was executed.  A few milliseconds, and only then is it known. */
    else if (read(report, &code, sizeof(code)) != (ssize_t)sizeof(code))
        code = 0;
    if (!code) {
        *ret = (struct rf_network_helper){child, rf_steal_fd(&pidfd), rf_steal_fd(&to_read)};
        return 0;
    }
    if (child > 0)
        kill(child, SIGKILL);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return rf_error_errno(err, code, "cannot start %s", job->tool->program);
}

int rf_network_attach(const struct rf_network_tool *tool, pid_t pid, struct rf_network_helper *ret,
                      struct rf_error *err)
{
    struct refused_list list = {.n = 0};
    RF_AUTO(rf_closep) int net = open_namespace(pid, "net");
    RF_AUTO(rf_closep) int user = open_namespace(pid, "user");
    if (net < 0 || user < 0)
        return rf_error_errno(err, net < 0 ? net : user, "cannot open the kernel's namespaces");
    if (is_same_file(net, "/proc/self/ns/net"))
        return rf_error_set(err, -EXDEV, "the kernel has no network namespace of its own");
    list_refused(&list);
    bool own_user = !is_same_file(user, "/proc/self/ns/user");
    struct job job = {.tool = tool, .list = &list, .target = pid, .user = own_user ? user : -1,
                      .net = net, .door = !own_user && !tool->slirp};
    return start_child(&job, ret, err);
}

void rf_network_words(const struct rf_network_helper *helper, char *ret, size_t size)
{
    ssize_t n = read(helper->words, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';
    for (char *c = ret; *c; c++)
        *c = *c >= ' ' && *c != 0x7f ? *c : ' ';
}

void rf_network_detach(struct rf_network_helper *helper)
{
    if (!helper->pid)
        return;
    syscall(SYS_pidfd_send_signal, helper->pidfd, SIGKILL, NULL, 0);
    rf_closep(&helper->pidfd);
    rf_closep(&helper->words);
    helper->pid = 0;
}
