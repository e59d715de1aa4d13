/*
 * store_rows.c - deltas as rows: one prepared statement per kind of row.
 *
 * A row in a delta is the whole truth about it, so every write is "put": insert or replace what is
 * there. What never changes about a job is written once.
 */
#include "store_impl.h"

#include "attributes.h"
#include "cmd_pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_META_PUT] =
        "UPDATE meta SET applied_index = ?, applied_term = ?, now_ms = ?, event_seq = ?, "
        "next_job = ?, request_seq = ?, digest = ?, policy = ?, hold = ?, stored_index = ?, "
        "cell = ?, next_replica = ?",
    [STATEMENT_MACHINE_PUT] =
        "INSERT INTO machines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, addr = excluded.addr, "
        "state = excluded.state, "
        "cpu_milli = excluded.cpu_milli, ram_bytes = excluded.ram_bytes, "
        "disk_bytes = excluded.disk_bytes, ports = excluded.ports, "
        "gpu_milli = excluded.gpu_milli, named1 = excluded.named1, named2 = excluded.named2, "
        "named3 = excluded.named3, "
        "reserved_cpu_milli = excluded.reserved_cpu_milli, "
        "reserved_ram_bytes = excluded.reserved_ram_bytes, "
        "reserved_disk_bytes = excluded.reserved_disk_bytes, "
        "reserved_ports = excluded.reserved_ports, "
        "reserved_gpu_milli = excluded.reserved_gpu_milli, "
        "reserved_named1 = excluded.reserved_named1, reserved_named2 = excluded.reserved_named2, "
        "reserved_named3 = excluded.reserved_named3, task_count = excluded.task_count, "
        "changed_ms = excluded.changed_ms, draining = excluded.draining, "
        "used_cpu_milli = excluded.used_cpu_milli, used_ram_bytes = excluded.used_ram_bytes, "
        "reclaimed_cpu_milli = excluded.reclaimed_cpu_milli, "
        "reclaimed_ram_bytes = excluded.reclaimed_ram_bytes, "
        "instance = excluded.instance, rival = excluded.rival, rival_ms = excluded.rival_ms, "
        "faults = excluded.faults, sick_rounds = excluded.sick_rounds, "
        "sick_until_ms = excluded.sick_until_ms, unconfirmed = excluded.unconfirmed, "
        "left_behind = excluded.left_behind, directory = excluded.directory, "
        "left_foreign = excluded.left_foreign",
    [STATEMENT_ATTRIBUTES_FORGET] = "DELETE FROM machine_attributes WHERE machine_id = ?",
    [STATEMENT_ATTRIBUTE_PUT] = "INSERT INTO machine_attributes VALUES (?, ?, ?)",
    /* The order of what changes is the same in both, so that one function binds it. */
    [STATEMENT_JOB_UPDATE] =
        "UPDATE jobs SET state = ?2, dead = ?3, killed = ?4, pending = ?5, assigned = ?6, "
        "running = ?7, finished = ?8, failed = ?9, killed_tasks = ?10, unwanted = ?11, "
        "stopping = ?12, reason = ?13, changed_ms = ?14, disrupted = ?15, priority = ?16, "
        "band = ?17, replicas = ?18, task_count = ?19, cpu_milli = ?20, ram_bytes = ?21, "
        "disk_bytes = ?22, ports = ?23, gpu_milli = ?24, named1 = ?25, named2 = ?26, "
        "named3 = ?27, unconfirmed = ?28 WHERE id = ?1",
    [STATEMENT_JOB_INSERT] =
        "INSERT INTO jobs (id, state, dead, killed, pending, assigned, running, finished, failed, "
        "killed_tasks, unwanted, stopping, reason, changed_ms, disrupted, priority, band, "
        "replicas, task_count, cpu_milli, ram_bytes, disk_bytes, ports, gpu_milli, named1, named2, "
        "named3, unconfirmed, name, user, appclass, policy, submitted_ms, max_disruptions, gang, "
        "is_alloc_set, alloc_set, every_machine) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_SPEC_PUT] = "INSERT OR REPLACE INTO job_specs_private_rows VALUES (?, ?, ?)",
    [STATEMENT_LIMIT_PUT] =
        "INSERT OR REPLACE INTO job_limits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_TASK_PUT] =
        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (job_id, idx) DO UPDATE SET state = excluded.state, "
        "attempt = excluded.attempt, machine_id = excluded.machine_id, cause = excluded.cause, "
        "stopping = excluded.stopping, failures = excluded.failures, pid = excluded.pid, "
        "exit_code = excluded.exit_code, ports = excluded.ports, "
        "not_before_ms = excluded.not_before_ms, started_ms = excluded.started_ms, "
        "changed_ms = excluded.changed_ms, alloc_job_id = excluded.alloc_job_id, "
        "alloc_idx = excluded.alloc_idx, gpus = excluded.gpus, "
        "crashed_on_1 = excluded.crashed_on_1, crashed_on_2 = excluded.crashed_on_2, "
        "crashed_on_3 = excluded.crashed_on_3, "
        "used_cpu_milli = excluded.used_cpu_milli, used_ram_bytes = excluded.used_ram_bytes, "
        "reclaimed_cpu_percent = excluded.reclaimed_cpu_percent, "
        "reclaimed_ram_percent = excluded.reclaimed_ram_percent, "
        "cpu_since_ms = excluded.cpu_since_ms, ram_since_ms = excluded.ram_since_ms, "
        "shape = excluded.shape, misstarts = excluded.misstarts, "
        "by_eviction = excluded.by_eviction",
    [STATEMENT_EVENT_PUT] =
        "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, ?4, (SELECT name FROM jobs WHERE id = "
        "?4), ?5, ?6, ?7, ?8, ?9, ?10, nullif(?11, ''))",
    [STATEMENT_EVENTS_PRUNE] = "DELETE FROM events WHERE seq <= ?",
    [STATEMENT_REQUEST_PUT] =
        "INSERT OR REPLACE INTO requests_private_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_JOB_FORGET] = "DELETE FROM jobs WHERE id = ?",
    [STATEMENT_SPEC_FORGET] = "DELETE FROM job_specs_private_rows WHERE job_id = ?",
    [STATEMENT_LIMITS_FORGET] = "DELETE FROM job_limits WHERE job_id = ?",
    [STATEMENT_TASKS_FORGET] = "DELETE FROM tasks WHERE job_id = ?",
    [STATEMENT_NAMES_CLEAR] = "DELETE FROM resource_names",
    [STATEMENT_NAME_PUT] = "INSERT INTO resource_names VALUES (?, ?)",
    [STATEMENT_REPLICAS_CLEAR] = "DELETE FROM replicas",
    [STATEMENT_REPLICA_PUT] = "INSERT INTO replicas VALUES (?, ?, ?, ?)",
    [STATEMENT_QUOTAS_CLEAR] = "DELETE FROM quotas",
    [STATEMENT_QUOTA_PUT] = "INSERT INTO quotas VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_IDENTITIES_CLEAR] = "DELETE FROM identities",
    [STATEMENT_IDENTITY_PUT] = "INSERT INTO identities VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
};

