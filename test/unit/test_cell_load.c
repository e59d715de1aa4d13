/*
 * test_cell_load.c - contradictory rows of checkpoints are refused; deltas.
 */
#include "cell_fixture.h"

/* A cell before its rows are loaded; it expects two jobs. */
static struct cell *empty_cell(void)
{
    struct cell *cell = cell_new();
    cell->now_ms = 1000;
    cell->next_job = 3;
    return cell;
}

static struct machine machine_row(uint32_t id, const char *name)
{
    struct machine row = {.id = {id}, .capacity = amounts(1000, 100, 0, 0)};
    str_copy(row.name, sizeof row.name, name);
    str_copy(row.addr, sizeof row.addr, "a:1");
    return row;
}

static struct job job_row(uint64_t id, const char *name)
{
    return (struct job){.id = {id}, .task_count = 1, .spec = spec_named(name, "ada", 100)};
}

static struct task task_row(uint64_t job, enum task_state state)
{
    struct task row = {.id = task_id_of((job_id){job}, 0), .state = state};
    if (task_is_live(&row)) {
        row.machine.v = 1;
        row.attempt = 1;
    }
    return row;
}

/* Load one machine and one job "web" of one task; then `task`, and finish. */
static int load(struct cell *cell, const struct machine *machine, const struct job *job,
                const struct task *task, struct err *err)
{
    int rc = cell_load_machine(cell, machine, err);
    if (rc == 0)
        rc = cell_load_job(cell, job, err);
    if (rc == 0)
        rc = cell_load_task(cell, task, err);
    return rc == 0 ? cell_load_done(cell, err) : rc;
}

struct rows {
    struct machine machine;
    struct job job;
    struct task task;
};

static void machine_out_of_order(struct rows *r)
{
    r->machine.id.v = 2;
}
static void machine_without_name(struct rows *r)
{
    r->machine.name[0] = '\0';
}
static void machine_in_no_state(struct rows *r)
{
    r->machine.state = MACHINE_STATE_COUNT;
}
static void machine_negative(struct rows *r)
{
    r->machine.capacity.v[RES_RAM] = -1;
}
static void machine_with_bad_attribute(struct rows *r)
{
    words_add(&r->machine.attributes, "Rack=r1");
}
static void machine_down_below_task(struct rows *r)
{
    r->machine.state = MACHINE_DOWN;
}
static void machine_too_small(struct rows *r)
{
    r->job.spec.priority = 200; /* other tasks may use reclaimed resources */
    r->machine.capacity.v[RES_CPU] = 999;
}
static void job_without_id(struct rows *r)
{
    r->job.id.v = 0;
}
static void job_from_the_future(struct rows *r)
{
    r->job.id.v = 3;
}
static void job_with_bad_spec(struct rows *r)
{
    r->job.spec.replicas = 0;
}
static void job_of_nobody(struct rows *r)
{
    r->job.spec.user[0] = '\0';
}
static void reason_without_pending(struct rows *r)
{
    r->job.reason[0] = 'x';
}
static void killed_but_not_told(struct rows *r)
{
    r->job.killed = true;
}
static void job_without_a_task(struct rows *r)
{
    r->job.spec.replicas = 2;
}
static void job_with_a_task_too_many(struct rows *r)
{
    r->job.task_count = 2;
}
static void task_of_no_job(struct rows *r)
{
    r->task.id = task_id_of((job_id){2}, 0);
}
static void task_beyond_replicas(struct rows *r)
{
    r->task.id = task_id_of((job_id){1}, 1);
}
static void task_in_no_state(struct rows *r)
{
    r->task.state = TASK_STATE_COUNT;
}
static void task_of_no_cause(struct rows *r)
{
    r->task.cause = CAUSE_COUNT;
}
static void task_stopping_for_no_cause(struct rows *r)
{
    r->task.stopping = CAUSE_COUNT;
}
static void task_on_no_machine(struct rows *r)
{
    r->task.machine.v = 0;
}
static void task_on_another_machine(struct rows *r)
{
    r->task.machine.v = 2;
}
static void task_without_attempt(struct rows *r)
{
    r->task.attempt = 0;
}
static void task_live_and_backing_off(struct rows *r)
{
    r->task.not_before_ms = 1;
}
static void task_pending_on_a_machine(struct rows *r)
{
    r->task.state = TASK_PENDING;
}

static void task_pending_and_stopping(struct rows *r)
{
    r->task = task_row(1, TASK_PENDING);
    r->task.stopping = CAUSE_DRAIN;
}

static void task_final_and_backing_off(struct rows *r)
{
    r->task = task_row(1, TASK_FAILED);
    r->task.not_before_ms = 1;
}

