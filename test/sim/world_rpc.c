/*
 * world_rpc.c - rpc.h over the simulated network.
 *
 * A connection has two ends, each an object of its node. A message in flight is in the inbox of the
 * receiving end, in order; while the direction is blocked it is held there. When an end closes, the
 * other learns it by a last message; when a node crashes or TCP gives up, by an event of its own,
 * and messages that it still sends are lost.
 */
#include "world_impl.h"

#include "limits.h"
#include "log.h"
#include "rpc.h"
#include "tls_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLOSE_US = 200,         /* between rpc_close() and on_close */
    RESEND_US = 300000,     /* TCP notices that a direction is open again */
    LOST_MS_MAX = 20000,    /* an idle end notices that the other host is gone */
    POWER_OF_100 = 20,      /* crashes without notice, like a power failure */
    MESSAGE_HEAD_BYTES = 24 /* approximate, to account for queued messages */
};

enum message_kind { MESSAGE_CALL, MESSAGE_ANSWER, MESSAGE_NOTICE, MESSAGE_CLOSE };

struct tls_context {
    struct identity identity;
};

struct message {
    struct sim_event ev;
    struct list link; /* in to->inbox or conn->outbox */
    struct rpc_conn *to;
    enum message_kind kind;
    bool held;
    uint32_t method;
    uint32_t code;
    uint64_t id;
    size_t size; /* of the body, or of the text of a refusal */
    char bytes[];
};

struct rpc_conn {
    struct list link; /* in node->conns */
    struct node *node;
    struct rpc_conn *other; /* NULL: not yet, or no longer */
    struct node *other_node;
    struct rpc_options options;
    struct rpc_server *server; /* NULL on the connecting side */
    struct list server_link;
    struct identity peer, expect;
    char peer_address[CELL_ADDR_MAX + 1];
    void *data;
    bool open, closing, closed;
    struct err why;

    struct sim_event step; /* the next step of its life */
    uint64_t last_at_us;   /* arrival of the last message to us that is not held */
    struct list inbox;     /* messages to us in flight */
    struct list outbox;    /* messages sent before it was open */
    size_t queued;         /* bytes of our messages in flight */
    struct sim_event drained;
    void (*on_drain)(struct rpc_conn *conn);
    size_t drain_bytes;

    uint64_t id_next;
    struct sim_event timer; /* for the first pending call */
    struct list pending;    /* ordered by deadline */
    size_t pending_count;
    struct list calls;
    size_t call_count;
};

struct rpc_pending {
    struct list link;
    uint64_t id;
    uint64_t deadline_us; /* UINT64_MAX: none */
    rpc_answer_cb cb;
    void *data;
};

struct rpc_call {
    struct list link;
    struct rpc_conn *conn;
    uint64_t id;
};

struct rpc_server {
    struct list link; /* in node->listeners; in none when closed */
    struct rpc_options options;
    struct list conns;
    char address[CELL_ADDR_MAX + 1];
};

/* Identities */

struct tls_context *world_tls(const char *common_name)
{
    struct err err;
    struct tls_context *tls = xcalloc(1, sizeof *tls);
    if (identity_parse(common_name, &tls->identity, &err) != 0)
        PANIC("%s", err.msg);
    return tls;
}

const struct identity *tls_context_identity(const struct tls_context *tls)
{
    return &tls->identity;
}

/* In the simulator certificates neither expire nor are revoked. */

void tls_context_on_peer(struct tls_context *tls UNUSED, tls_revoked_cb revoked UNUSED,
                         void *data UNUSED)
{
}

struct tls_watch *tls_watch_open(uv_loop_t *loop UNUSED, struct tls_context *tls UNUSED)
{
    return NULL;
}

void tls_watch_check(struct tls_watch *watch UNUSED)
{
}

void tls_watch_close(struct tls_watch *watch UNUSED)
{
}

uint64_t rpc_peer_expires_ms(const struct rpc_conn *conn UNUSED)
{
    return UINT64_MAX;
}

void rpc_charge(struct rpc_conn *conn UNUSED, uint64_t us UNUSED)
{
}

/* Messages */

static void message_drop(struct message *m)
{
    event_cancel(&m->ev);
    list_remove(&m->link);
    free(m);
}

