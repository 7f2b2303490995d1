/* The making of the filters; libseccomp is seen here and nowhere else.  See filter.h. */
#include "kernel/sandbox/filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/calls.h"

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

#define REFUSE SCMP_ACT_ERRNO(EPERM)
#define NO_FAMILY SCMP_ACT_ERRNO(EAFNOSUPPORT)
#define UNKNOWN SCMP_ACT_ERRNO(ENOSYS)
#define LOW 0xffffffffu /* the machine looks at these bits of an int */

/* Arguments that are refused.  Numbers that the machine takes as int are compared
 * as 64 bits where what is above 32 makes them larger than all that is allowed. */
#define IS(argument, operator, value) {argument, operator, value, 0}
#define HAS(argument, mask, value) {argument, SCMP_CMP_MASKED_EQ, mask, value}
#define CLONE_REFUSED(flag) {SCMP_SYS(clone), REFUSE, 1, {HAS(0, flag, flag)}}
#define IOCTL_REFUSED(number) {SCMP_SYS(ioctl), REFUSE, 1, {HAS(1, LOW, number)}}
#define FAMILY_REFUSED(call, operator, family) \
    {SCMP_SYS(call), NO_FAMILY, 1, {IS(0, operator, family)}}
#define TYPE_REFUSED(family, type) \
    {SCMP_SYS(socket), REFUSE, 2, {IS(0, SCMP_CMP_EQ, family), HAS(1, 0xf, type)}}
#define PROTOCOL_REFUSED(family, operator, protocol) \
    {SCMP_SYS(socket), REFUSE, 2, {IS(0, SCMP_CMP_EQ, family), IS(2, operator, protocol)}}
/* AF_INET*: streams and datagrams of TCP, UDP and ICMP. */
#define INTERNET_RULES(family) \
    TYPE_REFUSED(family, 0), TYPE_REFUSED(family, SOCK_RAW), TYPE_REFUSED(family, SOCK_RDM), \
        TYPE_REFUSED(family, SOCK_SEQPACKET), TYPE_REFUSED(family, SOCK_DCCP), \
        TYPE_REFUSED(family, SOCK_PACKET), PROTOCOL_REFUSED(family, SCMP_CMP_GT, 58), \
        PROTOCOL_REFUSED(family, SCMP_CMP_EQ, 33)
/* AF_UNIX is 1, AF_INET 2, AF_INET6 10, AF_NETLINK 16. */
#define FAMILY_RULES(call) \
    FAMILY_REFUSED(call, SCMP_CMP_GT, AF_NETLINK), FAMILY_REFUSED(call, SCMP_CMP_EQ, 0), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 3), FAMILY_REFUSED(call, SCMP_CMP_EQ, 4), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 5), FAMILY_REFUSED(call, SCMP_CMP_EQ, 6), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 7), FAMILY_REFUSED(call, SCMP_CMP_EQ, 8), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 9), FAMILY_REFUSED(call, SCMP_CMP_EQ, 11), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 12), FAMILY_REFUSED(call, SCMP_CMP_EQ, 13), \
        FAMILY_REFUSED(call, SCMP_CMP_EQ, 14), FAMILY_REFUSED(call, SCMP_CMP_EQ, 15)

static const struct argument_rule {
    int call;
    uint32_t action;
    unsigned n;
    struct scmp_arg_cmp compare[2];
} argument_rules[] = {
    CLONE_REFUSED(CLONE_NEWUSER),
    CLONE_REFUSED(CLONE_NEWNS),
    CLONE_REFUSED(CLONE_NEWPID),
    CLONE_REFUSED(CLONE_NEWNET),
    CLONE_REFUSED(CLONE_NEWIPC),
    CLONE_REFUSED(CLONE_NEWUTS),
    CLONE_REFUSED(CLONE_NEWCGROUP),
    IOCTL_REFUSED(TIOCSTI), /* types into a terminal */
    IOCTL_REFUSED(TIOCLINUX),
    FAMILY_RULES(socket),
    FAMILY_RULES(socketpair),
    INTERNET_RULES(AF_INET),
    INTERNET_RULES(AF_INET6),
    PROTOCOL_REFUSED(AF_NETLINK, SCMP_CMP_NE, 0), /* 0 is NETLINK_ROUTE, for getaddrinfo() */
};

