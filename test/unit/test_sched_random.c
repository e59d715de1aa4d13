/*
 * test_sched_random.c - the scheduler on random cells, against an oracle that looks at everything.
 *
 *     SCHED_FIRST=1000 SCHED_SEEDS=2000 build/test/unit/test_sched_random
 *
 * looks at other seeds; a failing one is told on stderr.
 */
#include "draw_places.h"
#include "draw_rare.h"
#include "oracle_company.h"
#include "oracle_space.h"
#include "quantity.h"
#include "sched_fixture.h"

#include <jansson.h>

enum { SEEDS_USUAL = 250, STEPS = 60, MACHINES = 6, JOBS = 10 };

/* Where a task may lie: a machine, or an alloc. */
struct spot {
    const struct machine *machine; /* NULL: the alloc is not there */
    const struct task *alloc;      /* or NULL */
};

static uint32_t spot_count(const struct cell *cell, const struct job *job)
{
    if (job->spec.alloc_set[0] == '\0')
        return cell->machine_count;
    const struct job *set = cell_alloc_set(cell, &job->spec);
    return set == NULL ? 0 : set->spec.replicas;
}

static struct spot spot_at(const struct cell *cell, const struct job *job, uint32_t index)
{
    if (job->spec.alloc_set[0] == '\0')
        return (struct spot){cell->machines[index], NULL};
    const struct task *alloc = &cell_alloc_set(cell, &job->spec)->tasks[index];
    bool is_there = task_is_live(alloc) && alloc->stopping == CAUSE_NONE;
    return (struct spot){is_there ? cell_machine(cell, alloc->machine) : NULL, alloc};
}

static struct spot spot_of(const struct cell *cell, const struct placement *p)
{
    return (struct spot){cell_machine(cell, p->machine),
                         p->alloc.v == 0 ? NULL : cell_task(cell, p->alloc)};
}

static bool is_at(const struct task *task, struct spot spot)
{
    return task->alloc.v == (spot.alloc == NULL ? 0 : spot.alloc->id.v);
}

/* Is this one chosen as a victim before the other one of its job? */
static bool oracle_before(const struct job *job, const struct task *a, const struct task *b)
{
    const struct resources *x = task_limit(job, a), *y = task_limit(job, b);
    for (int r = 0; r < RES_COUNT; r++)
        if (x->v[r] != y->v[r])
            return x->v[r] > y->v[r];
    return a->id.v > b->id.v;
}

/* With those before it on the machine evicted as well, does the budget of its job allow it? */
static bool oracle_may_disrupt(const struct cell *cell, const struct machine *machine,
                               const struct task *task)
{
    const struct job *job = cell_job(cell, task_job(task->id));
    uint32_t before = 0;
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *other = CONTAINER_OF(l, struct task, link);
        before += task_job(other->id).v == job->id.v && other->stopping == CAUSE_NONE &&
                  !task_is_disrupted(other) && oracle_before(job, other, task);
    }
    return job_may_disrupt(job, task, before);
}

/* What a machine or alloc has for work of this user and priority, by the slow and obvious way. */
static struct oracle_space oracle_room(const struct cell *cell, struct spot spot,
                                       const struct job_spec *by, bool evicting)
{
    struct oracle_space room = spot.alloc == NULL ? oracle_space_of(spot.machine)
                                                  : oracle_space_of_alloc(cell, spot.alloc);
    LIST_EACH(l, &spot.machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct job *job = cell_job(cell, task_job(task->id));
        if (task->stopping != CAUSE_NONE || !is_at(task, spot))
            continue;
        bool is_bound = strcmp(job->spec.user, by->user) == 0;
        if (!evicting || !priority_may_evict(by->priority, job->spec.priority) ||
            (is_bound && !oracle_may_disrupt(cell, spot.machine, task)))
            oracle_space_move(&room, cell, task, -1);
    }
    return room;
}

/* The attribute's value by looking at every word. */
static const char *oracle_value(const struct machine *machine, const char *attribute)
{
    if (strcmp(attribute, "machine") == 0)
        return machine->name;
    for (const char *w = words_first(&machine->attributes); w != NULL;
         w = words_next(&machine->attributes, w))
        if (strncmp(w, attribute, strlen(attribute)) == 0 && w[strlen(attribute)] == '=')
            return w + strlen(attribute) + 1;
    return NULL;
}

