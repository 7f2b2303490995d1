/* The connection file and the registration file (JEP 66): which sockets, which
 * key.  Serves "Connection files" and "Handshaking" of the jupyter_client docs.
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_CONNECTION_H
#define RINGFENCE_GATEWAY_ZMQ_CONNECTION_H

#include <stdbool.h>

#include "common/error.h"

struct rf_connection {
    char transport[8]; /* "tcp" or "ipc" */
    char ip[96];       /* tcp: address; ipc: path prefix */
    int shell_port, iopub_port, stdin_port, control_port, hb_port; /* 0: choose */
    char key[256];     /* ASCII; empty: no signatures */
    char signature_scheme[32];
    char kernel_name[128];
    /* registration file: */
    bool registration;
    char registration_ip[96];
    int registration_port;
    char kernel_id[64];
};

/* Reads `path`.  -ENOENT: there is none (then *ret has defaults with ports 0
 * and a fresh random key, and the caller writes it after binding).  Any other
 * -errno fills *err with what is wrong in the file and where. */
int rf_connection_load(const char *path, struct rf_connection *ret, struct rf_error *err);

/* Does the file say just this, to its owner only, so that saving leaves it alone? */
bool rf_connection_is_saved(const char *path, const struct rf_connection *conn);

/* Writes it back with the ports that were chosen, mode 0600, atomically (a
 * temporary file beside it, fsync, rename); keeps members it does not know. */
int rf_connection_save(const char *path, const struct rf_connection *conn, struct rf_error *err);

#endif
