/*
 * plan.h - which faults befall the cell, and when: a function of a seed. Pure.
 *
 * The same seed is the same plan, though the cell will not do the same things again: who leads when
 * "the leader" is killed is decided by the cell.
 */
#ifndef CHAOS_PLAN_H
#define CHAOS_PLAN_H

#include "base.h"

/* What a fault needs beside processes. */
enum { PLAN_NET = 1, PLAN_DISK = 2, PLAN_CLOCK = 4, PLAN_MACHINE = 8 };

/* name, how often among the others, what it needs, shortest and longest in ms, text */
#define FAULT_KINDS(X) \
    X(KILL_LEADER, 7, 0, 200, 4000, "leader killed") \
    X(KILL_MASTER, 6, 0, 200, 5000, "master killed") \
    X(KILL_ALL, 2, 0, 500, 2000, "all masters killed") \
    X(STOP_LEADER, 5, 0, 300, 4000, "leader stopped") \
    X(STOP_MASTER, 4, 0, 500, 13000, "master stopped") \
    X(CUT_LEADER, 5, PLAN_NET, 500, 6000, "leader cut off") \
    X(CUT_LEADER_OUT, 4, PLAN_NET, 500, 6000, "leader mute") \
    X(CUT_LEADER_IN, 4, PLAN_NET, 500, 6000, "leader deaf") \
    X(CUT_ONE_WAY, 4, PLAN_NET, 500, 6000, "master mute or deaf") \
    X(CUT_PAIR, 4, PLAN_NET, 500, 6000, "two masters apart") \
    X(SPLIT, 5, PLAN_NET, 500, 6000, "minority cut off") \
    X(TRANSFER, 3, 0, 200, 1000, "leadership handed over") \
    X(SLOW, 3, PLAN_NET, 1000, 6000, "slow links of a master") \
    X(LOSSY, 3, PLAN_NET, 1000, 6000, "lossy links of a master") \
    X(REORDER, 3, PLAN_NET, 1000, 6000, "packets overtake") \
    X(THIN, 3, PLAN_NET, 1000, 6000, "thin links of a master") \
    X(DISK_FULL, 3, PLAN_DISK, 1000, 5000, "disk of a master full") \
    X(CLOCK, 4, PLAN_CLOCK, 2000, 15000, "clock of a master jumps") \
    X(KILL_BORGLET, 4, 0, 200, 6000, "borglet killed") \
    X(STOP_BORGLET, 3, 0, 1000, 12000, "borglet stopped") \
    X(KILL_MACHINE, 3, PLAN_MACHINE, 1000, 12000, "machine killed") \
    X(CUT_MACHINE, 4, PLAN_NET, 1000, 14000, "machine cut off") \
    X(CUT_MACHINE_ONE_WAY, 3, PLAN_NET, 1000, 14000, "machine mute or deaf")

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
    uint32_t who, other; /* drawn numbers: whoever they are taken for */
    uint32_t amount;     /* drawn, 0 to 999: how bad */
};

enum { PLAN_FAULTS_MAX = 2000 };

/* `count` faults in the order of at_ms, spread over `span_ms`, of the kinds that need no more than
 * `has`. */
void plan_make(uint64_t seed, uint32_t has, uint64_t span_ms, struct fault *ret, size_t count);

#endif
