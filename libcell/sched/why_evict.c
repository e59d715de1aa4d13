/*
 * why_evict.c - who would have to go from a machine for a task to fit there, and what forbids it.
 */
#include "why_evict.h"

#include "fit.h"

#include <stdlib.h>

const char *why_bar_text(enum why_bar bar)
{
    switch (bar) {
    case BAR_NONE:
        return "may be evicted";
    case BAR_BUDGET:
        return "its job has no disruption left";
    case BAR_PRIORITY:
        return "its priority is not lower";
    case BAR_PROD:
        return "production is never evicted";
    case BAR_SIZE:
    case BAR_COUNT:
        break;
    }
    UNREACHABLE("bar of a task");
}

/* Budgets aside. */
static enum why_bar bar_between(const struct job *job, const struct job *victim)
{
    if (priority_is_prod(victim->spec.priority))
        return BAR_PROD;
    return priority_may_evict(job->spec.priority, victim->spec.priority) ? BAR_NONE : BAR_PRIORITY;
}

enum why_bar why_bar_of(const struct cell *cell, const struct job *job,
                        const struct resources *need, const struct machine *machine,
                        struct room room)
{
    struct room without[BAR_SIZE]; /* this bar and those before it */
    struct resources gone[BAR_SIZE] = {0};
    CLEANUP(leaving_release) struct leaving leaving = {0};
    for (enum why_bar bar = BAR_NONE; bar < BAR_SIZE; bar++)
        without[bar] = room;
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct job *victim = cell_job(cell, task_job(task->id));
        if (task->stopping != CAUSE_NONE || task->alloc.v != 0)
            continue;
        enum why_bar bar = bar_between(job, victim);
        struct resources kept = task_kept(victim, task);
        if (bar == BAR_NONE && job_binds(victim, job) && leaving_add(&leaving, cell, task) != NULL)
            bar = BAR_BUDGET;
        if (bar == BAR_PROD)
            resources_add(&gone[bar], task_limit(victim, task));
        for (; bar < BAR_SIZE; bar++)
            room_give(&without[bar], &kept, task->devices);
    }
    for (enum why_bar bar = BAR_NONE; bar < BAR_SIZE; bar++) {
        struct resources free = fit_free(job, machine, &without[bar], &gone[bar]);
        if (resources_fit(need, &free))
            return bar;
    }
    return BAR_SIZE;
}

struct candidate {
    const struct task *task;
    const struct job *job;
    const struct resources *limit; /* what it holds */
    enum why_bar bar;
};

/* Who may go first; then as the scheduler chooses: lower priority, larger, newer. */
static int by_choice(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->bar != b->bar)
        return a->bar < b->bar ? -1 : 1;
    if (a->job->spec.priority != b->job->spec.priority)
        return a->job->spec.priority < b->job->spec.priority ? -1 : 1;
    for (int r = 0; r < RES_COUNT; r++)
        if (a->limit->v[r] != b->limit->v[r])
            return a->limit->v[r] > b->limit->v[r] ? -1 : 1;
    return a->task->id.v > b->task->id.v ? -1 : a->task->id.v < b->task->id.v;
}

/* The caller frees it. */
static struct candidate *candidates_of(const struct cell *cell, const struct job *job,
                                       const struct machine *machine, uint32_t *ret_count)
{
    struct candidate *all = xcalloc((size_t)machine->task_count + 1, sizeof *all);
    uint32_t count = 0;
    CLEANUP(leaving_release) struct leaving leaving = {0};
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct job *victim = cell_job(cell, task_job(task->id));
        if (task->stopping == CAUSE_NONE && task->alloc.v == 0)
            all[count++] = (struct candidate){task, victim, task_limit(victim, task),
                                              bar_between(job, victim)};
    }
    qsort(all, count, sizeof *all, by_choice);
    for (uint32_t i = 0; i < count && all[i].bar == BAR_NONE; i++)
        if (job_binds(all[i].job, job) && leaving_add(&leaving, cell, all[i].task) != NULL)
            all[i].bar = BAR_BUDGET;
    qsort(all, count, sizeof *all, by_choice);
    *ret_count = count;
    return all;
}

/* What is free with some of the candidates gone. */
struct space {
    const struct job *job;
    const struct resources *need;
    const struct machine *machine;
    struct room room;
    struct resources gone; /* production */
};

static void space_move(struct space *space, const struct candidate *candidate, bool goes)
{
    struct resources kept = task_kept(candidate->job, candidate->task);
    bool prod = candidate->bar == BAR_PROD;
    if (goes)
        room_give(&space->room, &kept, candidate->task->devices);
    else
        room_take(&space->room, &kept, candidate->task->devices);
    if (prod && goes)
        resources_add(&space->gone, candidate->limit);
    else if (prod)
        resources_subtract(&space->gone, candidate->limit);
}

static bool space_fits(const struct space *space)
{
    struct resources free = fit_free(space->job, space->machine, &space->room, &space->gone);
    return resources_fit(space->need, &free);
}

/* The first that make room, without those that turn out not to be needed: how many. */
static uint32_t candidates_reduce(struct candidate *all, uint32_t count, struct space space)
{
    uint32_t taken = 0;
    while (!space_fits(&space)) {
        ASSERT(taken < count);
        space_move(&space, &all[taken++], true);
    }
    for (uint32_t i = taken; i-- > 0;) {
        struct space without = space;
        space_move(&without, &all[i], false);
        if (!space_fits(&without))
            continue;
        space = without;
        all[i].task = NULL; /* it may stay */
    }
    uint32_t going = 0;
    for (uint32_t i = 0; i < taken; i++)
        if (all[i].task != NULL)
            all[going++] = all[i];
    return going;
}

struct why_eviction why_eviction_of(const struct cell *cell, const struct job *job,
                                    const struct resources *need, const struct machine *machine,
                                    struct room room)
{
    uint32_t count;
    CLEANUP(free_ptr) struct candidate *all = candidates_of(cell, job, machine, &count);
    struct why_eviction e = {.machine = machine->id};
    e.victim_count = candidates_reduce(all, count, (struct space){job, need, machine, room, {{0}}});
    for (uint32_t i = 0; i < e.victim_count; i++) {
        e.bar = MAX(e.bar, all[i].bar);
        if (i < WHY_VICTIMS_MAX)
            e.victims[i] =
                (struct why_victim){all[i].task->id, all[i].job->spec.priority, all[i].bar};
    }
    return e;
}
