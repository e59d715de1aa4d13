/*
 * replica.c - applying what was committed and telling everybody.
 */
#include "replica.h"

#include "applier.h"
#include "cell_clock.h"
#include "clock.h"
#include "cmd_pack.h"
#include "disk.h"
#include "entry.h"
#include "forward.h"
#include "leader.h"
#include "links.h"
#include "log.h"
#include "members.h"
#include "peers.h"
#include "proposer.h"
#include "raftlog_disk.h"
#include "scheduler.h"
#include "service.h"
#include "tls_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FLUSH_TASKS_MAX = 65536,  /* tasks touched before a delta is made, also within one loop turn */
    TURN_TASKS_MAX = 16384,   /* and before the next command of an entry waits for the next turn */
    STORE_BACKLOG_MAX = 4096, /* deltas SQLite may be behind before the leader stops proposing */
    STORE_BEHIND_MS = 5000,   /* longer: we say so */
    LEADERLESS_MS = 3000,     /* longer than any election */
    CLOCK_WAIT_MS = 3000,     /* for the others' clocks, before the first command of a new cell */
    CLOCK_AWAY_MS = 60000,    /* between two attempts to have one lead whose clock is right */
};

struct replica {
    struct replica_options options;
    struct cell *cell;
    struct store *store;
    struct raftlog *log;
    struct prepared *prepared; /* NULL: no snapshot waits */
    struct inbox inbox;
    struct proposer *proposer; /* out of it, while we lead */
    struct forward forward;    /* and while another does */
    struct peers *peers;
    struct links *links;
    struct leader *leader;
    struct members *members;
    struct scheduler *scheduler;
    struct service *service;
    struct disk *disk;
    struct tls_watch *watch;

    enum raftlog_role role;
    uint64_t term;
    uint64_t leader_id;
    uint64_t led_ms;                /* when there was none any more; the start, before the first */
    bool leads;                     /* see replica_leads() */
    struct raftlog_barrier barrier; /* of this leadership */
    bool barrier_pending;

