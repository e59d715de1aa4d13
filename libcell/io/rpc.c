/*
 * rpc.c - calls over streams: ids, time-outs, roles, and back-pressure on peers.
 *
 * A connection has three kinds of pending data: our calls without an answer (`pending`, which end
 * with ERR_CLOSED at the latest), the peer's calls without an answer (`calls`, which outlive the
 * connection until their owner answers), and received bytes that are not served yet (`in`), because
 * the frame is incomplete or its turn has not come. A paused connection waits for one of: room of
 * its own (calls end, the queue drains, a delay passes), a turn of the loop (server->ready), or
 * room of its identity, including its share of the loop's time (server->waiting).
 */
#include "rpc_impl.h"

#include "wire.h"

#include "clock.h"
#include "log.h"
#include "rpc_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IN_KEEP_BYTES_MAX = 65536, /* memory that an empty `in` may keep */
    DENIED_LOG_MS = 1000,      /* minimum time between two log lines about a connection */
};

struct rpc_pending {
    struct list link;
    uint64_t id;
    uint64_t deadline_ms; /* by clock_mono_ms(); UINT64_MAX: none */
    rpc_answer_cb cb;
    void *data;
};

/* Close a connection whose peer broke the protocol or does not read. */
static void rpc_fail(struct rpc_conn *conn, const struct err *why)
{
    if (conn->closing || conn->closed)
        return;
    log_warn("rpc.broken peer=%s address=%s reason=%s", identity_text(rpc_peer(conn)).text,
             rpc_peer_address(conn), log_quoted(why->msg));
    conn->why = *why;
    rpc_close(conn);
}

static int rpc_send(struct rpc_conn *conn, const struct rpc_frame *frame, struct err *err)
{
    if (conn->closing || conn->closed)
        return err_set(err, ERR_CLOSED, "%s: the connection is closed", rpc_peer_address(conn));
    buf_clear(&conn->head);
    int rc = rpc_frame_pack_head(&conn->head, frame, err);
    if (rc != 0)
        return rc;
    uv_buf_t parts[2] = {
        {.base = conn->head.bytes, .len = conn->head.size},
        {.base = (char *)(uintptr_t)frame->body, .len = frame->body_size},
    };
    rc = stream_writev(conn->stream, parts, ARRAY_SIZE(parts));
    if (rc == -ERR_LIMIT)
        return err_set(err, ERR_LIMIT, "%s: %zu bytes wait to be sent, the peer is too slow",
                       rpc_peer_address(conn), stream_queued(conn->stream));
    if (rc != 0)
        return err_set(err, ERR_CLOSED, "%s: the connection is closed", rpc_peer_address(conn));
    return 0;
}

void rpc_close_with_bye(struct rpc_conn *conn, const struct err *why)
{
    struct rpc_frame bye = {.kind = RPC_BYE,
                            .code = (uint32_t)why->code,
                            .msg = why->msg,
                            .msg_size = strnlen(why->msg, sizeof why->msg)};
    (void)rpc_send(conn, &bye, NULL);
    rpc_fail(conn, why);
}

static size_t rpc_calls_max(const struct rpc_conn *conn)
{
    return rpc_peer(conn)->role == ROLE_USER ? RPC_USER_CALLS_MAX : RPC_CALLS_MAX;
}

/* Return whether the peer does not read our answers or calls faster than we answer. It is then
 * not read, so that TCP slows it down to our speed. */
static bool rpc_is_full(const struct rpc_conn *conn)
{
    return stream_queued(conn->stream) >= RPC_QUEUE_BYTES_MAX / 2 ||
           conn->call_count >= rpc_calls_max(conn) || conn->call_bytes >= RPC_CALLS_BYTES_MAX ||
           account_is_full(conn->account);
}

