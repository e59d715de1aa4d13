/*
 * test_sched_company.c - near and apart in the scheduler: one small cell for each rule.
 */
#include "scene.h"

/* m1 and m2 in rack r1, m3 in r2, m4 in none, with so many cpus each. */
static struct scene racks(int64_t cpus)
{
    struct scene s = empty_scene();
    machine(&s, "m1", cpus, "rack=r1", NULL);
    machine(&s, "m2", cpus, "rack=r1", "ssd=yes");
    machine(&s, "m3", cpus, "rack=r2", NULL);
    machine(&s, "m4", cpus, NULL, NULL);
    return s;
}

/* Best fit: the fullest machine that does, else the first. */
static struct job_spec job_of(const char *name, uint32_t priority, uint32_t replicas,
                              const char *constraint)
{
    struct job_spec spec = spec_of(name, priority, replicas, constraint);
    spec.policy = POLICY_BEST_FIT;
    return spec;
}

static job_id pinned(struct scene *s, const char *name, const char *where)
{
    return settle(s, job_of(name, 200, 1, where));
}

/* A cache is on m1, a noisy job on m3; then two tasks of web ask. */
static const struct {
    const char *what, *clause;
    uint32_t weight;
    const char *where, *reason;
} asked[] = {
    {"near, by machine", "machine near cache", 0, "m1 m1", ""},
    {"near, by rack", "rack near cache", 0, "m1 m1", ""},
    {"near what is not there", "rack near nobody", 0, "- -",
     "no machine fits: 4 of 4 have no nobody in their rack; no machine meets what it asks for"},
    {"apart, by machine", "machine apart cache", 0, "m3 m3", ""},
    {"apart, by rack", "rack apart cache", 0, "m3 m3", ""},
    {"apart what is not there", "rack apart nobody", 0, "m1 m1", ""},
    {"apart by an attribute nobody has", "power apart cache", 0, "- -",
     "no machine fits: 4 of 4 have cache in their power; no machine meets what it asks for"},
    {"near by an attribute nobody has", "power near cache", 0, "m1 m1", ""},
    {"one or the other", "rack near noisy|ssd exists", 0, "m3 m3", ""},
    {"the other", "rack near nobody|ssd exists", 0, "m2 m2", ""},
    {"one or the other company", "rack near nobody|machine near noisy", 0, "m3 m3", ""},
    {"neither", "rack near nobody|gpu exists", 0, "- -",
     "no machine fits: 4 of 4 fail rack near nobody or gpu exists; no machine meets what it asks "
     "for"},
    {"a wish to be near", "machine near noisy", 50, "m3 m3", ""},
    {"a wish to be apart", "rack apart cache", 50, "m3 m3", ""},
    {"a wish that cannot be", "rack near nobody", 50, "m1 m1", ""},
    {"near itself", "rack near web", 0, "m1 m1", ""},
    {"apart from itself", "rack apart web", 0, "m1 m3", ""},
};

START_TEST(a_job_goes_where_its_company_is_or_is_not)
{
    struct scene s = racks(8);
    pinned(&s, "cache", "machine = m1");
    pinned(&s, "noisy", "machine = m3");
    struct job_spec spec = job_of("web", 200, 2, NULL);
    ask(&spec, asked[_i].clause, asked[_i].weight);
    job_id web = settle(&s, spec);
    ck_assert_msg(strcmp(where(&s, web), asked[_i].where) == 0, "%s: %s", asked[_i].what,
                  where(&s, web));
    ck_assert_str_eq(reason(&s, web), asked[_i].reason);
    world_tell_all(&s.w, s.sched); /* a new scheduler counts the same */
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), asked[_i].where);
    scene_release(&s);
}
END_TEST

START_TEST(reasons_name_the_company)
{
    struct scene s = racks(8);
    pinned(&s, "cache", "machine = m1");
    struct job_spec spec = job_of("web", 200, 1, "rack apart cache");
    ask(&spec, "machine near cache", 0);
    ck_assert_str_eq(reason(&s, settle(&s, spec)),
                     "no machine fits: 2 of 4 have cache in their rack, 2 of 4 have no cache; no "
                     "machine meets what it asks for");
    scene_release(&s);
}
END_TEST

