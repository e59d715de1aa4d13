/*
 * raftlog.c - proposals, barriers, roles, opening and closing.
 *
 * The library is entered from few places only. Requests are queued and submitted from an idle
 * handle in the next loop turn, never from a callback of the library: while it fails requests it
 * still considers itself the leader and crashes on a new one (cowsql 54d63472 99cd85d4). Its
 * results are recorded in its callbacks and reported to the owner from the idle handle too.
 */
#include "raftlog_impl.h"

#include "clock.h"
#include "log.h"
#include "raftlog_disk.h"
#include "raftlog_files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ELECTION_TIMEOUT_MS = 300,
    HEARTBEAT_MS = 50,
    SNAPSHOT_THRESHOLD = 16384,
    SNAPSHOT_TRAILING = 4096,
    SNAPSHOT_BYTES = 268435456, /* the log is kept in memory too */
    DISK_FREE_MIN_BYTES = 67108864,
    WATCH_MS = 1000,
    STUCK_DISK_MS = 10000,
    SLOW_DISK_MS = 1000,
    DISK_WINDOW_MS = 5000,
    HANDOVER_MS = 900, /* hand leadership over when a write takes so much longer than on another
                          replica, */
    HANDOVER_EACH_MS = 250, /* or when HANDOVER_WRITES writes in a row do */
    HANDOVER_WRITES = 3,
    HANDOVER_QUICK_MS = 100,
    HANDOVER_AGAIN_MS = 60000,
    HANDOVER_RETRY_MS = 3000, /* when no replica took over */
    CONNECT_RETRY_MS = 100,
    INSTALL_TIMEOUT_MS = 30000, /* a snapshot lost with its connection is sent again; one of a
                                   million tasks takes seconds to install */
    LOOP_BLOCKED_MS = 500, /* between two checks: the loop was busy, so the disk is not to blame */
    COMMIT_DELAY_MS = 1,   /* after a commit: further entries may carry the commit index */
};

struct proposal {
    struct list link;
    struct raft_apply req;
    struct raftlog *log;
    struct raftlog_proposal *request; /* the caller's */
    struct raft_buffer buf;           /* ours until it is submitted */
    int status;
};

struct barrier {
    struct list link;
    struct raftlog_barrier *request; /* the caller's */
    int status;
};

/* Barriers that share one log entry. */
struct barrier_group {
    struct raft_barrier req;
    struct raftlog *log;
    struct list barriers;
};

void raftlog_fail(struct raftlog *log, enum err_code code, const char *fmt, ...)
{
    struct err err;
    char text[ERR_MSG_MAX];
    va_list args;
    if (log->failed)
        return;
    log->failed = true;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&err, code, "raft log in %s: %s", log->dir, text);
    log->options.handlers->on_fatal(log->options.data, &err);
}

static void raftlog_on_guard_fatal(void *data, const char *what, bool damaged)
{
    struct raftlog *log = data;
    if (damaged)
        raftlog_fail(log, ERR_CORRUPT, "%s; " RAFTLOG_REMEDY, what, log->options.id);
    else
        raftlog_fail(log, ERR_IO, "%s", what);
}

bool raftlog_leads(const struct raftlog *log)
{
    return log->started && !log->failed && !log->closing && log->raft.state == RAFT_LEADER;
}

/* Add the remedy for damaged files to an error. */
static int raftlog_remedy(const struct raftlog *log, struct err *err)
{
    if (err->code != ERR_CORRUPT)
        return -(int)err->code;
    char said[ERR_MSG_MAX];
    str_copy(said, sizeof said, err->msg);
    return err_set(err, ERR_CORRUPT, "%s; " RAFTLOG_REMEDY, said, log->options.id);
}

uint64_t raftlog_leader(const struct raftlog *log)
{
    raft_id id = 0;
    const char *address = NULL;
    if (raftlog_leads(log)) /* the library reports no leader during a transfer */
        return log->options.id;
    if (log->started && log->raft.state != RAFT_UNAVAILABLE)
        raft_leader((struct raft *)&log->raft, &id, &address); /* only reads */
    return id;
}

int raftlog_refuse(const struct raftlog *log, struct err *err)
{
    uint64_t leader_id = raftlog_leader(log);
    if (log->failed || log->closing)
        return err_set(err, ERR_NOT_LEADER, "this replica is stopping; ask another one");
    if (leader_id != 0 && leader_id != log->options.id)
        return err_set(err, ERR_NOT_LEADER, "replica %" PRIu64 " is the leader", leader_id);
    return err_set(err, ERR_NOT_LEADER, "no leader is known at present; try again");
}

