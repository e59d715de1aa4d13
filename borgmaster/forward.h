/*
 * forward.h - sends a follower's commands to the leader, a bounded number at a time.
 *
 * The bound makes commands wait in the inbox, which is fair to users. The connection to the leader
 * is shared by all of them and keeps their order.
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

/* Send waiting commands to replica `leader`, as far as the bound allows. Call it once per turn of
 * the loop. */
void forward_flush(struct forward *forward, struct inbox *inbox, uint64_t leader);

#endif
