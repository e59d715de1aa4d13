/*
 * row_set.c - the one place where rows of machines, jobs and tasks change.
 */
#include "cell_write.h"

#include <stdlib.h>

static void machine_rehash(struct cell *cell, struct machine *machine)
{
    uint64_t hash = machine_row_hash(machine);
    cell->digest_sum += hash - machine->row_hash;
    machine->row_hash = hash;
    cell_list_clearing(cell, machine);
}

static void job_rehash(struct cell *cell, struct job *job)
{
    uint64_t hash = job_row_hash(job);
    cell->digest_sum += hash - job->row_hash;
    job->row_hash = hash;
}

void touch_flush(struct apply *a)
{
    if (a->machine != NULL)
        machine_rehash(a->cell, a->machine);
    if (a->job != NULL)
        job_rehash(a->cell, a->job);
    a->machine = NULL;
    a->job = NULL;
}

void machine_touch(struct apply *a, struct machine *machine)
{
    machine->changed_ms = a->cell->now_ms;
    if (a->machine == machine)
        return;
    if (a->machine != NULL)
        machine_rehash(a->cell, a->machine);
    a->machine = machine;
    changes_note_machine(a->changes, machine->id);
}

void machine_describe(struct machine *machine, const struct words *attributes,
                      const struct words *labels)
{
    struct words attributes_copy = words_copy(attributes), labels_copy = words_copy(labels);
    words_release(&machine->attributes);
    words_release(&machine->labels);
    machine->attributes = attributes_copy;
    machine->labels = labels_copy;
    machine->attributes_hash = attributes_row_hash(machine);
}

void job_touch(struct apply *a, struct job *job)
{
    job->changed_ms = a->cell->now_ms;
    job_note(a, job);
}

void job_note(struct apply *a, struct job *job)
{
    if (a->job == job)
        return;
    if (a->job != NULL)
        job_rehash(a->cell, a->job);
    a->job = job;
    changes_note_job(a->changes, job->id);
}

void machine_count(struct machine *machine, const struct job *job, const struct task *task,
                   int sign)
{
    if (!task_is_live(task))
        return;
    bool stopping = task->stopping != CAUSE_NONE;
    machine->task_count += (uint32_t)sign;
    for (int r = 0; r < RECLAIM_COUNT && !stopping; r++)
        machine->used[r] += sign * task->reserves[r].used;
    if (task->alloc.v != 0)
        return; /* its alloc has reserved for it */
    const struct resources *limit = task_limit(job, task);
    struct resources kept = task_kept(job, task);
    for (int r = 0; r < RES_COUNT; r++) {
        machine->reserved.v[r] += sign * limit->v[r];
        machine->stopping.v[r] += stopping ? sign * limit->v[r] : 0;
        if (r < RECLAIM_COUNT && !stopping)
            machine->reclaimed[r] += sign * (limit->v[r] - kept.v[r]);
        if (!stopping && priority_is_prod(job->spec.priority))
            machine->promised.v[r] += sign * limit->v[r];
    }
}

static void machine_account(struct apply *a, const struct job *job, const struct task *was,
                            const struct task *next)
{
    bool was_live = task_is_live(was);
    bool is_live = task_is_live(next);
    if (!was_live && !is_live)
        return;
    struct machine *machine = machine_find(a->cell, was_live ? was->machine : next->machine);
    ASSERT(machine != NULL);
    machine_touch(a, machine);
    machine_count(machine, job, was, -1);
    machine_count(machine, job, next, 1);
    if (was_live != is_live)
        job_count_at(job, machine, is_live ? 1 : -1);
}

