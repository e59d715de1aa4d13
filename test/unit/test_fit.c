/*
 * test_fit.c - scheduler, cell_apply and why agree on each task and each place: on random cells,
 * and rule by rule where cell_apply refuses what the scheduler decided before something changed.
 */
#include "choose.h"
#include "allocs.h"
#include "draw_cmd.h"
#include "oracle_company.h"
#include "places.h"
#include "why.h"

#include <sys/wait.h>
#include <unistd.h>

enum { SEEDS = 300, STEPS = 120, CHECK_EVERY = 10 };

static uint32_t agreed, allowed, by_lack[LACKS_COUNT];
static struct placement taken; /* the last that all three allow */

/* More of what is rare among the jobs that are drawn. */
static void draw_company(uint64_t *seed, struct job_spec *spec)
{
    static const char *const rules[] = {"rack apart", "machine apart", "rack near", "ssd apart"};
    char text[32];
    struct term term;
    snprintf(text, sizeof text, "%s j%u", rules[draw_below(seed, ARRAY_SIZE(rules))],
             draw_below(seed, 12));
    ck_assert_int_eq(term_parse(text, &term, NULL), 0);
    clause_add(clauses_add(&spec->constraints, 0), term);
}

/* What why says of this machine, or alloc by its index. */
static int why_says(const struct why *why, uint32_t place)
{
    for (uint32_t i = 0; i < why->reason_count; i++) {
        ck_assert_uint_le(why->reasons[i].machines, WHY_NAMES_MAX);
        for (uint32_t k = 0; k < why->reasons[i].machines; k++)
            if (why->reasons[i].first[k] == place)
                return why->reasons[i].lack;
    }
    ck_abort_msg("why says nothing of place %u", place);
}

/* The same from the scheduler's copy, as it decides when it evicts nobody. */
static int scheduler_says(const struct view *view, const struct view_job *job, uint32_t shape,
                          uint32_t machine, const struct view_task *alloc)
{
    const struct resources *need = &job->limits[shape];
    struct resources room;
    uint32_t lacking;
    int lack = explain_place(view, job, machine, alloc);
    bool may_be = alloc == NULL ? view->up[machine] && places_allow(job, machine)
                                : allocs_open(view, job, alloc);
    ck_assert_int_eq(may_be, lack == LACKS_NOTHING);
    if (lack != LACKS_NOTHING)
        return lack;
    if (alloc != NULL)
        room = allocs_room(alloc).free;
    else
        room = view_room(view, machine).free;
    for (enum resource r = 0; r < RECLAIM_COUNT && priority_is_prod(job->priority); r++)
        if (alloc == NULL)
            room.v[r] = MIN(room.v[r], view_unpromised(view, r, machine));
    lack = lack_of_room(need, &room, &lacking);
    if (alloc == NULL)
        ck_assert_int_eq(lack == LACKS_NOTHING, feasible_fits(view, job, need, machine));
    return lack;
}

