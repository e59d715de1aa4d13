/*
 * turns.c - measure how long one request blocks the loop of a replica in a large cell.
 *
 *     turns [MACHINES [TASKS]]        100,000 machines and 1,000,000 tasks by default
 *
 * Each line is one request at its limit: its processor time, and the longest part of it that the
 * loop does in one turn. Nothing is committed or stored: the commands, the deltas for SQLite, the
 * scheduler, and the answers of `why` are measured alone.
 */
#include "lib/bench.h"
#include "lib/big_cell.h"

#include "applier.h"
#include "attributes.h"
#include "delta.h"
#include "leader.h"
#include "why_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WHY_UNITS = 400, JOB_TASKS = CELL_TASKS_PER_JOB_MAX };

struct turns {
    struct cell *cell;
    struct changes changes;
    uint64_t index;
};

static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static void say(const char *what, double all, double longest)
{
    printf("| %s | %.1f | %.1f |\n", what, all, longest);
    fflush(stdout);
}

static struct cmd job_cmd(const char *name, uint32_t replicas)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT};
    struct job_spec *spec = &cmd.job_submit;
    spec_init(spec);
    str_copy(spec->name, sizeof spec->name, name);
    str_copy(spec->user, sizeof spec->user, "ada");
    spec->priority = 100;
    spec->replicas = replicas;
    spec->limit.v[RES_CPU] = 100;
    spec->limit.v[RES_RAM] = 64 << 20;
    words_add(&spec->argv, "/usr/bin/server");
    return cmd;
}

static void clause(struct cmd *cmd, const char *text, uint32_t weight)
{
    struct term term;
    struct err err;
    if (term_parse(text, &term, &err) != 0)
        bench_die("%s", err.msg);
    clause_add(clauses_add(&cmd->job_submit.constraints, weight), term);
}

/* The time of all pieces of one request, and of the longest piece. */
struct took {
    double all, longest;
};

static void took_add(struct took *took, double ms)
{
    took->all += ms;
    took->longest = MAX(took->longest, ms);
}

static void say_took(const char *what, const char *part, const struct took *took)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %s", what, part);
    say(text, took->all, took->longest);
}

/* Apply the command as the replica does, one piece and its delta per turn. */
static void apply(struct turns *t, const char *what, struct cmd *cmd)
{
    struct took apply = {0}, collect = {0}, turn = {0};
    struct answer answer = {0};
    struct apply applying;
    cmd->time_ms = t->cell->now_ms + 1;
    t->cell->applied_index++;
    double began = cpu_now();
    cell_apply_begin(&applying, t->cell, cmd, &t->changes, &answer);
    for (bool done = false; !done; began = cpu_now()) {
        done = cell_apply_go_on(&applying, APPLIER_PIECE_UNITS);
        double applied = cpu_now();
        struct delta *delta = delta_collect(t->cell, &t->changes);
        double collected = cpu_now();
        changes_clear(&t->changes);
        took_add(&apply, applied - began);
        took_add(&collect, collected - applied);
        took_add(&turn, cpu_now() - began);
        delta_unref(delta); /* done by another thread */
    }
    if (answer.code != ERR_OK)
        bench_die("%s: %s", cmd_kind_text(cmd->kind), answer.msg);
    if (what == NULL)
        return;
    say_took(what, "cell_apply", &apply);
    say_took(what, "delta", &collect);
    say_took(what, "whole turn", &turn);
}

static void ask(struct turns *t, const char *what, const char *job)
{
    struct wire_why asked = {.index = -1};
    struct wire_rows rows;
    struct err err;
    double all = 0, longest = 0;
    bool done = false;
    str_copy(asked.job, sizeof asked.job, job);
    struct why_rows *why = why_rows_begin(&asked);
    while (!done) {
        double began = cpu_now();
        done = why_rows_go_on(why, t->cell, WHY_UNITS);
        double took = cpu_now() - began;
        all += took;
        longest = MAX(longest, took);
    }
    if (why_rows_end(why, &rows, &err) != 0)
        bench_die("why %s: %s", job, err.msg);
    wire_rows_release(&rows);
    say(what, all, longest);
}

static void kill_job(struct turns *t, const char *what, const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    apply(t, what, &cmd);
}

