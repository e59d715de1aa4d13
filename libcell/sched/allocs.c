/*
 * allocs.c - jobs that run inside the allocs of a set: where they go, and when to look again.
 *
 * An alloc lies on its machine as any task does. What is inside is kept in its alloc and not in the
 * machine's list: to the machine it is nothing, but to the budgets that are asked before the alloc
 * is evicted. Sets have few allocs, so they are simply looked through.
 */
#include "allocs.h"

#include "places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARE_BITS = 20, MISMATCH_WEIGHT = 32 /* as in score.c */ };

static struct view_set *set_take(struct view *view, const char *user, const char *name)
{
    char key[2 * CELL_NAME_MAX + 2];
    snprintf(key, sizeof key, "%s/%s", user, name);
    struct view_set *set = namemap_get(&view->sets_by_name, key);
    if (set != NULL)
        return set;
    set = xcalloc(1, sizeof *set);
    str_copy(set->key, sizeof set->key, key);
    list_init(&set->members);
    namemap_put(&view->sets_by_name, set->key, set);
    list_push(&view->sets, &set->link);
    return set;
}

static void set_drop_unused(struct view *view, struct view_set *set)
{
    if (set->job != NULL || !list_empty(&set->members))
        return;
    namemap_remove(&view->sets_by_name, set->key);
    list_remove(&set->link);
    free(set->allocs);
    free(set);
}

/* Rows come in any order, so an alloc may be filled before it is there. */
static struct view_alloc *alloc_at(struct view_set *set, uint32_t index)
{
    if (index >= set->alloc_capacity) {
        uint32_t capacity = MAX(index + 1, 2 * set->alloc_capacity);
        struct view_alloc *allocs = xcalloc(capacity, sizeof *allocs);
        for (uint32_t i = 0; i < set->alloc_capacity; i++) {
            allocs[i].used = set->allocs[i].used;
            list_replace(&set->allocs[i].tasks, &allocs[i].tasks);
        }
        for (uint32_t i = set->alloc_capacity; i < capacity; i++)
            list_init(&allocs[i].tasks);
        free(set->allocs);
        set->allocs = allocs;
        set->alloc_capacity = capacity;
    }
    return &set->allocs[index];
}

void allocs_add(struct view *view, struct view_job *job, const struct job_spec *spec)
{
    list_init(&job->member);
    if (spec->is_alloc_set) {
        job->allocs = set_take(view, spec->user, spec->name);
        job->allocs->job = job;
        alloc_at(job->allocs, job->task_count - 1);
        allocs_tell(view, job->allocs);
    }
    if (spec->alloc_set[0] != '\0') {
        job->inside = set_take(view, spec->user, spec->alloc_set);
        list_push(&job->inside->members, &job->member);
    }
}

void allocs_take(struct view *view, struct view_job *job, const struct job *row)
{
    if (job->allocs == NULL || job->allocs->killed == row->killed)
        return;
    job->allocs->killed = row->killed;
    allocs_tell(view, job->allocs);
}

void allocs_remove(struct view *view, struct view_job *job)
{
    list_remove(&job->member);
    if (job->allocs != NULL) {
        ASSERT(job->allocs->job == job); /* of one name only one is live */
        job->allocs->job = NULL;
        allocs_tell(view, job->allocs);
        set_drop_unused(view, job->allocs);
    }
    if (job->inside != NULL)
        set_drop_unused(view, job->inside);
}

struct list *allocs_home(const struct view *view, const struct view_task *task)
{
    return task->job->inside == NULL ? &view->tasks[task->machine]
                                     : &alloc_at(task->job->inside, task->alloc)->tasks;
}

struct list *allocs_inside(const struct view_task *task)
{
    return task->job->allocs == NULL ? NULL
                                     : &alloc_at(task->job->allocs, view_task_index(task))->tasks;
}

void allocs_account(const struct view_task *task, int sign)
{
    struct view_alloc *alloc = alloc_at(task->job->inside, task->alloc);
    for (int r = 0; r < RES_COUNT; r++)
        alloc->used.v[r] += sign * view_task_limit(task)->v[r];
}

void allocs_tell(struct view *view, struct view_set *set)
{
    if (view->trying)
        return;
    LIST_EACH(l, &set->members)
    view_reconsider(view, CONTAINER_OF(l, struct view_job, member), VIEW_NO_MACHINE);
}

