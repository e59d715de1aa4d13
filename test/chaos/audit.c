/*
 * audit.c - wait for convergence, then check every replica by SQL.
 */
#include "audit.h"

#include "clock.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTLE_MS = 60000, LOOK_MS = 250, TRIES = 40 };

/* Queries that must return no row: the rules of cell_check in SQL. */
static const struct {
    const char *what, *sql;
} rules[] = {
    {"the task counts of a job are wrong",
     "SELECT j.name FROM jobs j WHERE "
     "j.pending <> (SELECT count(*) FROM tasks WHERE job_id = j.id AND state = 'pending') OR "
     "j.assigned <> (SELECT count(*) FROM tasks WHERE job_id = j.id AND state = 'assigned') OR "
     "j.running <> (SELECT count(*) FROM tasks WHERE job_id = j.id AND state = 'running') OR "
     "j.task_count <> (SELECT count(*) FROM tasks WHERE job_id = j.id)"},
    {"the task count of a machine is wrong",
     "SELECT name FROM machines m WHERE task_count <> "
     "(SELECT count(*) FROM tasks WHERE machine_id = m.id)"},
    {"the reservation of a machine differs from its tasks",
     "SELECT name FROM machines m WHERE reserved_cpu_milli <> "
     "(SELECT coalesce(sum(cpu_milli), 0) FROM task_list WHERE machine = m.name)"},
    {"the reservation of a machine exceeds its capacity",
     "SELECT name FROM machines WHERE reserved_cpu_milli > cpu_milli"},
    {"a task is on a machine that is down",
     "SELECT t.job_id FROM tasks t JOIN machines m ON m.id = t.machine_id "
     "WHERE m.state = 'down'"},
    {"two live jobs have one name",
     "SELECT name FROM jobs WHERE NOT dead GROUP BY name HAVING count(*) > 1"},
    {"a request is recorded twice",
     "SELECT seq FROM requests GROUP BY id_high, id_low HAVING count(*) > 1"},
    {"an attempt was assigned twice",
     "SELECT job_name || '/' || task_index || ' attempt ' || attempt FROM events "
     "WHERE kind = 'assigned' GROUP BY job_id, task_index, attempt HAVING count(*) > 1"},
    {"a job was submitted twice",
     "SELECT job_name FROM events WHERE kind = 'submitted' AND job_name LIKE 'work-%' "
     "GROUP BY job_name HAVING count(*) > 1"},
    {"events are missing", "SELECT count(*) FROM events HAVING count(*) <> max(seq)"},
};

/* Queries whose rows must be equal on all replicas at the same index. */
static const char *const pictures[] = {
    "SELECT digest, event_seq, next_job, request_seq, now_ms FROM meta",
    "SELECT count(*), sum(seq), sum(time_ms % 1000003), sum(length(detail)), "
    "sum(coalesce(machine_id, 0) * (seq % 101)) FROM events",
    "SELECT count(*), sum(job_id * 31 + idx), sum(attempt * (job_id % 101)), "
    "sum(coalesce(machine_id, 0) * (job_id % 103)), group_concat(DISTINCT state) FROM tasks",
    "SELECT count(*), sum(id * cpu_milli % 1000003), group_concat(DISTINCT state) FROM jobs",
    "SELECT count(*), sum(seq), sum(id_high % 1000003), sum(code) FROM requests",
};

static const struct wire_value *value_at(const struct wire_rows *rows, uint32_t row,
                                         uint32_t column)
{
    return &rows->values[row * rows->column_count + column];
}

