/* What `ringfence kernel` runs: one kernel on the ports of a connection file, until it is
 * shut down, SIGTERM comes or the process that started it ends.
 *
 * Owns the loop and the process's signals.
 */
#ifndef RINGFENCE_GATEWAY_CLI_SESSION_H
#define RINGFENCE_GATEWAY_CLI_SESSION_H

#include <uv.h>

#include "gateway/supervise/supervisor.h"
#include "gateway/zmq/connection.h"

struct rf_session_options {
    struct rf_connection connection;
    const char *connection_file; /* borrowed */
    struct rf_supervisor_options supervisor;
    struct rf_limits limits; /* since_us and born_us are filled in; `profile` is borrowed */
    const char *note;        /* for the banner, beside the layers; "" for none; borrowed */
    bool connection_first;   /* if the file is to be written, then before the kernel starts */
    size_t max_message, spool_max, history_cells; /* 0: the defaults */
    int heartbeat_s;                              /* see struct rf_sockets_options */
};

/* Binds the sockets (0 ports are chosen), writes the connection file back,
 * starts the worker and serves until the kernel is shut down, SIGTERM comes or
 * the parent ends.  Returns the process's exit code; *err is filled when that
 * is not 0. */
int rf_session_run(struct rf_session_options *options, struct rf_error *err);

#endif
