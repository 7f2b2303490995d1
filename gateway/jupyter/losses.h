/* What the state of a kernel holds, and what going back costs: the cells in
 * between, and the words for it.
 *
 * Each answered cell comes after the one that the state held before: a tree,
 * since a rollback goes on from an older state.  A mark is a place in it; the
 * cells between two marks are found by their parents.  The newest
 * RF_CELLS_AT_RISK_MAX cells are known, older ones only counted.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_LOSSES_H
#define RINGFENCE_GATEWAY_JUPYTER_LOSSES_H

#include "gateway/jupyter/kernel.h"
#include "gateway/jupyter/request.h"

#define RF_CELLS_AT_RISK_MAX 1000u

struct rf_lost_cell;

struct rf_losses {
    struct rf_lost_cell *cells; /* owned; a ring, by their numbers here; NULL: none yet */
    uint64_t last;              /* the newest cell's number */
    struct rf_kernel_mark at;   /* the state of the worker */
    struct rf_kernel_mark saved; /* of the newest checkpoint */
    uint64_t *undone;            /* owned; execution_counts of what was undone last, oldest first */
    size_t n_undone;
};

void rf_losses_deinit(struct rf_losses *losses);

/* A cell was answered: the state holds it. */
void rf_losses_answered(struct rf_losses *losses, const struct rf_cell *cell);
/* A checkpoint holds what the answered cells did. */
void rf_losses_saved(struct rf_losses *losses);
/* The worker's state is that of the mark now; NULL: that of a fresh worker.  `running`:
 * the cell that went with it, or NULL. */
void rf_losses_go_back(struct rf_losses *losses, const struct rf_kernel_mark *to,
                       const struct rf_request *running);

/* How many numbered cells going back to `mark` would undo; -1: the state does not
 * come of it. */
int64_t rf_losses_undone(const struct rf_losses *losses, const struct rf_kernel_mark *mark);

/* The words for a death.  `running`: the request that it hit, or NULL. */
struct rf_report {
    struct rf_buf headline; /* one line: how it ended, what became of the state */
    struct rf_buf lines;    /* the same for people, with the list of cells */
};

void rf_losses_report(const struct rf_losses *losses, const struct rf_death *death,
                      const struct rf_request *running, struct rf_report *ret);
void rf_report_deinit(struct rf_report *report);

/* The words for a rollback to `mark`: what is undone, what stays. */
void rf_losses_rollback(const struct rf_losses *losses, const struct rf_kernel_mark *mark,
                        struct rf_buf *to);

#endif
