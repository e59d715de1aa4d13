/*
 * test_apply_operate.c - operating a cell: drain, quotas, disruption budgets, updates of jobs.
 */
#include "cell_fixture.h"

static struct resources capacity(void)
{
    return amounts(4000, 100, 10, 4);
}

/* Apply a command in the name of a user. */
static enum err_code apply_as(struct world *w, const char *user, struct cmd *cmd)
{
    str_copy(cmd->user, sizeof cmd->user, user);
    return world_apply(w, cmd);
}

static struct cmd drain_cmd(const char *machine, bool on)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = on}};
    str_copy(cmd.machine_drain.name, sizeof cmd.machine_drain.name, machine);
    return cmd;
}

static void expect_msg(const struct world *w, const char *part)
{
    ck_assert_msg(strstr(w->answer.msg, part) != NULL, "\"%s\" does not say \"%s\"", w->answer.msg,
                  part);
}

/* A job of `replicas` tasks, all running on `machine`. */
static job_id job_running(struct world *w, struct job_spec spec, machine_id machine)
{
    uint32_t replicas = spec.replicas;
    job_id job = world_job(w, spec);
    for (uint32_t i = 0; i < replicas; i++) {
        ck_assert_msg(world_place(w, attempt_of(world_task(w, job, i)), machine, NULL, 0), "%s",
                      w->answer.msg);
        ck_assert(world_running(w, world_task(w, job, i), 100 + (int32_t)i));
    }
    return job;
}

static struct job_spec spec_of(const char *name, uint32_t priority, uint32_t replicas)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    spec.replicas = replicas;
    return spec;
}

START_TEST(only_the_operator_or_the_cell_drains)
{
    struct world w = world_new();
    world_machine(&w, "m1", capacity());
    struct cmd cmd = drain_cmd("m1", true);
    ck_assert_int_eq(apply_as(&w, "ada", &cmd), ERR_DENIED);
    expect_msg(&w,
               "user \"ada\" may not drain or undrain a machine: only an operator of the cell may");
    ck_assert(!cell_machine_named(w.cell, "m1")->draining);
    cmd = drain_cmd("m1", true);
    ck_assert_int_eq(apply_as(&w, "root", &cmd), ERR_OK);
    ck_assert(cell_machine_named(w.cell, "m1")->draining);
    cmd = drain_cmd("m1", false);
    ck_assert_int_eq(apply_as(&w, "ada", &cmd), ERR_DENIED);
    ck_assert(cell_machine_named(w.cell, "m1")->draining);
    ck_assert_int_eq(world_drain(&w, "m1", false), ERR_OK);
    ck_assert(!cell_machine_named(w.cell, "m1")->draining);
    ck_assert_int_eq(world_drain(&w, "m2", true), ERR_NOT_FOUND);
    expect_msg(&w, "\"m2\"");
    world_release(&w);
}
END_TEST

START_TEST(a_drained_machine_loses_its_tasks_and_gets_none)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    machine_id m2 = world_machine(&w, "m2", capacity());
    job_id job = job_running(&w, spec_of("web", 200, 2), m1);
    job_id other = job_running(&w, spec_of("db", 200, 1), m2);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    ck_assert_int_eq(world_task(&w, job, 0)->stopping, CAUSE_DRAIN);
    ck_assert_int_eq(world_task(&w, job, 1)->stopping, CAUSE_DRAIN);
    ck_assert_int_eq(world_task(&w, other, 0)->stopping, CAUSE_NONE);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 1));
    const struct task *task = world_task(&w, job, 0);
    ck_assert_int_eq(task->state, TASK_PENDING);
    ck_assert_int_eq(task->cause, CAUSE_DRAIN);
    ck_assert_uint_eq(task->failures, 0);
    ck_assert_uint_eq(task->not_before_ms, 0);
    ck_assert(!world_place(&w, attempt_of(task), m1, NULL, 0));
    expect_msg(&w, "machine \"m1\" is draining");
    ck_assert(world_place(&w, attempt_of(task), m2, NULL, 0));
    world_release(&w);
}
END_TEST

