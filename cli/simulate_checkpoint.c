/*
 * simulate_checkpoint.c - load the live part of a real cell from its cell.db.
 *
 * Only the input of scheduling is read: machines, jobs that are not dead, their tasks. The file is
 * opened read-only; contradictory rows are refused as by the cell itself (cell_load_*).
 */
#include "simulate.h"

#include "cmd_pack.h"

#include <sqlite3.h>
#include <string.h>

enum { CELL_APPLICATION_ID = 1114600039, CELL_SCHEMA = 7 }; /* borgmaster/schema.sql */

struct rows {
    sqlite3 *db;
    sqlite3_stmt *statement;
};

static void rows_release(struct rows *rows)
{
    sqlite3_finalize(rows->statement);
    sqlite3_close(rows->db);
}

static int rows_fail(const struct rows *rows, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s",
                   rows->db == NULL ? "out of memory" : sqlite3_errmsg(rows->db));
}

static int rows_query(struct rows *rows, const char *sql, struct err *err)
{
    sqlite3_finalize(rows->statement);
    rows->statement = NULL;
    return sqlite3_prepare_v2(rows->db, sql, -1, &rows->statement, NULL) == SQLITE_OK
               ? 0
               : rows_fail(rows, err);
}

static int64_t integer(const struct rows *rows, int column)
{
    return sqlite3_column_int64(rows->statement, column);
}

static const char *text(const struct rows *rows, int column)
{
    const char *value = (const char *)sqlite3_column_text(rows->statement, column);
    return value == NULL ? "" : value;
}

static int load_meta(struct sim *sim, const struct rows *rows, struct err *err UNUSED)
{
    sim->cell->now_ms = (uint64_t)integer(rows, 0);
    sim->cell->next_job = (uint64_t)integer(rows, 1);
    int policy = policy_parse(text(rows, 2));
    sim->cell->settings.policy = policy < 0 ? POLICY_COUNT : (enum policy)policy;
    return 0;
}

static int load_name(struct sim *sim, const struct rows *rows, struct err *err)
{
    struct resource_names *names = &sim->cell->resource_names;
    int64_t slot = integer(rows, 0);
    if (slot < 1 || slot > RESOURCES_NAMED_MAX || strlen(text(rows, 1)) > RESOURCE_NAME_MAX)
        return err_set(err, ERR_CORRUPT, "resource \"%.40s\": its slot or name is invalid",
                       text(rows, 1));
    str_copy(names->text[slot - 1], sizeof names->text[0], text(rows, 1));
    return resource_names_valid(names, err);
}

static int load_machine(struct sim *sim, const struct rows *rows, struct err *err)
{
    struct machine row = {.id = {(uint32_t)integer(rows, 0)}};
    str_copy(row.name, sizeof row.name, text(rows, 1));
    bool up = strcmp(text(rows, 2), machine_state_text(MACHINE_UP)) == 0;
    row.state = up ? MACHINE_UP : row.name[0] == '\0' ? MACHINE_REMOVED : MACHINE_DOWN;
    if (row.state != MACHINE_REMOVED)
        str_copy(row.addr, sizeof row.addr, "nowhere:1"); /* never contacted */
    for (int r = 0; r < RES_COUNT; r++)
        row.capacity.v[r] = integer(rows, 3 + r);
    row.draining = integer(rows, 3 + RES_COUNT) != 0;
    CLEANUP(free_ptr) char *attributes = xstrdup(text(rows, 4 + RES_COUNT));
    char *rest = attributes;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            words_add(&row.attributes, line);
    int rc = cell_load_machine(sim->cell, &row, err);
    words_release(&row.attributes);
    return rc;
}

static int load_job(struct sim *sim, const struct rows *rows, struct err *err)
{
    struct job row = {.id = {(uint64_t)integer(rows, 0)}, .killed = integer(rows, 1) != 0};
    str_copy(row.reason, sizeof row.reason, text(rows, 2));
    const void *spec = sqlite3_column_blob(rows->statement, 3);
    int size = sqlite3_column_bytes(rows->statement, 3);
    int rc = spec_unpack(spec, spec == NULL ? 0 : (size_t)size, &row.spec, err);
    if (rc != 0)
        return err_wrap(err, "job %" PRIu64, row.id.v);
    /* an update may have changed it since the submit */
    row.spec.priority = (uint32_t)integer(rows, 4);
    row.spec.replicas = (uint32_t)integer(rows, 5);
    row.task_count = (uint32_t)integer(rows, 6);
    for (int r = 0; r < RES_NAMED; r++) /* likewise; named resources are never updated */
        row.spec.limit.v[r] = integer(rows, 7 + r);
    rc = cell_load_job(sim->cell, &row, err);
    spec_release(&row.spec);
    return rc;
}

static int load_limit_old(struct sim *sim, const struct rows *rows, struct err *err)
{
    struct resources limit;
    for (int r = 0; r < RES_COUNT; r++)
        limit.v[r] = integer(rows, 1 + r);
    return cell_load_limit_old(sim->cell, (job_id){(uint64_t)integer(rows, 0)}, &limit, err);
}

/* Return CAUSE_COUNT for an unknown name: loading the row then refuses it. */
static enum cause cause_of(const char *name)
{
    unsigned cause = 0;
    while (cause < CAUSE_COUNT && strcmp(name, cause_text(cause)) != 0)
        cause++;
    return (enum cause)cause;
}

