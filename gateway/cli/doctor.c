/* ringfence doctor: which layers this machine has, and what to do about the others.
 *
 * One table of checks; each looks at the machine as it is for the user who
 * asks, tries rather than guesses, and changes nothing.  The walls inside the
 * sandbox are the kernel program's, and tried by it.
 */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ringfence/version.h>

#include "common/cleanup.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/config.h"
#include "gateway/cli/files.h"
#include "gateway/cli/options.h"
#include "gateway/cli/paths.h"
#include "gateway/cli/profile.h"
#include "gateway/cli/python.h"
#include "gateway/supervise/cgroup.h"
#include "gateway/supervise/network.h"
#include "gateway/supervise/runtime.h"
#include "gateway/supervise/zygote.h"

enum finding { HAVE, LACK, NOTE };

/* What a check found; its text is printed beside the name of the layer. */
struct report {
    enum finding finding;
    char text[320];
};

static const struct rf_options table = {
    .usage = "ringfence doctor",
    .about = "Says which layers of Ringfence this machine has, and what to do about the others.",
};

static void say(struct report *to, enum finding finding, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct report *to, enum finding finding, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    to->finding = finding;
    vsnprintf(to->text, sizeof(to->text), format, args);
    va_end(args);
}

static void print(const char *layer, const struct report *found)
{
    static const char *const marks[] = {[HAVE] = "ok", [LACK] = "LACKS", [NOTE] = "note"};
    const char *mark = marks[found->finding];
    for (const char *line = found->text; *line; layer = mark = "") {
        int len = (int)strcspn(line, "\n");
        printf("  %-6s%-18s%.*s\n", mark, layer, len, line);
        line += len + (line[len] == '\n');
    }
}

static void check_kernel(struct report *to)
{
    struct utsname name;
    int major = 0, minor = 0;
    uname(&name);
    sscanf(name.release, "%d.%d", &major, &minor);
    if (major < 5 || (major == 5 && minor < 11))
        say(to, LACK, "Linux %.60s; 5.11 or later is needed", name.release);
    else
        say(to, HAVE, "Linux %.60s", name.release);
}

/* --- what the kernel program says of its own walls --- */

#define SYSCTL \
    "ask the administrator for: sysctl kernel.unprivileged_userns_clone=1\n" \
    "user.max_user_namespaces=10000 (in a container: a seccomp profile that\n" \
    "allows unshare; in a chroot: never)"
#define SPACES "in a container: a seccomp profile that allows unshare and clone; as root\n" \
               "CAP_SYS_ADMIN, too"
#define MOUNTS "Linux 5.12 or later; in a container a seccomp profile that allows fsopen,\n" \
               "open_tree, move_mount and mount_setattr"
#define PROC "in a container whose /proc is masked: --security-opt systempaths=unconfined"
#define FILTER "a Linux with CONFIG_SECCOMP_FILTER; in a container a seccomp profile that\n" \
               "allows the call seccomp"

/* What to do where a step does not work; one without a row needs an earlier step. */
static const struct advice {
    const char *step, *text;
} advices[] = {
    {"user", SYSCTL},           {"own_user", SYSCTL}, {"pid", SPACES},    {"mount", SPACES},
    {"ipc", SPACES},            {"uts", SPACES},      {"net", SPACES},    {"cgroup", SPACES},
    {"private_mounts", MOUNTS}, {"root", MOUNTS},     {"proc", PROC},     {"mask_proc", PROC},
    {"seccomp", FILTER},        {"keeper_seccomp", FILTER},
    {"landlock", "Linux 5.19 or later, booted with lsm=landlock,...; in a container a seccomp\n"
                 "profile that allows landlock_create_ruleset"},
};

static void print_step(const char *step, const json_t *answer)
{
    struct report found;
    const char *why = json_string_value(json_object_get(answer, "why")), *todo = "";
    if (json_is_true(json_object_get(answer, "works"))) {
        say(&found, HAVE, "%.200s", why && *why ? why : "works");
        print(step, &found);
        return;
    }
    for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++)
        if (!strcmp(step, advices[i].step))
            todo = advices[i].text;
    say(&found, LACK, "%.120s%s%.190s", why && *why ? why : "denied", *todo ? "\n" : "", todo);
    print(step, &found);
}

/* The table of steps is the kernel program's; this prints what there is. */
static void print_sandbox(const char *program)
{
    char *argv[] = {(char *)program, (char *)"--probe-sandbox", NULL};
    RF_AUTO(rf_buf_deinitp) struct rf_buf text = {0};
    struct rf_error err = {0};
    int r = rf_program_ask(argv, &text, &err);
    json_t *root = r ? NULL : json_loadb((const char *)text.data, text.len, 0, NULL);
    const char *step;
    json_t *answer;
    json_object_foreach(root, step, answer)
        print_step(step, answer);
    if (!json_object_size(root)) {
        struct report found;
        say(&found, LACK, "%.200s does not say what its sandbox can do%s%.100s", program,
            err.text[0] ? ": " : "", err.text);
        print("sandbox", &found);
    }
    json_decref(root);
}

/* --- what the gateway does itself --- */

static void check_cgroup(struct report *to)
{
    static struct rf_cgroup_place place; /* paths */
    char text[120];
    rf_cgroup_find_own(&place);
    if (rf_cgroup_describe(&place, text, sizeof(text)))
        say(to, HAVE, "%s", text);
    else
        say(to, LACK,
            "%s; kernels get rlimits, and a\nwatchdog that looks at their memory, instead. Start "
            "Jupyter with:\nsystemd-run --user --scope -p Delegate=yes jupyter lab",
            text);
}

