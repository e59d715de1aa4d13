/*
 * room.c - what is free of a machine, and what comes back when a task goes.
 */
#include "view.h"

struct devices view_devices(const struct view *view, uint32_t m)
{
    struct devices devices = {0};
    if (view->total[RES_GPU] == NULL || view->total[RES_GPU][m] == 0)
        return devices;
    devices_init(&devices, view->total[RES_GPU][m]);
    LIST_EACH(l, &view->tasks[m])
    {
        const struct view_task *task = CONTAINER_OF(l, struct view_task, link);
        if (!task->stopping)
            devices_take(&devices, view_task_limit(task)->v[RES_GPU], task->devices);
    }
    return devices;
}

struct room view_room(const struct view *view, uint32_t machine)
{
    struct room room = {.devices = view_devices(view, machine)};
    for (enum resource r = 0; r < RES_COUNT; r++)
        room.free.v[r] = view_free(view, r, machine);
    return room;
}

struct resources view_task_kept(const struct view_task *task)
{
    struct resources kept = *view_task_limit(task);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        if (task->reclaimed_percent[r] > 0)
            kept.v[r] -= reserve_reclaimed(
                &(struct reserve){.reclaimed_percent = task->reclaimed_percent[r]}, kept.v[r]);
    return kept;
}

void view_give(struct room *room, const struct view_task *task)
{
    struct resources kept = view_task_kept(task);
    room_give(room, &kept, task->devices);
}

void view_take(struct room *room, const struct view_task *task)
{
    struct resources kept = view_task_kept(task);
    room_take(room, &kept, task->devices);
}
