/*
 * private_dir.h - a directory that only its owner may look into.
 *
 * What a master keeps (database, log, snapshots) holds the specs and environments of all users.
 */
#ifndef CELL_PRIVATE_DIR_H
#define CELL_PRIVATE_DIR_H

#include "err.h"

/*
 * Make `dir` (0700) if it is not there. Else take from it, and from all files and directories in it
 * that belong to this user, what others may do there: files of an earlier version, or that were
 * copied, had more. Symbolic links are not followed.
 */
int private_dir(const char *dir, struct err *err) MUST_USE;

#endif