static bool rpc_has_room(const struct rpc_conn *conn)
{
    return stream_queued(conn->stream) < RPC_QUEUE_BYTES_MAX / 2 &&
           conn->call_count <= rpc_calls_max(conn) / 2 &&
           conn->call_bytes <= RPC_CALLS_BYTES_MAX / 2;
}

bool rpc_frames_full(const struct rpc_conn *conn)
{
    return conn->in.size > 0 && account_frames_full(conn->account);
}

static void rpc_pause(struct rpc_conn *conn)
{
    if (!conn->paused)
        stream_pause(conn->stream);
    conn->paused = true;
}

/* Wait for room of the identity, because events of this connection would not resume it. The
 * account of an outgoing connection has no other connections. */
static void rpc_wait_for_room(struct rpc_conn *conn)
{
    if (conn->server != NULL)
        rpc_server_wait_for_room(conn->server, conn);
}

/* Wait for a turn of the loop. */
static void rpc_wait_for_turn(struct rpc_conn *conn)
{
    rpc_pause(conn);
    if (conn->server == NULL) {
        stream_wait_drain(conn->stream, SIZE_MAX);
        return;
    }
    rpc_server_wait_for_turn(conn->server, conn);
}

bool rpc_is_over(const struct rpc_conn *conn)
{
    return account_may_be_over(conn->account) && account_is_over(conn->account, clock_mono_us());
}

static void rpc_pause_if_full(struct rpc_conn *conn)
{
    if (conn->paused || conn->closing || conn->closed || !rpc_is_full(conn))
        return;
    rpc_pause(conn);
    conn->full = true;
    if (!account_has_room(conn->account))
        rpc_wait_for_room(conn);
}

/* Return whether answers must come first. A connection that was full must get down to half of
 * its limit; any other may continue up to the limit. */
static bool rpc_waits_for_answers(struct rpc_conn *conn)
{
    conn->full =
        conn->full ? !rpc_has_room(conn) || !account_has_room(conn->account) : rpc_is_full(conn);
    return conn->full;
}

static void rpc_take_kept(struct rpc_conn *conn);
static void rpc_arm(struct rpc_conn *conn);

void rpc_resume(struct rpc_conn *conn)
{
    if (!conn->paused || conn->closing || conn->closed)
        return;
    list_remove(&conn->turn_link);
    if (conn->frames_wait && rpc_frames_full(conn)) {
        rpc_wait_for_room(conn);
        return;
    }
    if (rpc_waits_for_answers(conn)) {
        if (!account_has_room(conn->account))
            rpc_wait_for_room(conn);
        return;
    }
    if (conn->slow_until_ms != 0)
        return;
    if (rpc_is_over(conn)) {
        rpc_wait_for_room(conn);
        return;
    }
    conn->paused = false;
    conn->frames_wait = false;
    rpc_take_kept(conn);
    if (!conn->paused && !conn->closing)
        stream_resume(conn->stream);
}

/* Delay a user after ERR_UNAVAILABLE: the user could retry at once, a million times a second. */
static void rpc_slow_down(struct rpc_conn *conn)
{
    if (conn->closing || conn->closed || rpc_peer(conn)->role != ROLE_USER)
        return;
    conn->slow_until_ms = clock_mono_ms() + RPC_SLOW_MS;
    rpc_pause(conn);
    rpc_arm(conn);
}

static void rpc_answer(struct rpc_conn *conn, uint64_t id, const struct err *refusal,
                       const void *body, size_t size)
{
    struct err err;
    struct rpc_frame frame = {.kind = RPC_ANSWER, .id = id, .body = body, .body_size = size};
    if (refusal != NULL) {
        frame.code = (uint32_t)refusal->code;
        frame.msg = refusal->msg;
        frame.msg_size = strnlen(refusal->msg, sizeof refusal->msg);
    }
    int rc = rpc_send(conn, &frame, &err);
    if (rc == -ERR_LIMIT && size > RPC_QUEUE_BYTES_MAX / 8) {
        /* Send a small answer instead of a large one that does not fit. */
        frame = (struct rpc_frame){.kind = RPC_ANSWER, .id = id, .code = ERR_LIMIT};
        frame.msg = err.msg;
        frame.msg_size = strlen(err.msg);
        struct err again;
        rc = rpc_send(conn, &frame, &again);
    }
    if (rc == -ERR_LIMIT)
        rpc_fail(conn, &err);
    else
        rpc_pause_if_full(conn);
}