static void why_all(struct turns *t)
{
    struct cmd none = job_cmd("none", 1), evict = job_cmd("evict", 1), gang = job_cmd("gang", 1000);
    struct cmd many = job_cmd("many", 100000), regex = job_cmd("regex", 1);
    struct cmd spread = job_cmd("spread", 100), near = job_cmd("near", 10);
    struct cmd system = job_cmd("system", 1);
    none.job_submit.limit.v[RES_CPU] = RESOURCE_AMOUNT_MAX;
    evict.job_submit.priority = 300;
    evict.job_submit.limit.v[RES_CPU] = 60000;
    gang.job_submit.gang = true;
    spread.job_submit.spread_count = 1;
    spread.job_submit.spreads[0] = (struct spread){.by = "rack", .max = 1};
    system.job_submit.every_machine = true;
    for (int i = 0; i < SPEC_REGEXES_MAX; i++)
        clause(&regex, "machine regex (.?){31}", 0);
    for (int i = 0; i < SPEC_COMPANIES_MAX; i++)
        clause(&near, "rack near many", 0);
    static const char *const whats[] = {"fits nowhere",
                                        "production that must evict",
                                        "gang of 1,000",
                                        "100,000 pending",
                                        "16 expressions, the dearest",
                                        "spread by rack",
                                        "16 times near a job of 100,000",
                                        "a task on every machine"};
    struct cmd *cmds[] = {&none, &evict, &gang, &many, &regex, &spread, &near, &system};
    for (size_t i = 0; i < ARRAY_SIZE(cmds); i++)
        apply(t, NULL, cmds[i]);
    for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
        char text[96];
        snprintf(text, sizeof text, "why: %s", whats[i]);
        ask(t, text, cmds[i]->job_submit.name);
        kill_job(t, NULL, cmds[i]->job_submit.name);
        cmd_release(cmds[i]);
    }
}

/* Place as many tasks as fit, one per machine, for a kill to stop. */
static void place_all(struct turns *t, const char *name)
{
    const struct job *job = cell_job_named(t->cell, name);
    static struct placement placements[CMD_PLACEMENTS_MAX];
    uint32_t next = 0;
    bool timed = strcmp(name, "live") != 0;
    while (next < job->task_count) {
        struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = {.placements = placements}};
        for (; cmd.schedule.placement_count < CMD_PLACEMENTS_MAX && next < job->task_count; next++)
            placements[cmd.schedule.placement_count++] = (struct placement){
                .task = {job->tasks[next].id, 0}, .machine = {next % t->cell->machine_count + 1}};
        apply(t, timed ? NULL : "1,024 placements", &cmd);
        timed = true;
    }
}

static void update(struct turns *t, const char *what, const char *name, int64_t replicas,
                   int64_t priority, int64_t cpu)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE};
    struct cmd_job_update *body = &cmd.job_update;
    str_copy(body->name, sizeof body->name, name);
    body->replicas = replicas;
    body->priority = priority;
    body->resized = cpu == 0 ? 0 : BIT(RES_CPU);
    body->limit.v[RES_CPU] = cpu;
    apply(t, what, &cmd);
}

/* The leader's loop runs this ten times a second. */
static void tick(struct turns *t, const char *what, uint64_t cell_ms)
{
    static task_id wake[LEADER_WAKE_MAX];
    static struct cmd due[LEADER_DUE_MAX];
    struct loss loss = {0};
    uint64_t *heard_ms = xcalloc(t->cell->machine_count, sizeof *heard_ms);
    double began = cpu_now();
    leader_due(t->cell, heard_ms, &loss, 1, cell_ms, wake, due);
    double took = cpu_now() - began;
    say(what, took, took);
    free(heard_ms);
}

/* All tasks of a job wait for a new limit without room, and the disruption budget allows none to
 * move. */
static void tick_stuck(struct turns *t)
{
    struct cmd stuck = job_cmd("stuck", JOB_TASKS);
    stuck.job_submit.limit.v[RES_CPU] = 1;
    stuck.job_submit.limit.v[RES_RAM] = 1 << 20;
    stuck.job_submit.disruptions_max = 1;
    apply(t, NULL, &stuck);
    place_all(t, "stuck");
    update(t, NULL, "stuck", JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 64000);
    tick(t, "leader's tick, 262,144 tasks cannot get their new limit", 1);
    kill_job(t, NULL, "stuck");
    cmd_release(&stuck);
}

