/* ringfence doctor: which layers this machine has, and what to do about the others.
 *
 * One table of checks; each looks at the machine as it is for the user who
 * asks, tries rather than guesses, and changes nothing.  What can harm the
 * caller (namespaces, mounts) is tried in a forked child.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringfence/version.h>

#include "common/cleanup.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/files.h"
#include "gateway/cli/options.h"
#include "gateway/cli/paths.h"
#include "gateway/cli/python.h"
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

/* Runs `try` in a child; what it returns: 0 or a positive errno. */
static int in_child(int (*try)(int), int argument)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (!pid)
        _exit(try(argument));
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int try_namespaces(int flags)
{
    return unshare(flags) ? errno : 0;
}

static int write_text(const char *path, const char *text)
{
    RF_AUTO(rf_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;
}

static int map_ids(void)
{
    char uid[48], gid[48];
    snprintf(uid, sizeof(uid), "%u %u 1", geteuid(), geteuid());
    snprintf(gid, sizeof(gid), "%u %u 1", getegid(), getegid());
    if (unshare(CLONE_NEWUSER))
        return errno;
    int r = write_text("/proc/self/setgroups", "deny");
    if (!r)
        r = write_text("/proc/self/uid_map", uid);
    return r ? r : write_text("/proc/self/gid_map", gid);
}

/* A new mount namespace whose mounts stay inside. */
static int private_mounts(void)
{
    int r = map_ids();
    if (!r && unshare(CLONE_NEWNS))
        r = errno;
    if (!r && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        r = errno;
    return r;
}

static int mount_proc(int unused)
{
    (void)unused;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ? errno : 0;
}

static int try_proc(int unused)
{
    (void)unused;
    int r = private_mounts();
    if (!r && unshare(CLONE_NEWPID))
        r = errno;
    return r ? r : in_child(mount_proc, 0);
}

static int try_overlay(int unused)
{
    (void)unused;
    int r = private_mounts();
    if (!r && mount("tmpfs", "/tmp", "tmpfs", 0, NULL))
        r = errno;
    if (!r && (mkdir("/tmp/lower", 0700) || mkdir("/tmp/upper", 0700) || mkdir("/tmp/work", 0700)))
        r = errno;
    static const char dirs[] =
        "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr";
    if (!r && mount("overlay", "/tmp/lower", "overlay", 0, dirs))
        r = errno;
    return r;
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

static void check_user_namespace(struct report *to)
{
    int r = in_child(try_namespaces, CLONE_NEWUSER);
    if (!r)
        say(to, HAVE, "an ordinary user can make one");
    else
        say(to, LACK,
            "%s; kernels run without a sandbox. Ask the administrator for\n"
            "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000\n"
            "(in a container: a seccomp profile that allows unshare; in a chroot: never)",
            strerror(r));
}

static void check_pid_namespace(struct report *to)
{
    int r = in_child(try_namespaces, CLONE_NEWUSER | CLONE_NEWPID);
    if (!r)
        say(to, HAVE, "a kernel sees and signals its own processes only");
    else
        say(to, LACK, "%s; see user namespace", strerror(r));
}

static void check_mount_namespace(struct report *to)
{
    int r = in_child(try_namespaces, CLONE_NEWUSER | CLONE_NEWNS);
    if (!r)
        say(to, HAVE, "mounts of a kernel stay inside");
    else
        say(to, LACK, "%s; see user namespace", strerror(r));
}

static void check_proc(struct report *to)
{
    int r = in_child(try_proc, 0);
    if (!r)
        say(to, HAVE, "/proc shows a kernel its own processes only");
    else
        say(to, LACK,
            "%s; /proc of the machine stays visible. In a container whose /proc\n"
            "is masked that is so: start it with --security-opt systempaths=unconfined",
            strerror(r));
}

static void check_landlock(struct report *to)
{
    static const unsigned version_flag = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, version_flag);
    if (abi > 0)
        say(to, NOTE, "ABI %ld; not used yet", abi);
    else
        say(to, NOTE, "not here (boot with lsm=landlock,...); not used yet");
}

static void check_seccomp(struct report *to)
{
    unsigned action = SECCOMP_RET_ERRNO;
    bool have = !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
    say(to, NOTE, have ? "filters can be set; not used yet" : "not here; not used yet");
}

/* The path of this process below the mount of cgroup v2; false: no v2. */
static bool own_cgroup(char *ret, size_t size)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf text = {0};
    struct rf_bytes rest, line;
    if (rf_file_read("/proc/self/cgroup", &text))
        return false;
    for (rest = rf_buf_bytes(&text); rf_next_line(&rest, &line);)
        if (line.len > 3 && !memcmp(line.data, "0::", 3)) {
            snprintf(ret, size, "/sys/fs/cgroup%.*s/cgroup.procs", (int)line.len - 3,
                     (const char *)line.data + 3);
            return !access("/sys/fs/cgroup/cgroup.controllers", F_OK);
        }
    return false;
}

static void check_cgroup(struct report *to)
{
    char procs[PATH_MAX];
    if (own_cgroup(procs, sizeof(procs)))
        say(to, NOTE, "v2, %s; not used yet",
            access(procs, W_OK) ? "not delegated to this user (systemd-run --user --scope does)"
                                : "ours to divide");
    else if (!access("/sys/fs/cgroup/memory", F_OK))
        say(to, NOTE, "v1, %s; not used yet",
            access("/sys/fs/cgroup/memory", W_OK) ? "not writable for this user" : "writable");
    else
        say(to, NOTE, "not mounted; not used yet");
}

static void check_overlay(struct report *to)
{
    int r = in_child(try_overlay, 0);
    if (!r)
        say(to, NOTE, "works for this user; not used yet");
    else
        say(to, NOTE, "not for this user (%s); not used yet", strerror(r));
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
    {"user namespace", check_user_namespace},
    {"pid namespace", check_pid_namespace},
    {"mount namespace", check_mount_namespace},
    {"private /proc", check_proc},
    {"Landlock", check_landlock},
    {"seccomp", check_seccomp},
    {"cgroup", check_cgroup},
    {"overlayfs", check_overlay},
    {"runtime folder", check_runtime},
    {"zygotes", check_zygotes},
};

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
    puts("\nPython:");
    print_installation();
    print_pythons();
    puts("\nToday's sandbox is namespaces only (user, pid, mount, private /proc), without\n"
         "capabilities and new privileges. The layers marked \"note\" come later.");
    return RF_EXIT_OK;
}
