/* ringfence: the gateway and its command line.
 *
 * One table of subcommands; each reads its own part of the command line with
 * options.h and returns the exit status.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ringfence/version.h>

#include "common/log.h"
#include "gateway/cli/commands.h"

static int print_version(int argc, char **argv);
static int print_help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"kernel", rf_cmd_kernel, "run one kernel, as a kernelspec does"},
    {"install", rf_cmd_install, "make Ringfence known to Jupyter"},
    {"uninstall", rf_cmd_uninstall, "remove one kernelspec, or all that was installed"},
    {"zygote", rf_cmd_zygote, "show or stop the warm interpreters that kernels are forked from"},
    {"env", rf_cmd_env, "forget the packages that %pip installed for a workspace"},
    {"doctor", rf_cmd_doctor, "say what this machine can do, and what to do about the rest"},
    {"--version", print_version, "print the version"},
    {"--help", print_help, "show this text"},
    {"-h", print_help, NULL},
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static int print_version(int argc, char **argv)
{
    puts("ringfence " RF_VERSION);
    return RF_EXIT_OK;
}

static void list_commands(FILE *to)
{
    fputs("usage: ringfence COMMAND [options]\n\n"
          "A Jupyter kernel that starts in milliseconds and does not lose work when a cell\n"
          "crashes the interpreter.\n\n"
          "commands:\n",
          to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (commands[i].help)
            fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
    fputs("\nringfence COMMAND --help tells more about each.\n", to);
}

static int print_help(int argc, char **argv)
{
    list_commands(stdout);
    return RF_EXIT_OK;
}

int main(int argc, char **argv)
{
    rf_log_init(STDERR_FILENO, RF_LOG_WARN);
    if (argc < 2) {
        list_commands(stderr);
        return RF_EXIT_USAGE;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "ringfence: there is no command \"%.100s\"\nTry: ringfence --help\n", argv[1]);
    return RF_EXIT_USAGE;
}
