/*
 * test_reclaim.c - reservations follow usage; who lies in the room, and who goes when it is gone.
 */
#include "sched_fixture.h"

static const uint64_t MINUTE = 60000;

/* One resource of limit 1000, started at 1,000,000 ms: what it uses at a minute since the start. */
static const struct {
    const char *what;
    struct {
        uint32_t minute;
        int64_t used;
        uint32_t reclaimed; /* then */
    } steps[8];
} courses[] = {
    {"nothing for five minutes", {{1, 100, 0}, {4, 100, 0}}},
    {"falls slowly, to usage and a margin",
     {{5, 100, 0}, {8, 100, 10}, {11, 100, 20}, {20, 100, 50}, {60, 100, 82}}},
    {"rises at once", {{5, 100, 0}, {35, 100, 82}, {36, 500, 32}, {37, 960, 0}}},
    {"falls from the time it began to use less",
     {{5, 800, 0}, {120, 800, 0}, {240, 100, 0}, {243, 100, 10}}},
    {"wobbling neither holds it up nor hurries it",
     {{5, 100, 0}, {6, 110, 3}, {7, 100, 6}, {8, 110, 10}, {11, 100, 20}}},
    {"more than the limit", {{5, 5000, 0}, {50, 2000, 0}}},
};

START_TEST(reservations_follow_usage)
{
    struct reserve r = {0};
    uint64_t started_ms = 1000000;
    for (size_t i = 0; i < ARRAY_SIZE(courses[_i].steps); i++) {
        if (courses[_i].steps[i].minute == 0)
            break;
        r = reserve_next(&r, 1000, courses[_i].steps[i].used, started_ms,
                         started_ms + courses[_i].steps[i].minute * MINUTE);
        ck_assert_msg(r.reclaimed_percent == courses[_i].steps[i].reclaimed, "%s: %u at minute %u",
                      courses[_i].what, r.reclaimed_percent, courses[_i].steps[i].minute);
    }
}
END_TEST

