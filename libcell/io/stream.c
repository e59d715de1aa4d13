/*
 * stream.c - one TLS stream: GnuTLS between byte buffers, libuv underneath.
 *
 * GnuTLS never sees the socket: it pulls from `in` and pushes to `wire`. Written data waits as
 * plain bytes in `out` until the next idle phase of the loop, so that all small writes of one turn
 * share a record and a system call; an active idle handle also keeps the loop from sleeping before
 * they are sent. At most WIRE_BYTES_MAX are encrypted ahead of the kernel.
 *
 * Calls of the owner only record the request and schedule the idle handle; handlers run from the
 * loop alone. A handler may therefore call anything, and the code here only has to check `state`
 * again after a handler has run.
 */
#include "resolver.h"
#include "stream_impl.h"

#include "clock.h"
#include "log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RECORD_BYTES_MAX = 16384, /* plain bytes in one TLS record */
    READ_BYTES_MAX = 65536,   /* one read from the socket */
    WIRE_BYTES_MAX = 131072,  /* encrypted bytes prepared in advance */
    TURN_BYTES_MAX = 1048576, /* sent by one stream in one loop turn before others are served */
    KEEP_BYTES_MAX = 65536,   /* memory that an idle stream may keep per buffer */
    CLOSE_TIMEOUT_MS = 1000,  /* for sending the queue and receiving the peer's end */
    KEEPALIVE_S = 10,         /* detects a peer that vanished, without traffic */
    RESOLVE_POLL_MS = 5,      /* interval for checking whether a name is resolved */
};

/* Used only inside one callback, so all streams of a thread share it. */
static _Thread_local char read_bytes[READ_BYTES_MAX];
static _Thread_local char plain_bytes[RECORD_BYTES_MAX];

static void stream_schedule(struct stream *s);

static ssize_t stream_push(gnutls_transport_ptr_t transport, const void *bytes, size_t size)
{
    struct stream *s = transport;
    buf_append(&s->wire, bytes, size);
    return (ssize_t)size;
}

static ssize_t stream_pull(gnutls_transport_ptr_t transport, void *bytes, size_t size)
{
    struct stream *s = transport;
    if (s->in_size == 0) {
        gnutls_transport_set_errno(s->session, EAGAIN);
        return -1;
    }
    size_t n = MIN(size, s->in_size);
    memcpy(bytes, s->in, n);
    s->in += n;
    s->in_size -= n;
    return (ssize_t)n;
}

static void stream_on_handle_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;
    if (--s->handle_count > 0)
        return;
    free(s->host);
    buf_release(&s->rest);
    buf_release(&s->out);
    buf_release(&s->wire);
    buf_release(&s->sending);
    free(s);
}

/* Report the end of this stream to its owner; at most once. */
static void stream_report(struct stream *s)
{
    if (s->owned) {
        s->owned = false;
        s->options.handlers->on_close(s, s->options.data, &s->why);
    }
}

void stream_die(struct stream *s, const struct err *why)
{
    if (s->state == STREAM_DEAD)
        return;
    bool refused = s->listener != NULL && s->state <= STREAM_HANDSHAKE;
    if (s->why.code == ERR_OK)
        s->why = *why;
    s->state = STREAM_DEAD;
    list_remove(&s->handshake_link);
    list_remove(&s->step_link);
    list_remove(&s->victim_link);
    list_remove(&s->open_link);
    uv_close((uv_handle_t *)&s->tcp, stream_on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, stream_on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, stream_on_handle_closed);
    tls_session_close(s->session);
    s->session = NULL;
    if (refused)
        stream_listener_on_refused(s->listener, s->peer_address, &s->why);
    stream_report(s);
    if (s->account != NULL) {
        account_output(s->account, s->accounted, 0);
        account_leave(s->account);
    } else if (s->listener != NULL) {
        admission_gone(s->listener->admission);
    }
    s->account = NULL;
    if (s->listener != NULL)
        stream_listener_on_gone(s->listener);
    s->listener = NULL;
}

/* Update the account with the bytes that wait here. */
static void stream_settle(struct stream *s)
{
    size_t now = s->rest.size + stream_queued(s);
    if (s->account != NULL)
        account_output(s->account, s->accounted, now);
    s->accounted = s->account != NULL ? now : 0;
}

