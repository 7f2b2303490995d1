/* The address of one channel: binds a ZeroMQ socket to it and says why not.
 *
 * tcp: the port of the connection file, or one that the system chooses.
 * ipc: the path "<ip>-<port>", or the smallest free suffix; the socket file
 * is 0600 from its first moment on, and the caller's to unlink.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_ENDPOINT_H
#define RINGFENCE_GATEWAY_ZMQ_ENDPOINT_H

#include <stdbool.h>

#include "common/error.h"
#include "gateway/zmq/connection.h"

struct rf_endpoint {
    const char *channel; /* its name, for the error text; borrowed */
    int port;            /* in: 0 to choose; out: the one that is bound */
    char path[108];      /* out: the socket file of ipc, else empty */
};

/* 0 or -errno with *err filled. */
int rf_endpoint_bind(struct rf_endpoint *endpoint, void *socket, const struct rf_connection *conn,
                     struct rf_error *err);

/* Removes the socket file of a bound ipc endpoint. */
void rf_endpoint_unlink(struct rf_endpoint *endpoint);

/* True for an address that other machines cannot reach. */
bool rf_endpoint_is_local(const struct rf_connection *conn);

/* "tcp://<ip>:<port>" or "ipc://<ip>-<port>"; IPv6 in brackets; sets ZMQ_IPV6
 * on `socket` where the address needs it.  -ENAMETOOLONG if it does not fit. */
int rf_endpoint_address(void *socket, const char *transport, const char *ip, int port,
                        char ret[160]);

#endif
