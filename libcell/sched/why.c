/*
 * why.c - why the pending tasks of a job are pending, machine by machine, from the cell alone.
 */
#include "why.h"

#include <stdlib.h>
#include <string.h>

/* The live tasks of a job at the values of an attribute; stopping tasks count: they are there until
 * they are gone. */
struct tally {
    const struct job *of; /* NULL: there is no such job */
    const char *by;
    struct namemap counts; /* value to count */
};

/* The smaller key is nearer; of equal ones the lower id, which comes first. */
struct rank {
    machine_id machine;
    uint64_t key;
};

/* One question being answered. */
struct inquiry {
    const struct cell *cell;
    const struct job *job;
    int64_t index; /* of the task in question, or WHY_INDEX_ANY */
    const struct resources *need;
    struct matcher *matcher; /* NULL: no constraints */
    struct tally spreads[SPEC_SPREADS_MAX];
    struct tally companies[SPEC_COMPANIES_MAX]; /* of near and apart, as they stand */
    uint32_t company_count;
    struct tally *keepers; /* jobs that keep this one apart */
    uint32_t keeper_count;
    int64_t enough[RES_COUNT]; /* see lack_best_change() */
    uint32_t enough_machines[RES_COUNT];
    struct rank near[WHY_NEAR_MAX];       /* by the share they lack */
    struct rank evict[WHY_EVICTIONS_MAX]; /* by what bars the way, then the same */
    struct why_reason *by_lack;           /* LACKS_COUNT */
};

static const char *value_of(const struct machine *machine, const char *by)
{
    struct subject subject = machine_subject(machine);
    const char *value = subject_get(&subject, by);
    return value != NULL ? value : "";
}

static void tally_add(struct tally *tally, const struct machine *machine)
{
    const char *value = value_of(machine, tally->by);
    uintptr_t count = (uintptr_t)namemap_get(&tally->counts, value);
    namemap_put(&tally->counts, value, (void *)(count + 1));
}

static struct tally tally_make(const struct cell *cell, const struct job *of, const char *by)
{
    struct tally tally = {.of = of, .by = by};
    for (uint32_t i = 0; of != NULL && i < of->task_count; i++)
        if (task_is_live(&of->tasks[i]))
            tally_add(&tally, cell_machine(cell, of->tasks[i].machine));
    return tally;
}

static uint64_t tally_at(const struct tally *tally, const struct machine *machine)
{
    return (uintptr_t)namemap_get(&tally->counts, value_of(machine, tally->by));
}

/* Think of one more task of the job there. */
static void tallies_add(struct inquiry *q, const struct machine *machine)
{
    for (uint32_t s = 0; s < q->job->spec.spread_count; s++)
        tally_add(&q->spreads[s], machine);
    for (uint32_t i = 0; i < q->company_count; i++)
        if (q->companies[i].of == q->job)
            tally_add(&q->companies[i], machine);
}

static void companies_count(struct inquiry *q)
{
    const struct clauses *clauses = &q->job->spec.constraints;
    for (uint32_t i = 0; i < clauses->count; i++) {
        for (uint32_t j = 0; j < clauses->items[i].term_count; j++) {
            const struct term *term = &clauses->items[i].terms[j];
            if (term_is_company(term))
                q->companies[q->company_count++] = tally_make(
                    q->cell, cell_job_named(q->cell, words_first(&term->values)), term->attribute);
        }
    }
}

/* A job that keeps itself apart says so with its own constraint. */
static void keepers_count(struct inquiry *q)
{
    LIST_EACH(l, &q->cell->jobs)
    {
        const struct job *other = CONTAINER_OF(l, struct job, link);
        const struct clauses *clauses = &other->spec.constraints;
        bool binds = other != q->job && !job_is_dead(other) && job_binds(other, q->job);
        for (uint32_t i = 0; i < clauses->count && binds; i++) {
            const char *whom = clause_keeps_away(&clauses->items[i]);
            if (whom == NULL || strcmp(whom, q->job->spec.name) != 0)
                continue;
            q->keepers = xrealloc(q->keepers, q->keeper_count + 1, sizeof *q->keepers);
            q->keepers[q->keeper_count++] =
                tally_make(q->cell, other, clauses->items[i].terms[0].attribute);
        }
    }
}

