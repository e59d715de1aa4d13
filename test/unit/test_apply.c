/*
 * test_apply.c - machines and jobs: each refusal, cell time, remembered answers, removal of dead
 * jobs.
 */
#include "attributes.h"
#include "cell_fixture.h"

static void expect_msg(const struct world *w, const char *part)
{
    ck_assert_msg(strstr(w->answer.msg, part) != NULL, "\"%s\" does not say \"%s\"", w->answer.msg,
                  part);
}

static uint32_t events_of(const struct world *w, enum event_kind kind)
{
    uint32_t count = 0;
    for (size_t i = 0; i < w->changes.event_count; i++)
        count += w->changes.events[i].kind == kind;
    return count;
}

START_TEST(an_invalid_machine_is_refused)
{
    static const struct {
        const char *name, *addr;
        int64_t cpu;
        const char *says;
        const char *attribute;
    } rows[] = {
        {"M1", "a:1", 1, "machine name \"M1\"", NULL},
        {"", "a:1", 1, "machine name \"\"", NULL},
        {"m1", "", 1, "its address is not HOST:PORT", NULL},
        {"m1", "h:0", 1, "its address is not HOST:PORT", NULL},
        {"m1", "\x1b[31mRED\x1b]0;pwned\x07:1", 1, "its address is not HOST:PORT", NULL},
        {"m1", "a:1", INT64_C(1000000000000000), "is not between 0 and 65536000 (65536)", NULL},
        {"m1", "a:1", -1, "cpu -1 is not between", NULL},
        {"m1", "a:1", RESOURCE_AMOUNT_MAX + 1, "is not between 0 and", NULL},
        {"m1", "a:1", 1, "machine \"m1\": attributes: \"Rack=r1\"", "Rack=r1"},
        {"m1", "a:1", 1, "machine \"m1\": attributes: \"machine=m2\"", "machine=m2"},
    };
    struct world w = world_new();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
        str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, rows[i].name);
        str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, rows[i].addr);
        cmd.machine_register.capacity.v[RES_CPU] = rows[i].cpu;
        if (rows[i].attribute != NULL)
            words_add(&cmd.machine_register.attributes, rows[i].attribute);
        ck_assert_int_eq(world_apply(&w, &cmd), ERR_INVALID);
        expect_msg(&w, rows[i].says);
        ck_assert(changes_empty(&w.changes));
    }
    ck_assert_uint_eq(w.cell->machine_count, 0);
    world_release(&w);
}
END_TEST

static enum err_code register_in_rack(struct world *w, const char *rack)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, "m1");
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "127.0.0.1:1");
    cmd.machine_register.capacity = amounts(1000, 10, 0, 0);
    if (rack != NULL)
        attributes_put(&cmd.machine_register.attributes, "rack", rack);
    return world_apply(w, &cmd);
}

START_TEST(a_machine_with_new_attributes_keeps_its_tasks)
{
    struct world w = world_new();
    ck_assert_int_eq(register_in_rack(&w, "r1"), ERR_OK);
    const struct machine *m1 = cell_machine_named(w.cell, "m1");
    struct job_spec spec = spec_named("web", "ada", 100);
    struct term term;
    ck_assert_int_eq(term_parse("rack = r1", &term, NULL), 0);
    clause_add(clauses_add(&spec.constraints, 0), term);
    spec.replicas = 2;
    job_id web = world_job(&w, spec);
    ck_assert(world_place(&w, attempt_of(world_task(&w, web, 0)), m1->id, NULL, 0));
    ck_assert_int_eq(register_in_rack(&w, "r1"), ERR_OK);
    ck_assert(changes_empty(&w.changes)); /* nothing has changed */
    uint64_t before = cell_digest(w.cell);
    ck_assert_int_eq(register_in_rack(&w, "r2"), ERR_OK);
    ck_assert_uint_eq(w.changes.machine_count, 1);
    ck_assert_str_eq(words_first(&m1->attributes), "rack=r2");
    ck_assert_uint_ne(cell_digest(w.cell), before);
    ck_assert_int_eq(world_task(&w, web, 0)->stopping, CAUSE_NONE);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, web, 1)), m1->id, NULL, 0));
    expect_msg(&w,
               "0 placed, 1 refused; the first: task \"web/1\": machine \"m1\" fails rack = r1");
    ck_assert_uint_eq(w.changes.machine_count, 1); /* the scheduler is informed again */
    ck_assert_int_eq(register_in_rack(&w, NULL), ERR_OK);
    ck_assert_uint_eq(m1->attributes.count, 0);
    world_release(&w);
}
END_TEST

