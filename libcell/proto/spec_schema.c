/*
 * spec_schema.c - the shape of a job as a JSON Schema, from the table of fields.
 *
 * A schema says shapes: types, names, bounds of numbers, choices, counts. It cannot say what
 * relates fields, nor judge a constraint; specs_json_read() does.
 */
#include "spec_json_impl.h"

#include <stdio.h>
#include <string.h>

#define NAME_PATTERN "^[a-z0-9][a-z0-9._-]{0,62}$"
#define VARIABLE_PATTERN "^[A-Za-z_][A-Za-z0-9_]*$"
#define RESOURCE_PATTERN "^[a-z][a-z0-9_-]{0,30}$"
#define DECIMAL "[0-9]+(\\\\.[0-9]+)?" /* as a string of JSON */
_Static_assert(CELL_NAME_MAX == 63 && RESOURCE_NAME_MAX == 31, "as the patterns say");

static void choices_schema(struct buf *to, const struct enumeration *choices)
{
    buf_printf(to, "\"enum\":[");
    for (unsigned i = 0; i < choices->count; i++)
        buf_printf(to, "%s\"%s\"", i == 0 ? "" : ",", choices->texts[i]);
    buf_printf(to, "]");
}

static void integer_schema(struct buf *to, const struct field *field, int64_t least)
{
    int64_t min, max;
    field_bounds(field, &min, &max);
    buf_printf(to, "\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64,
               MAX(min, least), max);
}

/* A text with a unit, or a number in the unit that a bare text has. */
static void amount_schema(struct buf *to, const struct field *field)
{
    bool is_milli = field->form == FORM_MILLI;
    int64_t unit = field->form == FORM_BYTES ? 1 : 1000, min, max;
    field_bounds(field, &min, &max);
    buf_printf(to,
               "\"type\":[\"string\",\"number\"],\"pattern\":\"^" DECIMAL "%s$\",\"%s\":0,"
               "\"maximum\":%" PRId64,
               is_milli                    ? "m?"
               : field->form == FORM_BYTES ? "(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?"
                                           : "(ms|s|m|h|d)?",
               min > 0 ? "exclusiveMinimum" : "minimum", max / unit);
}

static void map_schema(struct buf *to, const struct field *field)
{
    bool is_env = field->form == FORM_ENV;
    buf_printf(to,
               "\"type\":\"object\",\"maxProperties\":%" PRId64 ",\"propertyNames\":{\"pattern\":"
               "\"%s\"},\"additionalProperties\":{\"type\":[\"string\",\"boolean\",\"integer\"],"
               "\"minimum\":%" PRId64 ",\"maximum\":%" PRId64,
               field->max, is_env ? VARIABLE_PATTERN : NAME_PATTERN, 1 - JSON_EXACT_MAX,
               JSON_EXACT_MAX - 1);
    if (!is_env)
        buf_printf(to, ",\"maxLength\":%d", ATTRIBUTE_VALUE_MAX);
    buf_printf(to, "}");
}

static void member_open(struct buf *to, bool is_first, const char *name, const char *doc)
{
    buf_printf(to, "%s", is_first ? "" : ",");
    json_text_append(to, name);
    buf_printf(to, ":{");
    if (doc == NULL || doc[0] == '\0')
        return;
    buf_printf(to, "\"description\":");
    json_text_append(to, doc);
    buf_printf(to, ",");
}

static void field_schema(struct buf *to, const struct field *field, bool is_alloc);

/* Append the default of a field as a user would write it. */
static void default_schema(struct buf *to, const struct field *field)
{
    const char *text = field->otherwise;
    if (text == NULL || text[0] == '\0')
        return;
    bool is_bare = field->type == FIELD_BOOL || field->type == FIELD_FLAG ||
                   (field_is_number(field) && strspn(text, "-0123456789") == strlen(text));
    buf_printf(to, ",\"default\":");
    if (is_bare)
        buf_printf(to, "%s", text);
    else
        json_text_append(to, text);
}

