/*
 * test_sched.c - order, scores, victims, explanations, bounds: one small cell for each rule.
 */
#include "cmd_pack.h"
#include "sched_fixture.h"

struct scene {
    struct world w;
    struct sched *sched;
};

static struct scene empty_scene(void)
{
    return (struct scene){world_new(), sched_new()};
}

static void scene_release(struct scene *s)
{
    sched_free(s->sched);
    world_release(&s->w);
}

static machine_id machine(struct scene *s, const char *name, struct resources capacity)
{
    machine_id id = world_machine(&s->w, name, capacity);
    world_tell(&s->w, s->sched);
    return id;
}

/* A job of tasks that each need some cpu. */
static job_id job(struct scene *s, const char *name, const char *user, uint32_t priority,
                  uint32_t replicas, int64_t cpu)
{
    struct job_spec spec = spec_named(name, user, priority);
    spec.replicas = replicas;
    spec.limit.v[RES_CPU] = cpu;
    job_id id = world_job(&s->w, spec);
    world_tell(&s->w, s->sched);
    return id;
}

/* The jobs of the next decision in order, as a text "web web batch". */
static const char *order(struct scene *s)
{
    static char text[1024];
    struct cmd_schedule out;
    text[0] = '\0';
    sched_pass(s->sched, &out);
    for (uint32_t i = 0; i < out.placement_count; i++) {
        const struct job *j = cell_job(s->w.cell, task_job(out.placements[i].task.task));
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : " ", j->spec.name);
    }
    return text;
}

START_TEST(higher_priority_goes_first)
{
    struct scene s = empty_scene();
    job(&s, "low", "ada", 10, 2, 1000);
    job(&s, "high", "ada", 300, 2, 1000);
    job(&s, "mid", "ada", 100, 2, 1000);
    machine(&s, "m1", amounts(5000, 100, 0, 0));
    ck_assert_str_eq(order(&s), "high high mid mid low");
    scene_release(&s);
}
END_TEST

START_TEST(users_take_turns_and_their_jobs_go_by_id)
{
    struct scene s = empty_scene();
    machine(&s, "m1", amounts(100000, 100, 0, 0));
    job(&s, "a1", "ada", 100, 3, 1000);
    job(&s, "a2", "ada", 100, 1, 1000);
    job(&s, "b1", "bob", 100, 2, 1000);
    job(&s, "c1", "cyn", 100, 1, 1000);
    ck_assert_str_eq(order(&s), "a1 b1 c1 a1 b1 a1 a2");
    scene_release(&s);
}
END_TEST

START_TEST(a_job_that_does_not_fit_holds_nobody_up)
{
    struct scene s = empty_scene();
    machine(&s, "m1", amounts(3000, 100, 0, 0));
    job(&s, "huge", "ada", 400, 5, 4000);
    job(&s, "small", "ada", 100, 2, 1000);
    ck_assert_str_eq(order(&s), "small small");
    scene_release(&s);
}
END_TEST

static const char *first_choice(struct scene *s)
{
    struct cmd_schedule out;
    ck_assert(sched_pass(s->sched, &out));
    ck_assert_uint_ge(out.placement_count, 1);
    return cell_machine(s->w.cell, out.placements[0].machine)->name;
}

