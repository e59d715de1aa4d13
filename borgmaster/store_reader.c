/*
 * store_reader.c - one SQL statement of a user, read only, with bounds on everything.
 *
 * A statement can do no harm: the connection is opened read-only, an authorizer lets it read
 * and call functions and nothing else, lengths and memory are limited, nothing temporary goes to a
 * disk, and a progress handler stops it when its time is over. Anything else ends with
 * the process (store_reader.h).
 *
 * Whose rows: what is private to users is in tables whose names end with PRIVATE_SUFFIX. SQL of
 * users may not have that text in it, so it cannot name such a table; the authorizer alone would
 * not do, SQLite does not ask it about columns that are joined by USING or NATURAL. For each of
 * these tables the connection has a temporary view that asks reader_name() and reader_reads_all(),
 * and one on that with the table's public name; only that one view may read the table. The
 * database's own views are there as temporary ones too, so that they find these before the
 * database's.
 */
#include "store_reader.h"

#include "clock.h"
#include "limits.h"
#include "log.h"
#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PRIVATE_SUFFIX "_private_rows"
#define SEEN_SUFFIX PRIVATE_SUFFIX "_seen"

enum {
    PROGRESS_OPS = 1000, /* of SQLite's machine between two looks at the clock */
    PROCESS_BYTES_MAX =
        READER_MEMORY_BYTES_MAX + 536870912, /* of address space, libraries and all */
    PROCESS_FILES_MAX = 32,
    READER_NICE = 10 /* where cores are short the masters' loops go first */
};

struct reader {
    const char *path;
    sqlite3 *db; /* opened at the first statement; NULL until then */
    char user[CELL_NAME_MAX + 1];
    bool reads_all;
    bool denied;         /* the statement wanted more than reading */
    bool denied_private; /* or to read what only such a view may */
    uint64_t deadline_ms;
    struct words tables; /* that statements may read */
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

/* The views that a query sees in place of private tables. */
static const struct private_table {
    const char *name;
    const char *seen;
} private_tables[] = {
    {"job_specs", "SELECT s.job_id, "
                  "iif(reader_reads_all() OR j.user = reader_name(), s.command, NULL) AS command, "
                  "iif(reader_reads_all() OR j.user = reader_name(), s.spec, NULL) AS spec, "
                  "iif(reader_reads_all() OR j.user = reader_name(), s.spec_json, NULL) AS "
                  "spec_json "
                  "FROM main.job_specs" PRIVATE_SUFFIX " s JOIN main.jobs j ON j.id = s.job_id"},
    {"requests", "SELECT * FROM main.requests" PRIVATE_SUFFIX " WHERE reader_reads_all()"},
};

/* Pragmas that describe the schema, also as tables; and the other tables that are functions. */
static const char *const pragmas[] = {"table_info", "table_xinfo", "table_list",
                                      "index_list", "index_info",  "index_xinfo"};
static const char *const other_tables[] = {
    "sqlite_schema",     "sqlite_master",      "sqlite_temp_schema", "sqlite_temp_master",
    "pragma_table_info", "pragma_table_xinfo", "pragma_table_list",  "pragma_index_list",
    "pragma_index_info", "pragma_index_xinfo", "json_each",          "json_tree"};
static const char table_functions[] =
    "SELECT 1 FROM pragma_table_info('meta'), pragma_table_xinfo('meta'), pragma_table_list, "
    "pragma_index_list('jobs'), pragma_index_info('jobs_by_name'), "
    "pragma_index_xinfo('jobs_by_name'), json_each('[]'), json_tree('[]')";

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcasecmp(text + length - end_length, end) == 0;
}

/* `inside`: the view that reads it, NULL: the statement. */
static bool may_read(struct reader *reader, const char *table, const char *inside)
{
    if (ends_with(table, PRIVATE_SUFFIX)) {
        size_t length = strlen(table);
        reader->denied_private = inside == NULL || strncmp(inside, table, length) != 0 ||
                                 !ends_with(inside, SEEN_SUFFIX);
        return !reader->denied_private;
    }
    for (const char *t = words_first(&reader->tables); t != NULL;
         t = words_next(&reader->tables, t))
        if (strcasecmp(table, t) == 0)
            return true;
    return false;
}

