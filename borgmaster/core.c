/*
 * core.c - applies committed entries to the cell and announces what they changed.
 */
#include "core.h"

#include "applier.h"
#include "cell_clock.h"
#include "clock.h"
#include "entry.h"
#include "formats.h"
#include "log.h"
#include "proposer.h"
#include "raftlog_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FLUSH_TASKS_MAX = 65536,  /* changed tasks before a delta is made within a turn of the loop */
    TURN_TASKS_MAX = 16384,   /* changed tasks before an entry's next command waits for a turn */
    STORE_BACKLOG_MAX = 4096, /* deltas SQLite may lag behind before the leader stops proposing */
    STORE_BEHIND_MS = 5000,   /* a longer lag of SQLite is logged */
    LEADERLESS_MS = 3000,     /* longer than any election */
    CLOCK_WAIT_MS = 3000,     /* the first command of a new cell waits so long for other clocks */
    CLOCK_AWAY_MS = 60000,    /* between two attempts to hand over because of a wrong clock */
};

struct core {
    struct core_options options;
    struct core_observer observer;
    struct cell *cell;
    struct store *store;
    struct raftlog *log;       /* NULL: the replica may not join yet */
    struct prepared *prepared; /* NULL: no snapshot waits */
    struct inbox inbox;
    struct proposer *proposer; /* empties the inbox while this replica leads */

    enum raftlog_role role;
    uint64_t role_ms; /* when the role last changed */
    uint64_t term;
    uint64_t leader_id;
    uint64_t led_ms;                /* when the last leader was lost; before the first: the start */
    bool leads;                     /* see core_leads() */
    struct raftlog_barrier barrier; /* of this leadership */
    bool barrier_pending;

    struct applier applier;  /* committed entries that wait to be applied */
    struct entry entry;      /* the entry of which the cell may have a part */
    bool stopped;            /* an entry could not be applied: no later one may be */
    struct formats formats;  /* what the masters said they know */
    struct changes changes;  /* since the last flush */
    bool identities_changed; /* since the observer was last told */
    struct masters masters;  /* as the observer was last told */
    uint64_t flushed_index;
    uint64_t mark_index; /* a multiple of WIRE_MARK_ENTRIES; 0: none yet */
    uint64_t mark_digest;
    uint64_t store_goal;    /* an index that SQLite has to reach */
    uint64_t store_goal_ms; /* when it was the newest */
    bool store_behind;      /* the lag of SQLite was logged */
    bool readable;          /* see core_readable() */
    uv_check_t check;
    uv_prepare_t prepare;
    uint64_t started_ms;
    struct cell_clock clock;
    bool clock_off;         /* the deviation of this master's clock was logged */
    uint64_t clock_away_ms; /* when leadership was last handed over for it; 0: never */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Returns the masters in cell.json, which count until the cell itself has a table of them. */
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

static bool masters_changed(struct core *core)
{
    const struct masters *wanted = &core->cell->settings.masters;
    if (wanted->next_id == 0 || masters_same(wanted, &core->masters))
        return false;
    core->masters = *wanted;
    return true;
}

/* Announce changed settings only when an entry is applied as a whole, so that no connection is
 * judged by a part of it. */
static void announce_settings(struct core *core)
{
    if (masters_changed(core))
        core->observer.on_masters(core->observer.data);
    if (core->identities_changed)
        core->observer.on_identities(core->observer.data);
    core->identities_changed = false;
}

/* Changes of tasks are announced even while an entry goes on in the next turn: what has been
 * applied of it stays as it is. */
void core_flush(struct core *core)
{
    bool half = core->entry.index != 0;
    if (core->flushed_index == core->cell->applied_index && changes_empty(&core->changes))
        return;
    struct delta *delta = delta_collect(core->cell, &core->changes);
    delta->more = half;
    delta->stored_index = MIN(delta->index, raftlog_status(core->log).stored_index);
    store_put(core->store, delta);
    core->observer.on_delta(core->observer.data, delta, &core->changes);
    delta_unref(delta);
    core->identities_changed |= core->changes.identities;
    changes_clear(&core->changes);
    if (half)
        return;
    announce_settings(core);
    core->flushed_index = core->cell->applied_index;
}

/* Record the digest at the last multiple of WIRE_MARK_ENTRIES before `index` is applied. Entries
 * that change nothing are not applied, so the cell may have had that digest for a while. */
static void mark_take(struct core *core, uint64_t index)
{
    uint64_t mark = (index - 1) / WIRE_MARK_ENTRIES * WIRE_MARK_ENTRIES;
    if (mark == 0 || mark < core->cell->applied_index)
        return;
    core->mark_index = mark;
    core->mark_digest = cell_digest(core->cell);
}

/* Between two turns applied_index names an entry that is applied as a whole: a reader that asks for
 * an index must not be told of an entry of which the cell has only a part. */
static bool apply_entry(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct core *core = data;
    struct cell *cell = core->cell;
    uint64_t last_index = cell->applied_index, last_term = cell->applied_term;
    enum entry_went went;
    struct err err;
    if (index <= last_index || core->stopped)
        return true; /* the database that this cell was loaded from had it */
    if (core->entry.index == 0)
        mark_take(core, index);
    cell->applied_index = index;
    cell->applied_term = term;
    do
        went = entry_go_on(&core->entry, cell, &core->changes, core->proposer, index, bytes, size,
                           &err);
    while (went == ENTRY_NEXT && core->changes.task_count < TURN_TASKS_MAX &&
           applier_has_time(&core->applier));
    if (went != ENTRY_OVER) {
        cell->applied_index = last_index;
        cell->applied_term = last_term;
    }
    if (went == ENTRY_NONE) {
        core->stopped = true;
        core->options.on_fatal(core->options.data, &err);
        return true;
    }
    if (core->changes.task_count >= FLUSH_TASKS_MAX)
        core_flush(core);
    return went == ENTRY_OVER;
}

static void on_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct core *core = data;
    applier_put(&core->applier, index, term, bytes, size);
}

