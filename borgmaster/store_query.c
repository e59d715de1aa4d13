/*
 * store_query.c - one SQL statement of a user, read only, with bounds on everything.
 *
 * What keeps a statement harmless: the connection is opened read-only, an authorizer lets it read
 * and call functions and nothing else, lengths are limited, and a progress handler stops it when
 * its time is over. Answers go back to the loop by a uv_async of their own.
 */
#include "store_impl.h"

#include <stdlib.h>
#include <string.h>

enum { PROGRESS_OPS = 1000 }; /* of SQLite's machine between two looks at the clock */

struct store_request {
    struct list link; /* in store->queries */
    uv_async_t async; /* on the loop of who asked; closed after the callback */
    char *sql;
    char user[CELL_NAME_MAX + 1];
    uint64_t turn; /* see queue_up() */
    uint64_t index_min;
    uint64_t deadline_ns;
    store_query_cb cb;
    void *data;
    struct err err; /* the answer: code ERR_OK and rows, or why not */
    struct buf rows;
};

/* The rows as they come; texts by their place in `texts` until all are there. */
struct result {
    struct wire_rows rows;
    size_t value_capacity;
    struct buf texts;
    size_t bytes; /* counted against QUERY_BYTES_MAX */
};

static void result_release(struct result *r)
{
    free(r->rows.columns);
    free(r->rows.values);
    buf_release(&r->texts);
}

static void on_closed(uv_handle_t *handle)
{
    struct store_request *request = handle->data;
    buf_release(&request->rows);
    free(request->sql);
    free(request);
}

static void on_answered(uv_async_t *async)
{
    struct store_request *request = async->data;
    bool ok = request->err.code == ERR_OK;
    request->cb(request->data, ok ? NULL : &request->err, ok ? request->rows.bytes : NULL,
                ok ? request->rows.size : 0);
    uv_close((uv_handle_t *)async, on_closed);
}

/*
 * Users take turns: a request's turn is one after the newest of its user that waits, or the present
 * one (start-time fair queueing, with queries all taken as alike). The operator's is always now.
 * Under the lock.
 */
static int queue_up(struct store *store, struct store_request *request, struct err *err)
{
    size_t waiting = 0;
    request->turn = store->turn;
    LIST_EACH(l, &store->queries)
    {
        const struct store_request *other = CONTAINER_OF(l, struct store_request, link);
        if (strcmp(other->user, request->user) != 0)
            continue;
        waiting++;
        request->turn = MAX(request->turn, other->turn + 1);
    }
    bool first = strcmp(request->user, CELL_OPERATOR) == 0;
    if (store->closing)
        return err_set(err, ERR_CLOSED, "the replica is closing its database");
    if (store->query_count >= QUERIES_WAITING_MAX && !first)
        return err_set(err, ERR_UNAVAILABLE, "%zu queries are waiting: try again later",
                       store->query_count);
    if (waiting >= QUERIES_USER_WAITING_MAX)
        return err_set(err, ERR_UNAVAILABLE,
                       "%zu queries of user \"%s\" are waiting: wait for their answers first",
                       waiting, request->user);
    if (first)
        request->turn = store->turn;
    struct list *before = store->queries.prev;
    while (before != &store->queries &&
           CONTAINER_OF(before, struct store_request, link)->turn > request->turn)
        before = before->prev;
    list_push(before->next, &request->link);
    store->query_count++;
    uv_cond_broadcast(&store->changed);
    return 0;
}

void store_query(struct store *store, uv_loop_t *loop, const char *user, const char *sql,
                 uint64_t index_min, store_query_cb cb, void *data)
{
    struct store_request *request = xcalloc(1, sizeof *request);
    request->sql = xstrdup(sql);
    str_copy(request->user, sizeof request->user, user);
    request->index_min = index_min;
    request->deadline_ns = uv_hrtime() + (uint64_t)QUERY_TIME_MS_MAX * 1000000;
    request->cb = cb;
    request->data = data;
    int rc = uv_async_init(loop, &request->async, on_answered);
    if (rc != 0)
        PANIC("uv_async_init: %s", uv_strerror(rc));
    request->async.data = request;
    uv_mutex_lock(&store->lock);
    if (queue_up(store, request, &request->err) != 0)
        uv_async_send(&request->async);
    uv_mutex_unlock(&store->lock);
}

