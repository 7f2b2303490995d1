/* See peers.h. */
#include "gateway/zmq/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <zmq.h>

#include "common/cleanup.h"

#define WATCHED                                                                              \
    (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |    \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
#define RATE_WINDOW_MS 1000

struct peer {
    int zmq_fd; /* libzmq's; a number only */
    int fd;     /* owned: our duplicate */
    ino_t inode;
    bool tcp, cut, spoke, closed;
    uint64_t mark;     /* tcp: bytes acknowledged; unix: bytes in the queue */
    int still_ms;      /* how long `mark` stood still while bytes waited */
    uint64_t window;   /* tcp: `mark` when the rate window began */
    int window_ms;
    uint64_t received; /* tcp: bytes received up to the last complete message */
};

struct rf_peers {
    void *socket;  /* borrowed */
    void *monitor; /* owned */
    struct peer *list; /* owned */
    size_t n, cap;
    bool handshake_failed; /* the next DISCONNECTED is of a peer that did not get in */
};

struct rf_peers *rf_peers_new(void *context, void *socket, const char *name)
{
    char address[64];
    snprintf(address, sizeof(address), "inproc://monitor-%s", name);
    struct rf_peers *peers = calloc(1, sizeof(*peers));
    if (!peers)
        return NULL;
    peers->socket = socket;
    /* No bound on waiting events: libzmq's I/O thread blocks on a full one
     * while it holds the lock that stopping the monitor needs. */
    int none = 0;
    if (zmq_socket_monitor(socket, address, WATCHED) == 0 &&
        (peers->monitor = zmq_socket(context, ZMQ_PAIR)) &&
        zmq_setsockopt(peers->monitor, ZMQ_RCVHWM, &none, sizeof(none)) == 0 &&
        zmq_setsockopt(peers->monitor, ZMQ_LINGER, &none, sizeof(none)) == 0 &&
        zmq_connect(peers->monitor, address) == 0)
        return peers;
    int saved = zmq_errno();
    rf_peers_free(peers);
    errno = saved;
    return NULL;
}

struct rf_peers *rf_peers_free(struct rf_peers *peers)
{
    if (!peers)
        return NULL;
    zmq_socket_monitor(peers->socket, NULL, 0);
    if (peers->monitor)
        zmq_close(peers->monitor);
    for (size_t i = 0; i < peers->n; i++)
        close(peers->list[i].fd);
    free(peers->list);
    free(peers);
    return NULL;
}

void *rf_peers_monitor(struct rf_peers *peers)
{
    return peers->monitor;
}

size_t rf_peers_count(const struct rf_peers *peers)
{
    return peers->n;
}

static bool read_tcp_info(int fd, struct tcp_info *ret)
{
    socklen_t len = sizeof(*ret);
    memset(ret, 0, sizeof(*ret));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

/* The newest that has the number: libzmq uses a number again only after it
 * closed it. */
static struct peer *find(struct rf_peers *peers, int zmq_fd)
{
    for (size_t i = peers->n; i-- > 0;)
        if (peers->list[i].zmq_fd == zmq_fd)
            return &peers->list[i];
    return NULL;
}

static void forget(struct rf_peers *peers, struct peer *peer)
{
    close(peer->fd);
    size_t after = (size_t)(peers->list + peers->n - (peer + 1));
    memmove(peer, peer + 1, after * sizeof(*peer)); /* in order of age, for find() */
    peers->n--;
}

/* True if `fd` is a connection that `endpoint` accepted: by the time the event
 * is read libzmq may have closed it and another part of the program may have
 * the number. */
static bool is_connection_of(int fd, const char *endpoint, bool *ret_tcp)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } peer, local;
    socklen_t len = sizeof(peer);
    if (getpeername(fd, &peer.any, &len))
        return false;
    len = sizeof(local);
    memset(&local, 0, sizeof(local));
    if (getsockname(fd, &local.any, &len))
        return false;
    *ret_tcp = local.any.sa_family == AF_INET || local.any.sa_family == AF_INET6;
    if (!*ret_tcp)
        return local.any.sa_family == AF_UNIX && !strncmp(endpoint, "ipc://", 6) &&
               !strncmp(endpoint + 6, local.un.sun_path, sizeof(local.un.sun_path));
    in_port_t port = local.any.sa_family == AF_INET ? local.in.sin_port : local.in6.sin6_port;
    const char *colon = strrchr(endpoint, ':');
    return !strncmp(endpoint, "tcp:", 4) && colon && strtol(colon + 1, NULL, 10) == ntohs(port);
}

static enum rf_peers_news add(struct rf_peers *peers, int zmq_fd)
{
    char endpoint[256] = "";
    size_t len = sizeof(endpoint) - 1;
    zmq_getsockopt(peers->socket, ZMQ_LAST_ENDPOINT, endpoint, &len);
    struct peer peer = {.zmq_fd = zmq_fd};
    RF_AUTO(rf_closep) int fd = fcntl(zmq_fd, F_DUPFD_CLOEXEC, 0);
    struct stat st;
    if (fd < 0 || !is_connection_of(fd, endpoint, &peer.tcp) || fstat(fd, &st))
        return RF_PEERS_NONE;
    if (peers->n == peers->cap) {
        size_t cap = peers->cap ? peers->cap * 2 : 8;
        struct peer *list = realloc(peers->list, cap * sizeof(*list));
        if (!list)
            return RF_PEERS_NONE;
        peers->list = list;
        peers->cap = cap;
    }
    peer.inode = st.st_ino;
    peer.fd = rf_steal_fd(&fd);
    peers->list[peers->n++] = peer;
    return RF_PEERS_JOINED;
}

