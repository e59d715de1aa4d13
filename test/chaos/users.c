/*
 * users.c - calls of each user: send, retry with the same request id, give up, record.
 */
#include "users.h"

#include "clock.h"
#include "cmd_pack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    THINK_MS_MAX = 80,
    PAUSE_MS = 40,     /* between attempts */
    COMMAND_MS = 1000, /* for one attempt */
    READ_MS = 2000,
    GIVE_UP_MS = 5000,      /* for users of names */
    GIVE_UP_JOB_MS = 20000, /* for the user of jobs, whose outcomes should rarely be unknown */
    NAME_OPERATIONS = 400,  /* then another name is used */
    NAME_UNKNOWN = 5,
    USER_RUNS_JOBS = USERS /* number of the user who runs jobs */
};

_Static_assert((int)NAME_OPERATIONS <= (int)PRIORITY_MAX,
               "each operation on a name has a value of its own");
#define MORE_CPU_THAN_THERE_IS INT64_C(1000000000)

/* The present operation of a user. */
struct user {
    struct users *users;
    uint32_t number;
    uv_timer_t timer;
    struct history_record record;
    struct buf body;
    uint32_t method;
    bool may_have_happened; /* an attempt was sent and not answered */
    uint64_t give_up_ms;
    size_t replica; /* of the present attempt */
    size_t name;    /* in users.names */
    size_t job;     /* in users.jobs */
};

static uint32_t draw_below(struct users *u, uint32_t bound)
{
    u->random ^= u->random >> 12;
    u->random ^= u->random << 25;
    u->random ^= u->random >> 27;
    return (uint32_t)((u->random * UINT64_C(2685821657736338717) >> 32) % bound);
}

