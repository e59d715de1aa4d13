/*
 * simulate.c - the scheduling loop of a master, in memory.
 */
#include "simulate.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_init(struct sim *sim)
{
    *sim = (struct sim){.cell = cell_new(), .sched = sched_new()};
}

void sim_release(struct sim *sim)
{
    cell_free(sim->cell);
    sched_free(sim->sched);
    changes_release(&sim->changes);
    free(sim->pass_us);
    *sim = (struct sim){0};
}

void sim_clear(struct sim *sim)
{
    struct sim old = *sim;
    sim_release(&old);
    sim_init(sim);
    sim->on_pass = old.on_pass;
    sim->on_decided = old.on_decided;
    sim->data = old.data;
}

uint64_t sim_draw(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void apply(struct sim *sim, struct cmd *cmd)
{
    cmd->time_ms = MAX(sim->now_s * 1000, sim->cell->now_ms);
    changes_clear(&sim->changes);
    sim->answer = (struct answer){0};
    cell_apply(sim->cell, cmd, &sim->changes, &sim->answer);
    struct delta *delta = delta_collect(sim->cell, &sim->changes);
    sched_update(sim->sched, delta);
    delta_unref(delta);
}

static int apply_or_refuse(struct sim *sim, struct cmd *cmd, struct err *err)
{
    apply(sim, cmd);
    return sim->answer.code == ERR_OK ? 0 : err_set(err, sim->answer.code, "%s", sim->answer.msg);
}

int sim_machine(struct sim *sim, const struct sim_machine *machine, uint32_t copy, struct err *err)
{
    struct cmd cmd = {.kind = CMD_MACHINE_REGISTER};
    struct cmd_machine_register *m = &cmd.machine_register;
    if (copy == 0)
        str_copy(m->name, sizeof m->name, machine->name);
    else
        snprintf(m->name, sizeof m->name, "%.40s.copy%" PRIu32, machine->name, copy);
    str_copy(m->addr, sizeof m->addr, "simulated:1");
    m->capacity = machine->capacity;
    m->attributes = machine->attributes; /* borrowed: not released */
    return apply_or_refuse(sim, &cmd, err);
}

int sim_submit(struct sim *sim, const struct job_spec *spec, struct err *err)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT, .job_submit = *spec}; /* borrowed: not released */
    return apply_or_refuse(sim, &cmd, err);
}

int sim_machine_down(struct sim *sim, machine_id machine, struct err *err)
{
    struct cmd cmd = {.kind = CMD_MACHINE_DOWN, .machine_down = {machine}};
    return apply_or_refuse(sim, &cmd, err);
}

int sim_load(struct sim *sim, const struct workload *workload, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < workload->machine_count; i++) {
        rc = sim_machine(sim, &workload->machines[i], 0, err);
        if (rc != 0)
            return err_wrap(err, "machine %s", workload->machines[i].name);
    }
    for (uint32_t i = 0; rc == 0 && i < workload->job_count; i++) {
        rc = sim_submit(sim, &workload->jobs[i].spec, err);
        if (rc != 0)
            return err_wrap(err, "job %s", workload->jobs[i].spec.name);
    }
    return rc;
}

static void note_pass(struct sim *sim, uint64_t us)
{
    if (sim->pass_count == sim->pass_capacity) {
        sim->pass_capacity = MAX(sim->pass_capacity * 2, (size_t)64);
        sim->pass_us = xrealloc(sim->pass_us, sim->pass_capacity, sizeof *sim->pass_us);
    }
    sim->pass_us[sim->pass_count++] = us;
}

static bool end_task(struct sim *sim, struct attempt_ref attempt, int32_t exit_code)
{
    const struct task *task = cell_task(sim->cell, attempt.task);
    struct report report = {.task = attempt, .kind = REPORT_EXITED, .exit_code = exit_code};
    if (task == NULL || !task_is_live(task) || task->attempt != attempt.attempt)
        return false;
    report.machine = task->machine;
    report.told_to_stop = task->stopping != CAUSE_NONE;
    struct cmd cmd = {.kind = CMD_REPORT, .report = {.reports = &report, .report_count = 1}};
    apply(sim, &cmd);
    return sim->answer.accepted == 1;
}

bool sim_exit(struct sim *sim, struct attempt_ref task)
{
    return end_task(sim, task, 0);
}

