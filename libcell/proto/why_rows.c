/*
 * why_rows.c - the answer to "why is it pending?" as rows, for the wire and for borgctl.
 */
#include "why_rows.h"

#include "why.h"

#include <stdlib.h>

enum {
    COLUMN_KIND,
    COLUMN_MACHINE,
    COLUMN_REASON,
    COLUMN_MACHINES,
    COLUMN_AMOUNT,
    COLUMN_NAMES,
    COLUMN_SHAPE,
    COLUMN_COUNT
};
enum { ROWS_STEP = 32 };

/* Rows being made. While texts may move, a text is where it begins in them. */
struct table {
    struct wire_rows rows;
    struct buf texts;
    struct wire_value *row; /* the last one */
    uint32_t shape;         /* those added now are about it, from 1; 0: there is one */
};

static void put_integer(struct table *t, int column, int64_t value)
{
    t->row[column] = (struct wire_value){.type = WIRE_INTEGER, .integer = value};
}

/* Begin a text: everything that is added to `texts` until text_end() belongs to it. */
static struct buf *text_begin(struct table *t, int column)
{
    t->row[column] = (struct wire_value){.type = WIRE_TEXT, .integer = (int64_t)t->texts.size};
    return &t->texts;
}

static void text_end(struct table *t)
{
    buf_append(&t->texts, "", 1);
}

static void put_text(struct table *t, int column, const char *text)
{
    buf_printf(text_begin(t, column), "%s", text);
    text_end(t);
}

static void row_add(struct table *t, const char *kind)
{
    struct wire_rows *rows = &t->rows;
    if (rows->row_count % ROWS_STEP == 0)
        rows->values = xrealloc(rows->values, (size_t)(rows->row_count + ROWS_STEP) * COLUMN_COUNT,
                                sizeof *rows->values);
    t->row = rows->values + (size_t)rows->row_count++ * COLUMN_COUNT;
    for (int i = 0; i < COLUMN_COUNT; i++)
        t->row[i] = (struct wire_value){.type = WIRE_NULL};
    put_text(t, COLUMN_KIND, kind);
    if (t->shape != 0)
        put_integer(t, COLUMN_SHAPE, t->shape);
}

static void row_add_of(struct table *t, const char *kind, const struct cell *cell, machine_id id)
{
    row_add(t, kind);
    put_text(t, COLUMN_MACHINE, cell_machine(cell, id)->name);
}

static void rows_reasons(struct table *t, const struct cell *cell, const struct job *job,
                         const struct why *why, bool names)
{
    for (uint32_t i = 0; i < why->reason_count; i++) {
        const struct why_reason *reason = &why->reasons[i];
        row_add(t, "reason");
        why_reason_print(text_begin(t, COLUMN_REASON), job, why, reason->lack);
        text_end(t);
        put_integer(t, COLUMN_MACHINES, reason->machines);
        if (!names)
            continue;
        struct buf *to = text_begin(t, COLUMN_NAMES);
        for (uint32_t k = 0; k < MIN(reason->machines, (uint32_t)WHY_NAMES_MAX); k++) {
            buf_printf(to, "%s", k == 0 ? "" : " ");
            why_place_print(to, cell, why, reason->first[k]);
        }
        text_end(t);
    }
}

static void rows_evict(struct table *t, const struct why *why)
{
    static const char *const words[BAR_COUNT] = {
        [BAR_NONE] = "work of lower priority",
        [BAR_BUDGET] = "work that max_disruptions spares now",
        [BAR_PRIORITY] = "work of no lower priority",
        [BAR_PROD] = "production, which is never evicted",
        [BAR_SIZE] = "its size: too small when empty",
    };
    for (enum why_bar bar = BAR_NONE; bar < BAR_COUNT; bar++) {
        if (why->bars[bar] == 0)
            continue;
        row_add(t, "evict");
        put_text(t, COLUMN_REASON, words[bar]);
        put_integer(t, COLUMN_MACHINES, why->bars[bar]);
    }
}

static void rows_near(struct table *t, const struct cell *cell, const struct why *why)
{
    for (uint32_t i = 0; i < why->near_count; i++) {
        for (enum resource r = 0; r < RES_COUNT; r++) {
            int64_t missing = why->near[i].missing.v[r];
            if (missing == 0)
                continue;
            row_add_of(t, "near", cell, why->near[i].machine);
            put_text(t, COLUMN_REASON, resource_name(r, &cell->resource_names));
            put_integer(t, COLUMN_AMOUNT, missing);
            struct buf *to = text_begin(t, COLUMN_NAMES);
            buf_printf(to, "%s ", resource_name(r, &cell->resource_names));
            resource_print(to, r, missing);
            text_end(t);
        }
    }
}

static void rows_victims(struct table *t, const struct cell *cell, const struct why_eviction *e)
{
    for (uint32_t i = 0; i < MIN(e->victim_count, (uint32_t)WHY_VICTIMS_MAX); i++) {
        const struct why_victim *victim = &e->victims[i];
        row_add_of(t, "victim", cell, e->machine);
        put_text(t, COLUMN_REASON, why_bar_text(victim->bar));
        put_integer(t, COLUMN_AMOUNT, victim->priority);
        buf_printf(text_begin(t, COLUMN_NAMES), "%s/%u",
                   cell_job(cell, task_job(victim->task))->spec.name, task_index(victim->task));
        text_end(t);
    }
    if (e->victim_count > WHY_VICTIMS_MAX) {
        row_add_of(t, "victim", cell, e->machine);
        put_integer(t, COLUMN_AMOUNT, e->victim_count - WHY_VICTIMS_MAX);
    }
}