/* All tasks of a job fail one after another and back off. */
static void tick_backing_off(struct turns *t)
{
    struct cmd fails = job_cmd("fails", JOB_TASKS);
    static struct report reports[CMD_REPORTS_MAX];
    fails.job_submit.limit.v[RES_CPU] = 1;
    fails.job_submit.limit.v[RES_RAM] = 1 << 20;
    fails.job_submit.backoff_ms = fails.job_submit.backoff_max_ms = 300000;
    apply(t, NULL, &fails);
    place_all(t, "fails");
    const struct job *job = cell_job_named(t->cell, "fails");
    for (uint32_t next = 0; next < job->task_count;) {
        struct cmd cmd = {.kind = CMD_REPORT, .report = {.reports = reports}};
        for (; cmd.report.report_count < CMD_REPORTS_MAX && next < job->task_count; next++) {
            const struct task *task = &job->tasks[next];
            struct report *report = &reports[cmd.report.report_count++];
            *report = (struct report){.task = {task->id, task->attempt}, .kind = REPORT_EXITED};
            report->exit_code = 1;
            report->machine = task->machine;
        }
        apply(t, NULL, &cmd);
    }
    tick(t, "leader's tick, 262,144 tasks back off", t->cell->now_ms);
    kill_job(t, NULL, "fails");
    cmd_release(&fails);
}

/* Every machine is drained, and the disruption budgets of the jobs allow no task to move. */
static void tick_draining(struct turns *t)
{
    struct cmd held = job_cmd("held", JOB_TASKS);
    held.job_submit.limit.v[RES_CPU] = 1;
    held.job_submit.limit.v[RES_RAM] = 1 << 20;
    held.job_submit.disruptions_max = 1;
    apply(t, NULL, &held);
    place_all(t, "held");
    for (uint32_t i = 0; i < t->cell->machine_count; i++) {
        struct cmd cmd = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = true}};
        str_copy(cmd.machine_drain.name, sizeof cmd.machine_drain.name, t->cell->machines[i]->name);
        apply(t, NULL, &cmd);
    }
    tick(t, "leader's tick, all machines drain and no task may go", 1);
    cmd_release(&held);
}

static void commands_all(struct turns *t)
{
    struct cmd pending = job_cmd("pending", JOB_TASKS), live = job_cmd("live", JOB_TASKS);
    struct cmd grows = job_cmd("grows", 1), system = job_cmd("agents", 1);
    live.job_submit.limit.v[RES_CPU] = 1;
    live.job_submit.limit.v[RES_RAM] = 1 << 20;
    system.job_submit.every_machine = true;
    apply(t, "submit of 262,144 tasks", &pending);
    kill_job(t, "kill of 262,144 pending tasks", "pending");
    apply(t, "submit of 1 task", &grows);
    update(t, "update --replicas 1 to 262,144", "grows", JOB_TASKS, JOB_UPDATE_KEEP, 0);
    update(t, "update --replicas 262,144 to 1, pending", "grows", 1, JOB_UPDATE_KEEP, 0);
    apply(t, "submit of a task on every machine", &system);
    kill_job(t, "kill of a task on every machine", "agents");
    apply(t, NULL, &live);
    place_all(t, "live");
    update(t, "update --cpu of 262,144 live tasks", "live", JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, 2);
    update(t, "update --priority of 262,144 live tasks", "live", JOB_UPDATE_KEEP, 200, 0);
    update(t, "update --replicas 262,144 to 131,072, live", "live", JOB_TASKS / 2, JOB_UPDATE_KEEP,
           0);
    kill_job(t, "kill of 131,072 live tasks", "live");
    cmd_release(&pending), cmd_release(&live), cmd_release(&grows), cmd_release(&system);
}

static void register_machine(struct turns *t)
{
    const struct machine *machine = t->cell->machines[0];
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, machine->name);
    str_copy(body->addr, sizeof body->addr, machine->addr);
    body->capacity = machine->capacity;
    body->attributes = words_copy(&machine->attributes);
    attributes_put(&body->attributes, "zone", "elsewhere");
    apply(t, "a machine with another attribute", &cmd);
    cmd_release(&cmd);
}

int main(int argc, char **argv)
{
    struct turns t = {.cell = cell_new()};
    struct big_cell wish = {.machines = argc > 1 ? (uint32_t)atoi(argv[1]) : 100000,
                            .tasks = argc > 2 ? (uint32_t)atoi(argv[2]) : 1000000,
                            .seed = 1};
    big_cell_make(&wish, t.cell);
    printf("%u machines, %" PRIu64 " jobs, %" PRIu64 " live tasks\n\n", t.cell->machine_count,
           t.cell->job_count, t.cell->live_tasks);
    printf("| what | cpu ms | longest piece |\n|---|---|---|\n");
    double began = cpu_now();
    uint64_t digest = cell_digest(t.cell);
    say(digest == 0 ? "digest of nothing" : "cell_digest", cpu_now() - began, cpu_now() - began);
    tick(&t, "leader's tick at rest", 1);
    why_all(&t);
    register_machine(&t);
    commands_all(&t);
    tick_stuck(&t);
    tick_backing_off(&t);
    tick_draining(&t);
    changes_release(&t.changes);
    cell_free(t.cell);
    return 0;
}
