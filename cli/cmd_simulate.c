/*
 * cmd_simulate.c - simulate: what the scheduler would do, without a cell.
 */
#include "jobfile.h"
#include "render.h"
#include "simulate.h"
#include "simulate_report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REMOVED_MAX = CLI_VALUES_MAX };

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

static void run(const struct cli *cli, struct request *q)
{
    uint64_t drawn = UINT64_MAX;
    bool draw = !cli->quiet && isatty(STDERR_FILENO);
    q->sim.on_progress = draw ? on_progress : NULL;
    q->sim.data = &drawn;
    sim_run(&q->sim);
    q->sim.on_progress = NULL;
    if (draw)
        fprintf(stderr, "\r\033[K");
}

static int simulate(const struct cli *cli, struct request *q, struct err *err)
{
    bool checkpoint = cli_flag(cli, OPT_CHECKPOINT);
    int rc = checkpoint ? sim_load_checkpoint(&q->sim, cli_value(cli, OPT_CHECKPOINT), err)
                        : trace_read(cli, q, err);
    if (rc == 0 && !checkpoint)
        rc = sim_load_trace(&q->sim, &q->trace, &q->load, &q->ignored, err);
    if (rc != 0)
        return rc;
    run(cli, q);
    struct sim_figures figures = sim_figures(&q->sim);
    json_t *json = report_json(&figures, checkpoint ? NULL : &q->ignored,
                               checkpoint ? NULL : policy_text(q->load.policy));
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json);
    else
        json_decref(json);
    if (cli->output == OUTPUT_TABLE)
        report_print(stdout, &figures, checkpoint ? NULL : &q->ignored,
                     checkpoint ? NULL : policy_text(q->load.policy));
    return 0;
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
