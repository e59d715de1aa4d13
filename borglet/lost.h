/*
 * lost.h - find and signal the processes of attempts whose shim is dead, does not answer or cannot
 * be spoken to.
 *
 * The processes are found by descent from the shim while it lives, by the session that the shim
 * gave to the task, and by BORG_DIR in their environment; children inherit both. When the shim is
 * dead, a process that has left the session and cleared its environment is not found.
 */
#ifndef BORGLET_LOST_H
#define BORGLET_LOST_H

#include "base.h"

#include <sys/types.h>

/* One attempt. */
struct lost {
    pid_t task_pid; /* the leader of the session; 0 */
    uint64_t task_starttime;
    pid_t shim_pid; /* 0: unknown */
    uint64_t shim_starttime;
    char *work_dir; /* the value of its BORG_DIR; owned */
    int signal;     /* sent to all its processes; 0 */
    size_t left;    /* out: their number; zombies do not count */
    bool shim_left; /* out: its shim is alive */
};

/*
 * Find the processes of all attempts in one pass over /proc and signal them. Repeat this until none
 * is left. The pass reads files of every process, so do not call it on a loop.
 */
void lost_signal(struct lost *lost, size_t count);
/* Return whether the process with this pid and start time is alive. */
bool lost_same_process(pid_t pid, uint64_t starttime);
/* Read the id of the current boot; "": unknown. */
void boot_id_read(char *to, size_t size);

#endif
