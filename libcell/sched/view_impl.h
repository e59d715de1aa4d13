/*
 * view_impl.h - what the files of the view share.
 */
#ifndef CELL_VIEW_IMPL_H
#define CELL_VIEW_IMPL_H

#include "delta.h"
#include "view.h"

/* view_machine.c */
void view_take_machine(struct view *view, const struct machine *row);
void view_machines_release(struct view *view);
/* Whoever remembers something about the machine looks again. */
void view_touch(struct view *view, uint32_t machine);
/* Something left it, or it grew. */
void view_improve(struct view *view, uint32_t machine);
/* Room, score and stamp of a machine whose total, used or state changed. */
void view_derive(struct view *view, uint32_t machine);
/* Something is reclaimed for the first time: make the columns of what is promised. */
void view_promises_begin(struct view *view);

/* view_wait.c */
void view_waiting_add(struct view *view, struct view_job *job, int change);
void view_stuck_add(struct view *view, struct view_job *job, int change);
/* A task of the job left, or its machine's value changed. */
void view_value_freed(struct view *view, struct view_job *job);

/* view_task.c */
void view_take_task(struct view *view, const struct task *row);
/* The task is nowhere: VIEW_OVER. */
void view_task_leave(struct view *view, struct view_task *task);
/* Then: of `next` its state and, if it is live, where and how. */
void view_task_enter(struct view *view, struct view_task *task, const struct view_task *next);

/* view_job.c */
void view_take_job(struct view *view, const struct job *row);
void view_job_remove(struct view *view, struct view_job *job);
void view_take_policy(struct view *view, enum policy policy);

#endif
