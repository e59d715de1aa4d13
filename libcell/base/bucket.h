/*
 * bucket.h - a leaky bucket that bounds the thread time of one owner: a burst, then a share.
 *
 * Used time fills the bucket; elapsed time empties it by `percent` of itself. The owner must wait
 * while the level exceeds `burst_us`. The level is capped so that this takes at most one second.
 */
#ifndef CELL_BUCKET_H
#define CELL_BUCKET_H

#include "base.h"

struct bucket_limits {
    uint32_t percent; /* of the elapsed time */
    uint64_t burst_us;
};

/* A bucket of zeros is empty. */
struct bucket {
    uint64_t level_us;
    uint64_t at_us; /* the time at which level_us was computed */
};

/* Add `used_us`, used until `now_us`. Any monotonic clock will do. */
void bucket_add(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now_us,
                uint64_t used_us);
/* Return the level at `now_us`. */
uint64_t bucket_level(const struct bucket *bucket, const struct bucket_limits *limits,
                      uint64_t now_us);
bool bucket_is_over(const struct bucket *bucket, const struct bucket_limits *limits,
                    uint64_t now_us);

#endif
