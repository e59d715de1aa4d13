/*
 * log.h - one line, one fact, on stderr: `2026-11-22T12:00:00.123Z info task.started job="web"
 * ...`.
 *
 * Only shells log (never libcell/base|model|sched|proto), once, where the error is handled. The
 * format string starts with "verb.object" style name and goes on with key=value pairs; text that a
 * user controls is written with %s inside LOG_QUOTED() so that it cannot forge a line.
 */
#ifndef CELL_LOG_H
#define CELL_LOG_H

#include "base.h"

/* Of lines from one place in the program: what is more is left out, and the next line says how many
 * were (`left_out=N`). What LOG_DEBUG shows is not counted: who asks for that wants it all. */
enum { LOG_PLACE_BURST = 2000, LOG_PLACE_LINES_PER_S = 50 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below `level` are dropped; the default is LOG_INFO. `who` (copied) stands in every line. */
void log_open(enum log_level level, const char *who);
/* "debug", "info", "warn" or "error"; -1 when it is none of them. */
int log_level_parse(const char *text);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/*
 * `text` in double quotes with control bytes, quotes and backslashes escaped, cut at 256 bytes.
 * Points into a ring of thread-local buffers: good for the arguments of one log line.
 */
const char *log_quoted(const char *text);

#endif
