/*
 * test_system.c - jobs on every machine: which tasks are wanted, and where each may go.
 */
#include "attributes.h"
#include "sched_fixture.h"

static void machine(struct world *w, const char *name, int64_t cpu, const char *os)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    str_copy(body->name, sizeof body->name, name);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(cpu, 100, 0, 0);
    attributes_put(&body->attributes, "os", os);
    ck_assert_msg(world_apply(w, &cmd) == ERR_OK, "%s", w->answer.msg);
}

static job_id system_job(struct world *w, const char *name, uint32_t priority, const char *need)
{
    struct job_spec spec = spec_named(name, "ada", priority);
    spec.every_machine = true;
    spec.disruptions_max = 1;
    if (need != NULL) {
        struct term term;
        ck_assert_int_eq(term_parse(need, &term, NULL), 0);
        clause_add(clauses_add(&spec.constraints, 0), term);
    }
    return world_job(w, spec);
}

static enum task_state state(const struct world *w, job_id job, uint32_t index)
{
    return world_task(w, job, index)->state;
}

/* Three machines, m1 and m2 run linux. */
static struct world world_of_three(void)
{
    struct world w = world_new();
    machine(&w, "m1", 4000, "linux");
    machine(&w, "m2", 4000, "linux");
    machine(&w, "m3", 4000, "bsd");
    return w;
}

START_TEST(a_task_is_wanted_where_its_machine_is_up_undrained_and_fits_the_constraints)
{
    struct world w = world_of_three();
    job_id job = system_job(&w, "logs", 100, "os = linux");
    ck_assert_int_eq(state(&w, job, 0), TASK_PENDING);
    ck_assert_int_eq(state(&w, job, 2), TASK_UNWANTED);
    machine(&w, "m3", 4000, "linux");
    ck_assert_int_eq(state(&w, job, 2), TASK_PENDING);
    machine(&w, "m3", 4000, "bsd");
    ck_assert_int_eq(state(&w, job, 2), TASK_UNWANTED);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK);
    ck_assert_int_eq(state(&w, job, 0), TASK_UNWANTED);
    ck_assert_int_eq(world_drain(&w, "m1", false), ERR_OK);
    ck_assert_int_eq(state(&w, job, 0), TASK_PENDING);
    ck_assert_int_eq(world_machine_down(&w, (machine_id){2}), ERR_OK);
    ck_assert_int_eq(state(&w, job, 1), TASK_UNWANTED);
    machine(&w, "m2", 4000, "linux");
    ck_assert_int_eq(state(&w, job, 1), TASK_PENDING);
    machine(&w, "m4", 4000, "linux");
    ck_assert_uint_eq(cell_job(w.cell, job)->task_count, 4);
    ck_assert_int_eq(state(&w, job, 3), TASK_PENDING);
    world_release(&w);
}
END_TEST

/* What runs stays when the machine ceases to fit; when it ends it is not started there again. */
START_TEST(what_runs_stays_and_what_ends_is_judged_anew)
{
    struct world w = world_of_three();
    job_id job = system_job(&w, "logs", 100, "os = linux");
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert(
            world_place(&w, attempt_of(world_task(&w, job, i)), (machine_id){i + 1}, NULL, 0));
        ck_assert(world_running(&w, world_task(&w, job, i), 7));
    }
    machine(&w, "m1", 4000, "bsd");
    ck_assert_int_eq(state(&w, job, 0), TASK_RUNNING);
    ck_assert(world_exited(&w, world_task(&w, job, 0), 1));
    ck_assert_int_eq(state(&w, job, 0), TASK_UNWANTED);
    ck_assert_uint_eq(world_task(&w, job, 0)->not_before_ms, 0);
    ck_assert(world_exited(&w, world_task(&w, job, 1), 1));
    ck_assert_int_eq(state(&w, job, 1), TASK_PENDING);
    ck_assert_uint_ne(world_task(&w, job, 1)->not_before_ms, 0);
    world_release(&w);
}
END_TEST

