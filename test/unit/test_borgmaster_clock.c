/*
 * test_borgmaster_clock.c - the time of a cell when the clocks of its masters are wrong.
 */
#include "cell_clock.h"

#include "testlib.h"

enum { DAY_MS = 86400000 };
static const uint64_t base_ms = UINT64_C(1700000000000);

/* Consecutive readings of the only master's clock: the time that the cell has seen, the wall clock,
 * the monotonic clock; the resulting time. */
static const struct {
    uint64_t cell_ms, wall_ms, mono_ms, time_ms;
} readings[] = {
    {0, 100000, 10, 100000},
    {100000, 100500, 510, 100500},  /* follows the wall clock */
    {100500, 104000, 1010, 104000}, /* the wall clock jumps ahead */
    {104000, 101500, 1510, 104250}, /* and back: half its speed, */
    /* independent of the number of readings, */
    {104250, 101501, 1511, 104250},
    {104250, 101502, 1512, 104251},
    {104251, 105500, 3512, 105500}, /* until it has caught up */
    {110000, 106500, 4512, 110000}, /* another leader's clock was ahead */
    {110000, 107500, 5512, 110500},
    {900000, 108500, 6512, 900000}, /* far ahead: full speed */
    {900000, 109500, 7512, 901000},
};

START_TEST(time_never_goes_back_and_never_stops)
{
    struct cell_clock clock = {0};
    for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
        cell_clock_look(&clock, 1, readings[i].wall_ms, readings[i].mono_ms);
        uint64_t time_ms =
            cell_clock_read(&clock, readings[i].cell_ms, readings[i].wall_ms, readings[i].mono_ms);
        ck_assert_msg(time_ms == readings[i].time_ms, "reading %zu: %" PRIu64, i, time_ms);
    }
}
END_TEST

/* Seconds by which the clocks are ahead, ours first; how far the time may then be ahead, and
 * whether our clock is reported as wrong. */
static const struct clocks {
    int64_t ahead_s[5];
    size_t heard, masters;
    int64_t min_s, max_s;
    bool is_off;
} clock_cases[] = {
    {{0, 0, 0}, 3, 3, 0, 0, false},
    {{3, 0, 1}, 3, 3, 3, 3, false},           /* close enough: our own clock */
    {{400 * 86400, 0, 0}, 3, 3, 0, 0, true},  /* E: a year ahead */
    {{-400 * 86400, 0, 0}, 3, 3, 0, 0, true}, /* behind */
    {{0, 400 * 86400, 0}, 3, 3, 0, 0, false}, /* the clock of another */
    {{400 * 86400, 400 * 86400, 0, 0, 0}, 5, 5, 0, 0, true},
    {{400 * 86400, 0}, 2, 3, 0, 0, true}, /* of two clocks the earlier one */
    {{0, 400 * 86400}, 2, 3, 0, 0, false},
    /* all agree: the machines were suspended */
    {{7200, 7200, 7201}, 3, 3, 7200, 7200, false},
    {{400 * 86400}, 1, 1, 400 * 86400, 400 * 86400, false}, /* there are no others */
};

START_TEST(time_follows_the_median)
{
    const struct clocks *c = &clock_cases[_i];
    struct cell_clock clock = {0};
    uint64_t mono_ms = 5000;
    for (size_t i = 1; i < c->heard; i++)
        cell_clock_heard(&clock, i + 1, base_ms + (uint64_t)(c->ahead_s[i] * 1000), mono_ms);
    uint64_t own_ms = base_ms + (uint64_t)(c->ahead_s[0] * 1000);
    cell_clock_look(&clock, c->masters, own_ms, mono_ms);
    ck_assert(clock.known);
    ck_assert_int_eq(cell_clock_is_off(&clock, own_ms, mono_ms), c->is_off);
    int64_t ahead_ms = (int64_t)(cell_clock_read(&clock, 0, own_ms, mono_ms) - base_ms);
    ck_assert_msg(ahead_ms >= c->min_s * 1000 && ahead_ms <= c->max_s * 1000, "%" PRId64, ahead_ms);
    /* A leader with a wrong clock knows a better leader. */
    if (c->heard > 2)
        ck_assert_uint_ne(clock.right_id, 0);
}
END_TEST