static void raftlog_on_idle(uv_idle_t *idle);

void raftlog_schedule(struct raftlog *log)
{
    if (log->started && !uv_is_closing((uv_handle_t *)&log->idle))
        ASSERT(uv_idle_start(&log->idle, raftlog_on_idle) == 0);
}

static void proposal_done(struct proposal *p, int status)
{
    p->status = status;
    list_remove(&p->link);
    list_push(&p->log->proposals_done, &p->link);
    raftlog_schedule(p->log);
}

static void raftlog_on_applied(struct raft_apply *req, int status, void *result)
{
    struct proposal *p = CONTAINER_OF(req, struct proposal, req);
    (void)result;
    if (status == 0 && !p->log->failed) {
        ASSERT(req->index == p->log->applied_index);
        p->request->index = req->index;
    } else {
        status = -ERR_UNKNOWN_OUTCOME;
    }
    proposal_done(p, status);
}

static void proposal_submit(struct proposal *p)
{
    struct raftlog *log = p->log;
    if (raftlog_leads(log)) {
        list_remove(&p->link);
        list_push(&log->proposals_sent, &p->link);
        raftlog_frame_address(&p->buf, raft_last_index(&log->raft) + 1, log->seal.cell);
        if (raft_apply(&log->raft, &p->req, &p->buf, 1, raftlog_on_applied) == 0)
            return;
    }
    raft_free(p->buf.base);
    proposal_done(p, -ERR_UNKNOWN_OUTCOME);
}

static void raftlog_submit_proposals(struct raftlog *log)
{
    for (struct list *l; (l = log->proposals_waiting.next) != &log->proposals_waiting;)
        proposal_submit(CONTAINER_OF(l, struct proposal, link));
}

static void raftlog_answer_proposals(struct raftlog *log)
{
    struct list done; /* callbacks may propose again; such proposals wait for the next turn */
    list_init(&done);
    for (struct list *l; (l = list_pop(&log->proposals_done)) != NULL;)
        list_push(&done, l);
    for (struct list *l; (l = list_pop(&done)) != NULL;) {
        struct proposal *p = CONTAINER_OF(l, struct proposal, link);
        struct raftlog_proposal *request = p->request;
        int status = p->status;
        free(p);
        log->proposals_count--;
        request->impl = NULL;
        request->cb(request, status);
    }
}

int raftlog_propose(struct raftlog *log, struct raftlog_proposal *req, const void *bytes,
                    size_t size, raftlog_proposal_cb cb, struct err *err)
{
    if (!raftlog_leads(log))
        return raftlog_refuse(log, err);
    if (size > RAFTLOG_ENTRY_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the entry has %zu bytes, at most %d are allowed", size,
                       RAFTLOG_ENTRY_BYTES_MAX);
    if (log->proposals_count >= PROPOSALS_IN_FLIGHT_MAX)
        return err_set(err, ERR_LIMIT,
                       "%d proposals are in flight; wait until one of them has finished",
                       PROPOSALS_IN_FLIGHT_MAX);
    struct proposal *p = xcalloc(1, sizeof *p);
    p->log = log;
    p->request = req;
    p->buf = raftlog_frame(bytes, size);
    list_init(&p->link);
    list_push(&log->proposals_waiting, &p->link);
    log->proposals_count++;
    req->cb = cb;
    req->impl = p;
    raftlog_schedule(log);
    return 0;
}

static void raftlog_on_barrier(struct raft_barrier *req, int status)
{
    struct barrier_group *group = CONTAINER_OF(req, struct barrier_group, req);
    struct raftlog *log = group->log;
    for (struct list *l; (l = list_pop(&group->barriers)) != NULL;) {
        struct barrier *b = CONTAINER_OF(l, struct barrier, link);
        b->status = status == 0 && !log->failed ? 0 : -ERR_UNKNOWN_OUTCOME;
        list_push(&log->barriers_done, &b->link);
    }
    log->barrier_groups--;
    free(group);
    raftlog_schedule(log);
}

