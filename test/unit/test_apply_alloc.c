/*
 * test_apply_alloc.c - allocs: which tasks they accept, how much they hold, and how they end.
 */
#include "cell_fixture.h"

/* Machines m1 and m2, a set "res" of two allocs (one on each), and a job "web" inside it. */
struct scene {
    struct world w;
    machine_id m1, m2;
    job_id res, web;
};

static struct job_spec set_named(const char *name, uint32_t replicas, uint32_t priority)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    words_release(&spec.argv);
    spec.argv = (struct words){0};
    spec.is_alloc_set = true;
    spec.limit = amounts(3000, 30, 1, 2);
    spec.replicas = replicas;
    return spec;
}

static struct job_spec spec_inside(const char *name, uint32_t replicas)
{
    struct job_spec spec = spec_named(name, "ada", 100);
    str_copy(spec.alloc_set, sizeof spec.alloc_set, "res");
    spec.replicas = replicas;
    return spec;
}

static void expect_msg(const struct world *w, const char *part)
{
    ck_assert_msg(strstr(w->answer.msg, part) != NULL, "\"%s\" does not say \"%s\"", w->answer.msg,
                  part);
}

static const struct task *alloc_of(struct scene *s, uint32_t index)
{
    return world_task(&s->w, s->res, index);
}

static bool put_inside(struct scene *s, job_id job, uint32_t index, uint32_t alloc)
{
    struct placement p = {.task = attempt_of(world_task(&s->w, job, index)),
                          .machine = alloc_of(s, alloc)->machine,
                          .alloc = alloc_of(s, alloc)->id};
    return world_placement(&s->w, p, NULL);
}

static struct scene scene_new(void)
{
    struct scene s = {.w = world_new()};
    s.m1 = world_machine(&s.w, "m1", amounts(4000, 100, 10, 4));
    s.m2 = world_machine(&s.w, "m2", amounts(4000, 100, 10, 4));
    s.res = world_job(&s.w, set_named("res", 2, 110));
    ck_assert(world_place(&s.w, attempt_of(alloc_of(&s, 0)), s.m1, NULL, 0));
    ck_assert(world_place(&s.w, attempt_of(alloc_of(&s, 1)), s.m2, NULL, 0));
    s.web = world_job(&s.w, spec_inside("web", 4));
    return s;
}

/* A scene in which the tasks of web run, as many in the first alloc as fit, and one in the second.
 */
static struct scene scene_full(void)
{
    struct scene s = scene_new();
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_msg(put_inside(&s, s.web, i, i < 3 ? 0 : 1), "%s", s.w.answer.msg);
        ck_assert(world_running(&s.w, world_task(&s.w, s.web, i), 10 + (int32_t)i));
    }
    return s;
}

static void expect_stopping(struct scene *s, uint32_t from, uint32_t to, enum cause cause)
{
    for (uint32_t i = from; i < to; i++)
        ck_assert_int_eq(world_task(&s->w, s->web, i)->stopping, cause);
}

static void end_all(struct scene *s, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        ck_assert(world_exited(&s->w, world_task(&s->w, s->web, i), -15));
}

static void expect_pending(struct scene *s, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        ck_assert_int_eq(world_task(&s->w, s->web, i)->state, TASK_PENDING);
        ck_assert_uint_eq(world_task(&s->w, s->web, i)->alloc.v, 0);
        ck_assert_uint_eq(world_task(&s->w, s->web, i)->failures, 0);
    }
}

START_TEST(a_set_with_fields_of_a_task_is_refused)
{
    struct world w = world_new();
    struct job_spec spec = set_named("res", 1, 100);
    words_add(&spec.argv, "true");
    ck_assert_int_eq(world_submit(&w, spec), ERR_INVALID);
    expect_msg(&w, "alloc: runs nothing by itself");
    spec = set_named("res", 1, 100);
    str_copy(spec.alloc_set, sizeof spec.alloc_set, "other");
    ck_assert_int_eq(world_submit(&w, spec), ERR_INVALID);
    expect_msg(&w, "lies in no other");
    spec = set_named("res", 1, 100);
    spec.limit.v[RES_RAM] = 0;
    ck_assert_int_eq(world_submit(&w, spec), ERR_INVALID);
    expect_msg(&w, "alloc.resources.ram");
    world_release(&w);
}
END_TEST

