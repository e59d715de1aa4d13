/*
 * test_apply_resize.c - new limits for the tasks of a job: in place, or one task at a time.
 */
#include "cell_fixture.h"

/* Machines m1 and m2 of 4 cpus and 100 of ram, and a job "web" of 1 cpu and 10 of ram per task. */
struct scene {
    struct world w;
    machine_id m1, m2;
    job_id web;
};

static struct scene scene_of(struct job_spec spec)
{
    struct scene s = {.w = world_new()};
    s.m1 = world_machine(&s.w, "m1", amounts(4000, 100, 10, 4));
    s.m2 = world_machine(&s.w, "m2", amounts(4000, 100, 10, 4));
    s.web = world_job(&s.w, spec);
    return s;
}

static struct job_spec web_spec(uint32_t replicas, uint32_t disruptions_max)
{
    struct job_spec spec = spec_named("web", "ada", 200);
    spec.limit = amounts(1000, 10, 0, 0);
    spec.replicas = replicas;
    spec.disruptions_max = disruptions_max;
    return spec;
}

static void place(struct scene *s, job_id job, uint32_t index, machine_id machine)
{
    ck_assert(world_place(&s->w, attempt_of(world_task(&s->w, job, index)), machine, NULL, 0));
}

static enum err_code resize(struct scene *s, const char *job, int64_t cpu, int64_t ram)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = JOB_UPDATE_KEEP,
                                     .priority = JOB_UPDATE_KEEP,
                                     .resized = 1U << RES_CPU | 1U << RES_RAM,
                                     .limit = amounts(cpu, ram, 0, 0)}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, job);
    return world_apply(&s->w, &cmd);
}

static uint32_t go_on(struct scene *s)
{
    struct cmd cmd = {.kind = CMD_JOB_RESIZE, .job_resize = {s->web}};
    ck_assert_int_eq(world_apply(&s->w, &cmd), ERR_OK);
    return s->w.answer.accepted;
}

static int64_t cpu_of(struct scene *s, uint32_t index)
{
    return task_limit(cell_job(s->w.cell, s->web), world_task(&s->w, s->web, index))->v[RES_CPU];
}

static void expect_msg(const struct scene *s, const char *part)
{
    ck_assert_msg(strstr(s->w.answer.msg, part) != NULL, "\"%s\" does not say \"%s\"",
                  s->w.answer.msg, part);
}

START_TEST(every_resource_of_the_limit_has_to_fit)
{
    static const struct {
        int64_t cpu, ram;
        bool stays;
    } rows[] = {{3000, 90, true}, {3000, 1, true},  {500, 90, true},
                {1, 1, true},     {3001, 1, false}, {1, 91, false}};
    struct job_spec other = spec_named("other", "bob", 200);
    other.limit = amounts(1000, 10, 0, 0);
    struct scene s = scene_of(web_spec(1, 0));
    place(&s, world_job(&s.w, other), 0, s.m1);
    place(&s, s.web, 0, s.m1);
    ck_assert_int_eq(resize(&s, "web", rows[_i].cpu, rows[_i].ram), ERR_OK);
    const struct task *task = world_task(&s.w, s.web, 0);
    ck_assert_int_eq(task->stopping, rows[_i].stays ? CAUSE_NONE : CAUSE_UPDATE);
    ck_assert_int_eq(cpu_of(&s, 0), rows[_i].stays ? rows[_i].cpu : 1000);
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 1000 + cpu_of(&s, 0));
    ck_assert_uint_eq(task->attempt, 1);
    world_release(&s.w);
}
END_TEST

START_TEST(a_limit_larger_than_all_machines_stops_no_task)
{
    static const struct {
        int64_t cpu, ram;
        const char *msg;
    } rows[] = {{4001, 1, "no machine that is up has so much cpu: the most is 4"},
                {1, 101, "no machine that is up has so much ram: the most is 100"},
                {4000, 101, "so much ram"}};
    struct scene s = scene_of(web_spec(1, 0));
    place(&s, s.web, 0, s.m1);
    ck_assert_int_eq(resize(&s, "web", rows[_i].cpu, rows[_i].ram), ERR_STATE);
    expect_msg(&s, rows[_i].msg);
    ck_assert_int_eq(world_task(&s.w, s.web, 0)->stopping, CAUSE_NONE);
    ck_assert_int_eq(cpu_of(&s, 0), 1000);
    world_release(&s.w);
}
END_TEST

