/*
 * stream.h - an authenticated, encrypted byte stream on a libuv loop: TLS 1.3 over TCP.
 *
 * A stream is born by stream_connect() or handed out by a listener once TCP, the handshake and the
 * check of the peer's certificate are done (bounded by STREAM_CONNECT_TIMEOUT_MS and
 * STREAM_OPEN_TIMEOUT_MS). TCP_NODELAY
 * and TCP_USER_TIMEOUT are set. Reading can be paused; what is written is copied and queued, and
 * stream_write() refuses with ERR_LIMIT when more than `queue_bytes_max` would wait, so a slow
 * peer can never exhaust our memory: the caller decides to wait for on_drain or to close.
 *
 * Life: after on_close the stream is freed by its loop; on_close comes exactly once for every
 * stream whose connect returned 0 or that a listener handed out, never from inside a call of the
 * owner's (stream_close included: it comes in a later loop turn). No other callback after it.
 */
#ifndef CELL_STREAM_H
#define CELL_STREAM_H

#include "admission.h"
#include "buf.h"
#include "tls.h"

#include <uv.h>

enum {
    STREAM_CONNECT_TIMEOUT_MS = 1500, /* of TCP; room for one packet that was lost */
    STREAM_OPEN_TIMEOUT_MS = 3000,    /* of the handshake; room for many that come at once */
    STREAM_USER_TIMEOUT_MS = 10000,
};

struct stream;

struct stream_handlers {
    void (*on_open)(struct stream *s, void *data); /* connecting side only; the peer is known now */
    void (*on_data)(struct stream *s, void *data, const void *bytes, size_t size); /* borrowed */
    void (*on_drain)(struct stream *s, void *data); /* the queue fell below half; may be NULL */
    void (*on_close)(struct stream *s, void *data, const struct err *why);
};

struct stream_options {
    uv_loop_t *loop;
    struct tls_context *tls;                /* borrowed, must outlive the stream */
    const struct stream_handlers *handlers; /* borrowed, usually static */
    void *data;                             /* given to every handler */
    size_t queue_bytes_max;
    bool urgent; /* its handshake does not wait for those of others that came before */
    /* Listening: what identities may hold; NULL: any of them all there is. */
    const struct admission_limits *limits;
    /* Listening: append what a peer is told whom `why` keeps out; may be NULL. */
    void (*last_words)(struct buf *ret, const struct err *why);
    struct identity expect; /* connecting: refuse a peer that is not this; ROLE_NONE: any; an empty
                               name: any holder of the role */
};

/* `address` is "host:port" (IPv4, IPv6 in brackets, or a name). Returns at once: a name is looked
 * up in another thread, and one that cannot be resolved is a connection that fails. */
int stream_connect(const struct stream_options *options, const char *address, struct stream **ret,
                   struct err *err) MUST_USE;
/* All or nothing; queued until sent. 0, -ERR_LIMIT or -ERR_CLOSED. */
int stream_write(struct stream *s, const void *bytes, size_t size) MUST_USE;
int stream_writev(struct stream *s, const uv_buf_t *parts, size_t part_count) MUST_USE;
size_t stream_queued(const struct stream *s); /* bytes accepted and not yet given to the kernel */
/* Ask for one more on_drain, in a later turn, once no more than `bytes` are queued. */
void stream_wait_drain(struct stream *s, size_t bytes);
void stream_pause(struct stream *s); /* no on_data until resumed */
void stream_resume(struct stream *s);
/* What the peer of an accepted stream holds, until on_close; NULL: we connected. */
struct admission_account *stream_account(const struct stream *s);
const struct identity *stream_peer(const struct stream *s); /* valid from on_open / on_accept */
const char *stream_peer_address(const struct stream *s);    /* "127.0.0.1:40312" */
void stream_set_data(struct stream *s, void *data);
/* Send what is queued (for 1 s at the most), then close. Safe to call twice. */
void stream_close(struct stream *s);

/*
 * A listening socket, with as many connections as `connections_max`, its limits (admission.h) and
 * the descriptors of the process leave room for. `on_accept` hands out streams that are open; it
 * may set their handlers' data with stream_set_data(), or close them. Connections that fail the
 * handshake are counted and logged by the listener itself (`warn stream.refused peer=...
 * reason=...`), nobody else hears of them.
 */
struct stream_listener;
typedef void (*stream_accept_cb)(struct stream_listener *l, struct stream *s, void *data);
int stream_listen(const struct stream_options *options, const char *address, size_t connections_max,
                  stream_accept_cb on_accept, struct stream_listener **ret,
                  struct err *err) MUST_USE;
/* The bound address with the real port (for port 0). Borrowed. */
const char *stream_listener_address(const struct stream_listener *l);
/* How many connections were refused since the start: handshake failed, too many, over a budget. */
uint64_t stream_listener_refused(const struct stream_listener *l);
/* Stops accepting; its streams live on. Freed by the loop. */
void stream_listener_close(struct stream_listener *l);

/* When the peer's certificate was issued and when it ends, as in struct tls_cert; valid as
 * stream_peer(). A stream whose peer's certificate ends is ended by the watch (tls_watch.h). */
uint64_t stream_peer_issued_ms(const struct stream *s);
uint64_t stream_peer_expires_ms(const struct stream *s);

/* Each stream is a file: let this process have as many as it may. Returns how many that are. */
uint64_t stream_files_raise(void);

/* "host:port" -> socket address. A name that is not known yet is waited for (resolver.h): not for
 * what runs on a loop, which connects by name without it. */
int address_parse(const char *address, struct sockaddr_storage *ret, struct err *err) MUST_USE;
/* The numeric text of a socket address, the inverse of address_parse(). */
void address_print(const struct sockaddr_storage *address, char ret[CELL_ADDR_MAX + 1]);

#endif