/* A barrier of the log, answered when the cell has everything that was committed before it. */
struct barrier {
    struct raftlog_barrier log;
    struct applier_wait wait;
    struct core *core;
    struct raftlog_barrier *request; /* owned by the caller */
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
        applier_after(&b->core->applier, &b->wait, on_barrier_applied);
}

int core_barrier(struct core *core, struct raftlog_barrier *req, raftlog_barrier_cb cb,
                 struct err *err)
{
    struct barrier *b = xcalloc(1, sizeof *b);
    b->core = core;
    b->request = req;
    b->log.data = b;
    req->cb = cb;
    int rv = raftlog_barrier(core->log, &b->log, on_log_barrier, err);
    if (rv != 0)
        free(b);
    return rv;
}

static void on_barrier(struct raftlog_barrier *req, int status)
{
    struct core *core = req->data;
    core->barrier_pending = false;
    if (status != 0 || core->role != RAFTLOG_LEADER)
        return;
    core_flush(core);
    core->leads = true;
    log_info("leader.started term=%" PRIu64 " index=%" PRIu64, core->term,
             core->cell->applied_index);
    core->observer.on_lead(core->observer.data, true);
}

/* Lead once every entry of earlier terms is applied here: only then is this cell the newest. */
static void try_lead(struct core *core)
{
    struct err err;
    if (core->role != RAFTLOG_LEADER || core->leads || core->barrier_pending)
        return;
    core->barrier.data = core;
    core->barrier_pending = core_barrier(core, &core->barrier, on_barrier, &err) == 0;
}

static void on_role(void *data, enum raftlog_role role, uint64_t term, uint64_t leader_id)
{
    static const char *const names[] = {"follower", "candidate", "leader"};
    struct core *core = data;
    log_info("role.changed role=%s term=%" PRIu64 " leader=%" PRIu64, names[role], term, leader_id);
    bool news = leader_id != 0 && leader_id != core->leader_id;
    bool lost = core->leads && (role != RAFTLOG_LEADER || term != core->term);
    if (core->leader_id != 0 && leader_id == 0)
        core->led_ms = clock_mono_ms();
    core->role = role;
    core->term = term;
    core->leader_id = leader_id;
    core->role_ms = clock_mono_ms();
    if (news)
        core->observer.on_leader(core->observer.data);
    if (lost) {
        core->leads = false;
        core->observer.on_lead(core->observer.data, false);
    }
}

