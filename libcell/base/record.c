/*
 * record.c - walks over the tables of fields.
 */
#include "record.h"

#include "hash.h"
#include "quantity.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCALAR_RECORD(name_, type_, ctype) \
    static const struct field record_##name_##_fields[] = { \
        {.name = "", .type = (type_), .size = sizeof(ctype)}}; \
    const struct record record_##name_ = {.name = #name_, \
                                          .fields = record_##name_##_fields, \
                                          .count = 1, \
                                          .size = sizeof(ctype), \
                                          .is_flat = true, \
                                          .is_scalar = true}
SCALAR_RECORD(u16, FIELD_U16, uint16_t);
SCALAR_RECORD(u32, FIELD_U32, uint32_t);
SCALAR_RECORD(u64, FIELD_U64, uint64_t);
SCALAR_RECORD(i64, FIELD_I64, int64_t);

const char *enumeration_text(const struct enumeration *of, unsigned value)
{
    return value < of->count && of->texts[value] != NULL ? of->texts[value] : "unknown";
}

int enumeration_parse(const struct enumeration *of, const char *text)
{
    for (unsigned i = 0; i < of->count; i++)
        if (of->texts[i] != NULL && strcmp(of->texts[i], text) == 0)
            return (int)i;
    return -1;
}

static const void *at(const struct field *field, const void *item)
{
    return (const char *)item + field->offset;
}

static void *at_mutable(const struct field *field, void *item)
{
    return (char *)item + field->offset;
}

bool field_is_number(const struct field *field)
{
    return field->type <= FIELD_FLAG;
}

bool field_is_signed(const struct field *field)
{
    return field->type == FIELD_I32 || field->type == FIELD_I64;
}

uint64_t field_number(const struct field *field, const void *item)
{
    const void *p = at(field, item);
    switch (field->type) {
    case FIELD_BOOL:
        return *(const bool *)p;
    case FIELD_U16:
        return *(const uint16_t *)p;
    case FIELD_U32:
    case FIELD_ENUM:
        return *(const uint32_t *)p;
    case FIELD_U64:
        return *(const uint64_t *)p;
    case FIELD_I32:
        return (uint64_t)(int64_t) * (const int32_t *)p;
    case FIELD_I64:
        return (uint64_t) * (const int64_t *)p;
    case FIELD_FLAG:
        return *(const uint32_t *)p >> field->bit & 1;
    case FIELD_TEXT:
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_WORDS:
    case FIELD_RECORD:
    case FIELD_ARRAY:
    case FIELD_LIST:
        break;
    }
    UNREACHABLE("a field that is no number");
}

void field_set_number(const struct field *field, void *item, uint64_t value)
{
    void *p = at_mutable(field, item);
    switch (field->type) {
    case FIELD_BOOL:
        *(bool *)p = value != 0;
        return;
    case FIELD_U16:
        *(uint16_t *)p = (uint16_t)value;
        return;
    case FIELD_U32:
    case FIELD_ENUM:
        *(uint32_t *)p = (uint32_t)value;
        return;
    case FIELD_U64:
        *(uint64_t *)p = value;
        return;
    case FIELD_I32:
        *(int32_t *)p = (int32_t)value;
        return;
    case FIELD_I64:
        *(int64_t *)p = (int64_t)value;
        return;
    case FIELD_FLAG:
        *(uint32_t *)p &= ~BIT(field->bit);
        *(uint32_t *)p |= value != 0 ? BIT(field->bit) : 0;
        return;
    case FIELD_TEXT:
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_WORDS:
    case FIELD_RECORD:
    case FIELD_ARRAY:
    case FIELD_LIST:
        break;
    }
    UNREACHABLE("a field that is no number");
}

uint32_t field_count(const struct field *field, const void *item)
{
    if (field->type == FIELD_WORDS)
        return ((const struct words *)at(field, item))->count;
    ASSERT(field->type == FIELD_ARRAY || field->type == FIELD_LIST);
    if (field->count_offset == FIELD_UNCOUNTED) {
        uint32_t count = (uint32_t)field->max;
        const char *items = field_items(field, item);
        while (count > 0 && record_is_initial(field->record, items + (count - 1) * field->size))
            count--;
        return count;
    }
    return *(const uint32_t *)(const void *)((const char *)item + field->count_offset);
}

