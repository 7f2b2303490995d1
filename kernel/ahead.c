/* See ahead.h. */
#include "kernel/ahead.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"

#define PIECE ((uintptr_t)2 << 20)
#define PAGE 4096u
#define BEGUN 4    /* pieces that the worker has left: it goes through all */
#define PIECES_MIN 16 /* of a mapping: less is copied as quickly as it is looked at */
#define SPANS_MAX 64

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static struct span {
    uintptr_t start, end; /* on borders of pieces */
    bool begun;
} spans[SPANS_MAX];
static size_t n_spans;
static bool found; /* the spans */

/* Mappings of the process's own that are of huge pages for the most part. */
static void find_spans(void)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512], mode[8] = "";
    uintptr_t start, end;
    unsigned long huge_kb;
    struct span span = {0};
    n_spans = 0;
    found = true;
    while (maps && n_spans < SPANS_MAX && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &start, &end, mode) == 3)
            span = (struct span){(start + PIECE - 1) / PIECE * PIECE, end / PIECE * PIECE, false};
        else if (sscanf(line, "AnonHugePages: %lu", &huge_kb) == 1 && !strcmp(mode, "rw-p") &&
                 span.end > span.start && span.end - span.start >= PIECES_MIN * PIECE &&
                 huge_kb >= (span.end - span.start) / 1024 / 2)
            spans[n_spans++] = span;
    }
    if (maps)
        fclose(maps);
}

/* Does no other process have the page in the middle of it? */
static bool is_ours(int pagemap, uintptr_t piece)
{
    uint64_t entry = 0;
    off_t at = (off_t)((piece + PIECE / 2) / PAGE * sizeof(entry));
    return pread(pagemap, &entry, sizeof(entry), at) == (ssize_t)sizeof(entry) &&
           (!(entry >> 63) || entry >> 56 & 1);
}

static int open_pagemap(void)
{
    return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static size_t look_at(int pagemap, struct span *span)
{
    size_t left = 0, shared = 0;
    for (uintptr_t piece = span->start; piece < span->end; piece += PIECE)
        if (is_ours(pagemap, piece))
            left++;
        else
            shared++;
    span->begun = left >= BEGUN && shared;
    return span->begun ? shared * PIECE : 0;
}

void rf_ahead_forget(void)
{
    found = false;
}

size_t rf_ahead_look(void)
{
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    if (!found)
        find_spans();
    size_t bytes = 0;
    for (size_t i = 0; pagemap >= 0 && i < n_spans; i++)
        bytes += look_at(pagemap, &spans[i]);
    return bytes;
}

/* A write, as only what is split is put together anew. */
static void copy_piece(uintptr_t piece)
{
    volatile uint8_t *byte = (volatile uint8_t *)piece;
    *byte = *byte;
    madvise((void *)piece, PIECE, MADV_COLLAPSE);
}

void rf_ahead_copy(int socket)
{
    struct pollfd waiting = {socket, POLLIN, 0};
    RF_AUTO(rf_closep) int pagemap = open_pagemap();
    for (size_t i = 0; pagemap >= 0 && i < n_spans; i++)
        for (uintptr_t piece = spans[i].end; spans[i].begun && piece > spans[i].start;) {
            piece -= PIECE;
            if (poll(&waiting, 1, 0))
                return;
            if (!is_ours(pagemap, piece))
                copy_piece(piece);
        }
}
