/*
 * view_wait.c - which jobs of the view wait: ready, blocked until something changes, woken because
 * it did; and of jobs on every machine, which tasks are stuck.
 */
#include "view_impl.h"

static void set_woken(struct view *view, struct view_job *job, bool woken)
{
    view->woken += woken;
    view->woken -= job->woken;
    job->woken = woken;
}

static bool ready(const struct view_job *job)
{
    return job->waiting > 0 && !job->blocked;
}

void view_waiting_add(struct view *view, struct view_job *job, int change)
{
    bool was_ready = ready(job);
    job->waiting += (uint32_t)change;
    view->waiting += (uint64_t)(int64_t)change;
    if (job->waiting == 0) {
        set_woken(view, job, false);
        job->blocked = false;
        list_remove(&job->blocked_link);
        if (job->stuck == 0)
            list_remove(&job->unsaid);
    }
    if (was_ready != ready(job))
        queue_ready(view, job, was_ready ? -1 : 1);
}

void view_stuck_add(struct view *view, struct view_job *job, int change)
{
    job->stuck += (uint32_t)change;
    view->waiting += (uint64_t)(int64_t)change;
    if (job->stuck + job->waiting == 0)
        list_remove(&job->unsaid);
}

void view_block(struct view *view, struct view_job *job)
{
    ASSERT(ready(job));
    job->blocked = true;
    list_push(&view->blocked, &job->blocked_link);
    /* Who was woken in vain has its reason; counting again for each would cost more than waking. */
    bool again = job->woken || job->gang;
    if ((!again || job->reason[0] == '\0') && list_empty(&job->unsaid))
        list_push(&view->unsaid, &job->unsaid);
    set_woken(view, job, false);
    queue_ready(view, job, -1);
}

void view_unblock(struct view *view, struct view_job *job)
{
    ASSERT(job->blocked);
    job->blocked = false;
    list_remove(&job->blocked_link);
    if (ready(job)) {
        set_woken(view, job, !job->gang); /* some of a gang fit elsewhere */
        queue_ready(view, job, 1);
    }
}

/* A job on every machine is not blocked as a whole: its tasks are stuck one by one. */
static void unstick(struct view *view, struct view_job *job, uint32_t machine)
{
    uint32_t first = machine == VIEW_NO_MACHINE ? 0 : machine;
    uint32_t end = machine == VIEW_NO_MACHINE ? job->task_count : machine + 1;
    for (uint32_t i = first; i < MIN(end, job->task_count); i++)
        if (job->tasks[i].state == VIEW_STUCK)
            view_unstick(view, &job->tasks[i]);
}

void view_reconsider(struct view *view, struct view_job *job, uint32_t machine)
{
    if (job->every_machine) {
        unstick(view, job, machine);
        return;
    }
    if (machine != VIEW_NO_MACHINE && (job->blocked || job->woken))
        view_add_candidate(view, machine);
    if (job->blocked && list_empty(&job->unsaid)) /* it may wait for something else now */
        list_push(&view->unsaid, &job->unsaid);
    if (job->blocked)
        view_unblock(view, job);
    if (machine == VIEW_NO_MACHINE)
        set_woken(view, job, false);
}

/*
 * A task of the job left, or its machine's value changed: where its spread was full there may be
 * room now, and on any machine of that value. So it is to be looked at again, and everywhere.
 */
void view_value_freed(struct view *view, struct view_job *job)
{
    if (job->has_max)
        view_reconsider(view, job, VIEW_NO_MACHINE);
}

void view_stick(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_WAITING);
    view_task_enter(view, task, &(struct view_task){.state = VIEW_STUCK});
    view_waiting_add(view, task->job, -1);
    if (list_empty(&task->job->unsaid))
        list_push(&view->unsaid, &task->job->unsaid);
}

void view_unstick(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_STUCK);
    view_task_leave(view, task);
    view_task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
}

struct view_task *view_first_waiting(struct view_job *job)
{
    ASSERT(job->waiting > 0);
    while (job->tasks[job->waiting_from].state != VIEW_WAITING)
        job->waiting_from++;
    return &job->tasks[job->waiting_from];
}
