/*
 * cell_load.c - a cell from the rows of a checkpoint.
 *
 * What is stored is taken as it is; what follows from it (sums, counts, lists, hashes) is computed
 * once at the end, so a checkpoint cannot smuggle in sums that do not hold.
 */
#include "cell_write.h"

#include "attributes.h"

#include <stdlib.h>

/* What a machine is beside its name, state and size. */
static const char *machine_row_wrong(const struct machine *row, bool is_row_only)
{
    struct resources none = {{0}};
    if (!is_row_only && !address_valid(row->addr))
        return "its address is none";
    if (is_row_only &&
        (row->draining || row->instance != 0 || row->sick_rounds != 0 || row->left_count != 0 ||
         row->attributes.count != 0 || row->faults[0].v != 0 || row->addr[0] != '\0' ||
         !resources_fit(&row->capacity, &none)))
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

int cell_load_machine(struct cell *cell, const struct machine *row, struct err *err)
{
    if (row->id.v != cell->machine_count + 1)
        return err_set(err, ERR_CORRUPT, "machine %u: the rows before it end at %u", row->id.v,
                       cell->machine_count);
    bool is_row_only = row->state == MACHINE_REMOVED && row->name[0] == '\0';
    if (!is_row_only && (!name_valid(row->name) || cell_machine_named(cell, row->name) != NULL))
        return err_set(err, ERR_CORRUPT, "machine %u: its name \"%.63s\" is bad or taken",
                       row->id.v, row->name);
    if (row->state >= MACHINE_STATE_COUNT || (row->state == MACHINE_REMOVED) != is_row_only)
        return err_set(err, ERR_CORRUPT, "machine %u: state %d is none", row->id.v,
                       (int)row->state);
    struct err why;
    if (capacity_valid(&row->capacity, &cell->resource_names, &why) != 0)
        return err_set(err, ERR_CORRUPT, "machine %u: %s", row->id.v, why.msg);
    if (attributes_valid(&row->attributes, &why) != 0)
        return err_set(err, ERR_CORRUPT, "machine %u: %s", row->id.v, why.msg);
    const char *wrong = machine_row_wrong(row, is_row_only);
    if (wrong != NULL)
        return err_set(err, ERR_CORRUPT, "machine %u: %s", row->id.v, wrong);
    struct machine *machine = cell_add_row(cell);
    if (!is_row_only)
        cell_name_machine(cell, machine, row->name);
    machine_set_attributes(machine, &row->attributes);
    str_copy(machine->addr, sizeof machine->addr, row->addr);
    machine->state = row->state;
    cell->machines_up += row->state == MACHINE_UP;
    machine->draining = row->draining;
    machine->capacity = row->capacity;
    machine->instance = row->instance;
    machine->directory = row->directory;
    machine->left_foreign = row->left_foreign;
    machine->rival = row->rival;
    machine->rival_ms = row->rival_ms;
    for (int i = 0; i < MACHINE_FAULTS_MAX; i++)
        machine->faults[i] = row->faults[i];
    machine->sick_rounds = row->sick_rounds;
    machine->sick_until_ms = row->sick_until_ms;
    cell->machines_sick += machine_is_sick(machine);
    for (uint32_t i = 0; i < row->left_count; i++)
        machine_left_put(machine, row->left[i]);
    machine->changed_ms = row->changed_ms;
    return 0;
}

int cell_load_job(struct cell *cell, const struct job *row, struct err *err)
{
    struct err why;
    if (!list_empty(&cell->jobs) &&
        CONTAINER_OF(cell->jobs.prev, struct job, link)->id.v >= row->id.v)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": out of order", row->id.v);
    if (row->id.v == 0 || row->id.v >= cell->next_job || row->id.v > UINT64_MAX >> TASK_INDEX_BITS)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": ids end before %" PRIu64, row->id.v,
                       cell->next_job);
    if (spec_valid(&row->spec, &why) != 0 || row->spec.user[0] == '\0')
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": its spec is bad: %s", row->id.v,
                       row->spec.user[0] == '\0' ? "no user" : why.msg);
    if (row->task_count < row->spec.replicas || row->task_count > CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": %u tasks for %u replicas", row->id.v,
                       row->task_count, row->spec.replicas);
    struct job_spec spec = row->spec; /* borrows its words */
    if (spec_settle(cell, &spec, &why) != 0)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": %s", row->id.v, why.msg);
    struct job *job = cell_add_job(cell, row->id, &spec);
    cell_grow_job(cell, job, row->task_count);
    job->killed = row->killed;
    job->submitted_ms = row->submitted_ms;
    job->changed_ms = row->changed_ms;
    str_copy(job->reason, sizeof job->reason, row->reason);
    for (uint32_t i = 0; i < job->task_count; i++)
        job->tasks[i].changed_ms = row->submitted_ms;
    return 0;
}

