/*
 * test_borgmaster_leader.c - due actions of the leader's timer.
 */
#include "leader.h"
#include "testlib.h"

enum { MACHINES = 3 };

struct scene {
    struct cell *cell;
    struct changes changes;
    uint64_t heard_ms[MACHINES];
    struct loss loss;
    task_id wake[LEADER_WAKE_MAX];
    struct cmd due[LEADER_DUE_MAX];
};

static struct answer scene_apply(struct scene *s, const struct cmd *cmd)
{
    struct answer answer = {0};
    cell_apply(s->cell, cmd, &s->changes, &answer);
    ck_assert_msg(answer.code == ERR_OK, "%s", answer.msg);
    return answer;
}

static void scene_register(struct scene *s, int number)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER, .time_ms = 1};
    snprintf(cmd.machine_register.name, sizeof cmd.machine_register.name, "m%d", number);
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "h:1");
    cmd.machine_register.capacity = (struct resources){{4000, 1 << 30, 1 << 30, 100}};
    scene_apply(s, &cmd);
}

static struct scene *scene_new(void)
{
    struct scene *s = xcalloc(1, sizeof *s);
    s->cell = cell_new();
    for (int i = 1; i <= MACHINES; i++)
        scene_register(s, i);
    return s;
}

static void scene_free(struct scene *s)
{
    cell_free(s->cell);
    changes_release(&s->changes);
    free(s);
}

static size_t due_at(struct scene *s, uint64_t mono_ms, uint64_t wall_ms)
{
    return leader_due(s->cell, s->heard_ms, &s->loss, mono_ms, wall_ms, s->wake, s->due);
}

/* A job whose only task has failed once and backs off; returns the end of the back-off. */
static uint64_t scene_back_off(struct scene *s, const char *name, uint32_t backoff_ms)
{
    struct cmd submit = {.kind = CMD_JOB_SUBMIT, .time_ms = 2};
    spec_init(&submit.job_submit);
    str_copy(submit.job_submit.name, sizeof submit.job_submit.name, name);
    str_copy(submit.job_submit.user, sizeof submit.job_submit.user, "ada");
    submit.job_submit.limit = (struct resources){{1000, 1 << 20, 0, 0}};
    submit.job_submit.backoff_ms = submit.job_submit.backoff_max_ms = backoff_ms;
    words_add(&submit.job_submit.argv, "false");
    struct answer answer = scene_apply(s, &submit);
    cmd_release(&submit);
    task_id task = task_id_of(answer.job, 0);
    struct placement placement = {.task = {task, 0}, .machine = {1}};
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .time_ms = 3,
                           .schedule = {.placements = &placement, .placement_count = 1}};
    scene_apply(s, &schedule);
    struct report report = {
        .task = {task, 1}, .kind = REPORT_EXITED, .exit_code = 1, .machine = {1}};
    struct cmd cmd = {
        .kind = CMD_REPORT, .time_ms = 1000, .report = {.reports = &report, .report_count = 1}};
    scene_apply(s, &cmd);
    return cell_task(s->cell, task)->not_before_ms;
}

START_TEST(only_the_silent_machine_is_declared_down)
{
    struct scene *s = scene_new();
    s->heard_ms[0] = 2000;
    s->heard_ms[1] = 1000;
    s->heard_ms[2] = 2000;
    ck_assert_uint_eq(due_at(s, 1000 + LEADER_SILENT_MS, 0), 0);
    ck_assert_uint_eq(due_at(s, 1001 + LEADER_SILENT_MS, 0), 1);
    ck_assert_int_eq(s->due[0].kind, CMD_MACHINE_DOWN);
    ck_assert_uint_eq(s->due[0].machine_down.machine.v, 2);
    scene_free(s);
}
END_TEST

