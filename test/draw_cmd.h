/*
 * draw_cmd.h - random commands for a given cell: most are valid, some stale, wrong or unknown.
 */
#ifndef TEST_DRAW_CMD_H
#define TEST_DRAW_CMD_H

#include "access.h"
#include "draw_places.h"
#include "draw_rare.h"

enum { DRAW_REPLICAS_MAX = 5, DRAW_MACHINES = 6 };

static inline void draw_register(uint64_t *seed, struct cmd *cmd)
{
    struct cmd_machine_register *body = &cmd->machine_register;
    cmd->kind = CMD_MACHINE_REGISTER;
    snprintf(body->name, sizeof body->name, "m%u", draw_below(seed, DRAW_MACHINES));
    snprintf(body->addr, sizeof body->addr, "h%u:1", draw_below(seed, 2));
    body->capacity = amounts(1000 * draw_below(seed, 6), 10 * draw_below(seed, 6), 5, 3);
    draw_rare_capacity(seed, body);
    draw_attributes(seed, &body->attributes);
    body->instance = draw_below(seed, 8) == 0;
    body->directory = draw_below(seed, 8) == 0;
    if (draw_below(seed, 40) == 0)
        words_add(&body->attributes, "arch=first"); /* not sorted */
}

static inline uint32_t draw_priority(uint64_t *seed)
{
    static const uint32_t priorities[] = {0, 50, 100, 110, 119, 120, 200, 359, 360, 450, 451};
    return priorities[draw_below(seed, ARRAY_SIZE(priorities))];
}

/* Draw an update that usually changes something and usually keeps the priority. */
static inline void draw_resize(uint64_t *seed, struct cmd_job_update *body)
{
    body->limit = amounts(500 * draw_below(seed, 6), 1 + 5 * draw_below(seed, 4),
                          draw_below(seed, 2), draw_below(seed, 2));
    body->limit.v[RES_GPU] = 500 * draw_below(seed, 5);
    body->resized = 1U << RES_CPU | (draw_below(seed, 2) == 0 ? 1U << RES_RAM : 0) |
                    (draw_below(seed, 4) == 0 ? 1U << RES_GPU : 0) |
                    (draw_below(seed, 40) == 0 ? 1U << RES_PORTS : 0);
    if (draw_below(seed, 2) == 0)
        body->priority = JOB_UPDATE_KEEP;
    if (draw_below(seed, 2) == 0)
        body->replicas = JOB_UPDATE_KEEP;
}

static inline void draw_update(uint64_t *seed, struct cmd *cmd)
{
    struct cmd_job_update *body = &cmd->job_update;
    cmd->kind = CMD_JOB_UPDATE;
    cmd->user[0] = '\0';
    if (draw_below(seed, 4) == 0)
        str_copy(cmd->user, sizeof cmd->user, "alice");
    snprintf(body->name, sizeof body->name, "j%u", draw_below(seed, 12));
    body->replicas = (int64_t)draw_below(seed, DRAW_REPLICAS_MAX + 2) - 1; /* or KEEP */
    body->priority = draw_below(seed, 2) == 0 ? JOB_UPDATE_KEEP : draw_priority(seed);
    if (draw_below(seed, 3) == 0)
        draw_resize(seed, body);
}

static inline void draw_restart(uint64_t *seed, struct cmd *cmd)
{
    struct cmd_job_restart *body = &cmd->job_restart;
    cmd->kind = CMD_JOB_RESTART;
    cmd->user[0] = '\0';
    snprintf(body->name, sizeof body->name, "j%u", draw_below(seed, 12));
    body->index = (int64_t)draw_below(seed, 6) - 2;
    body->batch = draw_below(seed, 3);
}

/* A restart, or another format, which restarts need. */
static inline void draw_later(uint64_t *seed, struct cmd *cmd)
{
    if (draw_below(seed, 3) > 0) {
        draw_restart(seed, cmd);
        return;
    }
    cmd->kind = CMD_FORMAT_SET;
    cmd->format_set.format = draw_below(seed, CELL_FORMAT + 2);
}

