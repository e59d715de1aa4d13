/*
 * jobfile_places.c - the part of a job spec that says where its tasks may and would rather run.
 */
#include "jobfile_impl.h"

#include <math.h>
#include <string.h>

static void term_set(struct check *c, const char *path, const json_t *v, struct clause *clause)
{
    struct term term;
    struct err err;
    if (!json_is_string(v))
        problem(c, path, "must be a string like \"rack = r1\", not %s", kind_text(v));
    else if (term_parse(json_string_value(v), &term, &err) < 0)
        problem(c, path, "%s", err.msg);
    else
        clause_add(clause, term);
}

/* One term, or an array of which one is enough. */
static void any_set(struct check *c, const char *path, const json_t *v, struct clause *clause)
{
    if (!json_is_array(v)) {
        term_set(c, path, v, clause);
        return;
    }
    size_t count = json_array_size(v);
    if (count == 0 || count > SPEC_TERMS_MAX)
        problem(c, path, "has %zu alternatives, 1 to %d are possible", count, SPEC_TERMS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_TERMS_MAX; i++) {
        char item[96];
        snprintf(item, sizeof item, "%.80s[%zu]", path, i);
        term_set(c, item, json_array_get(v, i), clause);
    }
}

/* A whole number from `min` to `max` at `key`, `otherwise` when it is not there. */
static uint32_t number_of(struct check *c, const char *path, const json_t *object, const char *key,
                          uint32_t max, uint32_t otherwise)
{
    const json_t *v = json_object_get(object, key);
    double d = json_number_value(v);
    char item[96];
    snprintf(item, sizeof item, "%.80s.%s", path, key);
    if (v == NULL)
        return otherwise;
    if (!json_is_number(v))
        problem(c, item, "must be a number, not %s", kind_text(v));
    else if (d != floor(d) || d < 1 || d > max)
        problem(c, item, "%.15g is not a whole number between 1 and %u", d, max);
    else
        return (uint32_t)d;
    return otherwise;
}

/* Nothing but these keys (NULL ends them) is in the object. */
static void keys_check(struct check *c, const char *path, const json_t *object,
                       const char *const *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        char item[192];
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        snprintf(item, sizeof item, "%.80s.%.100s", path, key);
        if (keys[i] == NULL)
            problem(c, item, "unknown field; see borgctl help submit");
    }
}

static void constraint_set(struct check *c, const char *path, const json_t *v)
{
    static const char *const any_keys[] = {"any", NULL};
    static const char *const prefer_keys[] = {"prefer", "weight", NULL};
    const json_t *any = json_object_get(v, "any");
    const json_t *prefer = json_object_get(v, "prefer");
    char item[96];
    if (json_is_object(v) && prefer != NULL) {
        keys_check(c, path, v, prefer_keys);
        uint32_t weight = number_of(c, path, v, "weight", WEIGHT_MAX, WEIGHT_MAX / 2);
        snprintf(item, sizeof item, "%.80s.prefer", path);
        any_set(c, item, prefer, clauses_add(&c->spec->constraints, weight));
    } else if (json_is_object(v) && any != NULL) {
        keys_check(c, path, v, any_keys);
        snprintf(item, sizeof item, "%.80s.any", path);
        any_set(c, item, any, clauses_add(&c->spec->constraints, 0));
    } else if (json_is_object(v)) {
        problem(c, path, "has neither any nor prefer; see borgctl help submit");
    } else {
        term_set(c, path, v, clauses_add(&c->spec->constraints, 0));
    }
}

void constraints_set(struct check *c, const struct field *f, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be an array, not %s", kind_text(v));
    else if (count > SPEC_CLAUSES_MAX)
        problem(c, f->path, "has %zu entries, at most %d are allowed", count, SPEC_CLAUSES_MAX);
    for (size_t i = 0; i < count && count <= SPEC_CLAUSES_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        constraint_set(c, path, json_array_get(v, i));
    }
}

static void spread_one_set(struct check *c, const char *path, const json_t *v)
{
    static const char *const keys[] = {"by", "max", "weight", NULL};
    struct spread *spread = &c->spec->spreads[c->spec->spread_count];
    const char *by = json_string_value(json_object_get(v, "by"));
    if (!json_is_object(v)) {
        problem(c, path, "must be an object {by, max or weight}, not %s", kind_text(v));
        return;
    }
    keys_check(c, path, v, keys);
    *spread = (struct spread){.max = number_of(c, path, v, "max", CELL_TASKS_PER_JOB_MAX, 0),
                              .weight = number_of(c, path, v, "weight", WEIGHT_MAX, 0)};
    char item[96];
    snprintf(item, sizeof item, "%.80s.by", path);
    if (by == NULL || !name_valid(by))
        problem(c, item, "must be the name of an attribute, or \"machine\"");
    else if (json_object_get(v, "max") == NULL && json_object_get(v, "weight") == NULL)
        problem(c, path, "says neither max nor weight, one is needed");
    else
        str_copy(spread->by, sizeof spread->by, by);
    c->spec->spread_count++;
}

void spread_set(struct check *c, const struct field *f, const json_t *v)
{
    size_t count = json_array_size(v);
    if (!json_is_array(v))
        problem(c, f->path, "must be an array, not %s", kind_text(v));
    else if (count > SPEC_SPREADS_MAX)
        problem(c, f->path, "has %zu entries, at most %d are allowed", count, SPEC_SPREADS_MAX);
    for (size_t i = 0; i < count && count <= SPEC_SPREADS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", f->path, i);
        spread_one_set(c, path, json_array_get(v, i));
    }
}
