/* gateway/supervise/watchdog: what a sandbox has in memory, mapped or not. */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/supervise/watchdog.h"

#define SIZE (16 << 20)
#define SLACK (4 << 20) /* what the process itself takes up */

static char folder[64];

static int write_file(bool mapped)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/file", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, SIZE))
        return -1;
    if (mapped) {
        void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            return -1;
        memset(at, 1, SIZE);
    }
    close(fd);
    return 0;
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd);
}

/* Who makes a file has to be known to the user namespace. */
static bool unshare_mounts(void)
{
    char users[32], groups[32];
    snprintf(users, sizeof(users), "%u %u 1", getuid(), getuid());
    snprintf(groups, sizeof(groups), "%u %u 1", getgid(), getgid());
    return !unshare(CLONE_NEWUSER | CLONE_NEWNS) && write_text("/proc/self/setgroups", "deny") &&
           write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

enum how { NO_MOUNT, WRITTEN, MAPPED, COVERED };

static bool make_files(enum how how)
{
    return unshare_mounts() && !mount("rf", folder, "tmpfs", 0, "size=64m") &&
           !write_file(how == MAPPED) &&
           (how != COVERED || !mount("/usr", folder, NULL, MS_BIND | MS_REC, NULL));
}

/* A child in a mount namespace of its own, which has a file in memory; 0: it cannot be. */
static pid_t make_child(enum how how)
{
    int ready[2];
    char word = 'n';
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (!pid) {
        bool made = how == NO_MOUNT || make_files(how);
        if (write(ready[1], made ? "y" : "n", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &word, 1), 1);
    close(ready[0]);
    close(ready[1]);
    if (word == 'y')
        return pid;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}

static void check_child(enum how how, uint64_t least)
{
    pid_t pid = make_child(how);
    if (!pid)
        skip(); /* absent layer: user namespaces */
    uint64_t memory = rf_tree_memory(pid, 0), files = rf_tree_files(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_in_range(files, least, least);
    assert_in_range(memory, least, least + SLACK);
}

static void test_no_files(void **state)
{
    check_child(NO_MOUNT, 0);
}

static void test_files(void **state)
{
    check_child(WRITTEN, SIZE);
}

static void test_files_that_are_mapped_count_once(void **state)
{
    check_child(MAPPED, SIZE);
}

/* What lies over it is not memory. */
static void test_what_covers_files_is_not_counted(void **state)
{
    check_child(COVERED, 0);
}

/* Of a child that calls itself `name` and has SIZE bytes that it alone wrote. */
static uint64_t kept_by(const char *name)
{
    int ready[2];
    char word = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (!pid) {
        char *own = malloc(SIZE);
        prctl(PR_SET_NAME, name);
        memset(own, 1, SIZE);
        if (write(ready[1], own, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &word, 1), 1);
    close(ready[0]);
    close(ready[1]);
    uint64_t kept = rf_tree_kept(pid, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return kept;
}

static void test_what_checkpoints_alone_hold(void **state)
{
    assert_in_range(kept_by("ringfence-ckpt"), SIZE, SIZE + SLACK);
    assert_int_equal(kept_by("ringfence-worke"), 0);
}

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/rfwatchdog.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_files),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_that_are_mapped_count_once),
        cmocka_unit_test(test_what_checkpoints_alone_hold),
        cmocka_unit_test(test_what_covers_files_is_not_counted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
