/*
 * sandbox.c - namespaces, and the process that reaps orphans.
 */
#include "sandbox.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_LOST = 1 };

/* Enter a mount namespace: only for the first process inside, so that the outer process can remove
 * directories. */
static int mounts_enter(struct err *err)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return err_errno(err, errno, "mounts of our own are not allowed here");
    return 0;
}

/* Try all required privileges, in a child because their effects remain. */
static int rights_try(struct err *err)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNET) != 0)
        return err_errno(err, errno, "namespaces are not allowed here");
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open /dev/net/tun");
    close(fd);
    return mounts_enter(err);
}

enum sandbox_kind sandbox_kind(struct err *why)
{
    int status = 0, fds[2];
    pid_t pid = pipe(fds) == 0 ? fork() : -1;
    if (pid < 0) {
        err_errno(why, errno, "cannot fork");
        return SANDBOX_OPEN;
    }
    if (pid == 0) {
        struct err err = {0};
        int rc = rights_try(&err);
        (void)!write(fds[1], &err, sizeof err);
        _exit(rc != 0);
    }
    (void)!read(fds[0], why, sizeof *why);
    close(fds[0]);
    close(fds[1]);
    waitpid(pid, &status, 0);
    return status == 0 ? SANDBOX_CLOSED : SANDBOX_OPEN;
}

static pid_t start(int (*work)(void *data), void *data)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        PANIC("cannot fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent && getppid() != 0)
        _exit(STATUS_LOST);
    exit(work(data));
}

/* Reap all children until `pid` has ended. */
static int reap_until(pid_t pid)
{
    int status;
    for (;;) {
        pid_t ended = wait(&status);
        if (ended == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (ended < 0 && errno != EINTR)
            return STATUS_LOST;
    }
}

struct job {
    int (*work)(void *data);
    void *data;
};

/* The first process of the namespace: all others end with it. */
static int init_run(void *data)
{
    const struct job *job = data;
    struct err err;
    if (mounts_enter(&err) != 0)
        PANIC("%s", err.msg);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL) != 0 ||
        mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL) != 0)
        PANIC("cannot mount /proc or /dev/shm: %s", strerror(errno));
    return reap_until(start(job->work, job->data));
}

/* Kill the children of this process. */
static size_t children_kill(void)
{
    char path[64], text[512];
    size_t count = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        int parent = 0;
        snprintf(path, sizeof path, "/proc/%.20s/stat", e->d_name);
        FILE *file = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        const char *name_end = fgets(text, sizeof text, file) != NULL ? strrchr(text, ')') : NULL;
        if (name_end != NULL && sscanf(name_end, ") %*c %d", &parent) == 1 && parent == getpid()) {
            kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
            count++;
        }
        fclose(file);
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static volatile sig_atomic_t first_pid;

static void sandbox_on_signal(int number)
{
    (void)number;
    kill((pid_t)first_pid, SIGKILL);
}

int sandbox_run(enum sandbox_kind kind, int (*work)(void *data), void *data)
{
    struct job job = {work, data};
    struct sigaction action = {.sa_handler = sandbox_on_signal};
    if (kind == SANDBOX_CLOSED && unshare(CLONE_NEWPID) != 0)
        PANIC("unshare: %s", strerror(errno));
    if (kind == SANDBOX_OPEN)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    first_pid = kind == SANDBOX_CLOSED ? start(init_run, &job) : start(work, data);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int status = reap_until((pid_t)first_pid);
    while (kind == SANDBOX_OPEN && children_kill() > 0)
        waitpid(-1, NULL, 0);
    return status;
}
