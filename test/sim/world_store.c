/*
 * world_store.c - store.h without SQLite and without a thread: rows in memory that outlive a crash.
 *
 * Deltas wait in a queue and are committed a little later. They are safely on disk only after they
 * have been folded into the rows, like a write-ahead log that is not synced at each commit. A crash
 * of the process loses the queue; a crash of the host may also lose the last committed deltas. An
 * image contains all deltas so far.
 */
#include "world_impl.h"

#include "raftlog_disk.h"
#include "store.h"
#include "world_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMIT_US = 4000,
    FOLD_AFTER = 64, /* committed deltas that a crash of the host may lose */
    HOST_OF_100 = 30,
    REPLICAS_ROOM = 9
};

/* The data that outlives a crash. */
struct database {
    struct rows rows;
    struct list committed;  /* struct item, not folded */
    size_t committed_count; /* number of entries */
    uint64_t stored_index;  /* the log must have entries up to this one after a crash */
};

struct item {
    struct list link;
    struct delta *delta;
};

struct store {
    struct node *node;
    struct database *db;
    struct list queue;
    size_t backlog;
    size_t whole;   /* number of complete entries */
    uint64_t index; /* of the last commit */
    struct sim_event commit;
    void (*on_fatal)(void *data, const struct err *err);
    void *on_fatal_data;
    struct buf *image; /* the image in progress */
    struct list queries;
    bool failed;
};

struct query {
    struct list link;
    struct sim_event ev; /* the answer, or the time-out */
    struct store *store;
    char *sql;
    uint64_t index_min;
    store_query_cb cb;
    void *data;
};

static struct database databases[REPLICAS_ROOM];

/* Fold one entry: a delta, or all deltas of an entry in pieces. */
static void fold_one(struct database *db)
{
    for (bool more = true; more;) {
        struct item *item = CONTAINER_OF(list_pop(&db->committed), struct item, link);
        more = item->delta->more;
        db->committed_count -= !more;
        rows_put(&db->rows, item->delta);
        delta_unref(item->delta);
        free(item);
    }
}

static void fold_all(struct database *db)
{
    while (db->committed_count > 0)
        fold_one(db);
}

static void drop_all(struct list *items)
{
    for (struct list *l; (l = list_pop(items)) != NULL;) {
        struct item *item = CONTAINER_OF(l, struct item, link);
        delta_unref(item->delta);
        free(item);
    }
}

static void queries_look(struct store *store);

/* Commit the queue, except for an incomplete entry. */
static void commit_queue(struct store *store)
{
    struct database *db = store->db;
    while (store->whole > 0) {
        struct item *item = CONTAINER_OF(list_pop(&store->queue), struct item, link);
        list_push(&db->committed, &item->link);
        store->backlog--;
        if (item->delta->more)
            continue;
        store->index = item->delta->index;
        db->stored_index = item->delta->stored_index;
        db->committed_count++;
        store->whole--;
    }
    while (db->committed_count > FOLD_AFTER)
        fold_one(db);
    queries_look(store);
}

static void world_store_on_commit(struct sim_event *ev)
{
    struct store *store = CONTAINER_OF(ev, struct store, commit);
    struct err err;
    if (store->failed)
        return;
    if (raftlog_disk_check("cell.db", 1, &err) == 0) {
        commit_queue(store);
        return;
    }
    store->failed = true;
    if (store->on_fatal != NULL)
        store->on_fatal(store->on_fatal_data, &err);
}

int store_open(const char *dir, uint64_t identity, struct cell *cell, struct store **ret,
               struct err *err)
{
    struct store *store = xcalloc(1, sizeof *store);
    (void)dir;
    (void)identity;
    (void)err;
    store->node = world_current();
    ASSERT(store->node->replica >= 0 && store->node->replica < REPLICAS_ROOM);
    store->db = &databases[store->node->replica];
    store->commit =
        (struct sim_event){.node = store->node, .fire = world_store_on_commit, .kind = EVENT_RAW};
    list_init(&store->queue);
    list_init(&store->queries);
    if (store->db->committed.next == NULL)
        list_init(&store->db->committed);
    rows_load(&store->db->rows, cell);
    store->index = cell->applied_index;
    store->node->store = store;
    world_watch_started(store->node, cell);
    *ret = store;
    return 0;
}

