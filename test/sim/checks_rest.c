/*
 * checks_rest.c - convergence: after the faults everything runs that can.
 */
#include "checks.h"

#include "borglets.h"
#include "registers.h"
#include "sched.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reasons why the cell had not converged at the last checks, with their counts. Replicas often
 * differ for a moment, so the most frequent reason is reported. */
enum { REASONS = 16, REASON_BYTES = 256 };
static struct {
    char text[REASON_BYTES];
    uint64_t looks;
} reasons[REASONS];
static size_t reason_count;

static bool restless(const char *fmt, ...) PRINTF_LIKE(1, 2);
static bool restless(const char *fmt, ...)
{
    char text[REASON_BYTES];
    size_t at = 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    while (at < reason_count && strcmp(reasons[at].text, text) != 0)
        at++;
    if (at == REASONS) /* replace the least frequent one */
        for (size_t i = at = 0; i < REASONS; i++)
            at = reasons[i].looks < reasons[at].looks ? i : at;
    if (at == reason_count)
        reason_count++;
    if (strcmp(reasons[at].text, text) != 0) {
        str_copy(reasons[at].text, sizeof reasons[at].text, text);
        reasons[at].looks = 0;
    }
    reasons[at].looks++;
    return false;
}

static const char *reason_most(void)
{
    size_t most = 0;
    for (size_t i = 0; i < reason_count; i++)
        most = reasons[i].looks > reasons[most].looks ? i : most;
    return reasons[most].text;
}

static bool replicas_rest(const struct cell **ret_cell)
{
    int leader = world_leader();
    if (leader < 0)
        return restless("there is no leader");
    const struct cell *cell = core_cell(replica_core(world_replica((unsigned)leader)));
    for (unsigned i = 0; i < WORLD_REPLICAS; i++) {
        if (world_replica(i) == NULL)
            return restless("r%u is down", i + 1);
        const struct cell *other = core_cell(replica_core(world_replica(i)));
        if (other->applied_index != cell->applied_index)
            return restless("r%u has applied %" PRIu64 ", the leader %" PRIu64, i + 1,
                            other->applied_index, cell->applied_index);
        if (cell_digest(other) != cell_digest(cell))
            checks_broken("digest", "r%u and the leader differ at index %" PRIu64, i + 1,
                          cell->applied_index);
    }
    *ret_cell = cell;
    return true;
}

static bool machines_rest(const struct cell *cell)
{
    for (unsigned i = 0; i < borglets_count(); i++) {
        const char *name = node_name(borglet_node(i));
        const struct machine *machine = cell_machine_named(cell, name);
        if (machine == NULL || machine->state != MACHINE_UP)
            return restless("%s is not up in the cell", name);
    }
    if (cell->settings.hold == HOLD_ON)
        return restless("the hold on silent machines is on");
    return true;
}

static bool attempt_runs(unsigned machine, struct attempt_ref ref)
{
    static struct process processes[BORGLET_PROCESSES_MAX];
    size_t count = borglet_processes(machine, processes);
    for (size_t i = 0; i < count; i++)
        if (processes[i].task.task.v == ref.task.v && processes[i].task.attempt == ref.attempt)
            return true;
    return false;
}

static bool task_rests(const struct cell *cell, const struct job *job, const struct task *task)
{
    const char *state = task_state_text(task->state);
    if (task->state == TASK_ASSIGNED || task->stopping != CAUSE_NONE || task->not_before_ms != 0)
        return restless("%s/%" PRIu32 " is %s%s%s", job->spec.name, task_index(task->id), state,
                        task->stopping != CAUSE_NONE ? ", stopping" : "",
                        task->not_before_ms != 0 ? ", backing off" : "");
    if (task->state != TASK_RUNNING || job->spec.is_alloc_set)
        return true;
    const char *name = cell_machine(cell, task->machine)->name;
    for (unsigned i = 0; i < borglets_count(); i++)
        if (strcmp(node_name(borglet_node(i)), name) == 0 &&
            attempt_runs(i, (struct attempt_ref){task->id, task->attempt}))
            return true;
    return restless("%s/%" PRIu32 " is running on %s for the cell, but not there", job->spec.name,
                    task_index(task->id), name);
}

static bool tasks_rest(const struct cell *cell)
{
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        for (uint32_t i = 0; i < job->task_count; i++)
            if (!task_rests(cell, job, &job->tasks[i]))
                return false;
        if (cell_resize_due(cell, job, 0))
            return restless("a task of %s may get its new limit", job->spec.name);
    }
    for (uint32_t i = 0; i < cell->machine_count; i++)
        if (cell->machines[i]->state == MACHINE_UP && cell_drain_due(cell, cell->machines[i]))
            return restless("a task may leave %s, which drains", cell->machines[i]->name);
    return true;
}

static bool processes_rest(const struct cell *cell)
{
    static struct process processes[BORGLET_PROCESSES_MAX];
    for (unsigned i = 0; i < borglets_count(); i++) {
        size_t count = borglet_processes(i, processes);
        const struct machine *machine = cell_machine_named(cell, node_name(borglet_node(i)));
        for (size_t j = 0; j < count; j++) {
            const struct task *task = cell_task(cell, processes[j].task.task);
            if (task == NULL || task->state != TASK_RUNNING || task->machine.v != machine->id.v ||
                task->attempt != processes[j].task.attempt)
                return restless("job %" PRIu64 "/%" PRIu32 " attempt %" PRIu32 " runs on m%u, "
                                "unwanted",
                                task_job(processes[j].task.task).v,
                                task_index(processes[j].task.task), processes[j].task.attempt,
                                i + 1);
        }
    }
    return true;
}

/* Return whether a new scheduler would place nothing. */
static bool nothing_fits(const struct cell *cell)
{
    struct sched *sched = sched_new();
    struct delta *delta = delta_full(cell);
    struct cmd_schedule decided;
    bool rests = true;
    sched_update(sched, delta);
    while (rests && sched_pass(sched, &decided))
        if (decided.placement_count > 0)
            rests = restless("job %" PRIu64 "/%" PRIu32 " is pending, but would fit on %s",
                             task_job(decided.placements[0].task.task).v,
                             task_index(decided.placements[0].task.task),
                             cell_machine(cell, decided.placements[0].machine)->name);
    delta_unref(delta);
    sched_free(sched);
    return rests;
}

static bool all_rests(void *data)
{
    (void)data;
    const struct cell *cell = NULL;
    return replicas_rest(&cell) && machines_rest(cell) && tasks_rest(cell) &&
           processes_rest(cell) && nothing_fits(cell);
}

void checks_rest(void)
{
    uint64_t healed_ms = world_now_ms();
    if (!world_run_until(all_rests, NULL, CHECKS_REST_MS))
        checks_broken("rest", "%d ms after all faults ended, %s", CHECKS_REST_MS, reason_most());
    checks_note("at rest after %" PRIu64 " ms", world_now_ms() - healed_ms);
}

static bool acknowledged_everywhere(void *data)
{
    (void)data;
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        if (world_replica(i) == NULL ||
            core_cell(replica_core(world_replica(i)))->applied_index < checks_acknowledged())
            return false;
    return true;
}

void checks_end(void)
{
    registers_check();
    if (!world_run_until(acknowledged_everywhere, NULL, CHECKS_REST_MS))
        checks_broken("lost", "entry %" PRIu64 " was acknowledged, and not every replica has it",
                      checks_acknowledged());
    for (unsigned i = 0; i < WORLD_REPLICAS; i++)
        cell_check(core_cell(replica_core(world_replica(i))));
}