/* The command as it would be, in a copy of this process: a placement that is taken stays. */
static bool cell_takes(struct world *w, struct placement p)
{
    pid_t child = fork();
    int status;
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(world_placement(w, p, NULL) ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 0;
}

/* The cell refuses, in the words of the same check. */
static void expect_refused(struct world *w, const struct job *job, struct placement p, int lack,
                           const char *keeper)
{
    CLEANUP(buf_release) struct buf words = {0};
    uint64_t digest = w->cell->digest_sum;
    ck_assert(!world_placement(w, p, NULL));
    ck_assert_uint_eq(w->cell->digest_sum, digest);
    fit_lack_print(&words, job, lack, keeper);
    if (lack > LACKS_NOTHING && lack != LACKS_ALLOC)
        ck_assert_msg(strstr(w->answer.msg, buf_text(&words)) != NULL, "%s: %s", w->answer.msg,
                      buf_text(&words));
}

static void check_place(struct world *w, const struct view *view, const struct job *job,
                        uint32_t shape, uint32_t index, uint32_t place, const struct why *why)
{
    const struct job *set = cell_alloc_set(w->cell, &job->spec);
    const struct task *alloc = set == NULL ? NULL : &set->tasks[place];
    const struct view_job *copy = view_job_find(view, job->id);
    machine_id machine = alloc == NULL ? (machine_id){place + 1} : alloc->machine;
    int lack = why_says(why, alloc == NULL ? place + 1 : place);
    int theirs = scheduler_says(view, copy, shape, machine.v - 1,
                                alloc == NULL ? NULL : allocs_get(copy, place));
    struct placement p = {.task = attempt_of(&job->tasks[index]),
                          .machine = machine,
                          .alloc = alloc == NULL ? (task_id){0} : alloc->id,
                          .shape = shape};
    ck_assert_msg(lack == theirs, "job %s, place %u: why says %d, the scheduler %d", job->spec.name,
                  place, lack, theirs);
    if (lack == LACKS_NOTHING) {
        ck_assert_msg(cell_takes(w, p), "job %s, place %u: only the cell refuses", job->spec.name,
                      place);
        taken = p;
        allowed++;
    } else {
        struct fit fit = {w->cell, job, NULL, NULL};
        const struct job *keeper =
            lack == LACKS_KEPT ? fit_keeper(&fit, cell_machine(w->cell, machine)) : NULL;
        expect_refused(w, job, p, lack, keeper == NULL ? NULL : keeper->spec.name);
    }
    by_lack[lack]++;
    agreed++;
}

/* A task of the job that a placement may be about, or their number. */
static uint32_t waiting_task(const struct job *job)
{
    uint32_t i = 0;
    while (i < job->task_count &&
           (job->tasks[i].state != TASK_PENDING || job->tasks[i].not_before_ms != 0))
        i++;
    return i;
}

static void check_job(struct world *w, const struct view *view, const struct job *job,
                      struct why *why)
{
    uint32_t index = waiting_task(job), places = w->cell->machine_count;
    const struct job *set = cell_alloc_set(w->cell, &job->spec);
    if (index == job->task_count || job->killed || job->spec.gang) /* a gang is placed whole */
        return;
    if (job->spec.alloc_set[0] != '\0')
        places = set == NULL ? 0 : MIN(set->spec.replicas, set->task_count);
    for (uint32_t shape = 0; shape < spec_shape_count(&job->spec); shape++) {
        ck_assert_int_eq(why_job(w->cell, job->spec.name, index, shape, why, NULL), 0);
        for (uint32_t i = 0; i < places; i++)
            if ((!job->spec.every_machine || i == index) &&
                (set != NULL || w->cell->machines[i]->state != MACHINE_REMOVED))
                check_place(w, view, job, shape, index, i, why);
    }
}

static void check_cell(struct world *w, struct why *why)
{
    struct view view;
    view_init(&view);
    struct delta *delta = delta_full(w->cell);
    view_update(&view, delta);
    delta_unref(delta);
    LIST_EACH(l, &w->cell->jobs)
    check_job(w, &view, CONTAINER_OF(l, struct job, link), why);
    view_release(&view);
}

START_TEST(scheduler_cell_and_why_agree_on_each_task_and_place)
{
    struct why *why = xcalloc(1, sizeof *why);
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * UINT64_C(0x9e3779b97f4a7c15);
        struct world w = world_new();
        for (int step = 1; step <= STEPS; step++) {
            struct cmd cmd = draw_cmd(&seed, w.cell);
            if (cmd.kind == CMD_JOB_SUBMIT && draw_below(&seed, 2) == 0)
                draw_company(&seed, &cmd.job_submit);
            world_apply(&w, &cmd);
            if (step % CHECK_EVERY != 0)
                continue;
            check_cell(&w, why);
            if (taken.task.task.v != 0)
                ck_assert(world_placement(&w, taken, NULL));
            taken = (struct placement){0};
        }
        cell_check(w.cell);
        world_release(&w);
    }
    free(why);
    ck_assert_uint_gt(agreed, 10000); /* the cells drawn are no idle ones */
    ck_assert_uint_gt(allowed, 1000);
    uint32_t clauses = 0, spreads = 0;
    for (int lack = LACKS_CLAUSE; lack <= LACKS_CLAUSE_LAST; lack++)
        clauses += by_lack[lack];
    for (int lack = LACKS_SPREAD; lack <= LACKS_SPREAD_LAST; lack++)
        spreads += by_lack[lack];
    ck_assert_uint_gt(clauses, 100);
    ck_assert_uint_gt(spreads, 100);
    ck_assert_uint_gt(by_lack[LACKS_KEPT], 50);
    ck_assert_uint_gt(by_lack[LACKS_ALLOC], 0);
    ck_assert_uint_gt(by_lack[LACKS_MACHINE], 100);
    ck_assert_uint_gt(by_lack[LACKS_LEAVE], 0);
    ck_assert_uint_gt(by_lack[LACKS_HEALTH], 0);
}
END_TEST