/* Three machines are never a large loss; during a hold none is declared down. */
START_TEST(in_a_small_cell_two_of_three_are_declared_down_unless_held)
{
    struct scene *s = scene_new();
    uint64_t now_ms = 1001 + LEADER_SILENT_MS;
    s->heard_ms[0] = now_ms;
    s->heard_ms[1] = s->heard_ms[2] = 1000;
    ck_assert_uint_eq(due_at(s, now_ms, 0), 2);
    struct cmd hold = {.kind = CMD_HOLD_SET, .hold_set = {.hold = HOLD_ON}};
    scene_apply(s, &hold);
    s->loss = (struct loss){0}; /* a new leader does not know yet that so few are silent */
    ck_assert_uint_eq(due_at(s, now_ms, 0), 0);
    ck_assert_uint_eq(due_at(s, now_ms + LEADER_SILENT_MS, 0), 0);
    s->heard_ms[0] = now_ms + 2 * LEADER_SILENT_MS;
    ck_assert_uint_eq(due_at(s, now_ms + 2 * LEADER_SILENT_MS, 0), 3);
    ck_assert_int_eq(s->due[0].kind, CMD_HOLD_SET);
    ck_assert_int_eq(s->due[0].hold_set.hold, HOLD_OFF);
    ck_assert_int_eq(s->due[1].kind, CMD_MACHINE_DOWN);
    scene_free(s);
}
END_TEST

START_TEST(silence_counts_from_the_return_of_a_machine)
{
    struct scene *s = scene_new();
    uint64_t now_ms = 1001 + LEADER_SILENT_MS;
    s->heard_ms[0] = s->heard_ms[2] = now_ms;
    s->heard_ms[1] = 1000;
    ck_assert_uint_eq(due_at(s, now_ms, 0), 1);
    scene_apply(s, &s->due[0]);
    now_ms += 60000;
    s->heard_ms[0] = s->heard_ms[2] = now_ms;
    ck_assert_uint_eq(due_at(s, now_ms, 0), 0);
    scene_register(s, 2);
    ck_assert_uint_eq(due_at(s, now_ms + LEADER_TICK_MS, 0), 0);
    ck_assert_uint_eq(due_at(s, now_ms + 1 + LEADER_SILENT_MS, 0), MACHINES);
    scene_free(s);
}
END_TEST

START_TEST(a_back_off_ends_at_its_time)
{
    struct scene *s = scene_new();
    uint64_t end_ms = scene_back_off(s, "web", 1000);
    ck_assert_uint_gt(end_ms, 1000);
    ck_assert_uint_eq(due_at(s, 0, end_ms - 1), 0);
    ck_assert_uint_eq(due_at(s, 0, end_ms), 1);
    ck_assert_int_eq(s->due[0].kind, CMD_WAKE);
    ck_assert_uint_eq(s->due[0].wake.task_count, 1);
    s->due[0].time_ms = end_ms;
    scene_apply(s, &s->due[0]);
    ck_assert_uint_eq(due_at(s, 0, end_ms), 0);
    scene_free(s);
}
END_TEST