/*
 * Move commands from the inbox into the log, or to the leader. The leader leaves them in the inbox,
 * where they are known not to have happened, while SQLite cannot keep up, while committed entries
 * wait to be applied, and while leadership is handed over.
 */
static void send_commands(struct core *core)
{
    struct err err;
    core->observer.on_send(core->observer.data);
    if (core->role == RAFTLOG_LEADER) {
        if (store_backlog(core->store) < STORE_BACKLOG_MAX && applier_is_empty(&core->applier) &&
            !raftlog_status(core->log).transferring)
            proposer_flush(core->proposer, &core->inbox, core->cell, core->log);
    } else if (core->leader_id != 0) {
        core->observer.forward(core->observer.data, &core->inbox, core->leader_id);
    } else if (inbox_next(&core->inbox) != NULL) {
        err_set(&err, ERR_UNAVAILABLE,
                "replica %" PRIu64 " knows of no leader: an election is under way or fewer than "
                "half of the masters are up",
                core->options.self->id);
        inbox_refuse(&core->inbox, &err);
    }
}

static uint64_t store_behind_ms(const struct core *core)
{
    return uv_now(core->options.loop) - core->store_goal_ms;
}

/* Log when queries of this replica begin and cease to show an old state. */
static void store_look(struct core *core)
{
    if (store_index(core->store) >= core->store_goal) {
        core->store_goal = core->flushed_index;
        core->store_goal_ms = uv_now(core->options.loop);
    }
    bool behind = store_behind_ms(core) >= STORE_BEHIND_MS;
    if (behind && !core->store_behind)
        log_warn("store.behind index=%" PRIu64 " applied=%" PRIu64 " deltas=%zu",
                 store_index(core->store), core->cell->applied_index, store_backlog(core->store));
    if (!behind && core->store_behind)
        log_info("store.caught_up index=%" PRIu64, store_index(core->store));
    core->store_behind = behind;
}

static void on_check(uv_check_t *check)
{
    struct core *core = check->data;
    try_lead(core);
    core_flush(core);
    store_look(core);
    send_commands(core);
    applier_turn_end(&core->applier);
}

/* Without this, commands that timers proposed would wait for the next event of the loop. */
static void on_prepare(uv_prepare_t *prepare)
{
    send_commands(prepare->data);
}

static void *on_snapshot_begin(void *data, uint64_t index, uint64_t term)
{
    struct core *core = data;
    /* After a restart the database is ahead of the log until the log has caught up. Its image would
     * hold more than `index` says, and whoever restores it would apply entries twice. */
    if (core->cell->applied_index > index || !applier_is_empty(&core->applier))
        return NULL; /* the log asks again */
    core_flush(core);
    log_info("snapshot.started index=%" PRIu64 " term=%" PRIu64, index, term);
    return store_snapshot_begin(core->store);
}

static void on_snapshot_end(void *data, void *token)
{
    struct core *core = data;
    store_snapshot_end(core->store, token);
}

/* A leader's snapshot that is being loaded, or is loaded and waits to replace the cell. */
struct prepared {
    struct core *core;
    const void *bytes; /* owned by the log; only compared */
    size_t size;
    struct cell *cell;
    struct delta *full; /* delta_full() of the cell */
    int rv;
    struct err err;
};

static void prepared_drop(struct core *core)
{
    struct prepared *p = core->prepared;
    core->prepared = NULL;
    if (p == NULL)
        return;
    store_unprepare(core->store);
    if (p->full != NULL)
        delta_unref(p->full);
    cell_free(p->cell);
    free(p);
}