static void users_break(struct users *u, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void users_break(struct users *u, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (u->broken[0] == '\0')
        vsnprintf(u->broken, sizeof u->broken, fmt, args);
    va_end(args);
}

static uint64_t now_us(const struct users *u)
{
    return clock_mono_us() - u->started_us;
}

/* Commands */

static void name_print(uint32_t key, char ret[CELL_NAME_MAX + 1])
{
    snprintf(ret, CELL_NAME_MAX + 1, "r%" PRIu32, key);
}

static void job_print(uint32_t number, char ret[CELL_NAME_MAX + 1])
{
    snprintf(ret, CELL_NAME_MAX + 1, "work-%" PRIu32, number);
}

static void spec_fill(struct job_spec *spec, const char *name, const char *script)
{
    spec_init(spec);
    str_copy(spec->name, sizeof spec->name, name);
    str_copy(spec->user, sizeof spec->user, "ada");
    spec->limit.v[RES_RAM] = INT64_C(1) << 20;
    words_add(&spec->argv, "sh");
    words_add(&spec->argv, "-c");
    words_add(&spec->argv, script);
}

static void body_of_command(struct user *user, struct cmd *cmd)
{
    struct err err;
    random_id(cmd->request_id);
    cmd->known_index = user->users->index_max;
    buf_clear(&user->body);
    if (cmd_pack(cmd, &user->body, &err) != 0)
        PANIC("%s", err.msg);
    cmd_release(cmd);
    user->method = WIRE_COMMAND;
}

static void name_command(struct user *user)
{
    const struct linear_op *op = &user->record.op;
    char name[CELL_NAME_MAX + 1];
    struct cmd cmd = {0};
    name_print(user->record.key, name);
    if (op->kind == LINEAR_CREATE) {
        cmd.kind = CMD_JOB_SUBMIT;
        spec_fill(&cmd.job_submit, name, "exit 0");
        cmd.job_submit.limit.v[RES_CPU] = MORE_CPU_THAN_THERE_IS;
        cmd.job_submit.priority = (uint32_t)op->value;
    } else if (op->kind == LINEAR_UPDATE) {
        cmd.kind = CMD_JOB_UPDATE;
        str_copy(cmd.job_update.name, sizeof cmd.job_update.name, name);
        cmd.job_update.replicas = JOB_UPDATE_KEEP;
        cmd.job_update.priority = (int64_t)op->value;
    } else {
        cmd.kind = CMD_JOB_KILL;
        str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    }
    body_of_command(user, &cmd);
}

void users_name_sql(uint32_t key, char ret[USERS_SQL_MAX])
{
    snprintf(ret, USERS_SQL_MAX,
             "SELECT priority FROM jobs WHERE name = 'r%" PRIu32 "' AND NOT dead", key);
}

static void name_query(struct user *user)
{
    char sql[USERS_SQL_MAX];
    users_name_sql(user->record.key, sql);
    struct wire_query query = {.sql = sql, .fresh = user->record.is_fresh};
    buf_clear(&user->body);
    wire_pack_query(&user->body, &query);
    user->method = WIRE_QUERY;
}

static void job_command(struct user *user, bool kill)
{
    static const char *const scripts[WORK_COUNT] = {
        "exec sleep 100000", "[ $BORG_ATTEMPT -ge 3 ] && exec sleep 100000; exit 1",
        "sleep 1; exit 0"};
    const struct job_known *job = &user->users->jobs[user->job];
    char name[CELL_NAME_MAX + 1];
    struct cmd cmd = {.kind = kill ? CMD_JOB_KILL : CMD_JOB_SUBMIT};
    job_print(job->number, name);
    if (kill) {
        str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    } else {
        spec_fill(&cmd.job_submit, name, scripts[job->work]);
        cmd.job_submit.priority = 200;
        cmd.job_submit.replicas = job->replicas;
        cmd.job_submit.limit.v[RES_CPU] = 50;
        cmd.job_submit.grace_ms = 1000;
        cmd.job_submit.failures_max = 0;
        cmd.job_submit.backoff_ms = 500;
        cmd.job_submit.backoff_max_ms = 1000;
    }
    body_of_command(user, &cmd);
}

/* The end of an operation */

static void user_think(struct user *user);

static void job_done(struct user *user)
{
    struct users *u = user->users;
    struct job_known *job = &u->jobs[user->job];
    if (job->is_submitting)
        job->submitted = user->record.op.outcome;
    if (job->is_killing)
        job->killed = user->record.op.outcome;
    if (job->is_submitting && job->submitted == LINEAR_REFUSED)
        users_break(u, "job work-%" PRIu32 " has a new name, but its submit was refused",
                    job->number);
    job->is_submitting = job->is_killing = false;
}

static void user_done(struct user *user, enum linear_outcome outcome, uint64_t index)
{
    struct users *u = user->users;
    bool is_write = user->method == WIRE_COMMAND;
    user->record.op.outcome = outcome;
    user->record.op.end = now_us(u);
    user->record.index = index;
    user->record.replica = (uint32_t)user->replica;
    if (outcome == LINEAR_DONE && is_write)
        u->last_write_ms = clock_mono_ms();
    if (is_write)
        u->index_max = MAX(u->index_max, index);
    *(!is_write                   ? &u->reads
      : outcome == LINEAR_DONE    ? &u->writes
      : outcome == LINEAR_REFUSED ? &u->refused
                                  : &u->unknown) += 1;
    if (user->number == USER_RUNS_JOBS) {
        job_done(user);
    } else {
        history_add(&u->history, &user->record);
        u->names[user->name].unknown += outcome == LINEAR_UNKNOWN;
    }
    user_think(user);
}

/* The operation certainly had no effect. */
static void user_fail(struct user *user)
{
    struct users *u = user->users;
    *(user->method == WIRE_COMMAND ? &u->failed : &u->reads_failed) += 1;
    if (user->number == USER_RUNS_JOBS) {
        struct job_known *job = &u->jobs[user->job];
        if (job->is_submitting) {
            *job = u->jobs[--u->job_count];
        } else {
            job->is_killing = job->was_told_to_end = false;
        }
    }
    user_think(user);
}

/* Attempts */

static void user_attempt(struct user *user);

static void users_on_pause(uv_timer_t *timer)
{
    user_attempt(timer->data);
}

static void user_retry(struct user *user)
{
    if (clock_mono_ms() < user->give_up_ms) {
        uv_timer_start(&user->timer, users_on_pause, PAUSE_MS, 0);
    } else if (user->may_have_happened) {
        user_done(user, LINEAR_UNKNOWN, 0);
    } else {
        user_fail(user);
    }
}

static void read_answer(struct user *user, const void *body, size_t size)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    struct err err;
    if (wire_unpack_rows(body, size, &rows, &err) != 0) {
        users_break(user->users, "malformed rows: %s", err.msg);
        user_fail(user);
        return;
    }
    if (rows.row_count > 1)
        users_break(user->users, "two live jobs are called r%" PRIu32, user->record.key);
    if (rows.row_count > 0)
        user->record.op.value = (uint64_t)rows.values[0].integer;
    user_done(user, LINEAR_DONE, rows.applied_index);
}

