/*
 * simulate_time.h - simulate a workload over time: jobs arrive, wait, run and end.
 *
 * Time jumps from one arrival or end to the next; in between, the scheduler runs until it has
 * nothing to do. An evicted task starts over with its full run time.
 */
#ifndef CLI_SIMULATE_TIME_H
#define CLI_SIMULATE_TIME_H

#include "simulate.h"

enum { HISTORY_SAMPLES = 360 };

struct sample {
    int64_t second;       /* end of the interval */
    uint64_t pending_max; /* largest number of pending tasks in the interval */
    uint64_t running;     /* number of running tasks at the end */
    struct resources used;
};

/* Seconds that tasks were pending before a placement; each eviction starts a new wait. */
struct waits {
    uint64_t count;
    uint32_t p50_s, p99_s, max_s;
};

struct history {
    int64_t until_s;
    uint64_t arrived, finished, placements;
    uint64_t pending_max;
    struct waits waits;
    struct waits bands[BAND_COUNT];
    struct resources used_mean, used_max; /* over all samples */
    struct sample samples[HISTORY_SAMPLES];
    uint32_t sample_count;
};

struct history_watch {
    void (*on_second)(void *data, int64_t second, int64_t until_s);
    void *data;
};
/* Run the workload: its machines are there at the start, its jobs arrive until the last arrival. */
int sim_run_over_time(struct sim *sim, const struct workload *workload, struct history_watch watch,
                      struct history *ret, struct err *err) MUST_USE;

#endif
