/* What a worker's death costs: the cells at risk, and the words for it.
 *
 * A cell is at risk from its answer until a checkpoint is made after it.  The
 * list is bounded: beyond RF_CELLS_AT_RISK_MAX cells are only counted.
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_LOSSES_H
#define RINGFENCE_GATEWAY_JUPYTER_LOSSES_H

#include "gateway/jupyter/kernel.h"
#include "gateway/jupyter/request.h"

#define RF_CELLS_AT_RISK_MAX 1000u

struct rf_lost_cell;

struct rf_losses {
    struct rf_lost_cell *cells; /* owned; oldest first */
    size_t n, cap;
    uint64_t more;  /* at risk, not in the list */
    uint64_t saved; /* answered by this state of the worker before its newest checkpoint */
};

void rf_losses_deinit(struct rf_losses *losses);

/* A cell was answered. */
void rf_losses_answered(struct rf_losses *losses, const struct rf_cell *cell);
/* A checkpoint holds what the answered cells did. */
void rf_losses_saved(struct rf_losses *losses);
/* The worker's state is that of the checkpoint (`resumed`) or new. */
void rf_losses_rolled_back(struct rf_losses *losses, bool resumed);

/* The words for a death.  `running`: the request that it hit, or NULL. */
struct rf_report {
    struct rf_buf headline; /* one line: how it ended, what became of the state */
    struct rf_buf lines;    /* the same for people, with the list of cells */
};

void rf_losses_report(const struct rf_losses *losses, const struct rf_death *death,
                      const struct rf_request *running, struct rf_report *ret);
void rf_report_deinit(struct rf_report *report);

#endif
