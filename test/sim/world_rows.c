/*
 * world_rows.c - make rows from deltas, a cell from rows, and bytes from rows.
 */
#include "world_rows.h"

#include "fields.h"

#include "cmd_pack.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_MAGIC = 0x726f7773 };

/* Rows from deltas */

static void job_rows_free(struct job_rows *job)
{
    spec_release(&job->row.spec);
    free(job->tasks);
    free(job);
}

void rows_clear(struct rows *rows)
{
    for (size_t i = 0; i < rows->machine_count; i++)
        record_release(&machine_record, &rows->machines[i]);
    for (size_t i = 0; i < rows->job_count; i++)
        job_rows_free(rows->jobs[i]);
    free(rows->machines);
    free(rows->jobs);
    idmap_release(&rows->jobs_by_id);
    free(rows->quotas);
    free(rows->identities);
    free(rows->requests);
    *rows = (struct rows){0};
}

static void machine_put(struct rows *rows, const struct machine *machine)
{
    size_t count = machine->id.v;
    if (count > rows->machine_count) {
        rows->machines = xrealloc(rows->machines, count, sizeof *rows->machines);
        memset(rows->machines + rows->machine_count, 0,
               (count - rows->machine_count) * sizeof *rows->machines);
        rows->machine_count = count;
    }
    struct machine *row = &rows->machines[count - 1];
    record_release(&machine_record, row);
    record_copy(&machine_record, row, machine);
}

static struct job_rows *job_add(struct rows *rows, job_id id)
{
    struct job_rows *job = xcalloc(1, sizeof *job);
    if (rows->job_count == rows->job_capacity) {
        rows->job_capacity = MAX((size_t)64, rows->job_capacity * 2);
        rows->jobs = xrealloc(rows->jobs, rows->job_capacity, sizeof(struct job_rows *));
    }
    size_t at = rows->job_count++;
    for (; at > 0 && rows->jobs[at - 1]->row.id.v > id.v; at--)
        rows->jobs[at] = rows->jobs[at - 1];
    rows->jobs[at] = job;
    job->row.id = id;
    idmap_put(&rows->jobs_by_id, id.v, job);
    return job;
}

static void job_put(struct rows *rows, const struct job *from)
{
    struct job_rows *job = idmap_get(&rows->jobs_by_id, from->id.v);
    if (job == NULL)
        job = job_add(rows, from->id);
    spec_release(&job->row.spec);
    job->row = *from;
    spec_copy(&job->row.spec, &from->spec);
}

static void job_forget(struct rows *rows, uint64_t id)
{
    struct job_rows *job = idmap_remove(&rows->jobs_by_id, id);
    if (job == NULL)
        return;
    size_t at = 0;
    while (rows->jobs[at] != job)
        at++;
    memmove(rows->jobs + at, rows->jobs + at + 1,
            (rows->job_count - at - 1) * sizeof(struct job_rows *));
    rows->job_count--;
    job_rows_free(job);
}

static void task_put(struct rows *rows, const struct task *task)
{
    struct job_rows *job = idmap_get(&rows->jobs_by_id, task_job(task->id).v);
    uint32_t index = task_index(task->id);
    ASSERT(job != NULL);
    if (index >= job->task_count) {
        job->tasks = xrealloc(job->tasks, index + 1, sizeof *job->tasks);
        memset(job->tasks + job->task_count, 0, (index + 1 - job->task_count) * sizeof *job->tasks);
        job->task_count = index + 1;
    }
    job->tasks[index] = *task;
    list_init(&job->tasks[index].link);
}

static void request_put(struct rows *rows, uint64_t seq, const struct remembered *remembered)
{
    if (rows->requests == NULL)
        rows->requests = xcalloc(CELL_REQUESTS_MAX, sizeof *rows->requests);
    rows->requests[seq % CELL_REQUESTS_MAX] = *remembered;
    if (rows->request_first == 0)
        rows->request_first = seq;
}

static void meta_put(struct rows *rows, const struct delta *from)
{
    rows->meta = (struct delta){.index = from->index,
                                .term = from->term,
                                .now_ms = from->now_ms,
                                .event_seq = from->event_seq,
                                .next_job = from->next_job,
                                .request_seq = from->request_seq,
                                .digest = from->digest,
                                .settings = from->settings,
                                .resource_names = from->resource_names};
    if (from->request_seq > CELL_REQUESTS_MAX)
        rows->request_first = MAX(rows->request_first, from->request_seq - CELL_REQUESTS_MAX + 1);
}

