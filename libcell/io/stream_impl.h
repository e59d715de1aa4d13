/*
 * stream_impl.h - declarations shared by stream.c and stream_listener.c; for them only.
 */
#ifndef CELL_STREAM_IMPL_H
#define CELL_STREAM_IMPL_H

#include "buf.h"
#include "list.h"
#include "stream.h"
#include "tls_session.h"

/*
 * The states of a stream:
 *
 *  CONNECTING --name, tcp--> HANDSHAKE --peer known--> OPEN --stream_close--> CLOSING --sent-->
 * LINGER
 *
 * Each state may change to DEAD on a failure, a time-out or the end of the connection. In CLOSING
 * the queue is sent. In LINGER the owner has had its on_close, and we wait for the peer's end of
 * file: closing a socket with unread bytes makes the kernel drop data that the peer has not
 * fetched.
 */
enum stream_state {
    STREAM_CONNECTING,
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_CLOSING,
    STREAM_LINGER,
    STREAM_DEAD, /* uv_close() is in progress; the last of the three callbacks frees the stream */
};

struct stream {
    uv_tcp_t tcp;
    uv_timer_t timer; /* limit for opening, later for closing */
    uv_idle_t idle;   /* active while there is work for the next loop turn */
    unsigned handle_count;
    uv_connect_t connect;
    char *host;          /* CONNECTING: the name being resolved; NULL: none */
    uint16_t port;       /* for that name */
    uint64_t connect_ms; /* deadline of CONNECTING */
    uv_write_t write;
    uv_shutdown_t shutdown;

    struct stream_options options;
    struct stream_listener *listener;  /* NULL on the connecting side */
    struct list handshake_link;        /* in listener->handshakes */
    struct list victim_link;           /* in listener->silent or ->leaving */
    struct admission_account *account; /* NULL: a stranger, or we connected */
    size_t accounted;                  /* bytes that the account knows of */
    uint64_t begin_ms;                 /* when it was accepted or refused */
    struct list step_link;             /* `rest` waits for its turn, see stream_handshake_next() */
    bool begun;                        /* a step of the handshake has been done */
    enum stream_state state;
    bool opened;  /* the handshake is complete */
    bool owned;   /* an owner waits for on_close */
    bool paused;  /* by the owner */
    bool spent;   /* its identity has read its budget in this turn */
    bool ending;  /* it has failed with `why` and will be closed in its turn */
    bool reading; /* uv_read_start() is active */
    bool writing; /* libuv is sending `sending` */
    bool bye;     /* our close_notify is in `wire` or sent */
    bool high;    /* the queue was over half: on_drain is due when it no longer is */
    bool waited;  /* stream_wait_drain() was called */
    size_t waited_bytes;
    struct err why;

    struct identity peer;
    char peer_address[CELL_ADDR_MAX + 1];

    gnutls_session_t session;
    const char *in; /* encrypted input available to the session */
    size_t in_size;
    struct buf rest; /* encrypted input kept while paused or waiting for a turn */

    struct buf out; /* plain output, from out_at on */
    size_t out_at;
    struct buf wire;    /* encrypted output that waits */
    struct buf sending; /* encrypted output that libuv is sending, from sending_at on */
    size_t sending_at;

    struct tls_cert cert;  /* of the peer */
    struct list open_link; /* in stream_opens() while opened */
    uint64_t watch_round;  /* the watch's last round that checked it */
};

struct stream_listener {
    uv_tcp_t tcp;
    struct stream_options options;
    stream_accept_cb on_accept;
    struct admission *admission;
    int spare_fd;          /* closed to free a descriptor when there is none; -1: closed */
    size_t stream_count;   /* streams in any state; they keep the listener alive */
    unsigned handle_count; /* open handles of its own; they do too */
    bool closing;
    uv_timer_t later; /* a connection waits to be accepted: for another turn or for room */
    uint64_t turn_ms; /* the turn in which `turn_count` were accepted */
    unsigned turn_count;
    struct list handshakes; /* in order of arrival */
    struct list silent;     /* those of them that have sent nothing yet */
    struct list leaving;    /* refused streams to which the reason is being sent */
    char address[CELL_ADDR_MAX + 1];
    uint64_t refused_count;
    uint64_t log_second; /* limits logged refusals to LOG_LINES_PER_S per second */
    unsigned log_lines;
};

/* Parse "host:port" without a look-up. A numeric address is stored in `ret` and `host` is empty;
 * otherwise `host` is the name. */
int address_read(const char *address, struct sockaddr_storage *ret, char host[CELL_ADDR_MAX + 1],
                 uint16_t *ret_port, struct err *err) MUST_USE;
void address_set_port(struct sockaddr_storage *address, uint16_t port);

/* Return a stream whose socket is not connected yet. */
struct stream *stream_new(const struct stream_options *options);
/* Begin the handshake on a connected socket. */
void stream_start(struct stream *s);
/* Close at once with the reason `why`. Only from callbacks of the loop, or for a stream without
 * an owner. */
void stream_die(struct stream *s, const struct err *why);

/* stream_turns.c: return whether another handshake step, or another close, fits into this turn. */
bool stream_may_handshake(const uv_loop_t *loop);
bool stream_may_end(const uv_loop_t *loop);
/* Queue a stream with a pending handshake step: after those that have begun, or at the end.
 * stream_handshake_next() returns the next one of a loop, which stays queued, or NULL. */
void stream_handshake_wait(struct stream *s, bool begun);
struct stream *stream_handshake_next(const uv_loop_t *loop);

/* Return the open streams of this thread. */
struct list *stream_opens(void);
/* End an open stream whose peer is not acceptable (any more) and send the peer an alert.
 * Otherwise like stream_die(). */
void stream_end(struct stream *s, const struct err *why);

/* Called by stream.c: the handshake of an accepted stream is complete, it failed, the stream is
 * gone. */
void stream_listener_on_open(struct stream_listener *l, struct stream *s);
void stream_listener_on_refused(struct stream_listener *l, const char *peer_address,
                                const struct err *why);
void stream_listener_on_gone(struct stream_listener *l);
/* Return whether there is room for the identified peer; otherwise send it the reason. */
bool stream_listener_admit(struct stream_listener *l, struct stream *s);

#endif
