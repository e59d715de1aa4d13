/*
 * why.c - why the pending tasks of a job are pending, machine by machine, from the cell alone.
 */
#include "why.h"

#include <stdlib.h>
#include <string.h>

/* The smaller key is nearer; of equal ones the lower id, which comes first. */
struct rank {
    machine_id machine;
    uint64_t key;
};

/* What is done in turns, one after the other. */
enum phase {
    PHASE_PLACES, /* machine by machine, or alloc by alloc */
    PHASE_GANG,   /* task by task */
    PHASE_TELL,
    PHASE_DONE
};

/* One question being answered. No pointer into the cell outlives a turn. */
struct inquiry {
    const struct cell *cell; /* during a turn */
    const struct job *job;
    job_id id;
    char name[CELL_NAME_MAX + 1];
    int64_t index; /* of the task in question, or WHY_INDEX_ANY */
    enum phase phase;
    uint64_t left; /* of the units of this turn */
    int rv;        /* of the whole */
    struct err err;

    struct resources need;
    struct clauses constraints; /* of the job */
    struct matcher *matcher;
    uint32_t place_units; /* what it costs to judge whether it may be there */

    struct whereabouts *trial; /* tasks of a gang for which there would be room; NULL: none */

    uint32_t cursor;       /* task, machine, alloc: the next one */
    struct room gang_room; /* of the machine at the cursor */
    bool gang_entered;     /* it has been taken */

    int64_t enough[RES_COUNT]; /* see lack_best_change() */
    uint32_t enough_machines[RES_COUNT];
    struct rank near[WHY_NEAR_MAX];       /* by the share they lack */
    struct rank evict[WHY_EVICTIONS_MAX]; /* by what bars the way, then the same */
    struct why_reason by_lack[LACKS_COUNT];
    struct why why;
};

/* Take `units` of the turn's; false: it is over. */
static bool turn_has(struct inquiry *q, uint64_t units)
{
    if (q->left == 0)
        return false;
    q->left -= MIN(q->left, units);
    return true;
}

static struct fit fit_of(const struct inquiry *q)
{
    return (struct fit){q->cell, q->job, q->matcher, q->trial};
}

