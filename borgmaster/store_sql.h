/*
 * store_sql.h - a table of SQLite from a table of fields (base/record.h): its text, and rows from
 * and to structs.
 *
 *     field                          column
 *     bool, flag                     INTEGER, 0 or 1
 *     number                         INTEGER, a uint64_t as the int64_t of the same bits
 *     enum                           TEXT, the text of the value
 *     char[], char *                 TEXT
 *     words, array, list             TEXT, a JSON list; words with FORM_MAP: a JSON object
 *     struct                         a column for each of its fields, NAME_FIELD
 *     a number with FORM_TASK        NAME_job_id and NAME_idx
 *     a number with FORM_GPUS        TEXT, a JSON list of the bits that are set
 *
 * FIELD_FLAT, FIELD_NULLABLE, FIELD_FROM_ONE, FIELD_DERIVED, FIELD_NO_SQL and FIELD_KEY do what
 * record.h says. Columns stand in the order of the formats that introduced them. A column that a
 * later format than the first introduced has a default: a release that does not know it can insert
 * rows, and a database without it gets it by ALTER TABLE.
 *
 * Equal items make equal rows. Reading refuses whatever writing would not have written, but for
 * white space and the order of names in JSON.
 */
#ifndef BORGMASTER_STORE_SQL_H
#define BORGMASTER_STORE_SQL_H

#include "record.h"

#include <sqlite3.h>

/* A column that is no field of the record, for readers of the database: it is not loaded. Exactly
 * one of text and number is set. */
struct sql_extra {
    const char *name, *doc;
    const char *(*text)(const void *item); /* of a TEXT column; borrowed from the item */
    int64_t (*number)(const void *item);   /* of an INTEGER column */
    uint8_t since;                         /* the format that introduced it; 0 is 1 */
};

struct sql_table {
    const char *name;
    const char *doc; /* for people, over several lines */
    const struct record *record;
    const struct sql_extra *extras;
    uint32_t extra_count;
    const char *key;  /* the column that is the primary key; NULL: the fields with FIELD_KEY */
    const char *once; /* a column that never changes: SQL_UPDATE leaves it alone; NULL: none */
    uint8_t since;    /* the format that introduced the table; 0 is 1 */
};

struct sql_column {
    char name[64];
    const struct field *field;     /* NULL: it is an extra */
    const struct sql_extra *extra; /* NULL: it is of a field */
    const char *doc;               /* NULL: none */
    uint32_t base;                 /* where in the item the struct with the field begins */
    uint16_t flags;                /* of the field, and of the structs around it */
    uint8_t since;                 /* 1 or more */
    bool is_index;                 /* with FORM_TASK: the index, else the job */
    bool is_integer;               /* else it is TEXT */
};
struct sql_columns {
    struct sql_column *items;
    uint32_t count;
};
/* The columns that a release of this format knows. */
struct sql_columns sql_columns_of(const struct sql_table *table, unsigned format);
void sql_columns_release(struct sql_columns *columns);

/* "CREATE TABLE ...;" with the documentation as comments. */
void sql_create_text(struct buf *to, const struct sql_table *table, unsigned format);

enum sql_verb {
    SQL_INSERT,
    SQL_REPLACE, /* a row with the same key is removed first */
    SQL_UPSERT,  /* a row with the same key gets the new values */
    SQL_UPDATE   /* of the row with this key, if there is one */
};
void sql_write_text(struct buf *to, const struct sql_table *table, enum sql_verb verb,
                    unsigned format);

/* A prepared statement that writes items. */
struct sql_writer {
    sqlite3_stmt *statement;
    struct sql_columns columns;
    int *parameters;  /* by column: the number of its parameter, 0: it has none */
    struct buf *json; /* by column: its text, kept from row to row for its memory */
};
int sql_writer_open(struct sql_writer *writer, sqlite3 *db, const struct sql_table *table,
                    enum sql_verb verb, unsigned format, struct err *err) MUST_USE;
void sql_writer_close(struct sql_writer *writer); /* one that is all zero, too */
int sql_write(struct sql_writer *writer, const void *item, struct err *err) MUST_USE;

/* A statement that reads items. Columns that the database does not have yet are as if they had
 * their defaults. */
struct sql_reader {
    const struct sql_table *table;
    sqlite3_stmt *statement;
    struct sql_columns columns; /* those that are loaded, in the order of the statement's */
    void *initial;              /* an item of initial values */
};
/* `more`: further columns, ", x.a, x.b", which follow those of the item; `tail`: what follows the
 * name of the table. Both may be "". */
int sql_reader_open(struct sql_reader *reader, sqlite3 *db, const struct sql_table *table,
                    const char *more, const char *tail, struct err *err) MUST_USE;
void sql_reader_close(struct sql_reader *reader);
/* The next row: 1, and `item`, which was uninitialised, is to be given to record_release(); 0:
 * there is none. ERR_CORRUPT names table, row and column; nothing is to be released then. */
int sql_read(struct sql_reader *reader, void *item, struct err *err) MUST_USE;

/* store_sql_json.c: the JSON of a column; and back, ERR_CORRUPT for what sql_json_print() does not
 * print. A partly filled item is to be released. */
bool sql_is_json(const struct field *field);
void sql_json_print(struct buf *to, const struct field *field, const void *item);
int sql_json_take(const struct field *field, void *item, const char *text, size_t size,
                  struct err *err) MUST_USE;
/* Does a number from SQL or JSON fit into the field? */
bool sql_number_fits(const struct field *field, int64_t value);

#endif
