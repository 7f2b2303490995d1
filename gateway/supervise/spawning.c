/* See spawning.h. */
#include "gateway/supervise/spawning.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"

struct rf_spawning {
    uv_loop_t *loop;
    struct rf_spawning_options options;
    struct rf_zygote_spec spec; /* a copy: `direct` may be set on the way */
    int fds[1 + RF_FD_COUNT];   /* owned until the zygote has them */
    rf_spawning_done done;
    void *ctx;
    uv_poll_t poll;
    int fd; /* owned */
    int tries;
    bool cancelled;
    int code;
    struct rf_error err;
};

static int try_once(struct rf_spawning *spawning, struct rf_error *err);

static void close_fds(struct rf_spawning *spawning)
{
    for (size_t i = 0; i < 1 + RF_FD_COUNT; i++)
        rf_closep(&spawning->fds[i]);
}

static void on_closed(uv_handle_t *handle)
{
    struct rf_spawning *spawning = handle->data;
    rf_closep(&spawning->fd);
    if (!spawning->cancelled && spawning->code == -EAGAIN) { /* the next try */
        spawning->code = try_once(spawning, &spawning->err);
        if (!spawning->code)
            return;
    }
    close_fds(spawning);
    if (!spawning->cancelled)
        spawning->done(spawning->ctx, spawning->code, &spawning->err);
    free(spawning);
}

/* Explains a zygote that ended: its log says why. */
static void add_log(struct rf_spawning *spawning)
{
    char tail[240];
    rf_zygote_log_tail(&spawning->spec, tail, sizeof(tail));
    struct rf_error first = spawning->err;
    spawning->err = (struct rf_error){0};
    rf_error_set(&spawning->err, first.code, "%s; the zygote's log ends: %s", first.text, tail);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct rf_spawning *spawning = poll->data;
    struct rf_error err = {0};
    int r = rf_zygote_answer(spawning->fd, &err); /* also where libuv saw an error: it is read here */
    if (r == -EAGAIN && status >= 0)
        return;
    if (r == -EAGAIN)
        r = -ECONNRESET;
    uv_poll_stop(poll);
    if (r == RF_ZYGOTE_OK) {
        spawning->code = 0;
    } else if (spawning->tries >= RF_SPAWN_TRIES || (r != RF_ZYGOTE_ELSEWHERE && r != -ECONNRESET)) {
        spawning->code = r < 0 ? r : -EIO;
        spawning->err = err;
        rf_error_set(&spawning->err, spawning->code, "no zygote takes this kernel");
        add_log(spawning);
    } else {
        if (r == RF_ZYGOTE_ELSEWHERE) {
            rf_log(RF_LOG_INFO, "zygote", "the user's zygote runs in another place (cgroup, "
                                          "processors, nice value or limits): direct mode");
            spawning->spec.direct = true;
        }
        spawning->code = -EAGAIN;
    }
    uv_close((uv_handle_t *)poll, on_closed);
}

/* On failure nothing is left open but the descriptors to pass. */
static int try_once(struct rf_spawning *spawning, struct rf_error *err)
{
    spawning->tries++;
    spawning->fd = rf_zygote_connect(&spawning->spec, err);
    if (spawning->fd < 0)
        return spawning->fd;
    int r = rf_zygote_spawn(spawning->fd, spawning->options.generation, &spawning->options.request,
                            spawning->fds);
    if (r == -EPIPE || r == -ECONNRESET)
        r = 0; /* the answer will say so, too */
    if (!r)
        r = uv_poll_init(spawning->loop, &spawning->poll, spawning->fd);
    if (r) {
        rf_closep(&spawning->fd);
        return rf_error_errno(err, r, "cannot ask the zygote for a kernel");
    }
    spawning->poll.data = spawning;
    return uv_poll_start(&spawning->poll, UV_READABLE, on_answer);
}

struct rf_spawning *rf_spawning_new(uv_loop_t *loop, const struct rf_spawning_options *options,
                                    int fds[1 + RF_FD_COUNT], rf_spawning_done done, void *ctx,
                                    struct rf_error *err)
{
    struct rf_spawning *spawning = calloc(1, sizeof(*spawning));
    if (!spawning) {
        for (size_t i = 0; i < 1 + RF_FD_COUNT; i++)
            rf_closep(&fds[i]);
        rf_error_errno(err, -ENOMEM, "cannot ask for a kernel");
        return NULL;
    }
    *spawning = (struct rf_spawning){.loop = loop, .options = *options, .spec = *options->zygote,
                                     .done = done, .ctx = ctx, .fd = -1};
    memcpy(spawning->fds, fds, sizeof(spawning->fds));
    if (!try_once(spawning, err))
        return spawning;
    close_fds(spawning);
    free(spawning);
    return NULL;
}

void rf_spawning_cancel(struct rf_spawning *spawning)
{
    if (!spawning || spawning->cancelled)
        return;
    spawning->cancelled = true;
    if (!uv_is_closing((uv_handle_t *)&spawning->poll))
        uv_close((uv_handle_t *)&spawning->poll, on_closed);
}
