/*
 * cell_check.c - every invariant of the cell: rows as loading wants them (cell_rows.c), and all
 * that follows from them recomputed the slow way.
 */
#include "cell_write.h"

#include <string.h>

/* What the walk over jobs adds up, to be compared with the sums kept. */
struct sums {
    uint64_t machines_up, machines_removed, machines_sick, unconfirmed;
    uint64_t digest, live_tasks, pending_tasks, dead_jobs, jobs, backing_off, live_on_machines;
};

/* What loading would refuse may not be there. */
static void must(int rv, const struct err *err)
{
    if (rv != 0)
        PANIC("the cell: %s", err->msg);
}

static void check_task(const struct cell *cell, const struct job *job, uint32_t index,
                       struct sums *sums)
{
    const struct task *task = &job->tasks[index];
    bool live = task_is_live(task);
    struct err err;
    ASSERT(task->id.v == task_id_of(job->id, index).v);
    must(task_row_check(cell, job, task, &err), &err);
    ASSERT(task->row_hash == task_row_hash(task));
    ASSERT(list_empty(&task->link) == !live);
    ASSERT(list_empty(&task->waiting) == (task->not_before_ms == 0));
    sums->digest += task->row_hash;
    sums->backing_off += task->not_before_ms != 0;
    sums->live_on_machines += live;
}

/* What a job on every machine lacks, it lacks for the quota of its user. */
static void check_system_job(const struct cell *cell, const struct job *job)
{
    ASSERT(list_empty(&job->system) == (!job->spec.every_machine || job->killed));
    for (uint32_t i = 0; i < job->task_count && !list_empty(&job->system); i++) {
        bool lacks = job->tasks[i].state == TASK_UNWANTED &&
                     system_wants(job_find(cell, job->id), cell->machines[i]);
        ASSERT_IMPLIES(lacks, job->over_quota);
        ASSERT_IMPLIES(lacks, !system_may_grow(cell, job, NULL));
    }
}

static void check_job(const struct cell *cell, const struct job *job, struct sums *sums)
{
    uint32_t counts[TASK_STATE_COUNT] = {0};
    uint32_t stopping = 0;
    uint32_t disrupted = 0;
    uint32_t outdated = 0;
    uint64_t tasks_hash = 0;
    struct err err;
    must(job_row_check(cell, job, &err), &err);
    for (uint32_t i = 0; i < job->task_count; i++) {
        check_task(cell, job, i, sums);
        counts[job->tasks[i].state]++;
        stopping += job->tasks[i].stopping != CAUSE_NONE;
        disrupted += task_is_disrupted(&job->tasks[i]);
        outdated += task_is_outdated(&job->tasks[i]);
        tasks_hash += job->tasks[i].row_hash;
    }
    ASSERT(memcmp(counts, job->counts, sizeof counts) == 0);
    ASSERT(stopping == job->stopping);
    ASSERT(disrupted == job->disrupted);
    ASSERT(outdated == job->outdated);
    ASSERT(tasks_hash == job->tasks_hash);
    ASSERT(list_empty(&job->updating) == (outdated == 0));
    must(job_tasks_check(cell, job_find(cell, job->id), &err), &err);
    check_system_job(cell, job);
    whereabouts_check(cell, job);
    ASSERT(cell_job(cell, job->id) == job);
    ASSERT(cell_job_named(cell, job->spec.name)->id.v >= job->id.v);
    ASSERT(job->spec_hash == spec_row_hash(&job->spec));
    ASSERT(job->row_hash == job_row_hash(job));
    ASSERT(list_empty(&job->dead) == !job_is_dead(job));
    sums->digest += job->row_hash;
    sums->unconfirmed -= job->unconfirmed;
    sums->jobs++;
    sums->pending_tasks += job->counts[TASK_PENDING];
    if (job_is_dead(job))
        sums->dead_jobs++;
    else
        sums->live_tasks += job->task_count;
}

static void check_machine(const struct cell *cell, const struct machine *machine, struct sums *sums)
{
    struct machine sums_of = {0};
    struct err err;
    must(machine_row_check(cell, machine, &err), &err);
    must(machine_tasks_check(cell, machine, &err), &err);
    LIST_EACH(l, &machine->tasks)
    {
        const struct task *task = CONTAINER_OF(l, struct task, link);
        ASSERT(task_is_live(task));
        ASSERT(task->machine.v == machine->id.v);
        machine_count(&sums_of, cell_job(cell, task_job(task->id)), task, 1);
    }
    uint32_t count = sums_of.task_count;
    ASSERT(machine->attributes_hash == attributes_row_hash(machine));
    ASSERT(count == machine->task_count);
    ASSERT_IMPLIES(machine->state != MACHINE_UP, count == 0);
    ASSERT(memcmp(&sums_of.reserved, &machine->reserved, sizeof machine->reserved) == 0);
    ASSERT(memcmp(&sums_of.stopping, &machine->stopping, sizeof machine->stopping) == 0);
    ASSERT(memcmp(&sums_of.promised, &machine->promised, sizeof machine->promised) == 0);
    ASSERT(memcmp(sums_of.reclaimed, machine->reclaimed, sizeof machine->reclaimed) == 0);
    ASSERT(memcmp(sums_of.used, machine->used, sizeof machine->used) == 0);
    ASSERT_IMPLIES(machine->state != MACHINE_REMOVED,
                   cell_machine_named(cell, machine->name) == machine);
    for (uint32_t i = 0; i < machine->left_count; i++) {
        const struct job *job = cell_job(cell, task_job(machine->left[i].task));
        sums->unconfirmed += job != NULL;
    }
    ASSERT(machine->row_hash == machine_row_hash(machine));
    ASSERT(list_empty(&machine->clearing) ==
           (machine->state != MACHINE_UP || (!machine->draining && !machine_lacks_ram(machine))));
    sums->machines_up += machine->state == MACHINE_UP;
    sums->machines_removed += machine->state == MACHINE_REMOVED;
    sums->machines_sick += machine_is_sick(machine);
    sums->digest += machine->row_hash;
    sums->live_on_machines -= count;
}

