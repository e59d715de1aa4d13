/*
 * cell.c - what a cell is made of: its rows, the maps that find them, the answers remembered.
 */
#include "cell_write.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

struct subject machine_subject(const struct machine *machine)
{
    return (struct subject){machine->name, &machine->attributes};
}

static void cell_init(struct cell *cell)
{
    *cell = (struct cell){.next_job = 1, .settings.policy = POLICY_STRANDING_AWARE};
    list_init(&cell->jobs);
    list_init(&cell->system_jobs);
    list_init(&cell->updating);
    list_init(&cell->clearing);
    list_init(&cell->dead_jobs);
    for (size_t i = 0; i < BACKOFF_SLOTS; i++)
        list_init(&cell->backing_off[i]);
    list_init(&cell->accounts);
    list_init(&cell->identities);
}

struct list *cell_backoff_slot(struct cell *cell, uint64_t not_before_ms)
{
    return &cell->backing_off[not_before_ms / BACKOFF_SLOT_MS % BACKOFF_SLOTS];
}

uint32_t cell_wake_due(const struct cell *cell, uint64_t now_ms, task_id *ret, uint32_t max)
{
    uint64_t last = now_ms / BACKOFF_SLOT_MS, slot = last - MIN(last, (uint64_t)BACKOFF_SLOTS - 1);
    uint32_t count = 0;
    for (; slot <= last; slot++)
        LIST_EACH(l, &cell->backing_off[slot % BACKOFF_SLOTS])
        {
            const struct task *task = CONTAINER_OF(l, struct task, waiting);
            if (count == max)
                return count;
            if (task->not_before_ms <= now_ms)
                ret[count++] = task->id;
        }
    return count;
}

struct cell *cell_new(void)
{
    struct cell *cell = xcalloc(1, sizeof *cell);
    cell_init(cell);
    return cell;
}

static void job_free(struct job *job)
{
    matcher_free(job->matcher);
    spec_release(&job->spec);
    free(job->tasks);
    free(job);
}

void cell_clear(struct cell *cell)
{
    LIST_EACH(l, &cell->jobs)
    asks_release(cell, CONTAINER_OF(l, struct job, link));
    ASSERT(cell->whereabouts_by_name.count == 0);
    namemap_release(&cell->whereabouts_by_name);
    for (struct list *l; (l = list_pop(&cell->jobs)) != NULL;)
        job_free(CONTAINER_OF(l, struct job, link));
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        words_release(&cell->machines[i]->attributes);
        words_release(&cell->machines[i]->labels);
        free(cell->machines[i]->left);
        free(cell->machines[i]);
    }
    free(cell->machines);
    free(cell->requests);
    namemap_release(&cell->machines_by_name);
    namemap_release(&cell->jobs_by_name);
    for (struct list *l; (l = list_pop(&cell->accounts)) != NULL;)
        free(CONTAINER_OF(l, struct account, link));
    namemap_release(&cell->accounts_by_user);
    for (struct list *l; (l = list_pop(&cell->identities)) != NULL;)
        free(CONTAINER_OF(l, struct identity_row, link));
    namemap_release(&cell->identities_by_name);
    idmap_release(&cell->jobs_by_id);
    idmap_release(&cell->requests_by_id);
    cell_init(cell);
}

void cell_free(struct cell *cell)
{
    if (cell == NULL)
        return;
    cell_clear(cell);
    free(cell);
}

struct machine *machine_find(const struct cell *cell, machine_id id)
{
    return id.v == 0 || id.v > cell->machine_count ? NULL : cell->machines[id.v - 1];
}

struct job *job_find(const struct cell *cell, job_id id)
{
    return id.v == 0 ? NULL : idmap_get(&cell->jobs_by_id, id.v);
}

struct task *task_find(const struct cell *cell, task_id id)
{
    struct job *job = job_find(cell, task_job(id));
    return job == NULL || task_index(id) >= job->task_count ? NULL : &job->tasks[task_index(id)];
}

const struct machine *cell_machine(const struct cell *cell, machine_id id)
{
    return machine_find(cell, id);
}

const struct machine *cell_machine_named(const struct cell *cell, const char *name)
{
    return namemap_get(&cell->machines_by_name, name);
}