static const struct rpc_method *rpc_method_find(const struct rpc_conn *conn, uint32_t id)
{
    for (size_t i = 0; i < conn->options.method_count; i++)
        if (conn->options.methods[i].id == id)
            return &conn->options.methods[i];
    return NULL;
}

static void rpc_deny(struct rpc_conn *conn, const struct rpc_method *method, struct err *ret)
{
    char allowed[64] = "";
    for (int role = ROLE_NONE + 1; role < ROLE_COUNT; role++)
        if ((method->roles & BIT(role)) != 0) {
            size_t n = strlen(allowed);
            snprintf(allowed + n, sizeof allowed - n, "%s%s", n == 0 ? "" : " or ",
                     role_text((enum role)role));
        }
    err_set(ret, ERR_DENIED, "%s may not call %s: it takes the role %s",
            identity_text(rpc_peer(conn)).text, wire_method_text(method->id),
            allowed[0] == '\0' ? "none" : allowed);
    uint64_t now_ms = clock_mono_ms();
    conn->denied_count++;
    if (conn->denied_log_ms != 0 && now_ms - conn->denied_log_ms < DENIED_LOG_MS)
        return;
    conn->denied_log_ms = now_ms;
    log_warn("rpc.denied peer=%s address=%s method=%s denied=%" PRIu64,
             identity_text(rpc_peer(conn)).text, rpc_peer_address(conn),
             wire_method_text(method->id), conn->denied_count);
}

/* Check whether the peer may call this now. */
static int rpc_admit(struct rpc_conn *conn, const struct rpc_frame *frame,
                     const struct rpc_method **ret, struct err *err)
{
    *ret = rpc_method_find(conn, frame->method);
    if (*ret == NULL)
        return err_set(err, ERR_NOT_FOUND, "this program does not serve method %" PRIu32,
                       frame->method);
    if (((*ret)->roles & BIT(rpc_peer(conn)->role)) == 0) {
        rpc_deny(conn, *ret, err);
        return -ERR_DENIED;
    }
    return 0;
}

/* Serve a notice. It has no answer, so closing is the only way to refuse it. */
static void rpc_serve_notice(struct rpc_conn *conn, const struct rpc_frame *frame)
{
    const struct rpc_method *method;
    struct err err;
    int rc = rpc_admit(conn, frame, &method, &err);
    if (rc == -ERR_NOT_FOUND) {
        log_debug("rpc.notice_ignored peer=%s method=%" PRIu32, identity_text(rpc_peer(conn)).text,
                  frame->method);
        return;
    }
    if (rc == 0 && (method->roles & ROLE_MAY_NOTIFY) == 0)
        rc = err_set(&err, ERR_DENIED, "%s is a call: it may not be sent as a notice",
                     wire_method_text(method->id));
    if (rc != 0) {
        rpc_close_with_bye(conn, &err);
        return;
    }
    account_call_begin(conn->account, frame->body_size);
    method->handler(conn, NULL, frame->body, frame->body_size);
    account_call_end(conn->account, frame->body_size);
}

static void rpc_serve(struct rpc_conn *conn, const struct rpc_frame *frame)
{
    const struct rpc_method *method;
    struct err err;
    int rc = rpc_admit(conn, frame, &method, &err);
    if (rc != 0) {
        rpc_answer(conn, frame->id, &err, NULL, 0);
        return;
    }
    struct rpc_call *call = xcalloc(1, sizeof *call);
    call->conn = conn;
    call->id = frame->id;
    call->bytes = frame->body_size;
    call->account = conn->account;
    account_call_begin(call->account, call->bytes);
    list_push(&conn->calls, &call->link);
    conn->call_count++;
    conn->call_bytes += call->bytes;
    method->handler(conn, call, frame->body, frame->body_size);
    rpc_pause_if_full(conn);
}