    struct applier applier;  /* what is committed, on its way into the cell */
    struct entry entry;      /* the one of these of which the cell may have a part */
    struct changes changes;  /* since the last flush */
    bool identities_changed; /* since these were told */
    uint64_t flushed_index;
    uint64_t mark_index; /* a multiple of WIRE_MARK_ENTRIES, 0: none yet */
    uint64_t mark_digest;
    uint64_t store_goal;    /* an index that SQLite has to reach */
    uint64_t store_goal_ms; /* it was the newest then */
    bool store_behind;      /* for long, and we have said so */
    bool readable;          /* see replica_readable() */
    struct masters masters; /* the replicas, as last told to peers and borglets */
    uv_check_t check;
    uv_prepare_t prepare;
    uint64_t started_ms;
    struct cell_clock clock;
    bool clock_off;         /* our clock is far off the others', and we have said so */
    uint64_t clock_away_ms; /* when leadership was last handed over because of that; 0: never */
    uint64_t role_ms;       /* when the role last changed */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Until the cell knows who its replicas are, cell.json does. */
static struct masters masters_of_file(const struct cell_file *file)
{
    struct masters masters = {0};
    for (size_t i = 0; i < file->replica_count; i++) {
        struct master *row = &masters.rows[masters.count++];
        *row = (struct master){.id = file->replicas[i].id, .state = MASTER_VOTES};
        str_copy(row->rpc, sizeof row->rpc, file->replicas[i].rpc);
        str_copy(row->raft, sizeof row->raft, file->replicas[i].raft);
    }
    return masters;
}

static bool is_revoked(void *data, const struct identity *id, uint64_t issued_ms)
{
    const struct replica *r = data;
    return cell_identity_revoked(r->cell, identity_text(id).text, issued_ms);
}

static void replica_tell_identities(struct replica *r)
{
    links_tell_identities(r->links);
    tls_watch_check(r->watch);
}

/* Tell all who keep connections when the replicas are others than before. */
static void replica_tell_masters(struct replica *r)
{
    const struct masters *told = &r->cell->settings.masters;
    if (told->next_id == 0 || masters_same(told, &r->masters))
        return;
    r->masters = *told;
    peers_set(r->peers, &r->masters);
    links_tell_replicas(r->links);
    links_tell_identities(r->links); /* who was removed is among them */
}

/* Of an entry that goes on in the next turn the store and the scheduler are told now, and told that
 * there is more; borglets are, too: what it has changed of their tasks is as it will be. */
void replica_flush(struct replica *r)
{
    bool half = r->entry.index != 0;
    if (r->flushed_index == r->cell->applied_index && changes_empty(&r->changes))
        return;
    struct delta *delta = delta_collect(r->cell, &r->changes);
    delta->more = half;
    delta->stored_index = MIN(delta->index, raftlog_status(r->log).stored_index);
    store_put(r->store, delta);
    scheduler_put(r->scheduler, delta);
    delta_unref(delta);
    links_touch(r->links, r->changes.machines, r->changes.machine_count);
    r->identities_changed |= r->changes.identities;
    changes_clear(&r->changes);
    if (half)
        return;
    replica_tell_masters(r);
    if (r->identities_changed)
        replica_tell_identities(r);
    r->identities_changed = false;
    r->flushed_index = r->cell->applied_index;
}

/* Before `index` is applied: what is the digest at the last multiple of WIRE_MARK_ENTRIES? Entries
 * that change nothing are not applied, so the cell may have been that for a while. */
static void mark_take(struct replica *r, uint64_t index)
{
    uint64_t mark = (index - 1) / WIRE_MARK_ENTRIES * WIRE_MARK_ENTRIES;
    if (mark == 0 || mark < r->cell->applied_index)
        return;
    r->mark_index = mark;
    r->mark_digest = cell_digest(r->cell);
}

/* Between two turns the index is of an entry that is whole: who asks for one must not be told of
 * what the cell has only a part of. */
static bool apply_entry(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct replica *r = data;
    struct cell *cell = r->cell;
    uint64_t last_index = cell->applied_index, last_term = cell->applied_term;
    enum entry_went went;
    if (index <= last_index)
        return true; /* already in the database this cell was loaded from */
    if (r->entry.index == 0)
        mark_take(r, index);
    cell->applied_index = index;
    cell->applied_term = term;
    do
        went = entry_go_on(&r->entry, cell, &r->changes, r->proposer, index, bytes, size);
    while (went == ENTRY_NEXT && r->changes.task_count < TURN_TASKS_MAX &&
           applier_has_time(&r->applier));
    if (went != ENTRY_OVER) {
        cell->applied_index = last_index;
        cell->applied_term = last_term;
    }
    if (r->changes.task_count >= FLUSH_TASKS_MAX)
        replica_flush(r);
    return went == ENTRY_OVER;
}

static void on_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct replica *r = data;
    applier_put(&r->applier, index, term, bytes, size);
}

/* A barrier of the log that is kept until the cell, too, has what was committed before it. */
struct barrier {
    struct raftlog_barrier log;
    struct applier_wait wait;
    struct replica *replica;
    struct raftlog_barrier *request; /* the caller's */
};

static void barrier_end(struct barrier *b, int status)
{
    struct raftlog_barrier *request = b->request;
    free(b);
    request->cb(request, status);
}

static void on_barrier_applied(struct applier_wait *wait)
{
    barrier_end(CONTAINER_OF(wait, struct barrier, wait), 0);
}

static void on_log_barrier(struct raftlog_barrier *req, int status)
{
    struct barrier *b = req->data;
    if (status != 0)
        barrier_end(b, status);
    else
        applier_after(&b->replica->applier, &b->wait, on_barrier_applied);
}

int replica_barrier(struct replica *r, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                    struct err *err)
{
    struct barrier *b = xcalloc(1, sizeof *b);
    b->replica = r;
    b->request = req;
    b->log.data = b;
    req->cb = cb;
    int rv = raftlog_barrier(r->log, &b->log, on_log_barrier, err);
    if (rv != 0)
        free(b);
    return rv;
}

