/* rf_bytes: a borrowed slice of bytes.  rf_buf: bytes that grow, one owner.
 *
 * Out of memory is not recoverable for a buffer of bounded size: rf_buf
 * remembers it (`failed`), appends nothing more, and the one who uses the
 * result asks rf_buf_ok() once.
 */
#ifndef RINGFENCE_COMMON_BYTES_H
#define RINGFENCE_COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rf_bytes {
    const uint8_t *data; /* borrowed; not NUL-terminated; may be NULL when len is 0 */
    size_t len;
};

#define RF_BYTES(literal) ((struct rf_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline struct rf_bytes rf_bytes_str(const char *s)
{
    return (struct rf_bytes){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool rf_bytes_eq(struct rf_bytes a, struct rf_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool rf_bytes_is(struct rf_bytes a, const char *s)
{
    return rf_bytes_eq(a, rf_bytes_str(s));
}

/* Reads all of `b` as a decimal number; false (and *ret as it was) if it is
 * empty, has another character or does not fit. */
bool rf_bytes_u64(struct rf_bytes b, uint64_t *ret);

struct rf_buf {
    uint8_t *data; /* owned */
    size_t len, cap;
    bool failed;
};

void rf_buf_deinit(struct rf_buf *buf);
/* Room for n more bytes at data + len, or NULL (and failed). */
uint8_t *rf_buf_reserve(struct rf_buf *buf, size_t n);
void rf_buf_add(struct rf_buf *buf, const void *data, size_t n);
void rf_buf_add_bytes(struct rf_buf *buf, struct rf_bytes bytes);
void rf_buf_add_str(struct rf_buf *buf, const char *s);
void rf_buf_printf(struct rf_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes n bytes away at the front. */
void rf_buf_consume(struct rf_buf *buf, size_t n);

static inline bool rf_buf_ok(const struct rf_buf *buf)
{
    return !buf->failed;
}

static inline struct rf_bytes rf_buf_bytes(const struct rf_buf *buf)
{
    return (struct rf_bytes){buf->data, buf->len};
}

/* Does the absolute `path` lie in `folder`, or is it the folder itself? */
bool rf_path_is_in(const char *path, const char *folder);

#endif
