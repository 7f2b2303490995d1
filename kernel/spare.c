/* See spare.h. */
#include "kernel/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringfence/keeper.h>

#include "common/cleanup.h"
#include "common/place.h"
#include "kernel/worker.h"

/* The worker-to-be's own: there is one in a process. */
static int asked = -1;
static bool taken; /* before it was made */
static int keeper_end = -1;
static struct rf_sandbox sandbox;
static struct rf_sandbox_policy policy; /* owned until the walls are up */
static char folder[PATH_MAX];

/* What keeper-to-be and worker-to-be tell each other: how it went so far. */
struct verdict {
    int code;
    int have; /* as in struct rf_sandbox, from the keeper */
    char text[RF_KEEPER_TEXT_MAX]; /* of an error; a note from the keeper, what it lost from the worker */
};

void rf_spawn_deinit(struct rf_spawn *spawn)
{
    rf_buf_deinit(&spawn->environ);
    rf_buf_deinit(&spawn->argv);
}

bool rf_spare_is_there(const struct rf_spare *spare)
{
    return spare->keeper >= 0;
}

void rf_spare_drop(struct rf_spare *spare)
{
    if (!rf_spare_is_there(spare))
        return;
    close(spare->keeper);
    close(spare->worker);
    spare->keeper = spare->worker = -1;
}

static void say(int to, int code, const char *text)
{
    struct verdict verdict = {.code = code, .have = sandbox.have};
    snprintf(verdict.text, sizeof(verdict.text), "%s", text);
    (void)!send(to, &verdict, sizeof(verdict), MSG_NOSIGNAL);
}

/* False when the other side has ended. */
static bool hear(int from, struct verdict *ret)
{
    ssize_t n;
    do
        n = recv(from, ret, sizeof(*ret), 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*ret);
}

/* --- the keeper-to-be --- */

/* What the keeper-to-be is asked. */
struct order {
    int gateway; /* its socket */
    uint64_t generation;
    struct rf_sandbox_policy policy;
};

/* Waits for the gateway's socket and the policy, or never returns. */
static int await_order(int from, struct order *ret)
{
    static struct rf_frame_reader reader;
    struct rf_frame frame;
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r = -ENOMEM;
    do
        r = packet ? rf_frame_recv(from, 0, &reader, packet, &frame) : -ENOMEM;
    while (r == -EINTR);
    if (r != 1 || !frame.n_fds || frame.n_parts != 1)
        _exit(0);
    ret->generation = frame.request_id;
    sandbox.owner_map = frame.n_fds > 1 ? frame.fds[1] : -1;
    /* Out of the way, and passed on through exec. */
    ret->gateway = fcntl(frame.fds[0], F_DUPFD, RF_HIGH_FD);
    if (ret->gateway < 0)
        ret->gateway = frame.fds[0];
    return rf_sandbox_policy_decode(frame.parts[0], &ret->policy, &sandbox.error);
}

/* Whatever the interpreter left open is the worker's, not the keeper's. */
static void close_all_but(int gateway, int worker)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    fcntl(gateway, F_SETFD, 0);
    fcntl(worker, F_SETFD, 0); /* closed when the small program is ready: then the worker goes on */
}

/* Before the exec, which takes as long as the memory is large: orders wait in the socket. */
static void tell_ready(const struct order *order, pid_t worker)
{
    struct rf_keeper_msg ready = {.op = RF_KEEPER_READY, .id = order->generation, .pid = worker};
    snprintf(ready.text, sizeof(ready.text), "%s", sandbox.lost);
    (void)!send(order->gateway, &ready, sizeof(ready), MSG_NOSIGNAL);
}

static int exec_keeper(int program, const struct order *order, int to_worker, pid_t worker)
{
    char gateway[16], generation[24], pid[16], ready[16];
    snprintf(gateway, sizeof(gateway), "%d", order->gateway);
    snprintf(generation, sizeof(generation), "%llu", (unsigned long long)order->generation);
    snprintf(pid, sizeof(pid), "%d", worker);
    snprintf(ready, sizeof(ready), "%d", to_worker);
    char *argv[] = {(char *)"ringfence-keeper", gateway, generation, pid, ready, NULL};
    char *none[] = {NULL};
    tell_ready(order, worker);
    execveat(program, "", argv, none, AT_EMPTY_PATH);
    return rf_error_errno(&sandbox.error, -errno, "exec of the keeper");
}