START_TEST(a_limit_that_fits_no_single_machine_stops_no_task)
{
    struct scene s = scene_of(web_spec(1, 0));
    world_machine(&s.w, "m3", amounts(1000, 1000, 10, 4));
    place(&s, s.web, 0, s.m1);
    ck_assert_int_eq(resize(&s, "web", 2000, 500), ERR_STATE);
    expect_msg(&s, "no machine that is up has as much of everything");
    world_release(&s.w);
}
END_TEST

START_TEST(a_task_that_waits_to_move_keeps_its_limit_through_later_updates)
{
    struct scene s = scene_of(web_spec(3, 1));
    for (uint32_t i = 0; i < 3; i++)
        place(&s, s.web, i, s.m1);
    ck_assert_int_eq(resize(&s, "web", 3500, 10), ERR_OK);
    ck_assert_int_eq(world_task(&s.w, s.web, 0)->stopping, CAUSE_UPDATE);
    ck_assert_uint_eq(cell_job(s.w.cell, s.web)->outdated, 2);
    ck_assert(!cell_resize_due(s.w.cell, cell_job(s.w.cell, s.web), 0));
    ck_assert_uint_eq(go_on(&s), 0);
    ck_assert_int_eq(resize(&s, "web", 3600, 10), ERR_OK);
    ck_assert_int_eq(cpu_of(&s, 1), 1000);
    ck_assert_int_eq(resize(&s, "web", 1500, 10), ERR_OK); /* after the stopping task has ended */
    ck_assert_int_eq(cpu_of(&s, 0), 1000);
    ck_assert_int_eq(cpu_of(&s, 1), 1500);
    ck_assert_int_eq(cpu_of(&s, 2), 1500);
    ck_assert(list_empty(&s.w.cell->updating));
    world_release(&s.w);
}
END_TEST

/* Each update leaves one task that stops with its old limit. */
START_TEST(the_number_of_earlier_limits_is_bounded)
{
    struct scene s = scene_of(web_spec(JOB_LIMITS_OLD_MAX + 1, 0));
    world_machine(&s.w, "huge", amounts(300000, 1000, 10, 4));
    for (uint32_t i = 0; i < JOB_LIMITS_OLD_MAX; i++) {
        machine_id machine = world_machine(&s.w, "big", amounts(100000, 1000, 10, 4));
        place(&s, s.web, i, machine);
        ck_assert_int_eq(resize(&s, "web", 200000 + i, 10), ERR_OK);
        if (i + 1 < JOB_LIMITS_OLD_MAX)
            ck_assert_int_eq(resize(&s, "web", 1001 + i, 10), ERR_OK);
    }
    ck_assert_int_eq(resize(&s, "web", 2000, 10), ERR_STATE);
    expect_msg(&s, "its tasks still have 4 limits of earlier updates; wait");
    ck_assert(world_exited(&s.w, world_task(&s.w, s.web, 1), 0));
    ck_assert_int_eq(resize(&s, "web", 2000, 10), ERR_OK);
    place(&s, s.web, JOB_LIMITS_OLD_MAX, s.m1);
    ck_assert_int_eq(cpu_of(&s, JOB_LIMITS_OLD_MAX), 2000);
    world_release(&s.w);
}
END_TEST

