/*
 * delta.c - noting what a command touched, and copying those rows out.
 */
#include "cell_write.h"

#include "fields.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void changes_clear(struct changes *changes)
{
    changes->machine_count = 0;
    changes->job_count = 0;
    changes->task_count = 0;
    changes->forgotten_count = 0;
    changes->request_count = 0;
    changes->event_count = 0;
    changes->quotas = false;
    changes->identities = false;
}

void changes_release(struct changes *changes)
{
    free(changes->machines);
    free(changes->jobs);
    free(changes->tasks);
    free(changes->forgotten);
    free(changes->requests);
    free(changes->events);
    *changes = (struct changes){0};
}

bool changes_empty(const struct changes *changes)
{
    return changes->machine_count + changes->job_count + changes->task_count +
               changes->forgotten_count + changes->request_count + changes->event_count +
               changes->quotas + changes->identities ==
           0;
}

static void note(uint64_t **ids, size_t *count, size_t *capacity, uint64_t id)
{
    if (*count > 0 && (*ids)[*count - 1] == id)
        return;
    if (*count == *capacity) {
        *capacity = MAX(*capacity * 2, (size_t)16);
        *ids = xrealloc(*ids, *capacity, sizeof **ids);
    }
    (*ids)[(*count)++] = id;
}

void changes_note_machine(struct changes *c, machine_id id)
{
    note(&c->machines, &c->machine_count, &c->machine_capacity, id.v);
}

void changes_note_job(struct changes *c, job_id id)
{
    note(&c->jobs, &c->job_count, &c->job_capacity, id.v);
}

void changes_note_task(struct changes *c, task_id id)
{
    note(&c->tasks, &c->task_count, &c->task_capacity, id.v);
}

void changes_note_forgotten(struct changes *c, job_id id)
{
    note(&c->forgotten, &c->forgotten_count, &c->forgotten_capacity, id.v);
}

void changes_note_request(struct changes *c, uint64_t seq)
{
    note(&c->requests, &c->request_count, &c->request_capacity, seq);
}

struct event *event_add(struct apply *a, enum event_kind kind)
{
    struct changes *c = a->changes;
    if (c->event_count == c->event_capacity) {
        c->event_capacity = MAX(c->event_capacity * 2, (size_t)16);
        c->events = xrealloc(c->events, c->event_capacity, sizeof *c->events);
    }
    struct event *event = &c->events[c->event_count++];
    memset(event, 0, offsetof(struct event, detail) + 1);
    event->seq = ++a->cell->event_seq;
    event->time_ms = a->cell->now_ms;
    event->kind = kind;
    event->task_index = -1;
    return event;
}

/* Most details are short, and there is one for each task that is placed: no more is copied. */
static void event_copy(struct event *to, const struct event *from)
{
    memcpy(to, from, offsetof(struct event, detail));
    str_copy(to->detail, sizeof to->detail, from->detail);
}

void event_by(const struct apply *a, struct event *event)
{
    size_t size = strlen(event->detail);
    if (a->cmd->user[0] != '\0')
        snprintf(event->detail + size, sizeof event->detail - size, "%sby %s", size > 0 ? ", " : "",
                 a->cmd->user);
}

struct event *event_add_machine(struct apply *a, enum event_kind kind,
                                const struct machine *machine)
{
    struct event *event = event_add(a, kind);
    event->machine = machine->id;
    str_copy(event->machine_name, sizeof event->machine_name, machine->name);
    return event;
}

struct event *event_add_job(struct apply *a, enum event_kind kind, const struct job *job)
{
    struct event *event = event_add(a, kind);
    event->job = job->id;
    str_copy(event->job_name, sizeof event->job_name, job->spec.name);
    return event;
}

void event_add_task(struct apply *a, enum event_kind kind, const struct task *task,
                    enum cause cause, int32_t exit_code, const char *detail)
{
    struct event *event = event_add_job(a, kind, job_find(a->cell, task_job(task->id)));
    event->task_index = task_index(task->id);
    event->attempt = task->attempt;
    event->machine = task->machine;
    if (task->machine.v != 0)
        str_copy(event->machine_name, sizeof event->machine_name,
                 machine_find(a->cell, task->machine)->name);
    event->cause = cause;
    event->exit_code = exit_code;
    str_copy(event->detail, sizeof event->detail, detail);
}

