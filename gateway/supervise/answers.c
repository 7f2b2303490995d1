/* See answers.h. */
#include "gateway/supervise/answers.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

enum { POLL, TIMER, HANDLES };

struct answer {
    struct answer *next; /* a newer one */
    struct rf_answers *answers;
    uint64_t process, request;
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer;
    } handles[HANDLES];
    int open_handles;
    int fd; /* owned */
    struct rf_frame_reader reader;
    uint8_t packet[RF_PACKET_MAX];
};

struct rf_answers {
    uv_loop_t *loop;
    const struct rf_answers_events *events; /* borrowed */
    void *ctx;
    struct answer *oldest; /* owned */
    unsigned n;
};

static void release(struct answer *answer)
{
    rf_closep(&answer->fd);
    rf_frame_reader_deinit(&answer->reader);
    free(answer);
}

static void on_closed(uv_handle_t *handle)
{
    struct answer *answer = handle->data;
    if (!--answer->open_handles)
        release(answer);
}

/* Out of the list; the memory goes later. */
static void let_go(struct answer *answer)
{
    struct answer **at = &answer->answers->oldest;
    while (*at != answer)
        at = &(*at)->next;
    *at = answer->next;
    answer->answers->n--;
    for (int i = 0; i < HANDLES; i++)
        uv_close(&answer->handles[i].handle, on_closed);
}

static void finish(struct answer *answer, const struct rf_frame *reply)
{
    struct rf_answers *answers = answer->answers;
    let_go(answer);
    answers->events->on_answer(answers->ctx, answer->process, answer->request, reply);
}

static void on_timeout(uv_timer_t *timer)
{
    finish(timer->data, NULL);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct answer *answer = poll->data;
    struct rf_frame frame;
    int r = rf_frame_recv(answer->fd, MSG_DONTWAIT, &answer->reader, answer->packet, &frame);
    bool small = le32toh(answer->reader.first.total) <= RF_ANSWER_MESSAGE_MAX;
    if ((r == -EAGAIN || r == -EINTR) && small)
        return;
    for (size_t i = 0; r == 1 && i < frame.n_fds; i++)
        close(frame.fds[i]);
    bool valid = r == 1 && small && frame.type == RF_MSG_REPLY && frame.request_id == answer->process;
    finish(answer, valid ? &frame : NULL);
}

struct rf_answers *rf_answers_new(uv_loop_t *loop, const struct rf_answers_events *events, void *ctx)
{
    struct rf_answers *answers = calloc(1, sizeof(*answers));
    if (answers)
        *answers = (struct rf_answers){.loop = loop, .events = events, .ctx = ctx};
    return answers;
}

static int start(struct answer *answer, uv_loop_t *loop)
{
    uv_poll_t *poll = &answer->handles[POLL].poll;
    uv_timer_t *timer = &answer->handles[TIMER].timer;
    int r = uv_poll_init(loop, poll, answer->fd);
    if (r)
        return r;
    uv_timer_init(loop, timer);
    poll->data = timer->data = answer;
    answer->open_handles = HANDLES;
    uv_poll_start(poll, UV_READABLE, on_ready);
    return uv_timer_start(timer, on_timeout, RF_ANSWER_TIMEOUT_MS, 0);
}

static struct answer *new_answer(struct rf_answers *answers, int *ret_far)
{
    int pair[2];
    struct answer *answer = calloc(1, sizeof(*answer));
    if (!answer)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        free(answer);
        return NULL;
    }
    answer->answers = answers;
    answer->fd = pair[0];
    rf_frame_refuse_fds(answer->fd);
    if (start(answer, answers->loop)) {
        close(pair[1]);
        release(answer);
        return NULL;
    }
    *ret_far = pair[1];
    return answer;
}

bool rf_answers_ask(struct rf_answers *answers, struct rf_checkpoint *checkpoint, uint64_t process,
                    uint64_t request, const struct rf_bytes *parts, size_t n_parts)
{
    int far = -1;
    if (answers->n >= RF_ANSWERS_MAX)
        finish(answers->oldest, NULL);
    struct answer *answer = new_answer(answers, &far);
    if (!answer)
        return false;
    answer->process = process;
    answer->request = request;
    struct answer **end = &answers->oldest;
    while (*end)
        end = &(*end)->next;
    *end = answer;
    answers->n++;
    int r = rf_checkpoint_ask(checkpoint, process, parts, n_parts, far);
    close(far);
    if (r)
        let_go(answer);
    return !r;
}

bool rf_answers_awaits(const struct rf_answers *answers, uint64_t process)
{
    for (const struct answer *answer = answers->oldest; answer; answer = answer->next)
        if (answer->process == process)
            return true;
    return false;
}

void rf_answers_free(struct rf_answers *answers)
{
    while (answers && answers->oldest)
        let_go(answers->oldest);
    free(answers);
}
