/*
 * progress.h - progress of a long calculation, as a bar on a terminal.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "base.h"

struct progress {
    bool draws;
    uint64_t start_us;
    uint64_t drawn_us; /* 0: nothing is drawn */
};
/* Draw on stderr if it is a terminal, else nowhere; never if `quiet`. */
void progress_start(struct progress *progress, bool quiet);
/* Update the bar, at most ten times a second. `done` is from 0 to 1; the text describes the work.
 */
void progress_show(struct progress *progress, double done, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Erase the bar. */
void progress_end(struct progress *progress);

#endif
