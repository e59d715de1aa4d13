/*
 * private_dir.c - a directory that only its owner can access.
 */
#include "private_dir.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OF_OTHERS = 077, DESCRIPTORS_MAX = 16 };

static int narrow(const char *path, const struct stat *st, int type, struct FTW *ftw UNUSED)
{
    bool is_plain = type == FTW_F || type == FTW_D || type == FTW_DNR;
    if (!is_plain || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)))
        return 0;
    if (st->st_uid != geteuid() || (st->st_mode & OF_OTHERS) == 0)
        return 0;
    return chmod(path, st->st_mode & 07777 & ~(mode_t)OF_OTHERS) == 0 || errno == ENOENT ? 0 : -1;
}

int private_dir(const char *dir, struct err *err)
{
    if (mkdir(dir, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return err_errno(err, errno, "cannot create the directory %s", dir);
    if (nftw(dir, narrow, DESCRIPTORS_MAX, FTW_PHYS) != 0)
        return err_errno(err, errno, "cannot remove other users' access to the directory %s", dir);
    return 0;
}
