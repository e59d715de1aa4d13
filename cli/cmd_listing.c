/*
 * cmd_listing.c - jobs, job, tasks, machines, events, query.
 */
#include "listing.h"
#include "rows_json.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS_DEFAULT = 50, EVENTS_MAX = 20000, EVENTS_OF_JOB = 20, FOLLOW_MS = 250 };

/* Print the error, if any, and return the exit code. */
static int end(int r, const struct err *err)
{
    return r < 0 ? cli_fail(err) : CLI_OK;
}

static int listing_run(struct cli *cli, enum listing_kind kind, const char *job, bool single,
                       struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(listing_release) struct listing list = {0};
    int64_t id;
    if (client_open(cli, &client, err) < 0 ||
        (job != NULL && listing_job_id(client, job, &id, err) < 0) ||
        listing_fetch(client, kind, job, &list, err) < 0)
        return -(int)err->code;
    return listing_print(cli, kind, &list, single, err);
}

int cmd_jobs(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_JOBS, cli->args[0], false, &err), &err);
}

int cmd_tasks(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_TASKS, cli->args[0], false, &err), &err);
}

int cmd_allocs(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_ALLOCS, cli->args[0], false, &err), &err);
}

int cmd_machines(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_MACHINES, NULL, false, &err), &err);
}

int cmd_quota(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_QUOTAS, NULL, false, &err), &err);
}

int cmd_identities(struct cli *cli)
{
    struct err err;
    return end(listing_run(cli, LISTING_IDENTITIES, NULL, false, &err), &err);
}

/* All data about one job, from several queries in a row. */
struct job_view {
    struct listing job, tasks, events;
    char *command; /* NULL: private to the job's user */
    char *labels;  /* JSON; NULL: private, or none */
};

static void job_view_release(struct job_view *v)
{
    listing_release(&v->job);
    listing_release(&v->tasks);
    listing_release(&v->events);
    free(v->command);
    free(v->labels);
}

static int job_json(const struct job_view *v, struct err *err)
{
    json_t *job = NULL, *tasks = NULL, *events = NULL;
    if (listing_json(LISTING_JOBS, &v->job, &job, err) < 0 ||
        listing_json(LISTING_TASKS, &v->tasks, &tasks, err) < 0 ||
        listing_json(LISTING_EVENTS, &v->events, &events, err) < 0) {
        json_decref(job);
        json_decref(tasks);
        return -(int)err->code;
    }
    json_t *object = json_incref(json_array_get(job, 0));
    json_decref(job);
    json_t *command = json_string(v->command);
    if (command != NULL) /* else it is private or not UTF-8: the list's shortened text is used */
        json_object_set_new(object, "command", command);
    if (v->labels != NULL)
        json_object_set_new(object, "labels", json_loads(v->labels, 0, NULL));
    json_object_set_new(object, "tasks", tasks);
    json_object_set_new(object, "events", events);
    render_json_print(stdout, object);
    return 0;
}

static int job_table(const struct cli *cli, const struct job_view *v, struct err *err)
{
    const struct wire_rows *job = &v->job.rows;
    CLEANUP(buf_release) struct buf command = {0};
    CLEANUP(buf_release) struct buf reason = {0};
    if (listing_print(cli, LISTING_JOBS, &v->job, true, err) < 0)
        return -(int)err->code;
    if (v->command != NULL)
        text_escape(&command, v->command);
    text_escape(&reason, render_text(job, 0, "reason"));
    if (render_integer(job, 0, "is_alloc_set") != 0)
        print("\nallocs:   reserved for jobs with this alloc_set; see borgctl allocs %s\n",
              render_text(job, 0, "job"));
    else if (v->command == NULL)
        print("\ncommand:  private to user %s\n", render_text(job, 0, "user"));
    else
        print("\ncommand:  %s\n", buf_text(&command));
    print("policy:   %s, %s\n", render_text(job, 0, "policy"), render_text(job, 0, "appclass"));
    if (v->labels != NULL) {
        CLEANUP(buf_release) struct buf labels = {0};
        text_escape(&labels, v->labels);
        print("labels:   %s\n", buf_text(&labels));
    }
    if (render_integer(job, 0, "max_disruptions") > 0)
        print("down now: %" PRId64 " of at most %" PRId64 " at once (max_disruptions)\n",
              render_integer(job, 0, "disrupted"), render_integer(job, 0, "max_disruptions"));
    if (render_integer(job, 0, "every_machine") != 0)
        print("machines: one task on every machine; not on %" PRId64
              " of them now: constraints exclude them or the quota is used up (borgctl why)\n",
              render_integer(job, 0, "unwanted"));
    if (render_integer(job, 0, "gang") != 0)
        print("gang:     pending tasks start all at once or not at all\n");
    if (reason.size > 0)
        print("pending:  %s\n", buf_text(&reason));
    if (render_integer(job, 0, "unconfirmed") > 0)
        print("unknown:  %" PRId64 " of its attempts ran on machines that became silent: their "
              "processes may still run until these machines are back\n",
              render_integer(job, 0, "unconfirmed"));
    print("\n");
    if (listing_print(cli, LISTING_TASKS, &v->tasks, false, err) < 0)
        return -(int)err->code;
    print("\nlatest events:\n");
    return listing_print(cli, LISTING_EVENTS, &v->events, false, err);
}

