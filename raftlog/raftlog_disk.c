/*
 * raftlog_disk.c - the directory of the log, and the free space of its disk.
 */
#include "raftlog_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int raftlog_disk_check(const char *dir, uint64_t free_min_bytes, struct err *err)
{
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0)
        return err_errno(err, errno, "cannot read the free space of the disk of %s", dir);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes < free_min_bytes)
        return err_set(err, ERR_LIMIT,
                       "the disk of %s has %" PRIu64 " MiB free, %" PRIu64
                       " MiB are required; free some space",
                       dir, free_bytes >> 20, free_min_bytes >> 20);
    return 0;
}

int raftlog_disk_take(const char *dir, uint64_t free_min_bytes, int *ret_fd, struct err *err)
{
    *ret_fd = -1;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make the raft directory %s", dir);
    *ret_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return err_errno(err, errno, "cannot open the raft directory %s", dir);
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_STATE, "another process uses the raft directory %s; stop it first",
                       dir);
    return raftlog_disk_check(dir, free_min_bytes, err);
}

/* A term is stored before anything is acknowledged or voted for, so a directory without one is
 * new. */
bool raftlog_disk_is_new(const char *dir)
{
    static const char *const names[] = {"metadata1", "metadata2", "seal"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[1100];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (access(path, F_OK) == 0)
            return false;
    }
    return true;
}

void raftlog_disk_release(int fd)
{
    if (fd >= 0)
        close(fd);
}
