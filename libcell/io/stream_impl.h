/*
 * stream_impl.h - what stream.c and stream_listener.c know of each other; nobody else's.
 */
#ifndef CELL_STREAM_IMPL_H
#define CELL_STREAM_IMPL_H

#include "buf.h"
#include "list.h"
#include "stream.h"
#include "tls_session.h"

/*
 *  CONNECTING --name, tcp--> HANDSHAKE --peer known--> OPEN --stream_close--> CLOSING --sent-->
 * LINGER
 *
 * Any of them goes to DEAD: failure, time-out, end of file. In CLOSING the queue is sent; in LINGER
 * the owner has had its on_close and we wait for the peer's end of file, because closing a socket
 * with unread bytes makes the kernel throw away what the peer has not fetched yet.
 */
enum stream_state {
    STREAM_CONNECTING,
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_CLOSING,
    STREAM_LINGER,
    STREAM_DEAD, /* uv_close() is under way; the last of the three callbacks frees the stream */
};

struct stream {
    uv_tcp_t tcp;
    uv_timer_t timer; /* limit of opening, later of closing */
    uv_idle_t idle;   /* active: there is work for the next loop turn */
    unsigned handle_count;
    uv_connect_t connect;
    char *host;          /* CONNECTING: the name that is being looked up; NULL: none */
    uint16_t port;       /* of that */
    uint64_t connect_ms; /* when CONNECTING must be over */
    uv_write_t write;
    uv_shutdown_t shutdown;

    struct stream_options options;
    struct stream_listener *listener;  /* NULL on the connecting side */
    struct list handshake_link;        /* in listener->handshakes */
    struct list victim_link;           /* in listener->silent or ->leaving */
    struct admission_account *account; /* NULL: a stranger, or we connected */
    size_t accounted;                  /* bytes that it knows of */
    uint64_t begin_ms;                 /* when it was accepted, or turned away */
    struct list shake_link;            /* `rest` waits for its turn, see stream_shake_next() */
    bool begun;                        /* a step of the handshake was done */
    enum stream_state state;
    bool opened;  /* the handshake is done */
    bool owned;   /* somebody waits for on_close */
    bool paused;  /* by the owner */
    bool spent;   /* its identity has read enough in this turn */
    bool ending;  /* it has failed with `why`, and dies when its turn comes */
    bool reading; /* uv_read_start() is in force */
    bool writing; /* `sending` belongs to libuv */
    bool bye;     /* our close_notify is in `wire` or sent */
    bool high;    /* the queue was over half: on_drain is due when it no longer is */
    bool waited;  /* stream_wait_drain() */
    size_t waited_bytes;
    struct err why;

    struct identity peer;
    char peer_address[CELL_ADDR_MAX + 1];

    gnutls_session_t session;
    const char *in; /* encrypted input that the session may pull */
    size_t in_size;
    struct buf rest; /* encrypted input kept while paused or waiting for a turn */

    struct buf out; /* plain output from out_at on */
    size_t out_at;
    struct buf wire;    /* encrypted output, waiting */
    struct buf sending; /* encrypted output, with libuv from sending_at on */
    size_t sending_at;

    struct tls_cert cert;  /* of the peer */
    struct list open_link; /* in stream_opens() while opened */
    uint64_t look_round;   /* of the watch that last looked at it */
};

struct stream_listener {
    uv_tcp_t tcp;
    struct stream_options options;
    stream_accept_cb on_accept;
    struct admission *admission;
    int spare_fd;          /* given up when there is no other; -1: it was */
    size_t stream_count;   /* alive, in any state: they hold the listener */
    unsigned handle_count; /* so do its own */
    bool closing;
    uv_timer_t later; /* a connection waits to be taken: for another turn, or for room */
    uint64_t turn_ms; /* the turn in which `turn_count` were taken */
    unsigned turn_count;
    struct list handshakes; /* in the order in which they came */
    struct list silent;     /* those of them that have sent nothing yet */
    struct list leaving;    /* they were turned away, and are being told so */
    char address[CELL_ADDR_MAX + 1];
    uint64_t refused_count;
    uint64_t log_second; /* refusals are logged LOG_LINES_PER_S times a second at the most */
    unsigned log_lines;
};

/* What can be said of "host:port" without asking anybody: a numeric address is in `ret`, and `host`
 * is empty; else `host` is the name. */
int address_read(const char *address, struct sockaddr_storage *ret, char host[CELL_ADDR_MAX + 1],
                 uint16_t *ret_port, struct err *err) MUST_USE;
void address_set_port(struct sockaddr_storage *address, uint16_t port);

/* A stream whose socket is not connected yet. */
struct stream *stream_new(const struct stream_options *options);
/* The socket is connected: begin the handshake. */
void stream_start(struct stream *s);
/* End at once, with `why` for whoever is interested. Only from callbacks of the loop, or for a
 * stream that has no owner. */
void stream_die(struct stream *s, const struct err *why);

/* stream_turns.c: may another step of a handshake be done in this turn, another stream end? */
bool stream_may_shake(const uv_loop_t *loop);
bool stream_may_end(const uv_loop_t *loop);
/* A stream with a step to do waits for its turn: with those that have begun, or behind them. The
 * next of a loop, which stays in its list; NULL: none. */
void stream_shake_wait(struct stream *s, bool begun);
struct stream *stream_shake_next(const uv_loop_t *loop);

/* The streams of this thread that are open. */
struct list *stream_opens(void);
/* End an open one because its peer is not good (any more), which an alert tells the peer. Like
 * stream_die(). */
void stream_end(struct stream *s, const struct err *why);

/* From stream.c: the handshake of an accepted stream is done, it failed, the stream is gone. */
void stream_listener_on_open(struct stream_listener *l, struct stream *s);
void stream_listener_on_refused(struct stream_listener *l, const char *peer_address,
                                const struct err *why);
void stream_listener_on_gone(struct stream_listener *l);
/* Who came is known: is there room for him? Else he is being told. */
bool stream_listener_admit(struct stream_listener *l, struct stream *s);

#endif
