/*
 * feasible.c - does what a task asks for fit a machine, now or over somebody's notice?
 */
#include "choose.h"

bool feasible_fits(const struct view *view, const struct resources *need, uint32_t machine)
{
    bool fits = true;
    for (int r = 0; r < RES_COUNT; r++)
        fits &= need->v[r] <= view->room[r][machine];
    return fits;
}

bool feasible_maybe(const struct view *view, const struct resources *need, uint32_t machine)
{
    bool fits = view->up[machine];
    for (int r = 0; r < RES_COUNT; r++)
        fits &= need->v[r] <= view->room[r][machine] + view->evictable[r][machine];
    return fits;
}

struct resources feasible_room(const struct view *view, const struct view_job *job,
                               uint32_t machine)
{
    struct resources room;
    for (int r = 0; r < RES_COUNT; r++)
        room.v[r] = view->room[r][machine];
    if (!view->up[machine])
        return room;
    if (priority_is_prod(job->priority) &&
        view->budgeted[machine] == 0) { /* all that is not prod: the sum is kept */
        for (int r = 0; r < RES_COUNT; r++)
            room.v[r] += view->evictable[r][machine];
        return room;
    }
    LIST_EACH(l, view->tasks[machine])
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping && priority_may_evict(job->priority, task->job->priority) &&
            view_take_victim(task))
            resources_add(&room, view_task_limit(task));
    }
    LIST_EACH(l, view->tasks[machine])
    view_untake(CONTAINER_OF(l, struct view_task, link));
    return room;
}
