/* See endpoint.h. */
#include "gateway/zmq/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "common/cleanup.h"

#define BACKLOG 100
#define IPC_SUFFIX_MAX 65535

static bool is_ipc(const char *transport)
{
    return strcmp(transport, "ipc") == 0;
}

bool rf_endpoint_is_local(const struct rf_connection *conn)
{
    struct in_addr v4;
    if (is_ipc(conn->transport) || strcmp(conn->ip, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, conn->ip, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcmp(conn->ip, "::1") == 0 || strcmp(conn->ip, "[::1]") == 0;
}

/* A numeric address, "*" for all, or localhost; names are not looked up. */
int rf_endpoint_address(const char *ip, int port, struct rf_address *ret)
{
    char text[128];
    size_t len = strlen(ip);
    bool bracketed = len > 2 && ip[0] == '[' && ip[len - 1] == ']';
    int n = snprintf(text, sizeof(text), "%.*s", (int)(bracketed ? len - 2 : len),
                     bracketed ? ip + 1 : ip);
    if (n < 0 || n >= (int)sizeof(text))
        return -ENAMETOOLONG;
    if (strcmp(ip, "localhost") == 0)
        snprintf(text, sizeof(text), "127.0.0.1");
    else if (strcmp(ip, "*") == 0)
        snprintf(text, sizeof(text), "0.0.0.0");
    ret->len = sizeof(struct sockaddr_in);
    if (!uv_ip4_addr(text, port, (struct sockaddr_in *)&ret->storage))
        return 0;
    ret->len = sizeof(struct sockaddr_in6);
    return uv_ip6_addr(text, port, (struct sockaddr_in6 *)&ret->storage) ? -EINVAL : 0;
}

static int bound_port(int fd)
{
    struct rf_address address = {.len = sizeof(address.storage)};
    if (getsockname(fd, (struct sockaddr *)&address.storage, &address.len))
        return -errno;
    return ntohs(address.storage.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)&address.storage)->sin6_port
                     : ((struct sockaddr_in *)&address.storage)->sin_port);
}

/* The bound socket, which uv_listen() makes listen, or -errno. */
static int bind_tcp(struct rf_endpoint *endpoint, const struct rf_connection *conn)
{
    struct rf_address address;
    int on = 1, r = rf_endpoint_address(conn->ip, endpoint->port, &address);
    if (r)
        return r;
    RF_AUTO(rf_closep) int fd = socket(address.storage.ss_family,
                                       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* a restarted kernel takes the ports of the one before it */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(fd, (struct sockaddr *)&address.storage, address.len))
        return -errno;
    /* bind() alone does not claim it: two that chose may get the same one */
    if (listen(fd, BACKLOG))
        return -errno;
    endpoint->port = bound_port(fd);
    return endpoint->port > 0 ? rf_steal_fd(&fd) : endpoint->port ? endpoint->port : -EADDRNOTAVAIL;
}

/* A socket file that nobody listens on is left over from a dead process. */
static bool remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return false;
    RF_AUTO(rf_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
        errno != ECONNREFUSED)
        return false;
    return unlink(address->sun_path) == 0;
}

/* The listening socket or -errno. */
static int listen_at(const char *path, bool may_be_stale)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    RF_AUTO(rf_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fchmod(fd, 0600)) /* bind() gives the mode to the file */
        return -errno;
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
    if (r == -EADDRINUSE && may_be_stale && remove_stale(&address))
        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
    if (r)
        return r;
    if (listen(fd, BACKLOG)) {
        r = -errno;
        unlink(path);
        return r;
    }
    return rf_steal_fd(&fd);
}

int rf_endpoint_path(const char *prefix, int port, char ret[108])
{
    int n = snprintf(ret, 108, "%s-%d", prefix, port);
    return n < 0 || n >= 108 ? -ENAMETOOLONG : 0;
}

/* The number in the file, or the smallest that is free. */
static int listen_ipc(struct rf_endpoint *endpoint, const struct rf_connection *conn)
{
    int port = endpoint->port ? endpoint->port : 1;
    for (; port <= IPC_SUFFIX_MAX || endpoint->port; port++) {
        int r = rf_endpoint_path(conn->ip, port, endpoint->path);
        if (!r)
            r = listen_at(endpoint->path, endpoint->port != 0);
        if (r == -EADDRINUSE && !endpoint->port)
            continue;
        if (r >= 0)
            endpoint->port = port;
        else
            endpoint->path[0] = '\0';
        return r;
    }
    endpoint->path[0] = '\0';
    return -EADDRINUSE;
}

static const char *advice(int code, bool ipc)
{
    switch (-code) {
    case EADDRINUSE:
        return ipc ? "end the program that listens there, or use port 0 to have one chosen"
                   : "end the program that uses the port, or use port 0 to have one chosen";
    case EADDRNOTAVAIL:
    case ENODEV:
    case EINVAL:
        return "set \"ip\" to an address of this machine, such as 127.0.0.1";
    case EACCES:
        return ipc ? "choose a folder that you may write to"
                   : "choose a port from 1024 on, or 0 to have one chosen";
    case ENOENT:
        return "make the folder first";
    case ENAMETOOLONG:
        return "choose a shorter path";
    default:
        return "check \"ip\" and the ports";
    }
}

int rf_endpoint_bind(struct rf_endpoint *endpoint, const struct rf_connection *conn,
                     struct rf_error *err)
{
    bool ipc = is_ipc(conn->transport);
    int asked = endpoint->port;
    int fd = ipc ? listen_ipc(endpoint, conn) : bind_tcp(endpoint, conn);
    if (fd >= 0)
        return fd;
    return rf_error_set(err, fd, "cannot bind the %s channel to %s://%s%c%d: %s; %s",
                        endpoint->channel, conn->transport, conn->ip, ipc ? '-' : ':', asked,
                        strerror(-fd), advice(fd, ipc));
}

void rf_endpoint_unlink(struct rf_endpoint *endpoint)
{
    if (endpoint->path[0])
        unlink(endpoint->path);
    endpoint->path[0] = '\0';
}
