/* See bytes.h. */
#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool rf_bytes_u64(struct rf_bytes b, uint64_t *ret)
{
    uint64_t n = 0;
    if (!b.len)
        return false;
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] < '0' || b.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(b.data[i] - '0'), &n))
            return false;
    }
    *ret = n;
    return true;
}

void rf_buf_deinit(struct rf_buf *buf)
{
    free(buf->data);
    *buf = (struct rf_buf){0};
}

uint8_t *rf_buf_reserve(struct rf_buf *buf, size_t n)
{
    if (buf->failed)
        return NULL;
    size_t need;
    if (__builtin_add_overflow(buf->len, n, &need)) {
        buf->failed = true;
        return NULL;
    }
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap : 256;
        while (cap < need)
            cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        uint8_t *data = realloc(buf->data, cap);
        if (!data) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->cap = cap;
    }
    return buf->data ? buf->data + buf->len : NULL;
}

void rf_buf_add(struct rf_buf *buf, const void *data, size_t n)
{
    if (!n)
        return;
    uint8_t *to = rf_buf_reserve(buf, n);
    if (!to)
        return;
    memcpy(to, data, n);
    buf->len += n;
}

void rf_buf_add_bytes(struct rf_buf *buf, struct rf_bytes bytes)
{
    rf_buf_add(buf, bytes.data, bytes.len);
}

void rf_buf_add_str(struct rf_buf *buf, const char *s)
{
    rf_buf_add(buf, s, strlen(s));
}

void rf_buf_printf(struct rf_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[512];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(text, sizeof(text), format, args);
    if (n >= 0 && (size_t)n < sizeof(text)) {
        rf_buf_add(buf, text, (size_t)n);
    } else if (n >= 0) {
        uint8_t *to = rf_buf_reserve(buf, (size_t)n + 1);
        if (to) {
            vsnprintf((char *)to, (size_t)n + 1, format, again);
            buf->len += (size_t)n;
        }
    } else {
        buf->failed = true;
    }
    va_end(again);
    va_end(args);
}

void rf_buf_consume(struct rf_buf *buf, size_t n)
{
    if (!n)
        return;
    memmove(buf->data, buf->data + n, buf->len - n);
    buf->len -= n;
}

bool rf_path_is_in(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (n == 1) /* the root */
        return path[0] == '/';
    return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}