static bool oracle_term(const struct machine *machine, const struct term *term)
{
    const char *value = oracle_value(machine, term->attribute);
    bool negative = term->op == OP_NOT_EQUAL || term->op == OP_NOT_IN || term->op == OP_NOT_EXISTS;
    bool found = term->op == OP_EXISTS || term->op == OP_NOT_EXISTS;
    if (value == NULL)
        return negative;
    for (const char *w = words_first(&term->values); w != NULL; w = words_next(&term->values, w)) {
        long number = strtol(value, NULL, 10); /* drawn are "4", "16" and "many" */
        bool compared =
            term->op == OP_LESS ? number < strtol(w, NULL, 10) : number >= strtol(w, NULL, 10);
        if (term->op == OP_REGEX) /* the one that is drawn: r[12] */
            found |= strcmp(value, "r1") == 0 || strcmp(value, "r2") == 0;
        else if (term->op == OP_LESS || term->op == OP_AT_LEAST)
            found |= number > 0 && compared;
        else
            found |= strcmp(value, w) == 0;
    }
    return found != negative;
}

static bool oracle_clause(const struct cell *cell, const struct job *job,
                          const struct machine *machine, const struct clause *clause)
{
    bool holds = false;
    for (uint32_t i = 0; i < clause->term_count; i++)
        holds |= term_is_company(&clause->terms[i])
                     ? oracle_company_term(cell, job, machine, &clause->terms[i])
                     : oracle_term(machine, &clause->terms[i]);
    return holds;
}

/* Live tasks of the job on machines that have the same value as this one. */
static uint32_t oracle_count(const struct cell *cell, const struct job *job, const char *by,
                             const struct machine *machine)
{
    const char *value = oracle_value(machine, by);
    uint32_t count = 0;
    for (uint32_t i = 0; i < job->task_count; i++) {
        if (!task_is_live(&job->tasks[i]))
            continue;
        const char *there = oracle_value(cell_machine(cell, job->tasks[i].machine), by);
        count += strcmp(there == NULL ? "" : there, value == NULL ? "" : value) == 0;
    }
    return count;
}

static bool oracle_allows(const struct cell *cell, const struct job *job,
                          const struct machine *machine)
{
    for (uint32_t i = 0; i < job->spec.constraints.count; i++)
        if (job->spec.constraints.items[i].weight == 0 &&
            !oracle_clause(cell, job, machine, &job->spec.constraints.items[i]))
            return false;
    for (uint32_t i = 0; i < job->spec.spread_count; i++)
        if (job->spec.spreads[i].max > 0 &&
            oracle_count(cell, job, job->spec.spreads[i].by, machine) >= job->spec.spreads[i].max)
            return false;
    return !oracle_kept_away(cell, job, machine);
}

/* What the wishes of the job cost there. */
static uint64_t oracle_wishes(const struct cell *cell, const struct job *job,
                              const struct machine *machine)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < job->spec.constraints.count; i++)
        if (!oracle_clause(cell, job, machine, &job->spec.constraints.items[i]))
            cost += job->spec.constraints.items[i].weight;
    for (uint32_t i = 0; i < job->spec.spread_count; i++)
        cost += (uint64_t)job->spec.spreads[i].weight *
                oracle_count(cell, job, job->spec.spreads[i].by, machine);
    return cost;
}

static bool oracle_open(const struct cell *cell, struct spot spot, const struct job *job)
{
    return spot.machine != NULL && spot.machine->state == MACHINE_UP && !spot.machine->draining &&
           !machine_is_sick(spot.machine) && oracle_allows(cell, job, spot.machine);
}

static bool oracle_fits(const struct cell *cell, struct spot spot, const struct job *job,
                        const struct resources *need, bool evicting)
{
    if (!oracle_open(cell, spot, job))
        return false;
    struct oracle_space room = oracle_room(cell, spot, &job->spec, evicting);
    return oracle_space_fits(&room, job, need);
}

static bool oracle_fits_anywhere(const struct cell *cell, const struct job *job,
                                 const struct resources *need, bool evicting)
{
    for (uint32_t i = 0; i < spot_count(cell, job); i++)
        if (oracle_fits(cell, spot_at(cell, job, i), job, need, evicting))
            return true;
    return false;
}

/* The first shape in which the job fits there, or somewhere (NULL), or their number. */
static uint32_t oracle_shape(const struct cell *cell, const struct job *job,
                             const struct spot *there, bool evicting)
{
    for (uint32_t i = 0; i < spec_shape_count(&job->spec); i++) {
        const struct resources *need = spec_shape(&job->spec, i);
        if (there == NULL ? oracle_fits_anywhere(cell, job, need, evicting)
                          : oracle_fits(cell, *there, job, need, evicting))
            return i;
    }
    return spec_shape_count(&job->spec);
}

/* How many of the job's tasks have room at once without evicting anybody, spreads aside. */
static uint64_t oracle_places(const struct cell *cell, const struct job *job,
                              const struct resources *need)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < spot_count(cell, job); i++) {
        struct spot spot = spot_at(cell, job, i);
        if (!oracle_open(cell, spot, job))
            continue;
        struct oracle_space room = oracle_room(cell, spot, &job->spec, false);
        for (; oracle_space_fits(&room, job, need); places++)
            oracle_space_fill(&room, need);
    }
    return places;
}

