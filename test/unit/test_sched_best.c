/*
 * test_sched_best.c - shortlists remember exactly what a scan of all machines would say.
 */
#include "choose.h"
#include "draw_places.h"
#include "places.h"
#include "sched_fixture.h"

enum { SEEDS = 40, STEPS = 400, MACHINES = 37, JOBS = 24, REPLICAS = 60 };

static void take(struct world *w, struct view *view)
{
    struct delta *delta = delta_collect(w->cell, &w->changes);
    view_update(view, delta);
    delta_unref(delta);
}

static void register_machine(struct world *w, struct view *view, uint64_t *seed, uint32_t number)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    snprintf(body->name, sizeof body->name, "m%u", number);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(1000 * (1 + draw_below(seed, 16)), 1 + draw_below(seed, 64),
                             draw_below(seed, 8), draw_below(seed, 3));
    draw_attributes(seed, &body->attributes);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    take(w, view);
}

static job_id submit(struct world *w, struct view *view, uint64_t *seed, uint32_t number)
{
    char name[8];
    snprintf(name, sizeof name, "j%u", number);
    struct job_spec spec = spec_named(name, "ada", 10 * draw_below(seed, 20));
    spec.policy = (enum policy)draw_below(seed, POLICY_COUNT);
    spec.replicas = REPLICAS;
    spec.limit =
        amounts(100 + 300 * draw_below(seed, 4), 1 + draw_below(seed, 3), draw_below(seed, 2), 0);
    if (draw_below(seed, 2) == 0)
        draw_places(seed, &spec);
    job_id id = world_job(w, spec);
    take(w, view);
    return id;
}

/* Some task of the job that runs on a machine, or NULL. */
static struct view_task *running(struct view_job *job, uint64_t *seed)
{
    struct view_task *task = &job->tasks[draw_below(seed, REPLICAS)];
    return task->state == VIEW_LIVE && !task->stopping ? task : NULL;
}

static bool is_better(const struct view *view, const struct view_job *job, uint32_t a, uint32_t b)
{
    struct score x = score_of(view, job, &job->limits[0], a),
                 y = score_of(view, job, &job->limits[0], b);
    return x.ranks[0] != y.ranks[0] ? x.ranks[0] < y.ranks[0] : x.ranks[1] < y.ranks[1];
}

/* The best machine and the one after it, by looking at each. */
static struct choice look(const struct view *view, const struct view_job *job)
{
    struct choice best = CHOICE_NONE;
    for (int round = 0; round < 2; round++) {
        uint32_t *found = round == 0 ? &best.machine : &best.runner_up;
        for (uint32_t m = 0; m < view->machine_count; m++)
            if (m != best.machine && feasible_fits(view, job, &job->limits[0], m) &&
                places_allow(job, m) &&
                (*found == VIEW_NO_MACHINE || is_better(view, job, m, *found)))
                *found = m;
    }
    return best;
}

static void expect_choice(struct choice is, struct choice expected)
{
    ck_assert_uint_eq(is.machine, expected.machine);
    ck_assert_uint_eq(is.runner_up, expected.runner_up);
}

START_TEST(best_is_what_a_scan_finds)
{
    uint64_t placed = 0, refused = 0, scanned = 0, asked = 0;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * 104729;
        struct world w = world_new();
        struct best best = {0};
        job_id jobs[JOBS];
        struct view *view = xcalloc(1, sizeof *view);
        view_init(view);
        for (uint32_t m = 0; m < MACHINES / 2; m++)
            register_machine(&w, view, &seed, m);
        for (uint32_t j = 0; j < JOBS; j++)
            jobs[j] = submit(&w, view, &seed, j);
        for (int step = 0; step < STEPS; step++) {
            struct view_job *job = view_job_find(view, jobs[draw_below(&seed, JOBS)]);
            uint32_t kind = draw_below(&seed, 40);
            struct view_task *task = running(job, &seed);
            if (kind == 0) /* a new machine, or one that is smaller or larger now */
                register_machine(&w, view, &seed, draw_below(&seed, MACHINES));
            else if (kind < 6 && task != NULL)
                view_stop(view, task);
            else if (kind < 10 && task != NULL)
                view_unplace(view, task);
            if (job->waiting == 0)
                continue;
            struct choice choice = best_machine(&best, view, job, &job->limits[0], &scanned);
            uint32_t found = choice.machine;
            asked++;
            expect_choice(choice, look(view, job));
            placed += found != VIEW_NO_MACHINE;
            refused += found == VIEW_NO_MACHINE;
            if (found != VIEW_NO_MACHINE)
                view_place(view, view_first_waiting(job), found, 0, 0);
        }
        best_release(&best);
        view_release(view);
        free(view);
        world_release(&w);
    }
    ck_assert_uint_gt(placed, 1000);
    ck_assert_uint_gt(refused, 100);
    ck_assert_uint_lt(scanned, asked * MACHINES / 2); /* it did remember */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_best");
    TCase *c = tcase_create("best");
    tcase_add_test(c, best_is_what_a_scan_finds);
    suite_add_tcase(s, c);
    return run_suite(s);
}
