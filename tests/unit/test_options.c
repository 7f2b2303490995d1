/* gateway/cli/options: what a command line means, and that help and parser agree. */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "gateway/cli/options.h"

struct values {
    const char *file, *python;
    int64_t size;
    bool loud;
};

static const struct rf_option options[] = {
    {"file", 'f', "FILE", RF_OPTION_TEXT, offsetof(struct values, file), "the file"},
    {"python", 0, "PATH", RF_OPTION_TEXT, offsetof(struct values, python), "one line\nand another"},
    {"size", 's', "BYTES", RF_OPTION_NUMBER, offsetof(struct values, size), "how much"},
    {"loud", 0, NULL, RF_OPTION_FLAG, offsetof(struct values, loud), "say more"},
};

static const struct rf_options strict = {.usage = "ringfence test [options] [WORD]",
                                         .about = "Tests.",
                                         .options = options,
                                         .n = COUNT_OF(options),
                                         .max_words = 1};
static const struct rf_options lenient = {.usage = "ringfence test [options]",
                                          .about = "Tests.",
                                          .options = options,
                                          .n = COUNT_OF(options),
                                          .passes_unknown = true};

#define ARGS_MAX 12

/* A parsed command line; the words of `args` are separated by spaces. */
struct line {
    char text[256];
    char *argv[ARGS_MAX];
    size_t n_words;
    struct values values;
    struct rf_error err;
    int r;
};

static void parse(struct line *line, const struct rf_options *table, const char *args)
{
    *line = (struct line){.argv = {(char *)"test"}};
    int argc = 1;
    snprintf(line->text, sizeof(line->text), "%s", args);
    char *rest = line->text;
    for (char *word; rest && (word = strsep(&rest, " "));)
        if (*word && argc < ARGS_MAX - 1)
            line->argv[argc++] = word;
    line->r = rf_options_parse(table, argc, line->argv, &line->values, &line->n_words, &line->err);
}

static void check_line(const char *args, const char *want, const char *got)
{
    if (strcmp(want, got) != 0)
        fail_msg("%s: got \"%s\", want \"%s\"", args, got, want);
}

static void test_forms(void **state)
{
    static const struct {
        const char *args, *want; /* file python size loud: words */
    } cases[] = {
        {"", "- - 0 0:"},
        {"--file a", "a - 0 0:"},
        {"--file=a", "a - 0 0:"},
        {"--file=a=b", "a=b - 0 0:"},
        {"--file=", " - 0 0:"},
        {"-f a", "a - 0 0:"},
        {"-fa", "a - 0 0:"},
        {"-f=a", "a - 0 0:"},
        {"-f -s", "-s - 0 0:"}, /* a value is never an option */
        {"-f a -f b", "b - 0 0:"},
        {"--loud --size 12", "- - 12 1:"},
        {"-s 3K", "- - 3072 0:"},
        {"-s 256M", "- - 268435456 0:"},
        {"-s=2G", "- - 2147483648 0:"},
        {"word --loud", "- - 0 1: word"},
        {"- --loud", "- - 0 1: -"},
        {"--loud -- --file", "- - 0 1: --file"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct line line;
        char got[256];
        parse(&line, &strict, cases[i].args);
        if (line.r)
            fail_msg("%s: %d (%s)", cases[i].args, line.r, line.err.text);
        snprintf(got, sizeof(got), "%s %s %lld %d:%s%s", line.values.file ? line.values.file : "-",
                 line.values.python ? line.values.python : "-", (long long)line.values.size,
                 line.values.loud, line.n_words ? " " : "", line.n_words ? line.argv[1] : "");
        check_line(cases[i].args, cases[i].want, got);
        assert_null(line.argv[line.n_words + 1]);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *args, *says;
    } cases[] = {
        {"--nothing", "no option --nothing"},
        {"--fil a", "no option --fil"}, /* no abbreviations */
        {"--files a", "no option --files"},
        {"-x", "no option -x"},
        {"--file", "--file needs a value: FILE"},
        {"-f", "--file needs a value: FILE"},
        {"--loud=1", "--loud takes no value"},
        {"--size a", "\"a\" is not a number"},
        {"--size -1", "\"-1\" is not a number"},
        {"--size=", "\"\" is not a number"},
        {"--size 1X", "is not a number"},
        {"--size 1KK", "is not a number"},
        {"--size 9223372036854775808", "is not a number"},
        {"--size 9223372036854775807G", "is not a number"},
        {"a b", "\"b\" is one word too many"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct line line;
        parse(&line, &strict, cases[i].args);
        if (line.r != -EINVAL || !strstr(line.err.text, cases[i].says))
            fail_msg("%s: got %d \"%s\", want %d \"%s\"", cases[i].args, line.r, line.err.text,
                     -EINVAL, cases[i].says);
    }
}

static void test_unknown_are_passed(void **state)
{
    struct line line;
    parse(&line, &lenient,
          "--HistoryManager.hist_file=:memory: -f c.json --x y --loud -q -- --file z");
    assert_int_equal(line.r, 0);
    assert_string_equal(line.values.file, "c.json");
    assert_true(line.values.loud);
    static const char *const want[] = {
        "--HistoryManager.hist_file=:memory:", "--x", "y", "-q", "--file", "z"};
    assert_int_equal(line.n_words, COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_string_equal(line.argv[i + 1], want[i]);
}

static void test_help(void **state)
{
    static const char *const asks[] = {"--help", "-h", "--loud --help --nothing", "word -h"};
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        struct line line;
        parse(&line, &strict, asks[i]);
        assert_int_equal(line.r, RF_OPTIONS_HELP);
    }
    RF_AUTO(rf_freep) char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    rf_options_help(&strict, to);
    fclose(to);
    assert_string_equal(text, "usage: ringfence test [options] [WORD]\n"
                              "\n"
                              "Tests.\n"
                              "\n"
                              "options:\n"
                              "  -f, --file FILE           the file\n"
                              "      --python PATH         one line\n"
                              "                            and another\n"
                              "  -s, --size BYTES          how much\n"
                              "      --loud                say more\n"
                              "  -h, --help                show this text and end\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unknown_are_passed),
        cmocka_unit_test(test_help),
    };
    return TESTS(tests);
}