static uint32_t waiting_count(const struct job *job)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < job->task_count; i++)
        count += job->tasks[i].state == TASK_PENDING && job->tasks[i].not_before_ms == 0;
    return count;
}

/* Of a gang of several the oracle knows only what needs no evictions, and where one task says
 * nothing of where the next may go: hard spreads and company do. */
static bool oracle_has_claim(const struct cell *cell, const struct job *job)
{
    uint32_t waiting = waiting_count(job);
    bool has_max = false;
    for (uint32_t i = 0; i < job->spec.spread_count; i++)
        has_max |= job->spec.spreads[i].max > 0;
    for (uint32_t i = 0; i < job->spec.constraints.count; i++)
        has_max |= clause_has_company(&job->spec.constraints.items[i]);
    for (uint32_t i = 0; i < job->task_count && job->spec.every_machine; i++)
        if (job->tasks[i].state == TASK_PENDING && job->tasks[i].not_before_ms == 0 &&
            oracle_shape(cell, job, &(struct spot){cell->machines[i], NULL}, true) <
                spec_shape_count(&job->spec))
            return true;
    if (job->spec.every_machine)
        return false;
    uint64_t places = 0;
    for (uint32_t i = 0; i < spec_shape_count(&job->spec); i++)
        places = MAX(places, oracle_places(cell, job, spec_shape(&job->spec, i)));
    if (job->spec.gang && waiting > 1)
        return !has_max && places >= waiting;
    return oracle_shape(cell, job, NULL, true) < spec_shape_count(&job->spec);
}

static bool has_waiting(const struct job *job)
{
    return waiting_count(job) > 0;
}

/* Of those that want the same room. */
static void expect_no_better_claim(const struct cell *cell, const struct job *placed)
{
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        if (job->spec.priority > placed->spec.priority && has_waiting(job) &&
            strcmp(job->spec.alloc_set, placed->spec.alloc_set) == 0)
            ck_assert_msg(!oracle_has_claim(cell, job), "%s of priority %u was passed over",
                          job->spec.name, job->spec.priority);
    }
}

static uint64_t systems_seen; /* tasks of jobs on every machine */
static uint64_t gangs_seen;   /* placed at once */
static uint64_t outdone_seen; /* runners-up that were worse */
static uint64_t inside_seen;  /* placed in allocs */
static uint64_t wishes_seen;  /* placements for which the wishes differed between machines */
static uint64_t shapes_seen;  /* placements in another shape than the first */

static uint64_t crashes_seen; /* placements of tasks that had crashed on a machine that fits */

/* Where it crashed is worse than any wish. */
static uint64_t oracle_cost(const struct cell *cell, const struct task *task,
                            const struct machine *machine)
{
    uint64_t cost = oracle_wishes(cell, cell_job(cell, task_job(task->id)), machine);
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        cost += task->crashed_on[i].v == machine->id.v ? UINT32_MAX : 0;
    crashes_seen += cost >= UINT32_MAX;
    return cost;
}

/* Nobody is evicted for a wish; else no machine that fits would leave less open. */
static void expect_best_wish(const struct cell *cell, const struct task *task,
                             const struct machine *chosen, const struct placement *p)
{
    const struct job *job = cell_job(cell, task_job(task->id));
    uint64_t cost = oracle_cost(cell, task, chosen);
    bool differs = false;
    for (uint32_t i = 0; p->victim_count == 0 && i < spot_count(cell, job); i++) {
        struct spot other = spot_at(cell, job, i);
        if (!oracle_fits(cell, other, job, spec_shape(&job->spec, p->shape), false))
            continue;
        uint64_t instead = oracle_cost(cell, task, other.machine);
        ck_assert_uint_ge(instead, cost);
        differs |= instead > cost;
    }
    wishes_seen += differs;
}

static int64_t rank_sum(const struct cmd_schedule *out, const struct decision *d, uint32_t rank,
                        bool winner)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < d->score_count; i++)
        if (out->stages[d->scores[i].stage].rank == rank)
            sum += winner ? d->scores[i].winner : d->scores[i].runner_up;
    return sum;
}

/* The runner-up would have done too, its score is no better, and nobody says there is none when
 * there is one. Of gangs and of those who evict less is known here. */
