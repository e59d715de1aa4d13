/*
 * report.c - what borglets saw of their tasks, and back-offs that end.
 *
 * A report speaks of one attempt on one machine; about any other it changes nothing, so reports
 * may be repeated, late and out of order.
 *
 * Restarts: a failure (exit code, signal, start error) makes the next attempt wait
 * spec_backoff_ms(failures), and `failures` reaching failures_max is the end. Of a service an
 * attempt that ran HEALTHY_MS, or HEALTHY_BACKOFFS times the longest wait if that is more, was a
 * healthy one: the failures before it are forgotten, and where they were, so that a service that
 * crashes once a day is back after the shortest wait. A batch task is there to end: however long it
 * ran before it failed, that was no success, and its failures all count. An exit with code 0 under
 * restart=always is no failure: the next attempt always waits backoff_ms.
 *
 * While production backs off it keeps its place, and so does what others were evicted for: else its
 * room would be given to them and they be evicted at each retry.
 *
 * A start error that is the machine's fault is no failure of the task. It is tried elsewhere if it
 * can be, after a wait that doubles from MISSTART_MS; the machine is remembered for it.
 *
 * An attempt that was told to stop and ended by itself before that reached it has ended as if
 * nobody had told it: what it did is done, and how it failed counts.
 */
#include "cell_write.h"

#include <stdio.h>
#include <string.h>

enum { HEALTHY_MS = 600000, HEALTHY_BACKOFFS = 10, MISSTART_MS = 1000, MISSTART_MS_MAX = 300000 };

static bool keeps_place(const struct cell *cell, const struct job_spec *spec,
                        const struct task *task)
{
    return task->alloc.v == 0 && task->stopping == CAUSE_NONE && !task_is_outdated(task) &&
           !machine_find(cell, task->machine)->draining &&
           (priority_is_prod(spec->priority) || task->by_eviction);
}

static void end_waiting(struct apply *a, struct task *task, enum cause cause, int32_t exit_code,
                        uint32_t wait_ms)
{
    task_end(a, task, TASK_PENDING, cause, exit_code);
    struct task next = *task;
    if (wait_ms > 0 && task->state == TASK_PENDING) /* else it is not wanted there any more */
        next.not_before_ms = a->cell->now_ms + wait_ms;
    task_set(a, task, &next);
}

