/*
 * store_sql.c - columns, statements, and rows from and to structs.
 *
 * Columns are found once for a statement; writing a row walks over them and allocates nothing, but
 * for JSON that is longer than any before.
 */
#include "store_sql.h"

#include "store_impl.h"
#include "task.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_WIDTH = 100 }; /* of a line of the schema */

static struct sql_column *column_add(struct sql_columns *to)
{
    to->items = xrealloc(to->items, to->count + 1, sizeof *to->items);
    to->items[to->count] = (struct sql_column){0};
    return &to->items[to->count++];
}

/* Where a walk over the fields of a table is. */
struct place {
    char prefix[64];
    uint32_t base;
    uint16_t flags;
    unsigned since;
    const char *doc; /* of the struct around: for its first column */
};

static void field_columns(struct sql_columns *to, const struct field *field, struct place at)
{
    bool is_task = field->form == FORM_TASK;
    ASSERT(field->type != FIELD_BYTES); /* bytes have no form in SQL */
    for (int part = 0; part < (is_task ? 2 : 1); part++) {
        struct sql_column *column = column_add(to);
        const char *name = !is_task ? "" : part == 0 ? "job_id" : "idx";
        const char *dash = is_task && field->name[0] != '\0' ? "_" : "";
        int n = snprintf(column->name, sizeof column->name, "%s%s%s%s", at.prefix, field->name,
                         dash, name);
        ASSERT(n > 0 && (size_t)n < sizeof column->name);
        column->field = field;
        column->base = at.base;
        column->flags = (uint16_t)(at.flags | field->flags);
        column->since = (uint8_t)at.since;
        column->is_index = part == 1;
        column->is_integer =
            field_is_number(field) && field->type != FIELD_ENUM && !sql_is_json(field);
        if (!is_task || part == 1)
            column->doc = field->doc != NULL ? field->doc : at.doc;
    }
}

/* Add the columns that exactly this format introduced. */
static void record_columns(struct sql_columns *to, const struct record *record,
                           const struct place *at, unsigned format)
{
    struct place inner = *at;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if ((field->flags & FIELD_NO_SQL) != 0)
            continue;
        inner.since = MAX(MAX(at->since, (unsigned)field->since), 1U);
        if (field->type != FIELD_RECORD) {
            if (inner.since == format)
                field_columns(to, field, inner);
            inner.doc = NULL;
            continue;
        }
        struct place next = inner;
        bool is_flat = (field->flags & FIELD_FLAT) != 0;
        snprintf(next.prefix, sizeof next.prefix, "%s%s%s", at->prefix, is_flat ? "" : field->name,
                 is_flat ? "" : "_");
        next.base = at->base + field->offset;
        next.flags = (uint16_t)(at->flags | (field->flags & (FIELD_DERIVED | FIELD_KEY)));
        next.doc = field->doc;
        record_columns(to, field->record, &next, format);
    }
}

struct sql_columns sql_columns_of(const struct sql_table *table, unsigned format)
{
    struct sql_columns columns = {0};
    struct place top = {.since = 1};
    for (unsigned f = 1; f <= format; f++) {
        record_columns(&columns, table->record, &top, f);
        for (uint32_t i = 0; i < table->extra_count; i++) {
            const struct sql_extra *extra = &table->extras[i];
            if (MAX(extra->since, 1) != f)
                continue;
            struct sql_column *column = column_add(&columns);
            str_copy(column->name, sizeof column->name, extra->name);
            column->extra = extra;
            column->doc = extra->doc;
            column->flags = FIELD_DERIVED;
            column->is_integer = extra->number != NULL;
            column->since = (uint8_t)f;
        }
    }
    return columns;
}

void sql_columns_release(struct sql_columns *columns)
{
    free(columns->items);
    *columns = (struct sql_columns){0};
}

static bool is_key(const struct sql_table *table, const struct sql_column *column)
{
    return table->key != NULL ? strcmp(table->key, column->name) == 0
                              : (column->flags & FIELD_KEY) != 0;
}

static bool is_json(const struct sql_column *column)
{
    return column->field != NULL && sql_is_json(column->field);
}

static bool may_be_null(const struct sql_column *column)
{
    return column->field != NULL && (column->flags & FIELD_NULLABLE) != 0;
}

