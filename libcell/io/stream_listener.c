/*
 * stream_listener.c - accepting: limits, completed and failed handshakes.
 */
#include "stream_impl.h"

#include "clock.h"
#include "log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 4096,
    LOG_LINES_PER_S = 10,
    TURN_ACCEPTS_MAX = 32, /* connections accepted in one turn */
    ROOM_POLL_MS = 5,      /* interval for checking whether a waiting connection can be accepted */
    SILENT_MS = 20,        /* when there are too many strangers, one may be silent for so long, */
    LEAVE_MS = 100,        /* take so long to read why it is refused, */
    STALLED_MS = 1000,     /* and let us wait so long later */
    VICTIMS_CHECKED_MAX = 32,
};

static void listener_free_if_done(struct stream_listener *l)
{
    if (l->handle_count > 0 || l->stream_count > 0)
        return;
    if (l->spare_fd >= 0)
        close(l->spare_fd);
    admission_free(l->admission);
    free(l);
}

void stream_listener_on_gone(struct stream_listener *l)
{
    ASSERT(l->stream_count > 0);
    l->stream_count--;
    listener_free_if_done(l);
}

/* Log a refusal. The number of lines is limited; `refused` gives the total. */
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

bool stream_listener_admit(struct stream_listener *l, struct stream *s)
{
    struct err err;
    struct buf CLEANUP(buf_release) words = {0};
    if (admission_identify(l->admission, &s->peer, &s->account, &err) == 0)
        return true;
    stream_listener_on_refused(l, s->peer_address, &err);
    if (l->options.append_bye != NULL)
        l->options.append_bye(&words, &err);
    if (words.size > 0)
        (void)!stream_write(s, words.bytes, words.size);
    s->begin_ms = uv_now(l->options.loop);
    list_push(&l->leaving, &s->victim_link);
    stream_close(s);
    return false;
}

/* Return whether no unread data has arrived. */
static bool stream_is_silent(const struct stream *s)
{
    char next;
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&s->tcp, &fd) != 0 ||
           recv(fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* Return the stranger to close when there are too many: first one that has sent nothing, then
 * one that has been refused, then one that lets us wait; in each group the one that has taken
 * longest. NULL: none qualifies. */
static struct stream *listener_victim(struct stream_listener *l)
{
    uint64_t now_ms = uv_now(l->options.loop);
    unsigned looked = 0;
    while (!list_empty(&l->silent)) {
        struct stream *s = CONTAINER_OF(l->silent.next, struct stream, victim_link);
        if (now_ms - s->begin_ms < SILENT_MS)
            break;
        if (stream_is_silent(s))
            return s;
        list_remove(&s->victim_link);
    }
    if (!list_empty(&l->leaving)) {
        struct stream *s = CONTAINER_OF(l->leaving.next, struct stream, victim_link);
        if (now_ms - s->begin_ms >= LEAVE_MS)
            return s;
    }
    LIST_EACH(i, &l->handshakes)
    {
        struct stream *s = CONTAINER_OF(i, struct stream, handshake_link);
        if (now_ms - s->begin_ms < STALLED_MS || looked++ == VICTIMS_CHECKED_MAX)
            break;
        if (list_empty(&s->step_link)) /* otherwise it waits for us */
            return s;
    }
    return NULL;
}

/* Make room for one more stranger, if necessary by closing another one. */
static enum admission_verdict listener_make_room(struct stream_listener *l, struct err *err)
{
    enum admission_verdict verdict = admission_accept(l->admission, err);
    struct stream *victim = verdict == ADMISSION_WAIT ? listener_victim(l) : NULL;
    if (victim == NULL)
        return verdict;
    struct err why;
    err_set(&why, ERR_LIMIT, "too many connections have not completed the handshake");
    stream_die(victim, &why);
    return admission_accept(l->admission, err);
}

/* Return the present limit of descriptors of this process. */
static uint64_t files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT32_MAX;
    return limit.rlim_cur;
}