static void rpc_pending_end(struct rpc_conn *conn, struct rpc_pending *pending,
                            const struct err *err, const void *body, size_t size)
{
    rpc_answer_cb cb = pending->cb;
    void *data = pending->data;
    idmap_remove(&conn->pending_by_id, pending->id);
    list_remove(&pending->link);
    free(pending);
    cb(data, err, body, size);
}

static void rpc_take_answer(struct rpc_conn *conn, const struct rpc_frame *frame)
{
    struct err err;
    struct rpc_pending *pending = idmap_get(&conn->pending_by_id, frame->id);
    if (frame->id >= conn->id_next) {
        err_set(&err, ERR_CORRUPT, "received an answer to call %" PRIu64 ", which was not made",
                frame->id);
        rpc_fail(conn, &err);
        return;
    }
    if (pending == NULL)
        return; /* the call has timed out */
    if (frame->code == 0) {
        rpc_pending_end(conn, pending, NULL, frame->body, frame->body_size);
        return;
    }
    err_set(&err, (enum err_code)frame->code, "%.*s", (int)MIN(frame->msg_size, sizeof err.msg),
            frame->msg);
    rpc_pending_end(conn, pending, &err, NULL, 0);
}

/* The peer announces why it closes. */
static void rpc_take_bye(struct rpc_conn *conn, const struct rpc_frame *frame)
{
    err_set(&conn->why, frame->code == 0 ? ERR_CLOSED : (enum err_code)frame->code, "%s: %.*s",
            rpc_peer_address(conn), (int)MIN(frame->msg_size, (size_t)ERR_MSG_MAX), frame->msg);
    rpc_close(conn);
}

static void rpc_take_frame(struct rpc_conn *conn, const struct rpc_frame *frame)
{
    uint64_t begin_us = clock_mono_us();
    switch (frame->kind) {
    case RPC_CALL:
        rpc_serve(conn, frame);
        break;
    case RPC_ANSWER:
        rpc_take_answer(conn, frame);
        break;
    case RPC_NOTICE:
        rpc_serve_notice(conn, frame);
        break;
    case RPC_BYE:
        rpc_take_bye(conn, frame);
        break;
    case RPC_KIND_COUNT:
        UNREACHABLE("unknown kind of frame");
    }
    uint64_t now_us = clock_mono_us();
    account_served(conn->account, now_us - begin_us);
    account_busy(conn->account, now_us, now_us - begin_us);
}

/* Serve the complete frames in `bytes`, as many as fit into this turn; return their size. */
static size_t rpc_take_frames(struct rpc_conn *conn, const char *bytes, size_t size)
{
    size_t at = 0;
    while (!conn->paused && !conn->closing && size - at >= RPC_LENGTH_BYTES) {
        struct rpc_frame frame;
        struct err err;
        size_t length;
        int rc = rpc_frame_length(bytes + at, &length, &err);
        if (rc == 0 && size - at - RPC_LENGTH_BYTES < length)
            break;
        if (rc == 0)
            rc = rpc_frame_unpack(bytes + at + RPC_LENGTH_BYTES, length, &frame, &err);
        if (rc != 0) {
            rpc_fail(conn, &err);
            break;
        }
        rpc_pause_if_full(conn);
        if (!conn->paused && rpc_is_over(conn)) {
            rpc_pause(conn);
            rpc_wait_for_room(conn);
        }
        if (!conn->paused && !account_may_serve(conn->account, uv_now(conn->options.loop)))
            rpc_wait_for_turn(conn);
        if (conn->paused)
            break;
        at += RPC_LENGTH_BYTES + length;
        rpc_take_frame(conn, &frame);
    }
    return at;
}

