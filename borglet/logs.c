/*
 * logs.c - readers of logs: where they are, what wakes them, when they are done.
 */
#include "logs.h"
#include "log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct logs {
    uv_loop_t *loop;
    struct runner *runner;
    struct rpc_server *server;
    struct list readers;
    size_t reader_count;
    size_t conn_count;
    bool closing;
};

/* One WIRE_LOGS call being answered. */
struct reader {
    struct list link;
    struct logs *logs;
    struct rpc_conn *conn;
    struct rpc_call *call;
    struct attempt_ref task;
    bool follow;
    const char *stream; /* "out" or "err" */
    int dir_fd;
    int file_fd; /* of `segment`, or -1 */
    uint64_t segment;
    uint64_t segment_bytes;
    uint64_t offset; /* in the stream, of the next byte to send */
    uv_fs_event_t event;
    bool watching;
};

/* What there is of a stream: bytes [first, end). */
struct extent {
    uint64_t first, end;
};

static void reader_free(struct reader *reader)
{
    if (reader->file_fd >= 0)
        close(reader->file_fd);
    if (reader->dir_fd >= 0)
        close(reader->dir_fd);
    free(reader);
}

static void reader_on_event_close(uv_handle_t *handle)
{
    reader_free(handle->data);
}

static void logs_free_if_done(struct logs *logs)
{
    if (logs->closing && logs->conn_count == 0)
        free(logs);
}

/* The call is answered or its connection gone. */
static void reader_end(struct reader *reader)
{
    list_remove(&reader->link);
    reader->logs->reader_count--;
    if (reader->watching)
        uv_close((uv_handle_t *)&reader->event, reader_on_event_close);
    else
        reader_free(reader);
}

