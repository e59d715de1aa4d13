/*
 * core_dumps.c - the limit that keeps keys out of core files.
 *
 * PR_SET_DUMPABLE would also prevent core files, but it makes root the owner of /proc/PID, where
 * the owner of a cell looks for its processes (`borgctl cell down`, the tests).
 */
#include "core_dumps.h"

#include <sys/resource.h>

void core_dumps_allow(bool allowed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0)
        return;
    /* The limit is 1, not 0: a core_pattern that is a pipe (systemd-coredump) gets the image
     * with any limit except 1, see core(5); and no core file fits into 1 byte. */
    limit.rlim_cur = allowed ? limit.rlim_max : MIN(limit.rlim_max, (rlim_t)1);
    (void)setrlimit(RLIMIT_CORE, &limit);
}
