/*
 * spec_read_value.c - single values of a spec: checked, and put where they belong.
 *
 * Numbers come from Jsonnet and are doubles; they become integers here, exactly or not at all.
 */
#include "spec_json_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A number as people write it, for the parsers of quantities and for messages. Of a fraction 15
 * digits: 0.1 + 0.2 is 0.3 to who wrote it. */
static void number_print(char to[32], const json_t *v)
{
    double d = json_number_value(v);
    if (json_is_integer(v))
        snprintf(to, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (d == floor(d) && fabs(d) < 1e18)
        snprintf(to, 32, "%.0f", d);
    else
        snprintf(to, 32, "%.15g", d);
}

bool spec_number_read(struct spec_reader *r, const struct field *field, const json_t *v,
                      int64_t *ret)
{
    char text[32];
    struct err err;
    double d = json_number_value(v);
    number_print(text, v);
    if (!json_is_number(v)) {
        spec_problem(r, "must be a number, not %s", json_kind_text(v));
        return false;
    }
    if (d != floor(d)) {
        spec_problem(r, "%s is not a whole number", text);
        return false;
    }
    *ret = json_is_integer(v) ? json_integer_value(v)
           : d >= 0x1p63      ? INT64_MAX
           : d < -0x1p63      ? INT64_MIN
                              : (int64_t)d;
    if (field_value_check(field, *ret, text, &err) != 0)
        spec_problem(r, "%s", err.msg);
    else if (!json_is_integer(v) && fabs(d) >= 0x1p63)
        spec_problem(r, "%s is too large a number", text);
    else
        return true;
    return false;
}

static void integer_read(struct spec_reader *r, const struct field *field, void *item,
                         const json_t *v)
{
    int64_t value;
    if (spec_number_read(r, field, v, &value))
        field_set_number(field, item, (uint64_t)value);
}

static void replicas_read(struct spec_reader *r, const struct field *field, struct job_spec *spec,
                          const json_t *v)
{
    const char *text = json_string_value(v);
    struct field number = *field;
    number.min = 1;
    spec->every_machine = text != NULL && strcmp(text, "every-machine") == 0;
    if (spec->every_machine)
        spec->replicas = 0; /* the cell counts its machines */
    else if (text != NULL)
        spec_problem(r, "\"%.60s\" is neither a number nor every-machine", text);
    else
        integer_read(r, &number, spec, v);
}

static void priority_read(struct spec_reader *r, const struct field *field, void *item,
                          const json_t *v)
{
    CLEANUP(buf_release) struct buf names = {0};
    if (!json_is_string(v)) {
        integer_read(r, field, item, v);
        return;
    }
    int priority = band_priority(json_string_value(v));
    for (unsigned i = 0; i < bands.count; i++)
        buf_printf(&names, "%s%s", i == 0 ? "" : ", ", bands.texts[i]);
    if (priority >= 0)
        field_set_number(field, item, (uint64_t)priority);
    else
        spec_problem(r, "\"%.60s\" is none of %s, nor a number", json_string_value(v),
                     buf_text(&names));
}

/* Read a value of a type that field_parse() accepts; a number is parsed as the text of its digits.
 */
static void text_read(struct spec_reader *r, const struct field *field, void *item, const json_t *v)
{
    CLEANUP(buf_release) struct buf choices = {0};
    char number[32];
    struct err err;
    bool is_amount = field_is_number(field) && field->type != FIELD_ENUM;
    if (field->type == FIELD_ENUM)
        choices_print(&choices, field->choices);
    number_print(number, v);
    if (!json_is_string(v) && !(is_amount && json_is_number(v)))
        spec_problem(r, "must be a string%s%s%s, not %s",
                     is_amount                   ? " or a number"
                     : field->type == FIELD_ENUM ? " ("
                                                 : "",
                     buf_text(&choices), field->type == FIELD_ENUM ? ")" : "", json_kind_text(v));
    else if (field_parse(field, item, json_is_string(v) ? json_string_value(v) : number, &err) < 0)
        spec_problem(r, "%s", err.msg);
}

static void boolean_read(struct spec_reader *r, const struct field *field, void *item,
                         const json_t *v)
{
    if (json_is_boolean(v))
        field_set_number(field, item, json_is_true(v));
    else
        spec_problem(r, "must be true or false, not %s", json_kind_text(v));
}

static void word_add(struct spec_reader *r, const struct field *field, struct words *to,
                     const json_t *v)
{
    const char *word = json_string_value(v);
    bool is_name = field->form == FORM_NAMES;
    if (word == NULL) {
        spec_problem(r, "must be %s, not %s (%s)", is_name ? "a name" : "a string",
                     json_kind_text(v), field->doc);
        return;
    }
    for (const char *w = words_first(to); is_name && w != NULL; w = words_next(to, w))
        if (strcmp(w, word) == 0) {
            spec_problem(r, "\"%s\" is there twice", word);
            return;
        }
    if (is_name && !name_valid(word))
        spec_problem(r, "\"%.80s\" is not a name: [a-z0-9._-], at most %d", word, CELL_NAME_MAX);
    else if (field->form == FORM_COMMAND && to->count == 0 && word[0] == '\0')
        spec_problem(r, "is empty");
    else
        words_add(to, word);
}

static void words_read(struct spec_reader *r, const struct field *field, struct words *to,
                       const json_t *v)
{
    size_t count = json_array_size(v);
    const char *what = field->form == FORM_NAMES ? "names" : "words";
    if (!json_is_array(v))
        spec_problem(r, "must be an array of %s%s, not %s", what,
                     field->form == FORM_COMMAND ? ", or a string for /bin/sh -c" : "",
                     json_kind_text(v));
    else if (count > (uint64_t)field->max)
        spec_problem(r, "has %zu %s, at most %" PRId64 " are allowed", count, what, field->max);
    for (size_t i = 0; i < count && count <= (uint64_t)field->max; i++) {
        size_t at = spec_enter_item(r, i);
        word_add(r, field, to, json_array_get(v, i));
        spec_leave(r, at);
    }
}

static void command_read(struct spec_reader *r, const struct field *field, struct words *to,
                         const json_t *v)
{
    if (json_is_string(v) ? json_string_length(v) == 0
                          : json_is_array(v) && json_array_size(v) == 0) {
        spec_problem(r, "is empty");
    } else if (json_is_string(v)) {
        words_add(to, "/bin/sh");
        words_add(to, "-c");
        words_add(to, json_string_value(v));
    } else {
        words_read(r, field, to, v);
    }
}

static bool variable_name_valid(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    return n > 0 && name[n] == '\0' && !(name[0] >= '0' && name[0] <= '9');
}

/* Numbers are doubles in Jsonnet and 64 bits in JSON: only small whole ones surely have the digits
 * that were written. */
static bool number_keeps_digits(const json_t *v)
{
    json_int_t n = json_integer_value(v);
    return json_is_integer(v) && n < JSON_EXACT_MAX && n > -JSON_EXACT_MAX;
}

static void entry_add(struct spec_reader *r, const struct field *field, struct words *to,
                      const char *key, const json_t *v)
{
    CLEANUP(buf_release) struct buf entry = {0};
    char number[32];
    number_print(number, v);
    const char *text = json_is_string(v)    ? json_string_value(v)
                       : json_is_boolean(v) ? (json_is_true(v) ? "true" : "false")
                                            : number;
    buf_printf(&entry, "%s=%s", key, text);
    if (field->form == FORM_ENV && !variable_name_valid(key))
        spec_problem(r, "is not a variable's name: letters, digits and _, no digit first");
    else if (field->form == FORM_MAP && !name_valid(key))
        spec_problem(r, "is not a name: [a-z0-9._-], at most %d", CELL_NAME_MAX);
    else if (json_is_object(v) || json_is_array(v) || json_is_null(v))
        spec_problem(r, "must be a string, a number or a boolean, not %s", json_kind_text(v));
    else if (json_is_number(v) && !number_keeps_digits(v))
        spec_problem(r, "a fraction, or more than 15 digits: write it as a string (\"...\"), a "
                        "number may lose digits");
    else if (field->form == FORM_MAP && strlen(text) > ATTRIBUTE_VALUE_MAX)
        spec_problem(r, "has %zu bytes, at most %d are allowed", strlen(text), ATTRIBUTE_VALUE_MAX);
    else
        words_add(to, buf_text(&entry));
}

static void map_read(struct spec_reader *r, const struct field *field, struct words *to,
                     const json_t *v)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        spec_problem(r, "must be an object of NAME: value, not %s", json_kind_text(v));
        return;
    }
    if (json_object_size(v) > (uint64_t)field->max) {
        spec_problem(r, "has %zu entries, at most %" PRId64 " are allowed", json_object_size(v),
                     field->max);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        size_t at = spec_enter(r, key);
        entry_add(r, field, to, key, value);
        spec_leave(r, at);
    }
}