static void task_crashed_on_no_machine(struct rows *r)
{
    r->task.failures = 2;
    r->task.crashed_on[0].v = 2;
}

static void task_crashed_twice_on_one(struct rows *r)
{
    r->task.failures = 2;
    r->task.crashed_on[0].v = r->task.crashed_on[1].v = 1;
}

static void task_crashed_after_none(struct rows *r)
{
    r->task.failures = 2;
    r->task.crashed_on[1].v = 1;
}

static void task_crashed_without_failure(struct rows *r)
{
    r->task.failures = 0;
    r->task.crashed_on[0].v = 1;
}

static void task_unwanted(struct rows *r)
{
    r->task = task_row(1, TASK_UNWANTED);
}

static void job_on_every_machine(struct rows *r)
{
    r->job.spec.every_machine = true;
    r->job.spec.replicas = r->job.task_count = 1;
}

static void unwanted_where_it_is_wanted(struct rows *r)
{
    job_on_every_machine(r);
    r->task = task_row(1, TASK_UNWANTED);
}

static void pending_where_it_is_not_wanted(struct rows *r)
{
    job_on_every_machine(r);
    r->machine.draining = true;
    r->task = task_row(1, TASK_PENDING);
}

static void not_on_every_machine(struct rows *r)
{
    job_on_every_machine(r);
    r->job.spec.replicas = r->job.task_count = 2;
}

static void machine_changed_later(struct rows *r)
{
    r->machine.changed_ms = UINT64_MAX;
}

static void job_changed_later(struct rows *r)
{
    r->job.changed_ms = UINT64_MAX;
}

static void task_changed_later(struct rows *r)
{
    r->task.changed_ms = UINT64_MAX;
}

static void task_pending_with_a_process(struct rows *r)
{
    r->task = task_row(1, TASK_PENDING);
    r->task.pid = 42;
}

static void task_failed_too_often(struct rows *r)
{
    r->job.spec.failures_max = 2;
    r->task.failures = 3;
}

static void task_that_uses_too_much(struct rows *r)
{
    r->task.reserves[0].used = RESOURCE_AMOUNT_MAX + 1;
}

static const struct {
    void (*breaks)(struct rows *rows);
    const char *says;
} refusals[] = {
    {machine_changed_later, "machine 1: it changed later than now"},
    {job_changed_later, "job 1: it changed later than now"},
    {task_changed_later, "task 1/0: it changed later than now"},
    {task_pending_with_a_process, "task 1/0: not live, but with a process"},
    {task_failed_too_often, "task 1/0: it failed more often than it may"},
    {task_that_uses_too_much, "task 1/0: what it uses or what is reclaimed"},
    {machine_out_of_order, "machine 2: the rows before it end at 0"},
    {machine_without_name, "machine 1: \"\" is no name"},
    {machine_in_no_state, "machine 1: its state is none"},
    {machine_with_bad_attribute, "machine 1: attributes: \"Rack=r1\""},
    {machine_negative, "machine 1: ram -1 is not between"},
    {machine_down_below_task, "task 1/0: live, but its machine is not"},
    {machine_too_small, "machine 1: its tasks exceed its capacity"},
    {job_without_id, "job 0: ids end before 3"},
    {job_from_the_future, "job 3: ids end before 3"},
    {job_with_bad_spec, "job 1: its spec is bad: replicas"},
    {job_of_nobody, "job 1: its spec is bad: no user"},
    {reason_without_pending, "job 1: a reason, but nothing pending"},
    {killed_but_not_told, "task 1/0: its job is killed, but it does not know"},
    {job_without_a_task, "job 1: 1 tasks for 2 replicas"},
    {job_with_a_task_too_many, "task 1/1: beyond the replicas, but not ended"},
    {task_of_no_job, "task 2/0: no such job or index"},
    {task_beyond_replicas, "task 1/1: no such job or index"},
    {task_in_no_state, "task 1/0: its state is none"},
    {task_of_no_cause, "task 1/0: its cause is none"},
    {task_stopping_for_no_cause, "task 1/0: its cause is none"},
    {task_on_no_machine, "task 1/0: live, but its machine is not"},
    {task_on_another_machine, "task 1/0: live, but its machine is not"},
    {task_without_attempt, "task 1/0: live without an attempt"},
    {task_live_and_backing_off, "task 1/0: live, but backing off"},
    {task_pending_on_a_machine, "task 1/0: not live, but on a machine"},
    {task_pending_and_stopping, "task 1/0: not live, but stopping"},
    {task_final_and_backing_off, "task 1/0: final, but backing off"},
    {task_unwanted, "job 1: a task is unwanted"},
    {unwanted_where_it_is_wanted, "job 1: a task does not wait where it is wanted"},
    {pending_where_it_is_not_wanted, "job 1: a task waits where it is not wanted"},
    {not_on_every_machine, "job 1: its tasks are not those of every machine"},
    {task_crashed_on_no_machine, "task 1/0: it cannot have crashed on those machines"},
    {task_crashed_twice_on_one, "task 1/0: it cannot have crashed on those machines"},
    {task_crashed_after_none, "task 1/0: it cannot have crashed on those machines"},
    {task_crashed_without_failure, "task 1/0: it cannot have crashed on those machines"},
};

