/* See zygote.h. */
#include "kernel/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringfence/keeper.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/place.h"
#include "kernel/fork.h"
#include "kernel/sandbox/sandbox.h"
#include "kernel/watch.h"
#include "kernel/worker.h"

#define REQUEST_TIMEOUT_S 5 /* a client that connects and says nothing */

struct zygote {
    const struct rf_zygote_options *options; /* borrowed */
    struct rf_watch *watch;                  /* owned */
    int keeper_program;                      /* owned */
    uint64_t spawned;
    time_t last_request;
};

struct client {
    int fd; /* owned */
    struct rf_frame_reader reader;
    struct rf_frame request;
    uint8_t *packet; /* borrowed: RF_PACKET_MAX bytes */
};

void rf_spawn_deinit(struct rf_spawn *spawn)
{
    rf_buf_deinit(&spawn->environ);
    rf_buf_deinit(&spawn->cwd);
    rf_buf_deinit(&spawn->argv);
}

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void answer(struct client *client, uint8_t type, const char *a, const char *b)
{
    struct rf_bytes parts[2] = {rf_bytes_str(a), rf_bytes_str(b)};
    rf_frame_send(client->fd, type, client->request.request_id, parts, a ? b ? 2 : 1 : 0, NULL, 0);
}

static void refuse(struct client *client, const char *code, const char *text)
{
    answer(client, RF_ZYGOTE_REFUSED, code, text);
}

/* The keeper-to-be, pid 1 of the new namespace: walls up, worker forked, then
 * the small program takes over.  Never returns but in the worker. */
static void keep(struct zygote *zygote, struct rf_sandbox *sandbox, const int *fds,
                 uint64_t generation)
{
    struct rf_keeper_msg failed = {.op = RF_KEEPER_FAILED, .id = generation};
    int keeper_socket = fcntl(fds[0], F_DUPFD, 64); /* passes through exec */
    signal(SIGCHLD, SIG_DFL);
    int r = keeper_socket < 0 ? -errno : rf_sandbox_enter(sandbox);
    pid_t worker = r ? -1 : fork();
    if (!worker) {
        close(keeper_socket);
        close(zygote->keeper_program);
        close(fds[0]);
        return;
    }
    if (worker > 0) {
        char socket_text[16], generation_text[24], worker_text[16];
        snprintf(socket_text, sizeof(socket_text), "%d", keeper_socket);
        snprintf(generation_text, sizeof(generation_text), "%llu", (unsigned long long)generation);
        snprintf(worker_text, sizeof(worker_text), "%d", worker);
        char *argv[] = {(char *)"ringfence-keeper", socket_text, generation_text, worker_text,
                        sandbox->lost, NULL};
        char *none[] = {NULL};
        /* Whatever the interpreter left open is the worker's, not the keeper's. */
        int null = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        close_range(3, (unsigned)keeper_socket - 1, CLOSE_RANGE_CLOEXEC);
        close_range((unsigned)keeper_socket + 1, ~0u, CLOSE_RANGE_CLOEXEC);
        execveat(zygote->keeper_program, "", argv, none, AT_EMPTY_PATH);
        sandbox->failed = "exec of the keeper";
    }
    failed.value = r ? -r : errno;
    snprintf(failed.text, sizeof(failed.text), "%s", sandbox->failed ? sandbox->failed : "fork");
    (void)!send(fds[0], &failed, sizeof(failed), MSG_NOSIGNAL);
    _exit(1);
}

/* The worker, before any Python. */
static void settle(struct rf_sandbox *sandbox, const struct rf_frame *request, const int *fds)
{
    const struct rf_bytes *part = request->parts;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0)
        _exit(1);
    if (null > 0) /* before the install, which gives out low numbers */
        close(null);
    if (rf_worker_install(fds, request->request_id))
        _exit(1);
    char cwd[4096];
    snprintf(cwd, sizeof(cwd), "%.*s", (int)part[RF_SPAWN_CWD].len, part[RF_SPAWN_CWD].data);
    if (chdir(cwd))
        (void)!chdir("/");
    char mask[16];
    snprintf(mask, sizeof(mask), "%.*s", (int)part[RF_SPAWN_UMASK].len, part[RF_SPAWN_UMASK].data);
    umask((mode_t)strtoul(mask, NULL, 8));
    int r = rf_rlimits_apply(part[RF_SPAWN_RLIMITS], false);
    if (!r)
        r = rf_sandbox_confine(sandbox);
    if (r) {
        dprintf(2, "ringfence: the sandbox could not be closed (%s): %s\n",
                sandbox->failed ? sandbox->failed : "limits", strerror(-r));
        _exit(1);
    }
}