static void check_network(struct report *to)
{
    struct rf_network_tool tool;
    struct rf_error err = {0};
    if (!rf_network_find(&tool, &err))
        say(to, HAVE, "%.200s", tool.program);
    else
        say(to, LACK, "%.200s;\nkernels with network=on get none, or the host's where the "
                      "profile's\nnetwork_fallback allows that", err.text);
}

static void check_host_network(const char *name, const struct rf_config *config)
{
    struct rf_profile profile;
    struct report found;
    struct rf_error err = {0};
    if (rf_profile_find(name, config->profiles, getenv("HOME"), &profile, &err))
        return;
    if (profile.network == RF_NETWORK_HOST)
        say(&found, NOTE, "network=host: its kernels share this machine's network");
    else if (profile.network == RF_NETWORK_ON && profile.network_fallback == RF_NETWORK_HOST)
        say(&found, NOTE, "network_fallback=host: they may share this machine's network");
    if (profile.network == RF_NETWORK_HOST || profile.network_fallback == RF_NETWORK_HOST)
        print(name, &found);
    rf_profile_deinit(&profile);
}

static void print_profiles(void)
{
    static const char *const built_in[] = {"workspace", "offline", "strict", "off"};
    struct rf_config config;
    struct rf_error err = {0};
    struct report found;
    const char *name;
    json_t *value;
    if (rf_config_load(&config, &err)) {
        say(&found, LACK, "%.310s", err.text);
        print("configuration", &found);
        return;
    }
    say(&found, HAVE, "default: %.64s; workspace, offline, strict, off and %zu of the configuration",
        config.profile ? config.profile : "workspace", json_object_size(config.profiles));
    print("profiles", &found);
    for (size_t i = 0; i < sizeof(built_in) / sizeof(*built_in); i++)
        check_host_network(built_in[i], &config);
    json_object_foreach(config.profiles, name, value)
        check_host_network(name, &config);
    rf_config_deinit(&config);
}

static void check_runtime(struct report *to)
{
    char folder[RF_RUNTIME_PATH_MAX];
    struct rf_error err = {0};
    if (rf_runtime_dir(folder, &err))
        say(to, LACK, "%.300s", err.text);
    else
        say(to, HAVE, "%s (sockets of the zygotes)", folder);
}

static void check_zygotes(struct report *to)
{
    struct rf_error err = {0};
    RF_AUTO(rf_freep) char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    int n = stream ? rf_zygote_status(stream, &err) : -ENOMEM;
    if (stream)
        fclose(stream);
    if (n > 0)
        say(to, HAVE, "%d running; ringfence zygote shows them", n);
    else if (n == 0)
        say(to, HAVE, "none running; the first kernel starts one");
    else
        say(to, LACK, "%.300s", err.text);
}

static const struct check {
    const char *layer;
    void (*run)(struct report *);
} checks[] = {
    {"Linux", check_kernel},
    {"cgroup", check_cgroup},
    {"network helper", check_network},
    {"runtime folder", check_runtime},
    {"zygotes", check_zygotes},
};

static void print_python(const char *label, const char *program)
{
    struct report found;
    struct rf_python about;
    struct rf_error err = {0};
    int r = rf_python_ask(program, &about, &err);
    if (!r)
        r = rf_python_check(program, &about, &err);
    if (r)
        say(&found, LACK, "%.310s", err.text);
    else
        say(&found, HAVE, "Python %d.%d, IPython %s: %.200s", about.major, about.minor,
            about.ipython, program);
    print(label, &found);
}

/* Interpreters that a kernelspec may name with --python. */
static void print_pythons(void)
{
    static const struct {
        const char *variable, *label;
    } places[] = {{"VIRTUAL_ENV", "active venv"}, {"CONDA_PREFIX", "conda"}};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        const char *base = getenv(places[i].variable);
        if (base && snprintf(path, sizeof(path), "%s/bin/python", base) < PATH_MAX)
            print_python(places[i].label, path);
    }
    if (!rf_python_find("python3", path, NULL))
        print_python("python3 on PATH", path);
}

static void print_installation(void)
{
    struct rf_paths paths;
    struct rf_error err = {0};
    struct report found;
    if (rf_paths_find(&paths, &err)) {
        say(&found, LACK, "%.310s", err.text);
        print("installation", &found);
        return;
    }
    say(&found, HAVE, "%.300s", paths.prefix);
    print("installation", &found);
    print_python("built-in Python", paths.kernel_program);
    puts("\nWalls around a kernel:");
    print_sandbox(paths.kernel_program);
    rf_paths_deinit(&paths);
}

int rf_cmd_doctor(int argc, char **argv)
{
    size_t n_words;
    int status;
    if (!rf_options_begin(&table, argc, argv, NULL, &n_words, &status))
        return status;
    puts("ringfence " RF_VERSION "\n\nThis machine:");
    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
        struct report found = {0};
        checks[i].run(&found);
        print(checks[i].layer, &found);
    }
    print_profiles();
    puts("\nPython:");
    print_pythons();
    print_installation();
    puts("\nA kernel that lacks a layer starts without it and says so; with --sandbox=require\n"
         "it does not start.");
    return RF_EXIT_OK;
}
