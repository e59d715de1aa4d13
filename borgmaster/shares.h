/*
 * shares.h - how many borglets each replica should drive, and which of them should move some. Pure.
 *
 * A borglet chooses its replica by itself, evenly among those that answer, and stays there when a
 * replica comes back or is added. So each replica tells the leader every second how many it drives,
 * and one that has clearly more than its share is told to ask some to move.
 */
#ifndef BORGMASTER_SHARES_H
#define BORGMASTER_SHARES_H

#include "base.h"

enum {
    SHARES_SLACK_PERCENT = 10, /* tolerated above an equal share, */
    SHARES_SLACK = 1,          /* and one more, which matters in a small cell */
    SHARES_MOVE_MAX = 100, /* by one replica in a second: each move costs both ends a handshake */
};

struct share {
    uint64_t id; /* id of the replica */
    uint32_t links;
    bool takes; /* it is up and not behind: it may be given more */
};

struct share_move {
    uint64_t to; /* id of the replica */
    uint32_t count;
};

/* Decide how many of its borglets `from` should ask to move now, and where. Replicas that do not
 * take more are ignored. */
struct share_move shares_move(const struct share *shares, size_t count, uint64_t from);

#endif
