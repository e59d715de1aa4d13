/*
 * raftlog_guard.c - the rules of raftlog_guard.h, one function each.
 *
 * "Raft" is Ongaro's thesis; numbers with # are pull requests of canonical/raft; hashes with
 * "cowsql" are commits of the maintained fork. None of them is in 0.15.0, and Debian has no newer
 * version.
 *
 * The library finds its state by io->data, and both implementations of raft_io find theirs by
 * io->impl. A copy of the inner raft_io is therefore a working raft_io, and only the relevant
 * methods are replaced.
 */
#include "raftlog_guard_impl.h"

#include <stdlib.h>
#include <string.h>

struct guard_send {
    struct raft_io_send req;
    struct raftlog_guard *guard;
    struct raft_io_send *request; /* the library's */
    struct guard_peer *peer;
    size_t bytes;
    uint64_t snapshot_number; /* of the last snapshot sent before it */
};

raft_term raftlog_guard_term_of(const struct raft_log *log, raft_index index)
{
    size_t count =
        log->front <= log->back ? log->back - log->front : log->size - log->front + log->back;
    if (index != 0 && index == log->snapshot.last_index)
        return log->snapshot.last_term;
    if (index <= log->offset || index > log->offset + count)
        return 0;
    return log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size].term;
}

bool raftlog_guard_writing(const struct raftlog_guard *g)
{
    return g->appends > 0 || guard_installing(g->raft);
}

struct guard_held *guard_held_new(const struct raft_message *m)
{
    const char *address = m->server_address != NULL ? m->server_address : "";
    size_t size = strlen(address) + 1;
    struct guard_held *h = xcalloc(1, sizeof *h + size);
    list_init(&h->link);
    h->message = *m;
    memcpy(h->address, address, size);
    h->message.server_address = h->address;
    return h;
}

void guard_held_drop(struct raftlog_guard *g)
{
    for (struct list *l; (l = list_pop(&g->held)) != NULL;)
        free(CONTAINER_OF(l, struct guard_held, link));
    g->held_count = 0;
}

/* Release a message that we drop. The receiver of a message owns its entries or its snapshot. */
void guard_message_release(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        if (m->append_entries.n_entries > 0)
            raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    } else if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
    }
}

/* Release a single kept message with its content. */
void guard_kept_drop(struct guard_held **kept)
{
    if (*kept != NULL)
        guard_message_release(&(*kept)->message);
    free(*kept);
    *kept = NULL;
}

/*
 * G1. "A leader cannot determine commitment using log entries from older terms" (Raft 3.6.2, figure
 * 3.7): 0.15.0 counts replicas of any entry (#336, issue #220, fixed in 0.17.1). A new leader
 * therefore appends a barrier at once and receives no results until the barrier is on its own disk.
 * From then on last_stored, the only index the library counts, is an entry of the leader's own
 * term.
 */
static bool guard_barrier_stored(const struct raftlog_guard *g)
{
    return g->barrier_term == g->raft->current_term && g->raft->last_stored >= g->barrier_index;
}

static bool guard_hold_result(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    if (!guard_on(g, GUARD_OWN_TERM) || m->type != RAFT_IO_APPEND_ENTRIES_RESULT)
        return false;
    if (r->state != RAFT_LEADER || m->append_entries_result.term != r->current_term ||
        guard_barrier_stored(g))
        return false;
    g->used[GUARD_OWN_TERM]++;
    if (g->held_count >= GUARD_HELD_MAX) /* treated like a lost message: the next heartbeat asks
                                            again */
        return true;
    list_push(&g->held, &guard_held_new(m)->link);
    g->held_count++;
    return true;
}

static void guard_on_barrier(struct raft_barrier *req, int status)
{
    (void)status;
    raft_free(req);
}

