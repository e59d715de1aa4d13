/*
 * world_disk.c - the disks of the replicas, under the library's log.
 *
 * This follows the library's own backend (uv_append.c, uv_truncate.c, uv_snapshot.c, uv_segment.c).
 * Appends are written in order; those that arrive while the disk is busy share one write. A
 * truncation or a snapshot from the leader waits for earlier requests and delays later ones; a
 * snapshot of our own waits and delays nothing. A snapshot removes only whole segments from the
 * log: a segment ends at a truncation, a snapshot, or a restart. Term and vote are on the disk when
 * the call returns.
 *
 * A crash keeps all acknowledged data and, of an unfinished write, as many whole batches (one per
 * append) as the seed says, because the checksum of a torn batch does not match.
 */
#include "world_raft.h"

#include "hash.h"
#include "raftlog_disk.h"
#include "raftlog_files.h"
#include "clock.h"
#include "raftlog_acked.h"
#include "raftlog_seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WRITE_MIN_US = 50,
    WRITE_SPREAD_US = 400,
    PUT_TIMES = 20, /* a snapshot takes seven to nine syncs and a segment change */
    SNAPSHOTS_KEPT = 2,
    SEGMENTS_MAX = 4096,
};

struct disk_record {
    raft_term term;
    uint64_t hash;
    unsigned short type;
    struct raft_buffer buf; /* owned */
};

struct snapshot {
    raft_index index;
    raft_term term;
    struct raft_configuration conf;
    raft_index conf_index;
    struct raft_buffer data;
};

enum disk_op_kind { DISK_APPEND, DISK_TRUNCATE, DISK_PUT };

struct disk_op {
    struct list link;
    enum disk_op_kind kind;
    struct disk *disk;
    struct raft_io_append *append;
    const struct raft_entry *entries;
    unsigned count;
    raft_index index; /* for DISK_TRUNCATE: from here */
    struct raft_io_snapshot_put *put;
    raft_io_snapshot_put_cb put_cb;
    const struct raft_snapshot *snapshot;
    unsigned trailing;   /* 0: replaces everything */
    struct sim_event ev; /* our own DISK_PUT, while it is written */
};

struct disk {
    /* Kept by a crash: */
    raft_term term;
    raft_id vote;
    raft_index mark_index; /* of the seal */
    raft_term mark_term;
    struct raftlog_acked acked;
    struct disk_record *records; /* of entries first to first + count - 1 */
    size_t count, capacity;
    raft_index first;
    raft_index segments[SEGMENTS_MAX]; /* first indexes; the last one is open */
    size_t segment_count;
    struct snapshot snapshots[SNAPSHOTS_KEPT]; /* the newest is last */
    size_t snapshot_count;

    /* Faults: */
    uint64_t min_us, spread_us;
    unsigned fail_of_10000;
    bool full;

    /* State of this life: */
    struct raft_world_io *w;
    struct list waiting; /* operations, in order */
    struct list writing; /* appends in one write, or one other operation */
    struct list putting; /* our own snapshot */
    struct sim_event ev; /* end of the write */
};

static struct disk disks[RAFT_NODES_MAX];

static void record_drop(struct disk_record *r)
{
    free(r->buf.base);
}

static void snapshot_drop(struct snapshot *s)
{
    raft_configuration_close(&s->conf);
    free(s->data.base);
}

static raft_index disk_end(const struct disk *d) /* one after the last entry */
{
    return d->first + d->count;
}

static const struct snapshot *disk_newest(const struct disk *d)
{
    return d->snapshot_count > 0 ? &d->snapshots[d->snapshot_count - 1] : NULL;
}

/* The content */

static void segment_close(struct disk *d)
{
    raft_index end = disk_end(d);
    if (d->segment_count > 0 && d->segments[d->segment_count - 1] == end)
        return;
    ASSERT(d->segment_count < SEGMENTS_MAX);
    d->segments[d->segment_count++] = end;
}

