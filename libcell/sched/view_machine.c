/*
 * view_machine.c - the machines of the view, as columns: they grow, take rows, and derive from what
 * is kept on each what the scans read.
 */
#include "allocs.h"
#include "places.h"
#include "view_impl.h"

#include <stdlib.h>
#include <string.h>

void view_improve(struct view *view, uint32_t machine)
{
    view->improvements++;
    if (view->improved[machine])
        return;
    view->improved[machine] = true;
    view->improved_list[view->improved_count++] = machine;
}

void view_touch(struct view *view, uint32_t machine)
{
    view->stamp[machine] = ++view->stamp_last;
    view->changed[view->stamp_last % VIEW_CHANGES] = machine;
}

void view_set_scarcity(struct view *view, uint32_t machine, uint32_t scarcity)
{
    if (view->traits[machine].scarcity == scarcity)
        return;
    view->traits[machine].scarcity = scarcity;
    view_touch(view, machine);
}

void view_derive(struct view *view, uint32_t m)
{
    int64_t spare = 0;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (view->total[r] == NULL)
            continue;
        spare += view_normal(view, r, view->up[m] ? view->room[r][m] : -1);
    }
    view->traits[m].spare = spare;
    if (view->gpu_most != NULL) {
        struct devices devices = view_devices(view, m);
        view->gpu_most[m] = devices_most_milli(&devices);
    }
    lean_derive(view, m);
    view_touch(view, m);
}

/* Leftovers of different resources are added as shares of the largest machine's amounts. */
static void rescale(struct view *view)
{
    for (int r = 0; r < RES_COUNT; r++) {
        view->shift[r] = 0;
        while (view->total_max[r] >> view->shift[r] >= INT64_C(1) << VIEW_PRECISION_BITS)
            view->shift[r]++;
        int64_t top = view->total_max[r] >> view->shift[r];
        view->factor[r] = top == 0 ? 0 : (INT64_C(1) << VIEW_NORMAL_BITS) / top;
    }
    for (uint32_t m = 0; m < view->machine_count; m++)
        view_derive(view, m);
}

static void grow_column(void *column, uint32_t old_count, uint32_t count, size_t size)
{
    char **bytes = column;
    *bytes = xrealloc(*bytes, count, size);
    memset(*bytes + old_count * size, 0, (count - old_count) * size);
}

static void resource_grow(struct view *view, enum resource r, uint32_t old, uint32_t now)
{
    grow_column(&view->total[r], old, now, sizeof(int64_t));
    grow_column(&view->room[r], old, now, sizeof(int64_t));
    grow_column(&view->evictable[r], old, now, sizeof(int64_t));
    if (r == RES_GPU)
        grow_column(&view->gpu_most, old, now, sizeof(int64_t));
}

static void tasks_grow(struct view *view, uint32_t count)
{
    struct list *tasks = xcalloc(count, sizeof *tasks);
    for (uint32_t m = 0; m < view->machine_count; m++)
        list_replace(&view->tasks[m], &tasks[m]);
    free(view->tasks);
    view->tasks = tasks;
}

static void machines_grow(struct view *view, uint32_t count)
{
    uint32_t old = view->machine_capacity;
    if (count > old) {
        uint32_t now = MAX(count, MAX(old * 2, 16U));
        for (enum resource r = 0; r < RES_COUNT; r++)
            if (r < RES_PORTS || view->total[r] != NULL)
                resource_grow(view, r, old, now);
        grow_column(&view->up, old, now, sizeof(bool));
        grow_column(&view->draining, old, now, sizeof(bool));
        grow_column(&view->sick, old, now, sizeof(bool));
        grow_column(&view->gone, old, now, sizeof(bool));
        grow_column(&view->budgeted, old, now, sizeof(uint32_t));
        grow_column(&view->traits, old, now, sizeof(struct trait));
        grow_column(&view->stamp, old, now, sizeof(uint64_t));
        grow_column(&view->improved, old, now, sizeof(bool));
        tasks_grow(view, now);
        grow_column(&view->improved_list, old, now, sizeof(uint32_t));
        grow_column(&view->candidate, old, now, sizeof(bool));
        grow_column(&view->candidate_list, old, now, sizeof(uint32_t));
        grow_column(&view->facts, old, now, sizeof(struct facts *));
        for (int r = 0; r < RECLAIM_COUNT && view->promised[r] != NULL; r++)
            grow_column(&view->promised[r], old, now, sizeof(int64_t));
        places_grow(view, old, now);
        view->machine_capacity = now;
    }
    for (uint32_t m = view->machine_count; m < count; m++) {
        list_init(&view->tasks[m]);
        view_derive(view, m);
        places_machine(view, m);
    }
    view->machine_count = MAX(view->machine_count, count);
}

/* Something is reclaimed for the first time: until now what is promised was kept, too. */
void view_promises_begin(struct view *view)
{
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        grow_column(&view->promised[r], 0, view->machine_capacity, sizeof(int64_t));
        for (uint32_t m = 0; m < view->machine_count; m++)
            view->promised[r][m] = view->total[r][m] - view->room[r][m] - view->evictable[r][m];
    }
}

