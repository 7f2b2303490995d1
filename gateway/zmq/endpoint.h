/* The address of one channel: a listening socket there, or why there is none.
 *
 * tcp: the port of the connection file, or one that the system chooses.
 * ipc: the path "<ip>-<port>", or the smallest free suffix; the socket file
 * is 0600 from its first moment on, and the caller's to unlink.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_ENDPOINT_H
#define RINGFENCE_GATEWAY_ZMQ_ENDPOINT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/error.h"
#include "gateway/zmq/connection.h"

struct rf_endpoint {
    const char *channel; /* its name, for the error text; borrowed */
    int port;            /* in: 0 to choose; out: the one that is bound */
    char path[108];      /* out: the socket file of ipc, else empty */
};

/* The listening socket, the caller's, or -errno with *err filled. */
int rf_endpoint_bind(struct rf_endpoint *endpoint, const struct rf_connection *conn,
                     struct rf_error *err);

/* Removes the socket file of a bound ipc endpoint. */
void rf_endpoint_unlink(struct rf_endpoint *endpoint);

/* True for an address that other machines cannot reach. */
bool rf_endpoint_is_local(const struct rf_connection *conn);

struct rf_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* The socket address of a numeric tcp address; IPv6 also in brackets. */
int rf_endpoint_address(const char *ip, int port, struct rf_address *ret);

/* The path of an ipc channel. */
int rf_endpoint_path(const char *prefix, int port, char ret[108]);

#endif