static const char *why_not_here(const struct rf_frame *request)
{
    struct rf_buf place = {0};
    int r = rf_place_read(&place);
    bool same = !r && rf_bytes_eq(rf_buf_bytes(&place), request->parts[RF_SPAWN_PLACE]);
    rf_buf_deinit(&place);
    if (!same)
        return "the client runs in another cgroup, on other processors or at another nice value";
    if (rf_rlimits_apply(request->parts[RF_SPAWN_RLIMITS], true))
        return "the client's resource limits are above the zygote's";
    return NULL;
}

static int keep_request(const struct rf_frame *request, struct rf_spawn *ret)
{
    *ret = (struct rf_spawn){.generation = request->request_id};
    rf_buf_add_bytes(&ret->environ, request->parts[RF_SPAWN_ENVIRON]);
    rf_buf_add_bytes(&ret->cwd, request->parts[RF_SPAWN_CWD]);
    rf_buf_add_bytes(&ret->argv, request->parts[RF_SPAWN_ARGV]);
    bool ok = rf_buf_ok(&ret->environ) && rf_buf_ok(&ret->cwd) && rf_buf_ok(&ret->argv);
    return ok ? 0 : -ENOMEM;
}

/* 1 in the worker, 0 in the zygote. */
static int spawn(struct zygote *zygote, struct client *client, struct rf_spawn *ret)
{
    struct rf_frame *request = &client->request;
    if (request->n_parts != RF_SPAWN_PARTS || request->n_fds != 1 + RF_FD_COUNT) {
        refuse(client, "error", "a spawn request of another version of ringfence");
        return 0;
    }
    const char *why = zygote->options->direct ? NULL : why_not_here(request);
    if (why) {
        refuse(client, "place", why);
        return 0;
    }
    unsigned tasks = rf_count_tasks();
    if (tasks > 1)
        rf_log(RF_LOG_WARN, "zygote", "%u threads run here: a preloaded module started them", tasks);
    if (keep_request(request, ret)) {
        rf_spawn_deinit(ret);
        refuse(client, "error", "out of memory");
        return 0;
    }
    struct rf_sandbox sandbox;
    rf_sandbox_init(&sandbox);
    zygote->options->before_fork();
    pid_t pid = rf_sandbox_clone(&sandbox);
    if (!pid) {
        close(zygote->options->fd);
        if (client->fd != zygote->options->fd)
            close(client->fd);
        keep(zygote, &sandbox, request->fds, request->request_id);
        settle(&sandbox, request, request->fds + 1);
        zygote->options->after_fork_child();
        request->n_fds = 0;
        client->fd = -1;
        return 1;
    }
    zygote->options->after_fork_parent();
    rf_spawn_deinit(ret);
    if (pid < 0) {
        refuse(client, "error", strerror(-pid));
        return 0;
    }
    zygote->spawned++;
    answer(client, RF_ZYGOTE_SPAWNED, NULL, NULL);
    return 0;
}

static void tell_state(struct zygote *zygote, struct client *client)
{
    char text[3][24];
    snprintf(text[0], sizeof(text[0]), "%d", getpid());
    snprintf(text[1], sizeof(text[1]), "%llu", (unsigned long long)zygote->spawned);
    snprintf(text[2], sizeof(text[2]), "%lld", (long long)(seconds() - zygote->last_request));
    struct rf_bytes parts[4] = {rf_bytes_str(text[0]), rf_bytes_str(text[1]), rf_bytes_str(text[2]),
                                rf_bytes_str(zygote->options->preload)};
    rf_frame_send(client->fd, RF_ZYGOTE_STATE, 0, parts, 4, NULL, 0);
}

static bool is_same_user(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.uid == geteuid();
}