static void record_read(struct spec_reader *r, const struct record *record, void *item,
                        const json_t *v)
{
    record_init(record, item);
    if (record->is_scalar) {
        spec_value_read(r, &record->fields[0], item, v);
        return;
    }
    record_set_defaults(record, item);
    if (json_is_object(v)) {
        spec_object_read(r, record, item, "", v);
        return;
    }
    CLEANUP(buf_release) struct buf members = {0};
    struct spec_child child = {0};
    while (spec_child_next(record, "", &child))
        buf_printf(&members, "%s%s", members.size == 0 ? "" : ", ", child.name);
    spec_problem(r, "must be an object {%s}, not %s", buf_text(&members), json_kind_text(v));
}

/* spec_valid() says it, too, but only of jobs without other mistakes. */
static void spread_check(struct spec_reader *r, const struct spread *spread)
{
    if (spread->max == 0 && spread->weight == 0)
        spec_problem(r, "says neither max nor weight, one is needed");
}

static void items_read(struct spec_reader *r, const struct field *field, void *item,
                       const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v) || count > (uint64_t)field->max) {
        if (json_is_array(v))
            spec_problem(r, "has %zu entries, at most %" PRId64 " are allowed", count, field->max);
        else
            spec_problem(r, "must be an array, not %s", json_kind_text(v));
        return;
    }
    if (field->type == FIELD_LIST)
        *(void **)(void *)((char *)item + field->offset) = xcalloc(count + 1, field->size);
    field_set_count(field, item, (uint32_t)count);
    char *items = (char *)(uintptr_t)field_items(field, item);
    for (size_t i = 0; i < count; i++) {
        size_t at = spec_enter_item(r, i), before = r->problem_count;
        record_read(r, field->record, items + i * field->size, json_array_get(v, i));
        if (field->form == FORM_SPREAD && r->problem_count == before)
            spread_check(r, (const void *)(items + i * field->size));
        spec_leave(r, at);
    }
}