const struct job *cell_job(const struct cell *cell, job_id id)
{
    return job_find(cell, id);
}

const struct job *cell_job_named(const struct cell *cell, const char *name)
{
    return namemap_get(&cell->jobs_by_name, name);
}

const struct task *cell_task(const struct cell *cell, task_id id)
{
    return task_find(cell, id);
}

uint64_t cell_digest(const struct cell *cell)
{
    const uint64_t counters[] = {cell->now_ms,          cell->event_seq,     cell->next_job,
                                 cell->live_tasks,      cell->job_count,     cell->dead_job_count,
                                 cell->machine_count,   cell->request_seq,   cell->quota_count,
                                 cell->settings.policy, cell->settings.hold, cell->identity_count,
                                 cell->settings.format};
    uint64_t hash = resource_names_row_hash(cell->digest_sum, &cell->resource_names);
    hash = masters_row_hash(hash, &cell->settings.masters);
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        hash = hash_add(hash, counters[i]);
    return hash;
}

struct machine *cell_add_row(struct cell *cell)
{
    uint32_t count = cell->machine_count;
    if ((count & (count - 1)) == 0) /* full at each power of two */
        cell->machines = xrealloc(cell->machines, MAX(count * 2, 1U), sizeof *cell->machines);
    struct machine *machine = xcalloc(1, sizeof *machine);
    cell->machines[count] = machine;
    cell->machine_count = count + 1;
    cell->machines_removed++;
    machine->id.v = count + 1;
    machine->state = MACHINE_REMOVED;
    list_init(&machine->tasks);
    list_init(&machine->clearing);
    return machine;
}

void cell_name_machine(struct cell *cell, struct machine *machine, const char *name)
{
    ASSERT(machine->state == MACHINE_REMOVED);
    cell->machines_removed--;
    machine->state = MACHINE_DOWN;
    str_copy(machine->name, sizeof machine->name, name);
    namemap_put(&cell->machines_by_name, machine->name, machine);
}

struct machine *cell_add_machine(struct cell *cell, const char *name)
{
    uint32_t i = 0;
    while (cell->machines_removed > 0 && cell->machines[i]->state != MACHINE_REMOVED)
        i++;
    struct machine *machine = cell->machines_removed > 0 ? cell->machines[i] : cell_add_row(cell);
    cell_name_machine(cell, machine, name);
    return machine;
}

/* Memory for so many rows; a job on every machine grows one by one: that is doubled then. */
static struct task *tasks_alloc(struct job *job, uint32_t count)
{
    job->task_capacity = MAX(MAX(count, 1U), job->spec.every_machine ? 2 * job->task_capacity : 0);
    return xcalloc(job->task_capacity, sizeof(struct task));
}

static void tasks_move(struct job *job, struct task *to, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++) {
        to[i] = job->tasks[i];
        list_replace(&job->tasks[i].link, &to[i].link);
        list_replace(&job->tasks[i].waiting, &to[i].waiting);
    }
}

static void tasks_take(struct job *job, struct task *tasks)
{
    free(job->tasks);
    job->tasks = tasks;
}

/* Between two pieces nothing changes, so that a task is the same whether it is found by its index,
 * where it was, or in a list, where its copy is. Walks begin at the head of a list, never at a row.
 */
bool cell_reserve_tasks(struct apply *a, struct apply_step *step)
{
    struct job *job = step->job;
    if (job->tasks != NULL && a->copied == NULL && job->spec.replicas <= job->task_capacity)
        return true;
    if (a->copied == NULL)
        a->copied = tasks_alloc(job, job->spec.replicas);
    uint32_t end = step->at + MIN(step->to - step->at, a->units);
    tasks_move(job, a->copied, step->at, end);
    units_spend(a, end - step->at);
    step->at = end;
    if (step->at < step->to)
        return false;
    tasks_take(job, a->copied);
    a->copied = NULL;
    return true;
}