START_TEST(the_policy_chooses_and_ties_go_to_the_lower_id)
{
    static const struct {
        enum policy policy;
        struct resources capacity[3];
        const char *winner;
    } rows[] = {
        {POLICY_BEST_FIT, {{{4000, 40}}, {{2000, 20}}, {{3000, 30}}}, "m1"},
        {POLICY_WORST_FIT, {{{3000, 30}}, {{2000, 20}}, {{4000, 40}}}, "m2"},
        {POLICY_BEST_FIT, {{{4000, 40}}, {{4000, 40}}, {{4000, 40}}}, "m0"},
        {POLICY_WORST_FIT, {{{4000, 40}}, {{4000, 40}}, {{4000, 40}}}, "m0"},
        /* shares of the largest count, not amounts: half of the ram is less than 2/3 of the cpu */
        {POLICY_BEST_FIT, {{{3000, 100}}, {{2000, 200}}, {{3000, 200}}}, "m0"},
        /* too small is no best fit */
        {POLICY_BEST_FIT, {{{900, 40}}, {{4000, 0}}, {{9000, 90}}}, "m2"},
        /* alike in direction: the smallest; the task takes 1000m and 1 byte */
        {POLICY_STRANDING_AWARE, {{{4000, 4}}, {{2000, 2}}, {{3000, 3}}}, "m1"},
        {POLICY_STRANDING_AWARE, {{{4000, 4}}, {{4000, 4}}, {{4000, 4}}}, "m0"},
        /* the one whose cpu and ram it takes equal shares of, be it the largest */
        {POLICY_STRANDING_AWARE, {{{2000, 8}}, {{8000, 8}}, {{8000, 2}}}, "m1"},
        {POLICY_STRANDING_AWARE, {{{900, 1}}, {{4000, 0}}, {{9000, 90}}}, "m2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct scene s = empty_scene();
        for (int m = 0; m < 3; m++) {
            char name[8];
            snprintf(name, sizeof name, "m%d", m);
            machine(&s, name, rows[i].capacity[m]);
        }
        struct job_spec spec = spec_named("web", "ada", 100);
        spec.policy = rows[i].policy;
        world_job(&s.w, spec);
        world_tell(&s.w, s.sched);
        ck_assert_msg(strcmp(first_choice(&s), rows[i].winner) == 0, "row %zu", i);
        scene_release(&s);
    }
}
END_TEST

START_TEST(nothing_goes_to_a_machine_that_is_down)
{
    struct scene s = empty_scene();
    machine_id m = machine(&s, "m1", amounts(3000, 100, 0, 0));
    ck_assert_int_eq(world_machine_down(&s.w, m), ERR_OK);
    world_tell(&s.w, s.sched);
    job(&s, "web", "ada", 200, 1, 1000);
    ck_assert_str_eq(order(&s), "");
    machine(&s, "m1", amounts(3000, 100, 0, 0));
    ck_assert_str_eq(order(&s), "web");
    scene_release(&s);
}
END_TEST

/* Place one task of a job there by hand. */
static void put(struct scene *s, job_id id, uint32_t index, machine_id m)
{
    ck_assert(world_place(&s->w, attempt_of(world_task(&s->w, id, index)), m, NULL, 0));
    world_tell(&s->w, s->sched);
}

/* "m1: batch/1 tiny/0": where the first placement goes and who has to leave. */
static const char *eviction(struct scene *s)
{
    static char text[256];
    struct cmd_schedule out;
    ck_assert(sched_pass(s->sched, &out));
    ck_assert_uint_eq(out.placement_count, 1);
    const struct placement *p = &out.placements[0];
    int used = snprintf(text, sizeof text, "%s:", cell_machine(s->w.cell, p->machine)->name);
    for (uint32_t i = 0; i < p->victim_count; i++) {
        task_id id = out.victims[p->victim_first + i].task;
        used += snprintf(text + used, sizeof text - (size_t)used, " %s/%u",
                         cell_job(s->w.cell, task_job(id))->spec.name, task_index(id));
    }
    return text;
}

START_TEST(a_machine_with_room_is_preferred_to_any_victim)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(1000, 100, 0, 0));
    put(&s, job(&s, "free", "ada", 0, 1, 1000), 0, m1);
    machine(&s, "m2", amounts(64000, 100, 0, 0));
    job(&s, "web", "ada", 200, 1, 1000);
    ck_assert_str_eq(eviction(&s), "m2:");
    scene_release(&s);
}
END_TEST

START_TEST(the_machine_whose_victims_matter_least_is_chosen)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(2000, 100, 0, 0));
    machine_id m2 = machine(&s, "m2", amounts(2000, 100, 0, 0));
    machine_id m3 = machine(&s, "m3", amounts(2000, 100, 0, 0));
    job_id batch = job(&s, "batch", "ada", 110, 1, 2000);
    job_id low = job(&s, "low", "ada", 50, 2, 1000);
    job_id lone = job(&s, "lone", "ada", 50, 1, 2000);
    put(&s, batch, 0, m1); /* a higher victim */
    put(&s, low, 0, m2);   /* two victims */
    put(&s, low, 1, m2);
    put(&s, lone, 0, m3); /* one */
    job(&s, "web", "ada", 200, 1, 2000);
    ck_assert_str_eq(eviction(&s), "m3: lone/0");
    scene_release(&s);
}
END_TEST

START_TEST(victims_are_the_lowest_then_largest_then_newest_and_no_more_than_needed)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(7000, 100, 0, 0));
    job_id tiny = job(&s, "tiny", "ada", 10, 1, 1000);
    job_id small = job(&s, "small", "ada", 100, 3, 1000);
    job_id large = job(&s, "large", "ada", 100, 1, 3000);
    put(&s, tiny, 0, m1);
    for (uint32_t i = 0; i < 3; i++)
        put(&s, small, i, m1);
    put(&s, large, 0, m1);
    struct cmd_schedule out;
    sched_pass(s.sched, &out);
    job(&s, "web2", "ada", 200, 1, 2000);
    /* tiny alone is too little, the large one alone is enough: tiny is spared again. */
    ck_assert_str_eq(eviction(&s), "m1: large/0");
    /* One cpu of it is left over: the next needs two, the lowest and nobody else. */
    job(&s, "web3", "ada", 200, 1, 2000);
    ck_assert_str_eq(eviction(&s), "m1: tiny/0");
    job(&s, "web4", "ada", 200, 1, 2000);
    ck_assert_str_eq(eviction(&s), "m1: small/2 small/1");
    scene_release(&s);
}
END_TEST

