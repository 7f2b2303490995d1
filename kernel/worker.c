/* See worker.h. */
#include "kernel/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kernel/ahead.h"
#include "kernel/fork.h"
#include "kernel/sandbox/sandbox.h"
#include "kernel/sever.h"
#include "kernel/snapshot.h"

#define LEAVING_US 1000000 /* longest time for a checkpoint to leave the worker's session */
#define YIELD_TURNS 33 /* that are told apart */
#define FAULT_NS 2500 /* about what a copied page costs */
#define FORK_TIMES 3 /* the copy's own start, and the end of the one that it replaces, beside ours */
#define IDLE_US 20000 /* since the last reply: then there is time to give back memory */
#define REWRITTEN 16000 /* pages that were copied, 64 MB: less is not worth putting together, or
                           counting one by one */
#define GATHER_MS 2000
#define STREAM_PIECE (256u << 10) /* text in one message */
#define FENCE_TIMEOUT_MS 2000     /* a gateway that is stopped must not stop the cell for ever */

#define TEXT_PIPE(fd) (RF_WORKER_TEXT + (fd) - 1)
#define FIRST_FREE_FD (RF_WORKER_TEXT + 2)

static pthread_mutex_t sending = PTHREAD_MUTEX_INITIALIZER;
static struct rf_frame_reader reader;
static uint8_t packet[RF_PACKET_MAX];
static int passed_fd = -1;
static uint64_t newest_request;
static int64_t replied_us; /* when the last reply was sent */
static int64_t asked_us;   /* processor time used when a checkpoint was asked for */
static uint64_t most_us;   /* what the pages copied before it may have cost */

/* Where each descriptor of enum rf_worker_fd goes. */
static const struct {
    int number;
    int flags;
} places[RF_FD_COUNT] = {
    [RF_FD_SOCKET] = {RF_WORKER_SOCKET, O_CLOEXEC}, [RF_FD_STDOUT] = {1, 0},
    [RF_FD_STDERR] = {2, 0},                        [RF_FD_FENCE] = {RF_WORKER_FENCE, O_CLOEXEC},
    [RF_FD_CRASH] = {RF_WORKER_CRASH, O_CLOEXEC},
};

static int place_fds(const int fds[RF_FD_COUNT])
{
    int high[RF_FD_COUNT]; /* out of the way of the places first */
    for (int i = 0; i < RF_FD_COUNT; i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if (high[i] < 0)
            return -errno;
    }
    for (int i = 0; i < RF_FD_COUNT; i++)
        close(fds[i]);
    for (int i = 0; i < RF_FD_COUNT; i++) {
        if (dup3(high[i], places[i].number, places[i].flags) < 0)
            return -errno;
        close(high[i]);
    }
    for (int fd = 1; fd <= 2; fd++)
        if (dup3(fd, TEXT_PIPE(fd), O_CLOEXEC) < 0)
            return -errno;
    return 0;
}

static void do_nothing(int number)
{
    (void)number;
}

/* Without SA_RESTART: that is what it is for. */
static int await_nudges(void)
{
    struct sigaction nothing = {.sa_handler = do_nothing};
    return sigaction(RF_WORKER_NUDGE, &nothing, NULL) ? -errno : 0;
}

int rf_worker_install(const int fds[RF_FD_COUNT], uint64_t generation)
{
    int r = place_fds(fds);
    r = r ? r : await_nudges();
    if (r)
        return r;
    setsid();
    prctl(PR_SET_NAME, "ringfence-worker");
    rf_frame_reader_deinit(&reader);
    passed_fd = -1;
    sending = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* a thread may have held it at the fork */
    return rf_generation_set(generation);
}

static bool pipe_holds_bytes(int fd)
{
    int n = 0;
    return !ioctl(fd, FIONREAD, &n) && n > 0;
}

