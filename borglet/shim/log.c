/*
 * log.c - copy one stream of the task from its pipe into segments of a fixed size.
 *
 * Segment N always contains the bytes [N * segment_bytes, (N + 1) * segment_bytes) of the stream:
 * files are never renamed, so a reader finds any offset without asking and cannot lose its
 * position; the oldest segments are unlinked. Bytes that do not fit on the disk are dropped and
 * counted; the task never waits.
 *
 * The task's end is opened O_RDWR through /proc/self/fd: the pipe then always has a reader, and a
 * task whose shim was killed does not get SIGPIPE. The pipe is writable for every user with a
 * process that has it open: /dev/stdout also works after the task has changed its user.
 *
 * A segment is always a new file. Anything that the task has put in its place is removed; if this
 * fails, the output is dropped and counted.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536, FINISH_BYTES_MAX = 4 << 20, PATH_BYTES = 32 };

int log_open(struct log_stream *l, const char *name, const struct shim_spec *spec)
{
    char path[PATH_BYTES];
    int fds[2];

    memset(l, 0, sizeof(*l));
    snprintf(l->name, sizeof(l->name), "%s", name);
    l->file_fd = -1;
    l->segment_bytes = spec->log_segment_bytes;
    l->segments = spec->log_segments;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
    l->task_fd = open(path, O_RDWR | O_CLOEXEC);
    if (l->task_fd < 0 || fchmod(l->task_fd, 0666) < 0)
        return errno;
    close(fds[1]);
    l->read_fd = fds[0];
    if (fcntl(l->read_fd, F_SETFL, O_NONBLOCK) < 0)
        return errno;
    return 0;
}

static void segment_path(const struct log_stream *l, uint64_t segment, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s.%llu", l->name, (unsigned long long)segment);
}

static int segment_create(const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, flags, 0600);

    if (fd < 0 && errno == EEXIST && unlink(path) == 0)
        fd = open(path, flags, 0600);
    return fd;
}

/* Open the file to which byte `l->size` belongs; false: this failed, see l->error. */
static bool segment_ready(struct log_stream *l)
{
    uint64_t segment = l->size / l->segment_bytes;
    char path[PATH_BYTES];

    if (l->file_fd >= 0 && l->segment == segment)
        return true;
    segment_path(l, segment, path);
    int fd = segment_create(path);
    if (fd < 0) {
        l->error = errno;
        return false;
    }
    if (l->file_fd >= 0)
        close(l->file_fd);
    l->file_fd = fd;
    l->segment = segment;
    if (segment >= l->segments) {
        segment_path(l, segment - l->segments, path);
        unlink(path);
    }
    return true;
}

/* Write to the segments. Returns how many bytes were stored. */
static size_t log_write(struct log_stream *l, const char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size && segment_ready(l)) {
        size_t room = (size_t)(l->segment_bytes - l->size % l->segment_bytes);
        size_t part = size - done < room ? size - done : room;
        ssize_t n = write(l->file_fd, bytes + done, part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            l->error = n < 0 ? errno : ENOSPC;
            break;
        }
        done += (size_t)n;
        l->size += (uint64_t)n;
    }
    return done;
}

/* Note the number of lost bytes in the log once there is space again. */
static bool log_tell_losses(struct log_stream *l)
{
    char note[160];

    if (l->dropped == l->dropped_logged)
        return true;
    int size = snprintf(note, sizeof(note), "\n[borg: %llu bytes of output are lost here: %s]\n",
                        (unsigned long long)(l->dropped - l->dropped_logged), strerror(l->error));
    if (log_write(l, note, (size_t)size) < (size_t)size)
        return false;
    l->dropped_logged = l->dropped;
    return true;
}

bool log_pump(struct log_stream *l, size_t limit)
{
    static char chunk[CHUNK_BYTES];

    for (size_t moved = 0; moved < limit;) {
        ssize_t n = read(l->read_fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        size_t stored = log_tell_losses(l) ? log_write(l, chunk, (size_t)n) : 0;
        l->dropped += (uint64_t)n - stored;
        moved += (size_t)n;
    }
    return true;
}

void log_finish(struct log_stream *l)
{
    /* The loop is bounded, because an escaped process might write for ever. */
    log_pump(l, FINISH_BYTES_MAX);
    log_tell_losses(l);
    if (l->file_fd >= 0)
        close(l->file_fd);
    l->file_fd = -1;
    close(l->read_fd);
    close(l->task_fd);
    l->read_fd = -1;
    l->task_fd = -1;
}
