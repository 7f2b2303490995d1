/* The subcommands of `ringfence`.
 *
 * main.c has the one table of them.  Each gets its own part of the command
 * line (argv[0] is its name), prints for a person, and returns the program's
 * exit status: RF_EXIT_OK, RF_EXIT_FAILED, or RF_EXIT_USAGE for a command line
 * that makes no sense.
 */
#ifndef RINGFENCE_GATEWAY_CLI_COMMANDS_H
#define RINGFENCE_GATEWAY_CLI_COMMANDS_H

enum rf_exit { RF_EXIT_OK = 0, RF_EXIT_FAILED = 1, RF_EXIT_USAGE = 2 };

/* One kernel on the ports of a connection file, as a kernelspec starts it. */
int rf_cmd_kernel(int argc, char **argv);
/* Shows or stops this user's zygotes. */
int rf_cmd_zygote(int argc, char **argv);
/* Writes a kernelspec. */
int rf_cmd_install(int argc, char **argv);
/* Removes kernelspecs, or all that was installed. */
int rf_cmd_uninstall(int argc, char **argv);
/* Forgets the packages that %pip installed for a workspace. */
int rf_cmd_env(int argc, char **argv);
/* Says which layers this machine has, and what to do about the others. */
int rf_cmd_doctor(int argc, char **argv);

#endif