static void check_dead_jobs(const struct cell *cell)
{
    uint64_t count = 0;
    const struct job *last = NULL;
    LIST_EACH(l, &cell->dead_jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, dead);
        ASSERT_IMPLIES(last != NULL,
                       last->changed_ms < job->changed_ms ||
                           (last->changed_ms == job->changed_ms && last->id.v < job->id.v));
        last = job;
        count++;
    }
    ASSERT(count == cell->dead_job_count);
}

static void check_requests(const struct cell *cell, struct sums *sums)
{
    uint64_t count = cell->requests == NULL ? 0 : MIN(cell->request_seq, CELL_REQUESTS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seq = cell->request_seq - i;
        const struct remembered *row = &cell->requests[seq % CELL_REQUESTS_MAX];
        if (row->request_id[0] != 0 || row->request_id[1] != 0)
            sums->digest += request_row_hash(seq, row);
    }
}

static uint64_t check_dead_of(const struct account *account)
{
    uint64_t count = 0;
    const struct job *last = NULL;
    LIST_EACH(l, &account->dead)
    {
        const struct job *job = CONTAINER_OF(l, struct job, dead_own);
        ASSERT(job_is_dead(job) && strcmp(job->spec.user, account->user) == 0);
        ASSERT(last == NULL || job_died_before(last, job));
        last = job;
        count++;
    }
    ASSERT(count == account->dead_jobs);
    return count;
}

/* What each user has is what his live jobs ask for. */
static void check_accounts(const struct cell *cell, struct sums *sums)
{
    uint64_t tasks = 0, quotas = 0, live_jobs = 0, live_tasks = 0, dead_jobs = 0;
    const char *last = "";
    struct err err;
    LIST_EACH(l, &cell->accounts)
    {
        const struct account *account = CONTAINER_OF(l, struct account, link);
        uint64_t entries = 0;
        ASSERT(strcmp(last, account->user) < 0);
        last = account->user;
        for (enum band b = 0; b < BAND_COUNT; b++) {
            tasks += account->used[b].tasks;
            quotas += account->granted[b];
            entries += account->used[b].tasks + account->granted[b];
            if (!account->granted[b])
                continue;
            sums->digest += quota_row_hash(&account->quotas[b]);
            must(quota_row_check(cell, &account->quotas[b], &err), &err);
        }
        ASSERT(entries + account->live_jobs + account->dead_jobs > 0);
        live_jobs += account->live_jobs;
        live_tasks += account->live_tasks;
        dead_jobs += check_dead_of(account);
    }
    ASSERT(live_jobs == cell->job_count - cell->dead_job_count);
    ASSERT(live_tasks == cell->live_tasks);
    ASSERT(dead_jobs == cell->dead_job_count);
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        if (job_is_dead(job) || job_accounted(job) == 0)
            continue;
        const struct account *account = namemap_get(&cell->accounts_by_user, job->spec.user);
        ASSERT(account->live_tasks >= job->task_count);
        const struct usage *used = &account->used[band_of(job->spec.priority)];
        tasks -= job_accounted(job);
        struct resources most = spec_limit_max(&job->spec);
        for (int r = 0; r < RES_COUNT && job->spec.alloc_set[0] == '\0'; r++)
            ASSERT(used->v[r] >= (__int128)most.v[r] * job_accounted(job));
    }
    ASSERT(tasks == 0);
    ASSERT(quotas == cell->quota_count);
}

void cell_check(const struct cell *cell)
{
    struct sums sums = {0};
    uint64_t last_id = 0;
    struct err err;
    must(cell_scalars_check(cell, &err), &err);
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        ASSERT(job->id.v > last_id);
        last_id = job->id.v;
        check_job(cell, job, &sums);
    }
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        ASSERT(cell->machines[i]->id.v == i + 1);
        check_machine(cell, cell->machines[i], &sums);
    }
    for (size_t i = 0; i < BACKOFF_SLOTS; i++)
        LIST_EACH(l, &cell->backing_off[i])
        {
            uint64_t not_before_ms = CONTAINER_OF(l, struct task, waiting)->not_before_ms;
            ASSERT(not_before_ms != 0);
            ASSERT(not_before_ms / BACKOFF_SLOT_MS % BACKOFF_SLOTS == i);
            sums.backing_off--;
        }
    check_dead_jobs(cell);
    check_requests(cell, &sums);
    check_accounts(cell, &sums);
    sums.digest += cell_check_identities(cell);
    ASSERT(sums.backing_off == 0);
    ASSERT(sums.live_on_machines == 0);
    ASSERT(sums.machines_up == cell->machines_up);
    ASSERT(sums.machines_removed == cell->machines_removed);
    ASSERT(sums.machines_sick == cell->machines_sick);
    ASSERT(sums.unconfirmed == 0);
    ASSERT(sums.jobs == cell->job_count);
    ASSERT(sums.jobs == cell->jobs_by_id.count);
    ASSERT(sums.dead_jobs == cell->dead_job_count);
    ASSERT(sums.live_tasks == cell->live_tasks);
    ASSERT(sums.pending_tasks == cell->pending_tasks);
    ASSERT(sums.digest == cell->digest_sum);
}
