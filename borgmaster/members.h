/*
 * members.h - who the replicas are and who of them leads, as far as operators decide it.
 */
#ifndef BORGMASTER_MEMBERS_H
#define BORGMASTER_MEMBERS_H

#include "replica.h"
#include "rpc.h"

struct members;

struct members *members_new(struct replica *replica);

/* rpc handler: WIRE_TRANSFER. Answered when another replica leads, or none does in time. */
void members_on_transfer(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                         const void *body, size_t size);

#endif
