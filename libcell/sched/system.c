/*
 * system.c - jobs on every machine: each task on its own machine or nowhere.
 *
 * There is nothing to choose and nothing to search, so the job is never blocked as a whole: a task
 * whose machine has no room is stuck until that machine improves. The cell says which tasks are
 * wanted; the others do not come here.
 */
#include "places.h"
#include "sched_impl.h"

/* The best shape that fits there, without evictions if any does; or their number. */
static uint32_t shape_at(struct sched *sched, const struct view_job *job, uint32_t machine)
{
    for (uint32_t i = 0; i < job->shape_count; i++)
        if (feasible_fits(&sched->view, job, &job->limits[i], machine))
            return i;
    for (uint32_t i = 0; i < job->shape_count; i++)
        if (preempt_at(&sched->preempt, &sched->view, job, &job->limits[i], machine, VICTIMS_MAX))
            return i;
    return job->shape_count;
}

bool system_place(struct sched *sched, struct view_job *job)
{
    const struct view *view = &sched->view;
    struct view_task *task = view_first_waiting(job);
    uint32_t m = view_task_index(task), victims_left = VICTIMS_MAX - sched->victim_count;
    if (sched->placement_count == CMD_PLACEMENTS_MAX ||
        sched->score_count + DECISION_SCORES_MAX > CMD_SCORES_MAX)
        return false;
    sched->preempt.victim_count = 0;
    sched->among = AMONG_ITS_OWN;
    sched->stats.machines_scanned++;
    bool allowed = m < view->machine_count && places_allow(job, m);
    uint32_t shape = allowed ? shape_at(sched, job, m) : job->shape_count;
    if (shape == job->shape_count) {
        view_stick(&sched->view, task);
        return true;
    }
    if (sched->preempt.victim_count > victims_left)
        return false; /* the next batch has room for them */
    sched_propose(sched, job, shape, (struct choice){m, VIEW_NO_MACHINE, 0});
    return sched->preempt.victim_count == 0 || sched_wake_beside(sched, job, m);
}

bool system_wake(struct sched *sched, uint32_t machine, uint32_t by)
{
    struct view *view = &sched->view;
    LIST_EACH(l, &view->system_jobs)
    {
        struct view_job *job = CONTAINER_OF(l, struct view_job, system);
        if (machine >= job->task_count || job->tasks[machine].state != VIEW_STUCK ||
            job->priority == by || !feasible_evicting(view, job, machine))
            continue;
        if (job->priority > by)
            return false;
        view_unstick(view, &job->tasks[machine]);
    }
    return true;
}
