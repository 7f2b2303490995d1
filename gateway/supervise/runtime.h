/* The user's runtime folder, where the zygotes' sockets, locks and logs lie.
 *
 * $XDG_RUNTIME_DIR/ringfence, or /tmp/ringfence-UID where that is unset, not
 * ours, or too long for a socket's address.  Mode 0700; owner and kind are
 * checked, links are refused.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_RUNTIME_H
#define RINGFENCE_GATEWAY_SUPERVISE_RUNTIME_H

#include "common/error.h"

#define RF_RUNTIME_PATH_MAX 78 /* leaves room for a name within sockaddr_un's 108 bytes */

/* Makes the folder if need be.  0 or -errno with *err filled. */
int rf_runtime_dir(char ret[RF_RUNTIME_PATH_MAX], struct rf_error *err);

#endif
