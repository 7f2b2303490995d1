/* What this machine can do, found out by doing it in a child that is thrown away. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/sandbox/table.h"

#define NOBODY 65534

static void await_end(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void *share(size_t size)
{
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* --- namespaces --- */

struct answer {
    int granted;
    char why[sizeof(((struct rf_sandbox_base *)0)->why)];
};

static void try_namespaces(struct answer *answer)
{
    uid_t uid = geteuid(); /* in the new namespace it is nobody until it is mapped */
    gid_t gid = getegid();
    for (size_t i = 0; i < rf_n_steps && rf_steps[i].phase == RF_CLONE; i++) {
        bool user = rf_steps[i].needs == CLONE_NEWUSER;
        if (user && !uid)
            continue;
        int r = unshare(rf_steps[i].needs) ? -errno : user ? rf_map_self(uid, gid) : 0;
        if (!r && user)
            r = rf_sandbox_keep_powers(&(struct rf_sandbox){.have = CLONE_NEWUSER});
        if (!r)
            answer->granted |= rf_steps[i].needs;
        else if (!answer->why[0])
            snprintf(answer->why, sizeof(answer->why), "a new %s namespace: %s", rf_steps[i].name,
                     strerror(-r));
        if (r && user)
            return; /* an ordinary user has the others through it */
    }
}

int rf_sandbox_ask_namespaces(struct rf_sandbox_base *base)
{
    struct answer *answer = share(sizeof(*answer));
    if (!answer)
        return 0;
    pid_t pid = fork();
    if (!pid) {
        try_namespaces(answer);
        _exit(0);
    }
    if (pid > 0)
        await_end(pid);
    int granted = answer->granted;
    memcpy(base->why, answer->why, sizeof(base->why));
    munmap(answer, sizeof(*answer));
    return granted;
}

/* --- all steps --- */

struct result {
    bool works;
    char why[200];
};

static void note(struct result *result, bool works, const char *why)
{
    result->works = works;
    snprintf(result->why, sizeof(result->why), "%.190s", why);
}

static void try_step(struct rf_sandbox *sandbox, const struct rf_step *step, struct result *result)
{
    if (!rf_sandbox_applies(sandbox, step)) {
        note(result, true, "root's own powers take its place");
    } else if (step->needs & ~sandbox->have) {
        note(result, false, step->run ? "an earlier step that it needs does not work"
                                      : sandbox->base->why);
    } else {
        sandbox->error = (struct rf_error){0};
        int r = step->run ? rf_sandbox_run_step(sandbox, step) : 0;
        note(result, !r, !r ? "" : sandbox->error.text[0] ? sandbox->error.text : strerror(-r));
    }
}

static void try_phase(struct rf_sandbox *sandbox, enum rf_phase phase, struct result *results)
{
    for (size_t i = 0; i < rf_n_steps; i++)
        if (rf_steps[i].phase == phase)
            try_step(sandbox, &rf_steps[i], &results[i]);
}

/* In the first process of the new namespaces. */
static void try_all(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy,
                    struct result *results)
{
    try_phase(sandbox, RF_CLONE, results);
    try_phase(sandbox, RF_ENTER, results);
    rf_sandbox_know(sandbox, policy);
    try_phase(sandbox, RF_FINISH, results);
    pid_t worker = fork();
    if (worker > 0)
        await_end(worker);
    try_phase(sandbox, worker ? RF_KEEP : RF_LOWER, results);
    if (!worker)
        try_phase(sandbox, RF_CONFINE, results);
    _exit(0);
}

static void print(FILE *to, const struct result *results)
{
    for (size_t i = 0; i < rf_n_steps; i++) {
        fprintf(to, "%s\n  \"%s\": {\"works\": %s, \"why\": \"", i ? "," : "{", rf_steps[i].name,
                results[i].works ? "true" : "false");
        for (const char *c = results[i].why; *c; c++)
            if (*c >= ' ')
                fprintf(to, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
        fputs("\"}", to);
    }
    fputs("\n}\n", to);
}

int rf_sandbox_probe(FILE *to)
{
    struct rf_sandbox_base base;
    struct rf_sandbox sandbox;
    struct rf_sandbox_policy policy;
    struct result *results = share(rf_n_steps * sizeof(*results));
    int r = rf_sandbox_policy_decode((struct rf_bytes){0}, &policy, NULL);
    if (!results || r)
        return 1;
    if (!geteuid())
        policy.uid = policy.gid = NOBODY;
    rf_sandbox_base_init(&base, NULL, 0); /* a failure shows as one of the step that loads them */
    rf_sandbox_init(&sandbox, &base, rf_sandbox_shape_of(&policy));
    fflush(NULL);
    pid_t pid = rf_sandbox_clone(&sandbox, NULL, NULL);
    if (!pid)
        try_all(&sandbox, &policy, results);
    if (pid > 0)
        await_end(pid);
    print(to, results);
    int failed = 0;
    for (size_t i = 0; i < rf_n_steps; i++)
        failed |= !results[i].works;
    munmap(results, rf_n_steps * sizeof(*results));
    rf_sandbox_base_deinit(&base);
    rf_sandbox_policy_deinit(&policy);
    return failed;
}
