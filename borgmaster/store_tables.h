/*
 * store_tables.h - the tables of cell.db that are made from records. Those by hand, views and
 * indexes: schema.sql.
 */
#ifndef BORGMASTER_STORE_TABLES_H
#define BORGMASTER_STORE_TABLES_H

#include "fields.h"
#include "store_sql.h"

extern const struct sql_table machines_table, jobs_table, job_limits_table, tasks_table,
    quotas_table, identities_table, replicas_table, events_table, requests_table;

/* All of them, in the order of the schema. */
extern const struct sql_table *const store_tables[];
extern const uint32_t store_table_count;

/* Limits that tasks of a job may hold beside the one in jobs. */
struct limit_row {
    job_id job;
    uint32_t shape;
    struct resources limit;
};

#endif
