/*
 * cmd_simulate.c - simulate: run the scheduler without a cell.
 */
#include "jobfile.h"
#include "progress.h"
#include "render.h"
#include "simulate.h"
#include "simulate_compact.h"
#include "simulate_html.h"
#include "simulate_report.h"
#include "simulate_what_if.h"
#include "text.h"
#include "why_answer.h"
#include "why_rows.h"

#include <stdlib.h>
#include <string.h>

/* The options of one call. */
struct request {
    struct workload_choice choice;
    bool policy_given;
    uint32_t tasks_max; /* 0: all */
    uint64_t seed;
    struct trace trace;
    struct workload workload;
    struct sim sim;
    struct progress progress;
    uint32_t trial, trials; /* compaction: finished and total */
    const char *source;     /* name of the workload, for titles */
    struct buf html;        /* the page, if --html was given */
};

static void request_release(struct request *q)
{
    workload_release(&q->workload);
    trace_release(&q->trace);
    sim_release(&q->sim);
    buf_release(&q->html);
}

/* Parse a number of seconds from the start of the trace. */
static int second_parse(struct cli *cli, enum cli_option option, const char *words,
                        struct request *q, struct err *err)
{
    uint64_t seconds;
    int rc = cli_number(cli, option, 0, TRACE_AMOUNT_MAX, 0, &seconds, err);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "%s: \"%.40s\" is neither %s nor a number of seconds",
                       cli_option_name(option), cli_value(cli, option), words);
    q->choice.second = (int64_t)seconds;
    return 0;
}

static int when_parse(struct cli *cli, struct request *q, struct err *err)
{
    const char *at = cli_value(cli, OPT_AT), *arrivals = cli_value(cli, OPT_ARRIVALS);
    q->choice.when = arrivals != NULL ? WHEN_UNTIL : WHEN_MOMENT;
    q->choice.second = INT64_MAX;
    if (at != NULL && arrivals != NULL)
        return err_set(
            err, ERR_INVALID,
            "--at simulates one moment, --arrivals runs over time: give only one of them");
    if (arrivals != NULL)
        return strcmp(arrivals, "all") == 0 ? 0 : second_parse(cli, OPT_ARRIVALS, "all", q, err);
    if (at != NULL && strcmp(at, "all") == 0)
        q->choice.when = WHEN_ALL;
    else if (at != NULL && strcmp(at, "peak") == 0)
        q->choice.when = WHEN_PEAK;
    else
        return second_parse(cli, OPT_AT, "peak, all", q, err);
    return 0;
}

static int policy_of(const struct cli *cli, enum policy *ret, struct err *err)
{
    const char *text = cli_value(cli, OPT_POLICY);
    int policy = text == NULL ? POLICY_STRANDING_AWARE : policy_parse(text);
    if (policy < 0)
        return err_set(err, ERR_INVALID,
                       "--policy: \"%.40s\" is not best-fit, worst-fit or stranding-aware", text);
    *ret = (enum policy)policy;
    return 0;
}

/* Check that there is exactly one of --dir, --machines with --tasks, --checkpoint. */
static int sources_check(const struct cli *cli, struct err *err)
{
    bool dir = cli_flag(cli, OPT_TRACE_DIR), checkpoint = cli_flag(cli, OPT_CHECKPOINT);
    bool machines = cli_flag(cli, OPT_MACHINES), tasks = cli_flag(cli, OPT_TASKS_FILE);
    if (machines != tasks)
        return err_set(err, ERR_INVALID, "--machines and --tasks go together; %s is missing",
                       machines ? "--tasks" : "--machines");
    if (dir + checkpoint + machines != 1)
        return err_set(
            err, ERR_INVALID,
            "no input is given; name one of --dir DIR, --machines FILE with --tasks FILE, "
            "--checkpoint FILE");
    return 0;
}

/* Refuse options that exclude each other. */
static int options_check(const struct cli *cli, struct err *err)
{
    static const enum cli_option of_traces[] = {OPT_LIMIT, OPT_AT, OPT_ARRIVALS};
    static const enum cli_option not_compact[] = {OPT_HOW_MANY, OPT_REMOVE, OPT_WHY, OPT_ARRIVALS};
    bool checkpoint = cli_flag(cli, OPT_CHECKPOINT), compact = cli_flag(cli, OPT_COMPACT);
    for (size_t i = 0; checkpoint && i < ARRAY_SIZE(of_traces); i++)
        if (cli_flag(cli, of_traces[i]))
            return err_set(err, ERR_INVALID, "%s is for traces, not for --checkpoint",
                           cli_option_name(of_traces[i]));
    if (checkpoint && !compact && cli_flag(cli, OPT_POLICY))
        return err_set(
            err, ERR_INVALID,
            "--policy: jobs of a checkpoint have their own policy, except with --compact");
    for (size_t i = 0; compact && i < ARRAY_SIZE(not_compact); i++)
        if (cli_flag(cli, not_compact[i]))
            return err_set(err, ERR_INVALID, "--compact and %s do not go together",
                           cli_option_name(not_compact[i]));
    return 0;
}

