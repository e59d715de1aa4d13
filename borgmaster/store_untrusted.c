/*
 * store_untrusted.c - a database that was written elsewhere, before anything in it is believed.
 *
 * Seals and digest keep out what happens by accident; who writes a file on purpose makes them fit.
 * So, in this order: views and triggers are off, and all work is bounded by the size of the file;
 * the schema is one that we can live with (store_schema.h: no trigger, no view in a table's place,
 * no generated column); pages are sound. Of a file that anybody may have written, besides: indexes
 * have what the tables have, each value has the type and at most the size that its column has. That
 * takes as long again as to load it, on the loop; a snapshot comes from a master of our own, who
 * can have all replicas store what it likes.
 */
#include "store_impl.h"
#include "store_schema.h"

#include <stdio.h>
#include <string.h>

enum {
    OPS_A_LOOK = 10000,      /* of SQLite's machine between two looks at the budget */
    OPS_OF_SCHEMA = 2000000, /* to read ours takes some thousand */
    OPS_AT_LEAST = 50000000,
    OPS_PER_BYTE = 16,                     /* a sound database of any size takes 1 to 3 */
    VALUE_BYTES_MAX = SPEC_BYTES_MAX * 16, /* a spec as JSON; and more than a command, quoted */
};

struct budget {
    uint64_t ops;
};

static int is_over(void *data)
{
    struct budget *budget = data;
    budget->ops -= MIN(budget->ops, (uint64_t)OPS_A_LOOK);
    return budget->ops == 0;
}

int store_untrusted_err(sqlite3 *db, const char *what, struct err *err)
{
    int code = sqlite3_errcode(db) & 0xff;
    if (code == SQLITE_INTERRUPT)
        return err_set(err, ERR_CORRUPT, "%s: it takes more work than its size explains", what);
    if (code == SQLITE_TOOBIG)
        return err_set(err, ERR_CORRUPT, "%s: a value has more than %d bytes", what,
                       VALUE_BYTES_MAX);
    return store_sqlite_err(db, what, err);
}

static void bound(sqlite3 *db)
{
    static const struct {
        int which;
        int on;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        sqlite3_db_config(db, settings[i].which, settings[i].on, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, VALUE_BYTES_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
}

static int pages_check(sqlite3 *db, const char *pragma, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(db, pragma, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        rv = store_untrusted_err(db, "cannot be read", err);
    const char *says = rv == 0 ? (const char *)sqlite3_column_text(statement, 0) : "";
    if (rv == 0 && store_vfs_damage_take())
        rv = err_set(err, ERR_CORRUPT, "a page does not have the checksum it was given");
    else if (rv == 0 && (says == NULL || strcmp(says, "ok") != 0))
        rv = err_set(err, ERR_CORRUPT, "%s", says == NULL ? "no memory to check it" : says);
    sqlite3_finalize(statement);
    return rv;
}

/* Append an SQL condition that holds for values that this column may not have. */
static void condition(struct buf *to, const char *name, const char *type, bool is_key)
{
    bool text = strcmp(type, "TEXT") == 0, blob = strcmp(type, "BLOB") == 0;
    /* NULL where none may be is for integrity_check. */
    buf_printf(to, "%stypeof(%s) NOT IN ('%s'%s)", to->size == 0 ? "" : " OR ", name,
               text   ? "text"
               : blob ? "blob"
                      : "integer",
               is_key ? "" : ", 'null'");
    if (text) /* no NUL inside: for us the text would end there, for queries it would not */
        buf_printf(to, " OR instr(CAST(%s AS BLOB), x'00') > 0", name);
    if (blob)
        buf_printf(to, " OR length(%s) > %d", name, SPEC_BYTES_MAX);
}

static int values_of_table(sqlite3 *ours, sqlite3 *db, const char *table, struct err *err)
{
    struct buf where CLEANUP(buf_release) = {0}, sql CLEANUP(buf_release) = {0};
    sqlite3_stmt *columns = NULL, *wrong = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(ours, "SELECT name, type, pk FROM pragma_table_info(?)", -1, &columns,
                           NULL) != SQLITE_OK)
        return store_sqlite_err(ours, "our own schema", err);
    sqlite3_bind_text(columns, 1, table, -1, SQLITE_STATIC);
    while (sqlite3_step(columns) == SQLITE_ROW)
        condition(&where, (const char *)sqlite3_column_text(columns, 0),
                  (const char *)sqlite3_column_text(columns, 1),
                  sqlite3_column_int(columns, 2) != 0);
    sqlite3_finalize(columns);
    buf_printf(&sql, "SELECT 1 FROM %s WHERE %s LIMIT 1", table, buf_text(&where));
    int rc = sqlite3_prepare_v2(db, buf_text(&sql), -1, &wrong, NULL);
    rc = rc == SQLITE_OK ? sqlite3_step(wrong) : rc;
    if (rc == SQLITE_ROW)
        rv = err_set(err, ERR_CORRUPT, "a row of %s has a value of another type, or too long",
                     table);
    else if (rc != SQLITE_DONE)
        rv = store_untrusted_err(db, table, err);
    sqlite3_finalize(wrong);
    return rv;
}

static int values_check(sqlite3 *ours, sqlite3 *db, struct err *err)
{
    sqlite3_stmt *tables = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(ours, "SELECT name FROM sqlite_schema WHERE type = 'table'", -1, &tables,
                           NULL) != SQLITE_OK)
        rv = store_sqlite_err(ours, "our own schema", err);
    while (rv == 0 && sqlite3_step(tables) == SQLITE_ROW)
        rv = values_of_table(ours, db, (const char *)sqlite3_column_text(tables, 0), err);
    sqlite3_finalize(tables);
    return rv;
}

int store_untrusted_check(sqlite3 *db, size_t size, enum store_origin origin, struct err *err)
{
    sqlite3 *ours = NULL;
    struct budget budget = {OPS_OF_SCHEMA};
    bound(db);
    sqlite3_progress_handler(db, OPS_A_LOOK, is_over, &budget);
    int rv = store_schema_check(db, &ours, err);
    budget.ops = OPS_AT_LEAST + OPS_PER_BYTE * (uint64_t)size;
    if (rv == 0 && sqlite3_exec(db, "PRAGMA cell_size_check = ON", NULL, NULL, NULL) != SQLITE_OK)
        rv = store_untrusted_err(db, "cannot be read", err);
    bool by_anybody = origin == STORE_BY_ANYBODY;
    const char *pragma = by_anybody ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
    rv = rv != 0 ? rv : pages_check(db, pragma, err); /* and with it every checksum */
    if (rv == 0 && by_anybody)
        rv = values_check(ours, db, err);
    rv = rv != 0 ? rv : store_format_check(db, err);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_close(ours);
    return rv;
}
