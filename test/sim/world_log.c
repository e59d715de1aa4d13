/*
 * world_log.c - log.h: the lines of all nodes in one trace, or no output.
 */
#include "world_impl.h"

#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { QUOTED_MAX = 128, QUOTED_RING = 8 };

static bool trace_on;

void world_log_begin(bool trace)
{
    trace_on = trace;
}

static void head(const char *who)
{
    fprintf(stderr, "%" PRIu64 ".%06" PRIu64 " %-5s ", the_world_now_us / 1000000,
            the_world_now_us % 1000000, who);
}

void world_say(const char *fmt, ...)
{
    va_list args;
    if (!trace_on)
        return;
    head("sim");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void log_open(enum log_level level, const char *who)
{
    (void)level;
    (void)who;
}

int log_level_parse(const char *text)
{
    (void)text;
    return LOG_INFO;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct node *n = world_current();
    va_list args;
    if (!trace_on)
        return;
    head(n != NULL ? n->name : "-");
    fprintf(stderr, "%s ", levels[level]);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

const char *log_quoted(const char *text)
{
    static char ring[QUOTED_RING][QUOTED_MAX];
    static unsigned at;
    if (!trace_on)
        return "";
    char *to = ring[at++ % QUOTED_RING];
    snprintf(to, QUOTED_MAX, "\"%.100s\"", text);
    return to;
}