START_TEST(a_machine_with_new_capacity_keeps_its_id)
{
    struct world w = world_new();
    machine_id first = world_machine(&w, "m1", amounts(1000, 10, 0, 0));
    ck_assert_uint_eq(events_of(&w, EVENT_MACHINE_UP), 1);
    ck_assert_uint_eq(world_machine(&w, "m2", amounts(1000, 10, 0, 0)).v, 2);
    ck_assert_uint_eq(world_machine(&w, "m1", amounts(1000, 10, 0, 0)).v, first.v);
    ck_assert(changes_empty(&w.changes)); /* nothing has changed */
    world_machine(&w, "m1", amounts(2000, 10, 0, 0));
    ck_assert_uint_eq(events_of(&w, EVENT_MACHINE_UP), 0);
    ck_assert_uint_eq(w.changes.machine_count, 1);
    ck_assert_int_eq(cell_machine(w.cell, first)->capacity.v[RES_CPU], 2000);
    world_release(&w);
}
END_TEST

START_TEST(down_is_refused_for_unknown_and_down_machines)
{
    struct world w = world_new();
    ck_assert_int_eq(world_machine_down(&w, (machine_id){0}), ERR_NOT_FOUND);
    ck_assert_int_eq(world_machine_down(&w, (machine_id){1}), ERR_NOT_FOUND);
    expect_msg(&w, "no machine 1");
    machine_id m = world_machine(&w, "m1", amounts(1000, 10, 0, 0));
    ck_assert_int_eq(world_machine_down(&w, m), ERR_OK);
    ck_assert_int_eq(world_machine_down(&w, m), ERR_STATE);
    expect_msg(&w, "machine \"m1\" is down already");
    world_release(&w);
}
END_TEST

/* Priorities 200, 100, 100 on 3 cpus; the tasks that stop when the machine shrinks to 2, 1, 0. */
START_TEST(a_machine_that_shrinks_stops_the_lowest_and_newest_tasks)
{
    struct world w = world_new();
    machine_id m = world_machine(&w, "m1", amounts(3000, 100, 0, 0));
    job_id web = world_job(&w, spec_named("web", "ada", 200));
    job_id old = world_job(&w, spec_named("old", "ada", 100));
    job_id new = world_job(&w, spec_named("new", "ada", 100));
    const job_id order[] = {new, old, web};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        ck_assert(world_place(&w, attempt_of(world_task(&w, order[i], 0)), m, NULL, 0));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        world_machine(&w, "m1", amounts(2000 - 1000 * (int64_t)i, 100, 0, 0));
        ck_assert_uint_eq(events_of(&w, EVENT_EVICTING), 1);
        for (size_t j = 0; j < ARRAY_SIZE(order); j++)
            ck_assert_int_eq(world_task(&w, order[j], 0)->stopping,
                             j <= i ? CAUSE_OUT_OF_RESOURCES : CAUSE_NONE);
    }
    ck_assert_uint_eq(cell_machine(w.cell, m)->task_count, 3);
    ck_assert(world_exited(&w, world_task(&w, web, 0), 1));
    ck_assert_int_eq(world_task(&w, web, 0)->state, TASK_PENDING);
    ck_assert_int_eq(world_task(&w, web, 0)->cause, CAUSE_OUT_OF_RESOURCES);
    ck_assert_uint_eq(world_task(&w, web, 0)->failures, 0);
    world_release(&w);
}
END_TEST

