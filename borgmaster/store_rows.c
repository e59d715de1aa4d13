/*
 * store_rows.c - deltas as rows: one prepared statement per kind of row. Rows of records are
 * written by store_sql.c.
 *
 * A row in a delta is the whole truth about it, so every write is "put": insert or replace what is
 * there. What never changes about a job is written once.
 */
#include "store_impl.h"

#include "attributes.h"
#include "cmd_pack.h"
#include "spec_json.h"
#include "store_schema.h"
#include "store_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_META_PUT] =
        "UPDATE meta SET applied_index = ?, applied_term = ?, now_ms = ?, event_seq = ?, "
        "next_job = ?, request_seq = ?, digest = ?, policy = ?, hold = ?, stored_index = ?, "
        "cell = ?, next_replica = ?, format = ?",
    [STATEMENT_ATTRIBUTES_FORGET] = "DELETE FROM machine_attributes WHERE machine_id = ?",
    [STATEMENT_ATTRIBUTE_PUT] = "INSERT INTO machine_attributes VALUES (?, ?, ?)",
    [STATEMENT_SPEC_PUT] = "INSERT OR REPLACE INTO job_specs_private_rows VALUES (?, ?, ?, ?)",
    [STATEMENT_EVENTS_PRUNE] = "DELETE FROM events WHERE seq <= ?",
    [STATEMENT_JOB_FORGET] = "DELETE FROM jobs WHERE id = ?",
    [STATEMENT_SPEC_FORGET] = "DELETE FROM job_specs_private_rows WHERE job_id = ?",
    [STATEMENT_LIMITS_FORGET] = "DELETE FROM job_limits WHERE job_id = ?",
    [STATEMENT_TASKS_FORGET] = "DELETE FROM tasks WHERE job_id = ?",
    [STATEMENT_NAMES_CLEAR] = "DELETE FROM resource_names",
    [STATEMENT_NAME_PUT] = "INSERT INTO resource_names VALUES (?, ?)",
    [STATEMENT_REPLICAS_CLEAR] = "DELETE FROM replicas",
    [STATEMENT_QUOTAS_CLEAR] = "DELETE FROM quotas",
    [STATEMENT_IDENTITIES_CLEAR] = "DELETE FROM identities",
};

static const struct {
    const struct sql_table *table;
    enum sql_verb verb;
} writers[WRITER_COUNT] = {
    [WRITER_MACHINE] = {&machines_table, SQL_UPSERT},
    [WRITER_JOB_UPDATE] = {&jobs_table, SQL_UPDATE},
    [WRITER_JOB_INSERT] = {&jobs_table, SQL_INSERT},
    [WRITER_LIMIT] = {&job_limits_table, SQL_UPSERT},
    [WRITER_TASK] = {&tasks_table, SQL_UPSERT},
    [WRITER_EVENT] = {&events_table, SQL_REPLACE},
    [WRITER_REQUEST] = {&requests_table, SQL_REPLACE},
    [WRITER_QUOTA] = {&quotas_table, SQL_INSERT},
    [WRITER_REPLICA] = {&replicas_table, SQL_INSERT},
    [WRITER_IDENTITY] = {&identities_table, SQL_INSERT},
};

/* Values bound one after the other. Binding fails only for a wrong number of them. */
struct row {
    sqlite3_stmt *statement;
    int at;
};

static struct row row_begin(struct store_rows *rows, enum store_statement which)
{
    return (struct row){rows->statements[which], 0};
}

static void row_int(struct row *row, int64_t value)
{
    int rc = sqlite3_bind_int64(row->statement, ++row->at, value);
    ASSERT(rc == SQLITE_OK);
}

static void row_u64(struct row *row, uint64_t value)
{
    row_int(row, (int64_t)value);
}

/* `text` has to live until row_end(). */
static void row_text(struct row *row, const char *text)
{
    int rc = sqlite3_bind_text(row->statement, ++row->at, text, -1, SQLITE_STATIC);
    ASSERT(rc == SQLITE_OK);
}