static void guard_append_barrier(struct raftlog_guard *g)
{
    struct raft *r = g->raft;
    struct raft_barrier *req = raft_malloc(sizeof *req);
    if (req == NULL)
        PANIC("out of memory");
    guard_held_drop(g); /* from an older term of ours */
    raft_index index = raft_last_index(r) + 1;
    if (raft_barrier(r, req, guard_on_barrier) != 0) {
        /* Refused while an old transfer is pending. Results stay held, so this is safe; the next
         * event retries. guard_append has seen a disk failure already. */
        raft_free(req);
        return;
    }
    g->barrier_term = r->current_term;
    g->barrier_index = index;
}

/*
 * G2. The library answers an AppendEntries with the end of its own log (cowsql 66ed6afd, 446f8d21),
 * even if that contains entries of a deposed leader that this leader has never compared; the leader
 * then commits with a false quorum. "AppendEntries returns successfully: the follower's log is
 * identical up through the new entries" (Raft 3.5): only these entries, and committed ones, may be
 * acknowledged. The limit belongs to a term: a write for a former leader may finish under a new
 * one, and the library would report it to the new one.
 */
static raft_index guard_ack_limit(const struct raftlog_guard *g)
{
    const struct raft *r = g->raft;
    raft_index limit = r->commit_index;
    if (g->checked_term == r->current_term)
        limit = MAX(limit, g->checked_index);
    if (g->answering)
        limit = MAX(limit, g->answer_max);
    return limit;
}

/* Our entry has the term that the leader states, so the logs are equal up to here (Log
 * Matching). */
static void guard_note_checked(struct raftlog_guard *g, raft_term leader_term, raft_index index,
                               raft_term entry_term)
{
    const struct raft *r = g->raft;
    if (leader_term != r->current_term || index == 0 ||
        raftlog_guard_term_of(&r->log, index) != entry_term)
        return;
    if (g->checked_term != leader_term)
        g->checked_index = 0;
    g->checked_term = leader_term;
    g->checked_index = MAX(g->checked_index, index);
}

/*
 * G3. An election counts the log in memory, so entries that are not on disk yet win votes and are
 * then committed by a leader that may lose them (#429, #467, issue #386). An answer that was
 * prepared as a follower and is sent as a candidate reads its address from the wrong member of a
 * union (#340 #342 #353 #357 #367). A follower that is writing therefore ignores its timer.
 */
static bool guard_skip_tick(struct raftlog_guard *g)
{
    if (!guard_on(g, GUARD_STABLE_LOG) || g->raft->state != RAFT_FOLLOWER ||
        !raftlog_guard_writing(g))
        return false;
    g->used[GUARD_STABLE_LOG]++;
    return true;
}

/* G3. The leader sends TimeoutNow only once (#477): keep it until the write has finished. */
static bool guard_delay_timeout_now(struct raftlog_guard *g, const struct raft_message *m)
{
    if (!guard_on(g, GUARD_STABLE_LOG) || m->type != RAFT_IO_TIMEOUT_NOW ||
        !raftlog_guard_writing(g))
        return false;
    g->used[GUARD_STABLE_LOG]++;
    guard_kept_drop(&g->timeout_now);
    g->timeout_now = guard_held_new(m);
    return true;
}

bool guard_is_member(const struct raftlog_guard *g, raft_id id)
{
    const struct raft_configuration *conf = &g->raft->configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == id)
            return true;
    }
    return false;
}

/* G3. Drop an answer that has no receiver, because the leader changed during our write. The
 * leader asks again. */
static bool guard_stray_answer(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    if (!guard_on(g, GUARD_STABLE_LOG) || g->answering)
        return false;
    if (r->state == RAFT_FOLLOWER && guard_is_member(g, m->server_id) && m->server_address != NULL)
        return false;
    g->used[GUARD_STABLE_LOG]++;
    return true;
}

/*
 * G5. "If a server receives a RequestVote within the minimum election timeout of hearing from a
 * current leader" it refuses (Raft 4.2.3). The library refuses until its own, longer and random
 * timer has fired, so an election needs most of the survivors to time out. The rule does not apply
 * during a write: the answer that follows needs the leader.
 */
