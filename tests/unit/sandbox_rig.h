/* A sandbox for a test: the phases of kernel/sandbox run as zygote, keeper and
 * worker run them, and a shell command in it.
 */
#ifndef RINGFENCE_TESTS_UNIT_SANDBOX_RIG_H
#define RINGFENCE_TESTS_UNIT_SANDBOX_RIG_H

#include <stdbool.h>
#include <stddef.h>

struct inside {
    int code;         /* of the phase that failed; 0: the command ran */
    char error[480];  /* its text */
    char lost[480];   /* layers that the machine denied */
    char output[4096]; /* of the command, both streams */
};

#define RIG_TEXT_MAX 2048

/* `policy`: entries "key=value" with newlines between; where root runs the test, a uid
 * is added.  `imports` ends with NULL, or is NULL. */
void run_inside(const char *policy, const char *const *imports, const char *command,
                struct inside *ret);
/* The same with a function: its result is the exit status, as text in output. */
void call_inside(const char *policy, int (*function)(void), struct inside *ret);

#endif
