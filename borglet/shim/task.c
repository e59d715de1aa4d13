/*
 * task.c - start, reap and kill the processes of the task.
 *
 * The shim is the subreaper of the task: orphans become children of the shim. When the process of
 * the task has ended and waitpid() finds no child, no process is left. Every death of a child
 * raises SIGCHLD, after which its orphans are children of the shim; killing all children each time
 * ends the whole tree without a timer.
 */
#include "processes.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASK_DESCRIPTORS = 1024 };

struct start_error {
    int32_t stage;
    int32_t error;
    char detail[SHIM_DETAIL_BYTES];
};
_Static_assert(sizeof(struct start_error) <= PIPE_BUF, "comes whole or not at all");

static void child_tell(int fd, const struct start_error *e)
{
    ssize_t n = write(fd, e, sizeof(*e));

    _exit(n == (ssize_t)sizeof(*e) ? 127 : 126);
}

static void child_fail(int fd, enum shim_stage stage)
{
    struct start_error e = {.stage = (int32_t)stage, .error = errno};

    child_tell(fd, &e);
}

/* The directory is opened without following a link that may have replaced it. */
static bool work_enter(void)
{
    int fd = open("work", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 && fchdir(fd) == 0;
}

/* The borglet has raised its own limit, but programs that use select() rely on the usual soft
 * limit. */
static void descriptors_lower(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= TASK_DESCRIPTORS)
        return;
    limit.rlim_cur = TASK_DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Run in the child between fork and exec. */
static void child_run(const struct shim *s, int error_fd)
{
    struct start_error e = {.stage = SHIM_STAGE_EXEC};
    sigset_t none;

    umask(022);
    descriptors_lower();
    if (setsid() < 0)
        child_fail(error_fd, SHIM_STAGE_SESSION);
    /* A program with more privileges than the shim could not be stopped any more. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        child_fail(error_fd, SHIM_STAGE_SESSION);
    if (dup2(s->logs[0].task_fd, 1) < 0 || dup2(s->logs[1].task_fd, 2) < 0)
        child_fail(error_fd, SHIM_STAGE_PIPES);
    if (!work_enter())
        child_fail(error_fd, SHIM_STAGE_CHDIR);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    e.error = task_exec(s->argv, s->env, e.detail);
    child_tell(error_fd, &e);
}

static void start_failed(struct shim *s, enum shim_stage stage, int error)
{
    s->state.phase = SHIM_ENDED;
    s->state.end = SHIM_END_START_ERROR;
    s->state.stage = (int32_t)stage;
    s->state.error = error;
    s->state.ended_ms = now_wall_ms();
}

void task_start(struct shim *s)
{
    struct process process;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        start_failed(s, SHIM_STAGE_PIPES, errno);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        child_run(s, fds[1]);
    int error = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        start_failed(s, SHIM_STAGE_FORK, error);
        return;
    }
    s->start_fd = fds[0];
    s->state.task_pid = pid;
    if (process_read(pid, &process))
        s->state.starttime = process.starttime;
    /* If the shim is killed now, the borglet can still find and kill the task. */
    record_write(s);
}

bool task_started(struct shim *s)
{
    struct start_error e;
    ssize_t n = read(s->start_fd, &e, sizeof(e));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    close(s->start_fd);
    s->start_fd = -1;
    if (n == (ssize_t)sizeof(e)) {
        waitpid(s->state.task_pid, NULL, 0);
        s->state.task_pid = 0;
        memcpy(s->state.detail, e.detail, sizeof(s->state.detail));
        start_failed(s, (enum shim_stage)e.stage, e.error);
    } else {
        s->state.phase = SHIM_RUNNING;
        s->state.started_ms = now_wall_ms();
    }
    return true;
}

void task_signal_all(struct shim *s, int signal)
{
    size_t count;
    pid_t group = s->main_ended ? 0 : s->state.task_pid;

    /* While the process is not reaped its pid cannot belong to another one. */
    if (group > 0)
        kill(-group, signal);
    struct process *all = processes_read(&count);
    pid_t self = getpid();
    processes_descend(all, count, &self, 1);
    for (size_t i = 0; i < count; i++)
        if (all[i].root == self && (group == 0 || all[i].group != group))
            kill(all[i].pid, signal);
    free(all);
}

/*
 * Send SIGKILL to all children that the kernel lists. The list is one short file, so that even
 * processes that fork and exit all the time are caught. Their own children become children of the
 * shim with the next SIGCHLD.
 */
static bool children_kill(void)
{
    char path[64], text[4096];
    size_t kept = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false; /* a kernel without CONFIG_PROC_CHILDREN */
    while ((n = read(fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
        size_t size = kept + (size_t)n;
        text[size] = '\0';
        char *at = text;
        for (char *space; (space = strchr(at, ' ')) != NULL; at = space + 1) {
            pid_t pid = (pid_t)strtol(at, NULL, 10);
            if (pid > 1)
                kill(pid, SIGKILL);
        }
        /* A number that was cut at the end of the buffer continues in the next read. */
        kept = size - (size_t)(at - text);
        memmove(text, at, kept);
    }
    close(fd);
    return true;
}

void task_stop(struct shim *s, uint32_t grace_ms)
{
    uint64_t kill_at = now_mono_ms() + grace_ms;

    /* The task has ended by itself; its remaining processes are being killed, and nobody stopped
     * it. */
    if (s->state.phase != SHIM_RUNNING || s->main_ended)
        return;
    if (s->state.stopping) {
        /* A second request can only shorten the grace. */
        if (s->kill_at_ms != 0 && kill_at < s->kill_at_ms)
            s->kill_at_ms = kill_at;
        return;
    }
    s->state.stopping = 1;
    s->kill_at_ms = kill_at;
    record_write(s);
    if (grace_ms > 0) {
        task_signal_all(s, SIGTERM);
        task_signal_all(s, SIGCONT);
    }
}

static void main_reap(struct shim *s)
{
    struct rusage used;
    int status;

    /* This comes before reaping, because afterwards the pid may belong to another group. */
    kill(-s->state.task_pid, SIGKILL);
    if (wait4(s->state.task_pid, &status, 0, &used) < 0)
        return;
    s->main_ended = true;
    s->state.end = WIFSIGNALED(status) ? SHIM_END_SIGNAL : SHIM_END_EXIT;
    s->state.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    s->state.user_us = (uint64_t)used.ru_utime.tv_sec * 1000000 + (uint64_t)used.ru_utime.tv_usec;
    s->state.system_us = (uint64_t)used.ru_stime.tv_sec * 1000000 + (uint64_t)used.ru_stime.tv_usec;
    s->state.rss_max_bytes = (uint64_t)used.ru_maxrss * 1024;
}

bool task_reap(struct shim *s)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            return s->main_ended; /* ECHILD: nothing is left */
        if (info.si_pid == 0)
            break;
        if (info.si_pid == s->state.task_pid && !s->main_ended)
            main_reap(s);
        else
            waitpid(info.si_pid, NULL, 0);
    }
    if (s->main_ended && !children_kill())
        task_signal_all(s, SIGKILL);
    return false;
}
