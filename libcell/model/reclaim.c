/*
 * reclaim.c - the estimate of a reservation.
 */
#include "reclaim.h"

/* On top of usage: a quarter of it, and this much of the limit. */
enum { MARGIN_PERCENT = 5 };

/* What may be reclaimed in the long run from who uses so much. */
static uint32_t target_percent(int64_t limit, int64_t used)
{
    __int128 keep = ((__int128)used * 125 + limit - 1) / MAX(limit, INT64_C(1)) + MARGIN_PERCENT;
    return keep >= 100 ? 0 : 100 - (uint32_t)keep;
}

struct reserve reserve_next(const struct reserve *was, int64_t limit, int64_t used,
                            uint64_t started_ms, uint64_t now_ms)
{
    struct reserve next = {used, was->since_ms, 0};
    uint64_t begin_ms = started_ms + RECLAIM_AFTER_MS;
    ASSERT(used >= 0);
    if (started_ms == 0 || now_ms < begin_ms)
        return next;
    next.since_ms = MAX(next.since_ms, begin_ms);
    uint32_t target = target_percent(limit, used);
    bool was_falling = target_percent(limit, was->used) > was->reclaimed_percent;
    if (target <= was->reclaimed_percent || !was_falling) {
        next.reclaimed_percent = MIN(target, was->reclaimed_percent);
        next.since_ms = now_ms;
        return next;
    }
    uint64_t fall = now_ms <= next.since_ms ? 0 : (now_ms - next.since_ms) * 100 / RECLAIM_FALL_MS;
    next.reclaimed_percent = (uint32_t)MIN(was->reclaimed_percent + fall, (uint64_t)target);
    next.since_ms += fall * RECLAIM_FALL_MS / 100;
    return next;
}

bool reserve_is_news(const struct reserve *was, const struct reserve *next, int64_t limit)
{
    int64_t change = next->used > was->used ? next->used - was->used : was->used - next->used;
    return next->reclaimed_percent < was->reclaimed_percent ||
           next->reclaimed_percent >= was->reclaimed_percent + RECLAIM_STEP_PERCENT ||
           (__int128)change * 100 >= (__int128)limit * RECLAIM_STEP_PERCENT;
}
