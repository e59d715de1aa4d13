/*
 * sched_cells.h - cells and jobs to measure the scheduler with, drawn from a seed.
 *
 * Machines of six shapes in racks of 40, with attributes: rack, zone (one of ten), platform (the
 * shape), kernel (1 to 10), ssd on half of them. Jobs whose size and shape have long tails.
 */
#ifndef BENCH_SCHED_CELLS_H
#define BENCH_SCHED_CELLS_H

#include "simulate.h"

/* What all jobs ask for beside room. */
enum cells_ask {
    ASK_NOTHING,
    ASK_MIXED,  /* one in four has a hard constraint: platform, ssd, kernel or zone */
    ASK_SPREAD, /* at most one task in forty of the job in one rack */
    ASK_APART,  /* no two tasks on one machine */
    ASK_NEAR,   /* in the zone where one of ten other jobs runs */
};

struct cells_jobs {
    uint32_t tasks;         /* in all */
    uint32_t job_tasks_max; /* of one job; 1: single tasks, all different */
    double cpu_milli;       /* median of a task */
    enum cells_ask ask;
    uint64_t seed;
};

struct job_spec cells_spec(const char *name, uint32_t priority, uint32_t replicas,
                           int64_t cpu_milli, int64_t ram_mib);
/* Takes the spec. Whatever is refused ends the bench. */
void cells_submit(struct sim *sim, struct job_spec spec);
/* To a simulator just begun. */
void cells_machines(struct sim *sim, uint32_t count);
void cells_jobs(struct sim *sim, const struct cells_jobs *jobs);

#endif