START_TEST(a_machine_stays_drained_until_it_is_undrained)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = world_job(&w, spec_of("web", 200, 1));
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    world_machine(&w, "m1", amounts(8000, 100, 10, 4));
    ck_assert_int_eq(world_machine_down(&w, m1), ERR_OK);
    world_machine(&w, "m1", capacity());
    ck_assert(cell_machine(w.cell, m1)->draining);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, job, 0)), m1, NULL, 0));
    ck_assert_int_eq(world_machine_down(&w, m1), ERR_OK);
    ck_assert_int_eq(world_drain(&w, "m1", false), ERR_OK); /* also while it is down */
    world_machine(&w, "m1", capacity());
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), m1, NULL, 0));
    world_release(&w);
}
END_TEST

static struct cmd quota_cmd(const char *user, enum band band, int64_t cpu, int64_t ram,
                            int64_t tasks)
{
    struct cmd cmd = {.kind = CMD_QUOTA_SET};
    struct quota *quota = &cmd.quota_set.quota;
    str_copy(quota->user, sizeof quota->user, user);
    quota->band = band;
    quota->limit = amounts(cpu, ram, QUOTA_UNLIMITED, QUOTA_UNLIMITED);
    quota->tasks = tasks;
    return cmd;
}

static enum err_code quota_set(struct world *w, const char *user, enum band band, int64_t cpu,
                               int64_t ram, int64_t tasks)
{
    struct cmd cmd = quota_cmd(user, band, cpu, ram, tasks);
    return world_apply(w, &cmd);
}

static enum err_code quota_clear(struct world *w, const char *user, enum band band)
{
    struct cmd cmd = quota_cmd(user, band, 0, 0, 0);
    cmd.quota_set.clear = true;
    return world_apply(w, &cmd);
}

static enum err_code submit_for(struct world *w, const char *user, const char *name,
                                uint32_t priority, uint32_t replicas)
{
    struct job_spec spec = spec_named(name, user, priority);
    spec.replicas = replicas;
    return world_submit(w, spec);
}

START_TEST(only_the_operator_or_the_cell_sets_quotas)
{
    struct world w = world_new();
    struct cmd cmd = quota_cmd("ada", BAND_BATCH, 1, 1, 1);
    ck_assert_int_eq(apply_as(&w, "ada", &cmd), ERR_DENIED);
    expect_msg(&w, "user \"ada\" may not set a quota: only an operator of the cell may");
    ck_assert_uint_eq(w.cell->quota_count, 0);
    cmd = quota_cmd("ada", BAND_BATCH, 1, 1, 1);
    ck_assert_int_eq(apply_as(&w, "root", &cmd), ERR_OK);
    ck_assert_int_eq(cell_quota(w.cell, "ada", BAND_BATCH)->limit.v[RES_CPU], 1);
    world_release(&w);
}
END_TEST

START_TEST(a_bad_quota_is_refused)
{
    const struct {
        const char *user;
        enum band band;
        int64_t cpu, tasks;
        const char *msg;
    } rows[] = {
        {"Ada", BAND_BATCH, 1, 1, "\"Ada\" is no user's name"},
        {"", BAND_BATCH, 1, 1, "\"\" is no user's name"},
        {"ada", BAND_FREE, 1, 1, "the free band has no quotas"},
        {"ada", BAND_COUNT, 1, 1, "band 4 is none"},
        {"ada", BAND_BATCH, -2, 1, "cpu: -2 is not between"},
        {"ada", BAND_BATCH, QUOTA_AMOUNT_MAX + 1, 1, "cpu: "},
        {"ada", BAND_BATCH, 1, -2, "tasks: -2 is not between"},
        {"ada", BAND_BATCH, 1, QUOTA_AMOUNT_MAX + 1, "tasks: "},
    };
    struct world w = world_new();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(
            quota_set(&w, rows[i].user, rows[i].band, rows[i].cpu, QUOTA_UNLIMITED, rows[i].tasks),
            ERR_INVALID);
        expect_msg(&w, rows[i].msg);
    }
    ck_assert_int_eq(quota_clear(&w, "ada", BAND_BATCH), ERR_NOT_FOUND);
    expect_msg(&w, "user \"ada\" has no quota in band batch");
    ck_assert_uint_eq(w.cell->quota_count, 0);
    world_release(&w);
}
END_TEST