/* A drain that takes long must not use up the budget, nor an undrain exceed it. */
START_TEST(drained_machines_are_no_disruption)
{
    struct world w = world_of_three();
    job_id job = system_job(&w, "logs", 100, NULL);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(
            world_place(&w, attempt_of(world_task(&w, job, i)), (machine_id){i + 1}, NULL, 0));
    const char *names[] = {"m1", "m2", "m3"};
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(world_drain(&w, names[i], true), ERR_OK);
        ck_assert_int_eq(world_task(&w, job, i)->stopping, CAUSE_DRAIN);
        ck_assert(world_exited(&w, world_task(&w, job, i), -15));
        ck_assert_int_eq(state(&w, job, i), TASK_UNWANTED);
        ck_assert_uint_eq(cell_job(w.cell, job)->disrupted, 0);
    }
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(world_drain(&w, names[i], false), ERR_OK);
    ck_assert_uint_eq(cell_job(w.cell, job)->counts[TASK_PENDING], 3);
    world_release(&w);
}
END_TEST

START_TEST(it_lives_until_it_is_killed_and_then_grows_no_more)
{
    struct world w = world_new();
    job_id job = system_job(&w, "logs", 100, NULL);
    ck_assert(!job_is_dead(cell_job(w.cell, job)));
    ck_assert_str_eq(job_state_text(cell_job(w.cell, job)), "idle");
    machine(&w, "m1", 4000, "linux");
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), (machine_id){1}, NULL, 0));
    ck_assert(world_exited(&w, world_task(&w, job, 0), 0));
    ck_assert_int_eq(state(&w, job, 0), TASK_FINISHED); /* once on each machine */
    ck_assert_str_eq(job_state_text(cell_job(w.cell, job)), "idle");
    ck_assert_int_eq(world_kill(&w, "logs"), ERR_OK);
    ck_assert(job_is_dead(cell_job(w.cell, job)));
    machine(&w, "m2", 4000, "linux");
    ck_assert_uint_eq(cell_job(w.cell, job)->task_count, 1);
    ck_assert_int_eq(world_submit(&w, spec_named("logs", "ada", 100)), ERR_OK);
    world_release(&w);
}
END_TEST

START_TEST(a_task_on_another_machine_is_refused)
{
    struct world w = world_of_three();
    job_id job = system_job(&w, "logs", 100, NULL);
    ck_assert(!world_place(&w, attempt_of(world_task(&w, job, 0)), (machine_id){2}, NULL, 0));
    ck_assert_msg(strstr(w.answer.msg, "task \"logs/0\" belongs on machine 1, not on 2") != NULL,
                  "%s", w.answer.msg);
    world_release(&w);
}
END_TEST

/* Full machines hold up their own task only, and each is looked at again when it improves. */
START_TEST(a_task_without_room_waits_for_its_machine_alone)
{
    struct world w = world_of_three();
    struct sched *sched = sched_new();
    struct job_spec spec = spec_named("big", "bob", 200);
    spec.replicas = 2;
    spec.limit = amounts(4000, 1, 0, 0);
    world_tell_all(&w, sched);
    job_id big = world_job(&w, spec);
    world_tell(&w, sched);
    world_settle(&w, sched);
    job_id job = system_job(&w, "logs", 100, NULL);
    world_tell(&w, sched);
    world_settle(&w, sched);
    const uint32_t *counts = cell_job(w.cell, job)->counts;
    ck_assert_uint_eq(counts[TASK_ASSIGNED], 1);
    ck_assert_str_eq(cell_job(w.cell, job)->reason,
                     "no room for 2 tasks on their machines: 2 of 2 lack cpu");
    ck_assert_uint_eq(sched_stats(sched).blocked, 2);
    uint32_t freed = world_task(&w, big, 0)->machine.v;
    ck_assert(world_exited(&w, world_task(&w, big, 0), 0));
    world_tell(&w, sched);
    uint64_t scanned = sched_stats(sched).machines_scanned;
    ck_assert(world_pass(&w, sched));
    ck_assert_uint_eq(counts[TASK_ASSIGNED], 2);
    ck_assert_uint_eq(world_task(&w, job, freed - 1)->machine.v, freed);
    ck_assert_uint_le(sched_stats(sched).machines_scanned, scanned + 2);
    sched_free(sched);
    world_release(&w);
}
END_TEST

