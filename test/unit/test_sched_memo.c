/*
 * test_sched_memo.c - what the scheduler remembers never keeps a task waiting that fits.
 *
 *     SCHED_FIRST=1000 SCHED_SEEDS=2000 build/test/unit/test_sched_memo
 *
 * Small cells with much company, full spreads and low priorities, where nobody can be evicted and
 * no search for victims hides what was forgotten: when the scheduler has nothing to propose, one
 * that has just begun has not either.
 */
#include "attributes.h"
#include "sched_fixture.h"

enum { SEEDS_USUAL = 1500, STEPS = 40, MACHINES = 3, JOBS = 5 };

static struct cmd draw_machine(uint64_t *seed)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *body = &cmd.machine_register;
    uint32_t number = draw_below(seed, MACHINES);
    if (draw_below(seed, 3) == 0) {
        cmd.kind = CMD_MACHINE_DRAIN;
        snprintf(cmd.machine_drain.name, sizeof cmd.machine_drain.name, "m%u", number);
        cmd.machine_drain.on = draw_below(seed, 3) == 0;
        return cmd;
    }
    if (draw_below(seed, 6) == 0) {
        cmd.kind = CMD_MACHINE_REMOVE;
        snprintf(cmd.machine_remove.name, sizeof cmd.machine_remove.name, "m%u", number);
        cmd.machine_remove.force = true;
        return cmd;
    }
    snprintf(body->name, sizeof body->name, "m%u", number);
    str_copy(body->addr, sizeof body->addr, "a:1");
    body->capacity = amounts(1000 * (1 + draw_below(seed, 4)), 100, 0, 0);
    if (draw_below(seed, 4) > 0)
        attributes_put(&body->attributes, "rack", draw_below(seed, 2) == 0 ? "r1" : "r2");
    return cmd;
}

static void draw_company(uint64_t *seed, struct job_spec *spec)
{
    static const char *const by[] = {"rack", "machine"};
    for (uint32_t count = draw_below(seed, 3); count > 0; count--) {
        char text[64];
        struct term term;
        snprintf(text, sizeof text, "%s %s j%u", by[draw_below(seed, 2)],
                 draw_below(seed, 3) == 0 ? "near" : "apart", draw_below(seed, JOBS));
        ck_assert_int_eq(term_parse(text, &term, NULL), 0);
        clause_add(clauses_add(&spec->constraints, draw_below(seed, 4) == 0 ? 10 : 0), term);
    }
    if (draw_below(seed, 2) == 0)
        spec->spreads[spec->spread_count++] = (struct spread){.max = 1 + draw_below(seed, 2)};
    if (spec->spread_count == 1)
        str_copy(spec->spreads[0].by, sizeof spec->spreads[0].by, by[draw_below(seed, 2)]);
}

static struct cmd draw_submit(uint64_t *seed)
{
    static const uint32_t priorities[] = {0, 0, 0, 50, 119, 200};
    char name[8];
    snprintf(name, sizeof name, "j%u", draw_below(seed, JOBS));
    struct job_spec spec = spec_named(name, "ada", priorities[draw_below(seed, 6)]);
    spec.replicas = 1 + draw_below(seed, 3);
    spec.limit = amounts(draw_below(seed, 3) == 0 ? 1000 : 10, 1, 0, 0);
    spec.backoff_ms = 1000 * draw_below(seed, 2);
    spec.disruptions_max = draw_below(seed, 3);
    draw_company(seed, &spec);
    return (struct cmd){.kind = CMD_JOB_SUBMIT, .job_submit = spec};
}

static struct cmd draw_reports(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = {.kind = CMD_REPORT};
    const struct machine *machine =
        cell_machine(cell, (machine_id){1 + draw_below(seed, MACHINES)});
    if (machine == NULL)
        return cmd;
    cmd.report.reports = xcalloc(machine->task_count, sizeof *cmd.report.reports);
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        if (task->stopping == CAUSE_NONE && draw_below(seed, 3) > 0)
            continue;
        cmd.report.reports[cmd.report.report_count++] =
            (struct report){.task = attempt_of(task),
                            .kind = draw_below(seed, 4) == 0 ? REPORT_RUNNING : REPORT_EXITED,
                            .exit_code = (int32_t)draw_below(seed, 2),
                            .told_to_stop = task->stopping != CAUSE_NONE,
                            .machine = machine->id};
    }
    return cmd;
}

static struct cmd draw_command(uint64_t *seed, const struct cell *cell)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    uint32_t kind = draw_below(seed, 10);
    if (kind == 0 || cell->machine_count == 0) {
        cmd = draw_machine(seed);
    } else if (kind < 4) {
        cmd = draw_submit(seed);
    } else if (kind < 6) {
        snprintf(cmd.job_kill.name, sizeof cmd.job_kill.name, "j%u", draw_below(seed, JOBS));
    } else if (kind < 9) {
        cmd = draw_reports(seed, cell);
    } else {
        cmd = (struct cmd){.kind = CMD_WAKE, .wake = {xcalloc(64, sizeof(task_id)), 0}};
        cmd.wake.task_count = cell_wake_due(cell, UINT64_MAX, cmd.wake.tasks, 64);
    }
    cmd.time_ms = cell->now_ms + draw_below(seed, 1000);
    return cmd;
}

static void expect_nothing_forgotten(struct world *w, struct sched *sched, uint64_t number)
{
    struct cmd_schedule out;
    struct sched *fresh = sched_new();
    world_tell_all(w, fresh);
    sched_pass(fresh, &out);
    ck_assert_msg(out.placement_count == 0, "seed %" PRIu64 ": job %s fits and is forgotten",
                  number, cell_job(w->cell, task_job(out.placements[0].task.task))->spec.name);
    ck_assert_uint_eq(sched_stats(fresh).pending, sched_stats(sched).pending);
    sched_free(fresh);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

START_TEST(who_has_nothing_to_propose_has_forgotten_nobody)
{
    uint64_t first = number_from_env("SCHED_FIRST", 1), waited = 0;
    uint64_t count = number_from_env("SCHED_SEEDS", SEEDS_USUAL);
    for (uint64_t number = first; number < first + count; number++) {
        uint64_t seed = number * 7919;
        struct world w = world_new();
        struct sched *sched = sched_new();
        for (int step = 0; step < STEPS; step++) {
            struct cmd cmd = draw_command(&seed, w.cell);
            world_apply(&w, &cmd);
            world_tell(&w, sched);
            world_settle(&w, sched);
            expect_nothing_forgotten(&w, sched, number);
            waited += sched_stats(sched).pending;
        }
        sched_free(sched);
        world_release(&w);
    }
    ck_assert_uint_gt(waited, count);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_memo");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, who_has_nothing_to_propose_has_forgotten_nobody);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
