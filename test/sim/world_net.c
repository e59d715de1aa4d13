/*
 * world_net.c - reachability and delays between nodes.
 *
 * The network itself only answers questions. world_rpc.c and world_raft.c hold the messages; they
 * are notified when a direction opens again and when it has been blocked for too long.
 */
#include "world_impl.h"

#include "stream.h"

#include <stdlib.h>

enum { DELAY_MIN_US = 80, DELAY_SPREAD_US = 250, KEEPALIVE_MS = 20000 };

struct way {
    uint64_t blocked_since_us; /* 0: open */
    uint32_t min_us, spread_us;
};

static struct way ways[NODES_MAX][NODES_MAX]; /* indexed by from, to */
static struct net_raft trouble;

static struct way *way(const struct node *from, const struct node *to)
{
    return &ways[from->number][to->number];
}

bool net_blocked(const struct node *from, const struct node *to)
{
    return way(from, to)->blocked_since_us != 0;
}

uint64_t net_delay_us(const struct node *from, const struct node *to)
{
    const struct way *w = way(from, to);
    uint64_t us = DELAY_MIN_US + world_random(DELAY_SPREAD_US);
    if (w->spread_us == 0)
        return us;
    uint64_t more = w->min_us + world_random(w->spread_us);
    return us + (world_chance(1, 50) ? more * 10 : more);
}

/* A direction that was blocked at a time; it is checked later whether it has been since. */
struct shut {
    struct node *from, *to;
    uint64_t since_us;
    bool idle_too;
};

static void world_net_on_long_shut(void *data)
{
    struct shut *shut = data;
    if (way(shut->from, shut->to)->blocked_since_us == shut->since_us) {
        rpc_on_stuck(shut->from, shut->to, shut->idle_too);
        raft_on_stuck(shut->from, shut->to);
    }
    free(shut);
}

static void watch_shut(struct node *from, struct node *to, uint64_t ms, bool idle_too)
{
    struct shut *shut = xcalloc(1, sizeof *shut);
    *shut = (struct shut){from, to, the_world_now_us, idle_too};
    world_post(ms, world_net_on_long_shut, shut);
}

void net_block(struct node *from, struct node *to, bool blocked)
{
    struct way *w = way(from, to);
    if (blocked == (w->blocked_since_us != 0) || from == to)
        return;
    world_say("%s %s -> %s", blocked ? "cut" : "mend", from->name, to->name);
    w->blocked_since_us = blocked ? the_world_now_us : 0;
    if (blocked) {
        watch_shut(from, to, STREAM_USER_TIMEOUT_MS, /* idle_too= */ false);
        watch_shut(from, to, KEEPALIVE_MS, /* idle_too= */ true);
    } else {
        rpc_on_unblocked(from, to);
        raft_on_unblocked(from, to);
    }
}

void net_slow(struct node *from, struct node *to, uint64_t min_us, uint64_t spread_us)
{
    struct way *w = way(from, to);
    w->min_us = (uint32_t)min_us;
    w->spread_us = (uint32_t)spread_us;
}

void net_heal(void)
{
    for (unsigned i = 0; world_node_at(i) != NULL; i++)
        for (unsigned k = 0; world_node_at(k) != NULL; k++) {
            net_block(world_node_at(i), world_node_at(k), false);
            net_slow(world_node_at(i), world_node_at(k), 0, 0);
        }
    trouble = (struct net_raft){0};
}

void net_raft_trouble(unsigned lost, unsigned doubled, unsigned overtaken)
{
    trouble = (struct net_raft){lost, doubled, overtaken};
}

const struct net_raft *net_raft(void)
{
    return &trouble;
}

void net_reset(struct node *a, struct node *b)
{
    rpc_on_stuck(a, b, /* idle_too= */ true);
}

bool world_connected(const struct node *a, const struct node *b)
{
    return a->up && b->up && !net_blocked(a, b) && !net_blocked(b, a) &&
           MAX(a->stalled_until_us, b->stalled_until_us) <= the_world_now_us;
}