static void inquiry_begin(struct inquiry *q)
{
    const struct job_spec *spec = &q->job->spec;
    if (spec->constraints.count > 0)
        q->matcher = matcher_new(&spec->constraints);
    q->by_lack = xcalloc(LACKS_COUNT, sizeof *q->by_lack);
    for (uint32_t s = 0; s < spec->spread_count; s++)
        q->spreads[s] = tally_make(q->cell, q->job, spec->spreads[s].by);
    companies_count(q);
    keepers_count(q);
}

static void inquiry_release(struct inquiry *q)
{
    matcher_free(q->matcher);
    for (int s = 0; s < SPEC_SPREADS_MAX; s++)
        namemap_release(&q->spreads[s].counts);
    for (uint32_t i = 0; i < q->company_count; i++)
        namemap_release(&q->companies[i].counts);
    for (uint32_t i = 0; i < q->keeper_count; i++)
        namemap_release(&q->keepers[i].counts);
    free(q->keepers);
    free(q->by_lack);
}

/* `tally` is of the first of its terms that is about company. */
static bool company_holds(const struct inquiry *q, const struct clause *clause,
                          const struct tally *tally, const struct machine *machine)
{
    for (uint32_t i = 0; i < clause->term_count; i++) {
        const struct term *term = &clause->terms[i];
        if (!term_is_company(term))
            continue;
        bool is_there = tally_at(tally, machine) > 0;
        bool is_unbegun = tally->of == q->job && tally->counts.count == 0;
        if (term->op == OP_APART ? !is_there : is_there || is_unbegun)
            return true;
        tally++;
    }
    return false;
}

/* The first hard clause that the machine fails, or their number. */
static uint32_t failing_clause(const struct inquiry *q, const struct machine *machine)
{
    const struct clauses *clauses = &q->job->spec.constraints;
    const struct tally *tally = q->companies;
    struct subject subject = machine_subject(machine);
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        if (clause->weight == 0 && !matcher_holds(q->matcher, i, &subject) &&
            !company_holds(q, clause, tally, machine))
            return i;
        for (uint32_t j = 0; j < clause->term_count; j++)
            tally += term_is_company(&clause->terms[j]);
    }
    return clauses->count;
}

/* The first job that keeps this one away from the machine, or NULL. */
static const struct job *keeper_at(const struct inquiry *q, const struct machine *machine)
{
    for (uint32_t i = 0; i < q->keeper_count; i++)
        if (tally_at(&q->keepers[i], machine) > 0)
            return q->keepers[i].of;
    return NULL;
}

/* Why the job may not be there whatever the room, or LACKS_NOTHING. */
static int lacks_place(const struct inquiry *q, const struct machine *machine)
{
    const struct job_spec *spec = &q->job->spec;
    if (machine->state != MACHINE_UP)
        return LACKS_MACHINE;
    if (machine->draining)
        return LACKS_LEAVE;
    if (machine_is_sick(machine))
        return LACKS_HEALTH;
    uint32_t failing = failing_clause(q, machine);
    if (failing < spec->constraints.count)
        return LACKS_CLAUSE + (int)failing;
    if (keeper_at(q, machine) != NULL)
        return LACKS_KEPT;
    for (uint32_t s = 0; s < spec->spread_count; s++)
        if (spec->spreads[s].max > 0 && tally_at(&q->spreads[s], machine) >= spec->spreads[s].max)
            return LACKS_SPREAD + (int)s;
    return LACKS_NOTHING;
}

/* Shares of what is asked for that a machine lacks, 2^20 being all of it, summed. */
static uint64_t share_missing(const struct resources *need, const struct resources *room,
                              struct resources *ret_missing)
{
    uint64_t share = 0;
    *ret_missing = (struct resources){0};
    for (int r = 0; r < RES_COUNT; r++) {
        if (need->v[r] <= room->v[r])
            continue;
        ret_missing->v[r] = need->v[r] - room->v[r];
        __int128 part = ((__int128)ret_missing->v[r] << 20) / MAX(need->v[r], INT64_C(1));
        share += (uint64_t)MIN(part, (__int128)UINT32_MAX);
    }
    return share;
}