/* The walls around both, then each its own.  0 or -errno. */
static int close_walls(const struct order *order, int to_worker)
{
    struct verdict verdict;
    int r = rf_sandbox_finish(&sandbox, &order->policy);
    say(to_worker, r, sandbox.note);
    close_all_but(order->gateway, to_worker);
    r = r ? r : rf_sandbox_keep(&sandbox);
    if (r)
        return r;
    if (!hear(to_worker, &verdict))
        return rf_error_set(&sandbox.error, -ECHILD, "worker: it ended before its walls were up");
    if (verdict.code)
        return rf_error_set(&sandbox.error, verdict.code, "%s", verdict.text);
    if (verdict.text[0])
        rf_sandbox_lose(&sandbox, verdict.text);
    return 0;
}

/* The keeper-to-be, pid 1 inside: worker forked, which finds its feet meanwhile; walls up
 * as far as they need no policy, and once a gateway is there the rest of them; then the
 * small program takes over.  Returns only in the worker-to-be. */
static void keep(int program, int from_zygote, int worker_end, const int pair[2])
{
    struct order order;
    signal(SIGCHLD, SIG_DFL);
    pid_t worker = fork();
    if (!worker)
        return;
    int r = worker < 0 ? rf_error_errno(&sandbox.error, -errno, "fork of the worker") : 0;
    close(worker_end); /* so that a worker that ends is noticed at the other end */
    close(pair[1]);
    r = r ? r : rf_sandbox_enter(&sandbox);
    int asking = await_order(from_zygote, &order);
    r = r ? r : asking;
    r = r ? r : close_walls(&order, pair[0]);
    r = r ? r : exec_keeper(program, &order, pair[0], worker);
    struct rf_keeper_msg failed = {.op = RF_KEEPER_FAILED, .id = order.generation, .value = -r};
    snprintf(failed.text, sizeof(failed.text), "%s", sandbox.error.text);
    (void)!send(order.gateway, &failed, sizeof(failed), MSG_NOSIGNAL);
    if (worker > 0)
        kill(worker, SIGKILL); /* where it is in no pid namespace that ends with us */
    _exit(1);
}

static int make_pairs(int pairs[][2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]))
            continue;
        int r = -errno;
        while (i-- > 0) {
            close(pairs[i][0]);
            close(pairs[i][1]);
        }
        return r;
    }
    return 0;
}

/* Closes the descriptor but keeps its number taken: like the others up to
 * RF_WORKER_TEXT + 1 it is one that rf_worker_install() gives out later. */
static void leave(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup3(null, fd, O_CLOEXEC);
    close(null);
}

enum { KEEPER, WORKER, BETWEEN, PAIRS };

/* In the new process.  Returns in the worker-to-be. */
static void be_spare(const struct rf_spare_base *base, int pairs[PAIRS][2])
{
    prctl(PR_SET_NAME, "ringfence-spare");
    leave(base->listening);
    close(pairs[KEEPER][0]);
    close(pairs[WORKER][0]);
    keep(base->keeper_program, pairs[KEEPER][1], pairs[WORKER][1], pairs[BETWEEN]);
    close(pairs[KEEPER][1]);
    close(pairs[BETWEEN][0]);
    close(base->keeper_program);
    asked = pairs[WORKER][1];
    keeper_end = pairs[BETWEEN][1];
}

int rf_spare_make(struct rf_spare *spare, const struct rf_spare_base *base,
                  struct rf_sandbox_shape shape, bool at_once)
{
    int pairs[PAIRS][2];
    int r = make_pairs(pairs, PAIRS);
    if (r)
        return r;
    rf_sandbox_init(&sandbox, base->sandbox, shape);
    taken = at_once;
    base->hooks->before();
    pid_t pid = rf_sandbox_clone(&sandbox);
    if (!pid) {
        be_spare(base, pairs);
        base->hooks->child();
        return 1;
    }
    base->hooks->parent();
    close(pairs[KEEPER][1]);
    close(pairs[WORKER][1]);
    close(pairs[BETWEEN][0]);
    close(pairs[BETWEEN][1]);
    *spare = (struct rf_spare){pairs[KEEPER][0], pairs[WORKER][0], shape};
    if (pid < 0)
        rf_spare_drop(spare);
    return pid < 0 ? pid : 0;
}