static void inbox_drop(struct rpc_conn *conn, bool held_only)
{
    for (struct list *l = conn->inbox.next, *next; l != &conn->inbox; l = next) {
        struct message *m = CONTAINER_OF(l, struct message, link);
        next = l->next;
        if (m->held || !held_only)
            message_drop(m);
    }
}

static void message_arrive(struct sim_event *ev);

static void message_schedule(struct message *m, uint64_t us)
{
    struct rpc_conn *to = m->to;
    uint64_t at_us = the_world_now_us + us + net_delay_us(to->other_node, to->node);
    to->last_at_us = MAX(to->last_at_us, at_us);
    m->held = false;
    event_at(&m->ev, to->last_at_us);
}

static void message_send(struct rpc_conn *conn, struct message *m)
{
    struct rpc_conn *to = conn->other;
    if (to == NULL) { /* the other end is gone, but this one does not know it yet */
        free(m);
        return;
    }
    bool wait =
        net_blocked(conn->node, to->node) ||
        (!list_empty(&to->inbox) && CONTAINER_OF(to->inbox.prev, struct message, link)->held);
    m->to = to;
    m->ev = (struct sim_event){.node = to->node, .fire = message_arrive, .kind = EVENT_IO};
    list_push(&to->inbox, &m->link);
    conn->queued += m->size + MESSAGE_HEAD_BYTES;
    m->held = wait;
    if (!wait)
        message_schedule(m, 0);
}

static int rpc_send(struct rpc_conn *conn, const struct message *head, const void *body,
                    struct err *err)
{
    if (conn->closing || conn->closed)
        return err_set(err, ERR_CLOSED, "%s: the connection is closed", conn->peer_address);
    if (head->size > RPC_FRAME_BYTES_MAX - MESSAGE_HEAD_BYTES)
        return err_set(err, ERR_LIMIT, "a message of %zu bytes", head->size);
    if (conn->queued + head->size > RPC_QUEUE_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%s: %zu bytes wait to be sent, the peer is too slow",
                       conn->peer_address, conn->queued);
    struct message *m = malloc(sizeof *m + head->size);
    if (m == NULL)
        PANIC("out of memory");
    *m = *head;
    list_init(&m->link);
    if (head->size > 0)
        memcpy(m->bytes, body, head->size);
    if (conn->open)
        message_send(conn, m);
    else
        list_push(&conn->outbox, &m->link);
    return 0;
}

/* The end of a connection */

static void conn_free(struct sim_event *ev)
{
    free(CONTAINER_OF(ev, struct rpc_conn, step));
}

static void conn_end(struct rpc_conn *conn)
{
    struct err closed = conn->why;
    conn->closed = true;
    closed.code = ERR_CLOSED;
    if (conn->other != NULL) { /* a message or an event notifies it */
        conn->other->other = NULL;
        conn->other = NULL;
    }
    inbox_drop(conn, /* held_only= */ false);
    for (struct list *l; (l = list_pop(&conn->outbox)) != NULL;)
        free(CONTAINER_OF(l, struct message, link));
    event_cancel(&conn->timer);
    event_cancel(&conn->drained);
    for (struct list *l; (l = list_pop(&conn->calls)) != NULL;)
        CONTAINER_OF(l, struct rpc_call, link)->conn = NULL;
    for (struct list *l; (l = list_pop(&conn->pending)) != NULL;) {
        struct rpc_pending *pending = CONTAINER_OF(l, struct rpc_pending, link);
        pending->cb(pending->data, &closed, NULL, 0);
        free(pending);
    }
    /* a listener hands out only open connections */
    bool known = conn->server == NULL || conn->open;
    if (known && conn->options.on_close != NULL)
        conn->options.on_close(conn, &conn->why);
    list_remove(&conn->server_link);
    list_remove(&conn->link);
    conn->step.fire = conn_free;
    conn->step.kind = EVENT_RAW;
    event_in(&conn->step, 0);
}

static void world_rpc_on_step_end(struct sim_event *ev)
{
    conn_end(CONTAINER_OF(ev, struct rpc_conn, step));
}

/* The end learns after `us` that the other end is gone. */
static void conn_lose(struct rpc_conn *conn, uint64_t us, const char *why)
{
    conn->other = NULL;
    inbox_drop(conn, /* held_only= */ true);
    if (conn->closing || conn->closed)
        return;
    err_set(&conn->why, ERR_CLOSED, "%s: %s", conn->peer_address, why);
    conn->step.fire = world_rpc_on_step_end;
    conn->step.kind = EVENT_IO;
    event_at(&conn->step, MAX(conn->last_at_us, the_world_now_us + us));
}