/* libzmq gave the connection up.  Was it the peer who went?  Then reading
 * gives the end of file or an error. */
static bool is_peer_there(const struct peer *peer)
{
    char byte;
    ssize_t n = recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

static enum rf_peers_news lose(struct rf_peers *peers, int zmq_fd, bool handshake_failed)
{
    struct peer *peer = find(peers, zmq_fd);
    if (!peer)
        return RF_PEERS_NONE;
    bool broke = !peer->cut && !handshake_failed && is_peer_there(peer);
    forget(peers, peer);
    return broke ? RF_PEERS_BROKE : RF_PEERS_LEFT;
}

enum rf_peers_news rf_peers_take(struct rf_peers *peers)
{
    struct {
        uint16_t event;
        uint32_t value;
    } __attribute__((packed)) news = {0};
    char address[256];
    if (zmq_recv(peers->monitor, &news, sizeof(news), ZMQ_DONTWAIT) != (int)sizeof(news))
        return RF_PEERS_NONE;
    zmq_recv(peers->monitor, address, sizeof(address), ZMQ_DONTWAIT);
    if (news.event == ZMQ_EVENT_ACCEPTED)
        return add(peers, (int)news.value);
    /* A failed handshake is told without its descriptor, right before the
     * end of its connection. */
    bool handshake_failed = peers->handshake_failed;
    peers->handshake_failed = news.event != ZMQ_EVENT_DISCONNECTED;
    return peers->handshake_failed ? RF_PEERS_NONE : lose(peers, (int)news.value, handshake_failed);
}

void rf_peers_spoke(struct rf_peers *peers, int fd)
{
    struct peer *peer = find(peers, fd);
    if (peer)
        peer->spoke = true;
}

/* libzmq sees the end of the connection and drops what waits for the peer. */
static void cut(struct peer *peer)
{
    peer->cut = true;
    shutdown(peer->fd, SHUT_RDWR);
}

bool rf_peers_cut(struct rf_peers *peers, int fd)
{
    struct peer *peer = find(peers, fd);
    if (peer && !peer->cut)
        cut(peer);
    return peer != NULL;
}

static void moved(struct peer *peer, uint64_t mark)
{
    peer->mark = mark;
    peer->still_ms = 0;
}

/* Looks at one connection; true if it breaks the rule. */
static bool is_stalled(struct peer *peer, const struct rf_peers_rule *rule)
{
    struct tcp_info info;
    int queued = 0;
    if (ioctl(peer->fd, SIOCOUTQ, &queued) || (peer->tcp && !read_tcp_info(peer->fd, &info)))
        return false;
    uint64_t mark = peer->tcp ? info.tcpi_bytes_acked : (uint64_t)queued;
    if (queued == 0) {
        moved(peer, mark);
        peer->window = mark;
        peer->window_ms = 0;
        return false;
    }
    if (mark != peer->mark)
        moved(peer, mark);
    else
        peer->still_ms += rule->elapsed_ms;
    peer->window_ms += rule->elapsed_ms;
    bool too_slow = false;
    if (peer->window_ms >= RATE_WINDOW_MS) {
        too_slow = peer->tcp && (mark - peer->window) * 1000 / (uint64_t)peer->window_ms <
                                    rule->least_rate;
        peer->window = mark;
        peer->window_ms = 0;
    }
    return too_slow || peer->still_ms >= rule->stall_ms;
}

size_t rf_peers_cut_stalled(struct rf_peers *peers, const struct rf_peers_rule *rule)
{
    size_t n = 0;
    for (size_t i = 0; i < peers->n; i++) {
        if (peers->list[i].cut || !is_stalled(&peers->list[i], rule))
            continue;
        cut(&peers->list[i]);
        n++;
    }
    return n;
}

void rf_peers_all_moved(struct rf_peers *peers)
{
    for (size_t i = 0; i < peers->n; i++) {
        peers->list[i].still_ms = 0;
        peers->list[i].window_ms = 0;
        peers->list[i].window = peers->list[i].mark;
    }
}

size_t rf_peers_cut_floods(struct rf_peers *peers, uint64_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < peers->n; i++) {
        struct peer *peer = &peers->list[i];
        struct tcp_info info;
        if (peer->cut || !peer->tcp || !read_tcp_info(peer->fd, &info))
            continue;
        if (peer->spoke) {
            peer->spoke = false;
            peer->received = info.tcpi_bytes_received;
        } else if (info.tcpi_bytes_received - peer->received > max) {
            cut(peer);
            n++;
        }
    }
    return n;
}

void rf_peers_sweep(struct rf_peers *peers)
{
    struct stat st;
    for (size_t i = peers->n; i-- > 0;) {
        struct peer *peer = &peers->list[i];
        if (peer->closed)
            forget(peers, peer);
        else /* its event may be on the way: until the next sweep */
            peer->closed = fstat(peer->zmq_fd, &st) || st.st_ino != peer->inode;
    }
}
