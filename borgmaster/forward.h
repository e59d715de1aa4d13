/*
 * forward.h - a follower's commands go to the leader, a bounded number at a time.
 *
 * The bound is what makes the inbox the place where they wait, and wait fairly: behind it one
 * connection carries everybody's.
 */
#ifndef BORGMASTER_FORWARD_H
#define BORGMASTER_FORWARD_H

#include "inbox.h"
#include "peers.h"

struct forward {
    struct peers *peers; /* borrowed */
    size_t count;        /* sent and not answered */
    size_t bytes;
};

/* Send what waits to replica `leader`, as far as the bound allows. Once per loop turn. */
void forward_flush(struct forward *forward, struct inbox *inbox, uint64_t leader);

#endif
