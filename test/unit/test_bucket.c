/*
 * test_bucket.c - a burst, then a share of the time, and no wait longer than a second.
 */
#include "bucket.h"

#include "testlib.h"

static const struct bucket_limits quarter = {.percent = 25, .burst_us = 50000};

START_TEST(a_burst_is_free_and_then_a_share_of_the_time)
{
    static const struct {
        uint64_t used_us, passed_us; /* repeated */
        uint64_t share_us;           /* usage per second, with an error of at most 10 ms */
    } cases[] = {
        {100, 100, 250000}, {1, 1, 250000},       {7, 1, 250000},   {4000, 10000, 250000},
        {30000, 0, 250000}, {1000, 10000, 90909}, {10, 90, 100000}, /* less than its share */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bucket bucket = {0};
        uint64_t now_us = 77, used_us = 0, burst_us = 0;
        for (bool burst = true; now_us < 3000000;) {
            if (bucket_is_over(&bucket, &quarter, now_us)) {
                burst = false;
                now_us += 100;
                continue;
            }
            now_us += cases[i].used_us;
            bucket_add(&bucket, &quarter, now_us, cases[i].used_us);
            now_us += cases[i].passed_us;
            *(burst ? &burst_us : &used_us) += cases[i].used_us;
        }
        ck_assert_msg(burst_us >= quarter.burst_us, "case %zu: %" PRIu64, i, burst_us);
        uint64_t share_us = (used_us + burst_us) / 3;
        ck_assert_msg(share_us + 10000 > cases[i].share_us &&
                          share_us < cases[i].share_us + quarter.burst_us / 2,
                      "case %zu: %" PRIu64 " of a second", i, share_us);
    }
}
END_TEST

START_TEST(nobody_waits_longer_than_a_second)
{
    static const uint64_t used[] = {50001, 300000, 60000000, UINT64_MAX / 2};
    for (size_t i = 0; i < ARRAY_SIZE(used); i++) {
        struct bucket bucket = {0};
        bucket_add(&bucket, &quarter, 1000, used[i]);
        ck_assert(bucket_is_over(&bucket, &quarter, 1000));
        ck_assert(!bucket_is_over(&bucket, &quarter, 1000 + 1000100));
    }
}
END_TEST

START_TEST(a_bucket_is_empty_after_enough_time)
{
    static const uint64_t times[] = {1000000, UINT64_MAX / 200, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        struct bucket bucket = {0};
        bucket_add(&bucket, &quarter, 0, 60000);
        ck_assert(bucket_is_over(&bucket, &quarter, 0));
        ck_assert_uint_eq(bucket_level(&bucket, &quarter, times[i]), 0);
        bucket_add(&bucket, &quarter, times[i], 40000);
        ck_assert_uint_eq(bucket_level(&bucket, &quarter, times[i]), 40000);
        /* A clock that stands still, or is read a moment late. */
        ck_assert_uint_eq(bucket_level(&bucket, &quarter, times[i] - 1), 40000);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bucket");
    TCase *tc = tcase_create("bucket");
    tcase_add_test(tc, a_burst_is_free_and_then_a_share_of_the_time);
    tcase_add_test(tc, nobody_waits_longer_than_a_second);
    tcase_add_test(tc, a_bucket_is_empty_after_enough_time);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
