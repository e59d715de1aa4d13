/*
 * fair.c - stride scheduling between lanes, round robin between the owners of a lane.
 */
#include "fair.h"

#include <stdlib.h>

enum { PASS_SCALE = 1024 }; /* keeps precision when dividing by a weight */

struct fair_owner {
    struct list link; /* in lane->owners */
    uint64_t key;     /* never 0 */
    struct list items;
    size_t count;
    size_t bytes;
};

void fair_init(struct fair *fair, const struct fair_limits *limits, size_t lane_count)
{
    ASSERT(lane_count > 0 && lane_count <= FAIR_LANES_MAX);
    *fair = (struct fair){.limits = limits, .lane_count = lane_count};
    for (size_t i = 0; i < lane_count; i++) {
        ASSERT(limits[i].weight > 0);
        list_init(&fair->lanes[i].owners);
    }
}

void fair_release(struct fair *fair)
{
    ASSERT(fair->count == 0);
    for (size_t i = 0; i < fair->lane_count; i++)
        idmap_release(&fair->lanes[i].by_key);
}

bool fair_push(struct fair *fair, size_t lane_at, uint64_t key, struct fair_item *item,
               size_t bytes)
{
    ASSERT(lane_at < fair->lane_count);
    struct fair_lane *lane = &fair->lanes[lane_at];
    const struct fair_limits *limits = &fair->limits[lane_at];
    key = key == 0 ? 1 : key;
    struct fair_owner *owner = idmap_get(&lane->by_key, key);
    if (!list_empty(&lane->owners) && lane->bytes + bytes > limits->bytes_max)
        return false;
    if (owner != NULL &&
        (owner->count >= limits->owner_items_max || owner->bytes + bytes > limits->owner_bytes_max))
        return false;
    if (list_empty(&lane->owners))
        lane->pass = MAX(lane->pass, fair->pass);
    if (owner == NULL) {
        owner = xcalloc(1, sizeof *owner);
        owner->key = key;
        list_init(&owner->items);
        list_push(&lane->owners, &owner->link);
        idmap_put(&lane->by_key, key, owner);
    }
    item->bytes = bytes;
    list_push(&owner->items, &item->link);
    owner->count++;
    owner->bytes += bytes;
    lane->bytes += bytes;
    fair->count++;
    fair->bytes += bytes;
    return true;
}

/* Return the lane with the lowest pass; among equal ones the first. */
static struct fair_lane *lane_next(const struct fair *fair)
{
    const struct fair_lane *next = NULL;
    for (size_t i = 0; i < fair->lane_count; i++) {
        const struct fair_lane *lane = &fair->lanes[i];
        if (!list_empty(&lane->owners) && (next == NULL || lane->pass < next->pass))
            next = lane;
    }
    return (struct fair_lane *)next;
}

static struct fair_owner *owner_next(const struct fair_lane *lane)
{
    return CONTAINER_OF(lane->owners.next, struct fair_owner, link);
}

struct fair_item *fair_peek(const struct fair *fair)
{
    const struct fair_lane *lane = lane_next(fair);
    return lane == NULL ? NULL : CONTAINER_OF(owner_next(lane)->items.next, struct fair_item, link);
}

struct fair_item *fair_pop(struct fair *fair)
{
    struct fair_lane *lane = lane_next(fair);
    if (lane == NULL)
        return NULL;
    struct fair_owner *owner = owner_next(lane);
    struct fair_item *item = CONTAINER_OF(list_pop(&owner->items), struct fair_item, link);
    fair->pass = lane->pass;
    lane->pass += (item->bytes + 1) * PASS_SCALE / fair->limits[lane - fair->lanes].weight;
    owner->count--;
    owner->bytes -= item->bytes;
    lane->bytes -= item->bytes;
    fair->count--;
    fair->bytes -= item->bytes;
    list_remove(&owner->link);
    if (owner->count > 0) {
        list_push(&lane->owners, &owner->link);
    } else {
        idmap_remove(&lane->by_key, owner->key);
        free(owner);
    }
    return item;
}