static void guard_forget_leader(struct raftlog_guard *g, const struct raft_message *m)
{
    struct raft *r = g->raft;
    if (!guard_on(g, GUARD_FORGET_LEADER) || m->type != RAFT_IO_REQUEST_VOTE ||
        r->state != RAFT_FOLLOWER || raftlog_guard_writing(g))
        return;
    if (r->follower_state.current_leader.id == 0 ||
        g->inner->time(g->inner) - r->election_timer_start < r->election_timeout)
        return;
    r->follower_state.current_leader.id = 0;
    g->used[GUARD_FORGET_LEADER]++;
}

/*
 * G6. The library tests only its own last stored entry for a majority (#336, cowsql d61a743d):
 * under steady load nothing commits until followers have caught up completely. Show it the
 * acknowledged index instead while it handles that answer. This is safe because of G1: every index
 * from the barrier on has our own term.
 */
static raft_index guard_lower_stored(struct raftlog_guard *g, const struct raft_message *m)
{
    struct raft *r = g->raft;
    const struct raft_append_entries_result *result = &m->append_entries_result;
    raft_index stored = r->last_stored;
    if (!guard_on(g, GUARD_COMMIT_EARLY) || !guard_on(g, GUARD_OWN_TERM) ||
        m->type != RAFT_IO_APPEND_ENTRIES_RESULT || r->state != RAFT_LEADER)
        return stored;
    if (result->rejected != 0 || result->term != r->current_term || !guard_barrier_stored(g))
        return stored;
    if (result->last_log_index < g->barrier_index || result->last_log_index >= stored ||
        result->last_log_index <= r->commit_index)
        return stored;
    r->last_stored = result->last_log_index;
    g->used[GUARD_COMMIT_EARLY]++;
    return stored;
}

/* Return the first entry of the message that contradicts one of ours, 0 when there is none. */
static raft_index guard_conflict(const struct raft *r, const struct raft_append_entries *args)
{
    for (unsigned i = 0; i < args->n_entries; i++) {
        raft_term term = raftlog_guard_term_of(&r->log, args->prev_log_index + 1 + i);
        if (term != 0 && term != args->entries[i].term)
            return args->prev_log_index + 1 + i;
    }
    return 0;
}

/*
 * G7. A truncation that arrives while a snapshot is being written may never reach the disk, and the
 * replica then does not start again (#344 #435, issues #324 #332 #372). A truncation during a write
 * of entries is as bad: when the same entry is added, removed and added again, the end of its first
 * write is taken for that of its last (`last_stored += n`). Drop the message; the leader repeats
 * it.
 */
static bool guard_conflict_in_write(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    if (!guard_on(g, GUARD_KEEP_LOG) || m->type != RAFT_IO_APPEND_ENTRIES)
        return false;
    if (r->snapshot.put.data == NULL && r->snapshot.pending.term == 0 && g->appends == 0)
        return false;
    if (guard_conflict(r, &m->append_entries) == 0)
        return false;
    g->used[GUARD_KEEP_LOG]++;
    return true;
}

/* G13. Prepare for the cut of the log that the library makes if it accepts this message. */
static void guard_expect_cut(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    const struct raft_append_entries *args = &m->append_entries;
    if (m->type != RAFT_IO_APPEND_ENTRIES || args->term < r->current_term ||
        r->configuration_uncommitted_index == 0)
        return;
    raft_index index = guard_conflict(r, args);
    if (index > r->commit_index &&
        (args->prev_log_index == 0 ||
         raftlog_guard_term_of(&r->log, args->prev_log_index) == args->prev_log_term))
        guard_conf_cut(g, index);
}

/* G8. A former leader grants its transferee a vote although it has already voted (cowsql
 * ad19f79a). */
static bool guard_second_vote(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft *r = g->raft;
    const struct raft_request_vote *args = &m->request_vote;
    if (!guard_on(g, GUARD_ONE_VOTE) || m->type != RAFT_IO_REQUEST_VOTE || args->pre_vote)
        return false;
    if (r->transfer == NULL || r->transfer->id != args->candidate_id ||
        args->term != r->current_term || r->voted_for == 0 || r->voted_for == args->candidate_id)
        return false;
    g->used[GUARD_ONE_VOTE]++;
    return true;
}