static void store_entry(struct disk *d, const struct raft_entry *entry)
{
    if (d->count == d->capacity) {
        d->capacity = MAX((size_t)256, d->capacity * 2);
        d->records = xrealloc(d->records, d->capacity, sizeof *d->records);
    }
    struct disk_record *r = &d->records[d->count++];
    *r = (struct disk_record){.term = entry->term, .type = entry->type, .buf.len = entry->buf.len};
    r->buf.base = xrealloc(NULL, MAX(entry->buf.len, (size_t)1), 1);
    memcpy(r->buf.base, entry->buf.base, entry->buf.len);
    r->hash = hash_bytes(entry->type, entry->buf.base, entry->buf.len);
}

static void cut_from(struct disk *d, raft_index index)
{
    while (d->count > 0 && disk_end(d) > index)
        record_drop(&d->records[--d->count]);
    while (d->segment_count > 0 && d->segments[d->segment_count - 1] > disk_end(d))
        d->segment_count--;
}

static void cut_before(struct disk *d, raft_index index)
{
    size_t gone = (size_t)(index - d->first);
    for (size_t i = 0; i < gone; i++)
        record_drop(&d->records[i]);
    memmove(d->records, d->records + gone, (d->count - gone) * sizeof *d->records);
    d->count -= gone;
    d->first = index;
}

/* Remove the segments that end before `keep`; the open one stays. */
static void segments_trim(struct disk *d, raft_index keep)
{
    size_t gone = 0;
    while (gone + 1 < d->segment_count && d->segments[gone + 1] <= keep)
        gone++;
    if (gone == 0)
        return;
    cut_before(d, d->segments[gone]);
    memmove(d->segments, d->segments + gone, (d->segment_count - gone) * sizeof *d->segments);
    d->segment_count -= gone;
}

static void log_restart(struct disk *d, raft_index first)
{
    cut_from(d, 0);
    d->first = first;
    d->segments[0] = first;
    d->segment_count = 1;
}

static void conf_copy(struct raft_configuration *to, const struct raft_configuration *from)
{
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++)
        ASSERT(raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
                                      from->servers[i].role) == 0);
}

static void store_snapshot(struct disk *d, const struct raft_snapshot *snapshot)
{
    struct snapshot s = {.index = snapshot->index,
                         .term = snapshot->term,
                         .conf_index = snapshot->configuration_index};
    conf_copy(&s.conf, &snapshot->configuration);
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        s.data.len += snapshot->bufs[i].len;
    s.data.base = xrealloc(NULL, s.data.len, 1);
    size_t at = 0;
    for (unsigned i = 0; i < snapshot->n_bufs; i++) {
        memcpy((char *)s.data.base + at, snapshot->bufs[i].base, snapshot->bufs[i].len);
        at += snapshot->bufs[i].len;
    }
    if (d->snapshot_count == SNAPSHOTS_KEPT) {
        snapshot_drop(&d->snapshots[0]);
        memmove(d->snapshots, d->snapshots + 1, --d->snapshot_count * sizeof *d->snapshots);
    }
    d->snapshots[d->snapshot_count++] = s;
}

static void snapshot_trim_log(struct disk *d, const struct disk_op *op)
{
    raft_index index = op->snapshot->index;
    if (op->trailing == 0)
        log_restart(d, index + 1);
    else if (index > op->trailing)
        segments_trim(d, index - op->trailing + 1);
}

/* Writing */

static uint64_t write_us(const struct disk *d, unsigned times)
{
    uint64_t us = WRITE_MIN_US + world_random(WRITE_SPREAD_US);
    if (d->spread_us > 0)
        us += d->min_us + world_random(d->spread_us);
    return us * times;
}

static int write_status(const struct disk *d)
{
    if (d->full)
        return RAFT_NOSPACE;
    return world_chance(d->fail_of_10000, 10000) ? RAFT_IOERR : 0;
}

