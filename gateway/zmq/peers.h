/* The connections of one listening ZeroMQ socket, as its monitor tells of them.
 *
 * Owned by rf_sockets, used on its loop only.  For each accepted connection a
 * duplicate of libzmq's descriptor is kept, so that a look at it or a shutdown
 * never hits a stranger that got the same number later, and so that after its
 * end one can tell who ended it.  Why not ZMTP heartbeats: zmq.rs, which some
 * Jupyter clients use, ends a connection on which it sees a PING.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_PEERS_H
#define RINGFENCE_GATEWAY_ZMQ_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct rf_peers;

/* Starts the monitor; before the socket is bound.  `name` makes its inproc
 * address unique in the context.  NULL with errno set on failure. */
struct rf_peers *rf_peers_new(void *context, void *socket, const char *name);
/* Stops the monitor and closes the duplicates; before zmq_close(). */
struct rf_peers *rf_peers_free(struct rf_peers *peers);

/* The monitor's own socket, to wait for; borrowed. */
void *rf_peers_monitor(struct rf_peers *peers);

/* What the newest event of the monitor means. */
enum rf_peers_news {
    RF_PEERS_NONE,   /* nothing that matters, or no event */
    RF_PEERS_JOINED, /* one more connection */
    RF_PEERS_LEFT,   /* the peer went away, or was cut by rf_peers_*() before */
    RF_PEERS_BROKE,  /* libzmq ended it: a frame over ZMQ_MAXMSGSIZE or broken framing */
};

/* Takes one event from the monitor. */
enum rf_peers_news rf_peers_take(struct rf_peers *peers);

size_t rf_peers_count(const struct rf_peers *peers);

/* A complete message came over libzmq's descriptor `fd` (ZMQ_SRCFD). */
void rf_peers_spoke(struct rf_peers *peers, int fd);
/* Ends the connection of libzmq's descriptor `fd`.  False if it is not known. */
bool rf_peers_cut(struct rf_peers *peers, int fd);

struct rf_peers_rule {
    int elapsed_ms;       /* since the last check */
    int stall_ms;         /* cut who took nothing for so long while bytes wait for him */
    uint64_t least_rate;  /* bytes per second; 0: any; TCP only */
};
/* Ends the connections that break the rule.  Returns how many. */
size_t rf_peers_cut_stalled(struct rf_peers *peers, const struct rf_peers_rule *rule);
/* Nothing waits for anyone: forget how long each stood still. */
void rf_peers_all_moved(struct rf_peers *peers);

/* Ends the connections (TCP only) that sent over `max` bytes without a
 * complete message, which libzmq would hold for ever.  Returns how many. */
size_t rf_peers_cut_floods(struct rf_peers *peers, uint64_t max);

/* Lets go of connections that libzmq closed without an event (an identity
 * that was taken over). */
void rf_peers_sweep(struct rf_peers *peers);

#endif
