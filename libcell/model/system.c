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

uint32_t system_count(const struct cell *cell, const struct job_spec *spec)
{
    struct job job = {.spec = *spec}; /* only to ask */
    uint32_t count = 0;
    for (uint32_t m = 0; m < cell->machine_count; m++)
        count += system_wants(&job, cell->machines[m]);
    matcher_free(job.matcher);
    return count;
}

static void review(struct apply *a, struct job *job, const struct machine *machine)
{
    struct task *task = &job->tasks[machine->id.v - 1];
    bool wanted = system_wants(job, machine);
    if (task->state != (wanted ? TASK_UNWANTED : TASK_PENDING))
        return;
    struct task next = *task;
    next.state = wanted ? TASK_PENDING : TASK_UNWANTED;
    next.not_before_ms = 0;
    if (wanted)
        next.cause = CAUSE_NONE; /* else a drain long ago would count as a disruption now */
    task_set(a, task, &next);
}

void system_start(struct apply *a, struct job *job)
{
    list_push(&a->cell->system_jobs, &job->system);
    for (uint32_t m = 0; m < a->cell->machine_count; m++)
        review(a, job, a->cell->machines[m]);
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

/* What has ended there has not on the machine that gets the row. */
void system_machine_removed(struct apply *a, const struct machine *machine)
{
    LIST_EACH(l, &a->cell->system_jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, system);
        struct task *task = &job->tasks[machine->id.v - 1];
        struct task next = *task;
        ASSERT(!task_is_live(task));
        next.state = TASK_UNWANTED;
        next.not_before_ms = 0;
        next.misstarts = 0;
        task_forgive(&next);
        task_set(a, task, &next);
    }
}

void system_machine_changed(struct apply *a, const struct machine *machine)
{
    LIST_EACH(l, &a->cell->system_jobs)
    review(a, CONTAINER_OF(l, struct job, system), machine);
}