uint32_t allocs_count(const struct view_job *job)
{
    const struct view_set *set = job->inside;
    return set->job == NULL || set->killed ? 0 : set->job->replicas;
}

const struct view_task *allocs_get(const struct view_job *job, uint32_t index)
{
    ASSERT(index < allocs_count(job));
    return &job->inside->job->tasks[index];
}

struct room allocs_room(const struct view_task *alloc)
{
    const struct view_alloc *held = &alloc->job->allocs->allocs[view_task_index(alloc)];
    struct room room;
    room_init_alloc(&room, view_task_limit(alloc), alloc->devices);
    if (alloc->devices == 0) { /* no gpus: the sums are enough */
        resources_subtract(&room.free, &held->used);
        return room;
    }
    LIST_EACH(l, &held->tasks)
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping)
            room_take(&room, view_task_limit(task), task->devices);
    }
    return room;
}

bool allocs_open(const struct view *view, const struct view_job *job, const struct view_task *alloc)
{
    return alloc->state == VIEW_LIVE && !alloc->stopping && view->up[alloc->machine] &&
           places_allow(job, alloc->machine);
}

/* As in score.c, with shares of the alloc in place of shares of machines. */
static int64_t fit(const struct view_job *job, const struct resources *need,
                   const struct view_task *alloc)
{
    const struct resources *limit = view_task_limit(alloc);
    struct resources room = allocs_room(alloc).free;
    int64_t left[RES_COUNT], asked[RES_COUNT], leftover = 0;
    for (int r = 0; r < RES_COUNT; r++) {
        int64_t all = MAX(limit->v[r], INT64_C(1));
        left[r] = (int64_t)(((__int128)room.v[r] << SHARE_BITS) / all);
        asked[r] = (int64_t)(((__int128)need->v[r] << SHARE_BITS) / all);
        leftover += left[r];
    }
    if (job->policy != POLICY_STRANDING_AWARE)
        return job->policy == POLICY_WORST_FIT ? -leftover : leftover;
    __int128 dot = (__int128)asked[RES_CPU] * left[RES_CPU] + asked[RES_RAM] * left[RES_RAM];
    __int128 lengths =
        (__int128)(asked[RES_CPU] * asked[RES_CPU] + asked[RES_RAM] * asked[RES_RAM]) *
        (left[RES_CPU] * left[RES_CPU] + left[RES_RAM] * left[RES_RAM]);
    int64_t cosine = (int64_t)(dot * dot / ((lengths >> SHARE_BITS) + 1));
    return MISMATCH_WEIGHT * ((INT64_C(1) << SHARE_BITS) - cosine) + leftover;
}

struct choice allocs_best(const struct view *view, const struct view_job *job,
                          const struct resources *need)
{
    struct choice best = CHOICE_NONE;
    int64_t best_wish = 0, best_fit = 0;
    for (uint32_t i = 0; i < allocs_count(job); i++) {
        const struct view_task *alloc = allocs_get(job, i);
        if (!allocs_open(view, job, alloc))
            continue;
        struct resources room = allocs_room(alloc).free;
        if (!resources_fit(need, &room))
            continue;
        int64_t wish = ((int64_t)view_avoids(job, alloc->machine) << 32) +
                       places_constraint_cost(job, alloc->machine) +
                       places_spread_cost(job, alloc->machine);
        int64_t score = fit(job, need, alloc);
        if (best.machine != VIEW_NO_MACHINE &&
            (wish > best_wish || (wish == best_wish && score >= best_fit)))
            continue;
        best = (struct choice){alloc->machine, VIEW_NO_MACHINE, i};
        best_wish = wish;
        best_fit = score;
    }
    return best;
}

struct resources allocs_room_evicting(const struct view *view, const struct view_job *job,
                                      const struct view_task *alloc)
{
    struct room room = allocs_room(alloc);
    struct list *tasks = allocs_inside(alloc);
    LIST_EACH(l, tasks)
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping && priority_may_evict(job->priority, task->job->priority) &&
            view_take_victim(view, job, task))
            room_give(&room, view_task_limit(task), task->devices);
    }
    LIST_EACH(l, tasks)
    view_untake(CONTAINER_OF(l, struct view_task, link));
    return room.free;
}