static void stream_fail(struct stream *s, enum err_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static struct err stream_why(const struct stream *s, enum err_code code, const char *fmt,
                             va_list args)
{
    char msg[ERR_MSG_MAX];
    struct err why;
    vsnprintf(msg, sizeof msg, fmt, args);
    if (s->listener != NULL && !s->opened)
        err_set(&why, code, "%s", msg); /* the listener logs the peer's address itself */
    else
        err_set(&why, code, "%s: %s", s->peer_address, msg);
    return why;
}

static void stream_fail(struct stream *s, enum err_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct err why = stream_why(s, code, fmt, args);
    va_end(args);
    stream_die(s, &why);
}

static void stream_set_reading(struct stream *s);

/* Fail in a later turn, because the peer is gone or timed out. This may affect thousands at
 * once, so each waits for a turn with room for its end. */
static void stream_fail_in_turn(struct stream *s, enum err_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void stream_fail_in_turn(struct stream *s, enum err_code code, const char *fmt, ...)
{
    if (s->state == STREAM_DEAD || s->ending)
        return;
    va_list args;
    va_start(args, fmt);
    struct err why = stream_why(s, code, fmt, args);
    va_end(args);
    if (s->why.code == ERR_OK)
        s->why = why;
    s->ending = true;
    stream_set_reading(s);
    stream_schedule(s);
}

static void stream_resolve(struct stream *s);

static void stream_on_timer(uv_timer_t *timer)
{
    struct stream *s = timer->data;
    if (s->state == STREAM_CONNECTING && s->host != NULL)
        stream_resolve(s);
    else if (s->state == STREAM_CONNECTING)
        stream_fail_in_turn(s, ERR_TIMEOUT, "no connection was established within %d ms",
                            STREAM_CONNECT_TIMEOUT_MS);
    else if (s->state == STREAM_HANDSHAKE)
        stream_fail_in_turn(s, ERR_TIMEOUT, "the TLS handshake was not completed within %d ms",
                            STREAM_OPEN_TIMEOUT_MS);
    else
        stream_fail_in_turn(s, ERR_CLOSED, "closed here, %zu bytes could not be sent within %d ms",
                            stream_queued(s), CLOSE_TIMEOUT_MS);
}

struct stream *stream_new(const struct stream_options *options)
{
    struct stream *s = xcalloc(1, sizeof *s);
    s->options = *options;
    list_init(&s->handshake_link);
    list_init(&s->step_link);
    list_init(&s->victim_link);
    list_init(&s->open_link);
    str_copy(s->peer_address, sizeof s->peer_address, "unknown");
    uv_tcp_init(options->loop, &s->tcp);
    uv_timer_init(options->loop, &s->timer);
    uv_idle_init(options->loop, &s->idle);
    s->handle_count = 3;
    s->tcp.data = s->timer.data = s->idle.data = s;
    uv_timer_start(&s->timer, stream_on_timer, STREAM_CONNECT_TIMEOUT_MS, 0);
    return s;
}

static void buf_shrink(struct buf *buf)
{
    if (buf->capacity > KEEP_BYTES_MAX)
        buf_release(buf);
    else
        buf_clear(buf);
}

size_t stream_queued(const struct stream *s)
{
    return s->out.size - s->out_at + s->wire.size + s->sending.size - s->sending_at;
}

/* Charge the loop's time since begin_us to this stream. */
static void stream_charge(const struct stream *s, uint64_t begin_us)
{
    uint64_t now_us = clock_mono_us();
    if (s->account != NULL)
        account_busy(s->account, now_us, now_us - begin_us);
}

/* Encrypt plain output until enough is ready. Return false if the stream has died. */
static bool stream_encrypt(struct stream *s)
{
    if (!s->opened)
        return true; /* only the handshake sends now; `out` waits */
    while (s->out_at < s->out.size && s->wire.size < WIRE_BYTES_MAX) {
        size_t size = MIN(s->out.size - s->out_at, (size_t)RECORD_BYTES_MAX);
        ssize_t n = gnutls_record_send(s->session, s->out.bytes + s->out_at, size);
        if (n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n < 0) {
            stream_fail(s, ERR_IO, "TLS: %s", gnutls_strerror((int)n));
            return false;
        }
        s->out_at += (size_t)n;
    }
    if (s->out_at == s->out.size && s->out.size > 0) {
        buf_shrink(&s->out);
        s->out_at = 0;
    }
    if (s->state == STREAM_CLOSING && s->out.size == 0 && !s->bye) {
        s->bye = true;
        gnutls_bye(s->session, GNUTLS_SHUT_WR);
    }
    return true;
}

static void stream_pump(struct stream *s);

static void stream_on_written(uv_write_t *write, int status)
{
    struct stream *s = write->data;
    s->writing = false;
    s->sending_at = 0;
    buf_shrink(&s->sending);
    stream_settle(s);
    if (s->state == STREAM_DEAD)
        return;
    if (status != 0) {
        stream_fail(s, ERR_CLOSED, "write: %s", uv_strerror(status));
        return;
    }
    stream_pump(s);
}

/* Pass what the kernel did not accept at once to libuv. */
static void stream_send_later(struct stream *s, size_t sent)
{
    struct buf empty = s->sending;
    s->sending = s->wire;
    s->sending_at = sent;
    s->wire = empty;
    s->writing = true;
    s->write.data = s;
    uv_buf_t part = uv_buf_init(s->sending.bytes + sent, (unsigned)(s->sending.size - sent));
    int rc = uv_write(&s->write, (uv_stream_t *)&s->tcp, &part, 1, stream_on_written);
    if (rc != 0)
        stream_fail(s, ERR_CLOSED, "write: %s", uv_strerror(rc));
}

static void stream_on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown;
    (void)status; /* the timer or the end of file continues from here */
}

/* The kernel has everything and the owner is done; the socket waits for the peer's end. */
static void stream_linger(struct stream *s)
{
    err_set(&s->why, ERR_CLOSED, "%s: closed here", s->peer_address);
    s->state = STREAM_LINGER;
    tls_session_close(s->session);
    s->session = NULL;
    if (uv_shutdown(&s->shutdown, (uv_stream_t *)&s->tcp, stream_on_shutdown) != 0)
        stream_die(s, &s->why);
    else
        stream_report(s);
}

/* Act on a shorter queue. */
static void stream_sent(struct stream *s)
{
    size_t queued = stream_queued(s);
    stream_settle(s);
    if (s->state == STREAM_CLOSING && s->bye && queued == 0) {
        stream_linger(s);
        return;
    }
    bool fell = s->high && queued < s->options.queue_bytes_max / 2;
    bool came = s->waited && queued <= s->waited_bytes;
    if (s->state != STREAM_OPEN || (!fell && !came))
        return;
    s->high = s->high && !fell;
    s->waited = s->waited && !came;
    if (s->options.handlers->on_drain != NULL)
        s->options.handlers->on_drain(s, s->options.data);
}

static void stream_pump(struct stream *s)
{
    size_t turn_bytes = 0;
    while (!s->writing) {
        uint64_t begin_us = clock_mono_us();
        if (!stream_encrypt(s))
            return;
        if (s->wire.size == 0)
            break;
        if (turn_bytes > TURN_BYTES_MAX) {
            stream_schedule(s);
            break;
        }
        uv_buf_t part = uv_buf_init(s->wire.bytes, (unsigned)s->wire.size);
        int n = uv_try_write((uv_stream_t *)&s->tcp, &part, 1);
        if (n < 0 && n != UV_EAGAIN) {
            stream_fail(s, ERR_CLOSED, "write: %s", uv_strerror(n));
            return;
        }
        size_t sent = n < 0 ? 0 : (size_t)n;
        stream_charge(s, begin_us);
        turn_bytes += sent;
        if (sent == s->wire.size) {
            buf_shrink(&s->wire);
            continue;
        }
        stream_send_later(s, sent);
        if (s->state == STREAM_DEAD)
            return;
    }
    stream_sent(s);
}

static bool alert_is_denial(gnutls_alert_description_t alert)
{
    return alert == GNUTLS_A_BAD_CERTIFICATE || alert == GNUTLS_A_ACCESS_DENIED ||
           alert == GNUTLS_A_UNKNOWN_CA || alert == GNUTLS_A_CERTIFICATE_REQUIRED ||
           alert == GNUTLS_A_CERTIFICATE_UNKNOWN || alert == GNUTLS_A_CERTIFICATE_EXPIRED ||
           alert == GNUTLS_A_CERTIFICATE_REVOKED;
}

/* Fail after an error of the session. The alert is sent as far as the kernel accepts it. */
static void stream_fail_tls(struct stream *s, int rc)
{
    if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        gnutls_alert_description_t alert = gnutls_alert_get(s->session);
        const char *name = gnutls_alert_get_name(alert);
        if (s->opened && alert_is_denial(alert) && s->peer.role != ROLE_USER)
            log_warn("stream.denied peer=%s address=%s alert=%s", identity_text(&s->peer).text,
                     s->peer_address, log_quoted(name == NULL ? "unknown" : name));
        stream_fail(s, alert_is_denial(alert) ? ERR_DENIED : ERR_CLOSED,
                    "the peer ended TLS with the alert \"%s\"", name == NULL ? "unknown" : name);
        return;
    }
    gnutls_alert_send_appropriate(s->session, rc);
    uv_buf_t part = uv_buf_init(s->wire.bytes, (unsigned)s->wire.size);
    if (!s->writing && s->wire.size > 0)
        uv_try_write((uv_stream_t *)&s->tcp, &part, 1);
    stream_fail(s, s->opened ? ERR_CORRUPT : ERR_DENIED, "TLS: %s", gnutls_strerror(rc));
}

