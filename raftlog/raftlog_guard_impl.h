/*
 * raftlog_guard_impl.h - what the files of the guard share. Nobody else includes it.
 */
#ifndef RAFTLOG_GUARD_IMPL_H
#define RAFTLOG_GUARD_IMPL_H

#include "raftlog_guard.h"

struct guard_held {
    struct list link;
    struct raft_message message;
    char address[]; /* what message.server_address points to */
};

static inline struct raftlog_guard *guard_of(struct raft_io *io)
{
    return CONTAINER_OF(io, struct raftlog_guard, io);
}

static inline bool guard_on(const struct raftlog_guard *g, enum guard_rule rule)
{
    return (g->off & BIT(rule)) == 0;
}

/* pending is our own snapshot; a put without it is one that a leader sends us. */
static inline bool guard_installing(const struct raft *r)
{
    return r->snapshot.put.data != NULL && r->snapshot.pending.term == 0;
}

/* Nothing passes any more, and the owner hears of it. */
void guard_fatal(struct raftlog_guard *g, bool damaged, const char *fmt, ...) PRINTF_LIKE(3, 4);
void guard_held_drop(struct raftlog_guard *g);
struct guard_held *guard_held_new(const struct raft_message *m);
/* The receiver of a message owns its entries or its snapshot; that is us when we drop it. */
void guard_message_release(struct raft_message *m);
/* Forget a message that waits alone, with what it carries. */
void guard_kept_drop(struct guard_held **kept);
/* Give a message to the library and note what it may acknowledge in its answer. */
void guard_deliver(struct raftlog_guard *g, struct raft_message *m);
bool guard_is_member(const struct raftlog_guard *g, raft_id id);
/* What we know of it in this term; NULL: there are too many. */
struct guard_peer *guard_peer(struct raftlog_guard *g, raft_id id);
/* After every event: what the event made necessary or possible. */
void guard_settle(struct raftlog_guard *g);

/* raftlog_guard_disk.c: puts its methods into g->io. */
void guard_disk_install(struct raftlog_guard *g);
/* The disk is closed: nothing that waits for it will be written. */
void guard_disk_close(struct raftlog_guard *g);

/* Reads of our snapshot that waited until our next one was done. */
void guard_gets_begin(struct raftlog_guard *g);

/* raftlog_guard_snapshot.c: G9, G11, G15. A follower's; true: the message is not for the library,
 * or not yet. */
bool guard_snapshot_conflict(struct raftlog_guard *g, const struct raft_message *m);
bool guard_bad_image(struct raftlog_guard *g, const struct raft_message *m);
bool guard_take_snapshot(struct raftlog_guard *g, const struct raft_message *m);
void guard_snapshots_step(struct raftlog_guard *g); /* what has waited, as far as it can go */
/* A leader's. */
bool guard_still_installs(struct raftlog_guard *g, const struct raft_message *m);
int guard_send_snapshot(struct raftlog_guard *g, struct raft_io_send *req,
                        const struct raft_message *m, raft_io_send_cb cb);

/* raftlog_guard_conf.c: G13, who the members are. */
void guard_conf_install(struct raftlog_guard *g);
void guard_conf_release(struct raftlog_guard *g);
/* What was on the disk, before the library works on it. */
void guard_conf_loaded(struct raftlog_guard *g, const struct raft_snapshot *snapshot,
                       raft_index start_index, const struct raft_entry *entries, size_t n);
/* The library is about to start: it has taken the newest configuration for committed. */
void guard_conf_started(struct raftlog_guard *g);
/* After every event: keep a copy of the newest that is committed. */
void guard_conf_note(struct raftlog_guard *g);
/* Before a message that makes the library cut its log at `index`. */
void guard_conf_cut(struct raftlog_guard *g, raft_index index);

#endif
