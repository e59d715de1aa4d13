/*
 * simulate_compact.h - the experiment of cell compaction on a workload.
 */
#ifndef CLI_SIMULATE_COMPACT_H
#define CLI_SIMULATE_COMPACT_H

#include "simulate.h"

enum { COMPACT_TRIALS = 11 };

/* What no scheduler can do without: the largest over resources of demand / capacity. */
struct compact_bound {
    uint32_t machines; /* of the cell */
    uint64_t tasks;
    uint64_t softened; /* jobs too large for what they insist on */
    double percent;    /* of the cell's machines, were they all alike */
};
/* Softens what large jobs ask for, in `workload`. */
int compact_prepare(struct workload *workload, struct compact_bound *ret, struct err *err) MUST_USE;

struct compact {
    uint32_t needed[COMPACT_TRIALS]; /* machines, per trial, smallest first */
    uint32_t machines;               /* the 90th percentile of them */
    double percent;                  /* of the cell */
};
/* Who hears of each pass and of each trial that is done; may be NULL. */
struct compact_watch {
    void (*on_pass)(void *data, const struct sim *sim);
    void (*on_trial)(void *data, uint32_t trial);
    void *data;
};
int compact(const struct workload *workload, const struct compact_bound *bound, enum policy policy,
            uint64_t seed, struct compact_watch watch, struct compact *ret,
            struct err *err) MUST_USE;

#endif
