/*
 * spec_compare.c - two specs field by field, on top of the table of fields.
 */
#include "spec_compare.h"

#include <string.h>

struct comparison {
    const struct job_spec *from, *to; /* copies that borrow, with the same slots of resources */
    void (*differs)(void *data, const struct spec_difference *difference);
    void *data;
    bool limit_differs; /* in more than the amounts that everybody knows */
};

static const struct field *field_at(uint32_t offset)
{
    for (uint32_t i = 0; i < job_spec_record.count; i++)
        if (job_spec_record.fields[i].offset == offset)
            return &job_spec_record.fields[i];
    UNREACHABLE("a field without a line");
}

static void tell(struct comparison *c, const struct field *field, const struct field *amount,
                 enum field_effect effect)
{
    struct spec_difference difference = {field, amount, effect};
    c->differs(c->data, &difference);
}

static void field_differs(void *data, const struct field *field)
{
    struct comparison *c = data;
    if (field->offset == offsetof(struct job_spec, every_machine)) {
        tell(c, field_at(offsetof(struct job_spec, replicas)), NULL, field->effect);
    } else if (field->form == FORM_RESOURCES ||
               field->offset == offsetof(struct job_spec, alternatives)) {
        return; /* limits_compare() */
    } else if ((field->flags & FIELD_NO_SPEC) == 0) {
        tell(c, field, NULL, field->effect);
    }
}

/* The amounts one by one, or the whole when something else of it differs or cannot be updated. */
static void limits_compare(struct comparison *c)
{
    const struct job_spec *a = c->from, *b = c->to;
    const struct record *amounts = limit_record_of(a->is_alloc_set);
    const struct field *limit = field_at(offsetof(struct job_spec, limit));
    struct resources named = a->limit, others = b->limit;
    for (uint32_t i = 0; i < amounts->count; i++)
        named.v[amounts->fields[i].offset / sizeof(int64_t)] =
            others.v[amounts->fields[i].offset / sizeof(int64_t)];
    bool is_whole =
        c->limit_differs || a->is_alloc_set != b->is_alloc_set ||
        memcmp(&named, &others, sizeof named) != 0 ||
        a->alternative_count != b->alternative_count ||
        memcmp(a->alternatives, b->alternatives, a->alternative_count * sizeof named) != 0;
    bool is_shaped = a->alternative_count > 0;
    if (is_whole || (is_shaped && memcmp(&a->limit, &b->limit, sizeof named) != 0)) {
        tell(c, limit, NULL, EFFECT_FIXED);
        return;
    }
    for (uint32_t i = 0; i < amounts->count; i++) {
        const struct field *amount = &amounts->fields[i];
        if (field_number(amount, &a->limit) != field_number(amount, &b->limit))
            tell(c, limit, amount, amount->effect);
    }
}

/* A copy that borrows, with its amounts in the slots called `names`; false: there is none for one
 * of its names. Ports of a task are counted by their names, which are compared themselves. */
static bool canonical(struct job_spec *to, const struct job_spec *from,
                      struct resource_names *names)
{
    *to = *from;
    bool whole = true;
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++) {
        const char *name = resource_name(r, &from->resource_names);
        bool used = from->limit.v[r] != 0;
        for (uint32_t i = 0; i < from->alternative_count; i++)
            used |= from->alternatives[i].v[r] != 0;
        if (name[0] == '\0' || !used)
            to->resource_names.text[r - RES_NAMED][0] = '\0';
        else
            whole &= resource_names_put(names, name) != RES_COUNT;
    }
    for (uint32_t i = 0; i < spec_shape_count(to) && whole; i++) {
        struct resources *shape = i == 0 ? &to->limit : &to->alternatives[i - 1];
        whole &= resources_translate(shape, &to->resource_names, names, 0, NULL) == 0;
        shape->v[RES_PORTS] = to->is_alloc_set ? shape->v[RES_PORTS] : 0;
    }
    return whole;
}

void spec_compare(const struct job_spec *from, const struct job_spec *to,
                  void (*differs)(void *data, const struct spec_difference *difference), void *data)
{
    struct job_spec a, b;
    struct resource_names names = {0};
    struct comparison c = {.from = &a, .to = &b, .differs = differs, .data = data};
    c.limit_differs = !canonical(&a, from, &names);
    c.limit_differs |= !canonical(&b, to, &names);
    if (a.every_machine || b.every_machine)
        a.replicas = b.replicas; /* they are counted by the cell */
    record_compare(&job_spec_record, &a, &b, field_differs, &c);
    limits_compare(&c);
}

const char *field_effect_text(enum field_effect effect)
{
    switch (effect) {
    case EFFECT_NONE:
        return "borgctl update changes it; tasks that stay run on untouched";
    case EFFECT_IN_PLACE:
        return "borgctl update changes it; tasks restart only where there is no room for more";
    case EFFECT_RESTART:
        return "borgctl update changes it; running tasks restart";
    case EFFECT_FIXED:
        return "cannot be changed while the job runs: kill it and submit it again";
    }
    UNREACHABLE("effect of a change");
}