/* Make it an alloc set, or a job for one, mostly of the same user; or neither. */
static inline void draw_alloc(uint64_t *seed, const struct cell *cell, struct job_spec *spec)
{
    uint32_t what = draw_below(seed, 5);
    if (what == 0) {
        words_release(&spec->argv);
        words_release(&spec->ports);
        spec->is_alloc_set = true;
        if (draw_below(seed, 4) > 0) {
            clauses_release(&spec->constraints);
            spec->spread_count = 0;
        }
        spec->limit = amounts(1500, 10, 1, 1);
    }
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *set = CONTAINER_OF(l, struct job, link);
        if (what < 2 || !set->spec.is_alloc_set || job_is_dead(set) || draw_below(seed, 2) == 0)
            continue;
        str_copy(spec->alloc_set, sizeof spec->alloc_set, set->spec.name);
        if (draw_below(seed, 10) > 0)
            str_copy(spec->user, sizeof spec->user, set->spec.user);
    }
    if (draw_below(seed, 50) == 0)
        snprintf(spec->alloc_set, sizeof spec->alloc_set, "j%u", draw_below(seed, 12));
}

static inline void draw_submit(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    char name[8], user[8];
    snprintf(name, sizeof name, "j%u", draw_below(seed, 12));
    snprintf(user, sizeof user, "u%u", draw_below(seed, 3));
    struct job_spec spec = spec_named(name, user, draw_priority(seed));
    spec.replicas = 1 + draw_below(seed, DRAW_REPLICAS_MAX);
    spec.limit = amounts(500 + 500 * draw_below(seed, 3), 1 + 5 * draw_below(seed, 4),
                         draw_below(seed, 2), draw_below(seed, 2));
    if (draw_below(seed, 3) == 0)
        draw_rare_limit(seed, &spec);
    if (spec.limit.v[RES_PORTS] > 0)
        words_add(&spec.ports, "http");
    spec.restart = draw_below(seed, RESTART_COUNT);
    spec.failures_max = draw_below(seed, 4);
    spec.disruptions_max = draw_below(seed, 3);
    spec.gang = draw_below(seed, 8) == 0;
    spec.backoff_ms = draw_below(seed, 2) * 1000;
    spec.backoff_max_ms = spec.backoff_ms * 4;
    draw_places(seed, &spec);
    draw_alloc(seed, cell, &spec);
    if (!spec.is_alloc_set) {
        draw_shapes(seed, &spec);
        draw_rare_shapes(seed, &spec);
    }
    cmd->user[0] = spec.alloc_set[0] != '\0' ? '\0' : cmd->user[0];
    spec.every_machine = draw_below(seed, 16) == 0;
    if (spec_valid(&spec, NULL) != 0)
        spec.every_machine = false;
    cmd->kind = CMD_JOB_SUBMIT;
    cmd->job_submit = spec;
}

/* Draw an attempt that usually exists, but sometimes is stale or never existed. */
static inline struct attempt_ref draw_attempt(uint64_t *seed, const struct cell *cell)
{
    struct attempt_ref ref = {
        task_id_of((job_id){draw_below(seed, (uint32_t)cell->next_job + 1)}, draw_below(seed, 5)),
        draw_below(seed, 3)};
    uint32_t tries = draw_below(seed, 8);
    for (uint32_t i = 0; i < tries; i++) {
        const struct task *task = cell_task(cell, ref.task);
        if (task != NULL && !task_is_final(task))
            break;
        ref.task = task_id_of((job_id){1 + draw_below(seed, (uint32_t)cell->next_job)},
                              draw_below(seed, 5));
    }
    const struct task *task = cell_task(cell, ref.task);
    if (task != NULL && draw_below(seed, 10) > 0)
        ref.attempt = task->attempt;
    return ref;
}