void rpc_close(struct rpc_conn *conn)
{
    if (conn->closing || conn->closed)
        return;
    struct message *m = xcalloc(1, sizeof *m);
    m->kind = MESSAGE_CLOSE;
    list_init(&m->link);
    message_send(conn, m);
    conn->closing = true;
    if (conn->why.code == ERR_OK)
        err_set(&conn->why, ERR_CLOSED, "%s: closed by us", conn->peer_address);
    conn->step.fire = world_rpc_on_step_end;
    conn->step.kind = EVENT_IO;
    event_in(&conn->step, 1 + world_random(CLOSE_US));
}

void node_conns_forget(struct node *n)
{
    bool power = world_chance(POWER_OF_100, 100);
    LIST_EACH(l, &n->conns)
    {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, link);
        struct rpc_conn *other = conn->other;
        if (other == NULL)
            continue;
        uint64_t us = net_delay_us(n, other->node);
        if (power || net_blocked(n, other->node))
            us = world_random(LOST_MS_MAX * UINT64_C(1000));
        other->other = NULL;
        conn_lose(other, us, "connection reset by peer");
    }
    list_init(&n->conns);
    list_init(&n->listeners);
}

void rpc_on_unblocked(struct node *from, struct node *to)
{
    LIST_EACH(l, &to->conns)
    {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, link);
        uint64_t us = conn->other_node == from ? world_random(RESEND_US) : 0;
        if (conn->other_node != from)
            continue;
        LIST_EACH(k, &conn->inbox)
        {
            struct message *m = CONTAINER_OF(k, struct message, link);
            if (m->held)
                message_schedule(m, us);
        }
    }
}

static bool conn_holds(const struct rpc_conn *conn)
{
    return conn->other != NULL && !list_empty(&conn->other->inbox) &&
           CONTAINER_OF(conn->other->inbox.prev, struct message, link)->held;
}

void rpc_on_stuck(struct node *a, struct node *b, bool idle_too)
{
    LIST_EACH(l, &a->conns)
    {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, link);
        struct rpc_conn *other = conn->other;
        if (conn->other_node != b || other == NULL || (!idle_too && !conn_holds(conn)))
            continue;
        conn_lose(other, idle_too ? 0 : world_random(LOST_MS_MAX * UINT64_C(1000)), "timed out");
        conn_lose(conn, 0, "timed out");
    }
    if (!idle_too)
        return;
    LIST_EACH(l, &b->conns) /* closed by the other end without a possible notice */
    {
        struct rpc_conn *conn = CONTAINER_OF(l, struct rpc_conn, link);
        if (conn->other_node == a && conn->other == NULL && conn->open)
            conn_lose(conn, 0, "timed out");
    }
}

/* Serving */

static void rpc_answer(struct rpc_conn *conn, uint64_t id, const struct err *refusal,
                       const void *body, size_t size)
{
    struct err err;
    struct message m = {.kind = MESSAGE_ANSWER, .id = id, .size = size};
    if (refusal != NULL) {
        m.code = (uint32_t)refusal->code;
        m.size = strlen(refusal->msg);
        body = refusal->msg;
    }
    int rc = rpc_send(conn, &m, body, &err);
    if (rc == -ERR_LIMIT)
        rpc_close(conn);
}

static const struct rpc_method *method_find(const struct rpc_conn *conn, uint32_t id)
{
    for (size_t i = 0; i < conn->options.method_count; i++)
        if (conn->options.methods[i].id == id)
            return &conn->options.methods[i];
    return NULL;
}

static int rpc_admit(struct rpc_conn *conn, const struct message *m, const struct rpc_method **ret,
                     struct err *err)
{
    *ret = method_find(conn, m->method);
    if (*ret == NULL)
        return err_set(err, ERR_NOT_FOUND, "this program does not serve method %" PRIu32,
                       m->method);
    if (((*ret)->roles & BIT(conn->peer.role)) == 0) {
        log_warn("rpc.denied peer=%s method=%s", identity_text(&conn->peer).text,
                 wire_method_text((*ret)->id));
        return err_set(err, ERR_DENIED, "%s may not call %s", identity_text(&conn->peer).text,
                       wire_method_text((*ret)->id));
    }
    if (m->kind == MESSAGE_CALL && conn->call_count >= RPC_CALLS_MAX)
        return err_set(err, ERR_LIMIT, "%d calls of this connection wait already, the limit",
                       RPC_CALLS_MAX);
    return 0;
}