static void expect_true_decision(const struct cell *cell, const struct cmd_schedule *out,
                                 const struct placement *p)
{
    const struct decision *d = &p->decision;
    const struct job *job = cell_job(cell, task_job(p->task.task));
    const struct resources *need = spec_shape(&job->spec, p->shape);
    const struct machine *runner_up = cell_machine(cell, d->runner_up);
    ck_assert_int_eq(runner_up == NULL, d->runner_up.v == 0);
    ck_assert_int_eq(p->alloc.v != 0, d->among == AMONG_ALLOCS);
    if (p->alloc.v != 0)
        return; /* nothing is told of the other allocs */
    ck_assert_uint_ne(d->runner_up.v, p->machine.v);
    for (uint32_t i = 0; i < d->score_count; i++)
        ck_assert_str_ne(out->stages[d->scores[i].stage].name, "");
    int64_t ahead = 0;
    for (uint32_t rank = 0; rank < 3 && ahead == 0 && runner_up != NULL; rank++)
        ahead = rank_sum(out, d, rank, false) - rank_sum(out, d, rank, true);
    ck_assert_int_ge(ahead, 0);
    outdone_seen += ahead > 0;
    if (p->victim_count > 0) {
        ck_assert_int_eq(rank_sum(out, d, 1, true), (int64_t)p->victim_count);
        return;
    }
    uint32_t fits = 0;
    for (uint32_t i = 0; i < cell->machine_count; i++)
        fits += oracle_fits(cell, spot_at(cell, job, i), job, need, false);
    struct spot next = {runner_up, NULL};
    if (runner_up != NULL)
        ck_assert(oracle_fits(cell, next, job, need, false));
    else if (d->among == AMONG_ALL)
        ck_assert_uint_eq(fits, 1);
}

/* Everything a placement must obey, against the cell just before it. */
static void expect_good(const struct cell *cell, const struct placement *p,
                        const struct attempt_ref *victims)
{
    const struct job *job = cell_job(cell, task_job(p->task.task));
    const struct job_spec *spec = &job->spec;
    const struct resources *need = spec_shape(spec, p->shape);
    const struct machine *machine = cell_machine(cell, p->machine);
    expect_no_better_claim(cell, job);
    ck_assert(oracle_allows(cell, job, machine));
    const struct spot spot = spot_of(cell, p);
    const struct spot *there = spec->every_machine ? &spot : NULL;
    if (spec->every_machine) {
        ck_assert_uint_eq(p->machine.v, task_index(p->task.task) + 1);
        systems_seen++;
    } else {
        expect_best_wish(cell, cell_task(cell, p->task.task), machine, p);
    }
    bool is_one =
        !spec->gang || waiting_count(job) == 1; /* else all take the shape that all fit in */
    bool is_free = is_one ? oracle_shape(cell, job, there, false) < spec_shape_count(spec)
                          : oracle_fits_anywhere(cell, job, need, false);
    ck_assert_int_eq(is_free, p->victim_count == 0);
    ck_assert(!is_one || p->shape == oracle_shape(cell, job, there, !is_free));
    shapes_seen += p->shape > 0;
    struct oracle_space room = oracle_room(cell, spot, spec, false);
    for (uint32_t i = 0; i < p->victim_count; i++) {
        const struct job *victim = cell_job(cell, task_job(victims[i].task));
        ck_assert(!priority_is_prod(victim->spec.priority));
        ck_assert_uint_lt(victim->spec.priority, spec->priority);
        ck_assert(cell_task(cell, victims[i].task)->stopping == CAUSE_NONE);
        ck_assert(is_at(cell_task(cell, victims[i].task), spot));
        oracle_space_move(&room, cell, cell_task(cell, victims[i].task), 1);
    }
    ck_assert(oracle_space_fits(&room, job, need));
    for (uint32_t i = 0; i < p->victim_count; i++) {
        struct oracle_space without = room;
        oracle_space_move(&without, cell, cell_task(cell, victims[i].task), -1);
        ck_assert_msg(!oracle_space_fits(&without, job, need), "a victim was not needed");
    }
}

/* Placements of one job that stand together: all of a gang, else one. */
static uint32_t together(const struct cell *cell, const struct cmd_schedule *out, uint32_t first)
{
    job_id id = task_job(out->placements[first].task.task);
    uint32_t count = 1;
    while (cell_job(cell, id)->spec.gang && first + count < out->placement_count &&
           task_job(out->placements[first + count].task.task).v == id.v)
        count++;
    return count;
}

/* SQL looks into it. */
static void expect_json(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    ck_assert_msg(json != NULL, "no JSON: %s", text);
    json_decref(json);
}

/* The first of a gang is judged as everybody's; the cell sees to the room for the others. */
static void judged_place(struct world *w, const struct cmd_schedule *out, uint32_t first,
                         uint32_t count)
{
    const struct job *job = cell_job(w->cell, task_job(out->placements[first].task.task));
    ck_assert_uint_eq(count, job->spec.gang ? waiting_count(job) : 1);
    gangs_seen += count > 1;
    inside_seen += job->spec.alloc_set[0] != '\0';
    expect_good(w->cell, &out->placements[first],
                out->victims + out->placements[first].victim_first);
    expect_true_decision(w->cell, out, &out->placements[first]);
    struct cmd_schedule part = *out;
    part.placements += first;
    part.placement_count = count;
    part.verdict_count = 0;
    struct cmd cmd = cmd_of_decision(&part);
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    ck_assert_msg(w->answer.refused == 0, "%s", w->answer.msg);
    for (size_t i = 0; i < w->changes.event_count; i++)
        if (w->changes.events[i].kind == EVENT_ASSIGNED)
            expect_json(w->changes.events[i].detail);
}

