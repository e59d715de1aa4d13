/*
 * test_gang.c - all that wait of a gang in one pass, or none; and nothing is left of an attempt.
 */
#include "sched_fixture.h"

struct stage {
    struct world w;
    struct sched *sched;
};

static struct stage stage_new(uint32_t machines, int64_t cpu)
{
    struct stage s = {world_new(), sched_new()};
    for (uint32_t i = 0; i < machines; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%u", i + 1);
        world_machine(&s.w, name, amounts(cpu, 1 << 20, 0, 0));
    }
    world_tell_all(&s.w, s.sched);
    return s;
}

static void stage_release(struct stage *s)
{
    sched_free(s->sched);
    world_release(&s->w);
}

static job_id submit(struct stage *s, const char *name, uint32_t priority, uint32_t replicas,
                     int64_t cpu, bool gang)
{
    struct job_spec spec = spec_named(name, name, priority);
    spec.replicas = replicas;
    spec.limit = amounts(cpu, 1, 0, 0);
    spec.gang = gang;
    job_id job = world_job(&s->w, spec);
    world_tell(&s->w, s->sched);
    return job;
}

static uint32_t live(const struct stage *s, job_id job)
{
    const uint32_t *counts = cell_job(s->w.cell, job)->counts;
    return counts[TASK_ASSIGNED] + counts[TASK_RUNNING];
}

static const char *reason(const struct stage *s, job_id job)
{
    return cell_job(s->w.cell, job)->reason;
}

static void finish(struct stage *s, job_id job, uint32_t index)
{
    ck_assert(world_exited(&s->w, world_task(&s->w, job, index), 0));
    world_tell(&s->w, s->sched);
}

/* What waits, on two machines of 4 cpus with some of it taken by work of another priority. */
static const struct {
    const char *what;
    uint32_t other_priority, other_replicas;
    uint32_t priority, replicas;
    int64_t cpu;
    uint32_t placed;
    const char *reason;
} cases[] = {
    {"fits exactly", 100, 0, 100, 4, 2000, 4, ""},
    {"one too many", 100, 0, 100, 5, 2000, 0, "4 of 5 tasks would fit; the gang waits for all: "},
    {"by evicting", 50, 8, 100, 4, 2000, 4, ""},
    {"evicting is not enough", 50, 8, 100, 5, 2000, 0, "4 of 5 tasks"},
    {"production stays", 200, 1, 300, 4, 2000, 0, "3 of 4 tasks"},
    {"none at all", 100, 0, 100, 2, 5000, 0, "0 of 2 tasks"},
};

START_TEST(all_or_none)
{
    struct stage s = stage_new(2, 4000);
    if (cases[_i].other_replicas > 0)
        submit(&s, "other", cases[_i].other_priority, cases[_i].other_replicas, 1000, false);
    world_settle(&s.w, s.sched);
    job_id gang = submit(&s, "gang", cases[_i].priority, cases[_i].replicas, cases[_i].cpu, true);
    world_settle(&s.w, s.sched);
    ck_assert_msg(live(&s, gang) == cases[_i].placed, "%s: %u", cases[_i].what, live(&s, gang));
    size_t length = strlen(cases[_i].reason);
    ck_assert_msg(length == 0 ? reason(&s, gang)[0] == '\0'
                              : strncmp(reason(&s, gang), cases[_i].reason, length) == 0,
                  "%s: %s", cases[_i].what, reason(&s, gang));
    if (cases[_i].placed == 0) /* nobody was told to stop for a gang that does not start */
        for (uint32_t m = 0; m < 2; m++)
            ck_assert_int_eq(s.w.cell->machines[m]->stopping.v[RES_CPU], 0);
    stage_release(&s);
}
END_TEST

