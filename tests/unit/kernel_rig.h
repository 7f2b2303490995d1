/* A kernel with a mock worker in the same process, for the tests.
 *
 * Everything that the kernel does is written to a log, one line each, which
 * a test compares as a whole:
 *
 *   <type> <parent> <content>             on iopub; status is "busy m1"
 *   shell|control|stdin <type> <parent> <identities> <content>
 *   worker <type> <id> <part> <part> ...  parts that are long JSON are left out
 *   answer <id> <type> <content>          asked of a checkpoint
 *   interrupt, shutdown <restart>, rested <us> <waiting>, kill <why>
 *
 * Client messages are numbered: number 7 has msg_id "m7" and identity "c7".
 */
#ifndef RINGFENCE_TESTS_UNIT_KERNEL_RIG_H
#define RINGFENCE_TESTS_UNIT_KERNEL_RIG_H

#include "tests/unit/check.h"

#include "gateway/jupyter/kernel.h"

struct rig {
    struct rf_kernel *kernel;
    struct rf_buf log;
    int64_t now;
    struct rf_kernel_mark mark; /* of the newest checkpoint */
    bool with_topics;   /* iopub lines start with [topic] */
    bool answers; /* there is a checkpoint */
    bool with_metadata; /* lines end with metadata and the number of buffers */
};

struct rig *rig_new(void);
struct rig *rig_new_limited(const struct rf_limits *limits);
/* A rig whose worker has said HELLO; the log is empty. */
struct rig *rig_new_ready(void);
void rig_free(struct rig *rig);

/* Compares the log and empties it. */
void rig_expect(struct rig *rig, const char *want);
/* The log as a string, valid until the next event. */
const char *rig_log(struct rig *rig);
void rig_clear(struct rig *rig);

/* A client's message. */
void rig_send(struct rig *rig, enum rf_channel channel, int number, const char *type,
              const char *content);
/* execute_request on shell; `more` is "" or members such as ",\"silent\":true". */
void rig_execute(struct rig *rig, int number, const char *code, const char *more);

/* A worker's message; the result of rf_kernel_on_worker(). */
int rig_worker(struct rig *rig, uint8_t type, uint64_t id, size_t n, const struct rf_bytes *parts);
int rig_hello(struct rig *rig);
int rig_reply(struct rig *rig, uint64_t id, const char *content);
int rig_publish(struct rig *rig, uint64_t id, const char *type, const char *content);
int rig_stream(struct rig *rig, uint64_t id, const char *name, const char *text);
void rig_pipe(struct rig *rig, int fd, const char *bytes);

void rig_checkpoint(struct rig *rig);
/* What the checkpoint answers; NULL: nothing. */
void rig_answer(struct rig *rig, uint64_t id, const char *content);

#define RIG_SIGSEGV 11 /* wait status */
void rig_die(struct rig *rig, int wait_status, bool resumed);

#define RIG_OK "{\"status\":\"ok\",\"execution_count\":1}"
#define RIG_ERROR "{\"status\":\"error\",\"ename\":\"E\",\"evalue\":\"v\",\"traceback\":[]}"
#define RIG_INFO                                                                             \
    "{\"implementation\":\"ipython\",\"implementation_version\":\"8.5\",\"language_info\":" \
    "{\"name\":\"python\",\"version\":\"3.11\"},\"banner\":\"Python\",\"help_links\":[]}"

#endif