/* Submit one entry for all waiting barriers: it is newer than everything committed before them. */
static void raftlog_submit_barriers(struct raftlog *log)
{
    if (list_empty(&log->barriers_waiting) || log->barrier_groups >= RAFTLOG_BARRIER_GROUPS_MAX)
        return;
    struct barrier_group *group = xcalloc(1, sizeof *group);
    group->log = log;
    list_init(&group->barriers);
    for (struct list *l; (l = list_pop(&log->barriers_waiting)) != NULL;)
        list_push(&group->barriers, l);
    log->barrier_groups++;
    if (!raftlog_leads(log) || raft_barrier(&log->raft, &group->req, raftlog_on_barrier) != 0)
        raftlog_on_barrier(&group->req, RAFT_LEADERSHIPLOST);
}

static void raftlog_answer_barriers(struct raftlog *log)
{
    struct list done;
    list_init(&done);
    for (struct list *l; (l = list_pop(&log->barriers_done)) != NULL;)
        list_push(&done, l);
    for (struct list *l; (l = list_pop(&done)) != NULL;) {
        struct barrier *b = CONTAINER_OF(l, struct barrier, link);
        struct raftlog_barrier *request = b->request;
        int status = b->status;
        free(b);
        log->barriers_count--;
        request->impl = NULL;
        request->cb(request, status);
    }
}

int raftlog_barrier(struct raftlog *log, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                    struct err *err)
{
    if (!raftlog_leads(log))
        return raftlog_refuse(log, err);
    if (log->barriers_count >= RAFTLOG_BARRIERS_MAX)
        return err_set(err, ERR_LIMIT, "%d reads are waiting already; try again",
                       RAFTLOG_BARRIERS_MAX);
    struct barrier *b = xcalloc(1, sizeof *b);
    b->request = req;
    list_init(&b->link);
    list_push(&log->barriers_waiting, &b->link);
    log->barriers_count++;
    req->cb = cb;
    req->impl = b;
    raftlog_schedule(log);
    return 0;
}

static void raftlog_free(struct raftlog *log)
{
    void (*cb)(void *data) = log->close_cb;
    void *data = log->close_data;
    raftlog_disk_release(log->dir_fd);
    raftlog_seal_close(&log->seal);
    raftlog_acked_close(&log->acked);
    free(log->dir);
    free(log);
    if (cb != NULL)
        cb(data);
}

static void raftlog_on_handle_closed(uv_handle_t *handle)
{
    struct raftlog *log = handle->data;
    if (--log->handles > 0)
        return;
    raft_uv_close(&log->io);
    raftlog_free(log);
}

/* The library's memory must outlive its close callback by two handle closings: the callback is
 * called when the last file is finished, and the handles of that file, which close in this turn
 * of the loop or the one before, still access that memory. */
static void raftlog_on_idle_closed(uv_handle_t *handle)
{
    struct raftlog *log = handle->data;
    uv_close((uv_handle_t *)&log->prepare, raftlog_on_handle_closed);
    uv_close((uv_handle_t *)&log->watch, raftlog_on_handle_closed);
    uv_close((uv_handle_t *)&log->commit_timer, raftlog_on_handle_closed);
}

/* The library is closed, so no request will be answered by it any more. */
static void raftlog_on_raft_closed(struct raft *r)
{
    struct raftlog *log = r->data;
    log->raft_closed = true;
    if (!log->prepare_image.busy)
        raftlog_closed(log);
}

void raftlog_closed(struct raftlog *log)
{
    raftlog_guard_release(&log->guard);
    raftlog_image_unprepare(log);
    raftlog_submit_proposals(log); /* there is no leader any more: all fail */
    while (!list_empty(&log->barriers_waiting))
        raftlog_submit_barriers(log);
    /* After a fatal failure the library has not answered all requests. */
    for (struct list *l; (l = log->proposals_sent.next) != &log->proposals_sent;)
        proposal_done(CONTAINER_OF(l, struct proposal, link), -ERR_UNKNOWN_OUTCOME);
    log->transfer.done = log->transfer.wanted;
    raftlog_transfer_answer(log);
    raftlog_answer_proposals(log);
    raftlog_answer_barriers(log);
    uv_close((uv_handle_t *)&log->idle, raftlog_on_idle_closed);
}

static void raftlog_on_idle(uv_idle_t *idle)
{
    struct raftlog *log = idle->data;
    if (log->closing) {
        uv_idle_stop(idle);
        if (!log->close_begun)
            raft_close(&log->raft, raftlog_on_raft_closed);
        log->close_begun = true;
        return;
    }
    raftlog_transfer_send(log);
    if (!log->transfer.wanted || log->transfer.done) { /* done: refused, or completed */
        raftlog_submit_proposals(log);
        raftlog_submit_barriers(log);
    }
    raftlog_answer_proposals(log);
    raftlog_answer_barriers(log);
    raftlog_transfer_answer(log);
    bool more =
        log->closing ||
        ((!log->transfer.wanted || log->transfer.done) && !list_empty(&log->proposals_waiting)) ||
        !list_empty(&log->proposals_done) || !list_empty(&log->barriers_done);
    if (!more)
        uv_idle_stop(idle);
}

