/*
 * clear.c - borg-shim --clear-work NAME | --clear-all NAME: remove what an attempt has left, below
 * the directory at SHIM_FD.
 *
 * It is a separate process, because a tree may be of any size. Nothing outside the tree is touched,
 * whatever the task has left in it: all files are accessed by descriptors, symbolic links are not
 * followed, and a directory on another mount than SHIM_FD is not entered, even of the same file
 * system. A mount is detached if this is permitted, else it is left and the exit code says so.
 *
 * There is no recursion and there are no paths, so that a tree may be of any depth: the
 * subdirectories of a directory are moved up into the one that is to be emptied.
 */
#include "shim.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_BYTES = 300,
    STACKED_MOUNTS_MAX = 256,
    CLEAR_S = 3600, /* the time limit */
};

struct clearing {
    uint64_t mount;  /* of SHIM_FD */
    uint64_t next;   /* number of the next directory that is moved up */
    bool mount_left; /* a mount below could not be detached */
    bool other_left; /* something else could not be removed */
    bool progress;   /* of the present pass */
    bool work_only;  /* spec and logs stay */
};

/* Read the mount id from /proc/self/fdinfo; kernels before 5.8 have no other way. */
static bool mount_from_fdinfo(int fd, uint64_t *ret)
{
    char path[48], line[128];
    unsigned long long id;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = sscanf(line, "mnt_id: %llu", &id) == 1;
    if (f != NULL)
        fclose(f);
    if (found)
        *ret = id;
    return found;
}

/* Find the mount of the file; false: it is unknown, so the file must not be entered. */
static bool mount_of(int fd, uint64_t *ret)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) == 0 &&
        (stx.stx_mask & STATX_MNT_ID) != 0) {
        *ret = stx.stx_mnt_id;
        return true;
    }
    return mount_from_fdinfo(fd, ret);
}

static bool mount_detach(struct clearing *c, int at_fd, const char *name)
{
    char path[NAME_BYTES + 32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", at_fd, name);
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        return true;
    c->mount_left = true;
    return false;
}

/* Detach a mount. The descriptor is for the path only. */
static int path_open(struct clearing *c, int at_fd, const char *name)
{
    uint64_t mount;

    for (int i = 0; i < STACKED_MOUNTS_MAX; i++) {
        int fd = openat(at_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return -1;
        bool known = mount_of(fd, &mount);
        if (known && mount == c->mount)
            return fd;
        close(fd);
        if (!known || !mount_detach(c, at_fd, name))
            break;
    }
    c->mount_left = true;
    return -1;
}

/* Restore the permissions of a directory, which the task may have changed. */
static bool rights_take(int path_fd)
{
    char path[32];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
    return fstat(path_fd, &st) == 0 && (st.st_mode & 0700) != 0700 && chmod(path, 0700) == 0;
}

/* Open a directory on the mount of SHIM_FD in order to empty it. */
static DIR *dir_open(struct clearing *c, int at_fd, const char *name)
{
    int path_fd = path_open(c, at_fd, name);

    if (path_fd < 0)
        return NULL;
    (void)rights_take(path_fd);
    int fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(path_fd);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL && fd >= 0)
        close(fd);
    return dir;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Remove a file or an empty directory. Returns 0 or errno. */
static int entry_remove(struct clearing *c, int at_fd, const char *name)
{
    for (int i = 0; i < STACKED_MOUNTS_MAX; i++) {
        if (unlinkat(at_fd, name, 0) == 0 || errno == ENOENT)
            return 0;
        if (errno != EBUSY && (errno == EISDIR || errno == EPERM) &&
            unlinkat(at_fd, name, AT_REMOVEDIR) == 0)
            return 0;
        if (errno != EBUSY)
            return errno;
        if (!mount_detach(c, at_fd, name))
            return EBUSY;
    }
    return EBUSY;
}

/* Move the directory to a free name below top_fd. */
static bool entry_move_up(struct clearing *c, int at_fd, const char *name, int top_fd)
{
    char to[32];

    for (;;) {
        snprintf(to, sizeof(to), ".%llu", (unsigned long long)c->next++);
        if (renameat2(at_fd, name, top_fd, to, RENAME_NOREPLACE) == 0)
            return true;
        int error = errno;
        bool again = error == EEXIST || (error == EBUSY && mount_detach(c, at_fd, name));
        int path_fd = error == EACCES ? path_open(c, at_fd, name) : -1;
        if (path_fd >= 0) {
            again = rights_take(path_fd); /* a directory that is moved must be writable itself */
            close(path_fd);
        }
        if (!again)
            return false;
    }
}

/* Empty top_fd/name into top_fd, and remove it. */
static void dir_flatten(struct clearing *c, int top_fd, const char *name)
{
    DIR *dir = dir_open(c, top_fd, name);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (is_dots(entry->d_name))
            continue;
        int error = entry_remove(c, dirfd(dir), entry->d_name);
        if (error == 0)
            c->progress = true;
        else if (entry_move_up(c, dirfd(dir), entry->d_name, top_fd))
            c->progress = true;
        else
            c->other_left = true;
    }
    if (dir != NULL)
        closedir(dir);
    if (entry_remove(c, top_fd, name) == 0)
        c->progress = true;
    else
        c->other_left = true;
}

/* Return whether the name is "spec" or a segment of a log. */
static bool is_kept(int at_fd, const char *name)
{
    struct stat st;
    const char *number =
        strncmp(name, "out.", 4) == 0 || strncmp(name, "err.", 4) == 0 ? name + 4 : NULL;

    if (number != NULL && (*number == '\0' || number[strspn(number, "0123456789")] != '\0'))
        return false;
    if (number == NULL && strcmp(name, "spec") != 0)
        return false;
    return fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_nlink == 1;
}

/* Repeat passes, because entries are moved up during a pass. Kept files do not count. */
static void tree_clear(struct clearing *c, DIR *top)
{
    struct dirent *entry;

    do {
        c->progress = c->mount_left = c->other_left = false;
        rewinddir(top);
        while ((entry = readdir(top)) != NULL) {
            if (is_dots(entry->d_name) || (c->work_only && is_kept(dirfd(top), entry->d_name)))
                continue;
            if (entry_remove(c, dirfd(top), entry->d_name) == 0)
                c->progress = true;
            else
                dir_flatten(c, dirfd(top), entry->d_name);
        }
    } while (c->progress);
}

int clear_main(const char *name, bool work_only)
{
    struct clearing c = {.work_only = work_only};

    close_range(SHIM_FD + 1, ~0U, 0);
    alarm(CLEAR_S);
    (void)!nice(10);
    if (strlen(name) >= NAME_BYTES || strchr(name, '/') != NULL || is_dots(name) ||
        !mount_of(SHIM_FD, &c.mount))
        return SHIM_CLEAR_LEFT;
    DIR *top = dir_open(&c, SHIM_FD, name);
    if (top != NULL) {
        tree_clear(&c, top);
        closedir(top);
    }
    if ((top == NULL || !work_only) && entry_remove(&c, SHIM_FD, name) != 0)
        c.other_left = true;
    if (c.mount_left)
        return SHIM_CLEAR_MOUNT_LEFT;
    return c.other_left ? SHIM_CLEAR_LEFT : 0;
}