START_TEST(rows_that_contradict_each_other_are_refused)
{
    struct rows rows = {machine_row(1, "m1"), job_row(1, "web"), task_row(1, TASK_RUNNING)};
    struct err err = {0};
    struct cell *cell = empty_cell();
    ck_assert_msg(load(cell, &rows.machine, &rows.job, &rows.task, &err) == 0, "%s", err.msg);
    cell_check(cell);
    cell_free(cell);
    cell = empty_cell();
    refusals[_i].breaks(&rows);
    ck_assert_int_eq(load(cell, &rows.machine, &rows.job, &rows.task, &err), -ERR_CORRUPT);
    ck_assert_msg(strncmp(err.msg, refusals[_i].says, strlen(refusals[_i].says)) == 0, "%s",
                  err.msg);
    cell_free(cell);
    spec_release(&rows.job.spec);
    words_release(&rows.machine.attributes);
}
END_TEST

/* Other causes of disruptions do not respect the budget. */
START_TEST(more_may_be_disrupted_than_the_budget_allows)
{
    struct err err;
    for (uint32_t max = 1; max <= 2; max++) {
        struct cell *cell = empty_cell();
        struct job job = job_row(1, "web");
        job.spec.replicas = job.task_count = 2;
        job.spec.disruptions_max = max;
        ck_assert_int_eq(cell_load_job(cell, &job, &err), 0);
        for (uint32_t i = 0; i < 2; i++) {
            struct task task = {.id = task_id_of((job_id){1}, i), .cause = CAUSE_DRAIN};
            ck_assert_int_eq(cell_load_task(cell, &task, &err), 0);
        }
        ck_assert_int_eq(cell_load_done(cell, &err), 0);
        cell_check(cell);
        ck_assert_uint_eq(cell_job(cell, (job_id){1})->disrupted, 2);
        cell_free(cell);
        spec_release(&job.spec);
    }
}
END_TEST

START_TEST(invalid_quotas_are_refused)
{
    struct cell *cell = empty_cell();
    struct quota quota = {.user = "ada", .band = BAND_BATCH};
    ck_assert_int_eq(cell_load_quota(cell, &quota, NULL),
                     -ERR_CORRUPT); /* for a resource without a name */
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++)
        quota.limit.v[r] = QUOTA_UNLIMITED;
    ck_assert_int_eq(cell_load_quota(cell, &quota, NULL), 0);
    ck_assert_int_eq(cell_load_quota(cell, &quota, NULL), -ERR_CORRUPT);
    quota.band = BAND_FREE;
    ck_assert_int_eq(cell_load_quota(cell, &quota, NULL), -ERR_CORRUPT);
    cell_free(cell);
}
END_TEST