static enum raftlog_role raftlog_role_of(unsigned short state)
{
    if (state == RAFT_LEADER)
        return RAFTLOG_LEADER;
    return state == RAFT_CANDIDATE ? RAFTLOG_CANDIDATE : RAFTLOG_FOLLOWER;
}

static void raftlog_on_commit_timer(uv_timer_t *timer)
{
    struct raftlog *log = timer->data;
    if (!log->failed && !log->closing)
        raftlog_guard_send_commit(&log->guard, log->commit_send_index);
}

/* Schedule a message with the commit index. Followers drive borglets and answer queries; without
 * this message they would learn of a single command 50 to 100 ms after its commit. The delay
 * lets further entries carry the index under load. */
static void raftlog_send_commit_soon(struct raftlog *log)
{
    if (uv_is_active((uv_handle_t *)&log->commit_timer) ||
        !raftlog_guard_commit_unsent(&log->guard, log->raft.commit_index))
        return;
    log->commit_send_index = log->raft.commit_index;
    ASSERT(uv_timer_start(&log->commit_timer, raftlog_on_commit_timer, COMMIT_DELAY_MS, 0) == 0);
}

/* Return whether another voter has stored entries that still wait for our disk. */
static bool other_replica_is_ahead(const struct raftlog *log)
{
    const struct raft_configuration *conf = &log->raft.configuration;
    for (unsigned i = 0; i < conf->n && log->raft.state == RAFT_LEADER; i++) {
        const struct guard_peer *peer = raftlog_guard_peer(&log->guard, conf->servers[i].id);
        if (conf->servers[i].role == RAFT_VOTER && peer != NULL &&
            peer->acked > log->raft.last_stored)
            return true;
    }
    return false;
}

/* Compare our disk with those of the other replicas. A disk that all of them share makes none
 * better. A finished write counts as slow or quick; one quick write resets the count. */
static void disk_compare(struct raftlog *log, uint64_t now_ms)
{
    bool done = log->raft.last_stored != log->stored_index;
    log->disk_behind_ms = log->other_ahead_ms != 0 ? now_ms - log->other_ahead_ms : 0;
    if (done && log->disk_behind_ms >= HANDOVER_EACH_MS)
        log->slow_writes++;
    else if (done && log->disk_behind_ms < HANDOVER_QUICK_MS)
        log->slow_writes = 0;
    if (done || !log->disk_waits)
        log->other_ahead_ms = log->disk_behind_ms = 0;
    if (log->other_ahead_ms == 0 && raft_last_index(&log->raft) > log->raft.last_stored &&
        other_replica_is_ahead(log))
        log->other_ahead_ms = now_ms;
}

/* Measure how long entries wait for the disk. */
static void disk_measure(struct raftlog *log)
{
    struct raft *r = &log->raft;
    uint64_t now_ms = uv_now(log->loop);
    bool waits = raft_last_index(r) > r->last_stored;
    if (now_ms - log->checked_ms >= LOOP_BLOCKED_MS) /* the loop was busy and saw no progress */
    {
        log->stored_ms += now_ms - log->checked_ms;
        log->other_ahead_ms += log->other_ahead_ms != 0 ? now_ms - log->checked_ms : 0;
    }
    log->checked_ms = now_ms;
    if (now_ms - log->disk_window_ms >= DISK_WINDOW_MS) {
        log->disk_window_ms = now_ms;
        log->disk_wait_ms_before = log->disk_wait_ms;
        log->disk_wait_ms = 0;
    }
    if (log->disk_waits)
        log->disk_wait_ms = MAX(log->disk_wait_ms, now_ms - log->stored_ms);
    disk_compare(log, now_ms);
    if (!log->disk_waits || !waits || r->last_stored != log->stored_index)
        log->stored_ms = now_ms;
    log->stored_index = r->last_stored;
    log->disk_waits = waits;
}

static uint64_t disk_wait_ms(const struct raftlog *log)
{
    return MAX(log->disk_wait_ms, log->disk_wait_ms_before);
}

