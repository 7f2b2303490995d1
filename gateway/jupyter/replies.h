/* The contents that the gateway makes itself: errors, aborted, kernel_info,
 * connect, comm_close.
 *
 * Each function appends one JSON object to `to`; whether memory sufficed is
 * asked once, by rf_reply_content().
 */
#ifndef RINGFENCE_GATEWAY_JUPYTER_REPLIES_H
#define RINGFENCE_GATEWAY_JUPYTER_REPLIES_H

#include "gateway/jupyter/kernel.h"

/* An error that the gateway reports in the place of Python.  All UTF-8. */
struct rf_trouble {
    const char *ename;
    struct rf_bytes evalue;    /* one line */
    struct rf_bytes traceback; /* lines */
};

/* The content of an iopub error. */
void rf_reply_error_output(struct rf_buf *to, const struct rf_trouble *trouble);
/* The content of a reply with status "error"; `count` is the execution_count
 * of an execute_reply, NULL for other types. */
void rf_reply_error(struct rf_buf *to, const struct rf_trouble *trouble, const uint64_t *count);
/* The content of an execute_reply with status "aborted". */
void rf_reply_aborted(struct rf_buf *to, uint64_t count);

/* `info` is the JSON object of HELLO; what it lacks is filled in. */
void rf_reply_kernel_info(struct rf_buf *to, struct rf_bytes info,
                          const struct rf_kernel_options *options);
void rf_reply_connect(struct rf_buf *to, const struct rf_kernel_options *options);
void rf_reply_comm_close(struct rf_buf *to, struct rf_bytes comm_id);
void rf_reply_stream(struct rf_buf *to, const char *name, struct rf_bytes text);
/* `code` is a raw JSON string. */
void rf_reply_execute_input(struct rf_buf *to, struct rf_bytes code, uint64_t count);

/* The bytes of `buf`, or a constant error content if memory was out. */
struct rf_bytes rf_reply_content(const struct rf_buf *buf);

/* `text` itself if it is plain ASCII, else a copy in `to` (empty at first)
 * with bad UTF-8 replaced; empty without memory. */
struct rf_bytes rf_reply_clean(struct rf_bytes text, struct rf_buf *to);

/* True if a reply's payload (a checked JSON value) has an ask_exit that does
 * not keep the kernel. */
bool rf_reply_asks_exit(struct rf_bytes payload);

#endif