static struct disk_op *op_new(struct disk *d, enum disk_op_kind kind)
{
    struct disk_op *op = xcalloc(1, sizeof *op);
    op->kind = kind;
    op->disk = d;
    list_init(&op->link);
    return op;
}

static void disk_kick(struct disk *d);
static void world_disk_on_put_done(struct sim_event *ev);

static void put_begin(struct disk *d, struct disk_op *op)
{
    segment_close(d);
    list_push(&d->putting, &op->link);
    op->ev =
        (struct sim_event){.node = d->w->node, .fire = world_disk_on_put_done, .kind = EVENT_IO};
    event_in(&op->ev, write_us(d, PUT_TIMES));
}

static void append_done(struct disk_op *op, int status)
{
    if (status == 0)
        for (unsigned i = 0; i < op->count; i++)
            store_entry(op->disk, &op->entries[i]);
}

static void put_store(struct disk *d, struct disk_op *op, int status)
{
    if (status == 0) {
        store_snapshot(d, op->snapshot);
        snapshot_trim_log(d, op);
    }
}

static void world_disk_on_put_done(struct sim_event *ev)
{
    struct disk_op *op = CONTAINER_OF(ev, struct disk_op, ev);
    int status = write_status(op->disk);
    list_remove(&op->link);
    put_store(op->disk, op, status);
    op->put_cb(op->put, status);
    free(op);
}

static void op_end(struct disk_op *op, int status)
{
    switch (op->kind) {
    case DISK_APPEND:
        op->append->cb(op->append, status);
        break;
    case DISK_PUT:
        op->put_cb(op->put, status);
        break;
    case DISK_TRUNCATE:
        break;
    }
    free(op);
}

static void world_disk_on_write_done(struct sim_event *ev)
{
    struct disk *d = CONTAINER_OF(ev, struct disk, ev);
    int status = write_status(d);
    struct list done;
    list_init(&done);
    for (struct list *l; (l = list_pop(&d->writing)) != NULL;) {
        struct disk_op *op = CONTAINER_OF(l, struct disk_op, link);
        list_push(&done, l);
        if (op->kind == DISK_APPEND)
            append_done(op, status);
        else if (op->kind == DISK_TRUNCATE)
            cut_from(d, op->index); /* otherwise the library would not learn that it failed */
        else
            put_store(d, op, status);
    }
    for (struct list *l; (l = list_pop(&done)) != NULL;)
        op_end(CONTAINER_OF(l, struct disk_op, link), status);
    disk_kick(d);
}

static void disk_kick(struct disk *d)
{
    unsigned times = 1;
    while (list_empty(&d->writing) && !list_empty(&d->waiting)) {
        struct disk_op *op = CONTAINER_OF(d->waiting.next, struct disk_op, link);
        list_remove(&op->link);
        if (op->kind == DISK_PUT && op->trailing > 0) {
            put_begin(d, op);
            continue;
        }
        list_push(&d->writing, &op->link);
        if (op->kind != DISK_APPEND) {
            segment_close(d);
            times = op->kind == DISK_PUT ? PUT_TIMES : 2;
        }
    }
    if (list_empty(&d->writing) || event_set(&d->ev))
        return;
    while (times == 1 && !list_empty(&d->waiting)) { /* later appends join the write */
        struct disk_op *op = CONTAINER_OF(d->waiting.next, struct disk_op, link);
        if (op->kind != DISK_APPEND)
            break;
        list_remove(&op->link);
        list_push(&d->writing, &op->link);
    }
    event_in(&d->ev, write_us(d, times));
}

/* Crashes */

static void ops_drop(struct list *ops)
{
    for (struct list *l; (l = list_pop(ops)) != NULL;) {
        struct disk_op *op = CONTAINER_OF(l, struct disk_op, link);
        event_cancel(&op->ev);
        free(op);
    }
}