/* Put the machine where it belongs in a list of the first `max`, if it does. */
static void rank_add(struct rank *ranks, uint32_t *count, uint32_t max, struct rank rank)
{
    uint32_t i = *count;
    if (i == max && rank.key >= ranks[max - 1].key)
        return;
    if (i < max)
        ++*count;
    else
        i--;
    for (; i > 0 && ranks[i - 1].key > rank.key; i--)
        ranks[i] = ranks[i - 1];
    ranks[i] = rank;
}

/* A machine that has no room now. */
static void look_beyond(struct inquiry *q, const struct machine *machine, const struct room *room,
                        struct why *ret)
{
    struct resources missing;
    struct resources free = why_free(q->job, machine, room);
    uint64_t share = share_missing(q->need, &free, &missing);
    enum why_bar bar = why_bar_of(q->cell, q->job, q->need, machine, *room);
    ret->bars[bar]++;
    rank_add(q->near, &ret->near_count, WHY_NEAR_MAX, (struct rank){machine->id, share});
    if (bar != BAR_SIZE)
        rank_add(q->evict, &ret->eviction_count, WHY_EVICTIONS_MAX,
                 (struct rank){machine->id, (uint64_t)bar << 56 | share});
}

/* Say more of the machines that came out first. */
static void ranks_tell(const struct inquiry *q, struct why *ret)
{
    for (uint32_t i = 0; i < ret->near_count; i++) {
        const struct machine *machine = cell_machine(q->cell, q->near[i].machine);
        struct room room = cell_room(q->cell, machine);
        struct resources free = why_free(q->job, machine, &room);
        ret->near[i].machine = q->near[i].machine;
        share_missing(q->need, &free, &ret->near[i].missing);
    }
    for (uint32_t i = 0; i < ret->eviction_count; i++) {
        const struct machine *machine = cell_machine(q->cell, q->evict[i].machine);
        ret->evictions[i] =
            why_eviction_of(q->cell, q->job, q->need, machine, cell_room(q->cell, machine));
    }
}

static int look_at_room(struct inquiry *q, const struct resources *free)
{
    uint32_t lacking;
    int first = lack_of_room(q->need, free, &lacking);
    if (first != LACKS_NOTHING && lacking == 1 && free->v[first] >= q->enough[first]) {
        if (free->v[first] > q->enough[first])
            q->enough_machines[first] = 0;
        q->enough[first] = free->v[first];
        q->enough_machines[first]++;
    }
    return first;
}

static int look_at(struct inquiry *q, const struct machine *machine, struct why *ret)
{
    int place = lacks_place(q, machine);
    if (place != LACKS_NOTHING)
        return place;
    struct room room = cell_room(q->cell, machine);
    struct resources free = why_free(q->job, machine, &room);
    int first = look_at_room(q, &free);
    if (first != LACKS_NOTHING)
        look_beyond(q, machine, &room, ret);
    return first;
}

static int look_at_alloc(struct inquiry *q, const struct task *alloc)
{
    if (!task_is_live(alloc) || alloc->stopping != CAUSE_NONE)
        return task_is_live(alloc) ? LACKS_ENDING : LACKS_ALLOC;
    int place = lacks_place(q, cell_machine(q->cell, alloc->machine));
    if (place != LACKS_NOTHING)
        return place;
    struct room room = alloc_room(q->cell, alloc);
    return look_at_room(q, &room.free);
}

static int by_machines(const void *x, const void *y)
{
    const struct why_reason *a = x, *b = y;
    if (a->machines != b->machines)
        return a->machines > b->machines ? -1 : 1;
    return a->lack < b->lack ? -1 : a->lack > b->lack;
}