static void row_bytes(struct row *row, const struct buf *bytes)
{
    int rc = sqlite3_bind_blob(row->statement, ++row->at, buf_text(bytes), (int)bytes->size,
                               SQLITE_STATIC);
    ASSERT(rc == SQLITE_OK);
}

static int row_end(struct row *row, struct err *err)
{
    ASSERT(row->at == sqlite3_bind_parameter_count(row->statement));
    int rc = sqlite3_step(row->statement);
    sqlite3 *db = sqlite3_db_handle(row->statement);
    int rv = rc == SQLITE_DONE ? 0 : store_sqlite_err(db, "cannot write the database", err);
    sqlite3_reset(row->statement);
    return rv;
}

static int run(struct store_rows *rows, enum store_statement which, struct err *err)
{
    struct row row = row_begin(rows, which);
    return row_end(&row, err);
}

static uint64_t *attributes_written(struct store_rows *rows, machine_id machine)
{
    if (machine.v > rows->attributes_written_count) {
        size_t count = MAX((size_t)machine.v, 2 * rows->attributes_written_count);
        rows->attributes_written =
            xrealloc(rows->attributes_written, count, sizeof *rows->attributes_written);
        for (size_t i = rows->attributes_written_count; i < count; i++)
            rows->attributes_written[i] = 0;
        rows->attributes_written_count = count;
    }
    return &rows->attributes_written[machine.v - 1];
}

static int put_attributes(struct store_rows *rows, const struct machine *machine, struct err *err)
{
    uint64_t *written = attributes_written(rows, machine->id);
    if (*written == machine->attributes_hash && *written != 0)
        return 0;
    struct row forget = row_begin(rows, STATEMENT_ATTRIBUTES_FORGET);
    row_u64(&forget, machine->id.v);
    int rv = row_end(&forget, err);
    for (const char *w = words_first(&machine->attributes); rv == 0 && w != NULL;
         w = words_next(&machine->attributes, w)) {
        char key[CELL_NAME_MAX + 1];
        const char *value;
        rv = attribute_parse(w, key, &value, err);
        ASSERT(rv == 0); /* the cell has no others */
        struct row row = row_begin(rows, STATEMENT_ATTRIBUTE_PUT);
        row_u64(&row, machine->id.v);
        row_text(&row, key);
        row_text(&row, value);
        rv = row_end(&row, err);
    }
    *written = machine->attributes_hash;
    return rv;
}

static int put(struct store_rows *rows, enum store_writer which, const void *item, struct err *err)
{
    return sql_write(&rows->writers[which], item, err);
}

static int put_machine(struct store_rows *rows, const struct machine *machine, struct err *err)
{
    int rv = put(rows, WRITER_MACHINE, machine, err);
    return rv != 0 ? rv : put_attributes(rows, machine, err);
}

