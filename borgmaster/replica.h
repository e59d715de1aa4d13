/*
 * replica.h - one of the cell's masters: assembles the core and the modules on top of it.
 *
 *      service (RPC methods)
 *      links, leader, scheduler, members, forward     modules: each is handed those it calls
 *      peers
 *      core (core.h): log, cell, inbox, store         includes none of the above
 *
 * All of it runs on the loop's thread. All replicas apply the same commands; only the leader stamps
 * commands, schedules, and watches for silent machines (leader.h, scheduler.h).
 */
#ifndef BORGMASTER_REPLICA_H
#define BORGMASTER_REPLICA_H

#include "core.h"

struct replica;

/* Without options->bootstrap an empty directory is given a log only when the other replicas say
 * that this one may join. After an error the process must end. */
int replica_open(const struct core_options *options, struct replica **ret,
                 struct err *err) MUST_USE;
/* Hand leadership over if this replica has it, stop the log, write all queued deltas to SQLite,
 * then call `cb`: the process may exit. A replica lasts as long as its process, so nothing else is
 * released. */
void replica_close(struct replica *replica, void (*cb)(void *data), void *data);
struct core *replica_core(const struct replica *replica);

#endif