START_TEST(a_quota_limits_each_resource_and_the_tasks)
{
    struct world w = world_new();
    ck_assert_int_eq(quota_set(&w, "ada", BAND_PRODUCTION, 3000, 5, 4), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "a", 200, 2), ERR_OK); /* 2 cpus, 2 bytes, 2 tasks */
    ck_assert_int_eq(submit_for(&w, "ada", "b", 200, 2), ERR_LIMIT);
    expect_msg(&w, "job \"b\": over the quota of user \"ada\" in band production: "
                   "cpu: used 2, asked 2, granted 3;");
    ck_assert_ptr_null(strstr(w.answer.msg, "ram:"));
    ck_assert_ptr_null(strstr(w.answer.msg, "tasks:"));
    ck_assert_ptr_null(cell_job_named(w.cell, "b"));
    ck_assert_int_eq(submit_for(&w, "ada", "b", 200, 1), ERR_OK);
    ck_assert_int_eq(quota_set(&w, "ada", BAND_PRODUCTION, QUOTA_UNLIMITED, 3, 3), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "c", 200, 1), ERR_LIMIT);
    expect_msg(&w,
               "production: ram: used 3, asked 1, granted 3; tasks: used 3, asked 1, granted 3;");
    world_release(&w);
}
END_TEST

