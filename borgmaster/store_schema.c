/*
 * store_schema.c - schemas as lists of tokens.
 *
 * Documentation is rewritten from release to release, so comments and white space do not count. A
 * token here is one for SQLite too as far as our own text goes: what is equal to it by tokens means
 * the same. Whatever else a text has is compared with nothing but the few words that
 * store_schema.h allows.
 */
#include "store_schema.h"

#include "store_impl.h"
#include "store_tables.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 1000 }; /* tables, views and indexes of a schema from elsewhere */

static const char written_schema[] = {
#include "schema_sql.h"
};

void store_schema_text(struct buf *to, unsigned format)
{
    static const char place[] = "-- (tables of records)\n";
    const char *at = strstr(written_schema, place);
    ASSERT(at != NULL);
    buf_append(to, written_schema, (size_t)(at - written_schema));
    for (uint32_t i = 0; i < store_table_count; i++) {
        if (store_tables[i]->since > format)
            continue;
        sql_create_text(to, store_tables[i], format);
        buf_printf(to, "\n");
    }
    buf_printf(to, "%s", at + strlen(place) + 1);
}

/* A text, and how far it is read. */
struct tokens {
    const char *at;
    const char *token; /* the last one; not terminated */
    size_t size;       /* 0: there is none */
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (c & 0x80) != 0;
}

/* Behind white space and comments. */
static const char *space_skip(const char *at)
{
    for (;;) {
        at += strspn(at, " \t\n\f\r");
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*' && at[2] != '\0') {
            const char *end = strstr(at + 2, "*/");
            at = end == NULL ? at + strlen(at) : end + 2;
        } else {
            return at;
        }
    }
}

static void token_next(struct tokens *t)
{
    t->at = t->token = space_skip(t->at);
    if (is_word(*t->at)) {
        while (is_word(*t->at))
            t->at++;
    } else if (*t->at == '\'') {
        do {
            t->at++;
            t->at += strcspn(t->at, "'");
            t->at += *t->at == '\'';
        } while (*t->at == '\'');
    } else if (*t->at != '\0') {
        t->at++;
    }
    t->size = (size_t)(t->at - t->token);
}

static struct tokens tokens_of(const char *text)
{
    struct tokens t = {.at = text == NULL ? "" : text};
    token_next(&t);
    return t;
}

static bool token_is(const struct tokens *t, const char *text)
{
    return t->size == strlen(text) && memcmp(t->token, text, t->size) == 0;
}

static bool token_same(const struct tokens *a, const struct tokens *b)
{
    return a->size == b->size && memcmp(a->token, b->token, a->size) == 0;
}

/* Is this token `text`? Then go on to the next. */
static bool take(struct tokens *t, const char *text)
{
    if (!token_is(t, text))
        return false;
    token_next(t);
    return true;
}

static bool take_words(struct tokens *t, const char *a, const char *b)
{
    return take(t, a) && take(t, b);
}

/* A plain name: of lower case, as none of the words of SQL in our text. */
static bool take_name(struct tokens *t)
{
    bool right = t->size > 0 && t->size < 64 && *t->token >= 'a' && *t->token <= 'z';
    for (size_t i = 0; right && i < t->size; i++) {
        char c = t->token[i];
        right = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    }
    if (right)
        token_next(t);
    return right;
}

static bool take_literal(struct tokens *t)
{
    if (t->size > 0 && *t->token == '\'') {
        bool ends = t->size > 1 && t->token[t->size - 1] == '\'';
        token_next(t);
        return ends;
    }
    (void)take(t, "-");
    bool digits = t->size > 0 && t->size < 20;
    for (size_t i = 0; digits && i < t->size; i++)
        digits = t->token[i] >= '0' && t->token[i] <= '9';
    if (digits)
        token_next(t);
    return digits;
}

/* "name TYPE [PRIMARY KEY] [NOT NULL] [DEFAULT literal]" */
static bool take_column(struct tokens *t, bool may_be_key)
{
    if (!take_name(t) || !(take(t, "INTEGER") || take(t, "TEXT") || take(t, "BLOB")))
        return false;
    if (may_be_key && token_is(t, "PRIMARY") && !take_words(t, "PRIMARY", "KEY"))
        return false;
    if (token_is(t, "NOT") && !take_words(t, "NOT", "NULL"))
        return false;
    return !take(t, "DEFAULT") || take_literal(t);
}

/* "(name, name)" */
static bool take_names(struct tokens *t)
{
    bool right = take(t, "(") && take_name(t);
    while (right && take(t, ","))
        right = take_name(t);
    return right && take(t, ")");
}

