/*
 * world_rows.h - the contents of a replica's database, the rows of a cell, without SQLite.
 */
#ifndef SIM_WORLD_ROWS_H
#define SIM_WORLD_ROWS_H

#include "buf.h"
#include "delta.h"
#include "idmap.h"

struct job_rows {
    struct job row;     /* owns its spec and old limits; `tasks` is not used */
    struct task *tasks; /* by index; id 0: there is no row */
    uint32_t task_count;
};

struct rows {
    struct delta meta;        /* the numbers of the last delta, without its arrays */
    struct machine *machines; /* by id - 1; they own their attributes */
    size_t machine_count;
    struct job_rows **jobs; /* by id */
    size_t job_count, job_capacity;
    struct idmap jobs_by_id;
    struct quota *quotas;
    size_t quota_count;
    struct identity_row *identities; /* `link` is not used */
    size_t identity_count;
    struct remembered *requests; /* by seq % CELL_REQUESTS_MAX */
    uint64_t request_first;      /* the oldest one */
};

void rows_clear(struct rows *rows);
void rows_put(struct rows *rows, const struct delta *delta);
/* Load them into an empty cell; panics if the result differs from what was written. */
void rows_load(const struct rows *rows, struct cell *cell);
void rows_pack(const struct rows *rows, struct buf *to);
/* Unpack into empty rows. */
int rows_unpack(struct rows *rows, const void *bytes, size_t size, struct err *err) MUST_USE;

#endif
