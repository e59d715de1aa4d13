/*
 * scheduler.h - the scheduler's thread: deltas in, SCHEDULE commands out.
 *
 * It runs only while this replica leads. The loop feeds it deltas; it decides batches and hands
 * them back through an async handle; at most SCHEDULER_BATCHES_MAX are under way, so a slow log
 * slows the scheduler and never the other way round. It can be slow, wrong or dead and the cell
 * stays right: cell_apply() accepts or refuses each placement.
 */
#ifndef BORGMASTER_SCHEDULER_H
#define BORGMASTER_SCHEDULER_H

#include "replica.h"

enum { SCHEDULER_BATCHES_MAX = 4 };

struct scheduler;

struct scheduler *scheduler_new(struct replica *replica);
/* Take leadership or lose it: starts over from the whole cell, or forgets everything. */
void scheduler_start(struct scheduler *scheduler);
void scheduler_stop(struct scheduler *scheduler);
/* What changed; ignored while stopped. Takes a reference of its own. */
void scheduler_put(struct scheduler *scheduler, struct delta *delta);

#endif
