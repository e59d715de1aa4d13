/*
 * own_file.c - open a descriptor for the path, which opens no file, check it, and open the file
 * through it, so that the file cannot be exchanged between check and opening.
 */
#include "own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char *kind_text(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFIFO:
        return "a FIFO";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    case S_IFDIR:
        return "a directory";
    case S_IFLNK:
        return "a symbolic link";
    case S_IFSOCK:
        return "a socket";
    case S_IFREG:
        return "another file";
    }
    return "something else";
}

int own_file_wrong(const char *name, const struct stat *st, struct err *err)
{
    return err_set(err, ERR_CORRUPT,
                   "the attempt's directory was tampered with: %s is in the place of \"%s\"",
                   kind_text(st->st_mode), name);
}

int own_file_open(int at_fd, const char *name, uint64_t bytes_max, int *ret_fd, struct err *err)
{
    char path[32];
    struct stat st;
    int path_fd = openat(at_fd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);

    if (path_fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no \"%s\"", name);
    if (path_fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", name);
    int rc = 0;
    if (fstat(path_fd, &st) < 0)
        rc = err_errno(err, errno, "cannot look at \"%s\"", name);
    else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1)
        rc = own_file_wrong(name, &st, err);
    else if ((uint64_t)st.st_size > bytes_max)
        rc = err_set(err, ERR_CORRUPT,
                     "the attempt's directory was tampered with: \"%s\" is larger than any", name);
    if (rc == 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (*ret_fd < 0 && errno == EACCES)
            rc = err_set(err, ERR_CORRUPT,
                         "the attempt's directory was tampered with: \"%s\" is closed to us", name);
        else if (*ret_fd < 0)
            rc = err_errno(err, errno, "cannot open \"%s\"", name);
    }
    close(path_fd);
    return rc;
}
