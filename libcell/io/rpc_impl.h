/*
 * rpc_impl.h - declarations shared by rpc.c and rpc_server.c; for them only.
 */
#ifndef CELL_RPC_IMPL_H
#define CELL_RPC_IMPL_H

#include "idmap.h"
#include "list.h"
#include "rpc.h"

struct rpc_conn {
    struct rpc_options options;
    struct stream *stream;
    struct rpc_server *server; /* NULL on the connecting side */
    struct list server_link;   /* in server->conns */
    void *data;
    bool closing; /* rpc_close() was called, or the peer broke the protocol */
    bool closed;  /* the stream has ended */
    struct err why;

    struct admission_account *account; /* of the peer; NULL before opening and after the end */
    struct buf in;
    size_t in_accounted;    /* the part of them that the account knows of */
    uint64_t frame_ms;      /* since when it holds an incomplete frame */
    uint64_t heard_ms;      /* when data last arrived */
    struct buf head;        /* of the frame being sent */
    bool paused;            /* the peer's data waits, see above */
    bool full;              /* too much was unanswered; half of it must be answered first */
    bool frames_wait;       /* its identity has too many bytes in incomplete frames */
    struct list turn_link;  /* in server->ready or ->waiting */
    uint64_t slow_until_ms; /* 0: it is not slowed down */
    void (*on_drain)(struct rpc_conn *conn);
    size_t drain_bytes;

    uint64_t id_next;
    struct idmap pending_by_id;
    struct list pending; /* ordered by deadline */
    uv_timer_t timer;    /* for the first of them */
    struct list calls;
    size_t call_count;
    size_t call_bytes;
    uint64_t denied_count;
    uint64_t denied_log_ms;
};

struct rpc_call {
    struct admission_account *account;
    struct list link;      /* in conn->calls */
    struct rpc_conn *conn; /* NULL when it has closed */
    uint64_t id;
    size_t bytes;
};

/* Return a connection with the handlers of rpc; the caller sets its stream. */
struct rpc_conn *rpc_conn_new(const struct rpc_options *options);
struct stream_options rpc_stream_options(const struct rpc_options *options, void *data);
void rpc_on_stream_open(struct stream *s, void *data);
/* Continue reading if nothing prevents it. Must not be called from a handler, because it calls
 * some. */
void rpc_resume(struct rpc_conn *conn);
/* Send the reason to the peer, then close. */
void rpc_close_with_bye(struct rpc_conn *conn, const struct err *why);
bool rpc_frames_full(const struct rpc_conn *conn);
/* Return whether its identity has used its share of the loop's time. False for outgoing
 * connections. */
bool rpc_is_over(const struct rpc_conn *conn);

/* Resume a paused connection in a later turn, in order of arrival; or when its identity may have
 * room. */
void rpc_server_wait_for_turn(struct rpc_server *server, struct rpc_conn *conn);
void rpc_server_wait_for_room(struct rpc_server *server, struct rpc_conn *conn);
/* Call this when a connection of the server has gone. */
void rpc_server_free_if_done(struct rpc_server *server);

#endif
