/*
 * test_why.c - why a job is pending: each reason, sums on random cells, suggestions that are true.
 */
#include "why.h"
#include "draw_cmd.h"
#include "oracle_space.h"
#include "oracle_company.h"

enum { SEEDS = 9000, STEPS = 100, CHECK_EVERY = 4 };

static machine_id machine(struct world *w, const char *name, struct resources capacity,
                          const char *rack)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, name);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = capacity;
    attributes_put(&body->attributes, "rack", rack);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    return cell_machine_named(w->cell, name)->id;
}

static job_id place(struct world *w, const char *name, uint32_t priority, uint32_t disruptions_max,
                    int64_t cpu, machine_id on)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    spec.limit = amounts(cpu, 1, 0, 0);
    spec.disruptions_max = disruptions_max;
    job_id job = world_job(w, spec);
    ck_assert(world_place(w, attempt_of(world_task(w, job, 0)), on, NULL, 0));
    return job;
}

/* "; m2 lacks ram 512Mi; ...; m1 evicts batch/0 100 may be evicted, ...; ..." */
static void print_names(struct buf *to, const struct world *w, const struct why *why)
{
    for (uint32_t i = 0; i < why->near_count; i++) {
        buf_printf(to, "; %s lacks", cell_machine(w->cell, why->near[i].machine)->name);
        for (enum resource r = 0; r < RES_COUNT; r++) {
            if (why->near[i].missing.v[r] == 0)
                continue;
            buf_printf(to, " %s ", resource_name(r, &w->cell->resource_names));
            resource_print(to, r, why->near[i].missing.v[r]);
        }
    }
    for (uint32_t i = 0; i < why->eviction_count; i++) {
        const struct why_eviction *e = &why->evictions[i];
        buf_printf(to, "; %s evicts", cell_machine(w->cell, e->machine)->name);
        for (uint32_t k = 0; k < MIN(e->victim_count, (uint32_t)WHY_VICTIMS_MAX); k++)
            buf_printf(to, "%s %s/%u %u %s", k == 0 ? "" : ",",
                       cell_job(w->cell, task_job(e->victims[k].task))->spec.name,
                       task_index(e->victims[k].task), e->victims[k].priority,
                       why_bar_text(e->victims[k].bar));
    }
}

/* "2 lacks cpu (m1 m2), 1 is down (m3); 1 0 0 0 1; cpu 1 on 1", then names if wanted */
static const char *why_told(const struct world *w, const char *job, bool names)
{
    static char text[4096];
    CLEANUP(buf_release) struct buf to = {0};
    struct why *why = xcalloc(1, sizeof *why);
    struct err err;
    ck_assert_msg(why_job(w->cell, job, WHY_INDEX_ANY, 0, why, &err) == 0, "%s", err.msg);
    for (uint32_t i = 0; i < why->reason_count; i++) {
        const struct why_reason *reason = &why->reasons[i];
        buf_printf(&to, "%s%u ", i == 0 ? "" : ", ", reason->machines);
        why_reason_print(&to, cell_job_named(w->cell, job), why, reason->lack);
        for (uint32_t m = 0; m < MIN(reason->machines, (uint32_t)WHY_NAMES_MAX); m++)
            buf_printf(&to, "%s%s", m == 0 ? " (" : " ",
                       cell_machine(w->cell, (machine_id){reason->first[m]})->name);
        buf_printf(&to, ")");
    }
    for (enum why_bar bar = 0; bar < BAR_COUNT; bar++)
        buf_printf(&to, "%s%u", bar == 0 ? "; " : " ", why->bars[bar]);
    if (why->change >= 0) {
        buf_printf(&to, "; %s ",
                   resource_name((enum resource)why->change, &w->cell->resource_names));
        resource_print(&to, (enum resource)why->change, why->change_amount);
        buf_printf(&to, " on %u", why->change_machines);
    }
    if (names)
        print_names(&to, w, why);
    str_copy(text, sizeof text, buf_text(&to));
    free(why);
    return text;
}

static const char *why(const struct world *w, const char *job)
{
    return why_told(w, job, false);
}

