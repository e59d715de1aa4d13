/*
 * logs.c - the readers of logs: their positions, what wakes them, when they end.
 */
#include "logs.h"
#include "log.h"
#include "own_file.h"
#include "wire.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRIES_MAX = 1000 };
#define SEGMENT_MAX (UINT64_C(1) << 31) /* 2^53 bytes and more: no log grows to that */

struct logs {
    uv_loop_t *loop;
    struct runner *runner;
    const struct identities *identities;
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
    uv_timer_t wake;
    bool watching; /* both handles are open */
    int handles;   /* of them, not yet closed */
};

/* The bytes of a stream that exist: [first, end). */
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

static void reader_on_handle_close(uv_handle_t *handle)
{
    struct reader *reader = handle->data;

    if (--reader->handles == 0)
        reader_free(reader);
}

static void logs_free_if_done(struct logs *logs)
{
    if (logs->closing && logs->conn_count == 0)
        free(logs);
}

/* End a reader whose call is answered or whose connection is closed. */
static void reader_end(struct reader *reader)
{
    list_remove(&reader->link);
    reader->logs->reader_count--;
    if (!reader->watching) {
        reader_free(reader);
        return;
    }
    uv_close((uv_handle_t *)&reader->event, reader_on_handle_close);
    uv_close((uv_handle_t *)&reader->wake, reader_on_handle_close);
}

/*
 * Find the lowest and the highest segment of the stream from number `from` on; false: there is
 * none. A task may fill its directory with files; an entry beyond the limit is not one of the shim.
 */
