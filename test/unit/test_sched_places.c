/*
 * test_sched_places.c - constraints and spreads in the scheduler: one small cell for each rule.
 */
#include "scene.h"

START_TEST(a_hard_constraint_chooses_the_machines)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL); /* the best fit, but for the rack */
    machine(&s, "m2", 4, "rack=r2", NULL);
    job_id web = settle(&s, spec_of("web", 200, 2, "rack = r2"));
    ck_assert_str_eq(where(&s, web), "m2 m2");
    ck_assert_str_eq(where(&s, settle(&s, spec_of("pin", 200, 1, "machine = m1"))), "m1");
    scene_release(&s);
}
END_TEST

START_TEST(constraints_reach_beyond_the_first_word_of_machines)
{
    struct scene s = empty_scene();
    char name[16];
    for (int i = 1; i <= 200; i++) {
        snprintf(name, sizeof name, "m%d", i);
        machine(&s, name, 1, i % 67 == 0 ? "ssd=yes" : NULL, NULL);
    }
    job_id web = settle(&s, spec_of("web", 200, 3, "ssd exists"));
    ck_assert_str_eq(where(&s, web), "m67 m134 -");
    scene_release(&s);
}
END_TEST

START_TEST(an_impossible_constraint_names_its_clause)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 4, "rack=r1", NULL);
    machine(&s, "m2", 4, "rack=r1", "ssd=yes");
    machine(&s, "m3", 1, "rack=r2", "ssd=yes");
    struct job_spec spec = spec_of("web", 200, 1, "ssd exists");
    ask(&spec, "rack = r9", 100); /* a wish keeps nobody away */
    ask(&spec, "rack in r2,r3", 0);
    spec.limit.v[RES_CPU] = 2000;
    job_id web = settle(&s, spec);
    ck_assert_str_eq(reason(&s, web), "no machine fits: 1 of 3 lacks cpu, 1 of 3 fails ssd exists, "
                                      "1 of 3 fails rack in r2,r3; would fit with cpu 1 instead "
                                      "of 2");
    job_id none = settle(&s, spec_of("none", 200, 1, "gpu exists"));
    ck_assert_str_eq(reason(&s, none), "no machine fits: 3 of 3 fail gpu exists; no machine meets "
                                       "what it asks for");
    scene_release(&s);
}
END_TEST

START_TEST(a_blocked_job_wakes_when_a_machine_joins_or_says_something_new)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, NULL, NULL);
    job_id web = settle(&s, spec_of("web", 200, 2, "ssd exists"));
    ck_assert_str_eq(where(&s, web), "- -");
    machine(&s, "m2", 1, "ssd=yes", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m2 -");
    machine(&s, "m1", 1, "ssd=yes", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m2 m1");
    scene_release(&s);
}
END_TEST

START_TEST(a_reason_follows_the_attributes)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, NULL, NULL);
    job_id web = settle(&s, spec_of("web", 200, 1, "rack = r1"));
    ck_assert_ptr_nonnull(strstr(reason(&s, web), "1 of 1 fails rack = r1"));
    job_id full = settle(&s, spec_of("full", 200, 1, NULL));
    ck_assert_str_eq(where(&s, full), "m1");
    machine(&s, "m1", 1, "rack=r1", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "-");
    ck_assert_ptr_nonnull(strstr(reason(&s, web), "1 of 1 lacks cpu"));
    scene_release(&s);
}
END_TEST

START_TEST(nobody_is_evicted_where_the_job_may_not_be)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL);
    machine(&s, "m2", 1, "rack=r2", NULL);
    struct job_spec low = spec_of("low", 50, 2, NULL);
    job_id batch = settle(&s, low);
    ck_assert_str_eq(where(&s, batch), "m1 m2");
    job_id web = settle(&s, spec_of("web", 200, 2, "rack = r2"));
    ck_assert_str_eq(where(&s, web), "m2 -");
    ck_assert_int_eq(world_task(&s.w, batch, 0)->stopping, CAUSE_NONE);
    ck_assert_int_eq(world_task(&s.w, batch, 1)->stopping, CAUSE_PREEMPTED);
    ck_assert_uint_eq(sched_stats(s.sched).preempted, 1);
    /* What m1 costs was kept for work of the same size and priority: it may go there. */
    ck_assert_str_eq(where(&s, settle(&s, spec_of("other", 200, 1, "rack = r1"))), "m1");
    scene_release(&s);
}
END_TEST