static inline machine_id draw_machine(uint64_t *seed)
{
    return (machine_id){draw_below(seed, DRAW_MACHINES + 2)};
}

static inline void draw_victims(uint64_t *seed, const struct cell *cell, struct cmd_schedule *body,
                                struct placement *p)
{
    const struct machine *machine = cell_machine(cell, p->machine);
    p->victim_first = body->victim_count;
    if (machine == NULL || draw_below(seed, 2) == 0)
        return;
    const struct task *tasks[64];
    uint32_t count = tasks_on(cell, machine, tasks, ARRAY_SIZE(tasks));
    for (uint32_t i = 0; i < count; i++) {
        if (body->victim_count < 16 && draw_below(seed, 3) > 0) {
            body->victims[body->victim_count++] = attempt_of(tasks[i]);
            p->victim_count++;
        }
    }
    if (draw_below(seed, 20) == 0)
        p->victim_count += 20; /* beyond the array */
}

/* Place a task of a job in an alloc set into one of its allocs; sometimes also other tasks. */
static inline void draw_inside(uint64_t *seed, const struct cell *cell, struct placement *p)
{
    const struct job *job = cell_job(cell, task_job(p->task.task));
    const struct job *set = job == NULL ? NULL : cell_job_named(cell, job->spec.alloc_set);
    if (draw_below(seed, 20) == 0)
        p->alloc = draw_attempt(seed, cell).task;
    for (uint32_t i = 0; set != NULL && i < set->task_count; i++) {
        if (!task_is_live(&set->tasks[i]) || (p->alloc.v != 0 && draw_below(seed, 2) == 0))
            continue;
        p->alloc = set->tasks[i].id;
        p->machine = set->tasks[i].machine;
    }
}

static inline void draw_schedule(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    struct cmd_schedule *body = &cmd->schedule;
    cmd->kind = CMD_SCHEDULE;
    body->placement_count = draw_below(seed, 5);
    body->placements = xcalloc(body->placement_count, sizeof *body->placements);
    body->victims = xcalloc(16, sizeof *body->victims);
    for (uint32_t i = 0; i < body->placement_count; i++) {
        body->placements[i].task = draw_attempt(seed, cell);
        body->placements[i].machine = draw_machine(seed);
        draw_inside(seed, cell, &body->placements[i]);
        body->placements[i].shape = draw_below(seed, 4) > 0 ? 0 : draw_below(seed, 4);
        draw_victims(seed, cell, body, &body->placements[i]);
    }
    body->verdict_count = draw_below(seed, 3);
    body->verdicts = xcalloc(body->verdict_count, sizeof *body->verdicts);
    for (uint32_t i = 0; i < body->verdict_count; i++) {
        body->verdicts[i].job.v = draw_below(seed, (uint32_t)cell->next_job + 1);
        snprintf(body->verdicts[i].reason, sizeof body->verdicts[i].reason, "reason %u",
                 draw_below(seed, 3));
        body->verdicts[i].is_news = body->verdicts[i].reason[7] == '0';
    }
}

/* Toggle whether a machine fails to start all of its tasks. */
static inline void draw_misstarts(const struct cell *cell, const struct machine *machine,
                                  struct cmd_report *body)
{
    /* One that is sick, or has tasks enough to become so. */
    for (uint32_t i = 0; i < cell->machine_count; i++)
        if (cell->machines[i]->task_count >= MACHINE_FAULTS_MAX &&
            (machine == NULL || machine->sick_rounds == 0))
            machine = cell->machines[i];
    for (uint32_t i = 0; i < cell->machine_count; i++)
        if (cell->machines[i]->sick_rounds > 0 && cell->machines[i]->task_count > 0)
            machine = cell->machines[i];
    if (machine == NULL)
        return;
    const struct task *tasks[64];
    uint32_t count = tasks_on(cell, machine, tasks, ARRAY_SIZE(tasks));
    body->reports = xcalloc(count, sizeof *body->reports);
    for (uint32_t i = 0; i < count; i++) {
        const struct task *task = tasks[i];
        if (body->report_count == MACHINE_FAULTS_MAX && machine->sick_rounds == 0)
            break;
        body->reports[body->report_count++] =
            (struct report){.task = attempt_of(task),
                            .kind = machine->sick_rounds > 0 ? REPORT_RUNNING : REPORT_START_ERROR,
                            .machine = machine->id,
                            .fault = FAULT_MACHINE};
    }
}

