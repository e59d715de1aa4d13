/*
 * client_logs.c - read a task's output from the borglet that has it.
 */
#include "client.h"
#include "wire.h"

struct reading {
    const struct client_logs *logs;
    struct rpc_conn *conn;
    bool open;
    bool closed;
    bool answered;
    bool ended; /* on_chunk has returned false */
    struct err why;
};

static void client_logs_on_open(struct rpc_conn *conn)
{
    struct reading *r = rpc_data(conn);
    r->open = true;
}

static void client_logs_on_close(struct rpc_conn *conn, const struct err *why)
{
    struct reading *r = rpc_data(conn);
    r->closed = true;
    r->conn = NULL;
    if (why != NULL && r->why.code == ERR_OK)
        r->why = *why;
}

static void client_logs_on_chunk(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                                 size_t size)
{
    struct reading *r = rpc_data(conn);
    struct wire_log_chunk chunk;
    struct err err;
    if (call != NULL) { /* chunks are notifications, not calls */
        err_set(&err, ERR_INVALID, "log chunks are not answered");
        rpc_refuse(call, &err);
        return;
    }
    if (wire_unpack_log_chunk(body, size, &chunk, &err) < 0) {
        r->why = err;
        r->ended = true;
    } else if (!r->ended && !r->logs->on_chunk(r->logs->data, &chunk)) {
        r->ended = true;
    }
}

static void client_logs_on_answer(void *data, const struct err *err, const void *body UNUSED,
                                  size_t size UNUSED)
{
    struct reading *r = data;
    r->answered = true;
    if (err != NULL && r->why.code == ERR_OK)
        r->why = *err;
}

static const struct rpc_method methods[] = {
    WIRE_SERVE(LOG_CHUNK, client_logs_on_chunk),
};

/* Following a log lasts as long as the task: only the connection itself may time out. */
enum { LOGS_CALL_MS = 30 * 60 * 1000, LOGS_FOLLOW_MS = 2000000000 };

static int logs_request(struct client *c, struct reading *r, struct err *err)
{
    CLEANUP(buf_release) struct buf request = {0};
    wire_pack_logs(&request, &r->logs->request);
    if (rpc_request(r->conn, WIRE_LOGS, request.bytes, request.size,
                    r->logs->request.follow ? LOGS_FOLLOW_MS : LOGS_CALL_MS, client_logs_on_answer,
                    r, err) < 0)
        return -(int)err->code;
    while (!r->answered && !r->ended)
        client_turn(c, 1000);
    return 0;
}

int client_logs(struct client *c, const struct client_logs *logs, struct err *err)
{
    struct reading r = {.logs = logs};
    struct rpc_options options = {.loop = &c->loop,
                                  .tls = c->tls,
                                  .methods = methods,
                                  .method_count = ARRAY_SIZE(methods),
                                  .data = &r,
                                  .on_open = client_logs_on_open,
                                  .on_close = client_logs_on_close};
    struct identity expect = {.role = ROLE_BORGLET};
    str_copy(expect.name, sizeof expect.name, logs->machine);
    if (rpc_connect(&options, logs->addr, &expect, &r.conn, err) < 0)
        return -(int)err->code;
    while (!r.open && !r.closed)
        client_turn(c, 1000);
    struct err failed = {0};
    if (r.open && !r.closed && logs_request(c, &r, &failed) < 0)
        r.why = failed;
    struct err why = r.why; /* keep the first reason: closing the connection sets another */
    if (!r.closed)
        rpc_close(r.conn);
    while (!r.closed)
        client_turn(c, 1000);
    if (why.code == ERR_OK)
        return 0;
    *err = why;
    return err_wrap(err, "machine %s (%s)", logs->machine, logs->addr);
}