/* Values bound one after the other. Binding fails only for a wrong number of them. */
struct row {
    sqlite3_stmt *statement;
    int at;
};

static struct row row_begin(struct store_rows *rows, enum store_statement which)
{
    return (struct row){rows->statements[which], 0};
}

static void row_int(struct row *row, int64_t value)
{
    int rc = sqlite3_bind_int64(row->statement, ++row->at, value);
    ASSERT(rc == SQLITE_OK);
}

static void row_u64(struct row *row, uint64_t value)
{
    row_int(row, (int64_t)value);
}

/* `text` has to live until row_end(). */
static void row_text(struct row *row, const char *text)
{
    int rc = sqlite3_bind_text(row->statement, ++row->at, text, -1, SQLITE_STATIC);
    ASSERT(rc == SQLITE_OK);
}

static void row_bytes(struct row *row, const struct buf *bytes)
{
    int rc = sqlite3_bind_blob(row->statement, ++row->at, buf_text(bytes), (int)bytes->size,
                               SQLITE_STATIC);
    ASSERT(rc == SQLITE_OK);
}

/* NULL stands for none, so that joins and partial indexes leave it out. */
static void row_int_if(struct row *row, bool is_there, int64_t value)
{
    if (is_there) {
        row_int(row, value);
        return;
    }
    int rc = sqlite3_bind_null(row->statement, ++row->at);
    ASSERT(rc == SQLITE_OK);
}