START_TEST(a_refusal_of_a_machine_that_changed_heals)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL);
    machine(&s, "m2", 4, "rack=r1", NULL);
    job_id web = world_job(&s.w, spec_of("web", 200, 1, "rack = r1"));
    world_tell(&s.w, s.sched);
    struct cmd_schedule out;
    ck_assert(sched_pass(s.sched, &out));
    struct cmd cmd = cmd_of_decision(&out);
    struct scene told_nothing = {s.w, sched_new()};
    machine(&told_nothing, "m1", 1, "rack=r2", NULL); /* meanwhile, and not told yet */
    s.w = told_nothing.w;
    struct delta *changed = delta_collect(s.w.cell, &s.w.changes);
    ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    ck_assert_uint_eq(s.w.answer.refused, 1);
    ck_assert_ptr_nonnull(strstr(s.w.answer.msg, "machine \"m1\" fails rack = r1"));
    sched_update(s.sched, changed);
    delta_unref(changed);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m2");
    sched_free(told_nothing.sched);
    scene_release(&s);
}
END_TEST

START_TEST(wishes_come_before_the_fit_and_add_up)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, NULL, NULL); /* the best fit */
    machine(&s, "m2", 8, "ssd=yes", NULL);
    machine(&s, "m3", 8, "rack=r1", "zone=z1");
    struct job_spec spec = spec_of("web", 200, 1, NULL);
    ask(&spec, "ssd exists", 50);
    ask(&spec, "rack = r1", 30);
    ask(&spec, "zone = z1", 30);
    ck_assert_str_eq(where(&s, settle(&s, spec)), "m3");
    struct job_spec one = spec_of("one", 200, 1, NULL);
    ask(&one, "ssd exists", 1);
    ck_assert_str_eq(where(&s, settle(&s, one)), "m2");
    struct job_spec none = spec_of("none", 200, 1, NULL);
    ask(&none, "gpu exists", 100);
    ck_assert_str_eq(where(&s, settle(&s, none)), "m1");
    scene_release(&s);
}
END_TEST

START_TEST(one_task_per_machine)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 8, NULL, NULL);
    machine(&s, "m2", 8, NULL, NULL);
    struct job_spec spec = spec_of("web", 200, 3, NULL);
    spread(&spec, "machine", 1, 0);
    job_id web = settle(&s, spec);
    ck_assert_str_eq(where(&s, web), "m1 m2 -");
    ck_assert_str_eq(reason(&s, web), "no machine fits: 2 of 2 are full with 1 per machine; no "
                                      "machine meets what it asks for");
    ck_assert_str_eq(where(&s, settle(&s, spec_of("other", 200, 1, NULL))), "m1"); /* of this job */
    end_task(&s, web, 1);
    ck_assert_str_eq(where(&s, web), "m1 - m2");
    scene_release(&s);
}
END_TEST

START_TEST(room_in_a_rack_is_room_on_each_of_its_machines)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL);
    machine(&s, "m2", 1, "rack=r1", NULL);
    machine(&s, "m3", 1, "rack=r2", NULL);
    machine(&s, "m4", 1, NULL, NULL); /* those without the attribute are together */
    machine(&s, "m5", 1, NULL, NULL);
    struct job_spec spec = spec_of("web", 200, 5, NULL);
    spread(&spec, "rack", 1, 0);
    job_id web = settle(&s, spec);
    ck_assert_str_eq(where(&s, web), "m1 m3 m4 - -");
    job_id high = settle(&s, spec_of("high", 400, 1, "machine = m1")); /* prod is not evicted */
    ck_assert_str_eq(where(&s, high), "-");
    end_task(&s, web, 0); /* the place on m1 goes to the higher one; the rack is free at m2 */
    ck_assert_str_eq(where(&s, high), "m1");
    ck_assert_str_eq(where(&s, web), "- m3 m4 m2 -");
    scene_release(&s);
}
END_TEST

