/*
 * lost.c - find and signal processes of attempts without a usable shim.
 */
#include "lost.h"
#include "processes.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENVIRON_BYTES_MAX = 262144 };
static const char dir_variable[] = "BORG_DIR=";

static ssize_t file_read(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t got = 0;
    ssize_t n = -1;

    if (fd < 0)
        return -1;
    while (got < size - 1 && (n = read(fd, to + got, size - 1 - got)) > 0)
        got += (size_t)n;
    close(fd);
    to[got] = '\0';
    return n < 0 && got == 0 ? -1 : (ssize_t)got;
}

void boot_id_read(char *to, size_t size)
{
    if (file_read("/proc/sys/kernel/random/boot_id", to, size) < 0)
        to[0] = '\0';
    to[strcspn(to, "\n")] = '\0';
}

static bool alive(const struct process *process)
{
    return process->state != 'Z' && process->state != 'X';
}

bool lost_same_process(pid_t pid, uint64_t starttime)
{
    struct process process;

    return pid > 1 && process_read(pid, &process) && alive(&process) &&
           process.starttime == starttime;
}

static struct lost *by_descent(struct lost *lost, size_t count, const struct process *process)
{
    for (size_t i = 0; i < count; i++) {
        if (lost[i].shim_left && process->root == lost[i].shim_pid)
            return &lost[i];
        if (lost[i].task_pid > 1 && process->session == lost[i].task_pid)
            return &lost[i];
    }
    return NULL;
}

static struct lost *by_environment(struct lost *lost, size_t count, pid_t pid, char *scratch)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    ssize_t n = file_read(path, scratch, ENVIRON_BYTES_MAX);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(scratch + at) + 1) {
        if (strncmp(scratch + at, dir_variable, sizeof(dir_variable) - 1) != 0)
            continue;
        const char *dir = scratch + at + sizeof(dir_variable) - 1;
        for (size_t i = 0; i < count; i++)
            if (strcmp(lost[i].work_dir, dir) == 0)
                return &lost[i];
    }
    return NULL;
}

static int pid_order(const void *a, const void *b)
{
    const pid_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* A pid may belong to another process by now. */
static void numbers_check(struct lost *lost, struct process *all, size_t count)
{
    const struct process *shim = processes_find(all, count, lost->shim_pid);
    const struct process *task = processes_find(all, count, lost->task_pid);

    lost->left = 0;
    lost->shim_left = lost->shim_pid > 1 && shim != NULL && alive(shim) &&
                      shim->starttime == lost->shim_starttime;
    if (task != NULL && task->starttime != lost->task_starttime)
        lost->task_pid = 0;
}

void lost_signal(struct lost *lost, size_t count)
{
    size_t process_count, root_count = 0;
    struct process *all = processes_read(&process_count);
    pid_t *roots = xcalloc(MAX(count, (size_t)1), sizeof(*roots));
    char *scratch = xcalloc(1, ENVIRON_BYTES_MAX);

    for (size_t i = 0; i < count; i++) {
        numbers_check(&lost[i], all, process_count);
        if (lost[i].shim_left)
            roots[root_count++] = lost[i].shim_pid;
        /* Without a list of processes none is known to be gone. */
        lost[i].left = all == NULL;
    }
    qsort(roots, root_count, sizeof(*roots), pid_order);
    processes_descend(all, process_count, roots, root_count);
    for (size_t i = 0; i < process_count; i++) {
        const struct process *process = &all[i];
        if (!alive(process) || process->pid <= 1 || process->pid == getpid())
            continue;
        struct lost *of = by_descent(lost, count, process);
        if (of == NULL)
            of = by_environment(lost, count, process->pid, scratch);
        if (of != NULL && process->pid != of->shim_pid && kill(process->pid, of->signal) == 0)
            of->left++;
    }
    free(scratch);
    free(roots);
    free(all);
}