/* Independent of their start order and their duration. */
START_TEST(tasks_are_woken_in_the_order_their_back_offs_end)
{
    static const uint32_t lasts_ms[] = {BACKOFF_MS_MAX, 1, 5000, BACKOFF_MS_MAX - 2000, 60000};
    static const uint32_t order[] = {1, 2, 4, 3, 0};
    enum { COUNT = ARRAY_SIZE(lasts_ms) };
    struct scene *s = scene_new();
    uint64_t ends_ms[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[8];
        snprintf(name, sizeof name, "j%u", i);
        ends_ms[i] = scene_back_off(s, name, lasts_ms[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        task_id due[COUNT];
        ck_assert_uint_eq(cell_wake_due(s->cell, ends_ms[order[i]] - 1, due, COUNT), i);
        ck_assert_uint_eq(cell_wake_due(s->cell, ends_ms[order[i]], due, COUNT), i + 1);
        for (uint32_t k = 0; k <= i; k++)
            ck_assert_uint_eq(task_job(due[k]).v, order[k] + 1);
        /* never more than the limit */
        ck_assert_uint_eq(cell_wake_due(s->cell, UINT64_MAX, due, i), i);
        if (i > 0)
            ck_assert_uint_eq(task_job(due[i - 1]).v, order[i - 1] + 1);
    }
    scene_free(s);
}
END_TEST

/* A job of two tasks on m1, of which one at a time may be disrupted. */
static struct answer scene_two(struct scene *s, struct placement placements[2])
{
    struct cmd submit = {.kind = CMD_JOB_SUBMIT};
    spec_init(&submit.job_submit);
    str_copy(submit.job_submit.name, sizeof submit.job_submit.name, "web");
    str_copy(submit.job_submit.user, sizeof submit.job_submit.user, "ada");
    submit.job_submit.replicas = 2;
    submit.job_submit.disruptions_max = 1;
    words_add(&submit.job_submit.argv, "true");
    struct answer answer = scene_apply(s, &submit);
    cmd_release(&submit);
    for (uint32_t i = 0; i < 2; i++)
        placements[i] = (struct placement){.task = {task_id_of(answer.job, i), 0}, .machine = {1}};
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .schedule = {.placements = placements, .placement_count = 2}};
    scene_apply(s, &schedule);
    return answer;
}

START_TEST(a_drain_continues_when_a_budget_allows_it)
{
    struct scene *s = scene_new();
    struct placement placements[2];
    struct answer answer = scene_two(s, placements);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    struct cmd drain = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.name = "m1", .on = true}};
    scene_apply(s, &drain); /* stops the task that may be disrupted */
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    struct report report = {.task = {task_id_of(answer.job, 0), 1},
                            .kind = REPORT_EXITED,
                            .machine = {1},
                            .told_to_stop = true};
    struct cmd reports = {.kind = CMD_REPORT, .report = {.reports = &report, .report_count = 1}};
    scene_apply(s, &reports);
    ck_assert_uint_eq(due_at(s, 0, 0), 0); /* it does not run again yet */
    placements[0].task.attempt = 1;
    placements[0].machine.v = 2;
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .schedule = {.placements = placements, .placement_count = 1}};
    scene_apply(s, &schedule);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    report = (struct report){
        .task = {task_id_of(answer.job, 0), 2}, .kind = REPORT_RUNNING, .machine = {2}};
    scene_apply(s, &reports);
    ck_assert_uint_eq(due_at(s, 0, 0), 1);
    ck_assert_int_eq(s->due[0].kind, CMD_MACHINE_EVICT);
    ck_assert_uint_eq(s->due[0].machine_evict.machine.v, 1);
    scene_apply(s, &s->due[0]);
    ck_assert_int_eq(cell_task(s->cell, task_id_of(answer.job, 1))->stopping, CAUSE_DRAIN);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    scene_free(s);
}
END_TEST

START_TEST(a_resize_continues_when_a_budget_allows_it)
{
    struct scene *s = scene_new();
    struct placement placements[2];
    struct answer answer = scene_two(s, placements);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    struct cmd update = {.kind = CMD_JOB_UPDATE,
                         .job_update = {.name = "web",
                                        .replicas = JOB_UPDATE_KEEP,
                                        .priority = JOB_UPDATE_KEEP,
                                        .resized = 1U << RES_CPU}};
    struct cmd larger = {.kind = CMD_MACHINE_REGISTER,
                         .machine_register = {.name = "m3", .addr = "h:1"}};
    larger.machine_register.capacity = (struct resources){{5000, 1 << 30, 1 << 30, 100}};
    scene_apply(s, &larger);
    update.job_update.limit.v[RES_CPU] = 5000;
    scene_apply(s, &update); /* stops the task that may be disrupted */
    ck_assert_int_eq(cell_task(s->cell, task_id_of(answer.job, 0))->stopping, CAUSE_UPDATE);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    struct report report = {.task = {task_id_of(answer.job, 0), 1},
                            .kind = REPORT_EXITED,
                            .machine = {1},
                            .told_to_stop = true};
    struct cmd reports = {.kind = CMD_REPORT, .report = {.reports = &report, .report_count = 1}};
    scene_apply(s, &reports);
    ck_assert_uint_eq(due_at(s, 0, 0), 0); /* it does not run again yet */
    str_copy(larger.machine_register.name, sizeof larger.machine_register.name, "m2");
    scene_apply(s, &larger);
    placements[0].task.attempt = 1;
    placements[0].machine.v = 2;
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .schedule = {.placements = placements, .placement_count = 1}};
    scene_apply(s, &schedule);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    report = (struct report){
        .task = {task_id_of(answer.job, 0), 2}, .kind = REPORT_RUNNING, .machine = {2}};
    scene_apply(s, &reports);
    ck_assert_uint_eq(due_at(s, 0, 0), 1);
    ck_assert_int_eq(s->due[0].kind, CMD_JOB_RESIZE);
    ck_assert_uint_eq(s->due[0].job_resize.job.v, answer.job.v);
    scene_apply(s, &s->due[0]);
    ck_assert_int_eq(cell_task(s->cell, task_id_of(answer.job, 1))->stopping, CAUSE_UPDATE);
    ck_assert_uint_eq(due_at(s, 0, 0), 0);
    scene_free(s);
}
END_TEST

