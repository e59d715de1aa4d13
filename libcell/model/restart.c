/*
 * restart.c - the tasks of a job are restarted, a few at a time.
 *
 * Each live task that is meant is marked, and so is outdated: resize.c stops it when the disruption
 * budget of the job and the batch allow it, at once or at a later turn of the leader. It comes back
 * as after any disruption, and a mark ends with the attempt. Borg paper, section 2.3.
 */
#include "cell_write.h"

#include <stdio.h>

#if CELL_FORMAT >= 2

static bool tasks_mark(struct apply *a, struct apply_step *step)
{
    for (; step_goes_on(a, step); step->at++) {
        struct task *task = &step->job->tasks[step->at], next = *task;
        units_spend(a, 1);
        /* What is stopping or backing off starts anew anyway. */
        if (!task_is_live(task) || task->stopping != CAUSE_NONE || task_holds(task))
            continue;
        next.restart = true;
        task_set(a, task, &next);
    }
    return step->at == step->to;
}

static bool job_restarted(struct apply *a, struct apply_step *step)
{
    const struct resize *resize = a->work;
    a->answer->accepted = resize->told;
    answer_say(
        a, "job \"%s\" is restarted: told to stop: %" PRIu32 ", waiting for their turn: %" PRIu32,
        step->job->spec.name, resize->told, step->job->outdated);
    return true;
}

static bool restarts_begin(struct apply *a, struct apply_step *step)
{
    resize_go_on(a, step->job);
    steps_add(a, job_restarted, step->job, 0, 0);
    return true;
}

static int restart_check(const struct job *job, const struct cmd_job_restart *body, struct err *err)
{
    if (job->spec.is_alloc_set)
        return err_set(err, ERR_INVALID,
                       "it is an alloc set and runs nothing itself: restart the jobs inside");
    if (body->index < -1 || body->index >= (int64_t)job->spec.replicas)
        return err_set(err, ERR_NOT_FOUND, "it has %" PRIu32 " tasks, there is no %s/%" PRId64,
                       job->spec.replicas, job->spec.name, body->index);
    if (body->batch > CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_INVALID, "batch: %" PRIu32 " is more than %d", body->batch,
                       CELL_TASKS_PER_JOB_MAX);
    return 0;
}

void apply_job_restart(struct apply *a, const struct cmd_job_restart *body)
{
    struct job *job = job_to_update(a, body->name);
    struct err err;
    if (job == NULL)
        return;
    if (restart_check(job, body, &err) != 0) {
        answer_refuse(a, err.code, "job \"%s\": %s", body->name, err.msg);
        return;
    }
    a->work = xcalloc(1, sizeof(struct resize));
    /* One task more does not let more of the others go at once. */
    if (body->index < 0 || job->outdated == 0)
        job->restart_batch = body->batch;
    job_touch(a, job);
    struct event *event = event_add_job(a, EVENT_UPDATED, job);
    event->task_index = body->index;
    if (body->batch != 0)
        snprintf(event->detail, sizeof event->detail, "restart, %" PRIu32 " at a time",
                 body->batch);
    else
        snprintf(event->detail, sizeof event->detail, "restart");
    event_by(a, event);
    bool all = body->index < 0;
    uint32_t first = all ? 0 : (uint32_t)body->index;
    steps_add(a, tasks_mark, job, first, all ? job->spec.replicas : first + 1);
    steps_add(a, restarts_begin, job, 0, 0);
}

#endif
