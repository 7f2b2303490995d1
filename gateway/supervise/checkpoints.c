/* See checkpoints.h. */
#include "gateway/supervise/checkpoints.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"

static const char *const class_names[RF_CHECKPOINT_CLASSES] = {"full", "crash-only"};

int rf_checkpoint_class_of(struct rf_bytes word)
{
    for (int i = 0; i < RF_CHECKPOINT_CLASSES; i++)
        if (rf_bytes_eq(word, rf_bytes_str(class_names[i])))
            return i;
    return -1;
}

const char *rf_checkpoint_class_name(enum rf_checkpoint_class class)
{
    return class_names[class];
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

int rf_checkpoint_check_name(struct rf_bytes name, struct rf_error *err)
{
    bool good = name.len && name.len <= RF_CHECKPOINT_NAME_MAX && is_letter(name.data[0]);
    for (size_t i = 0; good && i < name.len; i++)
        good = is_letter(name.data[i]) || (name.data[i] >= '0' && name.data[i] <= '9') ||
               name.data[i] == '-' || name.data[i] == '.';
    if (good)
        return 0;
    return rf_error_set(err, -EINVAL,
                        "no name for a checkpoint: use a letter or _, then letters, digits, "
                        "'_', '-' and '.', at most %u of them",
                        RF_CHECKPOINT_NAME_MAX);
}

static void drop(struct rf_checkpoints *checkpoints, size_t i)
{
    struct rf_checkpoint_entry *entry = &checkpoints->entries[i];
    if (checkpoints->current == entry->number)
        checkpoints->current = 0;
    rf_checkpoint_close(rf_steal(&entry->process));
    memmove(entry, entry + 1, (--checkpoints->n - i) * sizeof(*entry));
}

void rf_checkpoints_clear(struct rf_checkpoints *checkpoints)
{
    while (checkpoints->n)
        drop(checkpoints, checkpoints->n - 1);
}

void rf_checkpoints_drop(struct rf_checkpoints *checkpoints, uint64_t number)
{
    for (size_t i = 0; i < checkpoints->n; i++)
        if (checkpoints->entries[i].number == number) {
            drop(checkpoints, i);
            return;
        }
}

void rf_checkpoints_keep_automatic(struct rf_checkpoints *checkpoints, uint64_t number)
{
    for (size_t i = checkpoints->n; i--;)
        if (!checkpoints->entries[i].note.ordered && checkpoints->entries[i].number != number &&
            checkpoints->entries[i].number != checkpoints->current)
            drop(checkpoints, i);
}

const struct rf_checkpoint_entry *rf_checkpoints_add(struct rf_checkpoints *checkpoints,
                                                     struct rf_checkpoint *process,
                                                     const struct rf_checkpoint_note *note)
{
    struct rf_checkpoint_entry *same =
        note->name[0] ? rf_checkpoints_find(checkpoints, rf_bytes_str(note->name)) : NULL;
    if (same)
        rf_checkpoints_drop(checkpoints, same->number);
    if (checkpoints->n == RF_CHECKPOINTS_MAX) {
        rf_checkpoint_close(process);
        return NULL;
    }
    struct rf_checkpoint_entry *entry = &checkpoints->entries[checkpoints->n++];
    *entry = (struct rf_checkpoint_entry){
        .number = ++checkpoints->last_number, .process = process, .note = *note};
    checkpoints->current = entry->number;
    return entry;
}

struct rf_checkpoint_entry *rf_checkpoints_find(struct rf_checkpoints *checkpoints,
                                                struct rf_bytes name_or_number)
{
    uint64_t number = 0;
    rf_bytes_u64(name_or_number, &number);
    for (size_t i = 0; i < checkpoints->n; i++) {
        struct rf_checkpoint_entry *entry = &checkpoints->entries[i];
        if (entry->number == number ||
            (entry->note.name[0] && rf_bytes_eq(rf_bytes_str(entry->note.name), name_or_number)))
            return entry;
    }
    return NULL;
}

struct rf_checkpoint_entry *rf_checkpoints_by_id(struct rf_checkpoints *checkpoints, uint64_t id)
{
    for (size_t i = 0; i < checkpoints->n; i++)
        if (rf_checkpoint_id(checkpoints->entries[i].process) == id)
            return &checkpoints->entries[i];
    return NULL;
}

struct rf_checkpoint_entry *rf_checkpoints_newest(struct rf_checkpoints *checkpoints)
{
    struct rf_checkpoint_entry *newest = NULL;
    for (size_t i = 0; i < checkpoints->n; i++) {
        struct rf_checkpoint_entry *entry = &checkpoints->entries[i];
        if (entry->distrusted)
            continue;
        if (entry->number == checkpoints->current)
            return entry;
        newest = entry;
    }
    return newest;
}

void rf_checkpoints_went_back(struct rf_checkpoints *checkpoints, uint64_t number)
{
    checkpoints->current = number;
}

size_t rf_checkpoints_ordered(const struct rf_checkpoints *checkpoints)
{
    size_t ordered = 0;
    for (size_t i = 0; i < checkpoints->n; i++)
        ordered += checkpoints->entries[i].note.ordered;
    return ordered;
}
