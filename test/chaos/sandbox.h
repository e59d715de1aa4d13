/*
 * sandbox.h - run work so that no process, mount or network is left behind.
 *
 * If privileges allow, the work runs in process and mount namespaces of its own: when its first
 * process ends, for any reason, the kernel ends all others and removes mounts and networks.
 * Otherwise orphans become children of the process that waits here, which kills all of them.
 */
#ifndef CHAOS_SANDBOX_H
#define CHAOS_SANDBOX_H

#include "err.h"

enum sandbox_kind {
    SANDBOX_CLOSED, /* namespaces */
    SANDBOX_OPEN    /* processes only */
};

/* Return which kind is possible; `why` is the reason if it is not a closed one. */
enum sandbox_kind sandbox_kind(struct err *why);
/* Run `work` in a child; return its exit code, or 128 plus the signal that killed it. */
int sandbox_run(enum sandbox_kind kind, int (*work)(void *data), void *data);

#endif
