/*
 * raftlog_guard_impl.h - declarations shared by the files of the guard; for them only.
 */
#ifndef RAFTLOG_GUARD_IMPL_H
#define RAFTLOG_GUARD_IMPL_H

#include "raftlog_guard.h"

struct guard_held {
    struct list link;
    struct raft_message message;
    char address[]; /* target of message.server_address */
};

static inline struct raftlog_guard *guard_of(struct raft_io *io)
{
    return CONTAINER_OF(io, struct raftlog_guard, io);
}

static inline bool guard_on(const struct raftlog_guard *g, enum guard_rule rule)
{
    return (g->off & BIT(rule)) == 0;
}

/* Return whether a leader's snapshot is being installed: a put without `pending`, which is set
 * for our own. */
static inline bool guard_installing(const struct raft *r)
{
    return r->snapshot.put.data != NULL && r->snapshot.pending.term == 0;
}

/* Drop all further calls and report the failure to the owner. */
void guard_fatal(struct raftlog_guard *g, bool damaged, const char *fmt, ...) PRINTF_LIKE(3, 4);
void guard_held_drop(struct raftlog_guard *g);
struct guard_held *guard_held_new(const struct raft_message *m);
/* Release a message that we drop. The receiver of a message owns its entries or its snapshot. */
void guard_message_release(struct raft_message *m);
/* Release a single kept message with its content. */
void guard_kept_drop(struct guard_held **kept);
/* Pass a message to the library and record how much its answer may acknowledge. */
void guard_deliver(struct raftlog_guard *g, struct raft_message *m);
bool guard_is_member(const struct raftlog_guard *g, raft_id id);
/* Return our record of a follower in this term; NULL: there are too many. */
struct guard_peer *guard_peer(struct raftlog_guard *g, raft_id id);
/* Carry out what an event has made possible or necessary; called after every event. */
void guard_settle(struct raftlog_guard *g);

/* raftlog_guard_disk.c: install its methods in g->io. */
void guard_disk_install(struct raftlog_guard *g);
/* The disk is closed: cancel the writes that wait for it. */
void guard_disk_close(struct raftlog_guard *g);

/* Begin the reads of our snapshot that waited for the next snapshot. */
void guard_gets_begin(struct raftlog_guard *g);

/* raftlog_guard_snapshot.c: G9, G11, G15. For a follower; true: the library must not get the
 * message, or not yet. */
bool guard_snapshot_conflict(struct raftlog_guard *g, const struct raft_message *m);
bool guard_bad_image(struct raftlog_guard *g, const struct raft_message *m);
bool guard_take_snapshot(struct raftlog_guard *g, const struct raft_message *m);
void guard_snapshots_step(struct raftlog_guard *g); /* continue with waiting snapshots */
/* For a leader. */
bool guard_is_installing(struct raftlog_guard *g, const struct raft_message *m);
int guard_send_snapshot(struct raftlog_guard *g, struct raft_io_send *req,
                        const struct raft_message *m, raft_io_send_cb cb);

/* raftlog_guard_conf.c: G13, the configuration. */
void guard_conf_install(struct raftlog_guard *g);
void guard_conf_release(struct raftlog_guard *g);
/* Check the loaded data before the library uses it. */
void guard_conf_loaded(struct raftlog_guard *g, const struct raft_snapshot *snapshot,
                       raft_index start_index, const struct raft_entry *entries, size_t n);
/* The library is about to start; it treats the newest configuration as committed. */
void guard_conf_started(struct raftlog_guard *g);
/* Keep a copy of the newest committed configuration; called after every event. */
void guard_conf_note(struct raftlog_guard *g);
/* Prepare for a message that makes the library cut its log at `index`. */
void guard_conf_cut(struct raftlog_guard *g, raft_index index);

#endif