/* Counters that continue from a checkpoint must not overflow to 0. */
START_TEST(counters_close_to_overflow_are_refused)
{
    struct err err = {0};
    struct cell *cell = empty_cell();
    uint64_t *const numbers[] = {&cell->applied_index, &cell->applied_term, &cell->now_ms,
                                 &cell->event_seq, &cell->next_job};
    ck_assert_int_eq(cell_load_done(cell, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t before = *numbers[i];
        *numbers[i] = UINT64_MAX;
        ck_assert_int_eq(cell_load_done(cell, &err), -ERR_CORRUPT);
        ck_assert(strstr(err.msg, "too large") != NULL);
        *numbers[i] = before;
    }
    cell_free(cell);
}
END_TEST

START_TEST(replicas_that_share_an_address_are_refused)
{
    struct err err = {0};
    struct cell *cell = empty_cell();
    struct masters *masters = &cell->settings.masters;
    for (uint64_t id = 1; id <= 2; id++) {
        struct master *row = &masters->rows[masters->count++];
        *row = (struct master){.id = id, .state = MASTER_VOTES};
        snprintf(row->rpc, sizeof row->rpc, "a:%d", (int)(2 * id));
        snprintf(row->raft, sizeof row->raft, "a:%d", (int)(2 * id + 1));
    }
    masters->next_id = 3;
    ck_assert_int_eq(cell_load_done(cell, &err), 0);
    str_copy(masters->rows[1].raft, sizeof masters->rows[1].raft, masters->rows[0].rpc);
    ck_assert_int_eq(cell_load_done(cell, &err), -ERR_CORRUPT);
    cell_free(cell);
}
END_TEST

START_TEST(jobs_and_machines_must_be_sorted_and_unique)
{
    struct cell *cell = empty_cell();
    struct machine m1 = machine_row(1, "m1");
    struct machine again = machine_row(2, "m1");
    struct job second = job_row(2, "web");
    struct job first = job_row(1, "web");
    ck_assert_int_eq(cell_load_machine(cell, &m1, NULL), 0);
    ck_assert_int_eq(cell_load_machine(cell, &again, NULL), -ERR_CORRUPT);
    ck_assert_int_eq(cell_load_job(cell, &second, NULL), 0);
    ck_assert_int_eq(cell_load_job(cell, &second, NULL), -ERR_CORRUPT);
    ck_assert_int_eq(cell_load_job(cell, &first, NULL), -ERR_CORRUPT);
    cell_free(cell);
    spec_release(&first.spec);
    spec_release(&second.spec);
}
END_TEST

START_TEST(only_the_newest_job_of_a_name_may_live)
{
    struct err err;
    struct job first = job_row(1, "web");
    struct job second = job_row(2, "web");
    struct task finished = task_row(1, TASK_FINISHED);
    for (int dead = 0; dead < 2; dead++) {
        struct cell *cell = empty_cell();
        ck_assert_int_eq(cell_load_job(cell, &first, &err), 0);
        ck_assert_int_eq(cell_load_job(cell, &second, &err), 0);
        if (dead == 1)
            ck_assert_int_eq(cell_load_task(cell, &finished, &err), 0);
        ck_assert_int_eq(cell_load_done(cell, &err), dead == 1 ? 0 : -ERR_CORRUPT);
        if (dead == 1)
            cell_check(cell);
        cell_free(cell);
    }
    spec_release(&first.spec);
    spec_release(&second.spec);
}
END_TEST

START_TEST(a_delta_has_each_present_row_once_sorted_by_id)
{
    struct world w = world_new();
    struct job_spec spec = spec_named("web", "ada", 100);
    spec.replicas = 3;
    job_id job = world_job(&w, spec);
    machine_id m = world_machine(&w, "m1", amounts(2000, 100, 0, 0));
    struct changes all = {0};
    for (uint32_t i = 2; i > 0; i--) { /* the later index first */
        struct cmd cmd = {.kind = CMD_SCHEDULE};
        struct placement p = {.task = attempt_of(world_task(&w, job, i)), .machine = m};
        cmd.schedule.placements = &p;
        cmd.schedule.placement_count = 1;
        cell_apply(w.cell, &cmd, &all, &w.answer);
    }
    struct delta *delta = delta_collect(w.cell, &all);
    ck_assert(!delta->full);
    ck_assert_uint_eq(delta->machine_count, 1);
    ck_assert_uint_eq(delta->machines[0].task_count, 2);
    ck_assert_uint_eq(delta->job_count, 1);
    ck_assert_uint_eq(delta->jobs[0].counts[TASK_ASSIGNED], 2);
    ck_assert_str_eq(job_state_text(&delta->jobs[0]), "pending");
    ck_assert_str_eq(delta->jobs[0].spec.name, "web");
    ck_assert_uint_eq(delta->task_count, 2);
    ck_assert_uint_lt(delta->tasks[0].id.v, delta->tasks[1].id.v);
    ck_assert_uint_eq(delta->event_count, 2);
    ck_assert_uint_eq(delta->digest, cell_digest(w.cell));
    ck_assert_int_eq(delta_ref(delta)->references, 2);
    delta_unref(delta);
    ck_assert_int_eq(delta->references, 1);
    delta_unref(delta);
    changes_release(&all);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cell_load");
    TCase *tcase = tcase_create("load");
    tcase_add_loop_test(tcase, rows_that_contradict_each_other_are_refused, 0,
                        ARRAY_SIZE(refusals));
    tcase_add_test(tcase, jobs_and_machines_must_be_sorted_and_unique);
    tcase_add_test(tcase, counters_close_to_overflow_are_refused);
    tcase_add_test(tcase, replicas_that_share_an_address_are_refused);
    tcase_add_test(tcase, more_may_be_disrupted_than_the_budget_allows);
    tcase_add_test(tcase, invalid_quotas_are_refused);
    tcase_add_test(tcase, only_the_newest_job_of_a_name_may_live);
    tcase_add_test(tcase, a_delta_has_each_present_row_once_sorted_by_id);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
