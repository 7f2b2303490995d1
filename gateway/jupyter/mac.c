/* See mac.h. */
#define OPENSSL_SUPPRESS_DEPRECATED /* OpenSSL 3 calls the digests by themselves old */
#include "gateway/jupyter/mac.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

#define BLOCK_MAX 128

union state {
    SHA256_CTX sha256;
    SHA512_CTX sha512;
    SHA_CTX sha1;
    MD5_CTX md5;
};

struct digest {
    const char *name;
    size_t block, len;
    void (*init)(union state *state);
    void (*update)(union state *state, const void *data, size_t len);
    void (*final)(uint8_t *ret, union state *state);
};

/* A row's functions; NAME as libcrypto's begin, FIELD of the state. */
#define FUNCTIONS(NAME, FIELD)                                                     \
    static void NAME##_init(union state *state)                                    \
    {                                                                              \
        NAME##_Init(&state->FIELD);                                                \
    }                                                                              \
    static void NAME##_update(union state *state, const void *data, size_t len)    \
    {                                                                              \
        NAME##_Update(&state->FIELD, data, len);                                   \
    }                                                                              \
    static void NAME##_final(uint8_t *ret, union state *state)                     \
    {                                                                              \
        NAME##_Final(ret, &state->FIELD);                                          \
    }

FUNCTIONS(SHA256, sha256)
FUNCTIONS(SHA224, sha256)
FUNCTIONS(SHA384, sha512)
FUNCTIONS(SHA512, sha512)
FUNCTIONS(SHA1, sha1)
FUNCTIONS(MD5, md5)

static const struct digest digests[] = {
    {"sha256", 64, 32, SHA256_init, SHA256_update, SHA256_final},
    {"sha224", 64, 28, SHA224_init, SHA224_update, SHA224_final},
    {"sha384", 128, 48, SHA384_init, SHA384_update, SHA384_final},
    {"sha512", 128, 64, SHA512_init, SHA512_update, SHA512_final},
    {"sha1", 64, 20, SHA1_init, SHA1_update, SHA1_final},
    {"md5", 64, 16, MD5_init, MD5_update, MD5_final},
};

struct rf_mac {
    const struct digest *digest;
    union state inner, outer; /* after the padded key */
};

static const struct digest *find(const char *name)
{
    for (size_t i = 0; i < sizeof(digests) / sizeof(*digests); i++)
        if (strcasecmp(digests[i].name, name) == 0)
            return &digests[i];
    return NULL;
}

/* The state after the key, each byte of its block changed by `pad`. */
static void take_key(const struct digest *digest, const uint8_t block[BLOCK_MAX], uint8_t pad,
                     union state *ret)
{
    uint8_t padded[BLOCK_MAX];
    for (size_t i = 0; i < digest->block; i++)
        padded[i] = block[i] ^ pad;
    digest->init(ret);
    digest->update(ret, padded, digest->block);
    OPENSSL_cleanse(padded, sizeof(padded));
}

struct rf_mac *rf_mac_new(const char *name, struct rf_bytes key)
{
    const struct digest *digest = find(name);
    struct rf_mac *mac = digest ? calloc(1, sizeof(*mac)) : NULL;
    if (!mac) {
        errno = digest ? ENOMEM : EINVAL;
        return NULL;
    }
    mac->digest = digest;
    uint8_t block[BLOCK_MAX] = {0};
    if (key.len > digest->block) {
        digest->init(&mac->inner);
        digest->update(&mac->inner, key.data, key.len);
        digest->final(block, &mac->inner);
    } else if (key.len) {
        memcpy(block, key.data, key.len);
    }
    take_key(digest, block, 0x36, &mac->inner);
    take_key(digest, block, 0x5c, &mac->outer);
    OPENSSL_cleanse(block, sizeof(block));
    return mac;
}

struct rf_mac *rf_mac_free(struct rf_mac *mac)
{
    if (mac)
        OPENSSL_cleanse(mac, sizeof(*mac));
    free(mac);
    return NULL;
}

size_t rf_mac_len(const struct rf_mac *mac)
{
    return mac->digest->len;
}

void rf_mac_compute(const struct rf_mac *mac, const struct rf_bytes *slices, size_t n,
                    uint8_t ret[RF_MAC_MAX])
{
    const struct digest *digest = mac->digest;
    union state state = mac->inner;
    uint8_t inner[RF_MAC_MAX];
    for (size_t i = 0; i < n; i++)
        if (slices[i].len)
            digest->update(&state, slices[i].data, slices[i].len);
    digest->final(inner, &state);
    state = mac->outer;
    digest->update(&state, inner, digest->len);
    digest->final(ret, &state);
    OPENSSL_cleanse(&state, sizeof(state));
}
