/*
 * faults.h - active faults: start them, combine overlapping ones, end them.
 */
#ifndef CHAOS_FAULTS_H
#define CHAOS_FAULTS_H

#include "crew.h"
#include "plan.h"

#include <stdio.h>

enum { FAULTS_ACTIVE_MAX = 64 };

/* An active fault and its targets. */
struct fault_active {
    struct fault fault;
    uint64_t until_ms;
    size_t member;     /* CREW_COUNT: several */
    uint32_t from, to; /* nodes, as bits: packets from one to the other, and back if both_ways */
    bool both_ways;
    struct net_rule rule;
};

struct faults {
    struct crew *crew;
    size_t leader; /* known to the caller; CREW_COUNT: none */
    struct fault_active active[FAULTS_ACTIVE_MAX];
    size_t active_count;
    struct net_rule rules[NET_NODES_MAX][NET_NODES_MAX]; /* the rules in force */
    uint64_t counts[FAULT_KIND_COUNT];
    uint32_t hit; /* members that had a fault of their own, as bits; the caller clears it */
    FILE *log;    /* a line for each start and end */
};

void faults_begin(struct faults *f, const struct fault *fault, uint64_t now_ms);
/* End the faults that are due, or `all`. Restart members that have died and may run. */
void faults_tick(struct faults *f, uint64_t now_ms, bool all);

/* Whether a majority of masters is connected and can be reached by the users. */
enum faults_majority {
    MAJORITY_NONE,
    MAJORITY_POOR, /* only over slow, lossy or thin links */
    MAJORITY_WELL
};
enum faults_majority faults_majority(const struct faults *f);

#endif
