/*
 * cmd_job.c - submit and kill, and waiting for their effect.
 */
#include "clock.h"
#include "cmd_pack.h"
#include "jobfile.h"
#include "listing.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 100 };

/* The state of a job as far as waiting needs it. */
struct job_progress {
    bool dead;
    int64_t replicas, running, pending, live, failed, killed;
    int64_t unconfirmed; /* attempts that may still run on silent machines */
    char state[CELL_NAME_MAX + 1];
    char reason[CELL_REASON_MAX + 1];
};

static int job_look(struct client *client, uint64_t id, struct job_progress *ret, struct err *err)
{
    struct wire_rows rows;
    if (client_queryf(client, &rows, err,
                      "SELECT dead, replicas - unwanted AS replicas, running, pending, "
                      "assigned + running AS live, unconfirmed, "
                      "failed, killed_tasks, state, reason FROM jobs WHERE id = %lld",
                      (long long)id) < 0)
        return -(int)err->code;
    bool found = rows.row_count == 1;
    if (found) {
        *ret = (struct job_progress){.dead = render_integer(&rows, 0, "dead") != 0,
                                     .replicas = render_integer(&rows, 0, "replicas"),
                                     .running = render_integer(&rows, 0, "running"),
                                     .pending = render_integer(&rows, 0, "pending"),
                                     .live = render_integer(&rows, 0, "live"),
                                     .unconfirmed = render_integer(&rows, 0, "unconfirmed"),
                                     .failed = render_integer(&rows, 0, "failed"),
                                     .killed = render_integer(&rows, 0, "killed_tasks")};
        str_copy(ret->state, sizeof ret->state, render_text(&rows, 0, "state"));
        str_copy(ret->reason, sizeof ret->reason, render_text(&rows, 0, "reason"));
    }
    wire_rows_release(&rows);
    return found ? 0 : err_set(err, ERR_NOT_FOUND, "the cell no longer knows the job");
}

static void job_line(struct buf *to, const char *name, const struct job_progress *now)
{
    buf_printf(to, "job %s: %" PRId64 " of %" PRId64 " tasks run", name, now->running,
               now->replicas);
    if (now->pending > 0)
        buf_printf(to, ", %" PRId64 " pending", now->pending);
    if (now->unconfirmed > 0)
        buf_printf(to, ", %" PRId64 " may run on machines that are silent", now->unconfirmed);
    if (now->reason[0] != '\0') {
        buf_printf(to, ": ");
        text_escape(to, now->reason);
    }
}

/* Print the state on stderr if it has changed. */
static void progress(const struct cli *cli, struct buf *last, const char *name,
                     const struct job_progress *now)
{
    CLEANUP(buf_release) struct buf line = {0};
    job_line(&line, name, now);
    if (cli->quiet || strcmp(buf_text(&line), buf_text(last)) == 0)
        return;
    print_err("%s\n", buf_text(&line));
    buf_clear(last);
    buf_append(last, line.bytes, line.size);
}

/* Wait until all tasks run or the job is dead. */
static int submit_wait(const struct cli *cli, struct client *client, const char *name, uint64_t id,
                       struct job_progress *now, struct err *err)
{
    CLEANUP(buf_release) struct buf last = {0};
    for (;;) {
        if (job_look(client, id, now, err) < 0)
            return err_wrap(err, "job %s is submitted, but waiting for it failed", name);
        if (now->dead || now->running == now->replicas)
            return 0;
        progress(cli, &last, name, now);
        client_turn(client, POLL_MS);
    }
}

struct submitted {
    uint64_t id;
    uint64_t index;
    bool waited;
    struct job_progress now;
};

static bool has_failed(const struct submitted *s)
{
    return s->waited && s->now.dead && (s->now.failed > 0 || s->now.killed > 0);
}

static json_t *submitted_json(const struct job_spec *spec, const struct submitted *s)
{
    json_t *tasks =
        spec->every_machine ? json_string("every-machine") : json_integer(spec->replicas);
    json_t *job = json_pack("{s:s, s:o, s:I, s:I}", "job", spec->name, "tasks", tasks, "job_id",
                            (json_int_t)s->id, "index", (json_int_t)s->index);
    if (s->waited) {
        json_object_set_new(job, "state", json_string(s->now.state));
        json_object_set_new(job, "running", json_integer(s->now.running));
        json_object_set_new(job, "failed", json_integer(s->now.failed));
    }
    return job;
}

