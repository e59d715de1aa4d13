/*
 * store_query.c - statements of users: who is next, and the processes that run them.
 *
 * Each reader thread has a process (store_reader.h), made with its first statement. A statement
 * that does not end in time, or that is in the way when the file is replaced, ends with its
 * process; the next one gets a new process. A user has READERS_PER_USER of the threads at most, so
 * that one who asks what takes long keeps nobody else waiting. Answers go back to the loop by a
 * uv_async of their own.
 */
#include "store_impl.h"
#include "store_reader.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READERS_PER_USER = STORE_READERS / 2,
    READER_GRACE_MS = 250 /* for the process to end a statement by itself: that says more */
};

struct store_request {
    struct list link; /* in store->queries */
    uv_async_t async; /* on the loop of who asked; closed after the callback */
    char *sql;
    char user[CELL_NAME_MAX + 1];
    bool reads_all; /* also what is private to others */
    uint64_t turn;  /* see queue_up() */
    uint64_t index_min;
    uint64_t deadline_ns;
    store_query_cb cb;
    void *data;
    struct err err; /* the answer: code ERR_OK and rows, or why not */
    struct buf rows;
};

static void on_closed(uv_handle_t *handle)
{
    struct store_request *request = handle->data;
    buf_release(&request->rows);
    free(request->sql);
    free(request);
}

static void on_answered(uv_async_t *async)
{
    struct store_request *request = async->data;
    bool ok = request->err.code == ERR_OK;
    request->cb(request->data, ok ? NULL : &request->err, ok ? request->rows.bytes : NULL,
                ok ? request->rows.size : 0);
    uv_close((uv_handle_t *)async, on_closed);
}

/*
 * Users take turns: a request's turn is one after the newest of its user that waits, or the present
 * one (start-time fair queueing, with queries all taken as alike). The operator's is always now.
 * Under the lock.
 */
static int queue_up(struct store *store, struct store_request *request, struct err *err)
{
    size_t waiting = 0;
    request->turn = store->turn;
    LIST_EACH(l, &store->queries)
    {
        const struct store_request *other = CONTAINER_OF(l, struct store_request, link);
        if (strcmp(other->user, request->user) != 0)
            continue;
        waiting++;
        request->turn = MAX(request->turn, other->turn + 1);
    }
    bool first = strcmp(request->user, CELL_OPERATOR) == 0;
    if (store->closing)
        return err_set(err, ERR_CLOSED, "the replica is closing its database");
    if (store->query_count >= QUERIES_WAITING_MAX && !first)
        return err_set(err, ERR_UNAVAILABLE, "%zu queries are waiting: try again later",
                       store->query_count);
    if (waiting >= QUERIES_USER_WAITING_MAX)
        return err_set(err, ERR_UNAVAILABLE,
                       "%zu queries of user \"%s\" are waiting: wait for their answers first",
                       waiting, request->user);
    if (first)
        request->turn = store->turn;
    struct list *before = store->queries.prev;
    while (before != &store->queries &&
           CONTAINER_OF(before, struct store_request, link)->turn > request->turn)
        before = before->prev;
    list_push(before->next, &request->link);
    store->query_count++;
    uv_cond_broadcast(&store->changed);
    return 0;
}

void store_query(struct store *store, uv_loop_t *loop, const struct store_asker *asker,
                 const char *sql, uint64_t index_min, store_query_cb cb, void *data)
{
    struct store_request *request = xcalloc(1, sizeof *request);
    request->sql = xstrdup(sql);
    str_copy(request->user, sizeof request->user, asker->user);
    request->reads_all = asker->reads_all;
    request->index_min = index_min;
    request->deadline_ns = uv_hrtime() + (uint64_t)QUERY_TIME_MS_MAX * 1000000;
    request->cb = cb;
    request->data = data;
    int rc = uv_async_init(loop, &request->async, on_answered);
    if (rc != 0)
        PANIC("uv_async_init: %s", uv_strerror(rc));
    request->async.data = request;
    uv_mutex_lock(&store->lock);
    if (queue_up(store, request, &request->err) != 0)
        uv_async_send(&request->async);
    uv_mutex_unlock(&store->lock);
}

