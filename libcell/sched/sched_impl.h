/*
 * sched_impl.h - what the files of the pass share: the batch in the making.
 */
#ifndef CELL_SCHED_IMPL_H
#define CELL_SCHED_IMPL_H

#include "choose.h"
#include "sched.h"

/* Packed sizes at most: 50 bytes a placement and 11 a score of it, 16 a victim, 526 a verdict, 40 a
 * stage. */
enum { VICTIMS_MAX = 1024, VERDICTS_MAX = 22 };
/* Fewer candidates than this are looked at one by one. */
enum { CANDIDATES_MAX = 32 };
_Static_assert(CMD_PLACEMENTS_MAX * 50 + CMD_SCORES_MAX * 11 + VICTIMS_MAX * 16 +
                       VERDICTS_MAX * 526 + STAGES_MAX * 40 + 256 <=
                   CMD_BYTES_MAX,
               "a full batch must fit a command");

struct sched {
    struct view view;
    struct best best;
    struct refusals refusals;
    struct reach reach; /* for reasons */
    struct preempt preempt;
    struct sched_stats stats;
    uint64_t fleet_told; /* view.fleet_version the reasons are about */
    /* Twice what a command holds: behind it a gang is tried out, to say why it does not fit. */
    struct placement placements[2 * CMD_PLACEMENTS_MAX];
    uint32_t placement_count;
    uint32_t score_count; /* in their decisions */
    enum among among;     /* of the choice made last */
    struct figures_memo memo;
    struct score_stage stages[STAGES_MAX];
    uint32_t stage_count, stage_evict; /* those of evictions begin there */
    struct attempt_ref victims[2 * VICTIMS_MAX];
    bool was_disrupted[2 * VICTIMS_MAX]; /* the victim, before it was one */
    uint32_t victim_count;
    struct verdict verdicts[VERDICTS_MAX];
    uint32_t verdict_count;
    bool again; /* there is more to place, though this batch may be empty */
};

/* sched.c */
enum pick { PICK_FOUND, PICK_NONE, PICK_WITH_MORE_VICTIMS };
/* Where the next task of the job goes in this shape without evicting anybody. */
enum pick sched_pick(struct sched *sched, struct view_job *job, uint32_t shape, struct choice *ret);
/* The same with evictions; whom to evict for it stands in sched->preempt. */
enum pick sched_pick_evicting(struct sched *sched, const struct view_job *job, uint32_t shape,
                              uint32_t victims_max, struct choice *ret);
/* Into the batch with it, and into the view. */
void sched_propose(struct sched *sched, struct view_job *job, uint32_t shape, struct choice choice);
/* Victims were chosen on this machine: false, the pass is to end. */
bool sched_wake_beside(struct sched *sched, const struct view_job *by, uint32_t machine);

/* system.c: jobs on every machine */
/* Place the next task on its machine, or find that there is no room. False when the pass is to end.
 */
bool system_place(struct sched *sched, struct view_job *job);
/* There is more room on the machine: for which tasks that belong there? Leaves out the priority
 * `by` (PRIORITY_MAX + 1: none). False when one of a higher priority than that has room now. */
bool system_wake(struct sched *sched, uint32_t machine, uint32_t by);

/* gang.c */
/* Place all that wait of the gang, or find that they do not fit and block it. False when the pass
 * is to end. */
bool gang_place(struct sched *sched, struct view_job *job);
/* At most so many of its tasks have room on the machine, whoever may be evicted from there. */
uint32_t gang_places(const struct view *view, const struct view_job *job, uint32_t machine);
/* Have the candidate machines as many places more as the blocked gang lacked? */
bool gang_may_fit(struct sched *sched, struct view_job *job);
/* True when it does fit. */
bool gang_explain(struct sched *sched, struct view_job *job, struct reason *to);

#endif
