/*
 * store_load.c - a cell from the rows of a database.
 *
 * The rows are the cell's own, but the disk is not to be trusted: texts that are no state, ids out
 * of order or a digest that does not fit are ERR_CORRUPT, and the cell is empty again.
 */
#include "store_impl.h"

#include "cmd_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int store_sqlite_err(sqlite3 *db, const char *what, struct err *err)
{
    const char *msg = db == NULL ? "out of memory" : sqlite3_errmsg(db);
    enum err_code code = ERR_IO;
    if (store_vfs_damage_take())
        return err_set(err, ERR_CORRUPT, "%s: a page does not have the checksum it was given",
                       what);
    switch (db == NULL ? SQLITE_NOMEM : sqlite3_errcode(db) & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    /* Our own statements are right, so it is the tables or rows that are not ours. */
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        code = ERR_CORRUPT;
    }
    /* "disk I/O error" alone would not tell a full disk from a broken one. */
    int error =
        db != NULL && (sqlite3_errcode(db) & 0xff) == SQLITE_IOERR ? sqlite3_system_errno(db) : 0;
    return err_set(err, code, "%s: %s%s%s", what, msg, error != 0 ? ": " : "",
                   error != 0 ? strerror(error) : "");
}

static void statement_release(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

int store_number(sqlite3 *db, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        return store_sqlite_err(db, "cannot read the database", err);
    *ret = sqlite3_column_int64(statement, 0);
    return 0;
}

/* The columns of a row, taken one after the other. */
struct columns {
    sqlite3_stmt *statement;
    int at;
};

static uint64_t take_u64(struct columns *c)
{
    return (uint64_t)sqlite3_column_int64(c->statement, c->at++);
}

static uint32_t take_u32(struct columns *c)
{
    return (uint32_t)take_u64(c);
}

static const char *take_text(struct columns *c)
{
    const char *text = (const char *)sqlite3_column_text(c->statement, c->at++);
    return text == NULL ? "" : text;
}

/* The number whose text stands in the column; `count` when it is none. */
#define TAKE_ENUM(columns, text_of, count) \
    ({ \
        const char *taken_ = take_text(columns); \
        unsigned n_ = 0; \
        while (n_ < (unsigned)(count) && strcmp(taken_, text_of(n_)) != 0) \
            n_++; \
        n_; \
    })

static void take_resources(struct columns *c, struct resources *to)
{
    for (int i = 0; i < RES_COUNT; i++)
        to->v[i] = (int64_t)take_u64(c);
}

/* "[8080,8081]" */
static int take_ports(struct columns *c, uint16_t *ports, struct err *err)
{
    const char *at = take_text(c), *text = at;
    bool right = *at++ == '[';
    for (size_t i = 0; right && *at != ']'; i++) {
        char *end = NULL;
        unsigned long port = i < SPEC_PORTS_MAX ? strtoul(at, &end, 10) : UINT16_MAX + 1UL;
        right = port <= UINT16_MAX && end != at && (*end == ',' || *end == ']');
        if (right)
            ports[i] = (uint16_t)port;
        at = right && *end == ',' ? end + 1 : end;
    }
    return right ? 0 : err_set(err, ERR_CORRUPT, "\"%.40s\" are no ports", text);
}

/* "[0,2]" */
static int take_gpus(struct columns *c, uint32_t *devices, struct err *err)
{
    const char *at = take_text(c), *text = at;
    bool right = *at++ == '[';
    while (right && *at != ']') {
        char *end = NULL;
        unsigned long device = strtoul(at, &end, 10);
        right = device < DEVICES_MAX && end != at && (*end == ',' || *end == ']');
        *devices |= right ? UINT32_C(1) << device : 0;
        at = right && *end == ',' ? end + 1 : end;
    }
    return right ? 0 : err_set(err, ERR_CORRUPT, "\"%.40s\" are no gpus", text);
}

/* Words "key=value", one a line; a line that is none is for cell_load_machine() to refuse. */
static void take_attributes(struct columns *c, struct words *to)
{
    CLEANUP(free_ptr) char *text = xstrdup(take_text(c));
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            words_add(to, line);
}

static int load_name(struct cell *cell, struct columns *c, struct err *err)
{
    uint64_t slot = take_u64(c);
    const char *name = take_text(c);
    if (slot < 1 || slot > RESOURCES_NAMED_MAX || strlen(name) > RESOURCE_NAME_MAX)
        return err_set(err, ERR_CORRUPT, "resource %" PRIu64 ": its slot or name is none", slot);
    str_copy(cell->resource_names.text[slot - 1], RESOURCE_NAME_MAX + 1, name);
    return resource_names_valid(&cell->resource_names, err) == 0
               ? 0
               : err_set(err, ERR_CORRUPT, "resource %" PRIu64 ": \"%s\" is no name", slot, name);
}

/* "[1048576,1]": the next number; false at the end. */
static bool next_number(const char **at, uint64_t *ret, bool *right)
{
    char *end = NULL;
    *right &= **at == '[' || **at == ',' || **at == ']';
    if (!*right || **at == ']' || strcmp(*at, "[]") == 0)
        return false;
    errno = 0;
    *ret = strtoull(*at + 1, &end, 10);
    *right &= end != *at + 1 && (*at)[1] >= '0' && (*at)[1] <= '9' && errno == 0;
    *at = end;
    return *right;
}

static bool take_faults(struct columns *c, struct machine *row)
{
    const char *at = take_text(c);
    bool right = true;
    uint64_t task;
    for (int i = 0; next_number(&at, &task, &right); i++) {
        if (i == MACHINE_FAULTS_MAX)
            return false;
        row->faults[i].v = task;
    }
    return right;
}

static bool take_left(struct columns *c, struct machine *row)
{
    const char *at = take_text(c);
    bool right = true;
    uint64_t task, attempt;
    row->left = xcalloc(MACHINE_LEFT_MAX, sizeof *row->left);
    while (next_number(&at, &task, &right)) {
        if (!next_number(&at, &attempt, &right) || attempt > UINT32_MAX ||
            row->left_count == MACHINE_LEFT_MAX)
            return false;
        row->left[row->left_count++] = (struct attempt_ref){{task}, (uint32_t)attempt};
    }
    return right;
}

static int load_machine(struct cell *cell, struct columns *c, struct err *err)
{
    struct machine row = {.id = {take_u32(c)}};
    str_copy(row.name, sizeof row.name, take_text(c));
    str_copy(row.addr, sizeof row.addr, take_text(c));
    row.state = TAKE_ENUM(c, machine_state_text, MACHINE_STATE_COUNT);
    take_resources(c, &row.capacity);
    row.changed_ms = take_u64(c);
    row.draining = take_u64(c) != 0;
    take_attributes(c, &row.attributes);
    row.instance = take_u64(c);
    row.rival = take_u64(c);
    row.rival_ms = take_u64(c);
    bool right = take_faults(c, &row);
    row.sick_rounds = take_u32(c);
    row.sick_until_ms = take_u64(c);
    right &= take_left(c, &row);
    row.directory = take_u64(c);
    row.left_foreign = take_u32(c);
    int rv = right ? cell_load_machine(cell, &row, err)
                   : err_set(err, ERR_CORRUPT, "machine %u: a list of tasks is none", row.id.v);
    words_release(&row.attributes);
    free(row.left);
    return rv;
}

static int load_job(struct cell *cell, struct columns *c, struct err *err)
{
    struct job row = {.id = {take_u64(c)}};
    row.killed = take_u64(c) != 0;
    row.submitted_ms = take_u64(c);
    row.changed_ms = take_u64(c);
    str_copy(row.reason, sizeof row.reason, take_text(c));
    uint32_t priority = take_u32(c), replicas = take_u32(c);
    row.task_count = take_u32(c);
    struct resources limit;
    take_resources(c, &limit);
    const void *spec = sqlite3_column_blob(c->statement, c->at);
    int size = sqlite3_column_bytes(c->statement, c->at);
    int rv = spec_unpack(spec, spec == NULL ? 0 : (size_t)size, &row.spec, err);
    if (rv != 0)
        return err_wrap(err, "job %" PRIu64, row.id.v);
    row.spec.priority = priority;
    row.spec.replicas = replicas;
    for (int r = 0; r < RES_NAMED;
         r++) /* named ones never change, and are numbered as in the spec */
        row.spec.limit.v[r] = limit.v[r];
    rv = cell_load_job(cell, &row, err);
    spec_release(&row.spec);
    return rv;
}

static int load_limit_old(struct cell *cell, struct columns *c, struct err *err)
{
    job_id job = {take_u64(c)};
    struct resources limit;
    if (take_u32(c) <= SPEC_SHAPES_MAX)
        return 0; /* of the spec, which says it */
    take_resources(c, &limit);
    return cell_load_limit_old(cell, job, &limit, err);
}

static int take_alloc(struct columns *c, task_id *ret, struct err *err)
{
    job_id job = {take_u64(c)};
    uint64_t index = take_u64(c);
    if (index >= CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_CORRUPT, "a task in an alloc of index %" PRIu64, index);
    *ret = task_id_of(job, (uint32_t)index);
    return 0;
}

static int load_task(struct cell *cell, struct columns *c, struct err *err)
{
    job_id job = {take_u64(c)};
    uint64_t index = take_u64(c);
    if (index >= CELL_TASKS_PER_JOB_MAX)
        return err_set(err, ERR_CORRUPT, "task %" PRIu64 "/%" PRIu64 ": no such index", job.v,
                       index);
    struct task row = {.id = task_id_of(job, (uint32_t)index)};
    row.state = TAKE_ENUM(c, task_state_text, TASK_STATE_COUNT);
    row.attempt = take_u32(c);
    row.machine.v = take_u32(c);
    row.cause = TAKE_ENUM(c, cause_text, CAUSE_COUNT);
    row.stopping = TAKE_ENUM(c, cause_text, CAUSE_COUNT);
    row.failures = take_u32(c);
    row.pid = (int32_t)take_u32(c);
    row.exit_code = (int32_t)take_u32(c);
    int rv = take_ports(c, row.ports, err);
    row.not_before_ms = take_u64(c);
    row.started_ms = take_u64(c);
    row.changed_ms = take_u64(c);
    rv = rv != 0 ? rv : take_alloc(c, &row.alloc, err);
    rv = rv != 0 ? rv : take_gpus(c, &row.devices, err);
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        row.crashed_on[i].v = take_u32(c);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row.reserves[r].used = (int64_t)take_u64(c);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row.reserves[r].reclaimed_percent = take_u32(c);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row.reserves[r].since_ms = take_u64(c);
    row.shape = take_u32(c) - 1;
    row.misstarts = take_u32(c);
    row.by_eviction = take_u64(c) != 0;
    return rv != 0 ? rv : cell_load_task(cell, &row, err);
}

static int64_t take_limit(struct columns *c)
{
    bool unlimited = sqlite3_column_type(c->statement, c->at) == SQLITE_NULL;
    int64_t limit = (int64_t)take_u64(c);
    return unlimited ? QUOTA_UNLIMITED : limit;
}

static int load_quota(struct cell *cell, struct columns *c, struct err *err)
{
    struct quota row = {0};
    str_copy(row.user, sizeof row.user, take_text(c));
    row.band = TAKE_ENUM(c, band_text, BAND_COUNT);
    for (int i = 0; i < RES_COUNT; i++)
        row.limit.v[i] = take_limit(c);
    row.tasks = take_limit(c);
    return cell_load_quota(cell, &row, err);
}

static int load_identity(struct cell *cell, struct columns *c, struct err *err)
{
    struct identity_row row = {0};
    str_copy(row.identity, sizeof row.identity, take_text(c));
    for (enum right r = 0; r < RIGHT_COUNT; r++)
        row.rights |= take_u64(c) != 0 ? BIT(r) : 0;
    row.revoked_ms = take_u64(c);
    row.changed_ms = take_u64(c);
    str_copy(row.changed_by, sizeof row.changed_by, take_text(c));
    return cell_load_identity(cell, &row, err);
}

static int load_request(struct cell *cell, struct columns *c, struct err *err)
{
    uint64_t seq = take_u64(c);
    struct remembered row = {.request_id = {take_u64(c), 0}};
    row.request_id[1] = take_u64(c);
    row.index = take_u64(c);
    uint64_t code = take_u64(c);
    if (code >= ERR_CODE_COUNT)
        return err_set(err, ERR_CORRUPT, "request %" PRIu64 ": no such answer", seq);
    row.code = (enum err_code)code;
    row.job.v = take_u64(c);
    str_copy(row.msg, sizeof row.msg, take_text(c));
    return cell_load_request(cell, seq, &row, err);
}

static int load_meta(struct cell *cell, struct columns *c, struct err *err)
{
    (void)err;
    cell->applied_index = take_u64(c);
    cell->applied_term = take_u64(c);
    cell->now_ms = take_u64(c);
    cell->event_seq = take_u64(c);
    cell->next_job = take_u64(c);
    cell->settings.policy = TAKE_ENUM(c, policy_text, POLICY_COUNT);
    cell->settings.hold = TAKE_ENUM(c, hold_text, HOLD_COUNT);
    cell->settings.masters.next_id = take_u64(c);
    return 0;
}

static int load_master(struct cell *cell, struct columns *c, struct err *err)
{
    struct masters *masters = &cell->settings.masters;
    if (masters->count == MASTER_ROWS_MAX)
        return err_set(err, ERR_CORRUPT, "more than %d replicas", MASTER_ROWS_MAX);
    struct master *row = &masters->rows[masters->count++];
    row->id = take_u64(c);
    str_copy(row->rpc, sizeof row->rpc, take_text(c));
    str_copy(row->raft, sizeof row->raft, take_text(c));
    row->state = TAKE_ENUM(c, master_state_text, MASTER_STATE_COUNT);
    return 0;
}

/* In the order that cell.h asks for. */
static const struct table {
    const char *sql;
    int (*load)(struct cell *cell, struct columns *c, struct err *err);
} tables[] = {
    {"SELECT applied_index, applied_term, now_ms, event_seq, next_job, policy, hold, "
     "next_replica FROM meta",
     load_meta},
    {"SELECT id, rpc, raft, state FROM replicas ORDER BY id", load_master},
    {"SELECT slot, name FROM resource_names", load_name},
    {"SELECT id, name, addr, state, cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, "
     "named1, named2, named3, changed_ms, "
     "draining, (SELECT group_concat(word, char(10)) FROM (SELECT key || '=' || value AS word "
     "FROM machine_attributes WHERE machine_id = id ORDER BY key)), instance, rival, rival_ms, "
     "faults, sick_rounds, "
     "sick_until_ms, left_behind, directory, left_foreign FROM machines ORDER BY id",
     load_machine},
    {"SELECT id, killed, submitted_ms, changed_ms, reason, priority, replicas, task_count, "
     "cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, named1, named2, named3, spec "
     "FROM jobs LEFT JOIN job_specs_private_rows ON job_id = id ORDER BY id",
     load_job},
    {"SELECT job_id, shape, cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, named1, named2, "
     "named3 FROM job_limits ORDER BY job_id, shape",
     load_limit_old},
    {"SELECT job_id, idx, state, attempt, machine_id, cause, stopping, failures, pid, exit_code, "
     "ports, not_before_ms, started_ms, changed_ms, alloc_job_id, alloc_idx, gpus, crashed_on_1, "
     "crashed_on_2, crashed_on_3, used_cpu_milli, used_ram_bytes, reclaimed_cpu_percent, "
     "reclaimed_ram_percent, cpu_since_ms, ram_since_ms, shape, misstarts, by_eviction FROM tasks "
     "ORDER BY job_id, idx",
     load_task},
    {"SELECT user, band, cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, named1, "
     "named2, named3, tasks FROM quotas",
     load_quota},
    {"SELECT identity, operator, reader, production, monitoring, revoked_ms, changed_ms, "
     "changed_by "
     "FROM identities ORDER BY identity",
     load_identity},
    {"SELECT seq, id_high, id_low, at_index, code, job_id, msg FROM requests_private_rows "
     "ORDER BY seq",
     load_request},
};

static int load_table(sqlite3 *db, const struct table *table, struct cell *cell, struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    int rc = SQLITE_ROW;
    if (sqlite3_prepare_v2(db, table->sql, -1, &statement, NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot read the database", err);
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct columns columns = {statement, 0};
        int rv = table->load(cell, &columns, err);
        if (rv != 0)
            return rv;
    }
    return rc == SQLITE_DONE ? 0 : store_sqlite_err(db, "cannot read the database", err);
}

/* Attributes of no machine would come up as soon as there is one of that number. */
static int attributes_are_of_machines(sqlite3 *db, struct err *err)
{
    int64_t count;
    int rv = store_number(db,
                          "SELECT count(*) FROM machine_attributes "
                          "WHERE machine_id NOT IN (SELECT id FROM machines)",
                          &count, err);
    if (rv != 0 || count == 0)
        return rv;
    return err_set(err, ERR_CORRUPT, "%" PRId64 " attributes are of machines that are not there",
                   count);
}

/* A task that never moved loads the same from no row at all; queries would miss it. */
static int tasks_are_there(sqlite3 *db, struct err *err)
{
    int64_t missing;
    int rv = store_number(db,
                          "SELECT (SELECT coalesce(sum(task_count), 0) FROM jobs) - "
                          "(SELECT count(*) FROM tasks)",
                          &missing, err);
    if (rv != 0 || missing == 0)
        return rv;
    return err_set(err, ERR_CORRUPT, "%" PRId64 " rows of tasks are missing", missing);
}

/* What was loaded must be what was written. */
static int digest_matches(sqlite3 *db, const struct cell *cell, struct err *err)
{
    sqlite3_stmt *statement CLEANUP(statement_release) = NULL;
    const char *sql = "SELECT digest, request_seq FROM meta";
    char digest[STORE_DIGEST_BYTES];
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_sqlite_err(db, "cannot read the database", err);
    if (sqlite3_step(statement) != SQLITE_ROW)
        return err_set(err, ERR_CORRUPT, "it has no row in meta");
    struct columns c = {statement, 0};
    const char *stored = take_text(&c);
    if (stored[0] == '\0' && cell->applied_index == 0)
        return 0; /* nothing was ever written */
    if (take_u64(&c) != cell->request_seq)
        return err_set(err, ERR_CORRUPT, "its last request is missing");
    store_digest_text(cell_digest(cell), digest);
    return strcmp(digest, stored) == 0
               ? 0
               : err_set(err, ERR_CORRUPT,
                         "its rows have the digest %s, at index %" PRIu64 " it was %.16s", digest,
                         cell->applied_index, stored);
}

int store_load(sqlite3 *db, struct cell *cell, struct err *err)
{
    ASSERT(cell->machine_count == 0);
    ASSERT(cell->job_count == 0);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < ARRAY_SIZE(tables); i++)
        rv = load_table(db, &tables[i], cell, err);
    if (rv == 0)
        rv = cell_load_done(cell, err);
    if (rv == 0)
        rv = digest_matches(db, cell, err);
    if (rv == 0)
        rv = tasks_are_there(db, err);
    if (rv == 0)
        rv = attributes_are_of_machines(db, err);
    if (rv != 0)
        cell_clear(cell);
    return rv;
}
