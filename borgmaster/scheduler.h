/*
 * scheduler.h - the scheduler's thread: deltas in, SCHEDULE commands out.
 *
 * It keeps its view of the cell on every replica, so that a new leader schedules at once however
 * large the cell is; it decides only while this replica leads. The loop feeds it deltas; it decides
 * batches and hands them back through an async handle; at most SCHEDULER_BATCHES_MAX are under way,
 * so a slow log slows the scheduler and never the other way round. It can be slow, wrong or dead
 * and the cell stays right: cell_apply() accepts or refuses each placement.
 */
#ifndef BORGMASTER_SCHEDULER_H
#define BORGMASTER_SCHEDULER_H

#include "replica.h"

enum { SCHEDULER_BATCHES_MAX = 4 };

struct scheduler;

/* Starts the thread; its view begins with the replica's cell as it is. */
struct scheduler *scheduler_new(struct replica *replica);
/* The replica has another cell now: begin anew with that. */
void scheduler_reset(struct scheduler *scheduler);
/* The same with the delta_full() of it, which it takes. */
void scheduler_reset_to(struct scheduler *scheduler, struct delta *full);
/* Leadership came or went. */
void scheduler_on_role(struct scheduler *scheduler, bool leads);
/* What changed. Takes a reference of its own. */
void scheduler_put(struct scheduler *scheduler, struct delta *delta);
/* End the thread; nothing else may be called any more. */
void scheduler_stop(struct scheduler *scheduler);

#endif
