/*
 * test_task.c - the table of a task's life, and the texts that go out.
 */
#include "cell_fixture.h"

START_TEST(only_the_arrows_of_the_table_are_there)
{
    /* rows: from; columns: to. pending, assigned, running, finished, failed, killed, unwanted */
    static const bool table[TASK_STATE_COUNT][TASK_STATE_COUNT] = {
        {0, 1, 1, 1, 0, 1, 1}, {1, 0, 1, 1, 1, 1, 1}, {1, 1, 0, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 1},
        {0, 0, 0, 0, 0, 0, 1}, {1, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0},
    };
    for (enum task_state from = 0; from < TASK_STATE_COUNT; from++)
        for (enum task_state to = 0; to < TASK_STATE_COUNT; to++)
            ck_assert_msg(task_may_move(from, to) == table[from][to], "%s to %s",
                          task_state_text(from), task_state_text(to));
}
END_TEST

START_TEST(a_state_is_pending_live_final_or_unwanted)
{
    for (enum task_state state = 0; state < TASK_STATE_COUNT; state++) {
        struct task task = {.state = state};
        ck_assert_int_eq((state == TASK_PENDING) + (state == TASK_UNWANTED) + task_is_live(&task) +
                             task_is_final(&task),
                         1);
    }
}
END_TEST

START_TEST(a_task_id_is_job_and_index)
{
    task_id id = task_id_of((job_id){7}, CELL_TASKS_PER_JOB_MAX - 1);
    ck_assert_uint_eq(task_job(id).v, 7);
    ck_assert_uint_eq(task_index(id), CELL_TASKS_PER_JOB_MAX - 1);
}
END_TEST

START_TEST(every_state_cause_and_kind_has_its_own_text)
{
    for (enum cause c = 0; c < CAUSE_COUNT; c++)
        for (enum cause d = 0; d < c; d++)
            ck_assert_str_ne(cause_text(c), cause_text(d));
    ck_assert_str_eq(cause_text(CAUSE_NONE), "");
    ck_assert_str_eq(cause_text(CAUSE_OUT_OF_RESOURCES), "out-of-resources");
    ck_assert_str_eq(cause_text(CAUSE_KILLED), "killed");
    ck_assert_str_eq(task_state_text(TASK_ASSIGNED), "assigned");
    ck_assert_str_eq(cmd_kind_text(CMD_SCHEDULE), "schedule");
    ck_assert_str_eq(cmd_kind_text((enum cmd_kind)99), "unknown");
    ck_assert_str_eq(event_kind_text(EVENT_EVICTED), "evicted");
    ck_assert_str_eq(event_kind_text((enum event_kind)99), "unknown");
    ck_assert_str_eq(machine_state_text(MACHINE_DOWN), "down");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task");
    TCase *tcase = tcase_create("task");
    tcase_add_test(tcase, only_the_arrows_of_the_table_are_there);
    tcase_add_test(tcase, a_state_is_pending_live_final_or_unwanted);
    tcase_add_test(tcase, a_task_id_is_job_and_index);
    tcase_add_test(tcase, every_state_cause_and_kind_has_its_own_text);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
