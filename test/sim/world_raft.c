/*
 * world_raft.c - the raft_io of the library without libuv: messages and ticks.
 *
 * The library has a TCP connection per direction between two replicas: messages arrive in order,
 * and messages in flight are lost when it breaks. While a direction is blocked they are held, and
 * arrive together if it opens within the time that TCP waits. At most three are queued for a
 * replica that is down. net_raft_trouble() is worse than TCP; the library must tolerate it too.
 */
#include "world_raft.h"

#include "raftlog_transport.h"

#include <raft/uv.h>
#include <stdlib.h>
#include <string.h>

enum {
    SENT_US = 30,          /* until the library learns that it may free what it sent */
    KERNEL_BYTES = 262144, /* the amount that a connection accepts before it waits */
    QUEUE_DOWN = 3,        /* uv_send.c queues this many for a replica without connection */
    RESEND_US = 300000,
    RECONNECT_US = 100000,
    LATE_US = 2000000, /* delay of a duplicate, or of a message that was overtaken */
    BYTES_PER_US = 100,
    WORK_US = 20000,
    CLOSE_LOOK_US = 500,
};

struct packet {
    struct sim_event ev;
    struct list link; /* in way.held */
    struct node *from, *to;
    struct raft_io_send *req; /* NULL when it has ended; it has not while too much data waits */
    size_t bytes;
    struct raft_message message; /* owns its memory */
};

struct way {
    struct list held; /* in order */
    unsigned held_count;
    size_t held_bytes;
    uint64_t last_at_us;
};

static struct way ways[NODES_MAX][NODES_MAX];

static struct way *way_of(const struct node *from, const struct node *to)
{
    struct way *way = &ways[from->number][to->number];
    if (way->held.next == NULL)
        list_init(&way->held);
    return way;
}

/* Messages that own their memory */

static void *copy_bytes(const void *bytes, size_t size)
{
    void *copy = raft_malloc(MAX(size, (size_t)1));
    if (copy == NULL)
        PANIC("out of memory");
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static size_t entries_copy(struct raft_append_entries *args)
{
    const struct raft_entry *from = args->entries;
    size_t size = 0;
    if (args->n_entries == 0) {
        args->entries = NULL;
        return 0;
    }
    struct raft_entry *to = copy_bytes(from, args->n_entries * sizeof *from);
    for (unsigned i = 0; i < args->n_entries; i++)
        size += from[i].buf.len;
    char *batch = raft_malloc(MAX(size, (size_t)1));
    if (batch == NULL)
        PANIC("out of memory");
    size_t at = 0;
    for (unsigned i = 0; i < args->n_entries; i++) {
        memcpy(batch + at, from[i].buf.base, from[i].buf.len);
        to[i].buf.base = batch + at;
        to[i].batch = batch;
        at += from[i].buf.len;
    }
    args->entries = to;
    return size;
}

static size_t snapshot_copy(struct raft_install_snapshot *args)
{
    struct raft_configuration conf = args->conf;
    raft_configuration_init(&args->conf);
    for (unsigned i = 0; i < conf.n; i++)
        ASSERT(raft_configuration_add(&args->conf, conf.servers[i].id, conf.servers[i].address,
                                      conf.servers[i].role) == 0);
    args->data.base = copy_bytes(args->data.base, args->data.len);
    return args->data.len;
}

static size_t message_own(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES)
        return entries_copy(&m->append_entries);
    if (m->type == RAFT_IO_INSTALL_SNAPSHOT)
        return snapshot_copy(&m->install_snapshot);
    return 0;
}

static void message_release(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries > 0) {
        raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    } else if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
    }
}

/* Sends that have ended, reported in the next turn */

static void world_raft_on_ended(struct sim_event *ev)
{
    struct raft_world_io *w = CONTAINER_OF(ev, struct raft_world_io, ended_ev);
    struct raft_ended *ended = w->ended;
    size_t count = w->ended_count;
    w->ended = NULL; /* the callbacks may send again */
    w->ended_count = w->ended_capacity = 0;
    for (size_t i = 0; i < count; i++)
        ended[i].req->cb(ended[i].req, ended[i].status);
    if (w->ended == NULL) {
        w->ended = ended;
        w->ended_capacity = count;
    } else {
        free(ended);
    }
}

static void send_ended(struct raft_world_io *w, struct raft_io_send *req, int status)
{
    if (w->ended_count == w->ended_capacity) {
        w->ended_capacity = MAX((size_t)16, w->ended_capacity * 2);
        w->ended = xrealloc(w->ended, w->ended_capacity, sizeof *w->ended);
    }
    w->ended[w->ended_count++] = (struct raft_ended){req, status};
    if (!event_set(&w->ended_ev))
        event_in(&w->ended_ev, SENT_US);
}

