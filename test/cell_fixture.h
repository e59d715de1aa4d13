/*
 * cell_fixture.h - functions to build cells in tests of the model and the scheduler.
 *
 * They return structs; a test changes what it needs.
 */
#ifndef TEST_CELL_FIXTURE_H
#define TEST_CELL_FIXTURE_H

#include "cmd.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Marsaglia's xorshift64*: equal numbers on every machine. */
static inline uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static inline uint32_t draw_below(uint64_t *seed, uint32_t bound)
{
    return (uint32_t)((draw(seed) >> 32) % bound);
}

static inline struct resources amounts(int64_t cpu, int64_t ram, int64_t disk, int64_t ports)
{
    return (struct resources){{cpu, ram, disk, ports}};
}

/* Return a valid job: one task of 1 cpu and 1 byte of ram, running "true". */
static inline struct job_spec spec_named(const char *name, const char *user, uint32_t priority)
{
    struct job_spec spec;
    spec_init(&spec);
    str_copy(spec.name, sizeof spec.name, name);
    str_copy(spec.user, sizeof spec.user, user);
    spec.priority = priority;
    spec.limit = amounts(1000, 1, 0, 0);
    words_add(&spec.argv, "true");
    return spec;
}

/* Add another shape, which is less preferred than the existing ones. */
static inline void spec_add_shape(struct job_spec *spec, int64_t cpu, int64_t ram)
{
    struct resources shape = spec->limit;
    shape.v[RES_CPU] = cpu;
    shape.v[RES_RAM] = ram;
    spec->alternatives[spec->alternative_count++] = shape;
}

/* Add up to two shapes, each with less cpu and perhaps more ram than the previous one. */
static inline void draw_shapes(uint64_t *seed, struct job_spec *spec)
{
    const uint32_t counts[] = {0, 0, 1, 2};
    uint32_t count = counts[draw_below(seed, ARRAY_SIZE(counts))];
    int64_t cpu = spec->limit.v[RES_CPU];
    for (uint32_t i = 0; i < count; i++)
        spec_add_shape(spec, cpu /= 2, spec->limit.v[RES_RAM] + draw_below(seed, 3));
}

/* A cell, the changes of its last commands, and the answer to the last one. */
struct world {
    struct cell *cell;
    struct changes changes;
    struct answer answer;
};

static inline struct world world_new(void)
{
    return (struct world){.cell = cell_new()};
}

static inline void world_release(struct world *w)
{
    cell_free(w->cell);
    changes_release(&w->changes);
}

/* Apply the command, check the cell, release the command. `changes` contains only this command. */
static inline enum err_code world_apply(struct world *w, struct cmd *cmd)
{
    changes_clear(&w->changes);
    cell_apply(w->cell, cmd, &w->changes, &w->answer);
    cell_check(w->cell);
    cmd_release(cmd);
    return w->answer.code;
}

static inline machine_id world_machine(struct world *w, const char *name, struct resources capacity)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    str_copy(cmd.machine_register.name, sizeof cmd.machine_register.name, name);
    str_copy(cmd.machine_register.addr, sizeof cmd.machine_register.addr, "127.0.0.1:1");
    cmd.machine_register.capacity = capacity;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    return cell_machine_named(w->cell, name)->id;
}

/* The live tasks of a machine, by id; returns how many. The order of its own list differs between a
 * cell that was loaded and one that was not. */
static inline uint32_t tasks_on(const struct cell *cell, const struct machine *machine,
                                const struct task **ret, uint32_t max)
{
    uint32_t count = 0;
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        for (uint32_t i = 0; machine != NULL && i < job->task_count && count < max; i++)
            if (task_is_live(&job->tasks[i]) && job->tasks[i].machine.v == machine->id.v)
                ret[count++] = &job->tasks[i];
    }
    return count;
}

static inline enum err_code world_machine_down(struct world *w, machine_id machine)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DOWN, .machine_down = {machine}};
    return world_apply(w, &cmd);
}

static inline enum err_code world_drain(struct world *w, const char *name, bool on)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DRAIN, .machine_drain = {.on = on}};
    str_copy(cmd.machine_drain.name, sizeof cmd.machine_drain.name, name);
    return world_apply(w, &cmd);
}

