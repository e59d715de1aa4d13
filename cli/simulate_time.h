/*
 * simulate_time.h - a workload run over time: jobs arrive, tasks end, others wait.
 *
 * Time jumps from one arrival or end to the next, and between two of them the scheduler has all the
 * passes it wants. An evicted task starts over, with all of its run time before it.
 */
#ifndef CLI_SIMULATE_TIME_H
#define CLI_SIMULATE_TIME_H

#include "simulate.h"

enum { HISTORY_SAMPLES = 360 };

struct sample {
    int64_t second;       /* its end */
    uint64_t pending_max; /* tasks waiting, at its worst moment */
    uint64_t running;     /* tasks, at its end */
    struct resources used;
};

/* How long tasks were pending before a placement, evicted ones each time anew, in seconds. */
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
    struct resources used_mean, used_max; /* of the samples */
    struct sample samples[HISTORY_SAMPLES];
    uint32_t sample_count;
};

struct history_watch {
    void (*on_second)(void *data, int64_t second, int64_t until_s);
    void *data;
};
/* The machines of the workload at once, its jobs as they arrive, up to the last arrival. */
int sim_run_over_time(struct sim *sim, const struct workload *workload, struct history_watch watch,
                      struct history *ret, struct err *err) MUST_USE;

#endif
