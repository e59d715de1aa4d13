/*
 * bucket.h - time that somebody may use of a thread: a burst of it, then a share. A leaky bucket.
 *
 * What is used fills the bucket, time empties it by `percent` of what passes. While there is more
 * than `burst_us` in it, its owner waits, a second at the most: what goes over that is forgotten.
 */
#ifndef CELL_BUCKET_H
#define CELL_BUCKET_H

#include "base.h"

struct bucket_limits {
    uint32_t percent; /* of the time that passes */
    uint64_t burst_us;
};

/* All zeros: empty. */
struct bucket {
    uint64_t level_us;
    uint64_t at_us; /* when that was so */
};

/* `used_us` were used until `now_us`, of any clock that does not go back. */
void bucket_add(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now_us,
                uint64_t used_us);
/* How much is in it. */
uint64_t bucket_level(const struct bucket *bucket, const struct bucket_limits *limits,
                      uint64_t now_us);
bool bucket_is_over(const struct bucket *bucket, const struct bucket_limits *limits,
                    uint64_t now_us);

#endif
