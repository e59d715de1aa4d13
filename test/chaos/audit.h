/*
 * audit.h - all is healed: does the cell come to rest, and is it then as it must be?
 */
#ifndef CHAOS_AUDIT_H
#define CHAOS_AUDIT_H

#include "conductor.h"

/*
 * Wait until all replicas agree, all machines are up, every job that was acknowledged is as its
 * user left it, everything feasible runs, and the processes on the machines are exactly those the
 * cell knows of. Then ask every replica by SQL for what must not be, and read all names from all of
 * them into the history. Whatever is wrong is a violation.
 */
void audit_run(struct conductor *c);

#endif
