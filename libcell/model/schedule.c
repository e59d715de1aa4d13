/*
 * schedule.c - placements: each accepted or refused by itself, all or nothing with its victims.
 */
#include "cell_write.h"

#include <string.h>

static struct task *live_attempt(const struct cell *cell, struct attempt_ref ref,
                                 machine_id machine)
{
    struct task *task = task_find(cell, ref.task);
    return task != NULL && task->attempt == ref.attempt && task_is_live(task) &&
                   task->machine.v == machine.v
               ? task
               : NULL;
}

static bool named_before(const struct attempt_ref *victims, uint32_t i)
{
    for (uint32_t j = 0; j < i; j++)
        if (victims[j].task.v == victims[i].task.v)
            return true;
    return false;
}

/* Victims before this one that cost their job, the same as its own, a disruption. */
static uint32_t disrupted_before(const struct cell *cell, const struct attempt_ref *victims,
                                 uint32_t i)
{
    uint32_t count = 0;
    for (uint32_t j = 0; j < i; j++)
        if (task_job(victims[j].task).v == task_job(victims[i].task).v)
            count += !task_is_disrupted(task_find(cell, victims[j].task));
    return count;
}

/* What stopping the victims frees; those that stop already are counted in `stopping`. */
static int victims_check(const struct cell *cell, const struct placement *p,
                         const struct attempt_ref *victims, uint32_t priority,
                         struct resources *ret_freed, struct err *err)
{
    *ret_freed = (struct resources){0};
    for (uint32_t i = 0; i < p->victim_count; i++) {
        const struct task *victim = live_attempt(cell, victims[i], p->machine);
        if (victim == NULL)
            return err_set(err, ERR_STATE, "a victim is not running there any more");
        if (named_before(victims, i))
            return err_set(err, ERR_INVALID, "a victim is named twice");
        if (victim->stopping != CAUSE_NONE)
            continue;
        const struct job *job = job_find(cell, task_job(victim->id));
        if (!priority_may_evict(priority, job->spec.priority))
            return err_set(err, ERR_STATE, "priority %u may not evict \"%s/%u\" of priority %u",
                           priority, job->spec.name, task_index(victim->id), job->spec.priority);
        if (!job_may_disrupt(job, victim, disrupted_before(cell, victims, i)))
            return err_set(err, ERR_STATE,
                           "\"%s/%u\" may not be evicted now: %u tasks of its job are down, "
                           "max_disruptions is %u",
                           job->spec.name, task_index(victim->id), job->disrupted,
                           job->spec.disruptions_max);
        resources_add(ret_freed, task_limit(job, victim));
    }
    return 0;
}

static int task_check(const struct task *task, const struct job *job, uint32_t attempt,
                      struct err *err)
{
    if (job->killed)
        return err_set(err, ERR_STATE, "the job is killed");
    if (task->state != TASK_PENDING)
        return err_set(err, ERR_STATE, "the task is %s", task_state_text(task->state));
    if (task->attempt != attempt)
        return err_set(err, ERR_STATE, "the decision is about attempt %u, the last one was %u",
                       attempt, task->attempt);
    if (task->not_before_ms != 0)
        return err_set(err, ERR_STATE, "the task is backing off");
    return 0;
}

/* The attributes may have changed since the decision. */
static int constraints_check(struct job *job, const struct machine *machine, struct err *err)
{
    const struct clauses *clauses = &job->spec.constraints;
    if (clauses->count == 0)
        return 0;
    struct subject subject = machine_subject(machine);
    uint32_t failing = matcher_failing(job_matcher(job), &subject);
    if (failing == clauses->count)
        return 0;
    CLEANUP(buf_release) struct buf text = {0};
    clause_print(&text, &clauses->items[failing]);
    return err_set(err, ERR_STATE, "machine \"%s\" fails %.200s", machine->name, buf_text(&text));
}

