/* See request.h. */
#include "gateway/jupyter/request.h"

#include <stdlib.h>

#include "common/json.h"
#include "gateway/jupyter/run_options.h"

struct rf_request rf_request_view(const struct rf_request_type *type, enum rf_channel channel,
                                  const struct rf_wire_in *in)
{
    return (struct rf_request){
        .type = type,
        .channel = channel,
        .identities = in->identities,
        .n_identities = in->n_identities,
        .header = in->header,
        .metadata = in->metadata,
        .content = in->content,
        .buffers = in->buffers,
        .n_buffers = in->n_buffers,
    };
}

static size_t slices_size(const struct rf_bytes *slices, size_t n)
{
    size_t size = n * sizeof(*slices);
    for (size_t i = 0; i < n; i++)
        size += slices[i].len;
    return size;
}

size_t rf_request_size(const struct rf_request *request)
{
    return sizeof(*request) + slices_size(request->identities, request->n_identities) +
           slices_size(request->buffers, request->n_buffers) + request->header.len +
           request->metadata.len + request->content.len;
}

static struct rf_bytes place(uint8_t **at, struct rf_bytes from)
{
    struct rf_bytes placed = {*at, from.len};
    if (from.len)
        memcpy(*at, from.data, from.len);
    *at += from.len;
    return placed;
}

/* The slices lie before the bytes, where they are aligned. */
static void place_slices(struct rf_bytes *to, uint8_t **at, const struct rf_bytes *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = place(at, from[i]);
}

struct rf_request *rf_request_copy(const struct rf_request *view)
{
    struct rf_request *copy = malloc(rf_request_size(view));
    if (!copy)
        return NULL;
    *copy = *view;
    struct rf_bytes *identities = (struct rf_bytes *)(copy + 1);
    struct rf_bytes *buffers = identities + view->n_identities;
    uint8_t *at = (uint8_t *)(buffers + view->n_buffers);
    place_slices(identities, &at, view->identities, view->n_identities);
    place_slices(buffers, &at, view->buffers, view->n_buffers);
    copy->identities = identities;
    copy->buffers = buffers;
    copy->header = place(&at, view->header);
    copy->metadata = place(&at, view->metadata);
    copy->content = place(&at, view->content);
    return copy;
}

struct rf_request *rf_request_free(struct rf_request *request)
{
    free(request);
    return NULL;
}

const char *rf_request_read_cell(struct rf_request *request)
{
    enum { CODE, SILENT, STORE, STDIN, STOP, MEMBERS };
    struct rf_json_member members[MEMBERS] = {
        [CODE] = {"code", {0}},         [SILENT] = {"silent", {0}},
        [STORE] = {"store_history", {0}}, [STDIN] = {"allow_stdin", {0}},
        [STOP] = {"stop_on_error", {0}},
    };
    if (rf_json_object(request->content, members, MEMBERS))
        return "the content of the execute_request is not a JSON object";
    if (!rf_json_is_string(members[CODE].value))
        return "the execute_request has no \"code\", or it is not a string";
    struct rf_run_options run;
    const char *wrong = rf_run_options_read(request->metadata, &run);
    if (wrong)
        return wrong;
    bool silent = rf_json_is_true(members[SILENT].value);
    request->cell = (struct rf_cell){
        .code = members[CODE].value,
        .silent = silent,
        .store_history = !silent && !rf_json_is_false(members[STORE].value),
        .allow_stdin = rf_json_is_true(members[STDIN].value),
        .stop_on_error = !rf_json_is_false(members[STOP].value),
        .timeout_us = run.timeout_us,
    };
    return NULL;
}

void rf_request_queue_deinit(struct rf_request_queue *queue)
{
    for (struct rf_request *request; (request = rf_request_queue_pop(queue));)
        rf_request_free(request);
}

void rf_request_queue_push(struct rf_request_queue *queue, struct rf_request *request)
{
    request->next = NULL;
    if (queue->tail)
        queue->tail->next = request;
    else
        queue->head = request;
    queue->tail = request;
    queue->n++;
    queue->size += rf_request_size(request);
}

struct rf_request *rf_request_queue_pop(struct rf_request_queue *queue)
{
    struct rf_request *request = queue->head;
    if (!request)
        return NULL;
    queue->head = request->next;
    if (!queue->head)
        queue->tail = NULL;
    request->next = NULL;
    queue->n--;
    queue->size -= rf_request_size(request);
    return request;
}

struct rf_request_queue rf_request_queue_take_cells(struct rf_request_queue *queue)
{
    struct rf_request_queue cells = {0}, rest = {0};
    for (struct rf_request *request; (request = rf_request_queue_pop(queue));)
        rf_request_queue_push(request->type->is_cell ? &cells : &rest, request);
    *queue = rest;
    return cells;
}
