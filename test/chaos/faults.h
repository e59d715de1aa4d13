/*
 * faults.h - faults that are under way: begun, added up where they overlap, ended.
 */
#ifndef CHAOS_FAULTS_H
#define CHAOS_FAULTS_H

#include "crew.h"
#include "plan.h"

#include <stdio.h>

enum { FAULTS_ACTIVE_MAX = 64 };

/* One under way: whom it has hit. */
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
    size_t leader; /* as the caller sees it; CREW_COUNT: nobody */
    struct fault_active active[FAULTS_ACTIVE_MAX];
    size_t active_count;
    struct net_rule rules[NET_NODES_MAX][NET_NODES_MAX]; /* as they stand now */
    uint64_t counts[FAULT_KIND_COUNT];
    uint32_t hit; /* members that had a fault of their own, as bits, until the caller clears it */
    FILE *log;    /* a line for each beginning and end */
};

void faults_begin(struct faults *f, const struct fault *fault, uint64_t now_ms);
/* End those whose time has come; `all`: all. Who died and is not kept away starts again. */
void faults_tick(struct faults *f, uint64_t now_ms, bool all);

/* Could a majority of masters work together, and be reached from the desk? */
enum faults_majority {
    MAJORITY_NONE,
    MAJORITY_POOR, /* over slow, lossy or thin links */
    MAJORITY_WELL
};
enum faults_majority faults_majority(const struct faults *f);

#endif
