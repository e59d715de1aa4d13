/*
 * peers.h - connections to the other replicas: commands forwarded to the leader, calls of it.
 *
 * One connection to each is kept up, so that a new leader can be reached the moment it is known.
 */
#ifndef BORGMASTER_PEERS_H
#define BORGMASTER_PEERS_H

#include "replica.h"
#include "rpc.h"

struct peers;

struct peers *peers_new(const struct replica_options *options);
/* These are the replicas now, ourselves included. */
void peers_set(struct peers *peers, const struct masters *masters);

/* Call a method of replica `to` that answers with a wire_answer; `cb` as in replica_command(). The
 * caller bounds what is under way: the connection is everybody's. */
void peers_request(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                   replica_answer_cb cb, void *data);
/* Any method, its answer as it is; no callback when it cannot be sent. */
void peers_call(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data);

#endif