/* A scheduler that tried in vain decides the next job as one that never did. */
START_TEST(an_attempt_leaves_nothing_behind)
{
    struct stage s = stage_new(3, 4000);
    submit(&s, "low", 10, 7, 1000, false);
    struct job_spec spec = spec_named("careful", "ada", 20);
    spec.replicas = 4;
    spec.disruptions_max = 1;
    world_job(&s.w, spec);
    world_tell(&s.w, s.sched);
    world_settle(&s.w, s.sched);
    job_id gang = submit(&s, "gang", 110, 4, 3000, true);
    world_settle(&s.w, s.sched);
    ck_assert_uint_eq(live(&s, gang), 0);
    submit(&s, "next", 105, 5, 2000, false);
    struct sched *fresh = sched_new();
    world_tell_all(&s.w, fresh);
    struct cmd_schedule a, b;
    ck_assert(sched_pass(s.sched, &a));
    ck_assert(sched_pass(fresh, &b));
    ck_assert_uint_eq(a.placement_count, b.placement_count);
    ck_assert_uint_gt(a.placement_count, 0);
    ck_assert_uint_eq(a.victim_count, b.victim_count);
    ck_assert_uint_gt(a.victim_count, 0);
    for (uint32_t i = 0; i < a.placement_count; i++)
        ck_assert_uint_eq(a.placements[i].machine.v, b.placements[i].machine.v);
    for (uint32_t i = 0; i < a.victim_count; i++)
        ck_assert_uint_eq(a.victims[i].task.v, b.victims[i].task.v);
    sched_free(fresh);
    stage_release(&s);
}
END_TEST

START_TEST(a_gang_as_large_as_a_command_gets_one_of_its_own)
{
    struct stage s = stage_new(4, INT64_C(1000) * CMD_PLACEMENTS_MAX);
    job_id before = submit(&s, "a", 100, 10, 1000, false);
    job_id gang = submit(&s, "gang", 100, CMD_PLACEMENTS_MAX, 1000, true);
    ck_assert(world_pass(&s.w, s.sched));
    ck_assert_uint_gt(live(&s, before), 0);
    ck_assert_uint_eq(live(&s, gang), 0);
    submit(&s, "later", 100, 2000, 1000, false); /* its user would have been next */
    ck_assert(world_pass(&s.w, s.sched));
    ck_assert_uint_eq(live(&s, gang), CMD_PLACEMENTS_MAX);
    world_settle(&s.w, s.sched);
    stage_release(&s);
}
END_TEST

START_TEST(more_evictions_than_a_command_names_are_said)
{
    struct stage s = stage_new(1, 1100 * 1000);
    submit(&s, "small", 10, 1100, 1000, false);
    world_settle(&s.w, s.sched);
    job_id gang = submit(&s, "gang", 110, 2, 550 * 1000, true);
    world_settle(&s.w, s.sched);
    ck_assert_uint_eq(live(&s, gang), 0);
    ck_assert_str_eq(reason(&s, gang), "1 of 2 tasks would fit; the gang waits for all: the others "
                                       "would take more than 1024 evictions at once");
    stage_release(&s);
}
END_TEST

/* It lacks two places: it is tried again when there are two more, and not before. */
START_TEST(it_is_tried_again_when_there_may_be_room_for_all)
{
    struct stage s = stage_new(4, 1000);
    job_id other = submit(&s, "other", 150, 2, 1000, false);
    world_settle(&s.w, s.sched);
    job_id gang = submit(&s, "gang", 100, 4, 1000, true);
    world_settle(&s.w, s.sched);
    finish(&s, other, 0);
    uint64_t scanned = sched_stats(s.sched).machines_scanned;
    ck_assert(!world_pass(&s.w, s.sched));
    ck_assert_uint_eq(sched_stats(s.sched).machines_scanned, scanned + 1);
    finish(&s, other, 1);
    world_settle(&s.w, s.sched);
    ck_assert_uint_eq(live(&s, gang), 4);
    stage_release(&s);
}
END_TEST

static struct cmd command_of(const struct placement *placements, uint32_t count)
{
    struct cmd_schedule body = {.placements = (struct placement *)(uintptr_t)placements,
                                .placement_count = count};
    return cmd_of_decision(&body);
}

