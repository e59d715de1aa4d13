/*
 * reads.h - reads of the cell: SQL at the freshness that was asked for, and answers to `why`.
 *
 * A plain query sees what this replica has projected, or waits for the index that its client has
 * seen elsewhere. A fresh query sees everything that was acknowledged before it was asked. Only the
 * leader knows up to which index that is (Raft thesis 6.4): it writes a barrier, which all waiting
 * queries share. A follower asks the leader for the index, once for all waiting queries, and waits
 * until its database has it.
 *
 * `why` is computed on the loop, which looks at each machine and at the waiting tasks: one piece in
 * a turn, users in turns, so that requests do not delay heartbeats.
 */
#ifndef BORGMASTER_READS_H
#define BORGMASTER_READS_H

#include "peers.h"

struct reads;

/* `peers` is borrowed. */
struct reads *reads_new(struct core *core, struct peers *peers);
/* RPC handlers: WIRE_QUERY and WIRE_WHY of users, WIRE_BARRIER of followers. */
void reads_on_query(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                    const void *body, size_t size);
void reads_on_why(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                  const void *body, size_t size);
void reads_on_barrier(struct reads *reads, struct rpc_call *call);

#endif