/* Why the job may not be there whatever the room, or LACKS_NOTHING. */
static int lacks_place(const struct inquiry *q, const struct machine *machine,
                       const struct task *alloc)
{
    struct fit fit = fit_of(q);
    return fit_place(&fit, machine, alloc);
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
static void look_beyond(struct inquiry *q, const struct machine *machine, const struct room *room)
{
    struct resources missing;
    struct resources free = fit_free(q->job, machine, room, NULL);
    uint64_t share = share_missing(&q->need, &free, &missing);
    enum why_bar bar = why_bar_of(q->cell, q->job, &q->need, machine, *room);
    q->why.bars[bar]++;
    rank_add(q->near, &q->why.near_count, WHY_NEAR_MAX, (struct rank){machine->id, share});
    if (bar != BAR_SIZE)
        rank_add(q->evict, &q->why.eviction_count, WHY_EVICTIONS_MAX,
                 (struct rank){machine->id, (uint64_t)bar << 56 | share});
}

/* Say more of the machines that came out first. They may have changed since. */
static void ranks_tell(struct inquiry *q)
{
    struct why *why = &q->why;
    uint32_t evictions = why->eviction_count;
    why->eviction_count = 0;
    for (uint32_t i = 0; i < why->near_count; i++) {
        const struct machine *machine = cell_machine(q->cell, q->near[i].machine);
        struct room room = cell_room(q->cell, machine);
        struct resources free = fit_free(q->job, machine, &room, NULL);
        why->near[i].machine = q->near[i].machine;
        share_missing(&q->need, &free, &why->near[i].missing);
    }
    for (uint32_t i = 0; i < evictions; i++) {
        const struct machine *machine = cell_machine(q->cell, q->evict[i].machine);
        struct room room = cell_room(q->cell, machine);
        if (why_bar_of(q->cell, q->job, &q->need, machine, room) != BAR_SIZE)
            why->evictions[why->eviction_count++] =
                why_eviction_of(q->cell, q->job, &q->need, machine, room);
    }
}

static int look_at_room(struct inquiry *q, const struct resources *free)
{
    uint32_t lacking;
    int first = lack_of_room(&q->need, free, &lacking);
    if (first != LACKS_NOTHING && lacking == 1 && free->v[first] >= q->enough[first]) {
        if (free->v[first] > q->enough[first])
            q->enough_machines[first] = 0;
        q->enough[first] = free->v[first];
        q->enough_machines[first]++;
    }
    return first;
}

static int look_at(struct inquiry *q, const struct machine *machine)
{
    int place = lacks_place(q, machine, NULL);
    if (place != LACKS_NOTHING)
        return place;
    struct room room = cell_room(q->cell, machine);
    struct resources free = fit_free(q->job, machine, &room, NULL);
    int first = look_at_room(q, &free);
    if (first != LACKS_NOTHING)
        look_beyond(q, machine, &room);
    return first;
}

static int look_at_alloc(struct inquiry *q, const struct task *alloc)
{
    int place = lacks_place(q, cell_machine(q->cell, alloc->machine), alloc);
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

static void reasons_sum(struct inquiry *q)
{
    struct why *why = &q->why;
    uint32_t sum = 0;
    for (int lack = 0; lack < LACKS_COUNT; lack++) {
        sum += q->by_lack[lack].machines;
        if (q->by_lack[lack].machines > 0)
            why->reasons[why->reason_count++] = q->by_lack[lack];
    }
    ASSERT(sum == why->machines);
    qsort(why->reasons, why->reason_count, sizeof *why->reasons, by_machines);
    why->change = -1;
    if (q->by_lack[LACKS_NOTHING].machines > 0)
        return;
    why->change = lack_best_change(q->enough, &q->need);
    if (why->change >= 0) {
        why->change_amount = q->enough[why->change];
        why->change_machines = q->enough_machines[why->change];
    }
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

static void place_count(struct inquiry *q, int lack, const struct machine *machine, uint32_t place)
{
    struct why_reason *reason = &q->by_lack[lack];
    if (lack == LACKS_KEPT) { /* a name, as long as it is always the same */
        struct fit fit = fit_of(q);
        const char *keeper = fit_keeper(&fit, machine)->spec.name;
        if (reason->machines == 0)
            str_copy(q->why.keeper, sizeof q->why.keeper, keeper);
        else if (strcmp(q->why.keeper, keeper) != 0)
            q->why.keeper[0] = '\0';
    }
    if (reason->machines < WHY_NAMES_MAX)
        reason->first[reason->machines] = place;
    reason->machines++;
    q->why.machines++;
}

static void allocs_go_on(struct inquiry *q)
{
    const struct job *set = cell_alloc_set(q->cell, &q->job->spec);
    /* A set that is being submitted or grows has only some of them yet. */
    uint32_t allocs = set == NULL ? 0 : MIN(set->spec.replicas, set->task_count);
    for (; q->cursor < allocs; q->cursor++) {
        const struct task *alloc = &set->tasks[q->cursor];
        if (!turn_has(q, q->place_units))
            return;
        place_count(q, look_at_alloc(q, alloc), cell_machine(q->cell, alloc->machine), q->cursor);
    }
    q->phase = PHASE_TELL;
}

static void places_go_on(struct inquiry *q)
{
    if (q->why.inside) {
        allocs_go_on(q);
        return;
    }
    for (; q->cursor < q->cell->machine_count; q->cursor++) {
        const struct machine *machine = q->cell->machines[q->cursor];
        if (!turn_has(q, q->place_units + machine->task_count))
            return;
        if (machine->state != MACHINE_REMOVED && is_asked(q, q->cursor))
            place_count(q, look_at(q, machine), machine, machine->id.v);
    }
    q->cursor = 0;
    q->phase = q->why.gang ? PHASE_GANG : PHASE_TELL;
}

/* Of a gang, how many would have room at once: machine after machine takes what it can. */
static void gang_go_on(struct inquiry *q)
{
    struct why *why = &q->why;
    if (q->trial == NULL)
        q->trial = trial_new(q->job);
    while (q->cursor < q->cell->machine_count && why->gang_fitting < why->gang_waiting) {
        const struct machine *machine = q->cell->machines[q->cursor];
        if (!turn_has(q, q->place_units))
            return;
        if (!q->gang_entered) {
            q->gang_room = cell_room(q->cell, machine);
            q->gang_room.free = fit_free(q->job, machine, &q->gang_room, NULL);
        }
        q->gang_entered = resources_fit(&q->need, &q->gang_room.free) &&
                          lacks_place(q, machine, NULL) == LACKS_NOTHING;
        if (!q->gang_entered) {
            q->cursor++;
            continue;
        }
        room_take(&q->gang_room, &q->need,
                  devices_choose(&q->gang_room.devices, q->need.v[RES_GPU]));
        trial_place(q->trial, machine);
        why->gang_fitting++;
    }
    q->phase = PHASE_TELL;
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

static void inquiry_free(struct inquiry *q)
{
    matcher_free(q->matcher);
    clauses_release(&q->constraints);
    trial_free(q->trial);
    free(q);
}

static int job_check(const struct cell *cell, const char *name, int64_t index, uint32_t shape,
                     struct err *err)
{
    const struct job *job = cell_job_named(cell, name);
    if (job == NULL)
        return err_set(err, ERR_NOT_FOUND, "no job \"%s\"; `borgctl jobs` lists them", name);
    if (index != WHY_INDEX_ANY && (index < 0 || index >= job->task_count))
        return err_set(err, ERR_NOT_FOUND, "job \"%s\" has no task %" PRId64 ", it has %u", name,
                       index, job->task_count);
    if (shape >= spec_shape_count(&job->spec))
        return err_set(err, ERR_NOT_FOUND, "job \"%s\" has no shape %u, it has %u", name, shape + 1,
                       spec_shape_count(&job->spec));
    return 0;
}

/* How many jobs may keep it away. */
static uint32_t keepers_of(const struct job *job)
{
    uint32_t count = 0;
    if (job->whereabouts != NULL)
        LIST_EACH(l, &job->whereabouts->keepers)
    count++;
    return count;
}

static struct inquiry *inquiry_new(const struct cell *cell, const struct job *job, int64_t index,
                                   uint32_t shape)
{
    struct inquiry *q = xcalloc(1, sizeof *q);
    const struct job_spec *spec = &job->spec;
    q->cell = cell;
    q->job = job;
    q->id = job->id;
    q->index = index;
    str_copy(q->name, sizeof q->name, spec->name);
    q->need = *spec_shape(spec, shape);
    q->constraints = clauses_copy(&spec->constraints);
    q->matcher = matcher_new(&q->constraints);
    q->place_units = 4 + matcher_states(q->matcher) / 16 + keepers_of(job);
    for (int r = 0; r < RES_COUNT; r++)
        q->enough[r] = -1;
    for (int lack = 0; lack < LACKS_COUNT; lack++)
        q->by_lack[lack].lack = lack;
    q->why.job = job->id;
    q->why.shape = shape;
    q->why.resource_names = cell->resource_names;
    q->why.inside = spec->alloc_set[0] != '\0';
    return q;
}

int why_begin(const struct cell *cell, const char *name, int64_t index, uint32_t shape,
              struct inquiry **ret, struct err *err)
{
    int rv = job_check(cell, name, index, shape, err);
    if (rv != 0)
        return rv;
    const struct job *job = cell_job_named(cell, name);
    struct inquiry *q = inquiry_new(cell, job, index, shape);
    count_pending(job, index, &q->why);
    bool unwanted = index != WHY_INDEX_ANY && job->tasks[index].state == TASK_UNWANTED;
    struct err over;
    uint32_t missing = q->why.pending == 0 && !unwanted ? cell_over_quota(cell, job, &over) : 0;
    if (missing > 0) {
        inquiry_free(q);
        return err_set(err, ERR_STATE, "job \"%s\": %u machine%s more want%s it: %s", name, missing,
                       missing == 1 ? "" : "s", missing == 1 ? "s" : "", over.msg);
    }
    if (q->why.pending == 0 && !unwanted) {
        inquiry_free(q);
        return nothing_pending(cell, job, index, err);
    }
    q->why.gang = job->spec.gang && !q->why.inside;
    q->why.gang_waiting = q->why.gang ? q->why.pending - q->why.backing_off : 0;
    *ret = q;
    return 0;
}

static void phase_go_on(struct inquiry *q)
{
    switch (q->phase) {
    case PHASE_PLACES:
        places_go_on(q);
        return;
    case PHASE_GANG:
        gang_go_on(q);
        return;
    case PHASE_TELL:
        ranks_tell(q);
        reasons_sum(q);
        q->phase = PHASE_DONE;
        return;
    case PHASE_DONE:
        break;
    }
    UNREACHABLE("phase of a question");
}

bool why_go_on(struct inquiry *q, const struct cell *cell, uint64_t units)
{
    q->cell = cell;
    q->job = cell_job(cell, q->id);
    q->left = units;
    if (q->job == NULL || strcmp(q->job->spec.name, q->name) != 0 || job_is_dead(q->job)) {
        q->rv = err_set(&q->err, ERR_STATE, "job \"%s\" has ended meanwhile", q->name);
        q->phase = PHASE_DONE;
    }
    while (q->phase != PHASE_DONE && q->left > 0)
        phase_go_on(q);
    return q->phase == PHASE_DONE;
}

int why_end(struct inquiry *q, struct why *ret, struct err *err)
{
    int rv = q->rv;
    ASSERT(q->phase == PHASE_DONE);
    if (rv == 0)
        *ret = q->why;
    else if (err != NULL)
        *err = q->err;
    inquiry_free(q);
    return rv;
}

void why_abandon(struct inquiry *q)
{
    if (q != NULL)
        inquiry_free(q);
}

int why_job(const struct cell *cell, const char *name, int64_t index, uint32_t shape,
            struct why *ret, struct err *err)
{
    struct inquiry *q;
    int rv = why_begin(cell, name, index, shape, &q, err);
    if (rv != 0)
        return rv;
    while (!why_go_on(q, cell, UINT64_MAX))
        ;
    return why_end(q, ret, err);
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
    fit_lack_print(to, job, lack, why->keeper);
}