START_TEST(a_job_needs_a_live_and_large_enough_set_of_its_user)
{
    struct scene s = scene_new();
    struct job_spec spec = spec_inside("db", 1);
    str_copy(spec.alloc_set, sizeof spec.alloc_set, "none");
    ck_assert_int_eq(world_submit(&s.w, spec), ERR_NOT_FOUND);
    expect_msg(&s.w, "there is no alloc set \"none\"; submit it first");
    spec = spec_inside("db", 1);
    str_copy(spec.alloc_set, sizeof spec.alloc_set, "web");
    ck_assert_int_eq(world_submit(&s.w, spec), ERR_INVALID);
    expect_msg(&s.w, "\"web\" is a job like any other");
    spec = spec_inside("db", 1);
    str_copy(spec.user, sizeof spec.user, "bob");
    ck_assert_int_eq(world_submit(&s.w, spec), ERR_DENIED);
    expect_msg(&s.w, "is of user \"ada\"");
    spec = spec_inside("db", 1);
    spec.limit.v[RES_RAM] = 31;
    ck_assert_int_eq(world_submit(&s.w, spec), ERR_INVALID);
    expect_msg(&s.w, "more ram than an alloc of \"res\" has");
    ck_assert_int_eq(world_kill(&s.w, "res"), ERR_OK);
    ck_assert_int_eq(world_submit(&s.w, spec_inside("db", 1)), ERR_NOT_FOUND);
    world_release(&s.w);
}
END_TEST

START_TEST(an_alloc_runs_when_it_is_placed_and_reserves_its_limit)
{
    struct scene s = scene_new();
    ck_assert_int_eq(alloc_of(&s, 0)->state, TASK_RUNNING);
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 3000);
    ck_assert(put_inside(&s, s.web, 0, 0));
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 3000);
    ck_assert_uint_eq(cell_machine(s.w.cell, s.m1)->task_count, 2);
    ck_assert_int_eq(alloc_room(s.w.cell, alloc_of(&s, 0)).free.v[RES_CPU], 2000);
    /* The borglet is not involved. */
    ck_assert(!world_exited(&s.w, alloc_of(&s, 0), 1));
    world_release(&s.w);
}
END_TEST

