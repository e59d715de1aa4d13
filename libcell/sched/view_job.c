/*
 * view_job.c - the jobs of the view: they come, change and go as their rows say.
 */
#include "allocs.h"
#include "places.h"
#include "view_impl.h"

#include <stdlib.h>
#include <string.h>

struct view_job *view_job_find(const struct view *view, job_id id)
{
    return id.v == 0 ? NULL : idmap_get(&view->jobs_by_id, id.v);
}

/* Would evicting from such a job be bounded by its budget? What is inside goes with its alloc,
 * whatever its own priority. */
static bool is_budgeted(const struct job *row)
{
    uint32_t max = row->spec.disruptions_max;
    bool may_go = !priority_is_prod(row->spec.priority) || row->spec.alloc_set[0] != '\0';
    return max != 0 && max < row->spec.replicas && may_go;
}

/* Rows for all its tasks. A job on every machine grows one by one: they move when doubled. */
static void tasks_reserve(struct view_job *job, uint32_t count)
{
    if (job->tasks == NULL || count > job->task_capacity) {
        job->task_capacity = MAX(MAX(count, 1U), job->every_machine ? 2 * job->task_capacity : 0);
        struct view_task *tasks = xcalloc(job->task_capacity, sizeof *tasks);
        for (uint32_t i = 0; i < job->task_count; i++) {
            tasks[i] = job->tasks[i];
            list_replace(&job->tasks[i].link, &tasks[i].link);
        }
        free(job->tasks);
        job->tasks = tasks;
    }
    for (; job->task_count < count; job->task_count++) {
        job->tasks[job->task_count].job = job;
        list_init(&job->tasks[job->task_count].link);
    }
}

/* Of a large job that comes or grows the rows of tasks come with several deltas: there is room for
 * all of them from the first on. */
static uint32_t rows_of(const struct job *row)
{
    return MAX(row->task_count, row->spec.replicas);
}

static struct view_job *job_add(struct view *view, const struct job *row)
{
    struct view_job *job = xcalloc(1, sizeof *job);
    job->id = row->id;
    job->priority = row->spec.priority;
    job->follows_cell = row->spec.policy == POLICY_OF_CELL;
    job->policy = job->follows_cell ? view->policy : row->spec.policy;
    job->replicas = row->spec.replicas;
    job->gang = row->spec.gang;
    job->shape_count = spec_shape_count(&row->spec);
    for (uint32_t i = 0; i < job->shape_count; i++)
        job->limits[i] = *spec_shape(&row->spec, i);
    job->limit_old_count = row->limit_old_count;
    memcpy(&job->limits[SPEC_SHAPES_MAX], row->limits_old, sizeof row->limits_old);
    job->disruptions_max = row->spec.disruptions_max;
    job->budgeted = is_budgeted(row);
    job->every_machine = row->spec.every_machine;
    list_init(&job->system);
    if (job->every_machine)
        list_push(&view->system_jobs, &job->system);
    places_add(view, job, &row->spec);
    scarce_count(view, job, 1);
    tasks_reserve(job, rows_of(row));
    list_init(&job->blocked_link);
    list_init(&job->unsaid);
    list_push(&view->jobs, &job->link);
    idmap_put(&view->jobs_by_id, job->id.v, job);
    queue_add(view, job, row->spec.user);
    allocs_add(view, job, &row->spec);
    return job;
}

void view_job_remove(struct view *view, struct view_job *job)
{
    for (uint32_t i = 0; i < job->task_count; i++)
        view_task_leave(view, &job->tasks[i]);
    allocs_remove(view, job);
    queue_remove(view, job);
    scarce_count(view, job, -1);
    places_remove(view, job);
    idmap_remove(&view->jobs_by_id, job->id.v);
    list_remove(&job->blocked_link);
    list_remove(&job->unsaid);
    list_remove(&job->link);
    list_remove(&job->system);
    free(job->tasks);
    free(job);
}

static bool is_resized(const struct view_job *job, const struct job *row)
{
    return memcmp(&job->limits[0], &row->spec.limit, sizeof row->spec.limit) != 0 ||
           memcmp(&job->limits[SPEC_SHAPES_MAX], row->limits_old, sizeof row->limits_old) != 0;
}

/* Its place in the queue, who may evict it and how many tasks it has are all in the row: it begins
 * anew, with its tasks as they are; without those that are live and whose limit has become another:
 * their rows come with this one, those of the others perhaps not. */
static struct view_job *job_renew(struct view *view, struct view_job *old, const struct job *row)
{
    uint32_t count = old->task_count;
    struct resources limits[ARRAY_SIZE(old->limits)];
    memcpy(limits, old->limits, sizeof limits);
    CLEANUP(free_ptr) struct view_task *tasks = xcalloc(count, sizeof *tasks);
    memcpy(tasks, old->tasks, count * sizeof *tasks);
    view_job_remove(view, old);
    struct view_job *job = job_add(view, row);
    ASSERT(job->task_count >= count);
    for (uint32_t i = 0; i < count; i++) {
        struct view_task *task = &job->tasks[i];
        task->attempt = tasks[i].attempt;
        memcpy(task->crashed_on, tasks[i].crashed_on, sizeof task->crashed_on);
        task->disrupted = tasks[i].disrupted;
        job->disrupted += task->disrupted;
        memcpy(task->reclaimed_percent, tasks[i].reclaimed_percent, sizeof task->reclaimed_percent);
        if (tasks[i].state == VIEW_STUCK) /* it may evict more, or ask for less now */
            tasks[i].state = VIEW_WAITING;
        uint32_t shape = tasks[i].shape;
        if (tasks[i].state == VIEW_LIVE &&
            memcmp(&limits[shape], &job->limits[shape], sizeof limits[shape]) != 0)
            tasks[i].state = VIEW_OVER;
        view_task_enter(view, task, &tasks[i]);
    }
    return job;
}

void view_take_job(struct view *view, const struct job *row)
{
    struct view_job *job = view_job_find(view, row->id);
    if (job_is_dead(row)) {
        if (job != NULL)
            view_job_remove(view, job);
        return;
    }
    if (job == NULL)
        job = job_add(view, row);
    else if (is_resized(job, row) || job->priority != row->spec.priority ||
             job->budgeted != is_budgeted(row) ||
             (job->replicas != row->spec.replicas && !job->every_machine))
        job = job_renew(view, job, row);
    tasks_reserve(job, rows_of(row));
    job->replicas = row->spec.replicas;
    /* A reason that was lost on the way (its command was refused or not committed) is told again.
     */
    bool lost = row->reason[0] == '\0' || strcmp(job->reason, row->reason) != 0;
    if ((job->blocked || job->stuck > 0) && lost && list_empty(&job->unsaid))
        list_push(&view->unsaid, &job->unsaid);
    if (strcmp(job->reason, row->reason) != 0)
        job->reason_kind = 0;
    str_copy(job->reason, sizeof job->reason, row->reason);
    allocs_take(view, job, row);
}

void view_take_policy(struct view *view, enum policy policy)
{
    view->policy = policy;
    LIST_EACH(l, &view->jobs)
    {
        struct view_job *job = CONTAINER_OF(l, struct view_job, link);
        if (job->follows_cell)
            job->policy = policy;
    }
}
