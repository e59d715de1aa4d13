/*
 * members_next.c - decides which replica joins, votes or leaves next.
 */
#include "members_next.h"

#include <stdio.h>
#include <string.h>

static const struct raftlog_peer *peer_of(const struct members_seen *seen, uint64_t id)
{
    for (size_t i = 0; i < seen->peer_count; i++)
        if (seen->peers[i].id == id)
            return &seen->peers[i];
    return NULL;
}

static enum raftlog_part part_of(const struct members_seen *seen, uint64_t id)
{
    const struct raftlog_peer *peer = peer_of(seen, id);
    return peer != NULL ? peer->part : RAFTLOG_GONE;
}

static uint64_t behind(const struct members_seen *seen, const struct raftlog_peer *peer)
{
    return seen->last_index > peer->stored_index ? seen->last_index - peer->stored_index : 0;
}

/* Check that the replica answers and has caught up with the leader; the error says which fails. */
static int sound_check(const struct members_seen *seen, const struct raftlog_peer *peer,
                       struct err *err)
{
    if (peer->silent_ms == UINT64_MAX)
        return err_set(err, ERR_UNAVAILABLE, "replica %" PRIu64 " does not answer the leader",
                       peer->id);
    if (peer->silent_ms >= MEMBERS_SILENT_MS)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " has not answered the leader for %" PRIu64 " ms",
                       peer->id, peer->silent_ms);
    if (behind(seen, peer) > MEMBERS_BEHIND_MAX)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " is %" PRIu64 " log entries behind", peer->id,
                       behind(seen, peer));
    if (peer->stored_index < seen->asked_index)
        return err_set(err, ERR_UNAVAILABLE,
                       "replica %" PRIu64 " does not answer the leader any more", peer->id);
    return 0;
}

static bool is_sound(const struct members_seen *seen, uint64_t id)
{
    const struct raftlog_peer *peer = peer_of(seen, id);
    return peer != NULL && sound_check(seen, peer, NULL) == 0;
}

/* The voters without one of them, or with one more: their number, and how many are sound. */
struct electorate {
    unsigned count, sound;
};

static struct electorate electorate(const struct members_seen *seen, uint64_t without,
                                    uint64_t with)
{
    struct electorate e = {0};
    for (size_t i = 0; i < seen->peer_count; i++) {
        const struct raftlog_peer *peer = &seen->peers[i];
        if (peer->id == without || (peer->part != RAFTLOG_VOTER && peer->id != with))
            continue;
        e.count++;
        e.sound += sound_check(seen, peer, NULL) == 0;
    }
    return e;
}

static bool has_quorum(struct electorate e)
{
    return e.sound > e.count / 2;
}

bool members_all_answered(const struct members_seen *seen)
{
    struct members_seen before = *seen;
    before.asked_index = 0;
    for (size_t i = 0; i < seen->peer_count; i++) {
        const struct raftlog_peer *peer = &seen->peers[i];
        if (sound_check(&before, peer, NULL) == 0 && sound_check(seen, peer, NULL) != 0)
            return false;
    }
    return true;
}

static struct members_step wait_for(const char *what, const struct err *err)
{
    struct members_step step = {.action = MEMBERS_WAIT};
    snprintf(step.why, sizeof step.why, "%s%.150s", what, err->msg);
    return step;
}

static struct members_step wait_for_quorum(struct electorate e)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "%u of %u voters answer and have caught up, %u are needed",
            e.sound, e.count, e.count / 2 + 1);
    return wait_for("", &err);
}

static struct members_step change(const struct master *row, enum raftlog_part part)
{
    return (struct members_step){
        .action = MEMBERS_CHANGE, .id = row->id, .address = row->raft, .part = part};
}

static struct members_step propose(const struct master *row, bool gone)
{
    return (struct members_step){
        .action = MEMBERS_PROPOSE, .id = row->id, .command = {row->id, gone}};
}

/* Decide until the replica is a stand-by that has caught up. This needs nothing of the cell. */
static struct members_step join_next(const struct members_seen *seen, const struct master *row)
{
    struct electorate now = electorate(seen, 0, 0);
    const struct raftlog_peer *peer = peer_of(seen, row->id);
    struct err err;
    if (peer == NULL || peer->part == RAFTLOG_SPARE)
        return has_quorum(now) ? change(row, peer == NULL ? RAFTLOG_SPARE : RAFTLOG_STANDBY)
                               : wait_for_quorum(now);
    if (sound_check(seen, peer, &err) != 0)
        return wait_for("", &err);
    return propose(row, /* gone= */ false);
}