START_TEST(without_a_majority_time_continues_from_the_last_command)
{
    struct cell_clock clock = {0};
    uint64_t wrong_ms = base_ms + UINT64_C(400) * DAY_MS;
    cell_clock_look(&clock, 5, wrong_ms, 1000);
    cell_clock_heard(&clock, 2, base_ms, 1000);
    cell_clock_look(&clock, 5, wrong_ms, 1000);
    ck_assert(!clock.known);
    /* and is then forgotten */
    ck_assert_uint_eq(cell_clock_read(&clock, 0, wrong_ms, 1000), wrong_ms);
    ck_assert_uint_eq(cell_clock_read(&clock, base_ms, wrong_ms, 1000), base_ms);
    ck_assert_uint_eq(cell_clock_read(&clock, base_ms, wrong_ms + 500, 1500), base_ms + 500);
    /* The third makes a majority; the cell had been down for an hour. */
    cell_clock_heard(&clock, 3, base_ms + 3600000, 1500);
    cell_clock_heard(&clock, 2, base_ms + 3600000, 1500);
    cell_clock_look(&clock, 5, wrong_ms + 500, 1500);
    ck_assert_uint_eq(cell_clock_read(&clock, base_ms, wrong_ms + 500, 1500), base_ms + 3600000);
}
END_TEST

START_TEST(a_new_leader_uses_the_clocks_that_the_last_one_reported)
{
    struct cell_clock clock = {0};
    uint64_t wrong_ms = base_ms + UINT64_C(400) * DAY_MS;
    cell_clock_heard_median(&clock, base_ms, 1000);
    ck_assert_uint_eq(cell_clock_median(&clock, 3000), base_ms + 2000);
    ck_assert_uint_eq(cell_clock_read(&clock, base_ms, wrong_ms, 1000), base_ms);
    ck_assert_uint_eq(cell_clock_read(&clock, base_ms, wrong_ms + 2000, 3000), base_ms + 2000);
    ck_assert_int_eq(cell_clock_ahead(&clock, wrong_ms + 2000, 3000), INT64_C(400) * DAY_MS);
}
END_TEST

START_TEST(a_lasting_jump_of_the_only_clock_is_accepted)
{
    struct cell_clock clock = {0};
    uint64_t mono_ms = 1000, cell_ms = 0;
    cell_clock_look(&clock, 1, base_ms, mono_ms);
    cell_ms = cell_clock_read(&clock, cell_ms, base_ms, mono_ms);
    for (; mono_ms < 1000 + CLOCK_HOLD_MS; mono_ms += 1000) {
        uint64_t wall_ms = base_ms + DAY_MS + mono_ms - 1000;
        cell_clock_look(&clock, 1, wall_ms, mono_ms);
        cell_ms = cell_clock_read(&clock, cell_ms, wall_ms, mono_ms);
        ck_assert_uint_eq(cell_ms, base_ms + mono_ms - 1000);
    }
    cell_clock_look(&clock, 1, base_ms + DAY_MS + mono_ms - 1000, mono_ms);
    ck_assert_uint_eq(cell_clock_read(&clock, cell_ms, base_ms + DAY_MS + mono_ms - 1000, mono_ms),
                      base_ms + DAY_MS + mono_ms - 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *t = tcase_create("clock");
    tcase_add_test(t, time_never_goes_back_and_never_stops);
    tcase_add_loop_test(t, time_follows_the_median, 0, (int)ARRAY_SIZE(clock_cases));
    tcase_add_test(t, without_a_majority_time_continues_from_the_last_command);
    tcase_add_test(t, a_new_leader_uses_the_clocks_that_the_last_one_reported);
    tcase_add_test(t, a_lasting_jump_of_the_only_clock_is_accepted);
    suite_add_tcase(suite, t);
    return t_main(suite);
}
