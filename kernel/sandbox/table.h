/* The table of steps, for those that run it: sandbox.c and probe.c.
 */
#ifndef RINGFENCE_KERNEL_SANDBOX_TABLE_H
#define RINGFENCE_KERNEL_SANDBOX_TABLE_H

#include "kernel/sandbox/steps.h"

/* When, and in which process; see sandbox.h. */
enum rf_phase { RF_CLONE, RF_ENTER, RF_FINISH, RF_LOWER, RF_CONFINE, RF_KEEP };

enum rf_step_flag {
    RF_FATAL = 1,  /* nothing goes on without it; the others are lost, by name */
    RF_ALWAYS = 2, /* also where there are no walls */
    RF_LAYER = 4,  /* where what it needs was lost, it is a loss of its own */
};

struct rf_step {
    const char *name;
    enum rf_phase phase;
    int needs; /* CLONE_NEW* and enum rf_sandbox_fact without which there is nothing to do */
    int gives; /* enum rf_sandbox_fact */
    int (*run)(struct rf_sandbox *); /* NULL: the clone does it */
    int flags; /* enum rf_step_flag */
};

extern const struct rf_step rf_steps[];
extern const size_t rf_n_steps;

/* Runs one step, whose needs hold, and notes what it gives.  0 or -errno. */
int rf_sandbox_run_step(struct rf_sandbox *sandbox, const struct rf_step *step);
/* False for a step about a namespace that this sandbox does without on purpose. */
bool rf_sandbox_applies(const struct rf_sandbox *sandbox, const struct rf_step *step);
/* The namespaces (CLONE_NEW*) that a sandbox of this shape is to have. */
int rf_sandbox_wanted(const struct rf_sandbox *sandbox);
/* From here on the sandbox has its policy. */
void rf_sandbox_know(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy);

/* Which namespaces the machine grants (CLONE_NEW*), tried in a throw-away child;
 * base->why says what was denied. */
int rf_sandbox_ask_namespaces(struct rf_sandbox_base *base);

#endif
