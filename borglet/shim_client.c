/*
 * shim_client.c - start a shim, talk to it, read its files.
 */
#include "shim_client.h"
#include "own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void fd_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

int shim_spec_write(int dir_fd, struct shim_spec *spec, const struct words *argv,
                    const struct words *env, struct err *err)
{
    CLEANUP(buf_release) struct buf bytes = {0};
    size_t words_bytes = (size_t)argv->size + env->size;
    size_t head = offsetof(struct shim_spec, words_bytes);

    ASSERT(argv->count > 0);
    if (argv->count > SHIM_WORDS_MAX || env->count > SHIM_WORDS_MAX ||
        words_bytes > SHIM_WORDS_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "command line and environment are too large (%zu bytes)",
                       words_bytes);
    spec->magic = SHIM_SPEC_MAGIC;
    spec->version = SHIM_VERSION_MAX;
    spec->version_min = SHIM_VERSION_MIN;
    spec->head_bytes = sizeof(*spec);
#if SHIM_VERSION_MAX >= 5
    spec->appended = SHIM_VERSION_MAX;
#endif
    spec->argc = argv->count;
    spec->envc = env->count;
    spec->words_bytes = (uint32_t)words_bytes;
    spec->crc = shim_crc(0, (const char *)spec + head, sizeof(*spec) - head);
    spec->crc = shim_crc(spec->crc, argv->bytes, argv->size);
    spec->crc = shim_crc(spec->crc, env->bytes, env->size);
    buf_append(&bytes, spec, sizeof(*spec));
    buf_append(&bytes, argv->bytes, argv->size);
    buf_append(&bytes, env->bytes, env->size);

    CLEANUP(fd_close)
    int fd = openat(dir_fd, "spec", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot create the attempt's spec");
    errno = ENOSPC;
    if (write(fd, bytes.bytes, bytes.size) != (ssize_t)bytes.size)
        return err_errno(err, errno, "cannot write the attempt's spec");
    return 0;
}

int shim_spec_read(int dir_fd, struct shim_spec *ret, char *ret_argv0, struct err *err)
{
    enum { FILE_BYTES_MAX = SHIM_HEAD_BYTES_MAX + SHIM_WORDS_BYTES_MAX };
    CLEANUP(buf_release) struct buf file = {0};
    const char *words;
    int fd;

    int rc = own_file_open(dir_fd, "spec", FILE_BYTES_MAX, &fd, err);
    if (rc != 0)
        return rc;
    ssize_t n = read(fd, buf_reserve(&file, FILE_BYTES_MAX), FILE_BYTES_MAX);
    close(fd);
    if (n < 0 || !shim_spec_take(file.bytes, (size_t)n, ret, &words) ||
        ret->port_count > SHIM_PORTS_MAX || memchr(ret->job, '\0', sizeof(ret->job)) == NULL ||
        memchr(ret->user, '\0', sizeof(ret->user)) == NULL || ret->log_segment_bytes == 0)
        return err_set(err, ERR_CORRUPT, "the attempt's spec is damaged");
    if (ret_argv0 != NULL)
        snprintf(ret_argv0, SHIM_ARGV0_BYTES, "%.*s", (int)ret->words_bytes, words);
    return 0;
}

int shim_record_read(int dir_fd, struct shim_state *ret, struct err *err)
{
    char bytes[SHIM_RECORD_BYTES] = "";
    uint64_t seq = 0;
    int fd;

    int rc = own_file_open(dir_fd, "record", SHIM_RECORD_BYTES, &fd, err);
    if (rc != 0)
        return rc;
    ssize_t n = read(fd, bytes, sizeof(bytes));
    close(fd);
    for (ssize_t at = 0; at + SHIM_RECORD_SLOT_BYTES <= n; at += SHIM_RECORD_SLOT_BYTES)
        (void)shim_record_take(bytes + at, &seq, ret);
    if (seq == 0)
        return err_set(err, ERR_NOT_FOUND, "the attempt has no valid record");
    return 0;
}

static int spawn_child(const char *shim_path, const char *dir, int child_fd, pid_t *ret_pid)
{
    char *argv[] = {(char *)shim_path, (char *)dir, NULL};
    char *env[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* The shim does not get the stderr of this process: a reader of it must see its end when
     * this process ends, although tasks continue. */
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    posix_spawn_file_actions_adddup2(&actions, child_fd, SHIM_FD);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawn(ret_pid, shim_path, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int shim_hello(int fd, struct err *err)
{
    const struct shim_hello hello = {.version = SHIM_VERSION_FIRST,
                                     .kind = SHIM_HELLO,
                                     .version_min = SHIM_VERSION_MIN,
                                     .version_max = SHIM_VERSION_MAX};

    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_errno(err, errno, "cannot send to the shim");
    return 0;
}

int shim_spawn(const char *shim_path, const char *dir, int *ret_fd, pid_t *ret_pid, struct err *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return err_errno(err, errno, "cannot create a socket for a shim");
    /* The shim looks for the hello when it starts, so the hello is there before the shim is. */
    int rc = shim_hello(fds[0], err);
    if (rc != 0) {
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    /* dup2 onto itself would keep close-on-exec. */
    int child_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, SHIM_FD + 1);
    int error = child_fd < 0 ? errno : spawn_child(shim_path, dir, child_fd, ret_pid);
    close(fds[1]);
    if (child_fd >= 0)
        close(child_fd);
    if (error != 0) {
        close(fds[0]);
        return err_errno(err, error, "cannot start the shim \"%s\"", shim_path);
    }
    *ret_fd = fds[0];
    return 0;
}

/* Open the path of the socket, without following a link. Returns a descriptor for the path only. */
static int socket_find(int dir_fd, struct err *err)
{
    struct stat st;
    int fd = openat(dir_fd, "ctl.sock", O_PATH | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_CLOSED, "no shim is there");
    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return err_errno(err, error, "cannot find the shim's socket");
    }
    if (S_ISSOCK(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0))
        return fd;
    close(fd);
    return own_file_wrong("ctl.sock", &st, err);
}

/* Check that the peer is a shim of this user. */
static int peer_check(int fd, pid_t *ret_pid, struct err *err)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return err_errno(err, errno, "cannot read the credentials of the shim");
    if (peer.uid != geteuid() && peer.uid != 0)
        return err_set(err, ERR_CORRUPT, "\"ctl.sock\" is a socket of user %u, not of its shim",
                       peer.uid);
    *ret_pid = peer.pid;
    return 0;
}

int shim_connect(int dir_fd, int *ret_fd, pid_t *ret_pid, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int path_fd = socket_find(dir_fd, err);

    if (path_fd < 0)
        return path_fd;
    int rc, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* A path in a socket address is limited to 108 bytes; /proc/self/fd is short for any
     * directory. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path_fd);
    if (fd < 0)
        rc = err_errno(err, errno, "cannot create a socket for a shim");
    else if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        rc = peer_check(fd, ret_pid, err);
    else if (errno == ECONNREFUSED || errno == ENOENT)
        rc = err_set(err, ERR_CLOSED, "no shim is there");
    else if (errno == EPROTOTYPE)
        rc = err_set(err, ERR_CORRUPT, "\"ctl.sock\" is a socket of another kind, not its shim's");
    else if (errno == EACCES || errno == EPERM)
        rc = err_set(
            err, ERR_CORRUPT,
            "the attempt's directory was tampered with: no permission to connect to \"ctl.sock\"");
    else /* EAGAIN: its queue is full */
        rc = err_errno(err, errno, "cannot reach the shim");
    close(path_fd);
    if (rc == 0)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return rc;
}

int shim_send(int fd, enum shim_request_kind kind, uint32_t grace_ms, struct err *err)
{
    struct shim_request request = {
        .version = SHIM_VERSION_FIRST, .kind = kind, .grace_ms = grace_ms};

    if (send(fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_errno(err, errno, "cannot send to the shim");
    return 0;
}

static int version_refuse(uint32_t min, uint32_t max, struct err *err)
{
    return err_set(err, ERR_STATE,
                   "its shim speaks versions %" PRIu32 " to %" PRIu32 ", this borglet %d to %d",
                   min, max, SHIM_VERSION_MIN, SHIM_VERSION_MAX);
}

static int hello_take(const char *bytes, size_t size, struct shim_message *ret, struct err *err)
{
    struct shim_hello hello;

    if (size < sizeof(hello))
        return err_set(err, ERR_CORRUPT, "its shim sent a truncated hello of %zu bytes", size);
    memcpy(&hello, bytes, sizeof(hello));
    if (hello.version_min == 0 || hello.version_min > hello.version_max)
        return err_set(err, ERR_CORRUPT,
                       "its shim sent a hello with the range of versions %" PRIu32 " to %" PRIu32,
                       hello.version_min, hello.version_max);
    ret->kind = SHIM_HELLO_ANSWER;
    ret->version = shim_version_common(hello.version_min, hello.version_max);
    if (ret->version == 0)
        return version_refuse(hello.version_min, hello.version_max, err);
    return 1;
}

int shim_receive(int fd, struct shim_message *ret, struct err *err)
{
    const size_t head = offsetof(struct shim_message, state);
    char bytes[SHIM_MESSAGE_BYTES_MAX];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return err_set(err, ERR_CLOSED, "the shim closed the connection");
    if ((size_t)n < head)
        return err_set(err, ERR_CORRUPT, "its shim sent a truncated message of %zd bytes", n);
    memcpy(ret, bytes, head);
    if (ret->version == SHIM_VERSION_FIRST && ret->kind == SHIM_HELLO_ANSWER)
        return hello_take(bytes, (size_t)n, ret, err);
    if (shim_version_common(ret->version, ret->version) == 0)
        return version_refuse(ret->version, ret->version, err);
    if (ret->kind > SHIM_REFUSED ||
        !shim_state_take(bytes + head, (size_t)n - head, ret->version, &ret->state))
        return err_set(err, ERR_CORRUPT, "its shim sent a message that makes no sense");
    return 1;
}

/* The detail is more important than the beginning of a long path. */
static void exec_error_text(const struct shim_state *state, const char *argv0, char *text,
                            size_t size)
{
    enum { ARGV0_SHOWN = 32 };
    size_t length = strlen(argv0);
    bool cut = state->detail[0] != '\0' && length > ARGV0_SHOWN;

    snprintf(text, size, "cannot execute \"%s%s\": %s", cut ? "..." : "",
             argv0 + (cut ? length - ARGV0_SHOWN : 0),
             state->detail[0] != '\0' ? state->detail : strerror(state->error));
}

/* Describe a start error to users. */
static void start_error_text(const struct shim_state *state, const char *argv0, char *text,
                             size_t size)
{
    const char *why = strerror(state->error);

    switch ((enum shim_stage)state->stage) {
    case SHIM_STAGE_EXEC:
        exec_error_text(state, argv0, text, size);
        return;
    case SHIM_STAGE_SPEC:
        if (state->error == EPROTONOSUPPORT) {
            snprintf(text, size,
                     "borg-shim speaks versions %" PRIu32 " to %" PRIu32
                     ", this borglet %d to %d: install both from one release",
                     state->version_min, state->version_max, SHIM_VERSION_MIN, SHIM_VERSION_MAX);
            return;
        }
        snprintf(text, size, "the shim cannot read the attempt's spec: %s", why);
        return;
    case SHIM_STAGE_RECORD:
        snprintf(text, size, "the machine's disk has no space for the exit record: %s", why);
        return;
    case SHIM_STAGE_CONTROL:
        snprintf(text, size, "the shim cannot open its socket: %s", why);
        return;
    case SHIM_STAGE_PIPES:
        snprintf(text, size, "cannot create the pipes for the output: %s", why);
        return;
    case SHIM_STAGE_FORK:
        snprintf(text, size, "cannot create a process: %s", why);
        return;
    case SHIM_STAGE_SESSION:
        snprintf(text, size, "cannot create a session for the task: %s", why);
        return;
    case SHIM_STAGE_CHDIR:
        snprintf(text, size, "cannot enter the task's directory: %s", why);
        return;
    }
    snprintf(text, size, "cannot start, stage %d: %s", state->stage, why);
}

/* A shortage of the machine is not the fault of the task. */
static enum report_fault start_error_fault(const struct shim_state *state)
{
    static const int lacks[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT, EIO, EROFS, EINTR};

    if (state->stage != SHIM_STAGE_EXEC)
        return FAULT_MACHINE;
    for (size_t i = 0; i < ARRAY_SIZE(lacks); i++)
        if (state->error == lacks[i])
            return FAULT_MACHINE;
    return FAULT_TASK;
}

void shim_end_report(const struct shim_state *state, const char *argv0, struct report *ret)
{
    uint64_t dropped = state->dropped_bytes[0] + state->dropped_bytes[1];

    ret->pid = state->task_pid;
    ret->fault = FAULT_TASK;
    ret->told_to_stop = false;
    ret->detail[0] = '\0';
    if (state->end == SHIM_END_START_ERROR) {
        ret->kind = REPORT_START_ERROR;
        ret->exit_code = 0;
        ret->fault = start_error_fault(state);
        start_error_text(state, argv0, ret->detail, sizeof(ret->detail));
        return;
    }
    ret->kind = REPORT_EXITED;
    ret->told_to_stop = state->stopping != 0;
    ret->exit_code = state->end == SHIM_END_SIGNAL ? -state->code : state->code;
    if (dropped > 0)
        snprintf(ret->detail, sizeof(ret->detail),
                 "%" PRIu64 " bytes of its output were lost: the disk was full", dropped);
}