static void on_barrier(struct raftlog_barrier *req, int status)
{
    struct replica *r = req->data;
    r->barrier_pending = false;
    if (status != 0 || r->role != RAFTLOG_LEADER)
        return;
    replica_flush(r);
    r->leads = true;
    log_info("leader.ready term=%" PRIu64 " index=%" PRIu64, r->term, r->cell->applied_index);
    leader_on_role(r->leader, true);
    scheduler_on_role(r->scheduler, true);
}

/* Wait until everything of earlier terms is applied here: only then is our cell the newest. */
static void try_lead(struct replica *r)
{
    struct err err;
    if (r->role != RAFTLOG_LEADER || r->leads || r->barrier_pending)
        return;
    r->barrier.data = r;
    r->barrier_pending = replica_barrier(r, &r->barrier, on_barrier, &err) == 0;
}

static void on_role(void *data, enum raftlog_role role, uint64_t term, uint64_t leader_id)
{
    static const char *const names[] = {"follower", "candidate", "leader"};
    struct replica *r = data;
    log_info("role.changed role=%s term=%" PRIu64 " leader=%" PRIu64, names[role], term, leader_id);
    bool news = leader_id != 0 && leader_id != r->leader_id;
    bool lost = r->leads && (role != RAFTLOG_LEADER || term != r->term);
    if (r->leader_id != 0 && leader_id == 0)
        r->led_ms = clock_mono_ms();
    r->role = role;
    r->term = term;
    r->leader_id = leader_id;
    r->role_ms = clock_mono_ms();
    if (news)
        service_on_leader(r->service);
    if (lost) {
        r->leads = false;
        scheduler_on_role(r->scheduler, false);
        leader_on_role(r->leader, false);
    }
}

/*
 * Let what waits go its way: into the log, or to the leader; there must be one. Not what SQLite
 * could not keep up with, nor what would wait in the log while leadership is handed over: in the
 * inbox it is known not to have happened.
 */
static void send_commands(struct replica *r)
{
    struct err err;
    links_flush(r->links);
    if (r->role == RAFTLOG_LEADER) {
        if (store_backlog(r->store) < STORE_BACKLOG_MAX && applier_is_empty(&r->applier) &&
            !raftlog_status(r->log).transferring)
            proposer_flush(r->proposer, &r->inbox, r->cell, r->log);
    } else if (r->leader_id != 0) {
        forward_flush(&r->forward, &r->inbox, r->leader_id);
    } else if (inbox_next(&r->inbox) != NULL) {
        err_set(&err, ERR_UNAVAILABLE,
                "replica %" PRIu64 " knows of no leader: an election is under way or fewer than "
                "half of the masters are up",
                r->options.self->id);
        inbox_refuse(&r->inbox, &err);
    }
}

static uint64_t store_behind_ms(const struct replica *r)
{
    return uv_now(r->options.loop) - r->store_goal_ms;
}

/* Queries here show an old state for as long as the store does not keep up. */
static void store_look(struct replica *r)
{
    if (store_index(r->store) >= r->store_goal) {
        r->store_goal = r->flushed_index;
        r->store_goal_ms = uv_now(r->options.loop);
    }
    bool behind = store_behind_ms(r) >= STORE_BEHIND_MS;
    if (behind && !r->store_behind)
        log_warn("store.behind index=%" PRIu64 " applied=%" PRIu64 " deltas=%zu",
                 store_index(r->store), r->cell->applied_index, store_backlog(r->store));
    if (!behind && r->store_behind)
        log_info("store.caught_up index=%" PRIu64, store_index(r->store));
    r->store_behind = behind;
}

static void on_check(uv_check_t *check)
{
    struct replica *r = check->data;
    try_lead(r);
    replica_flush(r);
    store_look(r);
    send_commands(r);
    applier_turn_end(&r->applier);
}

/* Commands that timers submitted must not wait for the next event. */
static void on_prepare(uv_prepare_t *prepare)
{
    send_commands(prepare->data);
}

