/* See zygote.h. */
#include "gateway/supervise/zygote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringfence/version.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/place.h"
#include "gateway/supervise/runtime.h"

#define ZYGOTE_FD 3   /* the socket's number in the zygote */
#define FIRST_FREE 8  /* below: numbers that a worker needs, so that no module gets them */
#define NAME_MAX_LEN 28

extern char **environ;

struct names {
    char dir[RF_RUNTIME_PATH_MAX];
    char socket[108], lock[108], log[108];
};

/* Variables that decide what an import gives; the rest of the environment
 * travels with each request. */
static bool is_key_variable(const char *variable)
{
    static const char *const prefixes[] = {"PYTHON", "LD_", "LC_", "MPL", NULL};
    static const char *const names[] = {"VIRTUAL_ENV=", "CONDA_PREFIX=", "LANG=", "LANGUAGE=", "HOME=",
                                        "IPYTHONDIR=", "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=",
                                        "XDG_RUNTIME_DIR=", "TZ=", NULL};
    for (size_t i = 0; prefixes[i]; i++)
        if (!strncmp(variable, prefixes[i], strlen(prefixes[i])))
            return true;
    for (size_t i = 0; names[i]; i++)
        if (!strncmp(variable, names[i], strlen(names[i])))
            return true;
    return false;
}

static bool is_zygote_variable(const char *variable)
{
    return is_key_variable(variable) || !strncmp(variable, "PATH=", 5) ||
           !strncmp(variable, "USER=", 5) || !strncmp(variable, "LOGNAME=", 8);
}