static const struct {
    const char *what;
    struct resources limit;
    const char *constraint;
    uint32_t max_per_rack; /* one task of it is on m1 already */
    const char *why;
} asked[] = {
    {"fits",
     {{1000, 1, 0, 0}},
     NULL,
     0,
     "3 fits (m1 m2 m3), 1 is down (m4), 1 is draining (m5); 0 0 0 0 0"},
    {"cpu",
     {{3000, 1, 0, 0}},
     NULL,
     0,
     "2 lacks cpu (m2 m3), 1 fits (m1), 1 is down (m4), 1 is draining (m5); 0 0 0 0 2"},
    {"ram",
     {{1000, 500, 0, 0}},
     NULL,
     0,
     "3 lacks ram (m1 m2 m3), 1 is down (m4), 1 is draining (m5); 0 0 0 0 3; "
     "ram 100 on 2"},
    {"disk",
     {{1000, 1, 30, 0}},
     NULL,
     0,
     "3 lacks disk (m1 m2 m3), 1 is down (m4), 1 is draining (m5); 0 0 0 0 3; "
     "disk 20 on 3"},
    {"ports",
     {{1000, 1, 0, 9}},
     NULL,
     0,
     "3 lacks ports (m1 m2 m3), 1 is down (m4), 1 is draining (m5); 0 0 0 0 3; "
     "ports 2 on 3"},
    {"two at once",
     {{9000, 1, 30, 0}},
     NULL,
     0,
     "3 lacks cpu (m1 m2 m3), 1 is down (m4), 1 is draining (m5); 0 0 0 0 3"},
    {"a clause before room",
     {{9000, 1, 0, 0}},
     "rack = r2",
     0,
     "2 fails rack = r2 (m1 m2), 1 lacks cpu (m3), 1 is down (m4), 1 is draining (m5); "
     "0 0 0 0 1; cpu 2 on 1"},
    {"a spread",
     {{500, 1, 0, 0}},
     NULL,
     1,
     "2 is full with 1 per rack (m1 m2), 1 fits (m3), 1 is down (m4), 1 is draining (m5); "
     "0 0 0 0 0"},
};

START_TEST(each_machine_counts_at_its_first_hindrance)
{
    struct world w = world_new();
    machine(&w, "m1", amounts(16000, 91, 20, 2), "r1");
    machine(&w, "m2", amounts(2000, 100, 20, 2), "r1");
    machine(&w, "m3", amounts(2000, 100, 20, 2), "r2");
    machine_id down = machine(&w, "m4", amounts(9000, 900, 90, 9), "r2");
    machine(&w, "m5", amounts(9000, 900, 90, 9), "r2");
    ck_assert_int_eq(world_machine_down(&w, down), ERR_OK);
    ck_assert_int_eq(world_drain(&w, "m5", true), ERR_OK);

    struct job_spec spec = spec_named("web", "ada", 200);
    struct term term;
    spec.limit = asked[_i].limit;
    for (int64_t i = 0; i < spec.limit.v[RES_PORTS]; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", (int)i);
        words_add(&spec.ports, name);
    }
    if (asked[_i].constraint != NULL) {
        ck_assert_int_eq(term_parse(asked[_i].constraint, &term, NULL), 0);
        clause_add(clauses_add(&spec.constraints, 0), term);
    }
    if (asked[_i].max_per_rack > 0) {
        spec.replicas = 2;
        spec.spreads[spec.spread_count++] =
            (struct spread){.by = "rack", .max = asked[_i].max_per_rack};
    }
    job_id job = world_job(&w, spec);
    if (asked[_i].max_per_rack > 0)
        ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), (machine_id){1}, NULL, 0));
    else /* m1 is left with the rest */
        place(&w, "other", 300, 0, 10000, (machine_id){1});
    ck_assert_msg(strcmp(why(&w, "web"), asked[_i].why) == 0, "%s: %s", asked[_i].what,
                  why(&w, "web"));
    world_release(&w);
}
END_TEST