START_TEST(a_task_that_stops_holds_its_place_in_the_spread)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL);
    machine(&s, "m2", 1, "rack=r1", NULL);
    struct job_spec spec = spec_of("low", 50, 2, NULL);
    spread(&spec, "rack", 1, 0);
    job_id low = settle(&s, spec);
    ck_assert_str_eq(where(&s, low), "m1 -");
    settle(&s, spec_of("web", 200, 1, "machine = m1"));
    ck_assert_int_eq(world_task(&s.w, low, 0)->stopping, CAUSE_PREEMPTED);
    ck_assert_str_eq(where(&s, low), "m1 -"); /* its room is taken, it is still there */
    end_task(&s, low, 0);
    ck_assert_str_eq(where(&s, low), "m2 -");
    scene_release(&s);
}
END_TEST

START_TEST(tasks_move_with_the_rack_of_their_machine)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, "rack=r1", NULL);
    machine(&s, "m2", 1, "rack=r1", NULL);
    struct job_spec spec = spec_of("web", 200, 3, NULL);
    spread(&spec, "rack", 1, 0);
    job_id web = settle(&s, spec);
    ck_assert_str_eq(where(&s, web), "m1 - -");
    machine(&s, "m1", 1, "rack=r2", NULL); /* nothing left m2, but its rack is empty now */
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m1 m2 -");
    machine(&s, "m3", 1, "rack=r2", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m1 m2 -");
    scene_release(&s);
}
END_TEST

START_TEST(a_weighted_spread_prefers_values_with_fewer)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 8, "rack=r1", NULL);
    machine(&s, "m2", 9, "rack=r1", NULL);
    machine(&s, "m3", 20, "rack=r2", NULL);
    struct job_spec spec = spec_of("web", 200, 5, NULL);
    spec.policy = POLICY_BEST_FIT;
    spread(&spec, "rack", 0, 10);
    spread(&spec, "machine", 0, 1);
    ck_assert_str_eq(where(&s, settle(&s, spec)), "m1 m3 m2 m3 m1");
    scene_release(&s);
}
END_TEST

START_TEST(a_new_scheduler_counts_what_is_there)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 8, "rack=r1", NULL);
    machine(&s, "m2", 8, "rack=r2", NULL);
    struct job_spec spec = spec_of("web", 200, 4, "rack exists");
    spread(&spec, "rack", 1, 0);
    job_id web = settle(&s, spec);
    ck_assert_str_eq(where(&s, web), "m1 m2 - -");
    world_tell_all(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m1 m2 - -");
    machine(&s, "m3", 8, "rack=r3", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m1 m2 m3 -");
    scene_release(&s);
}
END_TEST

START_TEST(many_tasks_with_a_hard_constraint_scan_as_few_machines_as_without)
{
    enum { MACHINES = 400, TASKS = 4000 };
    uint64_t scanned[2];
    for (int constrained = 0; constrained < 2; constrained++) {
        struct scene s = empty_scene();
        char name[16];
        for (int i = 1; i <= MACHINES; i++) {
            snprintf(name, sizeof name, "m%d", i);
            machine(&s, name, 10, "rack=r1", NULL);
        }
        job_id web = settle(&s, spec_of("web", 200, TASKS, constrained ? "rack = r1" : NULL));
        ck_assert_uint_eq(cell_job(s.w.cell, web)->counts[TASK_ASSIGNED], TASKS);
        scanned[constrained] = sched_stats(s.sched).machines_scanned;
        scene_release(&s);
    }
    ck_assert_uint_eq(scanned[0], scanned[1]);
}
END_TEST

/* Tasks of it fail, are pending again at once, and the scheduler decides for all of them. */
static void crash(struct scene *s, job_id id, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        ck_assert(world_exited(&s->w, world_task(&s->w, id, i), 1));
        world_tell(&s->w, s->sched);
    }
    world_settle(&s->w, s->sched);
}

