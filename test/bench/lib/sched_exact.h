/*
 * sched_exact.h - the fast path beside an exact scan of all machines: what it loses and gains.
 */
#ifndef BENCH_SCHED_EXACT_H
#define BENCH_SCHED_EXACT_H

#include "simulate.h"

struct exact {
    uint64_t choices;      /* that found a machine, or none */
    uint64_t sampled;      /* of those: made by the scan as well */
    double chosen, best;   /* scores of what the fast path and the scan chose, summed */
    double fast_s, scan_s; /* time of all choices and placements; of the scans */
};

/*
 * Place all that waits in the cell in a view of its own, job by job as the scheduler does, but
 * evicting nobody. About `samples` of the choices are made by the scan as well; both must agree
 * whether there is a machine, and on what is left open of wishes, or the bench ends.
 */
struct exact exact_run(const struct sim *sim, uint64_t samples);

#endif
