/*
 * net.h - a simulated network for a cell on one machine, with faults per direction.
 *
 * Each node is a network namespace whose only link is a TUN device. One small process, the switch,
 * has the other ends and forwards packets according to rules in shared memory. There is no kernel
 * module and nothing to clean up: everything ends with the processes.
 *
 * After net_open() the calling process is in node 0, the desk.
 */
#ifndef CHAOS_NET_H
#define CHAOS_NET_H

#include "err.h"
#include "limits.h"

#include <stdatomic.h>
#include <sys/types.h>

enum { NET_NODES_MAX = 16, NET_DESK = 0 };

/* Treatment of packets from one node to another. */
struct net_rule {
    bool cut;
    uint32_t delay_ms;
    uint32_t jitter_ms;     /* maximum of a random extra delay per packet, which reorders packets */
    uint32_t loss_permille; /* lost packets */
    uint32_t rate_kibs;     /* KiB per second; 0: unlimited */
};

/* A rule as separate atomic numbers, which both processes access. */
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
    int tuns[NET_NODES_MAX];       /* only used by the switch once it runs */
    struct net_shared *shared;
    pid_t pid; /* of the switch */
};

/* Needs CAP_NET_ADMIN, CAP_SYS_ADMIN and /dev/net/tun. The seed determines which packets are lost.
 */
int net_open(struct net *net, uint32_t node_count, uint64_t seed, struct err *err) MUST_USE;
/* Return the address "10.66.0.N". */
void net_address(uint32_t node, char ret[CELL_ADDR_MAX + 1]);
/* Move the calling process to that node. */
int net_enter(const struct net *net, uint32_t node, struct err *err) MUST_USE;
/* Return whether the process is in that node. */
bool net_has(const struct net *net, uint32_t node, pid_t pid);
void net_set(struct net *net, uint32_t from, uint32_t to, const struct net_rule *rule);

/* The main function of the switch; never returns. */
_Noreturn void switch_run(const int *tuns, uint32_t count, struct net_shared *shared,
                          uint64_t seed);

#endif
