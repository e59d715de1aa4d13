/*
 * wire_rows.c - the rows of a query as msgpack.
 *
 * [applied_index, [column names], row_count, [values, row by row]]: one flat list, so that a
 * hundred thousand rows cost one allocation. A text of n bytes takes n + 1 at least when packed,
 * so all texts with their NULs fit into as many bytes as the body has.
 */
#include "wire.h"
#include "pack.h"

#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS_MAX = 2000, /* SQLite's own limit */
    /* The store counts a byte for every value. */
    VALUES_MAX = QUERY_BYTES_MAX
};

static void write_text(struct pack *p, const char *text)
{
    size_t length = strlen(text);
    msgpack_pack_str_with_body(&p->packer, text, length);
}

static void write_value(struct pack *p, const struct wire_value *value)
{
    int64_t integer = value->integer;
    double real = value->real;
    switch (value->type) {
    case WIRE_NULL:
        pack_nil(p);
        return;
    case WIRE_INTEGER:
        pack_i64(p, &integer);
        return;
    case WIRE_REAL:
        pack_real(p, &real);
        return;
    case WIRE_TEXT:
        write_text(p, value->text);
        return;
    }
    UNREACHABLE("type of a value");
}

void wire_pack_rows(struct buf *to, const struct wire_rows *r)
{
    struct pack p;
    uint64_t index = r->applied_index;
    uint32_t columns = r->column_count, rows = r->row_count, values = columns * rows;
    ASSERT((uint64_t)columns * rows <= VALUES_MAX);
    pack_to(&p, to);
    pack_fields(&p, 4);
    pack_u64(&p, &index);
    pack_count(&p, &columns, COLUMNS_MAX);
    for (uint32_t i = 0; i < columns; i++)
        write_text(&p, r->columns[i]);
    pack_u32(&p, &rows);
    pack_count(&p, &values, VALUES_MAX);
    for (uint32_t i = 0; i < values; i++)
        write_value(&p, &r->values[i]);
}

/* The next text, copied to *at, which moves behind it. */
static const char *read_text(struct pack *p, char **at)
{
    size_t length;
    const char *from = pack_text_view(p, &length, RPC_FRAME_BYTES_MAX);
    if (from == NULL)
        return NULL;
    char *text = *at;
    memcpy(text, from, length);
    text[length] = '\0';
    *at += length + 1;
    return text;
}

static void read_value(struct pack *p, struct wire_value *value, char **at)
{
    *value = (struct wire_value){.type = WIRE_NULL};
    switch (pack_peek(p)) {
    case PACK_INTEGER:
        value->type = WIRE_INTEGER;
        pack_i64(p, &value->integer);
        return;
    case PACK_REAL:
        value->type = WIRE_REAL;
        pack_real(p, &value->real);
        return;
    case PACK_TEXT:
        value->type = WIRE_TEXT;
        value->text = read_text(p, at);
        return;
    case PACK_NIL:
    case PACK_BOOL:
    case PACK_BYTES:
    case PACK_OTHER:
        break;
    }
    pack_nil(p);
}

static void rows_read(struct pack *p, struct wire_rows *r, size_t size)
{
    uint32_t values = 0;
    r->bytes = xcalloc(MAX(size, (size_t)1), 1);
    char *at = r->bytes;
    pack_fields(p, 4);
    pack_u64(p, &r->applied_index);
    pack_count(p, &r->column_count, COLUMNS_MAX);
    r->columns = xcalloc((size_t)r->column_count + 1, sizeof *r->columns);
    for (uint32_t i = 0; i < r->column_count; i++)
        r->columns[i] = read_text(p, &at);
    pack_u32(p, &r->row_count);
    pack_count(p, &values, VALUES_MAX);
    if (pack_ok(p) && (uint64_t)r->row_count * r->column_count != values)
        pack_fail(p, "values do not fill the rows");
    /* Rows without columns would be a count of nothing, as large as one likes. */
    if (pack_ok(p) && r->column_count == 0 && r->row_count != 0)
        pack_fail(p, "rows without columns");
    if (!pack_ok(p))
        return;
    r->values = xcalloc((size_t)values + 1, sizeof *r->values);
    for (uint32_t i = 0; i < values && pack_ok(p); i++)
        read_value(p, &r->values[i], &at);
    ASSERT_IMPLIES(pack_ok(p), at <= r->bytes + size);
}

int wire_unpack_rows(const void *bytes, size_t size, struct wire_rows *ret, struct err *err)
{
    *ret = (struct wire_rows){0};
    if (size > RPC_FRAME_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "rows: %zu bytes, at most %d", size, RPC_FRAME_BYTES_MAX);
    struct pack p;
    pack_from(&p, bytes, size);
    rows_read(&p, ret, size);
    int rv = pack_end(&p, "rows", err);
    if (rv != 0)
        wire_rows_release(ret);
    return rv;
}

void wire_rows_release(struct wire_rows *r)
{
    free(r->columns);
    free(r->values);
    free(r->bytes);
    *r = (struct wire_rows){0};
}
