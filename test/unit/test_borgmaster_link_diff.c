/*
 * test_borgmaster_link_diff.c - the messages to a borglet and to the cell, row by row of the table.
 */
#include "link_diff.h"
#include "testlib.h"

#include <time.h>

enum { NOW_MS = 50000, RESEND_MS = 1000 };

/* A cell with one machine and a job of one task that is assigned to it. */
struct scene {
    struct cell *cell;
    struct changes changes;
    struct link_tasks tasks;
    struct link_todo todo;
    struct attempt_ref ref;
};

static struct answer scene_apply(struct scene *s, const struct cmd *cmd)
{
    struct answer answer = {0};
    cell_apply(s->cell, cmd, &s->changes, &answer);
    ck_assert_msg(answer.code == ERR_OK, "%s", answer.msg);
    return answer;
}

static struct scene scene_with(bool alloc_set)
{
    struct scene s = {.cell = cell_new()};
    struct cmd machine = {.kind = CMD_MACHINE_REGISTER,
                          .time_ms = 1,
                          .machine_register = {.name = "m1", .addr = "h:1"}};
    machine.machine_register.capacity = (struct resources){{4000, 1 << 30, 1 << 30, 100}};
    scene_apply(&s, &machine);
    struct cmd submit = {.kind = CMD_JOB_SUBMIT, .time_ms = 2};
    spec_init(&submit.job_submit);
    str_copy(submit.job_submit.name, sizeof submit.job_submit.name, "web");
    str_copy(submit.job_submit.user, sizeof submit.job_submit.user, "ada");
    submit.job_submit.limit = (struct resources){{1000, 1 << 20, 0, 0}};
    submit.job_submit.grace_ms = 1234;
    submit.job_submit.is_alloc_set = alloc_set;
    if (!alloc_set)
        words_add(&submit.job_submit.argv, "true");
    struct answer answer = scene_apply(&s, &submit);
    cmd_release(&submit);
    s.ref = (struct attempt_ref){task_id_of(answer.job, 0), 1};
    struct placement placement = {.task = {s.ref.task, 0}, .machine = {1}};
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .time_ms = 3,
                           .schedule = {.placements = &placement, .placement_count = 1}};
    scene_apply(&s, &schedule);
    return s;
}

static struct scene scene_assigned(void)
{
    return scene_with(/* alloc_set= */ false);
}

static void scene_release(struct scene *s)
{
    cell_free(s->cell);
    changes_release(&s->changes);
    link_tasks_release(&s->tasks);
    link_todo_release(&s->todo);
}

static void scene_report(struct scene *s, struct report report)
{
    report.task = s->ref;
    report.machine.v = 1;
    struct cmd cmd = {
        .kind = CMD_REPORT, .time_ms = 4, .report = {.reports = &report, .report_count = 1}};
    scene_apply(s, &cmd);
}

static void scene_kill(struct scene *s)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL, .time_ms = 5};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "web");
    scene_apply(s, &cmd);
}

/* The borglet reports this about the attempt. */
static void hear(struct scene *s, struct report report)
{
    report.task = s->ref;
    link_tasks_report(&s->tasks, &report);
}

static void diff_at(struct scene *s, bool full, uint64_t now_ms)
{
    link_todo_clear(&s->todo);
    link_diff(s->cell, cell_machine(s->cell, (machine_id){1}), &s->tasks, full, now_ms, RESEND_MS,
              &s->todo);
}

static void diff(struct scene *s)
{
    diff_at(s, false, NOW_MS);
}

static void expect_intent(const struct scene *s, enum intent_action action)
{
    ck_assert_uint_eq(s->todo.intent_count, 1);
    ck_assert_int_eq(s->todo.intents[0].action, action);
    ck_assert(s->todo.intents[0].task.task.v == s->ref.task.v);
    ck_assert_uint_eq(s->todo.intents[0].task.attempt, s->ref.attempt);
}