void field_set_count(const struct field *field, void *item, uint32_t count)
{
    if (field->count_offset != FIELD_UNCOUNTED)
        *(uint32_t *)(void *)((char *)item + field->count_offset) = count;
}

const void *field_items(const struct field *field, const void *item)
{
    return field->type == FIELD_LIST ? *(const void *const *)at(field, item) : at(field, item);
}

const char *field_text(const struct field *field, const void *item)
{
    if (field->type == FIELD_TEXT)
        return at(field, item);
    ASSERT(field->type == FIELD_STRING);
    const char *text = *(char *const *)at(field, item);
    return text == NULL ? "" : text;
}

static size_t bytes_size(const struct field *field, const void *item)
{
    return *(const size_t *)(const void *)((const char *)item + field->count_offset);
}

bool field_is_initial(const struct field *field, const void *item)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_ENUM:
    case FIELD_FLAG:
        return field_number(field, item) == (uint64_t)field->initial;
    case FIELD_TEXT:
    case FIELD_STRING:
        return field_text(field, item)[0] == '\0';
    case FIELD_BYTES:
        return bytes_size(field, item) == 0;
    case FIELD_RECORD:
        return record_is_initial(field->record, at(field, item));
    case FIELD_WORDS:
    case FIELD_ARRAY:
    case FIELD_LIST:
        return field_count(field, item) == 0;
    }
    UNREACHABLE("type of a field");
}

bool record_is_initial(const struct record *record, const void *item)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (!field_is_initial(&record->fields[i], item))
            return false;
    return true;
}

void field_set_initial(const struct field *field, void *item)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_ENUM:
    case FIELD_FLAG:
        field_set_number(field, item, (uint64_t)field->initial);
        return;
    case FIELD_TEXT:
        memset(at_mutable(field, item), 0, field->size);
        return;
    case FIELD_STRING:
        *(char **)at_mutable(field, item) = NULL;
        return;
    case FIELD_BYTES:
        *(const void **)at_mutable(field, item) = NULL;
        *(size_t *)(void *)((char *)item + field->count_offset) = 0;
        return;
    case FIELD_WORDS:
        *(struct words *)at_mutable(field, item) = (struct words){0};
        return;
    case FIELD_RECORD:
        record_init(field->record, at_mutable(field, item));
        return;
    case FIELD_ARRAY:
        for (int64_t i = 0; i < field->max; i++)
            record_init(field->record, (char *)at_mutable(field, item) + i * field->size);
        field_set_count(field, item, 0);
        return;
    case FIELD_LIST:
        *(void **)at_mutable(field, item) = NULL;
        field_set_count(field, item, 0);
        return;
    }
    UNREACHABLE("type of a field");
}

void record_init(const struct record *record, void *item)
{
    memset(item, 0, record->size);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (field->initial != 0 || field->record != NULL)
            field_set_initial(field, item);
    }
}

bool record_owns_memory(const struct record *record)
{
    if (record->is_flat)
        return false;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (field->type == FIELD_STRING || field->type == FIELD_WORDS || field->type == FIELD_LIST)
            return true;
        if (field->record != NULL && record_owns_memory(field->record))
            return true;
    }
    return false;
}

/* Owns the field nothing, as most do? */
static bool is_plain(const struct field *field)
{
    return field->type <= FIELD_TEXT || field->type == FIELD_BYTES ||
           (field->type <= FIELD_ARRAY && field->record != NULL && field->record->is_flat);
}

static void items_release(const struct field *field, void *item)
{
    if (!record_owns_memory(field->record))
        return;
    char *items = (char *)field_items(field, item);
    for (uint32_t i = 0, count = field_count(field, item); i < count; i++)
        record_release(field->record, items + i * field->size);
}

