/*
 * shares.h - how many borglets each replica should drive, and which of them give some away. Pure.
 *
 * A borglet chooses its replica by itself, evenly over those that answer. Nobody takes it back when
 * a replica comes back or is added: so each replica tells the leader every second how many it
 * drives, and one that has clearly more than its share is told to ask some to move.
 */
#ifndef BORGMASTER_SHARES_H
#define BORGMASTER_SHARES_H

#include "base.h"

enum {
    SHARES_SLACK_PERCENT = 10, /* over an equal share that is nothing to move for, */
    SHARES_SLACK = 1,          /* and one more in a small cell */
    SHARES_MOVE_MAX = 100,     /* from one replica a second: each costs both ends a handshake */
};

struct share {
    uint64_t id; /* of the replica */
    uint32_t links;
    bool takes; /* it is up and has what the leader has: it may be given more */
};

struct share_move {
    uint64_t to; /* replica */
    uint32_t count;
};

/* How many of its borglets `from` should ask to move now, and where to. Shares of replicas that do
 * not take count for nothing. */
struct share_move shares_move(const struct share *shares, size_t count, uint64_t from);

#endif