/* The memory of the crashed node is still there, and so are the deltas. */
void node_store_forget(struct node *n)
{
    struct store *store = n->store;
    if (store == NULL)
        return;
    struct database *db = store->db;
    size_t keep = db->committed_count;
    if (world_chance(HOST_OF_100, 100))
        keep = (size_t)world_random(db->committed_count + 1);
    while (keep-- > 0)
        fold_one(db);
    drop_all(&db->committed);
    db->committed_count = 0;
    event_cancel(&store->commit);
    n->store = NULL;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    commit_queue(store);
    fold_all(store->db);
    event_cancel(&store->commit);
    store->node->store = NULL;
    for (struct list *l = store->queries.next; l != &store->queries; l = l->next)
        CONTAINER_OF(l, struct query, link)->index_min = UINT64_MAX; /* the time-out refuses it */
}

void store_put(struct store *store, struct delta *delta)
{
    struct item *item = xcalloc(1, sizeof *item);
    item->delta = delta_ref(delta);
    list_push(&store->queue, &item->link);
    store->backlog++;
    store->whole += !delta->more;
    if (!event_set(&store->commit))
        event_in(&store->commit, 1 + world_random(COMMIT_US));
}

uint64_t store_index(const struct store *store)
{
    return store->index;
}

uint64_t store_stored_index(const struct store *store)
{
    return store->db->stored_index;
}

size_t store_backlog(const struct store *store)
{
    return store->backlog;
}

void store_on_fatal(struct store *store, void (*cb)(void *data, const struct err *err), void *data)
{
    store->on_fatal = cb;
    store->on_fatal_data = data;
}

/* Images */

void *store_snapshot_begin(struct store *store)
{
    if (store->image != NULL)
        return NULL;
    store->image = xcalloc(1, sizeof *store->image);
    commit_queue(store);
    fold_all(store->db);
    rows_pack(&store->db->rows, store->image);
    return store->image;
}

int store_snapshot_write(void *token, void **ret_bytes, size_t *ret_size)
{
    struct buf *image = token;
    *ret_bytes = image->bytes;
    *ret_size = image->size;
    *image = (struct buf){0};
    return 0;
}

void store_snapshot_end(struct store *store, void *token)
{
    ASSERT(store->image == token);
    buf_release(store->image);
    free(store->image);
    store->image = NULL;
}

int store_prepare(const struct store *store UNUSED, const void *bytes, size_t size,
                  struct cell *cell, struct err *err)
{
    struct rows rows = {0};
    if (rows_unpack(&rows, bytes, size, err) != 0)
        return -ERR_CORRUPT;
    rows_load(&rows, cell);
    rows_clear(&rows);
    return 0;
}

void store_unprepare(const struct store *store UNUSED)
{
}

int store_replace(struct store *store, const void *bytes, size_t size, struct cell *cell,
                  struct err *err)
{
    int rv = store_prepare(store, bytes, size, cell, err);
    return rv != 0 ? rv : store_replace_prepared(store, cell, bytes, size, err);
}

int store_replace_prepared(struct store *store, const struct cell *cell, const void *bytes,
                           size_t size, struct err *err)
{
    struct rows rows = {0};
    if (rows_unpack(&rows, bytes, size, err) != 0)
        return -ERR_CORRUPT;
    drop_all(&store->queue);
    drop_all(&store->db->committed);
    store->backlog = store->whole = 0;
    store->db->committed_count = 0;
    rows_clear(&store->db->rows);
    store->db->rows = rows;
    store->index = cell->applied_index;
    world_watch_restored(store->node, cell);
    queries_look(store);
    return 0;
}

/* Queries, as described in world.h */

static struct wire_value text_value(const char *text)
{
    return (struct wire_value){.type = WIRE_TEXT, .text = text};
}

static struct wire_value number_value(uint64_t number)
{
    return (struct wire_value){.type = WIRE_INTEGER, .integer = (int64_t)number};
}

