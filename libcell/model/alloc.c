/*
 * alloc.c - allocs: room that is reserved on machines for the tasks of jobs to come.
 *
 * An alloc is a task of an alloc set, and is placed, moved and evicted as any task; but nothing of
 * it runs. What is inside counts against the alloc's limit and not against the machine, and ends
 * with it: told to stop when the alloc is, for the same cause; the alloc goes when the last is
 * gone. So whoever wants an alloc to go asks the disruption budgets of all that is inside. Borg
 * paper, section 2.4.
 */
#include "cell_write.h"

#include <stdlib.h>
#include <string.h>

const struct job *cell_alloc_set(const struct cell *cell, const struct job_spec *spec)
{
    const struct job *set = cell_job_named(cell, spec->alloc_set);
    bool right = set != NULL && !job_is_dead(set) && !set->killed && set->spec.is_alloc_set &&
                 strcmp(set->spec.user, spec->user) == 0;
    return right ? set : NULL;
}

int alloc_set_check(const struct cell *cell, const struct job_spec *spec, struct err *err)
{
    if (spec->alloc_set[0] == '\0')
        return 0;
    const struct job *named = cell_job_named(cell, spec->alloc_set);
    const struct job *set = cell_alloc_set(cell, spec);
    if (named == NULL || job_is_dead(named) || named->killed)
        return err_set(err, ERR_NOT_FOUND, "there is no alloc set \"%s\"; submit it first",
                       spec->alloc_set);
    if (set == NULL && !named->spec.is_alloc_set)
        return err_set(err, ERR_INVALID, "alloc_set: \"%s\" is a job like any other",
                       spec->alloc_set);
    if (set == NULL)
        return err_set(err, ERR_DENIED, "alloc set \"%s\" is of user \"%s\"", spec->alloc_set,
                       named->spec.user);
    for (enum resource r = 0; r < RES_COUNT; r++)
        if (spec->limit.v[r] > set->spec.limit.v[r])
            return err_set(err, ERR_INVALID, "a task asks for more %s than an alloc of \"%s\" has",
                           resource_name(r, &spec->resource_names), spec->alloc_set);
    return 0;
}

static bool is_inside(const struct task *task, const struct task *alloc)
{
    return task->alloc.v == alloc->id.v;
}

struct room alloc_room(const struct cell *cell, const struct task *alloc)
{
    struct room room;
    ASSERT(task_is_live(alloc));
    room_init_alloc(&room, task_limit(job_find(cell, task_job(alloc->id)), alloc), alloc->devices);
    LIST_EACH(l, &machine_find(cell, alloc->machine)->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (is_inside(task, alloc) && task->stopping == CAUSE_NONE)
            room_take(&room, task_limit(job_find(cell, task_job(task->id)), task), task->devices);
    }
    return room;
}

static bool is_empty(const struct cell *cell, const struct task *alloc)
{
    LIST_EACH(l, &machine_find(cell, alloc->machine)->tasks)
    if (is_inside(CONTAINER_OF(l, struct task, link), alloc))
        return false;
    return true;
}

void alloc_stop(struct apply *a, const struct task *alloc)
{
    const struct machine *machine = machine_find(a->cell, alloc->machine);
    CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
    uint32_t count = machine->task_count;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_inside(tasks[i], alloc) || tasks[i]->stopping != CAUSE_NONE)
            continue;
        event_add_task(a, EVENT_EVICTING, tasks[i], alloc->stopping, 0, "with its alloc");
        task_stop(a, tasks[i], alloc->stopping);
    }
    alloc_settle(a, alloc->id);
}

void alloc_note_inside(const struct cell *cell, const struct task *alloc, struct changes *changes)
{
    LIST_EACH(l, &machine_find(cell, alloc->machine)->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (is_inside(task, alloc))
            changes_note_task(changes, task->id);
    }
}

void alloc_settle(struct apply *a, task_id id)
{
    struct task *alloc = task_find(a->cell, id);
    if (task_is_live(alloc) && alloc->stopping != CAUSE_NONE && is_empty(a->cell, alloc))
        task_stopped(a, alloc, 0, "");
}

static const char *inside_wrong(const struct cell *cell, const struct job *job,
                                const struct task *task)
{
    const struct task *alloc = task_find(cell, task->alloc);
    const struct job *set = alloc == NULL ? NULL : job_find(cell, task_job(alloc->id));
    if (set == NULL || !set->spec.is_alloc_set || !task_is_live(alloc))
        return "its alloc is none";
    if (strcmp(set->spec.name, job->spec.alloc_set) != 0 ||
        strcmp(set->spec.user, job->spec.user) != 0)
        return "its alloc is of another set";
    if (alloc->machine.v != task->machine.v)
        return "its alloc is on another machine";
    if ((task->devices & ~alloc->devices) != 0)
        return "it has gpus that its alloc has not";
    return alloc->stopping != CAUSE_NONE && task->stopping == CAUSE_NONE
               ? "its alloc stops, and it does not"
               : NULL;
}

const char *alloc_wrong(const struct cell *cell, const struct task *task)
{
    const struct job *job = job_find(cell, task_job(task->id));
    if ((job->spec.alloc_set[0] != '\0') != (task->alloc.v != 0))
        return task->alloc.v != 0 ? "in an alloc that its job did not ask for" : "not in an alloc";
    if (task->alloc.v != 0)
        return inside_wrong(cell, job, task);
    if (!job->spec.is_alloc_set)
        return NULL;
    struct room room = alloc_room(cell, task);
    return task->state != TASK_RUNNING                            ? "an alloc that does not run"
           : !room_sound(&room)                                   ? "holds more than it has"
           : task->stopping != CAUSE_NONE && is_empty(cell, task) ? "empty and told to stop"
                                                                  : NULL;
}

void leaving_release(struct leaving *leaving)
{
    free(leaving->tasks);
}

static bool leaving_take(struct leaving *leaving, const struct cell *cell, const struct task *task)
{
    const struct job *job = job_find(cell, task_job(task->id));
    uint32_t before = 0;
    if (job->spec.disruptions_max == 0 || task_is_disrupted(task))
        return true;
    for (uint32_t i = 0; i < leaving->count; i++)
        before += task_job(leaving->tasks[i]->id).v == job->id.v;
    if (leaving->count == leaving->capacity) {
        leaving->capacity = MAX(2 * leaving->capacity, 8U);
        leaving->tasks = xrealloc(leaving->tasks, leaving->capacity, sizeof(struct task *));
    }
    leaving->tasks[leaving->count++] = task;
    return job_may_disrupt(job, task, before);
}

const struct task *leaving_add(struct leaving *leaving, const struct cell *cell,
                               const struct task *task)
{
    uint32_t count = leaving->count;
    const struct task *spared = leaving_take(leaving, cell, task) ? NULL : task;
    if (spared == NULL && job_find(cell, task_job(task->id))->spec.is_alloc_set) {
        const struct machine *machine = machine_find(cell, task->machine);
        CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
        for (uint32_t i = 0; i < machine->task_count && spared == NULL; i++)
            if (is_inside(tasks[i], task) && tasks[i]->stopping == CAUSE_NONE &&
                !leaving_take(leaving, cell, tasks[i]))
                spared = tasks[i];
    }
    if (spared != NULL)
        leaving->count = count;
    return spared;
}
