/*
 * rpc_impl.h - what rpc.c and rpc_server.c know of each other; nobody else's.
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
    bool closing; /* rpc_close() was called, or the peer broke the rules */
    bool closed;  /* the stream has ended */
    struct err why;

    struct admission_account *account; /* what the peer holds; NULL until open, and after the end */
    struct buf in;
    size_t in_accounted;    /* of those, that the account knows of */
    uint64_t frame_ms;      /* since when it holds the beginning of a frame */
    uint64_t heard_ms;      /* when anything came last */
    struct buf head;        /* of the frame being sent */
    bool paused;            /* what the peer sends waits, see above */
    bool full;              /* for it had too much unanswered; half of that must go first */
    bool frames_wait;       /* for its identity has too much in frames that are not whole */
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

/* A connection with the handlers of rpc, whose stream the caller sets. */
struct rpc_conn *rpc_conn_new(const struct rpc_options *options);
struct stream_options rpc_stream_options(const struct rpc_options *options, void *data);
void rpc_on_stream_open(struct stream *s, void *data);
/* Go on reading if nothing is in the way. Not from within a handler: more are called. */
void rpc_resume(struct rpc_conn *conn);
/* Tell the peer why, then close. */
void rpc_dismiss(struct rpc_conn *conn, const struct err *why);
bool rpc_frames_full(const struct rpc_conn *conn);
/* Its identity has had its share of the loop's time. Never of a connection that we opened. */
bool rpc_is_over(const struct rpc_conn *conn);

/* Have a paused connection resumed in a later turn, in the order in which they come; or when its
 * identity may have room. */
void rpc_server_wait_for_turn(struct rpc_server *server, struct rpc_conn *conn);
void rpc_server_wait_for_room(struct rpc_server *server, struct rpc_conn *conn);
/* To be called when a connection of it has gone. */
void rpc_server_free_if_done(struct rpc_server *server);

#endif