enum { MANY = 100000, ONE_PERCENT = MANY / 100 };

/* A cell of a hundred thousand machines, most of which the leader hears every second. */
struct large {
    struct scene scene;
    uint64_t *heard_ms;
    uint64_t now_ms;
    uint32_t deaf_first, deaf_count; /* machines that are not heard */
};

static struct large *large_new(void)
{
    struct large *large = xcalloc(1, sizeof *large);
    large->scene.cell = cell_new();
    large->heard_ms = xcalloc(MANY, sizeof *large->heard_ms);
    large->now_ms = 100000;
    for (int i = 0; i < MANY; i++) {
        scene_register(&large->scene, i + 1);
        large->heard_ms[i] = large->now_ms;
    }
    return large;
}

static void large_free(struct large *large)
{
    cell_free(large->scene.cell);
    changes_release(&large->scene.changes);
    free(large->heard_ms);
    free(large);
}

/* Run one tick and apply what is due. Returns how many machines were declared down. */
static uint32_t large_tick(struct large *large)
{
    struct scene *s = &large->scene;
    uint32_t down = 0;
    large->now_ms += LEADER_TICK_MS;
    for (uint32_t i = 0; large->now_ms % LEADER_ALIVE_MS == 0 && i < MANY; i++)
        if (i < large->deaf_first || i >= large->deaf_first + large->deaf_count)
            large->heard_ms[i] = large->now_ms;
    size_t count =
        leader_due(s->cell, large->heard_ms, &s->loss, large->now_ms, 0, s->wake, s->due);
    for (size_t i = 0; i < count; i++) {
        scene_apply(s, &s->due[i]);
        down += s->due[i].kind == CMD_MACHINE_DOWN;
    }
    changes_clear(&s->changes);
    return down;
}

static uint32_t large_run(struct large *large, uint64_t ms)
{
    uint32_t down = 0;
    for (uint64_t until_ms = large->now_ms + ms; large->now_ms < until_ms;)
        down += large_tick(large);
    return down;
}

START_TEST(one_in_a_hundred_of_a_hundred_thousand_is_declared_down_within_ten_seconds)
{
    struct large *large = large_new();
    ck_assert_uint_eq(large_run(large, 30000), 0);
    large->deaf_first = 5000;
    large->deaf_count = ONE_PERCENT;
    /* Shards report what they have heard since the last report: a second, and the silence. */
    ck_assert_uint_eq(large_run(large, LEADER_SILENT_MS - LEADER_ALIVE_MS), 0);
    ck_assert_uint_eq(large_run(large, 2 * LEADER_ALIVE_MS), ONE_PERCENT);
    for (uint32_t i = 0; i < MANY; i++)
        ck_assert_int_eq(large->scene.cell->machines[i]->state,
                         i >= 5000 && i < 5000 + ONE_PERCENT ? MACHINE_DOWN : MACHINE_UP);
    ck_assert_uint_eq(large->scene.cell->machines_up, MANY - ONE_PERCENT);
    large_free(large);
}
END_TEST

START_TEST(a_third_of_a_hundred_thousand_silent_starts_a_hold)
{
    struct large *large = large_new();
    large_run(large, 30000);
    large->deaf_count = MANY / 3;
    ck_assert_uint_eq(large_run(large, 60000), 0);
    ck_assert_int_eq(large->scene.cell->settings.hold, HOLD_ON);
    large->deaf_count = 3; /* all but three are back */
    ck_assert_uint_eq(large_run(large, LEADER_SILENT_MS), 0);
    ck_assert_uint_eq(large_run(large, 3 * LEADER_SILENT_MS), 3);
    ck_assert_int_eq(large->scene.cell->settings.hold, HOLD_OFF);
    large_free(large);
}
END_TEST