/* Account for a change of `in`. `began`: another frame is at its front. */
static void rpc_settle(struct rpc_conn *conn, bool began)
{
    account_frames(conn->account, conn->in_accounted, conn->in.size);
    conn->in_accounted = conn->in.size;
    if (began)
        conn->frame_ms = uv_now(conn->options.loop);
    if (!conn->paused && !conn->closing && rpc_frames_full(conn)) {
        rpc_pause(conn);
        conn->frames_wait = true;
        rpc_wait_for_room(conn);
    }
}

static void rpc_take_kept(struct rpc_conn *conn)
{
    size_t taken = rpc_take_frames(conn, conn->in.bytes, conn->in.size);
    buf_consume(&conn->in, taken);
    if (conn->in.size == 0 && conn->in.capacity > IN_KEEP_BYTES_MAX)
        buf_release(&conn->in);
    rpc_settle(conn, taken > 0);
}

static void rpc_on_data(struct stream *s, void *data, const void *bytes, size_t size)
{
    struct rpc_conn *conn = data;
    (void)s;
    conn->heard_ms = uv_now(conn->options.loop);
    if (conn->in.size > 0) {
        buf_append(&conn->in, bytes, size);
        rpc_take_kept(conn);
        return;
    }
    size_t taken = rpc_take_frames(conn, bytes, size);
    if (taken < size && !conn->closing)
        buf_append(&conn->in, (const char *)bytes + taken, size - taken);
    rpc_settle(conn, /* began= */ true);
}

static void rpc_on_stream_drain(struct stream *s, void *data)
{
    struct rpc_conn *conn = data;
    rpc_resume(conn);
    if (conn->on_drain != NULL && !conn->closing && stream_queued(s) <= conn->drain_bytes) {
        void (*cb)(struct rpc_conn *) = conn->on_drain;
        conn->on_drain = NULL;
        cb(conn);
    } else if (conn->on_drain != NULL && !conn->closing) {
        stream_wait_drain(s, conn->drain_bytes);
    }
}

void rpc_on_stream_open(struct stream *s, void *data)
{
    struct rpc_conn *conn = data;
    conn->account = conn->server != NULL ? stream_account(s) : account_new(stream_peer(s));
    conn->heard_ms = conn->frame_ms = uv_now(conn->options.loop);
    if (conn->options.on_open != NULL)
        conn->options.on_open(conn);
}

static void rpc_on_timer_closed(uv_handle_t *handle)
{
    struct rpc_conn *conn = handle->data;
    idmap_release(&conn->pending_by_id);
    buf_release(&conn->in);
    buf_release(&conn->head);
    free(conn);
}

/* Leave the account together with the connection, except for calls that are not answered yet. */
static void rpc_leave_account(struct rpc_conn *conn)
{
    list_remove(&conn->turn_link);
    if (conn->account == NULL)
        return;
    account_frames(conn->account, conn->in_accounted, 0);
    conn->in_accounted = 0;
    if (conn->server == NULL)
        account_leave(conn->account); /* otherwise the stream does it */
    conn->account = NULL;
}

static void rpc_on_stream_close(struct stream *s, void *data, const struct err *why)
{
    struct rpc_conn *conn = data;
    (void)s;
    conn->closed = true;
    if (conn->why.code == ERR_OK)
        conn->why = *why;
    for (struct list *l; (l = list_pop(&conn->calls)) != NULL;)
        CONTAINER_OF(l, struct rpc_call, link)->conn = NULL;
    struct err closed = conn->why;
    closed.code = ERR_CLOSED;
    while (!list_empty(&conn->pending))
        rpc_pending_end(conn, CONTAINER_OF(conn->pending.next, struct rpc_pending, link), &closed,
                        NULL, 0);
    if (conn->options.on_close != NULL)
        conn->options.on_close(conn, &conn->why);
    list_remove(&conn->server_link);
    rpc_leave_account(conn);
    if (conn->server != NULL)
        rpc_server_free_if_done(conn->server);
    uv_close((uv_handle_t *)&conn->timer, rpc_on_timer_closed);
}