/* Return whether all replicas answer, follow one leader, and have applied the same index. */
static bool replicas_agree(struct conductor *c, struct err *why)
{
    struct wire_status first = {0};
    size_t leaders = 0;
    for (size_t i = 0; i < CREW_MASTERS; i++) {
        struct buf CLEANUP(buf_release) answer = {0};
        struct wire_status s;
        if (conductor_call(c, i, WIRE_STATUS, &(struct buf){0}, &answer, why) != 0 ||
            wire_unpack_status(answer.bytes, answer.size, &s, why) != 0)
            return err_wrap(why, "replica %zu", i + 1) == 0;
        first = i == 0 ? s : first;
        leaders += strcmp(s.role, "leader") == 0;
        if (s.term != first.term || s.applied_index != first.applied_index || s.leader == 0)
            return err_set(why, ERR_STATE,
                           "replica %zu: %s in term %" PRIu64 ", applied %" PRIu64
                           "; replica 1: term %" PRIu64 ", applied %" PRIu64,
                           i + 1, s.role, s.term, s.applied_index, first.term,
                           first.applied_index) == 0;
        if (s.digest != first.digest)
            conductor_violation(c, "replicas 1 and %zu differ at index %" PRIu64, i + 1,
                                s.applied_index);
    }
    return leaders == 1 || err_set(why, ERR_STATE, "%zu replicas lead", leaders) == 0;
}

static bool machines_up(struct conductor *c, struct err *why)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    if (conductor_query(c, 0, "SELECT count(*) FROM machines WHERE state = 'up'", &rows, why) != 0)
        return false;
    return value_at(&rows, 0, 0)->integer == CREW_BORGLETS ||
           err_set(why, ERR_STATE, "%" PRId64 " machines are up", value_at(&rows, 0, 0)->integer) ==
               0;
}

/* Jobs that run */

enum job_column { JOB_NAME, JOB_STATE, JOB_DEAD, JOB_REPLICAS, JOB_RUNNING, JOB_COLUMNS };
static const char jobs_sql[] = "SELECT name, state, dead, replicas, running FROM jobs "
                               "WHERE name LIKE 'work-%' ORDER BY id";

static bool job_is_well(struct conductor *c, const struct job_known *job,
                        const struct wire_rows *rows, uint32_t row, struct err *why)
{
    bool is_there = row < rows->row_count;
    bool is_dead = is_there && value_at(rows, row, JOB_DEAD)->integer != 0;
    const char *state = is_there ? value_at(rows, row, JOB_STATE)->text : "not there";
    bool is_short = job->work == WORK_SHORT;
    if (!is_there && job->submitted == LINEAR_DONE)
        conductor_violation(c, "job work-%" PRIu32 " was acknowledged but does not exist",
                            job->number);
    if (!is_there)
        return true;
    if (is_dead && !job->was_told_to_end && !(is_short && strcmp(state, "finished") == 0))
        conductor_violation(c, "job work-%" PRIu32 " is %s although no user killed it", job->number,
                            state);
    bool must_end = is_short || (job->was_told_to_end && job->killed == LINEAR_DONE);
    bool runs =
        value_at(rows, row, JOB_RUNNING)->integer == value_at(rows, row, JOB_REPLICAS)->integer;
    return is_dead || (runs && !must_end) ||
           err_set(why, ERR_STATE, "work-%" PRIu32 " is %s, %" PRId64 " of %" PRId64 " tasks run",
                   job->number, state, value_at(rows, row, JOB_RUNNING)->integer,
                   value_at(rows, row, JOB_REPLICAS)->integer) == 0;
}

static bool jobs_well(struct conductor *c, struct err *why)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    if (conductor_query(c, 0, jobs_sql, &rows, why) != 0)
        return false;
    for (size_t i = 0; i < c->users.job_count; i++) {
        const struct job_known *job = &c->users.jobs[i];
        char name[CELL_NAME_MAX + 1];
        uint32_t row = 0;
        snprintf(name, sizeof name, "work-%" PRIu32, job->number);
        while (row < rows.row_count && strcmp(value_at(&rows, row, JOB_NAME)->text, name) != 0)
            row++;
        if (!job_is_well(c, job, &rows, row, why))
            return false;
    }
    return true;
}

/* Processes */

