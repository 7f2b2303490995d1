/* kernel/sandbox: what a shell in a sandbox can see, write and reach. */
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/sandbox/sandbox.h"
#include "tests/unit/sandbox_rig.h"

static char folder[64];

static const char *in(const char *name)
{
    static char paths[16][160];
    static size_t next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    RF_AUTO(rf_closep) int fd = open(in(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static int setup(void **state)
{
    static const char *const names[] = {"home", "home/.ssh", "home/work", "home/work/venv", "data"};
    char made[] = "/tmp/rf-box-XXXXXX";
    assert_non_null(mkdtemp(made));
    snprintf(folder, sizeof(folder), "%s", made);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(mkdir(in(names[i]), 0700), 0);
    put("home/.ssh/key", "canary");
    put("home/.token", "canary");
    put("home/work/file", "old");
    put("home/work/venv/module.py", "good");
    put("data/set", "numbers");
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    pid_t pid = fork();
    if (!pid) {
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

/* Runs it and returns what it printed; no layer may be lost. */
static const char *run(const char *policy, const char *const *imports, const char *command)
{
    static struct inside inside;
    run_inside(policy, imports, command, &inside);
    if (inside.code)
        fail_msg("%s", inside.error);
    if (inside.lost[0])
        fail_msg("lost: %s", inside.lost);
    return inside.output;
}

static void check_output(const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        fail_msg("got  %s\nwant %s", got, want);
}

static const char *workspace(const char *more)
{
    static char text[512];
    snprintf(text, sizeof(text), "workspace=%s\nhome=%s\n%s", in("home/work"), in("home"), more);
    return text;
}

static const char *there(const char *format, const char *path)
{
    static char text[8][400];
    static size_t next;
    char *to = text[next++ % 8];
    snprintf(to, sizeof(text[0]), "cd %s; ", path);
    snprintf(to + strlen(to), sizeof(text[0]) - strlen(to), "%s", format);
    return to;
}

static void test_workspace_is_written(void **state)
{
    const char *got = run(workspace(""), NULL,
                          there("cat file; echo new > file; echo made > other; mkdir d; mv other d/;"
                                "ls; cat d/other", in("home/work")));
    check_output(got, "oldd\nfile\nvenv\nmade\n");
    struct stat st;
    assert_int_equal(stat(in("home/work/d/other"), &st), 0);
    assert_int_equal(st.st_uid, geteuid()); /* the owner's, whoever wrote it inside */
    assert_int_equal(stat(in("home/work/file"), &st), 0);
    assert_int_equal(st.st_size, 4);
}

static void test_the_rest_of_the_home_folder_is_not_there(void **state)
{
    const char *got = run(workspace(""), NULL,
                          there("ls -A ..; touch ../x && ls -A ..; ls -A ../../; cat ../.token",
                                in("home/work")));
    check_output(got, "work\nwork\nx\nhome\ncat: ../.token: No such file or directory\n");
    assert_int_not_equal(access(in("home/x"), F_OK), 0);
}

static void test_imports_lie_over_the_workspace(void **state)
{
    const char *imports[] = {in("home/work/venv"), in("home/work/later"), NULL};
    const char *got = run(workspace(""), imports,
                          there("cat venv/module.py; echo; for p in venv/evil.pth venv/module.py "
                                "later/evil.pth; do echo bad 2>/dev/null > $p || echo refused; done; "
                                "mv venv gone 2>/dev/null || echo held; rm -rf venv 2>/dev/null; "
                                "ls venv", in("home/work")));
    check_output(got, "good\nrefused\nrefused\nrefused\nheld\nmodule.py\n");
}

static void test_a_workspace_in_what_is_imported_is_read_only(void **state)
{
    const char *imports[] = {in("home/work"), NULL};
    const char *got = run(workspace(""), imports,
                          there("cat file; echo bad 2>/dev/null > file || echo refused", in("home/work")));
    check_output(got, "oldrefused\n");
}

static void test_masks(void **state)
{
    char text[512];
    snprintf(text, sizeof(text), "workspace=%s\nmask=%s\nmask=%s\nmask=%s\nread_only=%s", in("home"),
             in("home/.ssh"), in("home/.token"), in("home/.none"), in("data"));
    const char *got = run(text, NULL,
                          there("ls .ssh; cat .token; touch .ssh/a 2>/dev/null || echo refused; "
                                "echo x 2>/dev/null > .token || echo refused; cat work/file; "
                                "cat ../data/set; touch ../data/x 2>/dev/null || echo refused",
                                in("home")));
    check_output(got, "refused\nrefused\noldnumbersrefused\n");
}

/* As with /home on another disk: the name that the user knows works inside. */
static void test_names_through_links(void **state)
{
    char text[512], command[512];
    assert_int_equal(symlink(in("home"), in("link")), 0);
    assert_int_equal(symlink("link/work", in("second")), 0);
    snprintf(text, sizeof(text), "workspace=%s", in("second"));
    snprintf(command, sizeof(command), "cat %s/file %s/file; readlink %s", in("second"),
             in("home/work"), in("link"));
    char want[200];
    snprintf(want, sizeof(want), "oldold%s\n", in("home"));
    check_output(run(text, NULL, command), want);
}

static void test_no_workspace(void **state)
{
    const char *got = run("disk=1048576\ninodes=100", NULL,
                          "cd " RF_OWN_WORKSPACE "; touch a && ls; head -c 2000000 /dev/zero > big "
                          "2>/dev/null; wc -c < big; i=0; while [ $i -lt 200 ]; do touch f$i 2>/dev/null "
                          "|| break; i=$((i+1)); done; [ $i -lt 100 ] && echo full");
    check_output(got, "a\n1048576\nfull\n");
}

static void test_network_off(void **state)
{
    const char *got = run("network=off", NULL,
                          "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; wc -l < /proc/net/route");
    check_output(got, "lo\n1\n");
}

static void test_who_it_is(void **state)
{
    char want[128];
    unsigned uid = geteuid() ? geteuid() : 61234;
    snprintf(want, sizeof(want), "%u\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
                                 "CapBnd:\t0000000000000000\n", uid);
    check_output(run("", NULL, "id -u; grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status"), want);
}

static void test_system_is_read_only(void **state)
{
    const char *got = run("", NULL,
                          "for p in /x /usr/x /etc/x /dev/x /proc/sys/kernel/x /.empty/x; do "
                          "touch $p 2>/dev/null && echo wrote $p; done; "
                          "ls /run /home /.empty; cat /etc/shadow /proc/kcore /proc/kallsyms; "
                          "grep -q nosuid /proc/self/mountinfo && echo nosuid");
    assert_non_null(strstr(got, "nosuid"));
    assert_null(strstr(got, "wrote"));
    assert_non_null(strstr(got, "/etc/shadow: No such file"));
}

static void test_devices(void **state)
{
    const char *got = run("device=/dev/full", NULL,
                          "echo x > /dev/null && echo null; head -c 2 /dev/zero | wc -c; "
                          "head -c 2 /dev/urandom | wc -c; ls /dev | tr '\\n' ' '; ls -A /dev/shm; "
                          "[ -c /dev/ptmx ] && echo ptmx");
    check_output(got, "null\n2\n2\ncore fd full null ptmx pts random shm stderr stdin stdout tty "
                      "urandom zero ptmx\n");
}

static void test_limits(void **state)
{
    cpu_set_t cpus;
    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    char want[64]; /* the memory, and what is reserved for each processor */
    snprintf(want, sizeof(want), "77\n77\n%d\n0\n", 292968 + CPU_COUNT(&cpus) * (160 << 10));
    check_output(run("open_files=77\nmemory=300000000\nprocesses=55\nrlimits=1", NULL,
                     "ulimit -n; ulimit -Hn; ulimit -d; ulimit -c"),
                 want);
    check_output(run("open_files=78\nmemory=300000000", NULL, "ulimit -n; ulimit -d"),
                 "78\nunlimited\n");
}

static void test_a_missing_workspace_is_an_error(void **state)
{
    struct inside inside;
    char text[200];
    snprintf(text, sizeof(text), "workspace=%s", in("nowhere"));
    run_inside(text, NULL, "echo ran", &inside);
    assert_int_equal(inside.code, -ENOENT);
    assert_non_null(strstr(inside.error, "nowhere"));
    assert_string_equal(inside.output, "");
}

static void test_walls_off(void **state)
{
    check_output(run("walls=off\nopen_files=99", NULL, "ulimit -n; [ -d /proc/1 ] && [ -e /root ] && "
                                                       "grep Seccomp: /proc/self/status"),
                 "99\nSeccomp:\t0\n");
}

/* --- a machine that denies --- */

/* Every child of this process is refused the call, with EPERM. */
static void deny(unsigned call)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(code), code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(9);
}

static void deny_clone_flags(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {COUNT_OF(code), code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(9);
}

static void deny_landlock(void)
{
    deny(SYS_landlock_create_ruleset);
}

static void deny_mounts(void)
{
    deny(SYS_fsopen);
}

static void deny_seccomp(void)
{
    deny(SYS_seccomp);
}

/* As a container does it: an ordinary user gets no new /proc where this one has a part
 * that is hidden. */
static void mask_proc(void)
{
    char uid[32], gid[32];
    snprintf(uid, sizeof(uid), "%u %u 1", geteuid(), geteuid());
    snprintf(gid, sizeof(gid), "%u %u 1", getegid(), getegid());
    const char *const writes[][2] = {
        {"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", uid}, {"/proc/self/gid_map", gid}};
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
        _exit(9);
    for (size_t i = 0; i < COUNT_OF(writes); i++) {
        int fd = open(writes[i][0], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, writes[i][1], strlen(writes[i][1])) < 0)
            _exit(9);
        close(fd);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("/dev/null", "/proc/keys", NULL, MS_BIND, NULL))
        _exit(9);
}

struct denied {
    void (*deny)(void);
    const char *policy, *command;
};

/* In a child, since what is denied stays so. */
static void run_denied(const struct denied *denied, struct inside *ret)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        struct inside inside;
        denied->deny();
        run_inside(denied->policy, NULL, denied->command, &inside);
        _exit(write(ends[1], &inside, sizeof(inside)) == sizeof(inside) ? 0 : 8);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], ret, sizeof(*ret));
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (n != (ssize_t)sizeof(*ret))
        fail_msg("the child ended with wait status %#x", (unsigned)status);
}

static void check_denied(void (*how)(void), const char *want_lost, const char *want_output)
{
    struct inside inside;
    struct denied denied = {how, "", "cat /etc/hostname >/dev/null 2>&1 && echo read; grep -h "
                                     "Seccomp: /proc/self/status"};
    run_denied(&denied, &inside);
    if (inside.code || !strstr(inside.lost, want_lost) || strcmp(inside.output, want_output) != 0)
        fail_msg("code %d %s, lost %s, output %s", inside.code, inside.error, inside.lost,
                 inside.output);
    denied.policy = "sandbox=require";
    run_denied(&denied, &inside);
    if (!inside.code || inside.output[0])
        fail_msg("required, and it ran: %s", inside.output);
}

static void test_without_landlock(void **state)
{
    check_denied(deny_landlock, "landlock", "Seccomp:\t2\n");
}

static void test_without_seccomp(void **state)
{
    check_denied(deny_seccomp, "seccomp", "Seccomp:\t2\n"); /* the test's own */
}

/* Landlock alone still keeps files apart. */
static void test_without_mounts(void **state)
{
    check_denied(deny_mounts, "root,proc", "Seccomp:\t2\n");
}

static void test_without_namespaces(void **state)
{
    check_denied(deny_clone_flags, "pid,mount", "Seccomp:\t2\n");
}

static void test_with_a_masked_proc(void **state)
{
    if (!geteuid()) {
        print_message("absent layer: root's own powers mount /proc in any case\n");
        skip();
    }
    check_denied(mask_proc, "proc", "Seccomp:\t2\n");
}

#define BOX_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        BOX_TEST(test_workspace_is_written),
        BOX_TEST(test_the_rest_of_the_home_folder_is_not_there),
        BOX_TEST(test_imports_lie_over_the_workspace),
        BOX_TEST(test_a_workspace_in_what_is_imported_is_read_only),
        BOX_TEST(test_masks),
        BOX_TEST(test_names_through_links),
        cmocka_unit_test(test_no_workspace),
        cmocka_unit_test(test_network_off),
        cmocka_unit_test(test_who_it_is),
        cmocka_unit_test(test_system_is_read_only),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_limits),
        BOX_TEST(test_a_missing_workspace_is_an_error),
        cmocka_unit_test(test_walls_off),
        cmocka_unit_test(test_without_landlock),
        cmocka_unit_test(test_without_seccomp),
        cmocka_unit_test(test_without_mounts),
        cmocka_unit_test(test_without_namespaces),
        cmocka_unit_test(test_with_a_masked_proc),
    };
    struct inside first;
    run_inside("", NULL, "true", &first);
    if (first.code == -EPERM || strstr(first.lost, "mount")) {
        fprintf(stderr, "absent layer: this machine denies namespaces (%s%s)\n", first.error,
                first.lost);
        return 77;
    }
    return TESTS(tests);
}
