/*
 * simulate_compact.h - the cell compaction experiment on a workload.
 */
#ifndef CLI_SIMULATE_COMPACT_H
#define CLI_SIMULATE_COMPACT_H

#include "simulate.h"

enum { COMPACT_TRIALS = 11 };

/* The lower bound for any scheduler: the largest of demand / capacity over all resources. */
struct compact_bound {
    uint32_t machines; /* machines in the cell */
    uint64_t tasks;
    uint64_t softened; /* jobs whose constraints were made soft */
    double percent;    /* lower bound in percent of the cell's machines, if all were alike */
};
/* Compute the bound and make the constraints of large jobs in `workload` soft. */
int compact_prepare(struct workload *workload, struct compact_bound *ret, struct err *err) MUST_USE;

struct compact {
    uint32_t needed[COMPACT_TRIALS]; /* machines needed in each trial, in ascending order */
    uint32_t machines;               /* 90th percentile */
    double percent;                  /* in percent of the cell */
};
/* Called after each pass and each trial; NULL is allowed. */
struct compact_watch {
    void (*on_pass)(void *data, const struct sim *sim);
    void (*on_trial)(void *data, uint32_t trial);
    void *data;
};
int compact(const struct workload *workload, const struct compact_bound *bound, enum policy policy,
            uint64_t seed, struct compact_watch watch, struct compact *ret,
            struct err *err) MUST_USE;

#endif