START_TEST(a_task_goes_into_an_alloc_of_its_set_and_nowhere_else)
{
    struct scene s = scene_new();
    job_id other = world_job(&s.w, set_named("other", 1, 110));
    job_id free = world_job(&s.w, spec_named("free", "ada", 100));
    struct attempt_ref web = attempt_of(world_task(&s.w, s.web, 0));
    const struct {
        struct placement p;
        const char *msg;
    } wrong[] = {
        {{.task = web, .machine = s.m1}, "does not run there, but in alloc set \"res\""},
        {{.task = web, .machine = s.m1, .alloc = task_id_of(other, 0)},
         "does not run there, but in alloc set \"res\""},
        {{.task = web, .machine = s.m1, .alloc = task_id_of(s.res, 9)},
         "does not run there, but in alloc set \"res\""},
        {{.task = web, .machine = s.m2, .alloc = task_id_of(s.res, 0)},
         "alloc \"res/0\" is not there"},
        {{.task = attempt_of(world_task(&s.w, free, 0)),
          .machine = s.m1,
          .alloc = task_id_of(s.res, 0)},
         "does not run in an alloc"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        ck_assert(!world_placement(&s.w, wrong[i].p, NULL));
        expect_msg(&s.w, wrong[i].msg);
    }
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(put_inside(&s, s.web, i, 0));
    ck_assert(!put_inside(&s, s.web, 3, 0));
    expect_msg(&s.w, "no room in its alloc on machine \"m1\"");
    world_release(&s.w);
}
END_TEST

START_TEST(jobs_share_an_alloc_and_leave_it_one_by_one)
{
    struct scene s = scene_new();
    job_id db = world_job(&s.w, spec_inside("db", 2));
    ck_assert(put_inside(&s, s.web, 0, 0));
    ck_assert(put_inside(&s, db, 0, 0));
    ck_assert(put_inside(&s, db, 1, 0));
    ck_assert(!put_inside(&s, s.web, 1, 0));
    ck_assert_int_eq(world_kill(&s.w, "db"), ERR_OK);
    ck_assert(put_inside(&s, s.web, 1, 0)); /* a stopping task does not count */
    ck_assert(world_exited(&s.w, world_task(&s.w, db, 0), 0));
    ck_assert_int_eq(world_task(&s.w, db, 0)->state, TASK_KILLED);
    ck_assert_int_eq(alloc_of(&s, 0)->state, TASK_RUNNING);
    world_release(&s.w);
}
END_TEST

START_TEST(a_killed_set_stops_the_tasks_inside)
{
    struct scene s = scene_full();
    ck_assert_int_eq(world_kill(&s.w, "res"), ERR_OK);
    expect_stopping(&s, 0, 4, CAUSE_KILLED);
    end_all(&s, 3, 4);
    ck_assert_int_eq(alloc_of(&s, 1)->state, TASK_KILLED);
    ck_assert_int_eq(alloc_of(&s, 0)->state, TASK_RUNNING);
    ck_assert_int_eq(alloc_of(&s, 0)->stopping, CAUSE_KILLED);
    end_all(&s, 0, 3);
    ck_assert(job_is_dead(cell_job(s.w.cell, s.res)));
    expect_pending(&s, 0, 4);
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 0);
    ck_assert_ptr_null(cell_alloc_set(s.w.cell, &cell_job(s.w.cell, s.web)->spec));
    world_release(&s.w);
}
END_TEST

START_TEST(an_empty_alloc_ends_at_once)
{
    struct scene s = scene_new();
    ck_assert_int_eq(world_kill(&s.w, "res"), ERR_OK);
    ck_assert(job_is_dead(cell_job(s.w.cell, s.res)));
    ck_assert_uint_eq(cell_machine(s.w.cell, s.m1)->task_count, 0);
    world_release(&s.w);
}
END_TEST

START_TEST(a_shrunk_set_ends_its_last_allocs)
{
    struct scene s = scene_full();
    ck_assert_int_eq(world_update(&s.w, "res", 1, JOB_UPDATE_KEEP), ERR_OK);
    expect_stopping(&s, 0, 3, CAUSE_NONE);
    expect_stopping(&s, 3, 4, CAUSE_KILLED);
    end_all(&s, 3, 4);
    ck_assert_int_eq(alloc_of(&s, 1)->state, TASK_KILLED);
    expect_pending(&s, 3, 4);
    world_release(&s.w);
}
END_TEST

START_TEST(a_lost_machine_loses_alloc_and_tasks)
{
    struct scene s = scene_full();
    ck_assert_int_eq(world_machine_down(&s.w, s.m1), ERR_OK);
    expect_pending(&s, 0, 3);
    ck_assert_int_eq(alloc_of(&s, 0)->state, TASK_PENDING);
    ck_assert_int_eq(alloc_of(&s, 0)->cause, CAUSE_MACHINE_DOWN);
    ck_assert_int_eq(alloc_of(&s, 1)->state, TASK_RUNNING);
    world_release(&s.w);
}
END_TEST

START_TEST(a_machine_that_shrinks_stops_the_alloc_as_a_whole)
{
    struct scene s = scene_full();
    world_machine(&s.w, "m1", amounts(2000, 100, 10, 4));
    ck_assert_int_eq(alloc_of(&s, 0)->stopping, CAUSE_OUT_OF_RESOURCES);
    expect_stopping(&s, 0, 3, CAUSE_OUT_OF_RESOURCES);
    expect_stopping(&s, 3, 4, CAUSE_NONE);
    world_release(&s.w);
}
END_TEST

