/*
 * random_record.h - random contents for any record, from a seed.
 *
 * Every field of the table is filled, so that one that is forgotten on the way shows. Numbers are
 * drawn from all sizes of msgpack integers.
 */
#ifndef TEST_RANDOM_RECORD_H
#define TEST_RANDOM_RECORD_H

#include "hash.h"
#include "record.h"

#include <string.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_u64(r->state);
}

static inline uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)(random_u64(r) % bound);
}

/* Of a random width, so that small numbers are as likely as large ones. */
static inline uint64_t random_number(struct random *r)
{
    return random_u64(r) >> random_below(r, 64);
}

static inline void random_text(struct random *r, char *to, size_t size)
{
    size_t length = random_below(r, (uint32_t)size);
    for (size_t i = 0; i < length; i++)
        to[i] = (char)(1 + random_below(r, 255));
    to[length] = '\0';
}

static inline void random_words(struct random *r, struct words *words, uint32_t max)
{
    uint32_t count = random_below(r, MIN(max, 8U) + 1);
    for (uint32_t i = 0; i < count; i++) {
        char word[80];
        random_text(r, word, sizeof word);
        words_add(words, word);
    }
}

static inline void random_record(struct random *r, const struct record *record, void *item);

static inline void random_items(struct random *r, const struct field *field, void *item)
{
    uint32_t count = random_below(r, MIN((uint32_t)field->max, 8U) + 1);
    if (field->type == FIELD_LIST)
        *(void **)(void *)((char *)item + field->offset) =
            count == 0 ? NULL : xcalloc(count, field->size);
    field_set_count(field, item, count);
    for (uint32_t i = 0; i < count; i++)
        random_record(r, field->record, (char *)field_items(field, item) + i * field->size);
}

static inline void random_bytes(struct random *r, const struct field *field, void *item)
{
    static const char page[] = "SQLite format 3\0 and \xff";
    *(const void **)(void *)((char *)item + field->offset) = page;
    *(size_t *)(void *)((char *)item + field->count_offset) = random_below(r, sizeof page);
}

static inline void random_field(struct random *r, const struct field *field, void *item)
{
    void *at = (char *)item + field->offset;
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_FLAG:
        field_set_number(field, item, random_below(r, 2));
        return;
    case FIELD_I32:
    case FIELD_I64:
        field_set_number(field, item,
                         random_number(r) * (random_below(r, 2) == 0 ? 1 : UINT64_MAX));
        return;
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
        field_set_number(field, item, random_number(r));
        return;
    case FIELD_ENUM:
        field_set_number(field, item, random_below(r, field->choices->count));
        return;
    case FIELD_TEXT:
        random_text(r, at, field->size);
        return;
    case FIELD_STRING:
        *(char **)at = xcalloc(300, 1);
        random_text(r, *(char **)at, 300);
        return;
    case FIELD_BYTES:
        random_bytes(r, field, item);
        return;
    case FIELD_WORDS:
        random_words(r, at, (uint32_t)field->max);
        return;
    case FIELD_RECORD:
        random_record(r, field->record, at);
        return;
    case FIELD_ARRAY:
    case FIELD_LIST:
        random_items(r, field, item);
        return;
    }
    UNREACHABLE("type of a field");
}

/* `item` is uninitialised; its other members become 0. */
static inline void random_record(struct random *r, const struct record *record, void *item)
{
    memset(item, 0, record->size);
    for (uint32_t i = 0; i < record->count; i++)
        random_field(r, &record->fields[i], item);
}

static inline bool same_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

#endif
