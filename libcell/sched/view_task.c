/*
 * view_task.c - the tasks of the view: where each is, what is kept for it there, and what has been
 * decided and is assumed until its row comes by.
 */
#include "allocs.h"
#include "places.h"
#include "view_impl.h"

#include <string.h>

const struct resources *view_task_limit(const struct view_task *task)
{
    return &task->job->limits[task->shape];
}

uint32_t view_task_index(const struct view_task *task)
{
    return (uint32_t)(task - task->job->tasks);
}

struct attempt_ref view_attempt(const struct view_task *task)
{
    return (struct attempt_ref){task_id_of(task->job->id, view_task_index(task)), task->attempt};
}

/* To its machine a task in an alloc is something that may have to be spared, and nothing more. */
static void account_inside(struct view *view, const struct view_task *task, int sign)
{
    uint32_t machine = task->machine;
    allocs_account(task, sign);
    if (sign < 0)
        allocs_tell(view, task->job->inside);
    if (!task->job->budgeted)
        return;
    view->budgeted[machine] += (uint32_t)sign;
    view->budgeted_max = MAX(view->budgeted_max, view->budgeted[machine]);
    view_touch(view, machine);
    if (sign < 0)
        view_improve(view, machine);
}

/* Count a live task in (+1) or out of (-1) what is kept on its machine. */
static void account(struct view *view, const struct view_task *task, int sign)
{
    const struct view_job *job = task->job;
    const struct resources kept = view_task_kept(task), *limit = view_task_limit(task);
    uint32_t machine = task->machine;
    bool evictable = !priority_is_prod(job->priority);
    if (job->inside != NULL) {
        account_inside(view, task, sign);
        return;
    }
    for (int r = 0; r < RES_COUNT; r++) {
        if (limit->v[r] == 0)
            continue;
        view->room[r][machine] -= sign * kept.v[r];
        if (evictable)
            view->evictable[r][machine] += sign * kept.v[r];
        else if (r < RECLAIM_COUNT && view->promised[r] != NULL)
            view->promised[r][machine] += sign * limit->v[r];
    }
    if (job->budgeted)
        view->budgeted[machine] += (uint32_t)sign;
    view->budgeted_max = MAX(view->budgeted_max, view->budgeted[machine]);
    view_derive(view, machine);
    if (sign < 0)
        view_improve(view, machine);
}

void view_task_leave(struct view *view, struct view_task *task)
{
    if (task->state == VIEW_WAITING)
        view_waiting_add(view, task->job, -1);
    if (task->state == VIEW_STUCK)
        view_stuck_add(view, task->job, -1);
    if (task->state == VIEW_LIVE) {
        list_remove(&task->link);
        if (!task->stopping)
            account(view, task, -1);
        places_count(view, task->job, task->machine, -1);
        view_value_freed(view, task->job);
        if (task->job->allocs != NULL)
            allocs_tell(view, task->job->allocs);
        memset(task->reclaimed_percent, 0, sizeof task->reclaimed_percent);
    }
    task->state = VIEW_OVER;
    task->stopping = false;
    task->shape = 0;
}

void view_task_enter(struct view *view, struct view_task *task, const struct view_task *next)
{
    struct view_job *job = task->job;
    task->state = next->state;
    if (next->state == VIEW_WAITING) {
        job->waiting_from = MIN(job->waiting_from, view_task_index(task));
        view_waiting_add(view, job, 1);
    }
    if (next->state == VIEW_STUCK)
        view_stuck_add(view, job, 1);
    if (next->state == VIEW_LIVE) {
        ASSERT(next->machine < view->machine_count);
        task->machine = next->machine;
        task->alloc = next->alloc;
        task->shape = next->shape;
        task->devices = next->devices;
        task->stopping = next->stopping;
        list_push(allocs_home(view, task), &task->link);
        places_count(view, job, task->machine, 1);
        if (!task->stopping)
            account(view, task, 1);
        if (job->allocs != NULL)
            allocs_tell(view, job->allocs);
    }
}

/*
 * What evicting costs changes wherever the job has tasks, and may become possible there: unless the
 * budget has been and is enough for as many tasks as any machine has.
 */
static void set_disrupted(struct view *view, struct view_task *task, bool disrupted)
{
    struct view_job *job = task->job;
    if (task->disrupted == disrupted)
        return;
    task->disrupted = disrupted;
    job->disrupted += disrupted ? 1 : -1U;
    if (!job->budgeted || job->disrupted + view->budgeted_max < job->disruptions_max)
        return;
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct view_task *other = &job->tasks[i];
        if (other->state != VIEW_LIVE || other->stopping)
            continue;
        view_touch(view, other->machine);
        if (!disrupted)
            view_improve(view, other->machine);
    }
}

