/*
 * tls_watch.c - the timer that checks files and open streams.
 */
#include "tls_watch.h"

#include "clock.h"
#include "log.h"
#include "stream_impl.h"

#include <stdlib.h>
#include <string.h>

enum { CHECKS_MAX = 4096 /* streams checked in one turn, some milliseconds */ };

struct tls_watch {
    uv_loop_t *loop;
    struct tls_context *ctx;
    uv_timer_t timer;
    uint64_t round;    /* number of the check of the streams; 0: none is in progress */
    uint64_t files_ms; /* when the files were last checked */
    uv_work_t work;
    bool working, closing, closed;
    int rc; /* result of the last read, as tls_context_read() */
    struct tls_credentials *fresh;
    struct err why;
    char last_error[ERR_MSG_MAX]; /* the previous error of the files */
    bool refusal_logged;          /* that error has been logged */
    bool expiry_logged;           /* the end of our own certificate has been logged */
};

static void watch_free_if_done(struct tls_watch *w)
{
    if (w->closed && !w->working)
        free(w);
}

static void watch_on_closed(uv_handle_t *handle)
{
    struct tls_watch *w = handle->data;
    w->closed = true;
    watch_free_if_done(w);
}

/* Runs on a thread of the pool. */
static void watch_on_work(uv_work_t *work)
{
    struct tls_watch *w = CONTAINER_OF(work, struct tls_watch, work);
    w->rc = tls_context_read(w->ctx, &w->fresh, &w->why);
}

/* Log an error only when it occurs twice: files may not match while they are being replaced. */
static void watch_log_refused(struct tls_watch *w)
{
    if (strcmp(w->last_error, w->why.msg) != 0) {
        str_copy(w->last_error, sizeof w->last_error, w->why.msg);
        w->refusal_logged = false;
    } else if (!w->refusal_logged) {
        w->refusal_logged = true;
        log_warn("tls.files_refused reason=%s action=keep-old", log_quoted(w->why.msg));
    }
}

static void watch_take_fresh(struct tls_watch *w)
{
    tls_context_take(w->ctx, w->fresh);
    const struct tls_cert *own = tls_context_cert(w->ctx);
    log_info("tls.files_taken identity=%s expires=%s", identity_text(&own->identity).text,
             log_quoted(tls_date(own->expires_ms).text));
    w->expiry_logged = false;
}

static void watch_on_read(uv_work_t *work, int status)
{
    struct tls_watch *w = CONTAINER_OF(work, struct tls_watch, work);
    w->working = false;
    if (status == 0 && w->rc < 0)
        watch_log_refused(w);
    else
        w->last_error[0] = '\0';
    if (status == 0 && w->rc == 0)
        watch_take_fresh(w);
    watch_free_if_done(w);
}

static void watch_check_files(struct tls_watch *w, uint64_t now_ms)
{
    const struct tls_cert *own = tls_context_cert(w->ctx);
    uint64_t wall_ms = clock_wall_ms();
    if (!w->expiry_logged && own->expires_ms < wall_ms + TLS_CERT_SOON_MS) {
        w->expiry_logged = true;
        log_warn("tls.certificate_expiring identity=%s expires=%s remedy=\"borgctl pki renew\"",
                 identity_text(&own->identity).text, log_quoted(tls_date(own->expires_ms).text));
    }
    if (w->working || now_ms - w->files_ms < TLS_WATCH_FILES_MS)
        return;
    w->files_ms = now_ms;
    w->working = uv_queue_work(w->loop, &w->work, watch_on_work, watch_on_read) == 0;
}

static void watch_check_stream(struct tls_watch *w, struct stream *s, uint64_t now_ms)
{
    struct err err;
    uint64_t own_expires_ms;
    uint64_t margin_ms = s->listener == NULL ? TLS_CERT_SOON_MS : TLS_WATCH_RENEW_MS;
    if (s->state != STREAM_OPEN)
        return;
    if (tls_peer_check(w->ctx, &s->cert, now_ms, &err) != 0) {
        log_warn("stream.ended peer=%s address=%s reason=%s", identity_text(&s->peer).text,
                 s->peer_address, log_quoted(err.msg));
        stream_end(s, &err);
    } else if (!tls_session_is_current(w->ctx, s->session, &own_expires_ms) &&
               own_expires_ms < now_ms + margin_ms) {
        log_info("stream.renewed peer=%s address=%s reason=certificate-replaced",
                 identity_text(&s->peer).text, s->peer_address);
        stream_close(s);
    }
}

/* Check some open streams; return true when all have been checked. A checked stream moves to the
 * end of the list, because an owner's on_close may remove any stream. */
static bool watch_check_streams(struct tls_watch *w)
{
    struct list *opens = stream_opens();
    uint64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < CHECKS_MAX; i++) {
        struct stream *s = CONTAINER_OF(opens->next, struct stream, open_link);
        if (list_empty(opens) || s->watch_round == w->round)
            return true;
        s->watch_round = w->round;
        list_remove(&s->open_link);
        list_push(opens, &s->open_link);
        if (s->options.tls == w->ctx && s->options.loop == w->loop)
            watch_check_stream(w, s, now_ms);
    }
    return false;
}

static void watch_on_timer(uv_timer_t *timer)
{
    static _Thread_local uint64_t rounds; /* watches of one thread must not share a number */
    struct tls_watch *w = timer->data;
    if (w->round == 0) {
        w->round = ++rounds;
        watch_check_files(w, clock_mono_ms());
    }
    bool done = watch_check_streams(w);
    if (done)
        w->round = 0;
    if (!w->closing)
        uv_timer_start(&w->timer, watch_on_timer, done ? TLS_WATCH_STREAMS_MS : 1, 0);
}

struct tls_watch *tls_watch_open(uv_loop_t *loop, struct tls_context *ctx)
{
    struct tls_watch *w = xcalloc(1, sizeof *w);
    w->loop = loop;
    w->ctx = ctx;
    w->files_ms = clock_mono_ms();
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, watch_on_timer, TLS_WATCH_STREAMS_MS, 0);
    uv_unref((uv_handle_t *)&w->timer);
    return w;
}

void tls_watch_check(struct tls_watch *w)
{
    w->round = 0;
    if (!w->closing)
        uv_timer_start(&w->timer, watch_on_timer, 0, 0);
}

void tls_watch_close(struct tls_watch *w)
{
    if (w == NULL || w->closing)
        return;
    w->closing = true;
    uv_close((uv_handle_t *)&w->timer, watch_on_closed);
}
