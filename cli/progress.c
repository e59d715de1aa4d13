/*
 * progress.c - a progress bar with percentage and estimated time left.
 */
#include "progress.h"

#include "clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 30, REDRAW_US = 100000, ETA_FROM_US = 1000000 };

void progress_start(struct progress *progress, bool quiet)
{
    *progress =
        (struct progress){.draws = !quiet && isatty(STDERR_FILENO), .start_us = clock_mono_us()};
}

void progress_show(struct progress *progress, double done, const char *fmt, ...)
{
    uint64_t now_us = clock_mono_us();
    uint64_t took_us = now_us - progress->start_us;
    char text[64];
    va_list args;
    if (!progress->draws || now_us - MAX(progress->drawn_us, progress->start_us) < REDRAW_US)
        return;
    progress->drawn_us = now_us;
    done = done < 0 ? 0 : done > 1 ? 1 : done;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int bar = (int)(done * WIDTH);
    fprintf(stderr, "\r[%.*s%*s] %3.0f%% %s", bar, "##############################", WIDTH - bar,
            "", 100 * done, text);
    if (done > 0 && took_us > ETA_FROM_US)
        fprintf(stderr, ", %.0f s left", (double)took_us / 1e6 * (1 - done) / done);
    fputs("\033[K", stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->drawn_us != 0)
        fputs("\r\033[K", stderr);
    *progress = (struct progress){0};
}