START_TEST(machine_down_loses_running_tasks_and_ends_killed_ones)
{
    struct world w = world_new();
    machine_id m = world_machine(&w, "m1", amounts(3000, 100, 0, 0));
    job_id web = world_job(&w, spec_named("web", "ada", 200));
    job_id dying = world_job(&w, spec_named("dying", "ada", 200));
    ck_assert(world_place(&w, attempt_of(world_task(&w, web, 0)), m, NULL, 0));
    ck_assert(world_place(&w, attempt_of(world_task(&w, dying, 0)), m, NULL, 0));
    ck_assert_int_eq(world_kill(&w, "dying"), ERR_OK);
    ck_assert_int_eq(world_machine_down(&w, m), ERR_OK);
    const struct task *task = world_task(&w, web, 0);
    ck_assert_int_eq(task->state, TASK_PENDING);
    ck_assert_int_eq(task->cause, CAUSE_MACHINE_DOWN);
    ck_assert_uint_eq(task->not_before_ms, 0);
    ck_assert_uint_eq(task->failures, 0);
    ck_assert_int_eq(world_task(&w, dying, 0)->state, TASK_KILLED);
    ck_assert_uint_eq(events_of(&w, EVENT_LOST), 1);
    ck_assert_uint_eq(events_of(&w, EVENT_KILLED), 1);
    world_release(&w);
}
END_TEST

START_TEST(a_submit_is_refused_while_a_job_of_that_name_lives)
{
    struct world w = world_new();
    job_id first = world_job(&w, spec_named("web", "ada", 100));
    ck_assert_int_eq(world_submit(&w, spec_named("web", "bob", 100)), ERR_EXISTS);
    expect_msg(&w, "job \"web\" of user \"ada\" exists and is live; choose another name");
    ck_assert_int_eq(world_submit(&w, spec_named("web", "ada", 100)), ERR_EXISTS);
    expect_msg(&w, "exists and is live; kill it first or choose another name");
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    job_id second = world_job(&w, spec_named("web", "ada", 100));
    ck_assert_uint_gt(second.v, first.v);
    ck_assert_ptr_eq(cell_job_named(w.cell, "web"), cell_job(w.cell, second));
    ck_assert_ptr_nonnull(cell_job(w.cell, first));
    world_release(&w);
}
END_TEST

START_TEST(the_user_of_a_job_is_the_sender_of_the_command)
{
    struct world w = world_new();
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named("web", "mallory", 100)};
    str_copy(cmd.user, sizeof cmd.user, "ada");
    ck_assert_int_eq(world_apply(&w, &cmd), ERR_OK);
    ck_assert_str_eq(cell_job_named(w.cell, "web")->spec.user, "ada");
    ck_assert_int_eq(world_submit(&w, spec_named("b", "", 100)), ERR_INVALID);
    expect_msg(&w, "user: is missing");
    world_release(&w);
}
END_TEST

START_TEST(a_cell_refuses_more_tasks_than_its_limit)
{
    struct world w = world_new();
    /* Four million rows take long to make, so most of the counter is faked. */
    w.cell->live_tasks = CELL_TASKS_MAX - 9;
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named("more", "ada", 100)};
    cmd.job_submit.replicas = 10;
    cell_apply(w.cell, &cmd, &w.changes, &w.answer);
    ck_assert_int_eq(w.answer.code, ERR_LIMIT);
    expect_msg(&w, "10 more would exceed 4194304");
    cmd.job_submit.replicas = 9;
    cell_apply(w.cell, &cmd, &w.changes, &w.answer);
    ck_assert_int_eq(w.answer.code, ERR_OK);
    cmd_release(&cmd);
    world_release(&w);
}
END_TEST