/* The initial value, as SQL. */
static void default_text(struct buf *to, const struct sql_column *column)
{
    const struct field *field = column->field;
    if (may_be_null(column))
        buf_printf(to, "NULL");
    else if (column->is_integer)
        buf_printf(to, "%" PRId64,
                   field == NULL ? 0
                                 : field->initial + ((field->flags & FIELD_FROM_ONE) != 0 ? 1 : 0));
    else if (is_json(column))
        buf_printf(to, field->type == FIELD_WORDS && field->form == FORM_MAP ? "'{}'" : "'[]'");
    else if (field != NULL && field->type == FIELD_ENUM)
        buf_printf(to, "'%s'", enumeration_text(field->choices, (unsigned)field->initial));
    else
        buf_printf(to, "''");
}

static void pad(struct buf *to, size_t since, size_t width)
{
    while (to->size < since + width)
        buf_append(to, " ", 1);
}

/* Words of `doc` as comments behind what the line already has, and below. */
static void doc_text(struct buf *to, const char *doc, size_t line_begin)
{
    size_t column = to->size - line_begin;
    if (doc == NULL)
        return;
    buf_printf(to, " --");
    while (*doc != '\0') {
        size_t length = strcspn(doc, " \n");
        if (to->size - line_begin + 1 + length > TEXT_WIDTH) {
            buf_printf(to, "\n");
            line_begin = to->size;
            pad(to, line_begin, column);
            buf_printf(to, " --");
        }
        buf_printf(to, " %.*s", (int)length, doc);
        doc += length + strspn(doc + length, " \n");
    }
}

static void comment_text(struct buf *to, const char *doc)
{
    while (doc != NULL && *doc != '\0') {
        size_t length = strcspn(doc, "\n");
        buf_printf(to, "--%s%.*s\n", length > 0 ? " " : "", (int)length, doc);
        doc += length + (doc[length] == '\n');
    }
}

static void keys_text(struct buf *to, const struct sql_table *table,
                      const struct sql_columns *columns)
{
    const char *before = "";
    for (uint32_t i = 0; i < columns->count; i++) {
        if (!is_key(table, &columns->items[i]))
            continue;
        buf_printf(to, "%s%s", before, columns->items[i].name);
        before = ", ";
    }
}

/* One integer that is the key is SQLite's own number of the row. */
static bool has_integer_key(const struct sql_table *table, const struct sql_columns *columns)
{
    uint32_t keys = 0, integers = 0;
    for (uint32_t i = 0; i < columns->count; i++) {
        keys += is_key(table, &columns->items[i]);
        integers += is_key(table, &columns->items[i]) && columns->items[i].is_integer;
    }
    ASSERT(keys > 0);
    return keys == 1 && integers == 1;
}

void sql_create_text(struct buf *to, const struct sql_table *table, unsigned format)
{
    struct sql_columns CLEANUP(sql_columns_release) columns = sql_columns_of(table, format);
    bool integer_key = has_integer_key(table, &columns);
    size_t width = 0;
    for (uint32_t i = 0; i < columns.count; i++)
        width = MAX(width, strlen(columns.items[i].name));
    comment_text(to, table->doc);
    buf_printf(to, "CREATE TABLE %s (\n", table->name);
    for (uint32_t i = 0; i < columns.count; i++) {
        const struct sql_column *column = &columns.items[i];
        size_t line = to->size;
        bool key = is_key(table, column);
        buf_printf(to, "    %s", column->name);
        pad(to, line, 4 + width + 1);
        buf_printf(to, column->is_integer ? "INTEGER" : "TEXT");
        if (key && integer_key)
            buf_printf(to, " PRIMARY KEY");
        else if (!may_be_null(column))
            buf_printf(to, "%s NOT NULL", column->is_integer ? "" : "   ");
        if (column->since > 1 && !may_be_null(column)) {
            buf_printf(to, " DEFAULT ");
            default_text(to, column);
        }
        bool is_last = i + 1 == columns.count && integer_key;
        buf_printf(to, !is_last ? "," : column->doc != NULL ? " " : "");
        doc_text(to, column->doc, line);
        buf_printf(to, "\n");
    }
    if (!integer_key) {
        buf_printf(to, "    PRIMARY KEY (");
        keys_text(to, table, &columns);
        buf_printf(to, ")\n");
    }
    buf_printf(to, ")%s;\n", integer_key ? "" : " WITHOUT ROWID");
}

static void insert_text(struct buf *to, const struct sql_table *table,
                        const struct sql_columns *columns)
{
    buf_printf(to, "INTO %s (", table->name);
    for (uint32_t i = 0; i < columns->count; i++)
        buf_printf(to, "%s%s", i == 0 ? "" : ", ", columns->items[i].name);
    buf_printf(to, ") VALUES (");
    for (uint32_t i = 0; i < columns->count; i++)
        buf_printf(to, "%s:%s", i == 0 ? "" : ", ", columns->items[i].name);
    buf_printf(to, ")");
}

