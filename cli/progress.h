/*
 * progress.h - how far a long calculation has come, as a bar on a terminal.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "base.h"

struct progress {
    bool draws;
    uint64_t start_us;
    uint64_t drawn_us; /* 0: nothing is on the screen */
};
/* On stderr when that is a terminal, else nowhere; never when `quiet`. */
void progress_start(struct progress *progress, bool quiet);
/* `done` is from 0 to 1; drawn ten times a second at most. The text says what is being done. */
void progress_show(struct progress *progress, double done, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Wipe it away. */
void progress_end(struct progress *progress);

#endif