static void job_account(struct apply *a, struct job *job, const struct task *was,
                        const struct task *next)
{
    job->counts[was->state]--;
    job->counts[next->state]++;
    a->cell->pending_tasks -= was->state == TASK_PENDING;
    a->cell->pending_tasks += next->state == TASK_PENDING;
    job->stopping -= was->stopping != CAUSE_NONE;
    job->stopping += next->stopping != CAUSE_NONE;
    job->disrupted -= task_is_disrupted(was);
    job->disrupted += task_is_disrupted(next);
    job->outdated -= task_is_outdated(was);
    job->outdated += task_is_outdated(next);
    cell_list_updating(a->cell, job);
    if (job->counts[TASK_PENDING] == 0)
        job->reason[0] = '\0';
    job_touch(a, job);
    if (was->state != TASK_UNWANTED && next->state == TASK_UNWANTED)
        account_remove(a->cell, &job->spec, 1);
    if (was->state == TASK_UNWANTED && next->state != TASK_UNWANTED)
        account_add(a->cell, &job->spec, 1);
    if (!task_is_final(was) && job_is_dead(job))
        cell_add_dead(a->cell, job);
}

static struct list *list_of(struct cell *cell, const struct task *task)
{
    return task_is_live(task) ? &machine_find(cell, task->machine)->tasks : NULL;
}

/* The links of a row stay what they are when the row becomes another. */
static void task_become(struct cell *cell, struct task *task, const struct task *next)
{
    struct list *from = list_of(cell, task), *to = list_of(cell, next);
    bool waits_anew = task->not_before_ms != next->not_before_ms;
    if (from != to && from != NULL)
        list_remove(&task->link);
    if (waits_anew)
        list_remove(&task->waiting);
    struct list link = task->link, waiting = task->waiting;
    *task = *next;
    task->link = link;
    task->waiting = waiting;
    if (from != to)
        list_init(&task->link);
    if (from != to && to != NULL)
        list_push(to, &task->link);
    if (waits_anew)
        list_init(&task->waiting);
    if (waits_anew && next->not_before_ms != 0)
        list_push(cell_backoff_slot(cell, next->not_before_ms), &task->waiting);
}

void task_set(struct apply *a, struct task *task, const struct task *next)
{
    struct cell *cell = a->cell;
    struct job *job = job_find(cell, task_job(task->id));
    struct task was = *task;
    ASSERT(was.id.v == next->id.v);
    ASSERT(was.state == next->state || task_may_move(was.state, next->state));
    ASSERT(task_is_live(next) == (next->machine.v != 0));
    ASSERT_IMPLIES(next->stopping != CAUSE_NONE, task_is_live(next));
    ASSERT(devices_mask_valid(next->devices,
                              task_is_live(next) ? task_limit(job, next)->v[RES_GPU] : 0));
    ASSERT_IMPLIES(next->shape != 0, task_is_live(next));
    ASSERT_IMPLIES(next->not_before_ms != 0,
                   next->state == TASK_PENDING || next->state == TASK_ASSIGNED);
    ASSERT_IMPLIES(task_holds(next), next->stopping == CAUSE_NONE && next->alloc.v == 0);
    ASSERT_IMPLIES(next->alloc.v != 0, task_is_live(next));
    ASSERT_IMPLIES(task_is_live(&was) && task_is_live(next), was.machine.v == next->machine.v);

    task_become(cell, task, next);
    task->changed_ms = cell->now_ms;
    task->row_hash = task_row_hash(task);
    cell->digest_sum += task->row_hash - was.row_hash;
    job->tasks_hash += task->row_hash - was.row_hash;
    changes_note_task(a->changes, task->id);
    machine_account(a, job, &was, task);
    job_account(a, job, &was, task);
}

/* Nothing of the attempt runs. */
static void attempt_over(struct task *next, enum cause cause, int32_t exit_code)
{
    next->cause = cause;
    next->stopping = CAUSE_NONE;
    next->pid = 0;
    next->exit_code = exit_code;
    next->not_before_ms = 0;
    next->started_ms = 0;
    for (int i = 0; i < SPEC_PORTS_MAX; i++)
        next->ports[i] = 0;
    for (int r = 0; r < RECLAIM_COUNT; r++)
        next->reserves[r] = (struct reserve){0};
}