static void *on_snapshot_begin(void *data, uint64_t index, uint64_t term)
{
    struct replica *r = data;
    /* After a restart the database is ahead until the log has caught up: its image would then hold
     * more than `index` says, and be applied twice by who restores it. */
    if (r->cell->applied_index > index || !applier_is_empty(&r->applier))
        return NULL; /* it is asked for again */
    replica_flush(r);
    log_info("snapshot.begin index=%" PRIu64 " term=%" PRIu64, index, term);
    return store_snapshot_begin(r->store);
}

static void on_snapshot_end(void *data, void *token)
{
    struct replica *r = data;
    store_snapshot_end(r->store, token);
}

/* A leader's snapshot that is being loaded, or is and waits to take the place of everything. */
struct prepared {
    struct replica *replica;
    const void *bytes; /* the log's: only to be compared */
    size_t size;
    struct cell *cell;
    struct delta *full; /* of it, for the scheduler */
    int rv;
    struct err err;
};

static void prepared_drop(struct replica *r)
{
    struct prepared *p = r->prepared;
    r->prepared = NULL;
    if (p == NULL)
        return;
    store_unprepare(r->store);
    if (p->full != NULL)
        delta_unref(p->full);
    cell_free(p->cell);
    free(p);
}

static void *on_restore_begin(void *data, const void *bytes, size_t size)
{
    struct replica *r = data;
    ASSERT(r->prepared == NULL);
    struct prepared *p = xcalloc(1, sizeof *p);
    *p = (struct prepared){.replica = r, .bytes = bytes, .size = size, .cell = cell_new()};
    return p;
}

/* Pool thread: nobody else knows the new cell. */
static void on_restore_load(void *token)
{
    struct prepared *p = token;
    p->rv = store_prepare(p->replica->store, p->bytes, p->size, p->cell, &p->err);
    if (p->rv == 0)
        p->full = delta_full(p->cell);
}

static void on_restore_end(void *data, void *token)
{
    struct replica *r = data;
    r->prepared = token;
}

static void on_restore_drop(void *data, void *token UNUSED)
{
    prepared_drop(data);
}

/* The old cell is taken apart elsewhere: a million tasks are a million pieces. */
struct old_cell {
    uv_work_t work;
    struct cell *cell;
};

static void old_cell_free(uv_work_t *work)
{
    cell_free(CONTAINER_OF(work, struct old_cell, work)->cell);
}

static void old_cell_freed(uv_work_t *work, int status UNUSED)
{
    free(CONTAINER_OF(work, struct old_cell, work));
}

/* A new cell with the database of it in place; *ret_full: for the scheduler, NULL: to be made. */
static int restore_take(struct replica *r, const void *bytes, size_t size, struct cell **ret_cell,
                        struct delta **ret_full, struct err *err)
{
    struct prepared *p = r->prepared;
    *ret_full = NULL;
    if (p == NULL || p->bytes != bytes || p->size != size || p->rv != 0) {
        prepared_drop(r);
        *ret_cell = cell_new();
        return store_replace(r->store, bytes, size, *ret_cell, err);
    }
    r->prepared = NULL;
    *ret_cell = p->cell;
    *ret_full = p->full;
    free(p);
    return store_replace_prepared(r->store, *ret_cell, bytes, size, err);
}

