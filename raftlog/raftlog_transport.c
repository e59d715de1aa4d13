/*
 * raftlog_transport.c - links between the library's streams and TLS streams.
 *
 * A link lives until its stream has called on_close and its pipe is closed; the end of one side
 * ends the other. Bytes wait in bounded queues only: when the stream's queue is half full the pipe
 * is not read, and when the pipe's is half full the stream is paused. The guard bounds the data
 * that accumulates in the library's end of the pipe (G10).
 */
#include "raftlog_transport.h"

#include "clock.h"
#include "log.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HELLO_MAGIC = 0x42524c31 /* "BRL1" */, HELLO_HEAD_BYTES = 14 };
enum { HELLO_BYTES_MAX = HELLO_HEAD_BYTES + CELL_ADDR_MAX };

struct link {
    struct list link;
    struct raftlog_transport *transport;
    struct stream *stream;           /* NULL after its on_close */
    struct raft_uv_connect *connect; /* the library waits for this connection */
    uint64_t peer;
    uint64_t opened_ms;
    bool outgoing;
    bool ready;      /* the library has its end of the pipe */
    bool inner_open; /* `inner` is a handle of the loop */
    bool inner_paused;
    bool stream_paused;
    bool closing;
    uv_pipe_t inner;
    unsigned char hello[HELLO_BYTES_MAX];
    size_t hello_size;               /* received bytes of it */
    char address[CELL_ADDR_MAX + 1]; /* incoming and ready: the address that the peer sent */
};

/* Bytes being written to the pipe. */
struct chunk {
    uv_write_t req;
    struct link *link;
    char bytes[];
};

static void transport_maybe_closed(struct raftlog_transport *t)
{
    if (!t->closing || t->sweep_open || !list_empty(&t->links) || t->close_cb == NULL)
        return;
    raft_uv_transport_close_cb cb = t->close_cb;
    t->close_cb = NULL;
    cb(&t->uv);
}

static void link_maybe_free(struct link *l)
{
    struct raftlog_transport *t = l->transport;
    if (!l->closing || l->stream != NULL || l->inner_open)
        return;
    list_remove(&l->link);
    free(l);
    transport_maybe_closed(t);
}

static void link_on_inner_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;
    l->inner_open = false;
    link_maybe_free(l);
}

static void link_close(struct link *l)
{
    if (l->closing)
        return;
    l->closing = true;
    if (l->connect != NULL) {
        struct raft_uv_connect *req = l->connect;
        l->connect = NULL;
        req->cb(req, NULL, l->transport->closing ? RAFT_CANCELED : RAFT_NOCONNECTION);
    }
    if (l->inner_open)
        uv_close((uv_handle_t *)&l->inner, link_on_inner_closed);
    if (l->stream != NULL)
        stream_close(l->stream);
    link_maybe_free(l);
}

static void link_refuse(struct link *l, const char *reason)
{
    log_warn("raft_link.refused peer=%s reason=%s", stream_peer_address(l->stream),
             log_quoted(reason));
    link_close(l);
}

static void transport_on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct link *l = handle->data;
    (void)size;
    *buf = uv_buf_init(l->transport->read_buf, sizeof l->transport->read_buf);
}

static void link_on_inner_read(uv_stream_t *inner, ssize_t size, const uv_buf_t *buf)
{
    struct link *l = inner->data;
    if (size == 0 || l->closing)
        return;
    if (size < 0 || stream_write(l->stream, buf->base, (size_t)size) != 0) {
        link_close(l);
        return;
    }
    if (stream_queued(l->stream) > TRANSPORT_QUEUE_BYTES_MAX / 2) {
        uv_read_stop(inner);
        l->inner_paused = true;
    }
}

static void link_on_drain(struct stream *s, void *data)
{
    struct link *l = data;
    (void)s;
    if (l->closing || !l->inner_paused)
        return;
    l->inner_paused = false;
    if (uv_read_start((uv_stream_t *)&l->inner, transport_on_alloc, link_on_inner_read) != 0)
        link_close(l);
}

