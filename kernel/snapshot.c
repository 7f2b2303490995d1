/* See snapshot.h. */
#include "kernel/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/huge.h"

#define PAGE 4096u
#define SHARE 25 /* giving back takes one part in so many of the time */
#define REGIONS_MAX 4096u
#define HUGE (2u << 20) /* regions lie in the file as they do in one */
#define ENTRIES 512u /* of /proc/self/pagemap, read at once */

struct region {
    uint8_t *start;
    size_t len;
    size_t at; /* in the file */
};

/* In static memory, as the heap is what is replaced. */
static struct region regions[REGIONS_MAX];
static size_t n_regions;
static bool unmapped; /* pages of the file that nobody had asked for */
static const uint8_t *view; /* the whole file; NULL: none was taken */

/* --- arenas --- */

void *rf_snapshot_arena_new(void *unused, size_t size)
{
    (void)unused;
    if (view)
        return rf_huge_arena_new(size);
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        return NULL;
    if (n_regions < REGIONS_MAX - 1) /* one is for malloc's heap */
        regions[n_regions++] = (struct region){arena, size, 0};
    return arena;
}

void rf_snapshot_arena_free(void *unused, void *arena, size_t size)
{
    (void)unused;
    size_t i = n_regions;
    while (i-- > 0 && regions[i].start != arena)
        ;
    if (i == SIZE_MAX && view)
        rf_huge_arena_free(arena, size);
    else if (i == SIZE_MAX)
        munmap(arena, size);
    else if (view) /* its address must not become another mapping's: that would be compared */
        mmap(arena, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    else {
        munmap(arena, size);
        regions[i] = regions[--n_regions];
    }
}

/* --- taking --- */

/* malloc's heap up to a block that is never freed, so that malloc cannot give back what is
 * below and get other memory there. */
static void add_heap(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    uintptr_t start = 0, end = 0;
    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "[heap]") && sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2)
            break;
    if (maps)
        fclose(maps);
    static void *pin;
    pin = malloc(2 * PAGE);
    uintptr_t limit = (uintptr_t)pin / PAGE * PAGE;
    if (limit > start && limit < end)
        regions[n_regions++] = (struct region){(uint8_t *)start, limit - start, 0};
}

