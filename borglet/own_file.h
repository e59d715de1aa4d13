/*
 * own_file.h - open files that a task may have replaced by something else.
 *
 * A task can write into the directory of its attempt. If it has put a FIFO, a device, a symbolic
 * link, a directory or an oversized file in the place of a file, this is reported; nothing is
 * waited for, followed or read.
 */
#ifndef BORGLET_OWN_FILE_H
#define BORGLET_OWN_FILE_H

#include "err.h"

#include <sys/stat.h>

/*
 * Open at_fd/name for reading: a regular file that belongs to this user, has one link and at most
 * `bytes_max` bytes. ERR_NOT_FOUND: there is no such name. ERR_CORRUPT: it is something else, with
 * a text for users.
 */
int own_file_open(int at_fd, const char *name, uint64_t bytes_max, int *ret_fd,
                  struct err *err) MUST_USE;
/* Return ERR_CORRUPT with a text that says what is in the place of `name`. */
int own_file_wrong(const char *name, const struct stat *st, struct err *err);

#endif