START_TEST(a_kill_reaches_pending_live_and_stopping_tasks)
{
    struct world w = world_new();
    machine_id m = world_machine(&w, "m1", amounts(2000, 100, 0, 0));
    struct job_spec spec = spec_named("batch", "bob", 100);
    spec.replicas = 3;
    job_id batch = world_job(&w, spec);
    job_id web = world_job(&w, spec_named("web", "ada", 200));
    ck_assert(world_place(&w, attempt_of(world_task(&w, batch, 0)), m, NULL, 0));
    ck_assert(world_place(&w, attempt_of(world_task(&w, batch, 1)), m, NULL, 0));
    struct attempt_ref victim = attempt_of(world_task(&w, batch, 1));
    ck_assert(world_place(&w, attempt_of(world_task(&w, web, 0)), m, &victim, 1));
    ck_assert_int_eq(world_task(&w, batch, 1)->stopping, CAUSE_PREEMPTED);
    ck_assert_int_eq(world_kill(&w, "batch"), ERR_OK);
    expect_msg(&w, "job \"batch\" of bob is killed (pending: 1, told to stop: 2)");
    ck_assert_uint_eq(w.answer.job.v, batch.v);
    ck_assert_int_eq(world_task(&w, batch, 0)->stopping, CAUSE_KILLED);
    ck_assert_int_eq(world_task(&w, batch, 1)->stopping, CAUSE_KILLED);
    ck_assert_int_eq(world_task(&w, batch, 2)->state, TASK_KILLED);
    ck_assert_str_eq(job_state_text(cell_job(w.cell, batch)), "stopping");
    ck_assert_int_eq(world_kill(&w, "batch"), ERR_OK);
    ck_assert(changes_empty(&w.changes));
    ck_assert(world_exited(&w, world_task(&w, batch, 0), 0));
    ck_assert(world_exited(&w, world_task(&w, batch, 1), 0));
    ck_assert_str_eq(job_state_text(cell_job(w.cell, batch)), "killed");
    ck_assert_int_eq(world_kill(&w, "batch"), ERR_STATE);
    expect_msg(&w, "job \"batch\" of bob is killed already");
    ck_assert_int_eq(world_kill(&w, "none"), ERR_NOT_FOUND);
    expect_msg(&w, "no job \"none\"");
    world_release(&w);
}
END_TEST

START_TEST(cell_time_never_decreases)
{
    struct world w = world_new();
    world_wake(&w, (task_id){0}, 5000);
    ck_assert_uint_eq(w.cell->now_ms, 5000);
    world_wake(&w, (task_id){0}, 4000);
    ck_assert_uint_eq(w.cell->now_ms, 5000);
    world_release(&w);
}
END_TEST

START_TEST(cell_time_stays_low_enough_for_a_restore)
{
    struct world w = world_new();
    world_wake(&w, (task_id){0}, 5000);
    world_wake(&w, (task_id){0}, UINT64_MAX);
    world_wake(&w, (task_id){0}, (uint64_t)UINT32_MAX * 1000);
    ck_assert_uint_eq(w.cell->now_ms, 5000);
    world_wake(&w, (task_id){0}, (uint64_t)UINT32_MAX * 1000 - 1);
    ck_assert_uint_eq(w.cell->now_ms, (uint64_t)UINT32_MAX * 1000 - 1);
    world_release(&w);
}
END_TEST

static enum err_code submit_as(struct world *w, uint64_t request_id, const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named(name, "ada", 100)};
    cmd.request_id[0] = request_id;
    return world_apply(w, &cmd);
}

START_TEST(a_repeated_request_is_answered_as_before_and_changes_nothing)
{
    struct world w = world_new();
    ck_assert_int_eq(submit_as(&w, 1, "web"), ERR_OK);
    struct answer first = w.answer;
    ck_assert_int_eq(submit_as(&w, 2, "web"), ERR_EXISTS);
    uint64_t digest = cell_digest(w.cell);
    ck_assert_int_eq(submit_as(&w, 1, "web"), ERR_OK);
    ck_assert(changes_empty(&w.changes));
    ck_assert_uint_eq(w.answer.job.v, first.job.v);
    ck_assert_str_eq(w.answer.msg, first.msg);
    ck_assert_int_eq(submit_as(&w, 2, "other"), ERR_EXISTS); /* the id matters, not the body */
    ck_assert_uint_eq(cell_digest(w.cell), digest);
    ck_assert_int_eq(submit_as(&w, 0, "other"), ERR_OK); /* without an id nothing is remembered */
    ck_assert_int_eq(submit_as(&w, 0, "other"), ERR_EXISTS);
    world_release(&w);
}
END_TEST