static void command_answer(struct user *user, const void *body, size_t size)
{
    struct wire_answer answer;
    struct err err;
    if (wire_unpack_answer(body, size, &answer, &err) != 0) {
        users_break(user->users, "a malformed answer: %s", err.msg);
        user_done(user, LINEAR_UNKNOWN, 0);
    } else if (answer.code == ERR_OK) {
        user_done(user, LINEAR_DONE, answer.index);
    } else if (answer.code == ERR_EXPIRED) {
        user_done(user, LINEAR_UNKNOWN, 0); /* delayed so long that its answer may be forgotten */
    } else {
        if (answer.code != ERR_EXISTS && answer.code != ERR_NOT_FOUND && answer.code != ERR_STATE)
            users_break(user->users, "refused: %s", answer.msg);
        user_done(user, LINEAR_REFUSED, answer.index);
    }
}

static void users_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct user *user = data;
    if (err == NULL && user->method == WIRE_QUERY) {
        read_answer(user, body, size);
        return;
    }
    if (err == NULL) {
        command_answer(user, body, size);
        return;
    }
    bool is_open_end =
        err->code == ERR_TIMEOUT || err->code == ERR_CLOSED || err->code == ERR_UNKNOWN_OUTCOME;
    user->may_have_happened |= is_open_end && user->method == WIRE_COMMAND;
    if (err->code == ERR_TIMEOUT)
        lines_renew(user->users->lines, user->replica);
    if (!is_open_end && err->code != ERR_UNAVAILABLE && err->code != ERR_NOT_LEADER &&
        err->code != ERR_LIMIT)
        users_break(user->users, "replica %zu refused a call: %s", user->replica + 1, err->msg);
    user_retry(user);
}

static void user_attempt(struct user *user)
{
    struct users *u = user->users;
    size_t count = u->lines->cell->replica_count;
    uint64_t timeout_ms = user->method == WIRE_COMMAND ? COMMAND_MS : READ_MS;
    for (size_t tried = 0; tried < count; tried++) {
        user->replica = (user->replica + 1) % count;
        if (lines_request(u->lines, user->replica, user->method, &user->body, timeout_ms,
                          users_on_answer, user, NULL) == 0) {
            user->record.attempts++;
            return;
        }
    }
    user_retry(user);
}

static void user_begin(struct user *user, enum linear_kind kind, uint64_t give_up_ms)
{
    struct users *u = user->users;
    user->record = (struct history_record){.key = user->record.key,
                                           .op = {.start = now_us(u), .kind = kind},
                                           .index_min = u->index_max,
                                           .is_fresh = true};
    user->record.op.client = user->number;
    user->may_have_happened = false;
    user->give_up_ms = clock_mono_ms() + give_up_ms;
    user->replica = draw_below(u, (uint32_t)u->lines->cell->replica_count);
}

/* Users of names */

