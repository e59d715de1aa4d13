/*
 * test_sched_evict.c - evictions: places are held until they are free, and there is an end to them.
 *
 * The argument stands in preempt.c; here it is put to generated cells.
 */
#include "sched_fixture.h"

enum { SEEDS = 120, MACHINES = 8, JOBS = 24, STEPS = 60, HELD_MAX = 512 };

static const uint32_t priorities[] = {0, 10, 25, 50, 75, 99, 100, 105, 110, 119, 200, 400};

static void submit(struct world *w, struct sched *sched, uint64_t *seed, int number,
                   uint32_t priority)
{
    char name[16], user[8];
    snprintf(name, sizeof name, "j%d", number);
    snprintf(user, sizeof user, "u%u", draw_below(seed, 4));
    struct job_spec spec = spec_named(name, user, priority);
    spec.replicas = 1 + draw_below(seed, 8);
    spec.limit = amounts(500 * (1 + draw_below(seed, 8)), 1 + draw_below(seed, 8), 0, 0);
    spec.disruptions_max = draw_below(seed, 3) == 0 ? 1 + draw_below(seed, 3) : 0;
    spec.gang = draw_below(seed, 6) == 0;
    spec.every_machine = !spec.gang && draw_below(seed, 10) == 0;
    spec.policy = draw_below(seed, POLICY_SPEC_COUNT);
    world_job(w, spec);
    world_tell(w, sched);
}

static struct world machines_new(struct sched *sched, uint64_t *seed)
{
    struct world w = world_new();
    for (int i = 0; i < MACHINES; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        world_machine(&w, name, amounts(4000 + 2000 * draw_below(seed, 5), 20, 0, 0));
    }
    world_tell_all(&w, sched);
    return w;
}

/* Some of the tasks that were told to stop do (all of them: `one_in` 1); false: there is none. */
static bool victims_leave(struct world *w, struct sched *sched, uint64_t *seed, uint32_t one_in)
{
    bool any = false;
    for (uint32_t m = 0; m < w->cell->machine_count; m++) {
        CLEANUP(free_ptr) struct attempt_ref *gone = xcalloc(1000, sizeof *gone);
        uint32_t count = 0;
        LIST_EACH(l, &w->cell->machines[m]->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            if (task->stopping != CAUSE_NONE && draw_below(seed, one_in) == 0)
                gone[count++] = attempt_of(task);
        }
        for (uint32_t i = 0; i < count; i++) {
            ck_assert(world_exited(w, cell_task(w->cell, gone[i].task), -15));
            world_tell(w, sched);
            any = true;
        }
    }
    return any;
}

/* Evictions until nothing is proposed any more and nobody is stopping. */
static uint64_t run_to_rest(struct world *w, struct sched *sched, uint64_t *seed)
{
    uint64_t before = sched_stats(sched).preempted;
    int rounds = 0;
    do {
        world_settle(w, sched);
        ck_assert_msg(rounds++ < 1000, "the cell does not come to rest");
    } while (victims_leave(w, sched, seed, 1));
    return sched_stats(sched).preempted - before;
}

/* Live tasks that are not stopping, by priority; each at its place in `priorities`. */
static void count_live(const struct cell *cell, uint32_t *counts)
{
    for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
        counts[i] = 0;
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        size_t at = 0;
        while (priorities[at] != job->spec.priority)
            at++;
        counts[at] += job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING] - job->stopping;
    }
}

/* Highest priority first, as words are compared. */
static bool is_larger(const uint32_t *a, const uint32_t *b)
{
    size_t i = ARRAY_SIZE(priorities) - 1;
    while (i > 0 && a[i] == b[i])
        i--;
    return a[i] > b[i];
}

/* Returns how many passes placed something. */
static uint64_t passes_upwards(struct world *w, struct sched *sched)
{
    uint32_t before[ARRAY_SIZE(priorities)], after[ARRAY_SIZE(priorities)];
    uint64_t steps = 0;
    count_live(w->cell, before);
    while (world_pass(w, sched)) {
        bool placed = w->answer.accepted > 0;
        count_live(w->cell, after);
        ck_assert(is_larger(after, before) == placed);
        memcpy(before, after, sizeof before);
        steps += placed;
    }
    return steps;
}

/* What the argument rests on: each pass that places makes the vector of counts larger. */
START_TEST(each_pass_is_a_step_upwards)
{
    uint64_t steps = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * 7919;
        struct sched *sched = sched_new();
        struct world w = machines_new(sched, &seed);
        for (int i = 0; i < JOBS; i++) {
            submit(&w, sched, &seed, i, priorities[draw_below(&seed, ARRAY_SIZE(priorities))]);
            do
                steps += passes_upwards(&w, sched);
            while (victims_leave(&w, sched, &seed, 1));
        }
        sched_free(sched);
        world_release(&w);
    }
    ck_assert_uint_gt(steps, SEEDS * 2);
}
END_TEST