static struct job_spec crashing(uint32_t priority, uint32_t replicas, const char *constraint)
{
    struct job_spec spec = spec_of("crashing", priority, replicas, constraint);
    spec.policy = POLICY_BEST_FIT;
    spec.backoff_ms = 0;
    return spec;
}

START_TEST(a_task_avoids_machines_it_crashed_on)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 8, NULL, NULL);
    machine(&s, "m2", 9, NULL, NULL);
    machine(&s, "m3", 10, NULL, NULL);
    job_id id = settle(&s, crashing(200, 7, NULL));
    ck_assert_str_eq(where(&s, id), "m1 m1 m1 m1 m1 m1 m1");
    crash(&s, id, 0, 5); /* so many that the best machine is remembered for all alike */
    ck_assert_str_eq(where(&s, id), "m2 m2 m2 m2 m2 m1 m1");
    crash(&s, id, 0, 1);
    ck_assert_str_eq(where(&s, id), "m3 m2 m2 m2 m2 m1 m1");
    ck_assert_str_eq(where(&s, settle(&s, spec_of("other", 200, 1, "machine = m1"))), "m1");
    crash(&s, id, 0, 1); /* all three are alike again */
    ck_assert_str_eq(where(&s, id), "m2 m2 m2 m2 m2 m1 m1");
    world_tell_all(&s.w, s.sched);
    crash(&s, id, 6, 1);
    ck_assert_str_eq(where(&s, id), "m2 m2 m2 m2 m2 m1 m2");
    scene_release(&s);
}
END_TEST

/* What was the third best before the first task was placed is not allowed for the second. */
START_TEST(machines_behind_those_that_are_avoided_are_looked_at_again)
{
    struct scene s = empty_scene();
    machine_id avoided[] = {machine(&s, "a1", 2, "rack=r1", NULL),
                            machine(&s, "a2", 2, "rack=r1", NULL)};
    machine(&s, "b1", 3, "rack=r2", NULL);
    machine(&s, "b2", 3, "rack=r2", NULL);
    machine(&s, "c1", 4, "rack=r3", NULL);
    struct job_spec spec = crashing(200, 2, NULL);
    spread(&spec, "rack", 1, 0);
    job_id id = world_job(&s.w, spec);
    for (uint32_t i = 0; i < 2; i++) {
        for (size_t m = 0; m < ARRAY_SIZE(avoided); m++) {
            const struct task *task = world_task(&s.w, id, i);
            ck_assert(world_place(&s.w, attempt_of(task), avoided[m], NULL, 0));
            ck_assert(world_exited(&s.w, world_task(&s.w, id, i), 1));
        }
    }
    world_tell_all(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, id), "b1 c1");
    scene_release(&s);
}
END_TEST

START_TEST(where_it_crashed_is_worse_than_any_wish)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 8, "ssd=yes", NULL);
    machine(&s, "m2", 9, NULL, NULL);
    struct job_spec spec = crashing(200, 1, NULL);
    ask(&spec, "ssd exists", 100);
    spread(&spec, "machine", 0, 100);
    job_id id = settle(&s, spec);
    ck_assert_str_eq(where(&s, id), "m1");
    crash(&s, id, 0, 1);
    ck_assert_str_eq(where(&s, id), "m2");
    scene_release(&s);
}
END_TEST