static int by_address(const void *a, const void *b)
{
    const struct region *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* In the order of addresses the kernel makes one mapping of neighbours. */
static size_t place_regions(void)
{
    size_t total = 0;
    qsort(regions, n_regions, sizeof(*regions), by_address);
    for (size_t i = 0; i < n_regions; i++) {
        regions[i].at = total + ((uintptr_t)regions[i].start - total) % HUGE;
        total = regions[i].at + regions[i].len;
    }
    return total;
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* Pages of zeros stay holes in the file. */
static int write_region(int fd, const struct region *region)
{
    for (size_t at = 0; at < region->len; at += PAGE) {
        const uint8_t *page = region->start + at;
        if (!is_zero(page) && pwrite(fd, page, PAGE, (off_t)(region->at + at)) != (ssize_t)PAGE)
            return errno ? -errno : -EIO;
    }
    return 0;
}

static int write_file(size_t total)
{
    RF_AUTO(rf_closep) int fd = memfd_create("ringfence-heap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)total))
        return -errno;
    for (size_t i = 0; i < n_regions; i++) {
        int r = write_region(fd, &regions[i]);
        if (r)
            return r;
    }
    /* All workers share it, and none may change it for the others. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return -errno;
    /* Until Linux 6.7 a descriptor that may write makes no shared mapping of such a file. */
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    return reading < 0 ? -errno : reading;
}

/* At the start of a huge page, so that the file can be made of such: a fork copies its entries,
 * and a fault makes them, many at a time then. */
static const uint8_t *map_whole(int fd, size_t total)
{
    uint8_t *room = mmap(NULL, total + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    uint8_t *start = room + (HUGE - (uintptr_t)room % HUGE) % HUGE;
    if (mmap(start, total, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        return NULL;
    madvise(start, total / HUGE * HUGE, MADV_COLLAPSE); /* where the machine cannot, it is as it was */
    madvise(start, total, MADV_DONTNEED);
    return start;
}

int rf_snapshot_take(void)
{
    add_heap();
    size_t total = place_regions();
    RF_AUTO(rf_closep) int fd = write_file(total);
    if (fd < 0)
        return fd;
    const uint8_t *whole = map_whole(fd, total);
    if (!whole)
        return -errno;
    size_t replaced = 0;
    for (; replaced < n_regions; replaced++) {
        const struct region *region = &regions[replaced];
        if (mmap(region->start, region->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
                 (off_t)region->at) == MAP_FAILED)
            break; /* this one and those behind it are as they were */
    }
    n_regions = replaced;
    view = whole;
    return 0;
}

/* --- giving back --- */

/* A page of the process's own where the file's was: present, and of no file. */
static bool is_copy(uint64_t entry)
{
    return entry >> 63 && !(entry >> 61 & 1);
}

/* Not one that is swapped out, which may be a copy. */
static bool is_the_files(uint64_t entry)
{
    return entry >> 63 && entry >> 61 & 1;
}

/* Of the zygote's pages most are never looked at.  Each fork copies the table of all, so
 * they are unmapped, once; what is needed comes again, sixteen at a time. */
static void unmap_clean(uint8_t *start, const uint64_t *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t from = i;
        while (i < n && is_the_files(entries[i]))
            i++;
        if (i > from)
            madvise(start + from * PAGE, (i - from) * PAGE, MADV_DONTNEED);
    }
}

static size_t drop_equal(uint8_t *start, const uint8_t *was, const uint64_t *entries, size_t n)
{
    size_t dropped = 0;
    if (!unmapped)
        unmap_clean(start, entries, n);
    for (size_t i = 0; i < n; i++) {
        size_t from = i;
        while (i < n && is_copy(entries[i]) && !memcmp(start + i * PAGE, was + i * PAGE, PAGE))
            i++;
        if (i > from && !madvise(start + from * PAGE, (i - from) * PAGE, MADV_DONTNEED))
            dropped += i - from;
    }
    return dropped;
}

static size_t give_back_region(int pagemap, const struct region *region)
{
    uint64_t entries[ENTRIES];
    size_t dropped = 0;
    for (size_t at = 0; at < region->len; at += ENTRIES * PAGE) {
        size_t n = (region->len - at) / PAGE;
        n = n < ENTRIES ? n : ENTRIES;
        off_t offset = (off_t)((uintptr_t)(region->start + at) / PAGE * sizeof(*entries));
        ssize_t len = pread(pagemap, entries, n * sizeof(*entries), offset);
        if (len > 0)
            dropped += drop_equal(region->start + at, view + region->at + at, entries,
                                  (size_t)len / sizeof(*entries));
    }
    return dropped;
}

static int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t give_back_all(void)
{
    RF_AUTO(rf_closep) int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        return 0;
    sigset_t all, before; /* a handler could write, too */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    size_t dropped = 0, total = 0;
    for (size_t i = 0; i < n_regions; i++) {
        dropped += give_back_region(pagemap, &regions[i]);
        total = regions[i].at + regions[i].len;
    }
    unmapped = true;
    madvise((void *)(uintptr_t)view, total, MADV_DONTNEED); /* its page tables only */
    sigprocmask(SIG_SETMASK, &before, NULL);
    return dropped;
}

void rf_snapshot_unmap(void)
{
    if (view)
        give_back_all();
    unmapped = false;
}

size_t rf_snapshot_give_back(void)
{
    static int64_t not_before;
    int64_t began = microseconds();
    if (!view || began < not_before)
        return 0;
    size_t dropped = give_back_all();
    int64_t ended = microseconds();
    not_before = ended + (ended - began) * SHARE;
    return dropped;
}
