/*
 * raftlog_guard_snapshot.c - the transfer of snapshots from a leader to a follower: G9, G11, G15.
 */
#include "raftlog_guard_impl.h"

#include <stdlib.h>

/*
 * G9. The library also answers "all entries of this snapshot are stored" when they are not on disk
 * yet, and when our entry at its last index is a different one, of a higher term (cowsql e514f78f
 * af243f81). guard_send limits the first answer. The second case needs more uncommitted entries
 * than a leader keeps behind its snapshot, which leaders with 16 proposals in flight do not write,
 * and it cannot be repaired from outside: the replica stops and must be replaced.
 */
bool guard_snapshot_conflict(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    const struct raft_install_snapshot *args = &m->install_snapshot;
    if (!guard_on(g, GUARD_ACK_STORED) || m->type != RAFT_IO_INSTALL_SNAPSHOT ||
        args->term < r->current_term || args->last_index <= r->commit_index)
        return false;
    raft_term ours = raftlog_guard_term_of(&r->log, args->last_index);
    if (ours <= args->last_term)
        return false;
    g->used[GUARD_ACK_STORED]++;
    guard_fatal(g, true,
                "our entry %llu has term %llu, in the cell's snapshot it has %llu: this log cannot "
                "be repaired",
                args->last_index, ours, args->last_term);
    return true;
}

/* A snapshot that was damaged on the leader's disk would replace our log. */
bool guard_bad_image(struct raftlog_guard *g, const struct raft_message *m)
{
    return m->type == RAFT_IO_INSTALL_SNAPSHOT && g->owner.image_ok != NULL &&
           g->owner.prepare == NULL && !g->owner.image_ok(g->owner.data, &m->install_snapshot.data);
}

/* Return whether the library will install the snapshot. Otherwise it answers at once: the term
 * is older, or we have the snapshot's last entry and so all entries before it. */
static bool snapshot_is_newer(const struct raft *r, const struct raft_install_snapshot *args)
{
    raft_term ours = raftlog_guard_term_of(&r->log, args->last_index);
    return args->term >= r->current_term && args->last_index > r->log.snapshot.last_index &&
           (ours == 0 || ours < args->last_term);
}

/* Drop a prepared image that will not be restored. */
static void snapshot_unprepare(struct raftlog_guard *g)
{
    if (g->prepared)
        g->owner.unprepare(g->owner.data);
    g->prepared = false;
}

/* Examine the waiting snapshot once the one before it is installed. A snapshot that needs no
 * preparation also waits for our own snapshot, because a newer one may arrive. */
static void snapshot_begin(struct raftlog_guard *g)
{
    const struct raft *r = g->raft;
    if (g->snapshot != NULL || g->snapshot_next == NULL || guard_installing(r))
        return;
    const struct raft_install_snapshot *args = &g->snapshot_next->message.install_snapshot;
    bool prepare = g->owner.prepare != NULL && snapshot_is_newer(r, args);
    if (!prepare && r->snapshot.pending.term != 0)
        return;
    g->snapshot = g->snapshot_next;
    g->snapshot_next = NULL;
    if (!prepare)
        return;
    g->preparing = true;
    g->prepared = true;
    g->owner.prepare(g->owner.data, &args->data);
}

/* Pass a prepared snapshot to the library when our own snapshot is done. */
void guard_snapshots_step(struct raftlog_guard *g)
{
    if (g->dead || g->closing)
        return;
    snapshot_begin(g);
    if (g->snapshot == NULL || g->preparing || g->raft->snapshot.pending.term != 0)
        return;
    struct guard_held *h = g->snapshot;
    g->snapshot = NULL;
    if (guard_snapshot_conflict(g, &h->message)) /* the log has advanced */
        guard_message_release(&h->message);
    else
        guard_deliver(g, &h->message);
    free(h);
    if (!guard_installing(g->raft))
        snapshot_unprepare(g);
    g->prepared = false;
}

void raftlog_guard_prepared(struct raftlog_guard *g, bool ok)
{
    g->preparing = false;
    if (!ok) {
        guard_kept_drop(&g->snapshot);
        snapshot_unprepare(g);
    }
    if (g->dead || g->closing)
        return;
    guard_snapshots_step(g);
    guard_settle(g);
}

/*
 * G11. The library ignores an InstallSnapshot while it takes a snapshot of its own, which a
 * follower that catches up often does, or while it installs one; the leader then waits for the
 * whole install time-out (30 s by default) before it sends another. Keep the newest one until then.
 *
 * Checking and loading a snapshot takes seconds. This happens in another thread before the library
 * gets it, so that heartbeats continue; one at a time, and only for a snapshot that will replace
 * our state. A leader sends another one when the first seems lost, and one that waited for a
 * connection arrives late: most of these are answered without being loaded.
 */