static void reasons_sum(const struct inquiry *q, struct why *ret)
{
    uint32_t sum = 0;
    for (int lack = 0; lack < LACKS_COUNT; lack++) {
        sum += q->by_lack[lack].machines;
        if (q->by_lack[lack].machines > 0)
            ret->reasons[ret->reason_count++] = q->by_lack[lack];
    }
    ASSERT(sum == ret->machines);
    qsort(ret->reasons, ret->reason_count, sizeof *ret->reasons, by_machines);
    ret->change = -1;
    if (q->by_lack[LACKS_NOTHING].machines > 0)
        return;
    ret->change = lack_best_change(q->enough, q->need);
    if (ret->change >= 0) {
        ret->change_amount = q->enough[ret->change];
        ret->change_machines = q->enough_machines[ret->change];
    }
}

/* Its name, as long as it is always the same. */
static void keeper_note(struct why *ret, const struct job *keeper, bool is_first)
{
    if (is_first)
        str_copy(ret->keeper, sizeof ret->keeper, keeper->spec.name);
    else if (strcmp(ret->keeper, keeper->spec.name) != 0)
        ret->keeper[0] = '\0';
}

/* Of a job on every machine only the machines of the tasks in question matter. */
static bool is_asked(const struct inquiry *q, uint32_t m)
{
    if (!q->job->spec.every_machine)
        return true;
    if (q->index != WHY_INDEX_ANY)
        return q->index == m;
    return m < q->job->task_count && q->job->tasks[m].state == TASK_PENDING;
}

static void reason_add(struct why_reason *reason, uint32_t place)
{
    if (reason->machines < WHY_NAMES_MAX)
        reason->first[reason->machines] = place;
    reason->machines++;
}

static void look_at_allocs(struct inquiry *q, struct why *ret)
{
    const struct job *set = cell_alloc_set(q->cell, &q->job->spec);
    ret->machines = set == NULL ? 0 : set->spec.replicas;
    for (uint32_t i = 0; i < ret->machines; i++) {
        int lack = look_at_alloc(q, &set->tasks[i]);
        if (lack == LACKS_KEPT)
            keeper_note(ret, keeper_at(q, cell_machine(q->cell, set->tasks[i].machine)),
                        q->by_lack[lack].machines == 0);
        reason_add(&q->by_lack[lack], i);
    }
}

static void look(struct inquiry *q, struct why *ret)
{
    ret->inside = q->job->spec.alloc_set[0] != '\0';
    for (int lack = 0; lack < LACKS_COUNT; lack++)
        q->by_lack[lack].lack = lack;
    if (ret->inside)
        look_at_allocs(q, ret);
    for (uint32_t m = 0; !ret->inside && m < q->cell->machine_count; m++) {
        const struct machine *machine = q->cell->machines[m];
        if (machine->state == MACHINE_REMOVED || !is_asked(q, m))
            continue;
        ret->machines++;
        struct why_reason *reason = &q->by_lack[look_at(q, machine, ret)];
        if (reason->lack == LACKS_KEPT)
            keeper_note(ret, keeper_at(q, machine), reason->machines == 0);
        reason_add(reason, machine->id.v);
    }
    ranks_tell(q, ret);
    reasons_sum(q, ret);
}

/* Of a gang, how many would have room at once: machine after machine takes what it can. */
static void gang_count(struct inquiry *q, struct why *ret)
{
    ret->gang = q->job->spec.gang && !ret->inside;
    ret->gang_waiting = ret->gang ? ret->pending - ret->backing_off : 0;
    for (uint32_t m = 0; m < q->cell->machine_count; m++) {
        const struct machine *machine = q->cell->machines[m];
        struct room room = cell_room(q->cell, machine);
        room.free = why_free(q->job, machine, &room);
        while (ret->gang_fitting < ret->gang_waiting && lacks_place(q, machine) == LACKS_NOTHING &&
               resources_fit(q->need, &room.free)) {
            room_take(&room, q->need, devices_choose(&room.devices, q->need->v[RES_GPU]));
            tallies_add(q, machine);
            ret->gang_fitting++;
        }
    }
}

