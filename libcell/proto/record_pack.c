/*
 * record_pack.c - the walk over a table of fields that writes and reads msgpack.
 */
#include "record_pack.h"

#include <stdlib.h>
#include <string.h>

static void words_write(struct pack *p, const struct words *words)
{
    const char *word = words->bytes;
    for (uint32_t i = 0; i < words->count; i++) {
        size_t length = strlen(word);
        msgpack_pack_str_with_body(&p->packer, word, length);
        word += length + 1;
    }
}

static void words_read(struct pack *p, struct words *words, uint32_t count)
{
    size_t capacity = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t length;
        const char *word = pack_text_view(p, &length, SPEC_BYTES_MAX);
        if (word == NULL)
            return;
        if (words->size + length + 1 > capacity) {
            capacity = 2 * (words->size + length + 1);
            words->bytes = xrealloc(words->bytes, capacity, 1);
        }
        memcpy(words->bytes + words->size, word, length);
        words->bytes[words->size + length] = '\0';
        words->size += (uint32_t)length + 1;
        words->count++;
    }
}

static void pack_words(struct pack *p, struct words *words, size_t max)
{
    uint32_t count = words->count;
    pack_count(p, &count, max);
    if (p->reading)
        words_read(p, words, count);
    else
        words_write(p, words);
}

static void pack_array(struct pack *p, const struct field *field, void *item)
{
    uint32_t count = p->reading ? 0 : field_count(field, item);
    char *items = (char *)item + field->offset;
    pack_count(p, &count, (size_t)field->max);
    for (uint32_t i = 0; i < count && pack_ok(p); i++)
        pack_record(p, field->record, items + i * field->size);
    if (p->reading && pack_ok(p))
        field_set_count(field, item, count);
}

/* The list grows as items are found to be there: nothing is allocated for what is only claimed. */
static void list_read(struct pack *p, const struct field *field, void *item)
{
    uint32_t n = 0, count = 0;
    char *items = NULL;
    pack_count(p, &n, (size_t)field->max);
    for (size_t capacity = 0; count < n && pack_ok(p); count++) {
        if (count == capacity) {
            capacity = MIN((size_t)n, MAX((size_t)8, capacity * 2));
            items = xrealloc(items, capacity, field->size);
        }
        memset(items + count * field->size, 0, field->size);
        pack_record(p, field->record, items + count * field->size);
    }
    memcpy((char *)item + field->offset, &items, sizeof items);
    field_set_count(field, item, count);
}

static void pack_items(struct pack *p, const struct field *field, void *item)
{
    if (p->reading) {
        list_read(p, field, item);
        return;
    }
    uint32_t count = field_count(field, item);
    char *items = (char *)field_items(field, item);
    pack_count(p, &count, (size_t)field->max);
    for (uint32_t i = 0; i < count; i++)
        pack_record(p, field->record, items + i * field->size);
}

static void pack_borrowed(struct pack *p, const struct field *field, void *item)
{
    size_t *size = (size_t *)(void *)((char *)item + field->count_offset);
    pack_bytes(p, (const void **)(void *)((char *)item + field->offset), size);
    if (*size > (size_t)field->max)
        pack_fail(p, "too many bytes");
}

static void pack_flag(struct pack *p, const struct field *field, void *item)
{
    bool on = field_number(field, item) != 0;
    pack_bool(p, &on);
    if (p->reading)
        field_set_number(field, item, on);
}

static void pack_optional(struct pack *p, const struct field *field, void *at)
{
    bool none = p->reading ? pack_peek(p) == PACK_NIL : record_is_initial(field->record, at);
    if ((field->flags & FIELD_NULLABLE) != 0 && none)
        pack_nil(p);
    else
        pack_record(p, field->record, at);
}

static void pack_field(struct pack *p, const struct field *field, void *item)
{
    void *at = (char *)item + field->offset;
    switch (field->type) {
    case FIELD_BOOL:
        pack_bool(p, at);
        return;
    case FIELD_U16:
        pack_u16(p, at);
        return;
    case FIELD_U32:
        pack_u32(p, at);
        return;
    case FIELD_U64:
        pack_u64(p, at);
        return;
    case FIELD_I32:
        pack_i32(p, at);
        return;
    case FIELD_I64:
        pack_i64(p, at);
        return;
    case FIELD_ENUM:
        pack_below(p, at, field->choices->count);
        return;
    case FIELD_FLAG:
        pack_flag(p, field, item);
        return;
    case FIELD_TEXT:
        pack_text(p, at, field->size);
        return;
    case FIELD_STRING:
        pack_string(p, at, (size_t)field->max);
        return;
    case FIELD_BYTES:
        pack_borrowed(p, field, item);
        return;
    case FIELD_WORDS:
        pack_words(p, at, (size_t)field->max);
        return;
    case FIELD_RECORD:
        pack_optional(p, field, at);
        return;
    case FIELD_ARRAY:
        pack_array(p, field, item);
        return;
    case FIELD_LIST:
        pack_items(p, field, item);
        return;
    }
    UNREACHABLE("type of a field");
}

/* The fields of the first format: every writer has them. */
static uint32_t required_fields(const struct record *record)
{
    uint32_t count = record->count;
    while (count > 0 && record->fields[count - 1].since > 1)
        count--;
    return count;
}

/* A later field that nobody uses is not written, so older releases can read the record. */
static uint32_t written_fields(const struct pack *p, const struct record *record, const void *item)
{
    uint32_t count = record->count, required = required_fields(record);
    while (count > required && (record->fields[count - 1].since > p->format ||
                                field_is_initial(&record->fields[count - 1], item)))
        count--;
    return count;
}

static void skip_unknown(struct pack *p)
{
    if (!p->strict) {
        pack_skip(p);
        return;
    }
    p->newer = true;
    pack_fail(p, "a field that is not known here");
}

static void rest_read(struct pack *p, const struct record *record, void *item, uint32_t count,
                      size_t start)
{
    for (uint32_t i = count; i < record->count; i++)
        field_set_initial(&record->fields[i], item);
    for (uint32_t i = record->count; i < count && pack_ok(p); i++)
        skip_unknown(p);
    if (record->bytes_max != 0 && pack_position(p) - start > record->bytes_max)
        pack_fail(p, "too many bytes");
    const char *mistake = pack_ok(p) && record->mistake != NULL ? record->mistake(item) : NULL;
    if (mistake != NULL)
        pack_fail(p, mistake);
}

void pack_record(struct pack *p, const struct record *record, void *item)
{
    if (record->is_scalar) {
        pack_field(p, &record->fields[0], item);
        return;
    }
    uint32_t count = p->reading ? record->count : written_fields(p, record, item);
    size_t start = pack_position(p);
    pack_head(p, &count, required_fields(record));
    for (uint32_t i = 0; i < MIN(count, record->count) && pack_ok(p); i++)
        pack_field(p, &record->fields[i], item);
    if (p->reading && pack_ok(p))
        rest_read(p, record, item, count, start);
}

void record_pack(struct buf *to, const struct record *record, const void *item)
{
    struct pack p;
    pack_to(&p, to);
    /* Writing changes nothing. */
    pack_record(&p, record, (void *)item);
}

int record_unpack(const void *bytes, size_t size, const struct record *record, void *ret,
                  struct err *err)
{
    memset(ret, 0, record->size);
    struct pack p;
    pack_from(&p, bytes, size);
    pack_record(&p, record, ret);
    int r = pack_end(&p, record->name, err);
    if (r != 0)
        record_release(record, ret);
    return r;
}