static void stream_refuse_peer(struct stream *s, gnutls_alert_description_t alert,
                               const struct err *why)
{
    gnutls_alert_send(s->session, GNUTLS_AL_FATAL, alert);
    uv_buf_t part = uv_buf_init(s->wire.bytes, (unsigned)s->wire.size);
    if (!s->writing && s->wire.size > 0)
        uv_try_write((uv_stream_t *)&s->tcp, &part, 1);
    stream_fail(s, ERR_DENIED, "%s", why->msg);
}

void stream_end(struct stream *s, const struct err *why)
{
    stream_refuse_peer(s, tls_peer_alert(&s->cert, clock_wall_ms()), why);
}

struct list *stream_opens(void)
{
    static _Thread_local struct list opens;
    if (opens.next == NULL)
        list_init(&opens);
    return &opens;
}

static int stream_check_peer(struct stream *s, gnutls_alert_description_t *ret_alert,
                             struct err *err)
{
    const struct identity *expect = &s->options.expect;
    int rc = tls_session_peer(s->options.tls, s->session, s->listener != NULL, &s->cert, err);
    s->peer = s->cert.identity;
    *ret_alert = rc != 0 ? tls_peer_alert(&s->cert, clock_wall_ms()) : GNUTLS_A_ACCESS_DENIED;
    if (rc != 0 || s->listener != NULL || expect->role == ROLE_NONE)
        return rc;
    if (s->peer.role == expect->role &&
        (expect->name[0] == '\0' || strcmp(s->peer.name, expect->name) == 0))
        return 0;
    return err_set(err, ERR_DENIED, "the peer is %s, not %s: check the address",
                   identity_text(&s->peer).text, identity_text(expect).text);
}

