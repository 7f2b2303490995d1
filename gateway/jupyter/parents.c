/* See parents.h. */
#include "gateway/jupyter/parents.h"

#include <errno.h>
#include <stdlib.h>

#include <ringfence/limits.h>

struct rf_parent {
    uint64_t id; /* 0: empty */
    struct rf_buf header;
};

int rf_parents_init(struct rf_parents *parents)
{
    *parents = (struct rf_parents){.ring = malloc(RF_PARENTS_MAX * sizeof(*parents->ring))};
    return parents->ring ? 0 : -ENOMEM;
}

void rf_parents_deinit(struct rf_parents *parents)
{
    for (size_t i = 0; i < parents->used; i++)
        rf_buf_deinit(&parents->ring[i].header);
    free(parents->ring);
    rf_buf_deinit(&parents->newest);
    *parents = (struct rf_parents){0};
}

static int replace(struct rf_buf *buf, struct rf_bytes bytes)
{
    buf->len = 0;
    rf_buf_add_bytes(buf, bytes);
    if (rf_buf_ok(buf))
        return 0;
    rf_buf_deinit(buf); /* a later try may find memory */
    return -ENOMEM;
}

int rf_parents_add(struct rf_parents *parents, uint64_t id, struct rf_bytes header,
                   bool owns_output)
{
    struct rf_parent *parent = &parents->ring[id % RF_PARENTS_MAX];
    while (parents->used <= id % RF_PARENTS_MAX)
        parents->ring[parents->used++] = (struct rf_parent){0};
    parent->id = 0;
    if (replace(&parent->header, header))
        return -ENOMEM;
    if (owns_output) {
        parents->newest_id = 0;
        if (replace(&parents->newest, header))
            return -ENOMEM;
        parents->newest_id = id;
    }
    parent->id = id;
    return 0;
}

static const struct rf_parent *find(const struct rf_parents *parents, uint64_t id)
{
    const struct rf_parent *parent = &parents->ring[id % RF_PARENTS_MAX];
    return id && id % RF_PARENTS_MAX < parents->used && parent->id == id ? parent : NULL;
}

uint64_t rf_parents_resolve(const struct rf_parents *parents, uint64_t id)
{
    return find(parents, id) ? id : parents->newest_id;
}

struct rf_bytes rf_parents_header(const struct rf_parents *parents, uint64_t id)
{
    const struct rf_parent *parent = find(parents, id);
    if (parent)
        return rf_buf_bytes(&parent->header);
    if (id && id == parents->newest_id)
        return rf_buf_bytes(&parents->newest);
    return (struct rf_bytes){0};
}
