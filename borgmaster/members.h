/*
 * members.h - who the replicas are and who of them leads: what operators decide, carried out.
 *
 * The cell says who is wanted (table `replicas`), the leader brings the log's members there, one
 * step at a time (members_next.h). A replica without a leader asks the others whether it may be
 * here: one with an empty directory before it opens its log, one that was removed to learn of it.
 */
#ifndef BORGMASTER_MEMBERS_H
#define BORGMASTER_MEMBERS_H

#include "replica.h"
#include "rpc.h"

struct members;

struct members *members_new(struct replica *replica);

/* On the leader: take a command that changes the replicas, if it is one, as replica_command() does.
 * It is proposed when all members have been asked and a majority of those who will be left has
 * answered; else it is refused, and why. */
bool members_take(struct members *members, const struct cmd *cmd, replica_answer_cb cb, void *data);
/* The log has been opened. Is it held back, the others are asked first whether it has all that it
 * once acknowledged. */
void members_on_opened(struct members *members);
/* What the change under way waits for; "" for nothing. */
const char *members_waiting(const struct members *members);

/* rpc handler: WIRE_TRANSFER. Answered when another replica leads, or none does in time. */
void members_on_transfer(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                         const void *body, size_t size);
/* An answer to the question whether we are an old copy counts when it comes within so long, or
 * while we are still held back. */
enum { MEMBERS_ANSWER_MS = 250 };
/* Pure: is it an old copy of itself that asks, when we know since acked_age_ms that it had stored
 * acked_index? */
bool members_is_old_copy(const struct wire_join *asked, uint64_t acked_index,
                         uint64_t acked_age_ms);
/* rpc handler: WIRE_JOIN */
void members_on_join(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                     const void *body, size_t size);

#endif
