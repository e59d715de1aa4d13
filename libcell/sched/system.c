/*
 * system.c - jobs on every machine: each task on its own machine or nowhere.
 *
 * There is nothing to choose and nothing to search, so the job is never blocked as a whole: a task
 * whose machine has no room is stuck until that machine improves. The cell says which tasks are
 * wanted; the others do not come here.
 */
#include "sched_impl.h"

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
    if (!allowed || (!feasible_fits(view, job, &job->limit, m) &&
                     !preempt_at(&sched->preempt, view, job, &job->limit, m, VICTIMS_MAX))) {
        view_stick(&sched->view, task);
        return true;
    }
    if (sched->preempt.victim_count > victims_left)
        return false; /* the next batch has room for them */
    sched_propose(sched, job, (struct choice){m, VIEW_NO_MACHINE, 0});
    return sched->preempt.victim_count == 0 || sched_wake_beside(sched, job, m);
}

bool system_wake(struct sched *sched, uint32_t machine, uint32_t by)
{
    struct view *view = &sched->view;
    LIST_EACH(l, &view->system_jobs)
    {
        struct view_job *job = CONTAINER_OF(l, struct view_job, system);
        if (machine >= job->task_count || job->tasks[machine].state != VIEW_STUCK ||
            job->priority == by || !places_allow(job, machine) ||
            !feasible_maybe(view, job, &job->limit, machine))
            continue;
        struct resources room = feasible_room(view, job, machine);
        if (!resources_fit(&job->limit, &room))
            continue;
        if (job->priority > by)
            return false;
        view_unstick(view, &job->tasks[machine]);
    }
    return true;
}