void task_end(struct apply *a, struct task *task, enum task_state state, enum cause cause,
              int32_t exit_code)
{
    struct task next = *task;
    task_id alloc = task->alloc;
    struct job *job = job_find(a->cell, task_job(task->id));
    bool unwanted =
        state == TASK_PENDING && job->spec.every_machine &&
        !system_wants(job, machine_find(a->cell, (machine_id){task_index(task->id) + 1}));
    next.state = unwanted ? TASK_UNWANTED : state;
    next.machine = (machine_id){0};
    next.alloc = (task_id){0};
    next.shape = 0;
    next.restart = false;
    next.devices = 0;
    attempt_over(&next, cause, exit_code);
    task_set(a, task, &next);
    if (alloc.v != 0)
        alloc_settle(a, alloc);
}

void task_hold(struct apply *a, struct task *task, enum cause cause, int32_t exit_code,
               uint64_t not_before_ms)
{
    struct task next = *task;
    next.state = TASK_ASSIGNED;
    attempt_over(&next, cause, exit_code);
    next.not_before_ms = not_before_ms;
    task_set(a, task, &next);
}

void task_let_go(struct apply *a, struct task *task, enum cause why, uint64_t not_before_ms)
{
    const struct job *job = job_find(a->cell, task_job(task->id));
    bool wanted = !job->killed && task_index(task->id) < job->spec.replicas;
    ASSERT(task_holds(task));
    if (why == CAUSE_KILLED && !wanted) {
        event_add_task(a, EVENT_KILLED, task, CAUSE_KILLED, 0, "");
        task_end(a, task, TASK_KILLED, CAUSE_KILLED, task->exit_code);
        return;
    }
    task_end(a, task, TASK_PENDING, task->cause, task->exit_code);
    if (task->state != TASK_PENDING || not_before_ms == 0)
        return; /* not wanted there any more */
    struct task next = *task;
    next.not_before_ms = not_before_ms;
    task_set(a, task, &next);
}

enum task_state task_stopped_state(const struct cell *cell, const struct task *task)
{
    const struct job *job = job_find(cell, task_job(task->id));
    bool wanted = !job->killed && task_index(task->id) < job->spec.replicas;
    return task->stopping == CAUSE_KILLED && !wanted ? TASK_KILLED : TASK_PENDING;
}

void task_stopped(struct apply *a, struct task *task, int32_t exit_code, const char *detail)
{
    enum cause cause = task->stopping;
    enum task_state state = task_stopped_state(a->cell, task);
    event_add_task(a, state == TASK_KILLED ? EVENT_KILLED : EVENT_EVICTED, task, cause, exit_code,
                   detail);
    task_end(a, task, state, cause, exit_code);
}

void task_stop(struct apply *a, struct task *task, enum cause cause)
{
    ASSERT(task_is_live(task));
    if (task_holds(task)) { /* nothing to wait for */
        task_let_go(a, task, cause, task->not_before_ms);
        return;
    }
    struct task next = *task;
    next.stopping = cause;
    task_set(a, task, &next);
    if (job_find(a->cell, task_job(task->id))->spec.is_alloc_set)
        alloc_stop(a, task);
}

static int by_id(const void *x, const void *y)
{
    const struct task *a = *(struct task *const *)x;
    const struct task *b = *(struct task *const *)y;
    if ((a->alloc.v != 0) != (b->alloc.v != 0))
        return a->alloc.v != 0 ? 1 : -1;
    return a->id.v < b->id.v ? -1 : a->id.v > b->id.v;
}

struct task **machine_tasks_by_id(const struct machine *machine)
{
    struct task **tasks = xcalloc(machine->task_count, sizeof(struct task *));
    uint32_t count = 0;
    LIST_EACH(l, &machine->tasks)
    tasks[count++] = CONTAINER_OF(l, struct task, link);
    ASSERT(count == machine->task_count);
    qsort(tasks, count, sizeof(struct task *), by_id);
    return tasks;
}