/* "a = :a, b = :b" of what is no key. */
static void set_text(struct buf *to, const struct sql_table *table,
                     const struct sql_columns *columns, enum sql_verb verb)
{
    const char *before = "";
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct sql_column *column = &columns->items[i];
        bool is_once = table->once != NULL && strcmp(table->once, column->name) == 0;
        if (is_key(table, column) || (verb == SQL_UPDATE && is_once))
            continue;
        buf_printf(to, "%s%s = ", before, column->name);
        if (verb == SQL_UPSERT)
            buf_printf(to, "excluded.%s", column->name);
        else
            buf_printf(to, ":%s", column->name);
        before = ", ";
    }
}

void sql_write_text(struct buf *to, const struct sql_table *table, enum sql_verb verb,
                    unsigned format)
{
    struct sql_columns CLEANUP(sql_columns_release) columns = sql_columns_of(table, format);
    if (verb == SQL_UPDATE) {
        const char *before = " WHERE";
        buf_printf(to, "UPDATE %s SET ", table->name);
        set_text(to, table, &columns, verb);
        for (uint32_t i = 0; i < columns.count; i++) {
            if (!is_key(table, &columns.items[i]))
                continue;
            buf_printf(to, "%s %s = :%s", before, columns.items[i].name, columns.items[i].name);
            before = " AND";
        }
        return;
    }
    buf_printf(to, verb == SQL_REPLACE ? "INSERT OR REPLACE " : "INSERT ");
    insert_text(to, table, &columns);
    if (verb != SQL_UPSERT)
        return;
    buf_printf(to, " ON CONFLICT (");
    keys_text(to, table, &columns);
    buf_printf(to, ") DO UPDATE SET ");
    set_text(to, table, &columns, verb);
}

