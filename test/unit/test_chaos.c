/*
 * test_chaos.c - plans of faults, and checks of histories of many names in two orders.
 */
#include "cell_fixture.h"
#include "chaos/history.h"
#include "chaos/plan.h"

enum {
    FAULTS = 240,
    SPAN_MS = 480000,
    EVERYTHING = PLAN_NET | PLAN_DISK | PLAN_CLOCK | PLAN_MACHINE
};

START_TEST(equal_seeds_give_equal_plans)
{
    struct fault a[FAULTS], b[FAULTS], c[FAULTS];
    plan_make(7, EVERYTHING, SPAN_MS, a, FAULTS);
    plan_make(7, EVERYTHING, SPAN_MS, b, FAULTS);
    plan_make(8, EVERYTHING, SPAN_MS, c, FAULTS);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_mem_ne(a, c, sizeof a);
}
END_TEST

START_TEST(a_plan_has_all_kinds_of_faults_within_its_time)
{
    struct fault plan[FAULTS];
    unsigned counts[FAULT_KIND_COUNT] = {0};
    plan_make((uint64_t)_i, EVERYTHING, SPAN_MS, plan, FAULTS);
    for (size_t i = 0; i < FAULTS; i++) {
        counts[plan[i].kind]++;
        ck_assert_uint_le(plan[i].at_ms, SPAN_MS);
        ck_assert_uint_ge(plan[i].for_ms, 200);
        ck_assert_uint_le(plan[i].for_ms, 15000);
        if (i > 0)
            ck_assert_uint_ge(plan[i].at_ms, plan[i - 1].at_ms);
    }
    for (enum fault_kind kind = 0; kind < FAULT_KIND_COUNT; kind++)
        ck_assert_msg(counts[kind] > 0, "never: %s", fault_text(kind));
}
END_TEST

START_TEST(a_plan_uses_only_the_available_means)
{
    struct fault plan[FAULTS];
    plan_make(3, 0, SPAN_MS, plan, FAULTS);
    for (size_t i = 0; i < FAULTS; i++)
        ck_assert_msg(plan[i].kind <= FAULT_STOP_MASTER || plan[i].kind == FAULT_TRANSFER ||
                          plan[i].kind == FAULT_KILL_BORGLET || plan[i].kind == FAULT_STOP_BORGLET,
                      "%s", fault_text(plan[i].kind));
}
END_TEST

#define WRITE(what, from, to, number, at) \
    { \
        .key = 1, .op = {.start = (from), .end = (to), .kind = LINEAR_##what, .value = (number)}, \
        .index = (at), .is_fresh = true \
    }
#define READ(from, to, number, at, fresh) \
    { \
        .key = 1, .op = {.start = (from), .end = (to), .kind = LINEAR_READ, .value = (number)}, \
        .index = (at), .is_fresh = (fresh) \
    }

static const struct {
    const char *what;
    struct history_record records[4];
    uint64_t wrong;
} stories[] = {
    {"all is well",
     {WRITE(CREATE, 1, 2, 5, 10), WRITE(UPDATE, 3, 4, 6, 12), READ(5, 6, 6, 12, true)},
     0},
    {"a replica that is behind may say so",
     {WRITE(CREATE, 1, 2, 5, 10), WRITE(UPDATE, 3, 4, 6, 12), READ(5, 6, 5, 11, false)},
     0},
    {"but not when the read is to be fresh",
     {WRITE(CREATE, 1, 2, 5, 10), WRITE(UPDATE, 3, 4, 6, 12), READ(5, 6, 5, 11, true)},
     1},
    {"a replica that has applied the index must have the value",
     {WRITE(CREATE, 1, 2, 5, 10), WRITE(UPDATE, 3, 4, 6, 12), READ(5, 6, 5, 12, false)},
     1},
    {"nor may it have what comes later only for it",
     {WRITE(CREATE, 1, 2, 5, 10), READ(3, 4, 0, 11, false), READ(5, 6, 5, 11, false)},
     1},
};

START_TEST(a_history_is_checked_in_two_orders)
{
    struct history history = {0};
    FILE *nowhere = fopen("/dev/null", "we");
    ck_assert_ptr_nonnull(nowhere);
    for (size_t i = 0; i < ARRAY_SIZE(stories[0].records) && stories[_i].records[i].key != 0; i++)
        history_add(&history, &stories[_i].records[i]);
    struct history_verdict verdict = history_check(&history, nowhere);
    ck_assert_msg(verdict.wrong == stories[_i].wrong, "%s: %d", stories[_i].what,
                  (int)verdict.wrong);
    ck_assert_uint_eq(verdict.keys, 1);
    ck_assert_uint_eq(verdict.stale + verdict.too_hard, 0);
    fclose(nowhere);
    free(history.records);
}
END_TEST

START_TEST(a_fresh_answer_is_not_older_than_known_indexes)
{
    struct history_record write = WRITE(CREATE, 5, 6, 5, 10), read = READ(7, 8, 0, 9, true);
    struct history history = {0};
    FILE *nowhere = fopen("/dev/null", "we");
    ck_assert_ptr_nonnull(nowhere);
    read.key = 2;
    read.index_min = 10;
    history_add(&history, &write);
    history_add(&history, &read);
    struct history_verdict verdict = history_check(&history, nowhere);
    ck_assert_uint_eq(verdict.stale, 1);
    ck_assert_uint_eq(verdict.wrong, 0);
    fclose(nowhere);
    free(history.records);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chaos");
    TCase *tcase = tcase_create("chaos");
    tcase_add_test(tcase, equal_seeds_give_equal_plans);
    tcase_add_loop_test(tcase, a_plan_has_all_kinds_of_faults_within_its_time, 1, 20);
    tcase_add_test(tcase, a_plan_uses_only_the_available_means);
    tcase_add_loop_test(tcase, a_history_is_checked_in_two_orders, 0, (int)ARRAY_SIZE(stories));
    tcase_add_test(tcase, a_fresh_answer_is_not_older_than_known_indexes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
