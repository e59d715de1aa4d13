/*
 * test_apply_random.c - random commands: invariants hold, replicas agree, checkpoints are complete.
 */
#include "draw_cmd.h"
#include "fields.h"

enum {
    SEEDS = 320,
    COMMANDS = 500,
    JOBS_MAX = COMMANDS + 1,
    TASKS_MAX = DRAW_REPLICAS_MAX + DRAW_MACHINES,
    LOADED_SEEDS = 20, /* loaded after each command of these seeds */
    MUTATIONS = 5000
};

/* The rows of all deltas so far, as a store would have them. */
struct mirror {
    struct delta scalars; /* of the last delta; its arrays are not used */
    struct machine machines[DRAW_MACHINES];
    size_t machine_count;
    bool has_job[JOBS_MAX];
    struct job jobs[JOBS_MAX];
    struct task tasks[JOBS_MAX][TASKS_MAX];
    struct request_row requests[COMMANDS];
    size_t request_count;
    struct quota quotas[32];
    size_t quota_count;
    struct identity_row identities[16];
    size_t identity_count;
};

static void mirror_put(struct mirror *m, const struct delta *d)
{
    m->scalars = *d;
    for (size_t i = 0; i < d->machine_count; i++) {
        struct machine *machine = &m->machines[d->machines[i].id.v - 1];
        record_release(&machine_record, machine);
        record_copy(&machine_record, machine, &d->machines[i]);
        m->machine_count = MAX(m->machine_count, (size_t)d->machines[i].id.v);
    }
    for (size_t i = 0; i < d->job_count; i++) {
        const struct job *row = &d->jobs[i];
        struct job *job = &m->jobs[row->id.v];
        spec_release(&job->spec);
        *job = *row;
        spec_copy(&job->spec, &row->spec);
        m->has_job[row->id.v] = true;
    }
    for (size_t i = 0; i < d->task_count; i++)
        m->tasks[task_job(d->tasks[i].id).v][task_index(d->tasks[i].id)] = d->tasks[i];
    for (size_t i = 0; i < d->request_count; i++)
        m->requests[m->request_count++] = d->requests[i];
    for (size_t i = 0; i < d->forgotten_count; i++)
        m->has_job[d->forgotten[i]] = false;
    if (d->has_quotas)
        m->quota_count = d->quota_count;
    for (size_t i = 0; i < d->quota_count; i++)
        m->quotas[i] = d->quotas[i];
    if (d->has_identities)
        m->identity_count = d->identity_count;
    for (size_t i = 0; i < d->identity_count; i++)
        m->identities[i] = d->identities[i];
}

/* Make a cell from the rows; NULL if they are refused. */
static struct cell *mirror_try(const struct mirror *m, struct err *err)
{
    struct cell *cell = cell_new();
    int rv = 0;
    cell->now_ms = m->scalars.now_ms;
    cell->event_seq = m->scalars.event_seq;
    cell->next_job = m->scalars.next_job;
    cell->settings = m->scalars.settings;
    cell->request_seq = m->scalars.request_seq;
    cell->resource_names = m->scalars.resource_names;
    for (size_t i = 0; rv == 0 && i < m->machine_count; i++)
        rv = cell_load_machine(cell, &m->machines[i], err);
    for (size_t i = 0; rv == 0 && i < JOBS_MAX; i++)
        if (m->has_job[i])
            rv = cell_load_job(cell, &m->jobs[i], err);
    for (size_t i = 0; rv == 0 && i < JOBS_MAX; i++)
        for (uint32_t l = 0; rv == 0 && m->has_job[i] && l < m->jobs[i].limit_old_count; l++)
            rv = cell_load_limit_old(cell, m->jobs[i].id, &m->jobs[i].limits_old[l], err);
    for (size_t i = 0; rv == 0 && i < JOBS_MAX; i++)
        for (uint32_t t = 0; rv == 0 && m->has_job[i] && t < MIN(m->jobs[i].task_count, TASKS_MAX);
             t++)
            rv = cell_load_task(cell, &m->tasks[i][t], err);
    for (size_t i = 0; rv == 0 && i < m->quota_count; i++)
        rv = cell_load_quota(cell, &m->quotas[i], err);
    for (size_t i = 0; rv == 0 && i < m->identity_count; i++)
        rv = cell_load_identity(cell, &m->identities[i], err);
    for (size_t i = 0; rv == 0 && i < m->request_count; i++)
        rv = cell_load_request(cell, m->requests[i].seq, &m->requests[i].remembered, err);
    if (rv == 0)
        rv = cell_load_done(cell, err);
    if (rv == 0)
        return cell;
    cell_free(cell);
    return NULL;
}

static struct cell *mirror_load(const struct mirror *m)
{
    struct err err = {0};
    struct cell *cell = mirror_try(m, &err);
    ck_assert_msg(cell != NULL, "%s", err.msg);
    return cell;
}

static void mirror_release(struct mirror *m)
{
    for (size_t i = 0; i < m->machine_count; i++)
        record_release(&machine_record, &m->machines[i]);
    for (size_t i = 0; i < JOBS_MAX; i++)
        spec_release(&m->jobs[i].spec);
}

