/* The checkpoints of one kernel: the automatic ones, and those that the user
 * ordered, by number and name.
 *
 * Embedded in its owner, the supervisor, which takes and resumes them; each
 * entry owns its process.  Knows nothing of workers.  The current one is that
 * of which the worker's state comes: the newest, or the one last resumed.
 */
#ifndef RINGFENCE_GATEWAY_SUPERVISE_CHECKPOINTS_H
#define RINGFENCE_GATEWAY_SUPERVISE_CHECKPOINTS_H

#include <stdbool.h>

#include "gateway/jupyter/kernel.h"
#include "gateway/supervise/checkpoint.h"

#define RF_CHECKPOINTS_ORDERED_MAX 8u /* that the user ordered */
#define RF_CHECKPOINTS_MAX (RF_CHECKPOINTS_ORDERED_MAX + 3)
#define RF_CHECKPOINT_NAME_MAX 64u   /* bytes */
#define RF_CHECKPOINT_REASON_MAX 240u

enum rf_checkpoint_class {
    RF_CHECKPOINT_FULL,
    RF_CHECKPOINT_CRASH_ONLY, /* resumed only where all would be lost otherwise */
    RF_CHECKPOINT_CLASSES,
};

struct rf_checkpoint_note {
    char name[RF_CHECKPOINT_NAME_MAX + 1]; /* "": none */
    bool ordered;                          /* by the user; else automatic */
    enum rf_checkpoint_class class;
    char reason[RF_CHECKPOINT_REASON_MAX]; /* of the class; UTF-8 */
    struct rf_kernel_mark mark;
    int64_t taken_us;                      /* since the epoch */
};

struct rf_checkpoint_entry {
    uint64_t number; /* counts up from 1, never used again */
    struct rf_checkpoint *process; /* owned */
    bool distrusted; /* what it made did not live: only resumed when it is named */
    struct rf_checkpoint_note note;
};

struct rf_checkpoints {
    struct rf_checkpoint_entry entries[RF_CHECKPOINTS_MAX]; /* oldest first */
    size_t n;
    uint64_t last_number;
    uint64_t current; /* a number; 0: none */
};

/* Ends all processes. */
void rf_checkpoints_clear(struct rf_checkpoints *checkpoints);

/* 0, or an error that says which names there can be. */
int rf_checkpoint_check_name(struct rf_bytes name, struct rf_error *err);
/* "full" and so on, as in RF_MSG_CHECKPOINTED; -1: no such class. */
int rf_checkpoint_class_of(struct rf_bytes word);
const char *rf_checkpoint_class_name(enum rf_checkpoint_class class);

/* Takes the process; the new one is current.  A name that another has goes over to the
 * new one, and the other is dropped.  NULL: no room, and the process is closed. */
const struct rf_checkpoint_entry *rf_checkpoints_add(struct rf_checkpoints *checkpoints,
                                                     struct rf_checkpoint *process,
                                                     const struct rf_checkpoint_note *note);
/* It was resumed: the state is its own. */
void rf_checkpoints_went_back(struct rf_checkpoints *checkpoints, uint64_t number);

/* Entries are valid until the next add or drop; NULL: none. */
struct rf_checkpoint_entry *rf_checkpoints_find(struct rf_checkpoints *checkpoints,
                                                struct rf_bytes name_or_number);
struct rf_checkpoint_entry *rf_checkpoints_by_id(struct rf_checkpoints *checkpoints, uint64_t id);
/* What to go on from after a death: the current one, else the newest that is trusted. */
struct rf_checkpoint_entry *rf_checkpoints_newest(struct rf_checkpoints *checkpoints);
size_t rf_checkpoints_ordered(const struct rf_checkpoints *checkpoints);

/* Ends its process. */
void rf_checkpoints_drop(struct rf_checkpoints *checkpoints, uint64_t number);
/* Drops the automatic ones but the current one and `number`. */
void rf_checkpoints_keep_automatic(struct rf_checkpoints *checkpoints, uint64_t number);

#endif
