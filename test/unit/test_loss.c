/*
 * test_loss.c - how fast silent machines are declared down, and when the cell holds still.
 */
#include "loss.h"

#include "cell_fixture.h"

enum { SETTLE_MS = 9000, START_MS = 1000000 };

/* So many machines are silent from the start: what is asked for after each second? */
static const struct {
    const char *what;
    uint32_t machines, silent;
    bool holds;
    uint32_t at_once, after_10_s; /* declared down in all */
} cases[] = {
    {"nothing", 3, 0, false, 0, 0},
    {"one of a small cell", 3, 1, false, 1, 1},
    {"two of three", 3, 2, false, 2, 2},
    {"all of a small cell", 4, 4, false, 4, 4},
    {"all of five", 5, 5, true, 0, 0},
    {"a quarter is not more than a quarter", 20, 5, false, 5, 5},
    {"more than a quarter", 19, 5, true, 0, 0},
    {"the burst, then one a second", 100, 25, false, 10, 20},
    {"all of a burst", 1000, 10, false, 10, 10},
    {"a large cell has more of both", 10000, 2500, false, 100, 198},
    {"and holds still all the same", 10000, 2501, true, 0, 0},
    {"the largest", 262144, 60000, false, 2621, 5203},
};

START_TEST(a_few_go_at_once_and_many_wait)
{
    struct loss loss = {0};
    uint32_t down = 0, at_once = 0;
    enum hold hold = HOLD_OFF;
    for (uint64_t ms = 0; ms <= 10000; ms += 100) {
        uint32_t up = cases[_i].machines - down, silent = cases[_i].silent - down;
        struct loss_seen seen = {up, silent, silent};
        hold = loss_hold(&loss, hold, &seen, START_MS + ms, SETTLE_MS);
        uint32_t now = loss_allow(&loss, hold, &seen, START_MS + ms);
        loss_spend(&loss, now);
        down += now;
        at_once = ms == 0 ? down : at_once;
    }
    ck_assert_msg((hold == HOLD_ON) == cases[_i].holds, "%s", cases[_i].what);
    ck_assert_msg(at_once == cases[_i].at_once, "%s: %u at once", cases[_i].what, at_once);
    ck_assert_msg(down >= cases[_i].after_10_s && down <= cases[_i].after_10_s + 1, "%s: %u",
                  cases[_i].what, down);
}
END_TEST

/* State, machines that are up, quiet, silent, milliseconds since the leadership began; and then. */
static const struct {
    enum hold now;
    uint32_t machines, quiet, silent;
    uint64_t ms;
    enum hold then;
} moves[] = {
    {HOLD_OFF, 10, 5, 0, 20000, HOLD_OFF}, /* a hiccup: nobody is silent yet */
    {HOLD_OFF, 10, 5, 1, 20000, HOLD_ON},  /* four more are about to be */
    {HOLD_OFF, 10, 4, 4, 20000, HOLD_OFF},
    {HOLD_ON, 10, 5, 5, 20000, HOLD_ON},
    {HOLD_ON, 10, 2, 2, 20000, HOLD_ON}, /* the stragglers have not had their time */
    {HOLD_ON, 10, 0, 0, 100, HOLD_ON},   /* a new leader has not listened long enough to know */
    {HOLD_ON, 10, 0, 0, 9001, HOLD_OFF},
    {HOLD_RELEASED, 10, 9, 9, 20000, HOLD_RELEASED},
    {HOLD_RELEASED, 10, 0, 0, 100, HOLD_RELEASED},
    {HOLD_RELEASED, 10, 0, 0, 20000, HOLD_OFF},
};

START_TEST(the_cell_holds_still_and_goes_on)
{
    struct loss loss = {.started_ms = START_MS};
    struct loss_seen seen = {moves[_i].machines, moves[_i].quiet, moves[_i].silent};
    ck_assert_int_eq(loss_hold(&loss, moves[_i].now, &seen, START_MS + moves[_i].ms, SETTLE_MS),
                     moves[_i].then);
}
END_TEST

/* Eight of ten fall silent; six come back after a minute, the two others when they like. */
START_TEST(stragglers_have_their_time)
{
    struct loss loss = {.started_ms = START_MS};
    const struct loss_seen gone = {10, 8, 8}, some = {10, 2, 2}, all = {10, 0, 0};
    uint64_t ms = START_MS + 60000;
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &gone, ms, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &some, ms + 100, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &some, ms + 100 + SETTLE_MS, SETTLE_MS), HOLD_ON);
    struct loss late = loss, again = loss;
    ck_assert_int_eq(loss_hold(&late, HOLD_ON, &some, ms + 101 + SETTLE_MS, SETTLE_MS), HOLD_OFF);
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &all, ms + 5000, SETTLE_MS), HOLD_OFF);
    /* A second loss in between: their time begins anew. */
    ck_assert_int_eq(loss_hold(&again, HOLD_ON, &gone, ms + 5000, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&again, HOLD_ON, &some, ms + 6000, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&again, HOLD_ON, &some, ms + 6000 + SETTLE_MS, SETTLE_MS), HOLD_ON);
}
END_TEST

START_TEST(nobody_holds_still_for_ever)
{
    struct loss loss = {0};
    struct loss_seen seen = {100, 90, 90};
    ck_assert_int_eq(loss_hold(&loss, HOLD_OFF, &seen, START_MS, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &seen, START_MS + 100, SETTLE_MS), HOLD_ON);
    ck_assert_uint_eq(loss_allow(&loss, HOLD_ON, &seen, START_MS + 100), 0);
    uint64_t end_ms = START_MS + 100 + LOSS_HOLD_MS;
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &seen, end_ms, SETTLE_MS), HOLD_ON);
    ck_assert_int_eq(loss_hold(&loss, HOLD_ON, &seen, end_ms + 1, SETTLE_MS), HOLD_RELEASED);
    ck_assert_int_eq(loss_hold(&loss, HOLD_RELEASED, &seen, end_ms + 2, SETTLE_MS), HOLD_RELEASED);
    ck_assert_uint_eq(loss_allow(&loss, HOLD_RELEASED, &seen, end_ms + 2), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loss");
    TCase *tcase = tcase_create("loss");
    tcase_add_loop_test(tcase, a_few_go_at_once_and_many_wait, 0, (int)ARRAY_SIZE(cases));
    tcase_add_loop_test(tcase, the_cell_holds_still_and_goes_on, 0, (int)ARRAY_SIZE(moves));
    tcase_add_test(tcase, stragglers_have_their_time);
    tcase_add_test(tcase, nobody_holds_still_for_ever);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
