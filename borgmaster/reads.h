/*
 * reads.h - reading the cell: SQL as new as was asked for, and the answers to why.
 *
 * A plain query sees what this replica has projected, or waits for the index that the client has
 * seen elsewhere. A fresh one sees everything that was acknowledged before it was asked: only the
 * leader can tell how far that is (Raft thesis 6.4), by a barrier that all who wait share; a
 * follower asks it for the index, once for all who wait, and waits until it has that too.
 *
 * Why is computed on the loop, a look at each machine and at the work of those without room: one
 * a turn, users in turns, so that nobody stops the heartbeats by asking.
 */
#ifndef BORGMASTER_READS_H
#define BORGMASTER_READS_H

#include "replica.h"
#include "rpc.h"

struct reads;

struct reads *reads_new(struct replica *replica);
/* rpc handlers: WIRE_QUERY, WIRE_WHY of users, WIRE_BARRIER of followers */
void reads_on_query(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                    const void *body, size_t size);
void reads_on_why(struct reads *reads, struct rpc_conn *conn, struct rpc_call *call,
                  const void *body, size_t size);
void reads_on_barrier(struct reads *reads, struct rpc_call *call);

#endif
