/* ringfence zygote status|stop: this user's warm interpreters. */
#include <stdio.h>
#include <string.h>

#include "gateway/cli/commands.h"
#include "gateway/cli/options.h"
#include "gateway/supervise/zygote.h"

static const struct rf_options table = {
    .usage = "ringfence zygote status|stop",
    .about = "status: a line for each zygote of this user; exit status 1 if there is none.  stop: ends them; kernels go on, and\n"
             "the next kernel starts a new one.",
    .max_words = 1,
};

int rf_cmd_zygote(int argc, char **argv)
{
    struct rf_error err = {0};
    size_t n_words;
    int status, n;
    char none;
    if (!rf_options_begin(&table, argc, argv, &none, &n_words, &status))
        return status;
    if (n_words == 1 && !strcmp(argv[1], "status")) {
        n = rf_zygote_status(stdout, &err);
        if (n == 0) {
            puts("no zygote runs");
            return RF_EXIT_FAILED;
        }
    } else if (n_words == 1 && !strcmp(argv[1], "stop")) {
        n = rf_zygote_stop_all(&err);
        if (n >= 0)
            printf("stopped %d zygote%s\n", n, n == 1 ? "" : "s");
    } else {
        fprintf(stderr, "ringfence zygote: say status or stop\n");
        return RF_EXIT_USAGE;
    }
    if (n >= 0)
        return RF_EXIT_OK;
    fprintf(stderr, "ringfence: %s\n", err.text);
    return RF_EXIT_FAILED;
}
