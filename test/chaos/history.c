/*
 * history.c - records of operations, checked in two orders.
 */
#include "history.h"

#include <stdlib.h>

void history_add(struct history *h, const struct history_record *record)
{
    if (h->count == h->capacity) {
        h->capacity = MAX((size_t)1024, h->capacity * 2);
        h->records = xrealloc(h->records, h->capacity, sizeof *h->records);
    }
    h->records[h->count++] = *record;
}

static int record_compare(const void *a, const void *b)
{
    const struct history_record *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->op.start != y->op.start)
        return x->op.start < y->op.start ? -1 : 1;
    return x->op.client < y->op.client ? -1 : x->op.client > y->op.client;
}

void history_print(const struct history *h, FILE *file)
{
    fprintf(file, "# name client start_us end_us kind value outcome fresh replica attempts index "
                  "index_min\n");
    for (size_t i = 0; i < h->count; i++) {
        const struct history_record *r = &h->records[i];
        fprintf(file,
                "r%" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %s %" PRIu64 " %s %d %" PRIu32
                " %" PRIu32 " %" PRIu64 " %" PRIu64 "\n",
                r->key, r->op.client, r->op.start, r->op.end, linear_kind_text(r->op.kind),
                r->op.value, linear_outcome_text(r->op.outcome), r->is_fresh, r->replica + 1,
                r->attempts, r->index, r->index_min);
    }
}

/* The moment of a record in the log: entries are even numbers, what is between them odd. */
static struct linear_op op_in_log(const struct history_record *r)
{
    struct linear_op op = r->op;
    op.start = 2 * r->index_min + 1;
    if (op.kind == LINEAR_READ)
        op.start = op.end = 2 * r->index + 1;
    else if (op.outcome != LINEAR_UNKNOWN)
        op.end = 2 * r->index;
    return op;
}

/* Does its answer come from before what everybody could know when it was asked? */
static bool is_stale(const struct history_record *r)
{
    if (!r->is_fresh || r->op.outcome == LINEAR_UNKNOWN)
        return false;
    return r->op.kind == LINEAR_READ ? r->index < r->index_min : r->index <= r->index_min;
}

static void stale_check(const struct history_record *records, size_t count, FILE *to,
                        struct history_verdict *verdict)
{
    for (size_t i = 0; i < count; i++) {
        const struct history_record *r = &records[i];
        if (!is_stale(r))
            continue;
        verdict->stale++;
        fprintf(to,
                "r%" PRIu32 ": a fresh %s by client %" PRIu32 " at %" PRIu64
                " was answered at index %" PRIu64 ", although %" PRIu64 " was known before\n",
                r->key, linear_kind_text(r->op.kind), r->op.client, r->op.start, r->index,
                r->index_min);
    }
}

static void key_check(const struct history_record *records, size_t count, bool in_log, FILE *to,
                      struct history_verdict *verdict)
{
    CLEANUP(buf_release) struct buf text = {0};
    struct linear_op *ops = xcalloc(count, sizeof *ops);
    struct linear_result result;
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_stale(&records[i]) && (in_log || records[i].is_fresh))
            ops[used++] = in_log ? op_in_log(&records[i]) : records[i].op;
    linear_check(ops, used, &result);
    verdict->operations += used;
    verdict->wrong += result.verdict == LINEAR_NO;
    verdict->too_hard += result.verdict == LINEAR_TOO_HARD;
    if (result.verdict != LINEAR_YES) {
        fprintf(to,
                "r%" PRIu32 ": %s in the order of %s; %zu of %zu operations could be ordered:\n",
                records[0].key,
                result.verdict == LINEAR_NO ? "not linearizable"
                                            : "not decided, too many outcomes"
                                              " are unknown",
                in_log ? "the log" : "time", result.placed, used);
        linear_print(&text, ops, used, &result);
        fputs(buf_text(&text), to);
    }
    free(ops);
}

struct history_verdict history_check(struct history *h, FILE *to)
{
    struct history_verdict verdict = {0};
    qsort(h->records, h->count, sizeof *h->records, record_compare);
    for (size_t first = 0, next; first < h->count; first = next) {
        for (next = first; next < h->count && h->records[next].key == h->records[first].key;)
            next++;
        stale_check(&h->records[first], next - first, to, &verdict);
        key_check(&h->records[first], next - first, false, to, &verdict);
        key_check(&h->records[first], next - first, true, to, &verdict);
        verdict.keys++;
    }
    return verdict;
}