/* Decide for a member of the cell that does not vote in the log yet. */
static struct members_step vote_next(const struct members_seen *seen, const struct master *row)
{
    struct electorate next = electorate(seen, 0, row->id);
    const struct raftlog_peer *peer = peer_of(seen, row->id);
    struct err err;
    if (peer != NULL && peer->part == RAFTLOG_STANDBY && sound_check(seen, peer, &err) != 0)
        return wait_for("", &err);
    if (!has_quorum(next))
        return wait_for_quorum(next);
    return change(row, peer == NULL                  ? RAFTLOG_SPARE
                       : peer->part == RAFTLOG_SPARE ? RAFTLOG_STANDBY
                                                     : RAFTLOG_VOTER);
}

static struct members_step leave_next(const struct members_seen *seen, const struct master *row)
{
    struct electorate rest = electorate(seen, row->id, 0);
    if (part_of(seen, row->id) == RAFTLOG_GONE)
        return propose(row, /* gone= */ true);
    if (!has_quorum(rest))
        return wait_for_quorum(rest);
    if (row->id == seen->self)
        return (struct members_step){.action = MEMBERS_TRANSFER};
    return change(row, RAFTLOG_GONE);
}

static const struct master *row_in(const struct masters *wanted, enum master_state state)
{
    for (uint32_t i = 0; i < wanted->count; i++)
        if (wanted->rows[i].state == state)
            return &wanted->rows[i];
    return NULL;
}

/* Returns whether the leaving replica must be gone first: it does not answer, or the new one has
 * one of its addresses. */
static bool leaves_first(const struct members_seen *seen, const struct master *leaving,
                         const struct master *joining)
{
    return !is_sound(seen, leaving->id) || strcmp(leaving->raft, joining->raft) == 0 ||
           strcmp(leaving->rpc, joining->rpc) == 0 || strcmp(leaving->raft, joining->rpc) == 0 ||
           strcmp(leaving->rpc, joining->raft) == 0;
}

struct members_step members_next(const struct members_seen *seen)
{
    const struct masters *wanted = seen->wanted;
    const struct master *joining = row_in(wanted, MASTER_JOINING);
    const struct master *leaving = row_in(wanted, MASTER_LEAVING);
    for (uint32_t i = 0; i < wanted->count; i++) {
        const struct master *row = &wanted->rows[i];
        if (row->state == MASTER_VOTES && part_of(seen, row->id) != RAFTLOG_VOTER)
            return vote_next(seen, row);
    }
    if (leaving != NULL && (joining == NULL || leaves_first(seen, leaving, joining)))
        return leave_next(seen, leaving);
    if (joining != NULL)
        return join_next(seen, joining);
    return (struct members_step){.action = MEMBERS_DONE};
}

/* Check that all others are sound: without them the change could take long to commit. */
static int others_check(const struct members_seen *seen, uint64_t but, const char *hint,
                        struct err *err)
{
    struct err why;
    for (size_t i = 0; i < seen->peer_count; i++) {
        const struct raftlog_peer *peer = &seen->peers[i];
        if (peer->id != but && sound_check(seen, peer, &why) != 0)
            return err_set(err, ERR_STATE, "%.150s: %s", why.msg, hint);
    }
    return 0;
}

int members_may_remove(const struct members_seen *seen, uint64_t id, struct err *err)
{
    struct electorate rest = electorate(seen, id, 0);
    if (part_of(seen, id) != RAFTLOG_VOTER) /* it has no vote */
        return 0;
    if (rest.count > 0 && !has_quorum(rest))
        return err_set(err, ERR_STATE,
                       "without replica %" PRIu64 " %u of %u replicas would answer, %u are needed: "
                       "bring the others back first",
                       id, rest.sound, rest.count, rest.count / 2 + 1);
    if (!is_sound(seen, id))
        return 0;
    return others_check(seen, id, "bring it back, or remove or replace that one first", err);
}

int members_may_add(const struct members_seen *seen, uint64_t replaces, struct err *err)
{
    if (replaces == 0)
        return others_check(seen, 0, "bring it back or replace it first", err);
    if (electorate(seen, replaces, 0).count == 0) /* the new replica is added first */
        return 0;
    return members_may_remove(seen, replaces, err);
}