void rows_put(struct rows *rows, const struct delta *delta)
{
    for (size_t i = 0; i < delta->machine_count; i++)
        machine_put(rows, &delta->machines[i]);
    for (size_t i = 0; i < delta->job_count; i++)
        job_put(rows, &delta->jobs[i]);
    for (size_t i = 0; i < delta->task_count; i++)
        task_put(rows, &delta->tasks[i]);
    for (size_t i = 0; i < delta->request_count; i++)
        request_put(rows, delta->requests[i].seq, &delta->requests[i].remembered);
    for (size_t i = 0; i < delta->forgotten_count; i++)
        job_forget(rows, delta->forgotten[i]);
    if (delta->has_quotas) {
        free(rows->quotas);
        rows->quotas = xcalloc(delta->quota_count, sizeof *rows->quotas);
        rows->quota_count = delta->quota_count;
        if (delta->quota_count > 0)
            memcpy(rows->quotas, delta->quotas, delta->quota_count * sizeof *rows->quotas);
    }
    if (delta->has_identities) {
        free(rows->identities);
        rows->identities = xcalloc(delta->identity_count + 1, sizeof *rows->identities);
        rows->identity_count = delta->identity_count;
        if (delta->identity_count > 0)
            memcpy(rows->identities, delta->identities,
                   delta->identity_count * sizeof *rows->identities);
    }
    meta_put(rows, delta);
}

/* A cell from rows */

static int load_job(const struct job_rows *job, struct cell *cell, struct err *err)
{
    int rv = cell_load_job(cell, &job->row, err);
    for (uint32_t i = 0; rv == 0 && i < job->row.limit_old_count; i++)
        rv = cell_load_limit_old(cell, job->row.id, &job->row.limits_old[i], err);
    return rv;
}

static int load_tasks(const struct job_rows *job, struct cell *cell, struct err *err)
{
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < job->task_count; i++)
        if (job->tasks[i].id.v != 0)
            rv = cell_load_task(cell, &job->tasks[i], err);
    return rv;
}

static int load_all(const struct rows *rows, struct cell *cell, struct err *err)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < rows->machine_count; i++)
        rv = cell_load_machine(cell, &rows->machines[i], err);
    for (size_t i = 0; rv == 0 && i < rows->job_count; i++)
        rv = load_job(rows->jobs[i], cell, err);
    for (size_t i = 0; rv == 0 && i < rows->job_count; i++)
        rv = load_tasks(rows->jobs[i], cell, err);
    for (size_t i = 0; rv == 0 && i < rows->quota_count; i++)
        rv = cell_load_quota(cell, &rows->quotas[i], err);
    for (size_t i = 0; rv == 0 && i < rows->identity_count; i++)
        rv = cell_load_identity(cell, &rows->identities[i], err);
    for (uint64_t seq = rows->request_first; rv == 0 && seq > 0 && seq <= rows->meta.request_seq;
         seq++)
        rv = cell_load_request(cell, seq, &rows->requests[seq % CELL_REQUESTS_MAX], err);
    return rv == 0 ? cell_load_done(cell, err) : rv;
}

void rows_load(const struct rows *rows, struct cell *cell)
{
    struct err err;
    const struct delta *meta = &rows->meta;
    if (meta->index == 0)
        return; /* nothing was ever written */
    cell->applied_index = meta->index;
    cell->applied_term = meta->term;
    cell->now_ms = meta->now_ms;
    cell->event_seq = meta->event_seq;
    cell->next_job = meta->next_job;
    cell->settings = meta->settings;
    cell->resource_names = meta->resource_names;
    if (load_all(rows, cell, &err) != 0)
        PANIC("the rows of index %" PRIu64 " are refused: %s", meta->index, err.msg);
    if (cell_digest(cell) != meta->digest)
        PANIC("the rows of index %" PRIu64 " load as %016" PRIx64 ", written was %016" PRIx64,
              meta->index, cell_digest(cell), meta->digest);
}

/* Rows as bytes */

#define PUT(to, value) buf_append(to, &(value), sizeof value)

static void put_bytes(struct buf *to, const void *bytes, size_t size)
{
    PUT(to, size);
    if (size > 0)
        buf_append(to, bytes, size);
}

