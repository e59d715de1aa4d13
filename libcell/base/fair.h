/*
 * fair.h - a bounded queue in which everybody gets a turn.
 *
 * What waits is sorted into lanes, and within a lane by whose it is. Lanes share what is served by
 * weight, in bytes, as stride scheduling does (Waldspurger and Weihl, 1995): a lane that was empty
 * is not paid for the time it slept, and one that floods delays nobody beyond its weight. Owners
 * within a lane take turns, an item each.
 */
#ifndef CELL_FAIR_H
#define CELL_FAIR_H

#include "idmap.h"
#include "list.h"

enum { FAIR_LANES_MAX = 4 };

struct fair_limits {
    uint32_t weight;        /* > 0 */
    size_t owner_items_max; /* waiting, of one owner */
    size_t owner_bytes_max;
    size_t bytes_max; /* of the lane */
};

/* Inside the caller's object; CONTAINER_OF leads back. */
struct fair_item {
    struct list link; /* in its owner's items */
    size_t bytes;
};

struct fair_lane {
    struct list owners; /* of struct fair_owner with something waiting; the first is next */
    struct idmap by_key;
    size_t bytes;
    uint64_t pass; /* what it has been served, over its weight */
};

struct fair {
    const struct fair_limits *limits; /* of each lane; borrowed */
    struct fair_lane lanes[FAIR_LANES_MAX];
    size_t lane_count;
    uint64_t pass; /* of the lane served last */
    size_t count;
    size_t bytes;
};

void fair_init(struct fair *fair, const struct fair_limits *limits, size_t lane_count);
void fair_release(struct fair *fair); /* nothing waits any more */

/* False, and nothing has happened, when a limit would be passed; what is alone in its lane always
 * fits. `owner` may be any number (hash_text() of a name: who shares it shares the turns). */
bool fair_push(struct fair *fair, size_t lane, uint64_t owner, struct fair_item *item,
               size_t bytes) MUST_USE;
/* What fair_pop() would give; NULL: nothing waits. */
struct fair_item *fair_peek(const struct fair *fair);
struct fair_item *fair_pop(struct fair *fair);

#endif