/* It grows with the cell, one machine at a time, without moving what is there. */
static void quota_of_tasks(struct world *w, int64_t tasks)
{
    struct cmd cmd = {.kind = CMD_QUOTA_SET,
                      .quota_set = {.quota = {.user = "ada", .band = BAND_BATCH, .tasks = tasks}}};
    for (int r = 0; r < RES_COUNT; r++)
        cmd.quota_set.quota.limit.v[r] = QUOTA_UNLIMITED;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
}

static uint64_t used(const struct world *w)
{
    const struct account *account = namemap_get(&w->cell->accounts_by_user, "ada");
    return account->used[BAND_BATCH].tasks;
}

START_TEST(machines_that_come_do_not_make_it_outgrow_its_quota)
{
    struct world w = world_of_three();
    struct err why;
    quota_of_tasks(&w, 3);
    job_id job = system_job(&w, "logs", 100, NULL);
    machine(&w, "m4", 4000, "linux");
    ck_assert_int_eq(state(&w, job, 3), TASK_UNWANTED);
    ck_assert_uint_eq(used(&w), 3);
    ck_assert_uint_eq(cell_over_quota(w.cell, cell_job(w.cell, job), &why), 1);
    ck_assert_ptr_nonnull(strstr(why.msg,
                                 "over the quota of user \"ada\" in band batch: tasks: used "
                                 "3, asked 1, granted 3"));
    const struct event *event = &w.changes.events[w.changes.event_count - 1];
    ck_assert_int_eq(event->kind, EVENT_WAITING);
    ck_assert_uint_eq(event->machine.v, 4);
    ck_assert_str_eq(event->detail, why.msg);
    machine(&w, "m5", 4000, "linux");
    quota_of_tasks(&w, 4); /* one more, by machine */
    ck_assert_int_eq(state(&w, job, 3), TASK_PENDING);
    ck_assert_int_eq(state(&w, job, 4), TASK_UNWANTED);
    ck_assert_int_eq(world_drain(&w, "m1", true), ERR_OK); /* leaves room for another */
    ck_assert_int_eq(state(&w, job, 0), TASK_UNWANTED);
    ck_assert_int_eq(state(&w, job, 4), TASK_PENDING);
    ck_assert_int_eq(world_drain(&w, "m1", false), ERR_OK);
    ck_assert_int_eq(state(&w, job, 0), TASK_UNWANTED);
    ck_assert_uint_eq(used(&w), 4);
    quota_of_tasks(&w, 2); /* takes nothing away */
    ck_assert_uint_eq(used(&w), 4);
    quota_of_tasks(&w, QUOTA_UNLIMITED);
    ck_assert_uint_eq(used(&w), 5);
    ck_assert_uint_eq(cell_over_quota(w.cell, cell_job(w.cell, job), &why), 0);
    world_release(&w);
}
END_TEST

START_TEST(what_other_jobs_give_back_lets_it_grow)
{
    struct world w = world_of_three();
    quota_of_tasks(&w, 4);
    job_id job = system_job(&w, "logs", 100, NULL);
    world_job(&w, spec_named("web", "ada", 100));
    machine(&w, "m4", 4000, "linux");
    ck_assert_int_eq(state(&w, job, 3), TASK_UNWANTED);
    ck_assert_int_eq(world_kill(&w, "web"), ERR_OK);
    ck_assert_int_eq(state(&w, job, 3), TASK_PENDING);
    world_release(&w);
}
END_TEST