static inline enum err_code world_evict(struct world *w, machine_id machine)
{
    struct cmd cmd = {.kind = CMD_MACHINE_EVICT, .machine_evict = {machine}};
    return world_apply(w, &cmd);
}

static inline enum err_code world_update(struct world *w, const char *name, int64_t replicas,
                                         int64_t priority)
{
    struct cmd cmd = {.kind = CMD_JOB_UPDATE,
                      .job_update = {.replicas = replicas, .priority = priority}};
    str_copy(cmd.job_update.name, sizeof cmd.job_update.name, name);
    return world_apply(w, &cmd);
}

/* Submit a job; takes the spec. */
static inline enum err_code world_submit(struct world *w, struct job_spec spec)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = spec};
    return world_apply(w, &cmd);
}

/* Submit a job and return its id; takes the spec. */
static inline job_id world_job(struct world *w, struct job_spec spec)
{
    ck_assert_msg(world_submit(w, spec) == ERR_OK, "%s", w->answer.msg);
    return w->answer.job;
}

static inline enum err_code world_kill(struct world *w, const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return world_apply(w, &cmd);
}

static inline const struct task *world_task(const struct world *w, job_id job, uint32_t index)
{
    const struct task *task = cell_task(w->cell, task_id_of(job, index));
    ck_assert_ptr_nonnull(task);
    return task;
}

static inline struct attempt_ref attempt_of(const struct task *task)
{
    return (struct attempt_ref){task->id, task->attempt};
}

/* Apply one placement with all victims of `p`; return true if it was accepted. */
static inline bool world_placement(struct world *w, struct placement p,
                                   const struct attempt_ref *victims)
{
    struct cmd cmd = {.kind = CMD_SCHEDULE};
    cmd.schedule.placements = xcalloc(1, sizeof *cmd.schedule.placements);
    p.victim_first = 0;
    cmd.schedule.placements[0] = p;
    cmd.schedule.placement_count = 1;
    cmd.schedule.victims = xcalloc(p.victim_count, sizeof *cmd.schedule.victims);
    for (uint32_t i = 0; i < p.victim_count; i++)
        cmd.schedule.victims[i] = victims[i];
    cmd.schedule.victim_count = p.victim_count;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    ck_assert_uint_eq(w->answer.accepted + w->answer.refused, 1);
    return w->answer.accepted == 1;
}

static inline bool world_place(struct world *w, struct attempt_ref task, machine_id machine,
                               const struct attempt_ref *victims, uint32_t victim_count)
{
    struct placement p = {.task = task, .machine = machine, .victim_count = victim_count};
    return world_placement(w, p, victims);
}

/* Apply one report; return true if it was accepted. */
static inline bool world_report(struct world *w, machine_id machine, struct report report)
{
    struct cmd cmd = {.kind = CMD_REPORT, .report = {.report_count = 1}};
    cmd.report.reports = xcalloc(1, sizeof report);
    cmd.report.reports[0] = report;
    cmd.report.reports[0].machine = machine;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    return w->answer.accepted == 1;
}

static inline bool world_running(struct world *w, const struct task *task, int32_t pid)
{
    return world_report(
        w, task->machine,
        (struct report){.task = attempt_of(task), .kind = REPORT_RUNNING, .pid = pid});
}

static inline bool world_exited(struct world *w, const struct task *task, int32_t exit_code)
{
    return world_report(w, task->machine,
                        (struct report){.task = attempt_of(task),
                                        .kind = REPORT_EXITED,
                                        .exit_code = exit_code,
                                        .told_to_stop = task->stopping != CAUSE_NONE});
}

/* Advance cell time to `time_ms` by waking a task, which need not exist. */
static inline bool world_wake(struct world *w, task_id task, uint64_t time_ms)
{
    struct cmd cmd = {.kind = CMD_WAKE, .time_ms = time_ms, .wake = {.task_count = 1}};
    cmd.wake.tasks = xcalloc(1, sizeof task);
    cmd.wake.tasks[0] = task;
    ck_assert_int_eq(world_apply(w, &cmd), ERR_OK);
    return w->answer.accepted == 1;
}

/* Run the suites of a test program. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

#endif
