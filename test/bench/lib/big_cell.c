/*
 * big_cell.c - make a cell of many machines and tasks by commands only.
 */
#include "big_cell.h"

#include "attributes.h"
#include "bench.h"
#include "hash.h"

#include <stdio.h>
#include <stdlib.h>

enum { RACK_MACHINES = 40, ZONES = 10, JOB_TASKS_MAX = 5000, CHANGES_MAX = 20000, USERS = 50 };
#define BEGUN_MS UINT64_C(1790000000000)

struct maker {
    const struct big_cell *wish;
    struct cell *cell;
    struct changes changes;
    uint64_t seed;
    uint32_t next_machine; /* the machine for the next task */
};

static uint64_t draw(struct maker *m)
{
    return hash_u64(m->seed += UINT64_C(0x9e3779b97f4a7c15));
}

static void tell(struct maker *m)
{
    if (m->wish->on_changes != NULL)
        m->wish->on_changes(m->wish->data, m->cell, &m->changes);
    changes_clear(&m->changes);
}

static void apply(struct maker *m, struct cmd *cmd)
{
    struct answer answer = {0};
    cmd->time_ms = MAX(m->cell->now_ms, BEGUN_MS) + 1;
    cell_apply(m->cell, cmd, &m->changes, &answer);
    if (answer.code != ERR_OK || answer.refused > 0)
        bench_die("%s: %s", cmd_kind_text(cmd->kind), answer.msg);
    if (m->changes.task_count >= CHANGES_MAX || m->changes.machine_count >= CHANGES_MAX)
        tell(m);
}

static void add_machine(struct maker *m, uint32_t i)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    uint32_t rack = i / RACK_MACHINES;
    char text[32];
    snprintf(body->name, sizeof body->name, "big%" PRIu32, i + 1);
    snprintf(body->addr, sizeof body->addr, "10.%u.%u.%u:7003", i >> 16, i >> 8 & 255, i & 255);
    body->capacity = (struct resources){{[RES_CPU] = rack % 3 == 0 ? 64000 : 32000,
                                         [RES_RAM] = INT64_C(128) << 30,
                                         [RES_DISK] = INT64_C(4) << 40,
                                         [RES_PORTS] = 1000}};
    snprintf(text, sizeof text, "r%" PRIu32, rack);
    attributes_put(&body->attributes, "rack", text);
    snprintf(text, sizeof text, "z%" PRIu32, rack % ZONES);
    attributes_put(&body->attributes, "zone", text);
    attributes_put(&body->attributes, "os", "linux");
    apply(m, &cmd);
    cmd_release(&cmd);
}

/* Make a job. The caller determines its number of tasks and whether it fits; the rest is random. */
static struct cmd job_make(struct maker *m, uint32_t number, uint32_t tasks, bool fits)
{
    static const uint32_t priorities[] = {0, 100, 100, 100, 110, 200, 200, 300, 360};
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT};
    struct job_spec *spec = &cmd.job_submit;
    char text[64];
    cmd.request_id[0] = number + 1;
    spec_init(spec);
    snprintf(spec->name, sizeof spec->name, "job-%" PRIu32, number);
    snprintf(spec->user, sizeof spec->user, "user%u", (unsigned)(draw(m) % USERS));
    spec->priority = priorities[draw(m) % ARRAY_SIZE(priorities)];
    spec->replicas = tasks;
    spec->limit.v[RES_CPU] = fits ? 100 + (int64_t)(draw(m) % 10) * 100 : RESOURCE_AMOUNT_MAX;
    spec->limit.v[RES_RAM] = (64 + (int64_t)(draw(m) % 16) * 64) << 20;
    words_add(&spec->argv, "/usr/bin/server");
    snprintf(text, sizeof text, "--shard=%" PRIu32, number);
    words_add(&spec->argv, text);
    words_add(&spec->env, "MODE=production");
    if (number % 4 == 0) {
        words_add(&spec->ports, "http");
        spec->limit.v[RES_PORTS] = 1;
    }
    if (number % 8 == 0 && tasks > 8)
        spec->disruptions_max = tasks / 8;
    return cmd;
}

