/*
 * usage.h - what the processes of attempts use, from one look at /proc.
 *
 * The processes of a task are all that descend from its shim, whatever their session, group or
 * user: the shim is their subreaper, so that those whose parent has ended are its children. Their
 * cpu time counts, and that of those which have ended and were waited for, by their parents or by
 * the shim.
 *
 * Memory that processes share is counted once: a task of several processes is measured by PSS
 * (smaps_rollup), which costs 0.1 ms a process and 0.1 ms for each 10 MB that it has: 1,000
 * processes took 0.15 s, by RSS 0.05 s. What is left when a measurement has spent USAGE_PSS_MS on
 * that, and processes that may not be looked into, are measured by RSS less what is shared, and the
 * largest shared part is added once per task.
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

/* Fill in the sums of the shims that are named in `samples`. false: /proc cannot be read, nothing
 * is known. Not on a loop: it may take seconds. */
bool usage_measure(struct usage_sample *samples, size_t count);

#endif
