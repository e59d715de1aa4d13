/*
 * stream.h - an authenticated, encrypted byte stream on a libuv loop: TLS 1.3 over TCP.
 *
 * A stream is created by stream_connect(), or passed on by a listener after TCP, the handshake and
 * the check of the peer's certificate are complete (bounded by STREAM_CONNECT_TIMEOUT_MS and
 * STREAM_OPEN_TIMEOUT_MS). TCP_NODELAY and TCP_USER_TIMEOUT are set. Reading can be paused. Written
 * data is copied and queued; stream_write() refuses with ERR_LIMIT when more than `queue_bytes_max`
 * would wait, so a slow peer cannot exhaust memory: the caller waits for on_drain or closes.
 *
 * Life: the loop frees a stream after on_close. on_close is called exactly once for every stream
 * whose connect returned 0 or that a listener passed on, never from inside a call of the owner
 * (after stream_close it is called in a later loop turn). No other callback follows it.
 */
#ifndef CELL_STREAM_H
#define CELL_STREAM_H

#include "admission.h"
#include "buf.h"
#include "tls.h"

#include <uv.h>

enum {
    STREAM_CONNECT_TIMEOUT_MS = 1500, /* of TCP; allows for one lost packet */
    STREAM_OPEN_TIMEOUT_MS = 3000,    /* of the handshake; allows for many at once */
    STREAM_USER_TIMEOUT_MS = 10000,
};

struct stream;

struct stream_handlers {
    void (*on_open)(struct stream *s, void *data); /* connecting side only; the peer is known now */
    void (*on_data)(struct stream *s, void *data, const void *bytes, size_t size); /* borrowed */
    void (*on_drain)(struct stream *s, void *data); /* the queue has fallen below half; may be
                                                       NULL */
    void (*on_close)(struct stream *s, void *data, const struct err *why);
};

struct stream_options {
    uv_loop_t *loop;
    struct tls_context *tls;                /* borrowed, must outlive the stream */
    const struct stream_handlers *handlers; /* borrowed, usually static */
    void *data;                             /* passed to every handler */
    size_t queue_bytes_max;
    bool urgent; /* its handshake precedes waiting ones */
    /* Listening: the limits for identities; NULL: unlimited. */
    const struct admission_limits *limits;
    /* Listening: append a farewell for a peer that is refused because of `why`; may be NULL. */
    void (*append_bye)(struct buf *ret, const struct err *why);
    struct identity expect; /* connecting: refuse any other peer; ROLE_NONE: accept all; an empty
                               name: any holder of the role */
};

/* Connect to "host:port" (IPv4, IPv6 in brackets, or a name). Returns at once: another thread
 * resolves the name, and if it cannot be resolved the connection fails later. */
int stream_connect(const struct stream_options *options, const char *address, struct stream **ret,
                   struct err *err) MUST_USE;
/* Queue all bytes or none. Return 0, -ERR_LIMIT or -ERR_CLOSED. */
int stream_write(struct stream *s, const void *bytes, size_t size) MUST_USE;
int stream_writev(struct stream *s, const uv_buf_t *parts, size_t part_count) MUST_USE;
size_t stream_queued(const struct stream *s); /* bytes accepted and not yet passed to the kernel */
/* Request one more on_drain, in a later turn, when at most `bytes` are queued. */
void stream_wait_drain(struct stream *s, size_t bytes);
void stream_pause(struct stream *s); /* no on_data until resumed */
void stream_resume(struct stream *s);
/* Return the account of the peer of an accepted stream, until on_close; NULL: we connected. */
struct admission_account *stream_account(const struct stream *s);
const struct identity *stream_peer(const struct stream *s); /* valid from on_open / on_accept */
const char *stream_peer_address(const struct stream *s);    /* "127.0.0.1:40312" */
void stream_set_data(struct stream *s, void *data);
/* Send the queue (for at most 1 s), then close. May be called twice. */
void stream_close(struct stream *s);

/*
 * A listening socket. `connections_max`, its limits (admission.h) and the descriptors of the
 * process bound its connections. `on_accept` passes on open streams; it may set their data with
 * stream_set_data() or close them. Connections that fail the handshake are only counted and logged
 * (`warn stream.refused peer=... reason=...`).
 */
struct stream_listener;
typedef void (*stream_accept_cb)(struct stream_listener *l, struct stream *s, void *data);
int stream_listen(const struct stream_options *options, const char *address, size_t connections_max,
                  stream_accept_cb on_accept, struct stream_listener **ret,
                  struct err *err) MUST_USE;
/* Return the bound address with the real port (for port 0). Borrowed. */
const char *stream_listener_address(const struct stream_listener *l);
/* Return the number of refused connections since the start, for whatever reason. */
uint64_t stream_listener_refused(const struct stream_listener *l);
/* Stop accepting; its streams stay open. The loop frees the listener. */
void stream_listener_close(struct stream_listener *l);

/* Return when the peer's certificate was issued and when it expires, as in struct tls_cert;
 * valid like stream_peer(). The watch (tls_watch.h) ends a stream when the peer's certificate
 * expires. */
uint64_t stream_peer_issued_ms(const struct stream *s);
uint64_t stream_peer_expires_ms(const struct stream *s);

/* Raise this process's limit of open files to the maximum, because each stream needs one. Return
 * it. */
uint64_t stream_files_raise(void);

/* Parse "host:port" into a socket address. This waits for an unknown name (resolver.h) and must
 * not be used on a loop; stream_connect() accepts names. */
int address_parse(const char *address, struct sockaddr_storage *ret, struct err *err) MUST_USE;
/* Return the numeric text of a socket address, the inverse of address_parse(). */
void address_print(const struct sockaddr_storage *address, char ret[CELL_ADDR_MAX + 1]);

#endif
