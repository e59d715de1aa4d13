/*
 * raftlog_disk.h - what the log asks of the file system beside the library: its directory, the lock
 * on it, the room that is left. On its own so that a simulated disk can stand in for it.
 */
#ifndef RAFTLOG_DISK_H
#define RAFTLOG_DISK_H

#include "err.h"

/* Make the directory if it is missing and lock it: two processes would destroy each other's log.
 * Refuses a disk with less room than that. `ret_fd` holds the lock; also to be released after an
 * error. */
int raftlog_disk_take(const char *dir, uint64_t free_min_bytes, int *ret_fd,
                      struct err *err) MUST_USE;
/* Is there nothing of a log yet, perhaps no directory either? */
bool raftlog_disk_is_new(const char *dir);
void raftlog_disk_release(int fd); /* -1 is fine */
/* ERR_LIMIT when less than that is free. */
int raftlog_disk_check(const char *dir, uint64_t free_min_bytes, struct err *err) MUST_USE;

#endif
