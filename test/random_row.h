/*
 * random_row.h - items of stored records with a value in every field that a row of SQLite can hold.
 */
#ifndef TEST_RANDOM_ROW_H
#define TEST_RANDOM_ROW_H

#include "cell_fixture.h"
#include "record.h"

enum { ROW_LIST_MAX = 4 };

static inline void row_text(uint64_t *seed, char *to, size_t max)
{
    static const char *const pieces[] = {"a", "Z",  "7",    " ", "\"", "\\",
                                         "'", "\n", "\x1b", "ä", "-"};
    size_t size = 0;
    for (uint32_t n = 1 + draw_below(seed, 8); n > 0; n--) {
        const char *piece = pieces[draw_below(seed, ARRAY_SIZE(pieces))];
        if (size + strlen(piece) <= max)
            memcpy(to + size, piece, strlen(piece)), size += strlen(piece);
    }
    if (size == 0)
        to[size++] = 'x';
    to[size] = '\0';
}

static inline void row_number(uint64_t *seed, const struct field *field, void *item)
{
    uint64_t value = draw(seed) >> draw_below(seed, 64);
    uint32_t bits = field->type == FIELD_U16 ? 16 : field->type == FIELD_U32 ? 32 : 64;
    if (field->type == FIELD_BOOL || field->type == FIELD_FLAG)
        value &= 1;
    else if (field->type == FIELD_ENUM)
        do
            value = draw_below(seed, field->choices->count);
        while (field->choices->texts[value] == NULL);
    else if (field->form == FORM_TASK)
        value = (uint64_t)(1 + draw_below(seed, 1000000)) << 20 | draw_below(seed, 131072);
    else if (field->type == FIELD_I32)
        value = (uint64_t)(int64_t)(int32_t)value;
    else if (bits < 64)
        value &= (UINT64_C(1) << bits) - 1;
    if ((field->flags & FIELD_FROM_ONE) != 0 || field->max == (int64_t)value)
        value >>= 1;
    field_set_number(field, item, value);
}

static inline void row_item(uint64_t *seed, const struct record *record, void *item);

static inline void row_items(uint64_t *seed, const struct field *field, void *item)
{
    uint32_t count = 1 + draw_below(seed, (uint32_t)MIN(field->max, (int64_t)ROW_LIST_MAX));
    if (field->type == FIELD_LIST)
        *(void **)(void *)((char *)item + field->offset) = xcalloc(count, field->size);
    field_set_count(field, item, count);
    char *items = (char *)field_items(field, item);
    for (uint32_t i = 0; i < count; i++) {
        do /* one that says nothing would end a list without a count */
            row_item(seed, field->record, items + i * field->size);
        while (record_is_initial(field->record, items + i * field->size));
        for (uint32_t f = 0; f < field->record->count; f++) {
            const struct field *inner = &field->record->fields[f];
            void *to = items + i * field->size;
            if (inner->type == FIELD_U64) /* JSON has signed numbers */
                field_set_number(inner, to, field_number(inner, to) >> 1 | 1);
        }
    }
}

static inline void row_field(uint64_t *seed, const struct field *field, void *item)
{
    char text[256];
    void *at = (char *)item + field->offset;
    if (field_is_number(field)) {
        row_number(seed, field, item);
    } else if (field->type == FIELD_TEXT) {
        row_text(seed, at, (size_t)field->max);
    } else if (field->type == FIELD_STRING) {
        row_text(seed, text, (size_t)MIN(field->max, (int64_t)sizeof text - 1));
        *(char **)at = xstrdup(text);
    } else if (field->type == FIELD_WORDS) {
        uint32_t count = 1 + draw_below(seed, (uint32_t)MIN(field->max, (int64_t)ROW_LIST_MAX));
        for (uint32_t i = 0; i < count; i++) {
            size_t size = field->form == FORM_MAP ? (size_t)snprintf(text, 20, "k%u=", i) : 0;
            row_text(seed, text + size, 100);
            words_add(at, text);
        }
    } else if (field->type == FIELD_RECORD) {
        row_item(seed, field->record, at);
    } else if (field->type == FIELD_ARRAY || field->type == FIELD_LIST) {
        row_items(seed, field, item);
    }
}

/* Overwrites the item; record_release() it. Derived fields, which follow from others, stay as they
 * are initially. */
static inline void row_item(uint64_t *seed, const struct record *record, void *item)
{
    record_init(record, item);
    for (uint32_t i = 0; i < record->count; i++)
        if ((record->fields[i].flags & FIELD_DERIVED) == 0)
            row_field(seed, &record->fields[i], item);
}

#endif