/* The outcomes of a run: they show that the random input reaches all states. */
static uint64_t events_seen[EVENT_KIND_COUNT];
static uint64_t codes_seen[ERR_CODE_COUNT];
/* tasks in allocs, and tasks that are being stopped there */
static uint64_t inside_seen, leaving_seen;

static void see_tasks(const struct delta *delta)
{
    for (size_t i = 0; i < delta->task_count; i++) {
        inside_seen += delta->tasks[i].alloc.v != 0;
        leaving_seen += delta->tasks[i].alloc.v != 0 && delta->tasks[i].stopping != CAUSE_NONE;
    }
}

/* A twin applies the command in the smallest pieces, and the mirror gets the delta of each piece.
 */
static uint64_t pieces_seen;

static void twin_apply(struct cell *twin, const struct cmd *cmd, struct answer *answer,
                       struct mirror *mirror, uint64_t *seed)
{
    struct changes changes = {0};
    struct apply apply;
    uint64_t seq = twin->event_seq;
    cell_apply_begin(&apply, twin, cmd, &changes, answer);
    for (bool over = false; !over; pieces_seen++) {
        over = cell_apply_go_on(&apply, 1 + draw_below(seed, 3));
        struct delta *delta = delta_collect(twin, &changes);
        for (size_t e = 0; e < delta->event_count; e++)
            ck_assert_uint_eq(delta->events[e].seq, ++seq);
        mirror_put(mirror, delta);
        delta_unref(delta);
        changes_clear(&changes);
    }
    ck_assert_uint_eq(seq, twin->event_seq);
    changes_release(&changes);
}

static void run_seed(uint64_t seed, bool load_always)
{
    struct world w = world_new();
    struct cell *twin = cell_new();
    struct mirror *mirror = xcalloc(1, sizeof *mirror);
    uint64_t sizes = seed;
    for (int i = 0; i < COMMANDS; i++) {
        struct cmd cmd = draw_cmd(&seed, w.cell);
        struct answer answer;
        twin_apply(twin, &cmd, &answer, mirror, &sizes);
        world_apply(&w, &cmd);
        codes_seen[answer.code]++;
        ck_assert_int_eq(answer.code, w.answer.code);
        ck_assert_str_eq(answer.msg, w.answer.msg);
        ck_assert_uint_eq(cell_digest(twin), cell_digest(w.cell));
        struct delta *delta = delta_collect(w.cell, &w.changes);
        for (size_t e = 0; e < delta->event_count; e++)
            events_seen[delta->events[e].kind]++;
        see_tasks(delta);
        delta_unref(delta);
        if (draw_below(&seed, 50) == 0 || load_always) {
            struct cell *loaded = mirror_load(mirror);
            cell_check(loaded);
            expect_same(w.cell, loaded);
            cell_free(twin); /* from here on the loaded cell is the twin */
            twin = loaded;
        }
    }
    expect_same(w.cell, twin);
    cell_free(twin);
    mirror_release(mirror);
    free(mirror);
    world_release(&w);
}

START_TEST(replicas_and_checkpoints_agree_under_random_commands)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed, seed <= LOADED_SEEDS);
    for (int kind = EVENT_SUBMITTED; kind < EVENT_KIND_COUNT; kind++)
        if (kind != EVENT_RESTORED) /* no command causes it */
            ck_assert_msg(events_seen[kind] > 0, "no event %s", event_kind_text(kind));
    ck_assert_uint_gt(inside_seen, 100);
    ck_assert_uint_gt(leaving_seen, 25);
    ck_assert_uint_gt(pieces_seen, SEEDS * COMMANDS * 21 / 20);
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
        cmd.request_id[0] = cmd.request_id[1] = 0; /* a full delta does not contain answers */
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

#define MUTATE(at, field) \
    case at: \
        (field) = (__typeof__(field))value; \
        return;

static void mutate_job(struct machine *machine, struct job *job, enum resource r, uint32_t which,
                       uint64_t value)
{
    switch (which) {
        MUTATE(0, machine->id.v)
        MUTATE(1, machine->state)
        MUTATE(2, machine->draining)
        MUTATE(3, machine->capacity.v[r])
        MUTATE(4, machine->changed_ms)
        MUTATE(5, job->id.v)
        MUTATE(6, job->killed)
        MUTATE(7, job->submitted_ms)
        MUTATE(8, job->changed_ms)
        MUTATE(9, job->reason[0])
        MUTATE(10, job->task_count)
        MUTATE(11, job->spec.priority)
        MUTATE(12, job->spec.replicas)
        MUTATE(13, job->spec.limit.v[r])
        MUTATE(14, job->spec.alternatives[0].v[r])
        MUTATE(15, job->spec.alternatives[1].v[r])
        MUTATE(16, job->spec.failures_max)
        MUTATE(17, job->spec.disruptions_max)
        MUTATE(18, job->spec.every_machine)
        MUTATE(19, job->spec.gang)
        MUTATE(20, job->spec.is_alloc_set)
        MUTATE(21, job->spec.alloc_set[0])
        MUTATE(22, job->spec.user[0])
        MUTATE(23, job->spec.name[1])
        MUTATE(24, job->limits_old[0].v[r])
    }
}

