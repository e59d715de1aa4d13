/*
 * store_load.c - a cell from the rows of a database.
 *
 * The rows are the cell's own, but the disk is not to be trusted: texts that are no state, ids out
 * of order or a digest that does not fit are ERR_CORRUPT, and the cell is empty again.
 */
#include "store_impl.h"

#include "cmd_pack.h"
#include "store_tables.h"

#include <stdlib.h>
#include <string.h>

int store_sqlite_err(sqlite3 *db, const char *what, struct err *err)
{
    const char *msg = db == NULL ? "out of memory" : sqlite3_errmsg(db);
    enum err_code code = ERR_IO;
    if (store_vfs_damage_take())
        return err_set(err, ERR_CORRUPT, "%s: a page does not have the checksum it was given",
                       what);
    switch (db == NULL ? SQLITE_NOMEM : sqlite3_errcode(db) & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    /* Our own statements are right, so it is the tables or rows that are not ours. */
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        code = ERR_CORRUPT;
    }
    /* "disk I/O error" alone would not tell a full disk from a broken one. */
    int error =
        db != NULL && (sqlite3_errcode(db) & 0xff) == SQLITE_IOERR ? sqlite3_system_errno(db) : 0;
    return err_set(err, code, "%s: %s%s%s", what, msg, error != 0 ? ": " : "",
                   error != 0 ? strerror(error) : "");
}

