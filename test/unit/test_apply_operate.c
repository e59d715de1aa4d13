/*
 * test_apply_operate.c - what keeps a cell in order while it runs: drain.
 */
#include "cell_fixture.h"

static struct resources capacity(void)
{
    return amounts(4000, 100, 10, 4);
}

/* Apply in somebody's name. */
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
    expect_msg(&w, "user \"ada\" may not drain a machine: only \"root\" may");
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

START_TEST(a_drained_machine_gives_up_its_tasks_and_gets_none)
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
    ck_assert_int_eq(world_drain(&w, "m1", false), ERR_OK); /* also while it is away */
    world_machine(&w, "m1", capacity());
    ck_assert(world_place(&w, attempt_of(world_task(&w, job, 0)), m1, NULL, 0));
    world_release(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("apply_operate");
    TCase *drain = tcase_create("drain");
    tcase_add_test(drain, only_the_operator_or_the_cell_drains);
    tcase_add_test(drain, a_drained_machine_gives_up_its_tasks_and_gets_none);
    tcase_add_test(drain, a_machine_stays_drained_until_it_is_undrained);
    suite_add_tcase(suite, drain);
    return run_suite(suite);
}