bool guard_take_snapshot(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft_install_snapshot *args = &m->install_snapshot;
    if (g->dead || m->type != RAFT_IO_INSTALL_SNAPSHOT ||
        (g->owner.prepare == NULL && !guard_on(g, GUARD_KEEP_SNAPSHOT)))
        return false;
    struct guard_held *h = guard_held_new(m);
    const struct raft_install_snapshot *waits =
        g->snapshot_next != NULL ? &g->snapshot_next->message.install_snapshot : NULL;
    if (waits != NULL && (waits->term > args->term ||
                          (waits->term == args->term && waits->last_index > args->last_index))) {
        guard_kept_drop(&h);
        return true;
    }
    guard_kept_drop(&g->snapshot_next);
    g->snapshot_next = h;
    guard_snapshots_step(g);
    if (g->snapshot != NULL || g->snapshot_next != NULL)
        g->used[GUARD_KEEP_SNAPSHOT]++;
    return true;
}

/* A snapshot of ours that is being sent. */
struct snapshot_send {
    struct raft_io_send req;
    struct raftlog_guard *guard;
    struct raft_io_send *request; /* the library's */
    raft_id to;
    uint64_t number;
};

/* The snapshot was not sent, so no follower installs it. */
static void guard_on_snapshot_sent(struct raft_io_send *req, int status)
{
    struct snapshot_send *s = CONTAINER_OF(req, struct snapshot_send, req);
    struct raft_io_send *request = s->request;
    struct guard_peer *peer = status != 0 ? guard_peer(s->guard, s->to) : NULL;
    if (peer != NULL && peer->snapshot_number == s->number)
        peer->snapshot_index = 0;
    free(s);
    request->cb(request, status);
}

int guard_send_snapshot(struct raftlog_guard *g, struct raft_io_send *req,
                        const struct raft_message *m, raft_io_send_cb cb)
{
    struct guard_peer *peer = guard_peer(g, m->server_id);
    struct snapshot_send *s = xcalloc(1, sizeof *s);
    *s = (struct snapshot_send){
        .guard = g, .request = req, .to = m->server_id, .number = g->snapshots_sent + 1};
    req->cb = cb;
    int rv = g->inner->send(g->inner, &s->req, m, guard_on_snapshot_sent);
    if (rv != 0) {
        free(s);
        return rv;
    }
    g->snapshots_sent++;
    if (peer != NULL) {
        peer->snapshot_index = m->install_snapshot.last_index;
        peer->snapshot_asked = g->get_asked;
        peer->snapshot_number = g->snapshots_sent;
        peer->snapshot_ms = g->inner->time(g->inner);
    }
    return 0;
}

/*
 * G15. A leader takes the refusal of a heartbeat for a refusal of its snapshot when both end at the
 * same entry, which is normal when no commands arrive, and sends the snapshot again for each
 * heartbeat that the follower refuses while it loads the first. A follower never refuses a snapshot
 * (if it cannot store it, it ends). If the snapshot was lost with its connection, pass the refusal
 * on.
 */
bool guard_is_installing(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft_append_entries_result *result = &m->append_entries_result;
    if (!guard_on(g, GUARD_ONE_SNAPSHOT) || m->type != RAFT_IO_APPEND_ENTRIES_RESULT ||
        g->raft->state != RAFT_LEADER || result->term != g->raft->current_term ||
        result->rejected == 0)
        return false;
    struct guard_peer *peer = guard_peer(g, m->server_id);
    if (peer == NULL || peer->snapshot_index == 0 || result->rejected != peer->snapshot_asked ||
        peer->acked >= peer->snapshot_asked)
        return false;
    peer->heard_ms = MAX(g->inner->time(g->inner), (raft_time)1);
    g->used[GUARD_ONE_SNAPSHOT]++;
    return true;
}

/* A follower installs until it needs no more than the entries that a snapshot leaves in the log. */
bool raftlog_guard_follower_installs(const struct raftlog_guard *g, unsigned max_ms)
{
    const struct raft *r = g->raft;
    if (r->state == RAFT_LEADER && g->gets > 0) /* it is about to be sent */
        return true;
    for (size_t i = 0; i < GUARD_PEERS_MAX && r->state == RAFT_LEADER; i++) {
        const struct guard_peer *peer = &g->peers[i];
        raft_index needs = MAX(peer->acked, peer->snapshot_index) + r->snapshot.trailing / 2;
        if (peer->id != 0 && peer->term == r->current_term && peer->snapshot_index != 0 &&
            g->inner->time(g->inner) - peer->snapshot_ms < max_ms && guard_is_member(g, peer->id) &&
            (peer->acked < peer->snapshot_index || needs < r->last_applied))
            return true;
    }
    return false;
}
