/* See outbox.h. */
#include "gateway/zmq/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <ringfence/limits.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "gateway/zmq/zmtp.h"

#define SEGMENT_SIZE ((size_t)16 << 20)
#define ITEM_COST (sizeof(struct rf_outbox_item) + 32) /* with what the allocator adds */

/* A part of the spool.  The file is written with pwrite(), since a full disk
 * is an error there and a SIGBUS in a mapping. */
struct segment {
    struct segment *next; /* owned */
    int fd;
    uint8_t *map;
    size_t size, used;
    size_t items; /* that lie in it */
};

/* The end of the list is an item without a message, which the next message
 * fills: so a reader at the end needs no special place. */
struct rf_outbox_item {
    struct rf_outbox_item *next; /* a reference is owned; NULL: this is the end */
    size_t refs;                 /* readers here, the item before, and for the end the list */
    uint8_t *data;               /* owned, or in the segment */
    size_t len;
    struct segment *segment; /* NULL: on the heap */
    struct rf_bytes topic;
};

struct rf_outbox {
    struct rf_outbox_item *end; /* one reference is owned */
    struct segment *segments;   /* owned; the first is being filled */
    size_t bytes_max, heap, disk;
    bool pressed, disk_failed;
};

static struct rf_outbox_item *new_item(void)
{
    struct rf_outbox_item *item = calloc(1, sizeof(*item));
    if (item)
        item->refs = 1;
    return item;
}

struct rf_outbox *rf_outbox_new(size_t bytes_max)
{
    struct rf_outbox *outbox = calloc(1, sizeof(*outbox));
    if (!outbox)
        return NULL;
    outbox->bytes_max = bytes_max ? bytes_max : RF_IOPUB_SPOOL_MAX;
    outbox->end = new_item();
    return outbox->end ? outbox : rf_outbox_free(outbox);
}

/* --- segments --- */

static void free_segment(struct segment *segment)
{
    munmap(segment->map, segment->size);
    close(segment->fd);
    free(segment);
}

static void drop_segment(struct rf_outbox *outbox, struct segment *segment)
{
    struct segment **at = &outbox->segments;
    while (*at != segment)
        at = &(*at)->next;
    *at = segment->next;
    free_segment(segment);
}

static int open_spool_in(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char path[4096]; /* a file system without O_TMPFILE */
    if (snprintf(path, sizeof(path), "%s/ringfence-XXXXXX", folder) >= (int)sizeof(path))
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static int open_spool(void)
{
    const char *const folders[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        int fd = folders[i] && folders[i][0] == '/' ? open_spool_in(folders[i]) : -1;
        if (fd >= 0)
            return fd;
    }
    return -1;
}

static struct segment *new_segment(size_t least)
{
    size_t size = least > SEGMENT_SIZE ? (least + 4095) & ~(size_t)4095 : SEGMENT_SIZE;
    RF_AUTO(rf_freep) struct segment *segment = calloc(1, sizeof(*segment));
    RF_AUTO(rf_closep) int fd = open_spool();
    if (!segment || fd < 0 || ftruncate(fd, (off_t)size))
        return NULL;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    segment->map = map;
    segment->size = size;
    segment->fd = rf_steal_fd(&fd);
    return rf_steal(&segment);
}

/* A segment with room for `len` bytes; NULL with errno set. */
static struct segment *find_room(struct rf_outbox *outbox, size_t len)
{
    struct segment *first = outbox->segments;
    if (first && first->size - first->used >= len)
        return first;
    struct segment *segment = new_segment(len);
    if (segment) {
        segment->next = outbox->segments;
        outbox->segments = segment;
    }
    return segment;
}

static int write_all(int fd, struct rf_bytes bytes, off_t at)
{
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        bytes.data += n;
        bytes.len -= (size_t)n;
        at += n;
    }
    return 0;
}

static void log_disk(struct rf_outbox *outbox, int error)
{
    if (!outbox->disk_failed)
        rf_log(RF_LOG_ERROR, "iopub",
               "cannot spool output for slow subscribers: %s; until there is room in TMPDIR, "
               "/var/tmp or /tmp output is left out while they lag", strerror(error));
    outbox->disk_failed = true;
}

/* Moves a message from the heap to the disk.  False: it stays where it is. */
static bool move_to_disk(struct rf_outbox *outbox, struct rf_outbox_item *item)
{
    struct segment *segment = find_room(outbox, item->len);
    int r = segment ? write_all(segment->fd, (struct rf_bytes){item->data, item->len},
                                (off_t)segment->used)
                    : -errno;
    outbox->disk_failed = outbox->disk_failed && r;
    if (r) {
        log_disk(outbox, -r);
        return false;
    }
    uint8_t *there = segment->map + segment->used;
    item->topic.data = there + (item->topic.data - item->data);
    free(item->data);
    item->data = there;
    item->segment = segment;
    segment->used += item->len;
    segment->items++;
    return true;
}

/* --- the list --- */

static void forget_message(struct rf_outbox *outbox, struct rf_outbox_item *item)
{
    size_t *charged = item->segment ? &outbox->disk : &outbox->heap;
    outbox->heap -= item->data ? ITEM_COST : 0;
    *charged -= item->len;
    if (!item->segment)
        free(item->data);
    else if (--item->segment->items == 0)
        drop_segment(outbox, item->segment);
}

