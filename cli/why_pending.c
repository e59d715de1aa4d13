/*
 * why_pending.c - print the rows of "why is it pending?" (why_rows.h) as text or JSON.
 */
#include "why_answer.h"

#include "listing.h"
#include "text.h"

#include <string.h>

/* Shortened lists; `--machines` and JSON print everything. */
enum { NEAR_SHOWN = 3, EVICTIONS_SHOWN = 2 };

static const struct render_column columns[] = {
    {"machines", "MACHINES", RENDER_INTEGER},
    {"reason", "WHY", RENDER_TEXT},
    {"names", "NAMES", RENDER_TEXT},
};
static const struct render_column columns_of_allocs[] = {
    {"machines", "ALLOCS", RENDER_INTEGER},
    {"reason", "WHY", RENDER_TEXT},
    {"names", "NAMES", RENDER_TEXT},
};
static const struct render_column columns_of_evict[] = {
    {"machines", "MACHINES", RENDER_INTEGER},
    {"reason", "IN THE WAY", RENDER_TEXT},
};

static bool row_is(const struct wire_rows *rows, size_t row, const char *kind)
{
    return row < rows->row_count && strcmp(render_text(rows, row, "kind"), kind) == 0;
}

/* Return the index of the first row of that kind, or the number of rows. */
static size_t row_of(const struct wire_rows *rows, const char *kind)
{
    size_t row = 0;
    while (row < rows->row_count && !row_is(rows, row, kind))
        row++;
    return row;
}

/* Return the rows of one kind, which are adjacent. */
static struct wire_rows rows_of(const struct wire_rows *rows, const char *kind)
{
    struct wire_rows part = *rows;
    size_t row = row_of(rows, kind), count = 0;
    while (row_is(rows, row + count, kind))
        count++;
    part.values += row * rows->column_count;
    part.row_count = (uint32_t)count;
    return part;
}

/* Return the rows of the next shape, from row *at on; false if there are no more. */
static bool shape_next(const struct wire_rows *rows, size_t *at, struct wire_rows *ret)
{
    size_t first = *at;
    while (*at < rows->row_count &&
           render_integer(rows, *at, "shape") == render_integer(rows, first, "shape"))
        ++*at;
    *ret = *rows;
    ret->values += first * rows->column_count;
    ret->row_count = (uint32_t)(*at - first);
    return *at > first;
}

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

/* Return whether this row belongs to another machine than the one before it. */
static bool begins_machine(const struct wire_rows *rows, size_t row)
{
    return row == 0 ||
           strcmp(render_text(rows, row, "machine"), render_text(rows, row - 1, "machine")) != 0;
}

/* Print "nearest: m7 lacks ram 512Mi, cpu 1; m3 lacks ...". */
static void near_print(const struct wire_rows *all, uint32_t max)
{
    struct wire_rows rows = rows_of(all, "near");
    uint32_t shown = 0;
    for (size_t row = 0; row < rows.row_count; row++) {
        bool begins = begins_machine(&rows, row);
        if (begins && shown++ == max)
            break;
        if (begins)
            print("%s%s lacks", row == 0 ? "nearest: " : "; ", render_text(&rows, row, "machine"));
        print("%s %s", begins ? "" : ",", render_text(&rows, row, "names"));
    }
    if (rows.row_count > 0)
        print("\n");
}

/* Print "m3: would have to evict batch/3 (priority 100, may be evicted), ...". */
static void victims_print(const struct wire_rows *all, uint32_t max)
{
    struct wire_rows rows = rows_of(all, "victim");
    uint32_t shown = 0;
    for (size_t row = 0; row < rows.row_count; row++) {
        const char *task = render_text(&rows, row, "names");
        int64_t amount = render_integer(&rows, row, "amount");
        bool begins = begins_machine(&rows, row);
        if (begins && shown++ == max)
            break;
        if (begins)
            print("%s%s: would have to evict", row == 0 ? "" : "\n",
                  render_text(&rows, row, "machine"));
        if (task[0] == '\0')
            print(" and %" PRId64 " more", amount);
        else
            print("%s %s (priority %" PRId64 ", %s)", begins ? "" : ",", task, amount,
                  render_text(&rows, row, "reason"));
    }
    if (rows.row_count > 0)
        print("\n");
}

static void gang_print(const struct wire_rows *rows)
{
    size_t gang = row_of(rows, "gang");
    if (gang == rows->row_count)
        return;
    print("a gang, all start or none: %" PRId64 " of the %" PRId64
          " pending tasks would have room now\n",
          render_integer(rows, gang, "amount"), render_integer(rows, gang, "machines"));
}

