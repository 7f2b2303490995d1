/* See zygote.h. */
#include "kernel/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/place.h"
#include "kernel/fork.h"
#include "kernel/snapshot.h"
#include "kernel/spare.h"
#include "kernel/watch.h"

#define SPARE_DELAY_MS 100
#define REQUEST_TIMEOUT_S 5 /* a client that connects and says nothing */

struct zygote {
    const struct rf_zygote_options *options; /* borrowed */
    struct rf_watch *watch;                  /* owned */
    struct rf_spare_base base; /* its keeper_program is owned */
    struct rf_spare spare;
    struct rf_sandbox_shape shape; /* of the next spare: as was asked for last */
    struct rf_owner_map owner;     /* as was asked for last */
    int64_t spare_due_ms; /* a kernel has taken the one that there was; 0: none is due */
    uint64_t spawned;
    time_t started, last_request;
};

/* In a worker it outlives the zygote's own things. */
static struct rf_sandbox_base sandbox_base;

struct client {
    int fd; /* owned */
    struct rf_frame_reader reader;
    struct rf_frame request;
    uint8_t *packet; /* borrowed: RF_PACKET_MAX bytes */
};

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static time_t seconds(void)
{
    return milliseconds() / 1000;
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

static const char *why_not_here(const struct rf_frame *request)
{
    struct rf_buf place = {0};
    int r = rf_place_read(&place);
    bool same = !r && rf_bytes_eq(rf_buf_bytes(&place), request->parts[RF_SPAWN_PLACE]);
    rf_buf_deinit(&place);
    if (!same)
        return "the client runs in another place (cgroup, namespaces, processors, priority, groups or powers)";
    if (rf_rlimits_apply(request->parts[RF_SPAWN_RLIMITS], true))
        return "the client's resource limits are above the zygote's";
    return NULL;
}

/* 1: this is a new worker; 0; -errno. */
static int make_spare(struct zygote *zygote, bool at_once)
{
    unsigned tasks = rf_count_tasks();
    if (tasks > 1)
        rf_log(RF_LOG_WARN, "zygote", "%u threads run here: a preloaded module started them", tasks);
    int r = rf_spare_make(&zygote->spare, &zygote->base, zygote->shape, at_once);
    if (r < 0)
        rf_log(RF_LOG_ERROR, "zygote", "cannot fork: %s", strerror(-r));
    return r;
}

/* What a request's policy means for the zygote. */
struct wish {
    struct rf_sandbox_shape shape;
    int owner_map; /* borrowed; -1: none */
    struct rf_error err;
};

/* NULL, or why it cannot be. */
static const char *read_policy(struct zygote *zygote, const struct rf_frame *request,
                               struct wish *ret)
{
    struct rf_sandbox_policy policy;
    int r = rf_sandbox_policy_decode(request->parts[RF_SPAWN_POLICY], &policy, &ret->err);
    const char *why = r ? ret->err.text[0] ? ret->err.text : strerror(-r)
                        : rf_sandbox_refuses(&policy);
    ret->shape = rf_sandbox_shape_of(&policy);
    ret->owner_map = !why && rf_sandbox_maps_owner(&policy)
                         ? rf_sandbox_owner_map(&policy, &zygote->owner)
                         : -1;
    rf_sandbox_policy_deinit(&policy);
    return why;
}

static bool is_same_shape(struct rf_sandbox_shape a, struct rf_sandbox_shape b)
{
    return a.walls == b.walls && a.own_net == b.own_net && a.ids == b.ids;
}

/* A spare of the wanted shape is there afterwards, if one can be.  1: this is a
 * new worker. */
static int prepare_spare(struct zygote *zygote, struct rf_sandbox_shape shape)
{
    if (rf_spare_is_there(&zygote->spare) && !is_same_shape(zygote->spare.shape, shape))
        rf_spare_drop(&zygote->spare);
    zygote->shape = shape;
    return rf_spare_is_there(&zygote->spare) ? 0 : make_spare(zygote, true);
}

/* Why this request gets no kernel from here; NULL: it can. */
static const char *why_not(struct zygote *zygote, const struct rf_frame *request,
                           struct wish *ret_wish, const char **ret_code)
{
    *ret_code = "error";
    if (request->n_parts != RF_SPAWN_PARTS || request->n_fds != 1 + RF_FD_COUNT)
        return "a spawn request of another version of ringfence";
    const char *why = zygote->options->direct ? NULL : why_not_here(request);
    if (!why)
        return read_policy(zygote, request, ret_wish);
    *ret_code = "place";
    return why;
}

/* Where it does not answer, the client finds the connection closed and asks again.
 * 1 in a new worker. */
static int spawn(struct zygote *zygote, struct client *client)
{
    struct wish wish = {.owner_map = -1};
    const char *code, *why = why_not(zygote, &client->request, &wish, &code);
    if (why) {
        refuse(client, code, why);
        return 0;
    }
    if (prepare_spare(zygote, wish.shape) == 1)
        return 1;
    if (!rf_spare_is_there(&zygote->spare)) {
        refuse(client, "error", "no process could be forked: see the zygote's log");
        return 0;
    }
    int r = rf_spare_hand_over(&zygote->spare, &client->request, wish.owner_map);
    if (r) {
        rf_log(RF_LOG_WARN, "zygote", "the spare was dead: %s", strerror(-r));
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

/* 0: go on; 1 in a new worker; -ESHUTDOWN: end. */
static int serve(struct zygote *zygote, struct client *client)
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
        r = spawn(zygote, client);
        zygote->last_request = seconds();
        zygote->spare_due_ms = milliseconds() + SPARE_DELAY_MS;
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
 * clients wait.  Returns only if that fails. */
static void start_again(struct zygote *zygote)
{
    zygote->started = seconds(); /* else, if it fails, it would be tried at once, for ever */
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
    fcntl(zygote->options->fd, F_SETFD, FD_CLOEXEC);
}

static bool is_old(const struct zygote *zygote)
{
    int renew_s = zygote->options->renew_s;
    return renew_s && seconds() - zygote->started >= renew_s;
}

/* Has what it loaded changed, or have its kernels had one layout of memory for long? */
static bool is_outdated(struct zygote *zygote)
{
    const char *changed = rf_watch_changed(zygote->watch);
    if (changed)
        rf_log(RF_LOG_WARN, "zygote", "%s changed: starting again", changed);
    else if (is_old(zygote))
        rf_log(RF_LOG_INFO, "zygote", "%d s old: starting again", zygote->options->renew_s);
    return changed || is_old(zygote);
}

/* How long the next poll may take: a spare is made when no kernel was asked for for
 * a while, so that it takes no time from the one that was just started. */
static int wait_ms(const struct zygote *zygote)
{
    int idle_s = zygote->options->idle_s, renew_s = zygote->options->renew_s;
    time_t ends = idle_s ? zygote->last_request + idle_s : zygote->started + renew_s;
    if (renew_s && zygote->started + renew_s < ends)
        ends = zygote->started + renew_s;
    int64_t left = zygote->spare_due_ms - milliseconds();
    if (zygote->spare_due_ms)
        return left > 0 ? (int)left : 0;
    return !idle_s && !renew_s ? -1 : ends > seconds() ? (int)(ends - seconds()) * 1000 : 0;
}

/* Waits for a client, and makes a spare meanwhile.  0 with *ret_fd; 1 in a new worker;
 * -ESHUTDOWN when idle for too long. */
static int await_client(struct zygote *zygote, int *ret_fd)
{
    const struct rf_zygote_options *options = zygote->options;
    for (;;) {
        if (options->idle_s && seconds() - zygote->last_request >= options->idle_s)
            return -ESHUTDOWN;
        struct pollfd wait = {options->fd, POLLIN, 0};
        int n = options->direct ? 1 : poll(&wait, 1, wait_ms(zygote));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n >= 0 && !options->direct && is_outdated(zygote))
            start_again(zygote);
        if (!n && zygote->spare_due_ms) {
            zygote->spare_due_ms = 0;
            if (!rf_spare_is_there(&zygote->spare) && make_spare(zygote, false) == 1)
                return 1;
        }
        if (n <= 0)
            continue;
        *ret_fd = options->direct ? fcntl(options->fd, F_DUPFD_CLOEXEC, RF_HIGH_FD)
                                  : accept4(options->fd, NULL, NULL, SOCK_CLOEXEC);
        if (*ret_fd >= 0 && (options->direct || is_same_user(*ret_fd)))
            return 0;
        rf_closep(ret_fd);
    }
}

/* 1 in a new worker; -ESHUTDOWN or another -errno at the end. */
static int serve_all(struct zygote *zygote)
{
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r = packet ? 0 : -ENOMEM;
    while (!r) {
        struct client client = {.packet = packet, .fd = -1};
        r = await_client(zygote, &client.fd);
        if (!r)
            r = serve(zygote, &client);
        rf_frame_reader_deinit(&client.reader);
        rf_closep(&client.fd);
        if (!r && zygote->options->direct)
            r = -ESHUTDOWN;
    }
    free(packet);
    return r;
}

/* What its kernels are made of.  0 or -errno; release() in any case. */
static int prepare(struct zygote *zygote)
{
    const struct rf_zygote_options *options = zygote->options;
    int filters = rf_sandbox_base_init(&sandbox_base, options->imports, options->n_imports);
    if (filters)
        rf_log(RF_LOG_ERROR, "zygote", "the filter of system calls cannot be made: %s",
               strerror(-filters));
    fcntl(options->fd, F_SETFD, FD_CLOEXEC); /* else each keeper has it until its walls stand */
    int program = open(options->keeper_path, O_PATH | O_CLOEXEC);
    if (program < 0)
        return -errno;
    zygote->base = (struct rf_spare_base){
        .keeper_program = program,
        .keeper_base = rf_sandbox_base_write(&sandbox_base),
        .listening = options->fd,
        .sandbox = &sandbox_base,
        .hooks = &options->hooks,
    };
    if (zygote->base.keeper_base < 0) {
        rf_log(RF_LOG_ERROR, "zygote", "no file for keepers can be made: %s",
               strerror(-zygote->base.keeper_base));
        return zygote->base.keeper_base;
    }
    zygote->watch = rf_watch_new(options->watch, options->n_watch, options->since);
    return zygote->watch ? 0 : -ENOMEM;
}

static void release(struct zygote *zygote, bool is_worker)
{
    rf_watch_free(zygote->watch);
    rf_closep(&zygote->owner.fd);
    if (is_worker)
        return;
    rf_spare_drop(&zygote->spare);
    rf_sandbox_base_deinit(&sandbox_base);
    rf_closep(&zygote->base.keeper_program);
    rf_closep(&zygote->base.keeper_base);
}

int rf_zygote_serve(const struct rf_zygote_options *options)
{
    struct zygote zygote = {.options = options, .started = seconds(), .last_request = seconds(),
                            .spare = {.keeper = -1, .worker = -1},
                            .owner = {.fd = -1},
                            .base = {.keeper_program = -1, .keeper_base = -1},
                            .shape = rf_sandbox_shape_guess()};
    int r = prepare(&zygote);
    if (!r) {
        if (rf_count_tasks() == 1) /* another could write meanwhile */
            rf_snapshot_unmap();
        malloc_trim(0); /* each fork would copy the page tables of what that took, and tidy it up */
        signal(SIGCHLD, SIG_IGN); /* nobody waits for the keepers */
        r = serve_all(&zygote);
        signal(SIGCHLD, SIG_DFL);
    }
    release(&zygote, r == 1);
    return r == -ESHUTDOWN ? 0 : r;
}