static void submitted_print(const struct cli *cli, const struct job_spec *spec,
                            const struct submitted *s)
{
    char tasks[32] = "one on every machine";
    if (!spec->every_machine)
        snprintf(tasks, sizeof tasks, "%u task%s", spec->replicas, spec->replicas == 1 ? "" : "s");
    if (!s->waited) {
        print("job %s submitted (%s)\n", spec->name, tasks);
        if (!cli->quiet)
            print_err("see borgctl job %s, borgctl logs %s/0 -f; end it with borgctl kill "
                      "%s\n",
                      spec->name, spec->name, spec->name);
        return;
    }
    if (s->now.dead)
        print("job %s %s\n", spec->name, s->now.state);
    else
        print("job %s runs (%s)\n", spec->name, tasks);
    if (has_failed(s) && !cli->quiet)
        print_err("see borgctl job %s and borgctl logs %s/0 --err\n", spec->name, spec->name);
}

/* Every job must fit a command before the first is sent. */
static int jobs_check(const struct specs *file, struct err *err)
{
    for (size_t i = 0; i < file->job_count; i++) {
        CLEANUP(buf_release) struct buf packed = {0};
        struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = file->jobs[i]};
        if (cmd_pack(&cmd, &packed, err) < 0)
            return err_wrap(err, "job %s", file->jobs[i].name);
    }
    return 0;
}

static int jobs_submit(const struct cli *cli, const struct specs *file, struct submitted *ret,
                       size_t *ret_count, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    *ret_count = 0;
    if (client_open(cli, &client, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < file->job_count; i++) {
        struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = file->jobs[i]};
        struct wire_answer answer;
        if (client_command(client, &cmd, &answer, err) < 0)
            return file->job_count > 1 ? err_wrap(err, "job %s", file->jobs[i].name)
                                       : -(int)err->code;
        ret[i] = (struct submitted){.id = answer.job, .index = answer.index};
        *ret_count = i + 1;
    }
    for (size_t i = 0; i < file->job_count && cli_flag(cli, OPT_WAIT); i++) {
        if (submit_wait(cli, client, file->jobs[i].name, ret[i].id, &ret[i].now, err) < 0)
            return -(int)err->code;
        ret[i].waited = true;
    }
    client_settle(client);
    return 0;
}

/* What was submitted is told, also when a later one was refused. */
static int submit_report(const struct cli *cli, const struct specs *file,
                         const struct submitted *all, size_t count)
{
    json_t *array = json_array();
    int code = CLI_OK;
    for (size_t i = 0; i < count; i++) {
        if (cli->output == OUTPUT_JSON)
            json_array_append_new(array, submitted_json(&file->jobs[i], &all[i]));
        else
            submitted_print(cli, &file->jobs[i], &all[i]);
        if (has_failed(&all[i]))
            code = CLI_JOB_FAILED;
    }
    if (cli->output == OUTPUT_JSON && file->is_array)
        render_json_print(stdout, json_incref(array));
    else if (cli->output == OUTPUT_JSON && count > 0)
        render_json_print(stdout, json_incref(json_array_get(array, 0)));
    json_decref(array);
    return code;
}

static void submit_dry(const struct specs *file)
{
    json_t *array = json_array();
    for (size_t i = 0; i < file->job_count; i++)
        json_array_append_new(array, spec_json(&file->jobs[i]));
    render_json_print(stdout,
                      file->is_array ? json_incref(array) : json_incref(json_array_get(array, 0)));
    json_decref(array);
}

int cmd_submit(struct cli *cli)
{
    CLEANUP(specs_release) struct specs file = {0};
    CLEANUP(buf_release) struct buf problems = {0};
    struct jobfile_source source;
    struct err err;
    size_t count;
    if (jobfile_source_of(cli, &source, &err) < 0 ||
        jobfile_load(&source, &file, &problems, &err) < 0 || jobs_check(&file, &err) < 0) {
        cli_fail(&err);
        print_err("%s", buf_text(&problems));
        return CLI_USAGE;
    }
    if (cli_flag(cli, OPT_DRY_RUN)) {
        submit_dry(&file);
        return CLI_OK;
    }
    struct submitted *all = xcalloc(file.job_count, sizeof *all);
    int r = jobs_submit(cli, &file, all, &count, &err);
    int code = submit_report(cli, &file, all, count);
    free(all);
    return r < 0 ? cli_fail(&err) : code;
}