static const struct stream_handlers rpc_stream_handlers = {
    .on_open = rpc_on_stream_open,
    .on_data = rpc_on_data,
    .on_drain = rpc_on_stream_drain,
    .on_close = rpc_on_stream_close,
};

struct rpc_conn *rpc_conn_new(const struct rpc_options *options)
{
    struct rpc_conn *conn = xcalloc(1, sizeof *conn);
    conn->options = *options;
    conn->data = options->data;
    conn->id_next = 1;
    list_init(&conn->server_link);
    list_init(&conn->pending);
    list_init(&conn->calls);
    list_init(&conn->turn_link);
    uv_timer_init(options->loop, &conn->timer);
    conn->timer.data = conn;
    return conn;
}

struct stream_options rpc_stream_options(const struct rpc_options *options, void *data)
{
    return (struct stream_options){.loop = options->loop,
                                   .tls = options->tls,
                                   .handlers = &rpc_stream_handlers,
                                   .data = data,
                                   .queue_bytes_max = RPC_QUEUE_BYTES_MAX};
}

int rpc_connect(const struct rpc_options *options, const char *address,
                const struct identity *expect, struct rpc_conn **ret, struct err *err)
{
    struct rpc_conn *conn = rpc_conn_new(options);
    struct stream_options stream_options = rpc_stream_options(options, conn);
    stream_options.expect = expect == NULL ? (struct identity){.role = ROLE_MASTER} : *expect;
    int rc = stream_connect(&stream_options, address, &conn->stream, err);
    if (rc != 0) {
        uv_close((uv_handle_t *)&conn->timer, rpc_on_timer_closed);
        return rc;
    }
    *ret = conn;
    return 0;
}

void rpc_close(struct rpc_conn *conn)
{
    if (conn->closing || conn->closed)
        return;
    conn->closing = true;
    stream_close(conn->stream);
}

const struct identity *rpc_peer(const struct rpc_conn *conn)
{
    return stream_peer(conn->stream);
}

const char *rpc_peer_address(const struct rpc_conn *conn)
{
    return stream_peer_address(conn->stream);
}

void *rpc_data(const struct rpc_conn *conn)
{
    return conn->data;
}

void rpc_set_data(struct rpc_conn *conn, void *data)
{
    conn->data = data;
}

size_t rpc_queued(const struct rpc_conn *conn)
{
    return conn->closed ? 0 : stream_queued(conn->stream);
}

void rpc_on_drain(struct rpc_conn *conn, void (*cb)(struct rpc_conn *conn))
{
    if (conn->closing || conn->closed)
        return;
    conn->on_drain = cb;
    conn->drain_bytes = stream_queued(conn->stream) / 2;
    stream_wait_drain(conn->stream, conn->drain_bytes);
}

static void rpc_on_timer(uv_timer_t *timer)
{
    struct rpc_conn *conn = timer->data;
    uint64_t now_ms = clock_mono_ms();
    while (!conn->closing && !list_empty(&conn->pending)) {
        struct rpc_pending *first = CONTAINER_OF(conn->pending.next, struct rpc_pending, link);
        struct err err;
        if (first->deadline_ms > now_ms)
            break;
        err_set(&err, ERR_TIMEOUT, "%s: no answer in time", rpc_peer_address(conn));
        rpc_pending_end(conn, first, &err, NULL, 0);
    }
    if (conn->slow_until_ms != 0 && conn->slow_until_ms <= now_ms) {
        conn->slow_until_ms = 0;
        rpc_resume(conn);
    }
    rpc_arm(conn);
}

