/* See sandbox_rig.h. */
#include "tests/unit/sandbox_rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/sandbox.h"
#include "tests/unit/check.h"

struct task {
    const char *command;
    int (*function)(void);
};

/* Lines become entries. */
static struct rf_bytes encode(const char *policy, char *text, size_t size)
{
    bool ids = !geteuid() && !strstr(policy, "uid=");
    size_t len = 0;
    int n = snprintf(text, size, "%s\n%s", policy, ids ? "uid=61234\ngid=61234\nowner=0\n" : "");
    assert_in_range(n, 1, size - 1);
    for (const char *c = text; *c; c++)
        if (*c != '\n')
            text[len++] = *c;
        else if (len && text[len - 1])
            text[len++] = '\0';
    return (struct rf_bytes){(uint8_t *)text, len};
}

static void perform(const struct task *task, struct inside *ret)
{
    int ends[2];
    if (task->function) {
        snprintf(ret->output, sizeof(ret->output), "%d", task->function());
        return;
    }
    if (pipe(ends))
        _exit(3);
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        execl("/bin/sh", "sh", "-c", task->command, NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], ret->output + n, sizeof(ret->output) - 1 - n)) > 0;)
        n += (size_t)got;
    waitpid(pid, NULL, 0);
}

static void fail_in(struct rf_sandbox *sandbox, int code, struct inside *ret)
{
    ret->code = code;
    snprintf(ret->error, sizeof(ret->error), "%s", sandbox->error.text);
    snprintf(ret->lost, sizeof(ret->lost), "%s", sandbox->lost);
}

static void be_first(struct rf_sandbox *sandbox, const struct rf_sandbox_policy *policy,
                     const struct task *task, struct inside *ret)
{
    int r = rf_sandbox_enter(sandbox);
    r = r ? r : rf_sandbox_finish(sandbox, policy);
    pid_t worker = r ? -1 : fork();
    if (!worker) {
        r = rf_sandbox_lower(sandbox, policy);
        r = r ? r : rf_sandbox_confine(sandbox);
        fail_in(sandbox, r, ret);
        if (!r)
            perform(task, ret);
        _exit(0);
    }
    if (r)
        fail_in(sandbox, r, ret);
    waitpid(worker, NULL, 0);
    _exit(0);
}

static void run(const char *text, const char *const *imports, const struct task *task,
                struct inside *ret)
{
    struct inside *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    char bytes[RIG_TEXT_MAX];
    struct rf_sandbox_policy policy;
    struct rf_error err = {0};
    if (rf_sandbox_policy_decode(encode(text, bytes, sizeof(bytes)), &policy, &err))
        fail_msg("%s", err.text);
    struct rf_sandbox_base base;
    struct rf_sandbox sandbox;
    struct rf_owner_map map = {.fd = -1};
    size_t n = 0;
    while (imports && imports[n])
        n++;
    assert_int_equal(rf_sandbox_base_init(&base, imports, n), 0);
    rf_sandbox_init(&sandbox, &base, rf_sandbox_shape_of(&policy));
    sandbox.owner_map = rf_sandbox_maps_owner(&policy) ? rf_sandbox_owner_map(&policy, &map) : -1;
    pid_t pid = rf_sandbox_clone(&sandbox, NULL, NULL);
    assert_true(pid >= 0);
    if (!pid)
        be_first(&sandbox, &policy, task, shared);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    rf_closep(&map.fd);
    *ret = *shared;
    munmap(shared, sizeof(*shared));
    rf_sandbox_base_deinit(&base);
    rf_sandbox_policy_deinit(&policy);
}

void run_inside(const char *policy, const char *const *imports, const char *command,
                struct inside *ret)
{
    run(policy, imports, &(struct task){.command = command}, ret);
}

void call_inside(const char *policy, int (*function)(void), struct inside *ret)
{
    run(policy, NULL, &(struct task){.function = function}, ret);
}