START_TEST(work_that_may_go_is_counted_apart_from_budgets_and_production)
{
    struct world w = world_new();
    machine_id m1 = machine(&w, "m1", amounts(2000, 10, 0, 0), "r1");
    machine_id m2 = machine(&w, "m2", amounts(2000, 10, 0, 0), "r1");
    machine_id m3 = machine(&w, "m3", amounts(2000, 10, 0, 0), "r1");
    machine_id m4 = machine(&w, "m4", amounts(2000, 10, 0, 0), "r1");
    place(&w, "batch", 100, 0, 1500, m1);
    struct job_spec careful = spec_named("careful", "ada", 100);
    careful.limit = amounts(1000, 1, 0, 0);
    careful.replicas = 2;
    careful.disruptions_max = 1; /* one of the two on m2 may go, the job needs both gone */
    job_id id = world_job(&w, careful);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert(world_place(&w, attempt_of(world_task(&w, id, i)), m2, NULL, 0));
    place(&w, "prod", 150, 0, 1500, m3);
    place(&w, "going", 100, 0, 500, m4);
    struct job_spec web = spec_named("web", "ada", 200);
    web.limit = amounts(2000, 1, 0, 0);
    world_job(&w, web);
    ck_assert_str_eq(why_told(&w, "web", true),
                     "4 lacks cpu (m1 m2 m3 m4); 2 1 0 1 0; cpu 1.5 on 1"
                     "; m4 lacks cpu 500m; m1 lacks cpu 1.5; m3 lacks cpu 1.5; m2 lacks cpu 2"
                     "; m4 evicts going/0 100 may be evicted"
                     "; m1 evicts batch/0 100 may be evicted"
                     "; m2 evicts careful/1 100 may be evicted, "
                     "careful/0 100 its job has no disruption left"
                     "; m3 evicts prod/0 150 production is never evicted");
    /* Told to stop is as good as gone. */
    ck_assert_int_eq(world_kill(&w, "going"), ERR_OK);
    ck_assert_str_eq(why(&w, "web"), "3 lacks cpu (m1 m2 m3), 1 fits (m4); 1 1 0 1 0");
    world_release(&w);
}
END_TEST

START_TEST(who_would_have_to_go_is_named_and_nobody_unneeded)
{
    struct world w = world_new();
    machine_id m1 = machine(&w, "m1", amounts(4000, 10, 0, 0), "r1");
    machine_id m2 = machine(&w, "m2", amounts(3000, 10, 0, 0), "r1");
    place(&w, "same", 110, 0, 2000, m1); /* nothing of it may go for web */
    place(&w, "free", 10, 0, 1000, m1);
    place(&w, "small", 100, 0, 500, m1);
    place(&w, "prod", 200, 0, 500, m1);
    place(&w, "high", 115, 0, 1000, m2);
    struct job_spec web = spec_named("web", "ada", 110);
    web.limit = amounts(3500, 1, 0, 0);
    world_job(&w, web);
    ck_assert_str_eq(why_told(&w, "web", true),
                     "2 lacks cpu (m1 m2); 0 0 1 0 1; cpu 2 on 1"
                     "; m2 lacks cpu 1.5; m1 lacks cpu 3.5"
                     "; m1 evicts free/0 10 may be evicted, small/0 100 may be evicted, "
                     "same/0 110 its priority is not lower");
    web = spec_named("tiny", "ada", 110);
    web.limit = amounts(1800, 12, 0, 0);
    world_job(&w, web);
    ck_assert_str_eq(why_told(&w, "tiny", true),
                     "1 lacks cpu (m1), 1 lacks ram (m2); 0 0 0 0 2; ram 9 on 1"
                     "; m2 lacks ram 3; m1 lacks cpu 1.8 ram 6");
    world_release(&w);
}
END_TEST

START_TEST(company_is_told_and_who_keeps_a_job_away)
{
    struct world w = world_new();
    machine_id m1 = machine(&w, "m1", amounts(2000, 10, 0, 0), "r1");
    machine(&w, "m2", amounts(2000, 10, 0, 0), "r1");
    machine_id m3 = machine(&w, "m3", amounts(2000, 10, 0, 0), "r2");
    struct term term;
    struct job_spec lonely = spec_named("lonely", "bob", 200);
    ck_assert_int_eq(term_parse("rack apart web", &term, NULL), 0);
    clause_add(clauses_add(&lonely.constraints, 0), term);
    job_id id = world_job(&w, lonely);
    struct job_spec web = spec_named("web", "bob", 200);
    ck_assert_int_eq(term_parse("rack near cache", &term, NULL), 0);
    clause_add(clauses_add(&web.constraints, 0), term);
    world_job(&w, web);
    ck_assert_str_eq(why(&w, "web"), "3 has no cache in its rack (m1 m2 m3); 0 0 0 0 0");
    place(&w, "cache", 200, 0, 100, m1);
    ck_assert_str_eq(why(&w, "web"), "2 fits (m1 m2), 1 has no cache in its rack (m3); 0 0 0 0 0");
    ck_assert(world_place(&w, attempt_of(world_task(&w, id, 0)), m1, NULL, 0));
    place(&w, "cache2", 200, 0, 100, m3);
    ck_assert_str_eq(why(&w, "web"), "2 is kept free of it by lonely (m1 m2), 1 has no cache in "
                                     "its rack (m3); 0 0 0 0 0");
    world_release(&w);
}
END_TEST

