/*
 * state_dir.c - the lock and the files of the borglet's directory.
 */
#include "state_dir.h"
#include "buf.h"
#include "clock.h"
#include "hash.h"
#include "shim_proto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEEN_MAGIC UINT32_C(0x62736565)

struct seen {
    uint32_t magic;
    uint32_t crc; /* over what follows */
    uint64_t cell_hash;
    uint64_t index;
};

/* The format of the file. */
struct instance {
    uint64_t own;   /* random, made once; 0: none yet */
    uint64_t place; /* a hash of the directory's numbers in the file system */
    uint64_t boot;  /* a hash of the running system's id */
};

static uint32_t seen_crc(const struct seen *seen)
{
    return shim_crc(0, &seen->cell_hash, sizeof(*seen) - offsetof(struct seen, cell_hash));
}

static int lock_take(const char *dir, struct state_dir *state, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};
    char pid[24] = "";

    buf_printf(&path, "%s/borglet.lock", dir);
    state->lock_fd = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (state->lock_fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", buf_text(&path));
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(state->lock_fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        return err_set(err, ERR_STATE,
                       "\"%s\" is in use by the borglet with pid %ld: stop it or use another --dir",
                       dir, strtol(pid, NULL, 10));
    }
    int size = snprintf(pid, sizeof(pid), "%d\n", getpid());
    if (ftruncate(state->lock_fd, 0) < 0 || pwrite(state->lock_fd, pid, (size_t)size, 0) != size)
        return err_errno(err, errno, "cannot write \"%s\"", buf_text(&path));
    return 0;
}

static int seen_load(const char *dir, struct state_dir *state, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};
    struct seen seen;

    buf_printf(&path, "%s/seen", dir);
    state->seen_fd = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (state->seen_fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", buf_text(&path));
    ssize_t n = pread(state->seen_fd, &seen, sizeof(seen), 0);
    if (n == 0)
        return state_dir_see(state, 0, err);
    if (n != (ssize_t)sizeof(seen) || seen.magic != SEEN_MAGIC || seen.crc != seen_crc(&seen))
        return err_set(err, ERR_CORRUPT,
                       "\"%s\" is damaged: remove it if no task of another cell runs here",
                       buf_text(&path));
    if (seen.cell_hash != state->cell_hash)
        return err_set(err, ERR_STATE,
                       "\"%s\" belongs to another cell (name or CA differ): use another --dir, or "
                       "remove it once its tasks are gone",
                       dir);
    state->seen_index = seen.index;
    return 0;
}

/* Read the id of the running system; "": it is not available. */
static void boot_id_read(char *to, size_t size)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, to, size - 1);

    to[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

/* Compute the identity of the open directory on the running system. */
static int instance_now(int lock_fd, const char *dir, struct instance *ret, struct err *err)
{
    char boot_id[64];
    struct stat status, lock;

    if (stat(dir, &status) < 0 || fstat(lock_fd, &lock) < 0)
        return err_errno(err, errno, "cannot look at \"%s\"", dir);
    boot_id_read(boot_id, sizeof(boot_id));
    ret->boot = hash_text(1, boot_id);
    ret->place = hash_add(hash_u64((uint64_t)status.st_dev), (uint64_t)status.st_ino);
    ret->place = hash_add(ret->place, (uint64_t)lock.st_ino);
    return 0;
}

static bool has_tasks(const char *dir)
{
    CLEANUP(buf_release) struct buf path = {0};
    bool some = false;

    buf_printf(&path, "%s/tasks", dir);
    DIR *tasks = opendir(buf_text(&path));
    for (struct dirent *e; tasks != NULL && !some && (e = readdir(tasks)) != NULL;)
        some = e->d_name[0] != '.';
    if (tasks != NULL)
        closedir(tasks);
    return some;
}

static int instance_store(int fd, const struct instance *instance, const char *path,
                          struct err *err)
{
    errno = ENOSPC;
    if (pwrite(fd, instance, sizeof(*instance), 0) != (ssize_t)sizeof(*instance) || fsync(fd) < 0)
        return err_errno(err, errno, "cannot write \"%s\"", path);
    return 0;
}

/*
 * A copy of a directory in use contains the records of its tasks: a borglet that took them for its
 * own would kill processes of the original. After a reboot of the host none of them runs any more,
 * and directories may have other inode numbers.
 */
static int instance_check(const char *dir, struct instance *was, const struct instance *now,
                          struct err *err)
{
    if (was->own != 0 && was->boot == now->boot && was->place != now->place) {
        if (has_tasks(dir))
            return err_set(
                err, ERR_STATE,
                "\"%s\" is a copy of another borglet's directory, whose tasks may run: "
                "use the original; to begin afresh here, remove tasks and instance in it",
                dir);
        was->own = 0;
    }
    if (was->own == 0) {
        uint64_t random[2];
        random_id(random);
        was->own = MAX(random[0], UINT64_C(1));
    }
    return 0;
}

static int instance_load(const char *dir, struct state_dir *state, struct err *err)
{
    CLEANUP(buf_release) struct buf path = {0};
    struct instance was, now;

    buf_printf(&path, "%s/instance", dir);
    int rc = instance_now(state->lock_fd, dir, &now, err);
    if (rc != 0)
        return rc;
    int fd = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot open \"%s\"", buf_text(&path));
    if (pread(fd, &was, sizeof(was), 0) != (ssize_t)sizeof(was))
        was = (struct instance){0};
    rc = instance_check(dir, &was, &now, err);
    now.own = was.own;
    if (rc == 0)
        rc = instance_store(fd, &now, buf_text(&path), err);
    close(fd);
    state->directory = now.own;
    state->instance = hash_add(hash_add(hash_u64(now.own), now.place), now.boot);
    state->instance += state->instance == 0;
    return rc;
}

int state_dir_open(const char *dir, const struct cell_file *cell, struct state_dir *ret,
                   struct err *err)
{
    struct state_dir state = {.lock_fd = -1, .seen_fd = -1};

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot create \"%s\"", dir);
    int rc = cell_file_identity(cell, &state.cell_hash, err);
    if (rc == 0)
        rc = lock_take(dir, &state, err);
    if (rc == 0)
        rc = seen_load(dir, &state, err);
    if (rc == 0)
        rc = instance_load(dir, &state, err);
    if (rc != 0)
        state_dir_close(&state);
    else
        *ret = state;
    return rc;
}

void state_dir_close(struct state_dir *state)
{
    if (state->lock_fd >= 0)
        close(state->lock_fd);
    if (state->seen_fd >= 0)
        close(state->seen_fd);
    state->lock_fd = -1;
    state->seen_fd = -1;
}

int state_dir_see(struct state_dir *state, uint64_t index, struct err *err)
{
    struct seen seen = {.magic = SEEN_MAGIC, .cell_hash = state->cell_hash, .index = index};

    state->seen_index = index;
    seen.crc = seen_crc(&seen);
    errno = ENOSPC;
    if (pwrite(state->seen_fd, &seen, sizeof(seen), 0) != (ssize_t)sizeof(seen))
        return err_errno(err, errno, "cannot store the index of the newest intents");
    return 0;
}
