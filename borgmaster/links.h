/*
 * links.h - the link shard: the borglets connected to this replica, what they run, what they
 * should.
 *
 * The connection is the assignment: a borglet dials a replica of its choice and that one drives it.
 * Intents are pushed when the cell changes, reports are proposed until the cell says the same
 * (link_diff.h decides both). Intents carry the applied index; a borglet ignores older ones, so a
 * replica that lags or is cut off can do no harm. A replica that has had no leader for
 * LINKS_LEADERLESS_MS closes its links: the borglets find one that has.
 */
#ifndef BORGMASTER_LINKS_H
#define BORGMASTER_LINKS_H

#include "replica.h"
#include "rpc.h"

enum {
    LINKS_HEARTBEAT_MS = 1000,
    LINKS_SILENT_MS = 5000,
    LINKS_LEADERLESS_MS = 3000,
    LINKS_RESEND_MS = 1000,
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
/* The cell was replaced as a whole. */
void links_reset(struct links *links);
/* Machines heard of within LINKS_HEARTBEAT_MS * 5 / 2; the caller frees with wire_alive_release().
 */
struct wire_alive links_alive(const struct links *links);
size_t links_count(const struct links *links);

#endif
