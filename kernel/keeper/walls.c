/* See walls.h. */
#include "kernel/keeper/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/frame.h"
#include "kernel/keeper/start.h"
#include "kernel/sandbox/sandbox.h"

/* What a gateway asks for. */
struct order {
    int gateway; /* its socket, owned */
    uint64_t generation;
    struct rf_sandbox_policy policy; /* owned */
};

static int number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

static struct rf_sandbox_shape shape_of(int bits)
{
    return (struct rf_sandbox_shape){.walls = bits & RF_KEEPER_WALLS,
                                     .own_net = bits & RF_KEEPER_OWN_NET,
                                     .ids = bits & RF_KEEPER_IDS};
}

/* Waits for the gateway's socket and the policy, or never returns. */
static int await_order(int from, struct rf_sandbox *sandbox, struct order *ret)
{
    static uint8_t packet[RF_PACKET_MAX];
    static struct rf_frame_reader reader;
    struct rf_frame frame;
    int r;
    do
        r = rf_frame_recv(from, 0, &reader, packet, &frame);
    while (r == -EINTR);
    if (r != 1 || !frame.n_fds || frame.n_parts != 1)
        _exit(0);
    ret->generation = frame.request_id;
    ret->gateway = frame.fds[0];
    sandbox->owner_map = frame.n_fds > 1 ? frame.fds[1] : -1;
    r = rf_sandbox_policy_decode(frame.parts[0], &ret->policy, &sandbox->error);
    rf_frame_reader_deinit(&reader);
    return r;
}

/* Whatever else is open is the zygote's. */
static void close_all_but(int gateway, int worker)
{
    unsigned first = (unsigned)(gateway < worker ? gateway : worker);
    unsigned last = (unsigned)(gateway < worker ? worker : gateway);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (first > 3)
        close_range(3, first - 1, 0);
    if (last > first + 1)
        close_range(first + 1, last - 1, 0);
    close_range(last + 1, ~0u, 0);
}

/* The walls around both, then each its own.  0 or -errno. */
static int close_walls(struct rf_sandbox *sandbox, const struct order *order, int to_worker)
{
    struct rf_verdict verdict;
    int r = rf_sandbox_finish(sandbox, &order->policy);
    rf_verdict_say(to_worker, r, sandbox->have, r ? sandbox->error.text : sandbox->note);
    close_all_but(order->gateway, to_worker);
    r = r ? r : rf_sandbox_keep(sandbox);
    if (r)
        return r;
    if (!rf_verdict_hear(to_worker, &verdict))
        return rf_error_set(&sandbox->error, -ECHILD, "worker: it ended before its walls were up");
    if (verdict.code)
        return rf_error_set(&sandbox->error, verdict.code, "%s", verdict.text);
    if (verdict.text[0])
        rf_sandbox_lose(sandbox, verdict.text);
    return 0;
}

static void tell(const struct order *order, uint32_t op, pid_t worker, int value, const char *text)
{
    struct rf_keeper_msg msg = {.op = op, .id = order->generation, .pid = worker, .value = value};
    snprintf(msg.text, sizeof(msg.text), "%s", text);
    (void)!send(order->gateway, &msg, sizeof(msg), MSG_NOSIGNAL);
}

static void fail(const struct rf_sandbox *sandbox, const struct order *order, pid_t worker, int r)
{
    tell(order, RF_KEEPER_FAILED, 0, -r, sandbox->error.text);
    if (worker > 0)
        kill(worker, SIGKILL); /* where it is in no pid namespace that ends with us */
    _exit(1);
}

/* Nothing that it needs the request for.  0 or -errno. */
static int begin(char **argv, struct rf_sandbox *sandbox, struct rf_sandbox_base *base)
{
    pid_t worker = number(argv[RF_KEEPER_WORKER]);
    prctl(PR_SET_NAME, "ringfence-spare");
    rf_sandbox_init(sandbox, base, shape_of(number(argv[RF_KEEPER_SHAPE])));
    sandbox->have = number(argv[RF_KEEPER_HAVE]);
    sandbox->uid = (uid_t)strtoul(argv[RF_KEEPER_UID], NULL, 10);
    sandbox->gid = (gid_t)strtoul(argv[RF_KEEPER_GID], NULL, 10);
    rf_sandbox_lose(sandbox, argv[RF_KEEPER_LOST]);
    if (worker <= 0)
        return rf_error_errno(&sandbox->error, worker, "fork of the worker");
    int r = rf_sandbox_base_read(number(argv[RF_KEEPER_BASE]), base);
    if (r)
        return rf_error_errno(&sandbox->error, r, "the file of the zygote");
    return rf_sandbox_enter(sandbox);
}

void rf_walls_make(char **argv, struct rf_walls *ret)
{
    static struct rf_sandbox sandbox;
    static struct rf_sandbox_base base;
    struct order order;
    pid_t worker = number(argv[RF_KEEPER_WORKER]);
    int to_worker = number(argv[RF_KEEPER_BETWEEN]);
    int r = begin(argv, &sandbox, &base);
    int asked = await_order(number(argv[RF_KEEPER_ORDERS]), &sandbox, &order);
    r = r ? r : asked;
    r = r ? r : close_walls(&sandbox, &order, to_worker);
    if (r)
        fail(&sandbox, &order, worker, r);
    rf_sandbox_policy_deinit(&order.policy);
    prctl(PR_SET_DUMPABLE, 0);
    close(to_worker); /* a worker without walls against it waits until none can look into us */
    tell(&order, RF_KEEPER_READY, worker, 0, sandbox.lost);
    fcntl(order.gateway, F_SETFD, FD_CLOEXEC);
    *ret = (struct rf_walls){order.gateway, order.generation, worker};
}