START_TEST(back_off_is_told_and_what_is_not_pending_is_refused)
{
    struct world w = world_new();
    struct why *why = xcalloc(1, sizeof *why);
    struct err err;
    machine_id m1 = machine(&w, "m1", amounts(9000, 10, 0, 0), "r1");
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.replicas = 2;
    spec.backoff_ms = spec.backoff_max_ms = 5000;
    job_id job = world_job(&w, spec);
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), m1, NULL, 0));
    ck_assert_int_eq(why_job(w.cell, "web", 0, 0, why, &err), -ERR_STATE);
    ck_assert_int_eq(why_job(w.cell, "web", 1, 0, why, &err), 0);
    ck_assert_uint_eq(why->backing_off, 0);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 1));
    ck_assert_int_eq(why_job(w.cell, "web", WHY_INDEX_ANY, 0, why, &err), 0);
    ck_assert_uint_eq(why->pending, 2);
    ck_assert_uint_eq(why->backing_off, 1);
    ck_assert_uint_eq(why->not_before_ms, world_task(&w, job, 0)->not_before_ms);
    struct job_spec keeps = spec_named("prod", "ada", 200); /* not pending: who asks is told why */
    keeps.backoff_ms = keeps.backoff_max_ms = 5000;
    job_id prod = world_job(&w, keeps);
    ck_assert(world_place(&w, attempt_of(world_task(&w, prod, 0)), m1, NULL, 0));
    ck_assert(world_exited(&w, world_task(&w, prod, 0), 1));
    ck_assert_int_eq(why_job(w.cell, "prod", 0, 0, why, &err), -ERR_STATE);
    ck_assert_ptr_nonnull(strstr(err.msg, "keep their places: task 0 on m1 starts again in 5 s"));
    ck_assert_int_eq(why_job(w.cell, "web", 2, 0, why, &err), -ERR_NOT_FOUND);
    ck_assert_int_eq(why_job(w.cell, "web", INT64_MIN, 0, why, &err), -ERR_NOT_FOUND);
    ck_assert_int_eq(why_job(w.cell, "nobody", WHY_INDEX_ANY, 0, why, &err), -ERR_NOT_FOUND);
    free(why);
    world_release(&w);
}
END_TEST

START_TEST(a_cell_without_machines_has_no_reasons)
{
    struct world w = world_new();
    world_job(&w, spec_named("web", "ada", 200));
    ck_assert_str_eq(why(&w, "web"), "; 0 0 0 0 0");
    world_release(&w);
}
END_TEST

static bool value_is_full(const struct cell *cell, const struct job *job,
                          const struct spread *spread, const struct machine *machine)
{
    struct subject here = machine_subject(machine);
    const char *value = subject_get(&here, spread->by);
    uint32_t count = 0;
    for (uint32_t i = 0; i < job->task_count; i++) {
        if (!task_is_live(&job->tasks[i]))
            continue;
        struct subject there = machine_subject(cell_machine(cell, job->tasks[i].machine));
        const char *other = subject_get(&there, spread->by);
        count += strcmp(value == NULL ? "" : value, other == NULL ? "" : other) == 0;
    }
    return spread->max > 0 && count >= spread->max;
}

