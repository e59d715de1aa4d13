/*
 * random_wire.h - random bodies of every message, and what can be done to each.
 */
#ifndef TEST_RANDOM_WIRE_H
#define TEST_RANDOM_WIRE_H

#include "random_cmd.h"
#include "wire.h"

#include <math.h>

static inline void random_wire_value(struct random *r, struct wire_value *value)
{
    static const char *const texts[] = {"", "x", "web/17", "a text that is not short at all"};
    memset(value, 0, sizeof *value);
    value->type = random_below(r, WIRE_TEXT + 1);
    if (value->type == WIRE_INTEGER)
        value->integer = (int64_t)random_u64(r) >> random_below(r, 64);
    if (value->type == WIRE_REAL)
        value->real = ldexp((double)random_number(r), -20);
    if (value->type == WIRE_TEXT)
        value->text = texts[random_below(r, ARRAY_SIZE(texts))];
}

static inline void random_wire_rows(struct random *r, struct wire_rows *rows)
{
    memset(rows, 0, sizeof *rows);
    rows->applied_index = random_number(r);
    rows->column_count = random_below(r, 20);
    rows->row_count = rows->column_count == 0 ? 0 : random_below(r, 20);
    rows->columns = xcalloc((size_t)rows->column_count + 1, sizeof *rows->columns);
    for (uint32_t i = 0; i < rows->column_count; i++)
        rows->columns[i] = random_below(r, 2) == 0 ? "name" : "";
    size_t count = (size_t)rows->column_count * rows->row_count;
    rows->values = xcalloc(count + 1, sizeof *rows->values);
    for (size_t i = 0; i < count; i++)
        random_wire_value(r, &rows->values[i]);
}

union wire_any {
#define X(name) struct wire_##name name;
    WIRE_BODIES(X)
#undef X
    struct wire_rows rows;
};

/* A message: its record, or the rows of a query, which are none. */
struct wire_message {
    const char *name;
    const struct record *record; /* NULL: rows */
};
static const struct wire_message wire_messages[] = {
#define X(name) {#name, &wire_##name##_record},
    WIRE_BODIES(X)
#undef X
        {"rows", NULL},
};
enum { WIRE_MESSAGES = ARRAY_SIZE(wire_messages) };

static inline void message_random(const struct wire_message *m, struct random *r,
                                  union wire_any *body)
{
    if (m->record != NULL)
        random_record(r, m->record, body);
    else
        random_wire_rows(r, &body->rows);
}

static inline void message_pack(const struct wire_message *m, struct buf *to,
                                const union wire_any *body)
{
    if (m->record != NULL)
        record_pack(to, m->record, body);
    else
        wire_pack_rows(to, &body->rows);
}

static inline int message_unpack(const struct wire_message *m, const void *bytes, size_t size,
                                 union wire_any *ret, struct err *err)
{
    return m->record != NULL ? record_unpack(bytes, size, m->record, ret, err)
                             : wire_unpack_rows(bytes, size, &ret->rows, err);
}

static inline void message_release(const struct wire_message *m, union wire_any *body)
{
    if (m->record != NULL)
        record_release(m->record, body);
    else
        wire_rows_release(&body->rows);
}

#endif