START_TEST(the_oldest_answer_is_forgotten_when_the_ring_is_full)
{
    struct world w = world_new();
    for (uint64_t id = 1; id <= CELL_REQUESTS_MAX + 1; id++) {
        struct cmd cmd = {.kind = CMD_JOB_KILL, .request_id = {0, id}};
        snprintf(cmd.job_kill.name, sizeof cmd.job_kill.name, "j%u", (unsigned)id);
        cell_apply(w.cell, &cmd, &w.changes, &w.answer);
    }
    cell_check(w.cell);
    const struct {
        uint64_t id;
        bool remembered;
    } rows[] = {{CELL_REQUESTS_MAX + 1, true}, {2, true}, {1, false}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cmd cmd = {.kind = CMD_JOB_KILL, .request_id = {0, rows[i].id}};
        str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "elsewhere");
        world_apply(&w, &cmd);
        ck_assert(changes_empty(&w.changes) == rows[i].remembered);
    }
    world_release(&w);
}
END_TEST

/* A copy of a request that arrives after its answer was forgotten must not be carried out again. It
 * is recognized by the index that its sender knew when it was first sent, whatever delayed it. */
START_TEST(a_request_that_may_be_forgotten_is_refused)
{
    struct world w = world_new();
    uint64_t index = 100;
    for (uint64_t id = 1; id <= CELL_REQUESTS_MAX + 10; id++) {
        struct cmd cmd = {.kind = CMD_JOB_KILL, .request_id = {0, id}, .known_index = index};
        w.cell->applied_index = ++index;
        cell_apply(w.cell, &cmd, &w.changes, &w.answer);
        ck_assert_int_eq(w.answer.code, ERR_NOT_FOUND);
    }
    uint64_t oldest = 100 + 11; /* the index of request 11 */
    const struct {
        uint64_t id, known_index;
        enum err_code code;
    } rows[] = {
        {10, 109, ERR_EXPIRED}, /* the newest forgotten request, sent again */
        {1, 100, ERR_EXPIRED},
        {11, 110, ERR_NOT_FOUND}, /* remembered */
        {11, 1, ERR_NOT_FOUND},
        {999999, oldest - 1, ERR_EXPIRED}, /* new, but that cannot be known */
        {999999, oldest, ERR_NOT_FOUND},   /* it would be remembered, so it is carried out */
        {999998, 0, ERR_NOT_FOUND},        /* its sender does not repeat it */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cmd cmd = {.kind = CMD_JOB_KILL,
                          .request_id = {0, rows[i].id},
                          .known_index = rows[i].known_index};
        uint64_t digest = cell_digest(w.cell);
        world_apply(&w, &cmd);
        ck_assert_msg(w.answer.code == rows[i].code, "row %zu: %s", i, w.answer.msg);
        if (rows[i].code == ERR_EXPIRED)
            ck_assert_uint_eq(cell_digest(w.cell), digest);
    }
    world_release(&w);
}
END_TEST

START_TEST(dead_jobs_are_removed_oldest_first)
{
    struct world w = world_new();
    char name[16];
    for (int i = 0; i <= CELL_JOBS_DEAD_MAX; i++) {
        snprintf(name, sizeof name, "j%d", i == 1 ? 0 : i); /* job 2 has the name of job 1 */
        struct cmd submit = {.kind = CMD_JOB_SUBMIT, .job_submit = spec_named(name, "ada", 100)};
        struct cmd kill = {.kind = CMD_JOB_KILL};
        str_copy(kill.job_kill.name, sizeof kill.job_kill.name, name);
        changes_clear(&w.changes);
        cell_apply(w.cell, &submit, &w.changes, &w.answer);
        cell_apply(w.cell, &kill, &w.changes, &w.answer);
        ck_assert_int_eq(w.answer.code, ERR_OK);
        cmd_release(&submit);
        ck_assert_uint_eq(w.changes.forgotten_count, i == CELL_JOBS_DEAD_MAX);
    }
    cell_check(w.cell);
    ck_assert_uint_eq(w.changes.forgotten[0], 1);
    ck_assert_uint_eq(events_of(&w, EVENT_FORGOTTEN), 1);
    ck_assert_uint_eq(w.cell->dead_job_count, CELL_JOBS_DEAD_MAX);
    ck_assert_ptr_null(cell_job(w.cell, (job_id){1}));
    ck_assert_uint_eq(cell_job_named(w.cell, "j0")->id.v, 2); /* the newer job has the name */
    struct delta *delta = delta_collect(w.cell, &w.changes);
    ck_assert_uint_eq(delta->forgotten_count, 1);
    delta_unref(delta);
    world_release(&w);
}
END_TEST

