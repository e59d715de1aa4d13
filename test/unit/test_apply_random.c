/*
 * test_apply_random.c - random commands: invariants hold, replicas agree, checkpoints are complete.
 */
#include "draw_cmd.h"

enum { SEEDS = 240, COMMANDS = 500, JOBS_MAX = COMMANDS + 1 };

/* What a store would hold: the rows of all deltas so far. */
struct mirror {
    struct delta scalars; /* of the last delta; its arrays are not used */
    struct machine machines[DRAW_MACHINES];
    size_t machine_count;
    bool has_job[JOBS_MAX];
    struct job jobs[JOBS_MAX];
    struct task tasks[JOBS_MAX][DRAW_REPLICAS_MAX + DRAW_MACHINES];
    struct request_row requests[COMMANDS];
    size_t request_count;
    struct quota quotas[32];
    size_t quota_count;
};

static void mirror_put(struct mirror *m, const struct delta *d)
{
    m->scalars = *d;
    for (size_t i = 0; i < d->machine_count; i++) {
        struct machine *machine = &m->machines[d->machines[i].id.v - 1];
        words_release(&machine->attributes);
        free(machine->left);
        *machine = d->machines[i];
        machine->attributes = words_copy(&d->machines[i].attributes);
        machine->left = xcalloc(machine->left_count, sizeof *machine->left);
        for (uint32_t k = 0; k < machine->left_count; k++)
            machine->left[k] = d->machines[i].left[k];
        m->machine_count = MAX(m->machine_count, (size_t)d->machines[i].id.v);
    }
    for (size_t i = 0; i < d->job_count; i++) {
        const struct job_row *row = &d->jobs[i];
        struct job *job = &m->jobs[row->id.v];
        spec_release(&job->spec);
        *job = (struct job){.id = row->id,
                            .killed = row->killed,
                            .task_count = row->task_count,
                            .submitted_ms = row->submitted_ms,
                            .changed_ms = row->changed_ms};
        str_copy(job->reason, sizeof job->reason, row->reason);
        spec_copy(&job->spec, &row->spec);
        job->limit_old_count = row->limit_old_count;
        memcpy(job->limits_old, row->limits_old, sizeof job->limits_old);
        m->has_job[row->id.v] = true;
    }
    for (size_t i = 0; i < d->task_count; i++)
        m->tasks[task_job(d->tasks[i].id).v][task_index(d->tasks[i].id)] = d->tasks[i];
    for (size_t i = 0; i < d->request_count; i++)
        m->requests[m->request_count++] = d->requests[i];
    if (d->has_quotas)
        m->quota_count = d->quota_count;
    for (size_t i = 0; i < d->quota_count; i++)
        m->quotas[i] = d->quotas[i];
}

static struct cell *mirror_load(const struct mirror *m)
{
    struct err err = {0};
    struct cell *cell = cell_new();
    cell->now_ms = m->scalars.now_ms;
    cell->event_seq = m->scalars.event_seq;
    cell->next_job = m->scalars.next_job;
    cell->settings = m->scalars.settings;
    cell->request_seq = m->scalars.request_seq;
    cell->resource_names = m->scalars.resource_names;
    for (size_t i = 0; i < m->machine_count; i++)
        ck_assert_msg(cell_load_machine(cell, &m->machines[i], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (m->has_job[i])
            ck_assert_msg(cell_load_job(cell, &m->jobs[i], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < JOBS_MAX; i++)
        for (uint32_t l = 0; m->has_job[i] && l < m->jobs[i].limit_old_count; l++)
            ck_assert(cell_load_limit_old(cell, m->jobs[i].id, &m->jobs[i].limits_old[l], &err) ==
                      0);
    for (size_t i = 0; i < JOBS_MAX; i++)
        for (uint32_t t = 0; m->has_job[i] && t < m->jobs[i].task_count; t++)
            ck_assert_msg(cell_load_task(cell, &m->tasks[i][t], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < m->quota_count; i++)
        ck_assert_msg(cell_load_quota(cell, &m->quotas[i], &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < m->request_count; i++)
        cell_load_request(cell, m->requests[i].seq, &m->requests[i].remembered);
    ck_assert_msg(cell_load_done(cell, &err) == 0, "%s", err.msg);
    return cell;
}

static void mirror_release(struct mirror *m)
{
    for (size_t i = 0; i < m->machine_count; i++) {
        words_release(&m->machines[i].attributes);
        free(m->machines[i].left);
    }
    for (size_t i = 0; i < JOBS_MAX; i++)
        spec_release(&m->jobs[i].spec);
}

/* Which outcomes a run saw: random input that never gets anywhere proves nothing. */
static uint64_t events_seen[EVENT_KIND_COUNT];
static uint64_t codes_seen[ERR_CLOSED + 1];
static uint64_t inside_seen, leaving_seen; /* tasks in allocs, those of them told to leave */

static void see_tasks(const struct delta *delta)
{
    for (size_t i = 0; i < delta->task_count; i++) {
        inside_seen += delta->tasks[i].alloc.v != 0;
        leaving_seen += delta->tasks[i].alloc.v != 0 && delta->tasks[i].stopping != CAUSE_NONE;
    }
}

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
        see_tasks(delta);
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
    for (int kind = EVENT_SUBMITTED; kind < EVENT_KIND_COUNT; kind++)
        if (kind != EVENT_FORGOTTEN && /* takes more jobs than this */
            kind != EVENT_RESTORED)    /* no command does it */
            ck_assert_msg(events_seen[kind] > 0, "no event %s", event_kind_text(kind));
    ck_assert_uint_gt(inside_seen, 100);
    ck_assert_uint_gt(leaving_seen, 50);
    const enum err_code codes[] = {ERR_OK,    ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS,
                                   ERR_STATE, ERR_DENIED,  ERR_LIMIT};
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