int sql_writer_open(struct sql_writer *writer, sqlite3 *db, const struct sql_table *table,
                    enum sql_verb verb, unsigned format, struct err *err)
{
    struct buf sql CLEANUP(buf_release) = {0};
    *writer = (struct sql_writer){.columns = sql_columns_of(table, format)};
    sql_write_text(&sql, table, verb, format);
    if (sqlite3_prepare_v3(db, buf_text(&sql), -1, SQLITE_PREPARE_PERSISTENT, &writer->statement,
                           NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot prepare the database", err);
    writer->parameters = xcalloc(writer->columns.count, sizeof *writer->parameters);
    writer->json = xcalloc(writer->columns.count, sizeof *writer->json);
    for (uint32_t i = 0; i < writer->columns.count; i++) {
        char name[80];
        snprintf(name, sizeof name, ":%s", writer->columns.items[i].name);
        writer->parameters[i] = sqlite3_bind_parameter_index(writer->statement, name);
    }
    return 0;
}

void sql_writer_close(struct sql_writer *writer)
{
    sqlite3_finalize(writer->statement);
    for (uint32_t i = 0; writer->json != NULL && i < writer->columns.count; i++)
        buf_release(&writer->json[i]);
    free(writer->json);
    free(writer->parameters);
    sql_columns_release(&writer->columns);
    *writer = (struct sql_writer){0};
}

static int bind_text(sqlite3_stmt *to, int at, const char *text)
{
    return sqlite3_bind_text(to, at, text, -1, SQLITE_STATIC);
}

static int bind_number(sqlite3_stmt *to, int at, const struct sql_column *column, const void *item)
{
    const struct field *field = column->field;
    uint64_t value = field_number(field, item);
    if ((column->flags & FIELD_NULLABLE) != 0 && value == (uint64_t)field->initial)
        return sqlite3_bind_null(to, at);
    if (field->form == FORM_TASK) {
        task_id task = {value};
        value = column->is_index ? task_index(task) : task_job(task).v;
    }
    return sqlite3_bind_int64(to, at,
                              (int64_t)value + ((field->flags & FIELD_FROM_ONE) != 0 ? 1 : 0));
}

static int bind_json(sqlite3_stmt *to, int at, const struct sql_column *column, const void *item,
                     struct buf *text)
{
    const struct field *field = column->field;
    if (field_is_initial(field, item))
        return bind_text(to, at,
                         field->type == FIELD_WORDS && field->form == FORM_MAP ? "{}" : "[]");
    buf_clear(text);
    sql_json_print(text, field, item);
    return sqlite3_bind_text(to, at, buf_text(text), (int)text->size, SQLITE_STATIC);
}

static int column_bind(struct sql_writer *writer, uint32_t i, const void *row)
{
    const struct sql_column *column = &writer->columns.items[i];
    const struct field *field = column->field;
    const void *item = (const char *)row + column->base;
    sqlite3_stmt *to = writer->statement;
    int at = writer->parameters[i];
    if (at == 0)
        return SQLITE_OK;
    if (field == NULL)
        return column->extra->number != NULL
                   ? sqlite3_bind_int64(to, at, column->extra->number(row))
                   : bind_text(to, at, column->extra->text(row));
    if (sql_is_json(field))
        return bind_json(to, at, column, item, &writer->json[i]);
    if (field->type == FIELD_ENUM)
        return bind_text(to, at,
                         enumeration_text(field->choices, (unsigned)field_number(field, item)));
    if (field_is_number(field))
        return bind_number(to, at, column, item);
    const char *text = field_text(field, item);
    return text[0] == '\0' && (column->flags & FIELD_NULLABLE) != 0 ? sqlite3_bind_null(to, at)
                                                                    : bind_text(to, at, text);
}

int sql_write(struct sql_writer *writer, const void *item, struct err *err)
{
    for (uint32_t i = 0; i < writer->columns.count; i++) {
        int rc = column_bind(writer, i, item);
        ASSERT(rc == SQLITE_OK); /* it fails for a wrong number of a parameter only */
    }
    int rc = sqlite3_step(writer->statement);
    int rv = rc == SQLITE_DONE ? 0
                               : store_sqlite_err(sqlite3_db_handle(writer->statement),
                                                  "cannot write the database", err);
    sqlite3_reset(writer->statement);
    return rv;
}

static void select_text(struct buf *to, sqlite3 *db, const struct sql_reader *reader,
                        const char *more, const char *tail)
{
    const char *table = reader->table->name;
    buf_printf(to, "SELECT ");
    for (uint32_t i = 0; i < reader->columns.count; i++) {
        const struct sql_column *column = &reader->columns.items[i];
        bool is_missing = column->since > 1 &&
                          sqlite3_table_column_metadata(db, "main", table, column->name, NULL, NULL,
                                                        NULL, NULL, NULL) != SQLITE_OK;
        buf_printf(to, "%s", i == 0 ? "" : ", ");
        if (is_missing)
            default_text(to, column);
        else
            buf_printf(to, "%s.%s", table, column->name);
    }
    buf_printf(to, "%s FROM %s %s", more, table, tail);
}

int sql_reader_open(struct sql_reader *reader, sqlite3 *db, const struct sql_table *table,
                    const char *more, const char *tail, struct err *err)
{
    struct buf sql CLEANUP(buf_release) = {0};
    struct sql_columns CLEANUP(sql_columns_release) all = sql_columns_of(table, CELL_FORMAT);
    *reader = (struct sql_reader){.table = table};
    for (uint32_t i = 0; i < all.count; i++)
        if ((all.items[i].flags & FIELD_DERIVED) == 0)
            *column_add(&reader->columns) = all.items[i];
    select_text(&sql, db, reader, more, tail);
    if (sqlite3_prepare_v2(db, buf_text(&sql), -1, &reader->statement, NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot read the database", err);
    reader->initial = xcalloc(1, table->record->size);
    record_init(table->record, reader->initial);
    return 0;
}

void sql_reader_close(struct sql_reader *reader)
{
    sqlite3_finalize(reader->statement);
    sql_columns_release(&reader->columns);
    free(reader->initial);
    *reader = (struct sql_reader){0};
}

static int no(const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s", what);
}

/* The part of a task_id that stands in column `at`; that of the job comes first. */
static int task_take(struct sql_reader *reader, int at, const struct sql_column *column, void *item,
                     int64_t value, struct err *err)
{
    uint64_t before = column->is_index ? field_number(column->field, item) : 0;
    bool has_job =
        !column->is_index || sqlite3_column_type(reader->statement, at - 1) != SQLITE_NULL;
    uint64_t max = column->is_index ? CELL_TASKS_PER_JOB_MAX - 1 : UINT64_MAX >> TASK_INDEX_BITS;
    if (value < 0 || (uint64_t)value > max)
        return no("the number is out of range", err);
    if (!has_job)
        return no("an index without a job", err);
    field_set_number(column->field, item,
                     column->is_index ? before | (uint64_t)value
                                      : (uint64_t)value << TASK_INDEX_BITS);
    if ((column->flags & FIELD_NULLABLE) != 0 && value == 0 && !column->is_index)
        return no("it is 0 where NULL belongs", err);
    return 0;
}

static int null_take(struct sql_reader *reader, int at, const struct sql_column *column,
                     struct err *err)
{
    if ((column->flags & FIELD_NULLABLE) == 0)
        return no("it is NULL", err);
    if (column->is_index && sqlite3_column_type(reader->statement, at - 1) != SQLITE_NULL)
        return no("a job without an index", err);
    return 0; /* initial already */
}

static int number_take(struct sql_reader *reader, int at, const struct sql_column *column,
                       void *item, struct err *err)
{
    const struct field *field = column->field;
    int64_t value = sqlite3_column_int64(reader->statement, at);
    if (field->form == FORM_TASK)
        return task_take(reader, at, column, item, value, err);
    if ((field->flags & FIELD_FROM_ONE) != 0 && value-- < 1)
        return no("it is less than 1", err);
    if (!sql_number_fits(field, value))
        return no("the number is out of range", err);
    if ((column->flags & FIELD_NULLABLE) != 0 && value == field->initial)
        return no("it is a number where NULL belongs", err);
    field_set_number(field, item, (uint64_t)value);
    return 0;
}

static int text_take(struct sql_reader *reader, int at, const struct sql_column *column, void *item,
                     struct err *err)
{
    const struct field *field = column->field;
    const char *text = (const char *)sqlite3_column_text(reader->statement, at);
    size_t size = (size_t)sqlite3_column_bytes(reader->statement, at);
    if (text == NULL || strlen(text) != size)
        return no("it is no text", err);
    if (sql_is_json(field))
        return sql_json_take(field, item, text, size, err);
    if (field->type == FIELD_ENUM) {
        int value = enumeration_parse(field->choices, text);
        if (value < 0)
            return err_set(err, ERR_CORRUPT, "it is no %s", field->choices->name);
        field_set_number(field, item, (uint64_t)value);
        return 0;
    }
    if (size > (uint64_t)field->max)
        return no("the text is too long", err);
    if (size == 0 && (column->flags & FIELD_NULLABLE) != 0)
        return no("it is empty where NULL belongs", err);
    if (field->type == FIELD_TEXT)
        str_copy((char *)item + field->offset, field->size, text);
    else if (size > 0)
        *(char **)(void *)((char *)item + field->offset) = xstrdup(text);
    return 0;
}

static int value_take(struct sql_reader *reader, int at, void *item, struct err *err)
{
    const struct sql_column *column = &reader->columns.items[at];
    void *in = (char *)item + column->base;
    int type = sqlite3_column_type(reader->statement, at);
    if (type == SQLITE_NULL)
        return null_take(reader, at, column, err);
    if (type != (column->is_integer ? SQLITE_INTEGER : SQLITE_TEXT))
        return no(column->is_integer ? "it is no number" : "it is no text", err);
    return column->is_integer ? number_take(reader, at, column, in, err)
                              : text_take(reader, at, column, in, err);
}

/* Which row it is: its key. Bytes that a terminal would not take for text are left out. */
static void row_name(const struct sql_reader *reader, char *to, size_t size)
{
    size_t at = 0;
    for (uint32_t i = 0; i < reader->columns.count; i++) {
        if ((reader->columns.items[i].flags & FIELD_KEY) == 0)
            continue;
        const char *text = (const char *)sqlite3_column_text(reader->statement, (int)i);
        if (at > 0 && at + 1 < size)
            to[at++] = '/';
        for (; text != NULL && *text != '\0' && at + 1 < size; text++)
            if (*text > 0x20 && *text < 0x7f)
                to[at++] = *text;
    }
    to[at] = '\0';
}

int sql_read(struct sql_reader *reader, void *item, struct err *err)
{
    const struct record *record = reader->table->record;
    int rc = sqlite3_step(reader->statement);
    if (rc == SQLITE_DONE)
        return 0;
    if (rc != SQLITE_ROW)
        return store_sqlite_err(sqlite3_db_handle(reader->statement), "cannot read the database",
                                err);
    memcpy(item, reader->initial, record->size);
    for (uint32_t i = 0; i < reader->columns.count; i++) {
        int rv = value_take(reader, (int)i, item, err);
        if (rv == 0)
            continue;
        char row[64];
        row_name(reader, row, sizeof row);
        record_release(record, item);
        return err_wrap(err, "table %s, row %s, column %s", reader->table->name, row,
                        reader->columns.items[i].name);
    }
    return 1;
}