START_TEST(a_task_inside_an_alloc_grows_up_to_the_alloc)
{
    struct job_spec set = web_spec(1, 0);
    words_release(&set.argv);
    set.argv = (struct words){0};
    set.is_alloc_set = true;
    set.limit = amounts(3000, 30, 0, 0);
    struct scene s = scene_of(set);
    place(&s, s.web, 0, s.m1);
    struct job_spec inside = spec_named("inside", "ada", 200);
    inside.limit = amounts(1000, 10, 0, 0);
    str_copy(inside.alloc_set, sizeof inside.alloc_set, "web");
    job_id job = world_job(&s.w, inside);
    struct placement p = {.task = attempt_of(world_task(&s.w, job, 0)),
                          .machine = s.m1,
                          .alloc = task_id_of(s.web, 0)};
    ck_assert(world_placement(&s.w, p, NULL));
    ck_assert_int_eq(resize(&s, "inside", 3000, 20), ERR_OK);
    ck_assert_int_eq(world_task(&s.w, job, 0)->stopping, CAUSE_NONE);
    ck_assert_int_eq(resize(&s, "inside", 3001, 20), ERR_INVALID);
    expect_msg(&s, "a task asks for more cpu than an alloc of \"web\" has");
    ck_assert_int_eq(resize(&s, "web", 3000, 19), ERR_STATE);
    expect_msg(&s, "alloc \"web/0\" holds tasks that need more");
    ck_assert_int_eq(resize(&s, "web", 4000, 20), ERR_OK); /* the set is resized in place */
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 4000);
    world_machine(&s.w, "m3", amounts(5000, 100, 10, 4));
    ck_assert_int_eq(resize(&s, "web", 4001, 20), ERR_OK);
    ck_assert_int_eq(world_task(&s.w, job, 0)->stopping, CAUSE_UPDATE);
    ck_assert_int_eq(world_task(&s.w, s.web, 0)->stopping, CAUSE_UPDATE);
    world_release(&s.w);
}
END_TEST

START_TEST(a_job_on_every_machine_continues_where_it_fits)
{
    struct job_spec spec = web_spec(1, 0);
    spec.every_machine = true;
    struct scene s = scene_of(spec);
    job_id other = world_job(&s.w, spec_named("other", "bob", 200));
    place(&s, other, 0, s.m2);
    place(&s, s.web, 0, s.m1);
    place(&s, s.web, 1, s.m2);
    ck_assert_int_eq(resize(&s, "web", 4000, 10), ERR_OK);
    ck_assert_int_eq(cpu_of(&s, 0), 4000);
    ck_assert_int_eq(world_task(&s.w, s.web, 1)->stopping, CAUSE_UPDATE);
    world_release(&s.w);
}
END_TEST

START_TEST(an_unknown_job_is_not_resized)
{
    struct scene s = scene_of(web_spec(1, 0));
    struct cmd cmd = {.kind = CMD_JOB_RESIZE, .job_resize = {{77}}};
    ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_NOT_FOUND);
    ck_assert_uint_eq(go_on(&s), 0);
    world_release(&s.w);
}
END_TEST