START_TEST(a_quota_applies_to_one_user_and_one_band)
{
    struct world w = world_new();
    ck_assert_int_eq(quota_set(&w, "ada", BAND_PRODUCTION, 0, 0, 0), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "a", 200, 1), ERR_LIMIT);
    ck_assert_int_eq(submit_for(&w, "ada", "b", 100, 1), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "c", 400, 1), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "bob", "d", 200, 1), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(the_quota_of_everybody_applies_to_users_without_one)
{
    struct world w = world_new();
    ck_assert_int_eq(quota_set(&w, "*", BAND_BATCH, 2000, 2, 2), ERR_OK);
    ck_assert_int_eq(quota_set(&w, "ada", BAND_BATCH, 3000, 3, 3), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "a", 100, 3), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "bob", "b", 100, 2), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "cyn", "c", 100, 2), ERR_OK); /* quotas are not shared */
    ck_assert_int_eq(submit_for(&w, "bob", "d", 100, 1), ERR_LIMIT);
    ck_assert_int_eq(submit_for(&w, "bob", "d", 50, 1000), ERR_OK); /* free work needs no quota */
    ck_assert_int_eq(quota_clear(&w, "ada", BAND_BATCH), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "e", 100, 1), ERR_LIMIT);
    ck_assert_int_eq(quota_clear(&w, "*", BAND_BATCH), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "e", 100, 1), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(a_job_uses_quota_until_it_is_dead)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    ck_assert_int_eq(quota_set(&w, "ada", BAND_BATCH, 2000, 2, 2), ERR_OK);
    job_id job = job_running(&w, spec_of("a", 100, 2), m1);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 0));
    ck_assert_int_eq(submit_for(&w, "ada", "b", 100, 1), ERR_LIMIT); /* a/1 still runs */
    ck_assert(world_exited(&w, world_task(&w, job, 1), 0));
    ck_assert_int_eq(submit_for(&w, "ada", "b", 100, 2), ERR_OK);
    ck_assert_int_eq(world_kill(&w, "b"), ERR_OK);
    ck_assert_int_eq(submit_for(&w, "ada", "c", 100, 2), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(the_largest_possible_jobs_do_not_overflow)
{
    struct world w = world_new();
    ck_assert_int_eq(
        quota_set(&w, "ada", BAND_BATCH, QUOTA_AMOUNT_MAX, QUOTA_UNLIMITED, QUOTA_UNLIMITED),
        ERR_OK);
    struct job_spec spec = spec_of("a", 100, CELL_TASKS_PER_JOB_MAX);
    spec.limit = amounts(1, RESOURCE_AMOUNT_MAX, RESOURCE_AMOUNT_MAX, 0);
    ck_assert_int_eq(world_submit(&w, spec), ERR_OK);
    spec = spec_of("b", 100, CELL_TASKS_PER_JOB_MAX);
    spec.limit = amounts(RESOURCE_AMOUNT_MAX, RESOURCE_AMOUNT_MAX, RESOURCE_AMOUNT_MAX, 0);
    ck_assert_int_eq(world_submit(&w, spec), ERR_LIMIT);
    ck_assert_int_eq(world_kill(&w, "a"), ERR_OK);
    world_release(&w);
}
END_TEST

/* A batch job of four tasks on m1, of which `max` may be disrupted at a time. */
static job_id job_budgeted(struct world *w, machine_id m1, uint32_t max)
{
    struct job_spec spec = spec_of("crunch", 100, 4);
    spec.disruptions_max = max;
    return job_running(w, spec, m1);
}

static uint32_t stopping_of(const struct world *w, job_id job)
{
    return cell_job(w->cell, job)->stopping;
}

START_TEST(a_task_counts_as_disrupted_from_the_notice_until_it_runs_again)
{
    const struct {
        enum task_state state;
        enum cause stopping, cause;
        bool disrupted;
    } rows[] = {
        {TASK_RUNNING, CAUSE_NONE, CAUSE_NONE, false},
        {TASK_RUNNING, CAUSE_PREEMPTED, CAUSE_NONE, true},
        {TASK_RUNNING, CAUSE_DRAIN, CAUSE_EXIT, true},
        {TASK_RUNNING, CAUSE_UPDATE, CAUSE_EXIT, true},
        {TASK_RUNNING, CAUSE_KILLED, CAUSE_DRAIN, false},
        {TASK_RUNNING, CAUSE_OUT_OF_RESOURCES, CAUSE_NONE, false},
        {TASK_PENDING, CAUSE_NONE, CAUSE_PREEMPTED, true},
        {TASK_PENDING, CAUSE_NONE, CAUSE_DRAIN, true},
        {TASK_PENDING, CAUSE_NONE, CAUSE_MACHINE_DOWN, false},
        {TASK_PENDING, CAUSE_NONE, CAUSE_EXIT, false},
        {TASK_ASSIGNED, CAUSE_NONE, CAUSE_DRAIN, true},
        {TASK_ASSIGNED, CAUSE_NONE, CAUSE_NONE, false},
        {TASK_RUNNING, CAUSE_NONE, CAUSE_DRAIN, false},
        {TASK_FINISHED, CAUSE_NONE, CAUSE_EXIT, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct task task = {
            .state = rows[i].state, .stopping = rows[i].stopping, .cause = rows[i].cause};
        ck_assert_msg(task_is_disrupted(&task) == rows[i].disrupted, "row %zu", i);
    }
}
END_TEST

START_TEST(a_drain_stops_as_many_tasks_as_the_budget_allows)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    machine_id m2 = world_machine(&w, "m2", capacity());
    job_id job = job_budgeted(&w, m1, 2);
    ck_assert_int_eq(world_evict(&w, m1), ERR_STATE);
    expect_msg(&w, "\"m1\" is not draining");
    ck_assert_int_eq(world_evict(&w, (machine_id){7}), ERR_NOT_FOUND);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    expect_msg(&w, "told to stop: 2, waiting for the disruption budget of their jobs: 2");
    ck_assert_int_eq(world_evict(&w, m1), ERR_OK);
    ck_assert_uint_eq(w.answer.accepted, 0);
    ck_assert(!cell_drain_due(w.cell, cell_machine(w.cell, m1)));
    ck_assert(world_exited(&w, world_task(&w, job, 1), 0));
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 1)), m2, NULL, 0));
    ck_assert(!cell_drain_due(w.cell, cell_machine(w.cell, m1)));
    ck_assert(world_running(&w, world_task(&w, job, 1), 7));
    ck_assert(cell_drain_due(w.cell, cell_machine(w.cell, m1)));
    ck_assert_int_eq(world_evict(&w, m1), ERR_OK);
    ck_assert_uint_eq(w.answer.accepted, 1);
    ck_assert_int_eq(world_task(&w, job, 2)->stopping, CAUSE_DRAIN);
    ck_assert_int_eq(world_task(&w, job, 3)->stopping, CAUSE_NONE);
    /* A lost machine is not limited by the budget, and gives back what its tasks had used of it. */
    ck_assert_int_eq(world_machine_down(&w, m1), ERR_OK);
    ck_assert_uint_eq(cell_job(w.cell, job)->disrupted, 0);
    world_release(&w);
}
END_TEST