static void row_id(struct row *row, uint64_t id)
{
    row_int_if(row, id != 0, (int64_t)id);
}

static int row_end(struct row *row, struct err *err)
{
    ASSERT(row->at == sqlite3_bind_parameter_count(row->statement));
    int rc = sqlite3_step(row->statement);
    sqlite3 *db = sqlite3_db_handle(row->statement);
    int rv = rc == SQLITE_DONE ? 0 : store_sqlite_err(db, "cannot write the database", err);
    sqlite3_reset(row->statement);
    return rv;
}

static int run(struct store_rows *rows, enum store_statement which, struct err *err)
{
    struct row row = row_begin(rows, which);
    return row_end(&row, err);
}

static void row_resources(struct row *row, const struct resources *r)
{
    for (int i = 0; i < RES_COUNT; i++)
        row_int(row, r->v[i]);
}

static uint64_t *attributes_written(struct store_rows *rows, machine_id machine)
{
    if (machine.v > rows->attributes_written_count) {
        size_t count = MAX((size_t)machine.v, 2 * rows->attributes_written_count);
        rows->attributes_written =
            xrealloc(rows->attributes_written, count, sizeof *rows->attributes_written);
        for (size_t i = rows->attributes_written_count; i < count; i++)
            rows->attributes_written[i] = 0;
        rows->attributes_written_count = count;
    }
    return &rows->attributes_written[machine.v - 1];
}

static int put_attributes(struct store_rows *rows, const struct machine *machine, struct err *err)
{
    uint64_t *written = attributes_written(rows, machine->id);
    if (*written == machine->attributes_hash && *written != 0)
        return 0;
    struct row forget = row_begin(rows, STATEMENT_ATTRIBUTES_FORGET);
    row_u64(&forget, machine->id.v);
    int rv = row_end(&forget, err);
    for (const char *w = words_first(&machine->attributes); rv == 0 && w != NULL;
         w = words_next(&machine->attributes, w)) {
        char key[CELL_NAME_MAX + 1];
        const char *value;
        rv = attribute_parse(w, key, &value, err);
        ASSERT(rv == 0); /* the cell has no others */
        struct row row = row_begin(rows, STATEMENT_ATTRIBUTE_PUT);
        row_u64(&row, machine->id.v);
        row_text(&row, key);
        row_text(&row, value);
        rv = row_end(&row, err);
    }
    *written = machine->attributes_hash;
    return rv;
}

/* "[1048576,1,1048577,3]" */
static void number_print(struct buf *to, uint64_t number)
{
    buf_printf(to, "%s%" PRIu64, to->size == 0 ? "[" : ",", number);
}

static void machine_lists(const struct machine *machine, struct buf *faults, struct buf *left)
{
    for (int i = 0; i < MACHINE_FAULTS_MAX && machine->faults[i].v != 0; i++)
        number_print(faults, machine->faults[i].v);
    for (uint32_t i = 0; i < machine->left_count; i++) {
        number_print(left, machine->left[i].task.v);
        number_print(left, machine->left[i].attempt);
    }
    buf_printf(faults, faults->size == 0 ? "[]" : "]");
    buf_printf(left, left->size == 0 ? "[]" : "]");
}

