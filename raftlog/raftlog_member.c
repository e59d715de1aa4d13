/*
 * raftlog_member.c - changes of the members and transfers of leadership.
 *
 * Members change one at a time and step by step; each step is a log entry. A new member is added as
 * a spare, which gets nothing, then becomes a stand-by, which gets the log but does not count, then
 * a voter.
 *
 * A transfer has these states:
 *   wanted    new requests wait
 *   sent      our proposals are finished, or the disk takes too long; the library waits until the
 *             follower has our log, then asks it to start an election
 *   done      we do not lead any more, or an election timeout has passed
 *   answered  another leader is known, or none was in time
 * The library's request is part of the log's memory, because 0.15.0 may access it after its
 * callback (#396, #398).
 */
#include "raftlog_impl.h"

#include "clock.h"
#include "log.h"

#include <string.h>

enum {
    TRANSFER_DRAIN_MS = 250,  /* wait for proposals in flight; a slow disk may never finish them */
    TRANSFER_KNOWN_MS = 1500, /* wait for the new leader to be known after we stopped leading */
};

static enum raftlog_part part_of(int role)
{
    if (role == RAFT_VOTER)
        return RAFTLOG_VOTER;
    return role == RAFT_STANDBY ? RAFTLOG_STANDBY : RAFTLOG_SPARE;
}

static struct raftlog_peer peer_of(const struct raftlog *log, const struct raft_server *server)
{
    const struct guard_peer *known = raftlog_guard_peer(&log->guard, server->id);
    struct raftlog_peer peer = {
        .id = server->id, .part = part_of(server->role), .silent_ms = UINT64_MAX};
    str_copy(peer.address, sizeof peer.address, server->address);
    if (server->id == log->options.id) {
        peer.stored_index = log->raft.last_stored;
        peer.silent_ms = 0;
    } else if (raftlog_leads(log) && known != NULL) {
        struct raft_io *io = log->raft.io;
        peer.stored_index = known->acked;
        peer.silent_ms = io->time(io) - known->heard_ms;
    }
    return peer;
}

size_t raftlog_peers(const struct raftlog *log, struct raftlog_peer ret[RAFTLOG_MEMBERS_MAX])
{
    const struct raft_configuration *conf = &log->raft.configuration;
    size_t count = 0;
    for (unsigned i = 0; i < conf->n && count < RAFTLOG_MEMBERS_MAX; i++)
        ret[count++] = peer_of(log, &conf->servers[i]);
    return count;
}

/* Check whether this replica can lead soon. */
static int transferee_check(const struct raftlog *log, const struct raftlog_peer *peer,
                            struct err *err)
{
    if (peer->part != RAFTLOG_VOTER)
        return err_set(err, ERR_STATE, "replica %" PRIu64 " is not a voter yet", peer->id);
    if (peer->silent_ms == UINT64_MAX)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " has not answered this leader yet; check that it runs",
                       peer->id);
    if (peer->silent_ms >= log->options.election_timeout_ms)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " has not answered for %" PRIu64
                       " ms; check that it runs",
                       peer->id, peer->silent_ms);
    return 0;
}