/* Return the next machine, in turn, that has room. */
static machine_id next_machine(struct maker *m, const struct job *job)
{
    for (uint32_t tried = 0; tried < m->cell->machine_count; tried++) {
        const struct machine *machine = m->cell->machines[m->next_machine];
        struct room room = cell_room(m->cell, machine);
        m->next_machine = (m->next_machine + 1) % m->cell->machine_count;
        if (resources_fit(&job->spec.limit, &room.free))
            return machine->id;
    }
    bench_die("%u machines are too few for %u tasks", m->wish->machines, m->wish->tasks);
}

/* Place one task at a time, because each placement reduces the room of its machine. */
static void place(struct maker *m, const struct job *job)
{
    struct score_stage stages[] = {{"stranding", 1, true}, {"scarcity", 1, true}};
    for (uint32_t i = 0; i < job->task_count; i++) {
        machine_id machine = next_machine(m, job);
        struct placement p = {
            .task = {task_id_of(job->id, i), 0},
            .machine = machine,
            .decision = {.runner_up = {machine.v % m->cell->machine_count + 1},
                         .scores = {{0, (int32_t)(draw(m) % 100000), 120000},
                                    {1, (int32_t)(draw(m) % 1000), 2000}},
                         .score_count = ARRAY_SIZE(stages)},
        };
        struct cmd cmd = {.kind = CMD_SCHEDULE,
                          .schedule = {.placements = &p,
                                       .placement_count = 1,
                                       .stages = stages,
                                       .stage_count = ARRAY_SIZE(stages)}};
        apply(m, &cmd);
    }
}

static void add_jobs(struct maker *m)
{
    uint32_t waiting = m->wish->tasks / 100, left = m->wish->tasks;
    for (uint32_t number = 0; left > 0; number++) {
        /* There are many small jobs and few large ones. */
        uint64_t most = JOB_TASKS_MAX >> draw(m) % 12;
        uint32_t tasks = MIN(left, (uint32_t)(1 + draw(m) % most));
        bool fits = left > waiting;
        if (fits)
            tasks = MIN(tasks, left - waiting);
        struct cmd cmd = job_make(m, number, tasks, fits);
        apply(m, &cmd);
        if (fits)
            place(m, cell_job_named(m->cell, cmd.job_submit.name));
        cmd_release(&cmd);
        left -= tasks;
    }
}

/* Report that everything on the machine runs. */
static void report(struct maker *m, const struct machine *machine)
{
    static struct report reports[CMD_REPORTS_MAX];
    struct cmd cmd = {.kind = CMD_REPORT, .report = {.reports = reports}};
    uint32_t count = 0;
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const struct job *job = cell_job(m->cell, task_job(task->id));
        ASSERT(count < CMD_REPORTS_MAX);
        reports[count] = (struct report){.task = {task->id, task->attempt},
                                         .kind = REPORT_RUNNING,
                                         .pid = (int32_t)(1000 + draw(m) % 30000),
                                         .machine = machine->id};
        if (job->spec.ports.count > 0)
            reports[count].ports[0] = (uint16_t)(20000 + count);
        count++;
    }
    cmd.report.report_count = count;
    if (count > 0)
        apply(m, &cmd);
}

void big_cell_make(const struct big_cell *wish, struct cell *cell)
{
    struct maker m = {.wish = wish, .cell = cell, .seed = wish->seed};
    for (uint32_t i = 0; i < wish->machines; i++)
        add_machine(&m, i);
    add_jobs(&m);
    for (uint32_t i = 0; i < cell->machine_count; i++)
        report(&m, cell->machines[i]);
    tell(&m);
    changes_release(&m.changes);
}