/* Set the timer to the earliest deadline: of a call or of a delay. */
static void rpc_arm(struct rpc_conn *conn)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t at_ms = conn->slow_until_ms != 0 ? conn->slow_until_ms : UINT64_MAX;
    if (!list_empty(&conn->pending))
        at_ms = MIN(at_ms, CONTAINER_OF(conn->pending.next, struct rpc_pending, link)->deadline_ms);
    if (at_ms != UINT64_MAX && !conn->closing)
        uv_timer_start(&conn->timer, rpc_on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void rpc_pending_add(struct rpc_conn *conn, struct rpc_pending *pending)
{
    /* Time-outs are mostly equal, so the position is usually the end. */
    struct list *before = conn->pending.prev;
    while (before != &conn->pending &&
           CONTAINER_OF(before, struct rpc_pending, link)->deadline_ms > pending->deadline_ms)
        before = before->prev;
    list_push(before->next, &pending->link);
    idmap_put(&conn->pending_by_id, pending->id, pending);
    if (before == &conn->pending)
        rpc_arm(conn);
}

int rpc_request(struct rpc_conn *conn, uint32_t method, const void *body, size_t size,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err)
{
    struct rpc_frame frame = {
        .kind = RPC_CALL, .id = conn->id_next, .method = method, .body = body, .body_size = size};
    if (conn->pending_by_id.count >= RPC_CALLS_MAX)
        return err_set(err, ERR_LIMIT, "%s: %d calls without an answer, the limit",
                       rpc_peer_address(conn), RPC_CALLS_MAX);
    int rc = rpc_send(conn, &frame, err);
    if (rc != 0)
        return rc;
    struct rpc_pending *pending = xcalloc(1, sizeof *pending);
    pending->id = conn->id_next++;
    pending->deadline_ms = timeout_ms == 0 ? UINT64_MAX : clock_mono_ms() + timeout_ms;
    pending->cb = cb;
    pending->data = data;
    rpc_pending_add(conn, pending);
    return 0;
}

int rpc_notify(struct rpc_conn *conn, uint32_t method, const void *body, size_t size)
{
    struct rpc_frame frame = {
        .kind = RPC_NOTICE, .method = method, .body = body, .body_size = size};
    return rpc_send(conn, &frame, NULL);
}

static void rpc_call_end(struct rpc_call *call, const struct err *refusal, const void *body,
                         size_t size)
{
    if (call == NULL)
        return; /* it was a notice, which has no answer */
    struct rpc_conn *conn = call->conn;
    uint64_t id = call->id;
    size_t bytes = call->bytes;
    list_remove(&call->link);
    account_call_end(call->account, bytes);
    free(call);
    if (conn == NULL || conn->closing)
        return;
    conn->call_count--;
    conn->call_bytes -= bytes;
    rpc_answer(conn, id, refusal, body, size);
    if (refusal != NULL && refusal->code == ERR_UNAVAILABLE)
        rpc_slow_down(conn);
    if (conn->paused && rpc_has_room(conn))
        stream_wait_drain(conn->stream, SIZE_MAX); /* continues in a later turn, not in this call */
}

void rpc_reply(struct rpc_call *call, const void *body, size_t size)
{
    rpc_call_end(call, NULL, body, size);
}

void rpc_refuse(struct rpc_call *call, const struct err *err)
{
    ASSERT(err->code != ERR_OK);
    rpc_call_end(call, err, NULL, 0);
}

struct rpc_conn *rpc_call_conn(const struct rpc_call *call)
{
    return call->conn;
}

void rpc_charge(struct rpc_conn *conn, uint64_t us)
{
    if (conn->account != NULL)
        account_busy(conn->account, clock_mono_us(), us);
}

uint64_t rpc_peer_expires_ms(const struct rpc_conn *conn)
{
    return stream_peer_expires_ms(conn->stream);
}
