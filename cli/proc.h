/*
 * proc.h - processes of the embedded cell: start them detached, find them again, stop them.
 *
 * After a reboot a pid may belong to another process. A pid file therefore contains "PID STARTTIME"
 * (field 22 of /proc/PID/stat), and a process is ours only if both match.
 */
#ifndef CLI_PROC_H
#define CLI_PROC_H

#include "err.h"

#include <sys/types.h>

struct proc {
    pid_t pid;
    uint64_t start_time; /* ticks since boot */
};

/* Return the start time of a running process; 0 if there is none or it is a zombie. */
uint64_t proc_start_time(pid_t pid);
bool proc_alive(const struct proc *proc);
/* Read a pid file; return true if it exists and its process runs. */
bool proc_read(const char *pid_path, struct proc *ret);

/*
 * Start argv[0] (an absolute path, or a name in PATH) in a new session, with empty stdin and with
 * stdout and stderr appended to `log_path`. The child writes its pid file before it calls exec.
 */
int proc_spawn(char *const *argv, const char *log_path, const char *pid_path, struct proc *ret,
               struct err *err) MUST_USE;

/* Run argv[0] to its end; ERR_STATE with the last line of its stderr if it did not exit with 0. */
int proc_run(char *const *argv, struct err *err) MUST_USE;

/* Send SIGTERM to all, SIGKILL to those that run `grace_ms` later, and wait until all are gone.
 * Return how many were killed. */
size_t proc_stop(const struct proc *procs, size_t count, uint64_t grace_ms);

/*
 * Stop the tasks whose shims serve directories below `dir`: first the processes under each shim,
 * then, when their end is recorded, the shim. Return the number of shims; *ret_killed is the number
 * of processes that needed SIGKILL.
 */
size_t proc_stop_tasks(const char *dir, uint64_t grace_ms, size_t *ret_killed);
/* Return the number of shims that serve directories below `dir`. */
size_t proc_count_tasks(const char *dir);

#endif