static void raftlog_on_handed_over(void *data, int status)
{
    struct raftlog *log = data;
    log_info("leadership.handed_over dir=%s ok=%s", log_quoted(log->dir),
             status == 0 ? "yes" : "no");
    if (status != 0)
        log->handover_ms = uv_now(log->loop) + HANDOVER_RETRY_MS - HANDOVER_AGAIN_MS;
}

/* Hand leadership over if our disk is slow. A command is committed only after it is on the
 * leader's own disk, so a slow disk delays all commands. If the next leader's disk is slow too,
 * it does not hand over for a while. */
static void disk_hand_over(struct raftlog *log)
{
    uint64_t now_ms = uv_now(log->loop);
    bool lately = log->handover_ms != 0 && now_ms - log->handover_ms < HANDOVER_AGAIN_MS;
    bool is_slow = log->disk_behind_ms >= HANDOVER_MS || log->slow_writes >= HANDOVER_WRITES;
    if (log->raft.state != RAFT_LEADER || !is_slow || lately || log->transfer.wanted)
        return;
    log->handover_ms = now_ms;
    struct err err; /* refused if there is no other replica or none is close enough */
    int rv = raftlog_transfer(log, 0, raftlog_on_handed_over, log, &err);
    log_warn("disk.slowed_leader dir=%s waited_ms=%" PRIu64 " slow_writes=%u action=%s",
             log_quoted(log->dir), disk_wait_ms(log), log->slow_writes,
             rv == 0 ? "hand-over" : "none");
    log->slow_writes = 0;
}

/* Record committed entries only: a follower may have to remove others. A leader has stored what
 * it announces as committed: it counts no entry before its own disk has it, and it was elected
 * with all entries committed before (G1, G3). */
static void acked_note(struct raftlog *log)
{
    uint64_t now_ms = clock_mono_ms();
    const struct raft_configuration *conf = &log->raft.configuration;
    if (log->raft.state == RAFT_FOLLOWER && raftlog_leader(log) != 0)
        raftlog_acked_note(&log->acked, raftlog_leader(log), log->raft.commit_index, now_ms);
    for (unsigned i = 0; i < conf->n && log->raft.state == RAFT_LEADER; i++) {
        const struct guard_peer *peer = raftlog_guard_peer(&log->guard, conf->servers[i].id);
        if (peer != NULL)
            raftlog_acked_note(&log->acked, peer->id, MIN(peer->acked, log->raft.commit_index),
                               now_ms);
    }
}

void raftlog_go(struct raftlog *log)
{
    log->guard.held_back = false;
}

bool raftlog_is_held(const struct raftlog *log)
{
    return log->guard.held_back;
}

uint64_t raftlog_acked(const struct raftlog *log, uint64_t id, uint64_t *ret_age_ms)
{
    const struct acked_row *row = raftlog_acked_find(&log->acked, id);
    *ret_age_ms = row != NULL ? clock_mono_ms() - row->noted_ms : 0;
    return row != NULL ? row->index : 0;
}

/* Detect changes in every loop turn. The term is compared too, because a leader may lose and
 * regain leadership within a turn. */
static void raftlog_on_prepare(uv_prepare_t *prepare)
{
    struct raftlog *log = prepare->data;
    struct raft *r = &log->raft;
    if (log->failed || log->closing)
        return;
    if (r->state == RAFT_UNAVAILABLE) {
        raftlog_fail(log, ERR_UNAVAILABLE,
                     "the Raft library has stopped (%s); restart this replica",
                     r->errmsg[0] != '\0' ? r->errmsg : "no reason given");
        return;
    }
    disk_measure(log);
    disk_hand_over(log);
    acked_note(log);
    raftlog_send_commit_soon(log);
    raftlog_transfer_watch(log);
    enum raftlog_role role = raftlog_role_of(r->state);
    uint64_t leader_id = raftlog_leader(log);
    if (role == log->role && r->current_term == log->term && leader_id == log->leader_id)
        return;
    log->role = role;
    log->term = r->current_term;
    log->leader_id = leader_id;
    if (log->options.handlers->on_role != NULL)
        log->options.handlers->on_role(log->options.data, role, log->term, leader_id);
}

