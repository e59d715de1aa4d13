/*
 * lines.c - connections to the replicas.
 */
#include "lines.h"

#include <stdio.h>

enum { RETRY_MS = 50 };

static void lines_on_open(struct rpc_conn *conn)
{
    struct line *line = rpc_data(conn);
    line->is_open = line->conn == conn;
}

static void lines_on_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct line *line = rpc_data(conn);
    if (line->conn == conn) {
        line->conn = NULL;
        line->is_open = false;
    }
}

static void lines_on_retry(uv_timer_t *timer)
{
    struct lines *l = timer->data;
    for (size_t i = 0; i < l->cell->replica_count; i++) {
        struct line *line = &l->lines[i];
        struct rpc_options options = {.loop = l->loop,
                                      .tls = l->tls,
                                      .data = line,
                                      .on_open = lines_on_open,
                                      .on_close = lines_on_close};
        if (line->conn == NULL &&
            rpc_connect(&options, l->cell->replicas[i].rpc, NULL, &line->conn, NULL) != 0)
            line->conn = NULL;
    }
}

int lines_open(struct lines *l, uv_loop_t *loop, const char *dir, const struct cell_file *cell,
               struct err *err)
{
    char cert[CELL_PATH_MAX + 32], key[CELL_PATH_MAX + 32];
    *l = (struct lines){.loop = loop, .cell = cell};
    snprintf(cert, sizeof cert, "%s/pki/user-ada.crt", dir);
    snprintf(key, sizeof key, "%s/pki/user-ada.key", dir);
    int rc = tls_context_open(cell->ca_path, cert, key, &l->tls, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < cell->replica_count; i++)
        l->lines[i].lines = l;
    uv_timer_init(loop, &l->retry);
    l->retry.data = l;
    uv_timer_start(&l->retry, lines_on_retry, 0, RETRY_MS);
    return 0;
}

int lines_request(struct lines *l, size_t replica, uint32_t method, const struct buf *body,
                  uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err)
{
    struct line *line = &l->lines[replica];
    if (!line->is_open)
        return err_set(err, ERR_UNAVAILABLE, "no connection to replica %zu", replica + 1);
    return rpc_request(line->conn, method, body->bytes, body->size, timeout_ms, cb, data, err);
}

void lines_renew(struct lines *l, size_t replica)
{
    struct line *line = &l->lines[replica];
    struct rpc_conn *conn = line->conn;
    if (!line->is_open)
        return; /* it is being opened, which has a time-out of its own */
    line->conn = NULL;
    line->is_open = false;
    rpc_close(conn);
}
