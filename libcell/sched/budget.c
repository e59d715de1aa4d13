/*
 * budget.c - whom disruption budgets spare from eviction, and in what order victims are chosen.
 *
 * Who asks counts the tasks it would take, one by one, and gives all of them back when it has its
 * answer.
 */
#include "allocs.h"

int view_task_order(const struct view_task *a, const struct view_task *b)
{
    const struct resources *limit_a = view_task_limit(a);
    const struct resources *limit_b = view_task_limit(b);
    for (int r = 0; r < RES_COUNT; r++)
        if (limit_a->v[r] != limit_b->v[r])
            return limit_a->v[r] > limit_b->v[r] ? -1 : 1;
    uint64_t id_a = view_attempt(a).task.v;
    uint64_t id_b = view_attempt(b).task.v;
    return id_a > id_b ? -1 : id_a < id_b;
}

/* Tasks of its job on its machine, or in its alloc, that would be victims before it. */
static uint32_t victims_before(const struct view *view, const struct view_task *task)
{
    uint32_t count = 0;
    LIST_EACH(l, allocs_home(view, task))
    {
        const struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        count += other->job == task->job && !other->stopping && !other->disrupted &&
                 view_task_order(other, task) < 0;
    }
    return count;
}

/* Budgets bind work of their own user only: work of others is of higher priority, else it would not
 * evict, and nobody keeps that off (job_binds()). */
static bool is_counted(const struct view_job *by, const struct view_task *task)
{
    return task->job->budgeted && !task->disrupted && task->job->owner == by->owner;
}

/* Of tasks that are all alike any may be spared; else whoever asks must come to the same ones. */
static bool take_one(const struct view *view, const struct view_job *by,
                     const struct view_task *task)
{
    struct view_job *job = task->job;
    if (!is_counted(by, task))
        return true;
    bool uneven = job->shape_count > 1 || job->limit_old_count > 0;
    uint32_t before = uneven ? MAX(job->taken, victims_before(view, task)) : job->taken;
    if (job->disrupted + before >= job->disruptions_max)
        return false;
    job->taken++;
    return true;
}

bool view_take_victim(const struct view *view, const struct view_job *by,
                      const struct view_task *task)
{
    if (!take_one(view, by, task))
        return false;
    struct list *inside = allocs_inside(task), *l = inside;
    while (l != NULL && (l = l->next) != inside) {
        const struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        if (!other->stopping && !take_one(view, by, other))
            break;
    }
    if (l == inside)
        return true;
    while ((l = l->prev) != inside) { /* not as a whole: give back what was taken */
        const struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        other->job->taken -= !other->stopping && is_counted(by, other);
    }
    task->job->taken -= is_counted(by, task);
    return false;
}

void view_untake(const struct view_task *task)
{
    struct list *inside = allocs_inside(task);
    task->job->taken = 0;
    for (struct list *l = inside; l != NULL && (l = l->next) != inside;)
        CONTAINER_OF(l, struct view_task, link)->job->taken = 0;
}
