/*
 * why_placed.c - print how a task was placed and why it waited, from the history of any replica,
 * also after the task has ended, as long as its events are kept.
 */
#include "why_answer.h"

#include "listing.h"
#include "text.h"

#include <string.h>

/* Events of the newest job that had such a task; its rows may have been removed. */
#define TASK_EVENTS \
    "job_name = %Q AND task_index = %lld AND job_id = (SELECT job_id FROM events WHERE " \
    "job_name = %Q AND task_index = %lld ORDER BY seq DESC LIMIT 1)"

enum { ATTEMPTS_SHOWN = 20, WAITS_SHOWN = 5 };

static const struct render_column columns_of_scores[] = {
    {"order", "ORDER", RENDER_INTEGER},
    {"stage", "STAGE", RENDER_TEXT},
    {"winner", "CHOSEN", RENDER_TEXT},
    {"runner_up", "NEXT", RENDER_TEXT},
};
static const struct render_column columns_of_victims[] = {
    {"task", "EVICTED FOR IT", RENDER_TEXT},
    {"attempt", "ATTEMPT", RENDER_INTEGER},
    {"why", "WHY", RENDER_TEXT},
};
static const struct render_column columns_of_attempts[] = {
    {"attempt", "ATTEMPT", RENDER_INTEGER},
    {"machine", "MACHINE", RENDER_TEXT},
    {"assigned_ms", "ASSIGNED", RENDER_TIME},
    {"ended_ms", "ENDED", RENDER_TIME},
    {"end", "END", RENDER_STATE},
    {"cause", "CAUSE", RENDER_TEXT},
    {"exit_code", "EXIT", RENDER_INTEGER},
};
static const struct render_column columns_of_waits[] = {
    {"time_ms", "WAITED SINCE", RENDER_TIME},
    {"reason", "WHY", RENDER_TEXT},
};

/* Everything that is known about one attempt. */
struct past {
    struct wire_rows decision; /* one row */
    struct wire_rows scores;
    struct wire_rows victims;
    struct wire_rows attempts;
};

static void past_release(struct past *past)
{
    wire_rows_release(&past->decision);
    wire_rows_release(&past->scores);
    wire_rows_release(&past->victims);
    wire_rows_release(&past->attempts);
}

static int fetch_attempts(struct client *client, const char *job, int64_t index, struct past *ret,
                          struct err *err)
{
    return client_queryf(
        client, &ret->attempts, err,
        "SELECT * FROM (SELECT a.attempt, a.machine, a.time_ms AS assigned_ms, "
        "e.time_ms AS ended_ms, e.kind AS \"end\", e.cause, "
        "CASE WHEN e.cause IN ('exit', 'signal') THEN e.exit_code END AS exit_code, "
        "a.seq, min(e.seq) FROM (SELECT * FROM events WHERE kind = 'assigned' AND " TASK_EVENTS
        " ORDER BY seq DESC LIMIT %d) a "
        "LEFT JOIN events e ON e.job_name = a.job_name AND e.task_index = a.task_index AND "
        "e.job_id = a.job_id AND e.attempt = a.attempt AND e.kind IN "
        "('finished', 'failed', 'evicted', 'lost', 'killed') GROUP BY a.seq) ORDER BY seq",
        job, (long long)index, job, (long long)index, ATTEMPTS_SHOWN);
}

static int fetch_decision(struct client *client, const char *job, int64_t index, uint64_t attempt,
                          struct past *ret, struct err *err)
{
    if (client_queryf(
            client, &ret->decision, err,
            "SELECT seq, time_ms, attempt, machine, json_extract(detail, '$.among') AS among, "
            "json_extract(detail, '$.runner_up') AS runner_up, "
            "json_extract(detail, '$.alloc') AS alloc, "
            "coalesce(json_extract(detail, '$.shape'), 0) AS shape, "
            "coalesce(json_extract(detail, '$.victims'), 0) AS victims, "
            "detail AS decision FROM events WHERE kind = 'assigned' AND " TASK_EVENTS
            " AND %lld IN (0, attempt) ORDER BY seq DESC LIMIT 1",
            job, (long long)index, job, (long long)index, (long long)attempt) < 0)
        return -(int)err->code;
    if (ret->decision.row_count == 1)
        return 0;
    if (attempt > 0)
        return err_set(err, ERR_NOT_FOUND,
                       "the history has no attempt %" PRIu64 " of %s/%" PRId64
                       ": it was never placed, or its events were dropped to make room",
                       attempt, job, index);
    return err_set(err, ERR_NOT_FOUND, "the history has no attempt of %s/%" PRId64, job, index);
}