START_TEST(prod_is_never_a_victim)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(1000, 100, 0, 0));
    put(&s, job(&s, "web", "ada", 120, 1, 1000), 0, m1);
    job(&s, "monitor", "ada", 450, 1, 1000);
    ck_assert_str_eq(order(&s), "");
    scene_release(&s);
}
END_TEST

START_TEST(room_that_is_being_made_is_not_made_twice)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(2000, 100, 0, 0));
    job_id batch = job(&s, "batch", "ada", 100, 2, 1000);
    put(&s, batch, 0, m1);
    put(&s, batch, 1, m1);
    job(&s, "web", "ada", 200, 1, 1000);
    ck_assert(world_pass(&s.w, s.sched));
    ck_assert(!world_pass(&s.w, s.sched)); /* its place is held while the victim stops */
    ck_assert_uint_eq(cell_job(s.w.cell, batch)->stopping, 1);
    ck_assert_uint_eq(sched_stats(s.sched).preempted, 1);
    scene_release(&s);
}
END_TEST

START_TEST(a_blocked_job_is_looked_at_again_when_room_appears)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(1000, 100, 0, 0));
    job_id web = job(&s, "web", "ada", 200, 1, 1000);
    put(&s, web, 0, m1);
    job_id next = job(&s, "next", "ada", 200, 1, 1000);
    world_settle(&s.w, s.sched);
    ck_assert_str_ne(cell_job(s.w.cell, next)->reason, "");
    ck_assert(world_exited(&s.w, world_task(&s.w, web, 0), 0));
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_int_eq(world_task(&s.w, next, 0)->state, TASK_ASSIGNED);
    ck_assert_str_eq(cell_job(s.w.cell, next)->reason, "");
    scene_release(&s);
}
END_TEST

START_TEST(the_reason_follows_the_fleet)
{
    struct scene s = empty_scene();
    const struct job *big = cell_job(s.w.cell, job(&s, "big", "ada", 200, 1, 9000));
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(big->reason, "no machine fits: the cell has no machines yet");
    machine_id m1 = machine(&s, "m1", amounts(4000, 100, 0, 0));
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(big->reason,
                     "no machine fits: 1 of 1 lacks cpu; would fit with cpu 4 instead of 9");
    machine(&s, "m2", amounts(8000, 100, 0, 0));
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(big->reason,
                     "no machine fits: 2 of 2 lack cpu; would fit with cpu 8 instead of 9");
    ck_assert_int_eq(world_machine_down(&s.w, m1), ERR_OK);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    ck_assert_str_eq(big->reason, "no machine fits: 1 of 2 lacks cpu, 1 of 2 is down; would fit "
                                  "with cpu 8 instead of 9");
    scene_release(&s);
}
END_TEST

START_TEST(explanations_of_what_fits_and_of_nobody)
{
    struct scene s = empty_scene();
    CLEANUP(buf_release) struct buf text = {0};
    machine(&s, "m1", amounts(4000, 100, 0, 0));
    job_id web = job(&s, "web", "ada", 200, 1, 1000);
    sched_explain(s.sched, web, &text);
    ck_assert_str_eq(buf_text(&text), "fits 1 of 1 machines now");
    buf_clear(&text);
    sched_explain(s.sched, (job_id){9}, &text);
    ck_assert_str_eq(buf_text(&text), "no live job 9");
    scene_release(&s);
}
END_TEST

START_TEST(a_decision_that_was_refused_is_made_again)
{
    struct scene s = empty_scene();
    machine_id m1 = machine(&s, "m1", amounts(1000, 100, 0, 0));
    job_id web = job(&s, "web", "ada", 200, 1, 1000);
    struct cmd_schedule out;
    ck_assert(sched_pass(s.sched, &out));
    struct cmd cmd = cmd_of_decision(&out);
    ck_assert_int_eq(world_machine_down(&s.w, m1), ERR_OK); /* meanwhile */
    struct delta *down = delta_collect(s.w.cell, &s.w.changes);
    ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    ck_assert_uint_eq(s.w.answer.refused, 1);
    sched_update(s.sched, down);
    delta_unref(down);
    world_tell(&s.w, s.sched);
    machine(&s, "m1", amounts(1000, 100, 0, 0));
    world_settle(&s.w, s.sched);
    ck_assert_int_eq(world_task(&s.w, web, 0)->state, TASK_ASSIGNED);
    scene_release(&s);
}
END_TEST

