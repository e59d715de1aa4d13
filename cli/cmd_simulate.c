/*
 * cmd_simulate.c - simulate: what the scheduler would do, without a cell.
 */
#include "jobfile.h"
#include "render.h"
#include "simulate.h"
#include "simulate_compact.h"
#include "simulate_report.h"
#include "simulate_what_if.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the command line asks for. */
struct request {
    struct sim_load load;
    bool policy_given;
    uint32_t tasks_max; /* 0: all */
    uint64_t remove;
    uint64_t seed;
    struct trace trace;
    struct sim sim;
    struct sim_ignored ignored;
};

static void request_release(struct request *q)
{
    trace_release(&q->trace);
    sim_release(&q->sim);
}

static int arrivals_parse(const struct cli *cli, int64_t *ret, struct err *err)
{
    uint64_t seconds;
    const char *text = cli_value(cli, OPT_ARRIVALS);
    if (text != NULL && strcmp(text, "all") == 0) {
        *ret = INT64_MAX;
        return 0;
    }
    int rc = cli_number(cli, OPT_ARRIVALS, 0, TRACE_AMOUNT_MAX, 0, &seconds, err);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "%s: \"%.40s\" is neither all nor a number of seconds",
                       cli_option_name(OPT_ARRIVALS), text);
    *ret = (int64_t)seconds;
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

/* Exactly one of --dir, --machines with --tasks, --checkpoint; and what goes with it. */
static int sources_check(const struct cli *cli, struct err *err)
{
    bool dir = cli_flag(cli, OPT_TRACE_DIR), checkpoint = cli_flag(cli, OPT_CHECKPOINT);
    bool machines = cli_flag(cli, OPT_MACHINES), tasks = cli_flag(cli, OPT_TASKS_FILE);
    if (machines != tasks)
        return err_set(err, ERR_INVALID, "--machines and --tasks go together; %s is missing",
                       machines ? "--tasks" : "--machines");
    if (dir + checkpoint + machines != 1)
        return err_set(err, ERR_INVALID,
                       "simulate what? give one of --dir DIR, --machines FILE with --tasks FILE, "
                       "--checkpoint FILE");
    static const enum cli_option of_traces[] = {OPT_LIMIT, OPT_ARRIVALS, OPT_COMPACT, OPT_POLICY};
    for (size_t i = 0; checkpoint && i < ARRAY_SIZE(of_traces); i++)
        if (cli_flag(cli, of_traces[i]))
            return err_set(err, ERR_INVALID, "%s is for traces, not for --checkpoint",
                           cli_option_name(of_traces[i]));
    static const enum cli_option not_compact[] = {OPT_HOW_MANY, OPT_REMOVE_MACHINE, OPT_REMOVE};
    for (size_t i = 0; cli_flag(cli, OPT_COMPACT) && i < ARRAY_SIZE(not_compact); i++)
        if (cli_flag(cli, not_compact[i]))
            return err_set(err, ERR_INVALID, "--compact and %s do not go together",
                           cli_option_name(not_compact[i]));
    return 0;
}

static int request_parse(const struct cli *cli, struct request *q, struct err *err)
{
    uint64_t limit = 0;
    int rc = sources_check(cli, err);
    if (rc == 0)
        rc = cli_number(cli, OPT_LIMIT, 1, TRACE_TASKS_MAX, 0, &limit, err);
    if (rc == 0)
        rc = cli_number(cli, OPT_REMOVE, 1, CELL_MACHINES_MAX, 0, &q->remove, err);
    if (rc == 0)
        rc = cli_number(cli, OPT_SEED, 1, UINT32_MAX, 1, &q->seed, err);
    if (rc == 0)
        rc = arrivals_parse(cli, &q->load.arrivals_s, err);
    if (rc == 0)
        rc = policy_of(cli, &q->load.policy, err);
    q->tasks_max = (uint32_t)limit;
    q->policy_given = cli_flag(cli, OPT_POLICY);
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

/* On a terminal a bar, drawn at most 20 times for a whole run. */
static void on_progress(void *data, const struct sim *sim)
{
    enum { WIDTH = 40 };
    uint64_t *drawn = data;
    struct sched_stats stats = sched_stats(sim->sched);
    uint64_t done = stats.placed + stats.blocked;
    uint64_t all = stats.placed + stats.pending;
    uint64_t step = all == 0 ? 0 : done * WIDTH / all;
    if (step == *drawn)
        return;
    *drawn = step;
    fprintf(stderr, "\r[%.*s%*s] %" PRIu64 " placed, %" PRIu64 " pending ", (int)step,
            "########################################", (int)(WIDTH - step), "", stats.placed,
            stats.pending);
}

static bool draws(const struct cli *cli)
{
    return !cli->quiet && isatty(STDERR_FILENO);
}

static void run(const struct cli *cli, struct request *q)
{
    uint64_t drawn = UINT64_MAX;
    bool draw = draws(cli);
    q->sim.on_progress = draw ? on_progress : NULL;
    q->sim.data = &drawn;
    sim_run(&q->sim);
    q->sim.on_progress = NULL;
    if (draw)
        fprintf(stderr, "\r\033[K");
}

static void on_trial(void *data UNUSED, uint32_t trial)
{
    fprintf(stderr, "\r%" PRIu32 " of %d trials ", trial, COMPACT_TRIALS);
}

/* The policy asked for, or all of them one after the other. */
static int run_compact(const struct cli *cli, struct request *q, struct err *err)
{
    struct compact_bound bound;
    struct compact results[POLICY_COUNT];
    bool done[POLICY_COUNT] = {false};
    int rc = compact_bound(&q->trace, &q->load, &bound, err);
    for (enum policy p = 0; rc == 0 && p < POLICY_COUNT; p++) {
        struct sim_load load = q->load;
        if (q->policy_given && p != load.policy)
            continue;
        load.policy = p;
        rc = compact(&q->trace, &load, &bound, q->seed, draws(cli) ? on_trial : NULL, NULL,
                     &results[p], err);
        done[p] = true;
    }
    if (draws(cli))
        fprintf(stderr, "\r\033[K");
    if (rc != 0)
        return rc;
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, report_compact_json(&bound, results, done));
    else
        report_compact_print(stdout, &bound, results, done);
    return 0;
}

