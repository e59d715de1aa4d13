/*
 * usage.h - measure the resources that the processes of attempts use, in one pass over /proc.
 *
 * All descendants of a shim are processes of its task, whatever their session, group or user. The
 * shim is their subreaper, so orphans become its children. Their cpu time counts, and so does that
 * of ended processes that their parents or the shim have reaped.
 *
 * Shared memory is counted once: a task with several processes is measured by PSS (smaps_rollup),
 * which costs 0.1 ms per process and 0.1 ms per 10 MB; 1,000 processes took 0.15 s, and 0.05 s by
 * RSS. After USAGE_PSS_MS of this, and for processes that may not be inspected, the measurement
 * uses RSS minus shared memory and adds the largest shared part once per task.
 */
#ifndef BORGLET_USAGE_H
#define BORGLET_USAGE_H

#include "base.h"

#include <sys/types.h>

enum { USAGE_PSS_MS = 1000 };

struct usage_sample {
    pid_t shim;
    uint64_t cpu_ms; /* since the attempt began */
    int64_t ram_bytes;
};

/* Fill in the sums for the shims named in `samples`. False: /proc cannot be read. It may take
 * seconds, so do not call it on a loop. */
bool usage_measure(struct usage_sample *samples, size_t count);

#endif
