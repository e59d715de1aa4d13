/*
 * proc.c - start, recognise and stop processes.
 */
#include "proc.h"
#include "clock.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MS = 20, RECORD_MS = 200 };

struct proc_stat {
    pid_t parent;
    char state;
    uint64_t start_time;
};

static bool stat_read(pid_t pid, struct proc_stat *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    /* The name in parentheses may contain anything, also parentheses. */
    const char *after = strrchr(text, ')');
    int parent;
    unsigned long long start;
    if (after == NULL ||
        sscanf(after + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ret->state, &parent, &start) != 3)
        return false;
    ret->parent = parent;
    ret->start_time = start;
    return true;
}

uint64_t proc_start_time(pid_t pid)
{
    struct proc_stat st;
    if (pid <= 0 || !stat_read(pid, &st) || st.state == 'Z' || st.state == 'X')
        return 0;
    return st.start_time;
}

bool proc_alive(const struct proc *proc)
{
    return proc->start_time != 0 && proc_start_time(proc->pid) == proc->start_time;
}

bool proc_read(const char *pid_path, struct proc *ret)
{
    FILE *file = fopen(pid_path, "re");
    int pid = 0;
    unsigned long long start = 0;
    if (file == NULL)
        return false;
    int n = fscanf(file, "%d %llu", &pid, &start);
    fclose(file);
    *ret = (struct proc){.pid = pid, .start_time = start};
    return n == 2 && proc_alive(ret);
}

/* Runs in the child. Functions that are not async-signal-safe are allowed: borgctl has one thread.
 */
static int pid_file_write(const char *path)
{
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "we");
    if (file == NULL)
        return -1;
    fprintf(file, "%d %" PRIu64 "\n", (int)getpid(), proc_start_time(getpid()));
    if (fclose(file) != 0)
        return -1;
    return rename(temporary, path);
}