/* Pragmas that describe the schema, also as tables; and the other tables that are functions. */
static const char *const pragmas[] = {"table_info", "table_xinfo", "table_list",
                                      "index_list", "index_info",  "index_xinfo"};
static const char table_functions[] =
    "SELECT 1 FROM pragma_table_info('meta'), pragma_table_xinfo('meta'), pragma_table_list, "
    "pragma_index_list('jobs'), pragma_index_info('jobs_by_name'), "
    "pragma_index_xinfo('jobs_by_name'), json_each('[]'), json_tree('[]')";

static bool may(int action, const char *a, const char *b)
{
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return true;
    case SQLITE_FUNCTION:
        return strcasecmp(b, "load_extension") != 0 && strcasecmp(b, "fts3_tokenizer") != 0;
    case SQLITE_PRAGMA:
        for (size_t i = 0; i < ARRAY_SIZE(pragmas); i++)
            if (strcasecmp(a, pragmas[i]) == 0)
                return true;
        return false;
    default:
        return false;
    }
}

static int authorize(void *data, int action, const char *a, const char *b,
                     const char *database UNUSED, const char *trigger UNUSED)
{
    struct store_reader *reader = data;
    if (may(action, a, b))
        return SQLITE_OK;
    reader->denied = true;
    return SQLITE_DENY;
}

static int is_over(void *data)
{
    struct store_reader *reader = data;
    return uv_hrtime() > reader->deadline_ns ||
           __atomic_load_n(&reader->store->paused, __ATOMIC_RELAXED);
}

static void limit(sqlite3 *db)
{
    static const struct {
        int which;
        int max;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, QUERY_BYTES_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, QUERY_SQL_MAX},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_EXPR_DEPTH, 200},
        {SQLITE_LIMIT_COMPOUND_SELECT, 50},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
        {SQLITE_LIMIT_COLUMN, 2000},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
        sqlite3_limit(db, limits[i].which, limits[i].max);
}

static void reader_close(struct store_reader *reader)
{
    if (reader->db == NULL)
        return;
    /* The file may have been replaced: see close_reader() in store_image.c. */
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(reader->db);
    reader->db = NULL;
}

static int reader_open(struct store_reader *reader, struct err *err)
{
    if (reader->db != NULL)
        return 0;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(reader->store->path, &reader->db, flags, NULL) != SQLITE_OK) {
        int rv = store_sqlite_err(reader->db, "cannot open the database", err);
        reader_close(reader);
        return rv;
    }
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_busy_timeout(reader->db, 1000);
    sqlite3_progress_handler(reader->db, PROGRESS_OPS, is_over, reader);
    limit(reader->db);
    /* The first use makes the tables, which the authorizer would take for writing. */
    sqlite3_exec(reader->db, table_functions, NULL, NULL, NULL);
    return 0;
}

/* Why the user's statement failed, in SQLite's words. */
static int statement_err(struct store_reader *reader, const char *sql, struct err *err)
{
    int code = sqlite3_errcode(reader->db) & 0xff;
    int offset = sqlite3_error_offset(reader->db);
    const char *msg = sqlite3_errmsg(reader->db);
    if (reader->denied)
        return err_set(err, ERR_DENIED, "SQL: %s; queries can read and nothing else", msg);
    switch (code) {
    case SQLITE_INTERRUPT:
        if (uv_hrtime() <= reader->deadline_ns)
            return err_set(err, ERR_UNAVAILABLE, "the database is being replaced: try again");
        return err_set(err, ERR_LIMIT, "the query took more than %d ms: narrow it",
                       QUERY_TIME_MS_MAX);
    case SQLITE_TOOBIG:
        return err_set(err, ERR_LIMIT, "SQL: %s", msg);
    case SQLITE_READONLY:
        return err_set(err, ERR_DENIED, "SQL: %s; queries can read and nothing else", msg);
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_CONSTRAINT:
        if (offset < 0 || (size_t)offset > strlen(sql))
            return err_set(err, ERR_INVALID, "SQL: %s", msg);
        return err_set(err, ERR_INVALID, "SQL, at byte %d, \"%.40s\": %s", offset, sql + offset,
                       msg);
    default:
        return store_sqlite_err(reader->db, "SQL", err);
    }
}