START_TEST(who_is_apart_keeps_the_other_away)
{
    struct scene s = racks(8);
    struct job_spec lonely = job_of("lonely", 200, 1, "rack = r1");
    ask(&lonely, "rack apart web", 0);
    settle(&s, lonely);
    ck_assert_str_eq(where(&s, settle(&s, job_of("web", 200, 2, NULL))), "m3 m3");
    ck_assert_str_eq(where(&s, settle(&s, job_of("other", 200, 1, "rack = r1"))), "m1");
    ck_assert_int_eq(world_kill(&s.w, "web"), ERR_OK);
    job_id web = cell_job_named(s.w.cell, "web")->id;
    world_tell(&s.w, s.sched);
    end_task(&s, web, 0);
    end_task(&s, web, 1);
    /* The next job of that name. */
    web = settle(&s, job_of("web", 200, 1, "rack = r1"));
    ck_assert_str_eq(reason(&s, web), "no machine fits: 2 of 4 fail rack = r1, 2 of 4 are kept "
                                      "free of it by lonely; no machine meets what it asks for");
    end_task(&s, cell_job_named(s.w.cell, "lonely")->id, 0);
    ck_assert_str_eq(where(&s, web), "m1");
    scene_release(&s);
}
END_TEST

START_TEST(several_keepers_are_not_named)
{
    struct scene s = racks(1);
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        settle(&s, job_of(names[i], 200, 1, "machine apart web"));
    ck_assert_str_eq(reason(&s, settle(&s, job_of("web", 50, 1, NULL))),
                     "no machine fits: 4 of 4 are kept free of it by other jobs; no machine meets "
                     "what it asks for");
    scene_release(&s);
}
END_TEST

START_TEST(apart_with_an_alternative_keeps_nobody_away)
{
    struct scene s = racks(8);
    settle(&s, job_of("lonely", 200, 1, "machine apart web|ssd exists"));
    struct job_spec soft = job_of("soft", 200, 1, NULL);
    ask(&soft, "machine apart web", 100);
    settle(&s, soft);
    ck_assert_str_eq(where(&s, settle(&s, job_of("web", 200, 2, NULL))), "m1 m1");
    scene_release(&s);
}
END_TEST

START_TEST(a_job_waits_for_its_company_and_goes_when_it_comes)
{
    struct scene s = racks(2);
    job_id web = settle(&s, job_of("web", 300, 2, "rack near cache"));
    job_id side = settle(&s, job_of("side", 100, 1, "machine near cache"));
    ck_assert_str_eq(where(&s, web), "- -");
    /* In the pass that places the cache: the higher one before the lower one. */
    job_id cache = settle(&s, job_of("cache", 200, 1, "machine = m2"));
    ck_assert_str_eq(where(&s, cache), "m2");
    ck_assert_str_eq(where(&s, web), "m2 m1");
    ck_assert_str_eq(where(&s, side), "-");
    ck_assert_ptr_nonnull(strstr(reason(&s, side), "3 of 4 have no cache"));
    end_task(&s, web, 0);
    ck_assert_str_eq(where(&s, side), "m2");
    scene_release(&s);
}
END_TEST

START_TEST(of_one_priority_the_earlier_job_is_woken_too)
{
    struct scene s = racks(1);
    job_id web = settle(&s, job_of("web", 200, 1, "rack near cache"));
    struct job_spec cache = job_of("cache", 200, 1, "machine = m1");
    struct job_spec batch = job_of("batch", 200, 4, NULL);
    job_id id = world_job(&s.w, cache);
    world_tell(&s.w, s.sched);
    job_id last = settle(&s, batch);
    ck_assert_str_eq(where(&s, id), "m1");
    ck_assert_str_eq(where(&s, web), "m2");
    ck_assert_str_eq(where(&s, last), "m3 m4 - -");
    scene_release(&s);
}
END_TEST

