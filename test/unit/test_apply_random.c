/*
 * test_apply_random.c - random commands: invariants hold, replicas agree, checkpoints are complete.
 */
#include "cell_fixture.h"

enum { SEEDS = 200, COMMANDS = 500, JOBS_MAX = COMMANDS + 1, REPLICAS_MAX = 5, MACHINES = 6 };

/* What a store would hold: the rows of all deltas so far. */
struct mirror {
    struct delta scalars; /* of the last delta; its arrays are not used */
    struct machine machines[MACHINES];
    size_t machine_count;
    bool has_job[JOBS_MAX];
    struct job jobs[JOBS_MAX];
    struct task tasks[JOBS_MAX][REPLICAS_MAX];
    struct request_row requests[COMMANDS];
    size_t request_count;
};

static void mirror_put(struct mirror *m, const struct delta *d)
{
    m->scalars = *d;
    for (size_t i = 0; i < d->machine_count; i++) {
        m->machines[d->machines[i].id.v - 1] = d->machines[i];
        m->machine_count = MAX(m->machine_count, (size_t)d->machines[i].id.v);
    }
    for (size_t i = 0; i < d->job_count; i++) {
        const struct job_row *row = &d->jobs[i];
        struct job *job = &m->jobs[row->id.v];
        spec_release(&job->spec);
        *job = (struct job){.id = row->id,
                            .killed = row->killed,
                            .submitted_ms = row->submitted_ms,
                            .changed_ms = row->changed_ms};
        str_copy(job->reason, sizeof job->reason, row->reason);
        spec_copy(&job->spec, &row->spec);
        m->has_job[row->id.v] = true;
    }
    for (size_t i = 0; i < d->task_count; i++)
        m->tasks[task_job(d->tasks[i].id).v][task_index(d->tasks[i].id)] = d->tasks[i];
    for (size_t i = 0; i < d->request_count; i++)
        m->requests[m->request_count++] = d->requests[i];
}