static inline void draw_report(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    struct cmd_report *body = &cmd->report;
    cmd->kind = CMD_REPORT;
    machine_id machine = draw_machine(seed);
    if (draw_below(seed, 6) == 0) {
        draw_misstarts(cell, cell_machine(cell, machine), body);
        return;
    }
    body->report_count = draw_below(seed, 5);
    body->reports = xcalloc(body->report_count, sizeof *body->reports);
    for (uint32_t i = 0; i < body->report_count; i++) {
        struct report *r = &body->reports[i];
        r->task = draw_attempt(seed, cell);
        const struct task *task = cell_task(cell, r->task.task);
        if (i == 0 && task != NULL && task_is_live(task))
            machine = task->machine;
        r->machine = machine;
        r->kind = draw_below(seed, REPORT_KIND_COUNT + 1);
        r->pid = r->kind == REPORT_RUNNING ? 1 + (int32_t)draw_below(seed, 3) : 0;
        r->exit_code = r->kind == REPORT_EXITED ? (int32_t)draw_below(seed, 4) - 2 : 0;
        r->fault = draw_below(seed, 2) == 0 ? FAULT_MACHINE : FAULT_TASK;
        r->told_to_stop = draw_below(seed, 2) == 0;
        const struct machine *at = cell_machine(cell, machine);
        if (at != NULL && at->left_count > 0 && draw_below(seed, 2) == 0)
            r->task = at->left[draw_below(seed, at->left_count)];
        r->ports[0] = (uint16_t)draw_below(seed, 3);
    }
}

static inline void draw_wake(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    cmd->kind = CMD_WAKE;
    cmd->wake.tasks = xcalloc(64, sizeof *cmd->wake.tasks);
    cmd->wake.tasks[cmd->wake.task_count++] = draw_attempt(seed, cell).task;
    cmd->wake.task_count += cell_wake_due(cell, UINT64_MAX, cmd->wake.tasks + 1, 63);
}

static inline void draw_quota(uint64_t *seed, struct cmd *cmd)
{
    struct quota *quota = &cmd->quota_set.quota;
    uint32_t user = draw_below(seed, 5);
    cmd->kind = CMD_QUOTA_SET;
    snprintf(quota->user, sizeof quota->user, user < 3 ? "u%u" : user == 3 ? "alice" : "*", user);
    quota->band = draw_below(seed, BAND_COUNT + 1);
    for (int r = 0; r < RES_COUNT; r++)
        quota->limit.v[r] = draw_below(seed, 2) == 0 ? QUOTA_UNLIMITED : draw_below(seed, 40);
    quota->limit.v[RES_CPU] *= 1000;
    if (quota->limit.v[RES_CPU] < 0)
        quota->limit.v[RES_CPU] = draw_below(seed, 10) == 0 ? -2 : QUOTA_UNLIMITED;
    str_copy(cmd->quota_set.resource_names.text[0], RESOURCE_NAME_MAX + 1,
             draw_below(seed, 3) == 0 ? "tape" : "");
    quota->tasks = draw_below(seed, 2) == 0 ? QUOTA_UNLIMITED : draw_below(seed, 40);
    cmd->quota_set.clear = draw_below(seed, 3) == 0;
}