START_TEST(small_changes_are_no_news_and_rises_always_are)
{
    struct reserve was = {.used = 100, .reclaimed_percent = 50};
    static const struct {
        struct reserve next;
        bool news;
    } rows[] = {
        {{100, 0, 50}, false}, {{149, 0, 50}, false}, {{150, 0, 50}, true}, {{51, 0, 50}, false},
        {{50, 0, 50}, true},   {{100, 0, 54}, false}, {{100, 0, 55}, true}, {{100, 0, 49}, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        ck_assert_int_eq(reserve_is_news(&was, &rows[i].next, 1000), rows[i].news);
}
END_TEST

static job_id job_of(struct world *w, const char *name, uint32_t priority, int64_t ram)
{
    struct job_spec spec = spec_named(name, "ann", priority);
    spec.limit = amounts(1, ram, 0, 0);
    return world_job(w, spec);
}

static enum err_code use(struct world *w, job_id job, int64_t ram, uint64_t later_ms)
{
    const struct task *task = world_task(w, job, 0);
    struct cmd cmd = {.kind = CMD_USAGE, .time_ms = w->cell->now_ms + later_ms};
    cmd.usage.tasks = xcalloc(1, sizeof *cmd.usage.tasks);
    cmd.usage.tasks[cmd.usage.task_count++] =
        (struct task_usage){attempt_of(task), {0, ram}, task->machine};
    return world_apply(w, &cmd);
}

/* A machine of 1,000 with production that asked for 800 and uses 100: 700 are reclaimed, almost. */
static job_id reclaimed(struct world *w, struct sched *sched)
{
    world_wake(w, (task_id){0}, 1000000);
    world_machine(w, "m1", amounts(100000, 1000, 0, 0));
    world_tell_all(w, sched);
    job_id web = job_of(w, "web", 200, 800);
    world_tell(w, sched);
    world_settle(w, sched);
    ck_assert(world_running(w, world_task(w, web, 0), 7));
    world_tell(w, sched);
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(use(w, web, 100, MINUTE), ERR_OK);
        world_tell(w, sched);
    }
    ck_assert_uint_eq(world_task(w, web, 0)->reserves[RES_RAM].reclaimed_percent, 79);
    return web;
}

static bool is_placed(const struct world *w, job_id job)
{
    return task_is_live(world_task(w, job, 0));
}

START_TEST(other_work_lies_in_reclaimed_room_and_production_does_not)
{
    struct world w = world_new();
    struct sched *sched = sched_new();
    reclaimed(&w, sched);
    job_id batch = job_of(&w, "batch", 100, 600);
    world_tell(&w, sched);
    job_id prod = job_of(&w, "prod", 210, 300);
    world_tell(&w, sched);
    world_settle(&w, sched);
    ck_assert(is_placed(&w, batch));
    ck_assert(!is_placed(&w, prod)); /* 800 are promised, whatever is used */
    ck_assert_str_eq(cell_job(w.cell, prod)->reason,
                     "no machine fits: 1 of 1 lacks ram; would fit with ram 200 instead of 300");
    job_id small = job_of(&w, "small", 205, 200);
    world_tell(&w, sched);
    world_settle(&w, sched);
    ck_assert(is_placed(&w, small));
    /* By hand the cell refuses the same. */
    struct attempt_ref attempt = attempt_of(world_task(&w, prod, 0));
    ck_assert(!world_place(&w, attempt, world_task(&w, small, 0)->machine, NULL, 0));
    sched_free(sched);
    world_release(&w);
}
END_TEST

START_TEST(when_production_wants_its_room_back_others_go)
{
    struct world w = world_new();
    struct sched *sched = sched_new();
    job_id web = reclaimed(&w, sched);
    job_id low = job_of(&w, "low", 50, 300);
    job_id high = job_of(&w, "high", 110, 400);
    world_tell_all(&w, sched);
    world_settle(&w, sched);
    ck_assert(is_placed(&w, low));
    ck_assert(is_placed(&w, high));
    machine_id m1 = world_task(&w, web, 0)->machine;
    ck_assert(!cell_reclaim_due(w.cell, cell_machine(w.cell, m1)));
    ck_assert_int_eq(use(&w, web, 400, MINUTE), ERR_OK); /* 500 and a margin: 45% of the limit */
    ck_assert(cell_reclaim_due(w.cell, cell_machine(w.cell, m1)));
    struct cmd cmd = {.kind = CMD_MACHINE_RECLAIM, .machine_reclaim = {m1}};
    ck_assert_int_eq(world_apply(&w, &cmd), ERR_OK);
    ck_assert_uint_eq(w.answer.accepted, 1);
    ck_assert_int_eq(world_task(&w, low, 0)->stopping, CAUSE_OUT_OF_RESOURCES);
    ck_assert_int_eq(world_task(&w, high, 0)->stopping, CAUSE_NONE);
    ck_assert_int_eq(world_task(&w, web, 0)->stopping, CAUSE_NONE);
    ck_assert(!cell_reclaim_due(w.cell, cell_machine(w.cell, m1)));
    sched_free(sched);
    world_release(&w);
}
END_TEST

START_TEST(who_uses_more_than_asked_for_goes_first_when_the_ram_is_full)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", amounts(100000, 1000, 0, 0));
    job_id jobs[3] = {job_of(&w, "low", 50, 100), job_of(&w, "greedy", 110, 100),
                      job_of(&w, "web", 200, 500)};
    for (int i = 0; i < 3; i++) {
        ck_assert(world_place(&w, attempt_of(world_task(&w, jobs[i], 0)), m1, NULL, 0));
        ck_assert(world_running(&w, world_task(&w, jobs[i], 0), i + 1));
    }
    use(&w, jobs[0], 100, 0);
    use(&w, jobs[1], 400, 0);
    use(&w, jobs[2], 449, 0);
    ck_assert(!cell_reclaim_due(w.cell, cell_machine(w.cell, m1))); /* 949 of 950 */
    use(&w, jobs[2], 451, 0);
    ck_assert(cell_reclaim_due(w.cell, cell_machine(w.cell, m1)));
    struct cmd cmd = {.kind = CMD_MACHINE_RECLAIM, .machine_reclaim = {m1}};
    ck_assert_int_eq(world_apply(&w, &cmd), ERR_OK);
    ck_assert_int_eq(world_task(&w, jobs[1], 0)->stopping, CAUSE_OUT_OF_RESOURCES);
    ck_assert_int_eq(world_task(&w, jobs[0], 0)->stopping, CAUSE_NONE);
    /* Production alone is left alone. */
    ck_assert(world_exited(&w, world_task(&w, jobs[0], 0), 0));
    use(&w, jobs[2], 5000, 0);
    ck_assert(!cell_reclaim_due(w.cell, cell_machine(w.cell, m1)));
    world_release(&w);
}
END_TEST