static void count_pending(const struct job *job, int64_t index, struct why *ret)
{
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct task *task = &job->tasks[i];
        if ((index != WHY_INDEX_ANY && index != i) || task->state != TASK_PENDING)
            continue;
        ret->pending++;
        if (task->not_before_ms == 0)
            continue;
        ret->backing_off++;
        if (ret->not_before_ms == 0 || task->not_before_ms < ret->not_before_ms)
            ret->not_before_ms = task->not_before_ms;
    }
}

/* Tasks that back off may keep their places: then they are not pending, and do not run. */
static int nothing_pending(const struct cell *cell, const struct job *job, int64_t index,
                           struct err *err)
{
    uint32_t count = 0;
    const struct task *first = NULL;
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct task *task = &job->tasks[i];
        if ((index != WHY_INDEX_ANY && index != i) || !task_holds(task))
            continue;
        count++;
        if (first == NULL || task->not_before_ms < first->not_before_ms)
            first = task;
    }
    if (first == NULL)
        return err_set(err, ERR_STATE, "job \"%s\" is %s: nothing of it is pending", job->spec.name,
                       job_state_text(job));
    return err_set(
        err, ERR_STATE,
        "job \"%s\": nothing of it is pending; %u of its tasks failed, back off and keep "
        "their places: task %u on %.63s starts again in %" PRIu64 " s",
        job->spec.name, count, task_index(first->id), cell_machine(cell, first->machine)->name,
        (first->not_before_ms - MIN(cell->now_ms, first->not_before_ms) + 999) / 1000);
}

int why_job(const struct cell *cell, const char *name, int64_t index, uint32_t shape,
            struct why *ret, struct err *err)
{
    const struct job *job = cell_job_named(cell, name);
    *ret = (struct why){0};
    if (job == NULL)
        return err_set(err, ERR_NOT_FOUND, "no job \"%s\"; `borgctl jobs` lists them", name);
    if (index != WHY_INDEX_ANY && (index < 0 || index >= job->task_count))
        return err_set(err, ERR_NOT_FOUND, "job \"%s\" has no task %" PRId64 ", it has %u", name,
                       index, job->task_count);
    if (shape >= spec_shape_count(&job->spec))
        return err_set(err, ERR_NOT_FOUND, "job \"%s\" has no shape %u, it has %u", name, shape + 1,
                       spec_shape_count(&job->spec));
    ret->job = job->id;
    ret->shape = shape;
    count_pending(job, index, ret);
    bool unwanted = index != WHY_INDEX_ANY && job->tasks[index].state == TASK_UNWANTED;
    struct err over;
    uint32_t missing = ret->pending == 0 && !unwanted ? cell_over_quota(cell, job, &over) : 0;
    if (missing > 0)
        return err_set(err, ERR_STATE, "job \"%s\": %u machine%s more want%s it: %s", name, missing,
                       missing == 1 ? "" : "s", missing == 1 ? "s" : "", over.msg);
    if (ret->pending == 0 && !unwanted)
        return nothing_pending(cell, job, index, err);
    ret->resource_names = cell->resource_names;
    struct inquiry q = {
        .cell = cell, .job = job, .index = index, .need = spec_shape(&job->spec, shape)};
    for (int r = 0; r < RES_COUNT; r++)
        q.enough[r] = -1;
    inquiry_begin(&q);
    look(&q, ret);
    gang_count(&q, ret);
    inquiry_release(&q);
    return 0;
}

void why_place_print(struct buf *to, const struct cell *cell, const struct why *why, uint32_t place)
{
    if (why->inside)
        buf_printf(to, "%s/%u", cell_job(cell, why->job)->spec.alloc_set, place);
    else
        buf_printf(to, "%s", cell_machine(cell, (machine_id){place})->name);
}

void why_reason_print(struct buf *to, const struct job *job, const struct why *why, int lack)
{
    if (lack == LACKS_NOTHING) {
        buf_printf(to, "fits");
        return;
    }
    struct lack_about about = {
        .clauses = &job->spec.constraints, .names = &why->resource_names, .keeper = why->keeper};
    if (lack >= LACKS_SPREAD) {
        about.by = job->spec.spreads[lack - LACKS_SPREAD].by;
        about.max = job->spec.spreads[lack - LACKS_SPREAD].max;
    }
    lack_print(to, lack, &about, true);
}