/* Exactly one statement that reads and gives rows. */
static int prepare(struct store_reader *reader, const char *sql, sqlite3_stmt **ret,
                   struct err *err)
{
    const char *tail = sql;
    sqlite3_stmt *second = NULL;
    *ret = NULL;
    if (strlen(sql) > QUERY_SQL_MAX)
        return err_set(err, ERR_LIMIT, "SQL: %zu bytes, at most %d", strlen(sql), QUERY_SQL_MAX);
    if (sqlite3_prepare_v2(reader->db, sql, -1, ret, &tail) != SQLITE_OK)
        return statement_err(reader, sql, err);
    if (*ret == NULL)
        return err_set(err, ERR_INVALID, "SQL: there is no statement");
    int rc = sqlite3_prepare_v2(reader->db, tail, -1, &second, NULL);
    sqlite3_finalize(second);
    if (rc != SQLITE_OK || second != NULL)
        return err_set(err, ERR_INVALID,
                       "SQL, at byte %zu, \"%.40s\": a second statement; send one at a time",
                       (size_t)(tail - sql), tail);
    if (!sqlite3_stmt_readonly(*ret) || sqlite3_column_count(*ret) == 0)
        return err_set(err, ERR_DENIED, "SQL: queries can read and nothing else");
    if (sqlite3_bind_parameter_count(*ret) > 0)
        return err_set(err, ERR_INVALID, "SQL: parameters cannot be given; write the values");
    return 0;
}

/* The text's place in `texts`. */
static size_t add_text(struct result *r, const char *text)
{
    size_t at = r->texts.size;
    text = text == NULL ? "" : text;
    size_t length = strlen(text);
    buf_append(&r->texts, text, length + 1);
    r->bytes += length;
    return at;
}

/* Blobs are shown in hex: the rows are for people. */
static size_t add_blob(struct result *r, const uint8_t *bytes, int size)
{
    size_t at = r->texts.size;
    char *to = buf_reserve(&r->texts, (size_t)size * 2 + 1);
    for (int i = 0; i < size; i++, to += 2) {
        to[0] = "0123456789abcdef"[bytes[i] >> 4];
        to[1] = "0123456789abcdef"[bytes[i] & 15];
    }
    *to = '\0';
    r->texts.size += (size_t)size * 2 + 1;
    r->bytes += (size_t)size * 2;
    return at;
}

/* Places count as integers until result_finish() turns them into pointers. */
static void add_value(struct result *r, sqlite3_stmt *statement, int column)
{
    struct wire_value *value =
        &r->rows.values[(size_t)r->rows.row_count * r->rows.column_count + (size_t)column];
    *value = (struct wire_value){.type = WIRE_NULL};
    r->bytes += 9; /* at most, of a number or of the head of a text */
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value->type = WIRE_INTEGER;
        value->integer = sqlite3_column_int64(statement, column);
        return;
    case SQLITE_FLOAT:
        value->type = WIRE_REAL;
        value->real = sqlite3_column_double(statement, column);
        return;
    case SQLITE_TEXT:
        value->type = WIRE_TEXT;
        value->integer = (int64_t)add_text(r, (const char *)sqlite3_column_text(statement, column));
        return;
    case SQLITE_BLOB: {
        const uint8_t *bytes = sqlite3_column_blob(statement, column);
        value->type = WIRE_TEXT;
        value->integer = (int64_t)add_blob(r, bytes, sqlite3_column_bytes(statement, column));
        return;
    }
    default:
        return;
    }
}

