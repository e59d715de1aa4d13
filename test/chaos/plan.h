/*
 * plan.h - a plan of faults with times, as a function of a seed. Pure.
 *
 * Equal seeds give equal plans but not equal runs: the cell determines, for example, which master
 * is the leader when a plan kills the leader.
 */
#ifndef CHAOS_PLAN_H
#define CHAOS_PLAN_H

#include "base.h"

/* Requirements of a fault beside processes. */
enum { PLAN_NET = 1, PLAN_DISK = 2, PLAN_CLOCK = 4, PLAN_MACHINE = 8 };

/* Name, weight, requirements, shortest and longest duration in ms, text. */
#define FAULT_KINDS(X) \
    X(KILL_LEADER, 7, 0, 200, 4000, "leader killed") \
    X(KILL_MASTER, 6, 0, 200, 5000, "master killed") \
    X(KILL_ALL, 2, 0, 500, 2000, "all masters killed") \
    X(STOP_LEADER, 5, 0, 300, 4000, "leader stopped") \
    X(STOP_MASTER, 4, 0, 500, 13000, "master stopped") \
    X(CUT_LEADER, 5, PLAN_NET, 500, 6000, "leader partitioned") \
    X(CUT_LEADER_OUT, 4, PLAN_NET, 500, 6000, "leader mute") \
    X(CUT_LEADER_IN, 4, PLAN_NET, 500, 6000, "leader deaf") \
    X(CUT_ONE_WAY, 4, PLAN_NET, 500, 6000, "one direction of a master cut") \
    X(CUT_PAIR, 4, PLAN_NET, 500, 6000, "two masters separated") \
    X(SPLIT, 5, PLAN_NET, 500, 6000, "minority partitioned") \
    X(TRANSFER, 3, 0, 200, 1000, "leadership transferred") \
    X(SLOW, 3, PLAN_NET, 1000, 6000, "slow links of a master") \
    X(LOSSY, 3, PLAN_NET, 1000, 6000, "lossy links of a master") \
    X(REORDER, 3, PLAN_NET, 1000, 6000, "packets overtake") \
    X(THIN, 3, PLAN_NET, 1000, 6000, "thin links of a master") \
    X(DISK_FULL, 3, PLAN_DISK, 1000, 5000, "disk of a master full") \
    X(CLOCK, 4, PLAN_CLOCK, 2000, 15000, "clock of a master jumps") \
    X(KILL_BORGLET, 4, 0, 200, 6000, "borglet killed") \
    X(STOP_BORGLET, 3, 0, 1000, 12000, "borglet stopped") \
    X(KILL_MACHINE, 3, PLAN_MACHINE, 1000, 12000, "machine killed") \
    X(CUT_MACHINE, 4, PLAN_NET, 1000, 14000, "machine partitioned") \
    X(CUT_MACHINE_ONE_WAY, 3, PLAN_NET, 1000, 14000, "one direction of a machine cut")

enum fault_kind {
#define X(name, weight, needs, shortest, longest, text) FAULT_##name,
    FAULT_KINDS(X)
#undef X
        FAULT_KIND_COUNT
};
const char *fault_text(enum fault_kind kind);

struct fault {
    enum fault_kind kind;
    uint64_t at_ms;
    uint64_t for_ms;
    uint32_t who, other; /* random numbers that select the targets */
    uint32_t amount;     /* random severity, 0 to 999 */
};

enum { PLAN_FAULTS_MAX = 2000 };

/* Draw `count` faults in order of at_ms, over `span_ms`, of the kinds whose requirements are in
 * `has`. */
void plan_make(uint64_t seed, uint32_t has, uint64_t span_ms, struct fault *ret, size_t count);

#endif
