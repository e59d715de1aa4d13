/*
 * bench.c - blocking calls on one loop, and the check that a cell is healthy.
 */
#include "bench.h"

#include "clock.h"
#include "cmd_pack.h"
#include "log.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TURN_MS = 2 };

void bench_die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void bench_on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void bench_open(struct bench *b, const char *dir)
{
    char path[CELL_PATH_MAX + 32], cert[CELL_PATH_MAX + 32], key[CELL_PATH_MAX + 32];
    struct identity self = {.role = ROLE_USER, .name = "bench"};
    struct err err;
    *b = (struct bench){0};
    signal(SIGPIPE, SIG_IGN);
    log_open(LOG_ERROR, "bench");
    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->tick);
    uv_timer_start(&b->tick, bench_on_tick, TURN_MS, TURN_MS);
    snprintf(path, sizeof path, "%s/cell.json", dir);
    if (cell_file_load(path, &b->cell, &err) != 0)
        bench_die("%s", err.msg);
    snprintf(path, sizeof path, "%s/pki", dir);
    snprintf(cert, sizeof cert, "%s/user-bench.crt", path);
    snprintf(key, sizeof key, "%s/user-bench.key", path);
    if (access(cert, R_OK) != 0 && pki_make_cert(path, "user-bench", &self, &err) != 0)
        bench_die("%s", err.msg);
    if (tls_context_open(b->cell.ca_path, cert, key, &b->tls, &err) != 0)
        bench_die("%s", err.msg);
}

void bench_turn(struct bench *b)
{
    uv_run(&b->loop, UV_RUN_ONCE);
}

void bench_pause(struct bench *b, uint64_t ms)
{
    for (uint64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        bench_turn(b);
}

static void bench_on_open(struct rpc_conn *conn)
{
    struct bench_peer *peer = rpc_data(conn);
    peer->open = true;
}

static void bench_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct bench_peer *peer = rpc_data(conn);
    (void)why;
    peer->open = false;
    peer->conn = NULL;
}

int bench_connect(struct bench *b, size_t i, struct bench_peer *peer, struct err *err)
{
    struct rpc_options options = {.loop = &b->loop,
                                  .tls = b->tls,
                                  .data = peer,
                                  .on_open = bench_on_open,
                                  .on_close = bench_on_close};
    if (peer->conn != NULL)
        return 0;
    int rv = rpc_connect(&options, b->cell.replicas[i].rpc, NULL, &peer->conn, err);
    if (rv != 0)
        peer->conn = NULL;
    return rv;
}

static int peer_open(struct bench *b, size_t i, struct err *err)
{
    struct bench_peer *peer = &b->peers[i];
    int rv = bench_connect(b, i, peer, err);
    if (rv != 0)
        return rv;
    while (peer->conn != NULL && !peer->open)
        bench_turn(b);
    if (peer->conn == NULL)
        return err_set(err, ERR_CLOSED, "%s cannot be reached", b->cell.replicas[i].rpc);
    return 0;
}

struct call {
    bool done;
    struct err err;
    struct buf *body;
};

static void bench_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct call *call = data;
    call->done = true;
    if (err != NULL)
        call->err = *err;
    else
        buf_append(call->body, body, size);
}

int bench_call(struct bench *b, size_t i, uint32_t method, const struct buf *body, struct buf *ret,
               struct err *err)
{
    struct call call = {.body = ret};
    buf_clear(ret);
    int rv = peer_open(b, i, err);
    if (rv == 0)
        rv = rpc_request(b->peers[i].conn, method, body->bytes, body->size, BENCH_CALL_MS,
                         bench_on_answer, &call, err);
    if (rv != 0)
        return rv;
    while (!call.done)
        bench_turn(b);
    *err = call.err;
    return -(int)call.err.code;
}

int bench_status(struct bench *b, size_t i, struct wire_status *ret, struct err *err)
{
    struct buf CLEANUP(buf_release) answer = {0};
    int rv = bench_call(b, i, WIRE_STATUS, &(struct buf){0}, &answer, err);
    return rv != 0 ? rv : wire_unpack_status(answer.bytes, answer.size, ret, err);
}

struct wire_answer bench_command(struct bench *b, size_t i, const struct cmd *cmd)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct buf CLEANUP(buf_release) bytes = {0};
    struct wire_answer answer;
    struct err err;
    if (cmd_pack(cmd, &body, &err) != 0 ||
        bench_call(b, i, WIRE_COMMAND, &body, &bytes, &err) != 0 ||
        wire_unpack_answer(bytes.bytes, bytes.size, &answer, &err) != 0)
        bench_die("%s: %s", cmd_kind_text(cmd->kind), err.msg);
    if (answer.code != ERR_OK)
        bench_die("%s: %s", cmd_kind_text(cmd->kind), answer.msg);
    return answer;
}