START_TEST(preemption_stays_within_the_budget)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = job_budgeted(&w, m1, 2);
    struct job_spec spec = spec_of("urgent", 200, 3);
    spec.limit.v[RES_CPU] = 3000;
    job_id wide = world_job(&w, spec);
    job_id slim = world_job(&w, spec_of("slim", 200, 3));
    struct attempt_ref victims[4];
    for (uint32_t i = 0; i < 4; i++)
        victims[i] = attempt_of(world_task(&w, job, i));
    ck_assert(!world_place(&w, attempt_of(world_task(&w, wide, 0)), m1, victims, 3));
    expect_msg(&w, "\"crunch/2\" may not be evicted now: 0 tasks of its job are down, "
                   "max_disruptions is 2");
    ck_assert_uint_eq(stopping_of(&w, job), 0);
    ck_assert(world_place(&w, attempt_of(world_task(&w, slim, 0)), m1, victims, 1));
    ck_assert(world_place(&w, attempt_of(world_task(&w, slim, 1)), m1, victims + 1, 1));
    ck_assert(!world_place(&w, attempt_of(world_task(&w, slim, 2)), m1, victims + 2, 1));
    ck_assert_uint_eq(stopping_of(&w, job), 2);
    world_release(&w);
}
END_TEST

START_TEST(a_task_that_is_disrupted_already_may_be_moved_again)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    machine_id m2 = world_machine(&w, "m2", capacity());
    job_id job = job_budgeted(&w, m1, 1);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 0));
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), m2, NULL, 0));
    ck_assert_int_eq(world_drain(&w, "m2", true), ERR_OK); /* before the task ran there */
    ck_assert_int_eq(world_task(&w, job, 0)->stopping, CAUSE_DRAIN);
    ck_assert_uint_eq(cell_job(w.cell, job)->disrupted, 1);
    world_release(&w);
}
END_TEST

START_TEST(a_kill_and_a_shrinking_machine_ignore_the_budget)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = job_budgeted(&w, m1, 1);
    world_machine(&w, "m1", amounts(1000, 100, 10, 4));
    ck_assert_uint_eq(stopping_of(&w, job), 3);
    ck_assert_uint_eq(cell_job(w.cell, job)->disrupted, 0);
    ck_assert_int_eq(world_kill(&w, "crunch"), ERR_OK);
    ck_assert_uint_eq(stopping_of(&w, job), 4);
    world_release(&w);
}
END_TEST

static struct cmd update_cmd(const char *job, int64_t replicas, int64_t priority)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = replicas, .priority = priority}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, job);
    return cmd;
}

START_TEST(only_the_owner_the_operator_or_the_cell_updates_a_job)
{
    const struct {
        const char *user;
        enum err_code code;
    } rows[] = {{"bob", ERR_DENIED}, {"ada", ERR_OK}, {"root", ERR_OK}, {"", ERR_OK}};
    struct world w = world_new();
    world_job(&w, spec_of("web", 100, 1));
    for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cmd cmd = update_cmd("web", 2 + i, JOB_UPDATE_KEEP);
        ck_assert_int_eq(apply_as(&w, rows[i].user, &cmd), rows[i].code);
        uint32_t replicas = rows[i].code == ERR_OK ? 2 + i : 1;
        ck_assert_uint_eq(cell_job_named(w.cell, "web")->spec.replicas, replicas);
    }
    world_release(&w);
}
END_TEST

START_TEST(an_invalid_update_is_refused)
{
    const struct {
        int64_t replicas, priority;
        const char *msg;
    } rows[] = {
        {JOB_UPDATE_KEEP, JOB_UPDATE_KEEP, "nothing to change"},
        {0, JOB_UPDATE_KEEP, "replicas: 0 is not between 1 and 262144; borgctl kill ends a job"},
        {-2, JOB_UPDATE_KEEP, "replicas: -2 is not between"},
        {CELL_TASKS_PER_JOB_MAX + 1, JOB_UPDATE_KEEP, "replicas: 262145 is not between"},
        {INT64_MAX, JOB_UPDATE_KEEP, "replicas: "},
        {JOB_UPDATE_KEEP, -2, "priority: -2 is not between 0 and 450"},
        {3, PRIORITY_MAX + 1, "priority: 451 is not between 0 and 450"},
    };
    struct world w = world_new();
    job_id job = world_job(&w, spec_of("web", 200, 1));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        ck_assert_int_eq(world_update(&w, "web", rows[i].replicas, rows[i].priority), ERR_INVALID);
        expect_msg(&w, rows[i].msg);
        ck_assert_uint_eq(cell_job(w.cell, job)->spec.replicas, 1);
    }
    ck_assert_int_eq(world_update(&w, "db", 2, 2), ERR_NOT_FOUND);
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", 2, 2), ERR_STATE);
    expect_msg(&w, "job \"web\" is killed already");
    world_release(&w);
}
END_TEST