static void link_on_written(uv_write_t *req, int status)
{
    struct chunk *c = (struct chunk *)req;
    struct link *l = c->link;
    free(c);
    if (l->closing)
        return;
    if (status < 0) {
        link_close(l);
    } else if (l->stream_paused && l->inner.write_queue_size < TRANSPORT_QUEUE_BYTES_MAX / 4) {
        l->stream_paused = false;
        stream_resume(l->stream);
    }
}

/* Pass bytes from the other replica to the library. */
static int link_push(struct link *l, const char *bytes, size_t size)
{
    uv_stream_t *inner = (uv_stream_t *)&l->inner;
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)size);
    if (inner->write_queue_size == 0) {
        int written = uv_try_write(inner, &buf, 1);
        if (written < 0 && written != UV_EAGAIN)
            return written;
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    if (size == 0)
        return 0;
    struct chunk *c = xcalloc(1, sizeof *c + size);
    c->link = l;
    memcpy(c->bytes, bytes, size);
    buf = uv_buf_init(c->bytes, (unsigned)size);
    int rv = uv_write(&c->req, inner, &buf, 1, link_on_written);
    if (rv != 0) {
        free(c);
        return rv;
    }
    if (inner->write_queue_size > TRANSPORT_QUEUE_BYTES_MAX / 2 && !l->stream_paused) {
        l->stream_paused = true;
        stream_pause(l->stream);
    }
    return 0;
}

/* Create the pipe; *ret is the library's end, which the library frees with raft_free(). */
static int link_make_pipe(struct link *l, uv_stream_t **ret)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return -errno;
    uv_pipe_t *theirs = raft_malloc(sizeof *theirs);
    if (theirs == NULL)
        PANIC("out of memory");
    /* Neither call can fail: the descriptors are new sockets. */
    ASSERT(uv_pipe_init(l->transport->loop, theirs, 0) == 0);
    ASSERT(uv_pipe_init(l->transport->loop, &l->inner, 0) == 0);
    ASSERT(uv_pipe_open(theirs, fds[0]) == 0);
    ASSERT(uv_pipe_open(&l->inner, fds[1]) == 0);
    l->inner.data = l;
    l->inner_open = true;
    l->ready = true;
    ASSERT(uv_read_start((uv_stream_t *)&l->inner, transport_on_alloc, link_on_inner_read) == 0);
    *ret = (uv_stream_t *)theirs;
    return 0;
}

static size_t hello_pack(const struct raftlog_transport *t, unsigned char hello[HELLO_BYTES_MAX])
{
    uint32_t magic = htobe32(HELLO_MAGIC);
    uint64_t id = htobe64(t->id);
    size_t size = strlen(t->address);
    uint16_t size_be = htobe16((uint16_t)size);
    memcpy(hello, &magic, 4);
    memcpy(hello + 4, &id, 8);
    memcpy(hello + 12, &size_be, 2);
    memcpy(hello + HELLO_HEAD_BYTES, t->address, size);
    return HELLO_HEAD_BYTES + size;
}

/* Outgoing connection: TLS is established and the peer is the expected one. */
static void link_on_open(struct stream *s, void *data)
{
    struct link *l = data;
    unsigned char hello[HELLO_BYTES_MAX];
    uv_stream_t *theirs = NULL;
    size_t size = hello_pack(l->transport, hello);
    if (l->closing)
        return;
    if (stream_write(s, hello, size) != 0 || link_make_pipe(l, &theirs) != 0) {
        link_close(l);
        return;
    }
    struct raft_uv_connect *req = l->connect;
    l->connect = NULL;
    req->cb(req, theirs, 0);
}

/* Return whether the peer's certificate says master/ID. */
static bool link_peer_is(const struct link *l, uint64_t id)
{
    char name[CELL_NAME_MAX + 1];
    const struct identity *peer = stream_peer(l->stream);
    snprintf(name, sizeof name, "%" PRIu64, id);
    return peer->role == ROLE_MASTER && strcmp(peer->name, name) == 0;
}

