/* A kernel without Python, for the tests of the gateway.
 *
 * The program takes the command line of ringfence-kernel and serves as its
 * zygote.  Its workers read the `code` of an execute_request as a script: one
 * command per line, a word and an argument (commands.c has the table).  Most
 * commands do what an honest worker never does.  Shared by the files of this
 * folder alone.
 */
#ifndef RINGFENCE_TESTS_MOCK_MOCK_H
#define RINGFENCE_TESTS_MOCK_MOCK_H

#include <stdbool.h>

#include "common/bytes.h"

/* What the worker says of a checkpoint, or what the checkpoint does when it is
 * to go on; see checkpoints.c. */
struct rf_mock_lie;

struct rf_mock {
    uint64_t generation;
    uint64_t request;              /* that runs now, or ran last */
    char count[24];                /* its execution_count */
    struct rf_buf kept;            /* the state of this kernel: the text of `keep` */
    const struct rf_mock_lie *lie; /* NULL: honest checkpoints */
    bool ignores_exit;
};

enum rf_mock_outcome {
    RF_MOCK_OK,
    RF_MOCK_ERROR,   /* the reply is an error */
    RF_MOCK_REPLIED, /* the command has replied itself */
};

/* Runs a script (changes it). */
enum rf_mock_outcome rf_mock_run(struct rf_mock *mock, char *script);

/* A reply to `request`: ok or error. */
void rf_mock_reply(struct rf_mock *mock, uint64_t request, bool ok);
void rf_mock_hello(struct rf_mock *mock, uint64_t generation, const char *pid, const char *info);

/* False: no such lie.  "honest" ends all lies. */
bool rf_mock_choose_lie(struct rf_mock *mock, const char *name);
/* The gateway asked for a checkpoint.  0 in the worker; the new generation in
 * a process that goes on from it. */
uint64_t rf_mock_checkpoint(struct rf_mock *mock, uint64_t id, int control);

/* Packets as no codec would make them; raw.c. */
struct rf_mock_packet {
    uint8_t protocol, type;
    uint16_t flags;
    uint32_t total;
    uint64_t request_id;
    struct rf_bytes fragment;
    const int *fds;
    size_t n_fds;
};
/* 0 or -errno. */
int rf_mock_send(int fd, const struct rf_mock_packet *packet);

/* Waits for the order that comes next on the worker's socket, an input_reply;
 * its content.  Empty at the end of file. */
struct rf_bytes rf_mock_await_input(void);

#endif
