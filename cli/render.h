/*
 * render.h - rows of an answer as a table for people or as JSON for programs.
 *
 * One description of the columns serves both: the JSON keys are the names of the SQL columns, the
 * amounts integers in base units; the table has titles, units and (on a terminal) colours. Text
 * that users control cannot move the cursor or forge a line: control bytes are escaped.
 */
#ifndef CLI_RENDER_H
#define CLI_RENDER_H

#include "buf.h"
#include "cli.h"
#include "wire.h"

#include <jansson.h>

enum render_kind {
    RENDER_TEXT,
    RENDER_STATE,   /* text with a colour */
    RENDER_INTEGER, /* right-aligned */
    RENDER_MILLI,   /* thousandths: 500 is "500m" */
    RENDER_BYTES,   /* 1073741824 is "1Gi" */
    RENDER_TIME,    /* ms since 1970, as local time */
    RENDER_AGE,     /* ms since 1970, as the time passed since */
    RENDER_JSON,    /* text that is JSON, kept as it is */
    RENDER_PAIRS    /* "tape=4 robot=1", in JSON an object of integers */
};

struct render_column {
    const char *key;   /* name of the SQL column and JSON key */
    const char *title; /* of the table's column; NULL: only in JSON; "?GPU": "GPU", and only when
                          some row has something else than 0 there */
    enum render_kind kind;
};

struct render_options {
    uint64_t now_ms; /* for ages */
    bool colors;
};

/* Columns of `rows` that are not described are left out; described ones must be there (they are our
 * own SQL), else ERR_CORRUPT: the cell speaks another version of the schema. */
int render_json(const struct wire_rows *rows, const struct render_column *columns, size_t count,
                json_t **ret, struct err *err) MUST_USE;
int render_table(FILE *to, const struct wire_rows *rows, const struct render_column *columns,
                 size_t count, const struct render_options *options, struct err *err) MUST_USE;

/* Any rows at all: titles from their own names, the kinds from the values (JSON:
 * rows_json_any()). */
void render_table_any(FILE *to, const struct wire_rows *rows, const struct render_options *options);

/* Print (indented, with a newline) and free. */
void render_json_print(FILE *to, json_t *value);

/* On a terminal, and NO_COLOR is not set. */
bool render_colors_wanted(FILE *to);
/* One value of a row as the table shows it. */
void render_value(struct buf *to, enum render_kind kind, const struct wire_value *value,
                  uint64_t now_ms);
/* The value in column `key` of a row, NULL when there is none. */
const struct wire_value *render_cell(const struct wire_rows *rows, size_t row, const char *key);
/* Same, as an integer (0 when NULL or no integer) and as text ("" likewise). */
int64_t render_integer(const struct wire_rows *rows, size_t row, const char *key);
const char *render_text(const struct wire_rows *rows, size_t row, const char *key);

#endif
