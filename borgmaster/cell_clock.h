/*
 * cell_clock.h - the time that commands are stamped with. Pure.
 *
 * It never goes back and never stands still, and no single master can spoil it. It follows this
 * master's own clock as long as that is near the median of the masters' clocks, else the median;
 * each master tells the leader its clock every second and is told the median, so a new leader knows
 * it at once. Without any of them the cell's time goes on at the pace of the monotonic clock.
 *
 * A cell of one master has only its own clock: a jump ahead is believed when it has lasted.
 *
 * When the cell is ahead all the same it goes at half its pace until it is right again, if that
 * is seconds; if it is more, at its full pace: durations are right, dates are not, and `cell
 * status` says so.
 */
#ifndef BORGMASTER_CELL_CLOCK_H
#define BORGMASTER_CELL_CLOCK_H

#include "base.h"
#include "limits.h"

enum {
    CLOCK_OFF_MS = 5000,   /* so far from the median a clock is wrong */
    CLOCK_FRESH_MS = 5000, /* a clock that was not heard of for so long does not count */
    CLOCK_HOLD_MS = 10000, /* so long a jump of a single master's clock must last */
};

/* Clocks are held as what they are ahead of our monotonic clock, in ms. */
struct clock_sample {
    uint64_t id;
    int64_t offset_ms;
    uint64_t heard_ms; /* monotonic */
};

/* All zero at first. */
struct cell_clock {
    uint64_t time_us, mono_ms; /* what was read last, and when */
    struct clock_sample samples[MASTER_ROWS_MAX];
    size_t count;
    bool known;        /* a median is */
    int64_t median_ms; /* ahead of our monotonic clock */
    uint64_t
        jumped_ms; /* when the only clock there is was first seen to have jumped; 0: it has not */
    uint64_t right_id; /* another master whose clock is right; 0: none is known */
};

/* Master `id` says what its clock shows. */
void cell_clock_heard(struct cell_clock *clock, uint64_t id, uint64_t wall_ms, uint64_t mono_ms);
/* The leader says what the median is. */
void cell_clock_told(struct cell_clock *clock, uint64_t median_ms, uint64_t mono_ms);
/* The leader, each second: is there a new median of our own clock and those heard of, in a cell of
 * `masters`? Only a majority of them has one. */
void cell_clock_look(struct cell_clock *clock, size_t masters, uint64_t wall_ms, uint64_t mono_ms);
/* What to tell the others; 0: not known. */
uint64_t cell_clock_median(const struct cell_clock *clock, uint64_t mono_ms);
/* How far our own clock is ahead of the median (negative: behind); 0 while that is not known. */
int64_t cell_clock_ahead(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms);
bool cell_clock_is_off(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms);

/* The time at wall_ms and mono_ms in a cell that has seen commands up to `cell_ms`. A cell that has
 * seen none takes our own clock for right when no median is known: ask cell_clock.known before. */
uint64_t cell_clock_read(struct cell_clock *clock, uint64_t cell_ms, uint64_t wall_ms,
                         uint64_t mono_ms);

#endif