static int past_fetch(struct client *client, const char *job, int64_t index, uint64_t attempt,
                      struct past *ret, struct err *err)
{
    if (fetch_decision(client, job, index, attempt, ret, err) < 0)
        return -(int)err->code;
    long long seq = (long long)render_integer(&ret->decision, 0, "seq");
    long long victims = (long long)render_integer(&ret->decision, 0, "victims");
    if (client_queryf(
            client, &ret->scores, err,
            "SELECT r.key + 1 AS \"order\", s.key AS stage, CASE s.type WHEN 'array' THEN "
            "CASE typeof(json_extract(s.value, '$[0]')) WHEN 'real' THEN printf('%%.6f', "
            "json_extract(s.value, '$[0]')) ELSE json_extract(s.value, '$[0]') || '' END "
            "END AS winner, CASE typeof(json_extract(s.value, '$[1]')) WHEN 'real' THEN "
            "printf('%%.6f', json_extract(s.value, '$[1]')) ELSE "
            "json_extract(s.value, '$[1]') || '' END AS runner_up FROM events e, "
            "json_each(e.detail, '$.scores') r, json_each(r.value) s WHERE e.seq = %lld",
            seq) < 0 ||
        client_queryf(client, &ret->victims, err,
                      "SELECT task, attempt, detail AS why FROM event_list WHERE seq BETWEEN %lld "
                      "AND %lld AND kind = 'evicting' ORDER BY seq",
                      seq - victims, seq - 1) < 0)
        return -(int)err->code;
    return fetch_attempts(client, job, index, ret, err);
}

static void choice_print(const struct past *past)
{
    const struct wire_rows *d = &past->decision;
    const char *among = render_text(d, 0, "among"), *next = render_text(d, 0, "runner_up");
    if (strcmp(among, "allocs") == 0) {
        print("chosen among the allocs of its set; the other allocs are not recorded\n");
        return;
    }
    if (strcmp(among, "its-own") == 0) {
        print("the task belongs to this machine: its job runs one task on every machine\n");
        return;
    }
    print("chosen among %s", strcmp(among, "woken") == 0
                                 ? "the machines that had improved while the task waited"
                                 : "all machines");
    if (past->victims.row_count > 0)
        print(", with evictions: it fitted nowhere else");
    if (next[0] != '\0')
        print("; at least 2 were suitable, runner-up %s\n", next);
    else
        print("; no other suitable one was found\n");
    if (past->scores.row_count > 0)
        print("(smaller is better; stages with the same order are added, order 1 decides first, "
              "then the machine that registered first)\n");
}

static int past_print(const struct past *past, const char *job, int64_t index, struct err *err)
{
    struct render_options options = listing_render_options();
    const struct wire_rows *d = &past->decision;
    CLEANUP(buf_release) struct buf time = {0};
    render_value(&time, RENDER_TIME, render_cell(d, 0, "time_ms"), 0);
    const char *alloc = render_text(d, 0, "alloc");
    int64_t shape = render_integer(d, 0, "shape");
    print("%s/%" PRId64 ": attempt %" PRId64 " was placed on %s", job, index,
          render_integer(d, 0, "attempt"), render_text(d, 0, "machine"));
    if (alloc[0] != '\0')
        print(" in alloc %s", alloc);
    if (shape > 0)
        print(" in shape %" PRId64, shape);
    print(", %s\n", buf_text(&time));
    choice_print(past);
    bool rival = render_text(d, 0, "runner_up")[0] != '\0';
    if (past->scores.row_count > 0 &&
        render_table(stdout, &past->scores, columns_of_scores,
                     ARRAY_SIZE(columns_of_scores) - !rival, &options, err) < 0)
        return -(int)err->code;
    if (past->victims.row_count > 0 &&
        render_table(stdout, &past->victims, columns_of_victims, ARRAY_SIZE(columns_of_victims),
                     &options, err) < 0)
        return -(int)err->code;
    return render_table(stdout, &past->attempts, columns_of_attempts,
                        ARRAY_SIZE(columns_of_attempts), &options, err);
}