static void recount_list(struct view *view, const struct list *tasks, uint32_t m, int change)
{
    LIST_EACH(l, tasks)
    {
        struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (task->machine != m)
            continue;
        places_count(view, task->job, m, change);
        if (change < 0)
            view_value_freed(view, task->job);
    }
}

/* What is inside an alloc may be here and the alloc itself, as far as is assumed, elsewhere. */
static void recount(struct view *view, uint32_t m, int change)
{
    recount_list(view, &view->tasks[m], m, change);
    LIST_EACH(l, &view->sets)
    {
        const struct view_set *set = CONTAINER_OF(l, struct view_set, link);
        for (uint32_t i = 0; i < set->alloc_capacity; i++)
            recount_list(view, &set->allocs[i].tasks, m, change);
    }
}

/* What is said or known of the machine changed: those who may lie in allocs there look again. */
static void tell_sets(struct view *view, uint32_t m)
{
    LIST_EACH(l, &view->tasks[m])
    {
        struct view_set *set = CONTAINER_OF(l, struct view_task, link)->job->allocs;
        if (set != NULL)
            allocs_tell(view, set);
    }
}

/* True when it says something new. */
static bool take_facts(struct view *view, uint32_t m, const struct machine *row)
{
    struct facts *facts = view->facts[m];
    bool is_new = facts == NULL; /* then nothing is there yet */
    bool is_named = !is_new && strcmp(facts->name, row->name) == 0;
    if (is_named && words_same(&facts->attributes, &row->attributes))
        return false;
    if (!is_new)
        recount(view, m, -1);
    if (!is_named) { /* the row of one that was removed is another machine's */
        size_t name_size = strlen(row->name) + 1;
        if (!is_new)
            words_release(&facts->attributes);
        free(facts);
        facts = view->facts[m] = xcalloc(1, sizeof *facts + name_size);
        str_copy(facts->name, name_size, row->name);
    }
    words_release(&facts->attributes);
    facts->attributes = words_copy(&row->attributes);
    places_machine(view, m);
    view_touch(view, m);
    if (!is_new)
        recount(view, m, 1);
    return true;
}

void view_take_machine(struct view *view, const struct machine *row)
{
    uint32_t m = row->id.v - 1;
    bool is_new = m >= view->machine_count, larger = false;
    bool gone = row->state == MACHINE_REMOVED, draining = row->state == MACHINE_UP && row->draining;
    bool sick = row->state == MACHINE_UP && !draining && machine_is_sick(row);
    bool up = row->state == MACHINE_UP && !draining && !sick;
    machines_grow(view, row->id.v);
    bool changed = take_facts(view, m, row) || is_new || view->up[m] != up ||
                   view->draining[m] != draining || view->sick[m] != sick || view->gone[m] != gone;
    view->gone_count = view->gone_count - view->gone[m] + gone;
    view->gone[m] = gone;
    view->up[m] = up;
    view->sick[m] = sick;
    view->draining[m] = draining;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (view->total[r] == NULL && row->capacity.v[r] == 0)
            continue;
        if (view->total[r] == NULL)
            resource_grow(view, r, 0, view->machine_capacity);
        changed |= view->total[r][m] != row->capacity.v[r];
        view->room[r][m] += row->capacity.v[r] - view->total[r][m];
        view->total[r][m] = row->capacity.v[r];
        larger |= row->capacity.v[r] > view->total_max[r];
        view->total_max[r] = MAX(view->total_max[r], row->capacity.v[r]);
    }
    if (!changed)
        return;
    view->fleet_version++;
    view_improve(view, m);
    tell_sets(view, m);
    if (larger)
        rescale(view);
    else
        view_derive(view, m);
}

void view_add_candidate(struct view *view, uint32_t machine)
{
    if (!view->candidate[machine])
        view->candidate_list[view->candidate_count++] = machine;
    view->candidate[machine] = true;
}

void view_take_improved(struct view *view)
{
    for (uint32_t i = 0; view->woken == 0 && i < view->candidate_count; i++)
        view->candidate[view->candidate_list[i]] = false;
    if (view->woken == 0)
        view->candidate_count = 0;
    for (uint32_t i = 0; i < view->improved_count; i++) {
        uint32_t m = view->improved_list[i];
        view->improved[m] = false;
        view_add_candidate(view, m);
    }
    view->improved_count = 0;
}

void view_unimprove(struct view *view, uint32_t improved_count)
{
    while (view->improved_count > improved_count)
        view->improved[view->improved_list[--view->improved_count]] = false;
}

void view_machines_release(struct view *view)
{
    for (int r = 0; r < RES_COUNT; r++) {
        free(view->total[r]);
        free(view->room[r]);
        free(view->evictable[r]);
    }
    free(view->gpu_most);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        free(view->promised[r]);
    for (uint32_t m = 0; m < view->machine_count; m++) {
        if (view->facts[m] != NULL)
            words_release(&view->facts[m]->attributes);
        free(view->facts[m]);
    }
    free(view->facts);
    free(view->up);
    free(view->draining);
    free(view->sick);
    free(view->gone);
    free(view->budgeted);
    free(view->traits);
    free(view->stamp);
    free(view->improved);
    free(view->tasks);
    free(view->improved_list);
    free(view->candidate);
    free(view->candidate_list);
}
