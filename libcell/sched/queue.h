/*
 * queue.h - who is next: the jobs by priority, user and id.
 */
#ifndef CELL_QUEUE_H
#define CELL_QUEUE_H

#include "idmap.h"
#include "limits.h"
#include "list.h"

struct view;
struct view_job;

/* The jobs of one user at one priority. */
enum { QUEUE_LEVELS = 6 };
struct queue {
    char user[CELL_NAME_MAX + 1];
    struct list jobs;                    /* large tasks first, then by id */
    struct view_job *last[QUEUE_LEVELS]; /* of each size, NULL: none */
    struct list turn;                    /* in level.turns */
    struct list *at;                     /* no job before it is ready, in this pass */
    uint32_t job_count;
    uint32_t ready; /* jobs that have waiting tasks and are not blocked */
};

/* One priority: its users take turns. */
struct level {
    struct list turns; /* who is first is next */
    struct namemap queues;
    uint32_t ready; /* sum over its queues */
    uint32_t ready_users;
};

void queue_add(struct view *view, struct view_job *job, const char *user);
void queue_remove(struct view *view, struct view_job *job);
/* To be called with +1 when a job becomes ready, -1 when it is no longer. */
void queue_ready(struct view *view, struct view_job *job, int change);
void queue_level_start(struct level *level);
/* It could not have its turn: it is the first of its level in the next pass. */
void queue_return(struct view *view, struct view_job *job);
/* The job whose turn it is in this level, its user then being last; NULL when none is ready. */
struct view_job *queue_next(struct level *level);

#endif
