/*
 * why.c - why the pending tasks of a job are pending, machine by machine, from the cell alone.
 */
#include "why.h"

#include <stdlib.h>
#include <string.h>

/* Live tasks of the job at one value of a spread's attribute. */
struct value_count {
    uint32_t tasks;
};

/* One question being answered. */
struct inquiry {
    const struct cell *cell;
    const struct job *job;
    struct matcher *matcher; /* NULL: no constraints */
    struct namemap by_value[SPEC_SPREADS_MAX];
    struct value_count *values; /* of all spreads */
    int64_t enough[RES_COUNT];  /* see lack_best_change() */
    uint32_t enough_machines[RES_COUNT];
    struct why_reason *by_lack; /* LACKS_COUNT */
};

static const char *spread_value(const struct machine *machine, const struct spread *spread)
{
    struct subject subject = machine_subject(machine);
    const char *value = subject_get(&subject, spread->by);
    return value != NULL ? value : "";
}

/* Stopping tasks count: they are there until they are gone. */
static void spreads_count(struct inquiry *q)
{
    const struct job_spec *spec = &q->job->spec;
    uint32_t live = q->job->counts[TASK_ASSIGNED] + q->job->counts[TASK_RUNNING];
    uint32_t used = 0;
    q->values = xcalloc((size_t)live * spec->spread_count + 1, sizeof *q->values);
    for (uint32_t i = 0; i < q->job->task_count && spec->spread_count > 0; i++) {
        const struct task *task = &q->job->tasks[i];
        if (!task_is_live(task))
            continue;
        const struct machine *machine = cell_machine(q->cell, task->machine);
        for (uint32_t s = 0; s < spec->spread_count; s++) {
            const char *value = spread_value(machine, &spec->spreads[s]);
            struct value_count *count = namemap_get(&q->by_value[s], value);
            if (count == NULL) {
                count = &q->values[used++];
                namemap_put(&q->by_value[s], value, count);
            }
            count->tasks++;
        }
    }
}

static void inquiry_release(struct inquiry *q)
{
    matcher_free(q->matcher);
    for (int s = 0; s < SPEC_SPREADS_MAX; s++)
        namemap_release(&q->by_value[s]);
    free(q->values);
    free(q->by_lack);
}

/* Why the job may not be there whatever the room, or LACKS_NOTHING. */
static int lacks_place(const struct inquiry *q, const struct machine *machine)
{
    const struct job_spec *spec = &q->job->spec;
    if (machine->state != MACHINE_UP)
        return LACKS_MACHINE;
    if (machine->draining)
        return LACKS_LEAVE;
    if (q->matcher != NULL) {
        struct subject subject = machine_subject(machine);
        uint32_t failing = matcher_failing(q->matcher, &subject);
        if (failing < spec->constraints.count)
            return LACKS_CLAUSE + (int)failing;
    }
    for (uint32_t s = 0; s < spec->spread_count; s++) {
        const struct spread *spread = &spec->spreads[s];
        const struct value_count *count =
            spread->max == 0 ? NULL : namemap_get(&q->by_value[s], spread_value(machine, spread));
        if (count != NULL && count->tasks >= spread->max)
            return LACKS_SPREAD + (int)s;
    }
    return LACKS_NOTHING;
}

/* What could go from a machine without room. */
struct rest {
    struct resources evictable; /* budgets aside */
    struct resources allowed;   /* the part of it that budgets let go */
    struct resources prod;
};

/* May this one go too, after those of its job that were counted here? Counts it. */
static bool within_budget(struct idmap *taken, const struct job *job, const struct task *task)
{
    if (job->spec.disruptions_max == 0 || task_is_disrupted(task))
        return true;
    uint32_t count = (uint32_t)(uintptr_t)idmap_get(taken, job->id.v);
    if (!job_may_disrupt(job, task, count))
        return false;
    idmap_put(taken, job->id.v, (void *)(uintptr_t)(count + 1));
    return true;
}

static struct rest rest_of(const struct inquiry *q, const struct machine *machine)
{
    struct rest rest = {0};
    CLEANUP(idmap_release) struct idmap taken = {0};
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct job *job = cell_job(q->cell, task_job(task->id));
        if (task->stopping != CAUSE_NONE)
            continue;
        if (priority_is_prod(job->spec.priority))
            resources_add(&rest.prod, task_limit(job, task));
        if (!priority_may_evict(q->job->spec.priority, job->spec.priority))
            continue;
        resources_add(&rest.evictable, task_limit(job, task));
        if (within_budget(&taken, job, task))
            resources_add(&rest.allowed, task_limit(job, task));
    }
    return rest;
}

