/*
 * net.h - a network of our own for a cell on one machine, that can be cut and slowed by direction.
 *
 * Each node is a network namespace whose only link is a TUN device; one small process, the switch,
 * holds the other ends and passes packets on as the rules say that stand in memory shared with it.
 * No kernel module and nothing to take away: it all ends with the processes.
 *
 * Node 0, the desk, is where the caller itself is after net_open().
 */
#ifndef CHAOS_NET_H
#define CHAOS_NET_H

#include "err.h"
#include "limits.h"

#include <stdatomic.h>
#include <sys/types.h>

enum { NET_NODES_MAX = 16, NET_DESK = 0 };

/* What befalls packets on their way from one node to another. */
struct net_rule {
    bool cut;
    uint32_t delay_ms;
    uint32_t jitter_ms;     /* up to so much more for each packet by itself: they overtake */
    uint32_t loss_permille; /* of the packets */
    uint32_t rate_kibs;     /* KiB per second; 0: as fast as it goes */
};

/* A rule, as one number at a time that both processes may touch. */
struct net_path {
    _Atomic uint32_t cut, delay_ms, jitter_ms, loss_permille, rate_kibs;
};

struct net_shared {
    struct net_path paths[NET_NODES_MAX][NET_NODES_MAX]; /* [from][to] */
    _Atomic uint64_t passed, held, lost, cut;            /* packets */
};

struct net {
    uint32_t node_count;
    int namespaces[NET_NODES_MAX]; /* descriptors */
    int tuns[NET_NODES_MAX];       /* of the switch alone, once it runs */
    struct net_shared *shared;
    pid_t pid; /* of the switch */
};

/* Needs CAP_NET_ADMIN, CAP_SYS_ADMIN and /dev/net/tun. The seed decides which packets are lost. */
int net_open(struct net *net, uint32_t node_count, uint64_t seed, struct err *err) MUST_USE;
/* "10.66.0.N" */
void net_address(uint32_t node, char ret[CELL_ADDR_MAX + 1]);
/* The calling process lives in that node from now on. */
int net_enter(const struct net *net, uint32_t node, struct err *err) MUST_USE;
/* Is this process in that node? */
bool net_has(const struct net *net, uint32_t node, pid_t pid);
void net_set(struct net *net, uint32_t from, uint32_t to, const struct net_rule *rule);

/* The switch's work; never returns. */
_Noreturn void switch_run(const int *tuns, uint32_t count, struct net_shared *shared,
                          uint64_t seed);

#endif
