/*
 * restore.h - a replica's directory from a checkpoint, before its first start.
 *
 * The state goes into the Raft log as its first snapshot, not into cell.db: so a replica that comes
 * late or has lost its directory gets it from the others, like everything else.
 */
#ifndef BORGMASTER_RESTORE_H
#define BORGMASTER_RESTORE_H

#include "cell_file.h"

/* `at_s`: seconds since 1970, the same for all replicas of the cell (cell_begin_again). Refuses a
 * directory that holds a replica already; on failure nothing is left in it. */
int replica_restore(const struct cell_file *file, uint64_t id, const char *dir,
                    const char *checkpoint, uint64_t at_s, struct err *err) MUST_USE;

#endif