static int add_row(struct result *r, sqlite3_stmt *statement, struct err *err)
{
    size_t columns = r->rows.column_count;
    if (r->rows.row_count == QUERY_ROWS_MAX)
        return err_set(err, ERR_LIMIT, "the query has more than %d rows: narrow it or use LIMIT",
                       QUERY_ROWS_MAX);
    size_t need = (size_t)(r->rows.row_count + 1) * columns;
    if (need > r->value_capacity) {
        r->value_capacity = MAX(need, r->value_capacity * 2);
        r->rows.values = xrealloc(r->rows.values, r->value_capacity, sizeof *r->rows.values);
    }
    for (int i = 0; i < (int)columns; i++) {
        add_value(r, statement, i);
        if (r->bytes > QUERY_BYTES_MAX)
            return err_set(err, ERR_LIMIT,
                           "the query gives more than %d bytes: narrow it or use LIMIT",
                           QUERY_BYTES_MAX);
    }
    r->rows.row_count++;
    return 0;
}

static void result_finish(struct result *r)
{
    for (size_t i = 0; i < r->rows.column_count; i++)
        r->rows.columns[i] = r->texts.bytes + (uintptr_t)r->rows.columns[i];
    size_t count = (size_t)r->rows.row_count * r->rows.column_count;
    for (size_t i = 0; i < count; i++)
        if (r->rows.values[i].type == WIRE_TEXT)
            r->rows.values[i].text = r->texts.bytes + r->rows.values[i].integer;
}