/* Return the row of `id`, or a free row: unused, or of a removed server. */
static struct guard_peer *guard_peer_row(struct raftlog_guard *g, raft_id id)
{
    struct guard_peer *row = NULL;
    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        struct guard_peer *peer = &g->peers[i];
        if (peer->id == id)
            return peer;
        bool is_free = peer->id == 0 || (peer->sending_bytes == 0 && !guard_is_member(g, peer->id));
        if (row == NULL && is_free)
            row = peer;
    }
    if (row != NULL)
        *row = (struct guard_peer){.id = id};
    return row;
}

struct guard_peer *guard_peer(struct raftlog_guard *g, raft_id id)
{
    struct guard_peer *peer = guard_peer_row(g, id);
    if (peer == NULL)
        return NULL;
    if (peer->term != g->raft->current_term)
        peer->acked = peer->commit_sent = peer->heard_ms = peer->snapshot_index = 0;
    peer->term = g->raft->current_term;
    return peer;
}

const struct guard_peer *raftlog_guard_peer(const struct raftlog_guard *g, raft_id id)
{
    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        const struct guard_peer *peer = &g->peers[i];
        if (peer->id == id && peer->term == g->raft->current_term && peer->heard_ms != 0)
            return peer;
    }
    return NULL;
}

static void guard_note_acked(struct raftlog_guard *g, const struct raft_message *m)
{
    const struct raft_append_entries_result *result = &m->append_entries_result;
    if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT || g->raft->state != RAFT_LEADER ||
        result->term != g->raft->current_term)
        return;
    struct guard_peer *peer = guard_peer(g, m->server_id);
    if (peer != NULL)
        peer->heard_ms = MAX(g->inner->time(g->inner), (raft_time)1);
    if (peer != NULL && result->rejected == 0)
        peer->acked = MAX(peer->acked, result->last_log_index);
}

/* Return whether `peer` needs the commit index. It will commit the entries it has at these
 * indexes without comparing them, so it must never get more than it has acknowledged. */
static bool guard_needs_commit(const struct raftlog_guard *g, const struct guard_peer *peer,
                               raft_index index)
{
    return peer->acked >= index && peer->commit_sent < index && index <= g->raft->commit_index &&
           raftlog_guard_term_of(&g->raft->log, peer->acked) != 0;
}

/* The callback of our own request, which has no waiting caller. */
static void guard_on_commit_sent(struct raft_io_send *req, int status)
{
    (void)status;
    raft_free(req);
}

static void guard_tell_one(struct raftlog_guard *g, const struct raft_server *server,
                           struct guard_peer *peer, raft_index index)
{
    struct raft_message m = {
        .type = RAFT_IO_APPEND_ENTRIES, .server_id = server->id, .server_address = server->address};
    m.append_entries = (struct raft_append_entries){
        .term = g->raft->current_term,
        .prev_log_index = peer->acked,
        .prev_log_term = raftlog_guard_term_of(&g->raft->log, peer->acked),
        .leader_commit = index};
    struct raft_io_send *req = raft_malloc(sizeof *req);
    if (req == NULL)
        PANIC("out of memory");
    peer->commit_sent = index;
    if (g->inner->send(g->inner, req, &m, guard_on_commit_sent) != 0)
        raft_free(req);
}

static bool guard_walk_commit(struct raftlog_guard *g, raft_index index, bool tell)
{
    const struct raft *r = g->raft;
    bool found = false;
    if (g->dead || r->state != RAFT_LEADER)
        return false;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        const struct raft_server *server = &r->configuration.servers[i];
        struct guard_peer *peer = server->id != r->id ? guard_peer(g, server->id) : NULL;
        if (peer == NULL || !guard_needs_commit(g, peer, index))
            continue;
        found = true;
        if (tell)
            guard_tell_one(g, server, peer, index);
    }
    return found;
}