static void *on_restore_begin(void *data, const void *bytes, size_t size)
{
    struct core *core = data;
    ASSERT(core->prepared == NULL);
    struct prepared *p = xcalloc(1, sizeof *p);
    *p = (struct prepared){.core = core, .bytes = bytes, .size = size, .cell = cell_new()};
    return p;
}

/* Runs in the pool, where it takes long: no other thread has the new cell yet. */
static void on_restore_load(void *token)
{
    struct prepared *p = token;
    p->rv = store_prepare(p->core->store, p->bytes, p->size, p->cell, &p->err);
    if (p->rv == 0)
        p->full = delta_full(p->cell);
}

static void on_restore_end(void *data, void *token)
{
    struct core *core = data;
    core->prepared = token;
}

static void on_restore_drop(void *data, void *token UNUSED)
{
    prepared_drop(data);
}

/* The old cell is freed in the pool: with a million tasks this takes too long for the loop. */
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

/* Replace the database and load the cell from it. *ret_full is its delta_full(), or NULL. */
static int restore_take(struct core *core, const void *bytes, size_t size, struct cell **ret_cell,
                        struct delta **ret_full, struct err *err)
{
    struct prepared *p = core->prepared;
    *ret_full = NULL;
    if (p == NULL || p->bytes != bytes || p->size != size || p->rv != 0) {
        prepared_drop(core);
        *ret_cell = cell_new();
        return store_replace(core->store, bytes, size, *ret_cell, err);
    }
    core->prepared = NULL;
    *ret_cell = p->cell;
    *ret_full = p->full;
    free(p);
    return store_replace_prepared(core->store, *ret_cell, bytes, size, err);
}

static int on_restore(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct core *core = data;
    struct cell *cell;
    struct delta *full;
    struct err err;
    (void)term;
    if (index <= core->cell->applied_index) {
        log_info("snapshot.ignored index=%" PRIu64 " database=%" PRIu64, index,
                 core->cell->applied_index);
        prepared_drop(core);
        return 0;
    }
    if (restore_take(core, bytes, size, &cell, &full, &err) != 0) {
        log_error("snapshot.rejected index=%" PRIu64 " reason=%s", index, log_quoted(err.msg));
        cell_free(cell);
        return -(int)err.code;
    }
    struct old_cell *old = xcalloc(1, sizeof *old);
    old->cell = core->cell;
    core->cell = cell;
    /* The image may name an older index than the snapshot, since barriers have an index and change
     * nothing. The cell keeps the image's, as the replica it comes from does. */
    ASSERT(cell->applied_index <= index);
    entry_drop(&core->entry);
    applier_clear(&core->applier);
    proposer_lose(core->proposer);
    core->flushed_index = cell->applied_index;
    changes_clear(&core->changes);
    core->observer.on_restored(core->observer.data, full);
    core->identities_changed = true;
    announce_settings(core);
    if (uv_queue_work(core->options.loop, &old->work, old_cell_free, old_cell_freed) != 0)
        PANIC("no thread to free a cell");
    log_info("snapshot.restored index=%" PRIu64 " bytes=%zu", index, size);
    return 0;
}

/*
 * Ids of replicas are given in ascending order and never again, so a lower id that is not in the
 * table was removed. A higher one may be a member that this replica does not know yet; its
 * leader will send it soon. Only when there has been no leader for long, the unknown replica may be
 * the leader itself.
 */
static bool may_connect(void *data, uint64_t id, const char *address)
{
    const struct core *core = data;
    const struct master *row = masters_find(&core->masters, id);
    if (row != NULL)
        return strcmp(row->raft, address) == 0;
    if (core->leader_id != 0)
        return id >= core->masters.next_id && core->leader_id == id;
    return id >= core->masters.next_id && clock_mono_ms() - core->led_ms >= LEADERLESS_MS;
}

