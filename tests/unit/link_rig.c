/* See link_rig.h. */
#include "tests/unit/link_rig.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

/* ---- what the link tells ---- */

void close_link(struct rig *rig)
{
    rf_link_close(rig->link);
    rig->link = NULL;
}

static void on_frame(void *ctx, const struct rf_frame *frame)
{
    struct rig *rig = ctx;
    struct rf_bytes text = frame->n_parts ? frame->parts[0] : (struct rf_bytes){0};
    if (text.len > rig->largest)
        rig->largest = text.len;
    if (!rig->terse)
        rf_buf_printf(&rig->log, "frame %d %d %.*s;", frame->type, (int)frame->request_id,
                      text.len < 100 ? (int)text.len : 0, (const char *)text.data);
    if (rig->act == CLOSE_ON_FRAME)
        close_link(rig);
    else if (rig->act == BREAK_ON_FRAME)
        rf_link_break(rig->link);
    else if (rig->act == SEND_ON_FRAME)
        rf_link_send(rig->link, RF_MSG_REQUEST, frame->request_id, frame->parts, frame->n_parts,
                     -1);
}

static void on_pipe(void *ctx, int fd, struct rf_bytes bytes)
{
    struct rig *rig = ctx;
    rig->piped += bytes.len;
    if (!rig->terse)
        rf_buf_printf(&rig->log, "pipe %d %.*s;", fd, bytes.len < 100 ? (int)bytes.len : 0,
                      (const char *)bytes.data);
    if (rig->act == CLOSE_ON_PIPE)
        close_link(rig);
}

static void on_broken(void *ctx, bool closed)
{
    struct rig *rig = ctx;
    rf_buf_add_str(&rig->log, closed ? "closed;" : "broken;");
    if (rig->act == CLOSE_ON_BROKEN)
        close_link(rig);
}

const struct rf_link_events link_events = {on_frame, on_pipe, on_broken};

int link_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    rig->link = rf_link_new(&rig->loop, GENERATION, rig->far, &link_events, rig);
    assert_non_null(rig->link);
    *state = rig;
    return 0;
}

int link_teardown(void **state)
{
    struct rig *rig = *state;
    rf_link_close(rig->link);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    for (int i = 0; i < RF_FD_COUNT; i++)
        rf_closep(&rig->far[i]);
    rf_frame_reader_deinit(&rig->reader);
    rf_buf_deinit(&rig->log);
    free(rig);
    return 0;
}

/* ---- time ---- */

void turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    usleep(200);
}

void rest(struct rig *rig)
{
    for (int i = 0; i < QUIET_MS * 5; i++)
        turn(rig);
}

static bool log_is(struct rig *rig, const char *want)
{
    return rf_bytes_is(rf_buf_bytes(&rig->log), want);
}

void expect(struct rig *rig, const char *want)
{
    for (int i = 0; i < WAIT_MS * 5 && !log_is(rig, want); i++)
        turn(rig);
    rest(rig);
    check_text(rf_buf_bytes(&rig->log), want, "log");
    rig->log.len = 0;
}

/* ---- the peer ---- */

void say(struct rig *rig, uint8_t type, uint64_t id, const char *text)
{
    struct rf_bytes part = rf_bytes_str(text);
    assert_int_equal(rf_frame_send(rig->far[RF_FD_SOCKET], type, id, &part, 1, NULL, 0), 0);
}

void fence(struct rig *rig)
{
    assert_int_equal(rf_frame_send(rig->far[RF_FD_SOCKET], RF_MSG_FENCE, 0, NULL, 0, NULL, 0), 0);
}

void print(struct rig *rig, int fd, const char *text)
{
    ssize_t n = (ssize_t)strlen(text);
    assert_int_equal(write(rig->far[fd == 2 ? RF_FD_STDERR : RF_FD_STDOUT], text, (size_t)n), n);
}

int take_answers(struct rig *rig)
{
    int n = 0;
    for (char byte; recv(rig->far[RF_FD_FENCE], &byte, 1, MSG_DONTWAIT) == 1; n++)
        ;
    return n;
}

void send_raw(struct rig *rig, struct rf_packet_header header, struct rf_bytes fragment)
{
    struct rf_buf bytes = {0};
    header.protocol = header.protocol ? header.protocol : RF_WORKER_PROTOCOL;
    header.flags = htole16(header.flags);
    header.total = htole32(header.total);
    rf_buf_add(&bytes, &header, sizeof(header));
    rf_buf_add_bytes(&bytes, fragment);
    assert_int_equal(send(rig->far[RF_FD_SOCKET], bytes.data, bytes.len, MSG_NOSIGNAL), bytes.len);
    rf_buf_deinit(&bytes);
}

void hang_up(struct rig *rig)
{
    for (int i = 0; i < RF_FD_COUNT; i++)
        rf_closep(&rig->far[i]);
}

void receive(struct rig *rig, struct rf_frame *ret)
{
    int r = -EAGAIN;
    for (int i = 0; i < WAIT_MS * 5 && (r == -EAGAIN || r == -EINTR); i++) {
        r = rf_frame_recv(rig->far[RF_FD_SOCKET], MSG_DONTWAIT, &rig->reader, rig->packet, ret);
        if (r == -EAGAIN)
            turn(rig);
    }
    assert_int_equal(r, 1);
}

int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}