static void add_text(crypto_generichash_state *state, const char *text)
{
    crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void add_file(crypto_generichash_state *state, const char *path)
{
    struct stat st;
    char text[96] = "";
    if (path && !stat(path, &st))
        snprintf(text, sizeof(text), "%llu %lld %lld.%09ld", (unsigned long long)st.st_ino,
                 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    add_text(state, path ? path : "");
    add_text(state, text);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_environment(crypto_generichash_state *state)
{
    const char *found[512];
    size_t n = 0;
    for (char **v = environ; *v && n < 512; v++)
        if (is_key_variable(*v))
            found[n++] = *v;
    qsort(found, n, sizeof(*found), compare_texts);
    for (size_t i = 0; i < n; i++)
        add_text(state, found[i]);
}

static void make_key(const struct rf_zygote_spec *spec, char ret[17])
{
    crypto_generichash_state state;
    unsigned char digest[crypto_generichash_BYTES_MIN];
    crypto_generichash_init(&state, NULL, 0, sizeof(digest));
    add_text(&state, RF_VERSION);
    add_file(&state, spec->python ? spec->python : spec->kernel_program);
    add_file(&state, spec->keeper_program);
    add_file(&state, spec->start_script);
    add_text(&state, spec->preload);
    add_text(&state, spec->namespace);
    add_environment(&state);
    crypto_generichash_final(&state, digest, sizeof(digest));
    sodium_bin2hex(ret, 17, digest, 8);
}

static int make_names(const struct rf_zygote_spec *spec, struct names *ret, struct rf_error *err)
{
    char key[17];
    int r = rf_runtime_dir(ret->dir, err);
    if (r)
        return r;
    make_key(spec, key);
    snprintf(ret->socket, sizeof(ret->socket), "%s/zygote-%s.sock", ret->dir, key);
    snprintf(ret->lock, sizeof(ret->lock), "%s/zygote-%s.lock", ret->dir, key);
    snprintf(ret->log, sizeof(ret->log), "%s/zygote-%s.log", ret->dir, key);
    return 0;
}

static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    return addr;
}

static int connect_to(const char *path)
{
    RF_AUTO(rf_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_un addr = address(path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
        return -errno;
    return rf_steal_fd(&fd);
}

static int listen_on(const char *path)
{
    RF_AUTO(rf_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_un addr = address(path);
    unlink(path);
    mode_t mask = umask(0177);
    int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
    umask(mask);
    if (r)
        return r;
    return listen(fd, 1024) ? -errno : rf_steal_fd(&fd);
}

static int spawn_program(const struct rf_zygote_spec *spec, char **argv, int socket, int log)
{
    char *variables[600];
    size_t n = 0;
    for (char **v = environ; *v && n < 599; v++)
        if (is_zygote_variable(*v))
            variables[n++] = *v;
    variables[n] = NULL;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, log, 1);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    posix_spawn_file_actions_adddup2(&actions, socket, ZYGOTE_FD);
    for (int fd = ZYGOTE_FD + 1; fd < FIRST_FREE; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, FIRST_FREE);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    pid_t pid;
    const char *program = spec->python ? spec->python : spec->kernel_program;
    int r = -posix_spawn(&pid, program, &actions, &attributes, argv, variables);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r;
}

/* Starts the program with `socket` (above ZYGOTE_FD) as its socket. */
static int start_program(const struct rf_zygote_spec *spec, int socket, const char *log_path,
                         struct rf_error *err)
{
    const char *program = spec->python ? spec->python : spec->kernel_program;
    char idle[16], renew[16], fd_text[8];
    snprintf(idle, sizeof(idle), "%d", spec->idle_s ? spec->idle_s : RF_ZYGOTE_IDLE_S);
    snprintf(renew, sizeof(renew), "%d", spec->renew_s ? spec->renew_s : RF_ZYGOTE_RENEW_S);
    snprintf(fd_text, sizeof(fd_text), "%d", ZYGOTE_FD);
    const char *argv[] = {program,     "-P",   spec->start_script,   "--listen-fd", fd_text,
                          "--keeper",  spec->keeper_program, "--preload",   spec->preload,
                          "--idle",    idle,   "--renew", renew, spec->direct ? "--direct" : NULL, NULL};
    RF_AUTO(rf_closep) int log =
        open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log < 0)
        return rf_error_errno(err, -errno, "cannot write the zygote's log %s", log_path);
    RF_AUTO(rf_closep) int high = fcntl(socket, F_DUPFD_CLOEXEC, 16);
    if (high < 0)
        return rf_error_errno(err, -errno, "cannot start a zygote");
    RF_AUTO(rf_closep) int high_log = fcntl(log, F_DUPFD_CLOEXEC, 16);
    int r = high_log < 0 ? -errno : spawn_program(spec, (char **)argv, high, high_log);
    return r ? rf_error_errno(err, r, "cannot run %s", program) : 0;
}

/* Under the lock, so that of many that start at once one wins. */
static int connect_or_start(const struct rf_zygote_spec *spec, const struct names *names,
                            struct rf_error *err)
{
    RF_AUTO(rf_closep) int lock = open(names->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return rf_error_errno(err, -errno, "cannot open %s", names->lock);
    while (flock(lock, LOCK_EX))
        if (errno != EINTR)
            return rf_error_errno(err, -errno, "cannot lock %s", names->lock);
    int fd = connect_to(names->socket);
    if (fd != -ECONNREFUSED && fd != -ENOENT)
        return fd;
    RF_AUTO(rf_closep) int listening = listen_on(names->socket);
    if (listening < 0)
        return rf_error_errno(err, listening, "cannot listen on %s", names->socket);
    int r = start_program(spec, listening, names->log, err);
    return r ? r : connect_to(names->socket);
}

static int connect_directly(const struct rf_zygote_spec *spec, const struct names *names,
                            struct rf_error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return rf_error_errno(err, -errno, "cannot make a socket pair");
    int r = start_program(spec, ends[1], names->log, err);
    close(ends[1]);
    if (!r)
        return ends[0];
    close(ends[0]);
    return r;
}

int rf_zygote_connect(const struct rf_zygote_spec *spec, struct rf_error *err)
{
    struct names names;
    int r = sodium_init() < 0 ? -EIO : make_names(spec, &names, err);
    if (r)
        return rf_error_errno(err, r, "cannot find the zygote's socket");
    if (spec->direct)
        return connect_directly(spec, &names, err);
    int fd = connect_to(names.socket);
    if (fd == -ECONNREFUSED || fd == -ENOENT)
        fd = connect_or_start(spec, &names, err);
    return fd < 0 ? rf_error_errno(err, fd, "cannot reach the zygote at %s", names.socket) : fd;
}

int rf_zygote_spawn(int fd, uint64_t generation, const struct rf_zygote_request *request,
                    const int fds[1 + RF_FD_COUNT])
{
    struct rf_buf text[RF_SPAWN_PARTS] = {{0}};
    mode_t mask = umask(0);
    umask(mask);
    char *cwd = getcwd(NULL, 0);
    rf_buf_add_str(&text[RF_SPAWN_CWD], cwd ? cwd : "/");
    free(cwd);
    rf_buf_add_bytes(&text[RF_SPAWN_ENVIRON], request->environ);
    rf_buf_printf(&text[RF_SPAWN_UMASK], "%o", mask);
    rf_rlimits_read(&text[RF_SPAWN_RLIMITS]);
    int r = rf_place_read(&text[RF_SPAWN_PLACE]);
    rf_buf_add_bytes(&text[RF_SPAWN_ARGV], request->argv);
    rf_buf_add_bytes(&text[RF_SPAWN_POLICY], request->policy);
    struct rf_bytes parts[RF_SPAWN_PARTS];
    for (size_t i = 0; i < RF_SPAWN_PARTS; i++) {
        parts[i] = rf_buf_bytes(&text[i]);
        if (!rf_buf_ok(&text[i]))
            r = -ENOMEM;
    }
    if (!r)
        r = rf_frame_send(fd, RF_ZYGOTE_SPAWN, generation, parts, RF_SPAWN_PARTS, fds,
                          1 + RF_FD_COUNT);
    for (size_t i = 0; i < RF_SPAWN_PARTS; i++)
        rf_buf_deinit(&text[i]);
    return r;
}

int rf_zygote_answer(int fd, struct rf_error *err)
{
    struct rf_frame_reader reader = {0};
    struct rf_frame frame;
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r = packet ? rf_frame_recv(fd, MSG_DONTWAIT, &reader, packet, &frame) : -ENOMEM;
    if (r == 0)
        r = -ECONNRESET;
    if (r == 1) {
        r = -EPROTO;
        if (frame.type == RF_ZYGOTE_SPAWNED)
            r = RF_ZYGOTE_OK;
        else if (frame.type == RF_ZYGOTE_REFUSED && frame.n_parts == 2)
            r = rf_bytes_is(frame.parts[0], "place")
                    ? RF_ZYGOTE_ELSEWHERE
                    : rf_error_set(err, -EIO, "the zygote could not fork a kernel: %.*s",
                                   (int)frame.parts[1].len, frame.parts[1].data);
    }
    if (r < 0 && r != -EAGAIN && r != -EINTR)
        rf_error_errno(err, r, "no answer from the zygote");
    rf_frame_reader_deinit(&reader);
    free(packet);
    return r == -EINTR ? -EAGAIN : r;
}

void rf_zygote_log_tail(const struct rf_zygote_spec *spec, char *ret, size_t size)
{
    struct names names;
    ret[0] = '\0';
    if (make_names(spec, &names, NULL))
        return;
    RF_AUTO(rf_closep) int fd = open(names.log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)size - 1 ? end - ((off_t)size - 1) : 0;
    ssize_t n = pread(fd, ret, size - 1, from);
    ret[n > 0 ? n : 0] = '\0';
}

/* One question to one zygote; the answer's parts are printed into `ret`. */
static int ask(const char *path, uint8_t question, char *ret, size_t size)
{
    RF_AUTO(rf_closep) int fd = connect_to(path);
    if (fd < 0)
        return fd;
    struct timeval limit = {.tv_sec = 30}; /* it may be importing */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    int r = rf_frame_send(fd, question, 0, NULL, 0, NULL, 0);
    struct rf_frame_reader reader = {0};
    struct rf_frame frame;
    uint8_t *packet = malloc(RF_PACKET_MAX);
    if (!r)
        r = packet ? rf_frame_recv(fd, 0, &reader, packet, &frame) : -ENOMEM;
    if (r == 1 && frame.type == RF_ZYGOTE_STATE && frame.n_parts == 4)
        snprintf(ret, size, "pid %.*s, kernels started %.*s, idle %.*s s, preload: %.*s",
                 (int)frame.parts[0].len, frame.parts[0].data, (int)frame.parts[1].len,
                 frame.parts[1].data, (int)frame.parts[2].len, frame.parts[2].data,
                 (int)frame.parts[3].len, frame.parts[3].data);
    else if (r >= 0)
        r = -EPROTO;
    rf_frame_reader_deinit(&reader);
    free(packet);
    return r == 1 ? 0 : r;
}

static bool is_zygote_socket(const char *name)
{
    size_t n = strlen(name);
    return n == NAME_MAX_LEN && !strncmp(name, "zygote-", 7) && !strcmp(name + n - 5, ".sock");
}

/* Asks every zygote of this user.  How many answered. */
static int ask_all(uint8_t question, FILE *to, bool remove, struct rf_error *err)
{
    char dir[RF_RUNTIME_PATH_MAX];
    int r = rf_runtime_dir(dir, err);
    if (r)
        return r;
    DIR *entries = opendir(dir);
    if (!entries)
        return rf_error_errno(err, -errno, "cannot read %s", dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(entries));) {
        char path[RF_RUNTIME_PATH_MAX + 32], text[512];
        if (!is_zygote_socket(e->d_name))
            continue;
        snprintf(path, sizeof(path), "%s/%.28s", dir, e->d_name);
        if (!ask(path, question, text, sizeof(text))) {
            n++;
            if (to)
                fprintf(to, "%s: %s\n", e->d_name, text);
        }
        if (remove)
            unlink(path);
    }
    closedir(entries);
    return n;
}

int rf_zygote_stop_all(struct rf_error *err)
{
    return ask_all(RF_ZYGOTE_STOP, NULL, true, err);
}

int rf_zygote_status(FILE *to, struct rf_error *err)
{
    return ask_all(RF_ZYGOTE_STATUS, to, false, err);
}
