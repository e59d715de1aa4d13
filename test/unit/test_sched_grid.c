/*
 * test_sched_grid.c - the grid finds what a scan of all machines finds, or nearly as good; and what
 * fitted nowhere is remembered only as long as that is true.
 */
#include "choose.h"
#include "draw_places.h"
#include "places.h"
#include "sched_fixture.h"

enum { SEEDS = 6, MACHINES = 1200, JOBS = 30, REPLICAS = 1500, STEPS = 8000 };
#define GIB (INT64_C(1) << 30)

static void take(struct world *w, struct view *view)
{
    struct delta *delta = delta_collect(w->cell, &w->changes);
    view_update(view, delta);
    delta_unref(delta);
}

/* Four sizes, now and then one of its own. */
static void register_machine(struct world *w, struct view *view, uint64_t *seed, uint32_t number)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    uint32_t size = 1 + draw_below(seed, 4);
    snprintf(body->name, sizeof body->name, "m%u", number);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(4000 * size, 2 * size * size * GIB, 4, 0);
    if (draw_below(seed, 10) == 0)
        body->capacity = amounts(draw_below(seed, 16000), draw_below(seed, 32) * GIB, 2, 0);
    draw_attributes(seed, &body->attributes);
    world_apply(w, &cmd);
    take(w, view);
}

static job_id submit(struct world *w, struct view *view, uint64_t *seed, uint32_t number)
{
    char name[8];
    snprintf(name, sizeof name, "j%u", number);
    struct job_spec spec = spec_named(name, "ada", 200);
    spec.policy = (enum policy)(number % POLICY_COUNT);
    spec.replicas = REPLICAS;
    spec.limit = amounts(20 + draw_below(seed, 1500), (64 + draw_below(seed, 3000)) * GIB / 1024,
                         draw_below(seed, 2), 0);
    draw_places(seed, &spec);
    job_id id = world_job(w, spec);
    take(w, view);
    return id;
}

static struct view_task *running(struct view_job *job, uint64_t *seed)
{
    struct view_task *task = &job->tasks[draw_below(seed, REPLICAS)];
    return task->state == VIEW_LIVE && !task->stopping ? task : NULL;
}

/* What was lost over all choices, in scores. */
struct loss {
    uint64_t found, none, few;
    __int128 chosen, best;
};

static void expect_same(const struct shortlist *a, const struct shortlist *b)
{
    ck_assert_uint_eq(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++)
        ck_assert_uint_eq(a->entries[i].machine, b->entries[i].machine);
}

static void compare(struct grid *grid, const struct view *view, const struct view_job *job,
                    struct loss *loss)
{
    struct shortlist exact, list;
    uint64_t scanned = 0;
    shortlist_clear(&exact, SHORTLIST_MAX);
    score_all(view, job, &job->limits[0], &exact);
    shortlist_clear(&list, SHORTLIST_MAX);
    grid_search(grid, view, job, &job->limits[0], SHORTLIST_MAX, &list, &scanned);
    if (exact.count < SHORTLIST_MAX) /* fewer than wanted: they are all there */
        expect_same(&list, &exact);
    loss->none += exact.count == 0;
    loss->few += exact.count > 0 && exact.count < SHORTLIST_MAX;
    if (exact.count == 0)
        return;
    shortlist_clear(&list, 8);
    grid_search(grid, view, job, &job->limits[0], 2, &list, &scanned);
    ck_assert_uint_gt(list.count, 0);
    ck_assert(feasible_fits(view, job, &job->limits[0], list.entries[0].machine));
    ck_assert(places_allow(job, list.entries[0].machine));
    loss->found++;
    loss->chosen += list.entries[0].score.ranks[1];
    loss->best += exact.entries[0].score.ranks[1];
}

static void step(struct world *w, struct view *view, struct grid *grid, const job_id *jobs,
                 uint64_t *seed, struct loss losses[POLICY_COUNT])
{
    struct view_job *job = view_job_find(view, jobs[draw_below(seed, JOBS)]);
    struct view_task *task = running(job, seed);
    uint32_t kind = draw_below(seed, 100);
    uint64_t scanned = 0;
    if (kind == 0)
        register_machine(w, view, seed, draw_below(seed, MACHINES + 100));
    else if (kind < 20 && task != NULL)
        view_stop(view, task);
    if (job->waiting == 0 || job->has_wishes)
        return;
    if (kind % 10 == 0)
        compare(grid, view, job, &losses[job->policy]);
    struct shortlist list;
    shortlist_clear(&list, 8);
    grid_search(grid, view, job, &job->limits[0], 2, &list, &scanned);
    if (list.count > 0)
        view_place(view, view_first_waiting(job), list.entries[0].machine, 0, 0);
}

