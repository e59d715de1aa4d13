/*
 * audit.h - after the faults: convergence and the state of the cell
 */
#ifndef CHAOS_AUDIT_H
#define CHAOS_AUDIT_H

#include "conductor.h"

/*
 * Wait until all replicas agree, all machines are up, every acknowledged job is in the state that
 * its user requested, all feasible tasks run, and the processes on the machines match the cell.
 * Then check rules on every replica by SQL, and read all names from all replicas into the history.
 * Differences are reported as violations.
 */
void audit_run(struct conductor *c);

#endif