/* The work of one command is bounded; further commands continue it. */
START_TEST(a_large_job_is_resized_in_pieces_and_shrunk_with_few_events)
{
    enum { TASKS = RESIZE_TASKS_MAX + 2000 };
    struct job_spec spec = web_spec(TASKS, 0);
    spec.limit = amounts(1, 1, 0, 0);
    struct world w = world_new();
    struct scene s = {.w = w, .m1 = world_machine(&w, "m1", amounts(4 * TASKS, 4 * TASKS, 10, 4))};
    s.w = w;
    s.web = world_job(&s.w, spec);
    for (uint32_t i = 0; i < TASKS;) {
        struct cmd cmd = {.kind = CMD_SCHEDULE};
        struct cmd_schedule *body = &cmd.schedule;
        body->placements = xcalloc(CMD_PLACEMENTS_MAX, sizeof *body->placements);
        for (; i < TASKS && body->placement_count < CMD_PLACEMENTS_MAX; i++)
            body->placements[body->placement_count++] =
                (struct placement){.task = {task_id_of(s.web, i), 0}, .machine = s.m1};
        ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
        ck_assert_uint_eq(s.w.answer.refused, 0);
    }
    const struct job *web = cell_job(s.w.cell, s.web);
    ck_assert_int_eq(resize(&s, "web", 2, 2), ERR_OK);
    ck_assert_uint_eq(web->outdated, TASKS - RESIZE_TASKS_MAX);
    ck_assert_uint_le(s.w.changes.event_count, RESIZE_TASKS_MAX + 1);
    ck_assert(cell_resize_due(s.w.cell, web, 0));
    ck_assert_uint_eq(go_on(&s), TASKS - RESIZE_TASKS_MAX);
    ck_assert_uint_eq(web->outdated, 0);
    ck_assert(!cell_resize_due(s.w.cell, web, 0));
    ck_assert_int_eq(cpu_of(&s, 0), 2);
    ck_assert_int_eq(cpu_of(&s, TASKS - 1), 2);
    ck_assert_int_eq(world_update(&s.w, "web", 1, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_uint_eq(web->stopping, TASKS - 1);
    ck_assert_uint_eq(s.w.changes.event_count, SHRINK_EVENTS_MAX + 1);
    world_release(&s.w);
}
END_TEST

/* If there are more tasks than one command visits, `draw` selects the ones to visit. */
START_TEST(the_only_task_that_fits_its_new_limit_is_found)
{
    enum { TASKS = RESIZE_LOOKS_MAX + 10000, MOVES = TASKS - 5 };
    struct job_spec spec = web_spec(TASKS, 1);
    spec.limit = amounts(1, 1, 0, 0);
    struct world w = world_new();
    struct scene s = {.m1 = world_machine(&w, "m1", amounts(TASKS, TASKS, 10, 4)),
                      .m2 = world_machine(&w, "m2", amounts(10, 10, 10, 4))};
    s.w = w;
    s.web = world_job(&s.w, spec);
    for (uint32_t i = 0; i < TASKS;) {
        struct cmd cmd = {.kind = CMD_SCHEDULE};
        struct cmd_schedule *body = &cmd.schedule;
        body->placements = xcalloc(CMD_PLACEMENTS_MAX, sizeof *body->placements);
        for (; i < TASKS && body->placement_count < CMD_PLACEMENTS_MAX; i++)
            body->placements[body->placement_count++] = (struct placement){
                .task = {task_id_of(s.web, i), 0}, .machine = i == MOVES ? s.m2 : s.m1};
        ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    }
    const struct job *web = cell_job(s.w.cell, s.web);
    /* m1 has 1 cpu free, and only one task may be stopped. */
    ck_assert_int_eq(resize(&s, "web", 6, 1), ERR_OK);
    ck_assert_uint_ge(web->outdated, TASKS - 2);
    for (int i = 0; i < 100 && world_task(&s.w, s.web, MOVES)->shape != 0; i++) {
        struct cmd cmd = {.kind = CMD_JOB_RESIZE, .time_ms = s.w.cell->now_ms + 100};
        cmd.job_resize.job = s.web;
        ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    }
    ck_assert_int_eq(cpu_of(&s, MOVES), 6);
    world_release(&s.w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_resize");
    TCase *tcase = tcase_create("resize");
    tcase_add_loop_test(tcase, every_resource_of_the_limit_has_to_fit, 0, 6);
    tcase_add_loop_test(tcase, a_limit_larger_than_all_machines_stops_no_task, 0, 3);
    tcase_add_test(tcase, a_limit_that_fits_no_single_machine_stops_no_task);
    tcase_add_test(tcase, a_task_that_waits_to_move_keeps_its_limit_through_later_updates);
    tcase_add_test(tcase, the_number_of_earlier_limits_is_bounded);
    tcase_add_test(tcase, a_task_inside_an_alloc_grows_up_to_the_alloc);
    tcase_add_test(tcase, a_job_on_every_machine_continues_where_it_fits);
    tcase_add_test(tcase, an_unknown_job_is_not_resized);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_large_job_is_resized_in_pieces_and_shrunk_with_few_events);
    tcase_add_test(tcase, the_only_task_that_fits_its_new_limit_is_found);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