static void stream_opened(struct stream *s)
{
    gnutls_alert_description_t alert;
    struct err err;
    if (stream_check_peer(s, &alert, &err) != 0) {
        stream_refuse_peer(s, alert, &err);
        return;
    }
    s->state = STREAM_OPEN;
    s->opened = true;
    list_push(stream_opens(), &s->open_link);
    uv_timer_stop(&s->timer);
    list_remove(&s->handshake_link);
    stream_schedule(s);
    if (s->listener != NULL) {
        if (!stream_listener_admit(s->listener, s))
            return;
        s->owned = true;
        stream_listener_on_open(s->listener, s);
    } else if (s->options.handlers->on_open != NULL) {
        s->options.handlers->on_open(s, s->options.data);
    }
}

/* Return whether only the end of the connection follows the data already read. */
static bool stream_is_at_end(const struct stream *s)
{
    char next;
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&s->tcp, &fd) != 0)
        return true;
    ssize_t n = recv(fd, &next, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void stream_handshake(struct stream *s)
{
    int rc;
    do {
        rc = gnutls_handshake(s->session);
    } while (rc < 0 && rc != GNUTLS_E_AGAIN && gnutls_error_is_fatal(rc) == 0);
    if (rc == 0)
        stream_opened(s);
    else if (rc != GNUTLS_E_AGAIN)
        stream_fail_tls(s, rc);
}

static void stream_receive(struct stream *s)
{
    while (s->state == STREAM_OPEN && !s->paused) {
        uint64_t begin_us = clock_mono_us();
        ssize_t n = gnutls_record_recv(s->session, plain_bytes, sizeof plain_bytes);
        if (n > 0) {
            stream_charge(s, begin_us);
            s->options.handlers->on_data(s, s->options.data, plain_bytes, (size_t)n);
        } else if (n == GNUTLS_E_AGAIN)
            break;
        else if (n == 0)
            stream_fail(s, ERR_CLOSED, "closed by the peer");
        else if (gnutls_error_is_fatal((int)n) != 0)
            stream_fail_tls(s, (int)n);
    }
}

/* Return whether its identity has read its budget for this turn; it continues in the next one. */
static bool stream_turn_is_over(const struct stream *s)
{
    return s->state == STREAM_OPEN && s->account != NULL &&
           !account_may_read(s->account, uv_now(s->options.loop), 0);
}

/* An empty buffer (UV_ENOBUFS in on_read) makes libuv read nothing now. */
static void stream_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    *ret = uv_buf_init(read_bytes, stream_turn_is_over(handle->data) ? 0 : sizeof read_bytes);
}

