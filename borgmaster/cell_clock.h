/*
 * cell_clock.h - the time that commands are stamped with. Pure.
 *
 * The time never goes back and never stands still, and no single master can falsify it. It follows
 * this master's own clock while that is within CLOCK_OFF_MS of the median of the masters' clocks,
 * otherwise the median. Each master reports its clock to the leader every second and receives the
 * median, so a new leader knows it at once. Without any clock the time goes on at the pace of the
 * monotonic clock.
 *
 * A cell of one master has only one clock. A jump ahead of it is believed after CLOCK_HOLD_MS.
 *
 * When the cell is ahead of the median by seconds, its time goes at half the pace until the two
 * agree. When it is further ahead, its time keeps the full pace: durations are then right, dates
 * are wrong, and `cell status` reports the difference.
 */
#ifndef BORGMASTER_CELL_CLOCK_H
#define BORGMASTER_CELL_CLOCK_H

#include "base.h"
#include "limits.h"

enum {
    CLOCK_OFF_MS = 5000,   /* a clock this far from the median is wrong */
    CLOCK_FRESH_MS = 5000, /* an older sample of a clock does not count */
    CLOCK_HOLD_MS = 10000, /* a jump of the only clock counts after this time */
};

/* A clock is stored as its lead over our monotonic clock, in ms. */
struct clock_sample {
    uint64_t id;
    int64_t offset_ms;
    uint64_t heard_ms; /* in monotonic time */
};

/* Starts all zero. */
struct cell_clock {
    uint64_t time_us, mono_ms; /* the last result of cell_clock_read(), and when */
    struct clock_sample samples[MASTER_ROWS_MAX];
    size_t count;
    bool known;         /* whether median_ms is set */
    int64_t median_ms;  /* lead over our monotonic clock */
    uint64_t jumped_ms; /* when the only clock was first seen to have jumped; 0: it has not */
    uint64_t right_id;  /* another master whose clock is right; 0: none is known */
};

/* Record that the clock of master `id` shows wall_ms. */
void cell_clock_heard(struct cell_clock *clock, uint64_t id, uint64_t wall_ms, uint64_t mono_ms);
/* Record the median that the leader reported. */
void cell_clock_heard_median(struct cell_clock *clock, uint64_t median_ms, uint64_t mono_ms);
/* On the leader, each second: compute the median of our own clock and the fresh samples. A cell of
 * `masters` members has one only if a majority of the clocks is known. */
void cell_clock_look(struct cell_clock *clock, size_t masters, uint64_t wall_ms, uint64_t mono_ms);
/* Returns the median to report to the other masters; 0: unknown. */
uint64_t cell_clock_median(const struct cell_clock *clock, uint64_t mono_ms);
/* Returns how far our own clock is ahead of the median (negative: behind); 0: the median is
 * unknown. */
int64_t cell_clock_ahead(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms);
bool cell_clock_is_off(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms);

/* Returns the time of the cell at wall_ms and mono_ms when the newest command has the time
 * `cell_ms`. Without commands and without a median it returns our own clock: check cell_clock.known
 * before. */
uint64_t cell_clock_read(struct cell_clock *clock, uint64_t cell_ms, uint64_t wall_ms,
                         uint64_t mono_ms);

#endif