START_TEST(grid_is_as_good_as_a_scan)
{
    struct loss losses[POLICY_COUNT] = {0};
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * 104729;
        struct world w = world_new();
        struct grid grid = {0};
        job_id jobs[JOBS];
        struct view *view = xcalloc(1, sizeof *view);
        view_init(view);
        for (uint32_t m = 0; m < MACHINES; m++)
            register_machine(&w, view, &seed, m);
        for (uint32_t j = 0; j < JOBS; j++)
            jobs[j] = submit(&w, view, &seed, j);
        for (int i = 0; i < STEPS; i++)
            step(&w, view, &grid, jobs, &seed, losses);
        grid_release(&grid);
        view_release(view);
        free(view);
        world_release(&w);
    }
    for (enum policy p = 0; p < POLICY_COUNT; p++) {
        __int128 lost = losses[p].chosen - losses[p].best;
        __int128 best = losses[p].best < 0 ? -losses[p].best : losses[p].best;
        ck_assert_uint_gt(losses[p].found, 100);
        ck_assert(lost >= 0);
        ck_assert_msg(lost * 200 <= best, "%s lost %.3f%%", policy_text(p),
                      100 * (double)lost / (double)best);
    }
    ck_assert_uint_gt(losses[0].none + losses[1].none + losses[2].none, 10);
    ck_assert_uint_gt(losses[0].few + losses[1].few + losses[2].few, 5);
}
END_TEST

struct refused {
    uint32_t priority;
    uint64_t match;
    int64_t cpu, ram;
};

/* `user` 0: one who has no budgets. */
static bool covered_for(uint64_t user, struct refusals *refusals, const struct view *view,
                        struct refused ask, bool note)
{
    struct match match = {.number = ask.match};
    struct owner owner = {.id = user, .job_count = 1, .budgeted = user != 0};
    struct view_job job = {
        .priority = ask.priority, .match = ask.match == 0 ? NULL : &match, .owner = &owner};
    struct resources need = amounts(ask.cpu, ask.ram, 0, 0);
    if (note)
        refusals_note(refusals, view, &job, &need);
    return refusals_cover(refusals, view, &job, &need);
}

static bool covered(struct refusals *refusals, const struct view *view, struct refused ask,
                    bool note)
{
    return covered_for(0, refusals, view, ask, note);
}

START_TEST(a_refusal_covers_what_asks_for_no_less)
{
    static const struct refused refused = {100, 0, 1000, 4};
    static const struct {
        struct refused ask;
        bool is_covered;
    } cases[] = {
        {{100, 0, 1000, 4}, true},  {{100, 0, 2000, 4}, true}, {{0, 0, 1000, 5}, true},
        {{100, 7, 1000, 4}, true},  {{100, 0, 999, 4}, false}, {{100, 0, 9000, 3}, false},
        {{101, 0, 1000, 4}, false},
    };
    struct refusals refusals = {0};
    struct view view = {0};
    ck_assert(covered(&refusals, &view, refused, true));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_int_eq(covered(&refusals, &view, cases[i].ask, false), cases[i].is_covered);
    view.improvements++;
    ck_assert(!covered(&refusals, &view, refused, false));
}
END_TEST

START_TEST(a_refusal_with_constraints_covers_its_own_only)
{
    struct refusals refusals = {0};
    struct view view = {0};
    ck_assert(covered(&refusals, &view, (struct refused){100, 7, 1000, 4}, true));
    ck_assert(!covered(&refusals, &view, (struct refused){100, 0, 1000, 4}, false));
    ck_assert(!covered(&refusals, &view, (struct refused){100, 8, 1000, 4}, false));
}
END_TEST

/* Budgets bind work of their own user: for others more may be evicted. */
START_TEST(a_refusal_for_the_sake_of_budgets_covers_the_same_user_only)
{
    const struct refused ask = {100, 0, 1000, 4}, more = {100, 0, 2000, 4};
    struct refusals refusals = {0};
    struct view view = {0};
    ck_assert(covered_for(1, &refusals, &view, ask, true));
    ck_assert(covered_for(1, &refusals, &view, ask, false));
    ck_assert(!covered_for(2, &refusals, &view, ask, false));
    ck_assert(!covered_for(0, &refusals, &view, ask, false));
    ck_assert(covered_for(0, &refusals, &view, more, true)); /* nobody may evict more */
    ck_assert(covered_for(2, &refusals, &view, more, false));
}
END_TEST

START_TEST(only_the_smallest_refusals_are_kept)
{
    struct refusals refusals = {0};
    struct view view = {0};
    for (int64_t cpu = 1000; cpu > 0; cpu--)
        ck_assert(covered(&refusals, &view, (struct refused){100, 0, cpu, 4}, true));
    ck_assert_uint_eq(refusals.count, 1);
    view.improvements++;
    for (int64_t i = 1; i <= 2 * REFUSALS_MAX; i++) /* none covers another */
        ck_assert(covered(&refusals, &view, (struct refused){100, 0, 1 + i, 1000 - i}, true));
    ck_assert_uint_eq(refusals.count, REFUSALS_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_grid");
    TCase *c = tcase_create("grid");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, grid_is_as_good_as_a_scan);
    tcase_add_test(c, a_refusal_covers_what_asks_for_no_less);
    tcase_add_test(c, a_refusal_with_constraints_covers_its_own_only);
    tcase_add_test(c, a_refusal_for_the_sake_of_budgets_covers_the_same_user_only);
    tcase_add_test(c, only_the_smallest_refusals_are_kept);
    suite_add_tcase(s, c);
    return run_suite(s);
}