static bool may(struct reader *reader, int action, const char *a, const char *b, const char *inside)
{
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return true;
    case SQLITE_READ: /* of no column: of a table, view or subquery of which rows are counted */
        return b == NULL || b[0] == '\0' || may_read(reader, a, inside);
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
                     const char *database UNUSED, const char *inside)
{
    struct reader *reader = data;
    if (may(reader, action, a, b, inside))
        return SQLITE_OK;
    reader->denied = true;
    return SQLITE_DENY;
}

static int is_over(void *data)
{
    const struct reader *reader = data;
    return clock_mono_ms() > reader->deadline_ms;
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

static void reader_name(sqlite3_context *context, int count UNUSED, sqlite3_value **values UNUSED)
{
    const struct reader *reader = sqlite3_user_data(context);
    sqlite3_result_text(context, reader->user, -1, SQLITE_TRANSIENT);
}

static void reader_reads_all(sqlite3_context *context, int count UNUSED,
                             sqlite3_value **values UNUSED)
{
    const struct reader *reader = sqlite3_user_data(context);
    sqlite3_result_int(context, reader->reads_all);
}

static int execute(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : store_sqlite_err(db, "cannot open the database", err);
}

static bool is_private(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(private_tables); i++)
        if (strcmp(name, private_tables[i].name) == 0)
            return true;
    return false;
}

/* The database's views, as temporary ones; and what statements may read. */
static int views_copy(struct reader *reader, struct buf *views, struct err *err)
{
    static const char create[] = "CREATE VIEW ";
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(reader->db,
                                "SELECT name, type, sql FROM main.sqlite_schema "
                                "WHERE type IN ('table', 'view')",
                                -1, &statement, NULL);
    while (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        const char *type = (const char *)sqlite3_column_text(statement, 1);
        const char *sql = (const char *)sqlite3_column_text(statement, 2);
        words_add(&reader->tables, name);
        if (strcmp(type, "view") == 0 && !is_private(name) && sql != NULL &&
            strncmp(sql, create, strlen(create)) == 0)
            buf_printf(views, "CREATE TEMP VIEW %s;\n", sql + strlen(create));
    }
    int rv = sqlite3_finalize(statement) == SQLITE_OK && rc == SQLITE_OK
                 ? 0
                 : store_sqlite_err(reader->db, "cannot read the schema", err);
    return rv;
}

static int views_make(struct reader *reader, struct err *err)
{
    struct buf views CLEANUP(buf_release) = {0};
    for (size_t i = 0; i < ARRAY_SIZE(other_tables); i++)
        words_add(&reader->tables, other_tables[i]);
    for (size_t i = 0; i < ARRAY_SIZE(private_tables); i++) {
        const struct private_table *table = &private_tables[i];
        buf_printf(&views,
                   "CREATE TEMP VIEW %s" SEEN_SUFFIX " AS %s;\n"
                   "CREATE TEMP VIEW %s AS SELECT * FROM %s" SEEN_SUFFIX ";\n",
                   table->name, table->seen, table->name, table->name);
        char name[64];
        snprintf(name, sizeof name, "%s" SEEN_SUFFIX, table->name);
        words_add(&reader->tables, name);
    }
    int rv = views_copy(reader, &views, err);
    return rv != 0 ? rv : execute(reader->db, buf_text(&views), err);
}

