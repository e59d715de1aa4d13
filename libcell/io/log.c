/*
 * log.c - log lines on stderr, each with one write(2), so that lines of several threads never mix.
 *
 * Format: `TIME WHO LEVEL name key=value ...`; WHO is omitted if log_open() was not called. Control
 * bytes are never written, except the newline at the end: a missing log_quoted() can make a line
 * ugly but cannot forge one.
 *
 * Peers determine how often many lines are written, and a full disk stops a master. Each place that
 * logs therefore has a budget of lines; the address of its format string identifies the place.
 */
#include "log.h"

#include "bucket.h"
#include "clock.h"
#include "hash.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_LINE_MAX = 4096,
    LOG_QUOTED_MAX = 256,
    LOG_QUOTED_RING = 8,
    LOG_PLACES_MAX = 512, /* further places share budgets */
    LOG_LINE_US = 1000000 / LOG_PLACE_LINES_PER_S,
};

struct place {
    const char *fmt;     /* NULL: free */
    struct bucket lines; /* LOG_LINE_US for each line */
    uint64_t left_out;   /* since the last line that was written */
};

static const char *const level_texts[] = {"debug", "info", "warn", "error"};

static _Atomic int log_level_min = LOG_INFO;
static char log_who[64]; /* written by log_open() before other threads start */

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

/* The caller holds the mutex. */
static struct place *log_place(const char *fmt)
{
    static struct place places[LOG_PLACES_MAX];
    size_t at = (size_t)hash_u64((uint64_t)(uintptr_t)fmt) % LOG_PLACES_MAX;
    for (size_t i = 0; i < LOG_PLACES_MAX; i++) {
        struct place *place = &places[(at + i) % LOG_PLACES_MAX];
        if (place->fmt == NULL)
            place->fmt = fmt;
        if (place->fmt == fmt)
            return place;
    }
    return &places[at];
}

/* Return whether the place may write another line, and how many lines were dropped before it. */
static bool log_may_write(const char *fmt, uint64_t *ret_left_out)
{
    static const struct bucket_limits limits = {
        .percent = 100, .burst_us = (uint64_t)LOG_PLACE_BURST * LOG_LINE_US};
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    uint64_t now_us = clock_mono_us();
    pthread_mutex_lock(&mutex);
    struct place *place = log_place(fmt);
    bool may = !bucket_is_over(&place->lines, &limits, now_us);
    if (may)
        bucket_add(&place->lines, &limits, now_us, LOG_LINE_US);
    *ret_left_out = place->left_out;
    place->left_out = may ? 0 : place->left_out + 1;
    pthread_mutex_unlock(&mutex);
    return may;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    uint64_t left_out = 0;
    if ((int)level < atomic_load_explicit(&log_level_min, memory_order_relaxed))
        return;
    if (level != LOG_DEBUG && !log_may_write(fmt, &left_out))
        return;
    char line[LOG_LINE_MAX];
    size_t size = log_head(line, sizeof line, level);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + size, sizeof line - size, fmt, args);
    va_end(args);
    if (n > 0)
        size = MIN(size + (size_t)n, sizeof line - 1);
    if (left_out > 0)
        size += (size_t)snprintf(line + size, sizeof line - size, " left_out=%" PRIu64, left_out);
    size = MIN(size, sizeof line - 1);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[size++] = '\n';
    /* There is no place to report a failure of the log itself. */
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