/* Let go of a process that reads; what it does ends at once. Only its own thread does so. */
static void process_end(struct store_reader *reader)
{
    uv_mutex_lock(&reader->store->lock);
    pid_t pid = reader->pid;
    reader->pid = 0; /* nobody else kills it from here on: the number may be used again */
    uv_mutex_unlock(&reader->store->lock);
    if (pid == 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(reader->fd);
}

static int process_ready(struct store_reader *reader, struct err *err)
{
    pid_t pid;
    if (reader->pid != 0)
        return 0;
    int rv = reader_start(reader->store->path, &pid, &reader->fd, err);
    if (rv != 0)
        return rv;
    uv_mutex_lock(&reader->store->lock);
    reader->pid = pid;
    if (reader->store->paused) /* who paused did not know of it yet */
        kill(pid, SIGKILL);
    uv_mutex_unlock(&reader->store->lock);
    return 0;
}

enum transfer { TRANSFER_DONE, TRANSFER_ENDED, TRANSFER_LATE };

/* All bytes to or from the process, until the deadline. */
static enum transfer transfer(int fd, short events, void *bytes, size_t size, uint64_t deadline_ns)
{
    for (char *at = bytes; size > 0;) {
        uint64_t now = uv_hrtime();
        struct pollfd ready = {.fd = fd, .events = events};
        if (now >= deadline_ns)
            return TRANSFER_LATE;
        if (poll(&ready, 1, (int)((deadline_ns - now) / 1000000) + 1) <= 0)
            continue;
        ssize_t n = events == POLLIN ? recv(fd, at, size, 0) : send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return TRANSFER_ENDED;
        at += n;
        size -= (size_t)n;
    }
    return TRANSFER_DONE;
}

/* One after the other, as store_reader.h says; TRANSFER_ENDED also for an answer that is none. */
static enum transfer exchange(struct store_reader *reader, const struct store_request *request,
                              struct reader_reply *reply, struct buf *bytes)
{
    uint64_t deadline_ns = uv_hrtime() + (uint64_t)(QUERY_TIME_MS_MAX + READER_GRACE_MS) * 1000000;
    struct reader_request head = {.user_size = (uint32_t)strlen(request->user),
                                  .sql_size = (uint32_t)strlen(request->sql),
                                  .budget_ms = QUERY_TIME_MS_MAX,
                                  .reads_all = request->reads_all};
    struct buf CLEANUP(buf_release) out = {0};
    buf_append(&out, &head, sizeof head);
    buf_append(&out, request->user, head.user_size);
    buf_append(&out, request->sql, head.sql_size);
    enum transfer t = transfer(reader->fd, POLLOUT, out.bytes, out.size, deadline_ns);
    if (t == TRANSFER_DONE)
        t = transfer(reader->fd, POLLIN, reply, sizeof *reply, deadline_ns);
    if (t == TRANSFER_DONE &&
        (reply->size > READER_REPLY_BYTES_MAX || reply->code >= ERR_CODE_COUNT))
        t = TRANSFER_ENDED;
    if (t != TRANSFER_DONE)
        return t;
    char *to = buf_reserve(bytes, reply->size);
    t = transfer(reader->fd, POLLIN, to, reply->size, deadline_ns);
    bytes->size += t == TRANSFER_DONE ? reply->size : 0;
    return t;
}

static int no_answer(struct store_reader *reader, enum transfer why, struct err *err)
{
    struct store *store = reader->store;
    uv_mutex_lock(&store->lock);
    bool closing = store->closing, paused = store->paused;
    uv_mutex_unlock(&store->lock);
    process_end(reader);
    if (closing)
        return err_set(err, ERR_CLOSED, "the replica is closing its database");
    if (paused)
        return err_set(err, ERR_UNAVAILABLE, "the database is being replaced: try again");
    if (why == TRANSFER_LATE)
        return err_set(err, ERR_LIMIT, "the query took more than %d ms: narrow it",
                       QUERY_TIME_MS_MAX);
    return err_set(err, ERR_LIMIT,
                   "the query ended the process that ran it, for want of memory say: narrow it");
}

static int run_query(struct store_reader *reader, struct store_request *request, struct err *err)
{
    struct reader_reply reply;
    int rv = process_ready(reader, err);
    if (rv != 0)
        return rv;
    enum transfer t = exchange(reader, request, &reply, &request->rows);
    if (t != TRANSFER_DONE)
        return no_answer(reader, t, err);
    if (reply.code == ERR_OK)
        return 0;
    return err_set(err, (enum err_code)reply.code, "%.*s", (int)request->rows.size,
                   buf_text(&request->rows));
}

static void answer(struct store_reader *reader, struct store_request *request)
{
    int rv = run_query(reader, request, &request->err);
    if (rv != -ERR_CORRUPT)
        return;
    process_end(reader); /* it has the damaged file open */
    store_fail(reader->store, &request->err);
    err_set(&request->err, ERR_UNAVAILABLE,
            "the database of this replica is damaged, it is being made anew: ask another");
}

static void refuse_waiting(struct store *store, struct store_request *request)
{
    uint64_t index = store_index(store);
    if (store->closing)
        err_set(&request->err, ERR_CLOSED, "the replica is closing its database");
    else
        err_set(&request->err, ERR_TIMEOUT,
                "the database is at index %" PRIu64 ", %" PRIu64 " did not come within %d ms",
                index, request->index_min, QUERY_TIME_MS_MAX);
}

static size_t readers_of(const struct store *store, const char *user)
{
    size_t count = 0;
    for (int i = 0; i < STORE_READERS; i++)
        count += strcmp(store->readers[i].user, user) == 0;
    return count;
}

/* The first request that can go on: its index is there or its time is over. Under the lock. */
static struct store_request *next_request(struct store *store, uint64_t *ret_wait_ns)
{
    uint64_t now = uv_hrtime(), index = store_index(store);
    *ret_wait_ns = UINT64_MAX;
    LIST_EACH(l, &store->queries)
    {
        struct store_request *request = CONTAINER_OF(l, struct store_request, link);
        bool ready = !store->paused && request->index_min <= index;
        if (!store->closing && ready && readers_of(store, request->user) >= READERS_PER_USER)
            continue; /* one of his readers wakes us when it is done */
        if (store->closing || ready || request->deadline_ns <= now)
            return request;
        *ret_wait_ns = MIN(*ret_wait_ns, request->deadline_ns - now);
    }
    return NULL;
}

static void thread_run(void *arg)
{
    struct store_reader *reader = arg;
    struct store *store = reader->store;
    uv_mutex_lock(&store->lock);
    for (;;) {
        uint64_t wait_ns;
        struct store_request *request = next_request(store, &wait_ns);
        if (reader->generation != store->generation) {
            reader->generation = store->generation;
            uv_mutex_unlock(&store->lock);
            process_end(reader); /* the file that it has open was replaced */
            uv_mutex_lock(&store->lock);
            continue;
        }
        if (request == NULL && store->closing)
            break;
        if (request == NULL && wait_ns == UINT64_MAX) {
            uv_cond_wait(&store->changed, &store->lock);
            continue;
        }
        if (request == NULL) {
            uv_cond_timedwait(&store->changed, &store->lock, wait_ns);
            continue;
        }
        list_remove(&request->link);
        store->query_count--;
        store->turn = MAX(store->turn, request->turn);
        bool run = !store->closing && !store->paused && request->index_min <= store_index(store);
        store->readers_busy += run;
        str_copy(reader->user, sizeof reader->user, run ? request->user : "");
        uv_mutex_unlock(&store->lock);
        if (run)
            answer(reader, request);
        else
            refuse_waiting(store, request);
        uv_async_send(&request->async);
        uv_mutex_lock(&store->lock);
        store->readers_busy -= run;
        reader->user[0] = '\0';
        uv_cond_broadcast(&store->changed);
    }
    uv_mutex_unlock(&store->lock);
    process_end(reader);
}

/* End the running queries and their processes. The lock is held. */
static void processes_interrupt(struct store *store)
{
    store->paused = true;
    for (int i = 0; i < STORE_READERS; i++)
        if (store->readers[i].pid != 0)
            kill(store->readers[i].pid, SIGKILL);
}

void store_readers_start(struct store *store)
{
    for (int i = 0; i < STORE_READERS; i++) {
        store->readers[i].store = store;
        int rc = uv_thread_create(&store->readers[i].thread, thread_run, &store->readers[i]);
        if (rc != 0)
            PANIC("uv_thread_create: %s", uv_strerror(rc));
    }
}

void store_readers_pause(struct store *store)
{
    uv_mutex_lock(&store->lock);
    processes_interrupt(store);
    while (store->readers_busy > 0)
        uv_cond_wait(&store->changed, &store->lock);
    store->generation++;
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

void store_readers_resume(struct store *store)
{
    uv_mutex_lock(&store->lock);
    store->paused = false;
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
}

void store_readers_stop(struct store *store)
{
    uv_mutex_lock(&store->lock);
    store->closing = true;
    processes_interrupt(store);
    uv_cond_broadcast(&store->changed);
    uv_mutex_unlock(&store->lock);
    for (int i = 0; i < STORE_READERS; i++)
        uv_thread_join(&store->readers[i].thread);
}