/* The library cannot survive a full disk and does not notice one that hangs. */
static void raftlog_on_watch(uv_timer_t *timer)
{
    struct raftlog *log = timer->data;
    struct err err;
    if (log->failed || log->closing)
        return;
    if (raftlog_disk_check(log->dir, log->options.disk_free_min_bytes, &err) != 0) {
        raftlog_fail(log, err.code, "%s", err.msg);
        return;
    }
    raftlog_acked_save(&log->acked);
    disk_measure(log);
    if (uv_now(log->loop) - log->stored_ms > STUCK_DISK_MS) {
        raftlog_fail(log, ERR_IO,
                     "no entry was stored for %d s although entries wait; check the disk of %s",
                     STUCK_DISK_MS / 1000, log->dir);
        return;
    }
    disk_hand_over(log);
    bool slow = disk_wait_ms(log) >= SLOW_DISK_MS;
    if (slow && !log->disk_slow)
        log_warn("disk.slowed dir=%s waited_ms=%" PRIu64, log_quoted(log->dir), disk_wait_ms(log));
    if (!slow && log->disk_slow)
        log_info("disk.recovered dir=%s", log_quoted(log->dir));
    log->disk_slow = slow;
}

struct raftlog_status raftlog_status(const struct raftlog *log)
{
    struct raft *r = (struct raft *)&log->raft; /* the library's getters only read */
    return (struct raftlog_status){.role = raftlog_role_of(r->state),
                                   .term = r->current_term,
                                   .leader_id = raftlog_leader(log),
                                   .last_index = raft_last_index(r),
                                   .stored_index = r->last_stored,
                                   .commit_index = r->commit_index,
                                   .applied_index = r->last_applied,
                                   .snapshot_index = r->log.snapshot.last_index,
                                   .snapshots_sent = log->guard.snapshots_sent,
                                   .in_flight = log->proposals_count,
                                   .transferring = log->transfer.wanted,
                                   .disk_wait_ms = disk_wait_ms(log)};
}

/* Close the library in the next loop turn: the caller may run in one of its callbacks. */
void raftlog_close(struct raftlog *log, void (*cb)(void *data), void *data)
{
    ASSERT(!log->closing);
    log->closing = true;
    log->close_cb = cb;
    log->close_data = data;
    raftlog_schedule(log);
}

static const struct raftlog_member *options_self(const struct raftlog_options *options)
{
    for (size_t i = 0; i < options->member_count; i++) {
        if (options->members[i].id == options->id)
            return &options->members[i];
    }
    return NULL;
}

static int options_check(const struct raftlog_options *options, struct err *err)
{
    const struct identity *self = tls_context_identity(options->tls);
    char name[CELL_NAME_MAX + 1];
    if (options->member_count == 0 || options->member_count > RAFTLOG_MEMBERS_MAX)
        return err_set(err, ERR_INVALID, "%zu replicas are given, 1 to %d are allowed",
                       options->member_count, RAFTLOG_MEMBERS_MAX);
    for (size_t i = 0; i < options->member_count; i++) {
        const struct raftlog_member *m = &options->members[i];
        if (m->id == 0 || m->address[0] == '\0')
            return err_set(err, ERR_INVALID, "replica %zu has no number or no address", i + 1);
        for (size_t k = 0; k < i; k++) {
            if (m->id == options->members[k].id ||
                strcmp(m->address, options->members[k].address) == 0)
                return err_set(err, ERR_INVALID,
                               "replica %" PRIu64 " (%s) is listed twice; numbers and addresses "
                               "must differ",
                               m->id, m->address);
        }
    }
    if (options->heartbeat_ms > options->election_timeout_ms / 2)
        return err_set(err, ERR_INVALID,
                       "a heartbeat each %u ms is too slow for an election timeout of %u ms; twice "
                       "as many must fit",
                       options->heartbeat_ms, options->election_timeout_ms);
    if (options_self(options) == NULL)
        return err_set(err, ERR_INVALID, "replica %" PRIu64 " is not in the list of replicas",
                       options->id);
    snprintf(name, sizeof name, "%" PRIu64, options->id);
    if (self->role != ROLE_MASTER || strcmp(self->name, name) != 0)
        return err_set(err, ERR_DENIED,
                       "this certificate is for %s, but replica %" PRIu64 " needs master/%" PRIu64,
                       identity_text(self).text, options->id, options->id);
    return 0;
}

/* Lock and check the directory before the library repairs files that it considers torn. */
static int raftlog_take_dir(struct raftlog *log, struct err *err)
{
    const struct raftlog_options *o = &log->options;
    if (raftlog_disk_take(log->dir, o->disk_free_min_bytes, &log->dir_fd, err) != 0)
        return -(int)err->code;
    if (raftlog_files_check(log->dir, err) != 0 ||
        raftlog_seal_open(&log->seal, log->dir, o->id, raftlog_cell(o->cell), err) != 0)
        return raftlog_remedy(log, err);
    raftlog_acked_open(&log->acked, log->dir);
    return log->seal.term != 0 ? raftlog_files_metadata(log->dir, err) : 0;
}

