/*
 * store.c - the store's life, its queue and the thread that writes.
 *
 * The writer takes deltas from the queue as long as there are any and writes them in one
 * transaction (up to STORE_RUN_ROWS_MAX rows): the more it is behind, the cheaper a row becomes.
 * Deltas of one entry (delta.more) are never torn apart: the transaction waits for the last,
 * however many rows that makes, and is rolled back when there will be none. After a write has
 * failed nothing is written any more; what is queued is dropped, the log has it.
 */
#include "store_impl.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

uint64_t store_index(const struct store *store)
{
    return __atomic_load_n(&store->index, __ATOMIC_ACQUIRE);
}

uint64_t store_stored_index(const struct store *store)
{
    return store->stored_index;
}

size_t store_backlog(const struct store *store)
{
    return __atomic_load_n(&store->backlog, __ATOMIC_RELAXED);
}

static void set_index(struct store *store, uint64_t index)
{
    __atomic_store_n(&store->index, index, __ATOMIC_RELEASE);
}

void store_put(struct store *store, struct delta *delta)
{
    ASSERT(!delta->full);
    struct store_item *item = xcalloc(1, sizeof *item);
    item->delta = delta_ref(delta);
    uv_mutex_lock(&store->lock);
    list_push(&store->items, &item->link);
    __atomic_fetch_add(&store->backlog, 1, __ATOMIC_RELAXED);
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

void store_on_fatal(struct store *store, void (*cb)(void *data, const struct err *err), void *data)
{
    uv_mutex_lock(&store->lock);
    store->on_fatal = cb;
    store->on_fatal_data = data;
    uv_mutex_unlock(&store->lock);
}

/* The next item, or NULL when there is none; with `wait`, NULL means that the writer is to end. */
static struct store_item *take_item(struct store *store, bool wait)
{
    uv_mutex_lock(&store->lock);
    while (wait && list_empty(&store->items) && !store->stop)
        uv_cond_wait(&store->changed, &store->lock);
    struct list *first = list_pop(&store->items);
    uv_mutex_unlock(&store->lock);
    return first == NULL ? NULL : CONTAINER_OF(first, struct store_item, link);
}

/* The rest of an entry: the next delta, or NULL: the writer is to end. An image is begun after it.
 */
static struct store_item *take_rest(struct store *store)
{
    struct store_item *rest = NULL;
    uv_mutex_lock(&store->lock);
    for (;;) {
        LIST_EACH(l, &store->items)
        if (rest == NULL && CONTAINER_OF(l, struct store_item, link)->delta != NULL)
            rest = CONTAINER_OF(l, struct store_item, link);
        if (rest != NULL || store->stop)
            break;
        uv_cond_wait(&store->changed, &store->lock);
    }
    if (rest != NULL)
        list_remove(&rest->link);
    uv_mutex_unlock(&store->lock);
    return rest;
}

static void give_item_back(struct store *store, struct store_item *item)
{
    uv_mutex_lock(&store->lock);
    struct list *first = store->items.next;
    /* list_push() adds before the link it is given. */
    list_push(first, &item->link);
    uv_mutex_unlock(&store->lock);
}

static void item_done(struct store *store, struct store_item *item)
{
    if (item->delta != NULL)
        __atomic_fetch_sub(&store->backlog, 1, __ATOMIC_RELAXED);
    delta_unref(item->delta);
    free(item);
}

static bool has_failed(struct store *store)
{
    uv_mutex_lock(&store->lock);
    bool failed = store->failed;
    uv_mutex_unlock(&store->lock);
    return failed;
}

/*
 * Once: tell the replica, which must exit; its log knows what is missing here. A file that turned
 * out to be damaged would stop every restart at the same row: the next one has to begin anew.
 */
void store_fail(struct store *store, const struct err *err)
{
    struct err aside = {0};
    uv_mutex_lock(&store->lock);
    bool before = store->failed;
    store->failed = true;
    void (*cb)(void *, const struct err *) = store->on_fatal;
    void *data = store->on_fatal_data;
    uv_mutex_unlock(&store->lock);
    if (before)
        return;
    if (err->code == ERR_CORRUPT && store_set_aside(store->path, &aside) != 0)
        log_error("store.set_aside_failed err=%s, move it away by hand", log_quoted(aside.msg));
    log_error("store.failed path=%s err=%s", log_quoted(store->path), log_quoted(err->msg));
    if (cb != NULL)
        cb(data, err);
}

static void discard_item(struct store *store, struct store_item *item)
{
    if (item->image != NULL) {
        uv_mutex_lock(&store->lock);
        store_image_fail(store, item->image);
        uv_mutex_unlock(&store->lock);
    }
    item_done(store, item);
}

/*
 * Write deltas from `first` on as one transaction, until the queue is empty, an image is to be
 * begun or the transaction is large. `done` collects them: they count as queued until committed.
 * ERR_CLOSED: the last entry has no end.
 */
static int write_run(struct store *store, struct store_item *first, struct list *done,
                     uint64_t *ret_index, struct err *err)
{
    size_t rows = 0;
    int rv = store_rows_begin(&store->rows, err);
    for (struct store_item *item = first; item != NULL;) {
        list_push(done, &item->link);
        if (rv == 0)
            rv = store_rows_put(&store->rows, item->delta, err);
        if (rv != 0)
            return rv;
        rows += store_rows_of(item->delta);
        if (item->delta->more) {
            item = take_rest(store);
            if (item == NULL)
                return err_set(err, ERR_CLOSED, "an entry is written in part");
            continue;
        }
        *ret_index = item->delta->index;
        item = rows < STORE_RUN_ROWS_MAX ? take_item(store, false) : NULL;
        if (item != NULL && item->delta == NULL) {
            give_item_back(store, item);
            item = NULL;
        }
    }
    rv = store_rows_commit(&store->rows, err);
    if (rv == 0 && store_vfs_damage_take()) /* when it moved pages from the log into the file */
        rv = err_set(err, ERR_CORRUPT, "a page does not have the checksum it was given");
    return rv;
}

static void write_items(struct store *store, struct store_item *first)
{
    struct list done;
    struct err err = {0};
    uint64_t index = 0;
    list_init(&done);
    int rv = write_run(store, first, &done, &index, &err);
    if (rv != 0)
        sqlite3_exec(store->rows.db, "ROLLBACK", NULL, NULL, NULL);
    if (rv != 0 && rv != -ERR_CLOSED)
        store_fail(store, &err);
    for (struct list *l; (l = list_pop(&done)) != NULL;)
        item_done(store, CONTAINER_OF(l, struct store_item, link));
    if (rv != 0)
        return;
    uv_mutex_lock(&store->lock);
    set_index(store, index);
    uv_cond_broadcast(&store->changed); /* queries wait for it */
    uv_mutex_unlock(&store->lock);
}

static void writer_run(void *arg)
{
    struct store *store = arg;
    for (struct store_item *item; (item = take_item(store, true)) != NULL;) {
        if (has_failed(store)) {
            discard_item(store, item);
        } else if (item->delta != NULL) {
            write_items(store, item);
        } else {
            store_image_begin(store, item->image);
            item_done(store, item);
        }
    }
}

static void writer_start(struct store *store)
{
    store->stop = false;
    int rc = uv_thread_create(&store->writer, writer_run, store);
    if (rc != 0)
        PANIC("uv_thread_create: %s", uv_strerror(rc));
}

/* Waits until everything queued is written. */
static void writer_stop(struct store *store)
{
    uv_mutex_lock(&store->lock);
    store->stop = true;
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
    uv_thread_join(&store->writer);
    ASSERT(list_empty(&store->items));
    ASSERT(store_backlog(store) == 0);
}

/* Open the file and load it. ERR_CORRUPT: nothing is open and the cell is empty. */
static int open_and_load(struct store *store, struct cell *cell, struct err *err)
{
    int64_t stored_index = 0;
    int rv = store_rows_open(&store->rows, store->path, store->identity, err);
    if (rv == 0)
        rv = store_rows_identity_check(&store->rows, err);
    if (rv == 0)
        rv = store_load(store->rows.db, cell, err);
    if (rv == 0)
        rv = store_number(store->rows.db, "SELECT stored_index FROM meta", &stored_index, err);
    if (rv != 0) {
        store_rows_close(&store->rows);
        return err_wrap(err, "%s", store->path);
    }
    store->stored_index = (uint64_t)stored_index;
    set_index(store, cell->applied_index);
    return 0;
}

static int open_or_set_aside(struct store *store, struct cell *cell, struct err *err)
{
    struct err why = {0};
    int rv = open_and_load(store, cell, &why);
    if (rv != -ERR_CORRUPT) {
        if (rv != 0 && err != NULL)
            *err = why;
        return rv;
    }
    log_error("store.corrupt err=%s, set aside and begun anew: the log or a snapshot fills it",
              log_quoted(why.msg));
    rv = store_set_aside(store->path, err);
    return rv != 0 ? rv : open_and_load(store, cell, err);
}

int store_open(const char *dir, uint64_t identity, struct cell *cell, struct store **ret,
               struct err *err)
{
    struct store *store = xcalloc(1, sizeof *store);
    store->identity = identity;
    /* Nobody asks how much memory SQLite has, and counting takes a lock at every allocation.
     * Ignored when SQLite is in use already. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int n = snprintf(store->path, sizeof store->path, "%s/cell.db", dir);
    int rv = 0;
    if (n < 0 || (size_t)n >= sizeof store->path)
        rv = err_set(err, ERR_INVALID, "directory %.64s...: its path is longer than %zu bytes", dir,
                     sizeof store->path - 16);
    if (rv == 0)
        rv = open_or_set_aside(store, cell, err);
    if (rv != 0) {
        free(store);
        return rv;
    }
    list_init(&store->items);
    list_init(&store->queries);
    if (uv_mutex_init(&store->lock) != 0 || uv_cond_init(&store->changed) != 0)
        PANIC("no mutex for the store");
    writer_start(store);
    store_readers_start(store);
    *ret = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    ASSERT(store->image == NULL); /* store_snapshot_end() comes first */
    store_readers_stop(store);
    writer_stop(store);
    store_rows_close(&store->rows);
    uv_cond_destroy(&store->changed);
    uv_mutex_destroy(&store->lock);
    free(store);
}

static void temporary_path(const struct store *store, char to[1040])
{
    snprintf(to, 1040, "%s.new", store->path);
}

int store_prepare(const struct store *store, const void *bytes, size_t size, struct cell *cell,
                  struct err *err)
{
    char temporary[1040];
    temporary_path(store, temporary);
    int rv = store_image_check(temporary, bytes, size, STORE_BY_MASTER, cell, err);
    return rv != 0 ? err_wrap(err, "image of %zu bytes", size) : 0;
}

void store_unprepare(const struct store *store)
{
    char temporary[1040];
    temporary_path(store, temporary);
    store_image_remove(temporary);
}

/* With writer and readers at rest. */
static int install(struct store *store, const struct cell *cell, struct err *err)
{
    char temporary[1040];
    temporary_path(store, temporary);
    store_rows_close(&store->rows);
    int rv = store_image_install(temporary, store->path, err);
    if (rv == 0)
        rv = store_rows_open(&store->rows, store->path, store->identity, err);
    if (rv == 0)
        set_index(store, cell->applied_index);
    else /* halfway: no database is open, nothing more can be written */
        store->failed = true;
    return rv;
}

int store_replace_prepared(struct store *store, const struct cell *cell, const void *bytes UNUSED,
                           size_t size UNUSED, struct err *err)
{
    store_readers_pause(store);
    writer_stop(store);
    int rv = install(store, cell, err);
    writer_start(store);
    store_readers_resume(store);
    return rv;
}

int store_replace(struct store *store, const void *bytes, size_t size, struct cell *cell,
                  struct err *err)
{
    int rv = store_prepare(store, bytes, size, cell, err);
    if (rv != 0)
        return rv;
    rv = store_replace_prepared(store, cell, bytes, size, err);
    if (rv != 0)
        cell_clear(cell);
    return rv;
}