static void name_begin(struct user *user)
{
    static const enum linear_kind kinds[] = {
        LINEAR_CREATE, LINEAR_CREATE, LINEAR_UPDATE, LINEAR_UPDATE, LINEAR_UPDATE, LINEAR_KILL,
        LINEAR_READ,   LINEAR_READ,   LINEAR_READ,   LINEAR_READ,   LINEAR_READ,   LINEAR_READ};
    struct users *u = user->users;
    user->name = draw_below(u, USERS_NAMES);
    if (u->names[user->name].operations >= NAME_OPERATIONS ||
        u->names[user->name].unknown >= NAME_UNKNOWN) {
        u->names[user->name].operations = u->names[user->name].unknown = 0;
        u->names[user->name].key = u->next_key++;
    }
    u->names[user->name].operations++;
    user->record.key = u->names[user->name].key;
    /* Some users do not retry, so that unknown outcomes occur more often. */
    user_begin(user, kinds[draw_below(u, ARRAY_SIZE(kinds))],
               draw_below(u, 4) == 0 ? 0 : GIVE_UP_MS);
    if (user->record.op.kind == LINEAR_READ) {
        user->record.is_fresh = draw_below(u, 3) > 0;
        name_query(user);
    } else {
        user->record.op.value = u->names[user->name].operations;
        name_command(user);
    }
    user_attempt(user);
}

/* The user of running jobs */

static void job_submit_begin(struct user *user)
{
    struct users *u = user->users;
    if (u->job_count == u->job_capacity) {
        u->job_capacity = MAX((size_t)64, u->job_capacity * 2);
        u->jobs = xrealloc(u->jobs, u->job_capacity, sizeof *u->jobs);
    }
    user->job = u->job_count++;
    uint32_t number = u->next_key++;
    u->jobs[user->job] = (struct job_known){.number = number,
                                            .work = draw_below(u, WORK_COUNT),
                                            .replicas = 1 + draw_below(u, 3),
                                            .is_submitting = true};
    user_begin(user, LINEAR_CREATE, GIVE_UP_JOB_MS);
    job_command(user, false);
    user_attempt(user);
}

static void job_kill_begin(struct user *user, size_t job)
{
    user->job = job;
    user->users->jobs[job].is_killing = user->users->jobs[job].was_told_to_end = true;
    user_begin(user, LINEAR_KILL, GIVE_UP_JOB_MS);
    job_command(user, true);
    user_attempt(user);
}

/* Short jobs end by themselves. */
static void job_begin(struct user *user)
{
    struct users *u = user->users;
    size_t live = 0, oldest = u->job_count;
    for (size_t i = u->job_count; i-- > 0;) {
        if (u->jobs[i].was_told_to_end || u->jobs[i].work == WORK_SHORT)
            continue;
        live++;
        oldest = i;
    }
    if (live < USERS_JOBS)
        job_submit_begin(user);
    else
        job_kill_begin(user, oldest);
}

static void users_on_thought(uv_timer_t *timer)
{
    struct user *user = timer->data;
    if (!user->users->is_open) {
        user->users->busy--;
        return;
    }
    if (user->number == USER_RUNS_JOBS)
        job_begin(user);
    else
        name_begin(user);
}

static void user_think(struct user *user)
{
    enum { JOBS_SLOWER = 10 };
    struct users *u = user->users;
    uint32_t ms = 1 + draw_below(u, THINK_MS_MAX);
    uv_timer_start(&user->timer, users_on_thought,
                   user->number == USER_RUNS_JOBS ? ms * JOBS_SLOWER : ms, 0);
}

void users_start(struct users *u, struct lines *lines, uint64_t seed)
{
    *u = (struct users){
        .lines = lines, .random = seed | 1, .started_us = clock_mono_us(), .next_key = 1};
    u->users = xcalloc(USER_RUNS_JOBS + 1, sizeof *u->users);
    for (size_t i = 0; i < USERS_NAMES; i++)
        u->names[i].key = u->next_key++;
    for (uint32_t i = 0; i <= USER_RUNS_JOBS; i++) {
        struct user *user = &u->users[i];
        user->users = u;
        user->number = i;
        uv_timer_init(lines->loop, &user->timer);
        user->timer.data = user;
    }
    users_resume(u);
}

void users_pause(struct users *u)
{
    u->is_open = false;
}

void users_resume(struct users *u)
{
    ASSERT(u->busy == 0);
    u->is_open = true;
    u->busy = USERS + 1;
    for (uint32_t i = 0; i <= USER_RUNS_JOBS; i++)
        user_think(&u->users[i]);
}
