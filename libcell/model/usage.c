/*
 * usage.c - what tasks use, and who goes when a machine has no more ram for all.
 *
 * Reservations follow usage (reclaim.h), so other work than production can come to lie where
 * production would need its room back. Ram cannot be shared out later: somebody has to go. Cpu can:
 * that is for the machine to do.
 */
#include "cell_write.h"

#include <stdlib.h>

/* The running task that is meant, and its reserves with this taken note of; NULL: there is none. */
static struct task *usage_note(const struct cell *cell, const struct task_usage *usage,
                               uint64_t now_ms, struct reserve ret[RECLAIM_COUNT])
{
    struct task *task = task_find(cell, usage->task.task);
    if (task == NULL || task->state != TASK_RUNNING || task->attempt != usage->task.attempt ||
        task->machine.v != usage->machine.v)
        return NULL;
    const struct job *job = job_find(cell, task_job(task->id));
    const struct resources *limit = task_limit(job, task);
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        if (usage->used[r] < 0 || usage->used[r] > RESOURCE_AMOUNT_MAX)
            return NULL;
        ret[r] =
            reserve_next(&task->reserves[r], limit->v[r], usage->used[r], task->started_ms, now_ms);
        /* What an alloc has was asked for to be there, used or not. */
        if (task->alloc.v != 0 || job->spec.is_alloc_set)
            ret[r] = (struct reserve){.used = usage->used[r]};
    }
    return task;
}

bool cell_usage_is_news(const struct cell *cell, const struct task_usage *usage, uint64_t now_ms)
{
    struct reserve next[RECLAIM_COUNT];
    const struct task *task = usage_note(cell, usage, now_ms, next);
    bool is_news = false;
    for (int r = 0; r < RECLAIM_COUNT && task != NULL; r++)
        is_news |= reserve_is_news(&task->reserves[r], &next[r],
                                   task_limit(cell_job(cell, task_job(task->id)), task)->v[r]);
    return is_news;
}

static bool take_usage(struct apply *a, const struct task_usage *usage)
{
    struct reserve reserves[RECLAIM_COUNT];
    struct task *task = usage_note(a->cell, usage, a->cell->now_ms, reserves);
    if (task == NULL)
        return false;
    struct task next = *task;
    for (int r = 0; r < RECLAIM_COUNT; r++)
        next.reserves[r] = reserves[r];
    task_set(a, task, &next);
    return true;
}

void apply_usage(struct apply *a, const struct cmd_usage *body)
{
    for (uint32_t i = 0; i < body->task_count; i++) {
        if (take_usage(a, &body->tasks[i]))
            a->answer->accepted++;
        else
            a->answer->refused++;
    }
    answer_say(a, "usage taken: %u, of tasks that do not run: %u", a->answer->accepted,
               a->answer->refused);
}

/* How much too much ram is reserved, and used. */
struct pressure {
    int64_t reserved, used;
};

static struct pressure pressure_on(const struct cell *cell, const struct machine *machine)
{
    int64_t full = machine->capacity.v[RES_RAM] * RAM_FULL_PERCENT / 100;
    return (struct pressure){-cell_room(cell, machine).free.v[RES_RAM],
                             machine->used[RES_RAM] - full};
}

struct candidate {
    struct task *task;
    uint32_t priority;
    bool over; /* uses more than it asked for */
    int64_t kept, used;
};

/* Who goes first: who is over his limit; then the lowest priority, the largest, the newest. */
static int by_order(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->over != b->over)
        return a->over ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->used != b->used)
        return a->used > b->used ? -1 : 1;
    return a->task->id.v > b->task->id.v ? -1 : a->task->id.v < b->task->id.v;
}

/* Production never goes: its limits fit the machine. False: the task may not go. */
static bool candidate_of(const struct cell *cell, struct task *task, struct candidate *ret)
{
    const struct job *job = job_find(cell, task_job(task->id));
    *ret = (struct candidate){.task = task, .priority = job->spec.priority};
    ret->used = task->reserves[RES_RAM].used;
    ret->kept = task->alloc.v != 0 ? 0 : task_kept(job, task).v[RES_RAM];
    ret->over = ret->used > task_limit(job, task)->v[RES_RAM];
    return task->stopping == CAUSE_NONE && !priority_is_prod(job->spec.priority);
}

static bool candidate_helps(const struct candidate *candidate, const struct pressure *pressure)
{
    return (pressure->reserved > 0 && candidate->kept > 0) ||
           (pressure->used > 0 && candidate->used > 0);
}

bool cell_reclaim_due(const struct cell *cell, const struct machine *machine)
{
    if (machine->state != MACHINE_UP || !machine_lacks_ram(machine))
        return false;
    struct pressure pressure = pressure_on(cell, machine);
    struct candidate candidate;
    LIST_EACH(l, &machine->tasks)
    if (candidate_of(cell, CONTAINER_OF(l, struct task, link), &candidate) &&
        candidate_helps(&candidate, &pressure))
        return true;
    return false;
}

void apply_machine_reclaim(struct apply *a, const struct cmd_machine_reclaim *body)
{
    struct machine *machine = machine_find(a->cell, body->machine);
    if (machine == NULL) {
        answer_refuse(a, ERR_NOT_FOUND, "no machine %u", body->machine.v);
        return;
    }
    CLEANUP(free_ptr) struct task **tasks = machine_tasks_by_id(machine);
    CLEANUP(free_ptr)
    struct candidate *all = xcalloc((size_t)machine->task_count + 1, sizeof *all);
    uint32_t count = 0;
    for (uint32_t i = 0; i < machine->task_count; i++)
        count += candidate_of(a->cell, tasks[i], &all[count]);
    qsort(all, count, sizeof *all, by_order);
    for (uint32_t i = 0; i < count; i++) {
        struct pressure pressure = pressure_on(a->cell, machine);
        struct task *task = all[i].task;
        /* Stopped with its alloc meanwhile. */
        if (!task_is_live(task) || task->stopping != CAUSE_NONE ||
            !candidate_helps(&all[i], &pressure))
            continue;
        event_add_task(a, EVENT_EVICTING, task, CAUSE_OUT_OF_RESOURCES, 0,
                       all[i].over ? "it uses more ram than its limit" : "the machine lacks ram");
        task_stop(a, task, CAUSE_OUT_OF_RESOURCES);
        a->answer->accepted++;
    }
    answer_say(a, "machine \"%s\": told to stop for lack of ram: %u", machine->name,
               a->answer->accepted);
}