/* Return the value of a variable in an environment, NULL if it is not set. */
static const char *variable(const char *environment, size_t size, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = environment; p < environment + size; p += strlen(p) + 1)
        if (strncmp(p, name, length) == 0 && p[length] == '=')
            return p + length + 1;
    return NULL;
}

/* Describe a process that is a task of this cell as "work-1/0 2 m3"; shims have no such
 * environment. */
static bool process_describe(const struct conductor *c, const char *pid, char ret[256])
{
    static char text[65536];
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    FILE *file = fopen(path, "re");
    size_t size = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[size] = '\0';
    const char *dir = variable(text, size, "BORG_DIR"), *task = variable(text, size, "BORG_TASK");
    const char *attempt = variable(text, size, "BORG_ATTEMPT");
    const char *machine = variable(text, size, "BORG_MACHINE");
    if (dir == NULL || task == NULL || attempt == NULL || machine == NULL ||
        strncmp(dir, c->dir, strlen(c->dir)) != 0)
        return false;
    snprintf(ret, 256, "%.100s %.10s %.64s", task, attempt, machine);
    return true;
}

static bool rows_have(const struct wire_rows *rows, const char *text, bool *seen)
{
    for (uint32_t i = 0; i < rows->row_count; i++)
        if (strcmp(value_at(rows, i, 0)->text, text) == 0)
            return seen[i] = true;
    return false;
}

/* Each running task has a process on its machine, and no other process is a task. */
static bool processes_match(struct conductor *c, struct err *why)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    char text[256];
    bool match = true;
    if (conductor_query(c, 0,
                        "SELECT task || ' ' || attempt || ' ' || machine FROM task_list "
                        "WHERE machine IS NOT NULL",
                        &rows, why) != 0)
        return false;
    bool *seen = xcalloc(rows.row_count + 1, sizeof *seen);
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !process_describe(c, e->d_name, text) ||
            rows_have(&rows, text, seen))
            continue;
        match = err_set(why, ERR_STATE, "process %s is task %s, which the cell does not know",
                        e->d_name, text) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    for (uint32_t i = 0; match && i < rows.row_count; i++)
        if (!seen[i])
            match =
                err_set(why, ERR_STATE, "task %s has no process", value_at(&rows, i, 0)->text) == 0;
    free(seen);
    return match;
}

static bool is_settled(struct conductor *c, struct err *why)
{
    for (size_t i = 0; i < CREW_COUNT; i++)
        if (c->crew.members[i].pid == 0)
            return err_set(why, ERR_STATE, "%s does not run", c->crew.members[i].name) == 0;
    if (c->faults.active_count > 0)
        return err_set(why, ERR_STATE, "faults are active") == 0;
    return replicas_agree(c, why) && machines_up(c, why) && jobs_well(c, why) &&
           processes_match(c, why);
}

static void pause_ms(struct conductor *c, uint64_t ms)
{
    for (uint64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        conductor_turn(c);
}

static bool settle(struct conductor *c)
{
    struct err why = {0};
    uint64_t deadline_ms = clock_mono_ms() + SETTLE_MS;
    while (!is_settled(c, &why)) {
        uint64_t violations = c->violations;
        if (clock_mono_ms() > deadline_ms || violations > 100) {
            conductor_violation(c, "no convergence %d s after the last fault: %s", SETTLE_MS / 1000,
                                why.msg);
            return false;
        }
        pause_ms(c, LOOK_MS);
    }
    return true;
}

/* The rules */

static void rules_check(struct conductor *c, size_t replica)
{
    struct err err;
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        struct wire_rows CLEANUP(wire_rows_release) rows = {0};
        if (conductor_query(c, replica, rules[i].sql, &rows, &err) != 0)
            conductor_violation(c, "replica %zu: %s: %s", replica + 1, rules[i].what, err.msg);
        else if (rows.row_count > 0)
            conductor_violation(c, "replica %zu: %s: %s", replica + 1, rules[i].what,
                                value_at(&rows, 0, 0)->type == WIRE_TEXT
                                    ? value_at(&rows, 0, 0)->text
                                    : "see its SQL");
    }
}