static int on_restore(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct replica *r = data;
    struct cell *cell;
    struct delta *full;
    struct err err;
    (void)term;
    if (index <= r->cell->applied_index) {
        log_info("snapshot.older index=%" PRIu64 " database=%" PRIu64 ", ignored", index,
                 r->cell->applied_index);
        prepared_drop(r);
        return 0;
    }
    if (restore_take(r, bytes, size, &cell, &full, &err) != 0) {
        log_error("snapshot.unusable index=%" PRIu64 " reason=%s", index, log_quoted(err.msg));
        cell_free(cell);
        return -(int)err.code;
    }
    struct old_cell *old = xcalloc(1, sizeof *old);
    old->cell = r->cell;
    r->cell = cell;
    entry_drop(&r->entry);
    applier_clear(&r->applier);
    proposer_lose(r->proposer);
    /* The image may name an older index than the snapshot has: barriers have one and change
     * nothing. The cell keeps to the image's, as on the replica it comes from. */
    ASSERT(cell->applied_index <= index);
    r->flushed_index = cell->applied_index;
    changes_clear(&r->changes);
    r->identities_changed = false; /* all is told below */
    if (full != NULL)
        scheduler_reset_to(r->scheduler, full);
    else
        scheduler_reset(r->scheduler);
    links_reset(r->links);
    replica_tell_identities(r);
    replica_tell_masters(r);
    if (uv_queue_work(r->options.loop, &old->work, old_cell_free, old_cell_freed) != 0)
        PANIC("no thread to free a cell");
    log_info("snapshot.restored index=%" PRIu64 " bytes=%zu", index, size);
    return 0;
}

/*
 * Numbers are given in order and never again: a lower one that is not there was removed. A higher
 * one may be a member that we have not been told of yet, but our leader tells us soon; only when
 * there has been none for long it may be the leader itself that we do not know.
 */
static bool may_connect(void *data, uint64_t id, const char *address)
{
    const struct replica *r = data;
    const struct master *row = masters_find(&r->masters, id);
    if (row != NULL)
        return strcmp(row->raft, address) == 0;
    if (r->leader_id != 0)
        return id >= r->masters.next_id && r->leader_id == id;
    return id >= r->masters.next_id && clock_mono_ms() - r->led_ms >= LEADERLESS_MS;
}

static void on_raftlog_fatal(void *data, const struct err *err)
{
    struct replica *r = data;
    r->options.on_fatal(r->options.data, err);
}

static const struct raftlog_handlers raftlog_handlers = {
    .on_apply = on_apply,
    .on_role = on_role,
    .snapshot_begin = on_snapshot_begin,
    .snapshot_write = store_snapshot_write,
    .snapshot_end = on_snapshot_end,
    .restore_begin = on_restore_begin,
    .restore_load = on_restore_load,
    .restore_end = on_restore_end,
    .restore_drop = on_restore_drop,
    .on_restore = on_restore,
    .on_fatal = on_raftlog_fatal,
    .may_connect = may_connect,
};

int replica_join(struct replica *r, struct err *err)
{
    const struct replica_options *o = &r->options;
    char dir[CELL_PATH_MAX + 8];
    snprintf(dir, sizeof dir, "%s/raft", o->dir);
    struct raftlog_options options = {.loop = o->loop,
                                      .tls = o->tls,
                                      .dir = dir,
                                      .cell = o->file->name,
                                      .id = o->self->id,
                                      .member_count = o->file->replica_count,
                                      .bootstrap = o->bootstrap,
                                      .hold = !o->bootstrap && !raftlog_disk_is_new(dir) &&
                                              r->masters.count > 1,
                                      .election_timeout_ms = o->election_timeout_ms,
                                      .heartbeat_ms = o->heartbeat_ms,
                                      .snapshot_threshold = o->snapshot_threshold,
                                      .snapshot_trailing = o->snapshot_threshold / 4,
                                      .handlers = &raftlog_handlers,
                                      .data = r};
    for (size_t i = 0; i < o->file->replica_count; i++) {
        options.members[i].id = o->file->replicas[i].id;
        str_copy(options.members[i].address, sizeof options.members[i].address,
                 o->file->replicas[i].raft);
    }
    int rv = raftlog_open(&options, &r->log, err);
    if (rv == 0)
        members_on_opened(r->members);
    return rv;
}

/* A damaged file has been set aside: the next start finds none, and fills a new one. */
static void on_store_fatal(void *data, const struct err *err)
{
    struct replica *r = data;
    if (err->code == ERR_CORRUPT && r->options.on_rebuild != NULL)
        r->options.on_rebuild(r->options.data, err);
    else
        r->options.on_fatal(r->options.data, err);
}

