/*
 * raftlog_seed.c - the directory of a member that begins with a snapshot instead of an empty log.
 *
 * The library's own disk backend writes it, so the library can read it: the term as its metadata,
 * and a snapshot that contains the members. There are no entries. A member that has lost its
 * directory gets the same snapshot from the leader, as any follower that is far behind.
 *
 * The directory is created under another name and renamed when it is complete: a member opened on
 * an incomplete one would begin an empty cell.
 */
#include "raftlog_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 1100 };

/* A transport without connections. */
static int seed_transport_init(struct raft_uv_transport *t UNUSED, raft_id id UNUSED,
                               const char *address UNUSED)
{
    return 0;
}

static void mute_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
    cb(t);
}

struct seeding {
    uv_loop_t loop;
    struct raft_uv_transport transport;
    struct raft_io io;
    struct raft_io_snapshot_put put;
    struct raft_snapshot snapshot;
    struct raft_buffer bufs[2]; /* header and image */
    int status;
};

static void seed_on_put(struct raft_io_snapshot_put *put, int status)
{
    struct seeding *s = put->data;
    s->status = status;
}

static void seed_on_closed(struct raft_io *io)
{
    raft_uv_close(io);
}

static int library_err(const struct seeding *s, int rv, const char *dir, struct err *err)
{
    return err_set(err, ERR_IO, "cannot write the raft log in %s: %s", dir,
                   s->io.errmsg[0] != '\0' ? s->io.errmsg : raft_strerror(rv));
}

static int snapshot_fill(struct seeding *s, const struct raftlog_seed *seed)
{
    int rv = 0;
    s->bufs[0] = raftlog_image_head(seed->index, seed->term, raftlog_cell(seed->cell), seed->bytes,
                                    seed->size);
    s->bufs[1] = (struct raft_buffer){.base = (void *)seed->bytes, .len = seed->size};
    s->snapshot.index = seed->index;
    s->snapshot.term = seed->term;
    s->snapshot.bufs = s->bufs;
    s->snapshot.n_bufs = 2;
    s->snapshot.configuration_index = 1; /* as if all members had bootstrapped */
    raft_configuration_init(&s->snapshot.configuration);
    for (size_t i = 0; i < seed->member_count && rv == 0; i++)
        rv = raft_configuration_add(&s->snapshot.configuration, seed->members[i].id,
                                    seed->members[i].address, RAFT_VOTER);
    return rv;
}

/* Write everything with the open backend; the backend is closing afterwards. */
static int write_all(struct seeding *s, const struct raftlog_seed *seed)
{
    int rv = s->io.set_term(&s->io, seed->term);
    s->put.data = s;
    s->status = RAFT_CANCELED;
    if (rv == 0) /* trailing 1: a snapshot of our own, not one that replaces a log */
        rv = s->io.snapshot_put(&s->io, 1, &s->put, &s->snapshot, seed_on_put);
    if (rv == 0) {
        uv_run(&s->loop, UV_RUN_DEFAULT);
        rv = s->status;
    }
    return rv;
}

static int library_write(const struct raftlog_seed *seed, const char *dir, struct err *err)
{
    struct seeding *s = xcalloc(1, sizeof *s);
    s->transport = (struct raft_uv_transport){.init = seed_transport_init, .close = mute_close};
    if (uv_loop_init(&s->loop) != 0)
        PANIC("cannot create an event loop");
    int rv = raft_uv_init(&s->io, &s->loop, dir, &s->transport);
    if (rv == 0 && (rv = s->io.init(&s->io, seed->members[0].id, seed->members[0].address)) != 0)
        raft_uv_close(&s->io);
    else if (rv == 0) {
        rv = snapshot_fill(s, seed);
        rv = rv != 0 ? rv : write_all(s, seed);
        raft_configuration_close(&s->snapshot.configuration);
        free(s->bufs[0].base);
        s->io.close(&s->io, seed_on_closed);
        uv_run(&s->loop, UV_RUN_DEFAULT);
    }
    int failed = rv != 0 ? library_err(s, rv, dir, err) : 0;
    uv_loop_close(&s->loop);
    free(s);
    return failed;
}

/* Remove what an interrupted attempt has left; these are only files that the library makes. */
static int remove_old(const char *dir, struct err *err)
{
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return errno == ENOENT ? 0 : err_errno(err, errno, "cannot read %s", dir);
    for (struct dirent *d; (d = readdir(entries)) != NULL;)
        (void)unlinkat(dirfd(entries), d->d_name, 0); /* a file that stays makes rmdir() fail */
    closedir(entries);
    return rmdir(dir) == 0 ? 0 : err_errno(err, errno, "cannot remove %s", dir);
}

static int rename_durably(const char *from, const char *to, struct err *err)
{
    char parent[PATH_SIZE];
    str_copy(parent, sizeof parent, to);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent] = '\0';
    int fd = open(slash == NULL ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv = fd >= 0 && rename(from, to) == 0 && fsync(fd) == 0
                 ? 0
                 : err_errno(err, errno, "cannot rename %s to %s", from, to);
    if (fd >= 0)
        close(fd);
    return rv;
}

static int seal_write(const struct raftlog_seed *seed, const char *dir, struct err *err)
{
    struct raftlog_seal seal;
    int rv = raftlog_seal_open(&seal, dir, seed->id, raftlog_cell(seed->cell), err);
    if (rv == 0 && raftlog_seal_vote(&seal, seed->term, 0) != 0)
        rv = err_errno(err, errno, "cannot write %s", seal.path);
    raftlog_seal_close(&seal);
    return rv;
}

int raftlog_seed(const struct raftlog_seed *seed, struct err *err)
{
    char dir[PATH_SIZE];
    ASSERT(seed->member_count > 0 && seed->member_count <= RAFTLOG_MEMBERS_MAX);
    ASSERT(seed->index > 0 && seed->term > 0);
    if (access(seed->dir, F_OK) == 0)
        return err_set(err, ERR_EXISTS, "%s exists already", seed->dir);
    snprintf(dir, sizeof dir, "%s.new", seed->dir);
    int rv = remove_old(dir, err);
    if (rv == 0 && mkdir(dir, 0700) != 0)
        rv = err_errno(err, errno, "cannot make %s", dir);
    if (rv == 0)
        rv = seal_write(seed, dir, err);
    if (rv == 0)
        rv = library_write(seed, dir, err);
    return rv == 0 ? rename_durably(dir, seed->dir, err) : rv;
}
