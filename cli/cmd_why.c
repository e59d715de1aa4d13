/*
 * cmd_why.c - why: what keeps a task from being placed, machine by machine.
 */
#include "listing.h"

#include <string.h>

static const struct render_column columns[] = {
    {"machines", "MACHINES", RENDER_INTEGER},
    {"reason", "WHY", RENDER_TEXT},
    {"names", "NAMES", RENDER_TEXT},
};
static const struct render_column columns_of_tasks[] = {
    {"tasks", "TASKS", RENDER_INTEGER},    {"state", "STATE", RENDER_STATE},
    {"machines", "MACHINES", RENDER_TEXT}, {"cause", "LAST END", RENDER_TEXT},
    {"exit_code", "EXIT", RENDER_INTEGER},
};

struct question {
    const struct cli *cli;
    char job[CELL_NAME_MAX + 1];
    int64_t index; /* -1: all */
    bool names;
};

/* The row of that kind, or the number of rows. */
static size_t row_of(const struct wire_rows *rows, const char *kind)
{
    size_t row = 0;
    while (row < rows->row_count && strcmp(render_text(rows, row, "kind"), kind) != 0)
        row++;
    return row;
}

static int64_t machines_of(const struct wire_rows *rows, const char *kind)
{
    size_t row = row_of(rows, kind);
    return row < rows->row_count ? render_integer(rows, row, "machines") : 0;
}

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

/* Does it fit some machine as things are? */
static bool fits_now(const struct wire_rows *rows)
{
    for (size_t row = 0; row < rows->row_count; row++)
        if (strcmp(render_text(rows, row, "reason"), "fits") == 0)
            return true;
    return false;
}

static void evictions_print(const struct wire_rows *rows)
{
    int64_t evict = machines_of(rows, "evict"), budget = machines_of(rows, "evict-over-budget");
    int64_t prod = machines_of(rows, "held-by-prod");
    const char *more = fits_now(rows) ? " more" : "";
    if (evict > 0)
        printf("would fit on %" PRId64 "%s machine%s if all work it may evict were gone", evict,
               more, plural(evict));
    else if (more[0] == '\0')
        printf("evicting all work it may evict would not help");
    if (budget > 0)
        printf(", but on %" PRId64 " of them max_disruptions spares some of it now", budget);
    if (evict > 0 || more[0] == '\0')
        printf("\n");
    if (prod > 0)
        printf("would fit on %" PRId64 " more if the production work there, which nothing evicts, "
               "were gone\n",
               prod);
}

static int answer_table(const struct question *q, const struct wire_rows *rows, struct err *err)
{
    struct render_options options = listing_render_options();
    struct wire_rows reasons = *rows;
    size_t change = row_of(rows, "change"), backoff = row_of(rows, "backoff");
    size_t all = row_of(rows, "pending"); /* behind the reasons */
    int64_t pending = render_integer(rows, all, "amount");
    int64_t machines = render_integer(rows, all, "machines");
    printf("%s: %" PRId64 " task%s pending, %" PRId64 " machine%s\n", q->cli->args[0], pending,
           plural(pending), machines, plural(machines));
    reasons.row_count = (uint32_t)all;
    if (render_table(stdout, &reasons, columns, ARRAY_SIZE(columns) - !q->names, &options, err) < 0)
        return -(int)err->code;
    evictions_print(rows);
    if (change < rows->row_count)
        printf("fits on %" PRId64 " machine%s with %s\n", render_integer(rows, change, "machines"),
               plural(render_integer(rows, change, "machines")),
               render_text(rows, change, "names"));
    if (backoff < rows->row_count) {
        CLEANUP(buf_release) struct buf until = {0};
        render_value(&until, RENDER_TIME, render_cell(rows, backoff, "amount"), 0);
        printf("backs off after a failure, until %s\n", buf_text(&until));
    }
    return 0;
}

/* "m1 m2" becomes a list. */
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