static int job_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(job_view_release) struct job_view v = {0};
    const char *job = cli->args[0];
    int64_t id;
    if (client_open(cli, &client, err) < 0 || listing_job_id(client, job, &id, err) < 0 ||
        listing_fetch(client, LISTING_JOBS, job, &v.job, err) < 0 ||
        listing_fetch(client, LISTING_TASKS, job, &v.tasks, err) < 0 ||
        listing_command(client, id, &v.command, &v.labels, err) < 0 ||
        listing_events(client, job, -1, 0, EVENTS_OF_JOB, &v.events, err) < 0)
        return -(int)err->code;
    if (v.job.rows.row_count == 0) /* removed between two queries */
        return err_set(err, ERR_NOT_FOUND, "there is no job \"%.80s\" any more", job);
    return cli->output == OUTPUT_JSON ? job_json(&v, err) : job_table(cli, &v, err);
}

int cmd_job(struct cli *cli)
{
    struct err err;
    return end(job_run(cli, &err), &err);
}

static void word_add(struct buf *line, const char *before, const char *text)
{
    if (text[0] == '\0')
        return;
    buf_printf(line, "  %s", before);
    text_escape(line, text);
}

static void event_print(const struct wire_rows *rows, size_t row)
{
    CLEANUP(buf_release) struct buf line = {0};
    render_value(&line, RENDER_TIME, render_cell(rows, row, "time_ms"), 0);
    word_add(&line, "", render_text(rows, row, "kind"));
    word_add(&line, "", render_text(rows, row, "task"));
    if (render_integer(rows, row, "attempt") > 0)
        buf_printf(&line, "  attempt %" PRId64, render_integer(rows, row, "attempt"));
    word_add(&line, "on ", render_text(rows, row, "machine"));
    word_add(&line, "", render_text(rows, row, "cause"));
    if (render_cell(rows, row, "exit_code")->type != WIRE_NULL)
        buf_printf(&line, " %" PRId64, render_integer(rows, row, "exit_code"));
    word_add(&line, "", render_text(rows, row, "detail"));
    print("%s\n", buf_text(&line));
}

/* Print one event per line and flush it, so that a pipe receives each event at once. */
static int events_follow_print(const struct cli *cli, const struct listing *list, struct err *err)
{
    json_t *array, *event;
    size_t i;
    if (cli->output == OUTPUT_TABLE) {
        for (size_t row = 0; row < list->rows.row_count; row++)
            event_print(&list->rows, row);
        return 0;
    }
    if (listing_json(LISTING_EVENTS, list, &array, err) < 0)
        return -(int)err->code;
    json_array_foreach(array, i, event)
    {
        json_print(stdout, event, JSON_COMPACT);
    }
    json_decref(array);
    return 0;
}

struct events_question {
    char job[CELL_NAME_MAX + 1]; /* "": of all jobs */
    int64_t index;               /* -1: of all tasks */
    uint64_t count;
};

/* Fetch the events after `seq`. A job without events is an error only if no such job is known. */
static int events_fetch(struct client *client, const struct events_question *q, uint64_t seq,
                        uint64_t count, struct listing *ret, struct err *err)
{
    const char *job = q->job[0] != '\0' ? q->job : NULL;
    int64_t id;
    if (listing_events(client, job, q->index, seq, count, ret, err) < 0)
        return -(int)err->code;
    if (job != NULL && seq == 0 && ret->rows.row_count == 0)
        return listing_job_id(client, job, &id, err);
    return 0;
}

static int events_follow(struct cli *cli, struct client *client, const struct events_question *q,
                         struct err *err)
{
    uint64_t seq = 0;
    for (;;) {
        CLEANUP(listing_release) struct listing list = {0};
        if (events_fetch(client, q, seq, seq == 0 ? q->count : EVENTS_MAX, &list, err) < 0 ||
            events_follow_print(cli, &list, err) < 0 || stdout_check(err) < 0)
            return -(int)err->code;
        if (!stdout_has_reader())
            return 0;
        if (list.rows.row_count > 0)
            seq = (uint64_t)render_integer(&list.rows, list.rows.row_count - 1, "seq");
        client_turn(client, FOLLOW_MS);
    }
}

static int events_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(listing_release) struct listing list = {0};
    struct events_question q = {.index = -1};
    if (cli_number(cli, OPT_NUMBER, 1, EVENTS_MAX, EVENTS_DEFAULT, &q.count, err) < 0 ||
        (cli->arg_count > 0 && cli_task(cli->args[0], q.job, &q.index, err) < 0) ||
        client_open(cli, &client, err) < 0)
        return -(int)err->code;
    if (cli_flag(cli, OPT_FOLLOW))
        return events_follow(cli, client, &q, err);
    if (events_fetch(client, &q, 0, q.count, &list, err) < 0)
        return -(int)err->code;
    return listing_print(cli, LISTING_EVENTS, &list, false, err);
}

int cmd_events(struct cli *cli)
{
    struct err err;
    return end(events_run(cli, &err), &err);
}

static int query_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    if (client_open(cli, &client, err) < 0 ||
        client_query(client, cli->args[0], cli_flag(cli, OPT_FRESH), &rows, err) < 0)
        return -(int)err->code;
    if (cli->output == OUTPUT_JSON) {
        render_json_print(stdout, rows_json_any(&rows));
    } else {
        struct render_options options = listing_render_options();
        render_table_any(stdout, &rows, &options);
    }
    return 0;
}

int cmd_query(struct cli *cli)
{
    struct err err;
    return end(query_run(cli, &err), &err);
}