/*
 * The database is written after the log, so it tells what the log must have. What was committed and
 * on the disk is never taken back: a log that lacks it was damaged or exchanged, and this replica
 * may have promised others what it has forgotten. It must not vote.
 */
static int log_check(const struct replica *r, struct err *err)
{
    if (r->log == NULL) /* it is given one when it may join */
        return 0;
    uint64_t last = raftlog_status(r->log).last_index, stored = store_stored_index(r->store);
    if (last >= stored)
        return 0;
    return err_set(
        err, ERR_CORRUPT,
        "the raft log in %s/raft ends with entry %" PRIu64 ", but entry %" PRIu64
        " was on its disk: it has lost entries that the other masters count on, and must "
        "not vote; replace replica %" PRIu64 ", do not start it again",
        r->options.dir, last, stored, r->options.self->id);
}

static void start_hooks(struct replica *r)
{
    uv_check_init(r->options.loop, &r->check);
    r->check.data = r;
    uv_check_start(&r->check, on_check);
    uv_prepare_init(r->options.loop, &r->prepare);
    r->prepare.data = r;
    uv_prepare_start(&r->prepare, on_prepare);
}

/* A log that holds something is opened, or one that begins a cell. An empty one may be that of a
 * replica that has forgotten its votes and what it acknowledged: the others have to say. */
static int open_log(struct replica *r, struct err *err)
{
    char dir[CELL_PATH_MAX + 8];
    snprintf(dir, sizeof dir, "%s/raft", r->options.dir);
    if (r->options.bootstrap || !raftlog_disk_is_new(dir))
        return replica_join(r, err);
    log_info("replica.new dir=%s, asking the others whether it may join", log_quoted(dir));
    return 0;
}

int replica_open(const struct replica_options *options, struct replica **ret, struct err *err)
{
    struct replica *r = xcalloc(1, sizeof *r);
    r->options = *options;
    r->started_ms = clock_mono_ms();
    r->led_ms = r->started_ms;
    r->cell = cell_new();
    int rv = store_open(options->dir, options->identity, r->cell, &r->store, err);
    if (rv != 0) {
        cell_free(r->cell);
        free(r);
        return rv;
    }
    store_on_fatal(r->store, on_store_fatal, r);
    r->flushed_index = r->cell->applied_index;
    r->readable = r->cell->applied_index > 0; /* perhaps old, but whole */
    inbox_init(&r->inbox);
    applier_init(&r->applier, options->loop, apply_entry, r);
    r->store_goal_ms = uv_now(options->loop);
    r->proposer = proposer_new();
    r->peers = peers_new(&r->options);
    r->forward.peers = r->peers;
    r->masters = masters_of_file(options->file);
    peers_set(r->peers, &r->masters);
    r->links = links_new(r);
    r->leader = leader_new(r);
    r->members = members_new(r);
    r->scheduler = scheduler_new(r);
    r->watch = tls_watch_open(options->loop, options->tls);
    tls_context_on_peer(options->tls, is_revoked, r);
    r->disk = disk_new(options->loop, options->dir);
    replica_tell_masters(r);
    start_hooks(r);
    rv = service_open(r, &r->service, err);
    if (rv == 0)
        rv = open_log(r, err);
    if (rv == 0)
        rv = log_check(r, err);
    *ret = r; /* a failed open ends the process: what is open goes with it */
    return rv;
}

static void on_log_closed(void *data)
{
    struct replica *r = data;
    store_close(r->store);
    r->close_cb(r->close_data);
}

static void replica_stop(struct replica *r)
{
    r->leads = false;
    scheduler_on_role(r->scheduler, false);
    uv_check_stop(&r->check);
    uv_prepare_stop(&r->prepare);
    applier_drain(&r->applier);
    replica_flush(r);
    scheduler_stop(r->scheduler);
    if (r->log != NULL)
        raftlog_close(r->log, on_log_closed, r);
    else
        on_log_closed(r);
}

