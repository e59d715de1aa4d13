/*
 * cmd_why.c - why: why a task is pending, or how it was placed.
 */
#include "listing.h"
#include "text.h"
#include "why_answer.h"

#include <string.h>

static const struct render_column columns_of_tasks[] = {
    {"tasks", "TASKS", RENDER_INTEGER},    {"state", "STATE", RENDER_STATE},
    {"machines", "MACHINES", RENDER_TEXT}, {"cause", "LAST END", RENDER_TEXT},
    {"exit_code", "EXIT", RENDER_INTEGER},
};

struct question {
    const struct cli *cli;
    char job[CELL_NAME_MAX + 1];
    int64_t index;    /* -1: all */
    uint64_t attempt; /* 0: not given */
};

/* The job is not pending and no single task was asked for: print the states of its tasks. */
static int answer_state(const struct question *q, struct client *client, struct err *err)
{
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    int64_t id;
    if (listing_job_id(client, q->job, &id, err) < 0 ||
        client_queryf(
            client, &rows, err,
            "SELECT count(*) AS tasks, CASE WHEN t.state = 'assigned' AND t.not_before_ms > 0 "
            "THEN 'backing-off' ELSE t.state END AS state, CASE WHEN count(DISTINCT m.id) > 100 "
            "THEN count(DISTINCT m.id) || ' machines' "
            "ELSE coalesce(group_concat(DISTINCT m.name), '') END AS machines, "
            "t.cause, t.exit_code, coalesce((SELECT min(p.idx) FROM tasks p WHERE p.job_id "
            "= %lld AND p.attempt > 0), -1) AS placed FROM tasks t LEFT JOIN machines m ON m.id = "
            "t.machine_id WHERE t.job_id = %lld "
            "GROUP BY 2, t.cause, t.exit_code ORDER BY 1 DESC, 2, 4, 5",
            (long long)id, (long long)id) < 0)
        return -(int)err->code;
    if (q->cli->output == OUTPUT_TABLE) {
        struct render_options options = listing_render_options();
        print("%s: nothing is pending\n", q->job);
        if (render_integer(&rows, 0, "placed") >= 0)
            print("borgctl why %s/%" PRId64 " explains how that task was placed\n", q->job,
                  render_integer(&rows, 0, "placed"));
        if (render_table(stdout, &rows, columns_of_tasks, ARRAY_SIZE(columns_of_tasks), &options,
                         err) < 0)
            return -(int)err->code;
        return why_waited_print(client, q->job, err);
    }
    json_t *list, *waited;
    if (render_json(&rows, columns_of_tasks, ARRAY_SIZE(columns_of_tasks), &list, err) < 0)
        return -(int)err->code;
    if (why_waited_json(client, q->job, &waited, err) < 0) {
        json_decref(list);
        return -(int)err->code;
    }
    render_json_print(stdout, json_pack("{s:s, s:i, s:o, s:o}", "job", q->job, "pending", 0,
                                        "tasks", list, "waited", waited));
    return 0;
}

static int answer_pending(const struct question *q, const struct wire_rows *rows, struct err *err)
{
    json_t *object;
    if (q->cli->output == OUTPUT_TABLE)
        return why_pending_print(q->cli->args[0], rows, cli_flag(q->cli, OPT_NAMES), err);
    if (why_pending_json(q->job, rows, &object, err) < 0)
        return -(int)err->code;
    render_json_print(stdout, object);
    return 0;
}

/* Report a failed task that backs off and keeps its machine: it is neither pending nor running. */
static void backoff_print(const struct question *q, struct client *client)
{
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    CLEANUP(buf_release) struct buf machine = {0};
    struct err err;
    if (q->cli->output != OUTPUT_TABLE ||
        client_queryf(client, &rows, &err,
                      "SELECT machine, failures, max(0, not_before_ms - (SELECT now_ms FROM meta)) "
                      "AS wait_ms FROM task_list WHERE job = %Q AND idx = %lld AND NOT dead AND "
                      "state = 'backing-off'",
                      q->job, (long long)q->index) < 0 ||
        rows.row_count == 0)
        return;
    text_escape(&machine, render_text(&rows, 0, "machine"));
    print("%s/%" PRId64 " has failed (%" PRId64 " in a row); it backs off, keeps its place on %s "
          "and starts again in %" PRId64 " s\n",
          q->job, q->index, render_integer(&rows, 0, "failures"), buf_text(&machine),
          (render_integer(&rows, 0, "wait_ms") + 999) / 1000);
}

/* The task is not pending: print its history, if there is one. */
static int answer_past(const struct question *q, struct client *client, struct err *err)
{
    struct err none;
    if (err->code == ERR_STATE && q->index < 0)
        return answer_state(q, client, err);
    if (q->index < 0 || (err->code != ERR_STATE && err->code != ERR_NOT_FOUND))
        return -(int)err->code;
    backoff_print(q, client);
    int rv = why_placed(q->cli, client, q->job, q->index, 0, &none);
    if (rv < 0 && none.code != ERR_NOT_FOUND)
        *err = none;
    return rv < 0 ? -(int)err->code : 0;
}

static int why_run(struct question *q, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    struct wire_why asked = {0};
    if (client_open(q->cli, &client, err) < 0)
        return -(int)err->code;
    if (q->attempt > 0)
        return why_placed(q->cli, client, q->job, q->index, q->attempt, err);
    str_copy(asked.job, sizeof asked.job, q->job);
    asked.index = q->index;
    asked.want_names = cli_flag(q->cli, OPT_NAMES) || q->cli->output == OUTPUT_JSON;
    if (client_why(client, &asked, &rows, err) < 0)
        return answer_past(q, client, err);
    return answer_pending(q, &rows, err);
}

static int question_parse(struct cli *cli, struct question *ret, struct err *err)
{
    *ret = (struct question){.cli = cli};
    if (cli_task(cli->args[0], ret->job, &ret->index, err) < 0 ||
        cli_number(cli, OPT_ATTEMPT, 1, UINT32_MAX, 0, &ret->attempt, err) < 0)
        return -(int)err->code;
    if (ret->attempt > 0 && ret->index < 0)
        return err_set(err, ERR_INVALID, "--attempt needs a task: borgctl why %s/INDEX --attempt N",
                       ret->job);
    return 0;
}

int cmd_why(struct cli *cli)
{
    struct err err;
    struct question q;
    if (question_parse(cli, &q, &err) < 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return why_run(&q, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