static int past_json(const struct past *past, const char *job, int64_t index, json_t *waited,
                     struct err *err)
{
    const struct wire_rows *d = &past->decision;
    json_t *victims = NULL, *attempts = NULL;
    json_t *decision = json_loads(render_text(d, 0, "decision"), 0, NULL);
    int rv =
        decision == NULL ? err_set(err, ERR_CORRUPT, "a decision in the history is not JSON") : 0;
    if (rv == 0)
        rv = render_json(&past->victims, columns_of_victims, ARRAY_SIZE(columns_of_victims),
                         &victims, err);
    if (rv == 0)
        rv = render_json(&past->attempts, columns_of_attempts, ARRAY_SIZE(columns_of_attempts),
                         &attempts, err);
    if (rv != 0) {
        json_decref(decision);
        json_decref(victims);
        json_decref(waited);
        return rv;
    }
    render_json_print(
        stdout, json_pack("{s:s, s:I, s:I, s:s, s:I, s:o, s:o, s:o, s:o}", "job", job, "index",
                          (json_int_t)index, "attempt", (json_int_t)render_integer(d, 0, "attempt"),
                          "machine", render_text(d, 0, "machine"), "time_ms",
                          (json_int_t)render_integer(d, 0, "time_ms"), "decision", decision,
                          "victims", victims, "attempts", attempts, "waited", waited));
    return 0;
}

int why_placed(const struct cli *cli, struct client *client, const char *job, int64_t index,
               uint64_t attempt, struct err *err)
{
    CLEANUP(past_release) struct past past = {0};
    json_t *waited;
    if (past_fetch(client, job, index, attempt, &past, err) < 0)
        return -(int)err->code;
    if (cli->output == OUTPUT_JSON)
        return why_waited_json(client, job, &waited, err) < 0
                   ? -(int)err->code
                   : past_json(&past, job, index, waited, err);
    return past_print(&past, job, index, err) < 0 ? -(int)err->code
                                                  : why_waited_print(client, job, err);
}

/* Fetch the waits of the newest job of that name in the history. */
static int fetch_waits(struct client *client, const char *job, struct wire_rows *ret,
                       struct err *err)
{
    return client_queryf(client, ret, err,
                         "SELECT time_ms, detail AS reason FROM (SELECT * FROM events WHERE "
                         "job_name = %Q AND kind = 'waiting' AND job_id = (SELECT max(job_id) FROM "
                         "events WHERE job_name = %Q) ORDER BY seq DESC LIMIT %d) ORDER BY seq",
                         job, job, WAITS_SHOWN);
}

int why_waited_print(struct client *client, const char *job, struct err *err)
{
    struct render_options options = listing_render_options();
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    if (fetch_waits(client, job, &rows, err) < 0)
        return -(int)err->code;
    return rows.row_count == 0 ? 0
                               : render_table(stdout, &rows, columns_of_waits,
                                              ARRAY_SIZE(columns_of_waits), &options, err);
}

int why_waited_json(struct client *client, const char *job, json_t **ret, struct err *err)
{
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    if (fetch_waits(client, job, &rows, err) < 0)
        return -(int)err->code;
    return render_json(&rows, columns_of_waits, ARRAY_SIZE(columns_of_waits), ret, err);
}