static int how_many(const struct cli *cli, struct request *q, json_t *json, struct err *err)
{
    CLEANUP(buf_release) struct buf problems = {0};
    CLEANUP(jobfile_release) struct jobfile file = {0};
    struct jobfile_source source = {.path = cli_value(cli, OPT_HOW_MANY)};
    uint64_t count;
    if (source.path == NULL)
        return 0;
    int rc = jobfile_load(&source, &file, &problems, err);
    if (rc != 0) {
        fputs(buf_text(&problems), stderr);
        return rc;
    }
    if (file.job_count != 1)
        return err_set(err, ERR_INVALID, "%s: %zu jobs, --how-many takes a spec of one",
                       source.path, file.job_count);
    rc = what_if_more(&q->sim, &file.jobs[0], &count, err);
    if (rc != 0)
        return rc;
    json_object_set_new(json, "how_many", json_integer((json_int_t)count));
    if (cli->output == OUTPUT_TABLE)
        printf("\nroom for %" PRIu64 " more tasks of %s, evicting nobody\n", count,
               file.jobs[0].name);
    return 0;
}

static int what_if(const struct cli *cli, struct request *q, json_t *json, struct err *err)
{
    const char *names[CLI_VALUES_MAX];
    size_t name_count = 0;
    CLEANUP(what_if_release) struct what_if w = {0};
    for (size_t i = 0; i < cli->value_count; i++)
        if (cli->values[i].option == OPT_REMOVE_MACHINE)
            names[name_count++] = cli->values[i].text;
    if (name_count == 0 && q->remove == 0)
        return 0;
    int rc = what_if_remove(&q->sim, names, name_count, q->remove, q->seed, &w, err);
    if (rc != 0)
        return rc;
    json_object_set_new(json, "what_if", report_what_if_json(&q->sim, &w));
    if (cli->output == OUTPUT_TABLE)
        report_what_if_print(stdout, &q->sim, &w);
    return 0;
}

static int load(const struct cli *cli, struct request *q, struct err *err)
{
    if (cli_flag(cli, OPT_CHECKPOINT))
        return sim_load_checkpoint(&q->sim, cli_value(cli, OPT_CHECKPOINT), err);
    return sim_load_trace(&q->sim, &q->trace, &q->load, &q->ignored, err);
}

static int simulate(const struct cli *cli, struct request *q, struct err *err)
{
    bool real = cli_flag(cli, OPT_CHECKPOINT);
    int rc = real ? 0 : trace_read(cli, q, err);
    if (rc == 0 && cli_flag(cli, OPT_COMPACT))
        return run_compact(cli, q, err);
    if (rc == 0)
        rc = load(cli, q, err);
    if (rc != 0)
        return rc;
    run(cli, q);
    struct sim_figures figures = sim_figures(&q->sim);
    const struct sim_ignored *ignored = real ? NULL : &q->ignored;
    const char *policy = real ? NULL : policy_text(q->load.policy);
    json_t *json = report_json(&figures, ignored, policy);
    if (cli->output == OUTPUT_TABLE)
        report_print(stdout, &figures, ignored, policy);
    rc = what_if(cli, q, json, err);
    if (rc == 0)
        rc = how_many(cli, q, json, err);
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