static void mutate_rest(struct mirror *m, struct task *task, uint64_t *seed, enum resource r,
                        uint64_t value)
{
    struct quota *quota = &m->quotas[draw_below(seed, (uint32_t)MAX(m->quota_count, 1U))];
    struct request_row *request = &m->requests[draw_below(seed, (uint32_t)m->request_count)];
    switch (draw_below(seed, 29)) {
        MUTATE(0, task->state)
        MUTATE(1, task->attempt)
        MUTATE(2, task->machine.v)
        MUTATE(3, task->alloc.v)
        MUTATE(4, task->cause)
        MUTATE(5, task->stopping)
        MUTATE(6, task->shape)
        MUTATE(7, task->failures)
        MUTATE(8, task->crashed_on[0].v)
        MUTATE(9, task->crashed_on[1].v)
        MUTATE(10, task->pid)
        MUTATE(11, task->exit_code)
        MUTATE(12, task->not_before_ms)
        MUTATE(13, task->started_ms)
        MUTATE(14, task->changed_ms)
        MUTATE(15, task->devices)
        MUTATE(16, task->reserves[0].used)
        MUTATE(17, task->reserves[1].reclaimed_percent)
        MUTATE(18, task->reserves[0].since_ms)
        MUTATE(19, quota->band)
        MUTATE(20, quota->limit.v[r])
        MUTATE(21, quota->tasks)
        MUTATE(22, request->seq)
        MUTATE(23, request->remembered.request_id[0])
        MUTATE(24, m->scalars.now_ms)
        MUTATE(25, m->scalars.next_job)
        MUTATE(26, m->scalars.settings.policy)
        MUTATE(27, m->scalars.settings.masters.next_id)
        MUTATE(28, m->scalars.resource_names.text[0][0])
    }
}

/* Change a random value of a random row of the mirror, usually to an invalid one. */
static void mutate(struct mirror *m, uint64_t *seed)
{
    enum { JOB_FIELDS = 25 };
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      5,
                                      6,
                                      7,
                                      8,
                                      9,
                                      15,
                                      100,
                                      255,
                                      1000,
                                      65536,
                                      262144,
                                      1U << 31,
                                      UINT32_MAX,
                                      UINT64_C(1) << 50,
                                      INT64_MAX,
                                      UINT64_MAX};
    uint64_t value = values[draw_below(seed, ARRAY_SIZE(values))];
    uint64_t next_job =
        MIN(MAX(m->scalars.next_job, 2U), (uint64_t)JOBS_MAX); /* or a changed one */
    uint32_t j = 1 + draw_below(seed, (uint32_t)next_job - 1);
    enum resource r = draw_below(seed, RES_COUNT);
    struct machine *machine = &m->machines[draw_below(seed, (uint32_t)m->machine_count)];
    if (draw_below(seed, 2) == 0)
        mutate_job(machine, &m->jobs[j], r, draw_below(seed, JOB_FIELDS), value);
    else
        mutate_rest(m, &m->tasks[j][draw_below(seed, TASKS_MAX)], seed, r, value);
}

/* cell_check() accepts everything that loading accepts, and no cell has anything that loading
 * refuses (run_seed()). */
START_TEST(changed_rows_are_refused_or_make_a_sound_cell)
{
    uint64_t accepted = 0, refused = 0;
    uint64_t seed = (uint64_t)_i + 1;
    struct world w = world_new();
    struct mirror *mirror = xcalloc(1, sizeof *mirror), *changed = xcalloc(1, sizeof *changed);
    for (int i = 0; i < 200; i++) {
        struct cmd cmd = draw_cmd(&seed, w.cell);
        world_apply(&w, &cmd);
        struct delta *delta = delta_collect(w.cell, &w.changes);
        mirror_put(mirror, delta);
        delta_unref(delta);
    }
    for (int i = 0; i < MUTATIONS; i++) {
        struct err err = {0};
        *changed = *mirror; /* borrows its words: only numbers and characters are changed */
        for (uint32_t k = 0; k <= draw_below(&seed, 3); k++)
            mutate(changed, &seed);
        struct cell *cell = mirror_try(changed, &err);
        if (cell != NULL)
            cell_check(cell);
        else
            ck_assert_str_ne(err.msg, "");
        accepted += cell != NULL;
        refused += cell == NULL;
        cell_free(cell);
    }
    ck_assert_uint_gt(accepted, MUTATIONS / 50);
    ck_assert_uint_gt(refused, MUTATIONS / 50);
    mirror_release(mirror);
    free(mirror);
    free(changed);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_random");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, replicas_and_checkpoints_agree_under_random_commands);
    tcase_add_loop_test(tcase, changed_rows_are_refused_or_make_a_sound_cell, 0, 4);
    tcase_add_test(tcase, a_full_delta_loads_as_the_cell_it_came_from);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
