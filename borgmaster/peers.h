/*
 * peers.h - connections to the other replicas, for commands to the leader and calls between
 * masters.
 *
 * One connection to each replica is kept open, so that a new leader can be reached at once.
 */
#ifndef BORGMASTER_PEERS_H
#define BORGMASTER_PEERS_H

#include "core.h"
#include "rpc.h"

struct peers;

struct peers *peers_new(const struct core_options *options);
/* Connect to these replicas, without ourselves, and close connections to all others. */
void peers_set(struct peers *peers, const struct masters *masters);

/* Call a method of replica `to` that answers with a wire_answer; see core_propose() for `cb`. The
 * caller bounds its number of calls, since all callers share the connection. */
void peers_request(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                   answer_cb cb, void *data);
/* Call any method; `cb` gets the answer unparsed. There is no callback if it cannot be sent. */
void peers_call(struct peers *peers, uint64_t to, uint32_t method, const struct buf *body,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data);

#endif
