/*
 * cell_rows.c - what the rows of a cell must be, each by itself and beside the others.
 *
 * One list for two: loading refuses what does not hold (cell_load.c), cell_check() panics. What
 * only follows from rows (sums, counts, lists, hashes) is computed by loading, so it is not here.
 */
#include "cell_write.h"

#include "attributes.h"

#include <string.h>

static int machine_wrong(const struct machine *machine, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "machine %" PRIu32 ": %s", machine->id.v, what);
}

static int job_wrong(const struct job *job, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": %s", job->id.v, what);
}

/* What a machine is beside its name, state and size. */
static const char *machine_row_wrong(const struct machine *row, bool is_row_only)
{
    struct resources none = {{0}};
    if (!is_row_only && !address_valid(row->addr))
        return "its address is none";
    if (is_row_only &&
        (row->draining || row->instance != 0 || row->sick_rounds != 0 || row->left_count != 0 ||
         row->attributes.count != 0 || row->labels.count != 0 || row->faults[0].v != 0 ||
         row->addr[0] != '\0' || !resources_fit(&row->capacity, &none)))
        return "it is removed, but there is something of it";
    if (row->sick_until_ms != 0 && row->sick_rounds == 0)
        return "it is sick, and was never";
    if (row->left_count > MACHINE_LEFT_MAX || row->left_foreign > row->left_count)
        return "too many attempts were left there";
    for (int i = 1; i < MACHINE_FAULTS_MAX; i++)
        if (row->faults[i].v != 0 && row->faults[i - 1].v == 0)
            return "its faults are out of order";
    return NULL;
}

int machine_row_check(const struct cell *cell, const struct machine *machine, struct err *err)
{
    struct err why;
    bool is_row_only = machine->state == MACHINE_REMOVED && machine->name[0] == '\0';
    if (!is_row_only && !name_valid(machine->name))
        return err_set(err, ERR_CORRUPT, "machine %" PRIu32 ": \"%.63s\" is no name", machine->id.v,
                       machine->name);
    if (machine->state >= MACHINE_STATE_COUNT || (machine->state == MACHINE_REMOVED) != is_row_only)
        return machine_wrong(machine, "its state is none", err);
    if (machine->changed_ms > cell->now_ms)
        return machine_wrong(machine, "it changed later than now", err);
    if (capacity_valid(&machine->capacity, &cell->resource_names, &why) != 0 ||
        attributes_valid(&machine->attributes, &why) != 0 ||
        attributes_valid(&machine->labels, &why) != 0)
        return machine_wrong(machine, why.msg, err);
    const char *wrong = machine_row_wrong(machine, is_row_only);
    return wrong == NULL ? 0 : machine_wrong(machine, wrong, err);
}

/* Amounts in the slots of named resources count what the cell calls so. */
static bool names_are_of_cell(const struct cell *cell, const struct job *job)
{
    struct resources most = spec_limit_max(&job->spec);
    for (uint32_t i = 0; i < job->limit_old_count; i++)
        for (enum resource r = RES_NAMED; r < RES_COUNT; r++)
            most.v[r] = MAX(most.v[r], job->limits_old[i].v[r]);
    for (int i = 0; i < RESOURCES_NAMED_MAX; i++) {
        const char *name = job->spec.resource_names.text[i];
        bool used = most.v[RES_NAMED + i] > 0;
        if (used ? name[0] == '\0' || strcmp(name, cell->resource_names.text[i]) != 0
                 : name[0] != '\0')
            return false;
    }
    return true;
}

static int limits_old_check(const struct job *job, struct err *err)
{
    struct err why;
    struct job_spec spec = job->spec; /* borrows its words */
    if (job->limit_old_count > JOB_LIMITS_OLD_MAX)
        return job_wrong(job, "too many old limits", err);
    for (uint32_t i = 0; i < job->limit_old_count; i++) {
        spec.limit = job->limits_old[i];
        if (spec_valid(&spec, &why) != 0)
            return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": its old limit is bad: %s", job->id.v,
                           why.msg);
    }
    return 0;
}

