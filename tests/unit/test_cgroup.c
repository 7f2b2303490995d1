/* gateway/supervise: where cgroups are, whose they are, limits, ending and removing. */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/supervise/cgroup.h"
#include "gateway/supervise/sweep.h"

/* --- where --- */

#define V1_MOUNTS                                                                                 \
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                        \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"       \
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"                 \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"                 \
    "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"

static const struct {
    const char *what, *cgroup, *mounts;
    const char *memory, *pids, *cpu, *v2;
} places[] = {
    {"v2", "0::/user.slice/app.slice/run-1.scope\n",
     "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "", "", "",
     "/sys/fs/cgroup/user.slice/app.slice/run-1.scope"},
    {"v2, in a namespace", "0::/\n", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "", "",
     "", "/sys/fs/cgroup"},
    {"v2, bind-mounted part", "0::/docker/abc/x\n",
     "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "", "",
     "/sys/fs/cgroup/x"},
    {"v2, not shown by the mount", "0::/../other\n",
     "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "", "", "", ""},
    {"a name that only begins alike", "0::/docker/abcd\n",
     "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "", "", ""},
    {"v1, cpu and cpuacct together",
     "9:name=systemd:/\n4:memory:/job/7\n3:cpuset:/\n2:cpu,cpuacct:/c\n8:pids:/\n", V1_MOUNTS,
     "/sys/fs/cgroup/memory/job/7", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu,cpuacct/c", ""},
    {"hybrid", "4:memory:/m\n8:pids:/p\n0::/u\n",
     V1_MOUNTS "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
     "/sys/fs/cgroup/memory/m", "/sys/fs/cgroup/pids/p", "", "/sys/fs/cgroup/unified/u"},
    {"blanks in the mount point", "0::/a b\n",
     "30 23 0:26 / /sys/fs/c\\040g rw - cgroup2 cgroup rw\n", "", "", "", "/sys/fs/c g/a b"},
    {"a colon in the path", "0::/a:b\n", "30 23 0:26 / /cg rw - cgroup2 cgroup rw\n", "", "", "",
     "/cg/a:b"},
    {"none", "", "22 1 0:20 / / rw - ext4 /dev/vda rw\n", "", "", "", ""},
    {"cut lines", "4:memory\n:\n0:\n", "30\n\n31 23 0:28 / /x rw -\n32 1 0:1 / /y rw - cgroup\n", "",
     "", "", ""},
};

static void test_places(void **state)
{
    static struct rf_cgroup_place place;
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        rf_cgroup_find(rf_bytes_str(places[i].cgroup), rf_bytes_str(places[i].mounts), &place);
        print_message("%s\n", places[i].what);
        assert_string_equal(place.v1[RF_CGROUP_MEMORY], places[i].memory);
        assert_string_equal(place.v1[RF_CGROUP_PIDS], places[i].pids);
        assert_string_equal(place.v1[RF_CGROUP_CPU], places[i].cpu);
        assert_string_equal(place.v2, places[i].v2);
    }
}

/* --- names --- */

static void test_names(void **state)
{
    char name[RF_SWEEP_NAME_MAX], other[RF_SWEEP_NAME_MAX + 8];
    assert_int_equal(rf_sweep_name(name), 0);
    assert_false(rf_sweep_is_left_over(name)); /* we live */
    snprintf(other, sizeof(other), "%sx", name);
    assert_false(rf_sweep_is_left_over(other));
    unsigned long long space, start;
    int pid;
    assert_int_equal(sscanf(name, "ringfence-%llx.%d.%llu.", &space, &pid, &start), 3);
    assert_int_equal(pid, getpid());
    snprintf(other, sizeof(other), "ringfence-%llx.%d.%llu.1", space, pid, start + 1);
    assert_true(rf_sweep_is_left_over(other)); /* the pid came round again */
    pid_t child = fork();
    if (!child)
        _exit(0);
    waitpid(child, NULL, 0);
    snprintf(other, sizeof(other), "ringfence-%llx.%d.%llu.1", space, child, start);
    assert_true(rf_sweep_is_left_over(other));
    snprintf(other, sizeof(other), "ringfence-%llx.%d.%llu.1", space + 1, child, start);
    assert_false(rf_sweep_is_left_over(other)); /* of a pid namespace that we cannot see into */
    assert_false(rf_sweep_is_left_over("ringfence-gateways"));
    assert_false(rf_sweep_is_left_over("init.scope"));
}

/* --- limits, against a folder that stands in for the kernel's files --- */

struct stand_in {
    char top[64], kernel[128];
};

static void put(const char *folder, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void check_file(const char *folder, const char *file, const char *want)
{
    char path[256], text[256];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, want);
}

static const struct rf_cgroup_limits limits = {.memory = 1 << 20, .processes = 7, .cpu = 1500};

static void make_stand_in(struct stand_in *s, const char *const *files)
{
    snprintf(s->top, sizeof(s->top), "/tmp/rfcgroup-XXXXXX");
    assert_non_null(mkdtemp(s->top));
    snprintf(s->kernel, sizeof(s->kernel), "%s/k", s->top);
    assert_int_equal(mkdir(s->kernel, 0700), 0);
    for (; *files; files++)
        put(s->kernel, *files, "");
}

static void remove_stand_in(const struct stand_in *s)
{
    char command[160];
    pid_t pid = fork();
    snprintf(command, sizeof(command), "%s", s->top);
    if (!pid) {
        execlp("rm", "rm", "-r", command, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static void test_v2_limits(void **state)
{
    static const char *const files[] = {"memory.max", "memory.swap.max", "memory.oom.group",
                                        "pids.max", "cpu.max", "memory.events", "pids.events", NULL};
    static struct rf_cgroup_place place;
    struct stand_in s;
    struct rf_cgroup cgroup;
    memset(&place, 0, sizeof(place));
    make_stand_in(&s, files);
    put(s.top, "cgroup.controllers", "cpuset cpu io memory pids\n");
    put(s.top, "cgroup.subtree_control", "memory pids\n");
    put(s.top, "cgroup.procs", "");
    snprintf(place.v2, sizeof(place.v2), "%s/%s", s.top, RF_CGROUP_LEAF); /* kernels go beside it */
    assert_int_equal(rf_cgroup_make(&place, &limits, "k", &cgroup), 0);
    assert_string_equal(cgroup.why, "");
    assert_int_equal(cgroup.holds, 7);
    assert_int_equal(cgroup.version, 2);
    assert_int_equal(cgroup.n, 1);
    assert_string_equal(cgroup.folders[0], s.kernel);
    check_file(s.top, "cgroup.subtree_control", "+cpury pids\n"); /* the one that was missing */
    check_file(s.kernel, "memory.max", "1048576");
    check_file(s.kernel, "memory.swap.max", "0");
    check_file(s.kernel, "memory.oom.group", "0");
    check_file(s.kernel, "pids.max", "7");
    check_file(s.kernel, "cpu.max", "150000 100000");
    put(s.kernel, "memory.events", "low 0\noom 3\noom_kill 0\noom_group_kill 0\n");
    assert_false(rf_cgroup_was_oom(&cgroup, false));
    put(s.kernel, "memory.events", "low 0\noom 3\noom_kill 1\noom_group_kill 0\n");
    assert_true(rf_cgroup_was_oom(&cgroup, false));
    assert_false(rf_cgroup_was_oom(&cgroup, false)); /* once */
    put(s.kernel, "pids.events", "max 2\n");
    assert_true(rf_cgroup_refused_forks(&cgroup));
    rf_cgroup_deinit(&cgroup);
    remove_stand_in(&s);
}

static void test_v1_limits(void **state)
{
    static const char *const files[] = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                                        "memory.oom_control", "memory.usage_in_bytes",
                                        "memory.stat", "pids.max", NULL};
    static struct rf_cgroup_place place;
    struct stand_in s;
    struct rf_cgroup cgroup;
    struct rf_buf missing = {0};
    memset(&place, 0, sizeof(place));
    make_stand_in(&s, files);
    for (int kind = 0; kind < RF_CGROUP_KINDS; kind++) /* all on one mount, cpu without its files */
        snprintf(place.v1[kind], sizeof(place.v1[kind]), "%s", s.top);
    assert_int_equal(rf_cgroup_make(&place, &limits, "k", &cgroup), 0);
    assert_int_equal(cgroup.n, 1);
    assert_int_equal(cgroup.holds, 1 << RF_CGROUP_MEMORY | 1 << RF_CGROUP_PIDS);
    check_file(s.kernel, "memory.limit_in_bytes", "1048576");
    check_file(s.kernel, "memory.memsw.limit_in_bytes", "1048576");
    rf_cgroup_missing(&cgroup, &missing);
    check_text(rf_buf_bytes(&missing), "cgroup cpu", "what is missing");
    put(s.kernel, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    assert_true(rf_cgroup_was_oom(&cgroup, true));
    assert_true(rf_cgroup_was_oom(&cgroup, true));
    assert_false(rf_cgroup_was_oom(&cgroup, false));
    put(s.kernel, "memory.usage_in_bytes", "4096\n");
    put(s.kernel, "memory.stat", "cache 5\nrss 6\nrss_huge 7\nshmem 8\n");
    assert_int_equal(rf_cgroup_usage(&cgroup), 4096);
    assert_int_equal(rf_cgroup_anonymous(&cgroup), 6);
    assert_int_equal(rf_cgroup_shared(&cgroup), 8);
    rf_buf_deinit(&missing);
    rf_cgroup_deinit(&cgroup);
    remove_stand_in(&s);
}

static void test_nothing_here(void **state)
{
    static const char *const none[] = {NULL};
    static struct rf_cgroup_place place;
    struct stand_in s;
    struct rf_cgroup cgroup;
    struct rf_cgroup_limits no_cpu = limits;
    memset(&place, 0, sizeof(place));
    assert_int_equal(rf_cgroup_make(&place, &limits, "k", &cgroup), 0);
    assert_int_equal(cgroup.holds, 0);
    assert_string_not_equal(cgroup.why, "");
    rf_cgroup_deinit(&cgroup);
    make_stand_in(&s, none); /* v2 that gives this cgroup nothing */
    put(s.top, "cgroup.controllers", "cpuset\n");
    put(s.top, "cgroup.subtree_control", "");
    snprintf(place.v2, sizeof(place.v2), "%s", s.top);
    no_cpu.cpu = 0;
    assert_int_equal(rf_cgroup_make(&place, &no_cpu, "k", &cgroup), 0);
    assert_int_equal(cgroup.n, 0);
    assert_int_equal(cgroup.wanted, 1 << RF_CGROUP_MEMORY | 1 << RF_CGROUP_PIDS);
    rf_cgroup_deinit(&cgroup);
    remove_stand_in(&s);
}

/* --- the machine's own hierarchies --- */

static pid_t sleeper_with_child(void)
{
    int ends[2];
    char ready;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        setsid();
        if (fork())
            (void)!write(ends[1], "", 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static int count_in(const char *folder)
{
    char path[PATH_MAX + 16];
    int n = 0, pid;
    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%d", &pid) == 1)
        n++;
    if (file)
        fclose(file);
    return n;
}

static void check_hierarchy(const char *parent, const char *what)
{
    char name[RF_SWEEP_NAME_MAX], folder[PATH_MAX];
    assert_int_equal(rf_sweep_name(name), 0);
    snprintf(folder, sizeof(folder), "%.3000s/%s", parent, name);
    if (!parent[0] || mkdir(folder, 0755)) {
        print_message("absent layer: no cgroup can be made on %s\n", what);
        return;
    }
    pid_t pid = sleeper_with_child();
    char *folders[] = {folder, NULL};
    assert_int_equal(rf_sweep_attach(folders, pid), 0);
    assert_int_equal(count_in(folder), 2);
    assert_int_equal(rf_sweep_parent(parent, 0), 0); /* ours is no left-over */
    assert_int_equal(rf_sweep_remove(folder, 5000), 0);
    assert_int_equal(access(folder, F_OK), -1);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A process makes a cgroup and ends; one that it forked is its heir, until the pipe is closed. */
static void make_heir(const char *parent, char folder[PATH_MAX], int *ret_pipe)
{
    int name_pipe[2], end_pipe[2];
    assert_int_equal(pipe(name_pipe) | pipe(end_pipe), 0);
    pid_t maker = fork();
    if (!maker) {
        char name[RF_SWEEP_NAME_MAX] = "";
        rf_sweep_name(name);
        snprintf(folder, PATH_MAX, "%.3000s/%s", parent, name);
        int made = mkdir(folder, 0755);
        close(end_pipe[1]);
        if (!fork()) {
            rf_sweep_inherit(folder);
            (void)!write(name_pipe[1], made ? "" : folder, made ? 1 : strlen(folder) + 1);
            (void)!read(end_pipe[0], name, 1);
        }
        _exit(0);
    }
    close(name_pipe[1]);
    close(end_pipe[0]);
    assert_true(read(name_pipe[0], folder, PATH_MAX) > 0);
    assert_int_equal(waitpid(maker, NULL, 0), maker);
    close(name_pipe[0]);
    *ret_pipe = end_pipe[1];
}

static void check_heir(const char *parent)
{
    char folder[PATH_MAX] = "";
    int end;
    make_heir(parent, folder, &end);
    if (!folder[0]) {
        close(end);
        return; /* and check_hierarchy() has said so */
    }
    assert_true(rf_sweep_is_left_over(strrchr(folder, '/') + 1));
    rf_sweep_parent(parent, 0);
    assert_int_equal(access(folder, F_OK), 0);
    close(end);
    for (int tries = 0; tries < 1000 && !access(folder, F_OK); tries++) {
        rf_sweep_parent(parent, 0);
        usleep(10000);
    }
    assert_int_equal(access(folder, F_OK), -1);
}

static void test_the_machine(void **state)
{
    static struct rf_cgroup_place place;
    rf_cgroup_find_own(&place);
    check_hierarchy(place.v2, "v2 (cgroup.procs, cgroup.kill)");
    check_hierarchy(place.v1[RF_CGROUP_MEMORY], "v1 memory");
    check_hierarchy(place.v1[RF_CGROUP_PIDS], "v1 pids");
    check_heir(place.v2);
    check_heir(place.v1[RF_CGROUP_MEMORY]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_v2_limits),    cmocka_unit_test(test_v1_limits),
        cmocka_unit_test(test_nothing_here), cmocka_unit_test(test_the_machine),
    };
    return TESTS(tests);
}
