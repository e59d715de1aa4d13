/*
 * view.c - the scheduler's copy of the cell: empty, kept in step with deltas, released.
 */
#include "view_impl.h"

void view_init(struct view *view)
{
    *view = (struct view){0};
    list_init(&view->jobs);
    list_init(&view->system_jobs);
    list_init(&view->blocked);
    list_init(&view->unsaid);
    list_init(&view->matches);
    list_init(&view->axes);
    list_init(&view->sets);
    for (int p = 0; p <= PRIORITY_MAX; p++)
        list_init(&view->levels[p].turns);
}

void view_release(struct view *view)
{
    while (!list_empty(&view->jobs))
        view_job_remove(view, CONTAINER_OF(view->jobs.next, struct view_job, link));
    view_machines_release(view);
    idmap_release(&view->jobs_by_id);
    namemap_release(&view->matches_by_key);
    namemap_release(&view->crowds_by_name);
    namemap_release(&view->sets_by_name);
    namemap_release(&view->owners);
    for (int p = 0; p <= PRIORITY_MAX; p++)
        namemap_release(&view->levels[p].queues);
}

void view_update(struct view *view, const struct delta *delta)
{
    if (delta->full) {
        uint64_t stamp_last = view->stamp_last, match_last = view->match_last;
        uint64_t improvements = view->improvements;
        view_release(view);
        view_init(view);
        view->stamp_last = stamp_last;
        view->match_last = match_last;
        view->improvements = improvements + 1;
    }
    view->resource_names = delta->resource_names;
    if (view->policy != delta->settings.policy)
        view_take_policy(view, delta->settings.policy);
    for (size_t i = 0; i < delta->forgotten_count; i++) {
        struct view_job *job = view_job_find(view, (job_id){delta->forgotten[i]});
        if (job != NULL)
            view_job_remove(view, job);
    }
    for (size_t i = 0; i < delta->machine_count; i++)
        view_take_machine(view, &delta->machines[i]);
    for (size_t i = 0; i < delta->job_count; i++)
        view_take_job(view, &delta->jobs[i]);
    for (size_t i = 0; i < delta->task_count; i++)
        view_take_task(view, &delta->tasks[i]);
}
