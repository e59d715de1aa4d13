/*
 * spec_print.c - a spec as one would write it, every field with its value.
 */
#include "spec_json_impl.h"

#include <stdlib.h>
#include <string.h>

static void terms_print(struct buf *to, const struct clause *clause)
{
    buf_put(to, clause->term_count == 1 ? "" : "[");
    for (uint32_t i = 0; i < clause->term_count; i++) {
        CLEANUP(buf_release) struct buf text = {0};
        term_print(&text, &clause->terms[i]);
        buf_put(to, i == 0 ? "" : ",");
        json_text_append(to, buf_text(&text));
    }
    buf_put(to, clause->term_count == 1 ? "" : "]");
}

static void constraints_print(struct buf *to, const struct clauses *clauses)
{
    buf_put(to, "[");
    for (uint32_t i = 0; i < clauses->count; i++) {
        const struct clause *clause = &clauses->items[i];
        bool is_plain = clause->weight == 0 && clause->term_count == 1;
        buf_printf(to, "%s%s", i == 0 ? "" : ",",
                   is_plain              ? ""
                   : clause->weight == 0 ? "{\"any\":"
                                         : "{\"prefer\":");
        terms_print(to, clause);
        if (clause->weight != 0)
            buf_printf(to, ",\"weight\":%" PRIu32, clause->weight);
        buf_put(to, is_plain ? "" : "}");
    }
    buf_put(to, "]");
}

/* Is the slot's resource in one of the shapes? Then all of them say how much, so that names come in
 * the order of their slots when they are read. */
static bool is_asked_for(const struct job_spec *spec, enum resource slot)
{
    for (uint32_t i = 0; i < spec_shape_count(spec); i++)
        if (spec_shape(spec, i)->v[slot] != 0)
            return true;
    return false;
}

static void limit_print(struct buf *to, const struct job_spec *spec, const struct resources *limit)
{
    const struct record *amounts = limit_record_of(spec->is_alloc_set);
    for (uint32_t i = 0; i < amounts->count; i++) {
        buf_printf(to, "%s\"%s\":", i == 0 ? "{" : ",", amounts->fields[i].name);
        spec_value_print(to, &amounts->fields[i], limit);
    }
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++) {
        if (!is_asked_for(spec, r))
            continue;
        buf_put(to, ",");
        json_text_append(to, resource_name(r, &spec->resource_names));
        buf_printf(to, ":%" PRId64, limit->v[r]);
    }
    buf_put(to, "}");
}

/* The limit itself when there are no others, else an array. */
static void resources_print_shapes(struct buf *to, const struct job_spec *spec)
{
    bool is_array = spec->alternative_count > 0;
    for (uint32_t i = 0; i < spec_shape_count(spec); i++) {
        buf_put(to, i > 0 ? "," : is_array ? "[" : "");
        limit_print(to, spec, spec_shape(spec, i));
    }
    buf_put(to, is_array ? "]" : "");
}

static void number_print(struct buf *to, const struct field *field, const void *item)
{
    uint64_t value = field_number(field, item);
    CLEANUP(buf_release) struct buf text = {0};
    if (field->type == FIELD_U64) {
        buf_printf(to, "%" PRIu64, value);
        return;
    }
    field_number_print(&text, field, (int64_t)value);
    bool is_bare = field->type != FIELD_ENUM && field->form != FORM_MILLI &&
                   field->form != FORM_BYTES && field->form != FORM_MS;
    if (is_bare)
        buf_append(to, text.bytes, text.size);
    else
        json_text_append(to, buf_text(&text));
}

static void items_print(struct buf *to, const struct field *field, const void *item)
{
    const char *items = field_items(field, item);
    buf_put(to, "[");
    for (uint32_t i = 0, count = field_count(field, item); i < count; i++) {
        const struct record *record = field->record;
        buf_put(to, i == 0 ? "" : ",");
        if (record->is_scalar)
            spec_value_print(to, &record->fields[0], items + i * field->size);
        else
            spec_object_print(to, record, items + i * field->size, "");
    }
    buf_put(to, "]");
}

static void plain_print(struct buf *to, const struct field *field, const void *item)
{
    const void *member = (const char *)item + field->offset;
    if (field_is_number(field))
        number_print(to, field, item);
    else if (field->type == FIELD_TEXT || field->type == FIELD_STRING || field->type == FIELD_WORDS)
        field_json(to, field, item);
    else if (field->type == FIELD_RECORD)
        spec_object_print(to, field->record, member, "");
    else
        items_print(to, field, item);
}

void spec_value_print(struct buf *to, const struct field *field, const void *item)
{
    switch (field->form) {
    case FORM_MAP:
    case FORM_ENV:
        field_json(to, field, item);
        return;
    case FORM_REPLICAS:
        if (((const struct job_spec *)item)->every_machine)
            buf_put(to, "\"every-machine\"");
        else
            number_print(to, field, item);
        return;
    case FORM_RESOURCES:
        resources_print_shapes(to, item);
        return;
    case FORM_CONSTRAINTS:
        constraints_print(to, &((const struct job_spec *)item)->constraints);
        return;
    case FORM_PLAIN:
    case FORM_MILLI:
    case FORM_BYTES:
    case FORM_MS:
    case FORM_NAME:
    case FORM_NAMES:
    case FORM_COMMAND:
    case FORM_PRIORITY:
    case FORM_SPREAD:
    case FORM_TASK:
    case FORM_GPUS:
        plain_print(to, field, item);
        return;
    }
    UNREACHABLE("form of a field");
}

static void members_print(struct buf *to, const struct record *record, const void *item,
                          const char *group, const char *skip)
{
    struct spec_child child = {0};
    const char *before = "{";
    while (spec_child_next(record, group, &child)) {
        const struct field *leaf = child.leaf;
        if ((leaf != NULL && leaf->form == FORM_NAME && field_is_initial(leaf, item)) ||
            strcmp(child.group, skip) == 0)
            continue; /* "" is no name */
        buf_put(to, before);
        json_text_append(to, child.name);
        buf_put(to, ":");
        if (leaf != NULL)
            spec_value_print(to, leaf, item);
        else
            members_print(to, record, item, child.group, skip);
        before = ",";
    }
    buf_put(to, before[0] == '{' ? "{}" : "}");
}

void spec_object_print(struct buf *to, const struct record *record, const void *item,
                       const char *skip)
{
    members_print(to, record, item, "", skip);
}

void spec_json_print(struct buf *to, const struct job_spec *spec)
{
    spec_object_print(to, &job_spec_record, spec, spec->is_alloc_set ? "task" : "alloc");
}

json_t *spec_json(const struct job_spec *spec)
{
    CLEANUP(buf_release) struct buf text = {0};
    spec_json_print(&text, spec);
    json_t *json = json_loads(buf_text(&text), 0, NULL);
    ASSERT(json != NULL);
    return json;
}

void spec_difference_json(struct buf *to, const struct spec_difference *difference,
                          const struct job_spec *spec)
{
    if (difference->amount != NULL)
        spec_value_print(to, difference->amount, &spec->limit);
    else
        spec_value_print(to, difference->field, spec);
}

void spec_difference_path(struct buf *to, const struct spec_difference *difference,
                          const struct job_spec *spec)
{
    const struct field *field = difference->field;
    bool is_alloc = spec->is_alloc_set && (field->flags & FIELD_IN_ALLOC) != 0;
    buf_printf(to, "%s%s", is_alloc ? "alloc" : "", field->name + (is_alloc ? strlen("task") : 0));
    if (difference->amount != NULL)
        buf_printf(to, ".%s", difference->amount->name);
}