static void rpc_serve(struct rpc_conn *conn, const struct message *m)
{
    const struct rpc_method *method;
    struct err err;
    int rc = rpc_admit(conn, m, &method, &err);
    if (m->kind == MESSAGE_NOTICE) {
        if (rc == 0 && (method->roles & ROLE_MAY_NOTIFY) != 0)
            method->handler(conn, NULL, m->bytes, m->size);
        else if (rc != -ERR_NOT_FOUND)
            rpc_close(conn);
        return;
    }
    if (rc != 0) {
        rpc_answer(conn, m->id, &err, NULL, 0);
        return;
    }
    struct rpc_call *call = xcalloc(1, sizeof *call);
    call->conn = conn;
    call->id = m->id;
    list_push(&conn->calls, &call->link);
    conn->call_count++;
    method->handler(conn, call, m->bytes, m->size);
}

static void pending_end(struct rpc_conn *conn, struct rpc_pending *pending, const struct err *err,
                        const void *body, size_t size)
{
    rpc_answer_cb cb = pending->cb;
    void *data = pending->data;
    list_remove(&pending->link);
    conn->pending_count--;
    free(pending);
    cb(data, err, body, size);
}

static void rpc_take_answer(struct rpc_conn *conn, const struct message *m)
{
    struct err err;
    LIST_EACH(l, &conn->pending)
    {
        struct rpc_pending *pending = CONTAINER_OF(l, struct rpc_pending, link);
        if (pending->id != m->id)
            continue;
        if (m->code != 0)
            err_set(&err, (enum err_code)m->code, "%.*s", (int)m->size, m->bytes);
        pending_end(conn, pending, m->code != 0 ? &err : NULL, m->bytes,
                    m->code != 0 ? 0 : m->size);
        return;
    }
}

static void sender_drain(struct rpc_conn *conn, size_t bytes)
{
    conn->queued -= MIN(bytes, conn->queued);
    if (conn->on_drain != NULL && conn->queued <= conn->drain_bytes && !event_set(&conn->drained))
        event_in(&conn->drained, 0);
}

static void message_arrive(struct sim_event *ev)
{
    struct message *m = CONTAINER_OF(ev, struct message, ev);
    struct rpc_conn *conn = m->to;
    list_remove(&m->link);
    if (conn->other != NULL)
        sender_drain(conn->other, m->size + MESSAGE_HEAD_BYTES);
    if (conn->open && !conn->closing && !conn->closed) { /* not open: lost before it was open */
        switch (m->kind) {
        case MESSAGE_CLOSE:
            err_set(&conn->why, ERR_CLOSED, "%s: closed by the peer", conn->peer_address);
            event_cancel(&conn->step);
            conn_end(conn);
            break;
        case MESSAGE_ANSWER:
            rpc_take_answer(conn, m);
            break;
        case MESSAGE_CALL:
        case MESSAGE_NOTICE:
            rpc_serve(conn, m);
            break;
        }
    }
    free(m);
}

/* Connecting and listening */

static void world_rpc_on_timer(struct sim_event *ev)
{
    struct rpc_conn *conn = CONTAINER_OF(ev, struct rpc_conn, timer);
    while (!conn->closing && !list_empty(&conn->pending)) {
        struct rpc_pending *first = CONTAINER_OF(conn->pending.next, struct rpc_pending, link);
        struct err err;
        if (first->deadline_us > the_world_now_us) {
            if (first->deadline_us != UINT64_MAX)
                event_at(&conn->timer, first->deadline_us);
            return;
        }
        err_set(&err, ERR_TIMEOUT, "%s: no answer in time", conn->peer_address);
        pending_end(conn, first, &err, NULL, 0);
    }
}