void raftlog_guard_send_commit(struct raftlog_guard *g, raft_index index)
{
    guard_walk_commit(g, index, /* send= */ true);
}

bool raftlog_guard_commit_unsent(struct raftlog_guard *g, raft_index index)
{
    return guard_walk_commit(g, index, /* send= */ false);
}

/* Pass a message to the library and record how much its answer may acknowledge. */
void guard_deliver(struct raftlog_guard *g, struct raft_message *m)
{
    raft_term leader_term = 0;
    raft_term entry_term = 0;
    guard_note_acked(g, m);
    g->answering = true;
    g->answer_max = 0;
    g->answer_stored = false;
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        const struct raft_append_entries *args = &m->append_entries;
        leader_term = args->term;
        g->answer_max = args->prev_log_index + args->n_entries;
        entry_term =
            args->n_entries > 0 ? args->entries[args->n_entries - 1].term : args->prev_log_term;
    } else if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        g->answer_max = m->install_snapshot.last_index;
        g->answer_stored = true;
    }
    raft_index checked = g->answer_max;
    raft_index stored = guard_lower_stored(g, m);
    raft_index shown = g->raft->last_stored;
    g->recv(&g->io, m);
    if (shown != stored) {
        ASSERT(g->raft->last_stored == shown);
        g->raft->last_stored = stored;
    }
    g->answering = false;
    if (leader_term != 0)
        guard_note_checked(g, leader_term, checked, entry_term);
}

static void guard_deliver_kept(struct raftlog_guard *g, struct guard_held **kept)
{
    struct guard_held *h = *kept;
    *kept = NULL;
    if (h != NULL)
        guard_deliver(g, &h->message);
    free(h);
}

void guard_settle(struct raftlog_guard *g)
{
    const struct raft *r = g->raft;
    guard_conf_note(g);
    if (!g->dead && !raftlog_guard_writing(g))
        guard_deliver_kept(g, &g->timeout_now);
    if (g->dead || !guard_on(g, GUARD_OWN_TERM))
        return;
    if (r->state == RAFT_LEADER && g->barrier_term != r->current_term)
        guard_append_barrier(g);
    while (!list_empty(&g->held) && r->state == RAFT_LEADER && guard_barrier_stored(g)) {
        struct guard_held *h = CONTAINER_OF(list_pop(&g->held), struct guard_held, link);
        g->held_count--;
        guard_deliver(g, &h->message);
        free(h);
    }
    if (r->state != RAFT_LEADER)
        guard_held_drop(g);
}

static void guard_recv(struct raft_io *inner, struct raft_message *m)
{
    struct raftlog_guard *g = inner->data;
    if (g->dead || g->held_back || guard_conflict_in_write(g, m) || guard_second_vote(g, m) ||
        guard_snapshot_conflict(g, m) || guard_bad_image(g, m) || guard_is_installing(g, m)) {
        guard_message_release(m);
        return;
    }
    if (guard_hold_result(g, m) || guard_delay_timeout_now(g, m))
        return;
    guard_forget_leader(g, m);
    guard_expect_cut(g, m);
    if (guard_take_snapshot(g, m)) {
        guard_settle(g);
        return;
    }
    if (g->dead)
        guard_message_release(m);
    else
        guard_deliver(g, m);
    guard_settle(g);
}

static void guard_tick(struct raft_io *inner)
{
    struct raftlog_guard *g = inner->data;
    if (g->dead || g->held_back || guard_skip_tick(g))
        return;
    g->tick(&g->io);
    /* Only here: in the disk's own callback the disk is not ready for another snapshot. */
    guard_snapshots_step(g);
    guard_gets_begin(g);
    guard_settle(g);
}

static int guard_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                       raft_io_recv_cb recv)
{
    struct raftlog_guard *g = guard_of(io);
    g->tick = tick;
    g->recv = recv;
    guard_conf_started(g);
    return g->inner->start(g->inner, msecs, guard_tick, guard_recv);
}