static void rows_summary(struct table *t, const struct cell *cell, const struct job *job,
                         const struct why *why)
{
    const struct resources *need = spec_shape(&job->spec, why->shape);
    row_add(t, "pending");
    put_integer(t, COLUMN_MACHINES, why->machines);
    put_integer(t, COLUMN_AMOUNT, why->pending);
    if (why->inside)
        put_text(t, COLUMN_REASON, "allocs");
    rows_evict(t, why);
    rows_near(t, cell, why);
    for (uint32_t i = 0; i < why->eviction_count; i++)
        rows_victims(t, cell, &why->evictions[i]);
    if (why->gang) {
        row_add(t, "gang");
        put_integer(t, COLUMN_MACHINES, why->gang_waiting);
        put_integer(t, COLUMN_AMOUNT, why->gang_fitting);
    }
    if (why->change >= 0) {
        row_add(t, "change");
        put_text(t, COLUMN_REASON,
                 resource_name((enum resource)why->change, &cell->resource_names));
        put_integer(t, COLUMN_MACHINES, why->change_machines);
        put_integer(t, COLUMN_AMOUNT, why->change_amount);
        lack_change_print(text_begin(t, COLUMN_NAMES), why->change, why->change_amount, need,
                          &cell->resource_names);
        text_end(t);
    }
    if (why->backing_off > 0) {
        row_add(t, "backoff");
        put_integer(t, COLUMN_AMOUNT, (int64_t)why->not_before_ms);
    }
    if (t->shape != 0) {
        row_add(t, "limit");
        resources_print(text_begin(t, COLUMN_NAMES), need, &cell->resource_names);
        text_end(t);
    }
}

/* From now on the texts stay where they are. */
static struct wire_rows table_take(struct table *t, uint64_t applied_index)
{
    static const char *const columns[COLUMN_COUNT] = {"kind",   "machine", "reason", "machines",
                                                      "amount", "names",   "shape"};
    struct wire_rows *rows = &t->rows;
    rows->applied_index = applied_index;
    rows->column_count = COLUMN_COUNT;
    rows->columns = xcalloc(COLUMN_COUNT, sizeof *rows->columns);
    for (int i = 0; i < COLUMN_COUNT; i++)
        rows->columns[i] = columns[i];
    rows->bytes = t->texts.bytes;
    for (size_t i = 0; i < (size_t)rows->row_count * COLUMN_COUNT; i++)
        if (rows->values[i].type == WIRE_TEXT)
            rows->values[i].text = rows->bytes + rows->values[i].integer;
    return *rows;
}

struct why_rows {
    struct wire_why asked;
    struct table table;
    uint32_t shape;          /* the one that is asked about */
    struct inquiry *inquiry; /* NULL: it has not begun */
    uint64_t applied_index;
    int rv; /* of the whole */
    struct err err;
    struct why why; /* of the last shape */
};

struct why_rows *why_rows_begin(const struct wire_why *asked)
{
    struct why_rows *w = xcalloc(1, sizeof *w);
    w->asked = *asked;
    return w;
}

/* Append the result of the inquiry. Returns true when there is no other shape. */
static bool shape_tell(struct why_rows *w, const struct cell *cell)
{
    w->rv = why_end(w->inquiry, &w->why, &w->err);
    w->inquiry = NULL;
    if (w->rv != 0)
        return true;
    const struct job *job = cell_job(cell, w->why.job);
    uint32_t shapes = spec_shape_count(&job->spec);
    w->table.shape = shapes > 1 ? w->shape + 1 : 0;
    rows_reasons(&w->table, cell, job, &w->why, w->asked.want_names);
    rows_summary(&w->table, cell, job, &w->why);
    w->applied_index = cell->applied_index;
    return ++w->shape == shapes;
}

bool why_rows_go_on(struct why_rows *w, const struct cell *cell, uint64_t units)
{
    if (w->inquiry == NULL) {
        w->rv = why_begin(cell, w->asked.job, w->asked.index, w->shape, &w->inquiry, &w->err);
        if (w->rv != 0)
            return true;
    }
    return why_go_on(w->inquiry, cell, units) && shape_tell(w, cell);
}

int why_rows_end(struct why_rows *w, struct wire_rows *ret, struct err *err)
{
    int rv = w->rv;
    ASSERT(w->inquiry == NULL);
    *ret = (struct wire_rows){0};
    if (rv == 0)
        *ret = table_take(&w->table, w->applied_index);
    else if (err != NULL)
        *err = w->err;
    if (rv == 0)
        free(w);
    else
        why_rows_abandon(w);
    return rv;
}

void why_rows_abandon(struct why_rows *w)
{
    if (w == NULL)
        return;
    why_abandon(w->inquiry);
    free(w->table.rows.values);
    buf_release(&w->table.texts);
    free(w);
}

int why_rows(const struct cell *cell, const struct wire_why *asked, struct wire_rows *ret,
             struct err *err)
{
    struct why_rows *w = why_rows_begin(asked);
    while (!why_rows_go_on(w, cell, UINT64_MAX))
        ;
    return why_rows_end(w, ret, err);
}
