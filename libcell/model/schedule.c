/*
 * schedule.c - placements: each accepted or refused by itself, all or nothing with its victims.
 *
 * Those of a gang stand together and are accepted or refused together: each is checked with the
 * ones before it in place, and when one is refused the rows go back to what they were.
 */
#include "cell_write.h"
#include "fit.h"

#include <stdio.h>
#include <stdlib.h>
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

static int budget_refuse(const struct cell *cell, const struct task *task, struct err *err)
{
    const struct job *job = job_find(cell, task_job(task->id));
    return err_set(err, ERR_STATE,
                   "\"%s/%u\" may not be evicted now: %u tasks of its job are down, "
                   "max_disruptions is %u",
                   job->spec.name, task_index(task->id), job->disrupted, job->spec.disruptions_max);
}

/* Gives what stopping the victims frees; those that stop already are counted as gone. */
static int victims_check(const struct cell *cell, const struct placement *p,
                         const struct attempt_ref *victims, const struct job *by, struct room *room,
                         struct err *err)
{
    CLEANUP(leaving_release) struct leaving leaving = {0};
    for (uint32_t i = 0; i < p->victim_count; i++) {
        const struct task *victim = live_attempt(cell, victims[i], p->machine);
        if (victim == NULL)
            return err_set(err, ERR_STATE, "a victim is not running there any more");
        if (named_before(victims, i))
            return err_set(err, ERR_INVALID, "a victim is named twice");
        if (victim->stopping != CAUSE_NONE)
            continue;
        const struct job *job = job_find(cell, task_job(victim->id));
        if (!priority_may_evict(by->spec.priority, job->spec.priority))
            return err_set(err, ERR_STATE, "priority %u may not evict \"%s/%u\" of priority %u",
                           by->spec.priority, job->spec.name, task_index(victim->id),
                           job->spec.priority);
        if (victim->alloc.v != p->alloc.v)
            return err_set(err, ERR_STATE, "\"%s/%u\" does not take room where the task is to go",
                           job->spec.name, task_index(victim->id));
        const struct task *spared = job_binds(job, by) ? leaving_add(&leaving, cell, victim) : NULL;
        if (spared != NULL)
            return budget_refuse(cell, spared, err);
        struct resources kept = task_kept(job, victim);
        room_give(room, &kept, victim->devices);
    }
    return 0;
}

static int task_check(const struct task *task, const struct job *job, uint32_t attempt,
                      struct err *err)
{
    if (job->killed)
        return err_set(err, ERR_STATE, "the job is killed");
    if (task->state != TASK_PENDING && !task_holds(task))
        return err_set(err, ERR_STATE, "the task is %s", task_state_text(task->state));
    if (task->attempt != attempt)
        return err_set(err, ERR_STATE, "the decision is about attempt %u, the last one was %u",
                       attempt, task->attempt);
    if (task->not_before_ms != 0)
        return err_set(err, ERR_STATE, "the task is backing off");
    return 0;
}

/* The alloc that the placement names, if the job may go there; NULL: it runs in none. */
static int alloc_find(const struct cell *cell, const struct placement *p, const struct job *job,
                      const struct task **ret, struct err *err)
{
    *ret = NULL;
    if (job->spec.alloc_set[0] == '\0')
        return p->alloc.v == 0 ? 0 : err_set(err, ERR_STATE, "the job does not run in an alloc");
    const struct task *alloc = task_find(cell, p->alloc);
    const struct job *set = cell_alloc_set(cell, &job->spec);
    if (set == NULL || task_job(p->alloc).v != set->id.v || alloc == NULL)
        return err_set(err, ERR_STATE, "the job does not run there, but in alloc set \"%s\"",
                       job->spec.alloc_set);
    if (alloc->machine.v != p->machine.v)
        return err_set(err, ERR_STATE, "alloc \"%s/%u\" is not there", set->spec.name,
                       task_index(alloc->id));
    *ret = alloc;
    return 0;
}

