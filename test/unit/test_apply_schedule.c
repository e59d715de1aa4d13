/*
 * test_apply_schedule.c - placements and verdicts: which are accepted, which are refused and sent
 * to the scheduler again.
 */
#include "cell_fixture.h"

/* Two machines of 4 cpus; `web` (200) and `batch` (100), two tasks of 1 cpu each, all pending. */
struct scene {
    struct world w;
    machine_id m1, m2;
    job_id web, batch;
};

static struct scene two_jobs(void)
{
    struct scene s = {.w = world_new()};
    s.m1 = world_machine(&s.w, "m1", amounts(4000, 100, 0, 0));
    s.m2 = world_machine(&s.w, "m2", amounts(4000, 100, 0, 0));
    struct job_spec web = spec_named("web", "ada", 200);
    struct job_spec batch = spec_named("batch", "bob", 100);
    web.replicas = batch.replicas = 2;
    s.web = world_job(&s.w, web);
    s.batch = world_job(&s.w, batch);
    return s;
}

static struct attempt_ref next_of(const struct scene *s, job_id job, uint32_t index)
{
    return attempt_of(world_task(&s->w, job, index));
}

static bool notes(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void expect_refused(struct scene *s, struct attempt_ref task, machine_id machine,
                           const struct attempt_ref *victims, uint32_t count, const char *says)
{
    uint64_t digest = cell_digest(s->w.cell);
    ck_assert(!world_place(&s->w, task, machine, victims, count));
    ck_assert_msg(strstr(s->w.answer.msg, says) != NULL, "%s", s->w.answer.msg);
    ck_assert_uint_eq(cell_digest(s->w.cell), digest);
    /* The scheduler believes otherwise, so it gets the rows. */
    if (cell_task(s->w.cell, task.task) != NULL)
        ck_assert(notes(s->w.changes.tasks, s->w.changes.task_count, task.task.v));
    if (cell_machine(s->w.cell, machine) != NULL)
        ck_assert(notes(s->w.changes.machines, s->w.changes.machine_count, machine.v));
    for (uint32_t i = 0; i < count; i++)
        if (cell_task(s->w.cell, victims[i].task) != NULL)
            ck_assert(notes(s->w.changes.tasks, s->w.changes.task_count, victims[i].task.v));
}

START_TEST(a_placement_starts_the_next_attempt)
{
    struct scene s = two_jobs();
    ck_assert(world_place(&s.w, next_of(&s, s.web, 0), s.m1, NULL, 0));
    const struct task *task = world_task(&s.w, s.web, 0);
    ck_assert_int_eq(task->state, TASK_ASSIGNED);
    ck_assert_uint_eq(task->attempt, 1);
    ck_assert_uint_eq(task->machine.v, s.m1.v);
    ck_assert_int_eq(cell_machine(s.w.cell, s.m1)->reserved.v[RES_CPU], 1000);
    ck_assert_uint_eq(s.w.changes.event_count, 1);
    ck_assert_int_eq(s.w.changes.events[0].kind, EVENT_ASSIGNED);
    ck_assert_uint_eq(s.w.changes.events[0].attempt, 1);
    world_release(&s.w);
}
END_TEST

START_TEST(a_task_that_cannot_be_placed_is_refused)
{
    struct scene s = two_jobs();
    struct attempt_ref none = {task_id_of((job_id){77}, 0), 0};
    struct attempt_ref beyond = {task_id_of(s.web, 2), 0};
    struct attempt_ref stale = next_of(&s, s.web, 0);
    expect_refused(&s, none, s.m1, NULL, 0, "no such task");
    expect_refused(&s, beyond, s.m1, NULL, 0, "no such task");
    ck_assert(world_place(&s.w, stale, s.m1, NULL, 0));
    expect_refused(&s, stale, s.m2, NULL, 0, "task \"web/0\": the task is assigned");
    ck_assert(world_exited(&s.w, world_task(&s.w, s.web, 0), 1));
    expect_refused(&s, stale, s.m1, NULL, 0, "is about attempt 0, the last one was 1");
    expect_refused(&s, next_of(&s, s.web, 0), s.m1, NULL, 0, "the task is backing off");
    ck_assert_int_eq(world_kill(&s.w, "web"), ERR_OK);
    expect_refused(&s, next_of(&s, s.web, 1), s.m1, NULL, 0, "the job is killed");
    world_release(&s.w);
}
END_TEST

START_TEST(a_machine_that_cannot_accept_the_task_is_refused)
{
    struct scene s = two_jobs();
    expect_refused(&s, next_of(&s, s.web, 0), (machine_id){0}, NULL, 0, "no machine 0");
    expect_refused(&s, next_of(&s, s.web, 0), (machine_id){9}, NULL, 0, "no machine 9");
    ck_assert_int_eq(world_machine_down(&s.w, s.m2), ERR_OK);
    expect_refused(&s, next_of(&s, s.web, 0), s.m2, NULL, 0, "machine \"m2\" is down");
    for (int r = 0; r < RES_COUNT; r++) {
        struct resources little = amounts(1000, 1, 0, 0);
        if (little.v[r] == 0)
            continue;
        little.v[r]--;
        world_machine(&s.w, "m3", little);
        expect_refused(&s, next_of(&s, s.web, 0), (machine_id){3}, NULL, 0,
                       "no room on machine \"m3\"");
    }
    world_release(&s.w);
}
END_TEST

/* Both batch tasks on m1, which then has no room left. */
static struct scene full_machine(void)
{
    struct scene s = two_jobs();
    ck_assert(world_place(&s.w, next_of(&s, s.batch, 0), s.m1, NULL, 0));
    ck_assert(world_place(&s.w, next_of(&s, s.batch, 1), s.m1, NULL, 0));
    world_machine(&s.w, "m1", amounts(2000, 100, 0, 0));
    return s;
}

START_TEST(victims_get_notice_and_keep_their_room_until_they_end)
{
    struct scene s = full_machine();
    struct attempt_ref victim = next_of(&s, s.batch, 1);
    ck_assert(world_place(&s.w, next_of(&s, s.web, 0), s.m1, &victim, 1));
    const struct machine *m = cell_machine(s.w.cell, s.m1);
    ck_assert_int_eq(world_task(&s.w, s.batch, 1)->stopping, CAUSE_PREEMPTED);
    ck_assert_int_eq(m->reserved.v[RES_CPU], 3000);
    ck_assert_int_eq(m->stopping.v[RES_CPU], 1000);
    ck_assert_int_eq(s.w.changes.events[0].kind, EVENT_EVICTING);
    ck_assert_int_eq(s.w.changes.events[0].cause, CAUSE_PREEMPTED);
    /* Naming it as a victim again makes no more room. */
    expect_refused(&s, next_of(&s, s.web, 1), s.m1, &victim, 1, "no room");
    ck_assert(world_exited(&s.w, world_task(&s.w, s.batch, 1), -15));
    ck_assert_int_eq(world_task(&s.w, s.batch, 1)->state, TASK_PENDING);
    ck_assert_int_eq(world_task(&s.w, s.batch, 1)->cause, CAUSE_PREEMPTED);
    ck_assert_int_eq(m->reserved.v[RES_CPU], 2000);
    world_release(&s.w);
}
END_TEST

START_TEST(one_invalid_victim_prevents_all_evictions)
{
    struct scene s = full_machine();
    struct attempt_ref good = next_of(&s, s.batch, 0);
    struct attempt_ref pending = next_of(&s, s.web, 1);
    struct attempt_ref old = {good.task, 0};
    const struct attempt_ref lists[][2] = {{good, pending}, {good, old}, {good, good}};
    static const char *const says[] = {"not running there", "not running there", "named twice"};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        expect_refused(&s, next_of(&s, s.web, 0), s.m1, lists[i], 2, says[i]);
    expect_refused(&s, next_of(&s, s.web, 0), s.m2, &good, 1, "not running there");
    world_release(&s.w);
}
END_TEST

START_TEST(an_eviction_that_is_not_allowed_is_refused)
{
    static const struct {
        uint32_t by, victim;
        bool may;
    } rows[] = {{100, 99, true},   {100, 100, false}, {99, 100, false}, {450, 119, true},
                {450, 120, false}, {450, 200, false}, {120, 119, true}, {119, 118, true}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world w = world_new();
        machine_id m = world_machine(&w, "m1", amounts(1000, 100, 0, 0));
        job_id low = world_job(&w, spec_named("low", "ada", rows[i].victim));
        job_id high = world_job(&w, spec_named("high", "ada", rows[i].by));
        ck_assert(world_place(&w, attempt_of(world_task(&w, low, 0)), m, NULL, 0));
        struct attempt_ref victim = attempt_of(world_task(&w, low, 0));
        struct attempt_ref task = attempt_of(world_task(&w, high, 0));
        ck_assert_msg(world_place(&w, task, m, &victim, 1) == rows[i].may, "%u over %u", rows[i].by,
                      rows[i].victim);
        if (!rows[i].may)
            ck_assert_ptr_nonnull(strstr(w.answer.msg, "may not evict"));
        world_release(&w);
    }
}
END_TEST

START_TEST(each_placement_of_a_batch_is_judged_alone)
{
    struct scene s = full_machine();
    struct cmd cmd = {.kind = CMD_SCHEDULE};
    struct cmd_schedule *body = &cmd.schedule;
    body->placements = xcalloc(4, sizeof *body->placements);
    body->placement_count = 4;
    body->victims = xcalloc(1, sizeof *body->victims);
    body->victim_count = 1;
    body->victims[0] = next_of(&s, s.batch, 0);
    body->placements[0] = (struct placement){.task = next_of(&s, s.web, 0), .machine = s.m1};
    body->placements[1] =
        (struct placement){next_of(&s, s.web, 1), s.m1, .victim_first = 0, .victim_count = 1};
    body->placements[2] =
        (struct placement){next_of(&s, s.web, 0), s.m1, .victim_first = 1, .victim_count = 1};
    body->placements[3] = (struct placement){.task = next_of(&s, s.web, 0),
                                             .machine = s.m2,
                                             .victim_first = UINT32_MAX,
                                             .victim_count = UINT32_MAX};
    ck_assert_int_eq(world_apply(&s.w, &cmd), ERR_OK);
    ck_assert_uint_eq(s.w.answer.accepted, 1);
    ck_assert_uint_eq(s.w.answer.refused, 3);
    ck_assert_int_eq(world_task(&s.w, s.web, 1)->state, TASK_ASSIGNED);
    ck_assert_int_eq(world_task(&s.w, s.web, 0)->state, TASK_PENDING);
    world_release(&s.w);
}
END_TEST

static void give_reason(struct world *w, job_id job, const char *reason, bool is_news)
{
    struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = {.verdict_count = 1}};
    cmd.schedule.verdicts = xcalloc(1, sizeof *cmd.schedule.verdicts);
    cmd.schedule.verdicts[0].job = job;
    str_copy(cmd.schedule.verdicts[0].reason, CELL_REASON_MAX, reason);
    cmd.schedule.verdicts[0].is_news = is_news;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
}