static void field_release(const struct field *field, void *item)
{
    switch (field->type) {
    case FIELD_STRING:
        free(*(char **)at_mutable(field, item));
        return;
    case FIELD_WORDS:
        words_release(at_mutable(field, item));
        return;
    case FIELD_RECORD:
        record_release(field->record, at_mutable(field, item));
        return;
    case FIELD_ARRAY:
        items_release(field, item);
        return;
    case FIELD_LIST:
        items_release(field, item);
        free(*(void **)at_mutable(field, item));
        return;
    case FIELD_BOOL:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_ENUM:
    case FIELD_FLAG:
    case FIELD_TEXT:
    case FIELD_BYTES:
        return;
    }
    UNREACHABLE("type of a field");
}

void record_release(const struct record *record, void *item)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (!is_plain(&record->fields[i]))
            field_release(&record->fields[i], item);
    memset(item, 0, record->size);
}

/* Give a copy, made byte by byte, memory of its own. */
static void own_memory(const struct record *record, void *to)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (is_plain(field))
            continue;
        void *p = at_mutable(field, to);
        if (field->type == FIELD_STRING && *(char **)p != NULL)
            *(char **)p = xstrdup(*(char **)p);
        else if (field->type == FIELD_WORDS)
            *(struct words *)p = words_copy(p);
        else if (field->type == FIELD_RECORD)
            own_memory(field->record, p);
        if (field->type != FIELD_ARRAY && field->type != FIELD_LIST)
            continue;
        uint32_t count = field_count(field, to);
        if (field->type == FIELD_LIST) {
            const void *from = *(void **)p;
            void *items = count == 0 ? NULL : xcalloc(count, field->size);
            if (count > 0)
                memcpy(items, from, (size_t)count * field->size);
            *(void **)p = items;
        }
        char *items = (char *)field_items(field, to);
        for (uint32_t n = 0; n < count && record_owns_memory(field->record); n++)
            own_memory(field->record, items + n * field->size);
    }
}

void record_copy(const struct record *record, void *to, const void *from)
{
    memcpy(to, from, record->size);
    own_memory(record, to);
}

void record_copy_stored(const struct record *record, void *to, const void *from)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if ((field->flags & FIELD_DERIVED) != 0)
            continue;
        if (field_is_number(field))
            field_set_number(field, to, field_number(field, from));
        else if (field->type == FIELD_TEXT)
            memcpy(at_mutable(field, to), at(field, from), field->size);
    }
}

static bool field_equal(const struct field *field, const void *a, const void *b)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_ENUM:
    case FIELD_FLAG:
        return field_number(field, a) == field_number(field, b);
    case FIELD_TEXT:
    case FIELD_STRING:
        return strcmp(field_text(field, a), field_text(field, b)) == 0;
    case FIELD_BYTES:
        return bytes_size(field, a) == bytes_size(field, b) &&
               (bytes_size(field, a) == 0 ||
                memcmp(*(const void *const *)at(field, a), *(const void *const *)at(field, b),
                       bytes_size(field, a)) == 0);
    case FIELD_WORDS:
        return words_same(at(field, a), at(field, b));
    case FIELD_RECORD:
        return record_equal(field->record, at(field, a), at(field, b));
    case FIELD_ARRAY:
    case FIELD_LIST:
        break;
    }
    uint32_t count = field_count(field, a);
    const char *one = field_items(field, a), *other = field_items(field, b);
    if (count != field_count(field, b))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!record_equal(field->record, one + i * field->size, other + i * field->size))
            return false;
    return true;
}

bool record_equal(const struct record *record, const void *a, const void *b)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (!field_equal(&record->fields[i], a, b))
            return false;
    return true;
}

void record_compare(const struct record *record, const void *a, const void *b,
                    void (*differs)(void *data, const struct field *field), void *data)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (!field_equal(&record->fields[i], a, b))
            differs(data, &record->fields[i]);
}

/* Terms are added up, so the processor computes them side by side; the salt of each says where in
 * the record it stands. */