static bool fits_with(const struct resources *need, struct resources room,
                      const struct resources *more)
{
    resources_add(&room, more);
    return resources_fit(need, &room);
}

/* A machine that has no room now. */
static void look_beyond(const struct inquiry *q, const struct machine *machine,
                        struct resources room, struct why *ret)
{
    const struct resources *need = &q->job->spec.limit;
    struct rest rest = rest_of(q, machine);
    if (fits_with(need, room, &rest.evictable)) {
        ret->evictable++;
        ret->evictable_over_budget += !fits_with(need, room, &rest.allowed);
        return;
    }
    resources_add(&room, &rest.evictable);
    ret->held_by_prod += fits_with(need, room, &rest.prod);
}

static int look_at(struct inquiry *q, const struct machine *machine, struct why *ret)
{
    int place = lacks_place(q, machine);
    if (place != LACKS_NOTHING)
        return place;
    struct resources room = machine->capacity;
    resources_add(&room, &machine->stopping);
    resources_subtract(&room, &machine->reserved);
    uint32_t lacking;
    int first = lack_of_room(&q->job->spec.limit, &room, &lacking);
    if (first == LACKS_NOTHING)
        return first;
    if (lacking == 1 && room.v[first] >= q->enough[first]) {
        if (room.v[first] > q->enough[first])
            q->enough_machines[first] = 0;
        q->enough[first] = room.v[first];
        q->enough_machines[first]++;
    }
    look_beyond(q, machine, room, ret);
    return first;
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
    ret->change = lack_best_change(q->enough, &q->job->spec.limit);
    if (ret->change >= 0) {
        ret->change_amount = q->enough[ret->change];
        ret->change_machines = q->enough_machines[ret->change];
    }
}

static void look(struct inquiry *q, struct why *ret)
{
    ret->machines = q->cell->machine_count;
    for (int lack = 0; lack < LACKS_COUNT; lack++)
        q->by_lack[lack].lack = lack;
    for (uint32_t m = 0; m < q->cell->machine_count; m++) {
        const struct machine *machine = q->cell->machines[m];
        struct why_reason *reason = &q->by_lack[look_at(q, machine, ret)];
        if (reason->machines < WHY_NAMES_MAX)
            reason->first[reason->machines] = machine->id;
        reason->machines++;
    }
    reasons_sum(q, ret);
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

int why_job(const struct cell *cell, const char *name, int64_t index, struct why *ret,
            struct err *err)
{
    const struct job *job = cell_job_named(cell, name);
    *ret = (struct why){0};
    if (job == NULL)
        return err_set(err, ERR_NOT_FOUND, "no job \"%s\"; `borgctl jobs` lists them", name);
    if (index != WHY_INDEX_ANY && (index < 0 || index >= job->task_count))
        return err_set(err, ERR_NOT_FOUND, "job \"%s\" has no task %" PRId64 ", it has %u", name,
                       index, job->task_count);
    ret->job = job->id;
    count_pending(job, index, ret);
    if (ret->pending == 0)
        return err_set(err, ERR_STATE, "job \"%s\" is %s: nothing of it is pending", name,
                       job_state_text(job));
    struct inquiry q = {.cell = cell, .job = job, .enough = {-1, -1, -1, -1}};
    _Static_assert(RES_COUNT == 4, "the initializer above names every resource");
    if (job->spec.constraints.count > 0)
        q.matcher = matcher_new(&job->spec.constraints);
    q.by_lack = xcalloc(LACKS_COUNT, sizeof *q.by_lack);
    spreads_count(&q);
    look(&q, ret);
    inquiry_release(&q);
    return 0;
}

void why_reason_print(struct buf *to, const struct job *job, int lack)
{
    if (lack == LACKS_NOTHING) {
        buf_printf(to, "fits");
        return;
    }
    const struct spread *spread =
        lack >= LACKS_SPREAD ? &job->spec.spreads[lack - LACKS_SPREAD] : NULL;
    lack_print(to, lack, &job->spec.constraints, spread != NULL ? spread->by : NULL,
               spread != NULL ? spread->max : 0, true);
}