static bool same_tokens(const char *text, const char *other)
{
    struct tokens a = tokens_of(text), b = tokens_of(other);
    while (a.size > 0 && token_same(&a, &b)) {
        token_next(&a);
        token_next(&b);
    }
    return a.size == 0 && b.size == 0;
}

/* Is `text` our table with nothing but further plain columns behind those that it has? */
static bool has_more_columns(const char *text, const char *ours)
{
    struct tokens a = tokens_of(text), b = tokens_of(ours);
    int depth = 0;
    for (;;) {
        struct tokens next = b;
        token_next(&next);
        bool is_end =
            depth == 1 && (token_is(&b, ")") || (token_is(&b, ",") && token_is(&next, "PRIMARY")));
        if (is_end)
            break;
        if (b.size == 0 || !token_same(&a, &b))
            return false;
        depth += token_is(&b, "(") ? 1 : token_is(&b, ")") ? -1 : 0;
        token_next(&a);
        b = next;
    }
    while (token_is(&a, ",")) {
        struct tokens column = a;
        token_next(&column);
        if (token_is(&column, "PRIMARY"))
            break;
        if (!take_column(&column, /* may_be_key= */ false))
            return false;
        a = column;
    }
    while (b.size > 0 && token_same(&a, &b)) {
        token_next(&a);
        token_next(&b);
    }
    return a.size == 0 && b.size == 0;
}

/* Returns true for a table that a later format may have added:
 * "CREATE TABLE name (column, ... [, PRIMARY KEY (name, ...)]) [WITHOUT ROWID]". */
static bool is_plain_table(const char *sql, const char *name)
{
    struct tokens t = tokens_of(sql);
    bool right = take_words(&t, "CREATE", "TABLE") && token_is(&t, name) && take_name(&t) &&
                 strncmp(name, "sqlite_", 7) != 0 && take(&t, "(") && take_column(&t, true);
    while (right && take(&t, ",")) {
        if (token_is(&t, "PRIMARY")) {
            right = take_words(&t, "PRIMARY", "KEY") && take_names(&t);
            break;
        }
        right = take_column(&t, true);
    }
    right = right && take(&t, ")");
    if (right && token_is(&t, "WITHOUT"))
        right = take_words(&t, "WITHOUT", "ROWID");
    return right && t.size == 0;
}

/* "CREATE INDEX name ON table (name, ...) [WHERE name IS NOT NULL]" */
static bool is_plain_index(const char *sql, const char *name, const char *table)
{
    struct tokens t = tokens_of(sql);
    bool right = take_words(&t, "CREATE", "INDEX") && token_is(&t, name) && take_name(&t) &&
                 take(&t, "ON") && token_is(&t, table) && take_name(&t) && take_names(&t);
    if (right && take(&t, "WHERE"))
        right = take_name(&t) && take(&t, "IS") && take_words(&t, "NOT", "NULL");
    return right && t.size == 0;
}

static bool is_view(const char *sql, const char *name)
{
    struct tokens t = tokens_of(sql);
    bool right =
        take_words(&t, "CREATE", "VIEW") && token_is(&t, name) && take_name(&t) && take(&t, "AS");
    for (; right && t.size > 0; token_next(&t))
        right = !token_is(&t, ";");
    return right;
}

static const char *column(sqlite3_stmt *row, int at)
{
    const char *text = (const char *)sqlite3_column_text(row, at);
    return text == NULL ? "" : text;
}

/* The text of an object of a schema, "" for an index that SQLite made itself; NULL: there is no
 * such object. The caller frees. */
static int object_sql(sqlite3 *db, const char *type, const char *name, char **ret, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rv = 0;
    *ret = NULL;
    if (sqlite3_prepare_v2(db,
                           "SELECT coalesce(sql, '') FROM sqlite_schema WHERE type = ? AND "
                           "name = ?",
                           -1, &row, NULL) != SQLITE_OK)
        rv = store_untrusted_err(db, "its schema", err);
    sqlite3_bind_text(row, 1, type, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, name, -1, SQLITE_STATIC);
    int rc = rv == 0 ? sqlite3_step(row) : SQLITE_DONE;
    if (rc == SQLITE_ROW)
        *ret = xstrdup(column(row, 0));
    else if (rc != SQLITE_DONE)
        rv = store_untrusted_err(db, "its schema", err);
    sqlite3_finalize(row);
    return rv;
}