static uint64_t field_hash(const struct field *field, const void *item, uint64_t salt)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_ENUM:
    case FIELD_FLAG:
        UNREACHABLE("record_hash() takes numbers");
    case FIELD_TEXT:
    case FIELD_STRING: {
        const char *text = field_text(field, item);
        return text[0] == '\0' ? 0 : hash_text(salt, text);
    }
    case FIELD_BYTES: {
        size_t size = bytes_size(field, item);
        return size == 0 ? 0 : hash_bytes(salt, *(const void *const *)at(field, item), size);
    }
    case FIELD_WORDS: {
        const struct words *words = at(field, item);
        return words->count == 0
                   ? 0
                   : hash_bytes(hash_add(salt, words->count), words->bytes, words->size);
    }
    case FIELD_RECORD:
        return record_hash(field->record, at(field, item), salt);
    case FIELD_ARRAY:
    case FIELD_LIST:
        break;
    }
    uint32_t count = field_count(field, item);
    const char *items = field_items(field, item);
    uint64_t sum = count == 0 ? 0 : hash_add(salt, count);
    for (uint32_t i = 0; i < count; i++)
        sum += record_hash(field->record, items + i * field->size, hash_u64(salt + i + 1));
    return sum;
}

/* Rows are hashed at each placement: numbers, which most fields are, take no call. */
uint64_t record_hash(const struct record *record, const void *item, uint64_t salt)
{
    uint64_t sum = 0;
    for (const struct field *f = record->fields; f < record->fields + record->count; f++) {
        const void *p = at(f, item);
        uint64_t value;
        salt += UINT64_C(0xd1342543de82ef95);
        if ((f->flags & FIELD_NO_HASH) != 0)
            continue;
        if (!field_is_number(f)) {
            sum += field_hash(f, item, salt);
            continue;
        }
        if (f->type == FIELD_I64 || f->type == FIELD_U64)
            value = *(const uint64_t *)p;
        else if (f->type == FIELD_U32 || f->type == FIELD_ENUM)
            value = *(const uint32_t *)p;
        else
            value = field_number(f, item);
        if (value != (uint64_t)f->initial)
            sum += hash_add(salt, value);
    }
    return sum;
}

/* The format of the last field of the record, or of a record inside it. */
static unsigned newest_format(const struct record *record)
{
    unsigned format = 1;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        format = MAX(format, (unsigned)field->since);
        if (field->record != NULL)
            format = MAX(format, newest_format(field->record));
    }
    return format;
}

/* A list of a thousand placements is not walked when its table has nothing later. */
unsigned record_format(const struct record *record, const void *item)
{
    unsigned format = 1;
    if (newest_format(record) == format)
        return format;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (field->since > format && !field_is_initial(field, item))
            format = field->since;
        if (field->record == NULL || newest_format(field->record) <= format)
            continue;
        if (field->type == FIELD_RECORD) {
            format = MAX(format, record_format(field->record, at(field, item)));
            continue;
        }
        const char *items = field_items(field, item);
        for (uint32_t n = 0, count = field_count(field, item); n < count; n++)
            format = MAX(format, record_format(field->record, items + n * field->size));
    }
    return format;
}

void field_bounds(const struct field *field, int64_t *ret_min, int64_t *ret_max)
{
    static const int64_t largest[] = {
        [FIELD_BOOL] = 1,          [FIELD_U16] = UINT16_MAX, [FIELD_U32] = UINT32_MAX,
        [FIELD_U64] = INT64_MAX,   [FIELD_I32] = INT32_MAX,  [FIELD_I64] = INT64_MAX,
        [FIELD_ENUM] = UINT32_MAX, [FIELD_FLAG] = 1};
    ASSERT(field_is_number(field));
    *ret_min = field->min;
    *ret_max = field->max;
    if (field->min != 0 || field->max != 0)
        return;
    *ret_max = largest[field->type];
    *ret_min = field_is_signed(field) ? -*ret_max - 1 : 0;
}

void field_number_print(struct buf *to, const struct field *field, int64_t value)
{
    if (field->type == FIELD_BOOL || field->type == FIELD_FLAG)
        buf_put(to, value != 0 ? "true" : "false");
    else if (field->type == FIELD_ENUM)
        buf_put(to, enumeration_text(field->choices, (unsigned)value));
    else if (field->form == FORM_MILLI)
        quantity_print_milli(to, value);
    else if (field->form == FORM_BYTES)
        quantity_print_bytes(to, value);
    else if (field->form == FORM_MS)
        quantity_print_ms(to, value);
    else
        buf_printf(to, "%" PRId64, value);
}