/* The attributes, and who is where, may have changed since the decision. */
static int place_check(const struct cell *cell, struct job *job, const struct machine *machine,
                       const struct task *alloc, struct err *err)
{
    bool asks = job->spec.constraints.count > 0;
    const struct fit fit = {cell, job, asks ? job_matcher(job) : NULL, NULL};
    int lack = fit_place(&fit, machine, alloc);
    if (lack == LACKS_NOTHING)
        return 0;
    const struct job *keeper = lack == LACKS_KEPT ? fit_keeper(&fit, machine) : NULL;
    CLEANUP(buf_release) struct buf text = {0};
    fit_lack_print(&text, job, lack, keeper == NULL ? NULL : keeper->spec.name);
    if (lack == LACKS_ALLOC || lack == LACKS_ENDING)
        return err_set(err, ERR_STATE, "alloc \"%s/%u\" %s", job->spec.alloc_set,
                       task_index(alloc->id), buf_text(&text));
    return err_set(err, ERR_STATE, "machine \"%s\" %.200s", machine->name, buf_text(&text));
}

/* What is free there, without victims. */
static struct room room_at(const struct cell *cell, const struct machine *machine,
                           const struct task *alloc)
{
    return alloc != NULL ? alloc_room(cell, alloc) : cell_room(cell, machine);
}

/* Has it this much room, once its victims are gone? */
static int need_check(const struct placement *p, const struct job *job,
                      const struct machine *machine, const struct room *room, struct err *err)
{
    const struct resources *need = spec_shape(&job->spec, p->shape);
    if (!resources_fit(need, &room->free))
        return err_set(err, ERR_STATE, "no room %s machine \"%s\"",
                       p->alloc.v != 0 ? "in its alloc on" : "on", machine->name);
    struct resources free = fit_free(job, machine, room, NULL);
    if (p->alloc.v == 0 && !resources_fit(need, &free))
        return err_set(err, ERR_STATE,
                       "machine \"%s\" is promised to other production, which does not use it now",
                       machine->name);
    return 0;
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
    if (job->spec.every_machine && p->machine.v != task_index(task->id) + 1)
        return err_set(err, ERR_INVALID, "task \"%s/%u\" belongs on machine %u, not on %u",
                       job->spec.name, task_index(task->id), task_index(task->id) + 1,
                       p->machine.v);
    const struct task *alloc;
    rc = alloc_find(cell, p, job, &alloc, err);
    if (rc == 0)
        rc = place_check(cell, job, machine, alloc, err);
    if (rc == 0 && p->shape >= spec_shape_count(&job->spec))
        rc = err_set(err, ERR_INVALID, "there is no shape %u, the job has %u", p->shape + 1,
                     spec_shape_count(&job->spec));
    struct room room;
    if (rc == 0)
        room = room_at(cell, machine, alloc);
    if (rc == 0)
        rc = victims_check(cell, p, victims, job, &room, err);
    if (rc == 0)
        rc = need_check(p, job, machine, &room, err);
    return rc == 0 ? 0 : err_wrap(err, "task \"%s/%u\"", job->spec.name, task_index(task->id));
}

static void take_verdict(struct apply *a, const struct verdict *verdict)
{
    struct job *job = job_find(a->cell, verdict->job);
    if (job == NULL || job->counts[TASK_PENDING] == 0 || strcmp(job->reason, verdict->reason) == 0)
        return;
    if (verdict->is_news) {
        struct event *event = event_add_job(a, EVENT_WAITING, job);
        str_copy(event->detail, sizeof event->detail, verdict->reason);
    }
    str_copy(job->reason, sizeof job->reason, verdict->reason);
    job_touch(a, job);
}

/* Some placements of a command: one, or all of a gang. */
struct group {
    const struct cmd_schedule *body;
    uint32_t first, count;
    struct buf *text; /* to work in */
};

static const struct attempt_ref *victims_of(const struct group *g, uint32_t i)
{
    static const struct attempt_ref none;
    const struct attempt_ref *victims = g->body->victim_count == 0 ? &none : g->body->victims;
    return victims + g->body->placements[i].victim_first;
}

static bool victims_are_there(const struct cmd_schedule *body, const struct placement *p)
{
    return p->victim_first <= body->victim_count &&
           p->victim_count <= body->victim_count - p->victim_first;
}

static struct group group_at(const struct cell *cell, const struct cmd_schedule *body,
                             uint32_t first, struct buf *text)
{
    struct group g = {body, first, 1, text};
    job_id id = task_job(body->placements[first].task.task);
    const struct job *job = job_find(cell, id);
    while (job != NULL && job->spec.gang && first + g.count < body->placement_count &&
           task_job(body->placements[first + g.count].task.task).v == id.v)
        g.count++;
    return g;
}

