/*
 * borglets.h - the machines of the simulated cell: on each the real borglet (agent, link, plan)
 * over processes that are made up.
 *
 * A crash of the node is a crash of the borglet alone: its tasks go on, and the next life adopts
 * them. borglet_cut_power() takes the tasks too. What a machine keeps over both (processes, the
 * index seen) is in static memory of this file, as it is on disk and in the kernel of a real one.
 *
 * A task runs the command ["sim", MS, CODE]: it ends by itself after MS (0: never) with CODE.
 */
#ifndef SIM_BORGLETS_H
#define SIM_BORGLETS_H

#include "world.h"

#include "cmd.h"

enum { BORGLETS_MAX = 32, BORGLET_PROCESSES_MAX = 256 };

/* Nodes "m1" to "mCOUNT", each of 4 cpus, in a few racks; boots them. */
void borglets_start(unsigned count);
unsigned borglets_count(void);
struct node *borglet_node(unsigned i);
/* Of the machine with this node: its borglet is down afterwards, and nothing runs there. */
void borglet_cut_power(const struct node *machine);
/* From now on no task ends by itself: what the cell wants to run then comes to rest. */
void borglets_settle(void);

/* A process that really runs, whatever anybody believes. */
struct process {
    struct attempt_ref task;
    uint64_t since_ms; /* true time */
    bool told_to_stop;
};
/* Those of machine i; at most BORGLET_PROCESSES_MAX. */
size_t borglet_processes(unsigned i, struct process *to);

#endif