/* Apply the placements of one pass one by one, each judged before. */
static bool judged_pass(struct world *w, struct sched *sched, uint64_t *victims_seen)
{
    struct cmd_schedule out;
    if (!sched_pass(sched, &out))
        return false;
    for (uint32_t i = 0, count; i < out.placement_count; i += count) {
        count = together(w->cell, &out, i);
        judged_place(w, &out, i, count);
        world_tell(w, sched);
    }
    *victims_seen += out.victim_count;
    out.placement_count = 0;
    out.victim_count = 0;
    struct cmd cmd = cmd_of_decision(&out);
    world_apply(w, &cmd);
    world_tell(w, sched);
    return true;
}

/* "... would fit with ram 2Gi instead of 64Gi": it does, and not with the least bit more. */
static void expect_true_hint(const struct cell *cell, const struct job *job, uint32_t shape,
                             const char *text)
{
    const struct resources *limit = spec_shape(&job->spec, shape);
    const char *hint = strstr(text, "would fit with ");
    if (hint == NULL)
        return;
    char name[16], amount[32], old[32];
    ck_assert_int_eq(sscanf(hint, "would fit with %15s %31s instead of %31s", name, amount, old),
                     3);
    struct resources need = *limit;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (strcmp(name, resource_name(r, &cell->resource_names)) != 0)
            continue;
        int rc = r == RES_CPU || r == RES_GPU ? quantity_parse_milli(amount, &need.v[r], NULL)
                                              : quantity_parse_bytes(amount, &need.v[r], NULL);
        ck_assert_int_eq(rc, 0);
        ck_assert_int_lt(need.v[r], limit->v[r]);
        ck_assert(oracle_fits_anywhere(cell, job, &need, true));
        need.v[r]++;
        ck_assert(!oracle_fits_anywhere(cell, job, &need, true));
    }
}

/* Without rows of machines that were removed. */
static uint32_t spots_there(const struct cell *cell, const struct job *job)
{
    bool is_inside = job->spec.alloc_set[0] != '\0';
    return spot_count(cell, job) - (is_inside ? 0 : cell->machines_removed);
}

/* Each machine counts once. */
static void expect_true_counts(const struct cell *cell, const struct job *job, const char *text)
{
    uint32_t sum = 0, spots = spots_there(cell, job);
    for (const char *at = text; at != NULL;) {
        uint32_t count, total;
        if (sscanf(at, "%u of %u ", &count, &total) != 2)
            break;
        ck_assert_uint_eq(total, spots);
        sum += count;
        at = strstr(at, ", "); /* the values of a clause have no blank between them */
        at = at != NULL ? at + 2 : NULL;
    }
    ck_assert_msg(sum == spots, "%s", text);
}

/* What is said of one shape. */
static void expect_true_part(const struct cell *cell, const struct job *job, uint32_t shape,
                             const char *text)
{
    bool gang = job->spec.gang && waiting_count(job) > 1;
    const char *head = gang                             ? "the gang waits for all: "
                       : shape > 0                      ? ""
                       : job->spec.alloc_set[0] != '\0' ? "no alloc fits: "
                                                        : "no machine fits: ";
    const char *start = gang ? strstr(text, head) : text;
    ck_assert_msg(start != NULL && strncmp(start, head, strlen(head)) == 0, "%s", text);
    expect_true_counts(cell, job, start + strlen(head));
    if (!gang)
        expect_true_hint(cell, job, shape, text);
}

static void expect_true_explanation(const struct cell *cell, struct sched *sched,
                                    const struct job *job)
{
    CLEANUP(buf_release) struct buf text = {0};
    bool is_inside = job->spec.alloc_set[0] != '\0';
    uint32_t shapes = spots_there(cell, job) == 0 ? 1 : spec_shape_count(&job->spec);
    sched_explain(sched, job->id, &text);
    if (is_inside && spot_count(cell, job) == 0) {
        ck_assert_ptr_nonnull(strstr(buf_text(&text), "is gone"));
        return;
    }
    char *at = text.bytes;
    for (uint32_t i = 0; i < shapes; i++) {
        char mark[32];
        snprintf(mark, sizeof mark, "; in shape %u: ", i + 2);
        char *next = i + 1 < shapes ? strstr(at, mark) : NULL;
        ck_assert_int_eq(next != NULL, i + 1 < shapes);
        if (next != NULL)
            *next = '\0';
        if (cell->machine_count > cell->machines_removed)
            expect_true_part(cell, job, i, at);
        at = next + strlen(mark);
    }
}

