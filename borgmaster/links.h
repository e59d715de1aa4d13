/*
 * links.h - the link shard: drives the borglets that are connected to this replica.
 *
 * The connection is the assignment: a borglet dials a replica of its choice, and that replica
 * drives it. Intents are pushed when the cell changes; reports are proposed until the cell shows
 * them (link_diff.h decides both). The leader may ask a replica to move some borglets (shares.h).
 *
 * A replica that lags, was stopped or is cut off does no harm:
 * - Intents carry the applied index, and a borglet ignores older intents than it has seen.
 * - A replica sends nothing to a borglet that has seen a newer index than it has applied
 *   (LINK_WAITING).
 * - A message that comes after LINKS_SILENT_MS of silence is stale; the link is closed instead.
 * - Only the borglet itself says that a task is lost which the cell takes for running
 *   (INTENT_SHOW): it may have received the task through another replica, and may have left this
 *   connection.
 * - Without a leader for LINKS_LEADERLESS_MS the replica closes its links, and the borglets find a
 *   replica that has one. It does the same when the leader has not answered its reports for
 *   LINKS_UNANSWERED_MS, since the leader would soon declare its machines down.
 */
#ifndef BORGMASTER_LINKS_H
#define BORGMASTER_LINKS_H

#include "core.h"
#include "rpc.h"

enum {
    /* A borglet leaves a silent replica after two heartbeats and half a second (borglet/link.h). */
    LINKS_HEARTBEAT_MIN_MS = 700,
    LINKS_HEARTBEAT_MAX_MS = 2000, /* for a replica with very many links */
    LINKS_HEARTBEATS_S = 8000,     /* heartbeats in a second that one replica handles easily */
    LINKS_SILENT_MS = 5000,
    LINKS_LEADERLESS_MS = 2000,
    LINKS_UNANSWERED_MS = 3000, /* well below LEADER_SILENT_MS */
    LINKS_RESEND_MS = 1000,
    LINKS_CERTS_MS = 5000,
    LINKS_REMOVED_MAX = 64, /* removed masters that borglets are told */
};

struct links;

struct links *links_new(struct core *core);

/* Handle a connection of a borglet; rpc_data() belongs to the links from here on. */
void links_on_open(struct links *links, struct rpc_conn *conn);
void links_on_close(struct rpc_conn *conn);
/* rpc handlers */
void links_on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);
void links_on_usage(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);
void links_on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);

/* Reconcile these machines, which changed in the cell (ids, repetitions allowed). */
void links_touch(struct links *links, const uint64_t *machines, size_t count);
/* Propose what was reported in this turn of the loop. */
void links_flush(struct links *links);
/* Tell every borglet the present masters. */
void links_tell_replicas(struct links *links);
/* Tell every borglet the rights and revocations, over several turns if there are many links. */
void links_tell_identities(struct links *links);
/* Close all links: the cell was replaced as a whole. */
void links_reset(struct links *links);
/* Record that the leader has answered, or that this replica leads. */
void links_answered(struct links *links);
/* Ask `count` borglets, those that connected last, to move to replica `to`. */
void links_shed(struct links *links, uint64_t to, size_t count);
/* Returns which machines were heard since the last call, for the leader; `bits` owns the bits. */
struct wire_alive links_alive(struct links *links, struct buf *bits);
size_t links_count(const struct links *links);
/* Machine certificates that end soon, and the one that ends first; computed every
 * LINKS_CERTS_MS. */
struct links_certs {
    uint64_t soon, first_ms;
    char first[CELL_NAME_MAX + 1];
};
const struct links_certs *links_certs(struct links *links);

#endif
