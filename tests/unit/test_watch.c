/* kernel/watch: which changes of files are seen. */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/watch.h"

enum { FILE_PATH, FOLDER, LINK, ABSENT, PATHS };

struct rig {
    char folder[64];
    char text[PATHS][128];
    const char *paths[PATHS];
    struct rf_watch *watch;
};

static void put(const char *path, const char *text)
{
    RF_AUTO(rf_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

static int setup(void **state)
{
    static const char *const names[PATHS] = {"file", "folder", "link", "absent"};
    struct rig *rig = calloc(1, sizeof(*rig));
    snprintf(rig->folder, sizeof(rig->folder), "/tmp/rf-watch-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    for (int i = 0; i < PATHS; i++) {
        snprintf(rig->text[i], sizeof(rig->text[i]), "%s/%s", rig->folder, names[i]);
        rig->paths[i] = rig->text[i];
    }
    put(rig->paths[FILE_PATH], "text");
    assert_int_equal(mkdir(rig->paths[FOLDER], 0700), 0);
    assert_int_equal(symlink("file", rig->paths[LINK]), 0);
    rig->watch = rf_watch_new(rig->paths, PATHS, now());
    assert_non_null(rig->watch);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    char path[160];
    assert_null(rf_watch_free(rig->watch));
    for (int i = 0; i < PATHS; i++) {
        snprintf(path, sizeof(path), "%s/inside", rig->paths[i]);
        unlink(path);
        unlink(rig->paths[i]);
        rmdir(rig->paths[i]);
    }
    snprintf(path, sizeof(path), "%s/other", rig->folder);
    unlink(path);
    assert_int_equal(rmdir(rig->folder), 0);
    free(rig);
    return 0;
}

static void check_changed(struct rig *rig, const char *want)
{
    const char *got = rf_watch_changed(rig->watch);
    if (!got != !want || (got && strcmp(got, want) != 0))
        fail_msg("changed: %s, want %s", got ? got : "nothing", want ? want : "nothing");
}

static void test_nothing_changed(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 3; i++)
        check_changed(rig, NULL);
}

static void test_no_paths(void **state)
{
    struct rf_watch *none = rf_watch_new(NULL, 0, (struct timespec){0});
    assert_non_null(none);
    assert_null(rf_watch_changed(none));
    assert_null(rf_watch_free(none));
    assert_null(rf_watch_free(NULL));
}

static void test_size(void **state)
{
    struct rig *rig = *state;
    put(rig->paths[FILE_PATH], "more text");
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_time(void **state)
{
    struct rig *rig = *state;
    struct timespec times[2] = {{1000, 0}, {1000, 1}};
    assert_int_equal(utimensat(AT_FDCWD, rig->paths[FILE_PATH], times, 0), 0);
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_mode_and_content_of_others_do_not_matter(void **state)
{
    struct rig *rig = *state;
    char other[160];
    snprintf(other, sizeof(other), "%s/other", rig->folder);
    put(other, "x");
    assert_int_equal(chmod(rig->paths[FILE_PATH], 0400), 0);
    check_changed(rig, NULL);
}

/* As package managers do it: a new file takes the name, with the old date. */
static void test_replaced(void **state)
{
    struct rig *rig = *state;
    char other[160];
    struct stat st;
    snprintf(other, sizeof(other), "%s/other", rig->folder);
    put(other, "next");
    assert_int_equal(stat(rig->paths[FILE_PATH], &st), 0);
    struct timespec times[2] = {st.st_mtim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, other, times, 0), 0);
    assert_int_equal(rename(other, rig->paths[FILE_PATH]), 0);
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_removed(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(unlink(rig->paths[FILE_PATH]), 0);
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_became_a_folder(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(unlink(rig->paths[FILE_PATH]), 0);
    assert_int_equal(mkdir(rig->paths[FILE_PATH], 0700), 0);
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_appeared(void **state)
{
    struct rig *rig = *state;
    put(rig->paths[ABSENT], "");
    check_changed(rig, rig->paths[ABSENT]);
}

static void test_folder_gets_an_entry(void **state)
{
    struct rig *rig = *state;
    char inside[160];
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    rf_watch_free(rig->watch);
    assert_int_equal(utimensat(AT_FDCWD, rig->paths[FOLDER], old, 0), 0);
    rig->watch = rf_watch_new(rig->paths, PATHS, now());
    check_changed(rig, NULL);
    snprintf(inside, sizeof(inside), "%s/inside", rig->paths[FOLDER]);
    put(inside, "x");
    check_changed(rig, rig->paths[FOLDER]);
}

/* A link is what it leads to. */
static void test_link(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(unlink(rig->paths[LINK]), 0);
    assert_int_equal(symlink("./file", rig->paths[LINK]), 0);
    check_changed(rig, NULL);
    assert_int_equal(unlink(rig->paths[LINK]), 0);
    assert_int_equal(symlink("absent", rig->paths[LINK]), 0);
    check_changed(rig, rig->paths[LINK]);
}

/* All of them at once, by another tree in their place; and back. */
static void test_folder_above_is_moved(void **state)
{
    struct rig *rig = *state;
    char aside[80];
    snprintf(aside, sizeof(aside), "%s-aside", rig->folder);
    check_changed(rig, NULL);
    assert_int_equal(rename(rig->folder, aside), 0);
    check_changed(rig, rig->paths[FILE_PATH]);
    assert_int_equal(rename(aside, rig->folder), 0);
    check_changed(rig, NULL);
}

/* What changed before it was asked stays changed, and asking again looks again. */
static void test_answers_the_same_again(void **state)
{
    struct rig *rig = *state;
    put(rig->paths[FILE_PATH], "more text");
    check_changed(rig, rig->paths[FILE_PATH]);
    check_changed(rig, rig->paths[FILE_PATH]);
}

/* More events than a queue holds, and no path is new. */
static void test_many_events(void **state)
{
    struct rig *rig = *state;
    int most = 20000;
    for (int i = 0; i < most; i++)
        assert_int_equal(chmod(rig->paths[i % 2 ? FILE_PATH : FOLDER], 0700), 0);
    check_changed(rig, NULL);
    put(rig->paths[FILE_PATH], "more text");
    check_changed(rig, rig->paths[FILE_PATH]);
}

static void test_changed_while_it_was_read(void **state)
{
    struct rig *rig = *state;
    struct timespec before = now();
    before.tv_sec -= 5;
    rf_watch_free(rig->watch);
    rig->watch = rf_watch_new(rig->paths, PATHS, before);
    assert_non_null(rf_watch_changed(rig->watch));
    rf_watch_free(rig->watch); /* for a folder this is no reason */
    rig->watch = rf_watch_new(&rig->paths[FOLDER], 1, before);
    check_changed(rig, NULL);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG_TEST(test_nothing_changed),
        cmocka_unit_test(test_no_paths),
        RIG_TEST(test_size),
        RIG_TEST(test_time),
        RIG_TEST(test_mode_and_content_of_others_do_not_matter),
        RIG_TEST(test_replaced),
        RIG_TEST(test_removed),
        RIG_TEST(test_became_a_folder),
        RIG_TEST(test_appeared),
        RIG_TEST(test_folder_gets_an_entry),
        RIG_TEST(test_link),
        RIG_TEST(test_folder_above_is_moved),
        RIG_TEST(test_answers_the_same_again),
        RIG_TEST(test_many_events),
        RIG_TEST(test_changed_while_it_was_read),
    };
    return TESTS(tests);
}
