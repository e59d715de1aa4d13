/*
 * lines.h - a connection to each replica, as user ada, that is reopened when it is lost.
 */
#ifndef CHAOS_LINES_H
#define CHAOS_LINES_H

#include "cell_file.h"
#include "rpc.h"
#include "wire.h"

struct lines;

struct line {
    struct lines *lines;
    struct rpc_conn *conn; /* NULL: none */
    bool is_open;
};

struct lines {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct cell_file *cell;
    struct line lines[CELL_REPLICAS_MAX];
    uv_timer_t retry;
};

int lines_open(struct lines *l, uv_loop_t *loop, const char *dir, const struct cell_file *cell,
               struct err *err) MUST_USE;
/* Like rpc_request(); ERR_UNAVAILABLE if there is no connection. */
int lines_request(struct lines *l, size_t replica, uint32_t method, const struct buf *body,
                  uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err) MUST_USE;
/* Reopen the connection after a time-out, because TCP retransmits only many seconds after a cut. */
void lines_renew(struct lines *l, size_t replica);

#endif
