/*
 * lost.h - processes of an attempt whose shim was killed: nobody can tell how they end any more.
 *
 * They are found by the session the shim gave the task and by BORG_DIR in their environment, both
 * of which children inherit. A process that has left the session and cleared its environment is
 * not found.
 */
#ifndef BORGLET_LOST_H
#define BORGLET_LOST_H

#include "base.h"

#include <sys/types.h>

/*
 * SIGKILL all of them. Returns how many there are (zombies do not count) and one of them: wait for
 * its end and call again, until there is none. `session` 0: unknown.
 */
size_t lost_kill(pid_t session, const char *work_dir, pid_t *ret_pid);
/* Is `pid` the process that the record means, and of this boot? */
bool lost_same_process(pid_t pid, uint64_t starttime, const char *boot_id);
/* The boot the machine is in, "" when unknown. */
void boot_id_read(char *to, size_t size);

#endif
