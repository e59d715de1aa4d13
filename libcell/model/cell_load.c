/*
 * cell_load.c - a cell from the rows of a checkpoint.
 *
 * What is stored is taken as it is, if it is right by itself and beside the rows around it
 * (cell_rows.c); what follows from it (sums, counts, lists, hashes) is computed
 * once at the end, so a checkpoint cannot smuggle in sums that do not hold.
 */
#include "cell_write.h"

#include "fields.h"

#include <stdlib.h>
#include <string.h>

int cell_load_machine(struct cell *cell, const struct machine *row, struct err *err)
{
    if (row->id.v != cell->machine_count + 1)
        return err_set(err, ERR_CORRUPT, "machine %u: the rows before it end at %u", row->id.v,
                       cell->machine_count);
    if (machine_row_check(cell, row, err) != 0)
        return -ERR_CORRUPT;
    bool is_row_only = row->state == MACHINE_REMOVED;
    if (!is_row_only && cell_machine_named(cell, row->name) != NULL)
        return err_set(err, ERR_CORRUPT, "machine %u: its name \"%.63s\" is taken", row->id.v,
                       row->name);
    struct machine *machine = cell_add_row(cell);
    if (!is_row_only)
        cell_name_machine(cell, machine, row->name);
    machine_describe(machine, &row->attributes, &row->labels);
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
    struct job settled = *row;   /* borrows its words */
    settled.limit_old_count = 0; /* they come next */
    if (spec_settle(cell, &settled.spec, &why) != 0)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": %s", row->id.v, why.msg);
    if (job_row_check(cell, &settled, err) != 0)
        return -ERR_CORRUPT;
    struct job *job = cell_add_job(cell, row->id, &settled.spec);
    cell_grow_job(cell, job, row->task_count);
    record_copy_stored(&job_record, job, row);
    for (uint32_t i = 0; i < job->task_count; i++)
        job->tasks[i].changed_ms = row->submitted_ms;
    return 0;
}

int cell_load_limit_old(struct cell *cell, job_id id, const struct resources *limit,
                        struct err *err)
{
    struct job *job = job_find(cell, id);
    if (job == NULL || job->limit_old_count == JOB_LIMITS_OLD_MAX)
        return err_set(err, ERR_CORRUPT, "job %" PRIu64 ": an old limit of none, or too many",
                       id.v);
    job->limits_old[job->limit_old_count++] = *limit;
    return job_row_check(cell, job, err);
}

int cell_load_task(struct cell *cell, const struct task *row, struct err *err)
{
    struct task *task = task_find(cell, row->id);
    if (task == NULL)
        return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%u: no such job or index",
                       task_job(row->id).v, task_index(row->id));
    struct list link = task->link, waiting = task->waiting; /* to themselves until load_done */
    *task = *row;
    task->link = link;
    task->waiting = waiting;
    return 0;
}

int cell_load_quota(struct cell *cell, const struct quota *row, struct err *err)
{
    if (quota_row_check(cell, row, err) != 0)
        return -ERR_CORRUPT;
    if (cell_quota(cell, row->user, row->band) != NULL)
        return err_set(err, ERR_CORRUPT, "the quota of \"%s\" in band %s is there twice", row->user,
                       band_text(row->band));
    cell_put_quota(cell, row);
    return 0;
}

int cell_load_request(struct cell *cell, uint64_t seq, const struct remembered *row,
                      struct err *err)
{
    const struct remembered *there =
        cell->requests == NULL ? NULL : &cell->requests[seq % CELL_REQUESTS_MAX];
    if (row->request_id[0] == 0 && row->request_id[1] == 0)
        return err_set(err, ERR_CORRUPT, "request %" PRIu64 ": it has no id", seq);
    if (there != NULL &&
        (seq != cell->request_seq + 1 || there->request_id[0] != 0 || there->request_id[1] != 0))
        return err_set(err, ERR_CORRUPT,
                       "request %" PRIu64 ": the one before it is %" PRIu64 ", and at most %d are "
                       "remembered",
                       seq, cell->request_seq, CELL_REQUESTS_MAX);
    cell_remember(cell, seq, row);
    return 0;
}