START_TEST(a_reason_stays_while_a_task_is_pending)
{
    struct scene s = two_jobs();
    const struct job *web = cell_job(s.w.cell, s.web);
    give_reason(&s.w, s.web, "no room", true);
    ck_assert_str_eq(web->reason, "no room");
    ck_assert_uint_eq(s.w.changes.job_count, 1);
    give_reason(&s.w, s.web, "no room", true);
    ck_assert(changes_empty(&s.w.changes));
    ck_assert(world_place(&s.w, next_of(&s, s.web, 0), s.m1, NULL, 0));
    ck_assert_str_eq(web->reason, "no room");
    ck_assert(world_place(&s.w, next_of(&s, s.web, 1), s.m1, NULL, 0));
    ck_assert_str_eq(web->reason, "");
    give_reason(&s.w, s.web, "late", true);
    ck_assert_str_eq(web->reason, "");
    give_reason(&s.w, (job_id){99}, "of nobody", true);
    world_release(&s.w);
}
END_TEST

/* The sender decides whether a reason is new; the text does not matter here. */
START_TEST(a_reason_that_is_marked_as_new_enters_the_history)
{
    static const struct {
        const char *reason;
        bool is_news, tells;
    } told[] = {
        {"1 of 2 machines lacks cpu", true, true},  {"2 of 2 machines lack cpu", false, false},
        {"quite another one", false, false},        {"1 of 2 machines lacks ram", true, true},
        {"1 of 2 machines lacks ram", true, false}, /* unchanged */
        {"2 of 2 machines lack ram", true, true},
    };
    struct scene s = two_jobs();
    for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
        uint64_t events = s.w.cell->event_seq;
        give_reason(&s.w, s.web, told[i].reason, told[i].is_news);
        ck_assert_uint_eq(s.w.cell->event_seq, events + told[i].tells);
        ck_assert_str_eq(cell_job(s.w.cell, s.web)->reason, told[i].reason);
    }
    world_release(&s.w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_schedule");
    TCase *tcase = tcase_create("schedule");
    tcase_add_test(tcase, a_placement_starts_the_next_attempt);
    tcase_add_test(tcase, a_task_that_cannot_be_placed_is_refused);
    tcase_add_test(tcase, a_machine_that_cannot_accept_the_task_is_refused);
    tcase_add_test(tcase, victims_get_notice_and_keep_their_room_until_they_end);
    tcase_add_test(tcase, one_invalid_victim_prevents_all_evictions);
    tcase_add_test(tcase, an_eviction_that_is_not_allowed_is_refused);
    tcase_add_test(tcase, each_placement_of_a_batch_is_judged_alone);
    tcase_add_test(tcase, a_reason_stays_while_a_task_is_pending);
    tcase_add_test(tcase, a_reason_that_is_marked_as_new_enters_the_history);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