static int answer_json(const struct question *q, const struct wire_rows *rows, struct err *err)
{
    struct wire_rows reasons = *rows;
    size_t all = row_of(rows, "pending"), change = row_of(rows, "change");
    size_t backoff = row_of(rows, "backoff"), i;
    json_t *list, *reason;
    reasons.row_count = (uint32_t)all;
    if (render_json(&reasons, columns, ARRAY_SIZE(columns) - !q->names, &list, err) < 0)
        return -(int)err->code;
    json_array_foreach(list, i, reason)
    {
        if (q->names)
            names_split(reason);
    }
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:I}", "job", q->job, "pending",
                  (json_int_t)render_integer(rows, all, "amount"), "machines",
                  (json_int_t)render_integer(rows, all, "machines"), "reasons", list, "evictable",
                  (json_int_t)machines_of(rows, "evict"), "evictable_over_budget",
                  (json_int_t)machines_of(rows, "evict-over-budget"), "held_by_prod",
                  (json_int_t)machines_of(rows, "held-by-prod"));
    if (change < rows->row_count)
        json_object_set_new(
            object, "change",
            json_pack("{s:s, s:I, s:I}", "resource", render_text(rows, change, "reason"), "amount",
                      (json_int_t)render_integer(rows, change, "amount"), "machines",
                      (json_int_t)render_integer(rows, change, "machines")));
    if (backoff < rows->row_count)
        json_object_set_new(object, "not_before_ms",
                            json_integer((json_int_t)render_integer(rows, backoff, "amount")));
    render_json_print(stdout, object);
    return 0;
}

/* Nothing of it is pending: say how it is instead. */
static int answer_state(const struct question *q, struct client *client, int64_t id,
                        struct err *err)
{
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    if (client_queryf(client, &rows, err,
                      "SELECT count(*) AS tasks, t.state, CASE WHEN count(DISTINCT m.id) > 100 "
                      "THEN count(DISTINCT m.id) || ' machines' "
                      "ELSE coalesce(group_concat(DISTINCT m.name), '') END AS machines, "
                      "t.cause, t.exit_code FROM tasks t LEFT JOIN machines m ON m.id = "
                      "t.machine_id WHERE t.job_id = %lld AND %lld IN (-1, t.idx) "
                      "GROUP BY t.state, t.cause, t.exit_code ORDER BY 1 DESC, 2, 4, 5",
                      (long long)id, (long long)q->index) < 0)
        return -(int)err->code;
    if (q->cli->output == OUTPUT_TABLE) {
        struct render_options options = listing_render_options();
        printf("%s: nothing is pending\n", q->cli->args[0]);
        return render_table(stdout, &rows, columns_of_tasks, ARRAY_SIZE(columns_of_tasks), &options,
                            err);
    }
    json_t *list;
    if (render_json(&rows, columns_of_tasks, ARRAY_SIZE(columns_of_tasks), &list, err) < 0)
        return -(int)err->code;
    render_json_print(stdout,
                      json_pack("{s:s, s:i, s:o}", "job", q->job, "pending", 0, "tasks", list));
    return 0;
}

static int why_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    struct question q = {.cli = cli, .names = cli_flag(cli, OPT_NAMES)};
    struct wire_why asked = {0};
    int64_t id;
    if (cli_task(cli->args[0], q.job, &q.index, err) < 0 || client_open(cli, &client, err) < 0 ||
        listing_job_id(client, q.job, &id, err) < 0)
        return -(int)err->code;
    str_copy(asked.job, sizeof asked.job, q.job);
    asked.index = q.index;
    asked.want_names = q.names;
    if (client_why(client, &asked, &rows, err) < 0)
        return err->code == ERR_STATE ? answer_state(&q, client, id, err) : -(int)err->code;
    if (row_of(&rows, "pending") == rows.row_count)
        return err_set(err, ERR_CORRUPT,
                       "the cell's answer has no row `pending`: it speaks "
                       "another version; use the borgctl that belongs to it");
    return cli->output == OUTPUT_JSON ? answer_json(&q, &rows, err) : answer_table(&q, &rows, err);
}

int cmd_why(struct cli *cli)
{
    struct err err;
    return why_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