int job_row_check(const struct cell *cell, const struct job *job, struct err *err)
{
    struct err why;
    if (job->id.v == 0 || job->id.v >= cell->next_job || job->id.v > UINT64_MAX >> TASK_INDEX_BITS)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": ids end before %" PRIu64, job->id.v,
                       cell->next_job);
    if (spec_valid(&job->spec, &why) != 0)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": its spec is bad: %s", job->id.v,
                       why.msg);
    if (job->spec.user[0] == '\0')
        return job_wrong(job, "its spec is bad: no user", err);
    if (job->task_count < job->spec.replicas || job->task_count > CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_CORRUPT,
                       "job %" PRIu64 ": %" PRIu32 " tasks for %" PRIu32 " replicas", job->id.v,
                       job->task_count, job->spec.replicas);
    if (job->submitted_ms > cell->now_ms || job->changed_ms > cell->now_ms)
        return job_wrong(job, "it changed later than now", err);
    if (limits_old_check(job, err) != 0)
        return -ERR_CORRUPT;
    if (!names_are_of_cell(cell, job))
        return job_wrong(job, "its limits count resources that the cell has other names for", err);
    return 0;
}

bool task_crashes_right(const struct cell *cell, const struct task *task)
{
    const machine_id *on = task->crashed_on;
    bool right = task->failures > 0 || task->misstarts > 0 || on[0].v == 0;
    for (int i = 0; i < TASK_CRASHES_MAX; i++) {
        right &= on[i].v <= cell->machine_count && (i == 0 || on[i].v == 0 || on[i - 1].v != 0);
        for (int j = 0; j < i; j++)
            right &= on[i].v == 0 || on[i].v != on[j].v;
    }
    return right;
}

static bool reserves_are_right(const struct task *task)
{
    bool live = task_is_live(task), right = true;
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        const struct reserve *reserve = &task->reserves[r];
        right &= reserve->reclaimed_percent < 100;
        right &= reserve->used >= 0 && reserve->used <= RESOURCE_AMOUNT_MAX;
        right &= reserve->reclaimed_percent == 0 || (live && task->alloc.v == 0);
        right &= reserve->used == 0 || live;
    }
    return right;
}

static const char *resting_wrong(const struct task *task)
{
    return task->machine.v != 0           ? "not live, but on a machine"
           : task->alloc.v != 0           ? "not live, but in an alloc"
           : task->stopping != CAUSE_NONE ? "not live, but stopping"
           : task->shape != 0             ? "not live, but in a shape"
           : task->restart                ? "not live, but to be restarted"
           : task->pid != 0               ? "not live, but with a process"
           : task->not_before_ms != 0 && task->state != TASK_PENDING ? "final, but backing off"
                                                                     : NULL;
}

static const char *live_wrong(const struct cell *cell, const struct job *job,
                              const struct task *task)
{
    const struct machine *machine = machine_find(cell, task->machine);
    return machine == NULL || machine->state != MACHINE_UP ? "live, but its machine is not"
           : task->attempt == 0                            ? "live without an attempt"
           : !task_shape_right(job, task->shape)           ? "in a shape its job does not have"
           : task_holds(task) && (task->state != TASK_ASSIGNED || task->stopping != CAUSE_NONE ||
                                  task->alloc.v != 0 || task->pid != 0)
               ? "live, but backing off"
               : NULL;
}

static const char *task_wrong(const struct cell *cell, const struct job *job,
                              const struct task *task)
{
    bool live = task_is_live(task);
    const char *wrong = live ? live_wrong(cell, job, task) : resting_wrong(task);
    if (wrong != NULL)
        return wrong;
    if (task->misstarts > 0 && task->state == TASK_RUNNING)
        return "it runs, and could not be started";
    if (!task_crashes_right(cell, task))
        return "it cannot have crashed on those machines";
    if (!reserves_are_right(task))
        return "what it uses or what is reclaimed from it is out of range";
    if (!devices_mask_valid(task->devices, live ? task_limit(job, task)->v[RES_GPU] : 0))
        return "its gpus are not its own";
    if (job->spec.failures_max != 0 && task->failures > job->spec.failures_max)
        return "it failed more often than it may";
    if (job->killed && (task->state == TASK_PENDING || (live && task->stopping != CAUSE_KILLED)))
        return "its job is killed, but it does not know";
    if (task_index(task->id) >= job->spec.replicas && !task_is_final(task) &&
        task->stopping != CAUSE_KILLED)
        return "beyond the replicas, but not ended";
    return task->changed_ms > cell->now_ms ? "it changed later than now" : NULL;
}

