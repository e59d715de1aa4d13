/*
 * sched.h - which task goes where: a pure machine fed with deltas, asked for decisions.
 *
 * It works on its own copy of the cell and only proposes; cell_apply() has the last word. A row in
 * a delta is the truth and replaces whatever the scheduler assumed about it, so a refused or lost
 * decision heals itself as soon as the row comes by (the cell touches the rows of refused ones).
 *
 * Order: priority, highest first; inside one priority round-robin between users, inside a user by
 * job id; a job that does not fit holds nobody up. Feasible: up, and capacity - (reserved -
 * stopping) has room, counting what the priority may evict if nothing else helps. Borg paper 3.2.
 */
#ifndef CELL_SCHED_H
#define CELL_SCHED_H

#include "cmd.h"
#include "delta.h"

struct sched;

struct sched *sched_new(void);
void sched_free(struct sched *sched);

/* Take in what changed. `delta->full` starts over. */
void sched_update(struct sched *sched, const struct delta *delta);

/*
 * Decide: fill `out` (the arrays are the scheduler's, borrowed until the next call) with up to
 * CMD_PLACEMENTS_MAX placements and with verdicts for jobs whose reason changed. The decisions are
 * assumed in the view at once, so calling again gives further ones. Returns false when there is
 * nothing to propose: call again after the next update. A job that could not be placed is not
 * looked at again until something that may help it changed (a machine freed room, joined, grew).
 */
bool sched_pass(struct sched *sched, struct cmd_schedule *out);

/* Counters since sched_new(), for status and bench. */
struct sched_stats {
    uint64_t passes;
    uint64_t placed;
    uint64_t preempted;
    uint64_t machines_scanned;
    uint64_t pending; /* tasks waiting now, back-offs not counted */
    uint64_t blocked; /* those of them whose job did not fit when it was last looked at */
};
struct sched_stats sched_stats(const struct sched *sched);

/*
 * Why a task of this job does not fit now: "no machine fits: 3 of 5 lack ram, 2 of 5 lack cpu;
 * would fit with ram 2Gi instead of 64Gi". Each machine is counted once, at the first resource it
 * lacks, in the order of enum resource; down machines count as "down".
 */
void sched_explain(struct sched *sched, job_id job, struct buf *to);

#endif