/* Compare the answers of all replicas byte by byte, once they are at the same index. */
static void picture_check(struct conductor *c, const char *sql)
{
    struct err err = {0};
    for (int tries = 0; tries < TRIES; tries++) {
        struct buf CLEANUP(buf_release) first = {0};
        size_t same = 0, different = CREW_COUNT;
        for (size_t i = 0; i < CREW_MASTERS; i++) {
            struct wire_rows CLEANUP(wire_rows_release) rows = {0};
            struct buf CLEANUP(buf_release) packed = {0};
            if (conductor_query(c, i, sql, &rows, &err) != 0)
                break;
            wire_pack_rows(&packed, &rows);
            if (i == 0)
                buf_append(&first, packed.bytes, packed.size);
            if (first.size == packed.size && memcmp(first.bytes, packed.bytes, first.size) == 0)
                same++;
            else
                different = i;
        }
        if (same == CREW_MASTERS)
            return;
        if (different < CREW_COUNT)
            err_set(&err, ERR_STATE, "replica %zu answers differently", different + 1);
        pause_ms(c, LOOK_MS);
    }
    conductor_violation(c, "replicas answer differently to: %s: %s", sql, err.msg);
}

/* Now every read must return all acknowledged writes, on every replica. */
static void names_read(struct conductor *c)
{
    struct users *u = &c->users;
    struct err err;
    for (size_t i = 0; i < USERS_NAMES * CREW_MASTERS; i++) {
        struct wire_rows CLEANUP(wire_rows_release) rows = {0};
        char sql[USERS_SQL_MAX];
        struct history_record record = {
            .key = u->names[i % USERS_NAMES].key,
            .op = {.start = clock_mono_us() - u->started_us, .kind = LINEAR_READ, .client = USERS},
            .index_min = u->index_max,
            .replica = (uint32_t)(i / USERS_NAMES),
            .is_fresh = true};
        users_name_sql(record.key, sql);
        if (conductor_query(c, record.replica, sql, &rows, &err) != 0) {
            conductor_violation(c, "replica %" PRIu32 ": %s", record.replica + 1, err.msg);
            continue;
        }
        record.op.end = clock_mono_us() - u->started_us;
        record.op.value = rows.row_count == 0 ? 0 : (uint64_t)value_at(&rows, 0, 0)->integer;
        record.index = rows.applied_index;
        history_add(&u->history, &record);
        u->reads++;
    }
}

/* Machines that were declared down without a fault of their own: failing masters are no reason. */
static void downs_count(struct conductor *c)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    struct err err;
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT e.seq, m.name FROM events e JOIN machines m ON m.id = e.machine_id "
             "WHERE e.kind = 'machine-down' AND e.seq > %" PRId64 " ORDER BY e.seq",
             c->event_seq);
    if (conductor_query(c, 0, sql, &rows, &err) != 0) {
        conductor_violation(c, "%s", err.msg);
        return;
    }
    for (uint32_t row = 0; row < rows.row_count; row++)
        for (size_t i = CREW_MASTERS; i < CREW_COUNT; i++) {
            if (strcmp(value_at(&rows, row, 1)->text, c->crew.members[i].name) != 0)
                continue;
            c->downs++;
            c->false_downs += (c->faults.hit & BIT(i)) == 0;
            c->event_seq = value_at(&rows, row, 0)->integer;
        }
    c->faults.hit = 0;
}

void audit_run(struct conductor *c)
{
    if (!settle(c))
        return;
    names_read(c);
    downs_count(c);
    for (size_t i = 0; i < CREW_MASTERS; i++)
        rules_check(c, i);
    for (size_t i = 0; i < ARRAY_SIZE(pictures); i++)
        picture_check(c, pictures[i]);
}