START_TEST(nobody_is_evicted_to_avoid_a_machine)
{
    struct scene s = empty_scene();
    machine(&s, "m1", 1, NULL, NULL);
    machine(&s, "m2", 1, NULL, NULL);
    job_id id = settle(&s, crashing(200, 1, "machine != m3"));
    job_id low = settle(&s, spec_of("low", 50, 1, NULL));
    ck_assert_str_eq(where(&s, id), "m1");
    ck_assert_str_eq(where(&s, low), "m2");
    crash(&s, id, 0, 1);
    ck_assert_str_eq(where(&s, id), "m1");
    ck_assert_uint_eq(sched_stats(s.sched).preempted, 0);
    /* But when somebody has to go, rather elsewhere. */
    ck_assert(world_exited(&s.w, world_task(&s.w, id, 0), 1));
    job_id more = world_job(&s.w, spec_of("more", 50, 1, NULL));
    ck_assert(world_place(&s.w, attempt_of(world_task(&s.w, more, 0)), (machine_id){1}, NULL, 0));
    world_tell_all(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, id), "m2");
    ck_assert_int_eq(world_task(&s.w, low, 0)->stopping, CAUSE_PREEMPTED);
    scene_release(&s);
}
END_TEST

/* Six plain tasks come first; two that must have an ssd have two machines of eight to go to. */
START_TEST(machines_that_picky_work_needs_are_left_to_it)
{
    static const struct {
        enum policy policy;
        const char *plain, *picky;
    } rows[] = {{POLICY_BEST_FIT, "m1 m2 m3 m4 m5 m6", "- -"},
                {POLICY_STRANDING_AWARE, "m2 m3 m5 m6 m7 m8", "m1 m4"}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct scene s = empty_scene();
        char name[16];
        for (int m = 1; m <= 8; m++) {
            snprintf(name, sizeof name, "m%d", m);
            machine(&s, name, 1, m == 1 || m == 4 ? "ssd=yes" : NULL, NULL);
        }
        struct job_spec plain = spec_of("plain", 200, 6, NULL);
        struct job_spec picky = spec_of("picky", 200, 2, "ssd exists");
        plain.policy = picky.policy = rows[i].policy;
        job_id plain_id = world_job(&s.w, plain);
        world_tell(&s.w, s.sched);
        job_id picky_id = world_job(&s.w, picky);
        world_tell(&s.w, s.sched);
        world_settle(&s.w, s.sched);
        ck_assert_str_eq(where(&s, plain_id), rows[i].plain);
        ck_assert_str_eq(where(&s, picky_id), rows[i].picky);
        scene_release(&s);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_places");
    TCase *tcase = tcase_create("places");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_hard_constraint_chooses_the_machines);
    tcase_add_test(tcase, constraints_reach_beyond_the_first_word_of_machines);
    tcase_add_test(tcase, an_impossible_constraint_names_its_clause);
    tcase_add_test(tcase, a_blocked_job_wakes_when_a_machine_joins_or_says_something_new);
    tcase_add_test(tcase, a_reason_follows_the_attributes);
    tcase_add_test(tcase, nobody_is_evicted_where_the_job_may_not_be);
    tcase_add_test(tcase, a_refusal_of_a_machine_that_changed_heals);
    tcase_add_test(tcase, wishes_come_before_the_fit_and_add_up);
    tcase_add_test(tcase, one_task_per_machine);
    tcase_add_test(tcase, room_in_a_rack_is_room_on_each_of_its_machines);
    tcase_add_test(tcase, a_task_that_stops_holds_its_place_in_the_spread);
    tcase_add_test(tcase, tasks_move_with_the_rack_of_their_machine);
    tcase_add_test(tcase, a_weighted_spread_prefers_values_with_fewer);
    tcase_add_test(tcase, a_new_scheduler_counts_what_is_there);
    tcase_add_test(tcase, many_tasks_with_a_hard_constraint_scan_as_few_machines_as_without);
    tcase_add_test(tcase, a_task_avoids_machines_it_crashed_on);
    tcase_add_test(tcase, machines_behind_those_that_are_avoided_are_looked_at_again);
    tcase_add_test(tcase, where_it_crashed_is_worse_than_any_wish);
    tcase_add_test(tcase, nobody_is_evicted_to_avoid_a_machine);
    tcase_add_test(tcase, machines_that_picky_work_needs_are_left_to_it);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