/* What is reclaimed from a task that is live. */
static void set_reclaimed(struct view *view, struct view_task *task, const struct task *row)
{
    bool same = true, some = false;
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        same &= task->reclaimed_percent[r] == row->reserves[r].reclaimed_percent;
        some |= row->reserves[r].reclaimed_percent > 0;
    }
    if (same || task->state != VIEW_LIVE)
        return;
    if (some && view->promised[0] == NULL)
        view_promises_begin(view);
    if (!task->stopping)
        account(view, task, -1);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        task->reclaimed_percent[r] = (uint8_t)row->reserves[r].reclaimed_percent;
    if (!task->stopping)
        account(view, task, 1);
}

void view_place(struct view *view, struct view_task *task, uint32_t machine, uint32_t alloc,
                uint32_t shape)
{
    struct devices free = task->job->inside == NULL
                              ? view_devices(view, machine)
                              : allocs_room(allocs_get(task->job, alloc)).devices;
    const struct view_task next = {
        .state = VIEW_LIVE,
        .machine = machine,
        .alloc = alloc,
        .shape = (uint8_t)shape,
        .devices = devices_choose(&free, task->job->limits[shape].v[RES_GPU]),
    };
    ASSERT(task->state == VIEW_WAITING);
    view_task_leave(view, task);
    task->attempt++;
    view_task_enter(view, task, &next);
}

static void stop(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_LIVE);
    ASSERT(!task->stopping);
    task->stopping = true;
    account(view, task, -1);
    set_disrupted(view, task, true);
}

static void unstop(struct view *view, struct view_task *task, bool disrupted)
{
    ASSERT(task->stopping);
    task->stopping = false;
    account(view, task, 1);
    set_disrupted(view, task, disrupted);
}

void view_stop(struct view *view, struct view_task *task)
{
    struct list *inside = allocs_inside(task);
    if (inside != NULL && list_empty(inside)) { /* nothing to wait for */
        view_task_leave(view, task);
        set_disrupted(view, task, true);
        view_task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
        return;
    }
    stop(view, task);
    for (struct list *l = inside; l != NULL && (l = l->next) != inside;) {
        struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        other->swept = !other->stopping;
        other->was_disrupted = other->disrupted;
        if (other->swept)
            stop(view, other);
    }
}

void view_unplace(struct view *view, struct view_task *task)
{
    ASSERT(task->state == VIEW_LIVE);
    list_remove(&task->link);
    account(view, task, -1);
    places_count(view, task->job, task->machine, -1);
    task->attempt--;
    task->shape = 0;
    view_task_enter(view, task, &(struct view_task){.state = VIEW_WAITING});
}

void view_unstop(struct view *view, struct view_task *task, bool disrupted)
{
    struct list *inside = allocs_inside(task);
    if (task->state == VIEW_WAITING) {
        struct view_task was = *task; /* but for the state it is as it was */
        was.state = VIEW_LIVE;
        view_task_leave(view, task);
        view_task_enter(view, task, &was);
        set_disrupted(view, task, disrupted);
        return;
    }
    unstop(view, task, disrupted);
    for (struct list *l = inside; l != NULL && (l = l->next) != inside;) {
        struct view_task *other = CONTAINER_OF(l, struct view_task, link);
        if (other->swept)
            unstop(view, other, other->was_disrupted);
    }
}

void view_take_task(struct view *view, const struct task *row)
{
    struct view_job *job = view_job_find(view, task_job(row->id));
    if (job == NULL)
        return; /* of a job that is dead */
    struct view_task *task = &job->tasks[task_index(row->id)];
    const struct view_task next = {
        .state = task_is_live(row)            ? VIEW_LIVE
                 : row->state != TASK_PENDING ? VIEW_OVER
                 : row->not_before_ms != 0    ? VIEW_HELD
                 : task->state == VIEW_STUCK  ? VIEW_STUCK
                                              : VIEW_WAITING,
        .machine = task_is_live(row) ? row->machine.v - 1 : VIEW_NO_MACHINE,
        .alloc = task_index(row->alloc),
        .shape = (uint8_t)row->shape,
        .devices = row->devices,
        .stopping = row->stopping != CAUSE_NONE,
    };
    bool as_assumed =
        next.state == task->state && next.stopping == task->stopping && next.shape == task->shape &&
        (next.state != VIEW_LIVE || (next.machine == task->machine && next.alloc == task->alloc &&
                                     next.devices == task->devices));
    task->attempt = row->attempt;
    memcpy(task->crashed_on, row->crashed_on, sizeof task->crashed_on);
    if (!as_assumed) {
        view_task_leave(view, task);
        view_task_enter(view, task, &next);
    }
    set_reclaimed(view, task, row);
    set_disrupted(view, task, task_is_disrupted(row));
}