static bool listener_is_short(const struct stream_listener *l, const struct stream *s,
                              struct err *err)
{
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&s->tcp, &fd) == 0 &&
           !admission_may_have(l->admission, fd, err);
}

/* Accept the waiting connection; it is a stranger until its handshake is complete. */
static void listener_take(struct stream_listener *l, enum admission_verdict verdict,
                          const struct err *full)
{
    struct sockaddr_storage from = {0};
    int from_size = sizeof from;
    struct err err;
    struct stream *s = stream_new(&l->options);
    int rc = uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp);
    if (verdict == ADMISSION_TAKEN) {
        s->listener = l;
        l->stream_count++;
        s->begin_ms = uv_now(l->options.loop);
        list_push(&l->handshakes, &s->handshake_link);
        list_push(&l->silent, &s->victim_link);
    }
    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&from, &from_size) == 0)
        address_print(&from, s->peer_address);
    if (rc != 0) {
        err_set(&err, ERR_IO, "accept: %s", uv_strerror(rc));
        stream_die(s, &err);
    } else if (verdict != ADMISSION_TAKEN) {
        stream_listener_on_refused(l, s->peer_address, full);
        stream_die(s, full);
    } else if (listener_is_short(l, s, &err)) {
        stream_die(s, &err);
    } else {
        stream_start(s);
    }
}

/* Handle a waiting connection. Return false if it has to wait. */
static bool listener_try(struct stream_listener *l)
{
    struct err err;
    uint64_t now_ms = uv_now(l->options.loop);
    if (now_ms != l->turn_ms)
        l->turn_count = 0;
    l->turn_ms = now_ms;
    if (l->turn_count++ >= TURN_ACCEPTS_MAX)
        return false;
    admission_set_files(l->admission, files_max());
    if (l->spare_fd < 0)
        l->spare_fd = open("/", O_RDONLY | O_CLOEXEC);
    enum admission_verdict verdict = listener_make_room(l, &err);
    if (verdict != ADMISSION_WAIT)
        listener_take(l, verdict, &err);
    return verdict != ADMISSION_WAIT;
}

static void listener_on_later(uv_timer_t *timer)
{
    struct stream_listener *l = timer->data;
    if (listener_try(l))
        return; /* libuv has resumed listening since it was accepted */
    bool turn_over = l->turn_count > TURN_ACCEPTS_MAX;
    uv_timer_start(&l->later, listener_on_later, turn_over ? 1 : ROOM_POLL_MS, 0);
}

/* A connection that is not accepted in this callback is kept by libuv, which accepts no further
 * ones before: those wait in the kernel. */
static void listener_on_connection(uv_stream_t *tcp, int status)
{
    struct stream_listener *l = tcp->data;
    if (status != 0) {
        struct err err;
        err_set(&err, ERR_IO, "accept: %s", uv_strerror(status));
        stream_listener_on_refused(l, "unknown", &err);
        /* Out of descriptors: libuv retries at once and needs one to succeed. */
        if (l->spare_fd >= 0)
            close(l->spare_fd);
        l->spare_fd = -1;
        return;
    }
    if (!listener_try(l))
        uv_timer_start(&l->later, listener_on_later, 1, 0);
}

static void listener_on_closed(uv_handle_t *handle)
{
    struct stream_listener *l = handle->data;
    l->handle_count--;
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
    struct admission_limits limits = admission_open(connections_max);
    if (options->limits != NULL)
        limits = *options->limits;
    limits.connections = MIN(limits.connections, connections_max);
    l->admission = admission_new(&limits, files_max());
    l->spare_fd = open("/", O_RDONLY | O_CLOEXEC);
    list_init(&l->handshakes);
    list_init(&l->silent);
    list_init(&l->leaving);
    uv_tcp_init(options->loop, &l->tcp);
    uv_timer_init(options->loop, &l->later);
    l->handle_count = 2;
    l->tcp.data = l->later.data = l;
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
    uv_close((uv_handle_t *)&l->later, listener_on_closed);
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