/* Two channels have no common order.  So before text or a message goes over
 * the socket, what lies in the pipes must have been read: the gateway does so
 * when it comes to the fence, and says so on the fence's socket.  (The other way
 * round needs nothing: the gateway reads the socket before the pipes.) */
static int fence_now(void)
{
    char answer;
    ssize_t n;
    do /* answers that came too late for an earlier fence */
        n = recv(RF_WORKER_FENCE, &answer, 1, MSG_DONTWAIT);
    while (n > 0 || (n < 0 && errno == EINTR));
    int r = rf_frame_send(RF_WORKER_SOCKET, RF_MSG_FENCE, 0, NULL, 0, NULL, 0);
    if (r)
        return r;
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        long left = FENCE_TIMEOUT_MS - (now.tv_sec - began.tv_sec) * 1000 -
                    (now.tv_nsec - began.tv_nsec) / 1000000;
        struct pollfd wait = {RF_WORKER_FENCE, POLLIN, 0};
        if (left <= 0 || poll(&wait, 1, (int)left) == 0)
            return 0;
        n = recv(RF_WORKER_FENCE, &answer, 1, MSG_DONTWAIT);
        if (n > 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0; /* answered, or user code closed our end */
        if (n == 0)
            return -EPIPE; /* the gateway has closed it */
    }
}

static int64_t microseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int fence(void)
{
    return pipe_holds_bytes(TEXT_PIPE(1)) || pipe_holds_bytes(TEXT_PIPE(2)) ? fence_now() : 0;
}

static bool is_seen(uint8_t type)
{
    return type == RF_MSG_PUBLISH || type == RF_MSG_REPLY || type == RF_MSG_INPUT_REQUEST ||
           type == RF_MSG_ORDER;
}

int rf_worker_send(uint8_t type, uint64_t request_id, const struct rf_bytes *parts, size_t n_parts)
{
    if (!rf_generation())
        return -ECHILD;
    if (is_seen(type)) {
        fflush(stdout);
        fflush(stderr);
    }
    pthread_mutex_lock(&sending);
    int r = is_seen(type) ? fence() : 0;
    if (!r)
        r = rf_frame_send(RF_WORKER_SOCKET, type, request_id, parts, n_parts, NULL, 0);
    pthread_mutex_unlock(&sending);
    if (type == RF_MSG_REPLY)
        replied_us = microseconds(CLOCK_MONOTONIC);
    return r;
}

static int write_plainly(int fd, struct rf_bytes text)
{
    while (text.len) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text.data += n;
            text.len -= (size_t)n;
        }
    }
    return 0;
}