/* For a job in an alloc set, the counts are of allocs and not of machines. */
static bool is_of_allocs(const struct wire_rows *rows)
{
    return strcmp(render_text(rows, row_of(rows, "pending"), "reason"), "allocs") == 0;
}

/* Print the smallest change that would help. */
static void change_print(const struct wire_rows *rows)
{
    size_t change = row_of(rows, "change");
    int64_t machines = change < rows->row_count ? render_integer(rows, change, "machines") : 0;
    if (machines > 0)
        print("fits %s %" PRId64 " %s%s with %s\n", is_of_allocs(rows) ? "in" : "on", machines,
              is_of_allocs(rows) ? "alloc" : "machine", plural(machines),
              render_text(rows, change, "names"));
}

static int shape_print(const struct wire_rows *rows, bool allocs, bool names, struct err *err)
{
    struct render_options options = listing_render_options();
    struct wire_rows reasons = rows_of(rows, "reason"), evict = rows_of(rows, "evict");
    size_t limit = row_of(rows, "limit");
    if (limit < rows->row_count)
        print("\nin shape %" PRId64 ", %s:\n", render_integer(rows, limit, "shape"),
              render_text(rows, limit, "names"));
    if (reasons.row_count > 0 &&
        render_table(stdout, &reasons, allocs ? columns_of_allocs : columns,
                     ARRAY_SIZE(columns) - !names, &options, err) < 0)
        return -(int)err->code;
    if (evict.row_count > 0 && render_table(stdout, &evict, columns_of_evict,
                                            ARRAY_SIZE(columns_of_evict), &options, err) < 0)
        return -(int)err->code;
    near_print(rows, names ? UINT32_MAX : NEAR_SHOWN);
    victims_print(rows, names ? UINT32_MAX : EVICTIONS_SHOWN);
    gang_print(rows);
    change_print(rows);
    return 0;
}

static int rows_check(const struct wire_rows *rows, struct err *err)
{
    return row_of(rows, "pending") < rows->row_count
               ? 0
               : err_set(err, ERR_CORRUPT,
                         "the cell's answer has no row `pending`: the cell has "
                         "another version; use the borgctl that belongs to it");
}

int why_pending_print(const char *task, const struct wire_rows *rows, bool names, struct err *err)
{
    size_t all = row_of(rows, "pending"), backoff = row_of(rows, "backoff");
    struct wire_rows shape;
    if (rows_check(rows, err) < 0)
        return -(int)err->code;
    int64_t pending = render_integer(rows, all, "amount");
    int64_t machines = render_integer(rows, all, "machines");
    bool allocs = is_of_allocs(rows);
    print("%s: %" PRId64 " task%s pending, %" PRId64 " %s%s\n", task, pending, plural(pending),
          machines, allocs ? "alloc" : "machine", plural(machines));
    if (allocs && machines == 0)
        print("its alloc set is gone: submit a set of that name again\n");
    for (size_t at = 0; shape_next(rows, &at, &shape);)
        if (shape_print(&shape, allocs, names, err) < 0)
            return -(int)err->code;
    if (backoff < rows->row_count) {
        CLEANUP(buf_release) struct buf until = {0};
        render_value(&until, RENDER_TIME, render_cell(rows, backoff, "amount"), 0);
        print("backs off after a failure, until %s\n", buf_text(&until));
    }
    return 0;
}

/* Split "m1 m2" into a list. */
static void names_split(json_t *reason)
{
    json_t *names = json_array();
    const char *at = json_string_value(json_object_get(reason, "names"));
    while (at != NULL && *at != '\0') {
        size_t n = strcspn(at, " ");
        json_array_append_new(names, json_stringn(at, n));
        at += n + (at[n] == ' ');
    }
    json_object_set_new(reason, "names", names);
}

/* Return [{"machine": "m7", "missing": {"ram": 536870912}}, ...]. */
static json_t *near_json(const struct wire_rows *all)
{
    struct wire_rows rows = rows_of(all, "near");
    json_t *list = json_array(), *missing = NULL;
    for (size_t row = 0; row < rows.row_count; row++) {
        if (begins_machine(&rows, row)) {
            missing = json_object();
            json_array_append_new(list, json_pack("{s:s, s:o}", "machine",
                                                  render_text(&rows, row, "machine"), "missing",
                                                  missing));
        }
        json_object_set_new(missing, render_text(&rows, row, "reason"),
                            json_integer((json_int_t)render_integer(&rows, row, "amount")));
    }
    return list;
}