/* The hello is complete: pass the connection to the library. */
static void link_accept(struct link *l, uint64_t id, const char *address)
{
    struct raftlog_transport *t = l->transport;
    uv_stream_t *theirs = NULL;
    if (!link_peer_is(l, id)) {
        link_refuse(l, "its certificate is for another identity");
        return;
    }
    if (t->may_connect != NULL && !t->may_connect(t->data, id, address)) {
        link_refuse(l, "this cell has no replica with this number and address");
        return;
    }
    if (link_make_pipe(l, &theirs) != 0) {
        link_refuse(l, "out of file descriptors");
        return;
    }
    l->peer = id;
    str_copy(l->address, sizeof l->address, address);
    t->accept_cb(&t->uv, id, address, theirs);
}

/* Consume the bytes that belong to the hello; return their number. */
static size_t link_take_hello(struct link *l, const unsigned char *bytes, size_t size)
{
    uint32_t magic = 0;
    uint64_t id = 0;
    uint16_t address_size = 0;
    size_t taken = MIN(size, HELLO_HEAD_BYTES - MIN(l->hello_size, (size_t)HELLO_HEAD_BYTES));
    memcpy(l->hello + l->hello_size, bytes, taken);
    l->hello_size += taken;
    if (l->hello_size < HELLO_HEAD_BYTES)
        return taken;
    memcpy(&magic, l->hello, 4);
    memcpy(&id, l->hello + 4, 8);
    memcpy(&address_size, l->hello + 12, 2);
    id = be64toh(id);
    address_size = be16toh(address_size);
    if (be32toh(magic) != HELLO_MAGIC || address_size == 0 || address_size > CELL_ADDR_MAX) {
        link_refuse(l, "it does not speak this protocol");
        return taken;
    }
    size_t more = MIN(size - taken, HELLO_HEAD_BYTES + address_size - l->hello_size);
    memcpy(l->hello + l->hello_size, bytes + taken, more);
    l->hello_size += more;
    if (l->hello_size == (size_t)HELLO_HEAD_BYTES + address_size) {
        char address[CELL_ADDR_MAX + 1] = "";
        memcpy(address, l->hello + HELLO_HEAD_BYTES, address_size);
        link_accept(l, id, address);
    }
    return taken + more;
}

static void link_on_data(struct stream *s, void *data, const void *bytes, size_t size)
{
    struct link *l = data;
    (void)s;
    if (l->closing)
        return;
    if (l->outgoing) {
        link_refuse(l, "it sends data on a connection that we opened");
        return;
    }
    if (!l->ready) {
        size_t taken = link_take_hello(l, bytes, size);
        bytes = (const char *)bytes + taken;
        size -= taken;
    }
    if (size > 0 && l->ready && !l->closing && link_push(l, bytes, size) != 0)
        link_close(l);
}

static void link_on_close(struct stream *s, void *data, const struct err *why)
{
    struct link *l = data;
    (void)s;
    if (!l->closing && l->connect != NULL && why != NULL)
        log_debug("raft_link.failed peer=%" PRIu64 " reason=%s", l->peer, log_quoted(why->msg));
    l->stream = NULL;
    if (l->closing)
        link_maybe_free(l);
    else
        link_close(l);
}

static const struct stream_handlers link_handlers = {
    .on_open = link_on_open,
    .on_data = link_on_data,
    .on_drain = link_on_drain,
    .on_close = link_on_close,
};

static struct link *link_new(struct raftlog_transport *t)
{
    struct link *l = xcalloc(1, sizeof *l);
    l->transport = t;
    l->opened_ms = clock_mono_ms();
    list_init(&l->link);
    list_push(&t->links, &l->link);
    return l;
}

static struct stream_options transport_stream_options(struct raftlog_transport *t, void *data)
{
    return (struct stream_options){.loop = t->loop,
                                   .urgent = true,
                                   .tls = t->tls,
                                   .handlers = &link_handlers,
                                   .data = data,
                                   .queue_bytes_max = TRANSPORT_QUEUE_BYTES_MAX};
}