/* Any part of the operation may have been completed. */
static void put_tear(struct disk *d, struct disk_op *op)
{
    uint64_t part = world_random(3);
    if (part > 0)
        store_snapshot(d, op->snapshot);
    if (part > 1)
        snapshot_trim_log(d, op);
}

static void writing_tear(struct disk *d)
{
    size_t count = 0, kept = 0;
    LIST_EACH(l, &d->writing)
    count++;
    size_t keep = (size_t)world_random(count + 1);
    LIST_EACH(l, &d->writing)
    {
        struct disk_op *op = CONTAINER_OF(l, struct disk_op, link);
        if (kept++ >= keep && op->kind != DISK_PUT)
            break;
        if (op->kind == DISK_APPEND)
            append_done(op, 0);
        else if (op->kind == DISK_TRUNCATE)
            cut_from(d, op->index);
        else
            put_tear(d, op);
    }
    if (count > 0)
        world_say("torn write: %zu of %zu kept", keep, count);
}

void node_disk_forget(struct node *n)
{
    if (n->replica < 0)
        return;
    struct disk *d = &disks[n->replica];
    if (d->w == NULL)
        return;
    writing_tear(d);
    LIST_EACH(l, &d->putting)
    put_tear(d, CONTAINER_OF(l, struct disk_op, link));
    ops_drop(&d->writing);
    ops_drop(&d->putting);
    ops_drop(&d->waiting);
    event_cancel(&d->ev);
    d->w = NULL;
}

/* The methods */

static struct disk *disk_of(struct raft_io *io)
{
    return ((struct raft_world_io *)io->impl)->disk;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    struct disk *d = disk_of(io);
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    if (d->term != 0)
        return RAFT_CANTBOOTSTRAP;
    d->term = 1;
    log_restart(d, 1);
    int rv = raft_configuration_encode(conf, &entry.buf);
    if (rv != 0)
        return rv;
    store_entry(d, &entry);
    raft_free(entry.buf.base);
    return 0;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *conf)
{
    (void)io;
    (void)conf;
    return RAFT_INVALID;
}

static void *raft_copy(const void *bytes, size_t size)
{
    void *copy = raft_malloc(MAX(size, (size_t)1));
    if (copy == NULL)
        PANIC("out of memory");
    memcpy(copy, bytes, size);
    return copy;
}

static struct raft_snapshot *load_snapshot(const struct snapshot *s)
{
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
    snapshot->index = s->index;
    snapshot->term = s->term;
    snapshot->configuration_index = s->conf_index;
    conf_copy(&snapshot->configuration, &s->conf);
    snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
    snapshot->n_bufs = 1;
    snapshot->bufs[0] =
        (struct raft_buffer){.base = raft_copy(s->data.base, s->data.len), .len = s->data.len};
    return snapshot;
}

static struct raft_entry *load_entries(const struct disk *d)
{
    if (d->count == 0)
        return NULL;
    struct raft_entry *entries = raft_calloc(d->count, sizeof *entries);
    for (size_t i = 0; i < d->count; i++) {
        const struct disk_record *r = &d->records[i];
        entries[i].term = r->term;
        entries[i].type = r->type;
        entries[i].buf.len = r->buf.len;
        entries[i].buf.base = raft_copy(r->buf.base, r->buf.len);
    }
    return entries;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct disk *d = disk_of(io);
    const struct snapshot *newest = disk_newest(d);
    *term = d->term;
    *voted_for = d->vote;
    *snapshot = newest != NULL ? load_snapshot(newest) : NULL;
    if (d->segment_count == 0)
        log_restart(d, 1);
    if (newest != NULL && disk_end(d) <= newest->index)
        log_restart(d, newest->index + 1); /* the snapshot replaces the segments */
    segment_close(d);
    *start_index = d->first;
    *entries = load_entries(d);
    *n_entries = d->count;
    return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct disk *d = disk_of(io);
    struct disk_op *op = op_new(d, DISK_APPEND);
    req->cb = cb;
    op->append = req;
    op->entries = entries;
    op->count = n;
    list_push(&d->waiting, &op->link);
    disk_kick(d);
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct disk *d = disk_of(io);
    struct disk_op *op = op_new(d, DISK_TRUNCATE);
    op->index = index;
    list_push(&d->waiting, &op->link);
    disk_kick(d);
    return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct disk *d = disk_of(io);
    struct disk_op *op = op_new(d, DISK_PUT);
    op->put = req;
    op->put_cb = cb;
    op->snapshot = snapshot;
    op->trailing = trailing;
    list_push(&d->waiting, &op->link);
    disk_kick(d);
    return 0;
}

