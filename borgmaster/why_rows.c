/*
 * why_rows.c - the answer to "why is it pending?" as rows for the wire.
 */
#include "why_rows.h"

#include "why.h"

#include <stdlib.h>

enum { COLUMN_KIND, COLUMN_REASON, COLUMN_MACHINES, COLUMN_AMOUNT, COLUMN_NAMES, COLUMN_COUNT };
enum { SUMMARY_ROWS = 6, ROWS_MAX = LACKS_COUNT + SUMMARY_ROWS };

struct table {
    struct wire_value values[ROWS_MAX][COLUMN_COUNT];
    struct buf texts[ROWS_MAX][2]; /* what reasons and names are kept in */
    uint32_t count;
};

static void table_release(struct table *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        for (int k = 0; k < 2; k++)
            buf_release(&t->texts[i][k]);
    free(t);
}

static struct wire_value integer(int64_t value)
{
    return (struct wire_value){.type = WIRE_INTEGER, .integer = value};
}

static struct wire_value text(const char *value)
{
    return (struct wire_value){.type = WIRE_TEXT, .text = value};
}

static struct wire_value *row_add(struct table *t, const char *kind)
{
    ASSERT(t->count < ROWS_MAX);
    struct wire_value *row = t->values[t->count++];
    row[COLUMN_KIND] = text(kind);
    return row;
}

static void row_machines(struct table *t, const char *kind, uint32_t machines)
{
    row_add(t, kind)[COLUMN_MACHINES] = integer(machines);
}

static void row_reason(struct table *t, const struct cell *cell, const struct job *job,
                       const struct why_reason *reason, bool names)
{
    struct buf *texts = t->texts[t->count];
    struct wire_value *row = row_add(t, "reason");
    why_reason_print(&texts[0], job, reason->lack);
    row[COLUMN_REASON] = text(buf_text(&texts[0]));
    row[COLUMN_MACHINES] = integer(reason->machines);
    for (uint32_t i = 0; names && i < MIN(reason->machines, (uint32_t)WHY_NAMES_MAX); i++)
        buf_printf(&texts[1], "%s%s", i == 0 ? "" : " ",
                   cell_machine(cell, reason->first[i])->name);
    if (names)
        row[COLUMN_NAMES] = text(buf_text(&texts[1]));
}

static void rows_summary(struct table *t, const struct job *job, const struct why *why)
{
    struct wire_value *row = row_add(t, "pending");
    row[COLUMN_MACHINES] = integer(why->machines);
    row[COLUMN_AMOUNT] = integer(why->pending);
    row_machines(t, "evict", why->evictable);
    row_machines(t, "evict-over-budget", why->evictable_over_budget);
    row_machines(t, "held-by-prod", why->held_by_prod);
    if (why->change >= 0) {
        struct buf *words = &t->texts[t->count][0];
        lack_change_print(words, why->change, why->change_amount, &job->spec.limit);
        row = row_add(t, "change");
        row[COLUMN_REASON] = text(resource_name((enum resource)why->change));
        row[COLUMN_MACHINES] = integer(why->change_machines);
        row[COLUMN_AMOUNT] = integer(why->change_amount);
        row[COLUMN_NAMES] = text(buf_text(words));
    }
    if (why->backing_off > 0)
        row_add(t, "backoff")[COLUMN_AMOUNT] = integer((int64_t)why->not_before_ms);
}

int why_rows(const struct cell *cell, const struct wire_why *asked, struct buf *to, struct err *err)
{
    static const char *columns[COLUMN_COUNT] = {"kind", "reason", "machines", "amount", "names"};
    struct why *why = xcalloc(1, sizeof *why);
    int rv = why_job(cell, asked->job, asked->index, why, err);
    if (rv == 0) {
        struct table *t = xcalloc(1, sizeof *t);
        const struct job *job = cell_job(cell, why->job);
        for (uint32_t i = 0; i < why->reason_count; i++)
            row_reason(t, cell, job, &why->reasons[i], asked->want_names);
        rows_summary(t, job, why);
        struct wire_rows rows = {.applied_index = cell->applied_index,
                                 .column_count = COLUMN_COUNT,
                                 .row_count = t->count,
                                 .columns = columns,
                                 .values = t->values[0]};
        wire_pack_rows(to, &rows);
        table_release(t);
    }
    free(why);
    return rv;
}