int cell_load_limit_old(struct cell *cell, job_id id, const struct resources *limit,
                        struct err *err)
{
    struct job *job = job_find(cell, id);
    struct job_spec spec;
    struct err why;
    if (job == NULL || job->limit_old_count == JOB_LIMITS_OLD_MAX)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": an old limit of none, or too many",
                       id.v);
    spec = job->spec; /* borrows its words */
    spec.limit = *limit;
    if (spec_valid(&spec, &why) != 0)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": its old limit is bad: %s", id.v,
                       why.msg);
    job->limits_old[job->limit_old_count++] = *limit;
    return 0;
}

static const char *task_row_wrong(const struct cell *cell, const struct task *row)
{
    const struct machine *machine = machine_find(cell, row->machine);
    if (row->state >= TASK_STATE_COUNT)
        return "its state is none";
    if (row->cause >= CAUSE_COUNT || row->stopping >= CAUSE_COUNT)
        return "its cause is none";
    if (!task_crashes_right(cell, row))
        return "it cannot have crashed on those machines";
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        const struct reserve *reserve = &row->reserves[r];
        if (reserve->reclaimed_percent >= 100 || reserve->used < 0 ||
            reserve->used > RESOURCE_AMOUNT_MAX ||
            (reserve->reclaimed_percent > 0 && row->alloc.v != 0) ||
            (!task_is_live(row) && (reserve->reclaimed_percent > 0 || reserve->used > 0)))
            return "what it uses or what is reclaimed from it is out of range";
    }
    if (row->misstarts > 0 && row->state == TASK_RUNNING)
        return "it runs, and could not be started";
    if (!task_is_live(row))
        return row->machine.v != 0           ? "not live, but on a machine"
               : row->alloc.v != 0           ? "not live, but in an alloc"
               : row->stopping != CAUSE_NONE ? "not live, but stopping"
               : row->shape != 0             ? "not live, but in a shape"
               : row->not_before_ms != 0 && row->state != TASK_PENDING ? "final, but backing off"
                                                                       : NULL;
    if (machine == NULL || machine->state != MACHINE_UP)
        return "live, but its machine is not";
    if (row->attempt == 0)
        return "live without an attempt";
    if (!task_shape_right(job_find(cell, task_job(row->id)), row->shape))
        return "in a shape its job does not have";
    return task_holds(row) && (row->state != TASK_ASSIGNED || row->stopping != CAUSE_NONE ||
                               row->alloc.v != 0 || row->pid != 0)
               ? "live, but backing off"
               : NULL;
}

int cell_load_task(struct cell *cell, const struct task *row, struct err *err)
{
    struct task *task = task_find(cell, row->id);
    if (task == NULL)
        return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%u: no such job or index",
                       task_job(row->id).v, task_index(row->id));
    const struct job *job = job_find(cell, task_job(row->id));
    const char *wrong = task_row_wrong(cell, row);
    int64_t gpu_milli = wrong == NULL && task_is_live(row) ? task_limit(job, row)->v[RES_GPU] : 0;
    if (wrong == NULL && !devices_mask_valid(row->devices, gpu_milli))
        wrong = "its gpus are not its own";
    if (wrong != NULL)
        return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%u: %s", task_job(row->id).v,
                       task_index(row->id), wrong);
    struct list link = task->link, waiting = task->waiting; /* to themselves until load_done */
    *task = *row;
    task->link = link;
    task->waiting = waiting;
    return 0;
}

int cell_load_quota(struct cell *cell, const struct quota *row, struct err *err)
{
    struct err why;
    if (quota_valid(row, &cell->resource_names, &why) != 0)
        return err_set(err, ERR_CORRUPT, "a quota is bad: %s", why.msg);
    if (cell_quota(cell, row->user, row->band) != NULL)
        return err_set(err, ERR_CORRUPT, "the quota of \"%s\" in band %s is there twice", row->user,
                       band_text(row->band));
    cell_put_quota(cell, row);
    return 0;
}

void cell_load_request(struct cell *cell, uint64_t seq, const struct remembered *row)
{
    cell_remember(cell, seq, row);
}

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
        if (!job->killed && (task->state == TASK_PENDING || task->state == TASK_UNWANTED) &&
            system_wants(job, cell->machines[i]) != (task->state == TASK_PENDING))
            return "a task waits where it is not wanted, or does not where it is";
    }
    return NULL;
}

static void derive_task(struct cell *cell, struct job *job, struct task *task)
{
    job->counts[task->state]++;
    if (task->state == TASK_UNWANTED) /* cell_add_job() took all for pending */
        account_remove(cell, &job->spec, 1);
    job->stopping += task->stopping != CAUSE_NONE;
    job->disrupted += task_is_disrupted(task);
    job->outdated += task_is_outdated(task);
    task->row_hash = task_row_hash(task);
    cell->digest_sum += task->row_hash;
    if (task->not_before_ms != 0)
        list_push(&cell->backing_off, &task->waiting);
    if (!task_is_live(task))
        return;
    struct machine *machine = machine_find(cell, task->machine);
    list_push(&machine->tasks, &task->link);
    machine_count(machine, job, task, 1);
}