/* A task on each machine, one of which may be disrupted: `replicas` are placed from machine 1 on.
 */
static struct answer large_place(struct large *large, const char *name, uint32_t replicas,
                                 uint32_t step)
{
    struct scene *s = &large->scene;
    struct cmd submit = {.kind = CMD_JOB_SUBMIT};
    static struct placement placements[CMD_PLACEMENTS_MAX];
    spec_init(&submit.job_submit);
    str_copy(submit.job_submit.name, sizeof submit.job_submit.name, name);
    str_copy(submit.job_submit.user, sizeof submit.job_submit.user, "ada");
    submit.job_submit.replicas = replicas;
    submit.job_submit.disruptions_max = 1;
    submit.job_submit.limit = (struct resources){{1, 1 << 20, 0, 0}};
    words_add(&submit.job_submit.argv, "true");
    struct answer answer = scene_apply(s, &submit);
    cmd_release(&submit);
    for (uint32_t next = 0; next < replicas;) {
        struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = {.placements = placements}};
        uint32_t *count = &cmd.schedule.placement_count;
        for (; *count < CMD_PLACEMENTS_MAX && next < replicas; next++)
            placements[(*count)++] = (struct placement){.task = {task_id_of(answer.job, next), 0},
                                                        .machine = {1 + next * step}};
        scene_apply(s, &cmd);
    }
    return answer;
}

START_TEST(each_of_a_hundred_thousand_draining_machines_has_its_turn)
{
    struct large *large = large_new();
    struct scene *s = &large->scene;
    uint32_t ticks = 0;
    large_place(large, "held", MANY, 1);
    job_id pair = large_place(large, "pair", 2, MANY - 1).job;
    for (int i = 1; i <= MANY; i++) {
        struct cmd drain = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = true}};
        snprintf(drain.machine_drain.name, sizeof drain.machine_drain.name, "m%d", i);
        if (i != 2)
            scene_apply(s, &drain);
    }
    /* The task on machine 1 has moved to machine 2, so the task on the last machine may be
     * disrupted. */
    struct report report = {.task = {task_id_of(pair, 0), 1},
                            .kind = REPORT_EXITED,
                            .machine = {1},
                            .told_to_stop = true};
    struct cmd reports = {.kind = CMD_REPORT, .report = {.reports = &report, .report_count = 1}};
    scene_apply(s, &reports);
    struct placement placement = {.task = {task_id_of(pair, 0), 1}, .machine = {2}};
    struct cmd schedule = {.kind = CMD_SCHEDULE,
                           .schedule = {.placements = &placement, .placement_count = 1}};
    scene_apply(s, &schedule);
    report =
        (struct report){.task = {task_id_of(pair, 0), 2}, .kind = REPORT_RUNNING, .machine = {2}};
    scene_apply(s, &reports);
    const struct task *last = cell_task(s->cell, task_id_of(pair, 1));
    for (; last->stopping == CAUSE_NONE; ticks++) {
        ck_assert_uint_le(ticks, 2 * MANY / LEADER_LOOKS_MAX + 1);
        large_tick(large);
    }
    ck_assert_int_eq(last->stopping, CAUSE_DRAIN);
    large_free(large);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("leader");
    TCase *tc = tcase_create("due");
    tcase_add_test(tc, only_the_silent_machine_is_declared_down);
    tcase_add_test(tc, in_a_small_cell_two_of_three_are_declared_down_unless_held);
    tcase_add_test(tc, silence_counts_from_the_return_of_a_machine);
    tcase_add_test(tc, a_back_off_ends_at_its_time);
    tcase_add_test(tc, tasks_are_woken_in_the_order_their_back_offs_end);
    tcase_add_test(tc, a_drain_continues_when_a_budget_allows_it);
    tcase_add_test(tc, a_resize_continues_when_a_budget_allows_it);
    TCase *many = tcase_create("many");
    tcase_set_timeout(many, 120);
    tcase_add_test(many,
                   one_in_a_hundred_of_a_hundred_thousand_is_declared_down_within_ten_seconds);
    tcase_add_test(many, a_third_of_a_hundred_thousand_silent_starts_a_hold);
    tcase_add_test(many, each_of_a_hundred_thousand_draining_machines_has_its_turn);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, many);
    return t_main(suite);
}
