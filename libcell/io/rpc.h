/*
 * rpc.h - calls and notices between the programs, over streams.
 *
 * A connection is symmetric: either side may call the other. A frame is a 4-byte big-endian length
 * (at most RPC_FRAME_BYTES_MAX) and a msgpack array: [kind, id, ...]
 *     [0, id, method, body]      call; the answer carries the same id
 *     [1, id, code, msg, body]   answer; code 0 or an err_code
 *     [2, 0, method, body]       notice; no answer
 *     [3, 0, code, msg, ""]      bye: why the sender closes the connection
 * Bodies are byte strings that proto/wire.h packs and unpacks. A malformed frame closes the
 * connection (and is logged), and so does a notice for a method that is not a notice or from a role
 * that may not call it. A notice for an unknown method, possibly of a later version, is ignored. A
 * call of an unknown method, or from a role that may not call it, is answered with an error.
 * Handlers run on the loop.
 *
 * The resources of a peer are bounded for each connection here, and for all connections of an
 * identity by admission.h. A peer is not read while it has RPC_CALLS_MAX (users:
 * RPC_USER_CALLS_MAX) calls or RPC_CALLS_BYTES_MAX unanswered, or while it does not read its
 * answers; a user who was refused with ERR_UNAVAILABLE is not read for RPC_SLOW_MS. A connection
 * with a frame that is not completed in time, and an idle connection of a user, are closed with a
 * bye.
 */
#ifndef CELL_RPC_H
#define CELL_RPC_H

#include "stream.h"

struct rpc_conn;   /* one connection, either end */
struct rpc_call;   /* a call being served; valid until it is answered */
struct rpc_server; /* a listening address */

/* Serve a call (call != NULL; answer it exactly once, now or later) or a notice (call == NULL). */
typedef void (*rpc_handler)(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                            size_t size);

struct rpc_method {
    uint32_t id; /* enum wire_method */
    uint32_t roles; /* BIT(ROLE_x) of those that may call it, ROLE_MAY_NOTIFY */
    rpc_handler handler;
};

struct rpc_options {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct rpc_method *methods; /* methods that we serve; borrowed; NULL: none */
    size_t method_count;
    const struct admission_limits *limits;  /* listening: limits for peers; NULL: admission_rpc */
    void *data;                             /* initial rpc_data() of every connection */
    void (*on_open)(struct rpc_conn *conn); /* may be NULL */
    void (*on_close)(struct rpc_conn *conn,
                     const struct err *why); /* may be NULL; conn is freed afterwards */
};

/* Listen; on_open is called for each connection. */
int rpc_listen(const struct rpc_options *options, const char *address, struct rpc_server **ret,
               struct err *err) MUST_USE;
const char *rpc_server_address(const struct rpc_server *server); /* with the real port */
/* Stop listening and close all connections; the loop frees the server. */
void rpc_server_close(struct rpc_server *server);

/* Connect; on_open or on_close follows. `expect` as in stream_options; NULL: a master. */
int rpc_connect(const struct rpc_options *options, const char *address,
                const struct identity *expect, struct rpc_conn **ret, struct err *err) MUST_USE;
void rpc_close(struct rpc_conn *conn); /* our unanswered calls get ERR_CLOSED, then on_close
                                          follows */

const struct identity *rpc_peer(const struct rpc_conn *conn);
const char *rpc_peer_address(const struct rpc_conn *conn);
void *rpc_data(const struct rpc_conn *conn);
void rpc_set_data(struct rpc_conn *conn, void *data);
/* Return the bytes waiting to be sent. Senders of streams (logs) check this and wait for
 * rpc_on_drain. */
size_t rpc_queued(const struct rpc_conn *conn);
/* Call `cb` once, in a later turn, when the queue has shrunk to half of its present size. */
void rpc_on_drain(struct rpc_conn *conn, void (*cb)(struct rpc_conn *conn));

/*
 * Call a method. `cb` is called exactly once, in a later loop turn: either err is NULL and body is
 * borrowed, or err is the refusal of the other side (its code and message), ERR_TIMEOUT or
 * ERR_CLOSED. Returns an error (without a callback) when the connection is closed or the queue is
 * full. Before on_open the call is queued. `timeout_ms` 0: no time-out.
 */
typedef void (*rpc_answer_cb)(void *data, const struct err *err, const void *body, size_t size);
int rpc_request(struct rpc_conn *conn, uint32_t method, const void *body, size_t size,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err) MUST_USE;
int rpc_notify(struct rpc_conn *conn, uint32_t method, const void *body, size_t size) MUST_USE;

/* Answer a call and free it. Does nothing if the connection has closed, or for NULL: the peer
 * chooses whether it calls a method or sends it as a notice. */
void rpc_reply(struct rpc_call *call, const void *body, size_t size);
void rpc_refuse(struct rpc_call *call, const struct err *err);
/* Return the connection of a waiting call, or NULL when it has closed. */
struct rpc_conn *rpc_call_conn(const struct rpc_call *call);

/* Count `us`, spent elsewhere on the peer's data, against its share of the loop's time. */
void rpc_charge(struct rpc_conn *conn, uint64_t us);

/* Return when the peer's certificate expires, see stream_peer_expires_ms(). */
uint64_t rpc_peer_expires_ms(const struct rpc_conn *conn);

#endif
