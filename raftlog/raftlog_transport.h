/*
 * raftlog_transport.h - carries the library's connections over our TLS streams.
 *
 * The library's own TCP transport has no authentication, no time-outs, no TCP_NODELAY and no
 * back-pressure. The library works on any uv_stream_t, however: it gets one end of a socket pair,
 * and a link copies between the other end and a `struct stream`.
 *
 *     library <-- socket pair --> link.inner | link.stream <-- TLS 1.3 --> the other replica
 *
 * A connection carries messages in one direction, from the side that connected. It begins with a
 * hello (id and address of that side). The certificates of both sides must say master/ID.
 */
#ifndef RAFTLOG_TRANSPORT_H
#define RAFTLOG_TRANSPORT_H

#include "raftlog.h"

#include "list.h"
#include "stream.h"

#include <raft/uv.h>

enum {
    TRANSPORT_QUEUE_BYTES_MAX = 2097152, /* of a stream; reading pauses at half of it */
    TRANSPORT_HELLO_TIMEOUT_MS = 3000,
    TRANSPORT_CONNECTIONS_MAX = 64, /* incoming, including those without a hello */
};

struct raftlog_transport {
    struct raft_uv_transport uv; /* for raft_uv_init */
    uv_loop_t *loop;
    struct tls_context *tls;
    bool (*may_connect)(void *data, uint64_t id, const char *address); /* NULL: all may */
    void *data;
    uint64_t id;
    char address[CELL_ADDR_MAX + 1];

    struct stream_listener *listener;
    raft_uv_accept_cb accept_cb;
    raft_uv_transport_close_cb close_cb;
    uv_timer_t sweep; /* closes connections that send no hello */
    bool sweep_open;
    bool closing;
    struct list links;
    struct err listen_err; /* the reason why listening failed; the library only has a number */
    char read_buf[65536];
};

/* Initialize the transport. The library closes it by its `close` method. */
void raftlog_transport_init(struct raftlog_transport *t, uv_loop_t *loop, struct tls_context *tls,
                            bool (*may_connect)(void *data, uint64_t id, const char *address),
                            void *data);

#endif