static void on_raftlog_fatal(void *data, const struct err *err)
{
    struct core *core = data;
    core->options.on_fatal(core->options.data, err);
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

int core_join(struct core *core, struct err *err)
{
    const struct core_options *o = &core->options;
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
                                              core->masters.count > 1,
                                      .election_timeout_ms = o->election_timeout_ms,
                                      .heartbeat_ms = o->heartbeat_ms,
                                      .snapshot_threshold = o->snapshot_threshold,
                                      .snapshot_trailing = o->snapshot_threshold / 4,
                                      .handlers = &raftlog_handlers,
                                      .data = core};
    for (size_t i = 0; i < o->file->replica_count; i++) {
        options.members[i].id = o->file->replicas[i].id;
        str_copy(options.members[i].address, sizeof options.members[i].address,
                 o->file->replicas[i].raft);
    }
    int rv = raftlog_open(&options, &core->log, err);
    if (rv == 0)
        core->observer.on_log_open(core->observer.data);
    return rv;
}

/* A damaged database file has been set aside: the next start finds none and builds a new one. */
static void on_store_fatal(void *data, const struct err *err)
{
    struct core *core = data;
    if (err->code == ERR_CORRUPT && core->options.on_rebuild != NULL)
        core->options.on_rebuild(core->options.data, err);
    else
        core->options.on_fatal(core->options.data, err);
}

/*
 * The database is written after the log, so it tells which entries the log must have. A log that
 * lacks committed entries which were on its disk was damaged or exchanged. Its replica may have
 * acknowledged entries that it has forgotten, so it must not vote.
 */
static int log_check(const struct core *core, struct err *err)
{
    if (core->log == NULL)
        return 0;
    uint64_t last = raftlog_status(core->log).last_index, stored = store_stored_index(core->store);
    if (last >= stored)
        return 0;
    return err_set(
        err, ERR_CORRUPT,
        "the raft log in %s/raft ends with entry %" PRIu64 ", but entry %" PRIu64
        " was on its disk: it has lost entries that the other masters count on, and must "
        "not vote; replace replica %" PRIu64 ", do not start it again",
        core->options.dir, last, stored, core->options.self->id);
}

int core_open_log(struct core *core, struct err *err)
{
    char dir[CELL_PATH_MAX + 8];
    int rv = 0;
    snprintf(dir, sizeof dir, "%s/raft", core->options.dir);
    if (core->options.bootstrap || !raftlog_disk_is_new(dir))
        rv = core_join(core, err);
    else
        log_info("replica.join_requested dir=%s", log_quoted(dir));
    return rv == 0 ? log_check(core, err) : rv;
}

int core_open(const struct core_options *options, struct core **ret, struct err *err)
{
    struct core *core = xcalloc(1, sizeof *core);
    core->options = *options;
    core->started_ms = core->led_ms = clock_mono_ms();
    core->cell = cell_new();
    int rv = store_open(options->dir, options->identity, core->cell, &core->store, err);
    if (rv != 0) {
        cell_free(core->cell);
        free(core);
        return rv;
    }
    store_on_fatal(core->store, on_store_fatal, core);
    core->flushed_index = core->cell->applied_index;
    core->readable = core->cell->applied_index > 0; /* the cell may be old, but it is whole */
    core->store_goal_ms = uv_now(options->loop);
    inbox_init(&core->inbox);
    applier_init(&core->applier, options->loop, apply_entry, core);
    core->proposer = proposer_new();
    core->masters = masters_of_file(options->file);
    (void)masters_changed(core);
    *ret = core;
    return 0;
}

void core_start(struct core *core, const struct core_observer *observer)
{
    core->observer = *observer;
    uv_check_init(core->options.loop, &core->check);
    core->check.data = core;
    uv_check_start(&core->check, on_check);
    uv_prepare_init(core->options.loop, &core->prepare);
    core->prepare.data = core;
    uv_prepare_start(&core->prepare, on_prepare);
}

static void on_log_closed(void *data)
{
    struct core *core = data;
    store_close(core->store);
    core->close_cb(core->close_data);
}

