/* See spare.h. */
#include "kernel/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringfence/keeper.h>

#include "common/place.h"
#include "kernel/sandbox/sandbox.h"
#include "kernel/worker.h"

#define HIGH_FD 16 /* out of the way of the worker's; not too high for a low limit */

/* The worker-to-be's own: there is one in a process. */
static int asked = -1;
static struct rf_sandbox sandbox;

void rf_spawn_deinit(struct rf_spawn *spawn)
{
    rf_buf_deinit(&spawn->environ);
    rf_buf_deinit(&spawn->cwd);
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

/* Waits for the gateway's socket.  It and the generation, or never returns. */
static int await_gateway(int from, uint64_t *ret_generation)
{
    struct rf_frame_reader reader = {0};
    struct rf_frame frame;
    uint8_t *packet = malloc(RF_PACKET_MAX);
    int r = -ENOMEM;
    do
        r = packet ? rf_frame_recv(from, 0, &reader, packet, &frame) : -ENOMEM;
    while (r == -EINTR);
    if (r != 1 || frame.n_fds != 1)
        _exit(0);
    *ret_generation = frame.request_id;
    /* Out of the way, and passed on through exec. */
    int gateway = fcntl(frame.fds[0], F_DUPFD, HIGH_FD);
    return gateway < 0 ? frame.fds[0] : gateway;
}

static void exec_keeper(int program, int gateway, uint64_t generation, pid_t worker)
{
    char gateway_text[16], generation_text[24], worker_text[16];
    snprintf(gateway_text, sizeof(gateway_text), "%d", gateway);
    snprintf(generation_text, sizeof(generation_text), "%llu", (unsigned long long)generation);
    snprintf(worker_text, sizeof(worker_text), "%d", worker);
    char *argv[] = {(char *)"ringfence-keeper", gateway_text, generation_text, worker_text,
                    sandbox.lost, NULL};
    char *none[] = {NULL};
    /* Whatever the interpreter left open is the worker's, not the keeper's. */
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close_range(3, (unsigned)gateway - 1, CLOSE_RANGE_CLOEXEC);
    close_range((unsigned)gateway + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    execveat(program, "", argv, none, AT_EMPTY_PATH);
    sandbox.failed = "exec of the keeper";
}

/* The keeper-to-be, pid 1 inside: walls up, worker forked, and once a gateway
 * is there the small program takes over.  Returns only in the worker-to-be. */
static void keep(int program, int from_zygote, int worker_end)
{
    struct rf_keeper_msg failed = {.op = RF_KEEPER_FAILED};
    signal(SIGCHLD, SIG_DFL);
    int r = rf_sandbox_enter(&sandbox);
    pid_t worker = r ? -1 : fork();
    if (!worker)
        return;
    if (worker < 0 && !r) {
        r = -errno;
        sandbox.failed = "fork";
    }
    if (worker > 0)
        close(worker_end); /* so that a worker that ends is noticed at the other end */
    int gateway = await_gateway(from_zygote, &failed.id);
    if (worker > 0) {
        exec_keeper(program, gateway, failed.id, worker);
        r = -errno;
    }
    failed.value = -r;
    snprintf(failed.text, sizeof(failed.text), "%s", sandbox.failed);
    (void)!send(gateway, &failed, sizeof(failed), MSG_NOSIGNAL);
    _exit(1);
}

static int make_ends(int keeper[2], int worker[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, keeper))
        return -errno;
    if (!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, worker))
        return 0;
    int r = -errno;
    close(keeper[0]);
    close(keeper[1]);
    return r;
}

/* Closes the descriptor but keeps its number taken: like the others up to
 * RF_WORKER_TEXT + 1 it is one that rf_worker_install() gives out later. */
static void leave(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup3(null, fd, O_CLOEXEC);
    close(null);
}

int rf_spare_make(struct rf_spare *spare, int keeper_program, int listening,
                  const struct rf_fork_hooks *hooks)
{
    int keeper[2], worker[2];
    int r = make_ends(keeper, worker);
    if (r)
        return r;
    rf_sandbox_init(&sandbox);
    hooks->before();
    pid_t pid = rf_sandbox_clone(&sandbox);
    if (!pid) {
        prctl(PR_SET_NAME, "ringfence-spare");
        leave(listening);
        close(keeper[0]);
        close(worker[0]);
        keep(keeper_program, keeper[1], worker[1]);
        close(keeper[1]);
        close(keeper_program);
        asked = worker[1];
        hooks->child();
        return 1;
    }
    hooks->parent();
    close(keeper[1]);
    close(worker[1]);
    *spare = (struct rf_spare){keeper[0], worker[0]};
    if (pid < 0)
        rf_spare_drop(spare);
    return pid < 0 ? pid : 0;
}

int rf_spare_hand_over(struct rf_spare *spare, const struct rf_frame *request)
{
    int r = rf_frame_send(spare->worker, request->type, request->request_id, request->parts,
                          request->n_parts, request->fds + 1, request->n_fds - 1);
    if (!r)
        r = rf_frame_send(spare->keeper, request->type, request->request_id, NULL, 0, request->fds,
                          1);
    rf_spare_drop(spare); /* what was sent is still read */
    return r;
}

/* --- the worker-to-be --- */

bool rf_spare_is_asked(void)
{
    struct pollfd wait = {asked, POLLIN, 0};
    return poll(&wait, 1, 0) != 0;
}

static void apply(const struct rf_bytes *parts)
{
    char text[4096];
    snprintf(text, sizeof(text), "%.*s", (int)parts[RF_SPAWN_CWD].len, parts[RF_SPAWN_CWD].data);
    if (chdir(text))
        (void)!chdir("/");
    snprintf(text, sizeof(text), "%.*s", (int)parts[RF_SPAWN_UMASK].len,
             parts[RF_SPAWN_UMASK].data);
    umask((mode_t)strtoul(text, NULL, 8));
}

/* Takes the descriptors over and closes the walls. */
static int settle(const struct rf_frame *request)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0)
        return -errno;
    if (null > 0) /* before the install, which gives out low numbers */
        close(null);
    int r = rf_worker_install(request->fds, request->request_id);
    if (r)
        return r;
    apply(request->parts);
    r = rf_rlimits_apply(request->parts[RF_SPAWN_RLIMITS], false);
    if (!r)
        r = rf_sandbox_confine(&sandbox);
    if (r)
        dprintf(2, "ringfence: the sandbox could not be closed (%s): %s\n",
                sandbox.failed ? sandbox.failed : "limits", strerror(-r));
    return r;
}

static int keep_parts(const struct rf_frame *request, struct rf_spawn *ret)
{
    *ret = (struct rf_spawn){.generation = request->request_id};
    rf_buf_add_bytes(&ret->environ, request->parts[RF_SPAWN_ENVIRON]);
    rf_buf_add_bytes(&ret->cwd, request->parts[RF_SPAWN_CWD]);
    rf_buf_add_bytes(&ret->argv, request->parts[RF_SPAWN_ARGV]);
    bool ok = rf_buf_ok(&ret->environ) && rf_buf_ok(&ret->cwd) && rf_buf_ok(&ret->argv);
    return ok ? 0 : -ENOMEM;
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
    if (r == 1)
        r = request.n_parts == RF_SPAWN_PARTS && request.n_fds == RF_FD_COUNT ? settle(&request)
                                                                              : -EPROTO;
    else
        r = r ? r : -ESHUTDOWN;
    if (!r)
        r = keep_parts(&request, ret);
    rf_frame_reader_deinit(&reader);
    return r == -ESHUTDOWN ? 0 : r ? r : 1;
}