START_TEST(a_drain_moves_alloc_and_tasks_together)
{
    struct scene s = scene_full();
    ck_assert_int_eq(world_drain(&s.w, "m1", true), ERR_OK);
    expect_msg(&s.w, "told to stop: 1");
    expect_stopping(&s, 0, 3, CAUSE_DRAIN);
    ck_assert(!cell_drain_due(s.w.cell, cell_machine(s.w.cell, s.m1)));
    end_all(&s, 0, 3);
    ck_assert_int_eq(alloc_of(&s, 0)->state, TASK_PENDING);
    ck_assert_int_eq(alloc_of(&s, 0)->cause, CAUSE_DRAIN);
    expect_pending(&s, 0, 3);
    world_release(&s.w);
}
END_TEST

/* A job in two allocs that allows one disruption at a time. */
START_TEST(disruption_budgets_inside_an_alloc_protect_it)
{
    struct scene s = scene_new();
    struct job_spec spec = spec_inside("db", 2);
    spec.disruptions_max = 1;
    job_id db = world_job(&s.w, spec);
    ck_assert(put_inside(&s, db, 0, 0));
    ck_assert(put_inside(&s, db, 1, 1));
    ck_assert_int_eq(world_drain(&s.w, "m1", true), ERR_OK);
    ck_assert_int_eq(world_drain(&s.w, "m2", true), ERR_OK);
    expect_msg(&s.w, "waiting for the disruption budget of their jobs: 2");
    ck_assert_int_eq(alloc_of(&s, 0)->stopping, CAUSE_DRAIN);
    ck_assert_int_eq(alloc_of(&s, 1)->stopping, CAUSE_NONE);
    ck_assert(world_exited(&s.w, world_task(&s.w, db, 0), 0));
    ck_assert_int_eq(cell_job(s.w.cell, db)->disrupted, 1);
    ck_assert_int_eq(world_drain(&s.w, "m1", false), ERR_OK);
    ck_assert(world_place(&s.w, attempt_of(alloc_of(&s, 0)), s.m1, NULL, 0));
    ck_assert(put_inside(&s, db, 0, 0));
    ck_assert(!cell_drain_due(s.w.cell, cell_machine(s.w.cell, s.m2)));
    ck_assert(world_running(&s.w, world_task(&s.w, db, 0), 5));
    ck_assert(cell_drain_due(s.w.cell, cell_machine(s.w.cell, s.m2)));
    world_release(&s.w);
}
END_TEST

START_TEST(an_eviction_from_outside_evicts_the_whole_alloc)
{
    struct scene s = scene_full();
    job_id prod = world_job(&s.w, spec_named("prod", "eve", 200));
    struct attempt_ref task = attempt_of(world_task(&s.w, prod, 0));
    struct attempt_ref inside = attempt_of(world_task(&s.w, s.web, 0));
    ck_assert(!world_place(&s.w, task, s.m1, &inside, 1));
    expect_msg(&s.w, "\"web/0\" does not take room where the task is to go");
    struct attempt_ref alloc = attempt_of(alloc_of(&s, 0));
    ck_assert_msg(world_place(&s.w, task, s.m1, &alloc, 1), "%s", s.w.answer.msg);
    expect_stopping(&s, 0, 3, CAUSE_PREEMPTED);
    end_all(&s, 0, 3);
    ck_assert_int_eq(alloc_of(&s, 0)->cause, CAUSE_PREEMPTED);
    ck_assert_uint_eq(cell_machine(s.w.cell, s.m1)->task_count, 1);
    world_release(&s.w);
}
END_TEST