static int run_statement(struct store_reader *reader, const char *sql, struct result *r,
                         struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rv = prepare(reader, sql, &statement, err);
    int rc = SQLITE_DONE;
    if (rv == 0) {
        r->rows.column_count = (uint32_t)sqlite3_column_count(statement);
        r->rows.columns = xcalloc(r->rows.column_count, sizeof *r->rows.columns);
        for (int i = 0; i < (int)r->rows.column_count; i++)
            r->rows.columns[i] = (const char *)add_text(r, sqlite3_column_name(statement, i));
    }
    while (rv == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        rv = add_row(r, statement, err);
    if (rv == 0 && rc != SQLITE_DONE)
        rv = statement_err(reader, sql, err);
    sqlite3_finalize(statement);
    return rv;
}

/* Inside one read transaction, so that the index belongs to the rows. */
static int read_rows(struct store_reader *reader, const char *sql, struct result *r,
                     struct err *err)
{
    int64_t index = 0;
    sqlite3_exec(reader->db, "BEGIN", NULL, NULL, NULL);
    int rv = store_number(reader->db, "SELECT applied_index FROM meta", &index, err);
    if (rv == -ERR_IO) {
        rv = statement_err(reader, "", err); /* it may have been interrupted */
    } else if (rv == 0) {
        r->rows.applied_index = (uint64_t)index;
        sqlite3_set_authorizer(reader->db, authorize, reader);
        rv = run_statement(reader, sql, r, err);
        sqlite3_set_authorizer(reader->db, NULL, NULL);
    }
    sqlite3_exec(reader->db, "ROLLBACK", NULL, NULL, NULL);
    return rv;
}

static int run_query(struct store_reader *reader, const char *sql, struct result *r,
                     struct err *err)
{
    reader->denied = false;
    int rv = reader_open(reader, err);
    if (rv == 0)
        rv = read_rows(reader, sql, r, err);
    if (rv != -ERR_CORRUPT && store_vfs_damage_take())
        rv = err_set(err, ERR_CORRUPT, "a page does not have the checksum it was given");
    if (rv != -ERR_CORRUPT)
        return rv;
    store_fail(reader->store, err);
    return err_set(err, ERR_UNAVAILABLE,
                   "the database of this replica is damaged, it is being made anew: ask another");
}

static void answer(struct store_reader *reader, struct store_request *request)
{
    struct result result CLEANUP(result_release) = {0};
    reader->deadline_ns = uv_hrtime() + (uint64_t)QUERY_TIME_MS_MAX * 1000000;
    if (run_query(reader, request->sql, &result, &request->err) == 0) {
        result_finish(&result);
        wire_pack_rows(&request->rows, &result.rows);
    }
}

static void refuse_waiting(struct store *store, struct store_request *request)
{
    uint64_t index = store_index(store);
    if (store->closing)
        err_set(&request->err, ERR_CLOSED, "the replica is closing its database");
    else
        err_set(&request->err, ERR_TIMEOUT,
                "the database is at index %" PRIu64 ", %" PRIu64 " did not come within %d ms",
                index, request->index_min, QUERY_TIME_MS_MAX);
}

/* The first request that can go on: its index is there or its time is over. Under the lock. */
static struct store_request *next_request(struct store *store, uint64_t *ret_wait_ns)
{
    uint64_t now = uv_hrtime(), index = store_index(store);
    *ret_wait_ns = UINT64_MAX;
    LIST_EACH(l, &store->queries)
    {
        struct store_request *request = CONTAINER_OF(l, struct store_request, link);
        bool ready = !store->paused && request->index_min <= index;
        if (store->closing || ready || request->deadline_ns <= now)
            return request;
        *ret_wait_ns = MIN(*ret_wait_ns, request->deadline_ns - now);
    }
    return NULL;
}

static void reader_run(void *arg)
{
    struct store_reader *reader = arg;
    struct store *store = reader->store;
    uv_mutex_lock(&store->lock);
    for (;;) {
        uint64_t wait_ns;
        struct store_request *request = next_request(store, &wait_ns);
        if (reader->generation != store->generation) {
            reader_close(reader);
            reader->generation = store->generation;
        }
        if (request == NULL && store->closing)
            break;
        if (request == NULL && wait_ns == UINT64_MAX) {
            uv_cond_wait(&store->changed, &store->lock);
            continue;
        }
        if (request == NULL) {
            uv_cond_timedwait(&store->changed, &store->lock, wait_ns);
            continue;
        }
        list_remove(&request->link);
        store->query_count--;
        store->turn = MAX(store->turn, request->turn);
        bool run = !store->closing && !store->paused && request->index_min <= store_index(store);
        store->readers_busy += run;
        uv_mutex_unlock(&store->lock);
        if (run)
            answer(reader, request);
        else
            refuse_waiting(store, request);
        uv_async_send(&request->async);
        uv_mutex_lock(&store->lock);
        store->readers_busy -= run;
        uv_cond_broadcast(&store->changed);
    }
    uv_mutex_unlock(&store->lock);
    reader_close(reader);
}

void store_readers_start(struct store *store)
{
    for (int i = 0; i < STORE_READERS; i++) {
        store->readers[i].store = store;
        int rc = uv_thread_create(&store->readers[i].thread, reader_run, &store->readers[i]);
        if (rc != 0)
            PANIC("uv_thread_create: %s", uv_strerror(rc));
    }
}

void store_readers_pause(struct store *store)
{
    uv_mutex_lock(&store->lock);
    __atomic_store_n(&store->paused, true, __ATOMIC_RELAXED);
    while (store->readers_busy > 0)
        uv_cond_wait(&store->changed, &store->lock);
    store->generation++;
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

void store_readers_resume(struct store *store)
{
    uv_mutex_lock(&store->lock);
    __atomic_store_n(&store->paused, false, __ATOMIC_RELAXED);
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

void store_readers_stop(struct store *store)
{
    uv_mutex_lock(&store->lock);
    store->closing = true;
    __atomic_store_n(&store->paused, true, __ATOMIC_RELAXED); /* interrupts what runs */
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
    for (int i = 0; i < STORE_READERS; i++)
        uv_thread_join(&store->readers[i].thread);
}
