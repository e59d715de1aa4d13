/*
 * rows_json.c - rows of a query as JSON.
 */
#include "rows_json.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    CLEANUP(buf_release) struct buf escaped = {0}; /* it is no UTF-8 */
    utf8_escape(&escaped, text);
    return json_string(buf_text(&escaped));
}

static json_t *pairs_json(const char *text)
{
    CLEANUP(free_ptr) char *copy = xstrdup(text);
    json_t *object = json_object();
    char *rest = copy;
    for (char *pair; (pair = strsep(&rest, " ")) != NULL;) {
        char *value = strchr(pair, '=');
        if (value == NULL)
            continue;
        *value++ = '\0';
        json_object_set_new(object, pair, json_integer(strtoll(value, NULL, 10)));
    }
    return object;
}

static json_t *value_json(enum rows_json_form form, const struct wire_value *v)
{
    json_t *value = NULL;
    switch (v->type) {
    case WIRE_NULL:
        return form == ROWS_JSON_PAIRS ? json_object() : json_null();
    case WIRE_INTEGER:
        return json_integer(v->integer);
    case WIRE_REAL:
        value = json_real(v->real); /* NULL for what JSON has not: infinity */
        return value != NULL ? value : json_null();
    case WIRE_TEXT:
        if (form == ROWS_JSON_VALUE)
            value = json_loads(v->text, JSON_DECODE_ANY, NULL);
        if (form == ROWS_JSON_PAIRS)
            value = pairs_json(v->text);
        return value != NULL ? value : text_json(v->text);
    }
    UNREACHABLE("wire type");
}

int rows_column(const struct wire_rows *rows, const char *key, size_t *ret, struct err *err)
{
    *ret = 0;
    while (*ret < rows->column_count && strcmp(rows->columns[*ret], key) != 0)
        ++*ret;
    if (*ret < rows->column_count)
        return 0;
    return err_set(err, ERR_CORRUPT,
                   "the cell's answer has no column %s; does it run another version than this "
                   "program (%s)?",
                   key, BORG_VERSION);
}

int rows_json(const struct wire_rows *rows, const struct rows_json_column *columns, size_t count,
              json_t **ret, struct err *err)
{
    json_t *array = json_array();
    for (uint32_t row = 0; row < rows->row_count; row++)
        json_array_append_new(array, json_object());
    for (size_t i = 0; i < count; i++) {
        size_t at;
        int rv = rows_column(rows, columns[i].key, &at, err);
        if (rv != 0) {
            json_decref(array);
            return rv;
        }
        for (size_t row = 0; row < rows->row_count; row++)
            json_object_set_new(
                json_array_get(array, row), columns[i].key,
                value_json(columns[i].form, &rows->values[row * rows->column_count + at]));
    }
    *ret = array;
    return 0;
}

static void key_make(struct buf *to, const struct wire_rows *rows, size_t column)
{
    size_t same = 1;
    for (const char *p = rows->columns[column]; *p != '\0'; p++) {
        bool upper = *p >= 'A' && *p <= 'Z';
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_';
        char c = upper ? (char)(*p - 'A' + 'a') : plain ? *p : '_';
        buf_append(to, &c, 1);
    }
    for (size_t i = 0; i < column; i++)
        same += strcasecmp(rows->columns[i], rows->columns[column]) == 0;
    if (same > 1)
        buf_printf(to, "_%zu", same);
}

json_t *rows_json_any(const struct wire_rows *rows)
{
    json_t *array = json_array();
    for (size_t row = 0; row < rows->row_count; row++) {
        json_t *object = json_object();
        for (size_t i = 0; i < rows->column_count; i++) {
            CLEANUP(buf_release) struct buf key = {0};
            key_make(&key, rows, i);
            json_object_set_new(
                object, buf_text(&key),
                value_json(ROWS_JSON_PLAIN, &rows->values[row * rows->column_count + i]));
        }
        json_array_append_new(array, object);
    }
    return array;
}