static void stream_on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *part);

static void stream_set_reading(struct stream *s)
{
    bool wanted = s->state == STREAM_CLOSING || s->state == STREAM_LINGER;
    if (s->state == STREAM_HANDSHAKE || s->state == STREAM_OPEN)
        wanted = s->rest.size == 0 && !(s->state == STREAM_OPEN && (s->paused || s->spent));
    if (s->ending)
        wanted = false;
    if (wanted == s->reading)
        return;
    s->reading = wanted;
    if (!wanted) {
        uv_read_stop((uv_stream_t *)&s->tcp);
        return;
    }
    int rc = uv_read_start((uv_stream_t *)&s->tcp, stream_on_alloc, stream_on_read);
    if (rc != 0)
        stream_fail(s, ERR_CLOSED, "read: %s", uv_strerror(rc));
}

/* Keep encrypted bytes for a later turn; nothing more is read before. */
static void stream_keep(struct stream *s, const char *bytes, size_t size)
{
    /* bytes` may point into `rest`, so copy before releasing that. */
    struct buf rest = {0};
    if (size > 0)
        buf_append(&rest, bytes, size);
    buf_release(&s->rest);
    s->rest = rest;
    stream_settle(s);
    stream_set_reading(s);
}

/* Feed encrypted bytes to the session. Bytes that it does not accept are kept. */
static void stream_input(struct stream *s, const char *bytes, size_t size)
{
    s->in = bytes;
    s->in_size = size;
    if (s->state == STREAM_HANDSHAKE)
        stream_handshake(s);
    stream_receive(s);
    if (s->state != STREAM_DEAD)
        stream_keep(s, s->in, s->state == STREAM_OPEN ? s->in_size : 0);
    s->in = NULL;
    s->in_size = 0;
    if (s->state < STREAM_LINGER && s->wire.size > 0)
        stream_pump(s);
}

/* Do as many handshake steps as fit into this turn, for any stream. */
static void stream_handshake_some(const uv_loop_t *loop)
{
    struct stream *s;
    while ((s = stream_handshake_next(loop)) != NULL && stream_may_handshake(loop)) {
        list_remove(&s->step_link);
        if (s->listener != NULL && !s->begun && stream_is_at_end(s)) {
            stream_fail(s, ERR_CLOSED, "closed by the peer before the TLS handshake began");
            continue;
        }
        s->begun = true;
        stream_input(s, s->rest.bytes, s->rest.size);
    }
}

static void stream_rest(struct stream *s)
{
    s->spent = true;
    stream_set_reading(s);
    stream_schedule(s);
}