/* All that wait start, or none: of a gang that some members joined or left it is decided anew. */
static int gang_check(const struct cell *cell, const struct group *g, struct err *err)
{
    const struct job *job = job_find(cell, task_job(g->body->placements[g->first].task.task));
    uint32_t waiting = 0;
    if (job == NULL || !job->spec.gang)
        return 0;
    for (uint32_t i = 0; i < job->task_count; i++)
        waiting += job->tasks[i].state == TASK_PENDING && job->tasks[i].not_before_ms == 0;
    if (waiting == g->count)
        return 0;
    return err_set(err, ERR_STATE,
                   "gang \"%s\": %u of its tasks wait and start together, the decision is about %u",
                   job->spec.name, waiting, g->count);
}

/* A gang's rows as they were, to go back to. */
struct undo {
    struct task *rows; /* in the order they were changed */
    uint32_t count, capacity;
    bool is_kept; /* else a single one: placed last, it never has to go back */
    size_t event_count;
    uint64_t event_seq;
    char reason[CELL_REASON_MAX + 1];
};

static void undo_begin(struct undo *undo, const struct apply *a, const struct group *g)
{
    *undo = (struct undo){.event_count = a->changes->event_count, .event_seq = a->cell->event_seq};
    undo->is_kept = g->count > 1;
    if (!undo->is_kept)
        return;
    const struct job *job = job_find(a->cell, task_job(g->body->placements[g->first].task.task));
    str_copy(undo->reason, sizeof undo->reason, job->reason);
}

static void undo_note(struct undo *undo, const struct task *task)
{
    if (!undo->is_kept)
        return;
    if (undo->count == undo->capacity) {
        undo->capacity = MAX(2 * undo->capacity, 64U);
        undo->rows = xrealloc(undo->rows, undo->capacity, sizeof *undo->rows);
    }
    undo->rows[undo->count++] = *task;
}

/* With an alloc goes what is inside. */
static void undo_note_victim(struct undo *undo, const struct cell *cell, const struct task *victim)
{
    undo_note(undo, victim);
    LIST_EACH(l, &machine_find(cell, victim->machine)->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (task->alloc.v == victim->id.v)
            undo_note(undo, task);
    }
}

/* Only when rows last changed is not put back: they changed, and are told again. */
static void undo_all(struct apply *a, struct undo *undo, const struct group *g)
{
    if (undo->count == 0)
        return;
    while (undo->count > 0) {
        const struct task *row = &undo->rows[--undo->count];
        task_set(a, task_find(a->cell, row->id), row);
    }
    struct job *job = job_find(a->cell, task_job(g->body->placements[g->first].task.task));
    str_copy(job->reason, sizeof job->reason, undo->reason);
    job_touch(a, job);
    a->changes->event_count = undo->event_count;
    a->cell->event_seq = undo->event_seq;
}

/* Tell the victims to stop: how many did not do so already. */
static uint32_t evict(struct apply *a, const struct placement *p, const struct attempt_ref *victims,
                      struct undo *undo)
{
    const struct job *job = job_find(a->cell, task_job(p->task.task));
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->victim_count; i++) {
        struct task *victim = task_find(a->cell, victims[i].task);
        if (victim->stopping != CAUSE_NONE)
            continue;
        undo_note_victim(undo, a->cell, victim);
        char detail[CELL_NAME_MAX + 64];
        snprintf(detail, sizeof detail, "for %s/%u: priority %u over %u", job->spec.name,
                 task_index(p->task.task), job->spec.priority,
                 job_find(a->cell, task_job(victim->id))->spec.priority);
        event_add_task(a, EVENT_EVICTING, victim, CAUSE_PREEMPTED, 0, detail);
        task_stop(a, victim, CAUSE_PREEMPTED);
        count++;
    }
    return count;
}

/* Its victims are gone from the room. */
static uint32_t devices_for(const struct cell *cell, const struct placement *p,
                            const struct job *job)
{
    int64_t gpu = spec_shape(&job->spec, p->shape)->v[RES_GPU];
    if (gpu == 0)
        return 0;
    struct room room = room_at(cell, machine_find(cell, p->machine),
                               p->alloc.v == 0 ? NULL : task_find(cell, p->alloc));
    return devices_choose(&room.devices, gpu);
}

