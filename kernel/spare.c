/* See spare.h. */
#include "kernel/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include "common/cleanup.h"
#include "common/place.h"
#include "kernel/keeper/start.h"
#include "kernel/worker.h"

#define RSEQ_LENGTH 32 /* with which glibc enters it */

/* The worker-to-be's own: there is one in a process. */
static int asked = -1;
static bool taken; /* before it was made */
static int keeper_end = -1;
static struct rf_sandbox sandbox;
static struct rf_sandbox_policy policy; /* owned until the walls are up */
static char folder[PATH_MAX];

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

/* --- the keeper-to-be --- */

enum { KEEPER, WORKER, BETWEEN, PAIRS };

/* What the two are made of; in the zygote's memory, which the keeper-to-be is on. */
struct making {
    const struct rf_spare_base *base;
    int (*pairs)[2];
    sigjmp_buf zygote;
    int code; /* -errno where no keeper became of it */
};

static int exec_keeper(const struct making *making, pid_t worker)
{
    const struct rf_sandbox_shape *shape = &sandbox.shape;
    int fds[] = {making->pairs[KEEPER][1], making->pairs[BETWEEN][0], making->base->keeper_base};
    long long numbers[RF_KEEPER_LOST] = {
        0, fds[0], fds[1], fds[2], worker,
        (shape->walls ? RF_KEEPER_WALLS : 0) | (shape->own_net ? RF_KEEPER_OWN_NET : 0) |
            (shape->ids ? RF_KEEPER_IDS : 0),
        sandbox.have, sandbox.uid, sandbox.gid,
    };
    char texts[RF_KEEPER_LOST][24], *argv[RF_KEEPER_ARGS + 1] = {(char *)"ringfence-keeper"};
    char *none[] = {NULL};
    for (int i = RF_KEEPER_ORDERS; i < RF_KEEPER_LOST; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%lld", numbers[i]);
        argv[i] = texts[i];
    }
    argv[RF_KEEPER_LOST] = sandbox.lost;
    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        fcntl(fds[i], F_SETFD, 0);
    execveat(making->base->keeper_program, "", argv, none, AT_EMPTY_PATH);
    return -errno;
}

/* pid 1 inside: forks the worker, which goes on where the zygote waits, and becomes the keeper's
 * program. */
static int be_keeper(void *arg)
{
    struct making *making = arg;
    signal(SIGCHLD, SIG_DFL);
    pid_t worker = fork();
    if (!worker)
        siglongjmp(making->zygote, 1);
    worker = worker < 0 ? -errno : worker;
    int r = rf_sandbox_keep_powers(&sandbox);
    making->code = r ? r : exec_keeper(making, worker);
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

/* Linux takes a process that shares memory out of these, and glibc does not enter a fork anew:
 * sched_getcpu() would stand still. */
static void enter_restartable_sequences(void)
{
#ifdef RSEQ_SIG
    if (__rseq_size)
        syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, RSEQ_LENGTH, 0, RSEQ_SIG);
#endif
}

static void be_worker(const struct rf_spare_base *base, int pairs[PAIRS][2])
{
    enter_restartable_sequences();
    prctl(PR_SET_NAME, "ringfence-spare");
    leave(base->listening);
    close(pairs[KEEPER][0]);
    close(pairs[KEEPER][1]);
    close(pairs[WORKER][0]);
    close(pairs[BETWEEN][0]);
    close(base->keeper_program);
    close(base->keeper_base);
    asked = pairs[WORKER][1];
    keeper_end = pairs[BETWEEN][1];
}

int rf_spare_make(struct rf_spare *spare, const struct rf_spare_base *base,
                  struct rf_sandbox_shape shape, bool at_once)
{
    int pairs[PAIRS][2];
    struct making making = {.base = base, .pairs = pairs};
    int r = make_pairs(pairs, PAIRS);
    if (r)
        return r;
    rf_sandbox_init(&sandbox, base->sandbox, shape);
    taken = at_once;
    base->hooks->before();
    if (sigsetjmp(making.zygote, 1)) {
        be_worker(base, pairs);
        base->hooks->child();
        return 1;
    }
    pid_t pid = rf_sandbox_clone(&sandbox, be_keeper, &making);
    base->hooks->parent();
    close(pairs[KEEPER][1]);
    close(pairs[WORKER][1]);
    close(pairs[BETWEEN][0]);
    close(pairs[BETWEEN][1]);
    *spare = (struct rf_spare){pairs[KEEPER][0], pairs[WORKER][0], shape};
    r = pid < 0 ? pid : making.code;
    if (r)
        rf_spare_drop(spare);
    return r;
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
    rf_verdict_say(keeper_end, r, sandbox.have, r ? sandbox.error.text : sandbox.lost);
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
    struct rf_verdict verdict;
    if (!rf_verdict_hear(keeper_end, &verdict) || verdict.code)
        return -ESHUTDOWN;
    sandbox.have |= verdict.have;
    if (verdict.text[0])
        dprintf(2, "ringfence: %s\n", verdict.text);
    int r = report(rf_sandbox_confine(&sandbox));
    /* The keeper closes its end when nobody can look into it. */
    return !r && !rf_sandbox_is_screened(&sandbox) && rf_verdict_hear(keeper_end, &verdict) ? -EPROTO : r;
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