static void stream_on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *part)
{
    struct stream *s = tcp->data;
    if (n == 0 || s->state == STREAM_DEAD || s->ending)
        return;
    if (n == UV_ENOBUFS) {
        stream_rest(s);
        return;
    }
    if (n < 0) {
        stream_fail_in_turn(s, ERR_CLOSED, "%s%s",
                            n == UV_EOF ? "closed by the peer" : uv_strerror((int)n),
                            s->state == STREAM_HANDSHAKE ? " during the TLS handshake" : "");
        return;
    }
    if (s->state > STREAM_OPEN)
        return; /* after stream_close() input is read and dropped, see STREAM_LINGER */
    ASSERT(s->rest.size == 0);
    if (s->state == STREAM_HANDSHAKE) {
        stream_keep(s, part->base, (size_t)n);
        bool first = s->begun || s->options.urgent;
        list_remove(&s->victim_link);
        stream_handshake_wait(s, first);
        stream_schedule(s);
        return;
    }
    if (s->account != NULL && !account_may_read(s->account, uv_now(s->options.loop), (size_t)n))
        stream_rest(s);
    stream_input(s, part->base, (size_t)n);
}

static void stream_on_idle(uv_idle_t *idle)
{
    struct stream *s = idle->data;
    uv_idle_stop(idle);
    if (s->ending || (s->state == STREAM_CLOSING && !s->bye)) {
        if (!stream_may_end(s->options.loop)) {
            stream_schedule(s);
            return;
        }
        if (s->ending) {
            stream_die(s, &s->why);
            return;
        }
    }
    s->spent = s->spent && stream_turn_is_over(s);
    if (s->spent)
        stream_schedule(s);
    if (s->state == STREAM_CLOSING && !s->opened) {
        stream_fail(s, ERR_CLOSED, "closed here before it was open");
        return;
    }
    if (s->state == STREAM_HANDSHAKE)
        stream_handshake_some(s->options.loop);
    if (!list_empty(&s->step_link))
        stream_schedule(s); /* its turn has not come */
    else if (s->state == STREAM_OPEN && !s->paused && s->rest.size > 0)
        stream_input(s, s->rest.bytes, s->rest.size);
    if (s->state != STREAM_DEAD)
        stream_set_reading(s);
    if (s->state >= STREAM_HANDSHAKE && s->state < STREAM_LINGER)
        stream_pump(s);
}

static void stream_schedule(struct stream *s)
{
    if (s->state != STREAM_DEAD)
        uv_idle_start(&s->idle, stream_on_idle);
}

