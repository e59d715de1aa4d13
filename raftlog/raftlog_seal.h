/*
 * raftlog_seal.h - the few numbers that a replica must not forget, in a file with checksums: whose
 * directory it is, its term and vote, and how far its log reaches.
 *
 * The library keeps term and vote in metadata1 and metadata2, without a checksum: one flipped bit,
 * and the replica votes twice. So ours count, and the library's stay as its first start wrote them.
 * It also takes a log for whole that has lost its end, with a file or to a disk that forgets. The
 * mark says how far it went.
 */
#ifndef RAFTLOG_SEAL_H
#define RAFTLOG_SEAL_H

#include "err.h"

/* A vote for nobody: we may have voted in this term and do not know for whom. */
#define SEAL_VOTE_UNKNOWN UINT64_MAX

struct raftlog_seal {
    char path[1088];
    int fd;            /* -1: closed */
    uint64_t sequence; /* of the record that counts */
    uint64_t id;
    uint64_t cell;
    uint64_t term; /* 0: none was stored yet */
    uint64_t vote;
    uint64_t mark_index; /* the log reached to here at least; 0: not known */
    uint64_t mark_term;
};

/*
 * Read the seal of `dir`, or make it when the directory has no log yet. A record that was torn by a
 * power cut is one we had not acted upon, one that rotted may be the last: both are replaced by the
 * one before, with a vote that nobody gets. ERR_STATE: it belongs to another replica or cell.
 * ERR_CORRUPT: it is gone, or damaged beyond that.
 */
int raftlog_seal_open(struct raftlog_seal *seal, const char *dir, uint64_t id, uint64_t cell,
                      struct err *err) MUST_USE;
void raftlog_seal_close(struct raftlog_seal *seal);

/* On the disk when it returns. 0 or -1 and errno. */
int raftlog_seal_vote(struct raftlog_seal *seal, uint64_t term, uint64_t vote) MUST_USE;

/* Not forced to the disk, since it may always be behind, unless it goes back (`sync`): then it must
 * be stored before the log is cut. */
int raftlog_seal_mark(struct raftlog_seal *seal, uint64_t index, uint64_t term, bool sync) MUST_USE;

#endif