static bool name_is_taken(sqlite3 *ours, const char *name)
{
    sqlite3_stmt *row = NULL;
    bool is_free = sqlite3_prepare_v2(ours, "SELECT 1 FROM sqlite_schema WHERE name = ?", -1, &row,
                                      NULL) == SQLITE_OK &&
                   sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC) == SQLITE_OK &&
                   sqlite3_step(row) == SQLITE_DONE;
    sqlite3_finalize(row);
    return !is_free;
}

static int schema_err(const char *has, const char *type, const char *name, struct err *err)
{
    return err_set(err, ERR_CORRUPT,
                   "its schema is not that of a cell: it has %.80s where \"%s%s%.60s\" belongs",
                   has, type, name[0] == '\0' ? "" : " ", name);
}

/* One object of a schema from elsewhere. `may_be_later`: it need not be one of ours. */
static int object_check(sqlite3_stmt *row, sqlite3 *ours, bool may_be_later, struct err *err)
{
    const char *type = column(row, 0), *name = column(row, 1), *table = column(row, 2);
    const char *sql = column(row, 3);
    CLEANUP(free_ptr) char *our_sql = NULL;
    char what[100];
    bool right = false;
    int rv = object_sql(ours, type, name, &our_sql, err);
    if (rv != 0)
        return rv;
    if (strcmp(type, "table") == 0)
        right = strcmp(name, table) == 0 &&
                (our_sql != NULL
                     ? same_tokens(sql, our_sql) || (may_be_later && has_more_columns(sql, our_sql))
                     : may_be_later && is_plain_table(sql, name) && !name_is_taken(ours, name));
    else if (strcmp(type, "index") == 0)
        right = sql[0] == '\0' ? our_sql != NULL && our_sql[0] == '\0'
                               : is_plain_index(sql, name, table);
    else if (strcmp(type, "view") == 0)
        right = strcmp(name, table) == 0 && is_view(sql, name);
    if (right)
        return 0;
    snprintf(what, sizeof what, "%s %s", type, name);
    return schema_err(what, our_sql == NULL ? "nothing" : type, our_sql == NULL ? "" : name, err);
}

static int tables_are_there(sqlite3 *db, sqlite3 *ours, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(ours, "SELECT name FROM sqlite_schema WHERE type = 'table'", -1, &row,
                           NULL) != SQLITE_OK)
        rv = store_sqlite_err(ours, "our own schema", err);
    while (rv == 0 && sqlite3_step(row) == SQLITE_ROW) {
        CLEANUP(free_ptr) char *sql = NULL;
        rv = object_sql(db, "table", column(row, 0), &sql, err);
        if (rv == 0 && sql == NULL)
            rv = schema_err("nothing", "table", column(row, 0), err);
    }
    sqlite3_finalize(row);
    return rv;
}

static int schemas_compare(sqlite3 *db, sqlite3 *ours, bool may_be_later, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rv = tables_are_there(db, ours, err), rc = SQLITE_DONE;
    if (rv == 0 && sqlite3_prepare_v2(db, "SELECT type, name, tbl_name, sql FROM sqlite_schema", -1,
                                      &row, NULL) != SQLITE_OK)
        rv = store_untrusted_err(db, "its schema", err);
    for (int i = 0; rv == 0 && (rc = sqlite3_step(row)) == SQLITE_ROW; i++)
        rv = i < OBJECTS_MAX
                 ? object_check(row, ours, may_be_later, err)
                 : err_set(err, ERR_CORRUPT, "its schema has more than %d objects", OBJECTS_MAX);
    if (rv == 0 && rc != SQLITE_DONE)
        rv = store_untrusted_err(db, "its schema", err);
    sqlite3_finalize(row);
    return rv;
}

static int schema_open(sqlite3 **ret, const char *schema, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(":memory:", ret, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(*ret, schema, NULL, NULL, NULL) != SQLITE_OK)
        return store_sqlite_err(*ret, "our own schema", err);
    return 0;
}

/* The newest first: that is what most files are. Last, what a later release may have made of it;
 * when that does not fit either, it says why. */
int store_schema_check(sqlite3 *db, sqlite3 **ret_ours, struct err *err)
{
    sqlite3 *ours = NULL;
    int rv = -ERR_CORRUPT;
    for (int format = CELL_FORMAT; rv == -ERR_CORRUPT && format >= (int)CELL_FORMAT_MIN - 1;
         format--) {
        bool is_last = format < (int)CELL_FORMAT_MIN;
        struct buf schema CLEANUP(buf_release) = {0};
        store_schema_text(&schema, is_last ? CELL_FORMAT : (unsigned)format);
        sqlite3_close(ours);
        rv = schema_open(&ours, buf_text(&schema), err);
        rv = rv != 0 ? rv : schemas_compare(db, ours, is_last, err);
    }
    if (ret_ours != NULL)
        *ret_ours = ours;
    else
        sqlite3_close(ours);
    return rv;
}