/* The cell refuses a gang whole, whatever is wrong with it, and is as it was. */
START_TEST(the_cell_takes_a_gang_whole_or_not_at_all)
{
    struct stage s = stage_new(2, 2999);
    job_id gang = submit(&s, "gang", 100, 2, 2000, true);
    job_id single = submit(&s, "single", 100, 2, 1, false);
    struct placement p[] = {{.task = {task_id_of(gang, 0), 0}, .machine = {1}},
                            {.task = {task_id_of(gang, 1), 0}, .machine = {2}},
                            {.task = {task_id_of(single, 0), 0}, .machine = {2}},
                            {.task = {task_id_of(single, 1), 0}, .machine = {2}}};
    struct placement stale = p[1], full = p[1];
    stale.task.attempt = 3;
    full.machine.v = 1;
    const struct {
        struct placement placements[3];
        uint32_t count, accepted, refused;
        const char *msg;
    } tries[] = {
        {{p[0]}, 1, 0, 1, "2 of its tasks wait and start together, the decision is about 1"},
        {{p[0], stale, p[2]}, 3, 1, 2, "task \"gang/1\": the decision is about attempt 3"},
        {{p[0], full}, 2, 0, 2, "no room on machine \"m1\""},
        {{p[0], p[0]}, 2, 0, 2, "the task is assigned"},
        {{p[0], p[3], p[1]}, 3, 1, 2, "2 of its tasks wait"},
        {{p[0], p[1]}, 2, 2, 0, "2 placed"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        struct cmd cmd = command_of(tries[i].placements, tries[i].count);
        uint64_t events = s.w.cell->event_seq;
        world_apply(&s.w, &cmd);
        ck_assert_uint_eq(s.w.answer.accepted, tries[i].accepted);
        ck_assert_uint_eq(s.w.answer.refused, tries[i].refused);
        ck_assert_msg(strstr(s.w.answer.msg, tries[i].msg) != NULL, "%s", s.w.answer.msg);
        ck_assert_uint_eq(s.w.cell->event_seq - events, tries[i].accepted);
        ck_assert_uint_eq(s.w.changes.event_count, tries[i].accepted);
    }
    ck_assert_uint_eq(live(&s, gang), 2);
    stage_release(&s);
}
END_TEST

START_TEST(a_refused_gang_gives_its_victims_and_its_reason_back)
{
    struct stage s = stage_new(2, 2000);
    job_id low = submit(&s, "low", 10, 2, 2000, false);
    world_settle(&s.w, s.sched);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert(world_running(&s.w, world_task(&s.w, low, i), 1));
    world_tell_all(&s.w, s.sched);
    job_id gang = submit(&s, "gang", 100, 3, 2000, true);
    world_settle(&s.w, s.sched);
    CLEANUP(buf_release) struct buf before = {0};
    CLEANUP(buf_release) struct buf after = {0};
    ck_assert(reason(&s, gang)[0] != '\0');
    cell_text(&before, s.w.cell);
    struct attempt_ref victims[] = {attempt_of(world_task(&s.w, low, 0)),
                                    attempt_of(world_task(&s.w, low, 1))};
    struct placement p[] = {{{task_id_of(gang, 0), 0},
                             world_task(&s.w, low, 0)->machine,
                             .victim_first = 0,
                             .victim_count = 1},
                            {{task_id_of(gang, 1), 0},
                             world_task(&s.w, low, 1)->machine,
                             .victim_first = 1,
                             .victim_count = 1},
                            {{task_id_of(gang, 2), 0},
                             world_task(&s.w, low, 1)->machine,
                             .victim_first = 1,
                             .victim_count = 1}};
    struct cmd_schedule body = {
        .placements = p, .placement_count = 3, .victims = victims, .victim_count = 2};
    struct cmd cmd = cmd_of_decision(&body);
    world_apply(&s.w, &cmd);
    ck_assert_uint_eq(s.w.answer.refused, 3);
    cell_text(&after, s.w.cell);
    ck_assert_str_eq(buf_text(&before), buf_text(&after));
    stage_release(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gang");
    TCase *tcase = tcase_create("gang");
    tcase_add_loop_test(tcase, all_or_none, 0, (int)ARRAY_SIZE(cases));
    tcase_add_test(tcase, an_attempt_leaves_nothing_behind);
    tcase_add_test(tcase, a_gang_as_large_as_a_command_gets_one_of_its_own);
    tcase_add_test(tcase, more_evictions_than_a_command_names_are_said);
    tcase_add_test(tcase, it_is_tried_again_when_there_may_be_room_for_all);
    tcase_add_test(tcase, the_cell_takes_a_gang_whole_or_not_at_all);
    tcase_add_test(tcase, a_refused_gang_gives_its_victims_and_its_reason_back);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