static int request_parse(struct cli *cli, struct request *q, struct err *err)
{
    uint64_t limit = 0;
    int rc = sources_check(cli, err);
    if (rc == 0)
        rc = options_check(cli, err);
    if (rc == 0)
        rc = cli_number(cli, OPT_LIMIT, 1, TRACE_TASKS_MAX, 0, &limit, err);
    if (rc == 0)
        rc = cli_number(cli, OPT_SEED, 1, UINT32_MAX, 1, &q->seed, err);
    if (rc == 0)
        rc = when_parse(cli, q, err);
    if (rc == 0)
        rc = policy_of(cli, &q->choice.policy, err);
    q->tasks_max = (uint32_t)limit;
    q->policy_given = cli_flag(cli, OPT_POLICY);
    static const enum cli_option sources[] = {OPT_TRACE_DIR, OPT_TASKS_FILE, OPT_CHECKPOINT};
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (cli_flag(cli, sources[i]))
            q->source = cli_value(cli, sources[i]);
    return rc;
}

static int trace_read(const struct cli *cli, struct request *q, struct err *err)
{
    const char *dir = cli_value(cli, OPT_TRACE_DIR);
    if (dir != NULL)
        return trace_read_dir(&q->trace, dir, q->tasks_max, err);
    int rc = trace_read_machines(&q->trace, cli_value(cli, OPT_MACHINES), err);
    return rc != 0 ? rc
                   : trace_read_tasks(&q->trace, cli_value(cli, OPT_TASKS_FILE), q->tasks_max, err);
}

static void cmd_simulate_on_pass(void *data, const struct sim *sim)
{
    struct request *q = data;
    struct sched_stats stats = sched_stats(sim->sched);
    uint64_t all = stats.placed + stats.pending;
    progress_show(&q->progress, (double)(stats.placed + stats.blocked) / (double)MAX(all, 1U),
                  "%" PRIu64 " placed, %" PRIu64 " pending", stats.placed, stats.pending);
}

static void cmd_simulate_on_second(void *data, int64_t second, int64_t until_s)
{
    struct request *q = data;
    progress_show(&q->progress, (double)second / (double)MAX(until_s, 1),
                  "second %" PRId64 " of %" PRId64, second, until_s);
}

static void cmd_simulate_on_trial_pass(void *data, const struct sim *sim UNUSED)
{
    struct request *q = data;
    progress_show(&q->progress, (double)q->trial / (double)q->trials, "%u of %u trials", q->trial,
                  q->trials);
}

static void cmd_simulate_on_trial(void *data, uint32_t trial UNUSED)
{
    struct request *q = data;
    q->trial++;
}

static int save_html(const struct cli *cli, const struct request *q, struct err *err)
{
    const char *path = cli_value(cli, OPT_HTML);
    return path == NULL ? 0 : html_write(path, &q->html, err);
}

/* Run compaction with the given policy, or with all policies in turn. */
static int run_compact(const struct cli *cli, struct request *q, struct err *err)
{
    struct compact_bound bound;
    struct compact results[POLICY_COUNT];
    bool done[POLICY_COUNT] = {false};
    struct compact_watch watch = {cmd_simulate_on_trial_pass, cmd_simulate_on_trial, q};
    int rc = compact_prepare(&q->workload, &bound, err);
    q->trials = COMPACT_TRIALS * (q->policy_given ? 1 : POLICY_COUNT);
    for (enum policy p = 0; rc == 0 && p < POLICY_COUNT; p++) {
        if (q->policy_given && p != q->choice.policy)
            continue;
        rc = compact(&q->workload, &bound, p, q->seed, watch, &results[p], err);
        done[p] = rc == 0;
        if (rc == -ERR_LIMIT && !q->policy_given) { /* another policy may still succeed */
            progress_end(&q->progress);
            print_err("borgctl: %s: %s\n", policy_text(p), err->msg);
            rc = 0;
        }
    }
    progress_end(&q->progress);
    if (rc != 0)
        return rc;
    html_compact(&q->html, q->source, &q->workload, &bound, results, done);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, report_compact_json(&q->workload, &bound, results, done));
    else
        report_compact_print(stdout, &q->workload, &bound, results, done);
    return save_html(cli, q, err);
}

static int how_many(const struct cli *cli, struct request *q, json_t *json, struct err *err)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(specs_release) struct specs file = {0};
    struct jobfile_source source = {.path = cli_value(cli, OPT_HOW_MANY)};
    uint64_t count;
    if (source.path == NULL)
        return 0;
    int rc = jobfile_load(&source, &file, &problems, err);
    if (rc != 0) {
        print_err("%s", buf_text(&problems));
        return rc;
    }
    if (file.job_count != 1)
        return err_set(err, ERR_INVALID,
                       "%s contains %zu jobs; --how-many needs a spec with one job", source.path,
                       file.job_count);
    rc = what_if_more(&q->sim, &file.jobs[0], &count, err);
    if (rc != 0)
        return rc;
    json_object_set_new(json, "how_many", json_integer((json_int_t)count));
    if (cli->output == OUTPUT_TABLE)
        print("\nroom for %" PRIu64 " more tasks of %s without evictions\n", count,
              file.jobs[0].name);
    return 0;
}

