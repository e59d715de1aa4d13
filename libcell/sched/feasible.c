/*
 * feasible.c - does what a task asks for fit a machine, now or over somebody's notice?
 */
#include "choose.h"

bool feasible_fits(const struct view *view, const struct resources *need, uint32_t machine)
{
    bool fits = true;
    for (int r = 0; r < RES_GPU; r++)
        fits &= need->v[r] <= view->room[r][machine];
    for (enum resource r = RES_GPU; r < RES_COUNT && fits && resources_rare(need); r++)
        fits = need->v[r] <= view_free(view, r, machine);
    return fits;
}

bool feasible_maybe(const struct view *view, const struct resources *need, uint32_t machine)
{
    bool fits = view->up[machine];
    for (int r = 0; r < RES_GPU; r++)
        fits &= need->v[r] <= view->room[r][machine] + view->evictable[r][machine];
    for (enum resource r = RES_GPU; r < RES_COUNT && fits && resources_rare(need); r++)
        fits = need->v[r] <= view_reach(view, r, machine);
    return fits;
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
        return room.free;
    }
    LIST_EACH(l, view->tasks[machine])
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping && priority_may_evict(job->priority, task->job->priority) &&
            view_take_victim(task))
            room_give(&room, view_task_limit(task), task->devices);
    }
    LIST_EACH(l, view->tasks[machine])
    view_untake(CONTAINER_OF(l, struct view_task, link));
    return room.free;
}