/* The library reports its close when its files are closed, possibly before the handles of the
 * last file are, and reports it again when those have closed. Ignore the second report
 * (raftlog.c frees nothing before it). */
static void guard_on_close(struct raft_io *inner)
{
    struct raftlog_guard *g = inner->data;
    if (g->closed)
        return;
    g->closed = true;
    guard_disk_close(g);
    g->close_cb(&g->io);
}

static void guard_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct raftlog_guard *g = guard_of(io);
    g->close_cb = cb;
    g->closing = true;
    guard_held_drop(g);
    g->inner->close(g->inner, guard_on_close);
}

/*
 * G14. After a failed send the library continues from what the follower has acknowledged; a new
 * leader, to which a follower that is down has acknowledged nothing, continues from the very first
 * entry. If that entry has been trimmed, it sends its whole snapshot to a follower that lacks a few
 * entries. With a million tasks the follower does not respond meanwhile, and an election follows.
 * The leader began after its own last entry, where the follower's first answer reports the real
 * position, so keep that position.
 */
static bool guard_keeps_place(const struct guard_send *s, int status)
{
    const struct raftlog_guard *g = s->guard;
    return status != 0 && !g->closing && guard_on(g, GUARD_KEEP_PLACE) &&
           g->raft->state == RAFT_LEADER && s->peer->term == g->raft->current_term &&
           s->peer->acked == 0;
}

/* G15. A failed send does not mean that a snapshot sent after it is lost: the library would send
 * another one, and both would wait for the same connection. */
static bool guard_sent_before_snapshot(const struct guard_send *s, int status)
{
    const struct raftlog_guard *g = s->guard;
    return status != 0 && !g->closing && guard_on(g, GUARD_ONE_SNAPSHOT) &&
           g->raft->state == RAFT_LEADER && s->peer->term == g->raft->current_term &&
           s->peer->snapshot_index != 0 && s->snapshot_number != s->peer->snapshot_number;
}

static void guard_on_sent(struct raft_io_send *req, int status)
{
    struct guard_send *s = req->data;
    struct raft_io_send *request = s->request;
    s->peer->sending_bytes -= s->bytes;
    if (status != 0 && s->snapshot_number == s->peer->snapshot_number)
        s->peer->snapshot_asked = 0; /* earlier messages may be lost too */
    if (guard_keeps_place(s, status)) {
        s->guard->used[GUARD_KEEP_PLACE]++;
        status = 0;
    }
    if (guard_sent_before_snapshot(s, status)) {
        s->guard->used[GUARD_ONE_SNAPSHOT]++;
        status = 0;
    }
    raft_free(s);
    request->cb(request, status);
}

/* Record what was sent. Heartbeats make up for a lost message. */
static void guard_note_commit_sent(const struct raftlog_guard *g, struct guard_peer *peer,
                                   const struct raft_append_entries *args)
{
    raft_index end = args->prev_log_index + args->n_entries;
    if (args->term == g->raft->current_term)
        peer->commit_sent = MAX(peer->commit_sent, MIN(args->leader_commit, end));
}

/*
 * G10. The library sends as fast as it can, and a transport with back-pressure only moves the queue
 * into libuv: one stopped follower lets the leader's memory grow without bound (cowsql 6b0b1bf3
 * 73249dc0). While more than GUARD_SEND_BYTES_MAX bytes of entries are in flight to a follower,
 * further ones are refused; the library counts a refused message as not sent and retries with the
 * heartbeat.
 */