/* Hard clauses, and who keeps the job away. */
static bool may_be(const struct cell *cell, const struct job *job, const struct machine *machine,
                   const struct matcher *matcher)
{
    struct subject subject = machine_subject(machine);
    for (uint32_t i = 0; i < job->spec.constraints.count; i++) {
        const struct clause *clause = &job->spec.constraints.items[i];
        bool holds = clause->weight > 0 || matcher_holds(matcher, i, &subject);
        for (uint32_t j = 0; j < clause->term_count; j++)
            holds |= term_is_company(&clause->terms[j]) &&
                     oracle_company_term(cell, job, machine, &clause->terms[j]);
        if (!holds)
            return false;
    }
    return !oracle_kept_away(cell, job, machine);
}

/* Machines on which a task that asks for `need` has its place now, by the slow and obvious way. */
static uint32_t oracle_fits(const struct cell *cell, const struct job *job,
                            const struct resources *need)
{
    uint32_t count = 0;
    struct matcher *matcher = matcher_new(&job->spec.constraints);
    for (uint32_t m = 0; m < cell->machine_count; m++) {
        const struct machine *machine = cell->machines[m];
        struct oracle_space room = oracle_space_of(machine);
        bool may = machine->state == MACHINE_UP && !machine->draining &&
                   !machine_is_sick(machine) && may_be(cell, job, machine, matcher);
        for (uint32_t s = 0; s < job->spec.spread_count; s++)
            may &= !value_is_full(cell, job, &job->spec.spreads[s], machine);
        LIST_EACH(l, &machine->tasks)
        {
            const struct task *task = CONTAINER_OF(l, struct task, link);
            if (task->stopping == CAUSE_NONE && task->alloc.v == 0)
                oracle_space_move(&room, cell, task, -1);
        }
        count += may && oracle_space_fits(&room, job, need);
    }
    matcher_free(matcher);
    return count;
}

enum gone { GONE_NOTHING, GONE_ALLOWED, GONE_EVICTABLE, GONE_BATCH, GONE_ALL };

/* With those of its job before it on the machine gone as well, may this one go? */
static bool is_gone(const struct cell *cell, const struct machine *machine, const struct task *task,
                    const struct job *by, enum gone gone)
{
    const struct job *job = cell_job(cell, task_job(task->id));
    uint32_t priority = by->spec.priority;
    if (task->stopping != CAUSE_NONE || task->alloc.v != 0 || gone == GONE_ALL)
        return true;
    if (gone == GONE_BATCH)
        return job->spec.priority < 120;
    if (gone == GONE_NOTHING || priority <= job->spec.priority || job->spec.priority >= 120)
        return false;
    if (gone != GONE_ALLOWED || strcmp(job->spec.user, by->spec.user) != 0)
        return true;
    CLEANUP(leaving_release) struct leaving leaving = {0};
    for (struct list *l = machine->tasks.next; l != &task->link; l = l->next) {
        const struct task *other = CONTAINER_OF(l, struct task, link);
        if (is_gone(cell, machine, other, by, GONE_EVICTABLE) && other->stopping == CAUSE_NONE &&
            other->alloc.v == 0)
            (void)leaving_add(&leaving, cell, other);
    }
    return leaving_add(&leaving, cell, task) == NULL;
}

/* Of the machines that lack room only: how many would have it if that were gone? */
static uint32_t oracle_gone(const struct cell *cell, const struct job *job, const struct why *why,
                            enum gone gone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < why->reason_count; i++) {
        for (uint32_t k = 0; why->reasons[i].lack < RES_COUNT && k < why->reasons[i].machines;
             k++) {
            const struct machine *machine =
                cell_machine(cell, (machine_id){why->reasons[i].first[k]});
            struct oracle_space room = oracle_space_of(machine);
            LIST_EACH(l, &machine->tasks)
            {
                const struct task *task = CONTAINER_OF(l, struct task, link);
                if (!is_gone(cell, machine, task, job, gone))
                    oracle_space_move(&room, cell, task, -1);
            }
            count += oracle_space_fits(&room, job, spec_shape(&job->spec, why->shape));
        }
    }
    return count;
}

