/* Named limits shared by the gateway, the keeper and the worker.
 *
 * Every bound that a peer, a client or user code can run into stands here
 * once, so that the message that reports it and the code that enforces it
 * cannot disagree.  Sizes are bytes unless the name says otherwise.
 */
#ifndef RINGFENCE_LIMITS_H
#define RINGFENCE_LIMITS_H

/* Worker protocol (docs/worker-protocol.md). */
#define RF_PACKET_MAX 65536u              /* one SEQPACKET packet, header included */
#define RF_WORKER_MESSAGE_MAX (256u << 20) /* one reassembled worker message */
#define RF_WORKER_PARTS_MAX 1024u         /* parts in one worker message */
#define RF_PASSED_FDS_MAX 8u              /* descriptors with one packet */

/* Jupyter wire protocol. */
#define RF_MESSAGE_MAX_DEFAULT (256u << 20) /* --max-message: one client message, all frames */
#define RF_FRAMES_MAX 1024u                 /* frames of one client message */
#define RF_JSON_DEPTH_MAX 1000u             /* nesting of arrays and objects */
#define RF_DIGEST_HISTORY 65536u            /* remembered signatures, as in jupyter_client */
#define RF_IOPUB_SPOOL_MAX (1024u << 20)    /* what may wait for slow iopub subscribers */
#define RF_IOPUB_MEMORY_MAX (64u << 20)     /* the part of it that waits in memory, not on disk */
#define RF_ZMTP_HEARTBEAT_S 30              /* --zmq-heartbeat: silence before a client is asked */
#define RF_SUBSCRIBER_STALL_MS 30000        /* a subscriber that takes nothing for so long is cut */

/* Kernel. */
#define RF_ANSWERS_MAX 8u             /* requests that checkpoints answer at the same time */
#define RF_ANSWER_TIMEOUT_MS 1000u    /* for one of them; then nothing was found */
#define RF_ANSWER_MESSAGE_MAX (16u << 20) /* its reply */
#define RF_STREAM_DELAY_MS 50u        /* longest time that stdout or stderr text is held back */
#define RF_STREAM_BATCH_MAX (64u << 10) /* text that goes out at once */
#define RF_HISTORY_CELLS_MAX 10000u   /* --history-size: cells in the history ring */
#define RF_BRANCHES_MAX 128u          /* of one kernel, alive at one time */
#define RF_BRANCH_IDLE_S 3600         /* a branch whose kernel was shut down ends after so long unused */
#define RF_QUEUE_MAX 10000u           /* requests that wait for one worker */
#define RF_PARENTS_MAX 1024u          /* requests whose header is kept for late output */

#endif