static int guard_send_entries(struct raftlog_guard *g, struct raft_io_send *req,
                              const struct raft_message *m, raft_io_send_cb cb)
{
    struct guard_peer *peer = guard_peer(g, m->server_id);
    size_t bytes = 0;
    for (unsigned i = 0; i < m->append_entries.n_entries; i++)
        bytes += m->append_entries.entries[i].buf.len;
    if (peer != NULL)
        guard_note_commit_sent(g, peer, &m->append_entries);
    if (peer == NULL || (bytes == 0 && peer->acked > 0 && peer->snapshot_asked == 0))
        return g->inner->send(g->inner, req, m, cb);
    if (guard_on(g, GUARD_BOUNDED_SENDS) && bytes > 0 && peer->sending_bytes > 0 &&
        peer->sending_bytes + bytes > GUARD_SEND_BYTES_MAX) {
        g->used[GUARD_BOUNDED_SENDS]++;
        return RAFT_NOCONNECTION;
    }
    struct guard_send *s = raft_malloc(sizeof *s);
    if (s == NULL)
        PANIC("out of memory");
    *s = (struct guard_send){.guard = g,
                             .request = req,
                             .peer = peer,
                             .bytes = bytes,
                             .snapshot_number = peer->snapshot_number};
    s->req.data = s;
    req->cb = cb;
    peer->sending_bytes += bytes;
    int rv = g->inner->send(g->inner, &s->req, m, guard_on_sent);
    if (rv != 0) {
        peer->sending_bytes -= bytes;
        raft_free(s);
    }
    return rv;
}

/* Send TimeoutNow with a request of our own. The library uses a request inside its caller's
 * struct raft_transfer and forgets it when the transfer ends, sent or not; the next transfer
 * would reuse it while the transport still has it (#396, #398). It has no callback, so no one
 * waits for it. */
static int guard_send_timeout_now(struct raftlog_guard *g, const struct raft_message *m)
{
    struct raft_io_send *req = raft_malloc(sizeof *req);
    if (req == NULL)
        PANIC("out of memory");
    int rv = g->inner->send(g->inner, req, m, guard_on_commit_sent);
    if (rv != 0)
        raft_free(req);
    return rv;
}

static int guard_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
                      raft_io_send_cb cb)
{
    struct raftlog_guard *g = guard_of(io);
    if (g->dead)
        return RAFT_NOCONNECTION;
    if (m->type == RAFT_IO_APPEND_ENTRIES)
        return guard_send_entries(g, req, m, cb);
    if (m->type == RAFT_IO_INSTALL_SNAPSHOT)
        return guard_send_snapshot(g, req, m, cb);
    if (m->type == RAFT_IO_TIMEOUT_NOW)
        return guard_send_timeout_now(g, m);
    if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT)
        return g->inner->send(g->inner, req, m, cb);
    if (guard_stray_answer(g, m))
        return RAFT_NOCONNECTION;
    struct raft_message copy = *m;
    struct raft_append_entries_result *result = &copy.append_entries_result;
    raft_index limit = guard_ack_limit(g);
    if (guard_on(g, GUARD_ACK_CHECKED) && result->rejected == 0 && result->last_log_index > limit) {
        result->last_log_index = limit;
        g->used[GUARD_ACK_CHECKED]++;
    }
    if (guard_on(g, GUARD_ACK_STORED) && g->answering && g->answer_stored &&
        result->rejected == 0 && result->last_log_index > g->raft->last_stored) {
        result->last_log_index = g->raft->last_stored;
        g->used[GUARD_ACK_STORED]++;
    }
    return g->inner->send(g->inner, req, &copy, cb);
}

void raftlog_guard_install(struct raftlog_guard *g, struct raft *r, uint32_t off,
                           const struct guard_owner *owner)
{
    struct raft_io *inner = r->io;
    ASSERT(inner->data == r);
    *g = (struct raftlog_guard){
        .io = *inner, .inner = inner, .raft = r, .off = off, .owner = *owner};
    list_init(&g->held);
    g->io.start = guard_start;
    g->io.close = guard_close;
    g->io.send = guard_send;
    guard_disk_install(g);
    guard_conf_install(g);
    inner->data = g;
    r->io = &g->io;
}

void raftlog_guard_release(struct raftlog_guard *g)
{
    guard_held_drop(g);
    guard_kept_drop(&g->timeout_now);
    guard_kept_drop(&g->snapshot);
    guard_kept_drop(&g->snapshot_next);
    guard_conf_release(g);
}
