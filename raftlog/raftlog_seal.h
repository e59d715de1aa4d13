/*
 * raftlog_seal.h - a file with checksums for what a replica must not forget: the owner of the
 * directory, its term and vote, and the end of its log.
 *
 * The library keeps term and vote in metadata1 and metadata2 without a checksum, so one flipped bit
 * could make the replica vote twice. The seal is therefore authoritative, and the library's files
 * stay as its first start wrote them. The library also accepts a log whose end is missing (a lost
 * file, or a disk that loses writes); the mark records how far the log went.
 */
#ifndef RAFTLOG_SEAL_H
#define RAFTLOG_SEAL_H

#include "err.h"

/* A vote for nobody: we may have voted in this term, but the vote is lost. */
#define SEAL_VOTE_UNKNOWN UINT64_MAX

struct raftlog_seal {
    char path[1088];
    int fd;            /* -1: closed */
    uint64_t sequence; /* of the valid record */
    uint64_t id;
    uint64_t cell;
    uint64_t term; /* 0: no term was stored yet */
    uint64_t vote;
    uint64_t mark_index; /* the log reached at least this entry; 0: unknown */
    uint64_t mark_term;
};

/*
 * Read the seal of `dir`, or create it when the directory has no log yet. A record torn by a power
 * failure was not acted upon yet; a record damaged later may be the last one. Both are replaced by
 * the previous record with a vote that matches no candidate. ERR_STATE: the seal belongs to another
 * replica or cell. ERR_CORRUPT: it is missing or damaged beyond repair.
 */
int raftlog_seal_open(struct raftlog_seal *seal, const char *dir, uint64_t id, uint64_t cell,
                      struct err *err) MUST_USE;
void raftlog_seal_close(struct raftlog_seal *seal);

/* Store term and vote; they are on the disk when this returns. Return 0, or -1 and errno. */
int raftlog_seal_vote(struct raftlog_seal *seal, uint64_t term, uint64_t vote) MUST_USE;

/* Store the mark. It may lag behind and is not synced, except when it goes back (`sync`): then
 * it must be stored before the log is cut. */
int raftlog_seal_mark(struct raftlog_seal *seal, uint64_t index, uint64_t term, bool sync) MUST_USE;

#endif