void rows_pack(const struct rows *rows, struct buf *to)
{
    uint64_t magic = ROWS_MAGIC;
    struct buf CLEANUP(buf_release) spec = {0};
    PUT(to, magic);
    PUT(to, rows->meta);
    PUT(to, rows->machine_count);
    for (size_t i = 0; i < rows->machine_count; i++) {
        PUT(to, rows->machines[i]);
        put_bytes(to, rows->machines[i].attributes.bytes, rows->machines[i].attributes.size);
        put_bytes(to, rows->machines[i].left,
                  rows->machines[i].left_count * sizeof *rows->machines[i].left);
    }
    PUT(to, rows->job_count);
    for (size_t i = 0; i < rows->job_count; i++) {
        const struct job_rows *job = rows->jobs[i];
        buf_clear(&spec);
        spec_pack(&job->row.spec, &spec);
        PUT(to, job->row);
        put_bytes(to, spec.bytes, spec.size);
        put_bytes(to, job->tasks, job->task_count * sizeof *job->tasks);
    }
    put_bytes(to, rows->quotas, rows->quota_count * sizeof *rows->quotas);
    put_bytes(to, rows->identities, rows->identity_count * sizeof *rows->identities);
    PUT(to, rows->request_first);
    for (uint64_t seq = rows->request_first; seq > 0 && seq <= rows->meta.request_seq; seq++) {
        const struct remembered *r = &rows->requests[seq % CELL_REQUESTS_MAX];
        buf_append(to, r, offsetof(struct remembered, msg));
        put_bytes(to, r->msg, strlen(r->msg));
    }
}

struct reader {
    const char *at, *end;
    bool bad;
};

static void get(struct reader *r, void *to, size_t size)
{
    if ((size_t)(r->end - r->at) < size) {
        r->bad = true;
        memset(to, 0, size);
        return;
    }
    memcpy(to, r->at, size);
    r->at += size;
}

#define GET(r, value) get(r, &(value), sizeof value)

static void *get_bytes(struct reader *r, size_t *ret_size)
{
    GET(r, *ret_size);
    if (r->bad || *ret_size > (size_t)(r->end - r->at)) {
        r->bad = true;
        *ret_size = 0;
    }
    void *bytes = xcalloc(1, MAX(*ret_size, (size_t)1));
    get(r, bytes, *ret_size);
    return bytes;
}

static void get_machine(struct reader *r, struct rows *rows)
{
    struct machine machine;
    size_t size;
    GET(r, machine);
    char *bytes = get_bytes(r, &size);
    machine.attributes.bytes = bytes;
    machine.left = get_bytes(r, &size);
    r->bad |= size != machine.left_count * sizeof *machine.left;
    if (!r->bad)
        machine_put(rows, &machine);
    free(bytes);
    free(machine.left);
}

static void get_job(struct reader *r, struct rows *rows, struct err *err)
{
    struct job row;
    size_t size;
    GET(r, row);
    void *spec CLEANUP(free_ptr) = get_bytes(r, &size);
    if (r->bad)
        return;
    struct job_rows *job = job_add(rows, row.id);
    job->row = row;
    if (spec_unpack(spec, size, &job->row.spec, err) != 0) {
        job->row.spec = (struct job_spec){0};
        r->bad = true;
    }
    job->tasks = get_bytes(r, &size);
    job->task_count = (uint32_t)(size / sizeof *job->tasks);
}

static void get_requests(struct reader *r, struct rows *rows)
{
    uint64_t first;
    GET(r, first);
    for (uint64_t seq = first; seq > 0 && seq <= rows->meta.request_seq && !r->bad; seq++) {
        struct remembered remembered = {0};
        size_t size;
        get(r, &remembered, offsetof(struct remembered, msg));
        char *msg CLEANUP(free_ptr) = get_bytes(r, &size);
        memcpy(remembered.msg, msg, MIN(size, sizeof remembered.msg - 1));
        request_put(rows, seq, &remembered);
    }
}

int rows_unpack(struct rows *rows, const void *bytes, size_t size, struct err *err)
{
    struct reader r = {.at = bytes, .end = (const char *)bytes + size};
    uint64_t magic;
    size_t count;
    err_set(err, ERR_CORRUPT, "an image of %zu bytes is damaged", size);
    GET(&r, magic);
    GET(&r, rows->meta);
    GET(&r, count);
    for (size_t i = 0; i < count && !r.bad && magic == ROWS_MAGIC; i++)
        get_machine(&r, rows);
    GET(&r, count);
    for (size_t i = 0; i < count && !r.bad && magic == ROWS_MAGIC; i++)
        get_job(&r, rows, err);
    rows->quotas = get_bytes(&r, &count);
    rows->quota_count = count / sizeof *rows->quotas;
    rows->identities = get_bytes(&r, &count);
    rows->identity_count = count / sizeof *rows->identities;
    get_requests(&r, rows);
    if (!r.bad && magic == ROWS_MAGIC && r.at == r.end)
        return 0;
    rows_clear(rows);
    return -ERR_CORRUPT;
}