static int transferee_choose(const struct raftlog *log, uint64_t wanted, uint64_t *ret,
                             struct err *err)
{
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    const struct raftlog_peer *best = NULL;
    size_t count = raftlog_peers(log, peers);
    for (size_t i = 0; i < count; i++) {
        const struct raftlog_peer *peer = &peers[i];
        if (peer->id == log->options.id || (wanted != 0 && peer->id != wanted))
            continue;
        if (transferee_check(log, peer, err) != 0) {
            if (wanted != 0)
                return -(int)err->code;
        } else if (best == NULL || peer->stored_index > best->stored_index) {
            best = peer;
        }
    }
    if (best == NULL && wanted != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no replica %" PRIu64, wanted);
    if (best == NULL)
        return err_set(err, ERR_UNAVAILABLE, "there is no other replica that could lead");
    *ret = best->id;
    return 0;
}

int raftlog_transfer(struct raftlog *log, uint64_t id, raftlog_transfer_cb cb, void *data,
                     struct err *err)
{
    struct raftlog_transfer *t = &log->transfer;
    struct err local;
    err = err != NULL ? err : &local; /* the code is needed below */
    if (!raftlog_leads(log))
        return raftlog_refuse(log, err);
    if (id == log->options.id)
        return err_set(err, ERR_EXISTS, "replica %" PRIu64 " leads already", id);
    if (t->wanted)
        return err_set(err, ERR_STATE,
                       "leadership is already being handed over to replica %" PRIu64, t->to);
    if (transferee_choose(log, id, &t->to, err) != 0)
        return -(int)err->code;
    t->wanted = true;
    t->sent = t->done = false;
    t->cb = cb;
    t->data = data;
    t->deadline_ms = clock_mono_ms() + TRANSFER_DRAIN_MS;
    raftlog_schedule(log);
    return 0;
}

/* Called while the library works: the idle handle sends the answer. */
static void raftlog_on_transferred(struct raft_transfer *req)
{
    struct raftlog *log = req->data;
    log->transfer.done = true;
    log->transfer.deadline_ms = clock_mono_ms() + TRANSFER_KNOWN_MS;
    raftlog_schedule(log);
}

/* Begin the transfer. Proposals that are not finished in time get an unknown outcome: the next
 * leader has them if they were or could have been acknowledged, but we cannot match them to
 * their proposers. Waiting longer would tie us to a slow disk, which may be the reason for the
 * transfer. */
void raftlog_transfer_send(struct raftlog *log)
{
    struct raftlog_transfer *t = &log->transfer;
    bool idle = list_empty(&log->proposals_sent) && log->barrier_groups == 0;
    if (!t->wanted || t->sent || t->done || (!idle && clock_mono_ms() < t->deadline_ms))
        return;
    t->req = (struct raft_transfer){.data = log};
    t->sent = raftlog_leads(log) &&
              raft_transfer(&log->raft, &t->req, t->to, raftlog_on_transferred) == 0;
    t->done = !t->sent;
}

/* Return whether the wait is over: another replica leads, we still lead, or none led in time. */
static bool transfer_is_over(const struct raftlog *log)
{
    const struct raftlog_transfer *t = &log->transfer;
    return t->done && (log->closing || raftlog_leader(log) != 0 || !t->sent ||
                       clock_mono_ms() >= t->deadline_ms);
}

void raftlog_transfer_watch(struct raftlog *log)
{
    struct raftlog_transfer *t = &log->transfer;
    if (!t->wanted)
        return;
    if (!t->sent && !t->done)
        t->done = !raftlog_leads(log);
    if (transfer_is_over(log) || (!t->sent && clock_mono_ms() >= t->deadline_ms))
        raftlog_schedule(log);
}

void raftlog_transfer_answer(struct raftlog *log)
{
    struct raftlog_transfer *t = &log->transfer;
    if (!t->wanted || !transfer_is_over(log))
        return;
    uint64_t leader_id = raftlog_leader(log);
    t->wanted = false;
    t->cb(t->data, leader_id != 0 && leader_id != log->options.id ? 0 : -ERR_TIMEOUT);
    raftlog_schedule(log); /* waiting requests continue or are refused */
}

static void raftlog_on_changed(struct raft_change *req, int status)
{
    struct raftlog *log = req->data;
    log->changing = false;
    if (status != 0)
        log_warn("members.change_failed reason=%s", log_quoted(raft_strerror(status)));
}

static int change_check(const struct raftlog *log, struct err *err)
{
    const struct raft *r = &log->raft;
    if (!raftlog_leads(log) || log->transfer.wanted)
        return raftlog_refuse(log, err);
    if ((log->changing && log->change_term == r->current_term) ||
        r->configuration_uncommitted_index != 0)
        return err_set(err, ERR_STATE, "another change of the members is in progress");
    return 0;
}

static int change_begin(struct raftlog *log, uint64_t id, const char *address,
                        enum raftlog_part now, enum raftlog_part part)
{
    struct raft_change *req = &log->change;
    if (part == RAFTLOG_GONE)
        return raft_remove(&log->raft, req, id, raftlog_on_changed);
    if (now == RAFTLOG_GONE)
        return raft_add(&log->raft, req, id, address, raftlog_on_changed);
    return raft_assign(&log->raft, req, id, now == RAFTLOG_SPARE ? RAFT_STANDBY : RAFT_VOTER,
                       raftlog_on_changed);
}

int raftlog_member(struct raftlog *log, uint64_t id, const char *address, enum raftlog_part part,
                   struct err *err)
{
    struct raftlog_peer peers[RAFTLOG_MEMBERS_MAX];
    enum raftlog_part now = RAFTLOG_GONE;
    size_t count = raftlog_peers(log, peers);
    int rv = change_check(log, err);
    ASSERT(id != log->options.id);
    if (rv != 0)
        return rv;
    for (size_t i = 0; i < count; i++)
        now = peers[i].id == id ? peers[i].part : now;
    if (now == part)
        return 0;
    log->change.data = log;
    log->change_term = log->raft.current_term;
    log->changing = true;
    rv = change_begin(log, id, address, now, part);
    if (rv == 0)
        return 0;
    log->changing = false;
    return err_set(err, ERR_STATE, "replica %" PRIu64 " at %s: %s", id, address, raft_strerror(rv));
}