static int what_if(const struct cli *cli, struct request *q, json_t *json, struct err *err)
{
    const char *what[CLI_VALUES_MAX];
    size_t count = 0;
    CLEANUP(what_if_release) struct what_if w = {0};
    for (size_t i = 0; i < cli->value_count; i++)
        if (cli->values[i].option == OPT_REMOVE)
            what[count++] = cli->values[i].text;
    if (count == 0)
        return 0;
    int rc = what_if_remove(&q->sim, what, count, q->seed, &w, err);
    if (rc != 0)
        return rc;
    html_what_if(&q->html, &q->sim, &w);
    json_object_set_new(json, "what_if", report_what_if_json(&q->sim, &w));
    if (cli->output == OUTPUT_TABLE)
        report_what_if_print(stdout, &q->sim, &w);
    return 0;
}

/* Load the input: a trace as a workload; a real cell as rows, and as a workload only if needed. */
static int load(const struct cli *cli, struct request *q, struct err *err)
{
    const char *checkpoint = cli_value(cli, OPT_CHECKPOINT);
    int rc = checkpoint != NULL ? sim_load_checkpoint(&q->sim, checkpoint, err)
                                : trace_read(cli, q, err);
    if (rc != 0)
        return rc;
    if (checkpoint == NULL)
        workload_of_trace(&q->workload, &q->trace, &q->choice);
    else if (cli_flag(cli, OPT_COMPACT))
        workload_of_cell(&q->workload, q->sim.cell);
    return 0;
}

static int run(struct request *q, struct history *ret, struct err *err)
{
    struct history_watch watch = {cmd_simulate_on_second, q};
    int rc = 0;
    if (q->choice.when == WHEN_UNTIL) {
        rc = sim_run_over_time(&q->sim, &q->workload, watch, ret, err);
    } else {
        rc = sim_load(&q->sim, &q->workload, err);
        q->sim.on_pass = cmd_simulate_on_pass;
        q->sim.data = q;
        if (rc == 0)
            sim_run(&q->sim);
        q->sim.on_pass = NULL;
    }
    progress_end(&q->progress);
    return rc;
}

/* Explain pending tasks as `borgctl why` does, for the simulated cell at its end. */
static int why(const struct cli *cli, struct request *q, json_t *json, struct err *err)
{
    CLEANUP(wire_rows_release) struct wire_rows rows = {0};
    struct wire_why asked = {.want_names = true};
    const char *task = cli_value(cli, OPT_WHY);
    json_t *answer;
    if (task == NULL)
        return 0;
    int rc = cli_task(task, asked.job, &asked.index, err);
    if (rc == 0)
        rc = why_rows(q->sim.cell, &asked, &rows, err);
    if (rc == -ERR_STATE) { /* no task is pending: that is an answer too */
        json_object_set_new(json, "why", json_pack("{s:s, s:i}", "job", asked.job, "pending", 0));
        if (cli->output == OUTPUT_TABLE)
            print("\n%s\n", err->msg);
        return 0;
    }
    if (rc == 0)
        rc = why_pending_json(asked.job, &rows, &answer, err);
    if (rc != 0)
        return rc;
    json_object_set_new(json, "why", answer);
    if (cli->output == OUTPUT_JSON)
        return 0;
    print("\n");
    return why_pending_print(task, &rows, true, err);
}

static int simulate(const struct cli *cli, struct request *q, struct err *err)
{
    CLEANUP(free_ptr) struct history *history = xcalloc(1, sizeof *history);
    int rc = load(cli, q, err);
    progress_start(&q->progress, cli->quiet);
    if (rc == 0 && cli_flag(cli, OPT_COMPACT))
        return run_compact(cli, q, err);
    if (rc == 0)
        rc = run(q, history, err);
    if (rc != 0)
        return rc;
    struct sim_figures figures = sim_figures(&q->sim);
    struct findings findings = {&figures, &q->workload,
                                q->choice.when == WHEN_UNTIL ? history : NULL};
    json_t *json = report_json(&findings);
    html_report(&q->html, q->source, &findings, &q->sim);
    if (cli->output == OUTPUT_TABLE)
        report_print(stdout, &findings);
    rc = what_if(cli, q, json, err);
    if (rc == 0)
        rc = why(cli, q, json, err);
    if (rc == 0)
        rc = how_many(cli, q, json, err);
    if (rc == 0)
        rc = save_html(cli, q, err);
    if (rc == 0 && cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_incref(json));
    json_decref(json);
    return rc;
}

int cmd_simulate(struct cli *cli)
{
    struct err err;
    CLEANUP(request_release) struct request q = {0};
    sim_init(&q.sim);
    if (request_parse(cli, &q, &err) != 0) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    return simulate(cli, &q, &err) != 0 ? cli_fail(&err) : CLI_OK;
}