int store_format_check(sqlite3 *db, struct err *err)
{
    int64_t format;
    int rv = store_number(db, "SELECT coalesce(max(format), 1) FROM meta", &format, err);
    if (rv == 0 && format > CELL_FORMAT)
        rv = err_set(err, ERR_STATE,
                     "the cell has agreed on format %" PRId64 ", this release (" BORG_VERSION
                     ") knows formats up to %d: start a release that knows format %" PRId64,
                     format, CELL_FORMAT, format);
    return rv;
}

static void upgrade_columns(struct buf *to, sqlite3 *db, sqlite3 *ours, const char *table)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(ours,
                           "SELECT name, type, \"notnull\", dflt_value FROM "
                           "pragma_table_info(?)",
                           -1, &row, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_text(row, 1, table, -1, SQLITE_STATIC);
    while (sqlite3_step(row) == SQLITE_ROW) {
        const char *name = column(row, 0), *initial = column(row, 3);
        if (sqlite3_table_column_metadata(db, "main", table, name, NULL, NULL, NULL, NULL, NULL) ==
            SQLITE_OK)
            continue;
        buf_printf(to, "ALTER TABLE %s ADD COLUMN %s %s%s%s%s;\n", table, name, column(row, 1),
                   sqlite3_column_int(row, 2) != 0 ? " NOT NULL" : "",
                   initial[0] != '\0' ? " DEFAULT " : "", initial);
    }
    sqlite3_finalize(row);
}

/* Append DROP statements for views and indexes whose text differs from ours. */
static int upgrade_drops(struct buf *to, sqlite3 *db, sqlite3 *ours, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(db,
                           "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', "
                           "'index') AND sql NOTNULL",
                           -1, &row, NULL) != SQLITE_OK)
        rv = store_untrusted_err(db, "its schema", err);
    while (rv == 0 && sqlite3_step(row) == SQLITE_ROW) {
        CLEANUP(free_ptr) char *our_sql = NULL;
        rv = object_sql(ours, column(row, 0), column(row, 1), &our_sql, err);
        if (rv == 0 && (our_sql == NULL || !same_tokens(our_sql, column(row, 2))))
            buf_printf(to, "DROP %s %s;\n", strcmp(column(row, 0), "view") == 0 ? "VIEW" : "INDEX",
                       column(row, 1));
    }
    sqlite3_finalize(row);
    return rv;
}

/* Append CREATE statements for missing tables, views and indexes, tables first. */
static int upgrade_makes(struct buf *to, sqlite3 *db, sqlite3 *ours, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rv = 0;
    if (sqlite3_prepare_v2(ours,
                           "SELECT type, name, sql FROM sqlite_schema WHERE sql NOTNULL "
                           "ORDER BY type <> 'table', rowid",
                           -1, &row, NULL) != SQLITE_OK)
        rv = store_sqlite_err(ours, "our own schema", err);
    while (rv == 0 && sqlite3_step(row) == SQLITE_ROW) {
        CLEANUP(free_ptr) char *sql = NULL;
        const char *type = column(row, 0), *name = column(row, 1);
        bool is_table = strcmp(type, "table") == 0;
        rv = object_sql(db, type, name, &sql, err);
        if (rv == 0 && (sql == NULL || (!is_table && !same_tokens(sql, column(row, 2)))))
            buf_printf(to, "%s;\n", column(row, 2));
        else if (rv == 0 && is_table)
            upgrade_columns(to, db, ours, name);
    }
    sqlite3_finalize(row);
    return rv;
}

int store_schema_upgrade(sqlite3 *db, const char *schema, struct err *err)
{
    struct buf sql CLEANUP(buf_release) = {0};
    sqlite3 *ours = NULL;
    int rv = schema_open(&ours, schema, err);
    rv = rv != 0 ? rv : upgrade_drops(&sql, db, ours, err);
    rv = rv != 0 ? rv : upgrade_makes(&sql, db, ours, err);
    sqlite3_close(ours);
    if (rv != 0 || sql.size == 0)
        return rv;
    struct buf all CLEANUP(buf_release) = {0};
    buf_printf(&all, "BEGIN IMMEDIATE;\n%s\nCOMMIT;", buf_text(&sql));
    if (sqlite3_exec(db, buf_text(&all), NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    rv = store_sqlite_err(db, "cannot bring its schema up to date", err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rv;
}