struct get {
    struct sim_event ev;
    struct disk *disk;
    struct raft_io_snapshot_get *req;
    raft_io_snapshot_get_cb cb;
};

static void world_disk_on_get(struct sim_event *ev)
{
    struct get *get = CONTAINER_OF(ev, struct get, ev);
    const struct snapshot *newest = disk_newest(get->disk);
    get->cb(get->req, newest != NULL ? load_snapshot(newest) : NULL,
            newest != NULL ? 0 : RAFT_IOERR);
    free(get);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    struct disk *d = disk_of(io);
    struct get *get = xcalloc(1, sizeof *get);
    get->ev = (struct sim_event){.node = d->w->node, .fire = world_disk_on_get, .kind = EVENT_IO};
    get->disk = d;
    get->req = req;
    get->cb = cb;
    event_in(&get->ev, write_us(d, 1));
    return 0;
}

void disk_open(struct raft_world_io *w)
{
    struct disk *d = &disks[w->node->replica];
    struct raft_io *io = w->io;
    ASSERT(d->w == NULL);
    d->w = w;
    w->disk = d;
    list_init(&d->waiting);
    list_init(&d->writing);
    list_init(&d->putting);
    d->ev = (struct sim_event){.node = w->node, .fire = world_disk_on_write_done, .kind = EVENT_IO};
    io->load = io_load;
    io->bootstrap = io_bootstrap;
    io->recover = io_recover;
    io->append = io_append;
    io->truncate = io_truncate;
    io->snapshot_put = io_snapshot_put;
    io->snapshot_get = io_snapshot_get;
}

bool disk_idle(const struct raft_world_io *w)
{
    const struct disk *d = w->disk;
    return list_empty(&d->waiting) && list_empty(&d->writing) && list_empty(&d->putting);
}

void disk_close(struct raft_world_io *w)
{
    struct list waiting;
    list_init(&waiting);
    for (struct list *l; (l = list_pop(&w->disk->waiting)) != NULL;)
        list_push(&waiting, l);
    for (struct list *l; (l = list_pop(&waiting)) != NULL;)
        op_end(CONTAINER_OF(l, struct disk_op, link), RAFT_CANCELED);
}

/* The file system functions that raftlog calls */

int raftlog_disk_take(const char *dir, uint64_t free_min_bytes, int *ret_fd, struct err *err)
{
    *ret_fd = -1;
    return raftlog_disk_check(dir, free_min_bytes, err);
}

bool raftlog_disk_is_new(const char *dir)
{
    (void)dir;
    return false;
}

void raftlog_disk_release(int fd)
{
    (void)fd;
}

int raftlog_disk_check(const char *dir, uint64_t free_min_bytes, struct err *err)
{
    (void)free_min_bytes;
    struct node *n = world_current();
    if (n->replica >= 0 && disks[n->replica].full)
        return err_set(err, ERR_LIMIT, "the disk of %s is full", dir);
    return 0;
}

int raftlog_files_check(const char *dir UNUSED, struct err *err UNUSED)
{
    return 0; /* data is not corrupted here */
}

int raftlog_files_metadata(const char *dir UNUSED, struct err *err UNUSED)
{
    return 0;
}

static struct disk *disk_of_node(void)
{
    return &disks[world_current()->replica];
}

