/*
 * simulate_compact.h - the experiment of cell compaction on a trace.
 */
#ifndef CLI_SIMULATE_COMPACT_H
#define CLI_SIMULATE_COMPACT_H

#include "simulate.h"

enum { COMPACT_TRIALS = 11 };

/* What no scheduler can do without: the largest over resources of demand / capacity. */
struct compact_bound {
    uint32_t machines; /* of the cell */
    uint64_t tasks;
    double percent; /* of the cell's machines, were they all alike */
    struct sim_ignored ignored;
};
int compact_bound(const struct trace *trace, const struct sim_load *load, struct compact_bound *ret,
                  struct err *err) MUST_USE;

struct compact {
    uint32_t needed[COMPACT_TRIALS]; /* machines, per trial, smallest first */
    uint32_t machines;               /* the 90th percentile of them */
    double percent;                  /* of the cell */
};
/* `on_trial` hears of each trial that is done; may be NULL. */
int compact(const struct trace *trace, const struct sim_load *load,
            const struct compact_bound *bound, uint64_t seed,
            void (*on_trial)(void *data, uint32_t trial), void *data, struct compact *ret,
            struct err *err) MUST_USE;

/* Random numbers that are the same everywhere (splitmix64). */
uint64_t sim_draw(uint64_t *state);

#endif
