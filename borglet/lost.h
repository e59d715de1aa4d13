/*
 * lost.h - processes of attempts whose shim is dead, does not answer or cannot be spoken to.
 *
 * They are found by descent from the shim while that lives, by the session the shim gave the task,
 * and by BORG_DIR in their environment, both of which children inherit. When the shim is dead, a
 * process that has left the session and cleared its environment is not found.
 */
#ifndef BORGLET_LOST_H
#define BORGLET_LOST_H

#include "base.h"

#include <sys/types.h>

/* One attempt. */
struct lost {
    pid_t task_pid; /* leads its session; 0: unknown */
    uint64_t task_starttime;
    pid_t shim_pid; /* 0: unknown */
    uint64_t shim_starttime;
    char *work_dir; /* as in its BORG_DIR; owned */
    int signal;     /* for all its processes; 0: count only */
    size_t left;    /* out: how many there are; zombies do not count */
    bool shim_left; /* out: its shim is there */
};

/*
 * Look for the processes of all of them in one pass over /proc, and signal them. Repeat until none
 * is left. It reads what many processes are: not on a loop.
 */
void lost_signal(struct lost *lost, size_t count);
/* Does the process live that had this number and start time? */
bool lost_same_process(pid_t pid, uint64_t starttime);
/* The boot the machine is in, "" when unknown. */
void boot_id_read(char *to, size_t size);

#endif