static void on_handed_over(void *data, int status)
{
    struct replica *r = data;
    if (status == 0)
        log_info("leader.handed-over to=%" PRIu64, raftlog_status(r->log).leader_id);
    else
        log_warn("leader.not-handed-over, stopping all the same");
    replica_stop(r);
}

void replica_close(struct replica *r, void (*cb)(void *data), void *data)
{
    struct err err;
    r->close_cb = cb;
    r->close_data = data;
    if (r->role != RAFTLOG_LEADER || raftlog_transfer(r->log, 0, on_handed_over, r, &err) != 0)
        replica_stop(r);
}

const struct cell *replica_cell(const struct replica *r)
{
    return r->cell;
}

uint64_t replica_newest_index(const struct replica *r)
{
    return r->entry.index != 0 ? r->entry.index : r->cell->applied_index;
}

const struct replica_options *replica_opts(const struct replica *r)
{
    return &r->options;
}

struct store *replica_store(struct replica *r)
{
    return r->store;
}

struct raftlog *replica_log(struct replica *r)
{
    return r->log;
}

struct links *replica_links(struct replica *r)
{
    return r->links;
}

struct leader *replica_leader(struct replica *r)
{
    return r->leader;
}

struct peers *replica_peers(struct replica *r)
{
    return r->peers;
}

const struct masters *replica_masters(const struct replica *r)
{
    return &r->masters;
}

struct members *replica_members(struct replica *r)
{
    return r->members;
}

uint64_t replica_leader_id(const struct replica *r)
{
    return r->leader_id;
}

bool replica_leads(const struct replica *r)
{
    return r->leads;
}

uint64_t replica_time_ms(struct replica *r)
{
    return cell_clock_read(&r->clock, r->cell->now_ms, clock_wall_ms(), clock_mono_ms());
}

void replica_clock_heard(struct replica *r, uint64_t id, uint64_t wall_ms)
{
    if (id != r->options.self->id)
        cell_clock_heard(&r->clock, id, wall_ms, clock_mono_ms());
}

void replica_clock_told(struct replica *r, uint64_t median_ms)
{
    cell_clock_told(&r->clock, median_ms, clock_mono_ms());
}

static void on_clock_away(void *data UNUSED, int status)
{
    log_info("clock.handed-over done=%s", status == 0 ? "yes" : "no");
}

/* A leader whose clock is wrong does no harm, but another one needs none of this. */
static void clock_go_away(struct replica *r, uint64_t now_ms)
{
    struct err err;
    if (!r->leads || r->clock.right_id == 0 ||
        (r->clock_away_ms != 0 && now_ms - r->clock_away_ms < CLOCK_AWAY_MS))
        return;
    if (raftlog_transfer(r->log, r->clock.right_id, on_clock_away, r, &err) == 0)
        r->clock_away_ms = now_ms;
    else /* nothing has begun, as in our first moments as leader: again in a second */
        log_info("clock.not-handed-over reason=%s", log_quoted(err.msg));
}

uint64_t replica_clock_look(struct replica *r)
{
    uint64_t now_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    cell_clock_look(&r->clock, r->masters.count, wall_ms, now_ms);
    bool is_off = cell_clock_is_off(&r->clock, wall_ms, now_ms);
    if (is_off && !r->clock_off)
        log_warn("clock.off ahead_ms=%" PRId64 ", the time of the cell does not follow it",
                 cell_clock_ahead(&r->clock, wall_ms, now_ms));
    if (!is_off && r->clock_off)
        log_info("clock.right");
    r->clock_off = is_off;
    if (is_off)
        clock_go_away(r, now_ms);
    return cell_clock_median(&r->clock, now_ms);
}

/* The first command of a cell begins its time: a wrong one would stay. Not for long: of those that
 * elected us a majority is there. */
static int clock_check(const struct replica *r, struct err *err)
{
    if (r->role != RAFTLOG_LEADER || r->cell->now_ms != 0 || r->clock.known ||
        r->masters.count == 1 || clock_mono_ms() - r->role_ms >= CLOCK_WAIT_MS)
        return 0;
    return err_set(err, ERR_UNAVAILABLE,
                   "the leader of this new cell compares its clock with the others'; try again");
}

