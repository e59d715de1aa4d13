/*
 * state_dir.c - lock and memory of the borglet's directory.
 */
#include "state_dir.h"
#include "buf.h"
#include "shim_proto.h"

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