START_TEST(a_job_that_is_being_killed_is_not_updated)
{
    struct world w = world_new();
    job_id job = job_running(&w, spec_of("web", 200, 1), world_machine(&w, "m1", capacity()));
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", 2, JOB_UPDATE_KEEP), ERR_STATE);
    expect_msg(&w, "is being killed");
    ck_assert_uint_eq(cell_job(w.cell, job)->task_count, 1);
    world_release(&w);
}
END_TEST

START_TEST(an_update_respects_the_task_limit_of_the_cell)
{
    struct world w = world_new();
    struct changes changes = {0};
    struct answer answer;
    for (int i = 0; i < CELL_TASKS_MAX / CELL_TASKS_PER_JOB_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        struct cmd cmd = {.kind = CMD_JOB_SUBMIT,
                          .job_submit = spec_of(name, 50, CELL_TASKS_PER_JOB_MAX - (i == 0))};
        changes_clear(&changes);
        /* unchecked: the cell has four million tasks */
        cell_apply(w.cell, &cmd, &changes, &answer);
        ck_assert_int_eq(answer.code, ERR_OK);
        cmd_release(&cmd);
    }
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_of("last", 50, 1)};
    cell_apply(w.cell, &cmd, &changes, &answer);
    ck_assert_int_eq(answer.code, ERR_OK);
    cmd_release(&cmd);
    cmd = update_cmd("last", 2, JOB_UPDATE_KEEP);
    cell_apply(w.cell, &cmd, &changes, &answer);
    ck_assert_int_eq(answer.code, ERR_LIMIT);
    ck_assert_msg(strstr(answer.msg, "1 more would exceed") != NULL, "%s", answer.msg);
    changes_release(&changes);
    world_release(&w);
}
END_TEST

START_TEST(added_replicas_are_pending_and_do_not_affect_others)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = job_running(&w, spec_of("web", 200, 2), m1);
    ck_assert_int_eq(world_update(&w, "web", 4, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_uint_eq(cell_job(w.cell, job)->counts[TASK_PENDING], 2);
    ck_assert_uint_eq(cell_job(w.cell, job)->counts[TASK_RUNNING], 2);
    ck_assert_uint_eq(w.cell->live_tasks, 4);
    ck_assert_int_eq(world_task(&w, job, 0)->pid, 100);
    /* The lists of tasks survive the reallocation. */
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 3)), m1, NULL, 0));
    ck_assert(world_exited(&w, world_task(&w, job, 0), 1));
    ck_assert_int_eq(world_update(&w, "web", 5, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_uint_ne(world_task(&w, job, 0)->not_before_ms, 0);
    ck_assert(world_wake(&w, task_id_of(job, 0), 5000));
    world_release(&w);
}
END_TEST

START_TEST(fewer_replicas_kill_the_highest_indexes)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = job_running(&w, spec_of("web", 200, 3), m1);
    ck_assert_int_eq(world_update(&w, "web", 4, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", 1, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_int_eq(world_task(&w, job, 0)->stopping, CAUSE_NONE);
    ck_assert_int_eq(world_task(&w, job, 1)->stopping, CAUSE_KILLED);
    ck_assert_int_eq(world_task(&w, job, 2)->stopping, CAUSE_KILLED);
    ck_assert_int_eq(world_task(&w, job, 3)->state, TASK_KILLED);
    ck_assert(world_exited(&w, world_task(&w, job, 1), -15));
    ck_assert_int_eq(world_task(&w, job, 1)->state, TASK_KILLED);
    ck_assert_int_eq(world_machine_down(&w, m1), ERR_OK);
    ck_assert_int_eq(world_task(&w, job, 2)->state, TASK_KILLED);
    ck_assert_int_eq(world_task(&w, job, 0)->state, TASK_PENDING);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, job, 2)), m1, NULL, 0));
    world_release(&w);
}
END_TEST

