/*
 * report.c - what borglets saw of their tasks, and back-offs that end.
 *
 * A report speaks of one attempt on one machine; about any other it changes nothing, so reports
 * may be repeated, late and out of order.
 *
 * Restarts: a failure (exit code, signal, start error) makes the next attempt wait
 * spec_backoff_ms(failures), and `failures` reaching failures_max is the end. Of a service an attempt
 * that ran HEALTHY_MS, or HEALTHY_BACKOFFS times the longest wait if that is more, was a healthy
 * one: the failures before it are forgotten, and where they were, so that a service that crashes
 * once a day is back after the shortest wait. A batch task is there to end: however long it ran
 * before it failed, that was no success, and its failures all count.
 * An exit with code 0 under restart=always is no failure: the next attempt always waits backoff_ms.
 */
#include "cell_write.h"

#include <string.h>

enum { HEALTHY_MS = 600000, HEALTHY_BACKOFFS = 10 };

static void end_pending(struct apply *a, struct task *task, enum cause cause, int32_t exit_code,
                        uint32_t wait_ms)
{
    task_end(a, task, TASK_PENDING, cause, exit_code);
    struct task next = *task;
    if (wait_ms > 0 && task->state == TASK_PENDING) /* else it is not wanted there any more */
        next.not_before_ms = a->cell->now_ms + wait_ms;
    task_set(a, task, &next);
}

static bool was_healthy(const struct cell *cell, const struct job_spec *spec,
                        const struct task *task)
{
    bool is_to_end = spec->appclass == APPCLASS_BATCH && spec->restart != RESTART_ALWAYS;
    uint64_t healthy_ms =
        MAX((uint64_t)HEALTHY_MS, (uint64_t)HEALTHY_BACKOFFS * spec->backoff_max_ms);
    return !is_to_end && task->state == TASK_RUNNING &&
           cell->now_ms - task->started_ms >= healthy_ms;
}

/* The attempt ends: if it was a healthy one, what was before it is forgotten. */
static void forgive(struct apply *a, struct task *task, const struct job_spec *spec)
{
    if (!was_healthy(a->cell, spec, task))
        return;
    struct task next = *task;
    task_forgive(&next);
    task_set(a, task, &next);
}

static void remember_failure(struct apply *a, struct task *task)
{
    struct task next = *task;
    next.failures += next.failures < UINT32_MAX;
    uint32_t i = 0; /* where this machine stands, or the last */
    while (i < TASK_CRASHES_MAX - 1 && next.crashed_on[i].v != task->machine.v)
        i++;
    for (; i > 0; i--)
        next.crashed_on[i] = next.crashed_on[i - 1];
    next.crashed_on[0] = task->machine;
    task_set(a, task, &next);
}

static void task_failed(struct apply *a, struct task *task, const struct job_spec *spec,
                        enum cause cause, int32_t exit_code, const char *detail)
{
    event_add_task(a, EVENT_FAILED, task, cause, exit_code, detail);
    forgive(a, task, spec);
    remember_failure(a, task);
    bool last = spec->restart == RESTART_NEVER ||
                (spec->failures_max != 0 && task->failures >= spec->failures_max);
    if (last)
        task_end(a, task, TASK_FAILED, cause, exit_code);
    else
        end_pending(a, task, cause, exit_code, spec_backoff_ms(spec, task->failures));
}

static void task_exited(struct apply *a, struct task *task, const struct job_spec *spec,
                        int32_t exit_code, const char *detail)
{
    if (exit_code != 0) {
        enum cause cause = exit_code < 0 ? CAUSE_SIGNAL : CAUSE_EXIT;
        task_failed(a, task, spec, cause, exit_code, detail);
        return;
    }
    event_add_task(a, EVENT_FINISHED, task, CAUSE_EXIT, 0, detail);
    if (spec->restart != RESTART_ALWAYS) {
        task_end(a, task, TASK_FINISHED, CAUSE_EXIT, 0);
        return;
    }
    forgive(a, task, spec);
    end_pending(a, task, CAUSE_EXIT, 0, spec->backoff_ms);
}

static void task_running(struct apply *a, struct task *task, const struct report *report)
{
    if (task->state == TASK_RUNNING && task->pid == report->pid &&
        memcmp(task->ports, report->ports, sizeof task->ports) == 0)
        return;
    bool is_new = task->state == TASK_ASSIGNED;
    struct task next = *task;
    next.state = TASK_RUNNING;
    next.pid = report->pid;
    memcpy(next.ports, report->ports, sizeof next.ports);
    if (is_new)
        next.started_ms = a->cell->now_ms;
    task_set(a, task, &next);
    if (is_new)
        event_add_task(a, EVENT_RUNNING, task, CAUSE_NONE, 0, report->detail);
}

static void task_lost(struct apply *a, struct task *task, const char *detail)
{
    event_add_task(a, EVENT_LOST, task, CAUSE_LOST, 0, detail);
    task_end(a, task, TASK_PENDING, CAUSE_LOST, 0);
}

static bool take_report(struct apply *a, const struct report *report)
{
    struct task *task = task_find(a->cell, report->task.task);
    if (task == NULL || !task_is_live(task) || task->attempt != report->task.attempt ||
        task->machine.v != report->machine.v)
        return false;
    const struct job_spec *spec = &job_find(a->cell, task_job(task->id))->spec;
    if (spec->is_alloc_set)
        return false; /* nothing of it runs there */
    switch (report->kind) {
    case REPORT_RUNNING:
        task_running(a, task, report);
        return true;
    case REPORT_EXITED:
        if (task->stopping != CAUSE_NONE)
            task_stopped(a, task, report->exit_code, report->detail);
        else
            task_exited(a, task, spec, report->exit_code, report->detail);
        return true;
    case REPORT_START_ERROR:
        if (task->stopping != CAUSE_NONE)
            task_stopped(a, task, report->exit_code, report->detail);
        else
            task_failed(a, task, spec, CAUSE_START_ERROR, report->exit_code, report->detail);
        return true;
    case REPORT_LOST:
        /* Also said of an attempt that was told to stop before its borglet ever heard of it. */
        if (task->stopping != CAUSE_NONE)
            task_stopped(a, task, 0, report->detail);
        else
            task_lost(a, task, report->detail);
        return true;
    case REPORT_KIND_COUNT:
        break;
    }
    return false;
}

void apply_report(struct apply *a, const struct cmd_report *body)
{
    for (uint32_t i = 0; i < body->report_count; i++) {
        if (take_report(a, &body->reports[i]))
            a->answer->accepted++;
        else
            a->answer->refused++;
    }
    answer_say(a, "reports taken: %u, about attempts that are over: %u", a->answer->accepted,
               a->answer->refused);
}

void apply_wake(struct apply *a, const struct cmd_wake *body)
{
    for (uint32_t i = 0; i < body->task_count; i++) {
        struct task *task = task_find(a->cell, body->tasks[i]);
        if (task == NULL || task->not_before_ms == 0 || a->cell->now_ms < task->not_before_ms) {
            a->answer->refused++;
            continue;
        }
        struct task next = *task;
        next.not_before_ms = 0;
        task_set(a, task, &next);
        a->answer->accepted++;
    }
    answer_say(a, "woken: %u, not due: %u", a->answer->accepted, a->answer->refused);
}
