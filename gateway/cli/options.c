/* See options.h. */
#include "gateway/cli/options.h"

#include <errno.h>
#include <string.h>

#include "gateway/cli/commands.h"

#define HELP_COLUMN 28

/* One word of the command line, taken apart. */
struct word {
    const struct rf_option *option; /* NULL: not in the table */
    const char *value;              /* what follows '=' or the letter; NULL: nothing */
    bool is_help;
};

static const struct rf_option help_option = {"help",         'h', NULL,
                                             RF_OPTION_FLAG, 0,   "show this text and end"};

static const struct rf_option *find_long(const struct rf_options *options, const char *name,
                                         size_t len)
{
    for (size_t i = 0; i < options->n; i++)
        if (strlen(options->options[i].name) == len && !memcmp(options->options[i].name, name, len))
            return &options->options[i];
    return len == 4 && !memcmp(name, "help", 4) ? &help_option : NULL;
}

static const struct rf_option *find_letter(const struct rf_options *options, char letter)
{
    for (size_t i = 0; i < options->n; i++)
        if (options->options[i].letter == letter)
            return &options->options[i];
    return letter == 'h' ? &help_option : NULL;
}

static struct word take_apart(const struct rf_options *options, const char *text)
{
    struct word word = {0};
    if (text[1] == '-') {
        const char *name = text + 2;
        size_t len = strcspn(name, "=");
        word.option = find_long(options, name, len);
        word.value = name[len] ? name + len + 1 : NULL;
    } else {
        word.option = find_letter(options, text[1]);
        if (text[2]) /* -f=VALUE is what some launchers write */
            word.value = text[2] == '=' ? text + 3 : text + 2;
    }
    word.is_help = word.option == &help_option;
    return word;
}

static int read_number(const char *text, int64_t *ret)
{
    static const char suffixes[] = "KMG";
    int64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *at - '0', &number))
            return -EINVAL;
    if (at == text)
        return -EINVAL;
    const char *suffix = *at ? strchr(suffixes, *at) : NULL;
    for (const char *s = suffixes; suffix && s <= suffix; s++)
        if (__builtin_mul_overflow(number, 1024, &number))
            return -EINVAL;
    if (suffix)
        at++;
    if (*at)
        return -EINVAL;
    *ret = number;
    return 0;
}

static int store(const struct rf_option *option, const char *value, void *values,
                 struct rf_error *err)
{
    char *field = (char *)values + option->offset;
    switch (option->kind) {
    case RF_OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case RF_OPTION_TEXT:
        *(const char **)field = value;
        return 0;
    case RF_OPTION_NUMBER:
        if (read_number(value, (int64_t *)field))
            return rf_error_set(err, -EINVAL, "--%s: \"%s\" is not a number", option->name, value);
        return 0;
    }
    return -EINVAL;
}

/* Takes the option at argv[*at] and the value after it, if that is where it is. */
static int take_option(const struct word *word, int argc, char **argv, int *at, void *values,
                       struct rf_error *err)
{
    const struct rf_option *option = word->option;
    const char *value = word->value;
    if (option->kind == RF_OPTION_FLAG && value)
        return rf_error_set(err, -EINVAL, "--%s takes no value", option->name);
    if (option->kind != RF_OPTION_FLAG && !value) {
        if (*at + 1 >= argc)
            return rf_error_set(err, -EINVAL, "--%s needs a value: %s", option->name,
                                option->argument);
        value = argv[++*at];
    }
    return store(option, value, values, err);
}

int rf_options_parse(const struct rf_options *options, int argc, char **argv, void *values,
                     size_t *ret_n_words, struct rf_error *err)
{
    size_t n_words = 0;
    bool ended = false;
    for (int at = 1; at < argc; at++) {
        char *text = argv[at];
        bool dashed = !ended && text[0] == '-' && text[1];
        if (dashed && !strcmp(text, "--")) {
            ended = true;
            continue;
        }
        struct word word = dashed ? take_apart(options, text) : (struct word){0};
        if (word.is_help)
            return RF_OPTIONS_HELP;
        if (word.option) {
            int r = take_option(&word, argc, argv, &at, values, err);
            if (r)
                return r;
            continue;
        }
        if (!options->passes_unknown && dashed)
            return rf_error_set(err, -EINVAL, "there is no option %.100s", text);
        if (!options->passes_unknown && n_words >= options->max_words)
            return rf_error_set(err, -EINVAL, "\"%.100s\" is one word too many", text);
        argv[++n_words] = text;
    }
    if (argc > 0)
        argv[n_words + 1] = NULL;
    *ret_n_words = n_words;
    return RF_OPTIONS_OK;
}

static void print_option(const struct rf_option *option, FILE *to)
{
    char left[80];
    int n = snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
                     option->letter ? option->letter : ' ', option->letter ? ", " : "  ",
                     option->name, option->argument ? " " : "",
                     option->argument ? option->argument : "");
    fputs(left, to);
    if (n >= HELP_COLUMN || !*option->help)
        fputc('\n', to);
    int pad = n >= HELP_COLUMN ? HELP_COLUMN : HELP_COLUMN - n;
    for (const char *line = option->help; *line;) {
        int len = (int)strcspn(line, "\n");
        fprintf(to, "%*s%.*s\n", pad, "", len, line);
        line += len + (line[len] == '\n');
        pad = HELP_COLUMN;
    }
}

void rf_options_help(const struct rf_options *options, FILE *to)
{
    fprintf(to, "usage: %s\n\n%s\n\noptions:\n", options->usage, options->about);
    for (size_t i = 0; i < options->n; i++)
        print_option(&options->options[i], to);
    print_option(&help_option, to);
}

bool rf_options_begin(const struct rf_options *options, int argc, char **argv, void *values,
                      size_t *ret_n_words, int *ret_exit)
{
    struct rf_error err = {0};
    int r = rf_options_parse(options, argc, argv, values, ret_n_words, &err);
    if (r == RF_OPTIONS_OK)
        return true;
    if (r == RF_OPTIONS_HELP)
        rf_options_help(options, stdout);
    else
        fprintf(stderr, "ringfence %s: %s\nTry: ringfence %s --help\n", argv[0], err.text, argv[0]);
    *ret_exit = r == RF_OPTIONS_HELP ? RF_EXIT_OK : RF_EXIT_USAGE;
    return false;
}