_Noreturn static void child_become(char *const *argv, int log, const char *pid_path, int failure)
{
    int null = open("/dev/null", O_RDONLY);
    setsid();
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    /* Close the descriptors that borgctl inherited (a pipe, a lock): the process would keep them
     * open. */
    if (failure != STDERR_FILENO + 1) {
        dup2(failure, STDERR_FILENO + 1);
        failure = STDERR_FILENO + 1;
    }
    fcntl(failure, F_SETFD, FD_CLOEXEC);
    close_range((unsigned)failure + 1, ~0U, 0);
    if (chdir("/") == 0 && pid_file_write(pid_path) == 0)
        execvp(argv[0], argv);
    int error = errno;
    if (write(failure, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

int proc_spawn(char *const *argv, const char *log_path, const char *pid_path, struct proc *ret,
               struct err *err)
{
    int fds[2];
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return err_errno(err, errno, "cannot write %s", log_path);
    (void)fchmod(log, 0600); /* an existing file may be readable by everybody */
    if (pipe2(fds, O_CLOEXEC) < 0) {
        close(log);
        return err_errno(err, errno, "cannot make a pipe");
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child_become(argv, log, pid_path, fds[1]);
    close(log);
    close(fds[1]);
    int error = pid < 0 ? errno : 0;
    /* The pipe closes when exec succeeds; before that, it carries the errno of a failure. */
    while (pid > 0 && read(fds[0], &error, sizeof error) < 0 && errno == EINTR)
        ;
    close(fds[0]);
    if (error != 0) {
        if (pid > 0)
            waitpid(pid, NULL, 0);
        return err_errno(err, error, "cannot start %s", argv[0]);
    }
    *ret = (struct proc){.pid = pid, .start_time = proc_start_time(pid)};
    return 0;
}

/* Collect our ended children: otherwise they stay zombies, which look alive, until we end. */
static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static size_t count_alive(const struct proc *procs, size_t count)
{
    size_t alive = 0;
    reap();
    for (size_t i = 0; i < count; i++)
        alive += proc_alive(&procs[i]);
    return alive;
}

static void signal_all(const struct proc *procs, size_t count, int sig)
{
    for (size_t i = 0; i < count; i++) {
        if (proc_alive(&procs[i]))
            kill(procs[i].pid, sig);
    }
}

static size_t wait_gone(const struct proc *procs, size_t count, uint64_t wait_ms)
{
    uint64_t deadline = clock_mono_ms() + wait_ms;
    size_t alive;
    while ((alive = count_alive(procs, count)) > 0 && clock_mono_ms() < deadline)
        poll(NULL, 0, POLL_MS);
    return alive;
}

/* Read the last line that comes through the pipe, without a leading "PROGRAM: ". */
static void last_line_read(int fd, char *to, size_t size)
{
    char byte;
    size_t at = 0;
    bool ended = true;
    to[0] = '\0';
    for (ssize_t n; (n = read(fd, &byte, 1)) > 0 || (n < 0 && errno == EINTR);) {
        if (n < 0)
            continue;
        if (ended)
            at = 0;
        ended = byte == '\n';
        if (!ended && at + 1 < size)
            to[at++] = byte;
        to[at] = '\0';
    }
    char *after = strstr(to, ": ");
    if (after != NULL && memchr(to, ' ', (size_t)(after - to)) == NULL)
        memmove(to, after + 2, strlen(after + 2) + 1);
}

int proc_run(char *const *argv, struct err *err)
{
    char said[ERR_MSG_MAX];
    int fds[2], status = 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(err, errno, "cannot make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        execvp(argv[0], argv);
        print_err("cannot start %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    int why = errno;
    close(fds[1]);
    if (pid > 0)
        last_line_read(fds[0], said, sizeof said);
    close(fds[0]);
    if (pid < 0)
        return err_errno(err, why, "cannot start %s", argv[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? 0
                       : err_set(err, ERR_STATE, "%s",
                                 said[0] != '\0' ? said : "it was killed by a signal");
}

size_t proc_stop(const struct proc *procs, size_t count, uint64_t grace_ms)
{
    signal_all(procs, count, SIGTERM);
    /* A stopped process (SIGSTOP) gets the other signal only after SIGCONT. */
    signal_all(procs, count, SIGCONT);
    size_t stubborn = wait_gone(procs, count, grace_ms);
    if (stubborn > 0) {
        signal_all(procs, count, SIGKILL);
        wait_gone(procs, count, grace_ms);
    }
    return stubborn;
}

/* A growing list of processes. */
struct procs {
    struct proc *items;
    pid_t *parents;
    size_t count, capacity;
};

static void procs_release(struct procs *p)
{
    free(p->items);
    free(p->parents);
    *p = (struct procs){0};
}

static void procs_add(struct procs *p, struct proc proc, pid_t parent)
{
    if (p->count == p->capacity) {
        p->capacity = p->capacity == 0 ? 256 : p->capacity * 2;
        p->items = xrealloc(p->items, p->capacity, sizeof *p->items);
        p->parents = xrealloc(p->parents, p->capacity, sizeof *p->parents);
    }
    p->parents[p->count] = parent;
    p->items[p->count++] = proc;
}

static void procs_scan(struct procs *ret)
{
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct proc_stat st;
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && stat_read(pid, &st) && st.state != 'Z' && st.state != 'X')
            procs_add(ret, (struct proc){pid, st.start_time}, st.parent);
    }
    closedir(dir);
}

/* Return whether the process is "borg-shim DIRECTORY" with a directory below `dir`. */
static bool is_shim_of(pid_t pid, const char *dir)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *slash = strrchr(text, '/');
    size_t first = strlen(text) + 1, dir_size = strlen(dir);
    if (strcmp(slash != NULL ? slash + 1 : text, "borg-shim") != 0 || first >= (size_t)n)
        return false;
    return strncmp(text + first, dir, dir_size) == 0 && text[first + dir_size] == '/';
}

static void shims_find(const struct procs *all, const char *dir, struct procs *ret)
{
    for (size_t i = 0; i < all->count; i++) {
        if (is_shim_of(all->items[i].pid, dir))
            procs_add(ret, all->items[i], all->parents[i]);
    }
}

static bool procs_have(const struct procs *p, pid_t pid)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i].pid == pid)
            return true;
    }
    return false;
}

/* Find all descendants of the shims. Shims are subreapers, so no descendant leaves its shim. */
static void tasks_find(const struct procs *all, const struct procs *shims, struct procs *ret)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < all->count; i++) {
            pid_t parent = all->parents[i], pid = all->items[i].pid;
            if ((procs_have(shims, parent) || procs_have(ret, parent)) && !procs_have(ret, pid)) {
                procs_add(ret, all->items[i], parent);
                more = true;
            }
        }
    }
}

size_t proc_count_tasks(const char *dir)
{
    CLEANUP(procs_release) struct procs all = {0};
    CLEANUP(procs_release) struct procs shims = {0};
    procs_scan(&all);
    shims_find(&all, dir, &shims);
    return shims.count;
}

size_t proc_stop_tasks(const char *dir, uint64_t grace_ms, size_t *ret_killed)
{
    CLEANUP(procs_release) struct procs shims = {0};
    *ret_killed = 0;
    /* Repeat while there are descendants: a task may fork while /proc is read. */
    for (int round = 0; round < 20; round++) {
        CLEANUP(procs_release) struct procs all = {0};
        CLEANUP(procs_release) struct procs tasks = {0};
        procs_scan(&all);
        if (round == 0)
            shims_find(&all, dir, &shims);
        tasks_find(&all, &shims, &tasks);
        if (tasks.count == 0)
            break;
        *ret_killed += proc_stop(tasks.items, tasks.count, grace_ms);
    }
    if (shims.count > 0)
        poll(NULL, 0, RECORD_MS); /* within this time a shim records the end of its task */
    signal_all(shims.items, shims.count, SIGKILL);
    wait_gone(shims.items, shims.count, grace_ms);
    return shims.count;
}