/* The longest piece that does not cut a UTF-8 sequence. */
static size_t piece_length(struct rf_bytes text)
{
    if (text.len <= STREAM_PIECE)
        return text.len;
    size_t n = STREAM_PIECE;
    while (n > STREAM_PIECE - 4 && (text.data[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static int send_text(int fd, uint64_t request_id, struct rf_bytes text)
{
    struct rf_bytes name = fd == 2 ? RF_BYTES("stderr") : RF_BYTES("stdout");
    int r = fence();
    while (!r && text.len) {
        struct rf_bytes parts[2] = {name, {text.data, piece_length(text)}};
        r = rf_frame_send(RF_WORKER_SOCKET, RF_MSG_STREAM, request_id, parts, 2, NULL, 0);
        text.data += parts[1].len;
        text.len -= parts[1].len;
    }
    return r;
}

int rf_worker_stream(int fd, uint64_t request_id, struct rf_bytes text)
{
    if (!rf_generation())
        return write_plainly(fd, text);
    pthread_mutex_lock(&sending);
    bool newest = !request_id || request_id == newest_request;
    int r = 0;
    if (newest && pipe_holds_bytes(TEXT_PIPE(3 - fd))) /* the other stream came first */
        r = fence_now();
    if (!r)
        r = newest ? write_plainly(TEXT_PIPE(fd), text) : send_text(fd, request_id, text);
    pthread_mutex_unlock(&sending);
    return r;
}

int rf_worker_take_fd(void)
{
    int fd = passed_fd;
    passed_fd = -1;
    return fd;
}

static void keep_one_fd(const struct rf_frame *frame)
{
    if (!frame->n_fds)
        return;
    if (passed_fd >= 0)
        close(passed_fd);
    passed_fd = frame->fds[0];
    for (size_t i = 1; i < frame->n_fds; i++)
        close(frame->fds[i]);
}

static void note_asked(const struct rf_frame *order)
{
    asked_us = microseconds(CLOCK_THREAD_CPUTIME_ID);
    if (!order->n_parts || !rf_bytes_u64(order->parts[0], &most_us))
        most_us = UINT64_MAX;
}

int rf_worker_recv(int timeout_ms, struct rf_frame *ret)
{
    for (;;) {
        int r = rf_frame_recv(RF_WORKER_SOCKET, MSG_DONTWAIT, &reader, packet, ret);
        if (r == 1) {
            keep_one_fd(ret);
            if (ret->type == RF_MSG_REQUEST)
                newest_request = ret->request_id;
            if (ret->type == RF_MSG_CHECKPOINT)
                note_asked(ret);
        }
        if (r != -EAGAIN)
            return r == -ECONNRESET ? 0 : r;
        struct pollfd wait = {RF_WORKER_SOCKET, POLLIN, 0};
        int n = poll(&wait, 1, timeout_ms);
        if (n < 0)
            return -errno;
        if (!n)
            return -ETIME;
    }
}

struct counts {
    long faults, pages;
};

static struct counts count_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct counts){usage.ru_minflt, rf_resident_pages()};
}

static struct counts at_checkpoint; /* the last one */

/* The pages that were copied since the last checkpoint, which are what it cost after its
 * fork.  Faults by which the process grew are no copies, and no page is copied twice: memory
 * that came and went again counts for no more than there was. */
static int64_t copied_since_checkpoint(void)
{
    const struct counts then = at_checkpoint, now = count_memory();
    long grown = now.pages > then.pages ? now.pages - then.pages : 0;
    long copied = now.faults - then.faults - grown;
    if (copied > then.pages)
        copied = then.pages;
    return copied > 0 ? copied : 0;
}

/* The same, but counted where they may be many and nothing waits: what was there then and is
 * shared no more. */
static int64_t changed_since_checkpoint(int64_t copied)
{
    long shared = copied < REWRITTEN ? 0 : rf_shared_pages(RF_WORKER_SOCKET);
    long changed = at_checkpoint.pages > shared ? at_checkpoint.pages - shared : 0;
    return copied < changed ? copied : changed;
}

static int become_worker(const struct rf_frame *order)
{
    int r = rf_worker_install(order->fds, order->request_id);
    if (!r)
        rf_sandbox_oom(RF_OOM_WORKER);
    at_checkpoint = count_memory(); /* which it comes of */
    return r;
}

/* It has no generation: what it prints and publishes is nobody's. */
static int become_answerer(const struct rf_frame *order)
{
    setsid();
    if (dup3(order->fds[0], RF_WORKER_SOCKET, O_CLOEXEC) < 0)
        return -errno;
    close(order->fds[0]);
    prctl(PR_SET_NAME, "ringfence-answr");
    rf_sever_files(FIRST_FREE_FD);
    rf_sandbox_oom(RF_OOM_WORKER);
    return 0;
}

/* What a checkpoint does on an order: it forks, and the child becomes something. */
static const struct order {
    uint8_t type;
    size_t n_fds;
    int (*become)(const struct rf_frame *order);
} orders[] = {
    {RF_MSG_RESUME, RF_FD_COUNT, become_worker},
    {RF_MSG_ANSWER, 1, become_answerer},
};

static const struct order *find_order(const struct rf_frame *frame)
{
    for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
        if (orders[i].type == frame->type && orders[i].n_fds == frame->n_fds)
            return &orders[i];
    return NULL;
}

/* When a worker or a checkpoint ends, the keeper kills its session: what was forked from it must
 * have left that before.  It takes one switch of processes. */
static bool await_own_session(pid_t child)
{
    pid_t ours = getsid(0), its;
    for (int64_t until = microseconds(CLOCK_MONOTONIC) + LEAVING_US;
         (its = getsid(child)) == ours;) {
        if (microseconds(CLOCK_MONOTONIC) > until)
            return false;
        usleep(20);
    }
    return its > 0;
}

static uint64_t turn_to_yield; /* of a checkpoint; 0: it stays */

static int yield(uint64_t turn)
{
    turn_to_yield = turn;
    int later = (int)(turn < YIELD_TURNS ? turn : YIELD_TURNS) - 1;
    rf_sandbox_oom(turn ? RF_OOM_FIRST - later * RF_OOM_TURN : RF_OOM_CHECKPOINT);
    return 0;
}

static int copy_ahead(void)
{
    /* Where memory is short, none is spent. */
    size_t bytes = turn_to_yield ? 0 : rf_ahead_look(RF_WORKER_SOCKET);
    char text[24];
    int n = snprintf(text, sizeof(text), "%zu", bytes);
    struct rf_bytes part = {(uint8_t *)text, (size_t)n};
    int r = rf_frame_send(RF_WORKER_SOCKET, RF_MSG_COPIED, 0, &part, 1, NULL, 0);
    if (!r && bytes)
        rf_ahead_copy(RF_WORKER_SOCKET);
    return r;
}

/* 1 in the child, 0 in the checkpoint, or -errno. */
static int obey(const struct rf_frame *frame)
{
    if (frame->type == RF_MSG_YIELD && !frame->n_fds)
        return yield(frame->request_id);
    if (frame->type == RF_MSG_AHEAD && !frame->n_fds)
        return copy_ahead();
    const struct order *order = find_order(frame);
    pid_t child = order ? rf_fork_sibling() : 0;
    if (order && !child) {
        if (order->become(frame))
            _exit(1);
        return 1;
    }
    for (size_t i = 0; i < frame->n_fds; i++)
        close(frame->fds[i]);
    if (!order)
        return -EPROTO;
    if (child > 0)
        await_own_session(child);
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", child > 0 ? child : 0);
    struct rf_bytes part = {(uint8_t *)text, (size_t)n};
    return rf_frame_send(RF_WORKER_SOCKET, RF_MSG_RESUMED, frame->request_id, &part, 1, NULL, 0);
}

/* The life of a checkpoint: it sleeps on its control socket, which stands
 * where the worker's was, and forks when told to.  Returns only in a child, with
 * the order.  It runs no Python and no exit handlers. */
static int be_checkpoint(int control, struct rf_frame *ret_order)
{
    prctl(PR_SET_NAME, "ringfence-ckpt");
    setsid(); /* the worker waits for it, see await_own_session() */
    if (dup3(control, RF_WORKER_SOCKET, O_CLOEXEC) < 0)
        _exit(1);
    close_range(RF_WORKER_FENCE, TEXT_PIPE(2), 0); /* first: there may be no other number left */
    if (control >= FIRST_FREE_FD)
        close(control);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup3(null, 1, 0) < 0 || dup3(null, 2, 0) < 0)
        _exit(1);
    close(null);
    rf_sever_descriptors(FIRST_FREE_FD);
    rf_sandbox_oom(RF_OOM_CHECKPOINT);
    rf_ahead_forget();
    turn_to_yield = 0;
    rf_frame_reader_deinit(&reader); /* of the worker's messages; from here on of orders */
    for (;;) {
        int r = rf_frame_recv(RF_WORKER_SOCKET, 0, &reader, packet, ret_order);
        if (r == -EINTR)
            continue;
        if (r != 1)
            _exit(0);
        r = obey(ret_order);
        if (r == 1)
            return 1;
        if (r)
            _exit(1);
    }
}

static void tell_checkpoint(uint64_t id, pid_t pid, int64_t cost_us, int64_t changed,
                            const char *class, const char *reason)
{
    char texts[3][24];
    struct rf_bytes parts[5] = {[3] = rf_bytes_str(class), [4] = rf_bytes_str(reason)};
    const int64_t numbers[3] = {pid > 0 ? pid : 0, cost_us, changed};
    for (size_t i = 0; i < 3; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%lld", (long long)numbers[i]);
        parts[i] = rf_bytes_str(texts[i]);
    }
    rf_worker_send(RF_MSG_CHECKPOINTED, id, parts, 5);
}

/* Nothing was asked for a while, and nothing waits.  An order whose cost has a bound came
 * right after a cell, however late it is read: that machine has no time to spare. */
static bool is_idle(void)
{
    struct pollfd wait = {RF_WORKER_SOCKET, POLLIN, 0};
    return most_us >= INT64_MAX && microseconds(CLOCK_MONOTONIC) - replied_us > IDLE_US &&
           !poll(&wait, 1, 0);
}

void rf_worker_gather(void)
{
    if (!rf_generation() || !is_idle() || copied_since_checkpoint() < REWRITTEN)
        return;
    int64_t began = microseconds(CLOCK_THREAD_CPUTIME_ID);
    rf_ahead_gather(RF_WORKER_SOCKET, GATHER_MS);
    asked_us += microseconds(CLOCK_THREAD_CPUTIME_ID) - began; /* no cost of a cell's checkpoint */
}

/* A library that can be forked ends its threads before the fork, and makes new ones after
 * it; so those that are there right after it, it does not know of. */
static const char *check_threads(const char *reason, unsigned spared)
{
    return *reason || rf_count_tasks() <= 1 + spared
               ? reason
               : "threads of native code run, and a fork holds only the main one";
}

int rf_worker_checkpoint(uint64_t id, int control, const char *reason, unsigned spared,
                         struct rf_frame *ret_order)
{
    if (!rf_generation())
        return -ECHILD;
    int64_t copied = copied_since_checkpoint(), copying_us = copied * FAULT_NS / 1000;
    if (control >= 0 && (uint64_t)copying_us > most_us) {
        close(control);
        tell_checkpoint(id, 0, copying_us, copied, "dear", "");
        return 0;
    }
    int64_t began = microseconds(CLOCK_THREAD_CPUTIME_ID);
    int64_t changed = changed_since_checkpoint(copied);
    asked_us += microseconds(CLOCK_THREAD_CPUTIME_ID) - began;
    at_checkpoint = count_memory();
    fflush(NULL);
    if (is_idle() && rf_count_tasks() == 1) /* what is left is copied again after the fork anyway */
        rf_snapshot_give_back();
    pid_t pid = control < 0 ? -EMFILE : rf_fork_sibling();
    if (!pid)
        return be_checkpoint(control, ret_order);
    if (control >= 0)
        close(control);
    if (pid > 0 && !await_own_session(pid))
        pid = -ETIMEDOUT;
    /* What others run meanwhile is no cost; what the shell looked at before is one. */
    int64_t cost_us = (microseconds(CLOCK_THREAD_CPUTIME_ID) - asked_us) * FORK_TIMES + copying_us;
    reason = pid > 0 ? check_threads(reason, spared) : strerror(-pid);
    tell_checkpoint(id, pid, cost_us, changed,
                    pid <= 0 ? "none" : *reason ? "crash-only" : "full", reason);
    return pid < 0 ? pid : 0;
}

int rf_worker_answer(uint64_t id, const struct rf_bytes *parts, size_t n_parts)
{
    return rf_frame_send(RF_WORKER_SOCKET, RF_MSG_REPLY, id, parts, n_parts, NULL, 0);
}