static struct wire_rows query(struct bench *b, size_t i, uint64_t index_min, char *sql)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct buf CLEANUP(buf_release) bytes = {0};
    struct wire_query asked = {.sql = sql, .index_min = index_min};
    struct wire_rows rows;
    struct err err;
    wire_pack_query(&body, &asked);
    if (bench_call(b, i, WIRE_QUERY, &body, &bytes, &err) != 0 ||
        wire_unpack_rows(bytes.bytes, bytes.size, &rows, &err) != 0)
        bench_die("%s: %s", sql, err.msg);
    return rows;
}

struct wire_rows bench_query(struct bench *b, size_t i, uint64_t index_min, const char *fmt, ...)
{
    char sql[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sql, sizeof sql, fmt, args);
    va_end(args);
    return query(b, i, index_min, sql);
}

int64_t bench_number(struct bench *b, size_t i, const char *fmt, ...)
{
    char sql[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sql, sizeof sql, fmt, args);
    va_end(args);
    struct wire_rows rows = query(b, i, 0, sql);
    int64_t number = rows.row_count > 0 ? rows.values[0].integer : 0;
    wire_rows_release(&rows);
    return number;
}

/* Format 1000000 as 1,000,000. */
static void number_group(int64_t number, char to[32])
{
    char digits[32];
    size_t at = 0, count = (size_t)snprintf(digits, sizeof digits, "%" PRId64, number);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    to[at] = '\0';
}

struct bench_size bench_size(struct bench *b, size_t i)
{
    enum { FEW = 1000 };
    struct bench_size size;
    char machines[32], tasks[32];
    int64_t count = bench_number(b, i, "SELECT count(*) FROM tasks");
    number_group(bench_number(b, i, "SELECT count(*) FROM machines"), machines);
    number_group(count, tasks);
    if (count < FEW)
        str_copy(size.text, sizeof size.text, "small cell");
    else
        snprintf(size.text, sizeof size.text, "%s machines, %s tasks", machines, tasks);
    return size;
}

static bool settled(struct bench *b, struct bench_health *ret, struct err *why)
{
    size_t leaders = 0;
    for (size_t i = 0; i < b->cell.replica_count; i++) {
        struct wire_status s;
        if (bench_status(b, i, &s, why) != 0)
            return false;
        if (i == 0)
            *ret = (struct bench_health){.term = s.term, .index = s.applied_index};
        ret->pids[i] = s.pid;
        if (strcmp(s.role, "leader") == 0) {
            leaders++;
            ret->leader = i;
        }
        err_set(why, ERR_STATE,
                "replica %" PRIu64 ": %s, term %" PRIu64 ", last %" PRIu64 ", applied %" PRIu64
                ", projected %" PRIu64,
                s.id, s.role, s.term, s.last_index, s.applied_index, s.projected_index);
        /* Barriers have an index but no row: the index in SQLite may be lower. */
        if (s.term != ret->term || s.applied_index != ret->index || s.leader == 0)
            return false;
    }
    return leaders == 1;
}

struct bench_health bench_settle(struct bench *b)
{
    struct bench_health health;
    struct err why;
    uint64_t deadline_ms = clock_mono_ms() + BENCH_SETTLE_MS;
    while (!settled(b, &health, &why)) {
        if (clock_mono_ms() > deadline_ms)
            bench_die("the cell did not settle within %d s: %s", BENCH_SETTLE_MS / 1000, why.msg);
        bench_pause(b, 20);
    }
    return health;
}

struct cmd bench_submit(const char *name, uint32_t replicas, int64_t cpu_milli, int64_t ram_bytes)
{
    struct cmd cmd = {.kind = CMD_JOB_SUBMIT};
    random_id(cmd.request_id);
    spec_init(&cmd.job_submit);
    str_copy(cmd.job_submit.name, sizeof cmd.job_submit.name, name);
    str_copy(cmd.job_submit.user, sizeof cmd.job_submit.user, "bench");
    cmd.job_submit.replicas = replicas;
    cmd.job_submit.limit.v[RES_CPU] = cpu_milli;
    cmd.job_submit.limit.v[RES_RAM] = ram_bytes;
    words_add(&cmd.job_submit.argv, "true");
    return cmd;
}

struct cmd bench_kill(const char *name)
{
    struct cmd cmd = {.kind = CMD_JOB_KILL};
    random_id(cmd.request_id);
    str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, name);
    return cmd;
}