static void packet_end(struct packet *p, int status)
{
    if (p->req != NULL && p->from->raft != NULL)
        send_ended(p->from->raft, p->req, status);
    p->req = NULL;
}

static void packet_free(struct packet *p)
{
    message_release(&p->message);
    free(p);
}

static void packet_drop(struct packet *p, int status)
{
    packet_end(p, status);
    packet_free(p);
}

/* Messages in flight */

static void packet_arrive(struct sim_event *ev)
{
    struct packet *p = CONTAINER_OF(ev, struct packet, ev);
    struct raft_world_io *w = p->to->raft;
    if (w == NULL || !w->started || w->closing) {
        packet_free(p);
        return;
    }
    struct raft_message m = p->message;
    free(p);
    w->recv(w->io, &m); /* owns the data that it carries */
}

static void packet_go(struct packet *p, uint64_t us)
{
    struct way *way = way_of(p->from, p->to);
    uint64_t at_us = the_world_now_us + us + net_delay_us(p->from, p->to) + p->bytes / BYTES_PER_US;
    packet_end(p, 0);
    if (world_chance(net_raft()->overtaken, 10000)) {
        event_at(&p->ev, at_us + world_random(LATE_US));
        return;
    }
    way->last_at_us = MAX(way->last_at_us, at_us);
    event_at(&p->ev, way->last_at_us);
}

static struct packet *packet_new(struct node *from, struct node *to, const struct raft_message *m)
{
    struct packet *p = malloc(sizeof *p);
    if (p == NULL)
        PANIC("out of memory");
    *p = (struct packet){.from = from, .to = to, .message = *m};
    p->ev = (struct sim_event){.node = to, .fire = packet_arrive, .kind = EVENT_IO};
    p->bytes = message_own(&p->message);
    return p;
}

static void packet_hold(struct way *way, struct packet *p)
{
    list_init(&p->link);
    list_push(&way->held, &p->link);
    way->held_count++;
    way->held_bytes += p->bytes;
    if (way->held_bytes <= KERNEL_BYTES)
        packet_end(p, 0);
}

static struct packet *packet_unhold(struct way *way)
{
    struct list *l = list_pop(&way->held);
    if (l == NULL)
        return NULL;
    struct packet *p = CONTAINER_OF(l, struct packet, link);
    way->held_count--;
    way->held_bytes -= p->bytes;
    return p;
}

static void way_release(struct node *from, struct node *to, uint64_t us)
{
    struct way *way = way_of(from, to);
    uint64_t wait_us = world_random(us);
    for (struct packet *p; (p = packet_unhold(way)) != NULL;)
        packet_go(p, wait_us);
}

void raft_on_unblocked(struct node *from, struct node *to)
{
    if (to->raft != NULL && to->raft->started)
        way_release(from, to, RESEND_US);
}

void raft_on_stuck(struct node *from, struct node *to)
{
    struct way *way = way_of(from, to);
    for (struct packet *p; (p = packet_unhold(way)) != NULL;)
        packet_drop(p, RAFT_IOERR);
}

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                   raft_io_send_cb cb)
{
    struct raft_world_io *w = io->impl;
    const struct net_raft *trouble = net_raft();
    struct node *to = message->server_id <= RAFT_NODES_MAX
                          ? world_replica_node((unsigned)message->server_id - 1)
                          : NULL;
    req->cb = cb;
    if (to == NULL || world_chance(trouble->lost, 10000)) {
        send_ended(w, req, to == NULL ? RAFT_NOCONNECTION : 0);
        return 0;
    }
    struct raft_message m = *message;
    m.server_id = w->id; /* the receiver sees the sender */
    m.server_address = w->address;
    struct packet *p = packet_new(w->node, to, &m);
    struct way *way = way_of(w->node, to);
    bool down = to->raft == NULL || !to->raft->started;
    p->req = req;
    if (down && way->held_count >= QUEUE_DOWN)
        packet_drop(packet_unhold(way), RAFT_NOCONNECTION);
    if (down || net_blocked(w->node, to) || way->held_count > 0) {
        packet_hold(way, p);
        return 0;
    }
    if (world_chance(trouble->doubled, 10000)) {
        struct packet *copy = packet_new(w->node, to, &m);
        event_in(&copy->ev, world_random(LATE_US));
    }
    packet_go(p, 0);
    return 0;
}

/* After a crash its messages are still in flight, but their sender gets no callback; connections to
 * it are gone. */
void node_raft_forget(struct node *n)
{
    if (n->replica < 0)
        return;
    n->raft = NULL;
    for (unsigned i = 0; i < RAFT_NODES_MAX; i++) {
        struct node *other = world_replica_node(i);
        if (other == NULL || other == n)
            continue;
        LIST_EACH(l, &way_of(n, other)->held)
        CONTAINER_OF(l, struct packet, link)->req = NULL;
        raft_on_stuck(other, n);
    }
}

/* Ticks and other methods */