static machine_id machine(struct world *w, const char *name, const char *rack)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, name);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(64000, 1000, 0, 0);
    if (rack != NULL)
        attributes_put(&body->attributes, "rack", rack);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    return cell_machine_named(w->cell, name)->id;
}

static struct job_spec spec_of(const char *name, const char *user, uint32_t priority,
                               const char *clause)
{
    struct job_spec spec = spec_named(name, user, priority);
    struct term term;
    spec.replicas = 3;
    if (clause != NULL) {
        ck_assert_int_eq(term_parse(clause, &term, NULL), 0);
        clause_add(clauses_add(&spec.constraints, 0), term);
    }
    return spec;
}

static bool put(struct world *w, job_id job, uint32_t index, machine_id on)
{
    return world_place(w, attempt_of(world_task(w, job, index)), on, NULL, 0);
}

/* Racks r1 (m1, m2) and r2 (m3); m4 in none. Each is placed if it may. */
static const struct {
    const char *what, *user, *clause;
    uint32_t priority, max_per_rack;
    const char *other_clause; /* of the other job, which is on m1; of user "bob", priority 200 */
    const char *may;          /* a letter a machine: y it may be there, n not */
    const char *message;
} rules[] = {
    {"no rule", "bob", NULL, 200, 0, NULL, "yyyy", NULL},
    {"near", "bob", "rack near other", 200, 0, NULL, "yynn", "has no other in its rack"},
    {"near itself", "bob", "rack near web", 200, 0, NULL, "yyyy", NULL},
    {"apart", "bob", "rack apart other", 200, 0, NULL, "nnyy", "has other in its rack"},
    {"kept away by its own user's", "bob", NULL, 300, 0, "rack apart web", "nnyy",
     "is kept free of it by other"},
    {"kept away by higher priority", "ada", NULL, 100, 0, "rack apart web", "nnyy",
     "is kept free of it by other"},
    {"not kept away by lower priority", "ada", NULL, 300, 0, "rack apart web", "yyyy", NULL},
    {"a spread that is not full", "bob", NULL, 200, 1, NULL, "yyyy", NULL},
};

START_TEST(each_rule_refuses_where_it_is_broken)
{
    struct world w = world_new();
    machine_id on[4] = {machine(&w, "m1", "r1"), machine(&w, "m2", "r1"), machine(&w, "m3", "r2"),
                        machine(&w, "m4", NULL)};
    job_id other = world_job(&w, spec_of("other", "bob", 200, rules[_i].other_clause));
    ck_assert(put(&w, other, 0, on[0]));
    struct job_spec spec = spec_of("web", rules[_i].user, rules[_i].priority, rules[_i].clause);
    if (rules[_i].max_per_rack > 0) {
        spec.spread_count = 1;
        spec.spreads[0].max = rules[_i].max_per_rack;
        str_copy(spec.spreads[0].by, sizeof spec.spreads[0].by, "rack");
    }
    job_id web = world_job(&w, spec);
    cell_check(w.cell);
    for (int m = 0; m < 4; m++) {
        struct placement p = {.task = attempt_of(world_task(&w, web, 0)), .machine = on[m]};
        bool may = cell_takes(&w, p);
        ck_assert_msg(may == (rules[_i].may[m] == 'y'), "%s: m%d", rules[_i].what, m + 1);
        if (may)
            continue;
        ck_assert(!world_placement(&w, p, NULL));
        ck_assert_ptr_nonnull(strstr(w.answer.msg, rules[_i].message));
    }
    world_release(&w);
}
END_TEST

START_TEST(all_agree_on_an_alloc_that_is_pending_or_stops)
{
    struct why *why = xcalloc(1, sizeof *why);
    struct world w = world_new();
    machine_id m1 = machine(&w, "m1", "r1");
    struct job_spec set = spec_named("set", "bob", 200), inside = spec_named("in", "bob", 200);
    words_release(&set.argv);
    set.is_alloc_set = true;
    set.replicas = inside.replicas = 2;
    set.limit = amounts(8000, 100, 0, 0);
    job_id allocs = world_job(&w, set);
    str_copy(inside.alloc_set, sizeof inside.alloc_set, "set");
    job_id id = world_job(&w, inside);
    ck_assert(put(&w, allocs, 0, m1));
    struct placement p = {.task = attempt_of(world_task(&w, id, 0)),
                          .machine = m1,
                          .alloc = world_task(&w, allocs, 0)->id};
    ck_assert(world_placement(&w, p, NULL));
    check_cell(&w, why);
    ck_assert_uint_eq(by_lack[LACKS_ALLOC], 1);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    check_cell(&w, why);
    ck_assert_uint_eq(by_lack[LACKS_ENDING], 1);
    world_release(&w);
    free(why);
}
END_TEST

