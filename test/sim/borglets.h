/*
 * borglets.h - the machines of the simulated cell: the real borglet (agent, link, plan) over
 * simulated processes.
 *
 * A crash of the node ends only the borglet: its tasks continue, and its next life adopts them.
 * borglet_cut_power() ends the tasks too. Data that a real machine keeps on disk or in the kernel
 * (processes, the index seen) is in static memory of this file.
 *
 * A task runs the command ["sim", MS, CODE]: it ends after MS (0: never) with exit code CODE.
 */
#ifndef SIM_BORGLETS_H
#define SIM_BORGLETS_H

#include "world.h"

#include "cmd.h"

enum { BORGLETS_MAX = 32, BORGLET_PROCESSES_MAX = 256 };

/* Make and boot the nodes "m1" to "mCOUNT", each with 4 cpus, in a few racks. */
void borglets_start(unsigned count);
unsigned borglets_count(void);
struct node *borglet_node(unsigned i);
/* Cut the power of the machine with this node: its borglet is down and all its tasks are gone. */
void borglet_cut_power(const struct node *machine);
/* From now on no task ends by itself, so that the cell can converge. */
void borglets_settle(void);

/* A process that really runs, independent of what the cell or the borglet believes. */
struct process {
    struct attempt_ref task;
    uint64_t since_ms; /* true time */
    bool told_to_stop;
};
/* List the processes of machine i, at most BORGLET_PROCESSES_MAX. */
size_t borglet_processes(unsigned i, struct process *to);

#endif