static void property(struct buf *to, bool is_first, const struct field *field, bool is_alloc)
{
    member_open(to, is_first,
                strrchr(field->name, '.') != NULL ? strrchr(field->name, '.') + 1 : field->name,
                field->doc);
    field_schema(to, field, is_alloc);
    default_schema(to, field);
    buf_printf(to, "}");
}

/* Names of fields cannot be names of resources: they stand in the wrong place. */
static void line_exclude(void *data, const struct spec_line *line)
{
    const char *dot = strrchr(line->path, '.');
    struct buf *to = data;
    buf_printf(to, "%s\"%s\"", to->size == 0 ? "" : ",", dot == NULL ? line->path : dot + 1);
}

static void limit_schema(struct buf *to, bool is_alloc)
{
    const struct record *amounts = limit_record_of(is_alloc);
    CLEANUP(buf_release) struct buf taken = {0};
    buf_printf(to, "\"type\":\"object\",\"properties\":{");
    for (uint32_t i = 0; i < amounts->count; i++)
        property(to, i == 0, &amounts->fields[i], is_alloc);
    spec_lines(line_exclude, &taken);
    buf_printf(to,
               "},\"propertyNames\":{\"pattern\":\"" RESOURCE_PATTERN "\",\"anyOf\":[{\"enum\":[");
    for (uint32_t i = 0; i < amounts->count; i++)
        buf_printf(to, "%s\"%s\"", i == 0 ? "" : ",", amounts->fields[i].name);
    buf_printf(to,
               "]},{\"not\":{\"enum\":[%s]}}]},\"additionalProperties\":{\"type\":\"integer\","
               "\"minimum\":0,\"maximum\":%" PRId64 "}",
               buf_text(&taken), RESOURCE_AMOUNT_MAX);
}

static void resources_schema(struct buf *to, bool is_alloc)
{
    if (is_alloc) {
        limit_schema(to, true);
        return;
    }
    buf_printf(to, "\"anyOf\":[{");
    limit_schema(to, false);
    buf_printf(to, "},{\"type\":\"array\",\"minItems\":1,\"maxItems\":%d,\"items\":{",
               SPEC_SHAPES_MAX);
    limit_schema(to, false);
    buf_printf(to, "}}]");
}

static void constraints_schema(struct buf *to, const struct field *field)
{
    char terms[160];
    snprintf(terms, sizeof terms,
             "{\"type\":[\"string\",\"array\"],\"minItems\":1,\"maxItems\":%d,\"items\":{\"type\":"
             "\"string\"}}",
             SPEC_TERMS_MAX);
    buf_printf(to,
               "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"items\":{\"anyOf\":[{\"type\":"
               "\"string\"},{\"type\":\"object\",\"properties\":{\"any\":%s},\"required\":[\"any\"]"
               ",\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"prefer\":%s"
               ",\"weight\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":%d,\"default\":%d}},"
               "\"required\":[\"prefer\"],\"additionalProperties\":false}]}",
               field->max, terms, terms, WEIGHT_MAX, WEIGHT_MAX / 2);
}

static void words_schema(struct buf *to, const struct field *field, const char *item)
{
    buf_printf(to, "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"items\":{\"type\":\"string\"%s}",
               field->max, item);
}

static void plain_schema(struct buf *to, const struct field *field)
{
    switch (field->type) {
    case FIELD_BOOL:
    case FIELD_FLAG:
        buf_printf(to, "\"type\":\"boolean\"");
        return;
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I32:
    case FIELD_I64:
        integer_schema(to, field, INT64_MIN);
        return;
    case FIELD_ENUM:
        choices_schema(to, field->choices);
        return;
    case FIELD_TEXT:
    case FIELD_STRING:
        buf_printf(to, "\"type\":\"string\",\"maxLength\":%" PRId64, field->max);
        return;
    case FIELD_WORDS:
        words_schema(to, field, "");
        return;
    case FIELD_RECORD:
        spec_schema_object(to, field->record, "");
        return;
    case FIELD_ARRAY:
    case FIELD_LIST:
        buf_printf(to, "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"items\":{", field->max);
        if (field->record->is_scalar)
            field_schema(to, &field->record->fields[0], false);
        else
            spec_schema_object(to, field->record, "");
        buf_printf(to, "}");
        return;
    case FIELD_BYTES:
        break;
    }
    UNREACHABLE("a type that has no form in JSON");
}