/* Return [{"machine": "m3", "victims": [{"task": "batch/3", ...}, ...], "more": 2}, ...]. */
static json_t *victims_json(const struct wire_rows *all)
{
    struct wire_rows rows = rows_of(all, "victim");
    json_t *list = json_array(), *machine = NULL, *victims = NULL;
    for (size_t row = 0; row < rows.row_count; row++) {
        const char *task = render_text(&rows, row, "names");
        json_int_t amount = (json_int_t)render_integer(&rows, row, "amount");
        if (begins_machine(&rows, row)) {
            victims = json_array();
            machine = json_pack("{s:s, s:o, s:i}", "machine", render_text(&rows, row, "machine"),
                                "victims", victims, "more", 0);
            json_array_append_new(list, machine);
        }
        if (task[0] == '\0')
            json_object_set_new(machine, "more", json_integer(amount));
        else
            json_array_append_new(victims,
                                  json_pack("{s:s, s:I, s:s}", "task", task, "priority", amount,
                                            "reason", render_text(&rows, row, "reason")));
    }
    return list;
}

/* Add the members that only some answers have. */
static void maybe_json(const struct wire_rows *rows, json_t *object)
{
    size_t change = row_of(rows, "change"), gang = row_of(rows, "gang");
    size_t limit = row_of(rows, "limit");
    if (change < rows->row_count)
        json_object_set_new(
            object, "change",
            json_pack("{s:s, s:I, s:I}", "resource", render_text(rows, change, "reason"), "amount",
                      (json_int_t)render_integer(rows, change, "amount"), "machines",
                      (json_int_t)render_integer(rows, change, "machines")));
    if (gang < rows->row_count)
        json_object_set_new(object, "gang",
                            json_pack("{s:I, s:I}", "waiting",
                                      (json_int_t)render_integer(rows, gang, "machines"), "fitting",
                                      (json_int_t)render_integer(rows, gang, "amount")));
    if (limit < rows->row_count)
        json_object_set_new(object, "limit", json_string(render_text(rows, limit, "names")));
}

/* Return the object of one shape; NULL is an error. */
static json_t *shape_json(const struct wire_rows *rows, struct err *err)
{
    struct wire_rows reasons = rows_of(rows, "reason"), evict = rows_of(rows, "evict");
    json_t *list, *bars, *reason;
    size_t i;
    if (render_json(&reasons, columns, ARRAY_SIZE(columns), &list, err) < 0)
        return NULL;
    json_array_foreach(list, i, reason)
    {
        names_split(reason);
    }
    if (render_json(&evict, columns_of_evict, ARRAY_SIZE(columns_of_evict), &bars, err) < 0) {
        json_decref(list);
        return NULL;
    }
    json_t *object = json_pack("{s:o, s:o, s:o, s:o}", "reasons", list, "in_the_way", bars,
                               "nearest", near_json(rows), "evictions", victims_json(rows));
    maybe_json(rows, object);
    return object;
}

/* Put the first shape into the object itself and the others into a list. */
static int shapes_json(const struct wire_rows *rows, json_t *object, struct err *err)
{
    struct wire_rows shape;
    json_t *others = json_array(), *said = NULL;
    for (size_t at = 0; shape_next(rows, &at, &shape);) {
        said = shape_json(&shape, err);
        if (said == NULL)
            break;
        if (shape.values == rows->values) {
            json_object_update(object, said);
            json_decref(said);
        } else {
            json_array_append_new(others, said);
        }
    }
    if (json_array_size(others) > 0)
        json_object_set(object, "other_shapes", others);
    json_decref(others);
    return said != NULL ? 0 : -(int)err->code;
}

int why_pending_json(const char *job, const struct wire_rows *rows, json_t **ret, struct err *err)
{
    size_t all = row_of(rows, "pending"), backoff = row_of(rows, "backoff");
    if (rows_check(rows, err) < 0)
        return -(int)err->code;
    json_t *object = json_pack("{s:s, s:I, s:I}", "job", job, "pending",
                               (json_int_t)render_integer(rows, all, "amount"), "machines",
                               (json_int_t)render_integer(rows, all, "machines"));
    if (shapes_json(rows, object, err) < 0) {
        json_decref(object);
        return -(int)err->code;
    }
    if (backoff < rows->row_count)
        json_object_set_new(object, "not_before_ms",
                            json_integer((json_int_t)render_integer(rows, backoff, "amount")));
    *ret = object;
    return 0;
}