START_TEST(a_full_delta_starts_over)
{
    struct scene s = empty_scene();
    machine(&s, "m1", amounts(1000, 100, 0, 0));
    job(&s, "web", "ada", 200, 1, 1000);
    struct cmd_schedule out;
    ck_assert(sched_pass(s.sched, &out)); /* and is lost: no leader took it */
    ck_assert(!sched_pass(s.sched, &out));
    world_tell_all(&s.w, s.sched);
    ck_assert_str_eq(order(&s), "web");
    ck_assert_uint_eq(sched_stats(s.sched).pending, 0);
    scene_release(&s);
}
END_TEST

/* The largest decision: all placements, all victims, all verdicts at their longest. */
START_TEST(a_full_decision_fits_a_command)
{
    struct scene s = empty_scene();
    char name[32];
    machine_id m1 = machine(&s, "m1", amounts(3000000, 4000, 0, 0));
    put(&s, job(&s, "rest", "ada", 200, 1, 2000000 - 500000), 0, m1);
    job_id low = job(&s, "low", "ada", 1, 1500, 1000);
    for (int i = 0; i < 3; i++)
        world_pass(&s.w, s.sched);
    ck_assert_uint_eq(cell_job(s.w.cell, low)->counts[TASK_ASSIGNED], 1500);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "huge%d", i);
        job(&s, name, "ada", 300, 1, INT64_C(1000000000));
    }
    job(&s, "many", "ada", 200, 1400, 1000);
    struct cmd_schedule out;
    uint32_t verdicts = 0;
    uint32_t placed = 0;
    while (sched_pass(s.sched, &out)) {
        for (uint32_t i = 0; i < out.verdict_count; i++) {
            verdicts++;
            memset(out.verdicts[i].reason, 'x', CELL_REASON_MAX);
        }
        placed += out.placement_count;
        ck_assert_uint_le(out.placement_count, CMD_PLACEMENTS_MAX);
        struct cmd cmd = {.request_id = {UINT64_MAX, UINT64_MAX},
                          .time_ms = UINT64_MAX,
                          .kind = CMD_SCHEDULE,
                          .schedule = out};
        for (uint32_t i = 0; i < out.placement_count; i++)
            out.placements[i].task.task.v |= UINT64_C(1) << 63;
        for (uint32_t i = 0; i < out.victim_count; i++)
            out.victims[i].task.v |= UINT64_C(1) << 63;
        CLEANUP(buf_release) struct buf packed = {0};
        struct err err = {0};
        ck_assert_msg(cmd_pack(&cmd, &packed, &err) == 0, "%s", err.msg);
        ck_assert_uint_le(packed.size, CMD_BYTES_MAX);
    }
    ck_assert_uint_eq(placed, 1400);
    ck_assert_uint_eq(sched_stats(s.sched).preempted, 1400);
    ck_assert_uint_ge(verdicts, 40);
    scene_release(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *tcase = tcase_create("sched");
    tcase_add_test(tcase, higher_priority_goes_first);
    tcase_add_test(tcase, users_take_turns_and_their_jobs_go_by_id);
    tcase_add_test(tcase, a_job_that_does_not_fit_holds_nobody_up);
    tcase_add_test(tcase, the_policy_chooses_and_ties_go_to_the_lower_id);
    tcase_add_test(tcase, nothing_goes_to_a_machine_that_is_down);
    tcase_add_test(tcase, a_machine_with_room_is_preferred_to_any_victim);
    tcase_add_test(tcase, the_machine_whose_victims_matter_least_is_chosen);
    tcase_add_test(tcase, victims_are_the_lowest_then_largest_then_newest_and_no_more_than_needed);
    tcase_add_test(tcase, prod_is_never_a_victim);
    tcase_add_test(tcase, room_that_is_being_made_is_not_made_twice);
    tcase_add_test(tcase, a_blocked_job_is_looked_at_again_when_room_appears);
    tcase_add_test(tcase, the_reason_follows_the_fleet);
    tcase_add_test(tcase, explanations_of_what_fits_and_of_nobody);
    tcase_add_test(tcase, a_decision_that_was_refused_is_made_again);
    tcase_add_test(tcase, a_full_delta_starts_over);
    tcase_add_test(tcase, a_full_decision_fits_a_command);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