static int add_names(scmp_filter_ctx filter, const char *names, uint32_t action)
{
    char name[48];
    int n = 0, r = 0;
    for (; !r && sscanf(names, " %47s%n", name, &n) == 1; names += n) {
        int call = seccomp_syscall_resolve_name(name);
        if (call >= 0)
            r = seccomp_rule_add(filter, action, call, 0);
    }
    return r;
}

static int add_calls(scmp_filter_ctx filter)
{
    int r = add_names(filter, rf_calls_allowed, SCMP_ACT_ALLOW);
    r = r ? r : add_names(filter, rf_calls_refused, REFUSE);
    for (size_t i = 0; !r && rf_calls_newer[i]; i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, rf_calls_newer[i], 0);
        r = r == -EEXIST ? 0 : r; /* this libseccomp knows its name */
    }
    static const unsigned personalities[] = {0, LOW}; /* Linux, and the question which it is */
    for (size_t i = 0; !r && i < 2; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                             (struct scmp_arg_cmp)IS(0, SCMP_CMP_EQ, personalities[i]));
    return r;
}

static int add_arguments(scmp_filter_ctx filter)
{
    int r = 0;
    for (size_t i = 0; !r && i < sizeof(argument_rules) / sizeof(*argument_rules); i++) {
        const struct argument_rule *rule = &argument_rules[i];
        r = seccomp_rule_add_array(filter, rule->action, rule->call, rule->n, rule->compare);
    }
    return r;
}

/* Where the machine denies a network of one's own, and the profile its. */
static int add_internet(scmp_filter_ctx filter)
{
    static const int families[] = {AF_INET, AF_INET6};
    int r = 0;
    for (size_t i = 0; !r && i < 2; i++)
        r = seccomp_rule_add(filter, NO_FAMILY, SCMP_SYS(socket), 1,
                             (struct scmp_arg_cmp)IS(0, SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    return r;
}

/* Where no cgroup counts memory: the watchdog adds up processes and mounts. */
static int add_unseen(scmp_filter_ctx filter)
{
    return add_names(filter, rf_calls_unseen, UNKNOWN);
}

static int add_keeper(scmp_filter_ctx filter)
{
    return add_names(filter, rf_calls_keeper, SCMP_ACT_ALLOW);
}

static int read_program(int fd, struct sock_fprog *ret)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    ret->filter = malloc((size_t)st.st_size);
    if (!ret->filter)
        return -ENOMEM;
    if (pread(fd, ret->filter, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
        return -EIO;
    ret->len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
    return 0;
}

/* Calls of another ABI of the same processor have other numbers: all unknown. */
static int compile(uint32_t otherwise, int (*add)(scmp_filter_ctx), struct sock_fprog *ret)
{
    scmp_filter_ctx filter = seccomp_init(otherwise);
    RF_AUTO(rf_closep) int fd = memfd_create("ringfence-filter", MFD_CLOEXEC);
    int r = !filter ? -ENOMEM : fd < 0 ? -errno : 0;
    r = r ? r : seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, UNKNOWN);
    r = r ? r : seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    r = r ? r : add(filter);
    r = r ? r : seccomp_export_bpf(filter, fd);
    r = r ? r : read_program(fd, ret);
    if (filter)
        seccomp_release(filter);
    return r;
}

struct rf_filters *rf_filters_new(int *ret_code)
{
    struct rf_filters *filters = calloc(1, sizeof(*filters));
    int r = filters ? compile(UNKNOWN, add_calls, &filters->calls) : -ENOMEM;
    r = r ? r : compile(SCMP_ACT_ALLOW, add_arguments, &filters->arguments);
    r = r ? r : compile(SCMP_ACT_ALLOW, add_internet, &filters->internet);
    r = r ? r : compile(SCMP_ACT_ALLOW, add_unseen, &filters->unseen);
    r = r ? r : compile(REFUSE, add_keeper, &filters->keeper);
    *ret_code = r;
    return r ? rf_filters_free(filters) : filters;
}

struct rf_filters *rf_filters_free(struct rf_filters *filters)
{
    if (filters) {
        free(filters->calls.filter);
        free(filters->arguments.filter);
        free(filters->internet.filter);
        free(filters->unseen.filter);
        free(filters->keeper.filter);
        free(filters);
    }
    return NULL;
}
