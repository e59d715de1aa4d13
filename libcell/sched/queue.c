/*
 * queue.c - who is next: by priority, then users in turn, then job id.
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
    struct list *after = queue->jobs.prev; /* ids come in order: the tail, nearly always */
    while (after != &queue->jobs && CONTAINER_OF(after, struct view_job, queued)->id.v > job->id.v)
        after = after->prev;
    list_push(after->next, &job->queued);
    queue->job_count++;
    job->queue = queue;
}

void queue_remove(struct view *view, struct view_job *job)
{
    struct queue *queue = job->queue;
    if (queue->at == &job->queued)
        queue->at = job->queued.next;
    list_remove(&job->queued);
    job->queue = NULL;
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
    bool is_passed = queue->at == &queue->jobs ||
                     CONTAINER_OF(queue->at, struct view_job, queued)->id.v > job->id.v;
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
        struct view_job *job = CONTAINER_OF(queue->at, struct view_job, queued);
        if (job->waiting > 0 && !job->blocked)
            return job;
    }
}
