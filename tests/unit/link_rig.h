/* A link and its peer on one loop, for the tests of gateway/supervise/link.
 *
 * What the link tells is kept as text; the peer is the test itself, through
 * the far descriptors.  Every wait has an end.
 */
#ifndef RINGFENCE_TESTS_UNIT_LINK_RIG_H
#define RINGFENCE_TESTS_UNIT_LINK_RIG_H

#include "tests/unit/check.h"

#include "gateway/supervise/link.h"

#define GENERATION 7
#define WAIT_MS 5000
#define QUIET_MS 6
#define MB (1u << 20)

enum act { NOTHING, CLOSE_ON_FRAME, CLOSE_ON_PIPE, CLOSE_ON_BROKEN, BREAK_ON_FRAME, SEND_ON_FRAME };

struct rig {
    uv_loop_t loop;
    struct rf_link *link;
    int far[RF_FD_COUNT];
    struct rf_buf log; /* what the link told: "frame TYPE ID TEXT;", "pipe FD TEXT;", "broken;" */
    size_t largest;    /* part of a frame */
    size_t piped;      /* bytes of both pipes */
    enum act act;
    bool terse;                    /* no text in the log */
    struct rf_frame_reader reader; /* the peer's */
    uint8_t packet[RF_PACKET_MAX];
};

extern const struct rf_link_events link_events; /* their ctx is the rig */

/* cmocka's; *state is the rig. */
int link_setup(void **state);
int link_teardown(void **state);
void close_link(struct rig *rig);

/* One turn of the loop, and a moment of time. */
void turn(struct rig *rig);
void rest(struct rig *rig);
/* Turns the loop until the log is `want`, sees that nothing follows, and empties it. */
void expect(struct rig *rig, const char *want);

/* The peer: a message with one part, a fence, text on fd 1 or 2, any packet, its end. */
void say(struct rig *rig, uint8_t type, uint64_t id, const char *text);
void fence(struct rig *rig);
void print(struct rig *rig, int fd, const char *text);
void send_raw(struct rig *rig, struct rf_packet_header header, struct rf_bytes fragment);
void hang_up(struct rig *rig);
/* How many fences were answered since the last call. */
int take_answers(struct rig *rig);
/* The next message for the peer, while the loop turns. */
void receive(struct rig *rig, struct rf_frame *ret);

int open_descriptors(void);

#endif