static void check_evictions(const struct cell *cell, const struct job *job, const struct why *why)
{
    static const enum gone gone[] = {GONE_ALLOWED, GONE_EVICTABLE, GONE_BATCH, GONE_ALL};
    uint32_t before = 0, lacking = 0;
    ck_assert_uint_eq(oracle_gone(cell, job, why, GONE_NOTHING), 0);
    for (enum why_bar bar = BAR_NONE; bar < BAR_SIZE; bar++) {
        uint32_t fits = oracle_gone(cell, job, why, gone[bar]);
        ck_assert_uint_eq(why->bars[bar], fits - before);
        before = fits;
    }
    for (uint32_t i = 0; i < why->reason_count; i++)
        lacking += why->reasons[i].lack < RES_COUNT ? why->reasons[i].machines : 0;
    ck_assert_uint_eq(before + why->bars[BAR_SIZE], lacking);
    ck_assert_uint_eq(why->near_count, MIN(lacking, (uint32_t)WHY_NEAR_MAX));
    ck_assert_uint_eq(why->eviction_count, MIN(before, (uint32_t)WHY_EVICTIONS_MAX));
}

static struct oracle_space space_of(const struct cell *cell, const struct machine *machine)
{
    struct oracle_space space = oracle_space_of(machine);
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (task->stopping == CAUSE_NONE && task->alloc.v == 0)
            oracle_space_move(&space, cell, task, -1);
    }
    return space;
}

/* Sums of shares, in doubles: compared only where they differ clearly. */
static double share_of(const struct resources *limit, const struct resources *missing)
{
    double share = 0;
    for (int r = 0; r < RES_COUNT; r++)
        share += (double)missing->v[r] / (double)MAX(limit->v[r], INT64_C(1));
    return share;
}

static void check_near(const struct cell *cell, const struct job *job, const struct why *why)
{
    const struct resources *limit = spec_shape(&job->spec, why->shape);
    for (uint32_t i = 0; i < why->near_count; i++) {
        struct oracle_space space = space_of(cell, cell_machine(cell, why->near[i].machine));
        struct resources room = space.sum;
        for (int r = 0; r < RES_COUNT && job->spec.priority >= 120; r++)
            room.v[r] = MIN(room.v[r], space.unpromised.v[r]);
        const struct resources *missing = &why->near[i].missing;
        for (int r = 0; r < RES_COUNT; r++) /* of gpus it is not the sum that counts */
            ck_assert(r == RES_GPU || missing->v[r] == MAX(limit->v[r] - room.v[r], INT64_C(0)));
        if (i > 0 && share_of(limit, missing) < 1000)
            ck_assert(share_of(limit, missing) >=
                      share_of(limit, &why->near[i - 1].missing) - 1e-5);
    }
}

/* With its victims gone it fits, and with one of them left it does not. */
static void check_victims(const struct cell *cell, const struct job *job,
                          const struct resources *limit, const struct why_eviction *e)
{
    struct oracle_space room = space_of(cell, cell_machine(cell, e->machine));
    enum why_bar worst = BAR_NONE;
    if (e->victim_count > WHY_VICTIMS_MAX)
        return;
    for (uint32_t i = 0; i < e->victim_count; i++) {
        const struct task *task = cell_task(cell, e->victims[i].task);
        ck_assert_uint_eq(task->machine.v, e->machine.v);
        ck_assert_int_eq(task->stopping, CAUSE_NONE);
        ck_assert_uint_ge(e->victims[i].bar, worst);
        worst = e->victims[i].bar;
        oracle_space_move(&room, cell, task, 1);
    }
    ck_assert_int_eq(worst, e->bar);
    ck_assert(oracle_space_fits(&room, job, limit));
    for (uint32_t i = 0; i < e->victim_count; i++) {
        struct oracle_space without = room;
        oracle_space_move(&without, cell, cell_task(cell, e->victims[i].task), -1);
        ck_assert(!oracle_space_fits(&without, job, limit));
    }
}

static uint32_t checked, suggested, barred[BAR_COUNT];