static int placement_check(const struct cell *cell, const struct placement *p,
                           const struct attempt_ref *victims, struct err *err)
{
    const struct task *task = task_find(cell, p->task.task);
    if (task == NULL)
        return err_set(err, ERR_NOT_FOUND, "no such task");
    struct job *job = job_find(cell, task_job(task->id));
    int rc = task_check(task, job, p->task.attempt, err);
    if (rc != 0)
        return err_wrap(err, "task \"%s/%u\"", job->spec.name, task_index(task->id));
    const struct machine *machine = machine_find(cell, p->machine);
    if (machine == NULL)
        return err_set(err, ERR_NOT_FOUND, "no machine %u", p->machine.v);
    if (machine->state != MACHINE_UP)
        return err_set(err, ERR_STATE, "machine \"%s\" is down", machine->name);
    if (machine->draining)
        return err_set(err, ERR_STATE, "machine \"%s\" is draining", machine->name);
    rc = constraints_check(job, machine, err);
    struct resources room = {{0}};
    if (rc == 0)
        rc = victims_check(cell, p, victims, job->spec.priority, &room, err);
    if (rc == 0) {
        resources_add(&room, &machine->capacity);
        resources_add(&room, &machine->stopping);
        resources_subtract(&room, &machine->reserved);
        if (!resources_fit(task_limit(job, task), &room))
            rc = err_set(err, ERR_STATE, "no room on machine \"%s\"", machine->name);
    }
    return rc == 0 ? 0 : err_wrap(err, "task \"%s/%u\"", job->spec.name, task_index(task->id));
}

static void place(struct apply *a, const struct placement *p, const struct attempt_ref *victims)
{
    for (uint32_t i = 0; i < p->victim_count; i++) {
        struct task *victim = task_find(a->cell, victims[i].task);
        if (victim->stopping != CAUSE_NONE)
            continue;
        event_add_task(a, EVENT_EVICTING, victim, CAUSE_PREEMPTED, 0, "");
        task_stop(a, victim, CAUSE_PREEMPTED);
    }
    struct task *task = task_find(a->cell, p->task.task);
    struct task next = *task;
    next.state = TASK_ASSIGNED;
    next.attempt++;
    next.machine = p->machine;
    task_set(a, task, &next);
    event_add_task(a, EVENT_ASSIGNED, task, CAUSE_NONE, 0, "");
}

/* The scheduler assumed the placement: send it the rows as they are. */
static void tell_again(struct apply *a, const struct placement *p,
                       const struct attempt_ref *victims)
{
    if (task_find(a->cell, p->task.task) != NULL) {
        changes_note_task(a->changes, p->task.task);
        changes_note_job(a->changes, task_job(p->task.task));
    }
    if (machine_find(a->cell, p->machine) != NULL)
        changes_note_machine(a->changes, p->machine);
    for (uint32_t i = 0; i < p->victim_count; i++)
        if (task_find(a->cell, victims[i].task) != NULL)
            changes_note_task(a->changes, victims[i].task);
}

static void take_verdict(struct apply *a, const struct verdict *verdict)
{
    struct job *job = job_find(a->cell, verdict->job);
    if (job == NULL || job->counts[TASK_PENDING] == 0 || strcmp(job->reason, verdict->reason) == 0)
        return;
    str_copy(job->reason, sizeof job->reason, verdict->reason);
    job_touch(a, job);
}

void apply_schedule(struct apply *a, const struct cmd_schedule *body)
{
    static const struct attempt_ref none;
    const struct attempt_ref *victims = body->victim_count == 0 ? &none : body->victims;
    struct err first = {0};
    for (uint32_t i = 0; i < body->placement_count; i++) {
        struct placement p = body->placements[i];
        struct err err;
        int rc;
        if (p.victim_first > body->victim_count ||
            p.victim_count > body->victim_count - p.victim_first) {
            rc = err_set(&err, ERR_INVALID, "the victims named are not in the command");
            p.victim_first = 0;
            p.victim_count = 0;
        } else {
            rc = placement_check(a->cell, &p, victims + p.victim_first, &err);
        }
        if (rc == 0) {
            place(a, &p, victims + p.victim_first);
            a->answer->accepted++;
            continue;
        }
        tell_again(a, &p, victims + p.victim_first);
        if (a->answer->refused++ == 0)
            first = err;
    }
    for (uint32_t i = 0; i < body->verdict_count; i++)
        take_verdict(a, &body->verdicts[i]);
    if (a->answer->refused > 0)
        answer_say(a, "%u placed, %u refused; the first: %s", a->answer->accepted,
                   a->answer->refused, first.msg);
    else
        answer_say(a, "%u placed", a->answer->accepted);
}