/* Jobs come lowest first, the order that evicts most; and then one task more. */
START_TEST(evictions_come_to_an_end_and_are_few)
{
    uint64_t evictions = 0, last = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * 104729;
        struct sched *sched = sched_new();
        struct world w = machines_new(sched, &seed);
        uint64_t of_this = 0;
        for (int i = 0; i < JOBS; i++) {
            submit(&w, sched, &seed, i, priorities[(size_t)i * ARRAY_SIZE(priorities) / JOBS]);
            uint64_t now = run_to_rest(&w, sched, &seed);
            ck_assert_msg(now <= w.cell->live_tasks, "%" PRIu64 " evictions for one job", now);
            of_this += now;
        }
        uint64_t bound = w.cell->live_tasks * ARRAY_SIZE(priorities);
        ck_assert_msg(of_this <= bound, "%" PRIu64 " evictions", of_this);
        evictions += of_this;
        submit(&w, sched, &seed, JOBS, 119);
        last += run_to_rest(&w, sched, &seed);
        ck_assert_uint_eq(run_to_rest(&w, sched, &seed), 0);
        sched_free(sched);
        world_release(&w);
    }
    ck_assert_uint_gt(evictions, SEEDS * 10);
    ck_assert_uint_gt(last, 0);
}
END_TEST

/* A task that has a place because others were told to go. */
struct held {
    struct attempt_ref task;
    machine_id machine;
};

static void hold_notes(const struct cell *cell, const struct cmd_schedule *out, struct held *held,
                       uint32_t *count)
{
    for (uint32_t i = 0; i < out->placement_count; i++) {
        const struct placement *p = &out->placements[i];
        if (p->victim_count == 0 || *count == HELD_MAX)
            continue;
        ck_assert_uint_eq(cell_task(cell, p->task.task)->attempt, p->task.attempt + 1);
        held[*count] = (struct held){{p->task.task, p->task.attempt + 1}, p->machine};
        ++*count;
    }
}

static bool has_stopping(const struct cell *cell, machine_id machine)
{
    LIST_EACH(l, &cell_machine(cell, machine)->tasks)
    if (CONTAINER_OF(l, struct task, link)->stopping != CAUSE_NONE)
        return true;
    return false;
}

/* Who waits for victims keeps the place, unless higher work takes it in its turn; and nothing is
 * promised twice: cell_check() has seen after each command that all who are not stopping fit. */
static void expect_held(const struct cell *cell, struct held *held, uint32_t *count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        const struct task *task = cell_task(cell, held[i].task.task);
        ck_assert_uint_ge(task->attempt, held[i].task.attempt);
        bool is_there = task_is_live(task) && task->attempt == held[i].task.attempt;
        ck_assert_msg(is_there || task->cause == CAUSE_PREEMPTED, "a place was lost");
        if (is_there && task->stopping == CAUSE_NONE)
            ck_assert_uint_eq(task->machine.v, held[i].machine.v);
        else if (is_there)
            ck_assert_int_eq(task->stopping, CAUSE_PREEMPTED);
        if (is_there && has_stopping(cell, held[i].machine))
            held[kept++] = held[i];
    }
    *count = kept;
}

START_TEST(a_place_is_held_until_its_victims_are_gone)
{
    uint64_t waited = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * 15485863;
        struct sched *sched = sched_new();
        struct world w = machines_new(sched, &seed);
        struct held held[HELD_MAX];
        uint32_t count = 0;
        for (int i = 0; i < STEPS; i++) {
            struct cmd_schedule out;
            submit(&w, sched, &seed, i, priorities[draw_below(&seed, ARRAY_SIZE(priorities))]);
            while (sched_pass(sched, &out)) {
                struct cmd cmd = cmd_of_decision(&out);
                ck_assert_int_eq(world_apply(&w, &cmd), ERR_OK);
                ck_assert_uint_eq(w.answer.refused, 0);
                hold_notes(w.cell, &out, held, &count);
                world_tell(&w, sched);
            }
            waited += count;
            expect_held(w.cell, held, &count);
            victims_leave(&w, sched, &seed, 4);
            expect_held(w.cell, held, &count);
        }
        sched_free(sched);
        world_release(&w);
    }
    ck_assert_uint_gt(waited, SEEDS * 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_evict");
    TCase *tcase = tcase_create("evict");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, each_pass_is_a_step_upwards);
    tcase_add_test(tcase, evictions_come_to_an_end_and_are_few);
    tcase_add_test(tcase, a_place_is_held_until_its_victims_are_gone);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