START_TEST(a_job_waits_until_whom_it_avoids_is_gone)
{
    struct scene s = racks(8);
    struct job_spec noisy = job_of("noisy", 50, 3, NULL);
    spread(&noisy, "rack", 1, 0);
    job_id away = settle(&s, noisy);
    ck_assert_str_eq(where(&s, away), "m1 m3 m4");
    /* Nobody is evicted for company. */
    job_id web = settle(&s, job_of("web", 200, 1, "rack apart noisy"));
    ck_assert_str_eq(where(&s, web), "-");
    ck_assert_uint_eq(sched_stats(s.sched).preempted, 0);
    ck_assert_int_eq(world_kill(&s.w, "noisy"), ERR_OK);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "-"); /* it stops, and is still there */
    end_task(&s, away, 1);
    ck_assert_str_eq(where(&s, web), "m3");
    scene_release(&s);
}
END_TEST

START_TEST(a_job_on_every_machine_comes_to_those_it_was_kept_away_from)
{
    struct scene s = racks(2);
    struct job_spec spec = job_of("side", 200, 0, NULL);
    spec.every_machine = true;
    struct job_spec apart = job_of("lonely", 200, 1, "rack apart side");
    ask(&apart, "machine = m1", 0);
    job_id lonely = settle(&s, apart);
    job_id side = settle(&s, spec);
    ck_assert_str_eq(where(&s, side), "- - m3 m4");
    ck_assert_int_eq(world_kill(&s.w, "lonely"), ERR_OK);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, side), "- - m3 m4");
    end_task(&s, lonely, 0);
    ck_assert_str_eq(where(&s, side), "m1 m2 m3 m4");
    scene_release(&s);
}
END_TEST

START_TEST(near_itself_stays_where_it_began_until_all_are_gone)
{
    struct scene s = racks(1);
    job_id web = settle(&s, job_of("web", 200, 3, "rack near web"));
    ck_assert_str_eq(where(&s, web), "m1 m2 -");
    end_task(&s, web, 0);
    ck_assert_str_eq(where(&s, web), "- m2 m1");
    job_id next = settle(&s, job_of("next", 200, 1, "rack = r1"));
    end_task(&s, web, 1);
    ck_assert_str_eq(where(&s, next), "m2");
    ck_assert_int_eq(world_update(&s.w, "web", 4, JOB_UPDATE_KEEP), ERR_OK);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "- - m1 -"); /* its rack is full */
    job_id filler = settle(&s, job_of("filler", 300, 1, "rack = r1"));
    end_task(&s, web, 2); /* the filler takes the place: web begins anew in another rack */
    ck_assert_str_eq(where(&s, filler), "m1");
    ck_assert_str_eq(where(&s, web), "- - - m3");
    scene_release(&s);
}
END_TEST

START_TEST(company_moves_with_the_rack_of_its_machine)
{
    struct scene s = racks(1);
    pinned(&s, "cache", "machine = m1");
    job_id web = settle(&s, job_of("web", 200, 3, "rack near cache"));
    job_id shy = settle(&s, job_of("shy", 100, 2, "rack apart cache"));
    ck_assert_str_eq(where(&s, web), "m2 - -");
    ck_assert_str_eq(where(&s, shy), "m3 m4");
    machine(&s, "m5", 1, "rack=r3", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m2 - -");
    machine(&s, "m1", 1, "rack=r3", NULL);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(where(&s, web), "m2 m5 -");
    scene_release(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_company");
    TCase *tcase = tcase_create("company");
    tcase_add_loop_test(tcase, a_job_goes_where_its_company_is_or_is_not, 0, ARRAY_SIZE(asked));
    tcase_add_test(tcase, reasons_name_the_company);
    tcase_add_test(tcase, who_is_apart_keeps_the_other_away);
    tcase_add_test(tcase, several_keepers_are_not_named);
    tcase_add_test(tcase, apart_with_an_alternative_keeps_nobody_away);
    tcase_add_test(tcase, a_job_waits_for_its_company_and_goes_when_it_comes);
    tcase_add_test(tcase, of_one_priority_the_earlier_job_is_woken_too);
    tcase_add_test(tcase, a_job_waits_until_whom_it_avoids_is_gone);
    tcase_add_test(tcase, a_job_on_every_machine_comes_to_those_it_was_kept_away_from);
    tcase_add_test(tcase, near_itself_stays_where_it_began_until_all_are_gone);
    tcase_add_test(tcase, company_moves_with_the_rack_of_its_machine);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
