/*
 * processes.h - read all processes of the machine from /proc, and find their ancestors.
 *
 * It needs nothing of libcell, because the shim uses it as well.
 */
#ifndef BORGLET_PROCESSES_H
#define BORGLET_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid, parent, group, session;
    char state; /* as in /proc/PID/stat: 'Z' is a zombie, 'X' is dead or about to be */
    uint64_t cpu_ticks;
    uint64_t children_ticks; /* of its reaped children, and of theirs */
    uint64_t starttime;      /* together with the boot id it makes */
    int64_t rss_pages;
    pid_t root; /* processes_descend(): the root it descends from; 0: none */
};

/* Read one process. False: it does not exist. */
bool process_read(pid_t pid, struct process *ret);
/* Return all processes in order of pid; the caller frees. NULL: /proc cannot be read, or there
 * is no memory. */
struct process *processes_read(size_t *ret_count);
/* Return the process with this pid; NULL: there is none. `all` is the result of
 * processes_read(). */
struct process *processes_find(struct process *all, size_t count, pid_t pid);
/*
 * Set `root` of all processes to their nearest ancestor among the roots. A root has `root` set only
 * if it descends from another root. The roots are in ascending order. The time is linear except for
 * the look-ups.
 */
void processes_descend(struct process *all, size_t count, const pid_t *roots, size_t root_count);

#endif
