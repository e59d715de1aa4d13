/*
 * store_sql_json.c - columns that are JSON: lists, maps, and devices by number.
 *
 * Reading is strict: types, ranges, lengths, names. Objects may lack fields that are newer than the
 * oldest format, and may have ones that this release does not know, if those say nothing: the cell
 * does not use a format that a member does not know.
 */
#include "store_sql.h"

#include "devices.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

bool sql_is_json(const struct field *field)
{
    return field->form == FORM_GPUS || field->type == FIELD_WORDS || field->type == FIELD_ARRAY ||
           field->type == FIELD_LIST;
}

bool sql_number_fits(const struct field *field, int64_t value)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_FLAG:
        return value == 0 || value == 1;
    case FIELD_U16:
        return value >= 0 && value <= UINT16_MAX;
    case FIELD_U32:
        return value >= 0 && value <= UINT32_MAX;
    case FIELD_I32:
        return value >= INT32_MIN && value <= INT32_MAX;
    case FIELD_U64:
    case FIELD_I64:
        return true;
    case FIELD_ENUM:
    case FIELD_TEXT:
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_WORDS:
    case FIELD_RECORD:
    case FIELD_ARRAY:
    case FIELD_LIST:
        break;
    }
    UNREACHABLE("a field that is no number in SQL");
}

static void device_list_print(struct buf *to, uint64_t devices)
{
    const char *before = "[";
    for (unsigned i = 0; i < DEVICES_MAX; i++) {
        if ((devices >> i & 1) == 0)
            continue;
        buf_printf(to, "%s%u", before, i);
        before = ",";
    }
    buf_printf(to, devices == 0 ? "[]" : "]");
}

void sql_json_print(struct buf *to, const struct field *field, const void *item)
{
    if (field->form == FORM_GPUS)
        device_list_print(to, field_number(field, item));
    else
        field_json(to, field, item);
}

static int no(const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s", what);
}

static int item_take(const struct record *record, void *item, json_t *value, struct err *err);

static int number_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    if (field->type == FIELD_BOOL || field->type == FIELD_FLAG) {
        if (!json_is_boolean(value))
            return no("an entry is neither true nor false", err);
        field_set_number(field, item, json_is_true(value));
        return 0;
    }
    if (field->type == FIELD_ENUM) {
        int number = json_is_string(value)
                         ? enumeration_parse(field->choices, json_string_value(value))
                         : -1;
        if (number < 0)
            return err_set(err, ERR_CORRUPT, "an entry is no %s", field->choices->name);
        field_set_number(field, item, (uint64_t)number);
        return 0;
    }
    if (!json_is_integer(value))
        return no("an entry is no number", err);
    int64_t number = json_integer_value(value);
    if (!sql_number_fits(field, number) || (number < 0 && !field_is_signed(field)))
        return no("a number is out of range", err);
    field_set_number(field, item, (uint64_t)number);
    return 0;
}

static int text_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    if (!json_is_string(value))
        return no("an entry is no text", err);
    if (json_string_length(value) > (uint64_t)field->max)
        return no("a text is too long", err);
    char *to = (char *)item + field->offset;
    const char *text = json_string_value(value);
    if (field->type == FIELD_TEXT)
        str_copy(to, field->size, text);
    else if (text[0] != '\0')
        *(char **)(void *)to = xstrdup(text);
    return 0;
}

static int words_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    struct words *words = (void *)((char *)item + field->offset);
    size_t i;
    json_t *word;
    if (!json_is_array(value))
        return no("it is no JSON list", err);
    if (json_array_size(value) > (uint64_t)field->max)
        return no("its list is too long", err);
    json_array_foreach(value, i, word)
    {
        if (!json_is_string(word))
            return no("an entry is no text", err);
        words_add(words, json_string_value(word));
    }
    return 0;
}

static int map_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    struct words *words = (void *)((char *)item + field->offset);
    struct buf word CLEANUP(buf_release) = {0};
    const char *name;
    json_t *entry;
    if (!json_is_object(value))
        return no("it is no JSON object", err);
    if (json_object_size(value) > (uint64_t)field->max)
        return no("it has too many entries", err);
    json_object_foreach(value, name, entry)
    {
        if (!json_is_string(entry) || strchr(name, '=') != NULL)
            return no("an entry is no text, or its name has a '='", err);
        buf_clear(&word);
        buf_printf(&word, "%s=%s", name, json_string_value(entry));
        words_add(words, buf_text(&word));
    }
    return 0;
}

static int items_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    size_t count = json_array_size(value); /* 0 of what is no list */
    if (!json_is_array(value))
        return no("it is no JSON list", err);
    if (count > (uint64_t)field->max)
        return no("its list is too long", err);
    if (field->type == FIELD_LIST && count > 0)
        *(void **)(void *)((char *)item + field->offset) = xcalloc(count, field->size);
    field_set_count(field, item, (uint32_t)count);
    char *items = (char *)field_items(field, item);
    for (size_t i = 0; i < count; i++) {
        record_init(field->record, items + i * field->size);
        int rv = item_take(field->record, items + i * field->size, json_array_get(value, i), err);
        if (rv != 0)
            return rv;
    }
    if (field->count_offset == FIELD_UNCOUNTED && field_count(field, item) != count)
        return no("its list ends with an entry that says nothing", err);
    return 0;
}