static void statement_release(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

int store_number(sqlite3 *db, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        return store_sqlite_err(db, "cannot read the database", err);
    *ret = sqlite3_column_int64(statement, 0);
    return 0;
}

/* The columns of a row, taken one after the other. */
struct columns {
    sqlite3_stmt *statement;
    int at;
};

static uint64_t take_u64(struct columns *c)
{
    return (uint64_t)sqlite3_column_int64(c->statement, c->at++);
}

static const char *take_text(struct columns *c)
{
    const char *text = (const char *)sqlite3_column_text(c->statement, c->at++);
    return text == NULL ? "" : text;
}

/* The value whose text stands in the column; `of->count` when it is none. */
static unsigned take_enum(struct columns *c, const struct enumeration *of)
{
    int value = enumeration_parse(of, take_text(c));
    return value < 0 ? of->count : (unsigned)value;
}

/* Words "key=value", one a line; a line that is none is for cell_load_machine() to refuse. */
static void take_attributes(struct columns *c, struct words *to)
{
    CLEANUP(free_ptr) char *text = xstrdup(take_text(c));
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            words_add(to, line);
}

static int load_name(struct cell *cell, struct columns *c, struct err *err)
{
    uint64_t slot = take_u64(c);
    const char *name = take_text(c);
    if (slot < 1 || slot > RESOURCES_NAMED_MAX || strlen(name) > RESOURCE_NAME_MAX)
        return err_set(err, ERR_CORRUPT, "resource %" PRIu64 ": its slot or name is none", slot);
    str_copy(cell->resource_names.text[slot - 1], RESOURCE_NAME_MAX + 1, name);
    return resource_names_valid(&cell->resource_names, err) == 0
               ? 0
               : err_set(err, ERR_CORRUPT, "resource %" PRIu64 ": \"%s\" is no name", slot, name);
}

/* Records. The columns behind those of the record are at `c`. */
static int load_machine(struct cell *cell, void *item, struct columns *c, struct err *err)
{
    struct machine *row = item;
    take_attributes(c, &row->attributes);
    return cell_load_machine(cell, row, err);
}

/* The spec is as it was submitted, but for what the row has. */
static int load_job(struct cell *cell, void *item, struct columns *c, struct err *err)
{
    struct job *row = item, whole = *row;
    const void *spec = sqlite3_column_blob(c->statement, c->at);
    int size = sqlite3_column_bytes(c->statement, c->at);
    int rv = spec_unpack(spec, spec == NULL ? 0 : (size_t)size, &whole.spec, err);
    if (rv != 0)
        return err_wrap(err, "job %" PRIu64, row->id.v);
    whole.spec.priority = row->spec.priority;
    whole.spec.replicas = row->spec.replicas;
    for (int r = 0; r < RES_NAMED;
         r++) /* named ones never change, and are numbered as in the spec */
        whole.spec.limit.v[r] = row->spec.limit.v[r];
    rv = cell_load_job(cell, &whole, err);
    spec_release(&whole.spec);
    return rv;
}

static int load_limit_old(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    const struct limit_row *row = item;
    return row->shape < SPEC_SHAPES_MAX /* of the spec, which says it */
               ? 0
               : cell_load_limit_old(cell, row->job, &row->limit, err);
}

static int load_task(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    return cell_load_task(cell, item, err);
}

static int load_quota(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    return cell_load_quota(cell, item, err);
}

static int load_identity(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    return cell_load_identity(cell, item, err);
}

static int load_request(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    const struct request_row *row = item;
    return cell_load_request(cell, row->seq, &row->remembered, err);
}

static int load_master(struct cell *cell, void *item, struct columns *c UNUSED, struct err *err)
{
    struct masters *masters = &cell->settings.masters;
    if (masters->count == MASTER_ROWS_MAX)
        return err_set(err, ERR_CORRUPT, "more than %d replicas", MASTER_ROWS_MAX);
    masters->rows[masters->count++] = *(const struct master *)item;
    return 0;
}

static int load_meta(struct cell *cell, struct columns *c, struct err *err UNUSED)
{
    cell->applied_index = take_u64(c);
    cell->applied_term = take_u64(c);
    cell->now_ms = take_u64(c);
    cell->event_seq = take_u64(c);
    cell->next_job = take_u64(c);
    cell->settings.policy = take_enum(c, &policies);
    cell->settings.hold = take_enum(c, &holds);
    cell->settings.masters.next_id = take_u64(c);
    cell->settings.format = (uint32_t)take_u64(c); /* as store_format_check() allows */
    return 0;
}

static const struct plain_table {
    const char *sql;
    int (*load)(struct cell *cell, struct columns *c, struct err *err);
} plain_tables[] = {
    {"SELECT applied_index, applied_term, now_ms, event_seq, next_job, policy, hold, "
     "next_replica, format FROM meta",
     load_meta},
    {"SELECT slot, name FROM resource_names", load_name},
};

/* In the order that cell.h asks for, after the plain ones. */
static const struct record_table {
    const struct sql_table *table;
    const char *more, *tail;
    int (*load)(struct cell *cell, void *item, struct columns *c, struct err *err);
} record_tables[] = {
    {&replicas_table, "", "ORDER BY id", load_master},
    {&machines_table,
     ", (SELECT group_concat(word, char(10)) FROM (SELECT key || '=' || value AS word "
     "FROM machine_attributes WHERE machine_id = machines.id ORDER BY key))",
     "ORDER BY machines.id", load_machine},
    {&jobs_table, ", s.spec",
     "LEFT JOIN job_specs_private_rows s ON s.job_id = jobs.id ORDER BY jobs.id", load_job},
    {&job_limits_table, "", "ORDER BY job_id, shape", load_limit_old},
    {&tasks_table, "", "ORDER BY job_id, idx", load_task},
    {&quotas_table, "", "", load_quota},
    {&identities_table, "", "ORDER BY identity", load_identity},
    {&requests_table, "", "ORDER BY seq", load_request},
};

static int load_plain_table(sqlite3 *db, const struct plain_table *table, struct cell *cell,
                            struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    int rc = SQLITE_ROW;
    if (sqlite3_prepare_v2(db, table->sql, -1, &statement, NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot read the database", err);
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct columns columns = {statement, 0};
        int rv = table->load(cell, &columns, err);
        if (rv != 0)
            return rv;
    }
    return rc == SQLITE_DONE ? 0 : store_sqlite_err(db, "cannot read the database", err);
}

static int load_record_table(sqlite3 *db, const struct record_table *table, struct cell *cell,
                             struct err *err)
{
    struct sql_reader CLEANUP(sql_reader_close) reader = {0};
    const struct record *record = table->table->record;
    bool owns = record_owns_memory(record); /* rows of tasks do not, and there are many */
    CLEANUP(free_ptr) void *item = xcalloc(1, record->size);
    int rv = sql_reader_open(&reader, db, table->table, table->more, table->tail, err);
    while (rv == 0 && (rv = sql_read(&reader, item, err)) == 1) {
        struct columns more = {reader.statement, (int)reader.columns.count};
        rv = table->load(cell, item, &more, err);
        if (owns)
            record_release(record, item);
    }
    return rv;
}

/* Attributes of no machine would come up as soon as there is one of that number. */
static int attributes_are_of_machines(sqlite3 *db, struct err *err)
{
    int64_t count;
    int rv = store_number(db,
                          "SELECT count(*) FROM machine_attributes "
                          "WHERE machine_id NOT IN (SELECT id FROM machines)",
                          &count, err);
    if (rv != 0 || count == 0)
        return rv;
    return err_set(err, ERR_CORRUPT, "%" PRId64 " attributes are of machines that are not there",
                   count);
}

/* A task that never moved loads the same from no row at all; queries would miss it. */
static int tasks_are_there(sqlite3 *db, struct err *err)
{
    int64_t missing;
    int rv = store_number(db,
                          "SELECT (SELECT coalesce(sum(task_count), 0) FROM jobs) - "
                          "(SELECT count(*) FROM tasks)",
                          &missing, err);
    if (rv != 0 || missing == 0)
        return rv;
    return err_set(err, ERR_CORRUPT, "%" PRId64 " rows of tasks are missing", missing);
}

/* What was loaded must be what was written. */
static int digest_matches(sqlite3 *db, const struct cell *cell, struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    const char *sql = "SELECT digest, request_seq FROM meta";
    char digest[STORE_DIGEST_BYTES];
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot read the database", err);
    if (sqlite3_step(statement) != SQLITE_ROW)
        return err_set(err, ERR_CORRUPT, "it has no row in meta");
    struct columns c = {statement, 0};
    const char *stored = take_text(&c);
    if (stored[0] == '\0' && cell->applied_index == 0)
        return 0; /* nothing was ever written */
    if (take_u64(&c) != cell->request_seq)
        return err_set(err, ERR_CORRUPT, "its last request is missing");
    store_digest_text(cell_digest(cell), digest);
    return strcmp(digest, stored) == 0
               ? 0
               : err_set(err, ERR_CORRUPT,
                         "its rows have the digest %s, at index %" PRIu64 " it was %.16s", digest,
                         cell->applied_index, stored);
}

int store_load(sqlite3 *db, struct cell *cell, struct err *err)
{
    ASSERT(cell->machine_count == 0);
    ASSERT(cell->job_count == 0);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < ARRAY_SIZE(plain_tables); i++)
        rv = load_plain_table(db, &plain_tables[i], cell, err);
    for (size_t i = 0; rv == 0 && i < ARRAY_SIZE(record_tables); i++)
        rv = load_record_table(db, &record_tables[i], cell, err);
    if (rv == 0)
        rv = cell_load_done(cell, err);
    if (rv == 0)
        rv = digest_matches(db, cell, err);
    if (rv == 0)
        rv = tasks_are_there(db, err);
    if (rv == 0)
        rv = attributes_are_of_machines(db, err);
    if (rv != 0)
        cell_clear(cell);
    return rv;
}
