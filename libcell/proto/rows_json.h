/*
 * rows_json.h - rows of a query as JSON: an array of objects.
 *
 * The keys are the names of the SQL columns, amounts are integers in base units. Text that is no
 * UTF-8 has "\xff" for each byte that is none.
 */
#ifndef CELL_ROWS_JSON_H
#define CELL_ROWS_JSON_H

#include "wire.h"

#include <jansson.h>

/* How a text is written as JSON; numbers and NULL are written as such. */
enum rows_json_form {
    ROWS_JSON_PLAIN,
    ROWS_JSON_VALUE, /* JSON itself; a text that is none stays a text */
    ROWS_JSON_PAIRS  /* "tape=4 robot=1": an object of integers; NULL is {} */
};

struct rows_json_column {
    const char *key; /* name of the SQL column */
    enum rows_json_form form;
};

/* The number of the column of this name. ERR_CORRUPT: the rows have none, which happens when the
 * other end has another version of the schema. */
int rows_column(const struct wire_rows *rows, const char *key, size_t *ret,
                struct err *err) MUST_USE;
/* Return the named columns of the rows as an array of objects, owned by the caller. */
int rows_json(const struct wire_rows *rows, const struct rows_json_column *columns, size_t count,
              json_t **ret, struct err *err) MUST_USE;
/* All columns of any rows; keys are made of [a-z0-9_], the nth of a name ends with _n. */
json_t *rows_json_any(const struct wire_rows *rows);
/* A text as a string of JSON. */
json_t *text_json(const char *text);

#endif