int raftlog_seal_open(struct raftlog_seal *seal, const char *dir UNUSED, uint64_t id, uint64_t cell,
                      struct err *err UNUSED)
{
    const struct disk *d = disk_of_node();
    *seal = (struct raftlog_seal){.fd = -1,
                                  .id = id,
                                  .cell = cell,
                                  .term = d->term,
                                  .vote = d->vote,
                                  .mark_index = d->mark_index,
                                  .mark_term = d->mark_term};
    return 0;
}

void raftlog_seal_close(struct raftlog_seal *seal UNUSED)
{
}

/* A write that fails may have taken effect. */
int raftlog_seal_vote(struct raftlog_seal *seal, uint64_t term, uint64_t vote)
{
    struct disk *d = disk_of_node();
    int rv = write_status(d);
    seal->term = term;
    seal->vote = vote;
    errno = rv == RAFT_NOSPACE ? ENOSPC : EIO;
    if (rv == 0 || world_chance(1, 2)) {
        d->term = term;
        d->vote = vote;
    }
    return rv == 0 ? 0 : -1;
}

int raftlog_seal_mark(struct raftlog_seal *seal, uint64_t index, uint64_t term, bool sync UNUSED)
{
    struct disk *d = disk_of_node();
    seal->mark_index = d->mark_index = index;
    seal->mark_term = d->mark_term = term;
    return 0;
}

void raftlog_acked_open(struct raftlog_acked *acked, const char *dir UNUSED)
{
    *acked = disk_of_node()->acked;
    acked->fd = -1;
    for (size_t i = 0; i < ACKED_ROWS; i++)
        acked->rows[i].noted_ms = clock_mono_ms();
}

void raftlog_acked_close(struct raftlog_acked *acked UNUSED)
{
}

void raftlog_acked_note(struct raftlog_acked *acked, uint64_t id, uint64_t index, uint64_t now_ms)
{
    size_t at = 0;
    while (at < ACKED_ROWS - 1 && acked->rows[at].id != id && acked->rows[at].id != 0)
        at++;
    if (acked->rows[at].index < index)
        acked->rows[at] = (struct acked_row){id, index, now_ms};
}

const struct acked_row *raftlog_acked_find(const struct raftlog_acked *acked, uint64_t id)
{
    for (size_t i = 0; i < ACKED_ROWS; i++)
        if (acked->rows[i].id == id)
            return &acked->rows[i];
    return NULL;
}

void raftlog_acked_save(struct raftlog_acked *acked)
{
    disk_of_node()->acked = *acked;
}

/* For checkers and faults */

uint64_t disk_snapshot_index(unsigned i, uint64_t *ret_term)
{
    const struct snapshot *newest = disk_newest(&disks[i]);
    if (ret_term != NULL)
        *ret_term = newest != NULL ? newest->term : 0;
    return newest != NULL ? newest->index : 0;
}

uint64_t disk_last_index(unsigned i)
{
    const struct disk *d = &disks[i];
    return MAX(disk_end(d) > 0 ? disk_end(d) - 1 : 0, disk_snapshot_index(i, NULL));
}

bool disk_entry(unsigned i, uint64_t index, struct disk_entry *ret)
{
    const struct disk *d = &disks[i];
    if (index < d->first || index >= disk_end(d))
        return false;
    *ret =
        (struct disk_entry){d->records[index - d->first].term, d->records[index - d->first].hash};
    return true;
}

void disk_slow(unsigned i, uint64_t min_us, uint64_t spread_us)
{
    disks[i].min_us = min_us;
    disks[i].spread_us = spread_us;
}

void disk_fail(unsigned i, unsigned of_10000)
{
    disks[i].fail_of_10000 = of_10000;
}

void disk_fill(unsigned i, bool full)
{
    disks[i].full = full;
}

void disk_heal(unsigned i)
{
    disk_slow(i, 0, 0);
    disk_fail(i, 0);
    disk_fill(i, false);
}