static void reader_close(struct reader *reader)
{
    /* The file may have been replaced: see close_reader() in store_image.c. */
    if (reader->db != NULL)
        sqlite3_db_config(reader->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(reader->db);
    words_release(&reader->tables);
    reader->db = NULL;
}

static int connection_set_up(struct reader *reader, struct err *err)
{
    int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_busy_timeout(reader->db, 1000);
    sqlite3_progress_handler(reader->db, PROGRESS_OPS, is_over, reader);
    sqlite3_create_function(reader->db, "reader_name", 0, flags, reader, reader_name, NULL, NULL);
    sqlite3_create_function(reader->db, "reader_reads_all", 0, flags, reader, reader_reads_all,
                            NULL, NULL);
    int rv = execute(reader->db, "PRAGMA temp_store = MEMORY", err);
    rv = rv != 0 ? rv : views_make(reader, err);
    /* The first use makes the tables, which the authorizer would take for writing. */
    rv = rv != 0 ? rv : execute(reader->db, table_functions, err);
    limit(reader->db);
    return rv;
}

static int reader_open(struct reader *reader, struct err *err)
{
    if (reader->db != NULL)
        return 0;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    int rv = sqlite3_open_v2(reader->path, &reader->db, flags, NULL) == SQLITE_OK
                 ? 0
                 : store_sqlite_err(reader->db, "cannot open the database", err);
    rv = rv != 0 ? rv : connection_set_up(reader, err);
    if (rv != 0)
        reader_close(reader);
    return rv;
}

/* Why the user's statement failed, in SQLite's words. */
static int statement_err(struct reader *reader, const char *sql, struct err *err)
{
    int code = sqlite3_errcode(reader->db) & 0xff;
    int offset = sqlite3_error_offset(reader->db);
    const char *msg = sqlite3_errmsg(reader->db);
    if (reader->denied)
        return err_set(err, ERR_DENIED, "SQL: %s; queries can read%s and nothing else", msg,
                       reader->denied_private ? " what is not private to others" : "");
    switch (code) {
    case SQLITE_INTERRUPT:
        return err_set(err, ERR_LIMIT, "the query took more than %d ms: narrow it",
                       QUERY_TIME_MS_MAX);
    case SQLITE_NOMEM:
    case SQLITE_FULL:
        return err_set(err, ERR_LIMIT,
                       "the query needs more than %d MiB of memory, for sorting say: narrow it",
                       READER_MEMORY_BYTES_MAX >> 20);
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
static int prepare(struct reader *reader, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    const char *tail = sql;
    sqlite3_stmt *second = NULL;
    *ret = NULL;
    if (strlen(sql) > QUERY_SQL_MAX)
        return err_set(err, ERR_LIMIT, "SQL: %zu bytes, at most %d", strlen(sql), QUERY_SQL_MAX);
    if (strcasestr(sql, PRIVATE_SUFFIX) != NULL)
        return err_set(err, ERR_DENIED,
                       "SQL: \"" PRIVATE_SUFFIX "\" ends the names of tables that hold what is "
                       "private to users, and may not stand in a query; job_specs and requests "
                       "show what you may see of them");
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

static int run_statement(struct reader *reader, const char *sql, struct result *r, struct err *err)
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
static int read_rows(struct reader *reader, const char *sql, struct result *r, struct err *err)
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

struct reader *reader_new(const char *database)
{
    struct reader *reader = xcalloc(1, sizeof *reader);
    store_vfs_register();
    reader->path = database;
    return reader;
}

void reader_free(struct reader *reader)
{
    reader_close(reader);
    free(reader);
}

int reader_answer(struct reader *reader, const char *user, bool reads_all, const char *sql,
                  uint64_t budget_ms, struct buf *rows, struct err *err)
{
    struct result result CLEANUP(result_release) = {0};
    str_copy(reader->user, sizeof reader->user, user);
    reader->reads_all = reads_all;
    reader->denied = reader->denied_private = false;
    reader->deadline_ms = clock_mono_ms() + budget_ms;
    int rv = reader_open(reader, err);
    if (rv == 0)
        rv = read_rows(reader, sql, &result, err);
    if (rv != -ERR_CORRUPT && store_vfs_damage_take())
        rv = err_set(err, ERR_CORRUPT, "a page does not have the checksum it was given");
    if (rv != 0)
        return rv;
    result_finish(&result);
    wire_pack_rows(rows, &result.rows);
    return 0;
}

bool reader_is(int argc, char *const *argv)
{
    return argc == 3 && strcmp(argv[0], READER_NAME) == 0;
}

/*
 * Many kernels share cores out among sessions before they look at processes
 * (sched_autogroup_enabled), so the session, which is our own, yields as well. Others than root are
 * heard ten times a second at the most; unheard, it still takes nothing of the master's part.
 */
static void yield_cores(void)
{
    (void)setpriority(PRIO_PROCESS, 0, READER_NICE);
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!dprintf(fd, "%d", READER_NICE);
    close(fd);
}

/* Whatever happens, it cannot take more than this. */
static void bound_self(void)
{
    static const struct {
        int which;
        rlim_t max;
    } bounds[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, PROCESS_FILES_MAX},
#ifndef __SANITIZE_ADDRESS__ /* it needs all the addresses there are */
        {RLIMIT_AS, PROCESS_BYTES_MAX},
#endif
    };
    for (size_t i = 0; i < ARRAY_SIZE(bounds); i++)
        (void)setrlimit((__rlimit_resource_t)bounds[i].which,
                        &(struct rlimit){bounds[i].max, bounds[i].max});
    yield_cores();
    sqlite3_hard_heap_limit64(READER_MEMORY_BYTES_MAX);
}

/* Ends with its starter: nobody is left to answer. */
static void read_exactly(void *to, size_t size)
{
    for (char *at = to; size > 0;) {
        ssize_t n = read(READER_FD, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(0);
        at += n;
        size -= (size_t)n;
    }
}

static void write_exactly(const void *from, size_t size)
{
    for (const char *at = from; size > 0;) {
        ssize_t n = send(READER_FD, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(0);
        at += n;
        size -= (size_t)n;
    }
}

static void serve_one(struct reader *reader)
{
    struct reader_request head;
    struct buf rows CLEANUP(buf_release) = {0};
    struct err err = {0};
    read_exactly(&head, sizeof head);
    CLEANUP(free_ptr) char *user = xcalloc((size_t)head.user_size + 1, 1);
    CLEANUP(free_ptr) char *sql = xcalloc((size_t)head.sql_size + 1, 1);
    read_exactly(user, head.user_size);
    read_exactly(sql, head.sql_size);
    int rv = reader_answer(reader, user, head.reads_all != 0, sql, head.budget_ms, &rows, &err);
    struct reader_reply reply = {.code = rv == 0 ? ERR_OK : (uint32_t)-rv,
                                 .size = (uint32_t)(rv == 0 ? rows.size : strlen(err.msg))};
    write_exactly(&reply, sizeof reply);
    write_exactly(rv == 0 ? rows.bytes : err.msg, reply.size);
}

void reader_run(char *const *argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, READER_NAME);
    if (strtol(argv[2], NULL, 10) != getppid())
        _exit(0); /* it ended before we could ask to be told */
    log_open(LOG_WARN, READER_NAME);
    bound_self();
    struct reader *reader = reader_new(argv[1]);
    for (;;)
        serve_one(reader);
}

int reader_start(const char *database, pid_t *ret_pid, int *ret_fd, struct err *err)
{
    int ends[2];
    char parent[24];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set(err, ERR_UNAVAILABLE, "no socket for a process that reads: %s",
                       strerror(errno));
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    char *argv[] = {(char *)READER_NAME, (char *)(uintptr_t)database, parent, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], READER_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, READER_FD + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    /* A session of its own: a terminal's ^C is for the master, which then ends its readers. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    int rc = posix_spawn(ret_pid, "/proc/self/exe", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        return err_set(err, ERR_UNAVAILABLE, "a process that reads cannot be started: %s",
                       strerror(rc));
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *ret_fd = ends[0];
    return 0;
}