static int transport_connect(struct raft_uv_transport *uv, struct raft_uv_connect *req, raft_id id,
                             const char *address, raft_uv_connect_cb cb)
{
    struct raftlog_transport *t = uv->impl;
    struct link *l = link_new(t);
    struct stream_options options = transport_stream_options(t, l);
    struct err err;
    l->outgoing = true;
    l->peer = id;
    options.expect.role = ROLE_MASTER;
    snprintf(options.expect.name, sizeof options.expect.name, "%llu", id);
    if (stream_connect(&options, address, &l->stream, &err) != 0) {
        log_debug("raft_link.failed peer=%llu reason=%s", id, log_quoted(err.msg));
        l->stream = NULL;
        link_close(l);
        return RAFT_NOCONNECTION;
    }
    req->cb = cb;
    l->connect = req;
    return 0;
}

static void transport_on_accept(struct stream_listener *listener, struct stream *s, void *data)
{
    struct raftlog_transport *t = data;
    struct link *l = link_new(t);
    (void)listener;
    l->stream = s;
    stream_set_data(s, l);
    if (t->closing)
        link_close(l);
}

static void transport_on_sweep(uv_timer_t *timer)
{
    struct raftlog_transport *t = timer->data;
    uint64_t now_ms = clock_mono_ms();
    /* Closing may free a link at once, so advance first. No other link is freed. */
    for (struct list *i = t->links.next, *next = i->next; i != &t->links;
         i = next, next = i->next) {
        struct link *l = CONTAINER_OF(i, struct link, link);
        if (!l->outgoing && !l->ready && !l->closing &&
            now_ms - l->opened_ms > TRANSPORT_HELLO_TIMEOUT_MS)
            link_refuse(l, "it sent no hello");
        else if (!l->outgoing && l->ready && !l->closing && t->may_connect != NULL &&
                 !t->may_connect(t->data, l->peer, l->address))
            link_refuse(l, "it is not a replica of this cell any more");
    }
}

static int transport_init(struct raft_uv_transport *uv, raft_id id, const char *address)
{
    struct raftlog_transport *t = uv->impl;
    t->id = id;
    str_copy(t->address, sizeof t->address, address);
    ASSERT(uv_timer_init(t->loop, &t->sweep) == 0);
    t->sweep.data = t;
    t->sweep_open = true;
    return 0;
}

static int transport_listen(struct raft_uv_transport *uv, raft_uv_accept_cb cb)
{
    struct raftlog_transport *t = uv->impl;
    struct stream_options options = transport_stream_options(t, t);
    t->accept_cb = cb;
    options.limits = &admission_raft;
    if (stream_listen(&options, t->address, TRANSPORT_CONNECTIONS_MAX, transport_on_accept,
                      &t->listener, &t->listen_err) != 0) {
        t->listener = NULL;
        str_copy(uv->errmsg, sizeof uv->errmsg, t->listen_err.msg);
        return RAFT_IOERR;
    }
    ASSERT(uv_timer_start(&t->sweep, transport_on_sweep, 1000, 1000) == 0);
    return 0;
}

static void transport_on_sweep_closed(uv_handle_t *handle)
{
    struct raftlog_transport *t = handle->data;
    t->sweep_open = false;
    transport_maybe_closed(t);
}

static void transport_close(struct raft_uv_transport *uv, raft_uv_transport_close_cb cb)
{
    struct raftlog_transport *t = uv->impl;
    t->closing = true;
    t->close_cb = cb;
    if (t->listener != NULL)
        stream_listener_close(t->listener);
    t->listener = NULL;
    for (struct list *i = t->links.next, *next = i->next; i != &t->links; i = next, next = i->next)
        link_close(CONTAINER_OF(i, struct link, link));
    /* This also keeps the callback from running before this function has returned. */
    uv_close((uv_handle_t *)&t->sweep, transport_on_sweep_closed);
}

void raftlog_transport_init(struct raftlog_transport *t, uv_loop_t *loop, struct tls_context *tls,
                            bool (*may_connect)(void *data, uint64_t id, const char *address),
                            void *data)
{
    *t = (struct raftlog_transport){
        .loop = loop, .tls = tls, .may_connect = may_connect, .data = data};
    list_init(&t->links);
    t->uv.impl = t;
    t->uv.init = transport_init;
    t->uv.listen = transport_listen;
    t->uv.connect = transport_connect;
    t->uv.close = transport_close;
}