static bool segments_find(const struct reader *reader, uint64_t from, uint64_t *ret_low,
                          uint64_t *ret_high)
{
    int fd = openat(reader->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t length = strlen(reader->stream);
    struct dirent *item;
    bool found = false;

    for (int i = 0; i < ENTRIES_MAX && dir != NULL && (item = readdir(dir)) != NULL; i++) {
        if (strncmp(item->d_name, reader->stream, length) != 0 || item->d_name[length] != '.' ||
            !isdigit((unsigned char)item->d_name[length + 1]))
            continue;
        uint64_t number = strtoull(item->d_name + length + 1, NULL, 10);
        if (number < from || number > SEGMENT_MAX)
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
        extent.end += MIN((uint64_t)MAX(st.st_size, 0), reader->segment_bytes);
    return extent;
}

static int segment_open(struct reader *reader, uint64_t segment, struct err *err)
{
    char name[32];

    segment_name(reader, segment, name, sizeof(name));
    reader->segment = segment;
    return own_file_open(reader->dir_fd, name, reader->segment_bytes, &reader->file_fd, err);
}

/* Open the file that contains `reader->offset`, or else the next one that exists. ERR_NOT_FOUND:
 * the offset is at the end. */
static int reader_open_segment(struct reader *reader, struct err *err)
{
    uint64_t want = reader->offset / reader->segment_bytes, next, high;

    if (reader->file_fd >= 0 && reader->segment == want)
        return 0;
    if (reader->file_fd >= 0)
        close(reader->file_fd);
    reader->file_fd = -1;
    int rc = segment_open(reader, want, err);
    if (rc == -ERR_NOT_FOUND && segments_find(reader, want, &next, &high)) {
        /* The segment was removed meanwhile: continue with the oldest one. */
        rc = segment_open(reader, next, err);
        reader->offset = MAX(reader->offset, next * reader->segment_bytes);
    }
    return rc;
}

/* Send the next chunk. Returns 1: sent; 0: there is nothing more now; ERR_CLOSED: the connection
 * failed; any other error: the log cannot be read. */
static int reader_send(struct reader *reader, struct err *err)
{
    static char bytes[LOGS_CHUNK_BYTES];
    CLEANUP(buf_release) struct buf body = {0};

    int rc = reader_open_segment(reader, err);
    if (rc != 0)
        return err->code == ERR_NOT_FOUND ? 0 : rc;
    uint64_t at = reader->offset - reader->segment * reader->segment_bytes;
    size_t room = (size_t)MIN((uint64_t)sizeof(bytes), reader->segment_bytes - at);
    ssize_t n = pread(reader->file_fd, bytes, room, (off_t)at);
    if (n <= 0)
        return 0;
    struct wire_log_chunk chunk = {.bytes = bytes, .size = (size_t)n, .offset = reader->offset};
    wire_pack_log_chunk(&body, &chunk);
    if (rpc_notify(reader->conn, WIRE_LOG_CHUNK, body.bytes, body.size) != 0)
        return err_set(err, ERR_CLOSED, "the connection failed");
    reader->offset += (uint64_t)n;
    return 1;
}

static bool attempt_live(const struct reader *reader)
{
    struct attempt *attempt = runner_find(reader->logs->runner, reader->task);

    return attempt != NULL && attempt->phase != ATTEMPT_ENDED;
}

static void logs_on_drain(struct rpc_conn *conn);

/* Send as much as the connection accepts, and answer the call when everything is sent. */
static void reader_pump(struct reader *reader)
{
    bool last; /* asked before reading: when the end is seen, everything is in the files */
    struct err err;
    int rc;

    if (reader->logs->closing)
        return;
    last = !reader->follow || !attempt_live(reader);
    do {
        if (rpc_queued(reader->conn) > LOGS_QUEUE_BYTES_MAX) {
            rpc_on_drain(reader->conn, logs_on_drain);
            return;
        }
        rc = reader_send(reader, &err);
    } while (rc == 1);
    if (rc == 0 && !last)
        return;
    if (rc < 0 && err.code == ERR_CLOSED) {
        rpc_close(reader->conn);
        return; /* on_close() ends the reader */
    }
    if (rc < 0)
        rpc_refuse(reader->call, &err);
    else
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

static void reader_on_wake(uv_timer_t *timer)
{
    reader_pump(timer->data);
}

/* A task may cause any number of events; each one costs no more than this. */
static void logs_on_write(uv_fs_event_t *event, const char *name UNUSED, int events UNUSED,
                          int status UNUSED)
{
    struct reader *reader = event->data;

    if (!uv_is_active((uv_handle_t *)&reader->wake))
        uv_timer_start(&reader->wake, reader_on_wake, LOGS_WAKE_MS, 0);
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

/* Open the directory of the requested attempt; attempt 0 is the newest of the task. */
static bool attempt_locate(struct logs *logs, const struct wire_logs *request, struct buf *path,
                           struct attempt_ref *ret_task)
{
    const struct archive *archive = runner_archive(logs->runner);
    const struct archive_entry *entry =
        archive_find(archive, (task_id){request->task}, request->attempt);
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
    buf_printf(path, "%s/%s", archive->path, entry->name);
    *ret_task = entry->task;
    return true;
}

static void name_attempt(struct buf *to, const char *job, struct attempt_ref task)
{
    buf_printf(to, "%s%s/%" PRIu32 " attempt %" PRIu32, to->size == 0 ? "" : ", ", job,
               task_index(task.task), task.attempt);
}

/* Tell which attempts of the job exist, so that the next call can be right. */
static int not_found(struct logs *logs, const struct wire_logs *request, struct err *err)
{
    enum { NAMED_BYTES_MAX = 300 };
    CLEANUP(buf_release) struct buf there = {0};
    CLEANUP(buf_release) struct buf which = {0};
    const struct archive *archive = runner_archive(logs->runner);
    struct attempt_ref task;
    char job[CELL_NAME_MAX + 1];

    LIST_EACH(l, runner_attempts(logs->runner))
    {
        struct attempt *a = CONTAINER_OF(l, struct attempt, link);
        if (strcmp(a->job, request->job) == 0 && there.size < NAMED_BYTES_MAX)
            name_attempt(&there, a->job, a->task);
    }
    for (size_t i = archive->count; i-- > 0;)
        if (attempt_name_parse(archive->entries[i].name, job, &task) &&
            strcmp(job, request->job) == 0 && there.size < NAMED_BYTES_MAX)
            name_attempt(&there, job, task);
    if (request->attempt != 0)
        buf_printf(&which, " attempt %" PRIu32, request->attempt);
    return err_set(err, ERR_NOT_FOUND, "no log of task %s/%" PRIu32 "%s on this machine; %s%s",
                   request->job, task_index((task_id){request->task}), buf_text(&which),
                   there.size == 0 ? "there is none of that job" : "there are: ", buf_text(&there));
}

/* Check that the user of this connection may read the output of the task. */
static int reader_check(const struct reader *reader, const struct shim_spec *spec, struct err *err)
{
    const char *user = rpc_peer(reader->conn)->name;

    if (strcmp(user, spec->user) == 0 || identities_may_read(reader->logs->identities, user))
        return 0;
    log_debug("logs.refused user=%s job=%s", log_quoted(user), log_quoted(spec->job));
    if (access_refuse(wire_rule(WIRE_LOGS)->access, user, spec->user, wire_rule(WIRE_LOGS)->deed,
                      err) == 0)
        UNREACHABLE("a refusal that is none");
    return err_wrap(err, "job \"%s\"", spec->job);
}

static int reader_locate(struct reader *reader, const struct wire_logs *request, struct buf *path,
                         struct err *err)
{
    struct shim_spec spec;

    if (!attempt_locate(reader->logs, request, path, &reader->task))
        return not_found(reader->logs, request, err);
    reader->dir_fd = open(buf_text(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->dir_fd < 0)
        return err_errno(err, errno, "cannot open the log");
    int rc = shim_spec_read(reader->dir_fd, &spec, NULL, err);
    if (rc != 0)
        return rc;
    if (strcmp(spec.job, request->job) != 0)
        return not_found(reader->logs, request, err);
    rc = reader_check(reader, &spec, err);
    if (rc != 0)
        return rc;
    reader->segment_bytes = spec.log_segment_bytes;
    struct extent extent = stream_extent(reader);
    uint64_t size = extent.end - extent.first;
    reader->offset = extent.end - MIN(size, request->tail_bytes);
    if (request->from != 0)
        reader->offset = MAX(extent.first, request->from);
    return 0;
}

static void reader_watch(struct reader *reader, const char *path)
{
    if (uv_fs_event_init(reader->logs->loop, &reader->event) != 0)
        return;
    uv_timer_init(reader->logs->loop, &reader->wake);
    reader->event.data = reader;
    reader->wake.data = reader;
    reader->watching = true;
    reader->handles = 2;
    int rc = uv_fs_event_start(&reader->event, logs_on_write, path, 0);
    if (rc != 0)
        log_warn("logs.watch_failed reason=%s action=\"the follower gets the rest at the end\"",
                 log_quoted(uv_strerror(rc)));
}

/* Return how many logs the user is reading. */
static size_t readers_of(const struct logs *logs, const struct identity *user)
{
    size_t count = 0;

    LIST_EACH(l, &logs->readers)
    {
        const struct identity *other = rpc_peer(CONTAINER_OF(l, struct reader, link)->conn);
        count += other->role == user->role && strcmp(other->name, user->name) == 0;
    }
    return count;
}

static int reader_open(struct logs *logs, struct rpc_conn *conn, const struct wire_logs *request,
                       struct reader **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};

    if (reader_of(logs, conn) != NULL)
        return err_set(err, ERR_STATE, "one log at a time on a connection");
    const struct identity *user = rpc_peer(conn);
    if (readers_of(logs, user) >= LOGS_READERS_PER_USER)
        return err_set(err, ERR_LIMIT,
                       "%s reads %d logs on this machine already, no more; end one of them",
                       identity_text(user).text, LOGS_READERS_PER_USER);
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
        return; /* a notice has no answer */
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
    WIRE_SERVE(LOGS, logs_on_call),
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

void logs_serve(struct logs *logs, struct runner *runner, const struct identities *identities)
{
    logs->identities = identities;
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