static void world_rpc_on_drained(struct sim_event *ev)
{
    struct rpc_conn *conn = CONTAINER_OF(ev, struct rpc_conn, drained);
    void (*cb)(struct rpc_conn *) = conn->on_drain;
    conn->on_drain = NULL;
    if (cb != NULL && !conn->closing)
        cb(conn);
}

static struct rpc_conn *conn_new(struct node *n, const struct rpc_options *options,
                                 struct node *other_node)
{
    struct rpc_conn *conn = xcalloc(1, sizeof *conn);
    conn->node = n;
    conn->other_node = other_node;
    conn->options = *options;
    conn->data = options->data;
    conn->id_next = 1;
    conn->step = (struct sim_event){.node = n};
    conn->timer = (struct sim_event){.node = n, .fire = world_rpc_on_timer, .kind = EVENT_TIMER};
    conn->drained = (struct sim_event){.node = n, .fire = world_rpc_on_drained, .kind = EVENT_IO};
    list_init(&conn->server_link);
    list_init(&conn->inbox);
    list_init(&conn->outbox);
    list_init(&conn->pending);
    list_init(&conn->calls);
    list_push(&n->conns, &conn->link);
    return conn;
}

static void conn_fail(struct rpc_conn *conn, uint64_t us, enum err_code code, const char *why)
{
    err_set(&conn->why, code, "%s: %s", conn->peer_address, why);
    conn->step.fire = world_rpc_on_step_end;
    conn->step.kind = EVENT_IO;
    event_in(&conn->step, us);
}

static void world_rpc_on_step_open(struct sim_event *ev)
{
    struct rpc_conn *conn = CONTAINER_OF(ev, struct rpc_conn, step);
    const struct identity *expect = &conn->expect;
    if (conn->server == NULL && expect->role != ROLE_NONE &&
        (expect->role != conn->peer.role ||
         (expect->name[0] != '\0' && strcmp(expect->name, conn->peer.name) != 0))) {
        err_set(&conn->why, ERR_DENIED, "%s: the peer is %s, expected was %s", conn->peer_address,
                identity_text(&conn->peer).text, identity_text(expect).text);
        rpc_close(conn);
        return;
    }
    conn->open = true;
    for (struct list *l; (l = list_pop(&conn->outbox)) != NULL;)
        message_send(conn, CONTAINER_OF(l, struct message, link));
    if (conn->options.on_open != NULL)
        conn->options.on_open(conn);
}

static struct rpc_server *server_at(const struct node *n, const char *address)
{
    LIST_EACH(l, &n->listeners)
    {
        struct rpc_server *server = CONTAINER_OF(l, struct rpc_server, link);
        if (strcmp(server->address, address) == 0)
            return server;
    }
    return NULL;
}

/* The first packet has arrived at the other node. */
static void world_rpc_on_step_knock(struct sim_event *ev)
{
    struct rpc_conn *conn = CONTAINER_OF(ev, struct rpc_conn, step);
    struct node *n = conn->node, *to = conn->other_node;
    struct rpc_server *server = server_at(to, conn->peer_address);
    if (net_blocked(n, to) || net_blocked(to, n) || to->stalled_until_us > the_world_now_us) {
        conn_fail(conn, STREAM_CONNECT_TIMEOUT_MS * UINT64_C(1000), ERR_TIMEOUT, "no connection");
        return;
    }
    if (!to->up || server == NULL) {
        conn_fail(conn, net_delay_us(to, n), ERR_UNAVAILABLE, "connection refused");
        return;
    }
    struct rpc_conn *end = conn_new(to, &server->options, n);
    end->server = server;
    list_push(&server->conns, &end->server_link);
    end->peer = conn->options.tls->identity;
    conn->peer = server->options.tls->identity;
    snprintf(end->peer_address, sizeof end->peer_address, "%s:9", n->name);
    end->other = conn;
    conn->other = end;
    struct rpc_conn *both[] = {end, conn};
    for (int i = 0; i < 2; i++) {
        both[i]->step.fire = world_rpc_on_step_open;
        both[i]->step.kind = EVENT_IO;
        event_in(&both[i]->step, 2 * net_delay_us(n, to));
        both[i]->last_at_us = both[i]->step.at_us;
    }
}