int rf_spare_hand_over(struct rf_spare *spare, const struct rf_frame *request, int owner_map)
{
    int fds[2] = {request->fds[0], owner_map};
    int r = rf_frame_send(spare->keeper, request->type, request->request_id,
                          &request->parts[RF_SPAWN_POLICY], 1, fds, owner_map < 0 ? 1 : 2);
    if (!r)
        r = rf_frame_send(spare->worker, request->type, request->request_id, request->parts,
                          request->n_parts, request->fds + 1, request->n_fds - 1);
    rf_spare_drop(spare); /* what was sent is still read */
    return r;
}

/* --- the worker-to-be --- */

bool rf_spare_is_asked(void)
{
    struct pollfd wait = {asked, POLLIN, 0};
    return taken || poll(&wait, 1, 0) != 0;
}

/* Number 0 is taken before the install, which gives out low numbers, and once more
 * when /dev is the sandbox's own. */
static int null_input(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int r = null < 0 || dup2(null, 0) < 0 ? -errno : 0;
    if (null > 0)
        close(null);
    return r;
}

/* How it went goes to the keeper, who speaks for the sandbox. */
static int report(int r)
{
    say(keeper_end, r, r ? sandbox.error.text : sandbox.lost);
    return r;
}

/* Takes the descriptors over, and raises of its own walls those for which the
 * keeper-to-be's need not stand. */
static int settle(const struct rf_frame *request)
{
    const struct rf_bytes *parts = request->parts;
    char text[16];
    snprintf(folder, sizeof(folder), "%.*s", (int)parts[RF_SPAWN_CWD].len, parts[RF_SPAWN_CWD].data);
    snprintf(text, sizeof(text), "%.*s", (int)parts[RF_SPAWN_UMASK].len, parts[RF_SPAWN_UMASK].data);
    umask((mode_t)strtoul(text, NULL, 8));
    int r = null_input();
    r = r ? r : rf_worker_install(request->fds, request->request_id);
    r = r ? r : rf_rlimits_apply(parts[RF_SPAWN_RLIMITS], false);
    r = r ? r : rf_sandbox_policy_decode(parts[RF_SPAWN_POLICY], &policy, NULL);
    if (r)
        return r;
    sandbox.lost[0] = '\0';
    r = rf_sandbox_lower(&sandbox, &policy);
    return r ? report(r) : 0;
}

static int keep_parts(const struct rf_frame *request, struct rf_spawn *ret)
{
    *ret = (struct rf_spawn){.generation = request->request_id};
    rf_buf_add_bytes(&ret->environ, request->parts[RF_SPAWN_ENVIRON]);
    rf_buf_add_bytes(&ret->argv, request->parts[RF_SPAWN_ARGV]);
    return rf_buf_ok(&ret->environ) && rf_buf_ok(&ret->argv) ? 0 : -ENOMEM;
}

int rf_spare_await(struct rf_spawn *ret)
{
    struct rf_frame_reader reader = {0};
    struct rf_frame request;
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r;
    do
        r = packet ? rf_frame_recv(asked, 0, &reader, packet, &request) : -ENOMEM;
    while (r == -EINTR);
    free(packet);
    close(asked); /* its number may be one of those that the install gives out */
    asked = -1;
    bool came = r == 1;
    if (came)
        r = request.n_parts == RF_SPAWN_PARTS && request.n_fds == RF_FD_COUNT ? settle(&request)
                                                                              : -EPROTO;
    if (came && !r)
        r = keep_parts(&request, ret);
    rf_frame_reader_deinit(&reader);
    return r ? r : came;
}

/* Behind the keeper-to-be's walls the rest of its own. */
static int confine(void)
{
    struct verdict verdict;
    if (!hear(keeper_end, &verdict) || verdict.code)
        return -ESHUTDOWN;
    sandbox.have |= verdict.have;
    if (verdict.text[0])
        dprintf(2, "ringfence: %s\n", verdict.text);
    int r = report(rf_sandbox_confine(&sandbox));
    /* The keeper closes its end when it has become the small program, which nobody can
     * look into. */
    return !r && !rf_sandbox_is_screened(&sandbox) && hear(keeper_end, &verdict) ? -EPROTO : r;
}

int rf_spare_confine(void)
{
    int r = confine();
    rf_sandbox_policy_deinit(&policy);
    close(keeper_end);
    r = r ? r : null_input();
    if (!r && chdir(folder) && chdir(RF_OWN_WORKSPACE))
        (void)!chdir("/");
    return r;
}
