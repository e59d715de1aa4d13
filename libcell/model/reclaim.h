/*
 * reclaim.h - how much of its limit is kept for a task, from what it uses. Borg paper, section 5.5.
 *
 * What is kept (the reservation) starts as the whole limit and stays that for RECLAIM_AFTER_MS
 * after the start. Then it falls towards usage and a margin, no faster than the whole limit in
 * RECLAIM_FALL_MS, and rises at once when usage does. Less is kept only of cpu and ram.
 *
 * Production is placed as if nothing were reclaimed from it, other work where reservations leave
 * room. So a machine can turn out too small; then other work goes, and production has its limits.
 */
#ifndef CELL_RECLAIM_H
#define CELL_RECLAIM_H

#include "resources.h"

enum {
    RECLAIM_AFTER_MS = 300000,
    RECLAIM_FALL_MS = 1800000,
    RECLAIM_STEP_PERCENT = 5 /* of the limit: less of a change is not worth a command */
};

/* Of one resource of a live task; all 0 when nothing is known. */
struct reserve {
    int64_t used;               /* as last taken note of */
    uint64_t since_ms;          /* cell time of the last step of a fall, or of its beginning */
    uint32_t reclaimed_percent; /* of the limit; the amount is rounded down */
};

/* `used` is at least 0. */
struct reserve reserve_next(const struct reserve *was, int64_t limit, int64_t used,
                            uint64_t started_ms, uint64_t now_ms);
/* Is it worth a command to know `next`? */
bool reserve_is_news(const struct reserve *was, const struct reserve *next, int64_t limit);
static inline int64_t reserve_reclaimed(const struct reserve *reserve, int64_t limit)
{
    return (int64_t)((__int128)limit * reserve->reclaimed_percent / 100);
}

#endif