static int load_task(struct sim *sim, const struct rows *rows, struct err *err)
{
    int64_t index = integer(rows, 1);
    unsigned state = 0;
    if (index < 0 || index >= CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_CORRUPT, "a task has the invalid index %" PRId64, index);
    while (state < TASK_STATE_COUNT && strcmp(text(rows, 2), task_state_text(state)) != 0)
        state++;
    struct task row = {.id = task_id_of((job_id){(uint64_t)integer(rows, 0)}, (uint32_t)index),
                       .state = (enum task_state)state,
                       .attempt = (uint32_t)integer(rows, 3),
                       .machine = {(uint32_t)integer(rows, 4)},
                       .failures = (uint32_t)integer(rows, 6)};
    row.stopping = cause_of(text(rows, 5));
    row.cause = cause_of(text(rows, 7));
    row.alloc = task_id_of((job_id){(uint64_t)integer(rows, 8)}, (uint32_t)integer(rows, 9));
    row.devices = (uint32_t)integer(rows, 10);
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        row.crashed_on[i].v = (uint32_t)integer(rows, 11 + i);
    for (int r = 0; r < RECLAIM_COUNT; r++) {
        row.reserves[r].used = integer(rows, 14 + r);
        row.reserves[r].reclaimed_percent = (uint32_t)integer(rows, 14 + RECLAIM_COUNT + r);
    }
    row.shape = (uint32_t)integer(rows, 14 + 2 * RECLAIM_COUNT) - 1;
    row.misstarts = (uint32_t)integer(rows, 15 + 2 * RECLAIM_COUNT);
    return cell_load_task(sim->cell, &row, err);
}

/* The order is the one that cell.h requires. Back-offs count as over. */
static const struct table {
    const char *sql;
    int (*load)(struct sim *sim, const struct rows *rows, struct err *err);
} tables[] = {
    {"SELECT now_ms, next_job, policy FROM meta", load_meta},
    {"SELECT slot, name FROM resource_names", load_name},
    {"SELECT id, name, state, cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, "
     "named1, named2, named3, draining, (SELECT group_concat(word, char(10)) FROM (SELECT key || "
     "'=' || value AS word "
     "FROM machine_attributes WHERE machine_id = id ORDER BY key)) FROM machines ORDER BY id",
     load_machine},
    {"SELECT id, killed, reason, spec, priority, replicas, task_count, cpu_milli, ram_bytes, "
     "disk_bytes, ports, gpu_milli FROM jobs LEFT JOIN job_specs ON job_id = id "
     "WHERE NOT dead ORDER BY id",
     load_job},
    {"SELECT l.job_id, l.cpu_milli, l.ram_bytes, l.disk_bytes, l.ports, l.gpu_milli, l.named1, "
     "l.named2, l.named3 FROM job_limits l JOIN jobs j ON j.id = l.job_id "
     "WHERE l.shape > 4 AND NOT j.dead ORDER BY l.job_id, l.shape",
     load_limit_old},
    {"SELECT t.job_id, t.idx, t.state, t.attempt, t.machine_id, t.stopping, t.failures, t.cause, "
     "t.alloc_job_id, t.alloc_idx, "
     "(SELECT coalesce(sum(1 << value), 0) FROM json_each(t.gpus)), "
     "t.crashed_on_1, t.crashed_on_2, t.crashed_on_3, "
     "t.used_cpu_milli, t.used_ram_bytes, t.reclaimed_cpu_percent, t.reclaimed_ram_percent, "
     "t.shape, t.misstarts "
     "FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE NOT j.dead ORDER BY t.job_id, t.idx",
     load_task},
};

static int rows_open(struct rows *rows, const char *path, struct err *err)
{
    *rows = (struct rows){0};
    if (sqlite3_open_v2(path, &rows->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return err_set(err, ERR_IO, "cannot open it: %s",
                       rows->db == NULL ? "out of memory" : sqlite3_errmsg(rows->db));
    int rc = rows_query(rows, "PRAGMA application_id", err);
    if (rc != 0 || sqlite3_step(rows->statement) != SQLITE_ROW)
        return rc != 0 ? rc : rows_fail(rows, err);
    if (integer(rows, 0) != CELL_APPLICATION_ID)
        return err_set(err, ERR_INVALID, "it is a SQLite database, but not the cell.db of a cell");
    rc = rows_query(rows, "PRAGMA user_version", err);
    if (rc != 0 || sqlite3_step(rows->statement) != SQLITE_ROW)
        return rc != 0 ? rc : rows_fail(rows, err);
    if (integer(rows, 0) != CELL_SCHEMA)
        return err_set(err, ERR_INVALID,
                       "its schema has version %" PRId64 ", this borgctl reads %d: use the borgctl "
                       "that belongs to the masters",
                       integer(rows, 0), CELL_SCHEMA);
    return 0;
}

int sim_load_checkpoint(struct sim *sim, const char *path, struct err *err)
{
    CLEANUP(rows_release) struct rows rows;
    int rc = rows_open(&rows, path, err);
    /* One transaction gives a consistent view while a live replica writes. */
    if (rc == 0 && sqlite3_exec(rows.db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        rc = rows_fail(&rows, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(tables); i++) {
        int step = SQLITE_DONE;
        rc = rows_query(&rows, tables[i].sql, err);
        while (rc == 0 && (step = sqlite3_step(rows.statement)) == SQLITE_ROW)
            rc = tables[i].load(sim, &rows, err);
        if (rc == 0 && step != SQLITE_DONE)
            rc = rows_fail(&rows, err);
    }
    if (rc == 0)
        rc = cell_load_done(sim->cell, err);
    if (rc != 0)
        return err_wrap(err, "%s", path);
    struct delta *delta = delta_full(sim->cell);
    sched_update(sim->sched, delta);
    delta_unref(delta);
    return 0;
}
