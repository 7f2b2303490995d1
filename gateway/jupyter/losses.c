/* See losses.h. */
#include "gateway/jupyter/losses.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/json.h"

#define LINE_MAX_BYTES 100u       /* of a cell's first line */
#define TRACEBACK_MAX (64u << 10) /* of faulthandler's text */

struct rf_lost_cell {
    uint64_t parent; /* 0: it was the first */
    uint64_t count;  /* 0: the cell has no number */
    uint8_t len;
    char line[LINE_MAX_BYTES];
};

/* Cells between two states, newest first. */
struct between {
    uint64_t numbers[RF_CELLS_AT_RISK_MAX];
    size_t n;
    uint64_t older; /* that are not known any more */
};

void rf_losses_deinit(struct rf_losses *losses)
{
    free(losses->cells);
    free(losses->undone);
    *losses = (struct rf_losses){0};
}

static const struct rf_lost_cell *find(const struct rf_losses *losses, uint64_t number)
{
    bool known = losses->cells && number && number <= losses->last &&
                 losses->last - number < RF_CELLS_AT_RISK_MAX;
    return known ? &losses->cells[number % RF_CELLS_AT_RISK_MAX] : NULL;
}

/* What the state holds and that of `to` does not: up to their nearest common cell.  A
 * parent has the smaller number. */
static void find_between(const struct rf_losses *losses, const struct rf_kernel_mark *to,
                         struct between *ret)
{
    uint64_t ours = losses->at.cell, theirs = to->cell;
    ret->n = 0;
    while (ours != theirs) {
        const struct rf_lost_cell *cell = find(losses, ours > theirs ? ours : theirs);
        if (!cell)
            break;
        if (ours > theirs) {
            ret->numbers[ret->n++] = ours;
            ours = cell->parent;
        } else {
            theirs = cell->parent;
        }
    }
    uint64_t left = ours == theirs ? 0 : losses->at.cells - ret->n;
    ret->older = left > to->cells ? left - to->cells : 0;
}

/* The first line with something in it, cut at a character, no controls. */
static struct rf_lost_cell describe(const struct rf_cell *cell)
{
    struct rf_lost_cell lost = {.count = cell->store_history ? cell->count : 0};
    struct rf_buf source = {0};
    rf_json_decode(cell->code, &source);
    size_t i = 0;
    while (i < source.len && strchr(" \t\r\n", source.data[i]))
        i++;
    for (; i < source.len && source.data[i] != '\n' && lost.len < LINE_MAX_BYTES; i++)
        lost.line[lost.len++] = source.data[i] < 0x20 || source.data[i] == 0x7f
                                    ? ' '
                                    : (char)source.data[i];
    if (i < source.len && (source.data[i] & 0xc0) == 0x80) { /* cut inside a character */
        while (lost.len && (lost.line[lost.len - 1] & 0xc0) == 0x80)
            lost.len--;
        lost.len -= lost.len ? 1 : 0;
    }
    rf_buf_deinit(&source);
    return lost;
}

void rf_losses_answered(struct rf_losses *losses, const struct rf_cell *cell)
{
    if (!losses->last) /* not zeroed: most kernels never come to its end */
        losses->cells = malloc(RF_CELLS_AT_RISK_MAX * sizeof(*losses->cells));
    struct rf_lost_cell lost = describe(cell);
    lost.parent = losses->at.cell;
    losses->at.cell = ++losses->last;
    if (losses->cells)
        losses->cells[losses->last % RF_CELLS_AT_RISK_MAX] = lost;
    losses->at.cells++;
    losses->at.numbered += cell->store_history;
}

void rf_losses_saved(struct rf_losses *losses)
{
    losses->saved = losses->at;
}

/* Best effort: without memory there is nothing to put back. */
static void keep_undone(struct rf_losses *losses, const struct rf_kernel_mark *to,
                        const struct rf_request *running)
{
    struct between cells;
    find_between(losses, to, &cells);
    free(losses->undone);
    losses->n_undone = 0;
    losses->undone = calloc(cells.n + 1, sizeof(*losses->undone));
    if (!losses->undone)
        return;
    for (size_t i = cells.n; i--;) {
        uint64_t count = find(losses, cells.numbers[i])->count;
        if (count)
            losses->undone[losses->n_undone++] = count;
    }
    if (running && running->type->is_cell && running->cell.store_history)
        losses->undone[losses->n_undone++] = running->cell.count;
}

void rf_losses_go_back(struct rf_losses *losses, const struct rf_kernel_mark *to,
                       const struct rf_request *running)
{
    static const struct rf_kernel_mark fresh;
    keep_undone(losses, to ? to : &fresh, running);
    losses->at = losses->saved = to ? *to : fresh;
}

int64_t rf_losses_undone(const struct rf_losses *losses, const struct rf_kernel_mark *mark)
{
    uint64_t cell = losses->at.cell;
    while (cell > mark->cell) {
        const struct rf_lost_cell *lost = find(losses, cell);
        if (!lost)
            return -1;
        cell = lost->parent;
    }
    return cell == mark->cell ? (int64_t)(losses->at.numbered - mark->numbered) : -1;
}

