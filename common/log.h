/* The log: one line of text per event on a descriptor set in main.
 *
 * Whoever handles an error logs it, once.  Keys, tokens and cell contents are
 * never logged; control characters in the text are escaped.
 */
#ifndef RINGFENCE_COMMON_LOG_H
#define RINGFENCE_COMMON_LOG_H

enum rf_log_level { RF_LOG_ERROR, RF_LOG_WARN, RF_LOG_INFO, RF_LOG_DEBUG };

/* Before the first line: where to, and what is the least that matters.
 * fd -1 turns the log off. */
void rf_log_init(int fd, enum rf_log_level least);

/* `component` is a short fixed word, such as "zygote". */
void rf_log(enum rf_log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
