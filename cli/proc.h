/*
 * proc.h - processes of the embedded cell: started detached, found again by pid and start time.
 *
 * A pid alone may belong to somebody else after a reboot; so a pid file holds "PID STARTTIME"
 * (field 22 of /proc/PID/stat) and a process counts as ours only when both agree.
 */
#ifndef CLI_PROC_H
#define CLI_PROC_H

#include "err.h"

#include <sys/types.h>

struct proc {
    pid_t pid;
    uint64_t start_time; /* ticks since boot */
};

/* Of a process that runs (a zombie does not): its start time, 0 when there is none. */
uint64_t proc_start_time(pid_t pid);
bool proc_alive(const struct proc *proc);
/* True when the file is there and its process alive. */
bool proc_read(const char *pid_path, struct proc *ret);

/*
 * Start argv[0] (an absolute path, or a name for PATH) in a session of its own, stdin empty, stdout
 * and stderr appended to `log_path`; it writes its own pid file before it becomes the program.
 */
int proc_spawn(char *const *argv, const char *log_path, const char *pid_path, struct proc *ret,
               struct err *err) MUST_USE;

/* Run argv[0] to its end; ERR_STATE with the last line of its stderr when it did not exit with 0.
 */
int proc_run(char *const *argv, struct err *err) MUST_USE;

/* SIGTERM to all, SIGKILL to those that are there `grace_ms` later; waits until all are gone.
 * Returns how many had to be killed. */
size_t proc_stop(const struct proc *procs, size_t count, uint64_t grace_ms);

/*
 * Stop the tasks whose shims serve directories below `dir`: first what runs under each shim, then,
 * when the end is on record, the shim. Returns the number of shims, in *ret_killed how many
 * processes needed SIGKILL.
 */
size_t proc_stop_tasks(const char *dir, uint64_t grace_ms, size_t *ret_killed);
/* How many shims serve directories below `dir`. */
size_t proc_count_tasks(const char *dir);

#endif
