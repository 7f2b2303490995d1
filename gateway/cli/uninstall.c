/* ringfence uninstall: removes a kernelspec, or all that was installed.
 *
 * It removes what the manifest and the record of kernelspecs name, and nothing
 * else.  A line of the manifest is a path relative to the prefix; one that ends
 * in '/' is a folder that the installer made, which goes if it is empty then
 * (inner folders stand before outer ones).  A path that leaves the prefix, also
 * through a link, is refused.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/cli/commands.h"
#include "gateway/cli/files.h"
#include "gateway/cli/kernelspec.h"
#include "gateway/cli/options.h"
#include "gateway/cli/paths.h"
#include "gateway/supervise/zygote.h"

struct uninstall {
    const char *name; /* borrowed from argv */
    bool all, yes;
};

static const struct rf_option options[] = {
    {"name", 0, "NAME", RF_OPTION_TEXT, offsetof(struct uninstall, name),
     "only the kernelspec of that name"},
    {"all", 0, NULL, RF_OPTION_FLAG, offsetof(struct uninstall, all),
     "kernelspecs and program (the default)"},
    {"yes", 'y', NULL, RF_OPTION_FLAG, offsetof(struct uninstall, yes), "do not ask"},
};

static const struct rf_options table = {
    .usage = "ringfence uninstall [--name NAME | --all] [--yes]",
    .about = "Removes what was installed, and nothing else. Kernels that run go on until they end.",
    .options = options,
    .n = sizeof(options) / sizeof(*options),
};

/* What happened so far; problems were printed. */
struct tally {
    int removed, problems;
};

static void complain(struct tally *tally, const struct rf_error *err)
{
    fprintf(stderr, "ringfence uninstall: %s\n", err->text);
    tally->problems++;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Opens the folder that holds `path`, a relative path that is cut up here, one
 * part at a time and never through a link.  *ret_last: its last part. */
static int open_parent(int prefix, char *path, const char **ret_last)
{
    RF_AUTO(rf_closep) int at = fcntl(prefix, F_DUPFD_CLOEXEC, 3);
    for (;;) {
        char *slash = strchr(path, '/');
        if (slash)
            *slash = '\0';
        if (!path[0] || !strcmp(path, ".") || !strcmp(path, ".."))
            return -EXDEV;
        if (!slash) {
            *ret_last = path;
            return at < 0 ? -errno : rf_steal_fd(&at);
        }
        int next = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return errno == ELOOP || errno == ENOTDIR ? -EXDEV : -errno;
        close(at);
        at = next;
        path = slash + 1;
    }
}

/* What Python made beside a source file: __pycache__/NAME.*.pyc. */
static void remove_compiled(int parent, const char *source)
{
    size_t len = strlen(source);
    if (len < 4 || strcmp(source + len - 3, ".py") != 0)
        return;
    int fd = openat(parent, "__pycache__", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        rf_closep(&fd);
        return;
    }
    for (struct dirent *e; (e = readdir(entries));)
        if (!strncmp(e->d_name, source, len - 2) && strstr(e->d_name, ".pyc"))
            unlinkat(dirfd(entries), e->d_name, 0);
    closedir(entries);
    unlinkat(parent, "__pycache__", AT_REMOVEDIR); /* stays if anything else is in it */
}

static int remove_entry(int prefix, struct rf_bytes line, bool *ret_removed, struct rf_error *err)
{
    char path[PATH_MAX];
    const char *last = NULL;
    bool folder = line.data[line.len - 1] == '/';
    if (line.len >= sizeof(path))
        return rf_error_set(err, -ENAMETOOLONG, "a path in the manifest is too long");
    memcpy(path, line.data, line.len);
    path[line.len - folder] = '\0';
    RF_AUTO(rf_closep) int parent = open_parent(prefix, path, &last);
    if (parent == -ENOENT)
        return 0;
    if (parent == -EXDEV)
        return rf_error_set(err, parent, "left alone, since it leads out of the prefix: %.*s",
                            (int)line.len, line.data);
    if (parent < 0)
        return rf_error_errno(err, parent, "cannot reach %.*s", (int)line.len, line.data);
    if (!folder)
        remove_compiled(parent, last);
    *ret_removed = !unlinkat(parent, last, folder ? AT_REMOVEDIR : 0);
    bool fine = *ret_removed || errno == ENOENT ||
                (folder && (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR));
    return fine ? 0 : rf_error_errno(err, -errno, "cannot remove %.*s", (int)line.len, line.data);
}

/* The manifest's files, or its folders. */
static void remove_entries(int prefix, struct rf_bytes manifest, bool folders, struct tally *tally)
{
    struct rf_bytes line;
    while (rf_next_line(&manifest, &line)) {
        struct rf_error err = {0};
        bool removed = false;
        if (!line.len || (line.data[line.len - 1] == '/') != folders)
            continue;
        if (remove_entry(prefix, line, &removed, &err))
            complain(tally, &err);
        tally->removed += removed;
    }
}

static void remove_installation(const struct rf_paths *paths, struct tally *tally)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf manifest = {0};
    struct rf_error err = {0};
    int r = rf_file_read(paths->manifest, &manifest);
    if (r) {
        rf_error_errno(&err, r, "cannot read %.200s, without which it is not known what to remove",
                       paths->manifest);
        complain(tally, &err);
        return;
    }
    RF_AUTO(rf_closep) int prefix = open(paths->prefix, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (prefix < 0) {
        rf_error_errno(&err, -errno, "cannot open %.200s", paths->prefix);
        complain(tally, &err);
        return;
    }
    remove_entries(prefix, rf_buf_bytes(&manifest), false, tally);
    if (tally->problems)
        return; /* what remains can be removed another time */
    unlink(paths->kernelspecs_list);
    unlink(paths->manifest);
    remove_entries(prefix, rf_buf_bytes(&manifest), true, tally);
}

/* The kernelspecs in the record, or those named `name`. */
static void remove_kernelspecs(const struct rf_paths *paths, const char *name, struct tally *tally)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf list = {0};
    struct rf_error err = {0};
    if (rf_kernelspec_list(paths, &list, &err))
        complain(tally, &err);
    struct rf_bytes rest = rf_buf_bytes(&list), line;
    while (rf_next_line(&rest, &line)) {
        char folder[PATH_MAX];
        bool removed = false;
        snprintf(folder, sizeof(folder), "%.*s", (int)line.len, (const char *)line.data);
        if (folder[0] != '/' || (name && strcmp(last_part(folder), name) != 0))
            continue;
        err = (struct rf_error){0};
        int r = rf_kernelspec_remove(folder, &removed, &err);
        if (!r)
            r = rf_kernelspec_forget(paths, folder, &err);
        if (r)
            complain(tally, &err);
        if (removed)
            printf("removed %s\n", folder);
        tally->removed += removed;
    }
}

