/*
 * bucket.c - filling and leaking.
 */
#include "bucket.h"

enum {
    SECOND_US = 1000000,
    STEP_US = 100 /* it leaks in whole steps; the remainder counts at the next call */
};

static uint64_t steps_passed(const struct bucket *bucket, uint64_t now_us)
{
    return now_us > bucket->at_us ? (now_us - bucket->at_us) / STEP_US : 0;
}

uint64_t bucket_level(const struct bucket *bucket, const struct bucket_limits *limits,
                      uint64_t now_us)
{
    uint64_t leaked_us = steps_passed(bucket, now_us) * (limits->percent * STEP_US / 100);
    return bucket->level_us > leaked_us ? bucket->level_us - leaked_us : 0;
}

bool bucket_is_over(const struct bucket *bucket, const struct bucket_limits *limits,
                    uint64_t now_us)
{
    return bucket_level(bucket, limits, now_us) > limits->burst_us;
}

void bucket_add(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now_us,
                uint64_t used_us)
{
    uint64_t most_us = limits->burst_us + (uint64_t)limits->percent * SECOND_US / 100;
    bucket->level_us = MIN(bucket_level(bucket, limits, now_us) + used_us, most_us);
    bucket->at_us += steps_passed(bucket, now_us) * STEP_US;
}
