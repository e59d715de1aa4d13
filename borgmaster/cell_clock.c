/*
 * cell_clock.c - one clock out of two, and of what the cell has seen.
 */
#include "cell_clock.h"

uint64_t cell_clock_read(struct cell_clock *clock, uint64_t cell_ms, uint64_t wall_ms,
                         uint64_t mono_ms)
{
    ASSERT(mono_ms >= clock->mono_ms);
    uint64_t now_ms = clock->time_ms + (mono_ms - clock->mono_ms) / 2;
    uint64_t least_ms = MAX(wall_ms, cell_ms);
    if (least_ms <= now_ms)
        return now_ms;
    *clock = (struct cell_clock){least_ms, mono_ms};
    return least_ms;
}