static struct cell *mirror_load(const struct mirror *m)
{
    struct err err = {0};
    struct cell *cell = cell_new();
    cell->now_ms = m->scalars.now_ms;
    cell->event_seq = m->scalars.event_seq;
    cell->next_job = m->scalars.next_job;
    cell->request_seq = m->scalars.request_seq;
    for (size_t i = 0; i < m->machine_count; i++)
        ck_assert_msg(cell_load_machine(cell, &m->machines[i], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (m->has_job[i])
            ck_assert_msg(cell_load_job(cell, &m->jobs[i], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < JOBS_MAX; i++)
        for (uint32_t t = 0; m->has_job[i] && t < m->jobs[i].spec.replicas; t++)
            ck_assert_msg(cell_load_task(cell, &m->tasks[i][t], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < m->request_count; i++)
        cell_load_request(cell, m->requests[i].seq, &m->requests[i].remembered);
    ck_assert_msg(cell_load_done(cell, &err) == 0, "%s", err.msg);
    return cell;
}

static void mirror_release(struct mirror *m)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        spec_release(&m->jobs[i].spec);
}

static void draw_register(uint64_t *seed, struct cmd *cmd)
{
    struct cmd_machine_register *body = &cmd->machine_register;
    cmd->kind = CMD_MACHINE_REGISTER;
    snprintf(body->name, sizeof body->name, "m%u", draw_below(seed, MACHINES));
    snprintf(body->addr, sizeof body->addr, "h%u:1", draw_below(seed, 2));
    body->capacity = amounts(1000 * draw_below(seed, 6), 10 * draw_below(seed, 6), 5, 3);
}

static void draw_submit(uint64_t *seed, struct cmd *cmd)
{
    static const uint32_t priorities[] = {0, 50, 100, 110, 119, 120, 200, 359, 360, 450, 451};
    char name[8], user[8];
    snprintf(name, sizeof name, "j%u", draw_below(seed, 12));
    snprintf(user, sizeof user, "u%u", draw_below(seed, 3));
    struct job_spec spec =
        spec_named(name, user, priorities[draw_below(seed, ARRAY_SIZE(priorities))]);
    spec.replicas = 1 + draw_below(seed, REPLICAS_MAX);
    spec.limit = amounts(500 + 500 * draw_below(seed, 3), 1 + 5 * draw_below(seed, 4),
                         draw_below(seed, 2), draw_below(seed, 2));
    if (spec.limit.v[RES_PORTS] > 0)
        words_add(&spec.ports, "http");
    spec.restart = draw_below(seed, RESTART_COUNT);
    spec.failures_max = draw_below(seed, 4);
    spec.backoff_ms = draw_below(seed, 2) * 1000;
    spec.backoff_max_ms = spec.backoff_ms * 4;
    cmd->kind = CMD_JOB_SUBMIT;
    cmd->job_submit = spec;
}

/* Mostly an attempt that exists, sometimes one that is stale or never was. */
static struct attempt_ref draw_attempt(uint64_t *seed, const struct cell *cell)
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

static machine_id draw_machine(uint64_t *seed)
{
    return (machine_id){draw_below(seed, MACHINES + 2)};
}

static void draw_victims(uint64_t *seed, const struct cell *cell, struct cmd_schedule *body,
                         struct placement *p)
{
    const struct machine *machine = cell_machine(cell, p->machine);
    p->victim_first = body->victim_count;
    if (machine == NULL || draw_below(seed, 2) == 0)
        return;
    LIST_EACH(l, &machine->tasks)
    {
        if (body->victim_count < 16 && draw_below(seed, 3) > 0) {
            body->victims[body->victim_count++] = attempt_of(CONTAINER_OF(l, struct task, link));
            p->victim_count++;
        }
    }
    if (draw_below(seed, 20) == 0)
        p->victim_count += 20; /* beyond the array */
}

static void draw_schedule(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    struct cmd_schedule *body = &cmd->schedule;
    cmd->kind = CMD_SCHEDULE;
    body->placement_count = draw_below(seed, 5);
    body->placements = xcalloc(body->placement_count, sizeof *body->placements);
    body->victims = xcalloc(16, sizeof *body->victims);
    for (uint32_t i = 0; i < body->placement_count; i++) {
        body->placements[i].task = draw_attempt(seed, cell);
        body->placements[i].machine = draw_machine(seed);
        draw_victims(seed, cell, body, &body->placements[i]);
    }
    body->verdict_count = draw_below(seed, 3);
    body->verdicts = xcalloc(body->verdict_count, sizeof *body->verdicts);
    for (uint32_t i = 0; i < body->verdict_count; i++) {
        body->verdicts[i].job.v = draw_below(seed, (uint32_t)cell->next_job + 1);
        snprintf(body->verdicts[i].reason, sizeof body->verdicts[i].reason, "reason %u",
                 draw_below(seed, 3));
    }
}

static void draw_report(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    struct cmd_report *body = &cmd->report;
    cmd->kind = CMD_REPORT;
    body->machine = draw_machine(seed);
    body->report_count = draw_below(seed, 5);
    body->reports = xcalloc(body->report_count, sizeof *body->reports);
    for (uint32_t i = 0; i < body->report_count; i++) {
        struct report *r = &body->reports[i];
        r->task = draw_attempt(seed, cell);
        const struct task *task = cell_task(cell, r->task.task);
        if (i == 0 && task != NULL && task_is_live(task))
            body->machine = task->machine;
        r->kind = draw_below(seed, REPORT_KIND_COUNT + 1);
        r->pid = r->kind == REPORT_RUNNING ? 1 + (int32_t)draw_below(seed, 3) : 0;
        r->exit_code = r->kind == REPORT_EXITED ? (int32_t)draw_below(seed, 4) - 2 : 0;
        r->ports[0] = (uint16_t)draw_below(seed, 3);
    }
}

static void draw_wake(uint64_t *seed, const struct cell *cell, struct cmd *cmd)
{
    cmd->kind = CMD_WAKE;
    cmd->wake.tasks = xcalloc(64, sizeof *cmd->wake.tasks);
    cmd->wake.tasks[cmd->wake.task_count++] = draw_attempt(seed, cell).task;
    LIST_EACH(l, &cell->backing_off)
    if (cmd->wake.task_count < 64)
        cmd->wake.tasks[cmd->wake.task_count++] = CONTAINER_OF(l, struct task, link)->id;
}

static struct cmd draw_cmd(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = {.time_ms = cell->now_ms + draw_below(seed, 3000)};
    if (draw_below(seed, 10) == 0)
        cmd.time_ms /= 2; /* a leader whose clock is behind */
    if (draw_below(seed, 3) == 0)
        cmd.request_id[1] = 1 + draw_below(seed, 300);
    if (draw_below(seed, 2) == 0)
        str_copy(cmd.user, sizeof cmd.user, "alice");
    switch (draw_below(seed, 16)) {
    case 0:
    case 1:
        draw_register(seed, &cmd);
        break;
    case 2:
        cmd.kind = CMD_MACHINE_DOWN;
        cmd.machine_down.machine = draw_machine(seed);
        break;
    case 3:
    case 4:
        draw_submit(seed, &cmd);
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
        cmd.kind = 77; /* of a release to come */
        break;
    default:
        draw_report(seed, cell, &cmd);
    }
    return cmd;
}

static void expect_same(const struct cell *a, const struct cell *b)
{
    CLEANUP(buf_release) struct buf text_a = {0};
    CLEANUP(buf_release) struct buf text_b = {0};
    cell_text(&text_a, a);
    cell_text(&text_b, b);
    ck_assert_str_eq(buf_text(&text_a), buf_text(&text_b));
    ck_assert_uint_eq(cell_digest(a), cell_digest(b));
}

/* Which outcomes a run saw: random input that never gets anywhere proves nothing. */
static uint64_t events_seen[EVENT_FORGOTTEN + 1];
static uint64_t codes_seen[ERR_CLOSED + 1];

static void run_seed(uint64_t seed)
{
    struct world w = world_new();
    struct cell *twin = cell_new();
    struct mirror *mirror = xcalloc(1, sizeof *mirror);
    struct changes twin_changes = {0};
    for (int i = 0; i < COMMANDS; i++) {
        struct cmd cmd = draw_cmd(&seed, w.cell);
        struct answer answer;
        cell_apply(twin, &cmd, &twin_changes, &answer);
        world_apply(&w, &cmd);
        codes_seen[answer.code]++;
        ck_assert_int_eq(answer.code, w.answer.code);
        ck_assert_str_eq(answer.msg, w.answer.msg);
        ck_assert_uint_eq(cell_digest(twin), cell_digest(w.cell));
        struct delta *delta = delta_collect(w.cell, &w.changes);
        for (size_t e = 0; e < delta->event_count; e++)
            events_seen[delta->events[e].kind]++;
        mirror_put(mirror, delta);
        delta_unref(delta);
        if (draw_below(&seed, 50) == 0) {
            struct cell *loaded = mirror_load(mirror);
            cell_check(loaded);
            expect_same(w.cell, loaded);
            cell_free(twin); /* from here on the loaded one must do the same */
            twin = loaded;
        }
    }
    expect_same(w.cell, twin);
    cell_free(twin);
    changes_release(&twin_changes);
    mirror_release(mirror);
    free(mirror);
    world_release(&w);
}

START_TEST(replicas_and_checkpoints_agree_under_random_commands)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
    for (int kind = EVENT_SUBMITTED; kind < EVENT_FORGOTTEN; kind++)
        ck_assert_msg(events_seen[kind] > 0, "no event %s", event_kind_text(kind));
    const enum err_code codes[] = {ERR_OK, ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, ERR_STATE};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        ck_assert_msg(codes_seen[codes[i]] > 0, "no answer %s", err_code_text(codes[i]));
}
END_TEST

START_TEST(a_full_delta_loads_as_the_cell_it_came_from)
{
    uint64_t seed = 4711;
    struct world w = world_new();
    struct mirror *mirror = xcalloc(1, sizeof *mirror);
    for (int i = 0; i < COMMANDS; i++) {
        struct cmd cmd = draw_cmd(&seed, w.cell);
        cmd.request_id[0] = cmd.request_id[1] = 0; /* a full delta leaves answers out */
        world_apply(&w, &cmd);
    }
    struct delta *delta = delta_full(w.cell);
    ck_assert(delta->full);
    mirror_put(mirror, delta);
    delta_unref(delta);
    struct cell *loaded = mirror_load(mirror);
    expect_same(w.cell, loaded);
    cell_free(loaded);
    mirror_release(mirror);
    free(mirror);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_random");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, replicas_and_checkpoints_agree_under_random_commands);
    tcase_add_test(tcase, a_full_delta_loads_as_the_cell_it_came_from);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
