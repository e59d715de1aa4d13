/*
 * processes.h - all processes of the machine from one look at /proc, and who descends from whom.
 *
 * Needs nothing of libcell: the shim has it as well.
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
    uint64_t children_ticks; /* of children that it has waited for, and of theirs */
    uint64_t starttime;      /* with the boot id it makes a pid unique */
    int64_t rss_pages;
    pid_t root; /* processes_descend(): whose descendant it is; 0: nobody's */
};

/* false: there is no such process. */
bool process_read(pid_t pid, struct process *ret);
/* All processes, in order of pid; the caller frees. NULL: /proc cannot be read, or no memory. */
struct process *processes_read(size_t *ret_count);
/* NULL: none has this pid. `all` is as processes_read() gives it. */
struct process *processes_find(struct process *all, size_t count, pid_t pid);
/*
 * Set `root` of all: the nearest of the roots that is above it. A root has itself only if it is
 * below another one. The roots are in order; the time is linear but for the look-ups.
 */
void processes_descend(struct process *all, size_t count, const pid_t *roots, size_t root_count);

#endif
