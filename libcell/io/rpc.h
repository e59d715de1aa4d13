/*
 * rpc.h - calls and notices between the programs, over streams.
 *
 * A connection is symmetric: either side may call the other. A frame is a 4-byte big-endian length
 * (RPC_FRAME_BYTES_MAX at most) and a msgpack array: [kind, id, ...]
 *     [0, id, method, body]      call; the answer carries the same id
 *     [1, id, code, msg, body]   answer; code 0 or an err_code
 *     [2, 0, method, body]       notice; no answer
 *     [3, 0, code, msg, ""]      bye: why the sender closes the connection
 * Bodies are byte strings that proto/wire.h packs and unpacks. A frame that cannot be read closes
 * the connection (and is logged), and so does a notice of a method that is none or by a role that
 * may not call it; a notice of a method that we do not know, of a later version perhaps, is
 * ignored. A call to an unknown method or by a role that may not call it is answered with an
 * error. Handlers run on the loop.
 *
 * What a peer may hold is bounded for each connection here, and for all connections of an identity
 * together by admission.h. A peer with RPC_CALLS_MAX (users: RPC_USER_CALLS_MAX) calls of
 * RPC_CALLS_BYTES_MAX unanswered, or that does not read the answers, is not read either, and a user
 * who is refused with ERR_UNAVAILABLE is not read for RPC_SLOW_MS. A connection whose frame does
 * not become whole in time, and an idle one of a user, are closed, with a bye.
 */
#ifndef CELL_RPC_H
#define CELL_RPC_H

#include "stream.h"

struct rpc_conn;   /* one connection, either end */
struct rpc_call;   /* a call being served; lives until it is answered */
struct rpc_server; /* a listening address */

/* Serve a call (call != NULL, must be answered exactly once, now or later) or a notice, of a method
 * that may be one. */
typedef void (*rpc_handler)(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                            size_t size);

struct rpc_method {
    uint32_t id; /* enum wire_method */
    const char *name;
    uint32_t roles; /* BIT(ROLE_x) of those that may call it, ROLE_MAY_NOTIFY */
    rpc_handler handler;
};

struct rpc_options {
    uv_loop_t *loop;
    struct tls_context *tls;
    const struct rpc_method *methods; /* what we serve; borrowed; NULL when nothing */
    size_t method_count;
    const struct admission_limits *limits; /* listening: of what peers hold; NULL: admission_rpc */
    void *data; /* rpc_data() of every connection of these options at birth */
    void (*on_open)(struct rpc_conn *conn); /* may be NULL */
    void (*on_close)(struct rpc_conn *conn,
                     const struct err *why); /* may be NULL; conn dies after */
};

/* Listen; connections come to on_open. */
int rpc_listen(const struct rpc_options *options, const char *address, struct rpc_server **ret,
               struct err *err) MUST_USE;
const char *rpc_server_address(const struct rpc_server *server); /* with the real port */
/* Stop listening and close all its connections; freed by the loop. */
void rpc_server_close(struct rpc_server *server);

/* Connect; on_open or on_close follows. `expect` as in stream_options, NULL for a master. */
int rpc_connect(const struct rpc_options *options, const char *address,
                const struct identity *expect, struct rpc_conn **ret, struct err *err) MUST_USE;
void rpc_close(struct rpc_conn *conn); /* unanswered calls of ours get ERR_CLOSED, then on_close */

const struct identity *rpc_peer(const struct rpc_conn *conn);
const char *rpc_peer_address(const struct rpc_conn *conn);
void *rpc_data(const struct rpc_conn *conn);
void rpc_set_data(struct rpc_conn *conn, void *data);
/* Bytes waiting to be sent: senders of streams (logs) look here and wait for rpc_on_drain. */
size_t rpc_queued(const struct rpc_conn *conn);
/* Call `cb` once, in a later turn, when the queue has fallen to half of what it is now. */
void rpc_on_drain(struct rpc_conn *conn, void (*cb)(struct rpc_conn *conn));

/*
 * Call. `cb` comes exactly once, in a later loop turn: err is NULL and body borrowed, or err says
 * what the other side refused (its code and message), ERR_TIMEOUT, or ERR_CLOSED. Returns an error
 * (and no callback) when the connection is closed or too much is queued. May be called before
 * on_open: the call is sent then. `timeout_ms` 0: wait as long as the connection lives.
 */
typedef void (*rpc_answer_cb)(void *data, const struct err *err, const void *body, size_t size);
int rpc_request(struct rpc_conn *conn, uint32_t method, const void *body, size_t size,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err) MUST_USE;
int rpc_notify(struct rpc_conn *conn, uint32_t method, const void *body, size_t size) MUST_USE;

/* Answer a call; it is gone afterwards. Harmless when the connection has closed meanwhile, and for
 * NULL: where the method may be a notice, the peer chooses whether it calls or notifies. */
void rpc_reply(struct rpc_call *call, const void *body, size_t size);
void rpc_refuse(struct rpc_call *call, const struct err *err);
/* The connection of a call that waits, or NULL when it has closed. */
struct rpc_conn *rpc_call_conn(const struct rpc_call *call);

/* What the peer sent takes so much time elsewhere: it counts against its share of the loop. */
void rpc_charge(struct rpc_conn *conn, uint64_t us);

/* When the peer's certificate ends: stream_peer_expires_ms(). */
uint64_t rpc_peer_expires_ms(const struct rpc_conn *conn);

#endif
