/*
 * spec_read_places.c - what tasks need of machines, and on which of them they may run.
 */
#include "spec_json_impl.h"

#include <math.h>
#include <string.h>

/* Whether some machine offers it the cell knows. */
void spec_named_read(struct spec_reader *r, struct resources *limit, const char *name,
                     const json_t *v)
{
    double d = json_number_value(v);
    size_t at = spec_enter(r, name);
    enum resource slot = RES_COUNT;
    if (strcmp(name, "NAME") == 0)
        spec_problem(r, "stands for the name of what the cell's machines offer");
    else if (!json_is_number(v) || d != floor(d) || d < 0 || d > (double)RESOURCE_AMOUNT_MAX)
        spec_problem(r, "none of cpu, ram, disk, gpu; what a cell's machines name is counted in "
                        "whole numbers");
    else if (strlen(name) > RESOURCE_NAME_MAX ||
             (slot = resource_names_put(&r->spec->resource_names, name)) == RES_COUNT)
        spec_problem(r, "one too many, or too long: %d are possible, of %d letters",
                     RESOURCES_NAMED_MAX, RESOURCE_NAME_MAX);
    else
        limit->v[slot] = (int64_t)d;
    spec_leave(r, at);
}

static void limit_read(struct spec_reader *r, const json_t *v, struct resources *ret)
{
    const struct record *amounts = limit_record_of(r->spec->is_alloc_set);
    *ret = (struct resources){0};
    record_set_defaults(amounts, ret);
    if (json_is_object(v))
        spec_object_read(r, amounts, ret, "", v);
    else
        spec_problem(r, "must be an object, not %s", json_kind_text(v));
}

void spec_resources_read(struct spec_reader *r, const json_t *v)
{
    struct job_spec *spec = r->spec;
    size_t count = json_array_size(v);
    if (!json_is_array(v) && !json_is_object(v) && !spec->is_alloc_set) {
        spec_problem(r, "must be an object or an array of objects, not %s", json_kind_text(v));
        return;
    }
    if (!json_is_array(v) || spec->is_alloc_set) {
        limit_read(r, v, &spec->limit);
        return;
    }
    if (count < 1 || count > SPEC_SHAPES_MAX) {
        spec_problem(r, "has %zu shapes; 1 to %d are possible", count, SPEC_SHAPES_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = spec_enter_item(r, i);
        limit_read(r, json_array_get(v, i), i == 0 ? &spec->limit : &spec->alternatives[i - 1]);
        spec_leave(r, at);
    }
    spec->alternative_count = (uint32_t)count - 1;
}

static void term_read(struct spec_reader *r, const json_t *v, struct clause *clause)
{
    struct term term;
    struct err err;
    if (!json_is_string(v))
        spec_problem(r, "must be a string like \"rack = r1\", not %s", json_kind_text(v));
    else if (term_parse(json_string_value(v), &term, &err) < 0)
        spec_problem(r, "%s", err.msg);
    else
        clause_add(clause, term);
}

/* One term, or an array of which one is enough. */
static void terms_read(struct spec_reader *r, const json_t *v, struct clause *clause)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v)) {
        term_read(r, v, clause);
        return;
    }
    if (count == 0 || count > SPEC_TERMS_MAX)
        spec_problem(r, "has %zu alternatives, 1 to %d are possible", count, SPEC_TERMS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_TERMS_MAX; i++) {
        size_t at = spec_enter_item(r, i);
        term_read(r, json_array_get(v, i), clause);
        spec_leave(r, at);
    }
}

static const struct field weight_field = {
    .name = "weight", .type = FIELD_U32, .min = 1, .max = WEIGHT_MAX};

/* An object of {any: ...} or {prefer: ..., weight: ...}, whose member `terms` is there. */
static void clause_read(struct spec_reader *r, const json_t *object, const char *terms)
{
    int64_t weight = strcmp(terms, "prefer") == 0 ? WEIGHT_MAX / 2 : 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t at = spec_enter(r, key);
        if (strcmp(key, "weight") == 0 && weight > 0)
            (void)spec_number_read(r, &weight_field, value, &weight);
        else if (strcmp(key, terms) != 0)
            spec_problem(r, "unknown field; see borgctl help submit");
        spec_leave(r, at);
    }
    size_t at = spec_enter(r, terms);
    terms_read(r, json_object_get(object, terms),
               clauses_add(&r->spec->constraints, (uint32_t)weight));
    spec_leave(r, at);
}

void spec_constraints_read(struct spec_reader *r, const struct field *field, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        spec_problem(r, "must be an array, not %s", json_kind_text(v));
    else if (count > (uint64_t)field->max)
        spec_problem(r, "has %zu entries, at most %" PRId64 " are allowed", count, field->max);
    for (size_t i = 0; i < count && count <= (uint64_t)field->max; i++) {
        const json_t *item = json_array_get(v, i);
        size_t at = spec_enter_item(r, i);
        if (json_object_get(item, "prefer") != NULL)
            clause_read(r, item, "prefer");
        else if (json_object_get(item, "any") != NULL)
            clause_read(r, item, "any");
        else if (json_is_object(item))
            spec_problem(r, "has neither any nor prefer; see borgctl help submit");
        else
            term_read(r, item, clauses_add(&r->spec->constraints, 0));
        spec_leave(r, at);
    }
}
