/*
 * history.h - the operations of users with times and outcomes, and a check that they are
 * consistent.
 *
 * The history is checked in two orders. By time: writes and fresh reads with their overlaps must be
 * linearizable. By log index: every answer has an index, and each read from any replica, fresh or
 * not, must contain every write with a lower index and none with a higher one.
 */
#ifndef CHAOS_HISTORY_H
#define CHAOS_HISTORY_H

#include "linear.h"

#include <stdio.h>

struct history_record {
    uint32_t key;        /* of the name */
    struct linear_op op; /* in microseconds */
    uint64_t index;      /* of the answer; 0: none */
    uint64_t index_min;  /* the highest index that any user knew when it began */
    uint32_t replica;    /* the replica that answered, from 0 */
    uint32_t attempts;
    bool is_fresh; /* a write, or a read that must include all acknowledged writes */
};

struct history {
    struct history_record *records;
    size_t count, capacity;
};

void history_add(struct history *h, const struct history_record *record);
void history_print(const struct history *h, FILE *file);
struct history_verdict {
    uint64_t operations; /* checked operations */
    uint64_t keys;
    uint64_t too_hard; /* number of keys */
    uint64_t wrong;    /* number of keys, in one of the two orders */
    uint64_t stale;    /* fresh operations with an outdated answer */
};
/* Check the history and describe violations in `to`. */
struct history_verdict history_check(struct history *h, FILE *to);

#endif