static void world_raft_on_tick(uv_timer_t *timer)
{
    struct raft_world_io *w = timer->data;
    w->tick(w->io);
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct raft_world_io *w = io->impl;
    w->tick = tick;
    w->recv = recv;
    w->started = true;
    for (unsigned i = 0; i < RAFT_NODES_MAX; i++) {
        struct node *other = world_replica_node(i);
        if (other != NULL && other != w->node && !net_blocked(other, w->node))
            way_release(other, w->node, RECONNECT_US);
    }
    return uv_timer_start(&w->timer, world_raft_on_tick, msecs, msecs);
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    struct raft_world_io *w = io->impl;
    w->id = id;
    str_copy(w->address, sizeof w->address, address);
    uv_timer_init(&w->node->loop, &w->timer);
    w->timer.data = w;
    w->ended_ev =
        (struct sim_event){.node = w->node, .fire = world_raft_on_ended, .kind = EVENT_IO};
    disk_open(w);
    w->node->raft = w;
    return 0;
}

/* Wait for the unfinished write. */
static void world_raft_on_close_look(struct sim_event *ev)
{
    struct raft_world_io *w = CONTAINER_OF(ev, struct raft_world_io, close_ev);
    if (disk_idle(w))
        w->close_cb(w->io);
    else
        event_in(ev, CLOSE_LOOK_US);
}

static void world_raft_on_closed(uv_handle_t *handle)
{
    struct raft_world_io *w = handle->data;
    w->close_ev =
        (struct sim_event){.node = w->node, .fire = world_raft_on_close_look, .kind = EVENT_IO};
    event_in(&w->close_ev, 0);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct raft_world_io *w = io->impl;
    w->closing = true;
    w->close_cb = cb;
    disk_close(w);
    uv_close((uv_handle_t *)&w->timer, world_raft_on_closed);
}

static raft_time io_time(struct raft_io *io)
{
    struct raft_world_io *w = io->impl;
    return uv_now(&w->node->loop);
}

static int io_random(struct raft_io *io, int min, int max)
{
    (void)io;
    return min + (int)world_random((uint64_t)(max - min));
}

struct io_work {
    struct sim_event ev;
    struct raft_io_async_work *req;
    int status;
};

static void world_raft_on_work_done(struct sim_event *ev)
{
    struct io_work *work = CONTAINER_OF(ev, struct io_work, ev);
    struct raft_io_async_work *req = work->req;
    int status = work->status;
    free(work);
    req->cb(req, status);
}

static void world_raft_on_work(struct sim_event *ev)
{
    struct io_work *work = CONTAINER_OF(ev, struct io_work, ev);
    work->status = work->req->work(work->req);
    ev->fire = world_raft_on_work_done;
    ev->kind = EVENT_IO;
    event_in(ev, world_random(SENT_US));
}

static int io_async_work(struct raft_io *io, struct raft_io_async_work *req,
                         raft_io_async_work_cb cb)
{
    struct raft_world_io *w = io->impl;
    struct io_work *work = xcalloc(1, sizeof *work);
    work->ev = (struct sim_event){.node = w->node, .fire = world_raft_on_work, .kind = EVENT_RAW};
    work->req = req;
    req->cb = cb;
    event_in(&work->ev, 1 + world_random(WORK_US));
    return 0;
}

int raft_uv_init(struct raft_io *io, struct uv_loop_s *loop, const char *dir,
                 struct raft_uv_transport *transport)
{
    struct raft_world_io *w = xcalloc(1, sizeof *w);
    (void)dir;
    (void)transport;
    w->io = io;
    w->node = CONTAINER_OF(loop, struct node, loop);
    *io = (struct raft_io){.data = io->data,
                           .impl = w,
                           .init = io_init,
                           .close = io_close,
                           .start = io_start,
                           .send = io_send,
                           .time = io_time,
                           .random = io_random,
                           .async_work = io_async_work};
    return 0;
}

void raft_uv_close(struct raft_io *io)
{
    struct raft_world_io *w = io->impl;
    if (w->node->raft == w)
        node_raft_forget(w->node);
    node_disk_forget(w->node);
    event_cancel(&w->ended_ev);
}

void raft_uv_set_connect_retry_delay(struct raft_io *io, unsigned msecs)
{
    (void)io;
    (void)msecs;
}

void raft_uv_set_auto_recovery(struct raft_io *io, bool flag)
{
    (void)io;
    (void)flag;
}

/* It is not used: messages go through the world. */
void raftlog_transport_init(struct raftlog_transport *t, uv_loop_t *loop, struct tls_context *tls,
                            bool (*may_connect)(void *data, uint64_t id, const char *address),
                            void *data)
{
    (void)loop;
    (void)tls;
    (void)may_connect;
    (void)data;
    *t = (struct raftlog_transport){.uv = {.data = NULL}};
}
