/*
 * sched_exact.h - compare the fast path of the scheduler with an exact scan of all machines.
 */
#ifndef BENCH_SCHED_EXACT_H
#define BENCH_SCHED_EXACT_H

#include "simulate.h"

struct exact {
    uint64_t choices;      /* with or without a machine found */
    uint64_t sampled;      /* choices that the scan made as well */
    double chosen, best;   /* sums of the scores chosen by the fast path and by the scan */
    double fast_s, scan_s; /* seconds for all choices and placements; for the scans */
};

/*
 * Place all pending tasks of the cell in a separate view, job by job like the scheduler, but
 * without evictions. The scan repeats about `samples` of the choices; both must agree whether a
 * machine fits, and on the violated soft constraints, or the benchmark ends.
 */
struct exact exact_run(const struct sim *sim, uint64_t samples);

#endif