static int put_machine(struct store_rows *rows, const struct machine *machine, struct err *err)
{
    struct buf faults CLEANUP(buf_release) = {0}, left CLEANUP(buf_release) = {0};
    struct row row = row_begin(rows, STATEMENT_MACHINE_PUT);
    row_u64(&row, machine->id.v);
    row_text(&row, machine->name);
    row_text(&row, machine->addr);
    row_text(&row, machine_state_text(machine->state));
    row_resources(&row, &machine->capacity);
    row_resources(&row, &machine->reserved);
    row_int(&row, machine->task_count);
    row_u64(&row, machine->changed_ms);
    row_int(&row, machine->draining);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row_int(&row, machine->used[r]);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row_int(&row, machine->reclaimed[r]);
    machine_lists(machine, &faults, &left);
    row_u64(&row, machine->instance);
    row_u64(&row, machine->rival);
    row_u64(&row, machine->rival_ms);
    row_text(&row, buf_text(&faults));
    row_int(&row, machine->sick_rounds);
    row_u64(&row, machine->sick_until_ms);
    row_int(&row, machine->left_count);
    row_text(&row, buf_text(&left));
    row_u64(&row, machine->directory);
    row_int(&row, machine->left_foreign);
    int rv = row_end(&row, err);
    return rv != 0 ? rv : put_attributes(rows, machine, err);
}

