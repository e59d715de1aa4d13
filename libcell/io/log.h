/*
 * log.h - structured log lines on stderr: `2026-11-22T12:00:00.123Z info task.started job="web"
 * ...`.
 *
 * Only shells log (never libcell/base|model|sched|proto), once, where the error is handled. The
 * format string starts with the name of the event, `noun.verb_past`, followed by key=value pairs.
 * Text that a user controls must be passed through log_quoted(), so that it cannot forge a line.
 */
#ifndef CELL_LOG_H
#define CELL_LOG_H

#include "base.h"

/* Rate limit for the lines of one place in the program. Dropped lines are counted, and the next
 * line reports their number (`left_out=N`). Debug lines are not limited. */
enum { LOG_PLACE_BURST = 2000, LOG_PLACE_LINES_PER_S = 50 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Set the minimum level (default LOG_INFO) and the name (copied) that appears in every line. */
void log_open(enum log_level level, const char *who);
/* Parse "debug", "info", "warn" or "error"; return -1 for anything else. */
int log_level_parse(const char *text);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Return `text` in double quotes with control bytes, quotes and backslashes escaped, truncated
 * to 256 bytes. The result is in a ring of thread-local buffers and is valid for the arguments
 * of one log line. */
const char *log_quoted(const char *text);

#endif
