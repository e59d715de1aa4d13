/*
 * members.h - carries out what operators decide about the replicas: who is a member, and who leads.
 *
 * The table `replicas` of the cell says which members are wanted. The leader changes the members of
 * the log accordingly, one step at a time (members_next.h). A replica without a leader asks the
 * others whether it is a member: one with an empty directory before it opens its log, and one that
 * was removed, which learns of it this way.
 */
#ifndef BORGMASTER_MEMBERS_H
#define BORGMASTER_MEMBERS_H

#include "peers.h"

struct members;

/* `peers` is borrowed. */
struct members *members_new(struct core *core, struct peers *peers);

/* As core_propose(). The leader proposes a command that changes the replicas only after it has
 * asked all members, and a majority of those that remain has answered; else it refuses the command.
 * It proposes another format of the cell only if all masters have said lately that they know it.
 */
void members_command(struct members *members, const struct cmd *cmd, answer_cb cb, void *data);
/* The log was opened. If it is held, the others are first asked whether it has everything that it
 * once acknowledged. */
void members_on_opened(struct members *members);
/* Returns what the change under way waits for; "": none is under way. */
const char *members_waiting(const struct members *members);

/* RPC handler of WIRE_TRANSFER. It answers when another replica leads, or when none does in
 * time. */
void members_on_transfer(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                         const void *body, size_t size);
/* The answer to whether our log is an old copy counts if it comes within this time, or while the
 * log is held. */
enum { MEMBERS_ANSWER_MS = 250 };
/* Pure. Returns whether the asking replica is an old copy of itself, given that it reported
 * acked_age_ms ago that it had stored acked_index. */
bool members_is_old_copy(const struct wire_join *asked, uint64_t acked_index,
                         uint64_t acked_age_ms);
/* RPC handler of WIRE_JOIN. */
void members_on_join(struct members *members, struct rpc_conn *conn, struct rpc_call *call,
                     const void *body, size_t size);

#endif
