/* See ahead.h. */
#include "kernel/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/huge.h"

#define PIECE ((uintptr_t)2 << 20)
#define PAGE 4096u
#define BEGUN 4    /* pieces in a row that the worker has left: it goes through all */
#define PIECES_MIN 16 /* of a mapping: less is copied as quickly as it is looked at */
#define SHARED_MAX (PIECE / PAGE / 8) /* pages that others have, in a piece that is gathered */
#define SPANS_MAX 256

static struct span {
    uintptr_t start, end; /* on borders of pieces */
    bool begun;
} spans[SPANS_MAX];
static size_t n_spans;
static bool found; /* the spans */

long rf_resident_pages(void)
{
    char text[128];
    RF_AUTO(rf_closep) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    long total, resident;
    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "%ld %ld", &total, &resident) == 2 ? resident : 0;
}

/* Mappings of the process's own memory, none larger than twice all that is present.  Which of
 * them are of huge pages only smaps tells, and that looks at each page: 30 ms for 4 GB, in which
 * no order would be obeyed. */
static void find_spans(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], mode[8] = "";
    uintptr_t start, end;
    unsigned long inode;
    size_t most = 2 * PAGE * (size_t)rf_resident_pages();
    n_spans = 0;
    found = true;
    while (maps && n_spans < SPANS_MAX && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %lu", &start, &end, mode, &inode) != 4)
            continue;
        struct span span = {(start + PIECE - 1) / PIECE * PIECE, end / PIECE * PIECE, false};
        if (!strcmp(mode, "rw-p") && !inode && span.end > span.start &&
            span.end - span.start >= PIECES_MIN * PIECE && span.end - span.start <= most)
            spans[n_spans++] = span;
    }
    if (maps)
        fclose(maps);
}

static int open_pagemap(void)
{
    return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static bool is_present(uint64_t entry)
{
    return entry >> 63;
}

/* No other process has the page. */
static bool is_ours(uint64_t entry)
{
    return is_present(entry) && entry >> 56 & 1;
}

static bool is_shared(uint64_t entry)
{
    return is_present(entry) && !is_ours(entry);
}

/* Of the page in the middle of it; 0 where there is none. */
static uint64_t probe(int pagemap, uintptr_t piece)
{
    uint64_t entry = 0;
    off_t at = (off_t)((piece + PIECE / 2) / PAGE * sizeof(entry));
    return pread(pagemap, &entry, sizeof(entry), at) == (ssize_t)sizeof(entry) ? entry : 0;
}

/* Of so many pages from `start` on, those for which `is` is true. */
static size_t count_some(int pagemap, uintptr_t start, size_t pages, bool (*is)(uint64_t entry))
{
    uint64_t entries[PIECE / PAGE];
    size_t found_pages = 0;
    ssize_t len = pread(pagemap, entries, pages * sizeof(*entries),
                        (off_t)(start / PAGE * sizeof(*entries)));
    for (ssize_t i = 0; i < len / (ssize_t)sizeof(*entries); i++)
        found_pages += is(entries[i]);
    return found_pages;
}

static size_t count(int pagemap, uintptr_t piece, bool (*is)(uint64_t entry))
{
    return count_some(pagemap, piece, PIECE / PAGE, is);
}

/* A cell writes the counts of references of what it looks at; that is not to rewrite it.
 * Of a huge page Linux tells the same for each page: whether the first one is shared. */
static bool is_left(int pagemap, uintptr_t piece, uint64_t middle)
{
    return is_ours(middle) && count(pagemap, piece, is_ours) >= PIECE / PAGE / 2;
}

static bool is_asked(int socket)
{
    struct pollfd waiting = {socket, POLLIN, 0};
    return poll(&waiting, 1, 0);
}

long rf_shared_pages(int socket)
{
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    uintptr_t at, end;
    bool asked = false;
    size_t shared = 0, most = 2 * PAGE * (size_t)rf_resident_pages();
    while (maps && !asked && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &at, &end) != 2 || end - at > most)
            continue;
        for (; at < end && !(asked = is_asked(socket)); at += PIECE)
            shared += count_some(pagemap, at, (end - at < PIECE ? end - at : PIECE) / PAGE, is_shared);
    }
    if (maps)
        fclose(maps);
    return asked ? 0 : (long)shared;
}

static size_t look_at(int pagemap, struct span *span)
{
    size_t row = 0, shared = 0;
    span->begun = false;
    for (uintptr_t piece = span->start; piece < span->end; piece += PIECE) {
        uint64_t middle = probe(pagemap, piece);
        shared += is_shared(middle);
        row = !span->begun && is_left(pagemap, piece, middle) ? row + 1 : 0;
        span->begun |= row == BEGUN;
    }
    span->begun &= shared > 0;
    return span->begun ? shared * PIECE : 0;
}

void rf_ahead_forget(void)
{
    found = false;
}

size_t rf_ahead_look(int socket)
{
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    if (!found)
        find_spans();
    size_t bytes = 0;
    for (size_t i = 0; pagemap >= 0 && i < n_spans; i++) {
        if (is_asked(socket))
            return 0;
        bytes += look_at(pagemap, &spans[i]);
    }
    return bytes;
}

/* A write, as only what is split is put together anew; to whatever lies there, freed or not. */
__attribute__((no_sanitize_address)) static void copy_piece(uintptr_t piece)
{
    volatile uint8_t *byte = (volatile uint8_t *)piece;
    *byte = *byte;
    madvise((void *)piece, PIECE, MADV_COLLAPSE);
}

/* Not where it would fill holes. */
static bool is_worth_copying(int pagemap, uintptr_t piece)
{
    return is_shared(probe(pagemap, piece)) && count(pagemap, piece, is_present) == PIECE / PAGE;
}

void rf_ahead_copy(int socket)
{
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    for (size_t i = 0; pagemap >= 0 && i < n_spans; i++)
        for (uintptr_t piece = spans[i].end; spans[i].begun && piece > spans[i].start;) {
            piece -= PIECE;
            if (is_asked(socket))
                return;
            if (is_worth_copying(pagemap, piece))
                copy_piece(piece);
        }
}

static bool is_whole_and_ours(int pagemap, uintptr_t piece)
{
    return count(pagemap, piece, is_ours) >= PIECE / PAGE - SHARED_MAX &&
           count(pagemap, piece, is_present) == PIECE / PAGE;
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void rf_ahead_gather(int socket, int most_ms)
{
    int64_t until = milliseconds() + most_ms;
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    find_spans();
    for (size_t i = 0; pagemap >= 0 && i < n_spans; i++)
        for (uintptr_t piece = spans[i].start; piece < spans[i].end; piece += PIECE) {
            if (is_asked(socket) || milliseconds() >= until)
                return;
            if (is_whole_and_ours(pagemap, piece) && madvise((void *)piece, PIECE, MADV_COLLAPSE) &&
                (errno == ENOMEM || errno == EINVAL))
                return; /* no room, or no such call */
        }
}