static void place(struct apply *a, const struct group *g, uint32_t i, struct undo *undo)
{
    const struct placement *p = &g->body->placements[i];
    uint32_t victims = evict(a, p, victims_of(g, i), undo);
    struct task *task = task_find(a->cell, p->task.task);
    struct task next = *task;
    const struct job *job = job_find(a->cell, task_job(task->id));
    bool is_alloc = job->spec.is_alloc_set;
    undo_note(undo, task);
    next.devices = devices_for(a->cell, p, job);
    next.state = is_alloc ? TASK_RUNNING : TASK_ASSIGNED;
    next.started_ms = is_alloc ? a->cell->now_ms : 0;
    next.attempt++;
    next.by_eviction |= victims > 0;
    next.machine = p->machine;
    next.alloc = p->alloc;
    next.shape = p->shape;
    task_set(a, task, &next);
    buf_clear(g->text);
    decision_print(g->text, a->cell, g->body, p, victims);
    event_add_task(a, EVENT_ASSIGNED, task, CAUSE_NONE, 0, buf_text(g->text));
    if (is_alloc)
        event_add_task(a, EVENT_RUNNING, task, CAUSE_NONE, 0, "");
}

static void note_victim(const struct cell *cell, task_id id, struct changes *changes)
{
    const struct task *victim = task_find(cell, id);
    if (victim == NULL)
        return;
    changes_note_task(changes, id);
    if (task_is_live(victim))
        alloc_note_inside(cell, victim, changes);
}

/* The scheduler assumed the placement: send it the rows as they are. */
static void note_placement(const struct cell *cell, const struct cmd_schedule *body,
                           const struct placement *p, struct changes *changes)
{
    if (task_find(cell, p->task.task) != NULL) {
        changes_note_task(changes, p->task.task);
        changes_note_job(changes, task_job(p->task.task));
    }
    if (task_find(cell, p->alloc) != NULL)
        changes_note_task(changes, p->alloc);
    if (machine_find(cell, p->machine) != NULL)
        changes_note_machine(changes, p->machine);
    for (uint32_t i = 0; victims_are_there(body, p) && i < p->victim_count; i++)
        note_victim(cell, body->victims[p->victim_first + i].task, changes);
}

void schedule_note(const struct cell *cell, const struct cmd_schedule *body,
                   struct changes *changes)
{
    for (uint32_t i = 0; i < body->placement_count; i++)
        note_placement(cell, body, &body->placements[i], changes);
    for (uint32_t i = 0; i < body->verdict_count; i++)
        if (job_find(cell, body->verdicts[i].job) != NULL)
            changes_note_job(changes, body->verdicts[i].job);
}

static int group_place(struct apply *a, const struct group *g, struct undo *undo, struct err *err)
{
    int rc = gang_check(a->cell, g, err);
    for (uint32_t i = g->first; rc == 0 && i < g->first + g->count; i++) {
        const struct placement *p = &g->body->placements[i];
        if (!victims_are_there(g->body, p))
            rc = err_set(err, ERR_INVALID, "the victims named are not in the command");
        if (rc == 0)
            rc = placement_check(a->cell, p, victims_of(g, i), err);
        if (rc == 0)
            place(a, g, i, undo);
    }
    return rc;
}

static void group_take(struct apply *a, const struct group *g, struct err *first)
{
    struct undo undo;
    struct err err;
    undo_begin(&undo, a, g);
    if (group_place(a, g, &undo, &err) == 0) {
        a->answer->accepted += g->count;
    } else {
        undo_all(a, &undo, g);
        for (uint32_t i = g->first; i < g->first + g->count; i++)
            note_placement(a->cell, g->body, &g->body->placements[i], a->changes);
        if (a->answer->refused == 0)
            *first = err;
        a->answer->refused += g->count;
    }
    free(undo.rows);
}

void apply_schedule(struct apply *a, const struct cmd_schedule *body)
{
    CLEANUP(buf_release) struct buf text = {0};
    struct err first = {0};
    for (uint32_t i = 0; i < body->placement_count;) {
        struct group g = group_at(a->cell, body, i, &text);
        group_take(a, &g, &first);
        i += g.count;
    }
    for (uint32_t i = 0; i < body->verdict_count; i++)
        take_verdict(a, &body->verdicts[i]);
    if (a->answer->refused > 0)
        answer_say(a, "%u placed, %u refused; the first: %s", a->answer->accepted,
                   a->answer->refused, first.msg);
    else
        answer_say(a, "%u placed", a->answer->accepted);
}
