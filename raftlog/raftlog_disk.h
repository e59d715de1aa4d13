/*
 * raftlog_disk.h - the file system outside of the library: the directory, its lock, free space. A
 * separate module, so that a simulated disk can replace it.
 */
#ifndef RAFTLOG_DISK_H
#define RAFTLOG_DISK_H

#include "err.h"

/* Create the directory if it is missing and lock it, because two processes would destroy each
 * other's log. Refuses a disk with less than `free_min_bytes` free. `ret_fd` holds the lock;
 * release it also after an error. */
int raftlog_disk_take(const char *dir, uint64_t free_min_bytes, int *ret_fd,
                      struct err *err) MUST_USE;
/* Return whether the directory holds no log yet or does not exist. */
bool raftlog_disk_is_new(const char *dir);
void raftlog_disk_release(int fd); /* accepts -1 */
/* Return ERR_LIMIT when less than `free_min_bytes` is free. */
int raftlog_disk_check(const char *dir, uint64_t free_min_bytes, struct err *err) MUST_USE;

#endif