static int value_take(const struct field *field, void *item, json_t *value, struct err *err)
{
    if (field_is_number(field))
        return number_take(field, item, value, err);
    if (field->type == FIELD_TEXT || field->type == FIELD_STRING)
        return text_take(field, item, value, err);
    if (field->type == FIELD_WORDS)
        return words_take(field, item, value, err);
    if (field->type == FIELD_RECORD)
        return item_take(field->record, (char *)item + field->offset, value, err);
    ASSERT(field->type == FIELD_ARRAY || field->type == FIELD_LIST);
    return items_take(field, item, value, err);
}

static bool says_nothing(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static bool has_field(const struct record *record, const char *name)
{
    for (uint32_t i = 0; i < record->count; i++)
        if (strcmp(record->fields[i].name, name) == 0)
            return true;
    return false;
}

/* An entry of a list, or a struct; it has its initial values. */
static int item_take(const struct record *record, void *item, json_t *value, struct err *err)
{
    const char *name;
    json_t *entry;
    if (record->is_scalar)
        return value_take(&record->fields[0], item, value, err);
    if (!json_is_object(value))
        return no("an entry is no JSON object", err);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        entry = json_object_get(value, field->name);
        if (entry == NULL && field->since <= CELL_FORMAT_MIN)
            return err_set(err, ERR_CORRUPT, "an entry has no \"%s\"", field->name);
        int rv = entry == NULL ? 0 : value_take(field, item, entry, err);
        if (rv != 0)
            return rv;
    }
    json_object_foreach(value, name, entry)
    {
        if (!has_field(record, name) && !says_nothing(entry))
            return no("an entry has a field that this release does not know", err);
    }
    return 0;
}

static int device_list_take(const struct field *field, void *item, const json_t *value,
                            struct err *err)
{
    uint64_t devices = 0;
    size_t i;
    json_t *device;
    if (!json_is_array(value))
        return no("it is no JSON list", err);
    json_array_foreach(value, i, device)
    {
        int64_t number = json_is_integer(device) ? json_integer_value(device) : -1;
        if (number < 0 || number >= DEVICES_MAX || devices >> number != 0)
            return no("it is no ascending list of devices", err);
        devices |= UINT64_C(1) << number;
    }
    field_set_number(field, item, devices);
    return 0;
}

/*
 * "[8080,8081]": most lists are of a few small numbers, and there is one in each row of tasks; the
 * library takes as long for it as the rest of the row. False: it is not like that, and the item is
 * as it was.
 */
static bool numbers_take(const struct field *field, void *item, const char *text, size_t size)
{
    enum { NUMBERS_MAX = 32, DIGITS_MAX = 9 };
    uint32_t numbers[NUMBERS_MAX], count = 0;
    if (field->type != FIELD_ARRAY || !field->record->is_scalar ||
        field->record->fields[0].type < FIELD_U16 || field->record->fields[0].type > FIELD_I64 ||
        size < 3 || text[0] != '[' || text[size - 1] != ']')
        return false;
    for (size_t at = 1; at < size; at++) {
        size_t begin = at;
        uint32_t number = 0;
        for (; text[at] >= '0' && text[at] <= '9' && at - begin < DIGITS_MAX; at++)
            number = number * 10 + (uint32_t)(text[at] - '0');
        bool ends = text[at] == ']' && at + 1 == size;
        if (at == begin || (text[begin] == '0' && at > begin + 1) || count == NUMBERS_MAX ||
            (text[at] != ',' && !ends))
            return false;
        numbers[count++] = number;
    }
    if (count > (uint64_t)field->max || numbers[count - 1] == 0)
        return false; /* the library finds the mistake, if it is one */
    for (uint32_t i = 0; i < count; i++)
        if (!sql_number_fits(&field->record->fields[0], numbers[i]))
            return false;
    for (uint32_t i = 0; i < count; i++)
        field_set_number(&field->record->fields[0], (char *)item + field->offset + i * field->size,
                         numbers[i]);
    field_set_count(field, item, count);
    return true;
}

int sql_json_take(const struct field *field, void *item, const char *text, size_t size,
                  struct err *err)
{
    bool is_map = field->type == FIELD_WORDS && field->form == FORM_MAP;
    json_error_t why;
    if (size == 2 && memcmp(text, is_map ? "{}" : "[]", 2) == 0)
        return 0; /* nearly all are */
    if (numbers_take(field, item, text, size))
        return 0;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    int rv;
    if (value == NULL)
        rv = no("it is no JSON", err);
    else if (field->form == FORM_GPUS)
        rv = device_list_take(field, item, value, err);
    else if (is_map)
        rv = map_take(field, item, value, err);
    else
        rv = value_take(field, item, value, err);
    json_decref(value);
    return rv;
}
