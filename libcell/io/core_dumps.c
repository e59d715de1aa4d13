/*
 * core_dumps.c - the limit that keeps keys out of core files.
 *
 * PR_SET_DUMPABLE would do it as well, but it gives /proc/PID to root, where the owner of a cell
 * looks for its processes (`borgctl cell down`, the tests).
 */
#include "core_dumps.h"

#include <sys/resource.h>

void core_dumps_allow(bool allowed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0)
        return;
    /* 1 and not 0: a core_pattern that is a pipe (systemd-coredump) is given the image whatever the
     * limit is, except for 1, see core(5); no file is as short as that either. */
    limit.rlim_cur = allowed ? limit.rlim_max : MIN(limit.rlim_max, (rlim_t)1);
    (void)setrlimit(RLIMIT_CORE, &limit);
}