static const struct report running = {.kind = REPORT_RUNNING, .pid = 77};
static const struct report exited = {.kind = REPORT_EXITED, .exit_code = 3};

START_TEST(an_assigned_unknown_attempt_is_started_once)
{
    struct scene s = scene_assigned();
    diff(&s);
    expect_intent(&s, INTENT_RUN);
    ck_assert_str_eq(s.todo.intents[0].spec.name, "web");
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_RUN);
    ck_assert_uint_eq(s.todo.report_count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(a_new_limit_is_sent_once)
{
    struct scene s = scene_assigned();
    struct cmd update = {.kind = CMD_JOB_UPDATE,
                         .time_ms = 5,
                         .job_update = {.name = "web",
                                        .replicas = JOB_UPDATE_KEEP,
                                        .priority = JOB_UPDATE_KEEP,
                                        .resized = 1U << RES_CPU}};
    diff_at(&s, true, NOW_MS);
    scene_report(&s, running);
    hear(&s, running);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    update.job_update.limit.v[RES_CPU] = 500;
    scene_apply(&s, &update);
    diff(&s);
    expect_intent(&s, INTENT_RUN);
    ck_assert_int_eq(s.todo.intents[0].spec.limit.v[RES_CPU], 500);
    ck_assert_int_eq(s.todo.intents[0].spec.limit.v[RES_RAM], 1 << 20);
    ck_assert_uint_eq(s.todo.intents[0].spec.argv.count, 0);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    struct cmd larger = {.kind = CMD_MACHINE_REGISTER,
                         .machine_register = {.name = "m2", .addr = "h:1"}};
    larger.machine_register.capacity = (struct resources){{5000, 1 << 30, 1 << 30, 100}};
    scene_apply(&s, &larger);
    update.job_update.limit.v[RES_CPU] = 5000; /* more than the machine has */
    scene_apply(&s, &update);
    diff(&s);
    expect_intent(&s, INTENT_STOP);
    ck_assert_int_eq(s.todo.intents[0].cause, CAUSE_UPDATE);
    scene_release(&s);
}
END_TEST

START_TEST(running_is_reported_until_the_cell_knows_it)
{
    struct scene s = scene_assigned();
    diff(&s);
    hear(&s, running);
    diff(&s);
    ck_assert_uint_eq(s.todo.report_count, 1);
    ck_assert(s.todo.unsettled);
    diff_at(&s, false, NOW_MS + RESEND_MS - 1);
    ck_assert_uint_eq(s.todo.report_count, 0);
    diff_at(&s, false, NOW_MS + RESEND_MS);
    ck_assert_uint_eq(s.todo.report_count, 1);
    scene_report(&s, running);
    diff_at(&s, false, NOW_MS + 2 * RESEND_MS);
    ck_assert_uint_eq(s.todo.report_count, 0);
    ck_assert(!s.todo.unsettled);
    scene_release(&s);
}
END_TEST

START_TEST(an_attempt_unknown_to_the_borglet_is_queried_and_then_lost)
{
    static const struct report lost = {.kind = REPORT_LOST};
    struct scene s = scene_assigned();
    scene_report(&s, running);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_SHOW);
    ck_assert_uint_eq(s.todo.report_count, 0); /* it may run: only the borglet knows */
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_SHOW);
    hear(&s, lost);
    diff(&s);
    ck_assert_uint_eq(s.todo.report_count, 1);
    ck_assert_int_eq(s.todo.reports[0].kind, REPORT_LOST);
    scene_report(&s, lost);
    ck_assert_int_eq(cell_task(s.cell, s.ref.task)->state, TASK_PENDING);
    diff(&s);
    expect_intent(&s, INTENT_FORGET);
    scene_release(&s);
}
END_TEST

