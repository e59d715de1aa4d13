/*
 * links.h - the link shard: the borglets connected to this replica, what they run, what they
 * should.
 *
 * The connection is the assignment: a borglet dials a replica of its choice and that one drives it.
 * Intents are pushed when the cell changes, reports are proposed until the cell says the same
 * (link_diff.h decides both). The leader may have us ask some to move (shares.h).
 *
 * A replica that lags, is stopped or cut off can do no harm:
 *   - intents carry the applied index, and a borglet ignores older ones than it has seen;
 *   - a link whose borglet has seen a newer index than we have applied says nothing (LINK_WAITING);
 *   - what a link says after LINKS_SILENT_MS of silence is of the past, it is closed instead;
 *   - only a borglet itself says that it has lost what the cell takes for running (INTENT_SHOW): it
 *     may have got it through another replica, and not be on this connection any more;
 *   - without a leader for LINKS_LEADERLESS_MS we close our links: the borglets find one that has.
 *     So we do when we hear the leader and it does not hear us: it answers when we tell it who is
 *     alive, and when it has not for LINKS_UNANSWERED_MS it would soon declare them down.
 */
#ifndef BORGMASTER_LINKS_H
#define BORGMASTER_LINKS_H

#include "replica.h"
#include "rpc.h"

enum {
    /* A replica that is mute is left after two heartbeats and half a second (borglet/link.h). */
    LINKS_HEARTBEAT_MIN_MS = 700,
    LINKS_HEARTBEAT_MAX_MS = 2000, /* of a shard with very many links */
    LINKS_HEARTBEATS_S = 8000,     /* so many a second are no burden */
    LINKS_SILENT_MS = 5000,
    LINKS_LEADERLESS_MS = 2000,
    LINKS_UNANSWERED_MS = 3000, /* well below LEADER_SILENT_MS */
    LINKS_RESEND_MS = 1000,
    LINKS_CERTS_MS = 5000,
    LINKS_REMOVED_MAX = 64, /* masters that were removed, told to borglets */
};

struct links;

struct links *links_new(struct replica *replica);

/* Connections of borglets: rpc_data() is theirs from here on. */
void links_on_open(struct links *links, struct rpc_conn *conn);
void links_on_close(struct rpc_conn *conn);
/* rpc handlers */
void links_on_hello(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);
void links_on_usage(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);
void links_on_report(struct rpc_conn *conn, struct rpc_call *call, const void *body, size_t size);

/* These machines (ids, repetitions allowed) changed in the cell. */
void links_touch(struct links *links, const uint64_t *machines, size_t count);
/* At the end of a turn: propose what was reported in it. */
void links_flush(struct links *links);
/* The replicas are others than before: every borglet is told. */
void links_tell_replicas(struct links *links);
/* Rights or revocations changed, or may have: every borglet is told, over some turns if they are
 * many. */
void links_tell_identities(struct links *links);
/* The cell was replaced as a whole. */
void links_reset(struct links *links);
/* The leader has answered, or we are it. */
void links_answered(struct links *links);
/* Ask `count` borglets to go to another replica: those that came last. */
void links_shed(struct links *links, uint64_t to, size_t count);
/* Whom we have heard of since the last call, for the leader; `bits` keeps it. */
struct wire_alive links_alive(struct links *links, struct buf *bits);
size_t links_count(const struct links *links);
/* How many of them have certificates that end soon, and which of all ends first; looked at every
 * LINKS_CERTS_MS. */
struct links_certs {
    uint64_t soon, first_ms;
    char first[CELL_NAME_MAX + 1];
};
const struct links_certs *links_certs(struct links *links);

#endif
