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

#include <zmq.h>

#include "common/cleanup.h"

#define IPC_BACKLOG 100
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

int rf_endpoint_address(void *socket, const char *transport, const char *ip, int port,
                        char ret[160])
{
    char number[16] = "*";
    if (port)
        snprintf(number, sizeof(number), "%d", port);
    int n;
    if (is_ipc(transport)) {
        n = snprintf(ret, 160, "ipc://%s-%s", ip, number);
    } else if (strchr(ip, ':')) {
        int on = 1;
        if (zmq_setsockopt(socket, ZMQ_IPV6, &on, sizeof(on)))
            return -zmq_errno();
        n = snprintf(ret, 160, ip[0] == '[' ? "tcp://%s:%s" : "tcp://[%s]:%s", ip, number);
    } else {
        /* libzmq resolves no names for binding */
        n = snprintf(ret, 160, "tcp://%s:%s", strcmp(ip, "localhost") ? ip : "127.0.0.1", number);
    }
    return n < 0 || n >= 160 ? -ENAMETOOLONG : 0;
}

static int bind_tcp(struct rf_endpoint *endpoint, void *socket, const struct rf_connection *conn)
{
    char address[160];
    int r = rf_endpoint_address(socket, conn->transport, conn->ip, endpoint->port, address);
    if (r)
        return r;
    if (zmq_bind(socket, address))
        return -zmq_errno();
    size_t len = sizeof(address);
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, address, &len))
        return -zmq_errno();
    const char *colon = strrchr(address, ':');
    endpoint->port = colon ? (int)strtol(colon + 1, NULL, 10) : 0;
    return endpoint->port ? 0 : -EADDRNOTAVAIL;
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

/* libzmq would unlink what is there before it binds, so the listening socket
 * is made here.  Returns it or -errno. */
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
    if (listen(fd, IPC_BACKLOG)) {
        r = -errno;
        unlink(path);
        return r;
    }
    return rf_steal_fd(&fd);
}

static int ipc_path(const struct rf_connection *conn, int port, char ret[108])
{
    int n = snprintf(ret, 108, "%s-%d", conn->ip, port);
    return n < 0 || n >= 108 ? -ENAMETOOLONG : 0;
}

/* The number in the file, or the smallest that is free. */
static int listen_ipc(struct rf_endpoint *endpoint, const struct rf_connection *conn)
{
    int port = endpoint->port ? endpoint->port : 1;
    for (; port <= IPC_SUFFIX_MAX || endpoint->port; port++) {
        int r = ipc_path(conn, port, endpoint->path);
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

static int bind_ipc(struct rf_endpoint *endpoint, void *socket, const struct rf_connection *conn)
{
    RF_AUTO(rf_closep) int fd = listen_ipc(endpoint, conn);
    if (fd < 0)
        return fd;
    char address[160];
    int r = rf_endpoint_address(socket, conn->transport, conn->ip, endpoint->port, address);
    if (!r && zmq_setsockopt(socket, ZMQ_USE_FD, &fd, sizeof(fd)))
        r = -zmq_errno();
    if (!r && zmq_bind(socket, address))
        r = -zmq_errno();
    if (r)
        rf_endpoint_unlink(endpoint);
    else
        rf_steal_fd(&fd); /* libzmq's now */
    return r;
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

int rf_endpoint_bind(struct rf_endpoint *endpoint, void *socket, const struct rf_connection *conn,
                     struct rf_error *err)
{
    bool ipc = is_ipc(conn->transport);
    int asked = endpoint->port;
    int r = ipc ? bind_ipc(endpoint, socket, conn) : bind_tcp(endpoint, socket, conn);
    if (!r)
        return 0;
    return rf_error_set(err, r, "cannot bind the %s channel to %s://%s%c%d: %s; %s",
                        endpoint->channel, conn->transport, conn->ip, ipc ? '-' : ':', asked,
                        zmq_strerror(-r), advice(r, ipc));
}

void rf_endpoint_unlink(struct rf_endpoint *endpoint)
{
    if (endpoint->path[0])
        unlink(endpoint->path);
    endpoint->path[0] = '\0';
}
