/*
 * rpc_server.c - a listening address: scheduling of its connections, and time-outs.
 */
#include "rpc_impl.h"

#include "log.h"
#include "rpc_frame.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROOM_POLL_MS = 10, /* interval for checking whether an identity has room again */
    SWEEP_MS = 500,    /* interval for checking time-outs */
};

struct rpc_server {
    struct rpc_options options;
    struct stream_listener *listener; /* NULL while closing */
    struct list conns;
    struct list ready[2]; /* they continue in the next turn: users, and all others */
    struct list waiting;  /* for room of their identity */
    uv_idle_t turn;       /* active while `ready` is not empty */
    uv_timer_t room;      /* active while `waiting` is not empty */
    uv_timer_t sweep;     /* checks time-outs */
    unsigned handle_count;
};

/* Put the connections that were not served in front of those that arrived meanwhile. */
static void rpc_put_in_front(struct list *left, struct list *list)
{
    for (struct list *l; (l = list_pop(list)) != NULL;)
        list_push(left, l);
    list_replace(left, list);
}

/* Check soon for connections that wait. */
static void rpc_on_room(uv_timer_t *timer);

static void rpc_poll_room(struct rpc_server *server)
{
    if (!list_empty(&server->waiting) && !uv_is_active((uv_handle_t *)&server->room))
        uv_timer_start(&server->room, rpc_on_room, ROOM_POLL_MS, 0);
}

static void rpc_on_room(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    struct list now, over;
    list_replace(&server->waiting, &now);
    list_init(&server->waiting);
    list_init(&over);
    for (struct list *l; (l = list_pop(&now)) != NULL;) {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, turn_link);
        if (rpc_is_over(conn))
            list_push(&over, l);
        else
            rpc_resume(conn);
    }
    rpc_put_in_front(&over, &server->waiting);
    rpc_poll_room(server);
}

void rpc_server_wait_for_room(struct rpc_server *server, struct rpc_conn *conn)
{
    list_remove(&conn->turn_link);
    list_push(&server->waiting, &conn->turn_link);
    rpc_poll_room(server);
}

/* Serve the connections whose turn has come. */
static void rpc_serve_ready(struct rpc_server *server, struct list *ready)
{
    struct list now;
    uint64_t turn = uv_now(server->options.loop);
    list_replace(ready, &now);
    list_init(ready);
    while (!list_empty(&now)) {
        struct rpc_conn *conn = CONTAINER_OF(now.next, struct rpc_conn, turn_link);
        if (!conn->closing && account_turn_is_over(conn->account, turn))
            break;
        list_remove(&conn->turn_link);
        rpc_resume(conn);
    }
    rpc_put_in_front(&now, ready);
}

static void rpc_on_turn(uv_idle_t *idle)
{
    struct rpc_server *server = idle->data;
    rpc_serve_ready(server, &server->ready[1]);
    rpc_serve_ready(server, &server->ready[0]);
    if (list_empty(&server->ready[0]) && list_empty(&server->ready[1]))
        uv_idle_stop(idle);
}

void rpc_server_wait_for_turn(struct rpc_server *server, struct rpc_conn *conn)
{
    list_remove(&conn->turn_link);
    list_push(&server->ready[rpc_peer(conn)->role != ROLE_USER], &conn->turn_link);
    uv_idle_start(&server->turn, rpc_on_turn);
}

static bool rpc_is_idle(const struct rpc_conn *conn)
{
    return conn->call_count == 0 && list_empty(&conn->pending) && !conn->paused &&
           conn->in.size == 0 && stream_queued(conn->stream) == 0;
}

/* Close a connection that holds an incomplete frame or is idle for too long. */
static void rpc_check_time(struct rpc_conn *conn)
{
    const struct admission_limits *limits = account_limits(conn->account);
    uint64_t idle_ms = account_budget(conn->account)->idle_ms;
    uint64_t now_ms = uv_now(conn->options.loop);
    struct err why;
    if (conn->in.size == 0 || (conn->paused && !conn->frames_wait)) {
        conn->frame_ms = now_ms; /* the delay is ours */
    } else if (now_ms - conn->frame_ms > limits->frame_ms) {
        err_set(&why, ERR_TIMEOUT, "a message was not complete within %" PRIu64 " ms",
                limits->frame_ms);
        rpc_close_with_bye(conn, &why);
    }
    if (idle_ms != 0 && rpc_is_idle(conn) && now_ms - conn->heard_ms > idle_ms) {
        err_set(&why, ERR_TIMEOUT,
                "the connection was idle for %" PRIu64 " ms: connect again when needed", idle_ms);
        rpc_close_with_bye(conn, &why);
    }
}

static void rpc_on_sweep(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    LIST_EACH(l, &server->conns)
    {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, server_link);
        if (!conn->closing && !conn->closed)
            rpc_check_time(conn);
    }
}

/* Append the bye for a refused peer, which has no rpc_conn. */
static void rpc_append_bye(struct buf *ret, const struct err *why)
{
    struct rpc_frame bye = {.kind = RPC_BYE,
                            .code = (uint32_t)why->code,
                            .msg = why->msg,
                            .msg_size = strnlen(why->msg, sizeof why->msg)};
    (void)!rpc_frame_pack_head(ret, &bye, NULL);
}

static void rpc_on_server_closed(uv_handle_t *handle)
{
    struct rpc_server *server = handle->data;
    if (--server->handle_count == 0)
        free(server);
}

void rpc_server_free_if_done(struct rpc_server *server)
{
    if (server->listener != NULL || !list_empty(&server->conns))
        return;
    uv_close((uv_handle_t *)&server->turn, rpc_on_server_closed);
    uv_close((uv_handle_t *)&server->room, rpc_on_server_closed);
    uv_close((uv_handle_t *)&server->sweep, rpc_on_server_closed);
}

static void rpc_on_accept(struct stream_listener *l, struct stream *s, void *data)
{
    struct rpc_server *server = data;
    (void)l;
    struct rpc_conn *conn = rpc_conn_new(&server->options);
    conn->stream = s;
    conn->server = server;
    list_push(&server->conns, &conn->server_link);
    stream_set_data(s, conn);
    rpc_on_stream_open(s, conn);
}

int rpc_listen(const struct rpc_options *options, const char *address, struct rpc_server **ret,
               struct err *err)
{
    struct rpc_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    list_init(&server->conns);
    list_init(&server->ready[0]);
    list_init(&server->ready[1]);
    list_init(&server->waiting);
    struct stream_options stream_options = rpc_stream_options(options, server);
    stream_options.limits = options->limits != NULL ? options->limits : &admission_rpc;
    stream_options.append_bye = rpc_append_bye;
    int rc = stream_listen(&stream_options, address, RPC_CONNECTIONS_MAX, rpc_on_accept,
                           &server->listener, err);
    if (rc != 0) {
        free(server);
        return rc;
    }
    uv_idle_init(options->loop, &server->turn);
    uv_timer_init(options->loop, &server->room);
    uv_timer_init(options->loop, &server->sweep);
    server->turn.data = server->room.data = server->sweep.data = server;
    server->handle_count = 3;
    uv_timer_start(&server->sweep, rpc_on_sweep, SWEEP_MS, SWEEP_MS);
    *ret = server;
    return 0;
}

const char *rpc_server_address(const struct rpc_server *server)
{
    return stream_listener_address(server->listener);
}

void rpc_server_close(struct rpc_server *server)
{
    stream_listener_close(server->listener);
    server->listener = NULL;
    LIST_EACH(l, &server->conns)
    rpc_close(CONTAINER_OF(l, struct rpc_conn, server_link));
    rpc_server_free_if_done(server);
}
