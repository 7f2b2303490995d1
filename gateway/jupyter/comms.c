/* See comms.h. */
#include "gateway/jupyter/comms.h"

#include <stdlib.h>

struct rf_comm {
    uint64_t number; /* of its opening */
    size_t len;
    uint8_t *id; /* owned */
};

void rf_comms_deinit(struct rf_comms *comms)
{
    for (size_t i = 0; i < comms->n; i++)
        free(comms->items[i].id);
    free(comms->items);
    *comms = (struct rf_comms){0};
}

static void forget(struct rf_comms *comms, size_t i)
{
    free(comms->items[i].id);
    comms->n--;
    memmove(comms->items + i, comms->items + i + 1, (comms->n - i) * sizeof(*comms->items));
}

void rf_comms_close(struct rf_comms *comms, struct rf_bytes id)
{
    for (size_t i = 0; i < comms->n; i++) {
        struct rf_comm *comm = &comms->items[i];
        if (rf_bytes_eq((struct rf_bytes){comm->id, comm->len}, id)) {
            forget(comms, i);
            return;
        }
    }
}

static bool make_room(struct rf_comms *comms)
{
    if (comms->n == RF_COMMS_MAX)
        forget(comms, 0);
    if (comms->n < comms->cap)
        return true;
    size_t cap = comms->cap ? comms->cap * 2 : 16;
    struct rf_comm *items = realloc(comms->items, cap * sizeof(*items));
    if (!items)
        return false;
    comms->items = items;
    comms->cap = cap;
    return true;
}

void rf_comms_open(struct rf_comms *comms, struct rf_bytes id)
{
    if (!id.len || id.len > RF_COMM_ID_MAX)
        return;
    rf_comms_close(comms, id);
    uint8_t *copy = malloc(id.len);
    if (!copy || !make_room(comms)) {
        free(copy);
        return;
    }
    memcpy(copy, id.data, id.len);
    comms->items[comms->n++] = (struct rf_comm){++comms->opened, id.len, copy};
}

bool rf_comms_take(struct rf_comms *comms, uint64_t mark, struct rf_buf *ret_id)
{
    if (!comms->n || comms->items[comms->n - 1].number <= mark)
        return false;
    rf_buf_add(ret_id, comms->items[comms->n - 1].id, comms->items[comms->n - 1].len);
    forget(comms, comms->n - 1);
    return true;
}