int field_value_check(const struct field *field, int64_t value, const char *given, struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0}, least = {0}, largest = {0};
    int64_t min, max;
    bool is_amount =
        field->form == FORM_MILLI || field->form == FORM_BYTES || field->form == FORM_MS;
    field_bounds(field, &min, &max);
    if (value >= min && value <= max)
        return 0;
    field_number_print(&text, field, value);
    field_number_print(&least, field, min);
    field_number_print(&largest, field, max);
    given = given == NULL ? buf_text(&text) : given;
    if (is_amount && value > max)
        return err_set(err, ERR_INVALID, "%s is more than %s", given, buf_text(&largest));
    if (is_amount && min <= 1)
        return err_set(err, ERR_INVALID, min == 1 ? "must be more than 0" : "must not be negative");
    return err_set(err, ERR_INVALID, "%s is not between %s and %s", given, buf_text(&least),
                   buf_text(&largest));
}

static int number_check(const struct field *field, const void *item, const char *path,
                        struct err *err)
{
    char given[24];
    uint64_t value = field_number(field, item);
    if (field->type == FIELD_ENUM &&
        (value >= field->choices->count || field->choices->texts[value] == NULL))
        return err_set(err, ERR_INVALID, "%s%s: %" PRIu64 " is no %s", path, field->name, value,
                       field->choices->name);
    if (field->type == FIELD_ENUM || (field->min == 0 && field->max == 0))
        return 0;
    bool is_large = !field_is_signed(field) && value > INT64_MAX;
    snprintf(given, sizeof given, "%" PRIu64, value);
    int rv = field_value_check(field, is_large ? INT64_MAX : (int64_t)value,
                               is_large ? given : NULL, err);
    if (rv != 0)
        (void)err_wrap(err, "%s%s", path, field->name);
    return rv;
}

static int words_check(const struct field *field, const void *item, const char *path,
                       struct err *err)
{
    const struct words *words = at(field, item);
    if (!words_whole(words))
        return err_set(err, ERR_INVALID, "%s%s: the list is damaged", path, field->name);
    if (words->count <= (uint64_t)field->max)
        return 0;
    return err_set(err, ERR_INVALID,
                   "%s%s: %" PRIu32 " entries are too many, at most %" PRId64 " are allowed", path,
                   field->name, words->count, field->max);
}

