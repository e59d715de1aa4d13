/*
 * restore.h - fills a replica's directory from a checkpoint, before its first start.
 *
 * The state becomes the first snapshot of the Raft log and not cell.db. A replica that starts
 * later, or that has lost its directory, therefore gets it from the others like any other state.
 */
#ifndef BORGMASTER_RESTORE_H
#define BORGMASTER_RESTORE_H

#include "cell_file.h"

/* Write the directory of replica `id`. `at_s`: seconds since 1970, equal for all replicas of the
 * cell (cell_begin_again). Refuses a directory that holds a replica; after an error the directory
 * is empty. */
int restore_replica(const struct cell_file *file, uint64_t id, const char *dir,
                    const char *checkpoint, uint64_t at_s, struct err *err) MUST_USE;

#endif