START_TEST(tasks_that_are_added_again_continue_their_attempt_numbers)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    job_id job = job_running(&w, spec_of("web", 200, 4), m1);
    ck_assert(world_exited(&w, world_task(&w, job, 3), 0)); /* a finished task stays finished */
    ck_assert_int_eq(world_update(&w, "web", 1, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert(world_exited(&w, world_task(&w, job, 1), 0));
    ck_assert_int_eq(world_update(&w, "web", 4, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_int_eq(world_task(&w, job, 1)->state, TASK_PENDING);
    ck_assert_int_eq(world_task(&w, job, 2)->stopping, CAUSE_KILLED);
    ck_assert_int_eq(world_task(&w, job, 3)->state, TASK_FINISHED);
    ck_assert(world_exited(&w, world_task(&w, job, 2), -9));
    ck_assert_int_eq(world_task(&w, job, 2)->state, TASK_PENDING);
    ck_assert_uint_eq(world_task(&w, job, 2)->failures, 0);
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 2)), m1, NULL, 0));
    ck_assert_uint_eq(world_task(&w, job, 2)->attempt, 2);
    world_release(&w);
}
END_TEST

START_TEST(a_job_whose_last_live_tasks_an_update_removes_is_dead)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", capacity());
    struct job_spec spec = spec_of("batch", 100, 1);
    job_id job = job_running(&w, spec, m1);
    ck_assert_int_eq(world_update(&w, "batch", 3, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 0));
    ck_assert_int_eq(world_update(&w, "batch", 1, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert(job_is_dead(cell_job(w.cell, job)));
    ck_assert_str_eq(job_state_text(cell_job(w.cell, job)), "finished");
    ck_assert_uint_eq(w.cell->live_tasks, 0);
    const struct account *account = namemap_get(&w.cell->accounts_by_user, "ada");
    ck_assert_uint_eq(account->live_tasks + account->used[BAND_BATCH].tasks, 0);
    ck_assert_uint_eq(account->dead_jobs, 1);
    world_release(&w);
}
END_TEST

START_TEST(a_new_priority_affects_only_evictions)
{
    struct world w = world_new();
    machine_id m1 = world_machine(&w, "m1", amounts(1000, 100, 10, 4));
    job_id job = job_running(&w, spec_of("web", 100, 1), m1);
    job_id urgent = world_job(&w, spec_of("urgent", 200, 1));
    struct attempt_ref victim = attempt_of(world_task(&w, job, 0));
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 200), ERR_OK);
    ck_assert_int_eq(world_task(&w, job, 0)->state, TASK_RUNNING);
    ck_assert_int_eq(world_task(&w, job, 0)->stopping, CAUSE_NONE);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, urgent, 0)), m1, &victim, 1));
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 199), ERR_OK);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, urgent, 0)), m1, &victim, 1));
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 119), ERR_OK);
    ck_assert(world_place(&w, attempt_of(world_task(&w, urgent, 0)), m1, &victim, 1));
    world_release(&w);
}
END_TEST

START_TEST(an_update_is_checked_against_the_quota_for_its_growth)
{
    struct world w = world_new();
    ck_assert_int_eq(quota_set(&w, "ada", BAND_BATCH, 3000, QUOTA_UNLIMITED, 3), ERR_OK);
    ck_assert_int_eq(quota_set(&w, "ada", BAND_PRODUCTION, 2000, QUOTA_UNLIMITED, 2), ERR_OK);
    world_job(&w, spec_of("web", 100, 2));
    ck_assert_int_eq(world_update(&w, "web", 4, JOB_UPDATE_KEEP), ERR_LIMIT);
    expect_msg(&w, "job \"web\": over the quota of user \"ada\" in band batch: cpu: used 2, asked "
                   "2, granted 3; tasks: used 2, asked 2, granted 3;");
    ck_assert_int_eq(world_update(&w, "web", 3, JOB_UPDATE_KEEP), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", JOB_UPDATE_KEEP, 200), ERR_LIMIT);
    expect_msg(&w, "in band production: cpu: used 0, asked 3, granted 2;");
    ck_assert_uint_eq(cell_job_named(w.cell, "web")->spec.priority, 100);
    ck_assert_int_eq(world_update(&w, "web", 2, 200), ERR_OK); /* both changes at once */
    ck_assert_int_eq(submit_for(&w, "ada", "batch", 100, 3),
                     ERR_OK); /* the batch quota is free again */
    ck_assert_int_eq(quota_set(&w, "ada", BAND_PRODUCTION, 0, 0, 0), ERR_OK);
    ck_assert_int_eq(world_update(&w, "web", 1, 250), ERR_OK); /* a decrease is always allowed */
    world_release(&w);
}
END_TEST

static enum err_code register_with(struct world *w, const char *const names[3])
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, "m1");
    str_copy(body->addr, sizeof body->addr, "h:1");
    body->capacity = amounts(1000, 100, 0, 0);
    for (int i = 0; i < 3; i++)
        body->capacity.v[resource_names_put(&body->resource_names, names[i])] = 1;
    return world_apply(w, &cmd);
}