static int by_value(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x;
    uint64_t b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

/* Memory for rows that are written as a whole: it is not cleared before. */
static void *rows_new(size_t count, size_t size)
{
    return xrealloc(NULL, count, size);
}

enum { RADIX_COUNT_MIN = 64, RADIX = 256 };

/* Sort many ids by the bytes in which they `differ`, the lowest first; takes the array. */
static uint64_t *ids_sort_many(uint64_t *ids, size_t count, uint64_t differ)
{
    uint64_t *other = rows_new(count, sizeof *other);
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t ends[RADIX + 1] = {0};
        if ((differ >> shift) % RADIX == 0)
            continue;
        for (size_t i = 0; i < count; i++)
            ends[(ids[i] >> shift) % RADIX + 1]++;
        for (size_t b = 1; b < RADIX; b++)
            ends[b] += ends[b - 1];
        for (size_t i = 0; i < count; i++)
            other[ends[(ids[i] >> shift) % RADIX]++] = ids[i];
        uint64_t *from = ids;
        ids = other;
        other = from;
    }
    free(other);
    return ids;
}

/* A copy of the ids, ascending, each once. */
static uint64_t *ids_sorted(const uint64_t *ids, size_t count, size_t *ret_count)
{
    uint64_t *sorted = rows_new(count, sizeof *sorted);
    uint64_t differ = 0;
    bool ascends = true; /* as those of one large job do */
    for (size_t i = 0; i < count; i++) {
        sorted[i] = ids[i];
        differ |= ids[i] ^ ids[0];
        ascends &= i == 0 || ids[i - 1] <= ids[i];
    }
    if (!ascends && count < RADIX_COUNT_MIN)
        qsort(sorted, count, sizeof *sorted, by_value);
    else if (!ascends)
        sorted = ids_sort_many(sorted, count, differ);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || sorted[kept - 1] != sorted[i])
            sorted[kept++] = sorted[i];
    *ret_count = kept;
    return sorted;
}

static struct delta *delta_new(const struct cell *cell)
{
    struct delta *delta = xcalloc(1, sizeof *delta);
    delta->index = cell->applied_index;
    delta->term = cell->applied_term;
    delta->now_ms = cell->now_ms;
    delta->event_seq = cell->event_seq;
    delta->next_job = cell->next_job;
    delta->request_seq = cell->request_seq;
    delta->settings = cell->settings;
    delta->digest = cell_digest(cell);
    delta->resource_names = cell->resource_names;
    delta->references = 1;
    return delta;
}

/* What the cell keeps beside the row is not copied. */
static void job_row_fill(struct job *row, const struct job *job)
{
    *row = *job;
    spec_copy(&row->spec, &job->spec);
    row->tasks = NULL;
    row->task_capacity = 0;
    row->matcher = NULL;
}

static void machine_row_fill(struct machine *row, const struct machine *machine)
{
    record_copy(&machine_record, row, machine);
    row->left_capacity = row->left_count;
}

static void collect_machines(struct delta *delta, const struct cell *cell,
                             const struct changes *changes)
{
    size_t count;
    CLEANUP(free_ptr)
    uint64_t *ids = ids_sorted(changes->machines, changes->machine_count, &count);
    delta->machines = rows_new(count, sizeof *delta->machines);
    for (size_t i = 0; i < count; i++)
        machine_row_fill(&delta->machines[delta->machine_count++],
                         cell_machine(cell, (machine_id){(uint32_t)ids[i]}));
}

static void collect_jobs(struct delta *delta, const struct cell *cell,
                         const struct changes *changes)
{
    size_t count;
    CLEANUP(free_ptr) uint64_t *ids = ids_sorted(changes->jobs, changes->job_count, &count);
    delta->jobs = rows_new(count, sizeof *delta->jobs);
    for (size_t i = 0; i < count; i++) {
        const struct job *job = cell_job(cell, (job_id){ids[i]});
        if (job != NULL) /* else forgotten since */
            job_row_fill(&delta->jobs[delta->job_count++], job);
    }
}