static void field_schema(struct buf *to, const struct field *field, bool is_alloc)
{
    switch (field->form) {
    case FORM_PLAIN:
    case FORM_SPREAD:
        plain_schema(to, field);
        return;
    case FORM_MILLI:
    case FORM_BYTES:
    case FORM_MS:
        amount_schema(to, field);
        return;
    case FORM_NAME:
        buf_printf(to, "\"type\":\"string\",\"pattern\":\"" NAME_PATTERN "\"");
        return;
    case FORM_NAMES:
        words_schema(to, field, ",\"pattern\":\"" NAME_PATTERN "\"");
        buf_printf(to, ",\"uniqueItems\":true");
        return;
    case FORM_MAP:
    case FORM_ENV:
        map_schema(to, field);
        return;
    case FORM_COMMAND:
        buf_printf(to, "\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{");
        words_schema(to, field, "");
        buf_printf(to, ",\"minItems\":1,\"prefixItems\":[{\"type\":\"string\",\"minLength\":1}]}]");
        return;
    case FORM_PRIORITY:
        buf_printf(to, "\"anyOf\":[{");
        integer_schema(to, field, 0);
        buf_printf(to, "},{");
        choices_schema(to, &bands);
        buf_printf(to, "}]");
        return;
    case FORM_REPLICAS:
        buf_printf(to, "\"anyOf\":[{");
        integer_schema(to, field, 1);
        buf_printf(to, "},{\"const\":\"every-machine\"}]");
        return;
    case FORM_RESOURCES:
        resources_schema(to, is_alloc);
        return;
    case FORM_CONSTRAINTS:
        constraints_schema(to, field);
        return;
    case FORM_TASK:
    case FORM_GPUS:
        break;
    }
    UNREACHABLE("a form that no spec has");
}

void spec_schema_object(struct buf *to, const struct record *record, const char *group)
{
    struct spec_child child = {0};
    CLEANUP(buf_release) struct buf required = {0};
    bool is_alloc = strncmp(group, "alloc", strlen("alloc")) == 0, is_first = true;
    buf_printf(to, "\"type\":\"object\",\"properties\":{");
    while (spec_child_next(record, group, &child)) {
        bool is_job = record == &job_spec_record && group[0] == '\0';
        if (child.leaf != NULL) {
            property(to, is_first, child.leaf, is_alloc);
        } else {
            member_open(to, is_first, child.name, spec_group_doc(child.group));
            spec_schema_object(to, record, child.group);
            buf_printf(to, "}");
        }
        is_first = false;
        bool is_required = child.leaf != NULL ? child.leaf->otherwise == NULL
                                              : !is_job && spec_group_required(record, child.group);
        if (!is_required)
            continue;
        buf_printf(&required, "%s", required.size == 0 ? "" : ",");
        json_text_append(&required, child.name);
    }
    buf_printf(to, "},\"additionalProperties\":false");
    if (required.size > 0)
        buf_printf(to, ",\"required\":[%s]", buf_text(&required));
}

void spec_schema_print(struct buf *to)
{
    buf_printf(to,
               "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
               "\"title\":\"a job, or an array of jobs\",\"anyOf\":[{\"$ref\":\"#/$defs/job\"},"
               "{\"type\":\"array\",\"minItems\":1,\"maxItems\":%d,\"items\":{\"$ref\":"
               "\"#/$defs/job\"}}],\"$defs\":{\"job\":{",
               SPECS_MAX);
    spec_schema_object(to, &job_spec_record, "");
    buf_printf(to, ",\"oneOf\":[{\"required\":[\"task\"]},{\"required\":[\"alloc\"]}]}}}");
}
