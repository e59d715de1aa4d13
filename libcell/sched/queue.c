/*
 * queue.c - who is next: by priority, then users in turn, then large tasks first, then job id.
 *
 * What is left between large tasks has room for small ones, not the other way round: a user's jobs
 * of one priority are taken by the size of their tasks, halving from level to level, so that small
 * jobs are not reordered for nothing. README.md says what it brings.
 *
 * A job stays in its queue as long as it is known; the ready counts say where looking is worth it.
 */
#include "view.h"

#include <stdlib.h>

static struct level *level_of(struct view *view, const struct view_job *job)
{
    ASSERT(job->priority <= PRIORITY_MAX);
    return &view->levels[job->priority];
}

/* By its best shape; 0: a task takes half of the largest machine or more, in one resource; 1: a
 * quarter; and so on. The last level is for all that is smaller: there it no longer matters. */
static uint8_t size_level(const struct view *view, const struct view_job *job)
{
    uint64_t share = 1;
    for (enum resource r = 0; r < RES_COUNT; r++)
        share = MAX(share, (uint64_t)view_normal(view, r, job->limits[0].v[r]));
    share += share >> 10; /* a share is rounded down: let a quarter be one */
    int level = VIEW_NORMAL_BITS - 1 - (63 - __builtin_clzll(share));
    return (uint8_t)MIN(MAX(level, 0), QUEUE_LEVELS - 1);
}

static struct view_job *job_at(struct list *queued)
{
    return CONTAINER_OF(queued, struct view_job, queued);
}

static bool is_before(const struct view_job *a, const struct view_job *b)
{
    return a->size_level != b->size_level ? a->size_level < b->size_level : a->id.v < b->id.v;
}

/* Ids come in order: the end of its level is the place, nearly always. */
static void insert(struct queue *queue, struct view_job *job)
{
    int level = job->size_level;
    while (level > 0 && queue->last[level] == NULL)
        level--;
    struct list *after = queue->last[level] == NULL ? &queue->jobs : &queue->last[level]->queued;
    while (after != &queue->jobs && is_before(job, job_at(after)))
        after = after->prev;
    list_push(after->next, &job->queued);
    struct view_job **last = &queue->last[job->size_level];
    if (*last == NULL || is_before(*last, job))
        *last = job;
}

static void withdraw(struct queue *queue, struct view_job *job)
{
    struct list *prev = job->queued.prev;
    bool alone = prev == &queue->jobs || job_at(prev)->size_level != job->size_level;
    if (queue->last[job->size_level] == job)
        queue->last[job->size_level] = alone ? NULL : job_at(prev);
    if (queue->at == &job->queued)
        queue->at = job->queued.next;
    list_remove(&job->queued);
}

static struct owner *owner_take(struct view *view, const struct view_job *job, const char *user)
{
    struct owner *owner = namemap_get(&view->owners, user);
    if (owner == NULL) {
        owner = xcalloc(1, sizeof *owner);
        str_copy(owner->user, sizeof owner->user, user);
        owner->id = ++view->owner_last;
        namemap_put(&view->owners, owner->user, owner);
    }
    owner->job_count++;
    owner->budgeted += job->budgeted;
    return owner;
}

static void owner_give(struct view *view, const struct view_job *job)
{
    struct owner *owner = job->owner;
    owner->budgeted -= job->budgeted;
    if (--owner->job_count > 0)
        return;
    namemap_remove(&view->owners, owner->user);
    free(owner);
}

void queue_add(struct view *view, struct view_job *job, const char *user)
{
    struct level *level = level_of(view, job);
    struct queue *queue = namemap_get(&level->queues, user);
    if (queue == NULL) {
        queue = xcalloc(1, sizeof *queue);
        str_copy(queue->user, sizeof queue->user, user);
        list_init(&queue->jobs);
        queue->at = &queue->jobs;
        list_push(&level->turns, &queue->turn);
        namemap_put(&level->queues, queue->user, queue);
    }
    job->size_level = size_level(view, job);
    insert(queue, job);
    queue->job_count++;
    job->queue = queue;
    job->owner = owner_take(view, job, user);
}

void queue_remove(struct view *view, struct view_job *job)
{
    struct queue *queue = job->queue;
    withdraw(queue, job);
    job->queue = NULL;
    owner_give(view, job);
    if (--queue->job_count > 0)
        return;
    ASSERT(queue->ready == 0);
    namemap_remove(&level_of(view, job)->queues, queue->user);
    list_remove(&queue->turn);
    free(queue);
}

void queue_ready(struct view *view, struct view_job *job, int change)
{
    struct level *level = level_of(view, job);
    struct queue *queue = job->queue;
    bool was_ready = queue->ready > 0;
    bool is_passed = queue->at == &queue->jobs || is_before(job, job_at(queue->at));
    queue->ready += (uint32_t)change;
    level->ready += (uint32_t)change;
    if (was_ready != (queue->ready > 0))
        level->ready_users += (uint32_t)change;
    if (change < 0)
        return;
    view->risen = MAX(view->risen, job->priority);
    if (is_passed)
        queue->at = &job->queued;
}

void queue_level_start(struct level *level)
{
    LIST_EACH(l, &level->turns)
    {
        struct queue *queue = CONTAINER_OF(l, struct queue, turn);
        queue->at = queue->jobs.next;
    }
}

void queue_return(struct view *view, struct view_job *job)
{
    struct level *level = level_of(view, job);
    list_remove(&job->queue->turn);
    list_push(level->turns.next, &job->queue->turn);
}

struct view_job *queue_next(struct level *level)
{
    struct queue *queue = NULL;
    LIST_EACH(l, &level->turns)
    {
        queue = CONTAINER_OF(l, struct queue, turn);
        if (queue->ready > 0)
            break;
    }
    if (queue == NULL || queue->ready == 0)
        return NULL;
    list_remove(&queue->turn);
    list_push(&level->turns, &queue->turn);
    for (;; queue->at = queue->at->next) {
        ASSERT(queue->at != &queue->jobs);
        struct view_job *job = job_at(queue->at);
        if (job->waiting > 0 && !job->blocked)
            return job;
    }
}
