/*
 * stream_listener.c - accepting: limits, the handshake's end, and what failed.
 */
#include "stream_impl.h"

#include "clock.h"
#include "log.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { LISTEN_BACKLOG = 4096, LOG_LINES_PER_S = 10 };

static void listener_free_if_done(struct stream_listener *l)
{
    if (l->closed && l->stream_count == 0)
        free(l);
}

void stream_listener_on_gone(struct stream_listener *l)
{
    ASSERT(l->stream_count > 0);
    l->stream_count--;
    listener_free_if_done(l);
}

/* A flood of bad connections must not become a flood of lines: `refused` tells how many came. */
void stream_listener_on_refused(struct stream_listener *l, const char *peer_address,
                                const struct err *why)
{
    uint64_t second = clock_mono_ms() / 1000;
    if (l->closing)
        return;
    l->refused_count++;
    if (second != l->log_second) {
        l->log_second = second;
        l->log_lines = 0;
    }
    if (l->log_lines++ < LOG_LINES_PER_S)
        log_warn("stream.refused listener=%s peer=%s reason=%s refused=%" PRIu64, l->address,
                 peer_address, log_quoted(why->msg), l->refused_count);
}

void stream_listener_on_open(struct stream_listener *l, struct stream *s)
{
    ASSERT(!l->closing);
    l->on_accept(l, s, l->options.data);
}

static void listener_on_connection(uv_stream_t *tcp, int status)
{
    struct stream_listener *l = tcp->data;
    struct err err;
    if (status != 0) {
        log_warn("stream.accept_failed listener=%s reason=%s", l->address,
                 log_quoted(uv_strerror(status)));
        return;
    }
    struct stream *s = stream_new(&l->options);
    s->listener = l;
    l->stream_count++;
    list_push(&l->handshakes, &s->handshake_link);
    int rc = uv_accept(tcp, (uv_stream_t *)&s->tcp);
    if (rc != 0) {
        err_set(&err, ERR_IO, "accept: %s", uv_strerror(rc));
        stream_die(s, &err);
        return;
    }
    struct sockaddr_storage from = {0};
    int from_size = sizeof from;
    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&from, &from_size) == 0)
        address_print(&from, s->peer_address);
    if (l->stream_count > l->connections_max) {
        err_set(&err, ERR_LIMIT, "%zu connections are open already, the limit", l->connections_max);
        stream_die(s, &err);
        return;
    }
    stream_start(s);
}

static void listener_on_closed(uv_handle_t *handle)
{
    struct stream_listener *l = handle->data;
    l->closed = true;
    listener_free_if_done(l);
}

static int listener_bind(struct stream_listener *l, const struct sockaddr_storage *at)
{
    struct sockaddr_storage bound = {0};
    int size = sizeof bound;
    int rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->tcp, LISTEN_BACKLOG, listener_on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&bound, &size);
    if (rc == 0)
        address_print(&bound, l->address);
    return rc;
}

int stream_listen(const struct stream_options *options, const char *address, size_t connections_max,
                  stream_accept_cb on_accept, struct stream_listener **ret, struct err *err)
{
    struct sockaddr_storage at;
    int rc = address_parse(address, &at, err);
    if (rc != 0)
        return rc;
    struct stream_listener *l = xcalloc(1, sizeof *l);
    l->options = *options;
    l->on_accept = on_accept;
    l->connections_max = connections_max;
    list_init(&l->handshakes);
    uv_tcp_init(options->loop, &l->tcp);
    l->tcp.data = l;
    rc = listener_bind(l, &at);
    if (rc != 0) {
        stream_listener_close(l);
        return err_set(err, rc == UV_EADDRINUSE ? ERR_EXISTS : ERR_IO, "%s: cannot listen: %s",
                       address, uv_strerror(rc));
    }
    *ret = l;
    return 0;
}

const char *stream_listener_address(const struct stream_listener *l)
{
    return l->address;
}

uint64_t stream_listener_refused(const struct stream_listener *l)
{
    return l->refused_count;
}

void stream_listener_close(struct stream_listener *l)
{
    struct err why;
    if (l->closing)
        return;
    l->closing = true;
    err_set(&why, ERR_CLOSED, "the listener closes");
    uv_close((uv_handle_t *)&l->tcp, listener_on_closed);
    while (!list_empty(&l->handshakes))
        stream_die(CONTAINER_OF(l->handshakes.next, struct stream, handshake_link), &why);
}

uint64_t stream_files_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t was = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : was;
}
