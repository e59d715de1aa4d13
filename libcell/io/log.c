/*
 * log.c - lines on stderr, each with one write(2), so lines of several threads never mix.
 *
 * Form: `TIME WHO LEVEL name key=value ...`; WHO is left out when log_open() was not called. No
 * byte below space leaves this file except the newline at the end: a forgotten log_quoted() can
 * make a line ugly but cannot forge one.
 */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 4096, LOG_QUOTED_MAX = 256, LOG_QUOTED_RING = 8 };

static const char *const level_texts[] = {"debug", "info", "warn", "error"};

static _Atomic int log_level_min = LOG_INFO;
static char log_who[64]; /* written by log_open() before there are threads */

void log_open(enum log_level level, const char *who)
{
    atomic_store(&log_level_min, (int)level);
    str_copy(log_who, sizeof log_who, who);
}

int log_level_parse(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_texts); i++)
        if (strcmp(text, level_texts[i]) == 0)
            return (int)i;
    return -1;
}

static size_t log_head(char *line, size_t line_size, enum log_level level)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, line_size, "%Y-%m-%dT%H:%M:%S", &tm);
    int more = snprintf(line + n, line_size - n, ".%03dZ %s%s%s ", (int)(now.tv_nsec / 1000000),
                        log_who, log_who[0] == '\0' ? "" : " ", level_texts[level]);
    ASSERT(more > 0);
    return n + (size_t)more;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&log_level_min, memory_order_relaxed))
        return;
    char line[LOG_LINE_MAX];
    size_t size = log_head(line, sizeof line, level);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + size, sizeof line - size, fmt, args);
    va_end(args);
    if (n > 0)
        size = MIN(size + (size_t)n, sizeof line - 1);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[size++] = '\n';
    /* A log that cannot be written has nowhere to be reported. */
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
}

const char *log_quoted(const char *text)
{
    static _Thread_local char ring[LOG_QUOTED_RING][LOG_QUOTED_MAX + 3];
    static _Thread_local unsigned next;
    char *quoted = ring[next++ % LOG_QUOTED_RING];
    size_t size = 0;
    quoted[size++] = '"';
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        char escaped[8];
        int n;
        if (c == '"' || c == '\\')
            n = snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c == '\n')
            n = snprintf(escaped, sizeof escaped, "\\n");
        else if (c < ' ' || c == 0x7f)
            n = snprintf(escaped, sizeof escaped, "\\x%02x", c);
        else
            n = snprintf(escaped, sizeof escaped, "%c", c);
        if (size + (size_t)n > LOG_QUOTED_MAX)
            break;
        memcpy(quoted + size, escaped, (size_t)n);
        size += (size_t)n;
    }
    quoted[size++] = '"';
    quoted[size] = '\0';
    return quoted;
}