static void stream_tune(struct stream *s)
{
    uv_os_fd_t fd;
    int timeout_ms = STREAM_USER_TIMEOUT_MS;
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

void stream_start(struct stream *s)
{
    struct err err;
    stream_tune(s);
    s->state = STREAM_HANDSHAKE;
    uv_timer_start(&s->timer, stream_on_timer, STREAM_OPEN_TIMEOUT_MS, 0);
    if (tls_session_open(s->options.tls, s->listener != NULL, s, stream_push, stream_pull,
                         &s->session, &err) != 0) {
        stream_fail(s, err.code, "%s", err.msg);
        return;
    }
    stream_set_reading(s);
    if (s->state == STREAM_HANDSHAKE && s->listener == NULL)
        stream_input(s, "", 0);
}

static void stream_on_connect(uv_connect_t *connect, int status)
{
    struct stream *s = connect->data;
    if (s->state != STREAM_CONNECTING)
        return;
    if (status != 0)
        stream_fail(s, ERR_UNAVAILABLE, "cannot connect: %s", uv_strerror(status));
    else
        stream_start(s);
}

static int stream_dial(struct stream *s, const struct sockaddr_storage *to)
{
    uint64_t now_ms = uv_now(s->options.loop);
    address_print(to, s->peer_address);
    s->connect.data = s;
    uv_timer_start(&s->timer, stream_on_timer, s->connect_ms - MIN(now_ms, s->connect_ms), 0);
    return uv_tcp_connect(&s->connect, &s->tcp, (const struct sockaddr *)to, stream_on_connect);
}

/* Check whether the name is resolved. A timer polls, rather than the thread reporting, so that
 * the stream may end while the thread is still busy. */
static void stream_resolve(struct stream *s)
{
    struct sockaddr_storage to;
    struct err err;
    enum resolver_state state = resolver_ask(s->host, &to, &err);
    if (state == RESOLVER_FAILED) {
        stream_fail(s, err.code, "%s", err.msg);
    } else if (state == RESOLVER_KNOWN) {
        address_set_port(&to, s->port);
        free(s->host);
        s->host = NULL;
        int rc = stream_dial(s, &to);
        if (rc != 0)
            stream_fail(s, ERR_UNAVAILABLE, "cannot connect: %s", uv_strerror(rc));
    } else if (uv_now(s->options.loop) >= s->connect_ms) {
        stream_fail(s, ERR_TIMEOUT, "the name service did not answer within %d ms",
                    STREAM_CONNECT_TIMEOUT_MS);
    } else {
        uv_timer_start(&s->timer, stream_on_timer, RESOLVE_POLL_MS, 0);
    }
}

int stream_connect(const struct stream_options *options, const char *address, struct stream **ret,
                   struct err *err)
{
    struct sockaddr_storage to;
    char host[CELL_ADDR_MAX + 1];
    uint16_t port;
    int rc = address_read(address, &to, host, &port, err);
    if (rc != 0)
        return rc;
    struct stream *s = stream_new(options);
    s->connect_ms = uv_now(options->loop) + STREAM_CONNECT_TIMEOUT_MS;
    if (host[0] != '\0') {
        s->host = xstrdup(host);
        s->port = port;
        str_copy(s->peer_address, sizeof s->peer_address, address);
        uv_timer_start(&s->timer, stream_on_timer, 0, 0);
    } else if ((rc = stream_dial(s, &to)) != 0) {
        err_set(&s->why, ERR_UNAVAILABLE, "%s: cannot connect: %s", address, uv_strerror(rc));
        if (err != NULL)
            *err = s->why;
        stream_die(s, &s->why);
        return -ERR_UNAVAILABLE;
    }
    s->owned = true;
    *ret = s;
    return 0;
}

int stream_writev(struct stream *s, const uv_buf_t *parts, size_t part_count)
{
    size_t size = 0, queued = stream_queued(s);
    if (s->state >= STREAM_CLOSING)
        return -ERR_CLOSED;
    for (size_t i = 0; i < part_count; i++)
        size += parts[i].len;
    if (queued > s->options.queue_bytes_max || size > s->options.queue_bytes_max - queued ||
        (s->account != NULL && !account_may_send(s->account, size))) {
        s->high = true;
        return -ERR_LIMIT;
    }
    if (s->out_at > s->out.size / 2) {
        buf_consume(&s->out, s->out_at);
        s->out_at = 0;
    }
    for (size_t i = 0; i < part_count; i++)
        buf_append(&s->out, parts[i].base, parts[i].len);
    stream_settle(s);
    if (queued + size >= s->options.queue_bytes_max / 2)
        s->high = true;
    if (size > 0)
        stream_schedule(s);
    return 0;
}

int stream_write(struct stream *s, const void *bytes, size_t size)
{
    uv_buf_t part = {.base = (char *)(uintptr_t)bytes, .len = size};
    return stream_writev(s, &part, 1);
}

void stream_wait_drain(struct stream *s, size_t bytes)
{
    s->waited = true;
    s->waited_bytes = bytes;
    stream_schedule(s);
}

void stream_pause(struct stream *s)
{
    /* Pause at once: more may be read in this turn, and `rest` has room for one input only. */
    s->paused = true;
    stream_set_reading(s);
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    stream_schedule(s);
}

struct admission_account *stream_account(const struct stream *s)
{
    return s->account;
}

const struct identity *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const char *stream_peer_address(const struct stream *s)
{
    return s->peer_address;
}

void stream_set_data(struct stream *s, void *data)
{
    s->options.data = data;
}

void stream_close(struct stream *s)
{
    if (s->state >= STREAM_CLOSING)
        return;
    s->state = STREAM_CLOSING;
    uv_timer_start(&s->timer, stream_on_timer, CLOSE_TIMEOUT_MS, 0);
    stream_schedule(s);
}

uint64_t stream_peer_issued_ms(const struct stream *s)
{
    return s->cert.issued_ms;
}

uint64_t stream_peer_expires_ms(const struct stream *s)
{
    return s->cert.expires_ms;
}