static int derive_task(struct cell *cell, struct job *job, struct task *task, struct err *err)
{
    if (task_row_check(cell, job, task, err) != 0)
        return -ERR_CORRUPT;
    job->counts[task->state]++;
    if (task->state == TASK_UNWANTED) /* cell_grow_job() took all for pending */
        account_remove(cell, &job->spec, 1);
    job->stopping += task->stopping != CAUSE_NONE;
    job->disrupted += task_is_disrupted(task);
    job->outdated += task_is_outdated(task);
    task->row_hash = task_row_hash(task);
    cell->digest_sum += task->row_hash;
    job->tasks_hash += task->row_hash;
    if (task->not_before_ms != 0)
        list_push(cell_backoff_slot(cell, task->not_before_ms), &task->waiting);
    if (task_is_live(task)) {
        struct machine *machine = machine_find(cell, task->machine);
        list_push(&machine->tasks, &task->link);
        machine_count(machine, job, task, 1);
    }
    return 0;
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
    job->counts[TASK_PENDING] = 0; /* cell_grow_job() took all for pending */
    for (uint32_t i = 0; i < job->task_count; i++)
        if (derive_task(cell, job, &job->tasks[i], err) != 0)
            return -ERR_CORRUPT;
    cell->pending_tasks += job->counts[TASK_PENDING];
    cell_list_updating(cell, job);
    if (job_tasks_check(cell, job, err) != 0)
        return -ERR_CORRUPT;
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
    if (machine_tasks_check(cell, machine, err) != 0)
        return -ERR_CORRUPT;
    machine->row_hash = machine_row_hash(machine);
    cell->digest_sum += machine->row_hash;
    cell_list_clearing(cell, machine);
    return 0;
}

/* Once all accounts are known: a task may be missing where it is wanted only for the quota. */
static int derive_over_quota(struct cell *cell, struct err *err)
{
    LIST_EACH(l, &cell->system_jobs)
    {
        struct job *job = CONTAINER_OF(l, struct job, system);
        for (uint32_t i = 0; i < job->task_count; i++)
            job->over_quota |=
                job->tasks[i].state == TASK_UNWANTED && system_wants(job, cell->machines[i]);
        if (job->over_quota && system_may_grow(cell, job, NULL))
            return err_set(err, ERR_CORRUPT,
                           "job %" PRIu64 ": a task does not wait where it is wanted", job->id.v);
    }
    cell->quota_eased = false;
    return 0;
}

/* Once all tasks are where they are. */
static void derive_whereabouts(struct cell *cell)
{
    uint32_t units = UINT32_MAX;
    LIST_EACH(l, &cell->jobs)
    if (!job_is_dead(CONTAINER_OF(l, struct job, link)))
        asks_add(cell, CONTAINER_OF(l, struct job, link));
    LIST_EACH(l, &cell->jobs)
    while (!asks_count(cell, CONTAINER_OF(l, struct job, link), &units))
        units = UINT32_MAX;
}

int cell_load_done(struct cell *cell, struct err *err)
{
    for (uint32_t i = 0; i < cell->machine_count; i++)
        derive_left(cell, cell->machines[i]);
    LIST_EACH(l, &cell->jobs)
    {
        int rc = derive_job(cell, CONTAINER_OF(l, struct job, link), err);
        if (rc != 0)
            return rc;
    }
    int over = derive_over_quota(cell, err);
    if (over != 0)
        return over;
    derive_dead_jobs(cell);
    derive_whereabouts(cell);
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        int rc = derive_machine(cell, cell->machines[i], err);
        if (rc != 0)
            return rc;
    }
    return cell_scalars_check(cell, err);
}
