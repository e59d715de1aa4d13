/*
 * private_dir.h - a directory that only its owner can access.
 *
 * The files of a master (database, log, snapshots) contain the specs and environments of all users.
 */
#ifndef CELL_PRIVATE_DIR_H
#define CELL_PRIVATE_DIR_H

#include "err.h"

/* Create `dir` with mode 0700 if it is missing. Otherwise remove the permissions of other users
 * from it and from all files and directories in it that belong to this user; copied files or
 * files of an earlier version may have had more. Symbolic links are not followed. */
int private_dir(const char *dir, struct err *err) MUST_USE;

#endif
