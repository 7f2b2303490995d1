/* See losses.h. */
#include "gateway/jupyter/losses.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/json.h"

#define LINE_MAX_BYTES 100u       /* of a cell's first line */
#define TRACEBACK_MAX (64u << 10) /* of faulthandler's text */

struct rf_lost_cell {
    uint64_t count; /* 0: the cell has no number */
    uint8_t len;
    char line[LINE_MAX_BYTES];
};

void rf_losses_deinit(struct rf_losses *losses)
{
    free(losses->cells);
    *losses = (struct rf_losses){0};
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

static bool make_room(struct rf_losses *losses)
{
    if (losses->n == RF_CELLS_AT_RISK_MAX)
        return false;
    if (losses->n < losses->cap)
        return true;
    size_t cap = losses->cap ? losses->cap * 2 : 16;
    struct rf_lost_cell *cells = realloc(losses->cells, cap * sizeof(*cells));
    if (!cells)
        return false;
    losses->cells = cells;
    losses->cap = cap;
    return true;
}

void rf_losses_answered(struct rf_losses *losses, const struct rf_cell *cell)
{
    if (make_room(losses))
        losses->cells[losses->n++] = describe(cell);
    else
        losses->more++;
}

void rf_losses_saved(struct rf_losses *losses)
{
    losses->saved += losses->n + losses->more;
    losses->n = 0;
    losses->more = 0;
}

void rf_losses_rolled_back(struct rf_losses *losses, bool resumed)
{
    losses->n = 0;
    losses->more = 0;
    if (!resumed)
        losses->saved = 0;
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

/* What became of the state, in a few words.  `earlier`: cells that go with
 * the running one. */
static void add_outcome(struct rf_buf *to, const struct rf_losses *losses,
                        const struct rf_death *death, const struct rf_request *running)
{
    uint64_t earlier = losses->n + losses->more;
    bool in_cell = running && running->type->is_cell;
    if (death->resumed && !earlier)
        rf_buf_add_str(to, in_cell ? "state rolled back to the checkpoint before this cell"
                                   : "the newest checkpoint goes on, no cell is rolled back");
    else if (death->resumed)
        rf_buf_printf(to, "state rolled back to the newest checkpoint, %" PRIu64 " %scell%s undone",
                      earlier, in_cell ? "earlier " : "", earlier == 1 ? " is" : "s are");
    else if (earlier || losses->saved)
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
                      const struct rf_death *death, const struct rf_request *running)
{
    bool in_cell = running && running->type->is_cell;
    uint64_t before = death->resumed ? 0 : losses->saved;
    if (!losses->n && !losses->more && !in_cell && !before)
        return;
    rf_buf_add_str(to, death->resumed ? "Cells that are rolled back:\n" : "Cells that are lost:\n");
    if (before)
        rf_buf_printf(to, "  %" PRIu64 " older cell%s\n", before, before == 1 ? "" : "s");
    for (size_t i = 0; i < losses->n; i++)
        add_cell(to, &losses->cells[i]);
    if (losses->more)
        rf_buf_printf(to, "  and %" PRIu64 " more\n", losses->more);
    if (in_cell) {
        struct rf_lost_cell cell = describe(&running->cell);
        add_cell(to, &cell);
    }
}

static void add_advice(struct rf_buf *to, const struct rf_losses *losses, bool resumed)
{
    if (resumed)
        rf_buf_add_str(to, "Variables are as they were at the checkpoint; files that were written "
                           "since stay as they are.\n");
    else if (losses->n || losses->more || losses->saved)
        rf_buf_add_str(to, "No checkpoint could go on: a fresh worker starts without variables; "
                           "run the cells again.\n");
    else
        rf_buf_add_str(to, "Nothing had been run before, so nothing else was lost; a fresh worker "
                           "starts.\n");
}

static void add_lines(struct rf_buf *to, const struct rf_losses *losses,
                      const struct rf_death *death, const struct rf_request *running)
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
    add_cells(to, losses, death, running);
    add_advice(to, losses, death->resumed);
}

void rf_losses_report(const struct rf_losses *losses, const struct rf_death *death,
                      const struct rf_request *running, struct rf_report *ret)
{
    *ret = (struct rf_report){0};
    add_cause(&ret->headline, death);
    rf_buf_add_str(&ret->headline, ": ");
    add_outcome(&ret->headline, losses, death, running);
    add_lines(&ret->lines, losses, death, running);
}

void rf_report_deinit(struct rf_report *report)
{
    rf_buf_deinit(&report->headline);
    rf_buf_deinit(&report->lines);
}
