/*
 * sandbox.h - whatever happens in it, nothing is left of it.
 *
 * With the rights to, the work is done in process and mount namespaces of its own: when its first
 * process ends, for whatever reason, the kernel ends all others, and mounts and networks go with
 * them. Without, whoever loses his parent becomes the child of the process that waits here, which
 * ends them all.
 */
#ifndef CHAOS_SANDBOX_H
#define CHAOS_SANDBOX_H

#include "err.h"

enum sandbox_kind {
    SANDBOX_CLOSED, /* namespaces */
    SANDBOX_OPEN    /* processes only */
};

/* What this process may have; `why` says what stands in the way of a closed one. */
enum sandbox_kind sandbox_kind(struct err *why);
/* Runs `work` in a child; its exit code, or 128 and the signal it died of. */
int sandbox_run(enum sandbox_kind kind, int (*work)(void *data), void *data);

#endif
