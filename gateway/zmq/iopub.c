/* See iopub.h. */
#include "gateway/zmq/iopub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <zmq.h>

#include <ringfence/limits.h>

#include "common/cleanup.h"
#include "common/log.h"

#define SEGMENT_SIZE ((size_t)16 << 20)
#define INLINE_MAX 33u    /* libzmq keeps frames up to this size within zmq_msg_t */
#define CONTENT_COST 64u  /* what libzmq allocates for each larger one */
#define HEAP_MAX (4 * (size_t)RF_IOPUB_MEMORY_MAX) /* bodies and libzmq's overhead together */
#define FRAMES_MAX (RF_FRAMES_MAX + 16)

/* A part of the spool.  The file is written with pwrite(), since a full disk
 * is an error there and a SIGBUS in a mapping. */
struct segment {
    struct segment *next; /* owned */
    int fd;
    uint8_t *map;
    size_t size, used;
    atomic_size_t blocks; /* that lie in it and still wait */
};

/* The body of one message.  Shared by the frames that libzmq holds. */
struct block {
    struct rf_iopub *iopub;
    struct segment *segment; /* NULL: the bytes follow */
    size_t heap, disk;       /* charged */
    atomic_size_t frames;
    uint8_t bytes[];
};

struct rf_iopub {
    void *socket; /* borrowed */
    size_t spool_max;
    atomic_size_t heap, disk; /* bytes that wait */
    struct segment *segments; /* owned; the first is being filled */
    bool pressed, disk_failed;
    struct rf_bytes frames[FRAMES_MAX]; /* scratch: of the message being sent */
    zmq_msg_t parts[FRAMES_MAX];        /* scratch */
    size_t n;
};

struct rf_iopub *rf_iopub_new(void *socket, size_t spool_max)
{
    struct rf_iopub *iopub = calloc(1, sizeof(*iopub));
    if (!iopub)
        return NULL;
    iopub->socket = socket;
    iopub->spool_max = spool_max ? spool_max : RF_IOPUB_SPOOL_MAX;
    return iopub;
}

static void free_segment(struct segment *segment)
{
    munmap(segment->map, segment->size);
    close(segment->fd);
    free(segment);
}

struct rf_iopub *rf_iopub_free(struct rf_iopub *iopub)
{
    if (!iopub)
        return NULL;
    while (iopub->segments) {
        struct segment *segment = iopub->segments;
        iopub->segments = segment->next;
        free_segment(segment);
    }
    free(iopub);
    return NULL;
}

size_t rf_iopub_waiting(const struct rf_iopub *iopub)
{
    return atomic_load(&iopub->heap) + atomic_load(&iopub->disk);
}

bool rf_iopub_is_pressed(struct rf_iopub *iopub)
{
    size_t waiting = rf_iopub_waiting(iopub);
    if (waiting > iopub->spool_max / 4 * 3)
        iopub->pressed = true;
    else if (waiting < iopub->spool_max / 2 && atomic_load(&iopub->heap) < HEAP_MAX / 2)
        iopub->pressed = false;
    return iopub->pressed;
}