static void core_stop(struct core *core)
{
    core->leads = false;
    core->observer.on_lead(core->observer.data, false);
    uv_check_stop(&core->check);
    uv_prepare_stop(&core->prepare);
    applier_drain(&core->applier);
    core_flush(core);
    core->observer.on_closing(core->observer.data);
    if (core->log != NULL)
        raftlog_close(core->log, on_log_closed, core);
    else
        on_log_closed(core);
}

static void on_handed_over(void *data, int status)
{
    struct core *core = data;
    if (status == 0)
        log_info("leader.handed_over to=%" PRIu64, raftlog_status(core->log).leader_id);
    else
        log_warn("leader.transfer_failed, stopping without it");
    core_stop(core);
}

void core_close(struct core *core, void (*cb)(void *data), void *data)
{
    struct err err;
    core->close_cb = cb;
    core->close_data = data;
    if (core->role != RAFTLOG_LEADER ||
        raftlog_transfer(core->log, 0, on_handed_over, core, &err) != 0)
        core_stop(core);
}

const struct cell *core_cell(const struct core *core)
{
    return core->cell;
}

uint64_t core_newest_index(const struct core *core)
{
    return core->entry.index != 0 ? core->entry.index : core->cell->applied_index;
}

const struct core_options *core_opts(const struct core *core)
{
    return &core->options;
}

struct store *core_store(struct core *core)
{
    return core->store;
}

struct raftlog *core_log(struct core *core)
{
    return core->log;
}

const struct masters *core_masters(const struct core *core)
{
    return &core->masters;
}

uint64_t core_leader_id(const struct core *core)
{
    return core->leader_id;
}

bool core_leads(const struct core *core)
{
    return core->leads;
}

uint64_t core_time_ms(struct core *core)
{
    return cell_clock_read(&core->clock, core->cell->now_ms, clock_wall_ms(), clock_mono_ms());
}

void core_clock_heard(struct core *core, uint64_t id, uint64_t wall_ms)
{
    if (id != core->options.self->id)
        cell_clock_heard(&core->clock, id, wall_ms, clock_mono_ms());
}

void core_clock_heard_median(struct core *core, uint64_t median_ms)
{
    cell_clock_heard_median(&core->clock, median_ms, clock_mono_ms());
}

static void on_clock_away(void *data UNUSED, int status)
{
    log_info("leader.%s reason=clock", status == 0 ? "handed_over" : "transfer_failed");
}

/* The cell's time stays right under a leader whose clock is wrong, but a leader with a right clock
 * needs no correction. */
static void clock_go_away(struct core *core, uint64_t now_ms)
{
    struct err err;
    if (!core->leads || core->clock.right_id == 0 ||
        (core->clock_away_ms != 0 && now_ms - core->clock_away_ms < CLOCK_AWAY_MS))
        return;
    if (raftlog_transfer(core->log, core->clock.right_id, on_clock_away, core, &err) == 0)
        core->clock_away_ms = now_ms;
    else /* such as in the first moments of a leadership: the next look tries again */
        log_info("leader.transfer_failed reason=%s", log_quoted(err.msg));
}

uint64_t core_clock_look(struct core *core)
{
    uint64_t now_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    cell_clock_look(&core->clock, core->masters.count, wall_ms, now_ms);
    bool is_off = cell_clock_is_off(&core->clock, wall_ms, now_ms);
    if (is_off && !core->clock_off)
        log_warn("clock.rejected ahead_ms=%" PRId64
                 ", the time of the cell does not follow this clock",
                 cell_clock_ahead(&core->clock, wall_ms, now_ms));
    if (!is_off && core->clock_off)
        log_info("clock.accepted");
    core->clock_off = is_off;
    if (is_off)
        clock_go_away(core, now_ms);
    return cell_clock_median(&core->clock, now_ms);
}

/* The first command of a cell sets its time, and a wrong time would stay. The wait for the other
 * clocks is short: a majority of the masters was there to elect this one. */
static int clock_check(const struct core *core, struct err *err)
{
    if (core->role != RAFTLOG_LEADER || core->cell->now_ms != 0 || core->clock.known ||
        core->masters.count == 1 || clock_mono_ms() - core->role_ms >= CLOCK_WAIT_MS)
        return 0;
    return err_set(
        err, ERR_UNAVAILABLE,
        "the leader of this new cell is comparing its clock with the other masters'; try again");
}