static void expect_settled(struct world *w, struct sched *sched)
{
    LIST_EACH(l, &w->cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        if (!has_waiting(job))
            continue;
        ck_assert_msg(!oracle_has_claim(w->cell, job), "%s fits and is not placed", job->spec.name);
        ck_assert_msg(job->reason[0] != '\0', "%s has no reason", job->spec.name);
        if (job->spec.every_machine)
            ck_assert_msg(strncmp(job->reason, "no room for ", 12) == 0, "%s", job->reason);
        else
            expect_true_explanation(w->cell, sched, job);
    }
    struct sched *fresh = sched_new();
    struct cmd_schedule out;
    world_tell_all(w, fresh);
    sched_pass(fresh, &out);
    ck_assert_uint_eq(out.placement_count, 0);
    ck_assert_uint_eq(sched_stats(fresh).pending, sched_stats(sched).pending);
    sched_free(fresh);
}

static struct cmd draw_machine_cmd(uint64_t *seed)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    if (draw_below(seed, 4) == 0) {
        cmd.kind = CMD_MACHINE_DRAIN;
        snprintf(cmd.machine_drain.name, sizeof cmd.machine_drain.name, "m%u",
                 draw_below(seed, MACHINES));
        cmd.machine_drain.on = draw_below(seed, 3) == 0;
        return cmd;
    }
    if (draw_below(seed, 4) == 0) {
        cmd.kind = CMD_MACHINE_DOWN;
        cmd.machine_down.machine.v = 1 + draw_below(seed, MACHINES);
        return cmd;
    }
    struct cmd_machine_register *body = &cmd.machine_register;
    snprintf(body->name, sizeof body->name, "m%u", draw_below(seed, MACHINES));
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(1000 * draw_below(seed, 9), 4 * draw_below(seed, 9),
                             draw_below(seed, 4), draw_below(seed, 4));
    draw_rare_capacity(seed, body);
    draw_attributes(seed, &body->attributes);
    return cmd;
}

static uint32_t draw_priority(uint64_t *seed)
{
    static const uint32_t priorities[] = {0, 50, 100, 110, 119, 120, 200, 360, 450};
    return priorities[draw_below(seed, ARRAY_SIZE(priorities))];
}

static struct cmd draw_update_cmd(uint64_t *seed)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE};
    struct cmd_job_update *body = &cmd.job_update;
    snprintf(body->name, sizeof body->name, "j%u", draw_below(seed, JOBS));
    body->replicas = draw_below(seed, 2) == 0 ? JOB_UPDATE_KEEP : (int64_t)draw_below(seed, 8) + 1;
    body->priority = draw_below(seed, 2) == 0 ? JOB_UPDATE_KEEP : draw_priority(seed);
    if (draw_below(seed, 2) == 0) {
        body->limit = amounts(500 + 500 * draw_below(seed, 6), 1 + draw_below(seed, 8), 0, 0);
        body->limit.v[RES_GPU] = 500 * draw_below(seed, 4);
        body->resized = 1U << RES_CPU | 1U << RES_RAM;
        body->resized |= draw_below(seed, 4) == 0 ? 1U << RES_GPU : 0;
    }
    return cmd;
}

/* Make it an alloc set, or a job of one; or neither. Budgets are left out: which of two allocs that
 * share one may go depends on who is asked first, and an alloc that is placed is disrupted no more,
 * of which the scheduler hears after its pass. */
static void draw_alloc(uint64_t *seed, const struct cell *cell, struct job_spec *spec)
{
    uint32_t what = draw_below(seed, 5);
    if (what == 0) {
        words_release(&spec->argv);
        words_release(&spec->ports);
        spec->is_alloc_set = true;
        spec->alternative_count = 0;
        spec->disruptions_max = 0;
        for (int r = 0; r < RES_GPU; r++)
            spec->limit.v[r] *= 2;
    }
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *set = CONTAINER_OF(l, struct job, link);
        if (what < 2 || !set->spec.is_alloc_set || job_is_dead(set) || set->killed)
            continue;
        str_copy(spec->alloc_set, sizeof spec->alloc_set, set->spec.name);
        spec->alternative_count = 0;
        str_copy(spec->user, sizeof spec->user, set->spec.user);
        spec->disruptions_max = 0;
        spec->every_machine = false;
        for (int r = 0; r < RES_PORTS; r++)
            spec->limit.v[r] = MIN(spec->limit.v[r], set->spec.limit.v[r]);
        spec->limit.v[RES_GPU] = MIN(spec->limit.v[RES_GPU], set->spec.limit.v[RES_GPU]);
    }
}