static void plain_read(struct spec_reader *r, const struct field *field, void *item,
                       const json_t *v)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_FLAG:
        boolean_read(r, field, item, v);
        return;
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
        integer_read(r, field, item, v);
        return;
    case FIELD_ENUM:
    case FIELD_TEXT:
    case FIELD_STRING:
        text_read(r, field, item, v);
        return;
    case FIELD_WORDS:
        words_read(r, field, (void *)((char *)item + field->offset), v);
        return;
    case FIELD_RECORD:
        record_read(r, field->record, (char *)item + field->offset, v);
        return;
    case FIELD_ARRAY:
    case FIELD_LIST:
        items_read(r, field, item, v);
        return;
    case FIELD_BYTES:
        break;
    }
    UNREACHABLE("a type that has no form in JSON");
}

void spec_value_read(struct spec_reader *r, const struct field *field, void *item, const json_t *v)
{
    void *member = (char *)item + field->offset;
    switch (field->form) {
    case FORM_PLAIN:
        plain_read(r, field, item, v);
        return;
    case FORM_MILLI:
    case FORM_BYTES:
    case FORM_MS:
    case FORM_NAME:
        text_read(r, field, item, v);
        return;
    case FORM_MAP:
    case FORM_ENV:
        map_read(r, field, member, v);
        return;
    case FORM_NAMES:
        words_read(r, field, member, v);
        return;
    case FORM_COMMAND:
        command_read(r, field, member, v);
        return;
    case FORM_PRIORITY:
        priority_read(r, field, item, v);
        return;
    case FORM_REPLICAS:
        replicas_read(r, field, item, v);
        return;
    case FORM_RESOURCES:
        spec_resources_read(r, v);
        return;
    case FORM_CONSTRAINTS:
        spec_constraints_read(r, field, v);
        return;
    case FORM_SPREAD:
        items_read(r, field, item, v);
        return;
    case FORM_TASK:
    case FORM_GPUS:
        break;
    }
    UNREACHABLE("a form that no spec has");
}
