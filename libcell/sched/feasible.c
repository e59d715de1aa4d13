/*
 * feasible.c - does what a task asks for fit a machine, now or over somebody's notice?
 */
#include "choose.h"
#include "places.h"

#include <stdlib.h>
#include <string.h>

/* Has production this much coming to it there, whatever others leave unused? */
static bool may_promise(const struct view *view, const struct view_job *job,
                        const struct resources *need, uint32_t machine)
{
    bool fits = true;
    for (enum resource r = 0; r < RECLAIM_COUNT && priority_is_prod(job->priority); r++)
        fits &= need->v[r] <= view_unpromised(view, r, machine);
    return fits;
}

bool feasible_fits(const struct view *view, const struct view_job *job,
                   const struct resources *need, uint32_t machine)
{
    bool fits = view->up[machine];
    for (int r = 0; r < RES_PORTS; r++)
        fits &= need->v[r] <= view->room[r][machine];
    fits = fits && need->v[RES_PORTS] <= view_free(view, RES_PORTS, machine);
    for (enum resource r = RES_GPU; r < RES_COUNT && fits && resources_rare(need); r++)
        fits = need->v[r] <= view_free(view, r, machine);
    return fits && (view->promised[0] == NULL || may_promise(view, job, need, machine));
}

bool feasible_maybe(const struct view *view, const struct view_job *job,
                    const struct resources *need, uint32_t machine)
{
    bool fits = view->up[machine];
    for (int r = 0; r < RES_PORTS; r++)
        fits &= need->v[r] <= view->room[r][machine] + view->evictable[r][machine];
    fits = fits && need->v[RES_PORTS] <= view_reach(view, RES_PORTS, machine);
    for (enum resource r = RES_GPU; r < RES_COUNT && fits && resources_rare(need); r++)
        fits = need->v[r] <= view_reach(view, r, machine);
    return fits && (view->promised[0] == NULL || may_promise(view, job, need, machine));
}

/* What of this production may ask for. */
static struct resources unpromised(const struct view *view, const struct view_job *job,
                                   uint32_t machine, struct resources room)
{
    for (enum resource r = 0; r < RECLAIM_COUNT && priority_is_prod(job->priority); r++)
        room.v[r] = MIN(room.v[r], view_unpromised(view, r, machine));
    return room;
}

struct resources feasible_room(const struct view *view, const struct view_job *job,
                               uint32_t machine)
{
    struct room room = view_room(view, machine);
    if (!view->up[machine])
        return room.free;
    /* All that is not prod: the sum is kept, but does not tell of devices. */
    if (priority_is_prod(job->priority) && view->budgeted[machine] == 0 &&
        room.devices.count == 0) {
        for (int r = 0; r < RES_COUNT; r++)
            room.free.v[r] += view->evictable[r] == NULL ? 0 : view->evictable[r][machine];
        return unpromised(view, job, machine, room.free);
    }
    LIST_EACH(l, &view->tasks[machine])
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping && priority_may_evict(job->priority, task->job->priority) &&
            view_take_victim(view, job, task))
            view_give(&room, task);
    }
    LIST_EACH(l, &view->tasks[machine])
    view_untake(CONTAINER_OF(l, struct view_task, link));
    return unpromised(view, job, machine, room.free);
}

void reach_release(struct reach *reach)
{
    free(reach->stamps);
    free(reach->rooms);
    *reach = (struct reach){0};
}

void reach_begin(struct reach *reach, const struct view *view, const struct view_job *job)
{
    uint64_t budgets = owner_budgets(job->owner);
    if (reach->machine_count == view->machine_count && reach->priority == job->priority &&
        reach->budgets == budgets)
        return;
    if (reach->machine_count != view->machine_count) {
        reach->stamps = xrealloc(reach->stamps, view->machine_count, sizeof *reach->stamps);
        reach->rooms = xrealloc(reach->rooms, view->machine_count, sizeof *reach->rooms);
    }
    if (view->machine_count > 0) /* else there is no memory yet */
        memset(reach->stamps, 0, view->machine_count * sizeof *reach->stamps);
    reach->machine_count = view->machine_count;
    reach->priority = job->priority;
    reach->budgets = budgets;
}

struct resources reach_room(struct reach *reach, const struct view *view,
                            const struct view_job *job, uint32_t machine)
{
    struct resources room = {0};
    if (reach->stamps[machine] != view->stamp[machine]) { /* no machine ever has stamp 0 */
        room = feasible_room(view, job, machine);
        memcpy(reach->rooms[machine], room.v, sizeof reach->rooms[machine]);
        reach->stamps[machine] = view->stamp[machine];
    }
    memcpy(room.v, reach->rooms[machine], sizeof reach->rooms[machine]);
    return room;
}

bool feasible_evicting(const struct view *view, const struct view_job *job, uint32_t machine)
{
    bool maybe = false;
    for (uint32_t i = 0; i < job->shape_count; i++)
        maybe |= feasible_maybe(view, job, &job->limits[i], machine);
    if (!maybe || !places_allow(job, machine))
        return false;
    struct resources room = feasible_room(view, job, machine);
    for (uint32_t i = 0; i < job->shape_count; i++)
        if (resources_fit(&job->limits[i], &room))
            return true;
    return false;
}