static struct cmd draw_submit_cmd(uint64_t *seed, const struct cell *cell)
{
    char name[8], user[8];
    snprintf(name, sizeof name, "j%u", draw_below(seed, JOBS));
    snprintf(user, sizeof user, "u%u", draw_below(seed, 3));
    struct job_spec spec = spec_named(name, user, draw_priority(seed));
    spec.replicas = 1 + draw_below(seed, 6);
    spec.limit = amounts(500 + 500 * draw_below(seed, 6), 1 + draw_below(seed, 8),
                         draw_below(seed, 2), draw_below(seed, 2));
    if (draw_below(seed, 3) == 0)
        draw_rare_limit(seed, &spec);
    if (spec.limit.v[RES_PORTS] == 1)
        words_add(&spec.ports, "http");
    spec.gang = draw_below(seed, 4) == 0;
    spec.policy = draw_below(seed, POLICY_SPEC_COUNT);
    draw_shapes(seed, &spec);
    spec.disruptions_max = draw_below(seed, 4);
    spec.backoff_ms = 1000 * draw_below(seed, 2);
    spec.failures_max = draw_below(seed, 3);
    draw_places(seed, &spec);
    spec.every_machine = draw_below(seed, 4) == 0 && !spec.gang && spec.spread_count == 0;
    draw_alloc(seed, cell, &spec);
    return (struct cmd){.kind = CMD_JOB_SUBMIT, .job_submit = spec};
}

/* Ends of live tasks of one machine, told to stop or not. */
static struct cmd draw_report_cmd(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = {.kind = CMD_REPORT};
    cmd.report.reports = xcalloc(4, sizeof *cmd.report.reports);
    machine_id id = {1 + draw_below(seed, MACHINES)};
    const struct machine *machine = cell_machine(cell, id);
    if (machine == NULL)
        return cmd;
    LIST_EACH(l, &machine->tasks)
    {
        if (cmd.report.report_count == 4 || draw_below(seed, 3) == 0)
            continue;
        cmd.report.reports[cmd.report.report_count++] =
            (struct report){.task = attempt_of(CONTAINER_OF(l, struct task, link)),
                            .kind = draw_below(seed, REPORT_KIND_COUNT),
                            .exit_code = (int32_t)draw_below(seed, 2),
                            .fault = draw_below(seed, 2) == 0 ? FAULT_MACHINE : FAULT_TASK,
                            .told_to_stop = draw_below(seed, 2) == 0,
                            .machine = id};
    }
    return cmd;
}