/* The job uses tapes only in its second shape; the dead job's row still refers to the name. */
START_TEST(a_resource_name_used_by_a_shape_keeps_its_slot)
{
    static const char *const before[] = {"tape", "a", "b"}, *const after[] = {"laser", "a", "b"};
    bool killed = _i == 1, forgotten = _i == 2;
    struct world w = world_new();
    ck_assert_int_eq(register_with(&w, before), ERR_OK);
    struct job_spec spec = spec_named("tapejob", "ada", 200);
    spec.limit.v[RES_CPU] = 8000;
    spec_add_shape(&spec, 200, 1);
    if (!forgotten)
        spec.alternatives[0].v[resource_names_put(&spec.resource_names, "tape")] = 2;
    world_job(&w, spec);
    if (killed)
        ck_assert_int_eq(world_kill(&w, "tapejob"), ERR_OK);
    ck_assert_int_eq(register_with(&w, after), forgotten ? ERR_OK : ERR_LIMIT);
    if (!forgotten)
        ck_assert_ptr_nonnull(strstr(w.answer.msg, "resource \"laser\" is one too many"));
    cell_check(w.cell);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_operate");
    TCase *drain = tcase_create("drain");
    tcase_add_loop_test(drain, a_resource_name_used_by_a_shape_keeps_its_slot, 0, 3);
    tcase_add_test(drain, only_the_operator_or_the_cell_drains);
    tcase_add_test(drain, a_drained_machine_loses_its_tasks_and_gets_none);
    tcase_add_test(drain, a_machine_stays_drained_until_it_is_undrained);
    suite_add_tcase(suite, drain);
    TCase *quota = tcase_create("quota");
    tcase_add_test(quota, only_the_operator_or_the_cell_sets_quotas);
    tcase_add_test(quota, a_bad_quota_is_refused);
    tcase_add_test(quota, a_quota_limits_each_resource_and_the_tasks);
    tcase_add_test(quota, a_quota_applies_to_one_user_and_one_band);
    tcase_add_test(quota, the_quota_of_everybody_applies_to_users_without_one);
    tcase_add_test(quota, a_job_uses_quota_until_it_is_dead);
    tcase_add_test(quota, the_largest_possible_jobs_do_not_overflow);
    suite_add_tcase(suite, quota);
    TCase *budget = tcase_create("budget");
    tcase_add_test(budget, a_task_counts_as_disrupted_from_the_notice_until_it_runs_again);
    tcase_add_test(budget, a_drain_stops_as_many_tasks_as_the_budget_allows);
    tcase_add_test(budget, preemption_stays_within_the_budget);
    tcase_add_test(budget, a_task_that_is_disrupted_already_may_be_moved_again);
    tcase_add_test(budget, a_kill_and_a_shrinking_machine_ignore_the_budget);
    suite_add_tcase(suite, budget);
    TCase *update = tcase_create("update");
    tcase_set_timeout(update, 60);
    tcase_add_test(update, only_the_owner_the_operator_or_the_cell_updates_a_job);
    tcase_add_test(update, an_invalid_update_is_refused);
    tcase_add_test(update, a_job_that_is_being_killed_is_not_updated);
    tcase_add_test(update, an_update_respects_the_task_limit_of_the_cell);
    tcase_add_test(update, added_replicas_are_pending_and_do_not_affect_others);
    tcase_add_test(update, fewer_replicas_kill_the_highest_indexes);
    tcase_add_test(update, tasks_that_are_added_again_continue_their_attempt_numbers);
    tcase_add_test(update, a_job_whose_last_live_tasks_an_update_removes_is_dead);
    tcase_add_test(update, a_new_priority_affects_only_evictions);
    tcase_add_test(update, an_update_is_checked_against_the_quota_for_its_growth);
    suite_add_tcase(suite, update);
    return run_suite(suite);
}