static int raftlog_library_err(struct raftlog *log, int rv, const char *doing, struct err *err)
{
    const char *why = raft_strerror(rv);
    if (log->restore_err.code != ERR_OK)
        why = log->restore_err.msg;
    else if (log->transport.listen_err.code != ERR_OK)
        why = log->transport.listen_err.msg;
    else if (log->io.errmsg[0] != '\0')
        why = log->io.errmsg;
    else if (log->raft.errmsg[0] != '\0')
        why = log->raft.errmsg;
    /* A failed load has many codes, for example RAFT_IOERR for a truncated file. */
    bool corrupt = rv == RAFT_CORRUPT || rv == RAFT_MALFORMED || log->restore_err.code != ERR_OK ||
                   (log->loading && rv != RAFT_NOMEM);
    err_set(err, corrupt ? ERR_CORRUPT : ERR_IO, "cannot %s the raft log in %s: %s", doing,
            log->dir, why);
    return raftlog_remedy(log, err);
}

static int raftlog_bootstrap(struct raftlog *log, struct err *err)
{
    struct raft_configuration conf;
    int rv = 0;
    raft_configuration_init(&conf);
    for (size_t i = 0; i < log->options.member_count && rv == 0; i++)
        rv = raft_configuration_add(&conf, log->options.members[i].id,
                                    log->options.members[i].address, RAFT_VOTER);
    if (rv == 0)
        rv = raft_bootstrap(&log->raft, &conf);
    raft_configuration_close(&conf);
    if (rv != 0 && rv != RAFT_CANTBOOTSTRAP) /* RAFT_CANTBOOTSTRAP: an earlier run did it */
        return raftlog_library_err(log, rv, "begin", err);
    return 0;
}

/* Check that our number still belongs to our address. */
static int raftlog_check_address(const struct raftlog *log, struct err *err)
{
    const struct raft_configuration *conf = &log->raft.configuration;
    const char *address = options_self(&log->options)->address;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == log->options.id &&
            strcmp(conf->servers[i].address, address) != 0)
            return err_set(err, ERR_STATE,
                           "the raft log in %s belongs to replica %" PRIu64
                           " at %s and not at %s: start it there, or replace it",
                           log->dir, log->options.id, conf->servers[i].address, address);
    }
    return 0;
}

static void raftlog_on_init_failed(struct raft_uv_transport *uv)
{
    struct raftlog *log = CONTAINER_OF(uv, struct raftlog, transport.uv);
    raftlog_free(log);
}

static void raftlog_init_handles(struct raftlog *log)
{
    ASSERT(uv_prepare_init(log->loop, &log->prepare) == 0);
    ASSERT(uv_idle_init(log->loop, &log->idle) == 0);
    ASSERT(uv_timer_init(log->loop, &log->watch) == 0);
    ASSERT(uv_timer_init(log->loop, &log->commit_timer) == 0);
    log->prepare.data = log;
    log->idle.data = log;
    log->watch.data = log;
    log->commit_timer.data = log;
    log->handles = 3; /* all but idle, which closes before them */
}

static void raftlog_start_handles(struct raftlog *log)
{
    log->stored_ms = log->checked_ms = uv_now(log->loop);
    ASSERT(uv_prepare_start(&log->prepare, raftlog_on_prepare) == 0);
    ASSERT(uv_timer_start(&log->watch, raftlog_on_watch, WATCH_MS, WATCH_MS) == 0);
}

