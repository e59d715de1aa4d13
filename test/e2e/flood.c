/*
 * flood.c - one user floods the cell with requests.
 *
 *     flood DIR USER command|late|query|why CONNECTIONS DEPTH SECONDS
 *
 * Keeps DEPTH calls unanswered on each connection, spread over the replicas of the cell in DIR, for
 * SECONDS; prints `flooding` when all connections do. `command` kills a job that does not exist
 * (this adds an entry to the log), `late` does so with a request that may be older than the cell
 * remembers, `query` runs a slow SQL statement, `why` asks about the job "web". Prints
 * `answered N expired N refused N closed N` and the last refusal.
 */
#include "cell_file.h"
#include "clock.h"
#include "cmd_pack.h"
#include "rpc.h"
#include "wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "flood DIR USER command|late|query|why CONNECTIONS DEPTH SECONDS";
static const char slow_sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                               "WHERE i < 300000) SELECT count(*) FROM n";

struct flood {
    uv_loop_t loop;
    uv_timer_t end;
    struct cell_file cell;
    struct tls_context *tls;
    const char *kind;
    uint32_t method;
    size_t depth;
    size_t open, connections;
    uint64_t sent, answered, expired, refused, closed;
    bool over;
    struct err last;
};

static struct flood flood;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "flood: %s\n", what);
    exit(1);
}

static void request_pack(struct buf *to)
{
    struct err err;
    if (flood.method == WIRE_COMMAND) {
        struct cmd cmd = {.kind = CMD_JOB_KILL};
        random_id(cmd.request_id);
        cmd.known_index = strcmp(flood.kind, "late") == 0;
        str_copy(cmd.job_kill.name, sizeof cmd.job_kill.name, "nobody-submitted-this");
        if (cmd_pack(&cmd, to, &err) != 0)
            die(err.msg);
    } else if (flood.method == WIRE_QUERY) {
        wire_pack_query(to, &(struct wire_query){.sql = (char *)(uintptr_t)slow_sql});
    } else {
        struct wire_why why = {.index = -1, .want_names = true};
        str_copy(why.job, sizeof why.job, "web");
        wire_pack_why(to, &why);
    }
}

static void on_answer(void *data, const struct err *err, const void *body, size_t size);

/* Send one call; return false if the connection accepts no more now. */
static bool send_one(struct rpc_conn *conn)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct err err;
    request_pack(&body);
    return rpc_request(conn, flood.method, body.bytes, body.size, 0, on_answer, conn, &err) == 0;
}

static bool is_expired(const void *body, size_t size)
{
    struct wire_answer answer;
    return flood.method == WIRE_COMMAND && wire_unpack_answer(body, size, &answer, NULL) == 0 &&
           answer.code == ERR_EXPIRED;
}

static void on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    if (err == NULL) {
        flood.answered++;
        flood.expired += is_expired(body, size);
    } else if (err->code == ERR_CLOSED) {
        flood.closed++;
        return;
    } else {
        flood.refused++;
        flood.last = *err;
    }
    if (!flood.over)
        (void)send_one(data);
}

static void on_open(struct rpc_conn *conn)
{
    if (++flood.open == flood.connections) {
        puts("flooding");
        fflush(stdout);
    }
    for (size_t i = 0; i < flood.depth; i++)
        if (!send_one(conn))
            return;
}

static void on_close(struct rpc_conn *conn UNUSED, const struct err *why)
{
    flood.last = *why;
}

static void on_end(uv_timer_t *timer UNUSED)
{
    flood.over = true;
    uv_stop(&flood.loop);
}

static void open_all(const char *dir, const char *user)
{
    char path[CELL_PATH_MAX + 1], cert[CELL_PATH_MAX + 1], key[CELL_PATH_MAX + 1];
    struct err err;
    snprintf(path, sizeof path, "%s/cell.json", dir);
    snprintf(cert, sizeof cert, "%s/pki/user-%s.crt", dir, user);
    snprintf(key, sizeof key, "%s/pki/user-%s.key", dir, user);
    if (cell_file_load(path, &flood.cell, &err) != 0 ||
        tls_context_open(flood.cell.ca_path, cert, key, &flood.tls, &err) != 0)
        die(err.msg);
    struct rpc_options options = {
        .loop = &flood.loop, .tls = flood.tls, .on_open = on_open, .on_close = on_close};
    for (size_t i = 0; i < flood.connections; i++) {
        struct rpc_conn *conn;
        const char *to = flood.cell.replicas[i % flood.cell.replica_count].rpc;
        if (rpc_connect(&options, to, NULL, &conn, &err) != 0)
            die(err.msg);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        die(usage);
    flood.kind = argv[3];
    flood.method = strcmp(flood.kind, "command") == 0 ? WIRE_COMMAND
                   : strcmp(flood.kind, "late") == 0  ? WIRE_COMMAND
                   : strcmp(flood.kind, "query") == 0 ? WIRE_QUERY
                   : strcmp(flood.kind, "why") == 0   ? WIRE_WHY
                                                      : 0;
    flood.connections = strtoul(argv[4], NULL, 10);
    flood.depth = strtoul(argv[5], NULL, 10);
    unsigned long seconds = strtoul(argv[6], NULL, 10);
    if (flood.method == 0 || flood.connections == 0 || flood.depth == 0 || seconds == 0)
        die(usage);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&flood.loop);
    uv_timer_init(&flood.loop, &flood.end);
    uv_timer_start(&flood.end, on_end, seconds * 1000, 0);
    open_all(argv[1], argv[2]);
    uv_run(&flood.loop, UV_RUN_DEFAULT);
    printf("answered %" PRIu64 " expired %" PRIu64 " refused %" PRIu64 " closed %" PRIu64 "%s%s\n",
           flood.answered, flood.expired, flood.refused, flood.closed,
           flood.last.code != ERR_OK ? " last: " : "",
           flood.last.code != ERR_OK ? flood.last.msg : "");
    return 0;
}
