/*
 * cell_clock.h - the time that commands are stamped with. Pure.
 *
 * It is the wall clock's, but never goes back and never stands still: the wall clock of a leader
 * may have been ahead once, or be set back, and back-offs would wait until the others have reached
 * that time. While it is ahead of the wall clock it goes at half its pace, until that has caught
 * up.
 */
#ifndef BORGMASTER_CELL_CLOCK_H
#define BORGMASTER_CELL_CLOCK_H

#include "base.h"

/* When it was last equal to the wall clock, or behind the cell; all zero at first. */
struct cell_clock {
    uint64_t time_ms, mono_ms;
};

/* The time at wall_ms and mono_ms in a cell that has seen commands up to `cell_ms`. */
uint64_t cell_clock_read(struct cell_clock *clock, uint64_t cell_ms, uint64_t wall_ms,
                         uint64_t mono_ms);

#endif