/* 1: this is a worker now; 0: go on; -ESHUTDOWN: end. */
static int serve(struct zygote *zygote, struct client *client, struct rf_spawn *ret)
{
    struct timeval limit = {.tv_sec = zygote->options->direct ? 0 : REQUEST_TIMEOUT_S};
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    int r;
    do
        r = rf_frame_recv(client->fd, 0, &client->reader, client->packet, &client->request);
    while (r == -EINTR);
    if (r != 1)
        return 0;
    switch (client->request.type) {
    case RF_ZYGOTE_SPAWN:
        r = spawn(zygote, client, ret);
        if (!r)
            zygote->last_request = seconds();
        break;
    case RF_ZYGOTE_STATUS:
        tell_state(zygote, client);
        r = 0;
        break;
    case RF_ZYGOTE_STOP:
        tell_state(zygote, client);
        r = -ESHUTDOWN;
        break;
    default:
        r = 0;
    }
    for (size_t i = 0; i < client->request.n_fds; i++)
        close(client->request.fds[i]);
    return r;
}

/* Starts this program anew on the same listening socket, in whose queue the
 * clients wait: what it loaded has changed.  Returns only if that fails. */
static void start_again(struct zygote *zygote, const char *changed)
{
    rf_log(RF_LOG_WARN, "zygote", "%s changed: starting again", changed);
    char text[16384];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0 || n == (ssize_t)sizeof(text) - 1)
        return;
    text[n] = '\0';
    char *argv[64];
    size_t argc = 0;
    for (char *at = text; at < text + n && argc < 63; at += strlen(at) + 1)
        argv[argc++] = at;
    argv[argc] = NULL;
    fcntl(zygote->options->fd, F_SETFD, 0);
    execv(argv[0], argv);
    rf_log(RF_LOG_ERROR, "zygote", "cannot start %s again: %s", argv[0], strerror(errno));
}

/* Waits for a client.  Its descriptor, or -ESHUTDOWN when idle for too long. */
static int await_client(struct zygote *zygote)
{
    const struct rf_zygote_options *options = zygote->options;
    if (options->direct)
        return fcntl(options->fd, F_DUPFD_CLOEXEC, 64);
    for (;;) {
        time_t idle = seconds() - zygote->last_request;
        if (options->idle_s && idle >= options->idle_s)
            return -ESHUTDOWN;
        int wait_ms = options->idle_s ? (int)(options->idle_s - idle) * 1000 : -1;
        struct pollfd wait = {options->fd, POLLIN, 0};
        int n = poll(&wait, 1, wait_ms);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n <= 0)
            continue;
        const char *changed = rf_watch_changed(zygote->watch);
        if (changed)
            start_again(zygote, changed);
        int fd = accept4(options->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && is_same_user(fd))
            return fd;
        if (fd >= 0)
            close(fd);
    }
}

static int serve_all(struct zygote *zygote, struct rf_spawn *ret)
{
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r = packet ? 0 : -ENOMEM;
    while (!r) {
        struct client client = {.packet = packet, .fd = await_client(zygote)};
        if (client.fd < 0) {
            r = client.fd;
            break;
        }
        r = serve(zygote, &client, ret);
        rf_frame_reader_deinit(&client.reader);
        rf_closep(&client.fd);
        if (!r && zygote->options->direct)
            r = -ESHUTDOWN;
    }
    free(packet);
    return r;
}

int rf_zygote_serve(const struct rf_zygote_options *options, struct rf_spawn *ret)
{
    struct zygote zygote = {.options = options, .last_request = seconds()};
    zygote.keeper_program = open(options->keeper_path, O_PATH | O_CLOEXEC);
    if (zygote.keeper_program < 0)
        return -errno;
    zygote.watch = rf_watch_new(options->watch, options->n_watch, options->since);
    if (!zygote.watch) {
        close(zygote.keeper_program);
        return -ENOMEM;
    }
    signal(SIGCHLD, SIG_IGN); /* nobody waits for the keepers */
    int r = serve_all(&zygote, ret);
    signal(SIGCHLD, SIG_DFL);
    rf_watch_free(zygote.watch);
    if (r != 1)
        close(zygote.keeper_program);
    return r == -ESHUTDOWN ? 0 : r;
}