/* Ids of one byte and of two, few and many, unsorted, each noted twice. */
START_TEST(a_delta_has_each_row_once_sorted_by_id)
{
    enum { MACHINES = 700 };
    struct world w = world_new();
    char name[16];
    for (int i = 0; i < MACHINES; i++) {
        snprintf(name, sizeof name, "m%d", i);
        world_machine(&w, name, (struct resources){{1000, 1024, 1024}});
    }
    for (uint64_t count = 1; count <= MACHINES; count = count * 3 + 1) {
        uint64_t ids[2 * MACHINES];
        for (uint64_t i = 0; i < 2 * count; i++)
            ids[i] = i * 367 % count + MACHINES - count + 1; /* 367 is a prime */
        struct changes changes = {.machines = ids, .machine_count = 2 * count};
        struct delta *delta = delta_collect(w.cell, &changes);
        ck_assert_uint_eq(delta->machine_count, count);
        for (uint64_t i = 0; i < count; i++) {
            ck_assert_uint_eq(delta->machines[i].id.v, MACHINES - count + 1 + i);
            snprintf(name, sizeof name, "m%" PRIu64, MACHINES - count + i);
            ck_assert_str_eq(delta->machines[i].name, name);
        }
        delta_unref(delta);
    }
    world_release(&w);
}
END_TEST

START_TEST(a_command_of_an_unknown_kind_is_refused)
{
    struct world w = world_new();
    struct cmd cmd = {.kind = (enum cmd_kind)99};
    ck_assert_int_eq(world_apply(&w, &cmd), ERR_INVALID);
    expect_msg(&w, "command kind 99");
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply");
    TCase *tcase = tcase_create("apply");
    tcase_add_test(tcase, an_invalid_machine_is_refused);
    tcase_add_test(tcase, a_machine_with_new_attributes_keeps_its_tasks);
    tcase_add_test(tcase, a_machine_with_new_capacity_keeps_its_id);
    tcase_add_test(tcase, down_is_refused_for_unknown_and_down_machines);
    tcase_add_test(tcase, a_machine_that_shrinks_stops_the_lowest_and_newest_tasks);
    tcase_add_test(tcase, machine_down_loses_running_tasks_and_ends_killed_ones);
    tcase_add_test(tcase, a_submit_is_refused_while_a_job_of_that_name_lives);
    tcase_add_test(tcase, the_user_of_a_job_is_the_sender_of_the_command);
    tcase_add_test(tcase, a_cell_refuses_more_tasks_than_its_limit);
    tcase_add_test(tcase, a_kill_reaches_pending_live_and_stopping_tasks);
    tcase_add_test(tcase, cell_time_never_decreases);
    tcase_add_test(tcase, cell_time_stays_low_enough_for_a_restore);
    tcase_add_test(tcase, a_repeated_request_is_answered_as_before_and_changes_nothing);
    tcase_add_test(tcase, the_oldest_answer_is_forgotten_when_the_ring_is_full);
    tcase_add_test(tcase, a_request_that_may_be_forgotten_is_refused);
    tcase_add_test(tcase, dead_jobs_are_removed_oldest_first);
    tcase_add_test(tcase, a_delta_has_each_row_once_sorted_by_id);
    tcase_add_test(tcase, a_command_of_an_unknown_kind_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
