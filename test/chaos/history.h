/*
 * history.h - what the users asked for, when, and what became of it; and whether that can be.
 *
 * Two orders must explain it. In time: writes and fresh reads, as they overlapped. In the log:
 * every answer names an index, and each read of any replica, also one that is not fresh, must see
 * all that has a lower one, and nothing that has a higher one.
 */
#ifndef CHAOS_HISTORY_H
#define CHAOS_HISTORY_H

#include "linear.h"

#include <stdio.h>

struct record {
    uint32_t key;        /* of the name */
    struct linear_op op; /* in microseconds */
    uint64_t index;      /* of the answer; 0: none */
    uint64_t index_min;  /* the highest that anybody had been told when it began */
    uint32_t replica;    /* that answered, from 0 */
    uint32_t attempts;
    bool is_fresh; /* a write, or a read that must see all that was acknowledged */
};

struct history {
    struct record *records;
    size_t count, capacity;
};

void history_add(struct history *h, const struct record *record);
void history_print(const struct history *h, FILE *file);
struct history_verdict {
    uint64_t operations; /* judged */
    uint64_t keys;
    uint64_t too_hard; /* keys */
    uint64_t wrong;    /* keys, in one of the two orders */
    uint64_t stale;    /* fresh operations that were answered from the past */
};
/* What cannot be goes to `to` in words. */
struct history_verdict history_check(struct history *h, FILE *to);

#endif