/* Frees what only this one held, one after the other. */
static void unref(struct rf_outbox *outbox, struct rf_outbox_item *item)
{
    while (item && --item->refs == 0) {
        struct rf_outbox_item *next = item->next;
        forget_message(outbox, item);
        free(item);
        item = next;
    }
}

struct rf_outbox *rf_outbox_free(struct rf_outbox *outbox)
{
    if (!outbox)
        return NULL;
    unref(outbox, outbox->end);
    while (outbox->segments)
        drop_segment(outbox, outbox->segments);
    free(outbox);
    return NULL;
}

struct rf_outbox_item *rf_outbox_end(struct rf_outbox *outbox)
{
    outbox->end->refs++;
    return outbox->end;
}

struct rf_outbox_item *rf_outbox_next(struct rf_outbox *outbox, struct rf_outbox_item *item)
{
    struct rf_outbox_item *next = item->next;
    next->refs++;
    unref(outbox, item);
    return next;
}

struct rf_outbox_item *rf_outbox_leave(struct rf_outbox *outbox, struct rf_outbox_item *item)
{
    unref(outbox, item);
    return NULL;
}

const struct rf_outbox_item *rf_outbox_peek(const struct rf_outbox_item *item)
{
    return item->next;
}

bool rf_outbox_is_end(const struct rf_outbox_item *item)
{
    return !item->next;
}

struct rf_bytes rf_outbox_bytes(const struct rf_outbox_item *item)
{
    return (struct rf_bytes){item->data, item->len};
}

struct rf_bytes rf_outbox_topic(const struct rf_outbox_item *item)
{
    return item->topic;
}

size_t rf_outbox_waiting(const struct rf_outbox *outbox)
{
    return outbox->heap + outbox->disk;
}

bool rf_outbox_is_pressed(struct rf_outbox *outbox)
{
    size_t waiting = rf_outbox_waiting(outbox);
    if (waiting > outbox->bytes_max / 4 * 3)
        outbox->pressed = true;
    else if (waiting < outbox->bytes_max / 2)
        outbox->pressed = false;
    return outbox->pressed;
}

/* Fills the end with a message on the heap and puts a new end behind it. */
static int append(struct rf_outbox *outbox, struct rf_outbox_item message, bool wants_disk,
                  bool essential)
{
    struct rf_outbox_item *item = outbox->end, *end = new_item();
    bool on_disk = end && wants_disk && move_to_disk(outbox, &message);
    if (!end || (wants_disk && !on_disk && !essential)) {
        free(message.data);
        free(end);
        return end ? -ENOBUFS : -ENOMEM;
    }
    message.refs = item->refs;
    message.next = end;
    *item = message;
    outbox->heap += ITEM_COST + (on_disk ? 0 : item->len);
    outbox->disk += on_disk ? item->len : 0;
    end->refs++; /* the item's own, beside the list's */
    outbox->end = end;
    unref(outbox, item);
    return 0;
}

struct frames {
    const struct rf_bytes *first, *rest;
    size_t n_first, n;
};

static const struct rf_bytes *frame_at(const struct frames *frames, size_t i)
{
    return i < frames->n_first ? &frames->first[i] : &frames->rest[i - frames->n_first];
}

/* Copies the frames one after the other, each with its header. */
static int encode(const struct frames *frames, size_t room, struct rf_outbox_item *ret)
{
    uint8_t *data = malloc(room);
    size_t at = 0, n = frames->n_first + frames->n;
    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct rf_bytes *frame = frame_at(frames, i);
        at += rf_zmtp_header(frame->len, i + 1 < n, data + at);
        if (frame->len)
            memcpy(data + at, frame->data, frame->len);
        if (i == 0)
            ret->topic = (struct rf_bytes){data + at, frame->len};
        at += frame->len;
    }
    ret->data = data;
    ret->len = at;
    return 0;
}

/* The most that the frames take when encoded; 0: too much, or none. */
static size_t encoded_max(const struct frames *frames)
{
    size_t n = frames->n_first + frames->n, room = n * RF_ZMTP_HEADER_MAX;
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(room, frame_at(frames, i)->len, &room))
            return 0;
    return room;
}

int rf_outbox_add(struct rf_outbox *outbox, const struct rf_bytes *first, size_t n_first,
                  const struct rf_bytes *rest, size_t n, bool essential)
{
    struct frames frames = {first, rest, n_first, n};
    struct rf_outbox_item message = {0};
    size_t room = encoded_max(&frames), waiting = rf_outbox_waiting(outbox) + ITEM_COST;
    if (!room)
        return -EMSGSIZE;
    if (outbox->end->refs == 1) /* nobody reads */
        return 0;
    bool full = room > outbox->bytes_max || waiting > outbox->bytes_max - room;
    if (full && !essential) {
        outbox->pressed = true;
        return -ENOBUFS;
    }
    int r = encode(&frames, room, &message);
    bool wants_disk = !full && outbox->heap + room > RF_IOPUB_MEMORY_MAX;
    return r ? r : append(outbox, message, wants_disk, essential);
}
