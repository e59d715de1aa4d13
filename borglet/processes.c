/*
 * processes.c - read and sort /proc/PID/stat.
 */
#include "processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXITING = 4 };                   /* PF_EXITING of the kernel */
enum { UNKNOWN = -1, ON_THE_WAY = -2 }; /* values of `root` while it is looked for */

bool process_read(pid_t pid, struct process *ret)
{
    char path[40], text[1024];
    unsigned long long utime, stime, starttime;
    unsigned int flags;
    long long cutime, cstime, rss;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *rest = strrchr(text, ')'); /* the name of a command may contain any character */
    *ret = (struct process){.pid = pid};
    if (rest == NULL || sscanf(rest + 1,
                               " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %llu %llu %lld %lld %*d "
                               "%*d %*d %*d %llu %*u %lld",
                               &ret->state, &ret->parent, &ret->group, &ret->session, &flags,
                               &utime, &stime, &cutime, &cstime, &starttime, &rss) != 11)
        return false;
    if ((flags & EXITING) != 0) /* its files are closed already, which its peers can see */
        ret->state = 'X';
    ret->cpu_ticks = utime + stime;
    ret->children_ticks = (uint64_t)(cutime > 0 ? cutime : 0) + (uint64_t)(cstime > 0 ? cstime : 0);
    ret->starttime = starttime;
    ret->rss_pages = rss;
    return true;
}

static int process_order(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

struct process *processes_read(size_t *ret_count)
{
    DIR *dir = opendir("/proc");
    size_t count = 0, capacity = 256;
    struct process *all = dir == NULL ? NULL : malloc(capacity * sizeof(*all));
    struct dirent *entry;

    *ret_count = 0;
    while (all != NULL && (entry = readdir(dir)) != NULL) {
        if (count == capacity) {
            struct process *grown = realloc(all, 2 * capacity * sizeof(*all));
            if (grown == NULL)
                break;
            all = grown;
            capacity *= 2;
        }
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0: not a process */
        if (pid > 0 && process_read(pid, &all[count]))
            count++;
    }
    if (dir != NULL)
        closedir(dir);
    if (all != NULL)
        qsort(all, count, sizeof(*all), process_order);
    *ret_count = count;
    return all;
}

struct process *processes_find(struct process *all, size_t count, pid_t pid)
{
    struct process key = {.pid = pid};

    return all == NULL ? NULL : bsearch(&key, all, count, sizeof(*all), process_order);
}

static int pid_order(const void *a, const void *b)
{
    const pid_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Walk up to the first process whose root is known, and set it for all processes on the way. */
static void process_descend(struct process *all, size_t count, struct process *of,
                            const pid_t *roots, size_t root_count)
{
    struct process *at = of;
    pid_t root = 0;

    while (at != NULL && at->root == UNKNOWN) {
        at->root = ON_THE_WAY; /* entries read at different times may form a cycle */
        if (bsearch(&at->parent, roots, root_count, sizeof(*roots), pid_order) != NULL) {
            root = at->parent;
            at = NULL;
        } else {
            at = processes_find(all, count, at->parent);
            root = at != NULL && at->root > 0 ? at->root : 0;
        }
    }
    for (at = of; at != NULL && at->root == ON_THE_WAY; at = processes_find(all, count, at->parent))
        at->root = root;
}

void processes_descend(struct process *all, size_t count, const pid_t *roots, size_t root_count)
{
    for (size_t i = 0; i < count; i++)
        all[i].root = UNKNOWN;
    for (size_t i = 0; i < count; i++)
        process_descend(all, count, &all[i], roots, root_count);
}