/* A word as one would have to write it in a shell. */
static void command_word(struct buf *to, const char *word)
{
    bool plain = word[0] != '\0';
    for (const char *c = word; *c != '\0'; c++)
        plain = plain && (strchr("+,-./:=@_%", *c) != NULL || (*c >= '0' && *c <= '9') ||
                          (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'));
    if (plain) {
        buf_append(to, word, strlen(word));
        return;
    }
    buf_append(to, "'", 1);
    for (const char *c = word; *c != '\0'; c++)
        if (*c == '\'')
            buf_append(to, "'\\''", 4);
        else
            buf_append(to, c, 1);
    buf_append(to, "'", 1);
}

static void command_text(struct buf *to, const struct words *argv)
{
    for (const char *word = words_first(argv); word != NULL; word = words_next(argv, word)) {
        if (to->size > 0)
            buf_append(to, " ", 1);
        command_word(to, word);
    }
}

static int put_spec(struct store_rows *rows, const struct job_row *job, struct err *err)
{
    struct buf command CLEANUP(buf_release) = {0}, spec CLEANUP(buf_release) = {0};
    struct row row = row_begin(rows, STATEMENT_SPEC_PUT);
    /* What may change is in jobs. It is left out here: how far a job has come when its first delta
     * is collected differs between replicas, and their rows must not. */
    struct job_spec lasting = job->spec; /* borrows its words */
    lasting.priority = 0;
    lasting.replicas = 0;
    for (int r = 0; r < RES_NAMED; r++)
        lasting.limit.v[r] = 0;
    command_text(&command, &job->spec.argv);
    spec_pack(&lasting, &spec);
    row_u64(&row, job->id.v);
    row_text(&row, buf_text(&command));
    row_bytes(&row, &spec);
    return row_end(&row, err);
}

static int put_limit(struct store_rows *rows, const struct job_row *job, uint32_t shape,
                     const struct resources *limit, struct err *err)
{
    struct row row = row_begin(rows, STATEMENT_LIMIT_PUT);
    row_u64(&row, job->id.v);
    row_int(&row, shape + 1);
    row_resources(&row, limit);
    return row_end(&row, err);
}

static int put_shapes(struct store_rows *rows, const struct job_row *job, struct err *err)
{
    int rv = 0;
    for (uint32_t i = 1; rv == 0 && i < spec_shape_count(&job->spec); i++)
        rv = put_limit(rows, job, i, spec_shape(&job->spec, i), err);
    return rv;
}

static int put_limits_old(struct store_rows *rows, const struct job_row *job, struct err *err)
{
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < job->limit_old_count; i++)
        rv = put_limit(rows, job, SPEC_SHAPES_MAX + i, &job->limits_old[i], err);
    return rv;
}

static void row_job_state(struct row *row, const struct job_row *job)
{
    row_u64(row, job->id.v);
    row_text(row, job->state);
    row_int(row, job->dead);
    row_int(row, job->killed);
    for (int s = 0; s < TASK_STATE_COUNT; s++)
        row_int(row, job->counts[s]);
    row_int(row, job->stopping);
    row_text(row, job->reason);
    row_u64(row, job->changed_ms);
    row_int(row, job->disrupted);
    row_int(row, job->spec.priority);
    row_text(row, band_text(band_of(job->spec.priority)));
    row_int(row, job->spec.replicas);
    row_int(row, job->task_count);
    row_resources(row, &job->spec.limit);
    row_int(row, job->unconfirmed);
}

static int insert_job(struct store_rows *rows, const struct job_row *job, struct err *err)
{
    struct row row = row_begin(rows, STATEMENT_JOB_INSERT);
    row_job_state(&row, job);
    row_text(&row, job->spec.name);
    row_text(&row, job->spec.user);
    row_text(&row, appclass_text(job->spec.appclass));
    row_text(&row, policy_text(job->spec.policy));
    row_u64(&row, job->submitted_ms);
    row_int(&row, job->spec.disruptions_max);
    row_int(&row, job->spec.gang);
    row_int(&row, job->spec.is_alloc_set);
    row_text(&row, job->spec.alloc_set);
    row_int(&row, job->spec.every_machine);
    return row_end(&row, err);
}

static int put_job(struct store_rows *rows, const struct job_row *job, struct err *err)
{
    _Static_assert(TASK_PENDING == 0 && TASK_UNWANTED == 6, "the columns follow the states");
    struct row row = row_begin(rows, STATEMENT_JOB_UPDATE);
    row_job_state(&row, job);
    int rv = row_end(&row, err);
    bool is_new = rv == 0 && sqlite3_changes(rows->db) == 0;
    if (is_new)
        rv = insert_job(rows, job, err);
    if (rv == 0 && is_new)
        rv = put_spec(rows, job, err);
    if (rv == 0 && is_new)
        rv = put_shapes(rows, job, err);
    return rv != 0 ? rv : put_limits_old(rows, job, err);
}

enum { PORTS_TEXT_MAX = SPEC_PORTS_MAX * 6 + 3 };

/* "[8080,8081]"; ports behind the last one are 0. `to` has PORTS_TEXT_MAX bytes. */
static void ports_text(const uint16_t *ports, char *to)
{
    size_t count = SPEC_PORTS_MAX, at = 0;
    while (count > 0 && ports[count - 1] == 0)
        count--;
    to[at++] = '[';
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(to + at, PORTS_TEXT_MAX - at, "%s%u", i == 0 ? "" : ",", ports[i]);
    snprintf(to + at, PORTS_TEXT_MAX - at, "]");
}

/* "[0,2]" */
static void gpus_text(uint32_t devices, struct buf *to)
{
    const char *before = "[";
    for (uint32_t i = 0; i < DEVICES_MAX; i++) {
        if ((devices >> i & 1) == 0)
            continue;
        buf_printf(to, "%s%" PRIu32, before, i);
        before = ",";
    }
    buf_printf(to, devices == 0 ? "[]" : "]");
}

static int put_task(struct store_rows *rows, const struct task *task, struct err *err)
{
    struct buf gpus CLEANUP(buf_release) = {0};
    char ports[PORTS_TEXT_MAX];
    struct row row = row_begin(rows, STATEMENT_TASK_PUT);
    ports_text(task->ports, ports);
    row_u64(&row, task_job(task->id).v);
    row_int(&row, task_index(task->id));
    row_text(&row, task_state_text(task->state));
    row_int(&row, task->attempt);
    row_id(&row, task->machine.v);
    row_text(&row, cause_text(task->cause));
    row_text(&row, cause_text(task->stopping));
    row_int(&row, task->failures);
    row_int(&row, task->pid);
    row_int(&row, task->exit_code);
    row_text(&row, ports);
    row_u64(&row, task->not_before_ms);
    row_u64(&row, task->started_ms);
    row_u64(&row, task->changed_ms);
    row_id(&row, task_job(task->alloc).v);
    row_int_if(&row, task->alloc.v != 0, task_index(task->alloc));
    gpus_text(task->devices, &gpus);
    row_text(&row, buf_text(&gpus));
    for (int i = 0; i < TASK_CRASHES_MAX; i++)
        row_id(&row, task->crashed_on[i].v);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row_int(&row, task->reserves[r].used);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row_int(&row, task->reserves[r].reclaimed_percent);
    for (int r = 0; r < RECLAIM_COUNT; r++)
        row_u64(&row, task->reserves[r].since_ms);
    row_int(&row, task->shape + 1);
    row_int(&row, task->misstarts);
    row_int(&row, task->by_eviction);
    return row_end(&row, err);
}

static int put_event(struct store_rows *rows, const struct event *event, struct err *err)
{
    struct row row = row_begin(rows, STATEMENT_EVENT_PUT);
    row_u64(&row, event->seq);
    row_u64(&row, event->time_ms);
    row_text(&row, event_kind_text(event->kind));
    row_id(&row, event->job.v);
    row_int_if(&row, event->task_index >= 0, event->task_index);
    row_int(&row, event->attempt);
    row_id(&row, event->machine.v);
    row_text(&row, cause_text(event->cause));
    row_int(&row, event->exit_code);
    row_text(&row, event->detail);
    row_text(&row, event->machine_name);
    return row_end(&row, err);
}

static int put_request(struct store_rows *rows, const struct request_row *request, struct err *err)
{
    const struct remembered *remembered = &request->remembered;
    struct row row = row_begin(rows, STATEMENT_REQUEST_PUT);
    row_u64(&row, request->seq % CELL_REQUESTS_MAX);
    row_u64(&row, request->seq);
    row_u64(&row, remembered->request_id[0]);
    row_u64(&row, remembered->request_id[1]);
    row_u64(&row, remembered->index);
    row_int(&row, (int64_t)remembered->code);
    row_u64(&row, remembered->job.v);
    row_text(&row, remembered->msg);
    return row_end(&row, err);
}

static void row_limit(struct row *row, int64_t limit)
{
    if (limit == QUOTA_UNLIMITED)
        row_id(row, 0);
    else
        row_int(row, limit);
}

static int put_masters(struct store_rows *rows, const struct masters *masters, struct err *err)
{
    if (rows->names_known && masters_same(masters, &rows->masters_written))
        return 0;
    int rv = run(rows, STATEMENT_REPLICAS_CLEAR, err);
    for (uint32_t i = 0; rv == 0 && i < masters->count; i++) {
        const struct master *m = &masters->rows[i];
        struct row row = row_begin(rows, STATEMENT_REPLICA_PUT);
        row_u64(&row, m->id);
        row_text(&row, m->rpc);
        row_text(&row, m->raft);
        row_text(&row, master_state_text(m->state));
        rv = row_end(&row, err);
    }
    rows->masters_written = *masters;
    return rv;
}

static int put_names(struct store_rows *rows, const struct resource_names *names, struct err *err)
{
    if (rows->names_known && memcmp(names, &rows->names_written, sizeof *names) == 0)
        return 0;
    int rv = run(rows, STATEMENT_NAMES_CLEAR, err);
    for (int i = 0; rv == 0 && i < RESOURCES_NAMED_MAX; i++) {
        if (names->text[i][0] == '\0')
            continue;
        struct row row = row_begin(rows, STATEMENT_NAME_PUT);
        row_int(&row, i + 1);
        row_text(&row, names->text[i]);
        rv = row_end(&row, err);
    }
    rows->names_written = *names;
    rows->names_known = rv == 0;
    return rv;
}

static int put_quotas(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = run(rows, STATEMENT_QUOTAS_CLEAR, err);
    for (size_t i = 0; rv == 0 && i < delta->quota_count; i++) {
        const struct quota *quota = &delta->quotas[i];
        struct row row = row_begin(rows, STATEMENT_QUOTA_PUT);
        row_text(&row, quota->user);
        row_text(&row, band_text(quota->band));
        for (int r = 0; r < RES_COUNT; r++)
            row_limit(&row, quota->limit.v[r]);
        row_limit(&row, quota->tasks);
        rv = row_end(&row, err);
    }
    return rv;
}

static int put_identities(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = run(rows, STATEMENT_IDENTITIES_CLEAR, err);
    for (size_t i = 0; rv == 0 && i < delta->identity_count; i++) {
        const struct identity_row *identity = &delta->identities[i];
        struct row row = row_begin(rows, STATEMENT_IDENTITY_PUT);
        row_text(&row, identity->identity);
        for (enum right r = 0; r < RIGHT_COUNT; r++)
            row_int(&row, (identity->rights & BIT(r)) != 0);
        row_u64(&row, identity->revoked_ms);
        row_u64(&row, identity->changed_ms);
        row_text(&row, identity->changed_by);
        rv = row_end(&row, err);
    }
    return rv;
}

static int forget_job(struct store_rows *rows, uint64_t id, struct err *err)
{
    static const enum store_statement statements[] = {STATEMENT_TASKS_FORGET, STATEMENT_SPEC_FORGET,
                                                      STATEMENT_LIMITS_FORGET,
                                                      STATEMENT_JOB_FORGET};
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        struct row row = row_begin(rows, statements[i]);
        row_u64(&row, id);
        int rv = row_end(&row, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

/* History first: an event of a job that is forgotten still finds its name. */
static int put_history(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < delta->event_count; i++)
        rv = put_event(rows, &delta->events[i], err);
    for (size_t i = 0; rv == 0 && i < delta->request_count; i++)
        rv = put_request(rows, &delta->requests[i], err);
    for (size_t i = 0; rv == 0 && i < delta->forgotten_count; i++)
        rv = forget_job(rows, delta->forgotten[i], err);
    if (rv != 0 || delta->event_count == 0 || delta->event_seq <= CELL_EVENTS_MAX)
        return rv;
    struct row row = row_begin(rows, STATEMENT_EVENTS_PRUNE);
    row_u64(&row, delta->event_seq - CELL_EVENTS_MAX);
    return row_end(&row, err);
}

void store_digest_text(uint64_t digest, char *to)
{
    snprintf(to, STORE_DIGEST_BYTES, "%016" PRIx64, digest);
}

static int put_meta(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    char digest[STORE_DIGEST_BYTES];
    struct row row = row_begin(rows, STATEMENT_META_PUT);
    store_digest_text(delta->digest, digest);
    row_u64(&row, delta->index);
    row_u64(&row, delta->term);
    row_u64(&row, delta->now_ms);
    row_u64(&row, delta->event_seq);
    row_u64(&row, delta->next_job);
    row_u64(&row, delta->request_seq);
    row_text(&row, digest);
    row_text(&row, policy_text(delta->settings.policy));
    row_text(&row, hold_text(delta->settings.hold));
    row_u64(&row, delta->stored_index);
    row_text(&row, rows->identity);
    row_u64(&row, delta->settings.masters.next_id);
    return row_end(&row, err);
}

int store_rows_put(struct store_rows *rows, const struct delta *delta, struct err *err)
{
    int rv = put_masters(rows, &delta->settings.masters, err);
    if (rv == 0)
        rv = put_names(rows, &delta->resource_names, err);
    ASSERT(!delta->full);
    for (size_t i = 0; rv == 0 && i < delta->machine_count; i++)
        rv = put_machine(rows, &delta->machines[i], err);
    for (size_t i = 0; rv == 0 && i < delta->job_count; i++)
        rv = put_job(rows, &delta->jobs[i], err);
    for (size_t i = 0; rv == 0 && i < delta->task_count; i++)
        rv = put_task(rows, &delta->tasks[i], err);
    if (rv == 0 && delta->has_quotas)
        rv = put_quotas(rows, delta, err);
    if (rv == 0 && delta->has_identities)
        rv = put_identities(rows, delta, err);
    if (rv == 0)
        rv = put_history(rows, delta, err);
    return rv != 0 || delta->more ? rv : put_meta(rows, delta, err);
}

size_t store_rows_of(const struct delta *delta)
{
    return 1 + delta->machine_count + delta->job_count + delta->task_count + delta->event_count +
           delta->request_count + delta->forgotten_count + delta->quota_count +
           delta->identity_count;
}

int store_rows_begin(struct store_rows *rows, struct err *err)
{
    return run(rows, STATEMENT_BEGIN, err);
}

int store_rows_commit(struct store_rows *rows, struct err *err)
{
    return run(rows, STATEMENT_COMMIT, err);
}

static int execute(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : store_sqlite_err(db, "cannot set up the database", err);
}

const char *store_schema_sql(void)
{
    static const char schema[] = {
#include "schema_sql.h"
    };
    return schema;
}

/* A new file gets the schema; an old one must have this program's. */
static int schema_ready(sqlite3 *db, struct err *err)
{
    int64_t application, version, tables;
    int rv;
    if ((rv = store_number(db, "PRAGMA application_id", &application, err)) != 0 ||
        (rv = store_number(db, "PRAGMA user_version", &version, err)) != 0 ||
        (rv = store_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err)) != 0)
        return rv;
    if (application == 0 && version == 0 && tables == 0) {
        struct buf sql CLEANUP(buf_release) = {0};
        buf_printf(&sql, "BEGIN IMMEDIATE;\n%s\nCOMMIT;", store_schema_sql());
        return execute(db, buf_text(&sql), err);
    }
    if (application != STORE_APPLICATION_ID)
        return err_set(err, ERR_CORRUPT, "it is not the database of a cell");
    if (version != STORE_SCHEMA)
        return err_set(err, ERR_STATE,
                       "its schema is version %" PRId64 ", this borgmaster knows %d: start the "
                       "version that wrote it, or move the file away to have it filled again from "
                       "the other replicas",
                       version, STORE_SCHEMA);
    return store_schema_check(db, err);
}

/* Files of cells that were made anew under the same path, or copied, must not be mixed up. */
int store_rows_identity_check(const struct store_rows *rows, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(rows->db, "SELECT cell FROM meta", -1, &statement, NULL);
    rc = rc == SQLITE_OK ? sqlite3_step(statement) : rc;
    int rv = 0;
    if (rc == SQLITE_ROW) {
        const char *cell = (const char *)sqlite3_column_text(statement, 0);
        if (cell == NULL || (cell[0] != '\0' && strcmp(cell, rows->identity) != 0))
            rv = err_set(err, ERR_CORRUPT, "it is of another cell: its name or CA differ");
    } else if (rc != SQLITE_DONE) { /* without a row: for store_load() to refuse */
        rv = store_sqlite_err(rows->db, "cannot read the database", err);
    }
    sqlite3_finalize(statement);
    return rv;
}

int store_rows_open(struct store_rows *rows, const char *path, uint64_t identity, struct err *err)
{
    *rows = (struct store_rows){0};
    store_digest_text(identity, rows->identity);
    store_vfs_register();
    if (store_file_check(path, err) != 0)
        return -(int)err->code;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &rows->db, flags, NULL) != SQLITE_OK)
        return store_sqlite_err(rows->db, "cannot open the database", err);
    sqlite3_extended_result_codes(rows->db, 1);
    sqlite3_busy_timeout(rows->db, 5000);
    sqlite3_db_config(rows->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int rv = store_vfs_prepare(rows->db, err);
    if (rv == 0)
        rv = execute(rows->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                     "PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;"
                     "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
                     "PRAGMA cache_size = -65536; PRAGMA cache_spill = OFF;", /* see store_vfs.c */
                     err);
    if (rv == 0)
        rv = schema_ready(rows->db, err);
    for (int i = 0; rv == 0 && i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(rows->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &rows->statements[i], NULL) != SQLITE_OK)
            rv = store_sqlite_err(rows->db, "cannot prepare the database", err);
    return rv;
}

void store_rows_close(struct store_rows *rows)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(rows->statements[i]);
    sqlite3_close(rows->db);
    free(rows->attributes_written);
    *rows = (struct store_rows){0};
}