/* List the machines where attempts of the job may still run. */
static void silent_machines(struct client *client, uint64_t id, struct buf *to)
{
    struct wire_rows rows;
    struct err err;
    if (client_queryf(client, &rows, &err,
                      "SELECT m.name, m.state FROM machines m WHERE m.unconfirmed > 0 AND EXISTS "
                      "(SELECT 1 FROM json_each(m.left_behind) l WHERE "
                      "json_extract(l.value, '$.task') / 1048576 = %lld) LIMIT 5",
                      (long long)id) < 0)
        return;
    for (uint32_t i = 0; i < rows.row_count; i++) {
        buf_printf(to, "%s", i == 0 ? " (" : ", ");
        text_escape(to, render_text(&rows, i, "name"));
        buf_printf(to, " is %s", render_text(&rows, i, "state"));
    }
    buf_printf(to, rows.row_count > 0 ? ")" : "");
    wire_rows_release(&rows);
}

static int end_unknown(const struct cli *cli, struct client *client, uint64_t id,
                       const struct job_progress *now, struct err *err)
{
    CLEANUP(buf_release) struct buf machines = {0};
    silent_machines(client, id, &machines);
    return err_set(err, ERR_UNKNOWN_OUTCOME,
                   "job %s is %s, but %" PRId64 " of its attempts ran on machines that became "
                   "silent%s: their processes may still run until these machines are back or are "
                   "removed (borgctl machine remove)",
                   cli->args[0], now->state, now->unconfirmed, buf_text(&machines));
}

/* Wait until the cell knows that no process of the job runs. It cannot know this for a silent
 * machine, which may never return; the wait for such machines is limited by --timeout. */
static int kill_wait(const struct cli *cli, struct client *client, uint64_t id, struct err *err)
{
    CLEANUP(buf_release) struct buf last = {0};
    struct job_progress now;
    uint64_t dead_ms = 0;
    for (;;) {
        if (job_look(client, id, &now, err) < 0)
            return err->code == ERR_NOT_FOUND ? 0 : -(int)err->code;
        bool dead = now.dead && now.live == 0;
        if (dead && now.unconfirmed == 0)
            return 0;
        dead_ms = dead && dead_ms == 0 ? clock_mono_ms() : dead_ms;
        if (dead && clock_mono_ms() - dead_ms >= cli->timeout_ms)
            return end_unknown(cli, client, id, &now, err);
        progress(cli, &last, cli->args[0], &now);
        client_turn(client, POLL_MS);
    }
}

static int kill_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct wire_answer answer;
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    if (strlen(cli->args[0]) > CELL_NAME_MAX)
        return err_set(err, ERR_NOT_FOUND,
                       "no job has a name that long; `borgctl jobs` lists the jobs");
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, cli->args[0]);
    if (client_open(cli, &client, err) < 0 || client_command(client, &cmd, &answer, err) < 0)
        return -(int)err->code;
    bool wait = cli_flag(cli, OPT_WAIT);
    client_settle(client);
    if (wait && kill_wait(cli, client, answer.job, err) < 0)
        return err->code == ERR_UNKNOWN_OUTCOME
                   ? -(int)err->code
                   : err_wrap(err, "job %s is being killed, but waiting for its end failed",
                              cli->args[0]);
    if (cli->output == OUTPUT_JSON)
        render_json_print(stdout, json_pack("{s:s, s:I, s:I, s:b}", "job", cli->args[0], "job_id",
                                            (json_int_t)answer.job, "index",
                                            (json_int_t)answer.index, "ended", wait));
    else
        print("job %s %s\n", cli->args[0], wait ? "has ended" : "is being killed");
    return 0;
}

int cmd_kill(struct cli *cli)
{
    struct err err;
    return kill_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
