/*
 * task.c - texts and predicates of the task table. The moves are made in row_set.c.
 */
#include "task.h"

#include <string.h>

bool task_is_live(const struct task *task)
{
    return task->state == TASK_ASSIGNED || task->state == TASK_RUNNING;
}

bool task_holds(const struct task *task)
{
    return task_is_live(task) && task->not_before_ms != 0;
}

void task_reset_failures(struct task *task)
{
    task->by_eviction = false;
    task->failures = 0;
    memset(task->crashed_on, 0, sizeof task->crashed_on);
}

static bool is_voluntary(enum cause cause)
{
    return cause == CAUSE_PREEMPTED || cause == CAUSE_DRAIN || cause == CAUSE_UPDATE;
}

bool task_is_disrupted(const struct task *task)
{
    if (task->stopping != CAUSE_NONE)
        return is_voluntary(task->stopping);
    return (task->state == TASK_PENDING || task->state == TASK_ASSIGNED) &&
           is_voluntary(task->cause);
}

bool task_is_outdated(const struct task *task)
{
    return (task->shape >= SPEC_SHAPES_MAX || task->restart) && task->stopping == CAUSE_NONE;
}

bool task_is_final(const struct task *task)
{
    return task->state == TASK_FINISHED || task->state == TASK_FAILED || task->state == TASK_KILLED;
}

bool task_may_move(enum task_state from, enum task_state to)
{
    static const uint32_t arrows[TASK_STATE_COUNT] = {
        [TASK_PENDING] =
            BIT(TASK_ASSIGNED) | BIT(TASK_RUNNING) | BIT(TASK_KILLED) | BIT(TASK_UNWANTED) |
            BIT(TASK_FINISHED), /* its attempt was lost with its machine, and is found ended */
        /* A short task may end before anybody saw it running. */
        [TASK_ASSIGNED] = BIT(TASK_PENDING) | BIT(TASK_RUNNING) | BIT(TASK_FINISHED) |
                          BIT(TASK_FAILED) | BIT(TASK_KILLED) | BIT(TASK_UNWANTED),
        [TASK_RUNNING] = BIT(TASK_PENDING) | BIT(TASK_ASSIGNED) | BIT(TASK_FINISHED) |
                         BIT(TASK_FAILED) | BIT(TASK_KILLED) | BIT(TASK_UNWANTED),
        /* Of a job on every machine, when its machine is removed. */
        [TASK_FINISHED] = BIT(TASK_UNWANTED),
        [TASK_FAILED] = BIT(TASK_UNWANTED),
        [TASK_KILLED] = BIT(TASK_PENDING),
        [TASK_UNWANTED] = BIT(TASK_PENDING),
    };
    ASSERT(from < TASK_STATE_COUNT);
    ASSERT(to < TASK_STATE_COUNT);
    return (arrows[from] & BIT(to)) != 0;
}