static bool confirmed(const struct uninstall *uninstall, const struct rf_paths *paths)
{
    if (uninstall->yes || !isatty(STDIN_FILENO))
        return true;
    if (uninstall->name)
        printf("Remove the kernelspec \"%s\"? [y/N] ", uninstall->name);
    else
        printf("Remove Ringfence from %s, with its kernelspecs? [y/N] ", paths->prefix);
    fflush(stdout);
    char answer[16] = "";
    return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void stop_zygotes(struct tally *tally)
{
    struct rf_error err = {0};
    int n = rf_zygote_stop_all(&err);
    if (n < 0)
        complain(tally, &err);
    else if (n > 0)
        printf("stopped %d zygote%s\n", n, n == 1 ? "" : "s");
}

static int uninstall_with(const struct uninstall *uninstall, const struct rf_paths *paths)
{
    struct tally tally = {0};
    if (!confirmed(uninstall, paths)) {
        puts("Nothing was removed.");
        return RF_EXIT_FAILED;
    }
    if (!uninstall->name)
        stop_zygotes(&tally);
    remove_kernelspecs(paths, uninstall->name, &tally);
    if (uninstall->name && !tally.removed && !tally.problems) {
        fprintf(stderr, "ringfence uninstall: no kernelspec \"%.100s\" was written by %s\n",
                uninstall->name, paths->program);
        tally.problems++;
    }
    if (!uninstall->name) {
        remove_installation(paths, &tally);
        printf("removed %d files and folders from %s\n", tally.removed, paths->prefix);
    }
    return tally.problems ? RF_EXIT_FAILED : RF_EXIT_OK;
}

int rf_cmd_uninstall(int argc, char **argv)
{
    struct uninstall uninstall = {0};
    size_t n_words;
    int status;
    if (!rf_options_begin(&table, argc, argv, &uninstall, &n_words, &status))
        return status;
    if (uninstall.name && uninstall.all) {
        fputs("ringfence uninstall: --name and --all exclude each other\n", stderr);
        return RF_EXIT_USAGE;
    }
    struct rf_paths paths = {0};
    struct rf_error err = {0};
    if (rf_paths_find(&paths, &err)) {
        fprintf(stderr, "ringfence uninstall: %s\n", err.text);
        return RF_EXIT_FAILED;
    }
    status = uninstall_with(&uninstall, &paths);
    rf_paths_deinit(&paths);
    return status;
}