/* Report the victims as stopped, as their borglets would. */
static void end_victims(struct sim *sim, const struct cmd_schedule *decided)
{
    for (uint32_t i = 0; i < decided->victim_count; i++)
        sim->evicted += end_task(sim, decided->victims[i], -15);
}

bool sim_run_within(struct sim *sim, uint64_t pending_max)
{
    struct cmd_schedule decided;
    for (;;) {
        uint64_t start_us = clock_mono_us();
        bool more = sched_pass(sim->sched, &decided);
        note_pass(sim, clock_mono_us() - start_us);
        if (sim->on_pass != NULL)
            sim->on_pass(sim->data, sim);
        if (!more)
            return pending_max == UINT64_MAX || sched_stats(sim->sched).pending <= pending_max;
        if (sim->on_decided != NULL)
            sim->on_decided(sim->data, sim, &decided);
        struct cmd cmd = {.kind = CMD_SCHEDULE, .schedule = decided};
        /* The decision belongs to the scheduler until the next pass. Applying it updates rows of
         * the scheduler, but not these arrays. */
        apply(sim, &cmd);
        ASSERT(sim->answer.refused == 0); /* nothing else changes the cell, so the decision fits */
        end_victims(sim, &decided);
        if (pending_max != UINT64_MAX && sched_stats(sim->sched).blocked > pending_max)
            return false;
    }
}

void sim_run(struct sim *sim)
{
    sim_run_within(sim, UINT64_MAX);
}

static int by_size(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x;
    uint64_t b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static void figures_of_passes(const struct sim *sim, struct sim_figures *f)
{
    f->passes = sim->pass_count;
    if (sim->pass_count == 0)
        return;
    CLEANUP(free_ptr) uint64_t *us = xcalloc(sim->pass_count, sizeof *us);
    memcpy(us, sim->pass_us, sim->pass_count * sizeof *us);
    qsort(us, sim->pass_count, sizeof *us, by_size);
    f->pass_us_p50 = us[sim->pass_count / 2];
    f->pass_us_p99 = us[sim->pass_count * 99 / 100];
    f->pass_us_max = us[sim->pass_count - 1];
    for (size_t i = 0; i < sim->pass_count; i++)
        f->pass_us_total += us[i];
}

/* Saturate: amounts up to 2^50 times up to 2^22 tasks may not fit into 64 bits. */
static void add_times(struct resources *to, const struct resources *amount, uint64_t times)
{
    for (int r = 0; r < RES_COUNT; r++) {
        int64_t product;
        if (__builtin_mul_overflow(amount->v[r], (int64_t)times, &product) ||
            __builtin_add_overflow(to->v[r], product, &to->v[r]))
            to->v[r] = INT64_MAX;
    }
}

static void figures_of_jobs(const struct cell *cell, struct sim_figures *f)
{
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        uint64_t live = job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING];
        uint64_t wanted = live + job->counts[TASK_PENDING];
        if (wanted == 0)
            continue;
        struct sim_band *band = &f->bands[band_of(job->spec.priority)];
        f->jobs++;
        band->tasks += wanted;
        band->placed += live;
        band->pending += job->counts[TASK_PENDING];
        add_times(&f->demand, &job->spec.limit, wanted);
    }
    for (int b = 0; b < BAND_COUNT; b++) {
        f->tasks += f->bands[b].tasks;
        f->placed += f->bands[b].placed;
        f->pending += f->bands[b].pending;
    }
}

struct sim_figures sim_figures(const struct sim *sim)
{
    struct sim_figures f = {.evicted = sim->evicted, .resource_names = sim->cell->resource_names};
    figures_of_passes(sim, &f);
    figures_of_jobs(sim->cell, &f);
    struct resources mean = f.demand;
    for (int r = 0; r < RES_COUNT; r++)
        mean.v[r] = f.tasks == 0 ? 0 : mean.v[r] / (int64_t)f.tasks;
    for (uint32_t i = 0; i < sim->cell->machine_count; i++) {
        const struct machine *machine = sim->cell->machines[i];
        struct resources room = machine->capacity;
        if (machine->state != MACHINE_UP)
            continue;
        f.machines++;
        add_times(&f.capacity, &machine->capacity, 1);
        add_times(&f.used, &machine->reserved, 1);
        resources_subtract(&room, &machine->reserved);
        if (resources_fit(&mean, &room))
            continue;
        f.stranded_machines++;
        add_times(&f.stranded, &room, 1);
    }
    return f;
}
