/* What a keeper-to-be needs of the zygote's base, as a file: the length of its filter, the
 * filter, the paths that the zygote imports from, each with its NUL. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "kernel/sandbox/filter.h"
#include "kernel/sandbox/sandbox.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

int rf_sandbox_base_write(const struct rf_sandbox_base *base)
{
    const struct sock_fprog none = {0}, *filter = base->filters ? &base->filters->keeper : &none;
    struct rf_buf text RF_AUTO(rf_buf_deinit) = {0};
    RF_AUTO(rf_closep) int fd = memfd_create("ringfence-base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    rf_buf_add(&text, &filter->len, sizeof(filter->len));
    rf_buf_add(&text, filter->filter, filter->len * sizeof(*filter->filter));
    for (size_t i = 0; i < base->n_imports; i++)
        rf_buf_add(&text, base->imports[i], strlen(base->imports[i]) + 1);
    if (fd < 0 || !rf_buf_ok(&text))
        return fd < 0 ? -errno : -ENOMEM;
    if (write(fd, text.data, text.len) != (ssize_t)text.len || fcntl(fd, F_ADD_SEALS, SEALS))
        return -errno;
    return rf_steal_fd(&fd);
}

static size_t count_paths(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += !text[i];
    return n;
}

int rf_sandbox_base_read(int fd, struct rf_sandbox_base *ret)
{
    static struct rf_filters filters;
    struct stat st;
    *ret = (struct rf_sandbox_base){.granted = -1};
    if (fstat(fd, &st))
        return -errno;
    size_t len = (size_t)st.st_size, at = sizeof(filters.keeper.len);
    char *text = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return -errno;
    memcpy(&filters.keeper.len, text, at);
    size_t code = filters.keeper.len * sizeof(struct sock_filter);
    filters.keeper.filter = malloc(code + 1);
    ret->filters = filters.keeper.len ? &filters : NULL;
    const char **imports = calloc(count_paths(text + at + code, len - at - code) + 1, sizeof(*imports));
    if (!imports || !filters.keeper.filter)
        return -ENOMEM;
    memcpy(filters.keeper.filter, text + at, code);
    for (at += code; at < len; at += strlen(text + at) + 1)
        imports[ret->n_imports++] = text + at;
    ret->imports = imports;
    return 0;
}