static void add_cause(struct rf_buf *to, const struct rf_death *death)
{
    int status = death->wait_status;
    bool known = status != -1;
    if (!known)
        rf_buf_add_str(to, death->reason ? death->reason : "lost without a trace");
    else if (WIFSIGNALED(status) && sigabbrev_np(WTERMSIG(status)))
        rf_buf_printf(to, "killed by signal %d (SIG%s)", WTERMSIG(status),
                      sigabbrev_np(WTERMSIG(status)));
    else if (WIFSIGNALED(status))
        rf_buf_printf(to, "killed by signal %d", WTERMSIG(status));
    else if (WIFEXITED(status))
        rf_buf_printf(to, "exited with code %d", WEXITSTATUS(status));
    else
        rf_buf_printf(to, "ended with wait status %#x", (unsigned)status);
    if (known && death->reason)
        rf_buf_printf(to, ", %s", death->reason);
}

/* Which cells a death takes: those since the mark that goes on, or since the newest
 * checkpoint, beyond which they are not listed. */
static void find_lost(const struct rf_losses *losses, const struct rf_death *death,
                      struct between *ret)
{
    find_between(losses, death->resumed ? &death->mark : &losses->saved, ret);
    if (!death->resumed)
        ret->older += losses->saved.cells;
}

/* What became of the state, in a few words.  `earlier`: cells that go with
 * the running one. */
static void add_outcome(struct rf_buf *to, const struct between *lost,
                        const struct rf_death *death, const struct rf_request *running)
{
    uint64_t earlier = lost->n + lost->older;
    bool in_cell = running && running->type->is_cell;
    if (death->resumed && !earlier)
        rf_buf_add_str(to, in_cell ? "state rolled back to the checkpoint before this cell"
                                   : "the newest checkpoint goes on, no cell is rolled back");
    else if (death->resumed)
        rf_buf_printf(to, "state rolled back to the newest checkpoint, %" PRIu64 " %scell%s undone",
                      earlier, in_cell ? "earlier " : "", earlier == 1 ? " is" : "s are");
    else if (earlier)
        rf_buf_add_str(to, "all state was lost, a fresh worker starts");
    else
        rf_buf_add_str(to, "a fresh worker starts, nothing else was lost");
}

static void add_cell(struct rf_buf *to, const struct rf_lost_cell *cell)
{
    if (cell->count)
        rf_buf_printf(to, "  In [%" PRIu64 "]: ", cell->count);
    else
        rf_buf_add_str(to, "  In [ ]: ");
    rf_buf_add(to, cell->line, cell->len);
    rf_buf_add_str(to, "\n");
}

static void add_cells(struct rf_buf *to, const struct rf_losses *losses,
                      const struct between *lost, const char *title,
                      const struct rf_request *running)
{
    bool in_cell = running && running->type->is_cell;
    if (!lost->n && !lost->older && !in_cell)
        return;
    rf_buf_add_str(to, title);
    if (lost->older)
        rf_buf_printf(to, "  %" PRIu64 " older cell%s\n", lost->older, lost->older == 1 ? "" : "s");
    for (size_t i = lost->n; i--;)
        add_cell(to, find(losses, lost->numbers[i]));
    if (in_cell) {
        struct rf_lost_cell cell = describe(&running->cell);
        add_cell(to, &cell);
    }
}

static void add_advice(struct rf_buf *to, const struct between *lost, const struct rf_death *death)
{
    if (death->resumed && death->not_carried && death->not_carried[0])
        rf_buf_printf(to, "What the checkpoint could not carry: %s.\n", death->not_carried);
    if (death->resumed)
        rf_buf_add_str(to, "Variables are as they were at the checkpoint; files that were written "
                           "since stay as they are. %recover puts the source of these cells "
                           "back.\n");
    else if (lost->n || lost->older)
        rf_buf_add_str(to, "No checkpoint could go on: a fresh worker starts without variables; "
                           "run the cells again (%recover puts their source back).\n");
    else
        rf_buf_add_str(to, "Nothing had been run before, so nothing else was lost; a fresh worker "
                           "starts.\n");
}

static void add_lines(struct rf_buf *to, const struct rf_losses *losses,
                      const struct between *lost, const struct rf_death *death,
                      const struct rf_request *running)
{
    rf_buf_add_str(to, "The worker of this kernel died: ");
    add_cause(to, death);
    rf_buf_add_str(to, ".\n");
    struct rf_bytes trace = death->traceback;
    if (trace.len > TRACEBACK_MAX)
        trace.len = TRACEBACK_MAX;
    if (trace.len)
        rf_utf8_clean(trace, true, to);
    if (trace.len && trace.data[trace.len - 1] != '\n')
        rf_buf_add_str(to, "\n");
    add_cells(to, losses, lost,
              death->resumed ? "Cells that are rolled back:\n" : "Cells that are lost:\n", running);
    add_advice(to, lost, death);
}

void rf_losses_report(const struct rf_losses *losses, const struct rf_death *death,
                      const struct rf_request *running, struct rf_report *ret)
{
    struct between lost;
    *ret = (struct rf_report){0};
    find_lost(losses, death, &lost);
    add_cause(&ret->headline, death);
    rf_buf_add_str(&ret->headline, ": ");
    add_outcome(&ret->headline, &lost, death, running);
    add_lines(&ret->lines, losses, &lost, death, running);
}

void rf_report_deinit(struct rf_report *report)
{
    rf_buf_deinit(&report->headline);
    rf_buf_deinit(&report->lines);
}

void rf_losses_rollback(const struct rf_losses *losses, const struct rf_kernel_mark *mark,
                        struct rf_buf *to)
{
    struct between undone;
    find_between(losses, mark, &undone);
    add_cells(to, losses, &undone, "Cells that are rolled back (%recover puts their source back):\n",
              NULL);
    rf_buf_add_str(to, "Variables are as they were then; files that were written since stay as "
                       "they are.\n");
}