START_TEST(a_full_set_contains_running_attempts)
{
    struct scene s = scene_assigned();
    scene_report(&s, running);
    hear(&s, running);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_RUN);
    ck_assert_uint_eq(s.todo.intents[0].spec.argv.count, 0);
    ck_assert_uint_eq(s.todo.report_count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(a_stop_is_sent_once_with_grace_and_cause)
{
    struct scene s = scene_assigned();
    scene_report(&s, running);
    hear(&s, running);
    scene_kill(&s);
    diff(&s);
    expect_intent(&s, INTENT_STOP);
    ck_assert_int_eq(s.todo.intents[0].cause, CAUSE_KILLED);
    ck_assert_uint_eq(s.todo.intents[0].grace_ms, 1234);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(an_attempt_that_the_borglet_does_not_know_is_stopped_too)
{
    struct scene s = scene_assigned();
    scene_kill(&s);
    diff(&s);
    expect_intent(&s, INTENT_STOP);
    scene_release(&s);
}
END_TEST

START_TEST(an_end_is_reported_then_forgotten)
{
    struct scene s = scene_assigned();
    diff(&s);
    hear(&s, exited);
    diff(&s);
    ck_assert_uint_eq(s.todo.report_count, 1);
    ck_assert_int_eq(s.todo.reports[0].exit_code, 3);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    scene_report(&s, exited);
    diff(&s);
    expect_intent(&s, INTENT_FORGET);
    ck_assert_uint_eq(s.tasks.count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(a_full_set_contains_ended_attempts_until_the_cell_knows)
{
    struct scene s = scene_assigned();
    scene_report(&s, running);
    hear(&s, exited);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_RUN);
    scene_kill(&s);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_STOP);
    scene_report(&s, exited);
    diff_at(&s, true, NOW_MS);
    expect_intent(&s, INTENT_FORGET);
    scene_release(&s);
}
END_TEST

/* Now the cell knows that the attempt has ended, and sends nothing more. */
static void expect_confirmed(struct scene *s, enum report_kind kind)
{
    ck_assert_uint_eq(s->todo.report_count, 1);
    ck_assert_int_eq(s->todo.reports[0].kind, kind);
    ck_assert(s->todo.unsettled);
    ck_assert_uint_eq(cell_machine(s->cell, (machine_id){1})->left_count, 1);
    scene_report(s, s->todo.reports[0]);
    ck_assert_uint_eq(cell_machine(s->cell, (machine_id){1})->left_count, 0);
}

START_TEST(a_rescheduled_attempt_is_stopped_reported_then_forgotten)
{
    struct scene s = scene_assigned();
    struct cmd down = {.kind = CMD_MACHINE_DOWN, .time_ms = 9, .machine_down = {{1}}};
    scene_report(&s, running);
    scene_apply(&s, &down);
    hear(&s, running);
    diff(&s);
    expect_intent(&s, INTENT_STOP);
    ck_assert_int_eq(s.todo.intents[0].cause, CAUSE_LOST);
    hear(&s, exited);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    expect_confirmed(&s, REPORT_EXITED);
    diff(&s);
    expect_intent(&s, INTENT_FORGET);
    scene_release(&s);
}
END_TEST

START_TEST(an_unconfirmed_attempt_unknown_to_its_borglet_is_lost)
{
    struct scene s = scene_assigned();
    struct cmd down = {.kind = CMD_MACHINE_DOWN, .time_ms = 9, .machine_down = {{1}}};
    scene_report(&s, running);
    scene_apply(&s, &down);
    diff_at(&s, true, NOW_MS);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    diff(&s); /* not repeated so soon */
    ck_assert_uint_eq(s.todo.report_count, 0);
    diff_at(&s, false, NOW_MS + RESEND_MS);
    expect_confirmed(&s, REPORT_LOST);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count + s.todo.report_count, 0);
    ck_assert_uint_eq(s.tasks.count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(an_unconfirmed_attempt_of_another_directory_is_not_lost)
{
    struct scene s = scene_assigned();
    struct cmd down = {.kind = CMD_MACHINE_DOWN, .time_ms = 9, .machine_down = {{1}}};
    struct cmd other = {.kind = CMD_MACHINE_REGISTER,
                        .time_ms = 10,
                        .machine_register = {.addr = "h:1", .instance = 5, .directory = 6}};
    str_copy(other.machine_register.name, sizeof other.machine_register.name,
             cell_machine(s.cell, (machine_id){1})->name);
    scene_report(&s, running);
    scene_apply(&s, &down);
    scene_apply(&s, &other);
    ck_assert_uint_eq(cell_machine(s.cell, (machine_id){1})->left_foreign, 1);
    diff_at(&s, true, NOW_MS);
    ck_assert_uint_eq(s.todo.report_count, 0);
    hear(&s, exited); /* it knows the attempt: the directory was restored */
    diff(&s);
    expect_confirmed(&s, REPORT_EXITED);
    ck_assert_uint_eq(cell_machine(s.cell, (machine_id){1})->left_foreign, 0);
    scene_release(&s);
}
END_TEST

START_TEST(an_attempt_that_backs_off_in_place_is_not_started)
{
    struct scene s = scene_assigned();
    scene_report(&s, running);
    struct cmd update = {
        .kind = CMD_JOB_UPDATE,
        .time_ms = 5,
        .job_update = {.name = "web", .priority = 200, .replicas = JOB_UPDATE_KEEP}};
    scene_apply(&s, &update);
    scene_report(&s, exited);
    ck_assert(task_holds(cell_task(s.cell, s.ref.task)));
    hear(&s, exited);
    diff(&s);
    expect_intent(&s, INTENT_FORGET);
    diff_at(&s, true, NOW_MS);
    ck_assert_uint_eq(s.todo.intent_count + s.todo.report_count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(an_attempt_killed_before_its_first_report_is_stopped)
{
    struct scene s = scene_assigned();
    struct cmd down = {.kind = CMD_MACHINE_DOWN, .time_ms = 9, .machine_down = {{1}}};
    diff(&s);
    scene_apply(&s, &down);
    diff(&s);
    expect_intent(&s, INTENT_STOP);
    diff(&s);
    ck_assert_uint_eq(s.todo.intent_count, 0);
    scene_release(&s);
}
END_TEST

START_TEST(tasks_are_found_in_any_order_of_arrival)
{
    struct link_tasks tasks = {0};
    for (uint64_t i = 0; i < 100; i++)
        link_tasks_report(&tasks,
                          &(struct report){.task = {{(i * 37) % 100 + 1}, 1}, .pid = (int32_t)i});
    link_tasks_order(&tasks);
    ck_assert_uint_eq(tasks.count, 100);
    for (uint64_t i = 0; i < 100; i++) {
        struct link_task *lt =
            link_tasks_find(&tasks, (struct attempt_ref){{(i * 37) % 100 + 1}, 1});
        ck_assert_ptr_nonnull(lt);
        ck_assert_int_eq(lt->report.pid, (int32_t)i);
    }
    ck_assert_ptr_null(link_tasks_find(&tasks, (struct attempt_ref){{1}, 2}));
    link_tasks_release(&tasks);
}
END_TEST

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

START_TEST(many_reports_cost_little_in_any_order)
{
    /* a linear search per report would take seconds */
    enum { REPORTS = 30000, CPU_US_MAX = 200000 };
    static const char *const orders[] = {"descending", "ascending", "scattered", "all the same"};
    struct scene s = scene_assigned();
    for (size_t order = 0; order < ARRAY_SIZE(orders); order++) {
        struct link_tasks tasks = {0};
        uint64_t before_us = cpu_us();
        for (uint64_t i = 0; i < REPORTS; i++) {
            uint64_t ids[] = {REPORTS - i, i + 1, i * 7919 % REPORTS + 1, 7};
            struct report report = {.task = {{ids[order]}, 1}, .kind = REPORT_EXITED};
            link_tasks_report(&tasks, &report);
        }
        link_todo_clear(&s.todo);
        link_diff(s.cell, cell_machine(s.cell, (machine_id){1}), &tasks, false, NOW_MS, RESEND_MS,
                  &s.todo);
        uint64_t spent_us = cpu_us() - before_us;
        ck_assert_msg(spent_us < CPU_US_MAX, "%s: %" PRIu64 " us", orders[order], spent_us);
        size_t forgotten = 0;
        for (size_t i = 0; i < s.todo.intent_count; i++)
            forgotten += s.todo.intents[i].action == INTENT_FORGET;
        ck_assert_uint_eq(forgotten, order == 3 ? 1 : REPORTS);
        ck_assert_uint_eq(tasks.count, 1); /* the attempt that the cell has there */
        link_tasks_release(&tasks);
    }
    scene_release(&s);
}
END_TEST

START_TEST(the_last_report_about_an_attempt_counts)
{
    struct link_tasks tasks = {0};
    for (int32_t pid = 1; pid <= 6; pid++) {
        link_tasks_report(&tasks, &(struct report){.task = {{9}, 1}, .pid = pid});
        link_tasks_report(&tasks, &(struct report){.task = {{(uint64_t)(8 - pid)}, 1}});
        if (pid == 4)
            link_tasks_order(&tasks);
        if (pid >= 4)
            ck_assert_int_eq(link_tasks_find(&tasks, (struct attempt_ref){{9}, 1})->report.pid,
                             pid);
    }
    ck_assert_uint_eq(tasks.count, 7);
    for (size_t i = 1; i < tasks.count; i++)
        ck_assert(tasks.items[i - 1].ref.task.v < tasks.items[i].ref.task.v);
    link_tasks_release(&tasks);
}
END_TEST

START_TEST(an_alloc_is_neither_started_nor_lost)
{
    struct scene s = scene_with(/* alloc_set= */ true);
    ck_assert_int_eq(cell_task(s.cell, s.ref.task)->state, TASK_RUNNING);
    diff(&s);
    diff_at(&s, true, NOW_MS);
    ck_assert_uint_eq(s.todo.intent_count + s.todo.report_count + s.tasks.count, 0);
    scene_release(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_diff");
    TCase *tc = tcase_create("decisions");
    tcase_add_test(tc, an_assigned_unknown_attempt_is_started_once);
    tcase_add_test(tc, a_new_limit_is_sent_once);
    tcase_add_test(tc, running_is_reported_until_the_cell_knows_it);
    tcase_add_test(tc, an_attempt_unknown_to_the_borglet_is_queried_and_then_lost);
    tcase_add_test(tc, a_full_set_contains_running_attempts);
    tcase_add_test(tc, a_stop_is_sent_once_with_grace_and_cause);
    tcase_add_test(tc, an_attempt_that_the_borglet_does_not_know_is_stopped_too);
    tcase_add_test(tc, an_end_is_reported_then_forgotten);
    tcase_add_test(tc, a_full_set_contains_ended_attempts_until_the_cell_knows);
    tcase_add_test(tc, a_rescheduled_attempt_is_stopped_reported_then_forgotten);
    tcase_add_test(tc, an_unconfirmed_attempt_unknown_to_its_borglet_is_lost);
    tcase_add_test(tc, an_unconfirmed_attempt_of_another_directory_is_not_lost);
    tcase_add_test(tc, an_attempt_that_backs_off_in_place_is_not_started);
    tcase_add_test(tc, an_attempt_killed_before_its_first_report_is_stopped);
    tcase_add_test(tc, an_alloc_is_neither_started_nor_lost);
    tcase_add_test(tc, tasks_are_found_in_any_order_of_arrival);
    tcase_add_test(tc, many_reports_cost_little_in_any_order);
    tcase_add_test(tc, the_last_report_about_an_attempt_counts);
    suite_add_tcase(suite, tc);
    return t_main(suite);
}
