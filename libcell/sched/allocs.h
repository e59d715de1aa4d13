/*
 * allocs.h - alloc sets as the scheduler sees them, and the jobs that run inside.
 */
#ifndef CELL_ALLOCS_H
#define CELL_ALLOCS_H

#include "choose.h"

/* What is inside one alloc. */
struct view_alloc {
    struct resources used; /* by live tasks inside that are not stopping */
    struct list tasks;     /* all live ones, by view_task.link */
};

/* A set by its name: it is kept as long as it lives or a job names it. */
struct view_set {
    char key[2 * CELL_NAME_MAX + 2]; /* "user/name" */
    struct view_job *job;            /* NULL: there is no such set now */
    bool killed;                     /* or there soon is none */
    struct list link;                /* in view.sets */
    struct list members;             /* view_job.member of those that run inside */
    struct view_alloc *allocs;       /* by index */
    uint32_t alloc_capacity;
};

void allocs_add(struct view *view, struct view_job *job, const struct job_spec *spec);
void allocs_take(struct view *view, struct view_job *job, const struct job *row);
void allocs_remove(struct view *view, struct view_job *job);
/* The list that a live task is to be in: its machine's or its alloc's. */
struct list *allocs_home(const struct view *view, const struct view_task *task);
/* The tasks inside, when this is an alloc; else NULL. */
struct list *allocs_inside(const struct view_task *task);
/* Count a task inside in (+1) or out (-1). */
void allocs_account(const struct view_task *task, int sign);
/* Something about the allocs changed: whoever waits for one looks again. */
void allocs_tell(struct view *view, struct view_set *set);

/* For a job that runs inside: its allocs by index. */
uint32_t allocs_count(const struct view_job *job);
const struct view_task *allocs_get(const struct view_job *job, uint32_t index);
/* Is it there, and may the job be there? Room aside. */
bool allocs_open(const struct view *view, const struct view_job *job,
                 const struct view_task *alloc);
struct room allocs_room(const struct view_task *alloc);
/* The same with all gone from inside that the job may evict. */
struct resources allocs_room_evicting(const struct view *view, const struct view_job *job,
                                      const struct view_task *alloc);
/* The best without evicting anybody. */
struct choice allocs_best(const struct view *view, const struct view_job *job,
                          const struct resources *need);

#endif