static void pack_meta(const struct rows *rows, struct buf *to)
{
    const char *columns[] = {"index", "digest", "jobs", "machines"};
    char digest[32];
    snprintf(digest, sizeof digest, "%016" PRIx64, rows->meta.digest);
    struct wire_value values[] = {number_value(rows->meta.index), text_value(digest),
                                  number_value(rows->job_count), number_value(rows->machine_count)};
    wire_pack_rows(to, &(struct wire_rows){.applied_index = rows->meta.index,
                                           .column_count = ARRAY_SIZE(columns),
                                           .row_count = 1,
                                           .columns = columns,
                                           .values = values});
}

enum { JOB_COLUMNS = 5 };

static void pack_jobs(const struct rows *rows, const char *name, struct buf *to)
{
    const char *columns[JOB_COLUMNS] = {"name", "user", "state", "killed", "replicas"};
    struct wire_value *values = xcalloc(rows->job_count * JOB_COLUMNS + 1, sizeof *values);
    uint32_t count = 0;
    for (size_t i = rows->job_count; i > 0; i--) {
        const struct job *job = &rows->jobs[i - 1]->row;
        if (name != NULL && strcmp(name, job->spec.name) != 0)
            continue;
        struct wire_value *v = values + JOB_COLUMNS * count++;
        v[0] = text_value(job->spec.name);
        v[1] = text_value(job->spec.user);
        v[2] = text_value(job_state_text(job));
        v[3] = number_value(job->killed);
        v[4] = number_value(job->spec.replicas);
        if (name != NULL)
            break;
    }
    wire_pack_rows(to, &(struct wire_rows){.applied_index = rows->meta.index,
                                           .column_count = JOB_COLUMNS,
                                           .row_count = count,
                                           .columns = columns,
                                           .values = values});
    free(values);
}

static void query_answer(struct query *query)
{
    struct database *db = query->store->db;
    struct buf CLEANUP(buf_release) rows = {0};
    struct err err;
    fold_all(db);
    if (strcmp(query->sql, "meta") == 0)
        pack_meta(&db->rows, &rows);
    else if (strcmp(query->sql, "jobs") == 0)
        pack_jobs(&db->rows, NULL, &rows);
    else if (strncmp(query->sql, "job ", 4) == 0)
        pack_jobs(&db->rows, query->sql + 4, &rows);
    else
        err_set(&err, ERR_INVALID, "\"%.40s\" is not a query of the simulator", query->sql);
    query->cb(query->data, rows.size > 0 ? NULL : &err, rows.bytes, rows.size);
}

static void world_store_on_query(struct sim_event *ev)
{
    struct query *query = CONTAINER_OF(ev, struct query, ev);
    struct err err;
    list_remove(&query->link);
    if (query->index_min <= query->store->index) {
        query_answer(query);
    } else {
        err_set(&err, ERR_TIMEOUT, "index %" PRIu64 " was not reached in time", query->index_min);
        query->cb(query->data, &err, NULL, 0);
    }
    free(query->sql);
    free(query);
}

static void queries_look(struct store *store)
{
    LIST_EACH(l, &store->queries)
    {
        struct query *query = CONTAINER_OF(l, struct query, link);
        if (query->index_min <= store->index)
            event_in(&query->ev, world_random(COMMIT_US));
    }
}

void store_query(struct store *store, uv_loop_t *loop, const struct store_asker *asker UNUSED,
                 const char *sql, uint64_t index_min, store_query_cb cb, void *data)
{
    struct query *query = xcalloc(1, sizeof *query);
    query->store = store;
    query->sql = xstrdup(sql);
    query->index_min = index_min;
    query->cb = cb;
    query->data = data;
    query->ev = (struct sim_event){.node = CONTAINER_OF(loop, struct node, loop),
                                   .fire = world_store_on_query,
                                   .kind = EVENT_IO};
    list_push(&store->queries, &query->link);
    event_in(&query->ev, index_min <= store->index ? world_random(COMMIT_US)
                                                   : QUERY_TIME_MS_MAX * UINT64_C(1000));
}
