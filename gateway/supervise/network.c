/* See network.h. */
#include "gateway/supervise/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
    static const char *const names[] = {"pasta", "slirp4netns"};
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/bin"};
    if (access("/dev/net/tun", R_OK | W_OK))
        return rf_error_errno(err, -errno, "/dev/net/tun cannot be opened (in a container: give it "
                                           "that device; else: chmod 666 /dev/net/tun)");
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++) {
            snprintf(ret->program, sizeof(ret->program), "%s/%s", folders[j], names[i]);
            ret->slirp = i == 1;
            if (!access(ret->program, X_OK))
                return 0;
        }
    return rf_error_set(err, -ENOENT, "neither pasta nor slirp4netns is installed (apt install passt)");
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

static int enter_and_refuse(int user, int net, const struct refused_list *list)
{
    if ((user >= 0 && setns(user, CLONE_NEWUSER)) || setns(net, CLONE_NEWNET))
        return -errno;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int r = netlink < 0 ? -errno : 0;
    for (size_t i = 0; !r && i < list->n; i++)
        r = add_unreachable(netlink, &list->items[i]);
    return r;
}

/* The routes are set by a process of their own: joining cannot be undone. */
static void run_tool(int user, int net, const struct refused_list *list, char *const *argv, int report)
{
    char *none[] = {NULL};
    int status = 0;
    sigset_t signals;
    sigemptyset(&signals);
    sigprocmask(SIG_SETMASK, &signals, NULL);
    pid_t pid = fork();
    if (!pid)
        _exit(-enter_and_refuse(user, net, list) & 0x7f);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int code = pid < 0 ? errno : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    if (!code) {
        setsid();
        execve(argv[0], argv, none);
        code = errno;
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

static void start(const struct rf_network_tool *tool, pid_t pid, int user, int net,
                  const struct refused_list *list, int report)
{
    char target[16];
    snprintf(target, sizeof(target), "%d", pid);
    const char *pasta[] = {tool->program, "-q", "-f", "--config-net", "--no-map-gw", "-4",
                           "-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2",
                           "--dns-forward", "10.0.2.3", "-t", "none", "-u", "none",
                           "-T", "none", "-U", "none", target, "--runas", "0", NULL};
    const char *slirp[] = {tool->program, "--configure", "--mtu=65520", "--disable-host-loopback",
                           "--enable-sandbox", "--enable-seccomp", target, "tap0", NULL};
    if (geteuid())
        pasta[sizeof(pasta) / sizeof(*pasta) - 3] = NULL; /* it would refuse to be root otherwise */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    run_tool(user, net, list, (char *const *)(tool->slirp ? slirp : pasta), report);
}

pid_t rf_network_attach(const struct rf_network_tool *tool, pid_t pid, struct rf_error *err)
{
    struct refused_list list = {.n = 0};
    int ends[2], code = 0;
    RF_AUTO(rf_closep) int net = open_namespace(pid, "net");
    RF_AUTO(rf_closep) int user = open_namespace(pid, "user");
    if (net < 0 || user < 0)
        return rf_error_errno(err, net < 0 ? net : user, "cannot open the kernel's namespaces");
    if (is_same_file(net, "/proc/self/ns/net"))
        return rf_error_set(err, -EXDEV, "the kernel has no network namespace of its own");
    list_refused(&list);
    if (pipe2(ends, O_CLOEXEC))
        return rf_error_errno(err, -errno, "cannot start %s", tool->program);
    pid_t child = fork();
    if (!child)
        start(tool, pid, is_same_file(user, "/proc/self/ns/user") ? -1 : user, net, &list, ends[1]);
    close(ends[1]);
    RF_AUTO(rf_closep) int report = ends[0];
    if (child < 0)
        return rf_error_errno(err, -errno, "cannot start %s", tool->program);
    /* End of file: it was executed.  A few milliseconds, and only then is it known. */
    if (read(report, &code, sizeof(code)) != (ssize_t)sizeof(code))
        return child;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return rf_error_errno(err, -code, "cannot start %s", tool->program);
}
