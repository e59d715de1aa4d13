/*
 * shim_client.c - start a shim, talk to it, read its files.
 */
#include "shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
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
    spec->version = SHIM_VERSION;
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
    int fd = openat(dir_fd, "spec", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot create the attempt's spec");
    errno = ENOSPC;
    if (write(fd, bytes.bytes, bytes.size) != (ssize_t)bytes.size)
        return err_errno(err, errno, "cannot write the attempt's spec");
    return 0;
}

int shim_spec_read(int dir_fd, struct shim_spec *ret, char *ret_argv0, struct err *err)
{
    CLEANUP(buf_release) struct buf words = {0};
    size_t head = offsetof(struct shim_spec, words_bytes);
    CLEANUP(fd_close) int fd = openat(dir_fd, "spec", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return err_errno(err, errno, "cannot open the attempt's spec");
    if (read(fd, ret, sizeof(*ret)) != (ssize_t)sizeof(*ret) || ret->magic != SHIM_SPEC_MAGIC ||
        ret->version != SHIM_VERSION || ret->words_bytes > SHIM_WORDS_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "the attempt's spec is not of this version");
    char *bytes = buf_reserve(&words, ret->words_bytes);
    ssize_t n = read(fd, bytes, ret->words_bytes);
    if (n != (ssize_t)ret->words_bytes)
        return err_set(err, ERR_CORRUPT, "the attempt's spec is cut");
    words.size = ret->words_bytes;
    uint32_t crc = shim_crc(0, (const char *)ret + head, sizeof(*ret) - head);
    if (shim_crc(crc, words.bytes, words.size) != ret->crc || ret->port_count > SHIM_PORTS_MAX ||
        memchr(ret->job, '\0', sizeof(ret->job)) == NULL || ret->log_segment_bytes == 0)
        return err_set(err, ERR_CORRUPT, "the attempt's spec is damaged");
    if (ret_argv0 != NULL)
        str_copy(ret_argv0, SHIM_ARGV0_BYTES, words.size > 0 ? words.bytes : "");
    return 0;
}

static bool record_valid(const struct shim_record *record)
{
    return record->magic == SHIM_RECORD_MAGIC && record->version == SHIM_VERSION &&
           record->crc == shim_crc(0, record, offsetof(struct shim_record, crc));
}

int shim_record_read(int dir_fd, struct shim_state *ret, struct err *err)
{
    CLEANUP(fd_close) int fd = openat(dir_fd, "record", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct shim_record record;
    uint64_t seq = 0;

    for (int slot = 0; fd >= 0 && slot < 2; slot++) {
        off_t at = (off_t)slot * SHIM_RECORD_SLOT_BYTES;
        if (pread(fd, &record, sizeof(record), at) != (ssize_t)sizeof(record) ||
            !record_valid(&record) || record.seq <= seq)
            continue;
        seq = record.seq;
        *ret = record.state;
        ret->boot_id[sizeof(ret->boot_id) - 1] = '\0';
    }
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
    /* Not our stderr: who reads it must see its end when we end, whatever tasks go on running. */
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

int shim_spawn(const char *shim_path, const char *dir, int *ret_fd, pid_t *ret_pid, struct err *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return err_errno(err, errno, "cannot make a socket for a shim");
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

int shim_connect(int dir_fd, int *ret_fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_errno(err, errno, "cannot make a socket for a shim");
    /* A path of a socket is short (108 bytes); through the descriptor any directory is. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl.sock", dir_fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;
        close(fd);
        if (error == ECONNREFUSED || error == ENOENT)
            return err_set(err, ERR_CLOSED, "no shim is there");
        return err_errno(err, error, "cannot reach the shim");
    }
    *ret_fd = fd;
    return 0;
}

int shim_send(int fd, enum shim_request_kind kind, uint32_t grace_ms, struct err *err)
{
    struct shim_request request = {.version = SHIM_VERSION, .kind = kind, .grace_ms = grace_ms};

    if (send(fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_errno(err, errno, "cannot talk to the shim");
    return 0;
}

int shim_receive(int fd, struct shim_message *ret, struct err *err)
{
    ssize_t n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return err_set(err, ERR_CLOSED, "the shim is gone");
    if (n != (ssize_t)sizeof(*ret) || ret->version != SHIM_VERSION)
        return err_set(err, ERR_CORRUPT, "the shim speaks another version");
    ret->state.boot_id[sizeof(ret->state.boot_id) - 1] = '\0';
    return 1;
}

/* What could not be done, for a person. */
static void start_error_text(const struct shim_state *state, const char *argv0, char *text,
                             size_t size)
{
    const char *why = strerror(state->error);

    switch ((enum shim_stage)state->stage) {
    case SHIM_STAGE_EXEC:
        snprintf(text, size, "cannot execute \"%s\": %s", argv0, why);
        return;
    case SHIM_STAGE_SPEC:
        snprintf(text, size, "the shim cannot read the attempt's spec: %s", why);
        return;
    case SHIM_STAGE_RECORD:
        snprintf(text, size, "no place for the exit record on the machine's disk: %s", why);
        return;
    case SHIM_STAGE_CONTROL:
        snprintf(text, size, "the shim cannot open its socket: %s", why);
        return;
    case SHIM_STAGE_PIPES:
        snprintf(text, size, "cannot make the pipes for the output: %s", why);
        return;
    case SHIM_STAGE_FORK:
        snprintf(text, size, "cannot make a process: %s", why);
        return;
    case SHIM_STAGE_SESSION:
        snprintf(text, size, "cannot make a session for the task: %s", why);
        return;
    case SHIM_STAGE_CHDIR:
        snprintf(text, size, "cannot enter the task's directory: %s", why);
        return;
    }
    snprintf(text, size, "cannot start, stage %d: %s", state->stage, why);
}

/* What a machine lacks is not the fault of the task that was to be started there. */
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
                 "%" PRIu64 " bytes of its output were lost: no place on disk", dropped);
}
