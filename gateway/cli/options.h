/* A command line, described by one table: the parser and the help text use the
 * same rows, so they cannot disagree.
 *
 * Long options are written --name VALUE or --name=VALUE, short ones -f VALUE
 * or -fVALUE; `--` ends them; of a repeated option the last one counts.
 * --help and -h are known to every table.  Nothing is allocated: values point
 * into argv, and what is no option stays in argv.
 *
 *     struct greet { const char *name; int64_t times; bool loud; };
 *     static const struct rf_option options[] = {
 *         {"name", 'n', "NAME", RF_OPTION_TEXT, offsetof(struct greet, name), "whom to greet"},
 *         ...
 *     };
 *     static const struct rf_options table = {
 *         .usage = "ringfence greet [options]", .about = "Greets.",
 *         .options = options, .n = sizeof(options) / sizeof(*options)};
 */
#ifndef RINGFENCE_GATEWAY_CLI_OPTIONS_H
#define RINGFENCE_GATEWAY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

enum rf_option_kind {
    RF_OPTION_FLAG,   /* bool: set to true; takes no value */
    RF_OPTION_TEXT,   /* const char *: borrowed from argv */
    RF_OPTION_NUMBER, /* int64_t: decimal, not negative, may end in K, M or G (powers of 1024) */
};

struct rf_option {
    const char *name;     /* without the dashes */
    char letter;          /* short form, or 0 */
    const char *argument; /* what the help calls the value; NULL for a flag */
    enum rf_option_kind kind;
    size_t offset;    /* of the field in the command's own struct */
    const char *help; /* may hold line breaks */
};

struct rf_options {
    const char *usage; /* the line after "usage: " */
    const char *about; /* a paragraph, no line break at its end */
    const struct rf_option *options;
    size_t n;
    size_t max_words;    /* words that are no options; more are refused */
    bool passes_unknown; /* options not in the table are kept as words, without limit */
};

enum rf_options_outcome {
    RF_OPTIONS_OK = 0,
    RF_OPTIONS_HELP = 1, /* --help was given: print it and end well */
};

/* Reads argv[1] to argv[argc - 1] into *values, a struct of the command's own
 * that holds the defaults before.  The words that remain go to the front, to
 * argv[1] and after in their order; argv[*ret_n_words + 1] is then NULL.
 * Returns enum rf_options_outcome, or -EINVAL with *err filled. */
int rf_options_parse(const struct rf_options *options, int argc, char **argv, void *values,
                     size_t *ret_n_words, struct rf_error *err);

void rf_options_help(const struct rf_options *options, FILE *to);

/* What every subcommand begins with: parses, and where the command ends at
 * once prints the help or the error.  True: go on.  False: return *ret_exit. */
bool rf_options_begin(const struct rf_options *options, int argc, char **argv, void *values,
                      size_t *ret_n_words, int *ret_exit);

#endif