/* The race this is for: two decisions of which each is right without the other. */
START_TEST(what_changed_since_the_decision_counts)
{
    struct world w = world_new();
    machine_id m1 = machine(&w, "m1", "r1"), m2 = machine(&w, "m2", "r1");
    machine_id m3 = machine(&w, "m3", "r2"), m4 = machine(&w, "m4", NULL);
    struct job_spec spec = spec_of("web", "bob", 200, NULL);
    spec.spread_count = 1;
    spec.spreads[0].max = 1;
    str_copy(spec.spreads[0].by, sizeof spec.spreads[0].by, "rack");
    job_id web = world_job(&w, spec);
    ck_assert(put(&w, web, 0, m1));
    ck_assert(!put(&w, web, 1, m2));
    ck_assert_ptr_nonnull(strstr(w.answer.msg, "machine \"m2\" is full with 1 per rack"));
    machine(&w, "m2", "r3"); /* its rack is another one now */
    ck_assert(put(&w, web, 1, m2));
    machine(&w, "m3", "r3");
    cell_check(w.cell);
    ck_assert(!put(&w, web, 2, m3));
    machine(&w, "m2", NULL); /* and with it the task that is there */
    ck_assert(put(&w, web, 2, m3));
    cell_check(w.cell);
    job_id near = world_job(&w, spec_of("near", "bob", 200, "rack near web"));
    cell_check(w.cell); /* tasks that were there before somebody asked are counted */
    ck_assert(put(&w, near, 0, m4));
    ck_assert(world_exited(&w, world_task(&w, web, 1), 0));
    ck_assert(!put(&w, near, 1, m4)); /* nothing of web is where there is no rack */
    ck_assert(put(&w, near, 1, m1));
    ck_assert_int_eq(world_kill(&w, "near"), ERR_OK);
    ck_assert(world_exited(&w, world_task(&w, near, 0), 0));
    ck_assert(world_exited(&w, world_task(&w, near, 1), 0));
    ck_assert(job_is_dead(cell_job(w.cell, near)));
    cell_check(w.cell);
    world_release(&w);
}
END_TEST

/* Each placement asks every job that keeps apart: nobody can make that take long for others. */
START_TEST(one_user_keeps_only_so_many_jobs_apart_from_one)
{
    struct world w = world_new();
    char name[16];
    for (uint32_t i = 0; i < APART_JOBS_MAX; i++) {
        snprintf(name, sizeof name, "lonely%u", i);
        ck_assert_int_eq(world_submit(&w, spec_of(name, "bob", 100, "rack apart web")), ERR_OK);
    }
    ck_assert_int_eq(world_submit(&w, spec_of("more", "bob", 100, "rack apart web")), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(w.answer.msg, "keep apart from job \"web\""));
    ck_assert_int_eq(world_submit(&w, spec_of("more", "bob", 100, "rack apart db")), ERR_OK);
    ck_assert_int_eq(world_submit(&w, spec_of("hers", "ada", 100, "rack apart web")), ERR_OK);
    ck_assert_int_eq(world_kill(&w, "lonely7"), ERR_OK);
    ck_assert_int_eq(world_submit(&w, spec_of("now", "bob", 100, "rack apart web")), ERR_OK);
    cell_check(w.cell);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fit");
    TCase *rule_case = tcase_create("rules");
    tcase_add_loop_test(rule_case, each_rule_refuses_where_it_is_broken, 0, ARRAY_SIZE(rules));
    tcase_add_test(rule_case, all_agree_on_an_alloc_that_is_pending_or_stops);
    tcase_add_test(rule_case, what_changed_since_the_decision_counts);
    tcase_add_test(rule_case, one_user_keeps_only_so_many_jobs_apart_from_one);
    suite_add_tcase(suite, rule_case);
    TCase *random = tcase_create("random");
    tcase_set_timeout(random, 120);
    tcase_add_test(random, scheduler_cell_and_why_agree_on_each_task_and_place);
    suite_add_tcase(suite, random);
    return run_suite(suite);
}