START_TEST(work_in_reclaimed_room_does_not_become_production)
{
    struct world w = world_new();
    struct sched *sched = sched_new();
    reclaimed(&w, sched);
    job_of(&w, "batch", 100, 600);
    world_tell_all(&w, sched);
    world_settle(&w, sched);
    ck_assert_int_eq(world_update(&w, "batch", JOB_UPDATE_KEEP, 200), ERR_STATE);
    ck_assert_msg(strstr(w.answer.msg, "cannot promise \"batch/0\" its limit") != NULL, "%s",
                  w.answer.msg);
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 110), ERR_OK);
    ck_assert_int_eq(world_update(&w, "batch", JOB_UPDATE_KEEP, 200), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 200), ERR_STATE);
    sched_free(sched);
    world_release(&w);
}
END_TEST

START_TEST(usage_is_taken_of_running_attempts_only)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", amounts(100000, 1000, 0, 0));
    job_id web = job_of(&w, "web", 200, 500);
    ck_assert(world_place(&w, attempt_of(world_task(&w, web, 0)), m1, NULL, 0));
    use(&w, web, 100, 0);
    ck_assert_uint_eq(w.answer.refused, 1); /* not running yet */
    ck_assert(world_running(&w, world_task(&w, web, 0), 7));
    use(&w, web, -1, 0);
    ck_assert_uint_eq(w.answer.refused, 1);
    use(&w, web, 100, 0);
    ck_assert_uint_eq(w.answer.accepted, 1);
    ck_assert_int_eq(cell_machine(w.cell, m1)->used[RES_RAM], 100);
    struct task_usage usage = {attempt_of(world_task(&w, web, 0)), {0, 110}, m1};
    ck_assert(!cell_usage_is_news(w.cell, &usage, w.cell->now_ms));
    usage.used[RES_RAM] = 125;
    ck_assert(cell_usage_is_news(w.cell, &usage, w.cell->now_ms));
    usage.task.attempt++;
    ck_assert(!cell_usage_is_news(w.cell, &usage, w.cell->now_ms));
    ck_assert(world_exited(&w, world_task(&w, web, 0), 0));
    ck_assert_int_eq(cell_machine(w.cell, m1)->used[RES_RAM], 0);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reclaim");
    TCase *tcase = tcase_create("reclaim");
    tcase_add_loop_test(tcase, reservations_follow_usage, 0, ARRAY_SIZE(courses));
    tcase_add_test(tcase, small_changes_are_no_news_and_rises_always_are);
    tcase_add_test(tcase, other_work_lies_in_reclaimed_room_and_production_does_not);
    tcase_add_test(tcase, when_production_wants_its_room_back_others_go);
    tcase_add_test(tcase, who_uses_more_than_asked_for_goes_first_when_the_ram_is_full);
    tcase_add_test(tcase, work_in_reclaimed_room_does_not_become_production);
    tcase_add_test(tcase, usage_is_taken_of_running_attempts_only);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