void cell_grow_job(struct cell *cell, struct job *job, uint32_t task_count)
{
    uint32_t more = task_count - job->task_count;
    ASSERT(task_count >= job->task_count);
    if (job->tasks == NULL || task_count > job->task_capacity) {
        struct task *tasks = tasks_alloc(job, task_count);
        tasks_move(job, tasks, 0, job->task_count);
        tasks_take(job, tasks);
    }
    for (uint32_t i = job->task_count; i < task_count; i++) {
        job->tasks[i].id = task_id_of(job->id, i);
        list_init(&job->tasks[i].link);
        list_init(&job->tasks[i].waiting);
    }
    job->counts[TASK_PENDING] += more;
    cell->pending_tasks += more;
    cell->live_tasks += more;
    account_job_grew(cell, job, more);
    job->task_count = task_count;
}

struct job *cell_add_job(struct cell *cell, job_id id, const struct job_spec *spec)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->id = id;
    spec_copy(&job->spec, spec);
    job->spec_hash = spec_row_hash(&job->spec);
    account_job_added(cell, job);
    list_push(&cell->jobs, &job->link);
    list_init(&job->dead);
    list_init(&job->dead_own);
    list_init(&job->updating);
    list_init(&job->system);
    cell->job_count++;
    account_add(cell, &job->spec, job->spec.replicas);
    idmap_put(&cell->jobs_by_id, id.v, job);
    namemap_put(&cell->jobs_by_name, job->spec.name, job);
    whereabouts_of(cell, job);
    return job;
}

const struct matcher *job_matcher(struct job *job)
{
    if (job->matcher == NULL)
        job->matcher = matcher_new(&job->spec.constraints);
    return job->matcher;
}

/* A dead job never changes again, so its changed_ms is when it died. */
bool job_died_before(const struct job *a, const struct job *b)
{
    return a->changed_ms != b->changed_ms ? a->changed_ms < b->changed_ms : a->id.v < b->id.v;
}

void cell_add_dead(struct cell *cell, struct job *job)
{
    struct list *after = cell->dead_jobs.prev;
    while (after != &cell->dead_jobs && job_died_before(job, CONTAINER_OF(after, struct job, dead)))
        after = after->prev;
    list_push(after->next, &job->dead);
    cell->dead_job_count++;
    cell->live_tasks -= job->task_count;
    account_job_died(cell, job);
    account_remove(cell, &job->spec, job_accounted(job));
    asks_release(cell, job);
    matcher_free(job->matcher);
    job->matcher = NULL;
}

void cell_remove_job(struct cell *cell, struct job *job)
{
    ASSERT(job_is_dead(job));
    cell->digest_sum -= job->tasks_hash + job->row_hash;
    if (namemap_get(&cell->jobs_by_name, job->spec.name) == job)
        namemap_remove(&cell->jobs_by_name, job->spec.name);
    idmap_remove(&cell->jobs_by_id, job->id.v);
    whereabouts_forget(job);
    list_remove(&job->link);
    list_remove(&job->dead);
    list_remove(&job->updating);
    cell->job_count--;
    cell->dead_job_count--;
    account_job_removed(cell, job);
    job_free(job);
}

static uint64_t request_key(const uint64_t request_id[2])
{
    uint64_t key = hash_add(hash_add(0, request_id[0]), request_id[1]);
    return key == 0 ? 1 : key;
}

static bool same_request(const uint64_t a[2], const uint64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

const struct remembered *cell_remembered(const struct cell *cell, const uint64_t request_id[2])
{
    const struct remembered *row = idmap_get(&cell->requests_by_id, request_key(request_id));
    return row != NULL && same_request(row->request_id, request_id) ? row : NULL;
}

void cell_remember(struct cell *cell, uint64_t seq, const struct remembered *row)
{
    if (cell->requests == NULL)
        cell->requests = xcalloc(CELL_REQUESTS_MAX, sizeof *cell->requests);
    struct remembered *slot = &cell->requests[seq % CELL_REQUESTS_MAX];
    if (slot->request_id[0] != 0 || slot->request_id[1] != 0) {
        uint64_t key = request_key(slot->request_id);
        cell->digest_sum -= request_row_hash(seq - CELL_REQUESTS_MAX, slot);
        /* Two ids may share a key; the newer one has the entry then. */
        if (idmap_get(&cell->requests_by_id, key) == slot)
            idmap_remove(&cell->requests_by_id, key);
    }
    *slot = *row;
    idmap_put(&cell->requests_by_id, request_key(row->request_id), slot);
    cell->digest_sum += request_row_hash(seq, row);
    cell->request_seq = seq;
}
