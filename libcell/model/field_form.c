/*
 * field_form.c - reading what people write, one field at a time.
 */
#include "field_form.h"

#include "quantity.h"

#include <stdlib.h>
#include <string.h>

void choices_print(struct buf *to, const struct enumeration *choices)
{
    for (unsigned i = 0; i < choices->count; i++)
        buf_printf(to, "%s%s",
                   i == 0                    ? ""
                   : i + 1 == choices->count ? " or "
                                             : ", ",
                   choices->texts[i]);
}

int field_amount_parse(const struct field *field, const char *text, int64_t *ret, struct err *err)
{
    char *end;
    if (field->form == FORM_MILLI)
        return quantity_parse_milli(text, ret, err);
    if (field->form == FORM_BYTES)
        return quantity_parse_bytes(text, ret, err);
    if (field->form == FORM_MS)
        return quantity_parse_ms(text, ret, err);
    *ret = strtoll(text, &end, 10);
    if (end != text && *end == '\0')
        return 0;
    return err_set(err, ERR_INVALID, "\"%.60s\" is not a whole number", text);
}

static int number_parse(const struct field *field, void *item, const char *text, struct err *err)
{
    int64_t value = field->form == FORM_PRIORITY ? band_priority(text) : -1;
    int rv = value >= 0 ? 0 : field_amount_parse(field, text, &value, err);
    if (rv == 0)
        rv = field_value_check(field, value, text, err);
    if (rv == 0)
        field_set_number(field, item, (uint64_t)value);
    return rv;
}

static int choice_parse(const struct field *field, void *item, const char *text, struct err *err)
{
    CLEANUP(buf_release) struct buf choices = {0};
    int value = enumeration_parse(field->choices, text);
    if (value >= 0) {
        field_set_number(field, item, (uint64_t)value);
        return 0;
    }
    choices_print(&choices, field->choices);
    return err_set(err, ERR_INVALID, "\"%.60s\" is not %s", text, buf_text(&choices));
}

static int text_parse(const struct field *field, void *item, const char *text, struct err *err)
{
    char *to = (char *)item + field->offset;
    if (field->form == FORM_NAME && !name_valid(text))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is not a name: 1 to %d of a-z 0-9 . _ - and starting with a "
                       "letter or a digit",
                       text, CELL_NAME_MAX);
    if (strlen(text) > (uint64_t)field->max)
        return err_set(err, ERR_INVALID, "has %zu bytes, at most %" PRId64 " are allowed",
                       strlen(text), field->max);
    if (field->type == FIELD_TEXT) {
        str_copy(to, field->size, text);
        return 0;
    }
    free(*(char **)(void *)to);
    *(char **)(void *)to = xstrdup(text);
    return 0;
}

int field_parse(const struct field *field, void *item, const char *text, struct err *err)
{
    bool is_true = strcmp(text, "true") == 0;
    if (field->type == FIELD_ENUM)
        return choice_parse(field, item, text, err);
    if (field->type == FIELD_TEXT || field->type == FIELD_STRING)
        return text_parse(field, item, text, err);
    ASSERT(field_is_number(field));
    if (field->type != FIELD_BOOL && field->type != FIELD_FLAG)
        return number_parse(field, item, text, err);
    if (!is_true && strcmp(text, "false") != 0)
        return err_set(err, ERR_INVALID, "\"%.60s\" is neither true nor false", text);
    field_set_number(field, item, is_true);
    return 0;
}

void record_set_defaults(const struct record *record, void *item)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        struct err err;
        if (field->otherwise != NULL && field->otherwise[0] != '\0' &&
            field_parse(field, item, field->otherwise, &err) != 0)
            PANIC("the default of %s of a %s: %s", field->name, record->name, err.msg);
    }
}