/* Initialize the library with our transport, state machine and guard, without starting it. */
static int raftlog_init_library(struct raftlog *log, struct err *err)
{
    const struct raftlog_options *o = &log->options;
    raftlog_transport_init(&log->transport, log->loop, o->tls, o->handlers->may_connect, o->data);
    raftlog_fsm_init(log);
    int rv = raft_uv_init(&log->io, log->loop, log->dir, &log->transport.uv);
    if (rv != 0) {
        raftlog_library_err(log, rv, "open", err);
        raftlog_free(log);
        return -(int)err->code;
    }
    log->io.version = 2; /* 0.15.0 has asynchronous snapshots but does not announce them
                            (269e541) */
    rv = raft_init(&log->raft, &log->io, &log->fsm, o->id, options_self(o)->address);
    if (rv != 0) {
        raftlog_library_err(log, rv, "open", err);
        raft_uv_close(&log->io);
        if (log->transport.sweep_open)
            log->transport.uv.close(&log->transport.uv, raftlog_on_init_failed);
        else
            raftlog_free(log);
        return -(int)err->code;
    }
    log->raft.data = log;
    raftlog_init_handles(log);
    raftlog_guard_install(&log->guard, &log->raft, 0,
                          &(struct guard_owner){.fatal = raftlog_on_guard_fatal,
                                                .loaded = raftlog_on_loaded,
                                                .image_ok = raftlog_image_ok,
                                                .prepare = raftlog_image_prepare,
                                                .unprepare = raftlog_image_unprepare,
                                                .seal = &log->seal,
                                                .data = log});
    log->guard.held_back = o->hold;
    raft_set_election_timeout(&log->raft, o->election_timeout_ms);
    raft_set_heartbeat_timeout(&log->raft, o->heartbeat_ms);
    raft_set_pre_vote(&log->raft, true); /* safer, and failover is faster */
    raft_set_snapshot_threshold(&log->raft, o->snapshot_threshold);
    raft_set_snapshot_trailing(&log->raft, o->snapshot_trailing);
    raft_set_install_snapshot_timeout(&log->raft, INSTALL_TIMEOUT_MS);
    raft_uv_set_connect_retry_delay(&log->io, CONNECT_RETRY_MS);
    raft_uv_set_auto_recovery(&log->io, false); /* it would cut a corrupt log short without a
                                                   message */
    return 0;
}

static struct raftlog *raftlog_new(const struct raftlog_options *options)
{
    struct raftlog *log = xcalloc(1, sizeof *log);
    struct raftlog_options *o = &log->options;
    *o = *options;
    log->loop = options->loop;
    log->dir = xstrdup(options->dir);
    log->dir_fd = -1;
    log->seal.fd = -1;
    log->acked.fd = -1;
    o->dir = log->dir;
    o->election_timeout_ms =
        o->election_timeout_ms > 0 ? o->election_timeout_ms : ELECTION_TIMEOUT_MS;
    o->heartbeat_ms = o->heartbeat_ms > 0 ? o->heartbeat_ms : HEARTBEAT_MS;
    o->snapshot_threshold = o->snapshot_threshold > 0 ? o->snapshot_threshold : SNAPSHOT_THRESHOLD;
    o->snapshot_bytes = o->snapshot_bytes > 0 ? o->snapshot_bytes : SNAPSHOT_BYTES;
    o->snapshot_trailing = o->snapshot_trailing > 0 ? o->snapshot_trailing : SNAPSHOT_TRAILING;
    o->disk_free_min_bytes =
        o->disk_free_min_bytes > 0 ? o->disk_free_min_bytes : DISK_FREE_MIN_BYTES;
    list_init(&log->proposals_waiting);
    list_init(&log->proposals_sent);
    list_init(&log->proposals_done);
    list_init(&log->barriers_waiting);
    list_init(&log->barriers_done);
    return log;
}

/* Close the library after a failed open; the loop finishes the close. */
static int raftlog_abandon(struct raftlog *log, const struct err *err)
{
    log->closing = true;
    raft_close(&log->raft, raftlog_on_raft_closed);
    return -(int)err->code;
}

int raftlog_open(const struct raftlog_options *options, struct raftlog **ret, struct err *err)
{
    struct err local;
    err = err != NULL ? err : &local; /* the code is needed below */
    *ret = NULL;
    struct raftlog *log = raftlog_new(options);
    if (options_check(&log->options, err) != 0 || raftlog_take_dir(log, err) != 0) {
        raftlog_free(log);
        return -(int)err->code;
    }
    if (raftlog_init_library(log, err) != 0)
        return -(int)err->code;
    if (options->bootstrap && raftlog_bootstrap(log, err) != 0)
        return raftlog_abandon(log, err);
    /* The owner may have loaded for seconds since the loop updated its clock; the election timer
     * starts now. */
    uv_update_time(log->loop);
    log->loading = true;
    int rv = raft_start(&log->raft);
    if (rv != 0) {
        raftlog_library_err(log, rv, "start", err);
        return raftlog_abandon(log, err);
    }
    if (raftlog_check_address(log, err) != 0)
        return raftlog_abandon(log, err);
    log->started = true;
    raftlog_start_handles(log);
    *ret = log;
    return 0;
}
