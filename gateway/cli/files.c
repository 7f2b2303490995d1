/* See files.h. */
#include "gateway/cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

int rf_file_read(const char *path, struct rf_buf *to)
{
    RF_AUTO(rf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t total = 0; total <= RF_FILE_MAX;) {
        uint8_t *at = rf_buf_reserve(to, 65536);
        if (!at)
            return -ENOMEM;
        ssize_t n = read(fd, at, 65536);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0;
        if (n > 0) {
            to->len += (size_t)n;
            total += (size_t)n;
        }
    }
    return -EFBIG;
}

static int write_all(int fd, struct rf_bytes bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            bytes.data += n;
            bytes.len -= (size_t)n;
        }
    }
    return 0;
}

static mode_t mask_of_process(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

int rf_file_replace(const char *path, struct rf_bytes bytes, mode_t mode, struct rf_error *err)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof(beside), "%s.XXXXXX", path) >= PATH_MAX)
        return rf_error_errno(err, -ENAMETOOLONG, "cannot write %.200s", path);
    RF_AUTO(rf_closep) int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return rf_error_errno(err, -errno, "cannot write %.200s", path);
    int r = write_all(fd, bytes);
    if (!r && fchmod(fd, mode & ~mask_of_process()))
        r = -errno;
    if (!r && rename(beside, path))
        r = -errno;
    if (!r)
        return 0;
    unlink(beside);
    return rf_error_errno(err, r, "cannot write %.200s", path);
}

int rf_folder_make(const char *path, struct rf_error *err)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= PATH_MAX)
        return rf_error_errno(err, -ENAMETOOLONG, "cannot make the folder %.200s", path);
    for (char *at = part + 1;; at++) {
        char here = *at;
        if (here != '/' && here != '\0')
            continue;
        *at = '\0';
        if (mkdir(part, 0777) && errno != EEXIST && errno != EISDIR)
            return rf_error_errno(err, -errno, "cannot make the folder %.200s", part);
        *at = here;
        if (!here)
            return 0;
    }
}

bool rf_next_line(struct rf_bytes *text, struct rf_bytes *ret_line)
{
    if (!text->len)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t len = end ? (size_t)(end - text->data) : text->len;
    *ret_line = (struct rf_bytes){text->data, len};
    text->data += len + !!end;
    text->len -= len + !!end;
    return true;
}
