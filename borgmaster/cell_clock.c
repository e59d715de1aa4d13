/*
 * cell_clock.c - computes the time of the cell from the masters' clocks.
 */
#include "cell_clock.h"

#include <stdlib.h>

static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
}

static int64_t offset(uint64_t wall_ms, uint64_t mono_ms)
{
    return (int64_t)(wall_ms - mono_ms);
}

void cell_clock_heard(struct cell_clock *clock, uint64_t id, uint64_t wall_ms, uint64_t mono_ms)
{
    size_t at = 0, oldest = 0;
    for (; at < clock->count && clock->samples[at].id != id; at++)
        if (clock->samples[at].heard_ms < clock->samples[oldest].heard_ms)
            oldest = at;
    if (at == clock->count)
        at = clock->count < ARRAY_SIZE(clock->samples) ? clock->count++ : oldest;
    clock->samples[at] = (struct clock_sample){id, offset(wall_ms, mono_ms), mono_ms};
}

void cell_clock_heard_median(struct cell_clock *clock, uint64_t median_ms, uint64_t mono_ms)
{
    clock->known = true;
    clock->median_ms = offset(median_ms, mono_ms);
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Returns true while a jump of the cell's only clock has not lasted CLOCK_HOLD_MS. */
static bool jump_waits(struct cell_clock *clock, int64_t own_ms, uint64_t mono_ms)
{
    if (!clock->known || own_ms <= clock->median_ms + CLOCK_OFF_MS) {
        clock->jumped_ms = 0;
        return false;
    }
    if (clock->jumped_ms == 0)
        clock->jumped_ms = MAX(mono_ms, (uint64_t)1);
    return mono_ms - clock->jumped_ms < CLOCK_HOLD_MS;
}

void cell_clock_look(struct cell_clock *clock, size_t masters, uint64_t wall_ms, uint64_t mono_ms)
{
    int64_t offsets[MASTER_ROWS_MAX + 1] = {offset(wall_ms, mono_ms)};
    size_t count = 1;
    for (size_t i = 0; i < clock->count; i++)
        if (mono_ms - clock->samples[i].heard_ms < CLOCK_FRESH_MS)
            offsets[count++] = clock->samples[i].offset_ms;
    if (count < masters / 2 + 1 || (count == 1 && jump_waits(clock, offsets[0], mono_ms)))
        return;
    qsort(offsets, count, sizeof *offsets, compare);
    /* With an even number the lower one: time can be advanced later, but not set back. */
    clock->median_ms = offsets[(count - 1) / 2];
    clock->known = true;
    clock->jumped_ms = 0;
    clock->right_id = 0;
    for (size_t i = 0; i < clock->count && count > 2; i++)
        if (mono_ms - clock->samples[i].heard_ms < CLOCK_FRESH_MS &&
            distance(clock->samples[i].offset_ms, clock->median_ms) <= CLOCK_OFF_MS)
            clock->right_id = clock->samples[i].id;
}

uint64_t cell_clock_median(const struct cell_clock *clock, uint64_t mono_ms)
{
    return clock->known ? mono_ms + (uint64_t)clock->median_ms : 0;
}

int64_t cell_clock_ahead(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms)
{
    return clock->known ? offset(wall_ms, mono_ms) - clock->median_ms : 0;
}

bool cell_clock_is_off(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms)
{
    return distance(cell_clock_ahead(clock, wall_ms, mono_ms), 0) > CLOCK_OFF_MS;
}

/* Returns the time that the clocks show; 0: no clock can be trusted. */
static uint64_t aim(const struct cell_clock *clock, uint64_t wall_ms, uint64_t mono_ms)
{
    if (!clock->known)
        return 0;
    return cell_clock_is_off(clock, wall_ms, mono_ms) ? cell_clock_median(clock, mono_ms) : wall_ms;
}

uint64_t cell_clock_read(struct cell_clock *clock, uint64_t cell_ms, uint64_t wall_ms,
                         uint64_t mono_ms)
{
    ASSERT(mono_ms >= clock->mono_ms);
    if (!clock->known && cell_ms == 0) /* do not remember it: this time is a guess */
        return wall_ms;
    uint64_t elapsed_us = (mono_ms - clock->mono_ms) * 1000;
    uint64_t aim_us = aim(clock, wall_ms, mono_ms) * 1000;
    uint64_t full_us = clock->time_us + elapsed_us;
    bool is_ahead = clock->time_us != 0 && full_us > aim_us;
    bool is_near = is_ahead && full_us - aim_us <= CLOCK_OFF_MS * UINT64_C(2000);
    uint64_t time_us = !is_ahead ? aim_us : is_near ? clock->time_us + elapsed_us / 2 : full_us;
    clock->time_us = MAX(MAX(time_us, is_near ? aim_us : 0), cell_ms * 1000);
    clock->mono_ms = mono_ms;
    return clock->time_us / 1000;
}
