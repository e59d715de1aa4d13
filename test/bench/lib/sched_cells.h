/*
 * sched_cells.h - cells and jobs for scheduler benchmarks, drawn from a seed.
 *
 * Machines have six shapes, are in racks of 40, and have the attributes rack, zone (one of ten),
 * platform (the shape), kernel (1 to 10), and, on half of them, ssd. The size and the shape of jobs
 * have long-tailed distributions.
 */
#ifndef BENCH_SCHED_CELLS_H
#define BENCH_SCHED_CELLS_H

#include "simulate.h"

/* Requirements of all jobs beside resources. */
enum cells_ask {
    ASK_NOTHING,
    ASK_MIXED,  /* one in four has a hard constraint: platform, ssd, kernel or zone */
    ASK_SPREAD, /* at most one task in forty of the job in one rack */
    ASK_APART,  /* no two tasks on one machine */
    ASK_NEAR,   /* in the zone of one of ten other jobs */
};

struct cells_jobs {
    uint32_t tasks;         /* total */
    uint32_t job_tasks_max; /* per job; 1: single tasks, all different */
    double cpu_milli;       /* median per task */
    enum cells_ask ask;
    uint64_t seed;
};

struct job_spec cells_spec(const char *name, uint32_t priority, uint32_t replicas,
                           int64_t cpu_milli, int64_t ram_mib);
/* Submit a job and take the spec. A refusal ends the benchmark. */
void cells_submit(struct sim *sim, struct job_spec spec);
/* Add machines to a new simulator. */
void cells_machines(struct sim *sim, uint32_t count);
void cells_jobs(struct sim *sim, const struct cells_jobs *jobs);

#endif