static void check_job(const struct cell *cell, const struct job *job, uint32_t shape,
                      struct why *why)
{
    const struct resources *limit = spec_shape(&job->spec, shape);
    struct err err;
    int rv = why_job(cell, job->spec.name, WHY_INDEX_ANY, shape, why, &err);
    ck_assert_int_eq(rv, job->counts[TASK_PENDING] > 0 ? 0 : -ERR_STATE);
    if (rv != 0)
        return;
    uint32_t sum = 0, fits = 0;
    for (uint32_t i = 0; i < why->reason_count; i++) {
        sum += why->reasons[i].machines;
        fits += why->reasons[i].lack == LACKS_NOTHING ? why->reasons[i].machines : 0;
    }
    ck_assert_uint_eq(why->pending, job->counts[TASK_PENDING]);
    uint32_t machines = cell->machine_count - cell->machines_removed;
    ck_assert_uint_eq(sum, job->spec.every_machine ? why->pending : machines);
    if (job->spec.every_machine)
        return; /* what the oracle counts is about all machines */
    ck_assert_uint_eq(fits, oracle_fits(cell, job, limit));
    check_evictions(cell, job, why);
    check_near(cell, job, why);
    for (uint32_t i = 0; i < why->eviction_count; i++)
        check_victims(cell, job, limit, &why->evictions[i]);
    checked++;
    for (int bar = 0; bar < BAR_COUNT; bar++)
        barred[bar] += why->bars[bar] > 0;
    bool change = why->change >= 0;
    for (int r = 0; r < RES_COUNT && fits == 0; r++) {
        struct resources need = *limit;
        need.v[r] = r == RES_CPU || r == RES_RAM;
        if (!change) /* then none of one resource does */
            ck_assert_uint_eq(oracle_fits(cell, job, &need), 0);
    }
    if (!change)
        return;
    struct resources need = *limit;
    ck_assert_uint_eq(fits, 0);
    ck_assert_int_lt(why->change_amount, need.v[why->change]);
    need.v[why->change] = why->change_amount;
    ck_assert_uint_gt(why->change_machines, 0);
    ck_assert_uint_eq(oracle_fits(cell, job, &need), why->change_machines);
    need.v[why->change]++;
    ck_assert_uint_eq(oracle_fits(cell, job, &need), 0);
    suggested++;
}

START_TEST(counts_add_up_and_suggestions_are_true_on_random_cells)
{
    struct why *why = xcalloc(1, sizeof *why);
    for (uint64_t s = 1; s <= SEEDS; s++) {
        uint64_t seed = s * UINT64_C(0x9e3779b97f4a7c15);
        struct world w = world_new();
        /* Restarts use up disruption budgets, and need the latest format. */
        struct cmd format = {.kind = CMD_FORMAT_SET, .format_set.format = CELL_FORMAT};
        world_apply(&w, &format);
        for (int step = 0; step < STEPS; step++) {
            struct cmd cmd = draw_cmd(&seed, w.cell);
            world_apply(&w, &cmd);
            if (step % CHECK_EVERY != 0)
                continue;
            LIST_EACH(l, &w.cell->jobs)
            {
                const struct job *job = CONTAINER_OF(l, struct job, link);
                uint32_t shapes = spec_shape_count(&job->spec);
                for (uint32_t i = 0; i < shapes; i++)
                    if (cell_job_named(w.cell, job->spec.name) == job &&
                        job->spec.alloc_set[0] == '\0')
                        check_job(w.cell, job, i, why);
            }
        }
        world_release(&w);
    }
    free(why);
    ck_assert_uint_gt(checked, 1000); /* the cells drawn are no idle ones */
    ck_assert_uint_gt(suggested, 100);
    for (int bar = 0; bar < BAR_COUNT; bar++)
        ck_assert_msg(barred[bar] > 0, "no machine was barred by %s", why_bar_text(bar));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("why");
    TCase *rules = tcase_create("rules");
    tcase_add_loop_test(rules, each_machine_counts_at_its_first_hindrance, 0, ARRAY_SIZE(asked));
    tcase_add_test(rules, work_that_may_go_is_counted_apart_from_budgets_and_production);
    tcase_add_test(rules, who_would_have_to_go_is_named_and_nobody_unneeded);
    tcase_add_test(rules, company_is_told_and_who_keeps_a_job_away);
    tcase_add_test(rules, back_off_is_told_and_what_is_not_pending_is_refused);
    tcase_add_test(rules, a_cell_without_machines_has_no_reasons);
    suite_add_tcase(suite, rules);
    TCase *random = tcase_create("random");
    tcase_set_timeout(random, 60);
    tcase_add_test(random, counts_add_up_and_suggestions_are_true_on_random_cells);
    suite_add_tcase(suite, random);
    return run_suite(suite);
}