static void derive_left(struct cell *cell, const struct machine *machine)
{
    for (uint32_t i = 0; i < machine->left_count; i++) {
        struct job *job = job_find(cell, task_job(machine->left[i].task));
        if (job != NULL)
            job->unconfirmed++;
    }
}

static int derive_job(struct cell *cell, struct job *job, struct err *err)
{
    cell->pending_tasks -= job->counts[TASK_PENDING];
    job->counts[TASK_PENDING] = 0; /* cell_add_job() took all for pending */
    for (uint32_t i = 0; i < job->task_count; i++)
        derive_task(cell, job, &job->tasks[i]);
    cell->pending_tasks += job->counts[TASK_PENDING];
    cell_list_updating(cell, job);
    for (uint32_t i = job->spec.replicas; i < job->task_count; i++)
        if (!task_is_final(&job->tasks[i]) && job->tasks[i].stopping != CAUSE_KILLED)
            return err_set(err, ERR_CORRUPT,
                           "task %" PRIu64 "/%u: beyond the replicas, but not ended", job->id.v, i);
    if (job->counts[TASK_PENDING] == 0 && job->reason[0] != '\0')
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": a reason, but nothing pending",
                       job->id.v);
    if (job->killed && (job->counts[TASK_PENDING] > 0 ||
                        job->stopping != job->counts[TASK_ASSIGNED] + job->counts[TASK_RUNNING]))
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": killed, but not all tasks know",
                       job->id.v);
    if (job->spec.disruptions_max != 0 && job->disrupted > job->spec.disruptions_max)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": more is disrupted than may be",
                       job->id.v);
    if (!job_is_dead(job) && cell_job_named(cell, job->spec.name) != job)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": live, but \"%s\" is a newer one",
                       job->id.v, job->spec.name);
    const char *wrong = system_job_wrong(cell, job);
    if (wrong != NULL)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": %s", job->id.v, wrong);
    if (job->spec.every_machine && !job->killed)
        list_push(&cell->system_jobs, &job->system);
    job->row_hash = job_row_hash(job);
    cell->digest_sum += job->row_hash;
    return 0;
}

static int by_death(const void *x, const void *y)
{
    const struct job *a = *(struct job *const *)x;
    const struct job *b = *(struct job *const *)y;
    if (a->changed_ms != b->changed_ms)
        return a->changed_ms < b->changed_ms ? -1 : 1;
    return a->id.v < b->id.v ? -1 : a->id.v > b->id.v;
}

/* In order: cell_add_dead() is quick for the one that died last, and only for that. */
static void derive_dead_jobs(struct cell *cell)
{
    CLEANUP(free_ptr) struct job **dead = xcalloc(cell->job_count, sizeof(struct job *));
    size_t count = 0;
    LIST_EACH(l, &cell->jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, link);
        if (job_is_dead(job))
            dead[count++] = job;
    }
    qsort(dead, count, sizeof(struct job *), by_death);
    for (size_t i = 0; i < count; i++)
        cell_add_dead(cell, dead[i]);
}

static int derive_machine(struct cell *cell, struct machine *machine, struct err *err)
{
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        const char *wrong = alloc_wrong(cell, task);
        if (wrong != NULL)
            return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%u: %s", task_job(task->id).v,
                           task_index(task->id), wrong);
    }
    if (!machine_is_sound(machine))
        return err_set(err, ERR_CORRUPT, "machine %u: its tasks exceed its capacity",
                       machine->id.v);
    if (!machine_devices_sound(cell, machine))
        return err_set(err, ERR_CORRUPT, "machine %u: its tasks exceed its gpus", machine->id.v);
    if (machine->state == MACHINE_REMOVED && machine->task_count > 0)
        return err_set(err, ERR_CORRUPT, "machine %u: it is removed, and has tasks", machine->id.v);
    machine->row_hash = machine_row_hash(machine);
    cell->digest_sum += machine->row_hash;
    cell_list_uneasy(cell, machine);
    return 0;
}

int cell_load_done(struct cell *cell, struct err *err)
{
    if (cell->settings.policy >= POLICY_COUNT || cell->settings.hold >= HOLD_COUNT)
        return err_set(err, ERR_CORRUPT, "the cell's policy or hold is none");
    if (masters_valid(&cell->settings.masters, err) != 0)
        return err_set(err, ERR_CORRUPT, "its replicas contradict each other");
    for (uint32_t i = 0; i < cell->machine_count; i++)
        derive_left(cell, cell->machines[i]);
    LIST_EACH(l, &cell->jobs)
    {
        int rc = derive_job(cell, CONTAINER_OF(l, struct job, link), err);
        if (rc != 0)
            return rc;
    }
    derive_dead_jobs(cell);
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        int rc = derive_machine(cell, cell->machines[i], err);
        if (rc != 0)
            return rc;
    }
    if (cell->live_tasks > CELL_TASKS_MAX || cell->job_count > CELL_JOBS_MAX ||
        cell->machine_count > CELL_MACHINES_MAX || cell->quota_count > CELL_QUOTAS_MAX)
        return err_set(err, ERR_CORRUPT, "more rows than a cell may have");
    return 0;
}