bool replica_ready(const struct replica *r)
{
    if (r->log == NULL || r->leader_id == 0)
        return false;
    struct raftlog_status status = raftlog_status(r->log);
    return status.applied_index >= status.commit_index && applier_is_empty(&r->applier);
}

int replica_readable(struct replica *r, struct err *err)
{
    /* One that joins has no cell before the log has reached it, and is not behind either. */
    bool has_cell = r->log != NULL && (r->options.bootstrap || r->cell->applied_index > 0);
    r->readable = r->readable || replica_ready(r);
    if (has_cell && r->readable)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "replica %" PRIu64 " is filling its database: ask another",
                   r->options.self->id);
}

struct wire_status replica_status(struct replica *r)
{
    static const char *const names[] = {"follower", "candidate", "leader"};
    struct raftlog_status log =
        r->log != NULL ? raftlog_status(r->log) : (struct raftlog_status){0};
    struct disk_answer disk = disk_last(r->disk);
    struct wire_status status = {.id = r->options.self->id,
                                 .pid = getpid(),
                                 .term = log.term,
                                 .leader = log.leader_id,
                                 .last_index = log.last_index,
                                 .stored_index = log.stored_index,
                                 .commit_index = log.commit_index,
                                 .applied_index = r->cell->applied_index,
                                 .snapshot_index = log.snapshot_index,
                                 .projected_index = store_index(r->store),
                                 .digest =
                                     r->entry.index != 0 ? r->entry.digest : cell_digest(r->cell),
                                 .links = links_count(r->links),
                                 .machines = r->cell->machine_count - r->cell->machines_removed,
                                 .jobs = r->cell->job_count,
                                 .pending = r->cell->pending_tasks,
                                 .uptime_ms = clock_mono_ms() - r->started_ms,
                                 .mark_index = r->mark_index,
                                 .mark_digest = r->mark_digest,
                                 .store_behind_ms = store_behind_ms(r),
                                 .disk_wait_ms = log.disk_wait_ms,
                                 .disk_silent_ms = disk_silent_ms(r->disk),
                                 .disk_free_bytes = disk.free_bytes,
                                 .disk_bytes = disk.bytes,
                                 .state_bytes = disk.used_bytes,
                                 .wall_ms = clock_wall_ms(),
                                 .cell_ms = replica_time_ms(r),
                                 .masters = r->cell->settings.masters};
    const struct links_certs *certs = links_certs(r->links);
    status.certs_soon = certs->soon;
    status.cert_first_ms = certs->first_ms;
    str_copy(status.cert_first, sizeof status.cert_first, certs->first);
    str_copy(status.addr, sizeof status.addr, r->options.self->rpc);
    str_copy(status.role, sizeof status.role, r->log != NULL ? names[log.role] : "new");
    str_copy(status.change, sizeof status.change, members_waiting(r->members));
    str_copy(status.version, sizeof status.version, BORG_VERSION);
    str_copy(status.policy, sizeof status.policy, policy_text(r->cell->settings.policy));
    str_copy(status.hold, sizeof status.hold, hold_text(r->cell->settings.hold));
    return status;
}

void replica_propose(struct replica *r, const struct cmd *cmd, replica_answer_cb cb, void *data)
{
    struct cmd stamped = *cmd; /* borrows what it points to */
    struct err err;
    if (clock_check(r, &err) != 0) {
        if (cb != NULL)
            cb(data, &err, NULL);
        return;
    }
    stamped.time_ms = replica_time_ms(r);
    inbox_put(&r->inbox, &stamped, cell_user_is(r->cell, cmd->user, RIGHT_OPERATOR), cb, data);
}

void replica_command(struct replica *r, const struct cmd *cmd, replica_answer_cb cb, void *data)
{
    if (r->role != RAFTLOG_LEADER || !members_take(r->members, cmd, cb, data))
        replica_propose(r, cmd, cb, data);
}