/* Segments of the stream from number `from` on: the lowest and the highest; false: none. */
static bool segments_find(const struct reader *reader, uint64_t from, uint64_t *ret_low,
                          uint64_t *ret_high)
{
    int fd = openat(reader->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t length = strlen(reader->stream);
    struct dirent *item;
    bool found = false;

    while (dir != NULL && (item = readdir(dir)) != NULL) {
        if (strncmp(item->d_name, reader->stream, length) != 0 || item->d_name[length] != '.' ||
            !isdigit((unsigned char)item->d_name[length + 1]))
            continue;
        uint64_t number = strtoull(item->d_name + length + 1, NULL, 10);
        if (number < from)
            continue;
        *ret_low = found ? MIN(*ret_low, number) : number;
        *ret_high = found ? MAX(*ret_high, number) : number;
        found = true;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static void segment_name(const struct reader *reader, uint64_t segment, char *to, size_t size)
{
    snprintf(to, size, "%s.%" PRIu64, reader->stream, segment);
}

static struct extent stream_extent(const struct reader *reader)
{
    struct extent extent = {0, 0};
    uint64_t low, high;
    char name[32];
    struct stat st;

    if (!segments_find(reader, 0, &low, &high))
        return extent;
    extent.first = low * reader->segment_bytes;
    extent.end = high * reader->segment_bytes;
    segment_name(reader, high, name, sizeof(name));
    if (fstatat(reader->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        extent.end += (uint64_t)st.st_size;
    return extent;
}

/* Have the file of `reader->offset` open; goes on to the next that exists. false: at the end. */
static bool reader_open_segment(struct reader *reader)
{
    uint64_t want = reader->offset / reader->segment_bytes, high;
    char name[32];

    if (reader->file_fd >= 0 && reader->segment == want)
        return true;
    if (reader->file_fd >= 0)
        close(reader->file_fd);
    segment_name(reader, want, name, sizeof(name));
    reader->file_fd = openat(reader->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->file_fd < 0 && segments_find(reader, want, &want, &high)) {
        /* Removed before we came to it: go on with the oldest there is. */
        segment_name(reader, want, name, sizeof(name));
        reader->file_fd = openat(reader->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        reader->offset = MAX(reader->offset, want * reader->segment_bytes);
    }
    reader->segment = want;
    return reader->file_fd >= 0;
}

/* Send the next chunk. 1: sent; 0: there is nothing more now; negative: the connection failed. */
static int reader_send(struct reader *reader)
{
    static char bytes[LOGS_CHUNK_BYTES];
    CLEANUP(buf_release) struct buf body = {0};

    if (!reader_open_segment(reader))
        return 0;
    uint64_t at = reader->offset - reader->segment * reader->segment_bytes;
    size_t room = (size_t)MIN((uint64_t)sizeof(bytes), reader->segment_bytes - at);
    ssize_t n = pread(reader->file_fd, bytes, room, (off_t)at);
    if (n <= 0)
        return 0;
    struct wire_log_chunk chunk = {.bytes = bytes, .size = (size_t)n, .offset = reader->offset};
    wire_pack_log_chunk(&body, &chunk);
    if (rpc_notify(reader->conn, WIRE_LOG_CHUNK, body.bytes, body.size) != 0)
        return -1;
    reader->offset += (uint64_t)n;
    return 1;
}

static bool attempt_live(const struct reader *reader)
{
    struct attempt *attempt = runner_find(reader->logs->runner, reader->task);

    return attempt != NULL && attempt->phase != ATTEMPT_ENDED;
}

static void logs_on_drain(struct rpc_conn *conn);

/* Send as much as the connection takes; answer the call when that was all. */
static void reader_pump(struct reader *reader)
{
    bool last; /* asked before reading: when the end is seen, everything is in the files */
    int rc;

    if (reader->logs->closing)
        return;
    last = !reader->follow || !attempt_live(reader);
    do {
        if (rpc_queued(reader->conn) > LOGS_QUEUE_BYTES_MAX) {
            rpc_on_drain(reader->conn, logs_on_drain);
            return;
        }
        rc = reader_send(reader);
    } while (rc == 1);
    if (rc == 0 && !last)
        return;
    if (rc < 0) {
        rpc_close(reader->conn);
        return; /* on_close ends the reader */
    }
    rpc_reply(reader->call, NULL, 0);
    reader_end(reader);
}

static struct reader *reader_of(struct logs *logs, const struct rpc_conn *conn)
{
    LIST_EACH(l, &logs->readers)
    {
        struct reader *reader = CONTAINER_OF(l, struct reader, link);
        if (reader->conn == conn)
            return reader;
    }
    return NULL;
}

static void logs_on_drain(struct rpc_conn *conn)
{
    struct reader *reader = reader_of(rpc_data(conn), conn);

    if (reader != NULL)
        reader_pump(reader);
}

static void logs_on_write(uv_fs_event_t *event, const char *name UNUSED, int events UNUSED,
                          int status UNUSED)
{
    reader_pump(event->data);
}

void logs_ended(struct logs *logs, struct attempt_ref task)
{
    for (struct list *l = logs->readers.next, *next; l != &logs->readers; l = next) {
        struct reader *reader = CONTAINER_OF(l, struct reader, link);
        next = l->next;
        if (reader->task.task.v == task.task.v && reader->task.attempt == task.attempt)
            reader_pump(reader);
    }
}

/* The directory of the attempt that is asked for; the newest of the task for attempt 0. */
static bool attempt_locate(struct logs *logs, const struct wire_logs *request, struct buf *path,
                           struct attempt_ref *ret_task)
{
    const struct attic *attic = runner_attic(logs->runner);
    const struct attic_entry *entry = attic_find(attic, (task_id){request->task}, request->attempt);
    struct attempt *newest = NULL;

    LIST_EACH(l, runner_attempts(logs->runner))
    {
        struct attempt *a = CONTAINER_OF(l, struct attempt, link);
        if (a->task.task.v != request->task || !a->has_dir ||
            (request->attempt != 0 && a->task.attempt != request->attempt))
            continue;
        if (newest == NULL || a->task.attempt > newest->task.attempt)
            newest = a;
    }
    if (newest != NULL && (entry == NULL || newest->task.attempt >= entry->task.attempt)) {
        runner_attempt_path(logs->runner, newest, path);
        *ret_task = newest->task;
        return true;
    }
    if (entry == NULL)
        return false;
    buf_printf(path, "%s/%s", attic->path, entry->name);
    *ret_task = entry->task;
    return true;
}

static void name_attempt(struct buf *to, const char *job, struct attempt_ref task)
{
    buf_printf(to, "%s%s/%" PRIu32 " attempt %" PRIu32, to->size == 0 ? "" : ", ", job,
               task_index(task.task), task.attempt);
}

/* Say what there is of the job, so that the next call can be right. */
static int not_found(struct logs *logs, const struct wire_logs *request, struct err *err)
{
    enum { NAMED_BYTES_MAX = 300 };
    CLEANUP(buf_release) struct buf there = {0};
    CLEANUP(buf_release) struct buf which = {0};
    const struct attic *attic = runner_attic(logs->runner);
    struct attempt_ref task;
    char job[CELL_NAME_MAX + 1];

    LIST_EACH(l, runner_attempts(logs->runner))
    {
        struct attempt *a = CONTAINER_OF(l, struct attempt, link);
        if (strcmp(a->job, request->job) == 0 && there.size < NAMED_BYTES_MAX)
            name_attempt(&there, a->job, a->task);
    }
    for (size_t i = attic->count; i-- > 0;)
        if (attempt_name_parse(attic->entries[i].name, job, &task) &&
            strcmp(job, request->job) == 0 && there.size < NAMED_BYTES_MAX)
            name_attempt(&there, job, task);
    if (request->attempt != 0)
        buf_printf(&which, " attempt %" PRIu32, request->attempt);
    return err_set(err, ERR_NOT_FOUND, "no log of task %s/%" PRIu32 "%s on this machine; %s%s",
                   request->job, task_index((task_id){request->task}), buf_text(&which),
                   there.size == 0 ? "there is none of that job" : "there are: ", buf_text(&there));
}

static int reader_locate(struct reader *reader, const struct wire_logs *request, struct buf *path,
                         struct err *err)
{
    struct shim_spec spec;

    if (!attempt_locate(reader->logs, request, path, &reader->task))
        return not_found(reader->logs, request, err);
    reader->dir_fd = open(buf_text(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (reader->dir_fd < 0)
        return err_errno(err, errno, "cannot open the log");
    int rc = shim_spec_read(reader->dir_fd, &spec, NULL, err);
    if (rc != 0)
        return rc;
    if (strcmp(spec.job, request->job) != 0)
        return not_found(reader->logs, request, err);
    reader->segment_bytes = spec.log_segment_bytes;
    struct extent extent = stream_extent(reader);
    uint64_t size = extent.end - extent.first;
    reader->offset = extent.end - MIN(size, request->tail_bytes);
    return 0;
}

static void reader_watch(struct reader *reader, const char *path)
{
    if (uv_fs_event_init(reader->logs->loop, &reader->event) != 0)
        return;
    reader->event.data = reader;
    reader->watching = true;
    int rc = uv_fs_event_start(&reader->event, logs_on_write, path, 0);
    if (rc != 0)
        log_warn("logs.watch_failed reason=%s, the follower gets the rest at the end",
                 log_quoted(uv_strerror(rc)));
}

static int reader_open(struct logs *logs, struct rpc_conn *conn, const struct wire_logs *request,
                       struct reader **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};

    if (reader_of(logs, conn) != NULL)
        return err_set(err, ERR_STATE, "one log at a time on a connection");
    if (logs->reader_count >= LOGS_READERS_MAX)
        return err_set(err, ERR_LIMIT, "%d logs are being read on this machine, no more",
                       LOGS_READERS_MAX);
    struct reader *reader = xcalloc(1, sizeof(*reader));
    reader->logs = logs;
    reader->conn = conn;
    reader->dir_fd = -1;
    reader->file_fd = -1;
    reader->follow = request->follow;
    reader->stream = request->err ? "err" : "out";
    int rc = reader_locate(reader, request, &path, err);
    if (rc != 0) {
        reader_free(reader);
        return rc;
    }
    list_push(&logs->readers, &reader->link);
    logs->reader_count++;
    if (reader->follow && attempt_live(reader))
        reader_watch(reader, buf_text(&path));
    *ret = reader;
    return 0;
}

static void logs_on_call(struct rpc_conn *conn, struct rpc_call *call, const void *body,
                         size_t size)
{
    struct logs *logs = rpc_data(conn);
    struct wire_logs request;
    struct reader *reader = NULL;
    struct err err;

    if (call == NULL)
        return; /* a notice: nobody waits */
    if (wire_unpack_logs(body, size, &request, &err) != 0 ||
        reader_open(logs, conn, &request, &reader, &err) != 0) {
        rpc_refuse(call, &err);
        return;
    }
    reader->call = call;
    reader_pump(reader);
}

static void logs_on_open(struct rpc_conn *conn)
{
    ((struct logs *)rpc_data(conn))->conn_count++;
}

static void logs_on_close(struct rpc_conn *conn, const struct err *why UNUSED)
{
    struct logs *logs = rpc_data(conn);
    struct reader *reader = reader_of(logs, conn);
    struct err err;

    if (reader != NULL) {
        err_set(&err, ERR_CLOSED, "the connection is closed");
        rpc_refuse(reader->call, &err);
        reader_end(reader);
    }
    ASSERT(logs->conn_count > 0);
    logs->conn_count--;
    logs_free_if_done(logs);
}

static const struct rpc_method methods[] = {
    {WIRE_LOGS, "logs", BIT(ROLE_USER), logs_on_call},
};

int logs_open(uv_loop_t *loop, struct tls_context *tls, const char *address, struct logs **ret,
              struct err *err)
{
    struct logs *logs = xcalloc(1, sizeof(*logs));
    struct rpc_options options = {.loop = loop,
                                  .tls = tls,
                                  .methods = methods,
                                  .method_count = ARRAY_SIZE(methods),
                                  .data = logs,
                                  .on_open = logs_on_open,
                                  .on_close = logs_on_close};

    logs->loop = loop;
    list_init(&logs->readers);
    int rc = rpc_listen(&options, address, &logs->server, err);
    if (rc != 0)
        free(logs);
    else
        *ret = logs;
    return rc;
}

void logs_serve(struct logs *logs, struct runner *runner)
{
    logs->runner = runner;
}

const char *logs_address(const struct logs *logs)
{
    return rpc_server_address(logs->server);
}

void logs_close(struct logs *logs)
{
    logs->closing = true;
    rpc_server_close(logs->server);
    logs_free_if_done(logs);
}