static void end_pending(struct apply *a, struct task *task, enum cause cause, int32_t exit_code,
                        uint32_t wait_ms)
{
    const struct job_spec *spec = &job_find(a->cell, task_job(task->id))->spec;
    if (wait_ms > 0 && keeps_place(a->cell, spec, task))
        task_hold(a, task, cause, exit_code, a->cell->now_ms + wait_ms);
    else
        end_waiting(a, task, cause, exit_code, wait_ms);
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
static void reset_if_well(struct apply *a, struct task *task, const struct job_spec *spec)
{
    if (!was_healthy(a->cell, spec, task))
        return;
    struct task next = *task;
    task_reset_failures(&next);
    task_set(a, task, &next);
}

/* Where it is rather not tried again. */
static void remember_machine(struct task *task)
{
    uint32_t i = 0; /* where this machine stands, or the last */
    while (i < TASK_CRASHES_MAX - 1 && task->crashed_on[i].v != task->machine.v)
        i++;
    for (; i > 0; i--)
        task->crashed_on[i] = task->crashed_on[i - 1];
    task->crashed_on[0] = task->machine;
}

static void remember_failure(struct apply *a, struct task *task)
{
    struct task next = *task;
    next.failures += next.failures < UINT32_MAX;
    remember_machine(&next);
    task_set(a, task, &next);
}

/* Some machine could start it after all, and this one can start tasks. */
static void note_start(struct apply *a, struct task *task)
{
    if (task->state != TASK_ASSIGNED)
        return; /* long ago */
    machine_started(a, machine_find(a->cell, task->machine));
    if (task->misstarts == 0)
        return;
    struct task next = *task;
    next.misstarts = 0;
    if (next.failures == 0)
        memset(next.crashed_on, 0, sizeof next.crashed_on);
    task_set(a, task, &next);
}

/* The reason why the task waits, until it is placed or waits for something else. */
static void say_misstart(struct apply *a, const struct task *task, const struct machine *machine,
                         const char *detail)
{
    struct job *job = job_find(a->cell, task_job(task->id));
    if (job->counts[TASK_PENDING] == 0)
        return;
    snprintf(job->reason, sizeof job->reason,
             "machine %s could not start task %u (%s); it is tried again, elsewhere if it can be",
             machine->name, task_index(task->id), detail);
    job_touch(a, job);
}

static void task_misstarted(struct apply *a, struct task *task, const char *detail)
{
    struct machine *machine = machine_find(a->cell, task->machine);
    struct task next = *task;
    uint64_t wait_ms = MISSTART_MS;
    for (uint32_t i = 0; i < task->misstarts && wait_ms < MISSTART_MS_MAX; i++)
        wait_ms *= 2;
    wait_ms = MIN(wait_ms, (uint64_t)MISSTART_MS_MAX);
    next.misstarts += next.misstarts < UINT32_MAX;
    remember_machine(&next);
    task_set(a, task, &next);
    event_add_task(a, EVENT_FAILED, task, CAUSE_START_ERROR, 0, detail);
    end_waiting(a, task, CAUSE_START_ERROR, 0, (uint32_t)wait_ms);
    say_misstart(a, task, machine, detail);
    machine_start_failed(a, machine, task->id);
}

/* It ended by itself, but would not be started again. */
static bool is_killed(const struct cell *cell, const struct task *task)
{
    return task->stopping != CAUSE_NONE && task_stopped_state(cell, task) == TASK_KILLED;
}

static void task_failed(struct apply *a, struct task *task, const struct job_spec *spec,
                        enum cause cause, int32_t exit_code, const char *detail)
{
    event_add_task(a, EVENT_FAILED, task, cause, exit_code, detail);
    reset_if_well(a, task, spec);
    remember_failure(a, task);
    bool last = spec->restart == RESTART_NEVER ||
                (spec->failures_max != 0 && task->failures >= spec->failures_max);
    if (last)
        task_end(a, task, TASK_FAILED, cause, exit_code);
    else if (is_killed(a->cell, task))
        task_end(a, task, TASK_KILLED, CAUSE_KILLED, exit_code);
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
    if (spec->restart != RESTART_ALWAYS || is_killed(a->cell, task)) {
        task_end(a, task, TASK_FINISHED, CAUSE_EXIT, 0);
        return;
    }
    reset_if_well(a, task, spec);
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

/* Its machine fell silent, and it has not been started elsewhere yet: what it did is done. */
static void task_found(struct apply *a, struct task *task, const struct machine *machine,
                       const struct report *report)
{
    const struct job *job = task == NULL ? NULL : job_find(a->cell, task_job(task->id));
    if (job == NULL || task->state != TASK_PENDING || task->attempt != report->task.attempt ||
        task->cause != CAUSE_MACHINE_DOWN || report->kind != REPORT_EXITED ||
        report->exit_code != 0 || report->told_to_stop || job->spec.restart == RESTART_ALWAYS)
        return;
    event_add_task(a, EVENT_FINISHED, task, CAUSE_EXIT, 0, "before its machine was heard again");
    struct event *event = &a->changes->events[a->changes->event_count - 1];
    event->machine = machine->id;
    str_copy(event->machine_name, sizeof event->machine_name, machine->name);
    task_end(a, task, TASK_FINISHED, CAUSE_EXIT, 0);
}

/* Of an attempt that its machine took along when it fell silent: now somebody knows. */
static bool take_left(struct apply *a, const struct report *report)
{
    struct machine *machine = machine_find(a->cell, report->machine);
    uint32_t at = machine == NULL ? 0 : machine_left_find(machine, report->task);
    if (machine == NULL || at == machine->left_count || report->kind == REPORT_RUNNING ||
        report->kind >= REPORT_KIND_COUNT)
        return false;
    machine_left_take(a, machine, at);
    task_found(a, task_find(a->cell, report->task.task), machine, report);
    return true;
}

static bool take_report(struct apply *a, const struct report *report)
{
    struct task *task = task_find(a->cell, report->task.task);
    if (task == NULL || !task_is_live(task) || task->attempt != report->task.attempt ||
        task->machine.v != report->machine.v || task_holds(task))
        return take_left(a, report);
    const struct job_spec *spec = &job_find(a->cell, task_job(task->id))->spec;
    if (spec->is_alloc_set)
        return false; /* nothing of it runs there */
    switch (report->kind) {
    case REPORT_RUNNING:
        note_start(a, task);
        task_running(a, task, report);
        return true;
    case REPORT_EXITED:
        note_start(a, task);
        if (task->stopping != CAUSE_NONE && report->told_to_stop)
            task_stopped(a, task, report->exit_code, report->detail);
        else
            task_exited(a, task, spec, report->exit_code, report->detail);
        return true;
    case REPORT_START_ERROR:
        if (task->stopping != CAUSE_NONE)
            task_stopped(a, task, report->exit_code, report->detail);
        else if (report->fault == FAULT_MACHINE)
            task_misstarted(a, task, report->detail);
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

static void task_wake(struct apply *a, struct task *task)
{
    struct task next = *task;
    if (task_holds(task)) { /* it may have its place again, if nobody better wants it, or another */
        task_let_go(a, task, CAUSE_NONE, 0);
        return;
    }
    next.not_before_ms = 0;
    task_set(a, task, &next);
}

void apply_wake(struct apply *a, const struct cmd_wake *body)
{
    for (uint32_t i = 0; i < body->task_count; i++) {
        struct task *task = task_find(a->cell, body->tasks[i]);
        if (task == NULL || task->not_before_ms == 0 || a->cell->now_ms < task->not_before_ms) {
            a->answer->refused++;
            continue;
        }
        task_wake(a, task);
        a->answer->accepted++;
    }
    answer_say(a, "woken: %u, not due: %u", a->answer->accepted, a->answer->refused);
}
