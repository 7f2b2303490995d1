/* HMAC (RFC 2104) over the digests of libcrypto, with the key taken in once.
 *
 * Why not libcrypto's own HMAC: its first use sets up the provider machinery,
 * and with it comes the whole shared library: more than a millisecond of each
 * start and half a megabyte of each kernel.  The digests alone, which do the
 * work in hardware where it can, come from its static archive.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_MAC_H
#define RINGFENCE_GATEWAY_JUPYTER_MAC_H

#include "common/bytes.h"

#define RF_MAC_MAX 64 /* bytes of the longest */

struct rf_mac;

/* `digest`: as hashlib names it: sha256, sha224, sha384, sha512, sha1 or md5, in
 * any case.  NULL with errno EINVAL when it is none of them, or ENOMEM. */
struct rf_mac *rf_mac_new(const char *digest, struct rf_bytes key);
/* Zeroes the key. */
struct rf_mac *rf_mac_free(struct rf_mac *mac);

size_t rf_mac_len(const struct rf_mac *mac);
void rf_mac_compute(const struct rf_mac *mac, const struct rf_bytes *slices, size_t n,
                    uint8_t ret[RF_MAC_MAX]);

#endif
