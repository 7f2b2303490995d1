/* Small files, whole: reading one, replacing one in one step, lines of text. */
#ifndef RINGFENCE_GATEWAY_CLI_FILES_H
#define RINGFENCE_GATEWAY_CLI_FILES_H

#include <sys/types.h>

#include "common/bytes.h"
#include "common/error.h"

#define RF_FILE_MAX (16u << 20) /* what is read whole */

/* For RF_AUTO. */
static inline void rf_buf_deinitp(struct rf_buf *buf)
{
    rf_buf_deinit(buf);
}

/* Appends all of `path`.  0, or -errno (-EFBIG over RF_FILE_MAX). */
int rf_file_read(const char *path, struct rf_buf *to);

/* Puts `bytes` at `path`: a new file beside it, then a rename. */
int rf_file_replace(const char *path, struct rf_bytes bytes, mode_t mode, struct rf_error *err);

/* Makes the folder and those above it. */
int rf_folder_make(const char *path, struct rf_error *err);

/* Cuts the next line (without its break) off the front of `text`; false at the end. */
bool rf_next_line(struct rf_bytes *text, struct rf_bytes *ret_line);

#endif
