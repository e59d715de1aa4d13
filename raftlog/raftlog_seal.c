/*
 * raftlog_seal.c - three records in a file, each in a block of its own: two for term and vote,
 * written alternately, and the mark.
 */
#include "raftlog_seal.h"

#include "hash.h"
#include "log.h"
#include "raftlog_files.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, MARK_BLOCK = 2, BLOCKS = 3 };

#define SEAL_MAGIC UINT64_C(0x424f52475345414c) /* "BORGSEAL" */

/* All fields are big-endian. The mark stores its index as term and its term as vote. */
struct record {
    uint64_t magic;
    uint64_t sequence;
    uint64_t id;
    uint64_t cell;
    uint64_t term;
    uint64_t vote;
    uint64_t hash; /* of the six fields before and of the rest of the block */
};

static uint64_t record_hash(const struct record *r, unsigned block)
{
    return hash_bytes(block, r, offsetof(struct record, hash));
}

static int record_write(const struct raftlog_seal *seal, int fd, unsigned block, uint64_t term,
                        uint64_t vote)
{
    struct record r = {.magic = htobe64(SEAL_MAGIC),
                       .sequence = htobe64(seal->sequence),
                       .id = htobe64(seal->id),
                       .cell = htobe64(seal->cell),
                       .term = htobe64(term),
                       .vote = htobe64(vote)};
    r.hash = htobe64(record_hash(&r, block));
    ssize_t n = pwrite(fd, &r, sizeof r, (off_t)block * BLOCK_BYTES);
    if (n >= 0 && n != sizeof r)
        errno = ENOSPC;
    return n == sizeof r ? 0 : -1;
}

static bool record_read(int fd, unsigned block, struct record *ret)
{
    if (pread(fd, ret, sizeof *ret, (off_t)block * BLOCK_BYTES) != sizeof *ret ||
        be64toh(ret->magic) != SEAL_MAGIC || be64toh(ret->hash) != record_hash(ret, block))
        return false;
    *ret = (struct record){.sequence = be64toh(ret->sequence),
                           .id = be64toh(ret->id),
                           .cell = be64toh(ret->cell),
                           .term = be64toh(ret->term),
                           .vote = be64toh(ret->vote)};
    return true;
}

static int dir_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rv = fsync(fd);
    close(fd);
    return rv;
}

/* Create the seal under another name and rename it, so that it is complete or absent. */
static int seal_create(struct raftlog_seal *seal, const char *dir, struct err *err)
{
    char path[sizeof seal->path + 8];
    snprintf(path, sizeof path, "%s.tmp", seal->path);
    seal->sequence = 1;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "cannot make %s", path);
    int rv = 0;
    for (unsigned block = 0; block < BLOCKS && rv == 0; block++)
        rv = record_write(seal, fd, block, 0, 0);
    if (rv != 0 || fsync(fd) != 0 || rename(path, seal->path) != 0 || dir_sync(dir) != 0) {
        err_errno(err, errno, "cannot write %s", path);
        close(fd);
        return -ERR_IO;
    }
    seal->fd = fd;
    return 0;
}

static int seal_load(struct raftlog_seal *seal, struct err *err)
{
    struct record slots[2];
    struct record mark;
    bool good[2] = {record_read(seal->fd, 0, &slots[0]), record_read(seal->fd, 1, &slots[1])};
    if (!good[0] && !good[1])
        return err_set(err, ERR_CORRUPT, "%s is damaged: term and vote are lost", seal->path);
    unsigned newest = !good[0] || (good[1] && slots[1].sequence > slots[0].sequence);
    const struct record *r = &slots[newest];
    if (r->id != seal->id)
        return err_set(err, ERR_STATE,
                       "%s belongs to replica %" PRIu64 ", this is replica %" PRIu64, seal->path,
                       r->id, seal->id);
    if (r->cell != seal->cell)
        return err_set(err, ERR_STATE, "%s belongs to another cell", seal->path);
    seal->sequence = r->sequence;
    seal->term = r->term;
    seal->vote = r->vote;
    if (record_read(seal->fd, MARK_BLOCK, &mark)) {
        seal->mark_index = mark.term;
        seal->mark_term = mark.vote;
    } else {
        log_warn("seal.mark_lost file=%s effect=end-of-log-unchecked", seal->path);
    }
    if (good[0] && good[1])
        return 0;
    uint64_t vote = seal->vote != 0 ? seal->vote : SEAL_VOTE_UNKNOWN;
    log_warn("seal.repaired file=%s term=%" PRIu64 " vote=none", seal->path, seal->term);
    /* Write twice, so that both records are valid again. */
    if (raftlog_seal_vote(seal, seal->term, vote) != 0 ||
        raftlog_seal_vote(seal, seal->term, vote) != 0)
        return err_errno(err, errno, "cannot write %s", seal->path);
    return 0;
}

int raftlog_seal_open(struct raftlog_seal *seal, const char *dir, uint64_t id, uint64_t cell,
                      struct err *err)
{
    *seal = (struct raftlog_seal){.id = id, .cell = cell};
    snprintf(seal->path, sizeof seal->path, "%s/seal", dir);
    seal->fd = open(seal->path, O_RDWR | O_CLOEXEC);
    if (seal->fd >= 0)
        return seal_load(seal, err);
    if (errno != ENOENT)
        return err_errno(err, errno, "cannot open %s", seal->path);
    if (raftlog_files_any(dir))
        return err_set(err, ERR_CORRUPT, "%s is missing: term and vote are lost", seal->path);
    return seal_create(seal, dir, err);
}

void raftlog_seal_close(struct raftlog_seal *seal)
{
    if (seal->fd >= 0)
        close(seal->fd);
    seal->fd = -1;
}

int raftlog_seal_vote(struct raftlog_seal *seal, uint64_t term, uint64_t vote)
{
    seal->sequence++;
    seal->term = term;
    seal->vote = vote;
    if (record_write(seal, seal->fd, (unsigned)(seal->sequence % 2), term, vote) != 0)
        return -1;
    return fdatasync(seal->fd);
}

int raftlog_seal_mark(struct raftlog_seal *seal, uint64_t index, uint64_t term, bool sync)
{
    seal->mark_index = index;
    seal->mark_term = term;
    if (record_write(seal, seal->fd, MARK_BLOCK, index, term) != 0)
        return -1;
    return sync ? fdatasync(seal->fd) : 0;
}