int rpc_connect(const struct rpc_options *options, const char *address,
                const struct identity *expect, struct rpc_conn **ret, struct err *err)
{
    char name[CELL_ADDR_MAX + 1];
    str_copy(name, sizeof name, address);
    char *colon = strrchr(name, ':');
    if (colon != NULL)
        *colon = '\0';
    struct node *n = CONTAINER_OF(options->loop, struct node, loop), *to = world_node(name);
    if (colon == NULL || to == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: no such host", address);
    struct rpc_conn *conn = conn_new(n, options, to);
    str_copy(conn->peer_address, sizeof conn->peer_address, address);
    conn->expect = expect != NULL ? *expect : (struct identity){.role = ROLE_MASTER};
    conn->step.fire = world_rpc_on_step_knock;
    conn->step.kind = EVENT_RAW;
    event_in(&conn->step, net_delay_us(n, to));
    *ret = conn;
    return 0;
}

int rpc_listen(const struct rpc_options *options, const char *address, struct rpc_server **ret,
               struct err *err)
{
    struct node *n = CONTAINER_OF(options->loop, struct node, loop);
    if (server_at(n, address) != NULL)
        return err_set(err, ERR_STATE, "cannot listen on %s: address already in use", address);
    struct rpc_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    str_copy(server->address, sizeof server->address, address);
    list_init(&server->conns);
    list_push(&n->listeners, &server->link);
    *ret = server;
    return 0;
}

const char *rpc_server_address(const struct rpc_server *server)
{
    return server->address;
}

void rpc_server_close(struct rpc_server *server)
{
    list_remove(&server->link); /* leaked: the process ends soon */
    LIST_EACH(l, &server->conns)
    rpc_close(CONTAINER_OF(l, struct rpc_conn, server_link));
}

const struct identity *rpc_peer(const struct rpc_conn *conn)
{
    return &conn->peer;
}

const char *rpc_peer_address(const struct rpc_conn *conn)
{
    return conn->peer_address;
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
    return conn->closed ? 0 : conn->queued;
}

void rpc_on_drain(struct rpc_conn *conn, void (*cb)(struct rpc_conn *conn))
{
    if (conn->closing || conn->closed)
        return;
    conn->on_drain = cb;
    conn->drain_bytes = conn->queued / 2;
    if (conn->queued == 0)
        event_in(&conn->drained, 0);
}

/* Calls */

static void pending_add(struct rpc_conn *conn, struct rpc_pending *pending)
{
    struct list *before = conn->pending.prev;
    while (before != &conn->pending &&
           CONTAINER_OF(before, struct rpc_pending, link)->deadline_us > pending->deadline_us)
        before = before->prev;
    list_push(before->next, &pending->link);
    conn->pending_count++;
    if (before == &conn->pending && pending->deadline_us != UINT64_MAX)
        event_at(&conn->timer, pending->deadline_us);
}

int rpc_request(struct rpc_conn *conn, uint32_t method, const void *body, size_t size,
                uint64_t timeout_ms, rpc_answer_cb cb, void *data, struct err *err)
{
    struct message m = {.kind = MESSAGE_CALL, .id = conn->id_next, .method = method, .size = size};
    if (conn->pending_count >= RPC_CALLS_MAX)
        return err_set(err, ERR_LIMIT, "%s: %d calls without an answer, the limit",
                       conn->peer_address, RPC_CALLS_MAX);
    int rc = rpc_send(conn, &m, body, err);
    if (rc != 0)
        return rc;
    struct rpc_pending *pending = xcalloc(1, sizeof *pending);
    pending->id = conn->id_next++;
    pending->deadline_us = timeout_ms == 0 ? UINT64_MAX : the_world_now_us + timeout_ms * 1000;
    pending->cb = cb;
    pending->data = data;
    pending_add(conn, pending);
    return 0;
}

int rpc_notify(struct rpc_conn *conn, uint32_t method, const void *body, size_t size)
{
    struct message m = {.kind = MESSAGE_NOTICE, .method = method, .size = size};
    return rpc_send(conn, &m, body, NULL);
}

static void rpc_call_end(struct rpc_call *call, const struct err *refusal, const void *body,
                         size_t size)
{
    if (call == NULL)
        return; /* it was a notice: no caller waits */
    struct rpc_conn *conn = call->conn;
    uint64_t id = call->id;
    list_remove(&call->link);
    free(call);
    if (conn == NULL || conn->closing)
        return;
    conn->call_count--;
    rpc_answer(conn, id, refusal, body, size);
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