static inline void draw_identity(uint64_t *seed, struct cmd *cmd)
{
    static const char *const names[] = {"user/alice", "user/u1", "user/root", "borglet/m1",
                                        "master/3",   "user/",   "alice"};
    cmd->kind = CMD_IDENTITY_SET;
    str_copy(cmd->identity_set.identity, sizeof cmd->identity_set.identity,
             names[draw_below(seed, ARRAY_SIZE(names))]);
    /* Operators are rare, because most rules apply to other users. */
    cmd->identity_set.add = draw_below(seed, BIT(RIGHT_COUNT)) & ~BIT(RIGHT_OPERATOR);
    if (draw_below(seed, 10) == 0)
        cmd->identity_set.add |= BIT(draw_below(seed, RIGHT_COUNT + 1));
    cmd->identity_set.remove = draw_below(seed, BIT(RIGHT_COUNT)) | BIT(RIGHT_OPERATOR);
    cmd->identity_set.revoke = draw_below(seed, REVOKE_COUNT);
}

static inline void draw_granted(uint64_t *seed, struct cmd *cmd)
{
    if (draw_below(seed, 2) == 0)
        draw_identity(seed, cmd);
    else
        draw_quota(seed, cmd);
}

static inline void draw_drain(uint64_t *seed, struct cmd *cmd)
{
    cmd->kind = CMD_MACHINE_DRAIN;
    snprintf(cmd->machine_drain.name, sizeof cmd->machine_drain.name, "m%u",
             draw_below(seed, DRAW_MACHINES + 1));
    cmd->machine_drain.on = draw_below(seed, 3) == 0;
}

static inline void draw_master(uint64_t *seed, struct cmd *cmd)
{
    uint64_t id = draw_below(seed, 12);
    switch (draw_below(seed, 4)) {
    case 0:
        cmd->kind = CMD_MASTERS_SET;
        cmd->masters_set.count = draw_below(seed, 6);
        for (uint32_t i = 0; i < cmd->masters_set.count; i++) {
            struct master *row = &cmd->masters_set.rows[i];
            row->id = i + 1;
            row->state = draw_below(seed, 20) == 0 ? MASTER_JOINING : MASTER_VOTES;
            snprintf(row->rpc, sizeof row->rpc, "r%u:1", i + 1);
            snprintf(row->raft, sizeof row->raft, "r%u:2", i + 1);
        }
        return;
    case 1:
        cmd->kind = CMD_MASTER_ADD;
        cmd->master_add.replaces = draw_below(seed, 2) == 0 ? 0 : id;
        snprintf(cmd->master_add.rpc, sizeof cmd->master_add.rpc, "r%u:1", draw_below(seed, 14));
        snprintf(cmd->master_add.raft, sizeof cmd->master_add.raft, "r%u:2", draw_below(seed, 14));
        return;
    case 2:
        cmd->kind = CMD_MASTER_REMOVE;
        cmd->master_remove.id = id;
        return;
    default:
        cmd->kind = CMD_MASTER_STEP;
        cmd->master_step.id = id;
        cmd->master_step.gone = draw_below(seed, 2) == 0;
    }
}

static inline void draw_setting(uint64_t *seed, struct cmd *cmd)
{
    if (draw_below(seed, 2) == 0) {
        draw_master(seed, cmd);
        return;
    }
    if (draw_below(seed, 2) == 0) {
        cmd->kind = CMD_POLICY_SET;
        cmd->policy_set.policy = draw_below(seed, POLICY_COUNT + 1);
        return;
    }
    cmd->kind = CMD_HOLD_SET;
    cmd->hold_set.hold = draw_below(seed, HOLD_COUNT + 1);
}

/* Draw a continuation by the leader: for tasks of a draining machine or of a job with a new limit.
 */
