/*
 * usage.h - what the processes of attempts use, from one look at /proc.
 *
 * A task's processes are found by the session that its shim gave it. What has left the session, and
 * the cpu time of children nobody waited for yet, is not seen.
 */
#ifndef BORGLET_USAGE_H
#define BORGLET_USAGE_H

#include "base.h"

#include <sys/types.h>

struct usage_sample {
    pid_t session;
    uint64_t cpu_ms; /* since its processes began, and of those that were waited for */
    int64_t ram_bytes;
};

/* Fill in the sums of the sessions that are named in `samples`. */
void usage_measure(struct usage_sample *samples, size_t count);

#endif