static void collect_tasks(struct delta *delta, const struct cell *cell,
                          const struct changes *changes)
{
    size_t count;
    CLEANUP(free_ptr) uint64_t *ids = ids_sorted(changes->tasks, changes->task_count, &count);
    delta->tasks = rows_new(count, sizeof *delta->tasks);
    const struct job *job = NULL; /* of the task before: mostly it is that of the next */
    job_id last = {0};
    for (size_t i = 0; i < count; i++) {
        task_id id = {ids[i]};
        if (task_job(id).v != last.v) {
            last = task_job(id);
            job = cell_job(cell, last);
        }
        if (job != NULL && task_index(id) < job->task_count)
            delta->tasks[delta->task_count++] = job->tasks[task_index(id)];
    }
}

static void collect_requests(struct delta *delta, const struct cell *cell,
                             const struct changes *changes)
{
    delta->requests = rows_new(changes->request_count, sizeof *delta->requests);
    for (size_t i = 0; i < changes->request_count; i++) {
        uint64_t seq = changes->requests[i];
        if (cell->request_seq - seq >= CELL_REQUESTS_MAX)
            continue; /* overwritten since */
        delta->requests[delta->request_count++] =
            (struct request_row){seq, cell->requests[seq % CELL_REQUESTS_MAX]};
    }
}

/* They are few and rarely change. */
static void collect_quotas(struct delta *delta, const struct cell *cell)
{
    delta->has_quotas = true;
    delta->quotas = cell_quotas(cell, &delta->quota_count);
}

static void collect_identities(struct delta *delta, const struct cell *cell)
{
    delta->has_identities = true;
    delta->identities = cell_identities(cell, &delta->identity_count);
}

struct delta *delta_collect(const struct cell *cell, const struct changes *changes)
{
    struct delta *delta = delta_new(cell);
    collect_machines(delta, cell, changes);
    collect_jobs(delta, cell, changes);
    collect_tasks(delta, cell, changes);
    collect_requests(delta, cell, changes);
    delta->forgotten =
        ids_sorted(changes->forgotten, changes->forgotten_count, &delta->forgotten_count);
    if (changes->quotas)
        collect_quotas(delta, cell);
    if (changes->identities)
        collect_identities(delta, cell);
    delta->event_count = changes->event_count;
    delta->events = rows_new(changes->event_count, sizeof *delta->events);
    for (size_t i = 0; i < changes->event_count; i++)
        event_copy(&delta->events[i], &changes->events[i]);
    return delta;
}

struct delta *delta_full(const struct cell *cell)
{
    struct delta *delta = delta_new(cell);
    delta->full = true;
    collect_quotas(delta, cell);
    collect_identities(delta, cell);
    delta->machines = rows_new(cell->machine_count, sizeof *delta->machines);
    for (uint32_t i = 0; i < cell->machine_count; i++)
        machine_row_fill(&delta->machines[delta->machine_count++], cell->machines[i]);
    size_t tasks = 0;
    LIST_EACH(l, &cell->jobs)
    tasks += CONTAINER_OF(l, struct job, link)->task_count;
    delta->jobs = rows_new(cell->job_count, sizeof *delta->jobs);
    delta->tasks = rows_new(tasks, sizeof *delta->tasks);
    LIST_EACH(l, &cell->jobs)
    {
        const struct job *job = CONTAINER_OF(l, struct job, link);
        job_row_fill(&delta->jobs[delta->job_count++], job);
        for (uint32_t i = 0; i < job->task_count; i++)
            delta->tasks[delta->task_count++] = job->tasks[i];
    }
    return delta;
}

struct delta *delta_ref(struct delta *delta)
{
    __atomic_fetch_add(&delta->references, 1, __ATOMIC_RELAXED);
    return delta;
}

void delta_unref(struct delta *delta)
{
    if (delta == NULL || __atomic_sub_fetch(&delta->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < delta->job_count; i++)
        spec_release(&delta->jobs[i].spec);
    for (size_t i = 0; i < delta->machine_count; i++)
        record_release(&machine_record, &delta->machines[i]);
    free(delta->machines);
    free(delta->jobs);
    free(delta->tasks);
    free(delta->forgotten);
    free(delta->requests);
    free(delta->events);
    free(delta->quotas);
    free(delta->identities);
    free(delta);
}