static inline void draw_go_on(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    if (draw_below(seed, 8) == 0) {
        cmd->kind = CMD_MACHINE_REMOVE;
        cmd->user[0] = '\0';
        snprintf(cmd->machine_remove.name, sizeof cmd->machine_remove.name, "m%u",
                 draw_below(seed, DRAW_MACHINES));
        cmd->machine_remove.force = draw_below(seed, 2) == 0;
    } else if (cell->machines_sick > 0 || draw_below(seed, 8) == 0) {
        cmd->kind = CMD_MACHINE_TRY;
        cmd->machine_try.machine = draw_machine(seed);
        for (uint32_t i = 0; i < cell->machine_count; i++)
            if (machine_is_sick(cell->machines[i]))
                cmd->machine_try.machine = cell->machines[i]->id;
        cmd->time_ms += draw_below(seed, 80000);
    } else if (draw_below(seed, 2) == 0) {
        cmd->kind = CMD_JOB_RESIZE;
        cmd->job_resize.job.v = draw_below(seed, (uint32_t)cell->next_job + 1);
    } else {
        cmd->kind = CMD_MACHINE_EVICT;
        cmd->machine_evict.machine = draw_machine(seed);
    }
}

/* Commands that no user may send are usually sent by the cell itself. */
static inline struct cmd draw_sent(uint64_t *seed, struct cmd cmd)
{
    if (cmd_access(cmd.kind) == ACCESS_CELL && draw_below(seed, 10) != 0)
        cmd.user[0] = '\0';
    return cmd;
}

static inline void draw_use(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    machine_id machine = draw_machine(seed);
    if (draw_below(seed, 2) == 0)
        draw_usage(seed, cell, machine, cmd);
    else
        cmd->kind = CMD_MACHINE_RECLAIM, cmd->machine_reclaim.machine = machine;
}

/* Everything but the body: time, request id and user. */
static inline struct cmd draw_head(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = {.time_ms = cell->now_ms + draw_below(seed, 3000)};
    if (draw_below(seed, 10) == 0)
        cmd.time_ms /= 2; /* a leader whose clock is behind */
    if (draw_below(seed, 3) == 0)
        cmd.request_id[1] = 1 + draw_below(seed, 300);
    if (draw_below(seed, 2) == 0)
        str_copy(cmd.user, sizeof cmd.user, "alice");
    if (draw_below(seed, 8) == 0)
        str_copy(cmd.user, sizeof cmd.user, CELL_OPERATOR);
    return cmd;
}

static inline struct cmd draw_cmd(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = draw_head(seed, cell);
    switch (draw_below(seed, 30)) {
    case 0:
    case 1:
        draw_register(seed, &cmd);
        break;
    case 24:
    case 25:
        draw_use(seed, cell, &cmd);
        break;
    case 22:
    case 23:
    case 26:
        draw_setting(seed, &cmd);
        break;
    case 2:
        cmd.kind = CMD_MACHINE_DOWN;
        cmd.machine_down.machine = draw_machine(seed);
        break;
    case 3:
    case 4:
        draw_submit(seed, cell, &cmd);
        break;
    case 5:
        cmd.kind = CMD_JOB_KILL;
        snprintf(cmd.job_kill.name, sizeof cmd.job_kill.name, "j%u", draw_below(seed, 13));
        break;
    case 6:
    case 7:
        draw_wake(seed, cell, &cmd);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        draw_schedule(seed, cell, &cmd);
        break;
    case 12:
        cmd.kind = 77; /* a kind of a later release */
        break;
    case 27:
    case 28:
    case 29:
        draw_later(seed, &cmd);
        break;
    case 13:
        draw_drain(seed, &cmd);
        break;
    case 15:
        draw_go_on(seed, cell, &cmd);
        break;
    case 16:
    case 17:
        draw_update(seed, &cmd);
        break;
    case 14:
        draw_granted(seed, &cmd);
        break;
    default:
        draw_report(seed, cell, &cmd);
    }
    return draw_sent(seed, cmd);
}

static inline void expect_same(const struct cell *a, const struct cell *b)
{
    CLEANUP(buf_release) struct buf text_a = {0};
    CLEANUP(buf_release) struct buf text_b = {0};
    cell_text(&text_a, a);
    cell_text(&text_b, b);
    ck_assert_str_eq(buf_text(&text_a), buf_text(&text_b));
    ck_assert_uint_eq(cell_digest(a), cell_digest(b));
}

#endif