bool core_ready(const struct core *core)
{
    if (core->log == NULL || core->leader_id == 0)
        return false;
    struct raftlog_status status = raftlog_status(core->log);
    return status.applied_index >= status.commit_index && applier_is_empty(&core->applier);
}

int core_readable(struct core *core, struct err *err)
{
    /* A replica that joins has no cell before the log has reached it, yet it lags behind nothing.
     */
    bool has_cell = core->log != NULL && (core->options.bootstrap || core->cell->applied_index > 0);
    core->readable = core->readable || core_ready(core);
    if (has_cell && core->readable)
        return 0;
    return err_set(err, ERR_UNAVAILABLE,
                   "replica %" PRIu64 " is filling its database; ask another replica",
                   core->options.self->id);
}

void core_status(struct core *core, struct wire_status *s)
{
    static const char *const names[] = {"follower", "candidate", "leader"};
    const struct cell *cell = core->cell;
    struct raftlog_status log =
        core->log != NULL ? raftlog_status(core->log) : (struct raftlog_status){0};
    s->id = core->options.self->id;
    s->pid = getpid();
    s->term = log.term;
    s->leader = log.leader_id;
    s->last_index = log.last_index;
    s->stored_index = log.stored_index;
    s->commit_index = log.commit_index;
    s->snapshot_index = log.snapshot_index;
    s->disk_wait_ms = log.disk_wait_ms;
    s->applied_index = cell->applied_index;
    s->projected_index = store_index(core->store);
    s->store_behind_ms = store_behind_ms(core);
    s->digest = core->entry.index != 0 ? core->entry.digest : cell_digest(cell);
    s->mark_index = core->mark_index;
    s->mark_digest = core->mark_digest;
    s->machines = cell->machine_count - cell->machines_removed;
    s->jobs = cell->job_count;
    s->pending = cell->pending_tasks;
    s->uptime_ms = clock_mono_ms() - core->started_ms;
    s->wall_ms = clock_wall_ms();
    s->cell_ms = core_time_ms(core);
    s->masters = cell->settings.masters;
    s->format = cell_format(cell);
    s->format_known = CELL_FORMAT;
    s->format_next = core->leads ? core_format_next(core, NULL) : 0;
    str_copy(s->addr, sizeof s->addr, core->options.self->rpc);
    str_copy(s->role, sizeof s->role, core->log != NULL ? names[log.role] : "new");
    str_copy(s->version, sizeof s->version, BORG_VERSION);
    str_copy(s->policy, sizeof s->policy, policy_text(cell->settings.policy));
    str_copy(s->hold, sizeof s->hold, hold_text(cell->settings.hold));
}

void core_propose(struct core *core, const struct cmd *cmd, answer_cb cb, void *data)
{
    struct cmd stamped = *cmd; /* borrows what it points to */
    struct err err;
    if (clock_check(core, &err) != 0) {
        if (cb != NULL)
            cb(data, &err, NULL);
        return;
    }
    /* A user is told what cannot be said yet; the cell itself leaves it out. */
    bool by_user = cmd->user[0] != '\0';
    if (by_user && core->leads && cmd_format_check(core->cell, cmd, &err) != 0) {
        if (cb != NULL)
            cb(data, &err, NULL);
        return;
    }
    stamped.time_ms = core_time_ms(core);
    inbox_put(&core->inbox, &stamped, by_user ? CELL_FORMAT : cell_format(core->cell),
              cell_user_is(core->cell, cmd->user, RIGHT_OPERATOR), cb, data);
}

void core_format_heard(struct core *core, uint64_t id, uint32_t format)
{
    formats_heard(&core->formats, id, format, clock_mono_ms());
}

uint32_t core_format_next(const struct core *core, struct err *why)
{
    return formats_common(&core->formats, &core->masters, clock_mono_ms(), why);
}