int task_row_check(const struct cell *cell, const struct job *job, const struct task *task,
                   struct err *err)
{
    const char *wrong = task->state >= TASK_STATE_COUNT ? "its state is none"
                        : task->cause >= CAUSE_COUNT || task->stopping >= CAUSE_COUNT
                            ? "its cause is none"
                            : task_wrong(cell, job, task);
    return wrong == NULL ? 0
                         : err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%" PRIu32 ": %s", job->id.v,
                                   task_index(task->id), wrong);
}

/* Of a job on every machine each task belongs on its machine, and waits only where it is wanted. */
static const char *system_job_wrong(const struct cell *cell, struct job *job)
{
    if (!job->spec.every_machine)
        return job->counts[TASK_UNWANTED] > 0 ? "a task is unwanted" : NULL;
    if (job->task_count != job->spec.replicas || job->task_count > cell->machine_count ||
        (!job->killed && job->task_count < cell->machine_count))
        return "its tasks are not those of every machine";
    for (uint32_t i = 0; i < job->task_count; i++) {
        const struct task *task = &job->tasks[i];
        if (task_is_live(task) && task->machine.v != i + 1)
            return "a task is not on its machine";
        if (!job->killed && task->state == TASK_PENDING && !system_wants(job, cell->machines[i]))
            return "a task waits where it is not wanted";
    }
    return NULL;
}

int job_tasks_check(const struct cell *cell, struct job *job, struct err *err)
{
    if (job->counts[TASK_PENDING] == 0 && job->reason[0] != '\0')
        return job_wrong(job, "a reason, but nothing pending", err);
    if (!job_is_dead(job) && cell_job_named(cell, job->spec.name) != job)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": live, but \"%s\" is a newer one",
                       job->id.v, job->spec.name);
    if (strcmp(cell_job_named(cell, job->spec.name)->spec.user, job->spec.user) != 0)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": another user has a newer \"%s\"",
                       job->id.v, job->spec.name);
    const char *wrong = system_job_wrong(cell, job);
    return wrong == NULL ? 0 : job_wrong(job, wrong, err);
}

int machine_tasks_check(const struct cell *cell, const struct machine *machine, struct err *err)
{
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const char *wrong = alloc_wrong(cell, task);
        if (wrong != NULL)
            return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%" PRIu32 ": %s",
                           task_job(task->id).v, task_index(task->id), wrong);
    }
    if (machine->state == MACHINE_REMOVED && machine->task_count > 0)
        return machine_wrong(machine, "it is removed, and has tasks", err);
    if (!machine_is_sound(machine))
        return machine_wrong(machine, "its tasks exceed its capacity", err);
    if (!machine_devices_sound(cell, machine))
        return machine_wrong(machine, "its tasks exceed its gpus", err);
    return 0;
}

int quota_row_check(const struct cell *cell, const struct quota *quota, struct err *err)
{
    struct err why;
    if (quota_valid(quota, &cell->resource_names, &why) != 0)
        return err_set(err, ERR_CORRUPT, "a quota is bad: %s", why.msg);
    for (enum resource r = RES_NAMED; r < RES_COUNT; r++)
        if (quota->limit.v[r] != QUOTA_UNLIMITED &&
            cell->resource_names.text[r - RES_NAMED][0] == '\0')
            return err_set(err, ERR_CORRUPT, "the quota of \"%s\" is of a resource without a name",
                           quota->user);
    return 0;
}

int cell_scalars_check(const struct cell *cell, struct err *err)
{
    if (cell->settings.policy >= POLICY_COUNT || cell->settings.hold >= HOLD_COUNT)
        return err_set(err, ERR_CORRUPT, "the cell's policy or hold is none");
    if (!cell_can_begin_again(cell))
        return err_set(err, ERR_CORRUPT, "its time, or a number it counts with, is too large");
    if (masters_valid(&cell->settings.masters, NULL) != 0)
        return err_set(err, ERR_CORRUPT, "its replicas contradict each other");
    if (resource_names_valid(&cell->resource_names, NULL) != 0)
        return err_set(err, ERR_CORRUPT, "the names of its resources are bad");
    if (cell->live_tasks > CELL_TASKS_MAX || cell->job_count > CELL_JOBS_MAX ||
        cell->machine_count > CELL_MACHINES_MAX || cell->quota_count > CELL_QUOTAS_MAX ||
        cell->dead_job_count > CELL_JOBS_DEAD_MAX || cell->identity_count > CELL_IDENTITIES_MAX)
        return err_set(err, ERR_CORRUPT, "more rows than a cell may have");
    return 0;
}