START_TEST(a_thousand_machines_come_one_by_one)
{
    struct world w = world_new();
    struct sched *sched = sched_new();
    struct job_spec spec = spec_named("logs", "ada", 100);
    spec.every_machine = true;
    world_tell_all(&w, sched);
    job_id job = world_job(&w, spec);
    world_tell(&w, sched);
    for (uint32_t i = 0; i < 1000; i++) {
        char name[16];
        struct cmd_schedule out;
        snprintf(name, sizeof name, "m%u", i);
        machine(&w, name, 4000, "linux");
        world_tell(&w, sched);
        ck_assert(sched_pass(sched, &out));
        ck_assert_uint_eq(out.placement_count, 1);
        struct cmd cmd = cmd_of_decision(&out);
        ck_assert_int_eq(world_apply(&w, &cmd), ERR_OK);
        world_tell(&w, sched);
    }
    ck_assert_uint_eq(cell_job(w.cell, job)->counts[TASK_ASSIGNED], 1000);
    sched_free(sched);
    world_release(&w);
}
END_TEST

static struct job_spec dear_spec(const char *need)
{
    struct job_spec spec = spec_named("dear", "ada", 100);
    struct term term;
    spec.every_machine = true;
    ck_assert_int_eq(term_parse(need, &term, NULL), 0);
    clause_add(clauses_add(&spec.constraints, 0), term);
    return spec;
}

/* It is judged for all machines in one command, and again whenever one of them changes. */
START_TEST(what_its_constraints_take_is_bounded)
{
    struct err err = {0};
    struct job_spec spec = dear_spec("os regex (.?){31}");
    ck_assert_uint_eq(clauses_units(&spec.constraints), 9 + 16 * 63);
    ck_assert_int_eq(spec_valid(&spec, &err), 0);
    spec_release(&spec);
    spec = dear_spec("os regex (.?){32}");
    ck_assert_int_eq(spec_valid(&spec, &err), -ERR_INVALID);
    ck_assert_msg(strncmp(err.msg,
                          "task.constraints: take 1049 units to judge a machine, at most "
                          "1024 in a job that runs on every machine",
                          100) == 0,
                  "%s", err.msg);
    spec_release(&spec);
    struct world w = world_new();
    for (uint32_t i = 0; i < SYSTEM_UNITS_MAX / 1017; i++) {
        struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
        struct answer answer = {0}; /* the checks of world_apply() would take too long */
        snprintf(cmd.machine_register.name, sizeof cmd.machine_register.name, "m%u", i);
        str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "a:1");
        cmd.machine_register.capacity = amounts(1, 1, 0, 0);
        cell_apply(w.cell, &cmd, &w.changes, &answer);
        ck_assert_int_eq(answer.code, ERR_OK);
    }
    ck_assert_int_eq(world_submit(&w, dear_spec("machine regex (.?){31}")), ERR_OK);
    ck_assert_int_eq(world_kill(&w, "dear"), ERR_OK);
    machine(&w, "one-more", 1, "linux");
    ck_assert_int_eq(world_submit(&w, dear_spec("machine regex (.?){31}")), ERR_LIMIT);
    ck_assert_msg(strstr(w.answer.msg, "take 1017 units to judge a machine, and with 32994 "
                                       "machines a job on every machine may have 1016") != NULL,
                  "%s", w.answer.msg);
    ck_assert_int_eq(world_submit(&w, dear_spec("machine regex m[0-9]+")), ERR_OK);
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("system");
    TCase *tcase = tcase_create("system");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase,
                   a_task_is_wanted_where_its_machine_is_up_undrained_and_fits_the_constraints);
    tcase_add_test(tcase, what_runs_stays_and_what_ends_is_judged_anew);
    tcase_add_test(tcase, drained_machines_are_no_disruption);
    tcase_add_test(tcase, it_lives_until_it_is_killed_and_then_grows_no_more);
    tcase_add_test(tcase, a_task_on_another_machine_is_refused);
    tcase_add_test(tcase, a_task_without_room_waits_for_its_machine_alone);
    tcase_add_test(tcase, machines_that_come_do_not_make_it_outgrow_its_quota);
    tcase_add_test(tcase, what_other_jobs_give_back_lets_it_grow);
    tcase_add_test(tcase, a_thousand_machines_come_one_by_one);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_its_constraints_take_is_bounded);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