static int items_check(const struct field *field, const void *item, const char *path,
                       struct err *err)
{
    uint32_t count = field_count(field, item);
    const char *items = field_items(field, item);
    if (count > (uint64_t)field->max)
        return err_set(err, ERR_INVALID,
                       "%s%s: %" PRIu32 " entries are too many, at most %" PRId64 " are allowed",
                       path, field->name, count, field->max);
    for (uint32_t i = 0; i < count && !field->record->is_scalar; i++) {
        char inner[128];
        snprintf(inner, sizeof inner, "%s%s[%" PRIu32 "].", path, field->name, i);
        int rv = record_check(field->record, items + i * field->size, inner, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

int record_check(const struct record *record, const void *item, const char *path, struct err *err)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        int rv = 0;
        if (field_is_number(field))
            rv = number_check(field, item, path, err);
        else if (field->type == FIELD_WORDS)
            rv = words_check(field, item, path, err);
        else if (field->type == FIELD_ARRAY || field->type == FIELD_LIST)
            rv = items_check(field, item, path, err);
        else if (field->type == FIELD_RECORD)
            rv = record_check(field->record, at(field, item), path, err);
        else if (field->type == FIELD_TEXT && memchr(at(field, item), '\0', field->size) == NULL)
            rv = err_set(err, ERR_INVALID, "%s%s: the text has no end", path, field->name);
        if (rv != 0)
            return rv;
    }
    return 0;
}

void json_text_append(struct buf *to, const char *text)
{
    CLEANUP(buf_release) struct buf escaped = {0};
    if (!utf8_valid(text)) {
        utf8_escape(&escaped, text);
        text = buf_text(&escaped);
    }
    buf_append(to, "\"", 1);
    for (const char *c = text; *c != '\0';) {
        size_t plain = 0; /* bytes that stand for themselves */
        while ((unsigned char)c[plain] >= 0x20 && c[plain] != 0x7f && c[plain] != '"' &&
               c[plain] != '\\')
            plain++;
        buf_append(to, c, plain);
        c += plain;
        if (*c == '"' || *c == '\\')
            buf_printf(to, "\\%c", *c++);
        else if (*c != '\0')
            buf_printf(to, "\\u%04x", (unsigned)*c++);
    }
    buf_append(to, "\"", 1);
}

static void number_json(struct buf *to, const struct field *field, const void *item)
{
    uint64_t value = field_number(field, item);
    if (field->type == FIELD_BOOL || field->type == FIELD_FLAG)
        buf_put(to, value != 0 ? "true" : "false");
    else if (field->type == FIELD_ENUM)
        json_text_append(to, enumeration_text(field->choices, (unsigned)value));
    else if (field_is_signed(field))
        buf_printf(to, "%" PRId64, (int64_t)value);
    else
        buf_printf(to, "%" PRIu64, value);
}

static void words_json(struct buf *to, const struct words *words)
{
    const char *before = "[";
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w)) {
        buf_put(to, before);
        json_text_append(to, w);
        before = ",";
    }
    buf_put(to, words->count == 0 ? "[]" : "]");
}

static void map_json(struct buf *to, const struct words *words)
{
    const char *before = "{";
    for (const char *w = words_first(words); w != NULL; w = words_next(words, w)) {
        CLEANUP(free_ptr) char *name = xstrdup(w);
        name[strcspn(name, "=")] = '\0';
        buf_put(to, before);
        json_text_append(to, name);
        buf_put(to, ":");
        json_text_append(to, w + MIN(strlen(name) + 1, strlen(w)));
        before = ",";
    }
    buf_put(to, words->count == 0 ? "{}" : "}");
}

void field_json(struct buf *to, const struct field *field, const void *item)
{
    if (field_is_number(field)) {
        number_json(to, field, item);
    } else if (field->type == FIELD_TEXT || field->type == FIELD_STRING) {
        json_text_append(to, field_text(field, item));
    } else if (field->type == FIELD_WORDS && (field->form == FORM_MAP || field->form == FORM_ENV)) {
        map_json(to, at(field, item));
    } else if (field->type == FIELD_WORDS) {
        words_json(to, at(field, item));
    } else if (field->type == FIELD_RECORD) {
        record_json(to, field->record, at(field, item));
    } else if (field->type == FIELD_BYTES) {
        buf_printf(to, "%zu", bytes_size(field, item)); /* bytes have no form in JSON */
    } else {
        const char *items = field_items(field, item);
        uint32_t count = field_count(field, item);
        for (uint32_t i = 0; i < count; i++) {
            buf_put(to, i == 0 ? "[" : ",");
            record_json(to, field->record, items + i * field->size);
        }
        buf_put(to, count == 0 ? "[]" : "]");
    }
}

void record_json(struct buf *to, const struct record *record, const void *item)
{
    if (record->is_scalar) {
        field_json(to, &record->fields[0], item);
        return;
    }
    for (uint32_t i = 0; i < record->count; i++) {
        buf_append(to, i == 0 ? "{" : ",", 1);
        json_text_append(to, record->fields[i].name);
        buf_append(to, ":", 1);
        field_json(to, &record->fields[i], item);
    }
    if (record->count == 0)
        buf_append(to, "{", 1);
    buf_append(to, "}", 1);
}

void record_text(struct buf *to, const struct record *record, const void *item)
{
    const char *before = "";
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (field_is_initial(field, item))
            continue;
        buf_printf(to, "%s%s=", before, field->name);
        field_json(to, field, item);
        before = " ";
    }
}
