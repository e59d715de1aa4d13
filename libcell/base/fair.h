/*
 * fair.h - a bounded queue that serves its owners fairly.
 *
 * Each item belongs to a lane and to an owner. Lanes share the service by weight, in bytes, with
 * stride scheduling (Waldspurger and Weihl, 1995): a lane gains no credit while it is empty, and a
 * flooded lane cannot delay the others beyond its weight. Owners within a lane are served round
 * robin, one item each.
 */
#ifndef CELL_FAIR_H
#define CELL_FAIR_H

#include "idmap.h"
#include "list.h"

enum { FAIR_LANES_MAX = 4 };

struct fair_limits {
    uint32_t weight;        /* > 0 */
    size_t owner_items_max; /* waiting items of one owner */
    size_t owner_bytes_max;
    size_t bytes_max; /* of the whole lane */
};

/* Embedded in the caller's object; use CONTAINER_OF to get the object. */
struct fair_item {
    struct list link; /* in its owner's items */
    size_t bytes;
};

struct fair_lane {
    struct list owners; /* struct fair_owner with waiting items; the first is served next */
    struct idmap by_key;
    size_t bytes;
    uint64_t pass; /* served bytes divided by the weight */
};

struct fair {
    const struct fair_limits *limits; /* one for each lane; borrowed */
    struct fair_lane lanes[FAIR_LANES_MAX];
    size_t lane_count;
    uint64_t pass; /* the pass of the lane served last */
    size_t count;
    size_t bytes;
};

void fair_init(struct fair *fair, const struct fair_limits *limits, size_t lane_count);
void fair_release(struct fair *fair); /* the queue must be empty */

/* Append an item. Return false, without effect, if a limit would be exceeded; an item for an empty
 * lane is always accepted. `owner` is any number, for example hash_text() of a name; owners with
 * the same number share their turns. */
bool fair_push(struct fair *fair, size_t lane, uint64_t owner, struct fair_item *item,
               size_t bytes) MUST_USE;
/* Return the item that fair_pop() would return, or NULL when the queue is empty. */
struct fair_item *fair_peek(const struct fair *fair);
struct fair_item *fair_pop(struct fair *fair);

#endif
