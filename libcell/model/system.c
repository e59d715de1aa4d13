/*
 * system.c - jobs that run on every machine.
 *
 * Such a job has a task per machine there is: task I belongs on machine I + 1 and nowhere else. A
 * task is wanted while its machine is up, not draining and meets the hard constraints; else it is
 * UNWANTED, which asks for nothing: it does not wait, and its user's quota does not pay for it.
 * Where one more would be over that quota, for machines came since the job was submitted, the task
 * is UNWANTED, too, until the quota eases. What runs when its machine ceases to meet the
 * constraints stays, as everybody's tasks do. The job lives until it is killed, for a machine may
 * come at any time.
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

enum { JUDGE_UNITS = 256 }; /* of clauses_units(): about what another row takes */

static uint64_t judge_units(const struct job_spec *spec)
{
    return 1 + clauses_units(&spec->constraints) / JUDGE_UNITS;
}

uint32_t system_judge(struct apply *a, const struct job_spec *spec, uint32_t from, bool *ret_wanted)
{
    struct job job = {.spec = *spec}; /* only to ask */
    uint64_t units = judge_units(spec);
    uint32_t m = from;
    for (; m < a->cell->machine_count && a->units > 0; m++) {
        ret_wanted[m] = system_wants(&job, a->cell->machines[m]);
        units_spend(a, units);
    }
    matcher_free(job.matcher);
    return m;
}

bool system_may_grow(const struct cell *cell, const struct job *job, struct err *err)
{
    return quota_check(cell, &job->spec, job_accounted(job) + 1, job, err) == 0;
}

static void make(struct apply *a, struct task *task, enum task_state state)
{
    struct task next = *task;
    next.state = state;
    next.not_before_ms = 0;
    if (state == TASK_PENDING)
        next.cause = CAUSE_NONE; /* else a drain long ago would count as a disruption now */
    task_set(a, task, &next);
}

static void refuse(struct apply *a, struct job *job, const struct machine *machine,
                   const struct err *why)
{
    struct event *event = event_add_job(a, EVENT_WAITING, job);
    event->machine = machine->id;
    str_copy(event->detail, sizeof event->detail, why->msg);
    job->over_quota = true;
}

static void review(struct apply *a, struct job *job, const struct machine *machine, bool wanted)
{
    struct task *task = &job->tasks[machine->id.v - 1];
    struct err why;
    if (task->state != (wanted ? TASK_UNWANTED : TASK_PENDING))
        return;
    if (wanted && !system_may_grow(a->cell, job, &why))
        refuse(a, job, machine, &why);
    else
        make(a, task, wanted ? TASK_PENDING : TASK_UNWANTED);
}

/* By machine, as far as the quota goes: one task costs as much as another. */
static bool retry(struct apply *a, struct job *job, struct apply_step *step)
{
    uint64_t units = judge_units(&job->spec);
    for (; step_goes_on(a, step); step->at++) {
        struct task *task = &job->tasks[step->at];
        units_spend(a, task->state == TASK_UNWANTED ? units : 1);
        if (task->state != TASK_UNWANTED || !system_wants(job, a->cell->machines[step->at]))
            continue;
        if (!system_may_grow(a->cell, job, NULL))
            return true;
        make(a, task, TASK_PENDING);
    }
    if (step->at < step->to)
        return false;
    job->over_quota = false;
    return true;
}

bool system_retry(struct apply *a)
{
    struct apply_step *step = &a->retry;
    struct list *head = &a->cell->system_jobs;
    if (!a->cell->quota_eased)
        return true;
    if (step->place == NULL)
        *step = (struct apply_step){.place = head->next};
    for (; step->place != head; step->place = step->place->next, step->job = NULL) {
        struct job *job = CONTAINER_OF(step->place, struct job, system);
        if (a->units == 0)
            return false;
        if (step->job == NULL)
            units_spend(a, 1);
        if (step->job == NULL && (!job->over_quota || !system_may_grow(a->cell, job, NULL)))
            continue;
        if (step->job == NULL)
            *step = (struct apply_step){.place = step->place, .job = job, .to = job->task_count};
        if (!retry(a, job, step))
            return false;
    }
    a->cell->quota_eased = false;
    return true;
}

uint32_t cell_over_quota(const struct cell *cell, const struct job *job, struct err *why)
{
    uint32_t count = 0;
    if (!job->spec.every_machine || job->killed || system_may_grow(cell, job, why))
        return 0;
    for (uint32_t m = 0; m < job->task_count; m++)
        count += job->tasks[m].state == TASK_UNWANTED &&
                 system_wants(job_find(cell, job->id), cell->machines[m]);
    return count;
}

uint32_t system_start(struct apply *a, struct job *job, uint32_t from, const bool *wanted)
{
    uint32_t m = from;
    if (m == 0)
        list_push(&a->cell->system_jobs, &job->system);
    for (; m < job->task_count && a->units > 0; m++) {
        review(a, job, a->cell->machines[m], wanted[m]);
        units_spend(a, 1);
    }
    return m;
}

uint32_t system_job_count(const struct cell *cell)
{
    uint32_t count = 0;
    LIST_EACH(l, &cell->system_jobs)
    count++;
    return count;
}

/* Not wanted before it was looked at: system_machine_changed() comes next. */
void system_machine_added(struct apply *a)
{
    bool eased = a->cell->quota_eased;
    LIST_EACH(l, &a->cell->system_jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, system);
        job_add_replica(a, job);
        make(a, &job->tasks[job->task_count - 1], TASK_UNWANTED);
    }
    a->cell->quota_eased = eased; /* what came goes again */
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
        task_reset_failures(&next);
        task_set(a, task, &next);
    }
}

void system_machine_changed(struct apply *a, const struct machine *machine)
{
    LIST_EACH(l, &a->cell->system_jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, system);
        review(a, job, machine, system_wants(job, machine));
    }
}