void rf_iopub_trim(struct rf_iopub *iopub)
{
    for (struct segment **at = &iopub->segments; *at;) {
        struct segment *segment = *at;
        if (atomic_load(&segment->blocks)) {
            at = &segment->next;
            continue;
        }
        *at = segment->next;
        free_segment(segment);
    }
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

/* Makes the first segment one with room for `len` bytes. */
static struct segment *find_room(struct rf_iopub *iopub, size_t len)
{
    struct segment *first = iopub->segments;
    if (first && atomic_load(&first->blocks) == 0)
        first->used = 0;
    if (first && first->size - first->used >= len)
        return first;
    rf_iopub_trim(iopub);
    struct segment *segment = new_segment(len);
    if (segment) {
        segment->next = iopub->segments;
        iopub->segments = segment;
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

/* Copies the frames one after the other; their slices then point to the copy. */
static int copy_to_segment(struct rf_iopub *iopub, struct segment *segment)
{
    size_t at = segment->used;
    for (size_t i = 0; i < iopub->n; i++) {
        struct rf_bytes *frame = &iopub->frames[i];
        int r = write_all(segment->fd, *frame, (off_t)at);
        if (r)
            return r;
        frame->data = segment->map + at;
        at += frame->len;
    }
    segment->used = at;
    return 0;
}

static void copy_to_heap(struct rf_iopub *iopub, struct block *block)
{
    uint8_t *at = block->bytes;
    for (size_t i = 0; i < iopub->n; i++) {
        struct rf_bytes *frame = &iopub->frames[i];
        if (frame->len)
            memcpy(at, frame->data, frame->len);
        frame->data = at;
        at += frame->len;
    }
}

/* Any thread: libzmq lets go of one frame. */
static void on_free(void *data, void *hint)
{
    struct block *block = hint;
    if (atomic_fetch_sub(&block->frames, 1) != 1)
        return;
    if (block->segment)
        atomic_fetch_sub(&block->segment->blocks, 1);
    atomic_fetch_sub(&block->iopub->heap, block->heap);
    atomic_fetch_sub(&block->iopub->disk, block->disk);
    free(block);
}

/* Takes the frames of the message into the scratch table.  Returns the bytes
 * of all of them. */
static int gather(struct rf_iopub *iopub, const struct rf_iopub_message *message, size_t *ret_len)
{
    if (message->n_topics > FRAMES_MAX || message->n > FRAMES_MAX - message->n_topics ||
        message->n_topics + message->n == 0)
        return -EMSGSIZE;
    iopub->n = 0;
    *ret_len = 0;
    for (size_t i = 0; i < message->n_topics; i++)
        iopub->frames[iopub->n++] = message->topics[i];
    for (size_t i = 0; i < message->n; i++)
        iopub->frames[iopub->n++] = message->frames[i];
    for (size_t i = 0; i < iopub->n; i++)
        if (__builtin_add_overflow(*ret_len, iopub->frames[i].len, ret_len))
            return -EMSGSIZE;
    return 0;
}

static struct block *block_on_heap(struct rf_iopub *iopub, size_t len, size_t overhead)
{
    struct block *block = malloc(sizeof(*block) + len);
    if (!block)
        return NULL;
    *block = (struct block){.iopub = iopub, .heap = len + overhead};
    copy_to_heap(iopub, block);
    return block;
}

static void log_disk(struct rf_iopub *iopub, int error)
{
    if (!iopub->disk_failed)
        rf_log(RF_LOG_ERROR, "iopub",
               "cannot spool output for slow subscribers: %s; until there is room in TMPDIR, "
               "/var/tmp or /tmp output is left out while they lag", strerror(error));
    iopub->disk_failed = true;
}

static struct block *block_on_disk(struct rf_iopub *iopub, size_t len, size_t overhead)
{
    RF_AUTO(rf_freep) struct block *block = malloc(sizeof(*block));
    struct segment *segment = block ? find_room(iopub, len) : NULL;
    int r = segment ? copy_to_segment(iopub, segment) : -errno;
    if (r) {
        log_disk(iopub, -r);
        return NULL;
    }
    iopub->disk_failed = false;
    *block = (struct block){.iopub = iopub, .segment = segment, .heap = overhead, .disk = len};
    atomic_fetch_add(&segment->blocks, 1);
    return rf_steal(&block);
}

/* Where the message waits.  An essential one finds a place while there is
 * memory at all. */
static int place(struct rf_iopub *iopub, const struct rf_iopub_message *message, size_t len,
                 struct block **ret)
{
    size_t slots = message->subscribers ? message->subscribers : 1;
    size_t overhead = iopub->n * (CONTENT_COST + slots * sizeof(zmq_msg_t));
    size_t heap = atomic_load(&iopub->heap);
    bool full = len > iopub->spool_max ||
                rf_iopub_waiting(iopub) + len + overhead > iopub->spool_max ||
                heap + overhead > HEAP_MAX;
    if (full && !message->essential) {
        iopub->pressed = true;
        return -ENOBUFS;
    }
    struct block *block = NULL;
    if (!full && heap + len + overhead > RF_IOPUB_MEMORY_MAX) {
        block = block_on_disk(iopub, len, overhead);
        if (!block && !message->essential)
            return -ENOBUFS;
    }
    if (!block)
        block = block_on_heap(iopub, len, overhead);
    *ret = block;
    return block ? 0 : -ENOMEM;
}

/* Small frames are copied into zmq_msg_t.  The last one is always by
 * reference: it leaves last, so its end tells that the others went before. */
static int make_parts(struct rf_iopub *iopub, struct block *block)
{
    for (size_t i = 0; i < iopub->n; i++) {
        struct rf_bytes frame = iopub->frames[i];
        bool copied = frame.len <= INLINE_MAX && i + 1 < iopub->n;
        if (copied && zmq_msg_init_size(&iopub->parts[i], frame.len) == 0) {
            if (frame.len)
                memcpy(zmq_msg_data(&iopub->parts[i]), frame.data, frame.len);
            continue;
        }
        atomic_fetch_add(&block->frames, 1);
        if (zmq_msg_init_data(&iopub->parts[i], (void *)(uintptr_t)frame.data, frame.len, on_free,
                              block) == 0)
            continue;
        while (i-- > 0)
            zmq_msg_close(&iopub->parts[i]);
        on_free(NULL, block); /* for the frame that was not made */
        return -ENOMEM;
    }
    return 0;
}

int rf_iopub_send(struct rf_iopub *iopub, const struct rf_iopub_message *message)
{
    size_t len;
    int r = gather(iopub, message, &len);
    if (r)
        return r;
    struct block *block;
    r = place(iopub, message, len, &block);
    if (r)
        return r;
    atomic_fetch_add(&iopub->heap, block->heap);
    atomic_fetch_add(&iopub->disk, block->disk);
    atomic_store(&block->frames, 1); /* ours, until all parts are given */
    r = make_parts(iopub, block);
    for (size_t i = 0; !r && i < iopub->n; i++)
        if (zmq_msg_send(&iopub->parts[i], iopub->socket,
                         ZMQ_DONTWAIT | (i + 1 < iopub->n ? ZMQ_SNDMORE : 0)) < 0)
            zmq_msg_close(&iopub->parts[i]); /* the context ends: there is no one left */
    on_free(NULL, block);
    return r;
}
