/*
 * own_file.h - open files that a task may have put something else in the place of.
 *
 * A task can write into the directory of its attempt. Whatever it leaves there - a FIFO, a device,
 * a symbolic link, a directory, a file without end - is told and never waited for, followed or
 * read.
 */
#ifndef BORGLET_OWN_FILE_H
#define BORGLET_OWN_FILE_H

#include "err.h"

#include <sys/stat.h>

/*
 * Open at_fd/name for reading: a regular file of ours with one name and at most `bytes_max` bytes.
 * ERR_NOT_FOUND: there is nothing of that name. ERR_CORRUPT: it is something else, for a person.
 */
int own_file_open(int at_fd, const char *name, uint64_t bytes_max, int *ret_fd,
                  struct err *err) MUST_USE;
/* ERR_CORRUPT, and a text that says what is there in place of `name`. */
int own_file_wrong(const char *name, const struct stat *st, struct err *err);

#endif
