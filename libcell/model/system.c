/*
 * system.c - jobs that run on every machine.
 *
 * Such a job has a task per machine there is: task I belongs on machine I + 1 and nowhere else. A
 * task is wanted while its machine is up, not draining and meets the hard constraints; else it is
 * UNWANTED, which asks for nothing: it does not wait, and its user's quota does not pay for it.
 * What runs when its machine ceases to meet the constraints stays, as everybody's tasks do. The
 * job lives until it is killed, for a machine may come at any time.
 */
#include "cell_write.h"

bool system_wants(struct job *job, const struct machine *machine)
{
    const struct clauses *clauses = &job->spec.constraints;
    if (machine->state != MACHINE_UP || machine->draining)
        return false;
    if (clauses->count == 0)
        return true;
    struct subject subject = machine_subject(machine);
    return matcher_failing(job_matcher(job), &subject) == clauses->count;
}

int system_check(const struct cell *cell, const struct job_spec *spec, struct err *err)
{
    uint64_t units = clauses_units(&spec->constraints), machines = cell->machine_count;
    if (units * machines <= SYSTEM_UNITS_MAX)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "job \"%s\": its constraints take %" PRIu64
                   " units to judge a machine, and with "
                   "%" PRIu64 " machines a job on every machine may have %" PRIu64
                   " (a term takes 8, a value 1, a state of a regular expression 16): ask for less",
                   spec->name, units, machines, SYSTEM_UNITS_MAX / machines);
}

uint32_t system_count(const struct cell *cell, const struct job_spec *spec, bool *ret_wanted)
{
    struct job job = {.spec = *spec}; /* only to ask */
    uint32_t count = 0;
    for (uint32_t m = 0; m < cell->machine_count; m++) {
        ret_wanted[m] = system_wants(&job, cell->machines[m]);
        count += ret_wanted[m];
    }
    matcher_free(job.matcher);
    return count;
}

static void review(struct apply *a, struct job *job, const struct machine *machine, bool wanted)
{
    struct task *task = &job->tasks[machine->id.v - 1];
    if (task->state != (wanted ? TASK_UNWANTED : TASK_PENDING))
        return;
    struct task next = *task;
    next.state = wanted ? TASK_PENDING : TASK_UNWANTED;
    next.not_before_ms = 0;
    if (wanted)
        next.cause = CAUSE_NONE; /* else a drain long ago would count as a disruption now */
    task_set(a, task, &next);
}

void system_start(struct apply *a, struct job *job, const bool *wanted)
{
    list_push(&a->cell->system_jobs, &job->system);
    for (uint32_t m = 0; m < a->cell->machine_count; m++)
        review(a, job, a->cell->machines[m], wanted[m]);
}

uint32_t system_job_count(const struct cell *cell)
{
    uint32_t count = 0;
    LIST_EACH(l, &cell->system_jobs)
    count++;
    return count;
}

void system_machine_added(struct apply *a)
{
    LIST_EACH(l, &a->cell->system_jobs)
    job_add_replica(a, CONTAINER_OF(l, struct job, system));
}

void system_machine_changed(struct apply *a, const struct machine *machine)
{
    LIST_EACH(l, &a->cell->system_jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, system);
        review(a, job, machine, system_wants(job, machine));
    }
}