static struct cmd draw_cmd(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd;
    uint32_t kind = draw_below(seed, 13);
    if (kind == 12) {
        machine_id machine = {1 + draw_below(seed, MACHINES)};
        cmd = (struct cmd){.kind = CMD_MACHINE_RECLAIM, .machine_reclaim = {machine}};
        cmd.time_ms = cell->now_ms + draw_below(seed, 2000);
        if (draw_below(seed, 4) > 0)
            draw_usage(seed, cell, machine, &cmd);
        return cmd;
    }
    if (cell->machines_sick > 0 && draw_below(seed, 8) == 0) {
        cmd = (struct cmd){.kind = CMD_MACHINE_TRY, .time_ms = cell->now_ms + 60000};
        cmd.machine_try.machine.v = 1 + draw_below(seed, MACHINES);
        return cmd;
    }
    if (kind == 0 && draw_below(seed, 4) == 0) {
        cmd = (struct cmd){.kind = CMD_MACHINE_REMOVE, .machine_remove = {.force = true}};
        snprintf(cmd.machine_remove.name, sizeof cmd.machine_remove.name, "m%u",
                 draw_below(seed, MACHINES));
    } else if (kind == 0 && draw_below(seed, 2) == 0) {
        cmd = (struct cmd){.kind = CMD_MACHINE_EVICT};
        cmd.machine_evict.machine.v = 1 + draw_below(seed, MACHINES);
    } else if (kind == 1 && !list_empty(&cell->updating)) {
        cmd = (struct cmd){.kind = CMD_JOB_RESIZE};
        cmd.job_resize.job = CONTAINER_OF(cell->updating.next, struct job, updating)->id;
    } else if (kind < 3) {
        cmd = draw_machine_cmd(seed);
    } else if (kind < 6) {
        cmd = draw_submit_cmd(seed, cell);
    } else if (kind < 7 && draw_below(seed, 2) == 0) {
        cmd = draw_update_cmd(seed);
    } else if (kind < 7) {
        cmd = (struct cmd){.kind = CMD_JOB_KILL};
        snprintf(cmd.job_kill.name, sizeof cmd.job_kill.name, "j%u", draw_below(seed, JOBS));
    } else if (kind < 11) {
        cmd = draw_report_cmd(seed, cell);
    } else {
        cmd = (struct cmd){.kind = CMD_WAKE};
        cmd.wake.tasks = xcalloc(8, sizeof *cmd.wake.tasks);
        cmd.wake.task_count = cell_wake_due(cell, UINT64_MAX, cmd.wake.tasks, 8);
    }
    cmd.time_ms = cell->now_ms + draw_below(seed, 2000);
    return cmd;
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* The seeds of one test, one after another. */
struct seeds {
    uint64_t now, end, count;
};

static struct seeds seeds_begin(void)
{
    uint64_t first = number_from_env("SCHED_FIRST", 1);
    uint64_t count = number_from_env("SCHED_SEEDS", SEEDS_USUAL);
    return (struct seeds){first - 1, first + count, count};
}

static bool seeds_next(struct seeds *seeds)
{
    seeds->now++;
    if (seeds->count != SEEDS_USUAL && seeds->now < seeds->end)
        fprintf(stderr, "\rseed %" PRIu64 " ", seeds->now);
    return seeds->now < seeds->end;
}

START_TEST(every_decision_stands_before_the_oracle)
{
    uint64_t victims = 0;
    uint64_t placed = 0;
    for (struct seeds seeds = seeds_begin(); seeds_next(&seeds);) {
        uint64_t seed = seeds.now * 7919;
        struct world w = world_new();
        struct sched *sched = sched_new();
        for (int step = 0; step < STEPS; step++) {
            struct cmd cmd = draw_cmd(&seed, w.cell);
            world_apply(&w, &cmd);
            world_tell(&w, sched);
            while (judged_pass(&w, sched, &victims))
                ;
            expect_settled(&w, sched);
        }
        placed += sched_stats(sched).placed;
        sched_free(sched);
        world_release(&w);
    }
    if (number_from_env("SCHED_SEEDS", SEEDS_USUAL) < SEEDS_USUAL)
        return;
    ck_assert_uint_gt(placed, SEEDS_USUAL * 8);
    ck_assert_uint_gt(victims, SEEDS_USUAL / 2);
    ck_assert_uint_gt(systems_seen, SEEDS_USUAL / 3);
    ck_assert_uint_gt(gangs_seen, SEEDS_USUAL / 5);
    ck_assert_uint_gt(outdone_seen, 50);
    ck_assert_uint_gt(inside_seen, SEEDS_USUAL / 4);
    ck_assert_uint_gt(shapes_seen, SEEDS_USUAL / 2);
    ck_assert_uint_gt(wishes_seen, SEEDS_USUAL / 10);
    ck_assert_uint_gt(crashes_seen, SEEDS_USUAL / 10);
}
END_TEST

/* The schedulers of a leader and of one who follows. */
static void tell_both(struct world *w, struct sched *const *scheds)
{
    world_tell(w, scheds[0]);
    world_tell(w, scheds[1]);
}

static void draw_and_tell(struct world *w, uint64_t *seed, struct sched *const *scheds)
{
    struct cmd cmd = draw_cmd(seed, w->cell);
    world_apply(w, &cmd);
    tell_both(w, scheds);
}

static void lead_until_settled(struct world *w, struct sched *leader, struct sched *const *scheds)
{
    struct cmd_schedule out;
    for (int i = 0; sched_pass(leader, &out); i++) {
        ck_assert_int_lt(i, 100);
        struct cmd cmd = cmd_of_decision(&out);
        world_apply(w, &cmd);
        tell_both(w, scheds);
    }
    expect_settled(w, leader);
}

/* The cell moves on while the scheduler decides, some decisions are lost, and two of them lead in
 * turn: some of it is refused, and all of it heals. */
START_TEST(decisions_about_a_cell_that_moved_on_heal)
{
    uint64_t refused = 0, lost = 0;
    for (struct seeds seeds = seeds_begin(); seeds_next(&seeds);) {
        uint64_t seed = seeds.now * 104729;
        struct world w = world_new();
        struct sched *scheds[] = {sched_new(), sched_new()};
        for (int step = 0; step < STEPS; step++) {
            struct cmd_schedule out;
            struct sched *leader = scheds[step / 7 % 2];
            draw_and_tell(&w, &seed, scheds);
            bool decided = sched_pass(leader, &out);
            struct cmd decision = decided ? cmd_of_decision(&out) : (struct cmd){0};
            draw_and_tell(&w, &seed, scheds); /* two commands come first, and are told first */
            draw_and_tell(&w, &seed, scheds);
            if (decided && draw_below(&seed, 4) == 0) {
                changes_clear(&w.changes);
                schedule_note(w.cell, &decision.schedule, &w.changes);
                world_tell(&w, leader);
                cmd_release(&decision);
                lost++;
            } else if (decided) {
                world_apply(&w, &decision);
                refused += w.answer.refused;
                tell_both(&w, scheds);
            }
            if (step % 5 == 4)
                lead_until_settled(&w, leader, scheds);
        }
        sched_free(scheds[0]);
        sched_free(scheds[1]);
        world_release(&w);
    }
    uint64_t enough = MIN(number_from_env("SCHED_SEEDS", SEEDS_USUAL), SEEDS_USUAL + 0U);
    ck_assert_uint_gt(refused, enough);
    ck_assert_uint_gt(lost, enough);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_random");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, every_decision_stands_before_the_oracle);
    tcase_add_test(tcase, decisions_about_a_cell_that_moved_on_heal);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