/* A word as one would have to write it in a shell. */
static void command_word(struct buf *to, const char *word)
{
    bool plain = word[0] != '\0';
    for (const char *c = word; *c != '\0'; c++)
        plain = plain && (strchr("+,-./:=@_%", *c) != NULL || (*c >= '0' && *c <= '9') ||
                          (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'));
    if (plain) {
        buf_append(to, word, strlen(word));
        return;
    }
    buf_append(to, "'", 1);
    for (const char *c = word; *c != '\0'; c++)
        if (*c == '\'')
            buf_append(to, "'\\''", 4);
        else
            buf_append(to, c, 1);
    buf_append(to, "'", 1);
}

static void command_text(struct buf *to, const struct words *argv)
{
    for (const char *word = words_first(argv); word != NULL; word = words_next(argv, word)) {
        if (to->size > 0)
            buf_append(to, " ", 1);
        command_word(to, word);
    }
}

static int put_spec(struct store_rows *rows, const struct job *job, struct err *err)
{
    struct buf command CLEANUP(buf_release) = {0}, spec CLEANUP(buf_release) = {0};
    struct buf json CLEANUP(buf_release) = {0};
    struct row row = row_begin(rows, STATEMENT_SPEC_PUT);
    /* What may change is in jobs. It is left out here: how far a job has come when its first delta
     * is collected differs between replicas, and their rows must not. */
    struct job_spec lasting = job->spec; /* borrows its words */
    lasting.priority = 0;
    lasting.replicas = 0;
    for (int r = 0; r < RES_NAMED; r++)
        lasting.limit.v[r] = 0;
    command_text(&command, &job->spec.argv);
    spec_pack(&lasting, &spec);
    spec_json_print(&json, &lasting);
    row_u64(&row, job->id.v);
    row_text(&row, buf_text(&command));
    row_bytes(&row, &spec);
    row_text(&row, buf_text(&json));
    return row_end(&row, err);
}

static int put_limit(struct store_rows *rows, const struct job *job, uint32_t shape,
                     const struct resources *limit, struct err *err)
{
    struct limit_row row = {job->id, shape, *limit};
    return put(rows, WRITER_LIMIT, &row, err);
}

static int put_shapes(struct store_rows *rows, const struct job *job, struct err *err)
{
    int rv = 0;
    for (uint32_t i = 1; rv == 0 && i < spec_shape_count(&job->spec); i++)
        rv = put_limit(rows, job, i, spec_shape(&job->spec, i), err);
    return rv;
}

static int put_limits_old(struct store_rows *rows, const struct job *job, struct err *err)
{
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < job->limit_old_count; i++)
        rv = put_limit(rows, job, SPEC_SHAPES_MAX + i, &job->limits_old[i], err);
    return rv;
}

static int put_job(struct store_rows *rows, const struct job *job, struct err *err)
{
    int rv = put(rows, WRITER_JOB_UPDATE, job, err);
    bool is_new = rv == 0 && sqlite3_changes(rows->db) == 0;
    if (is_new)
        rv = put(rows, WRITER_JOB_INSERT, job, err);
    if (rv == 0 && is_new)
        rv = put_spec(rows, job, err);
    if (rv == 0 && is_new)
        rv = put_shapes(rows, job, err);
    return rv != 0 ? rv : put_limits_old(rows, job, err);
}

static int put_masters(struct store_rows *rows, const struct masters *masters, struct err *err)
{
    if (rows->names_known && masters_same(masters, &rows->masters_written))
        return 0;
    int rv = run(rows, STATEMENT_REPLICAS_CLEAR, err);
    for (uint32_t i = 0; rv == 0 && i < masters->count; i++)
        rv = put(rows, WRITER_REPLICA, &masters->rows[i], err);
    rows->masters_written = *masters;
    return rv;
}

static int put_names(struct store_rows *rows, const struct resource_names *names, struct err *err)
{
    if (rows->names_known && memcmp(names, &rows->names_written, sizeof *names) == 0)
        return 0;
    int rv = run(rows, STATEMENT_NAMES_CLEAR, err);
    for (int i = 0; rv == 0 && i < RESOURCES_NAMED_MAX; i++) {
        if (names->text[i][0] == '\0')
            continue;
        struct row row = row_begin(rows, STATEMENT_NAME_PUT);
        row_int(&row, i + 1);
        row_text(&row, names->text[i]);
        rv = row_end(&row, err);
    }
    rows->names_written = *names;
    rows->names_known = rv == 0;
    return rv;
}

static int put_quotas(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = run(rows, STATEMENT_QUOTAS_CLEAR, err);
    for (size_t i = 0; rv == 0 && i < delta->quota_count; i++)
        rv = put(rows, WRITER_QUOTA, &delta->quotas[i], err);
    return rv;
}

static int put_identities(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = run(rows, STATEMENT_IDENTITIES_CLEAR, err);
    for (size_t i = 0; rv == 0 && i < delta->identity_count; i++)
        rv = put(rows, WRITER_IDENTITY, &delta->identities[i], err);
    return rv;
}

static int forget_job(struct store_rows *rows, uint64_t id, struct err *err)
{
    static const enum store_statement statements[] = {STATEMENT_TASKS_FORGET, STATEMENT_SPEC_FORGET,
                                                      STATEMENT_LIMITS_FORGET,
                                                      STATEMENT_JOB_FORGET};
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        struct row row = row_begin(rows, statements[i]);
        row_u64(&row, id);
        int rv = row_end(&row, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

int store_rows_put_event(struct store_rows *rows, const struct event *event, struct err *err)
{
    return put(rows, WRITER_EVENT, event, err);
}

static int put_history(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < delta->event_count; i++)
        rv = put(rows, WRITER_EVENT, &delta->events[i], err);
    for (size_t i = 0; rv == 0 && i < delta->request_count; i++)
        rv = put(rows, WRITER_REQUEST, &delta->requests[i], err);
    for (size_t i = 0; rv == 0 && i < delta->forgotten_count; i++)
        rv = forget_job(rows, delta->forgotten[i], err);
    if (rv != 0 || delta->event_count == 0 || delta->event_seq <= CELL_EVENTS_MAX)
        return rv;
    struct row row = row_begin(rows, STATEMENT_EVENTS_PRUNE);
    row_u64(&row, delta->event_seq - CELL_EVENTS_MAX);
    return row_end(&row, err);
}

void store_digest_text(uint64_t digest, char *to)
{
    snprintf(to, STORE_DIGEST_BYTES, "%016" PRIx64, digest);
}

static int put_meta(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    char digest[STORE_DIGEST_BYTES];
    struct row row = row_begin(rows, STATEMENT_META_PUT);
    store_digest_text(delta->digest, digest);
    row_u64(&row, delta->index);
    row_u64(&row, delta->term);
    row_u64(&row, delta->now_ms);
    row_u64(&row, delta->event_seq);
    row_u64(&row, delta->next_job);
    row_u64(&row, delta->request_seq);
    row_text(&row, digest);
    row_text(&row, policy_text(delta->settings.policy));
    row_text(&row, hold_text(delta->settings.hold));
    row_u64(&row, delta->stored_index);
    row_text(&row, rows->identity);
    row_u64(&row, delta->settings.masters.next_id);
    row_int(&row, delta->settings.format);
    return row_end(&row, err);
}

int store_rows_put(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = put_masters(rows, &delta->settings.masters, err);
    if (rv == 0)
        rv = put_names(rows, &delta->resource_names, err);
    ASSERT(!delta->full);
    for (size_t i = 0; rv == 0 && i < delta->machine_count; i++)
        rv = put_machine(rows, &delta->machines[i], err);
    for (size_t i = 0; rv == 0 && i < delta->job_count; i++)
        rv = put_job(rows, &delta->jobs[i], err);
    for (size_t i = 0; rv == 0 && i < delta->task_count; i++)
        rv = put(rows, WRITER_TASK, &delta->tasks[i], err);
    if (rv == 0 && delta->has_quotas)
        rv = put_quotas(rows, delta, err);
    if (rv == 0 && delta->has_identities)
        rv = put_identities(rows, delta, err);
    if (rv == 0)
        rv = put_history(rows, delta, err);
    return rv != 0 || delta->more ? rv : put_meta(rows, delta, err);
}

size_t store_rows_of(const struct delta *delta)
{
    return 1 + delta->machine_count + delta->job_count + delta->task_count + delta->event_count +
           delta->request_count + delta->forgotten_count + delta->quota_count +
           delta->identity_count;
}

int store_rows_begin(struct store_rows *rows, struct err *err)
{
    return run(rows, STATEMENT_BEGIN, err);
}

int store_rows_commit(struct store_rows *rows, struct err *err)
{
    return run(rows, STATEMENT_COMMIT, err);
}

static int execute(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : store_sqlite_err(db, "cannot set up the database", err);
}

/* A new file gets the schema; an old one must have one that becomes this program's. */
static int schema_ready(sqlite3 *db, struct err *err)
{
    struct buf schema CLEANUP(buf_release) = {0};
    int64_t application, version, tables;
    int rv;
    store_schema_text(&schema, CELL_FORMAT);
    if ((rv = store_number(db, "PRAGMA application_id", &application, err)) != 0 ||
        (rv = store_number(db, "PRAGMA user_version", &version, err)) != 0 ||
        (rv = store_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err)) != 0)
        return rv;
    if (application == 0 && version == 0 && tables == 0) {
        struct buf sql CLEANUP(buf_release) = {0};
        buf_printf(&sql, "BEGIN IMMEDIATE;\n%s\nCOMMIT;", buf_text(&schema));
        return execute(db, buf_text(&sql), err);
    }
    if (application != STORE_APPLICATION_ID)
        return err_set(err, ERR_CORRUPT, "it is not the database of a cell");
    if (version != STORE_SCHEMA)
        return err_set(err, ERR_STATE,
                       "its schema is version %" PRId64 ", this borgmaster knows %d: start the "
                       "version that wrote it, or move the file away to have it filled again from "
                       "the other replicas",
                       version, STORE_SCHEMA);
    rv = store_schema_check(db, NULL, err);
    rv = rv != 0 ? rv : store_format_check(db, err);
    return rv != 0 ? rv : store_schema_upgrade(db, buf_text(&schema), err);
}

/* Files of cells that were made anew under the same path, or copied, must not be mixed up. */
int store_rows_identity_check(const struct store_rows *rows, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(rows->db, "SELECT cell FROM meta", -1, &statement, NULL);
    rc = rc == SQLITE_OK ? sqlite3_step(statement) : rc;
    int rv = 0;
    if (rc == SQLITE_ROW) {
        const char *cell = (const char *)sqlite3_column_text(statement, 0);
        if (cell == NULL || (cell[0] != '\0' && strcmp(cell, rows->identity) != 0))
            rv = err_set(err, ERR_CORRUPT, "it is of another cell: its name or CA differ");
    } else if (rc != SQLITE_DONE) { /* without a row: for store_load() to refuse */
        rv = store_sqlite_err(rows->db, "cannot read the database", err);
    }
    sqlite3_finalize(statement);
    return rv;
}

int store_rows_open(struct store_rows *rows, const char *path, uint64_t identity, struct err *err)
{
    *rows = (struct store_rows){0};
    store_digest_text(identity, rows->identity);
    store_vfs_register();
    if (store_file_check(path, err) != 0)
        return -(int)err->code;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &rows->db, flags, NULL) != SQLITE_OK)
        return store_sqlite_err(rows->db, "cannot open the database", err);
    sqlite3_extended_result_codes(rows->db, 1);
    sqlite3_busy_timeout(rows->db, 5000);
    sqlite3_db_config(rows->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int rv = store_vfs_prepare(rows->db, err);
    if (rv == 0)
        rv = execute(rows->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                     "PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;"
                     "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
                     "PRAGMA cache_size = -65536; PRAGMA cache_spill = OFF;", /* see store_vfs.c */
                     err);
    if (rv == 0)
        rv = schema_ready(rows->db, err);
    for (int i = 0; rv == 0 && i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(rows->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &rows->statements[i], NULL) != SQLITE_OK)
            rv = store_sqlite_err(rows->db, "cannot prepare the database", err);
    for (int i = 0; rv == 0 && i < WRITER_COUNT; i++)
        rv = sql_writer_open(&rows->writers[i], rows->db, writers[i].table, writers[i].verb,
                             CELL_FORMAT, err);
    return rv;
}

void store_rows_close(struct store_rows *rows)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(rows->statements[i]);
    for (int i = 0; i < WRITER_COUNT; i++)
        sql_writer_close(&rows->writers[i]);
    sqlite3_close(rows->db);
    free(rows->attributes_written);
    *rows = (struct store_rows){0};
}