START_TEST(inside_an_alloc_the_priority_decides)
{
    struct scene s = scene_full();
    struct job_spec spec = spec_inside("db", 1);
    spec.priority = 119;
    spec.limit.v[RES_CPU] = 2000;
    job_id db = world_job(&s.w, spec);
    struct attempt_ref victims[] = {attempt_of(world_task(&s.w, s.web, 0)),
                                    attempt_of(world_task(&s.w, s.web, 1))};
    struct attempt_ref elsewhere = attempt_of(world_task(&s.w, s.web, 3));
    struct placement p = {.task = attempt_of(world_task(&s.w, db, 0)),
                          .machine = s.m1,
                          .alloc = alloc_of(&s, 0)->id,
                          .victim_count = 1};
    ck_assert(!world_placement(&s.w, p, victims));
    expect_msg(&s.w, "no room in its alloc");
    ck_assert(!world_placement(&s.w, p, &elsewhere));
    p.victim_count = 2;
    ck_assert_msg(world_placement(&s.w, p, victims), "%s", s.w.answer.msg);
    expect_stopping(&s, 0, 2, CAUSE_PREEMPTED);
    ck_assert_int_eq(alloc_of(&s, 0)->stopping, CAUSE_NONE);
    world_release(&s.w);
}
END_TEST

START_TEST(a_job_inside_uses_no_quota_besides_its_set)
{
    struct scene s = scene_new();
    struct cmd cmd = {.kind = CMD_QUOTA_SET};
    cmd.quota_set.quota = (struct quota){.user = "ada",
                                         .band = BAND_BATCH,
                                         .limit = amounts(6000, 60, 2, 4),
                                         .tasks = QUOTA_UNLIMITED};
    ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    ck_assert_int_eq(world_submit(&s.w, spec_named("free", "ada", 100)), ERR_LIMIT);
    ck_assert_int_eq(world_submit(&s.w, spec_inside("db", 5)), ERR_OK);
    ck_assert_int_eq(world_submit(&s.w, set_named("more", 1, 100)), ERR_LIMIT);
    world_release(&s.w);
}
END_TEST

/* Another user's set takes the name: the waiting tasks do not use it. */
START_TEST(a_set_of_the_same_name_must_belong_to_the_same_user)
{
    struct scene s = scene_new();
    ck_assert_int_eq(world_kill(&s.w, "res"), ERR_OK);
    struct job_spec spec = set_named("res", 1, 110);
    str_copy(spec.user, sizeof spec.user, "bob");
    s.res = world_job(&s.w, spec);
    ck_assert(world_place(&s.w, attempt_of(alloc_of(&s, 0)), s.m1, NULL, 0));
    ck_assert(!put_inside(&s, s.web, 0, 0));
    expect_msg(&s.w, "does not run there, but in alloc set \"res\"");
    world_release(&s.w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_alloc");
    TCase *tcase = tcase_create("allocs");
    tcase_add_test(tcase, a_set_with_fields_of_a_task_is_refused);
    tcase_add_test(tcase, a_job_needs_a_live_and_large_enough_set_of_its_user);
    tcase_add_test(tcase, an_alloc_runs_when_it_is_placed_and_reserves_its_limit);
    tcase_add_test(tcase, a_task_goes_into_an_alloc_of_its_set_and_nowhere_else);
    tcase_add_test(tcase, jobs_share_an_alloc_and_leave_it_one_by_one);
    tcase_add_test(tcase, a_killed_set_stops_the_tasks_inside);
    tcase_add_test(tcase, an_empty_alloc_ends_at_once);
    tcase_add_test(tcase, a_shrunk_set_ends_its_last_allocs);
    tcase_add_test(tcase, a_lost_machine_loses_alloc_and_tasks);
    tcase_add_test(tcase, a_machine_that_shrinks_stops_the_alloc_as_a_whole);
    tcase_add_test(tcase, a_drain_moves_alloc_and_tasks_together);
    tcase_add_test(tcase, disruption_budgets_inside_an_alloc_protect_it);
    tcase_add_test(tcase, an_eviction_from_outside_evicts_the_whole_alloc);
    tcase_add_test(tcase, inside_an_alloc_the_priority_decides);
    tcase_add_test(tcase, a_job_inside_uses_no_quota_besides_its_set);
    tcase_add_test(tcase, a_set_of_the_same_name_must_belong_to_the_same_user);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
