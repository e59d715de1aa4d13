/*
 * scheduler.h - the scheduler's thread: takes deltas, decides SCHEDULE commands.
 *
 * Every replica keeps the scheduler's view of the cell, so that a new leader schedules at once in a
 * cell of any size; decisions are made only while the replica leads. The loop feeds deltas to the
 * thread, and gets decided batches back through an async handle. At most SCHEDULER_BATCHES_MAX
 * batches are under way, so a slow log slows down the scheduler and never the other way round. The
 * scheduler may be slow, wrong or dead without harm to the cell: cell_apply() accepts or refuses
 * each placement.
 */
#ifndef BORGMASTER_SCHEDULER_H
#define BORGMASTER_SCHEDULER_H

#include "core.h"

enum { SCHEDULER_BATCHES_MAX = 4 };

struct scheduler;

/* Start the thread; its view begins with the present cell. */
struct scheduler *scheduler_new(struct core *core);
/* Begin anew with the present cell, which replaced another one. */
void scheduler_reset(struct scheduler *scheduler);
/* Begin anew with `full`, the delta_full() of the present cell, which is taken. */
void scheduler_reset_to(struct scheduler *scheduler, struct delta *full);
/* Leadership began or ended. */
void scheduler_on_role(struct scheduler *scheduler, bool leads);
/* Add a delta to the view. Takes a reference of its own. */
void scheduler_put(struct scheduler *scheduler, struct delta *delta);
/* End the thread. No other function may be called afterwards. */
void scheduler_stop(struct scheduler *scheduler);

#endif
