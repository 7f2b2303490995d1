/* See python.h. */
#include "gateway/cli/python.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "gateway/cli/files.h"

_Static_assert(PATH_MAX == 4096, "the width in the format below");

#define ANSWER_MAX 65536
#define MINOR_LEAST 11
#define MINOR_MOST 13
#define IPYTHON_LEAST "8.5"

extern char **environ;

/* The folder that the command is run in is taken off sys.path: an IPython.py
 * in it is not the answer. */
static const char about_code[] = "import sys\n"
                                 "sys.path = [p for p in sys.path if p]\n"
                                 "print(*sys.version_info[:2], end=' ')\n"
                                 "try:\n"
                                 "    import IPython\n"
                                 "    print(IPython.__version__)\n"
                                 "except Exception:\n"
                                 "    print('-')\n"
                                 "print(sys.executable)\n";

static int start(char *const *argv, pid_t *ret_pid)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int r = -posix_spawnp(ret_pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (!r)
        return ends[0];
    close(ends[0]);
    return r;
}

static int read_answer(int fd, struct rf_buf *to)
{
    for (size_t total = 0; total < ANSWER_MAX;) {
        uint8_t *at = rf_buf_reserve(to, 4096);
        ssize_t n = at ? read(fd, at, 4096) : -1;
        if (!at)
            return -ENOMEM;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0;
        if (n > 0) {
            to->len += (size_t)n;
            total += (size_t)n;
        }
    }
    return -ENOEXEC;
}

/* *ret_status: as of waitpid(). */
static int run(char *const *argv, struct rf_buf *to, int *ret_status, struct rf_error *err)
{
    pid_t pid;
    RF_AUTO(rf_closep) int fd = start(argv, &pid);
    if (fd < 0)
        return rf_error_errno(err, fd, "cannot run %.200s", argv[0]);
    int r = read_answer(fd, to);
    rf_closep(&fd);
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return rf_error_errno(err, -errno, "cannot wait for %.200s", argv[0]);
    return r;
}

int rf_program_ask(char *const *argv, struct rf_buf *to, struct rf_error *err)
{
    int status;
    return run(argv, to, &status, err);
}

int rf_python_run(const char *program, const char *code, struct rf_buf *to, struct rf_error *err)
{
    char *argv[] = {(char *)program, (char *)"-c", (char *)code, NULL};
    int status = 0;
    int r = run(argv, to, &status, err);
    if (!r && (!WIFEXITED(status) || WEXITSTATUS(status)))
        r = -ENOEXEC;
    if (r == -ENOEXEC)
        return rf_error_set(err, r, "%.200s does not answer as a Python interpreter does", program);
    return r ? rf_error_errno(err, r, "no answer from %.200s", program) : 0;
}

int rf_python_ask(const char *program, struct rf_python *ret, struct rf_error *err)
{
    RF_AUTO(rf_buf_deinitp) struct rf_buf answer = {0};
    int r = rf_python_run(program, about_code, &answer, err);
    if (r)
        return r;
    rf_buf_add(&answer, "", 1);
    struct rf_python python = {0};
    if (!rf_buf_ok(&answer) ||
        sscanf((const char *)answer.data, "%d %d %31s %4095[^\n]", &python.major, &python.minor,
               python.ipython, python.executable) < 3)
        return rf_error_set(err, -ENOEXEC, "%.200s does not answer as a Python interpreter does",
                            program);
    if (!strcmp(python.ipython, "-"))
        python.ipython[0] = '\0';
    *ret = python;
    return 0;
}

static bool is_before(const char *version, const char *least)
{
    int have[2] = {0}, want[2] = {0};
    if (sscanf(version, "%d.%d", &have[0], &have[1]) < 1)
        return true;
    sscanf(least, "%d.%d", &want[0], &want[1]);
    return have[0] != want[0] ? have[0] < want[0] : have[1] < want[1];
}

int rf_python_check(const char *program, const struct rf_python *python, struct rf_error *err)
{
    if (python->major != 3 || python->minor < MINOR_LEAST || python->minor > MINOR_MOST)
        return rf_error_set(err, -ENOTSUP,
                            "%.200s is Python %d.%d; Ringfence runs on 3.%d to 3.%d: name another "
                            "interpreter with --python",
                            program, python->major, python->minor, MINOR_LEAST, MINOR_MOST);
    if (!python->ipython[0])
        return rf_error_set(err, -ENOTSUP,
                            "%.150s cannot import IPython, which Ringfence needs. Install it:\n"
                            "    %.150s -m pip install ipython",
                            program, program);
    if (is_before(python->ipython, IPYTHON_LEAST))
        return rf_error_set(err, -ENOTSUP,
                            "%.150s has IPython %s; Ringfence needs " IPYTHON_LEAST
                            " or later. Update it:\n    %.150s -m pip install --upgrade ipython",
                            program, python->ipython, program);
    return 0;
}

static bool is_program(const char *path)
{
    return !access(path, X_OK);
}

/* 0, or -ENOENT. */
static int search_path(const char *name, char ret[PATH_MAX])
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        int n = snprintf(ret, PATH_MAX, "%.*s/%s", (int)len, path, name);
        if (len && path[0] == '/' && n < PATH_MAX && is_program(ret))
            return 0;
        path += len + (path[len] == ':');
    }
    return -ENOENT;
}

int rf_python_find(const char *name, char ret[PATH_MAX], struct rf_error *err)
{
    if (!strchr(name, '/')) {
        if (search_path(name, ret))
            return rf_error_set(err, -ENOENT, "there is no program %.200s on the PATH", name);
        return 0;
    }
    char cwd[PATH_MAX] = "";
    if (name[0] != '/' && !getcwd(cwd, sizeof(cwd)))
        return rf_error_errno(err, -errno, "cannot find the current folder");
    int n = snprintf(ret, PATH_MAX, "%s%s%s", cwd, cwd[0] ? "/" : "", name);
    if (n >= PATH_MAX)
        return rf_error_set(err, -ENAMETOOLONG, "the path %.200s... is too long", name);
    if (!is_program(ret))
        return rf_error_errno(err, -errno, "cannot run %.200s", name);
    return 0;
}
